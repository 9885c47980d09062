//! A provider's lead is taken whatever its token is worth; only what may resolve by itself waits, and not long.

use super::{SECRET, deliver, gists, node, payload, put};
use crate::node::{NOW, good_token, ring, token};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use whence_schemas::token::KeyRing;

const CHECKOUT: &str = include_str!("payloads/stripe_checkout.json");

#[tokio::test]
async fn tokens_that_prove_nothing_stand_on_the_lead_and_do_not_cost_it() {
    let node = node().await;
    let forged = KeyRing::new(1, &[(1, [8; 32])]).unwrap();
    let long = "x".repeat(100);
    let damaged = format!("{}x", &good_token()[..50]);
    for worthless in [
        "order-4711",
        damaged.as_str(),
        &token(&forged, "abc", "email", 1000),
        &token(&ring(1, &[1]), "xyz", "email", 1000),
        &token(&ring(1, &[1]), "abc", "email", -600_000),
    ] {
        let answer = deliver(&node, "stripe", &[], &payload(CHECKOUT, worthless)).await;
        assert_eq!(answer.status, 200, "{worthless}: {}", answer.text);
    }
    let leads: Vec<_> = gists(&node).into_iter().filter(|gist| gist.starts_with("lead")).collect();
    let nobodys = "lead \"customer-1\" keys 3 by [\"\"]";
    // How old it may be is for the aggregator to say, which knows the window.
    let of_the_future = "lead \"customer-1\" keys 3 by [\"ann\"]";
    assert_eq!(leads, [nobodys, nobodys, nobodys, nobodys, of_the_future]);
    // Of whatever length, what is no token proves nothing, and that is said.
    assert_eq!(deliver(&node, "stripe", &[], &payload(CHECKOUT, &long)).await.status, 200);
    assert!(gists(&node).iter().filter(|gist| **gist == nobodys).count() == 5);
    for none in ["", "  ", "https://shop.example/landing"] {
        assert_eq!(deliver(&node, "stripe", &[], &payload(CHECKOUT, none)).await.status, 200);
        assert!(gists(&node).iter().rev().any(|gist| gist == "lead \"customer-1\" keys 3 by []"), "{none}");
    }
    let good = good_token();
    for padded in [format!(" {good}"), format!("{good}%3D%3D"), format!("\"{good}\"")] {
        let before = gists(&node).len();
        assert_eq!(
            deliver(&node, "stripe", &[], &payload(CHECKOUT, &padded.replace('"', "'"))).await.status,
            200
        );
        assert!(gists(&node)[before..].iter().any(|gist| gist.ends_with("by [\"ann\"]")), "{padded}");
    }
}

#[tokio::test]
async fn of_several_places_the_one_with_a_token_counts() {
    let node = node().await;
    let mut body: Value = serde_json::from_str(CHECKOUT).unwrap();
    body["data"]["object"]["metadata"]["wclid"] = json!("forged");
    body["data"]["object"]["client_reference_id"] =
        json!(format!("https://shop.example/?a=b&wclid={}#top", good_token()));
    assert_eq!(deliver(&node, "stripe", &[], &body.to_string()).await.status, 200);
    assert_eq!(
        gists(&node)[0],
        "lead \"customer-1\" keys 3 by [\"\", \"ann\"]",
        "out of the landing page's address"
    );
}

#[tokio::test]
async fn a_touch_that_may_mend_itself_is_waited_for_while_the_event_is_young() {
    let node = node().await;
    let unknown_key = token(&ring(9, &[9]), "abc", "email", 1000);
    let unknown_link = token(&ring(1, &[1]), "not-here-yet", "email", 1000);
    for waiting in [&unknown_key, &unknown_link] {
        let answer = deliver(&node, "stripe", &[], &payload(CHECKOUT, waiting)).await;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert!(!gists(&node).iter().any(|gist| gist.starts_with("lead")));
    let later = NOW.plus_ms(16 * 60 * 1000);
    node.clock_ms.store(later.0, Ordering::Relaxed);
    let answer = deliver(&node, "stripe", &[], &payload(CHECKOUT, &unknown_key)).await;
    assert_eq!(answer.status, 200, "a key that never was does not cost the lead: {}", answer.text);
    assert!(gists(&node).contains(&"lead \"customer-1\" keys 3 by [\"\"]".to_owned()));
}

#[tokio::test]
async fn without_a_time_the_click_or_the_registry_says_whether_to_wait() {
    let node = node().await;
    let status = async |token: &str| {
        let secret = SECRET.replace('=', "%3D");
        let path = format!("/v1/postback/demo?subid={token}&status=lead&token={secret}");
        node.send_as("GET", &path, &[], "").await.status
    };
    let hour = 3_600_000;
    for (age_ms, answer) in [(1000, 503), (hour, 200)] {
        let unknown_link = token(&ring(1, &[1]), "not-here-yet", "email", age_ms);
        let unknown_key = token(&ring(9, &[9]), "abc", "email", age_ms);
        assert_eq!(status(&unknown_link).await, answer, "link, click {age_ms} ms ago");
        assert_eq!(status(&unknown_key).await, answer, "key, click {age_ms} ms ago");
    }
    node.is_current.store(false, Ordering::Relaxed);
    assert_eq!(status(&token(&ring(1, &[1]), "new", "email", hour)).await, 503, "the link may be on its way");
    assert_eq!(
        status(&token(&ring(9, &[9]), "new", "email", hour)).await,
        200,
        "keys are not in the registry"
    );
    assert_eq!(status("not-ours").await, 200);
    let later = NOW.plus_ms(16 * 60 * 1000);
    node.clock_ms.store(later.0, Ordering::Relaxed);
    let new = token(&ring(1, &[1]), "new", "email", 0);
    let answer = deliver(&node, "stripe", &[], &payload(CHECKOUT, &new)).await;
    assert_eq!(answer.status, 503, "however old the event is: {}", answer.text);
}

#[tokio::test]
async fn a_code_of_the_mapping_credits_its_referrer() {
    let node = node().await;
    let rule = json!({"gives": "lead", "fields": {"email": "/who", "code": {"constant": "abc"}}});
    put(&node, "crm", json!({"provider": "generic", "secrets": ["main"], "rules": [rule]})).await;
    assert_eq!(deliver(&node, "crm", &[], r#"{"who":"a@shop.example"}"#).await.status, 200);
    assert_eq!(gists(&node), ["lead \"\" keys 1 by [\"ann\"]"]);
}

//! Who may do what.

use super::node::{NOW, Node, lead, qualification};
use secrecy::SecretString;
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};
use whence_schemas::time::DAY_MS;

#[tokio::test]
async fn no_key_and_a_wrong_key_are_401() {
    let node = Node::start().await;
    let body = lead(json!({})).to_string();
    let good = &node.admin;
    let (secret, last) = good.split_at(good.len() - 1);
    let wrong_secret = format!("{secret}{}", if last == "0" { "1" } else { "0" });
    for header in [
        "x-nothing: 1".to_owned(),
        "authorization: Bearer".to_owned(),
        "authorization: Bearer ".to_owned(),
        "authorization: Basic d2hvOm1l".to_owned(),
        format!("authorization: Basic {good}"),
        format!("authorization: Bearer {wrong_secret}"),
        format!("authorization: Bearer {good}x"),
        "authorization: Bearer whk_0011223344556677_00".to_owned(),
        format!("authorization: Bearer whk_{}", "x".repeat(2000)),
    ] {
        let answer = node.send_as("POST", "/v1/events", &[&header], body.clone()).await;
        assert_eq!(answer.problem(), (401, "unauthorized".into(), String::new()), "{header}");
        assert!(answer.headers["www-authenticate"].starts_with("Bearer"));
        assert!(!answer.text.contains("whk_0"), "the key is not repeated");
    }
    assert_eq!(node.events(), []);
}

#[tokio::test]
async fn a_given_admin_key_is_the_admin() {
    let given = "0123456789abcdef0123456789abcdef";
    let node = Node::start_with(|s| s.api_admin_key = Some(SecretString::from(given))).await;
    let key = format!("authorization: bearer {given}");
    assert_eq!(node.send_as("GET", "/v1/programs", &[&key], "").await.status, 200);
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_in_its_program() {
    let node = Node::start().await;
    let sender = node.key(json!({"program": "demo", "scopes": ["events:write"]})).await;
    let reader = node.key(json!({"program": "demo", "scopes": ["registry:read"]})).await;
    let writer = node.key(json!({"program": "demo", "scopes": ["registry:write"]})).await;
    let lead_of = |program: &str| lead(json!({"program": program})).to_string();
    let link = json!({"referrer": "ann", "destination": "https://shop.example/"}).to_string();
    let cases = [
        (&sender, "POST", "/v1/events", lead_of("demo"), 202),
        (&sender, "POST", "/v1/events", lead_of("other"), 403),
        (&sender, "POST", "/v1/programs/demo/leads", json!({"id": "x", "lead": "l"}).to_string(), 202),
        (&sender, "POST", "/v1/programs/other/leads", json!({"id": "x", "lead": "l"}).to_string(), 403),
        (&sender, "GET", "/v1/programs/demo", String::new(), 403),
        (&reader, "POST", "/v1/events", lead_of("demo"), 403),
        (&reader, "GET", "/v1/programs/demo", String::new(), 200),
        (&reader, "GET", "/v1/programs/other", String::new(), 403),
        (&reader, "GET", "/v1/programs/demo/links/go.example/abc", String::new(), 200),
        (&reader, "GET", "/v1/programs/demo/links/go.example/xyz", String::new(), 404),
        (&reader, "POST", "/v1/programs/demo/links", link.clone(), 403),
        (&reader, "GET", "/v1/keys", String::new(), 403),
        (&writer, "GET", "/v1/programs/demo", String::new(), 200),
        (&writer, "POST", "/v1/programs/demo/links", link.clone(), 201),
        (&writer, "POST", "/v1/programs/other/links", link, 403),
        (&writer, "POST", "/v1/programs/other/disable", String::new(), 403),
        (&writer, "POST", "/v1/programs/demo/links/go.example/xyz/disable", String::new(), 404),
        (&writer, "POST", "/v1/keys", json!({"scopes": ["events:write"]}).to_string(), 403),
    ];
    for (key, method, path, body, status) in cases {
        let answer = node.send_as(method, path, &[key], body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        if status == 403 {
            answer.problem();
        }
    }
    let listed = node.send_as("GET", "/v1/programs", &[&reader], "").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "a key sees its own program only");
}

#[tokio::test]
async fn a_key_for_one_program_uses_no_host_of_another() {
    let node = Node::start().await;
    let key = node.key(json!({"program": "other", "scopes": ["registry:write"]})).await;
    let link = |host: &str| {
        json!({"host": host, "referrer": "bob", "destination": "https://shop.example/"}).to_string()
    };
    let program =
        |hosts: &[&str]| json!({"destination_hosts": ["shop.example"], "link_hosts": hosts}).to_string();
    // "go.example" is listed by "demo"; "free.example" by nobody, until "demo" has a link there.
    let links = "/v1/programs/other/links";
    assert_eq!(node.send_as("POST", links, &[&key], link("go.example")).await.problem().2, "host");
    assert_eq!(node.send("PUT", "/v1/programs/other/hosts/own.example", "").await.status, 201);
    assert_eq!(node.send_as("POST", links, &[&key], link("own.example")).await.status, 201);
    let ours = json!({"host": "free.example", "referrer": "ann", "destination": "https://shop.example/"});
    assert_eq!(node.post("/v1/programs/demo/links", ours).await.status, 201);
    let refused = node.send_as("POST", links, &[&key], link("free.example")).await;
    assert_eq!(refused.problem(), (409, "conflict".into(), "host".into()));
    let path = "/v1/programs/other";
    let refused = node.send_as("PUT", path, &[&key], program(&["own.example", "free.example"])).await;
    assert_eq!(refused.problem(), (409, "conflict".into(), "link_hosts[1]".into()));
    // A key for all programs lets programs share a host, and then they keep it.
    assert_eq!(node.send("POST", links, link("go.example")).await.status, 201);
    assert_eq!(node.send("PUT", path, program(&["free.example"])).await.status, 200);
    assert_eq!(node.send_as("PUT", path, &[&key], program(&["free.example"])).await.status, 200);
    assert_eq!(node.send_as("POST", links, &[&key], link("free.example")).await.status, 201);
}

#[tokio::test]
async fn a_foreign_event_in_a_batch_is_refused_alone() {
    let node = Node::start().await;
    let sender = node.key(json!({"program": "demo", "scopes": ["events:write"]})).await;
    let batch = json!([lead(json!({})), qualification(json!({"program": "other"}))]).to_string();
    let answer = node.send_as("POST", "/v1/events", &[&sender], batch).await;
    assert_eq!(answer.status, 207);
    let results = &answer.json()["results"];
    assert_eq!(results[0]["status"], "accepted");
    assert_eq!(super::node::problem(&results[1]["error"], None), (403, "forbidden".into(), "program".into()));
}

#[tokio::test]
async fn a_disabled_key_is_no_key() {
    let node = Node::start().await;
    let answer = node
        .post("/v1/keys", json!({"all_programs": true, "scopes": ["events:write", "registry:read"]}))
        .await;
    let made = answer.json();
    let header = format!("authorization: Bearer {}", made["key"].as_str().unwrap());
    assert_eq!(node.send_as("GET", "/v1/programs", &[&header], "").await.status, 200);
    let id = made["id"].as_str().unwrap();
    let listed = node.send("GET", "/v1/keys", "").await;
    assert_eq!(listed.json()["items"][0]["id"], id);
    let secret = made["key"].as_str().unwrap();
    assert!(!listed.text.contains(&secret[secret.len() - 16..]), "shown once");
    assert_eq!(node.send("POST", &format!("/v1/keys/{id}/disable"), "").await.status, 200);
    assert_eq!(node.send_as("GET", "/v1/programs", &[&header], "").await.status, 401);
    assert_eq!(node.send("POST", &format!("/v1/keys/{id}/enable"), "").await.status, 404);
}

#[tokio::test]
async fn nobody_gives_away_more_than_they_have() {
    let node = Node::start().await;
    let maker = node.key(json!({"all_programs": true, "scopes": ["registry:write"]})).await;
    let body = json!({"all_programs": true, "scopes": ["events:write"]}).to_string();
    let answer = node.send_as("POST", "/v1/keys", &[&maker], body).await;
    assert_eq!(answer.problem(), (403, "forbidden".into(), "scopes".into()));
    let body = json!({"scopes": ["registry:read"], "program": "demo"}).to_string();
    assert_eq!(node.send_as("POST", "/v1/keys", &[&maker], body).await.status, 201);
    for (body, field) in [
        (json!({"program": "demo"}), "scopes"),
        (json!({"program": "demo", "scopes": ["root"]}), "scopes[0]"),
        (json!({"program": "demo", "scopes": "events:write"}), "scopes"),
        (json!({"program": "demo", "scopes": ["registry:read"], "colour": "x"}), "colour"),
        (json!({"program": "demo", "scopes": ["registry:read"], "name": "a\nb"}), "name"),
        (json!({"program": "demo", "scopes": ["registry:read"], "expires_at": NOW.0}), "expires_at"),
        (json!({"scopes": ["registry:read"], "program": ""}), "program"),
    ] {
        assert_eq!(node.post("/v1/keys", body).await.problem().2, field);
    }
}

#[tokio::test]
async fn a_key_has_a_name_and_an_end() {
    let node = Node::start().await;
    let body = json!({"name": "shop backend", "program": "demo", "scopes": ["registry:read"], "expires_at": NOW.0 + 60_000});
    let made = node.post("/v1/keys", body).await;
    let shown =
        node.send("GET", &format!("/v1/keys/{}", made.json()["id"].as_str().unwrap()), "").await.json();
    assert_eq!(
        (&shown["name"], &shown["expires_at"]),
        (&json!("shop backend"), &json!(NOW.plus_ms(60_000).rfc3339()))
    );
    assert_eq!((&shown["all_programs"], &shown["last_used_on"]), (&json!(false), &json!(null)));
    let key = format!("authorization: Bearer {}", made.json()["key"].as_str().unwrap());
    assert_eq!(node.send_as("GET", "/v1/programs", &[&key], "").await.status, 200);
    node.clock_ms.store(NOW.0 + 59_999, Ordering::Relaxed);
    assert_eq!(node.send_as("GET", "/v1/programs", &[&key], "").await.status, 200);
    node.clock_ms.store(NOW.0 + 60_000, Ordering::Relaxed);
    let expired = node.send_as("GET", "/v1/programs", &[&key], "").await;
    assert_eq!(expired.problem(), (401, "unauthorized".into(), String::new()));
    assert!(expired.text.contains("the API key has expired"), "{}", expired.text);
    let other = if key.ends_with('0') { '1' } else { '0' };
    let wrong =
        node.send_as("GET", "/v1/programs", &[&format!("{}{other}", &key[..key.len() - 1])], "").await;
    assert!(
        !wrong.text.contains("expired"),
        "who does not have the key learns nothing of it: {}",
        wrong.text
    );
}

#[tokio::test]
async fn the_day_of_a_keys_last_use_is_written_once_a_day() {
    let node = Node::start().await;
    let made = node.post("/v1/keys", json!({"program": "demo", "scopes": ["registry:read"]})).await.json();
    let key = format!("authorization: Bearer {}", made["key"].as_str().unwrap());
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    let used_on = async |day: &str| {
        let seen = async {
            loop {
                assert_eq!(node.send_as("GET", "/v1/programs", &[&key], "").await.status, 200);
                let shown = node.send("GET", &path, "").await.json();
                if shown["last_used_on"] == day {
                    return shown["version"].as_u64().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), seen).await.expect("the day is written")
    };
    let first = used_on("2027-01-15").await;
    assert_eq!(first, made["version"].as_u64().unwrap() + 1, "one entry, however many requests");
    // Unused until then: the use of a wrong key does not count.
    let wrong = format!("{}x", key);
    node.clock_ms.store(NOW.0 + DAY_MS, Ordering::Relaxed);
    assert_eq!(node.send_as("GET", "/v1/programs", &[&wrong], "").await.status, 401);
    assert_eq!(node.send("GET", &path, "").await.json()["last_used_on"], "2027-01-15");
    assert_eq!(used_on("2027-01-16").await, first + 1);
    node.stop().await;
}

//! Codes and their case: what a host says of it, what is made, and under which spelling a link is found.

use super::node::Node;
use serde_json::{Value, json};

fn link(host: &str, code: &str) -> Value {
    json!({"host": host, "code": code, "referrer": "ann", "destination": "https://shop.example/"})
}

#[tokio::test]
async fn codes_that_whence_makes_are_in_lower_case_and_nobody_takes_their_characters_for_others() {
    let node = Node::start().await;
    let many: Vec<_> = (0..200)
        .map(|_| json!({"host": "go.example", "referrer": "ann", "destination": "https://shop.example/"}))
        .collect();
    let made = node.post("/v1/programs/demo/links", many.into()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let codes: Vec<String> = made.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["code"].as_str().unwrap().into())
        .collect();
    let fits = |c: char| (c.is_ascii_lowercase() || c.is_ascii_digit()) && !"01oil".contains(c);
    assert!(codes.iter().all(|code| code.len() == 13 && code.chars().all(fits)), "{codes:?}");
}

#[tokio::test]
async fn a_code_is_one_in_every_case_and_shown_as_it_was_made() {
    let node = Node::start().await;
    let path = "/v1/programs/demo/links";
    assert_eq!(node.post(path, link("go.example", "Summer")).await.status, 201);
    for code in ["summer", "SUMMER", "sUmmer"] {
        let posted = node.post(path, link("go.example", code)).await;
        assert_eq!(posted.problem(), (409, "conflict".into(), "code".into()), "{code}");
        assert!(posted.text.contains("Summer"), "by name: {}", posted.text);
        let one = format!("{path}/go.example/{code}");
        let put = node.send("PUT", &one, link("go.example", code).to_string()).await;
        assert_eq!(put.problem(), (409, "conflict".into(), "code".into()), "{code}");
        let shown = node.send("GET", &one, "").await;
        assert_eq!((shown.status, &shown.json()["code"]), (200, &json!("Summer")), "{code}");
        let patched = node.send("PATCH", &one, json!({"channel": "email"}).to_string()).await;
        assert_eq!((patched.status, &patched.json()["code"]), (200, &json!("Summer")), "{}", patched.text);
        assert_eq!(node.send("POST", &format!("{one}/disable"), "").await.status, 200);
        assert_eq!(node.send("POST", &format!("{one}/enable"), "").await.status, 200);
    }
    let batch = json!([link("go.example", "new"), link("go.example", "NEW"), link("go.example", "x.qr")]);
    let answer = node.post(path, batch).await;
    let statuses: Vec<_> =
        answer.json()["results"].as_array().unwrap().iter().map(|entry| entry["status"].clone()).collect();
    assert_eq!(
        (answer.status, statuses),
        (207, vec![json!("created"), json!("rejected"), json!("rejected")])
    );
}

#[tokio::test]
async fn a_host_says_once_whether_case_makes_a_difference() {
    let node = Node::start().await;
    let path = "/v1/programs/demo/hosts/s.example";
    assert_eq!(node.send("GET", path, "").await.json()["case_sensitive"], false);
    let put = node.send("PUT", path, json!({"case_sensitive": true}).to_string()).await;
    assert_eq!((put.status, &put.json()["case_sensitive"]), (201, &json!(true)), "{}", put.text);
    assert_eq!(node.send("PUT", path, "").await.json()["case_sensitive"], true, "what is not said stays");
    for code in ["hi", "Hi"] {
        let made = node.post("/v1/programs/demo/links", link("s.example", code)).await;
        assert_eq!(made.status, 201, "{code}: {}", made.text);
    }
    assert_eq!(node.send("GET", "/v1/programs/demo/links/s.example/HI", "").await.status, 404);
    for method in ["PUT", "PATCH"] {
        let refused = node.send(method, path, json!({"case_sensitive": false}).to_string()).await;
        assert_eq!(refused.problem(), (409, "conflict".into(), "case_sensitive".into()), "{method}");
    }
    let with_links = "/v1/programs/demo/hosts/go.example";
    let refused = node.send("PUT", with_links, json!({"case_sensitive": true}).to_string()).await;
    assert_eq!(refused.problem(), (409, "conflict".into(), "case_sensitive".into()));
    assert!(refused.text.contains("has links"), "{}", refused.text);
    let shown = node.send("GET", path, "").await.json();
    assert_eq!(
        node.send("PUT", path, shown.to_string()).await.status,
        200,
        "what is shown can be given back"
    );
}

//! Programs, referrers and links over HTTP.

use super::node::{Node, problem};
use serde_json::{Value, json};
use std::sync::Arc;

fn program() -> Value {
    json!({"destination_hosts": ["shop.example"], "link_hosts": ["new.example"], "channels": ["qr"]})
}

#[tokio::test]
async fn a_program_is_created_changed_shown_and_listed() {
    let node = Node::start().await;
    let path = "/v1/programs/new";
    assert_eq!(node.send("GET", path, "").await.problem().0, 404);
    let created = node.send("PUT", path, program().to_string()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let json = created.json();
    assert_eq!((&json["model"], &json["window_ms"]), (&json!("last_touch"), &json!(2_592_000_000u64)));
    assert_eq!((&json["consent"], &json["disabled"]), (&json!("none"), &json!(false)));
    let again = node.send("PUT", path, program().to_string()).await;
    assert_eq!((again.status, &again.json()), (200, &json), "nothing new, no new version");
    let mut changed = program();
    changed["model"] = json!("first_touch");
    changed["consent"] = json!("cookie");
    let changed = node.send("PUT", path, changed.to_string()).await.json();
    assert_eq!(changed["version"], json["version"].as_u64().unwrap() + 1);
    assert_eq!(node.send("GET", path, "").await.json(), changed);
    let first = node.send("GET", "/v1/programs?limit=2", "").await.json();
    let ids: Vec<_> = first["items"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!((ids, &first["next"]), (vec!["demo", "new"], &json!("new")));
    let rest = node.send("GET", "/v1/programs?limit=2&after=new", "").await.json();
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!("other"), &Value::Null));
}

#[tokio::test]
async fn wrong_fields_of_records_are_named() {
    let node = Node::start().await;
    let cases = [
        ("PUT", "/v1/programs/New", program(), "id"),
        ("PUT", "/v1/programs/new", json!({}), "destination_hosts"),
        ("PUT", "/v1/programs/new", json!({"destination_hosts": "shop.example"}), "destination_hosts"),
        ("PUT", "/v1/programs/new", json!({"destination_hosts": ["x"], "window_ms": -1}), "window_ms"),
        (
            "PUT",
            "/v1/programs/new",
            json!({"destination_hosts": ["x"], "existing_customers": "some"}),
            "existing_customers",
        ),
        ("PUT", "/v1/programs/new", json!({"destination_hosts": ["x"], "model": "best"}), "model"),
        ("PUT", "/v1/programs/new", json!({"destination_hosts": ["x"], "id": "old"}), "id"),
        ("PUT", "/v1/programs/new", json!({"destination_hosts": ["x"], "colour": 1}), "colour"),
        ("POST", "/v1/programs/demo/referrers", json!({"name": "x"}), "id"),
        ("POST", "/v1/programs/demo/referrers", json!({"id": "a@b"}), "id"),
        ("PUT", "/v1/programs/demo/referrers/eve", json!({"id": "ann"}), "id"),
        ("POST", "/v1/programs/demo/links", json!({"destination": "https://shop.example/"}), "referrer"),
        ("POST", "/v1/programs/demo/links", json!({"referrer": "ann"}), "destination"),
        ("PATCH", "/v1/programs/demo/links/go.example/abc", json!({"http_status": 200}), "http_status"),
        ("PATCH", "/v1/programs/demo/links/go.example/abc", json!({"http_status": -302}), "http_status"),
        ("PATCH", "/v1/programs/demo/links/go.example/abc", json!({"channel": "sms"}), "channel"),
    ];
    let version = |node: &Node| {
        use whence_ingest::registry::Registry;
        node.registry.shared().read().version()
    };
    let before = version(&node);
    for (method, path, body, field) in cases {
        let answer = node.send(method, path, body.to_string()).await;
        let (status, _, found) = answer.problem();
        assert_eq!((status, found.as_str()), (422, field), "{method} {path}: {}", answer.text);
    }
    assert_eq!(version(&node), before);
    assert_eq!(node.post("/v1/programs/none/links", json!({})).await.problem().0, 404);
    assert_eq!(node.send("PUT", "/v1/programs/none/referrers/x", "{}").await.problem().0, 404);
    assert_eq!(node.send("PUT", "/v1/programs/new", "{").await.problem().0, 400);
}

#[tokio::test]
async fn referrers_are_created_replaced_and_disabled() {
    let node = Node::start().await;
    let path = "/v1/programs/demo/referrers";
    let created = node
        .post(path, json!([{"id": "eve"}, {"id": "ann", "name": "Anna"}, {"id": "zoe", "name": "Zoe"}]))
        .await;
    assert_eq!(created.status, 207, "ann is there already, by no name");
    let json = created.json();
    assert_eq!(json["created"], 2);
    assert_eq!(problem(&json["results"][1]["error"], None), (409, "conflict".into(), "name".into()));
    let put = node.send("PUT", &format!("{path}/ann"), json!({"name": "Ann"}).to_string()).await;
    assert_eq!((put.status, &put.json()["name"]), (200, &json!("Ann")));
    let off = node.send("POST", &format!("{path}/eve/disable"), "").await.json();
    assert_eq!(off["disabled"], true);
    assert_eq!(node.send("GET", &format!("{path}/eve"), "").await.json(), off);
    let page = node.send("GET", &format!("{path}?limit=2"), "").await.json();
    assert_eq!((&page["items"][1]["id"], &page["next"]), (&json!("eve"), &json!("eve")));
    let page = node.send("GET", &format!("{path}?limit=2&after=eve"), "").await.json();
    assert_eq!((&page["items"][0]["id"], page.get("next")), (&json!("zoe"), None));
}

#[tokio::test]
async fn a_link_without_a_code_gets_one_that_cannot_be_guessed() {
    let node = Node::start().await;
    let body = json!({"referrer": "ann", "destination": "https://shop.example/a?b=c"});
    let links: Vec<Value> = vec![body; 50];
    let answer = node.post("/v1/programs/demo/links", links.into()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let json = answer.json();
    let mut codes: Vec<_> =
        json["results"].as_array().unwrap().iter().map(|link| link["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 50);
    assert!(codes.iter().all(|code| code.len() == 13));
    let link = &json["results"][0];
    let url = format!("https://go.example/{}", link["code"].as_str().unwrap());
    assert_eq!(link["url"], url, "on the program's first host");
    assert_eq!(link["status"], "created");
    assert_eq!(link["http_status"], 302);
}

#[tokio::test]
async fn a_link_is_created_shown_changed_and_disabled() {
    let node =
        Node::start_with(|settings| settings.api_link_scheme = whence_ingest::api::LinkScheme::Http).await;
    let body = json!({
        "host": "[::1]:8080", "code": "a~b", "referrer": "ann", "channel": "email",
        "destination": "https://shop.example/", "expires_at": "2030-01-01T00:00:00Z", "passthrough": true,
        "channel_override": true, "test": true, "http_status": 307,
    });
    let created = node.post("/v1/programs/demo/links", body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let link = created.json();
    assert_eq!(
        (&link["url"], &link["expires_at"]),
        (&json!("http://[::1]:8080/a~b"), &json!("2030-01-01T00:00:00.000Z"))
    );
    let path = "/v1/programs/demo/links/%5B::1%5D:8080/a~b";
    assert_eq!(node.send("GET", path, "").await.json(), link);
    assert_eq!(node.send("GET", "/v1/programs/other/links/%5B::1%5D:8080/a~b", "").await.status, 404);
    let patch = json!({"expires_at": null, "channel": "whatsapp"}).to_string();
    let changed = node.send("PATCH", path, patch).await.json();
    assert_eq!((&changed["expires_at"], &changed["channel"]), (&Value::Null, &json!("whatsapp")));
    assert_eq!(changed["passthrough"], true, "what is not named stays");
    assert_eq!(node.send("POST", &format!("{path}/disable"), "").await.json()["disabled"], true);
    assert_eq!(node.send("POST", &format!("{path}/enable"), "").await.json()["disabled"], false);
    let page = node.send("GET", "/v1/programs/demo/links?limit=1", "").await.json();
    assert_eq!(page["next"], "abc/go.example");
    let next = page["next"].as_str().unwrap();
    let rest = node.send("GET", &format!("/v1/programs/demo/links?after={next}"), "").await.json();
    let codes = [&page["items"][0]["code"], &rest["items"][0]["code"]];
    assert_eq!(codes, ["abc", "a~b"]);
    assert_eq!(node.send("GET", "/v1/programs/demo/links?after=x", "").await.problem().2, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_create_one_code_at_once_one_gets_a_409() {
    let node = Arc::new(Node::start().await);
    let creating = ["email", "whatsapp"].map(|channel| {
        let body =
            json!({"code": "wanted", "referrer": "ann", "channel": channel, "destination": "https://shop.example/"});
        let node = Arc::clone(&node);
        tokio::spawn(async move { node.post("/v1/programs/demo/links", body).await })
    });
    let mut statuses = Vec::new();
    for answer in creating {
        let answer = answer.await.unwrap();
        if answer.status == 409 {
            assert_eq!(answer.problem(), (409, "conflict".into(), "channel".into()));
        }
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn ten_thousand_links_are_one_write_and_more_are_refused() {
    let node = Node::start().await;
    let link = |n: usize| json!({"code": format!("n{n}"), "referrer": "ann", "destination": "https://shop.example/"});
    let many: Vec<Value> = (0..10_001).map(link).collect();
    let answer = node.post("/v1/programs/demo/links", many.clone().into()).await;
    assert_eq!(answer.problem().0, 413);
    let answer = node.post("/v1/programs/demo/links", many[1..].to_vec().into()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["created"], 10_000);
}

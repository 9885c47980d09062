//! What holds for every record of the registry: what is shown can be given back, patches, conditions, repeated creation,
//! lists.

use super::{
    document::{DOCUMENT, operation, resolved, validator},
    node::{Answer, NOW, Node, problem},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, atomic::Ordering},
};
use whence_ingest::{
    api::{query, route::Route},
    registry::Kind,
};

/// A record of each kind that says as much as it can: its path as the document has it, its path, and its body.
struct Sample {
    template: &'static str,
    path: String,
    body: Value,
}

fn samples(key: &str) -> Vec<Sample> {
    let sample = |template, path: &str, body| Sample { template, path: path.to_owned(), body };
    let program = json!({
        "name": "Full", "destination_hosts": ["shop.example", "*.apps.example"], "fallback": "https://shop.example/x",
        "link_hosts": ["full.example"], "channels": ["email"], "model": "first_touch", "window_ms": 86_400_000,
        "existing_customers": "allow", "consent": "cookie", "hash_lead_ids": true, "disabled": true,
        "rewards": [
            {"id": "order", "for": "referrer", "qualification": "purchase", "currency": "EUR", "percent": "12.5",
             "max_minor": 5000, "hold_days": 30, "per_referrer": {"count": 100, "minor": 7},
             "per_period": {"period": "month", "count": 10, "minor": 20000}, "budget_minor": 1_000_000},
            {"id": "welcome", "for": "referred", "currency": "EUR",
             "tiers": [{"from": 0, "fixed_minor": 500}, {"from": 10, "percent": "0.0001"}]},
        ],
        "risk": {"threshold": 100, "too_fast": 50, "too_fast_ms": 3000, "velocity": 5},
    });
    let link = json!({
        "referrer": "ann", "channel": "email", "destination": "https://shop.example/?a=b", "disabled": true,
        "expires_at": "2030-01-01T00:00:00Z", "passthrough": true, "channel_override": true, "test": true,
        "http_status": 308,
    });
    let source = json!({
        "provider": "generic", "secrets": ["main"], "signature_header": "x-signature", "test": true, "disabled": true,
        "rules": [{
            "events": ["won"], "when": [{"at": "/stage", "is": "equals", "values": ["won", 5, true]},
                                        {"at": "/x", "is": "exists"}],
            "gives": "qualification", "name": "won",
            "history": {"is": "spend_at_least", "amount_minor": 5000, "currency": "EUR", "within_days": 30},
            "fields": {"email": ["/a", "/b"], "contact": {"at": "/id", "prefix": "c-"}, "minor": "/cents",
                       "currency": {"constant": "EUR"}},
        }],
    });
    let endpoint = json!({
        "url": "https://shop.example/whence", "types": ["lead.credited"], "secrets": ["demo/shop-2", "shop-1"],
        "since": "2026-01-01T00:00:00Z", "disabled": true,
    });
    let key_body = json!({
        "name": "shop backend", "program": "demo", "scopes": ["events:write", "registry:read"],
        "expires_at": NOW.plus_ms(60_000).rfc3339(),
    });
    vec![
        sample("/v1/programs/{program}", "/v1/programs/full", program),
        sample(
            "/v1/programs/{program}/referrers/{referrer}",
            "/v1/programs/demo/referrers/eve",
            json!({"name": "Eve", "disabled": true}),
        ),
        sample("/v1/programs/{program}/links/{host}/{code}", "/v1/programs/demo/links/go.example/full", link),
        sample("/v1/programs/{program}/sources/{source}", "/v1/programs/demo/sources/crm", source),
        sample("/v1/programs/{program}/endpoints/{endpoint}", "/v1/programs/demo/endpoints/shop", endpoint),
        sample(
            "/v1/programs/{program}/hosts/{host}",
            "/v1/programs/demo/hosts/own.example",
            json!({"claimed": true}),
        ),
        sample("/v1/keys/{key}", &format!("/v1/keys/{key}"), key_body),
    ]
}

/// The samples, all of them there.
async fn with_samples() -> (Node, Vec<Sample>) {
    let node = Node::start().await;
    let key = node.post("/v1/keys", json!({"program": "demo", "scopes": ["events:write"]})).await.json();
    let samples = samples(key["id"].as_str().unwrap());
    for sample in &samples {
        let status = if sample.template == "/v1/keys/{key}" { 200 } else { 201 };
        let made = node.send("PUT", &sample.path, sample.body.to_string()).await;
        assert_eq!(made.status, status, "{}: {}", sample.path, made.text);
    }
    (node, samples)
}

async fn conditional(node: &Node, method: &str, path: &str, header: &str, body: &str) -> Answer {
    let key = format!("authorization: Bearer {}", node.admin);
    node.send_as(method, path, &[&key, header], body).await
}

#[tokio::test]
async fn what_is_shown_of_every_record_can_be_given_back_and_changes_nothing() {
    let (node, samples) = with_samples().await;
    let sampled: BTreeSet<&str> = samples.iter().map(|sample| sample.template).collect();
    let records: BTreeSet<&str> =
        Route::table().filter(|(_, methods)| methods.contains("PUT")).map(|(template, _)| template).collect();
    assert_eq!(sampled, records, "every record has a sample here");
    node.clock_ms.store(NOW.0 + 1000, Ordering::Relaxed);
    // Beside the samples: what the first calls have made, with the least that can be said.
    let sparse = [
        "/v1/programs/demo",
        "/v1/programs/demo/referrers/ann",
        "/v1/programs/demo/links/go.example/abc",
        "/v1/programs/demo/hosts/go.example",
        "/v1/programs/demo/hosts/unclaimed.example",
    ];
    for path in samples.iter().map(|sample| sample.path.as_str()).chain(sparse) {
        let shown = node.send("GET", path, "").await;
        assert_eq!(shown.status, 200, "{path}");
        let schema = &operation("PUT", path).unwrap()["requestBody"]["content"]["application/json"]["schema"];
        let errors: Vec<String> =
            validator(schema).iter_errors(&shown.json()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {errors:?} in {}", shown.text);
        let put = node.send("PUT", path, shown.text.clone()).await;
        assert_eq!((put.status, put.json()), (200, shown.json()), "{path}");
        let patched = node.send("PATCH", path, shown.text.clone()).await;
        assert_eq!((patched.status, patched.json()), (200, shown.json()), "{path}");
        let nothing = node.send("PATCH", path, "{}").await;
        assert_eq!((nothing.status, nothing.json()), (200, shown.json()), "{path}");
    }
}

#[tokio::test]
async fn every_field_that_is_given_is_shown() {
    let (node, samples) = with_samples().await;
    for sample in samples {
        let shown = node.send("GET", &sample.path, "").await.json();
        for name in ["created", "changed"] {
            assert_eq!(shown[name], NOW.rfc3339(), "{}", sample.path);
        }
        assert!(shown["version"].as_u64().unwrap() > 0);
        for (name, given) in sample.body.as_object().unwrap() {
            match name.as_str() {
                // Written otherwise: rules and times are looked at where they are read.
                "rewards" | "rules" | "secrets" | "expires_at" | "since" => {
                    assert!(!shown[name].is_null(), "{} {name}", sample.path);
                }
                "risk" => {
                    given.as_object().unwrap().iter().for_each(|(n, v)| assert_eq!(&shown["risk"][n], v))
                }
                _ => assert_eq!(&shown[name], given, "{} {name}", sample.path),
            }
        }
    }
}

#[tokio::test]
async fn a_put_replaces_all_of_a_record_and_a_patch_a_part() {
    let (node, samples) = with_samples().await;
    let path = "/v1/programs/full";
    let before = node.send("GET", path, "").await.json();
    let patch = json!({"name": "New", "fallback": null, "risk": {"velocity": 6, "too_fast": null}, "channels": ["qr"]});
    let merge = "content-type: application/merge-patch+json";
    let patched = conditional(&node, "PATCH", path, merge, &patch.to_string()).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    let after = patched.json();
    let mut expected = before.clone();
    expected["name"] = json!("New");
    expected["fallback"] = json!("");
    expected["channels"] = json!(["qr"]);
    expected["risk"]["velocity"] = json!(6);
    expected["risk"]["too_fast"] = json!(0);
    expected["version"] = after["version"].clone();
    assert_eq!(after, expected);
    let put = node.send("PUT", path, json!({"destination_hosts": ["shop.example"]}).to_string()).await.json();
    assert_eq!((put.get("rewards"), put.get("risk"), &put["name"]), (None, None, &json!("")));
    // What is merged is checked like the body of a PUT.
    for (path, patch, field) in [
        (path, json!({"destination_hosts": null}), "destination_hosts"),
        (path, json!({"colour": 1}), "colour"),
        (path, json!({"id": "other"}), "id"),
        (path, json!({"risk": {"velocity": "much"}}), "risk.velocity"),
        ("/v1/programs/demo/referrers/eve", json!({"program": "other"}), "program"),
        (
            "/v1/programs/demo/links/go.example/full",
            json!({"destination": "https://evil.example/"}),
            "destination",
        ),
        ("/v1/programs/demo/links/go.example/full", json!({"destination": null}), "destination"),
        ("/v1/programs/demo/sources/crm", json!({"rules": [{"gives": "nothing"}]}), "rules[0].gives"),
        ("/v1/programs/demo/endpoints/shop", json!({"secrets": ["none"]}), "secrets[0]"),
        ("/v1/programs/demo/hosts/own.example", json!({"claimed": "yes"}), "claimed"),
        (&samples.last().unwrap().path, json!({"all_programs": true}), "program"),
        (&samples.last().unwrap().path, json!({"expires_at": NOW.0 - 1}), "expires_at"),
    ] {
        let refused = node.send("PATCH", path, patch.to_string()).await.problem();
        assert_eq!((refused.0, refused.2.as_str()), (422, field), "{path} {patch}");
    }
    for (path, patch, field) in [
        ("/v1/programs/demo/links/go.example/full", json!({"referrer": "eve"}), "referrer"),
        ("/v1/programs/demo/endpoints/shop", json!({"since": "2026-01-02T00:00:00Z"}), "since"),
        (&samples.last().unwrap().path, json!({"program": "other"}), "program"),
    ] {
        let refused = node.send("PATCH", path, patch.to_string()).await.problem();
        assert_eq!((refused.0, refused.2.as_str()), (409, field), "{path} {patch}");
    }
    for body in ["[]", "5", "null"] {
        assert_eq!(node.send("PATCH", path, body).await.problem().2, "$", "{body}");
    }
    assert_eq!(node.send("PATCH", "/v1/programs/none", "{}").await.problem().0, 404);
    for other in ["application/json-patch+json", "application/strategic-merge-patch+json; charset=utf-8"] {
        let refused = conditional(&node, "PATCH", path, &format!("content-type: {other}"), "{}").await;
        assert_eq!(refused.problem().1, "unsupported_media_type");
        assert_eq!(refused.headers["accept-patch"], "application/merge-patch+json");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_patches_that_come_at_once_none_is_lost() {
    let node = Arc::new(Node::start().await);
    let fields = ["threshold", "velocity", "too_fast", "bot_click", "shared_device", "disposable_email"];
    let patching = fields.map(|field| {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let patch = json!({"risk": {field: 7}}).to_string();
            loop {
                let answer = node.send("PATCH", "/v1/programs/demo", patch.clone()).await;
                match answer.status {
                    200 => return,
                    503 => assert_eq!(answer.problem().1, "busy"),
                    _ => panic!("{}", answer.text),
                }
            }
        })
    });
    for patch in patching {
        patch.await.unwrap();
    }
    let shown = node.send("GET", "/v1/programs/demo", "").await.json();
    assert!(fields.iter().all(|field| shown["risk"][field] == 7), "{shown}");
}

#[tokio::test]
async fn every_record_has_a_tag_that_guards_it() {
    let (node, samples) = with_samples().await;
    for Sample { path, body, .. } in samples {
        let shown = node.send("GET", &path, "").await;
        let tag = shown.headers["etag"].clone();
        assert_eq!(tag, format!("\"{}\"", shown.json()["version"]));
        let known = conditional(&node, "GET", &path, &format!("if-none-match: \"1\", W/{tag}"), "").await;
        assert_eq!((known.status, &known.headers["etag"]), (304, &tag), "{path}");
        let other = conditional(&node, "GET", &path, "if-none-match: \"1\"", "").await;
        assert_eq!((other.status, other.json()), (200, shown.json()));
        assert_eq!(conditional(&node, "GET", &path, "if-match: \"1\"", "").await.problem().0, 412);
        let body = body.to_string();
        for (method, body) in [("PUT", body.as_str()), ("PATCH", "{}"), ("PUT", &shown.text)] {
            for header in ["if-match: \"1\"", "if-none-match: *", &format!("if-none-match: {tag}")] {
                let refused = conditional(&node, method, &path, header, body).await;
                assert_eq!(
                    refused.problem(),
                    (412, "precondition_failed".into(), String::new()),
                    "{method} {path}"
                );
            }
            for header in ["if-match: *", &format!("if-match: \"1\", {tag}"), "if-none-match: \"1\""] {
                let done = conditional(&node, method, &path, header, body).await;
                assert_eq!((done.status, &done.headers["etag"]), (200, &tag), "{method} {path} {header}");
            }
            let wrong = conditional(&node, method, &path, "if-match: 1", body).await;
            assert_eq!(wrong.problem(), (422, "invalid".into(), "if-match".into()));
        }
        assert_eq!(node.send("GET", &path, "").await.json(), shown.json(), "nothing has changed");
    }
    // Of two that have seen one version, one changes it.
    let path = "/v1/programs/demo/referrers/eve";
    let tag = node.send("GET", path, "").await.headers["etag"].clone();
    let guard = format!("if-match: {tag}");
    let first = conditional(&node, "PATCH", path, &guard, r#"{"name": "first"}"#).await;
    assert_eq!(first.status, 200);
    assert_ne!(first.headers["etag"], tag);
    assert_eq!(conditional(&node, "PUT", path, &guard, r#"{"name": "second"}"#).await.status, 412);
    assert_eq!(conditional(&node, "PATCH", path, &guard, r#"{"name": "second"}"#).await.status, 412);
    assert_eq!(conditional(&node, "POST", &format!("{path}/enable"), &guard, "").await.status, 412);
    assert_eq!(node.send("GET", path, "").await.json()["name"], "first");
    let created =
        conditional(&node, "PUT", "/v1/programs/demo/referrers/new", "if-none-match: *", "{}").await;
    assert_eq!((created.status, created.headers.contains_key("etag")), (201, true));
    let absent = conditional(&node, "PUT", "/v1/programs/demo/referrers/newer", "if-match: *", "{}").await;
    assert_eq!(absent.status, 412);
    let host = "/v1/programs/demo/hosts/own.example";
    assert_eq!(conditional(&node, "DELETE", host, "if-match: \"1\"", "").await.status, 412);
    let unclaimed = node.send("DELETE", host, "").await;
    assert_eq!((unclaimed.status, unclaimed.headers.get("etag")), (200, None));
    assert_eq!(conditional(&node, "PUT", host, "if-match: *", "").await.status, 412, "it was released");
    assert_eq!(conditional(&node, "PUT", host, "if-none-match: *", "").await.status, 201);
}

#[tokio::test]
async fn the_same_created_again_is_there_and_another_is_told_by_its_fields() {
    let node = Node::start().await;
    let referrers = "/v1/programs/demo/referrers";
    let links = "/v1/programs/demo/links";
    let eve = json!({"id": "eve", "name": "Eve"});
    let link = json!({"code": "june", "referrer": "ann", "channel": "email", "destination": "https://shop.example/sale",
                      "http_status": 302});
    for (path, body, other) in [
        (referrers, &eve, json!({"id": "eve", "name": "Eva", "disabled": true})),
        (
            links,
            &link,
            json!({"code": "june", "referrer": "ann", "destination": "https://shop.example/", "http_status": 301}),
        ),
    ] {
        let created = node.post(path, body.clone()).await;
        assert_eq!(created.status, 201, "{}", created.text);
        let again = node.post(path, body.clone()).await;
        assert_eq!((again.status, again.json()), (200, created.json()));
        assert_eq!(again.headers["etag"], created.headers["etag"]);
        let shown = node.post(path, created.json()).await;
        assert_eq!((shown.status, shown.json()), (200, created.json()), "what is shown can be created again");
        let refused = node.post(path, other.clone()).await;
        assert_eq!(refused.problem().0, 409, "{}", refused.text);
        let named: BTreeSet<String> = refused.json()["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect();
        let present = created.json();
        let asked = other.as_object().unwrap();
        let differing: BTreeSet<String> = present
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, value)| match name.as_str() {
                "channel" => *value != asked.get(*name).unwrap_or(&json!("")),
                name => asked.get(name).is_some_and(|asked| asked != *value),
            })
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(named, differing);
        let many = node.post(path, json!([body, other, body])).await;
        assert_eq!(many.status, 207, "{}", many.text);
        let json = many.json();
        assert_eq!((&json["created"], &json["unchanged"]), (&json!(0), &json!(2)));
        assert_eq!(json["results"][0]["status"], "unchanged");
        let (status, code, field) = problem(&json["results"][1]["error"], None);
        assert_eq!((status, code.as_str()), (409, "conflict"));
        assert!(named.contains(&field));
        assert_eq!(node.post(path, json!([body, body])).await.status, 200, "nothing is new");
    }
    let mixed = node.post(referrers, json!([eve, {"id": "zoe"}, {"id": "zoe"}])).await;
    let json = mixed.json();
    assert_eq!((mixed.status, &json["created"], &json["unchanged"]), (201, &json!(1), &json!(2)));
    // Whose a code of another program is, is not for this one to know.
    let taken = json!({"host": "go.example", "code": "xyz", "referrer": "ann", "destination": "https://shop.example/"});
    let refused = node.post(links, taken).await;
    assert_eq!(refused.problem(), (409, "conflict".into(), "code".into()));
    assert!(!refused.text.contains("bob") && !refused.text.contains("other"), "{}", refused.text);
    let guarded = conditional(&node, "POST", referrers, "if-none-match: *", &eve.to_string()).await;
    assert_eq!(guarded.problem().0, 412);
}

#[tokio::test]
async fn a_key_changes_within_its_bounds() {
    let node = Node::start().await;
    let made = node.post("/v1/keys", json!({"program": "demo", "scopes": ["registry:read"]})).await.json();
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    let key = format!("authorization: Bearer {}", made["key"].as_str().unwrap());
    assert!(made["key"].is_string() && node.send("GET", &path, "").await.json().get("key").is_none());
    let more = json!({"scopes": ["registry:read", "registry:write"]}).to_string();
    let maker = node.key(json!({"all_programs": true, "scopes": ["registry:write"]})).await;
    let beyond =
        node.send_as("PATCH", &path, &[&maker], json!({"scopes": ["events:write"]}).to_string()).await;
    assert_eq!(beyond.problem(), (403, "forbidden".into(), "scopes".into()));
    assert_eq!(node.send_as("PATCH", &path, &[&maker], more).await.status, 200);
    assert_eq!(
        node.send_as("POST", "/v1/programs/demo/disable", &[&key], "").await.status,
        200,
        "the same secret"
    );
    let free = json!({"program": "demo", "scopes": ["registry:read"]}).to_string();
    assert_eq!(
        node.send("PUT", "/v1/keys/0011223344556677", free).await.problem().0,
        404,
        "keys are made by POST"
    );
    assert_eq!(
        node.post("/v1/keys", json!({"id": "mine", "program": "demo", "scopes": ["registry:read"]}))
            .await
            .problem()
            .2,
        "id"
    );
    assert_eq!(node.send("PATCH", &path, r#"{"disabled": true}"#).await.status, 200);
    assert_eq!(node.send_as("GET", "/v1/programs", &[&key], "").await.status, 401);
    assert_eq!(node.send("PATCH", &path, r#"{"disabled": false}"#).await.problem().2, "disabled");
}

#[tokio::test]
async fn a_host_is_released_and_claimed_by_what_it_says() {
    let node = Node::start().await;
    let path = "/v1/programs/demo/hosts/own.example";
    let put = async |body: &str| node.send("PUT", path, body).await;
    assert_eq!(put(r#"{"claimed": false}"#).await.status, 200, "nobody has it");
    assert_eq!(put("{}").await.status, 201);
    assert_eq!(put("").await.status, 200);
    let released = node.send("PATCH", path, r#"{"claimed": false}"#).await;
    assert_eq!((released.status, &released.json()["claimed"]), (200, &json!(false)));
    assert_eq!(node.send("PATCH", path, "{}").await.json()["claimed"], false);
    node.clock_ms.store(NOW.0 + 1000, Ordering::Relaxed);
    let claimed = node.send("PATCH", path, r#"{"claimed": true}"#).await;
    assert_eq!((claimed.status, &claimed.json()["created"]), (201, &json!(NOW.plus_ms(1000).rfc3339())));
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_read_in_pages() {
    let (node, samples) = with_samples().await;
    for (n, id) in ["c", "a", "b"].into_iter().enumerate() {
        node.clock_ms.store(NOW.0 + 1000 * (n as i64 + 1), Ordering::Relaxed);
        let referrer = json!({"id": id, "disabled": id == "a"});
        assert_eq!(node.post("/v1/programs/demo/referrers", referrer).await.status, 201);
    }
    let referrers = async |query: &str| -> Vec<String> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/programs/demo/referrers?limit=2&{query}{after}");
            let page = node.send("GET", &path, "").await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(referrers("").await, ["a", "ann", "b", "c", "eve"]);
    assert_eq!(referrers("sort=-name").await, ["eve", "c", "b", "ann", "a"]);
    assert_eq!(referrers("sort=changed").await, ["ann", "eve", "c", "a", "b"]);
    assert_eq!(referrers("sort=-changed").await, ["b", "a", "c", "eve", "ann"]);
    assert_eq!(referrers("disabled=true").await, ["a", "eve"]);
    assert_eq!(referrers("disabled=false&sort=-changed").await, ["b", "c", "ann"]);
    let since = NOW.plus_ms(2000).rfc3339();
    assert_eq!(referrers(&format!("changed_since={since}")).await, ["a", "b"]);
    assert_eq!(node.send("POST", "/v1/programs/demo/referrers/ann/disable", "").await.status, 200);
    assert_eq!(referrers(&format!("changed_since={since}")).await, ["a", "ann", "b"]);
    assert_eq!(referrers(&format!("created_since={since}")).await, ["a", "b"]);

    let count = async |path: &str| node.send("GET", path, "").await.json()["items"].as_array().unwrap().len();
    for (path, expected) in [
        ("/v1/programs?disabled=true", 1),
        ("/v1/programs/demo/links?host=go.example&channel=email&referrer=ann&test=true", 1),
        ("/v1/programs/demo/links?channel=none", 0),
        ("/v1/keys?program=demo", 1),
        ("/v1/keys?program=other", 0),
        ("/v1/programs/demo/sources?provider=generic&test=true", 1),
        ("/v1/programs/demo/sources?provider=stripe", 0),
        ("/v1/programs/demo/endpoints?disabled=true", 1),
        ("/v1/programs/demo/hosts?sort=changed", 1),
    ] {
        assert_eq!(count(path).await, expected, "{path}");
    }
    for path in ["/v1/programs/demo/links?referrer=nobody", "/v1/keys?program=nobodys"] {
        let answer = node.send("GET", path, "").await;
        assert_eq!((answer.status, answer.problem().1), (404, "not_found".into()), "{path}");
    }
    let empty = node.send("GET", "/v1/programs/demo/links?referrer=", "").await;
    assert_eq!(empty.problem(), (422, "invalid_parameter".into(), "referrer".into()));
    // In its list a record is as it is alone.
    for Sample { path, .. } in samples {
        let alone = node.send("GET", &path, "").await.json();
        let list = match path.rsplit_once("/links/") {
            Some((program, _)) => format!("{program}/links"),
            None => path.rsplit_once('/').unwrap().0.to_owned(),
        };
        let listed = node.send("GET", &list, "").await.json();
        assert!(listed["items"].as_array().unwrap().contains(&alone), "{path}: {alone} in {listed}");
    }
    let program = node.key(json!({"program": "demo", "scopes": ["registry:read"]})).await;
    let own = node.send_as("GET", "/v1/programs?sort=-changed&limit=1", &[&program], "").await.json();
    assert_eq!((&own["items"][0]["id"], own.get("next")), (&json!("demo"), None));
    assert_eq!(node.send("GET", "/v1/programs?sort=changed&after=demo", "").await.problem().2, "after");
}

#[tokio::test]
async fn the_document_names_the_parameters_of_every_list() {
    for (path, kind) in [
        ("/v1/programs", Kind::Program),
        ("/v1/programs/p/referrers", Kind::Referrer),
        ("/v1/programs/p/links", Kind::Link),
        ("/v1/programs/p/hosts", Kind::Host),
        ("/v1/programs/p/sources", Kind::Source),
        ("/v1/programs/p/endpoints", Kind::Endpoint),
        ("/v1/keys", Kind::Key),
    ] {
        let parameters = operation("GET", path).unwrap()["parameters"].as_array().unwrap();
        let named: BTreeSet<&str> =
            parameters.iter().map(|parameter| resolved(parameter)["name"].as_str().unwrap()).collect();
        assert_eq!(named, query::parameters_of_list(kind).into_iter().collect(), "{path}");
    }
}

#[tokio::test]
async fn parameters_that_a_call_does_not_take_are_refused_by_name() {
    let node = Node::start().await;
    let mut asked = 0;
    for (template, methods) in Route::table() {
        let path =
            template.replace("{name}", "lead.json").replace("{program}", "demo").replace(['{', '}'], "");
        if template.contains("/webhooks/") || template.contains("/postback/") || template.ends_with("dry-run")
        {
            continue;
        }
        for method in methods.split(", ") {
            let answer = node.send(method, &format!("{path}?foo=1&limit=1&limit=2"), "{}").await;
            let (status, code, field) = answer.problem();
            assert_eq!(
                (status, code.as_str(), field.as_str()),
                (422, "invalid_parameter", "foo"),
                "{method} {path}"
            );
            assert_eq!(answer.json()["detail"], "unknown query parameter `foo`");
            assert!(answer.json()["errors"].as_array().unwrap().len() >= 2, "{}", answer.text);
            asked += 1;
        }
    }
    assert!(asked > 50, "{asked}");
    let twice = node.send("GET", "/v1/programs?limit=1&limit=1", "").await;
    assert_eq!(twice.json()["detail"], "query parameter `limit` is given twice");
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_head_is_get_without_a_body() {
    let (node, samples) = with_samples().await;
    let key = format!("authorization: Bearer {}", node.admin);
    let given = node.send_as("GET", "/v1/programs", &[&key, "request-id: abc-1"], "").await;
    assert_eq!(given.headers["request-id"], "abc-1");
    let given = node.send_as("GET", "/v1/nothing", &["x-request-id: abc-2"], "").await;
    assert_eq!((given.status, given.headers["request-id"].as_str()), (404, "abc-2"));
    let made = node.send_as("GET", "/v1/programs", &["request-id: <script>"], "").await;
    assert_eq!((made.status, made.headers["request-id"].len()), (401, 36));
    let mut paths: Vec<String> = samples.into_iter().map(|sample| sample.path).collect();
    for path in [
        "/v1/programs",
        "/v1/programs/demo/links",
        "/v1/keys",
        "/v1/openapi.json",
        "/v1/schemas/lead.json",
        "/v1/programs/none",
    ] {
        paths.push(path.to_owned());
    }
    for path in paths {
        let get = node.send("GET", &path, "").await;
        let head = node.send("HEAD", &path, "").await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.headers["content-length"], get.text.len().to_string(), "{path}");
        for name in ["content-type", "etag", "cache-control"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{path} {name}");
        }
    }
    let refused = node.send("HEAD", "/v1/events", "").await;
    assert_eq!((refused.status, refused.headers["allow"].as_str()), (405, "POST"));
    let refused = node.send("DELETE", "/v1/programs/demo", "").await;
    assert_eq!(refused.headers["allow"], "GET, PATCH, PUT, HEAD");
    let postback = node.send("HEAD", "/v1/postback/demo", "").await;
    assert_eq!(
        (postback.status, postback.headers["allow"].as_str()),
        (405, "GET"),
        "a probe reports no event"
    );
    for response in DOCUMENT["components"]["responses"].as_object().unwrap().values() {
        assert!(response["headers"]["Request-Id"]["schema"].is_object(), "{response}");
    }
}

/// What is logged, as JSON lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_lines_about_a_request_have_its_id() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::WARN);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let node = Node::start().await;
    let key = node.key(json!({"program": "demo", "scopes": ["registry:write"]})).await;
    node.names.is_away.store(true, Ordering::Relaxed);
    let refused =
        node.send_as("PUT", "/v1/programs/demo/hosts/own.example", &[&key, "request-id: told-1"], "").await;
    assert_eq!(refused.problem().1, "dns_unavailable");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line =
        text.lines().find(|line| line.contains("can't be proved")).unwrap_or_else(|| panic!("{text:?}"));
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["id"], "told-1", "{line}");
}

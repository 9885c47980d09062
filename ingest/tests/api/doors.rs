//! What a key for one program could do to others, or leave behind: secrets, hosts, keys, addresses, letters.

use super::node::Node;
use super::webhooks::{deliver, put};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use whence_schemas::event::event::Body;

/// A key that may write the registry of this program.
async fn writer(node: &Node, program: &str) -> String {
    node.key(json!({"name": "writer", "program": program, "scopes": ["registry:write"]})).await
}

#[tokio::test]
async fn a_source_or_endpoint_names_secrets_of_its_own_program_that_exist_and_no_others() {
    let node = Node::start().await;
    let key = writer(&node, "other").await;
    for names in [
        json!(["main"]),
        json!(["demo/main"]),
        json!(["nowhere"]),
        json!(["other/nowhere"]),
        json!(["own", "nowhere"]),
        json!(["own", "demo/main"]),
        json!(["own", "other/own"]),
        json!([" own"]),
        json!(["Own"]),
        json!([""]),
        json!(["/own"]),
        json!(["other/"]),
        json!(["other/own/own"]),
    ] {
        for (path, body) in [
            ("/v1/programs/other/sources/crm", json!({"provider": "stripe", "secrets": names})),
            ("/v1/programs/other/sources/postback", json!({"provider": "postback", "secrets": names})),
            ("/v1/programs/other/endpoints/shop", json!({"url": "https://shop.example/", "secrets": names})),
        ] {
            for header in [key.clone(), format!("authorization: Bearer {}", node.admin)] {
                let answer = node.send_as("PUT", path, &[&header], body.to_string()).await;
                let (status, _, field) = answer.problem();
                assert!(status == 422 && field.starts_with("secrets"), "{path} {names}: {}", answer.text);
            }
        }
    }
    for name in ["own", "other/own"] {
        let body = json!({"provider": "stripe", "secrets": [name]}).to_string();
        let answer = node.send_as("PUT", "/v1/programs/other/sources/crm", &[&key], body).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
        assert_eq!(answer.json()["secrets"], json!(["own"]), "both say the same");
    }
}

#[tokio::test]
async fn a_key_for_one_program_takes_no_host_that_its_program_has_not() {
    let node = Node::start().await;
    let key = writer(&node, "other").await;
    let link = |host: &str| json!({"host": host, "code": "c", "referrer": "bob", "destination": "https://shop.example/"});
    let program = |hosts: &[&str]| json!({"destination_hosts": ["shop.example"], "link_hosts": hosts});
    for host in [
        "free.example",
        "go.example:8443",
        "sub.go.example",
        "203.0.113.9",
        "[2001:db8::1]",
        "xn--bcher-kva.example",
    ] {
        let answer = node.send_as("POST", "/v1/programs/other/links", &[&key], link(host).to_string()).await;
        assert_eq!(answer.problem(), (409, "conflict".into(), "host".into()), "{host}");
        let many = json!([link(host), link(host)]).to_string();
        let answer = node.send_as("POST", "/v1/programs/other/links", &[&key], many).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        let answer = node.send_as("PUT", "/v1/programs/other", &[&key], program(&[host]).to_string()).await;
        assert_eq!(answer.problem(), (409, "conflict".into(), "link_hosts[0]".into()), "{host}");
        assert_eq!(node.send("GET", &format!("/v1/programs/other/links/{host}/c"), "").await.status, 404);
    }
}

#[tokio::test]
async fn a_key_of_all_programs_is_made_for_who_asks_for_it_and_for_nobody_else() {
    let node = Node::start().await;
    for body in [
        json!({"name": "k", "scopes": ["registry:read"]}),
        json!({"name": "k", "scopes": ["registry:read"], "program": null}),
        json!({"name": "k", "scopes": ["registry:read"], "program": ""}),
        json!({"name": "k", "scopes": ["registry:read"], "program": " "}),
        json!({"name": "k", "scopes": ["registry:read"], "program": "\u{a0}"}),
        json!({"name": "k", "scopes": ["registry:read"], "program": "*"}),
        json!({"name": "k", "scopes": ["registry:read"], "program": ["demo"]}),
        json!({"name": "k", "scopes": ["registry:read"], "all_programs": false}),
        json!({"name": "k", "scopes": ["registry:read"], "program": "demo", "all_programs": true}),
    ] {
        let answer = node.post("/v1/keys", body.clone()).await;
        assert_ne!(answer.status, 201, "{body} {}", answer.text);
        assert_eq!(answer.problem().2, "program", "{body} {}", answer.text);
    }
    let of_one = writer(&node, "demo").await;
    let asked = json!({"name": "k", "scopes": ["registry:read"], "all_programs": true});
    assert_eq!(node.send_as("POST", "/v1/keys", &[&of_one], asked.to_string()).await.status, 403);
    let made = node.post("/v1/keys", asked).await;
    assert_eq!(
        (made.status, &made.json()["program"], &made.json()["all_programs"]),
        (201, &Value::Null, &json!(true))
    );
}

#[tokio::test]
async fn an_address_that_can_never_be_called_is_refused_when_it_is_saved() {
    let node = Node::start().await;
    for url in [
        "https://10.0.0.1/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:a00:1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://0/",
        "https://1.2.3.4.5/",
        "https://1.2.3/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://a.localhost/",
        "https://localhost./",
        "https://intranet/",
        "https://printer.local/",
        "https://db.internal/",
        "https://nas.home.arpa/",
        "https://x.onion/",
        "https://x.invalid/",
        "http://shop.example/",
        "http://127.0.0.1:9000/",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/",
        "https://user@shop.example/",
        "https://u:p@shop.example/",
        "https://shop.example/#a",
        "https://shop.example:0/",
        "https://shop.example:/",
        "https://shop.example:+1/",
        "https://shop.example:65536/",
        "https://shop.example:443:443/",
        "ftp://shop.example/",
        "HTTPS:shop.example",
        "//shop.example/",
        "https://",
        "https:///a",
        "https://.shop.example/",
        "https://shop..example/",
        "https://shop.example./",
        "https://-shop.example/",
        "https://sh%6fp.example/",
        "https://sh\u{f6}p.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/a b",
        "https://shop.example/\"",
        "https://[::1/",
        "https://::1/",
        "https://[10.0.0.1]/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://shop_example../",
    ] {
        let body = json!({"url": url, "secrets": ["main"]}).to_string();
        let answer = node.send("PUT", "/v1/programs/demo/endpoints/shop", body).await;
        assert_eq!(answer.status, 422, "{url}: {}", answer.text);
        let fields = answer.json()["errors"].to_string();
        assert!(fields.contains("\"url\"") && !fields.contains("secrets"), "{url}: {fields}");
    }
}

#[tokio::test]
async fn who_proves_nothing_drops_no_letter_of_who_does() {
    let node = Node::start().await;
    put(&node, "stripe", json!({"provider": "stripe", "secrets": ["main"]})).await;
    for _ in 0..300 {
        assert_eq!(node.send_as("POST", "/v1/webhooks/demo/stripe", &[], "{}").await.status, 401);
    }
    for index in 0..215 {
        assert_eq!(deliver(&node, "stripe", &[], &format!("no json {index}")).await.status, 400);
    }
    let kept = |reason: &str| {
        let is_of = |body: &Body| matches!(body, Body::DeadLetter(letter) if letter.reason == reason);
        node.events().iter().filter(|event| event.body.as_ref().is_some_and(is_of)).count()
    };
    assert_eq!(kept("unreadable"), 215, "0 of 215 are dropped");
    assert!(kept("unsigned") < 50, "{} of 300", kept("unsigned"));
}

/// What `GET` says of a host: whether it is the program's, and the name and text of the record that proves it.
async fn host(node: &Node, program: &str, host: &str) -> (bool, String, String) {
    let answer = node.send("GET", &format!("/v1/programs/{program}/hosts/{host}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    let text = |name: &str| json["record"][name].as_str().unwrap_or_default().to_owned();
    (json["claimed"].as_bool().unwrap(), text("name"), text("value"))
}

#[tokio::test]
async fn a_host_is_claimed_by_its_record_in_the_dns_and_then_takes_codes() {
    let node = Node::start().await;
    let key = writer(&node, "other").await;
    let link = json!({"host": "own.example", "code": "c", "referrer": "bob", "destination": "https://shop.example/"});
    let claim = async || node.send_as("PUT", "/v1/programs/other/hosts/own.example", &[&key], "").await;
    let put = async || node.send_as("POST", "/v1/programs/other/links", &[&key], link.to_string()).await;

    let (is_claimed, name, value) = host(&node, "other", "own.example").await;
    assert_eq!((is_claimed, name.as_str(), value.len()), (false, "_whence.own.example", 14 + 32));
    let refused = claim().await;
    assert_eq!(refused.problem(), (422, "host_unproved".into(), "host".into()));
    assert!(
        refused.text.contains(&name) && refused.text.contains(&value),
        "it says what to set: {}",
        refused.text
    );
    // Not another's record, not a part of the own one, not at another name.
    let (_, _, anothers) = host(&node, "demo", "own.example").await;
    let (_, _, of_another) = host(&node, "other", "own2.example").await;
    node.names.set(&name, &[&anothers, &of_another, &value[..value.len() - 1], "v=spf1 -all"]);
    node.names.set("own.example", &[&value]);
    assert_eq!(claim().await.problem().1, "host_unproved");
    assert_eq!(put().await.status, 409);

    node.names.is_away.store(true, Ordering::Relaxed);
    assert_eq!(claim().await.problem().1, "dns_unavailable");
    node.names.is_away.store(false, Ordering::Relaxed);
    node.names.set(&name, &["v=spf1 -all", &value]);
    let claimed = claim().await;
    assert_eq!((claimed.status, &claimed.json()["by"]), (201, &json!("dns")), "{}", claimed.text);
    assert_eq!(put().await.status, 201);
    let listing = json!({"destination_hosts": ["shop.example"], "link_hosts": ["own.example"]}).to_string();
    assert_eq!(node.send_as("PUT", "/v1/programs/other", &[&key], listing).await.status, 200);
    // The record need not stay, and the claim is asked for again without it.
    node.names.set(&name, &[]);
    assert_eq!((claim().await.status, put().await.status), (200, 200), "both are there already");
    let listed = node.send_as("GET", "/v1/programs/other/hosts", &[&key], "").await.json();
    assert_eq!(
        (&listed["items"][0]["host"], listed["items"].as_array().unwrap().len()),
        (&json!("own.example"), 1)
    );
    for below in ["sub.own.example", "own.example:8443"] {
        let link =
            json!({"host": below, "referrer": "bob", "destination": "https://shop.example/"}).to_string();
        assert_eq!(
            node.send_as("POST", "/v1/programs/other/links", &[&key], link).await.status,
            409,
            "{below}"
        );
    }
}

#[tokio::test]
async fn only_a_key_of_all_programs_claims_what_has_no_name_in_the_dns() {
    let node = Node::start().await;
    let key = writer(&node, "other").await;
    for host in ["203.0.113.9", "203.0.113.9:8080", "[2001:db8::1]", "localhost"] {
        let path = format!("/v1/programs/other/hosts/{host}");
        let shown = node.send_as("GET", &path, &[&key], "").await.json();
        assert_eq!((&shown["claimed"], &shown["record"]), (&json!(false), &Value::Null));
        assert_eq!(node.send_as("PUT", &path, &[&key], "").await.problem().2, "host", "{host}");
        let claimed = node.send("PUT", &path, "").await;
        assert_eq!((claimed.status, &claimed.json()["by"]), (201, &json!("admin")), "{host}");
        let link =
            json!({"host": host, "referrer": "bob", "destination": "https://shop.example/"}).to_string();
        assert_eq!(node.send_as("POST", "/v1/programs/other/links", &[&key], link).await.status, 201);
    }
    for host in [
        "GO.example",
        "own.example.",
        "own.example:443",
        "b%C3%BCcher.example",
        "own.example%2Fa",
        "*.example",
    ] {
        for method in ["GET", "PUT"] {
            let answer = node.send_as(method, &format!("/v1/programs/other/hosts/{host}"), &[&key], "").await;
            assert_eq!((answer.status, answer.problem().2), (422, "host".into()), "{method} {host}");
        }
    }
    assert_eq!(node.names.asked.load(Ordering::Relaxed), 0, "nobody is asked about what has no name");
}

#[tokio::test]
async fn of_two_programs_that_prove_one_host_one_has_it_until_it_releases_it() {
    let node = Node::start().await;
    let (one, other) = (writer(&node, "demo").await, writer(&node, "other").await);
    let (_, name, of_demo) = host(&node, "demo", "race.example").await;
    let (_, _, of_other) = host(&node, "other", "race.example").await;
    node.names.set(&name, &[&of_demo, &of_other]);
    let claim = async |program: &str, key: &str| {
        node.send_as("PUT", &format!("/v1/programs/{program}/hosts/race.example"), &[key], "").await.status
    };
    let mut both = <[u16; 2]>::from(tokio::join!(claim("demo", &one), claim("other", &other)));
    let (winner, key, loser, losers) = match both {
        [201, _] => ("demo", &one, "other", &other),
        _ => ("other", &other, "demo", &one),
    };
    both.sort_unstable();
    assert_eq!(both, [201, 409]);
    let referrer = if winner == "demo" { "ann" } else { "bob" };
    let link = json!({"host": "race.example", "code": "c", "referrer": referrer, "destination": "https://shop.example/"});
    let links = format!("/v1/programs/{winner}/links");
    assert_eq!(node.send_as("POST", &links, &[key], link.to_string()).await.status, 201);
    let path = format!("/v1/programs/{winner}/hosts/race.example");
    let foreign = format!("/v1/programs/{loser}/hosts/race.example");
    assert_eq!(node.send_as("DELETE", &path, &[losers], "").await.status, 403);
    assert_eq!(node.send_as("DELETE", &foreign, &[losers], "").await.status, 404);
    // Who claims it next must not find another's codes on it.
    assert_eq!(
        node.send_as("DELETE", &path, &[key], "").await.problem(),
        (409, "conflict".into(), "host".into())
    );
    let switch = async |what: &str| {
        node.send_as("POST", &format!("{links}/race.example/c/{what}"), &[key], "").await.status
    };
    assert_eq!(switch("disable").await, 200);
    let released = node.send_as("DELETE", &path, &[key], "").await;
    assert_eq!((released.status, &released.json()["claimed"]), (200, &json!(false)));
    assert_eq!(claim(loser, losers).await, 201);
    assert_eq!(switch("enable").await, 409, "a code comes back on nobody else's host");
    let patch = json!({"disabled": false}).to_string();
    let answer = node.send_as("PATCH", &format!("{links}/race.example/c"), &[key], patch).await;
    assert_eq!(answer.problem(), (409, "conflict".into(), "host".into()));
    let disabled = json!({"host": "race.example", "code": "d", "referrer": referrer, "disabled": true,
        "destination": "https://shop.example/"});
    assert_eq!(node.send_as("POST", &links, &[key], disabled.to_string()).await.status, 409);
}

#[tokio::test]
async fn a_host_without_a_claim_is_the_programs_that_has_links_there() {
    let node = Node::start().await;
    let (one, other) = (writer(&node, "demo").await, writer(&node, "other").await);
    // A link that a key of all programs makes, or that is older than claims.
    let link = |code: &str| json!({"host": "old.example", "code": code, "referrer": "ann", "destination": "https://shop.example/"});
    assert_eq!(node.post("/v1/programs/demo/links", link("a")).await.status, 201);
    assert_eq!(node.send("GET", "/v1/programs/demo/hosts/old.example", "").await.json()["by"], "links");
    assert_eq!(
        node.send_as("POST", "/v1/programs/demo/links", &[&one], link("b").to_string()).await.status,
        201
    );
    let (_, name, value) = host(&node, "other", "old.example").await;
    node.names.set(&name, &[&value]);
    let answer = node.send_as("PUT", "/v1/programs/other/hosts/old.example", &[&other], "").await;
    assert_eq!(answer.problem(), (409, "conflict".into(), "host".into()), "a key of all programs settles it");
    assert_eq!(node.send("PUT", "/v1/programs/other/hosts/old.example", "").await.status, 201);
    assert_eq!(
        node.send_as("POST", "/v1/programs/demo/links", &[&one], link("c").to_string()).await.status,
        409
    );
}

//! One payload of each provider, signed and sent to `whence up`, is credited in the real engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use support::{Role, ask};
use tempfile::tempdir;
use whence_ingest::webhooks::sign::{hex, hmac_sha1, hmac_sha256, sha256};

const SECRET: &str = "a secret that is long enough";

macro_rules! payload {
    ($name:literal) => {
        include_str!(concat!("../../../ingest/tests/api/webhooks/payloads/", $name))
    };
}

struct Delivery {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// One of each provider, with this token, as if it had happened now.
fn deliveries(token: &str) -> Vec<Delivery> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let prepared = |text: &str| {
        let text = text.replace("TOKEN", token).replace("\"2027-01-15T08:59:30+01:00\"", "null");
        let text = text.replace("\"2027-01-15T07:59:00-00:00\"", "null");
        let seconds = ["1799999980", "1799999985", "1799999990"];
        seconds.into_iter().fold(text, |text, then| text.replace(then, &now.to_string()))
    };
    let key = SECRET.as_bytes();
    let mac = |body: &str| hmac_sha256(key, &[body.as_bytes()]);
    let stripe = prepared(payload!("stripe_checkout.json"));
    let stripe_signature = hex(&hmac_sha256(key, &[format!("{now}.{stripe}").as_bytes()]));
    let hubspot = prepared(payload!("hubspot_batch.json"));
    let intercom = prepared(payload!("intercom_user.json"));
    let shopify = prepared(payload!("shopify_order.json"));
    vec![
        Delivery {
            path: "stripe",
            headers: vec![("stripe-signature", format!("t={now},v1={stripe_signature}"))],
            body: stripe,
        },
        Delivery {
            path: "hubspot",
            headers: vec![
                ("x-hubspot-signature", hex(&sha256(&[key, hubspot.as_bytes()]))),
                ("x-hubspot-signature-version", "v1".into()),
            ],
            body: hubspot,
        },
        Delivery {
            path: "salesforce?token=a+secret+that+is+long+enough",
            headers: vec![("content-type", "text/xml".into())],
            body: prepared(payload!("salesforce_outbound.xml")),
        },
        Delivery {
            path: "intercom",
            headers: vec![("x-hub-signature", format!("sha1={}", hex(&hmac_sha1(key, intercom.as_bytes()))))],
            body: intercom,
        },
        Delivery {
            path: "shopify",
            headers: vec![
                ("x-shopify-hmac-sha256", STANDARD.encode(mac(&shopify))),
                ("x-shopify-topic", "orders/paid".into()),
            ],
            body: shopify,
        },
    ]
}

#[test]
fn what_providers_send_is_credited_and_what_proves_nothing_is_a_reject() {
    let dir = tempdir().unwrap();
    let (data, secrets) = (dir.path().join("data"), dir.path().join("webhook-secrets"));
    fs::write(&secrets, format!("# made up\nmain={SECRET}\n")).unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    let whence = Role::start(&data, &["up", "--webhook-secrets-file", secrets.to_str().unwrap()]);
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    for provider in ["stripe", "hubspot", "salesforce", "intercom", "shopify", "postback"] {
        let mut source = json!({ "provider": provider, "secrets": ["main"] });
        if provider == "salesforce" {
            source["organization"] = json!("00D5g000004abcdEAA");
        }
        whence.call_with(&key, "PUT", &format!("/v1/programs/p/sources/{provider}"), &source);
    }
    let token = whence.click("x");
    let api = whence.address("api");
    // Twice: providers do.
    for _ in 0..2 {
        for Delivery { path, headers, body } in deliveries(&token) {
            let answer = ask(&api, "POST", &format!("/v1/webhooks/p/{path}"), &headers, &body);
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
        let query = format!("subid={token}&status=sale&tid=t-1&payout=12.50&currency=USD");
        let bearer = [("authorization", format!("Bearer {SECRET}"))];
        assert_eq!(ask(&api, "GET", &format!("/v1/postback/p?{query}"), &bearer, "").status, 200);
    }
    assert_eq!(ask(&api, "POST", "/v1/webhooks/p/stripe", &[], "{}").status, 401);

    // Some of the payloads are about one person: its first lead is credited, the others rely on it.
    whence.until_count(
        "SELECT uniqExact(source) FROM leads WHERE touch_evidence = 'token' AND referrer = 'ann'",
        6,
    );
    whence.until_count("SELECT count() FROM rejects WHERE reason = 'unsigned'", 1);
    whence.until_count("SELECT count() FROM leads", 6);
    whence.until_count("SELECT toUInt64(sum(sign)) FROM qualifications", 7);
    // The creation of HubSpot's contact, which its built-in rules leave alone, each time it came.
    whence.until_count("SELECT count() FROM rejects WHERE reason = 'unmapped'", 2);
    whence.until_count("SELECT uniqExact(event_id) FROM rejects WHERE reason = 'unmapped'", 1);
    for (name, value, currency) in [
        ("payment", 4900, "EUR"),
        ("closed_won", 150_000, "EUR"),
        ("purchase", 4900, "JPY"),
        ("sale", 1250, "USD"),
    ] {
        let sql = format!(
            "SELECT toUInt64(sum(sign * value_minor)) FROM qualifications \
             WHERE name = '{name}' AND currency = '{currency}'"
        );
        whence.until_count(&sql, value);
    }
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(!whence.log().contains(SECRET) && !whence.log().contains("long+enough"));
    assert!(whence.stop().success());
}

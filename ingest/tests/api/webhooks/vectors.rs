//! Signatures by the providers' own libraries (`vectors/make.py` says how they were made) and those that
//! HubSpot publishes.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde_json::Value;
use std::borrow::Cow;
use whence_ingest::webhooks::{Delivery, Provider, Refusal};
use whence_schemas::{
    event::{WebhookScheme, WebhookSource},
    time::UnixMs,
};

struct Vector {
    provider: Provider,
    method: &'static str,
    uri: String,
    headers: HeaderMap,
    body: Vec<u8>,
    secret: String,
    now: UnixMs,
}

impl Vector {
    fn verify(&self) -> Result<(), Refusal> {
        let delivery = Delivery {
            method: self.method,
            uri: Cow::Borrowed(&self.uri),
            query: None,
            headers: &self.headers,
            body: &self.body,
            now: self.now,
        };
        let scheme = match self.provider {
            Provider::Generic => WebhookScheme {
                signature_header: "x-signature".into(),
                signature_prefix: "sha256=".into(),
                ..WebhookScheme::default()
            },
            _ => WebhookScheme::default(),
        };
        let source = WebhookSource { scheme: Some(scheme), ..WebhookSource::default() };
        self.provider.verify(&delivery, &source, &[self.secret.as_bytes()])
    }
}

fn headers(of: &Value) -> HeaderMap {
    let pairs = of.as_object().unwrap().iter();
    pairs
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
        })
        .collect()
}

/// The vectors of the libraries, and whether their scheme has a time.
fn of_libraries() -> Vec<(Vector, bool)> {
    let file: Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    let vectors = file["vectors"].as_array().unwrap().iter();
    vectors
        .map(|one| {
            let vector = Vector {
                provider: Provider::of(one["provider"].as_str().unwrap()).unwrap(),
                method: "POST",
                uri: text("uri"),
                headers: headers(&one["headers"]),
                body: text("body").into_bytes(),
                secret: text("secret"),
                now: UnixMs(file["now_s"].as_i64().unwrap() * 1000),
            };
            (vector, one["timeless"] != true)
        })
        .collect()
}

#[test]
fn signatures_of_the_providers_own_libraries_are_believed_and_nothing_near_them_is() {
    let vectors = of_libraries();
    assert_eq!(vectors.len(), 7);
    for (mut vector, has_time) in vectors {
        let provider = vector.provider;
        assert_eq!(vector.verify(), Ok(()), "{provider:?}");
        for at in 0..vector.body.len() {
            vector.body[at] ^= 1;
            assert_eq!(vector.verify(), Err(Refusal::Forged), "{provider:?}, byte {at}");
            vector.body[at] ^= 1;
        }
        // Another key of the same form: Standard Webhooks' is Base64.
        let secret = std::mem::replace(&mut vector.secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx".into());
        assert_eq!(vector.verify(), Err(Refusal::Forged), "{provider:?}, wrong secret");
        vector.secret = secret;
        let now = vector.now;
        for distance_ms in [-300_001, 300_001] {
            vector.now = now.plus_ms(distance_ms);
            let expected = if has_time { Err(Refusal::Stale) } else { Ok(()) };
            assert_eq!(vector.verify(), expected, "{provider:?}, {distance_ms} ms away");
        }
        vector.now = now;
        vector.headers.clear();
        assert_eq!(vector.verify(), Err(Refusal::Unsigned), "{provider:?}, no signature");
    }
}

#[test]
fn a_signature_over_another_address_is_refused_where_the_scheme_has_one() {
    for (mut vector, _) in of_libraries() {
        let is_signed = vector.headers.contains_key("x-hubspot-signature-v3");
        vector.uri.push('x');
        let expected = if is_signed { Err(Refusal::Forged) } else { Ok(()) };
        assert_eq!(vector.verify(), expected, "{:?}", vector.provider);
    }
}

#[test]
fn signatures_of_another_form_are_malformed() {
    for (mut vector, _) in of_libraries() {
        for value in vector.headers.values_mut() {
            *value = HeaderValue::from_bytes(b"\xff?").unwrap();
        }
        let refusal = vector.verify().unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed | Refusal::Unsigned), "{:?}", vector.provider);
        for value in vector.headers.values_mut() {
            *value = HeaderValue::from_static("nonsense!");
        }
        assert_eq!(vector.verify(), Err(Refusal::Malformed), "{:?}", vector.provider);
    }
}

fn published(version: &'static str, signature: &'static str, method: &'static str, body: &str) -> Vector {
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("x-hubspot-signature"), HeaderValue::from_static(signature)),
        (HeaderName::from_static("x-hubspot-signature-version"), HeaderValue::from_static(version)),
    ]);
    Vector {
        provider: Provider::HubSpot,
        method,
        uri: "https://www.example.com/webhook_uri".into(),
        headers,
        body: body.as_bytes().to_vec(),
        secret: "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy".into(),
        now: UnixMs(0),
    }
}

/// Source: HubSpot's documentation, "Validating requests".
#[test]
fn the_vectors_that_hubspot_publishes_are_believed() {
    let body = r#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#;
    let v1 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de";
    let v2 = "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e";
    for (version, signature, method, body) in [("v1", v1, "POST", body), ("v2", v2, "GET", "")] {
        let mut vector = published(version, signature, method, body);
        assert_eq!(vector.verify(), Ok(()), "{version}");
        vector.body.push(b' ');
        assert_eq!(vector.verify(), Err(Refusal::Forged), "{version}, another body");
        vector.body.pop();
        vector.uri.push('x');
        let of_the_address = if version == "v2" { Err(Refusal::Forged) } else { Ok(()) };
        assert_eq!(vector.verify(), of_the_address, "{version}, another address");
        vector.uri.pop();
        vector.secret.push('y');
        assert_eq!(vector.verify(), Err(Refusal::Forged), "{version}");
    }
    assert_eq!(published("v1", v2, "GET", "").verify(), Err(Refusal::Forged), "of another version");
    assert_eq!(published("v4", v2, "GET", "").verify(), Err(Refusal::Malformed));
}

#[test]
fn a_wrong_v3_signature_is_not_made_good_by_a_right_old_one() {
    let v2 = "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e";
    let mut vector = published("v2", v2, "GET", "");
    let forged = HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    vector.headers.insert("x-hubspot-signature-v3", forged);
    vector.headers.insert("x-hubspot-request-timestamp", HeaderValue::from_static("0"));
    assert_eq!(vector.verify(), Err(Refusal::Forged));
}

#[test]
fn while_a_secret_is_replaced_both_are_believed() {
    let (vector, _) = of_libraries().remove(0);
    let delivery = Delivery {
        method: vector.method,
        uri: Cow::Borrowed(&vector.uri),
        query: None,
        headers: &vector.headers,
        body: &vector.body,
        now: vector.now,
    };
    let source = WebhookSource::default();
    let verify = |secrets: &[&[u8]]| Provider::Stripe.verify(&delivery, &source, secrets);
    assert_eq!(verify(&[b"the old one", vector.secret.as_bytes()]), Ok(()));
    assert_eq!(verify(&[b"the old one"]), Err(Refusal::Forged));
    assert_eq!(verify(&[]), Err(Refusal::Unsigned));
}

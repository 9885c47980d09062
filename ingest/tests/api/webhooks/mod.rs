//! Webhooks and postbacks over real sockets: what proves itself, what it becomes, what is kept of the rest.
//!
//! Payloads are shaped as the providers document them, with made-up ids; signatures are made here, and in
//! `vectors` by the providers' own libraries.

mod answers;
mod bodies;
mod cases;
mod dry_run;
mod letters;
mod mappings;
mod matrix;
mod money;
mod nonsense;
mod postback;
mod providers;
mod rules;
mod taken_back;
mod times;
mod touches;
mod vectors;

use crate::node::{Answer, Node};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;
use whence_ingest::registry::{Change, Registry};
use whence_runtime::shares::Callers;
use whence_schemas::event::{Event, event::Body};

/// The secret of every source here, under the name `main`; `other` is another one.
pub const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==";
/// The secrets of every node.
pub const SECRETS: &str = "demo/main=whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==\n\
     demo/other=abcdefghijklmnopqrstuvwxyz\nother/own=abcdefghijklmnopqrstuvwxyz\n\
     demo/shop-1=whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==\ndemo/shop-2=whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==\ndemo/stripe-live=whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==\n";
pub const ORGANIZATION: &str = "00D5g000004abcdEAA";

/// A node with a source for every provider that has built-in rules, named like its provider.
pub async fn node() -> Node {
    node_for(Callers::default()).await
}

/// The same with these shares of its callers' networks.
pub async fn node_for(callers: Callers) -> Node {
    let node = Node::start_for(|_| {}, callers).await;
    for provider in ["stripe", "hubspot", "intercom", "shopify", "postback"] {
        put(&node, provider, json!({"provider": provider, "secrets": ["main"]})).await;
    }
    let salesforce = json!({"provider": "salesforce", "secrets": ["main"], "organization": ORGANIZATION});
    put(&node, "salesforce", salesforce).await;
    node
}

/// Creates or replaces a source of `demo`, which must fit.
pub async fn put(node: &Node, id: &str, body: Value) -> Value {
    let answer = node.send("PUT", &format!("/v1/programs/demo/sources/{id}"), body.to_string()).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json()
}

/// Has a source of `demo` name these secrets, as a process that was given them would have saved it.
pub async fn name_secrets(node: &Node, id: &str, names: &[&str]) {
    let mut source = node.registry.shared().read().source("demo", id).unwrap().clone();
    source.secrets = names.iter().map(|name| (*name).to_owned()).collect();
    node.registry.write(vec![Change::PutSource(source)]).await.unwrap().pop().unwrap().unwrap();
}

pub fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    mac(SECRET.as_bytes(), parts)
}

pub fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a body as its provider does, signed now.
pub async fn deliver(node: &Node, provider: &str, headers: &[&str], body: &str) -> Answer {
    let now_ms = node.clock_ms.load(std::sync::atomic::Ordering::Relaxed);
    let mut path = format!("/v1/webhooks/demo/{provider}");
    let own = match provider {
        "stripe" => {
            let at = (now_ms / 1000).to_string();
            let signature = hex(&sha256(&[at.as_bytes(), b".", body.as_bytes()]));
            vec![format!("stripe-signature: t={at},v1={},v1={signature},v0=00", "0".repeat(64))]
        }
        "hubspot" => {
            let uri = format!("POSThttps://localhost{path}");
            let at = now_ms.to_string();
            let signature = STANDARD.encode(sha256(&[uri.as_bytes(), body.as_bytes(), at.as_bytes()]));
            vec![format!("x-hubspot-signature-v3: {signature}"), format!("x-hubspot-request-timestamp: {at}")]
        }
        "intercom" => {
            let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(body.as_bytes());
            vec![format!("x-hub-signature: sha1={}", hex(&mac.finalize().into_bytes()))]
        }
        "shopify" => {
            vec![format!("x-shopify-hmac-sha256: {}", STANDARD.encode(sha256(&[body.as_bytes()])))]
        }
        "svix" => {
            // The secret is the Base64 behind whsec_, not its text.
            let (key, at) = (b"secret of the tests", (now_ms / 1000).to_string());
            let signature = STANDARD.encode(mac(key, &[b"msg_1.", at.as_bytes(), b".", body.as_bytes()]));
            vec![
                "webhook-id: msg_1".to_owned(),
                format!("webhook-timestamp: {at}"),
                format!("webhook-signature: v1,{signature}"),
            ]
        }
        "salesforce" => {
            path.push_str(&format!("?token={}", SECRET.replace('=', "%3D")));
            vec!["content-type: text/xml; charset=utf-8".to_owned(), "soapaction: \"\"".to_owned()]
        }
        _ => vec![format!("authorization: Bearer {SECRET}")],
    };
    let mut lines: Vec<&str> = own.iter().map(String::as_str).collect();
    lines.extend(headers);
    node.send_as("POST", &path, &lines, body).await
}

/// What an event is, without its ids and times.
pub fn gist(event: &Event) -> String {
    match event.body.as_ref().unwrap() {
        Body::Lead(lead) => {
            let subject = lead.subject.as_ref().unwrap();
            let referrers: Vec<_> = lead.touches.iter().map(|touch| touch.referrer.as_str()).collect();
            format!("lead {:?} keys {} by {referrers:?}", subject.lead, subject.keys.len())
        }
        Body::Qualification(q) => {
            let keys = q.subject.as_ref().unwrap().keys.len();
            format!("qualification {} {} {} keys {keys}", q.name, q.value_minor, q.currency)
        }
        Body::Disqualification(d) => {
            let of = match (d.qualification_id.is_empty(), d.payments.is_empty()) {
                (true, true) => "all",
                (true, false) => "a payment",
                (false, _) => "one",
            };
            format!("disqualification {} {} {} of {of}", d.reason, d.value_minor, d.currency)
        }
        Body::Reinstatement(r) => {
            let of = if r.disqualification_id.is_empty() { "a payment" } else { "one" };
            format!("reinstatement {} {} {} of {of}", r.reason, r.value_minor, r.currency)
        }
        Body::Identify(identify) => {
            let payments = match identify.payments.len() {
                0 => String::new(),
                payments => format!(" payments {payments}"),
            };
            format!("identify keys {}{payments}", identify.subject.as_ref().unwrap().keys.len())
        }
        Body::DeadLetter(letter) => format!("dead letter {}", letter.reason),
        _ => "other".to_owned(),
    }
}

pub fn gists(node: &Node) -> Vec<String> {
    node.events().iter().map(gist).collect()
}

/// A payload with a token in place of `TOKEN`.
pub fn payload(text: &str, token: &str) -> String {
    text.replace("TOKEN", token)
}

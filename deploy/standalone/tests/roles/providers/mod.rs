//! What the providers send: their payloads, as if they had happened now, and their signatures.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use whence_ingest::webhooks::sign::{hmac_sha1, hmac_sha256, sha256};

/// Of every source.
pub const SECRET: &str = "whsec_YSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaA==";
/// Of none.
pub const WRONG_SECRET: &str = "whsec_ZSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaA==";
/// What HubSpot was told to call.
const HUBSPOT_URL: &str = "https://hooks.example/v1/webhooks/p/hubspot-v3";

macro_rules! payload {
    ($name:literal) => {
        include_str!(concat!("../../../../../ingest/tests/api/webhooks/payloads/", $name))
    };
}

/// A source for each scheme of each provider.
pub const SOURCES: [(&str, &str); 10] = [
    ("stripe", r#"{"provider": "stripe", "secrets": ["main"]}"#),
    ("hubspot", r#"{"provider": "hubspot", "secrets": ["main"]}"#),
    (
        "hubspot-v3",
        r#"{"provider": "hubspot", "secrets": ["main"], "url": "https://hooks.example/v1/webhooks/p/hubspot-v3"}"#,
    ),
    (
        "salesforce",
        r#"{"provider": "salesforce", "secrets": ["main"], "organization": "00D5g000004abcdEAA"}"#,
    ),
    (
        "salesforce-flow",
        r#"{"provider": "salesforce", "secrets": ["main"], "organization": "00D5g000004abcdEAA",
            "signature_header": "x-flow-signature", "signature_encoding": "base64"}"#,
    ),
    ("intercom", r#"{"provider": "intercom", "secrets": ["main"]}"#),
    ("shopify", r#"{"provider": "shopify", "secrets": ["main"]}"#),
    (
        "svix",
        r#"{"provider": "standard_webhooks", "secrets": ["main"], "rules": [
            {"events": ["order.paid"], "gives": "lead", "fields": {
                "key": "/data/id", "email": "/data/email", "wclid": "/data/landing_page"}},
            {"events": ["order.paid"], "gives": "qualification", "name": "order", "fields": {
                "key": "/data/id", "email": "/data/email",
                "amount": "/data/total/value", "currency": "/data/total/currency"}}]}"#,
    ),
    (
        "zapier",
        r#"{"provider": "generic", "secrets": ["main"], "event_at": "/kind", "id_at": "/meta/id", "rules": [
            {"events": ["deal_won"], "gives": "lead", "fields": {"email": "/person/mail", "wclid": "/person/click"}},
            {"events": ["deal_won"], "gives": "qualification", "name": "deal", "fields": {
                "email": "/person/mail", "amount": "/deal/total", "currency": "/deal/currency"}}]}"#,
    ),
    ("postback", r#"{"provider": "postback", "secrets": ["main"]}"#),
];

/// One request.
pub struct Delivery {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// The payload as if it happened now (in whole seconds, hence not before the click), of a person that no other source
/// knows.
fn prepared(text: &str, source: &str, token: &str) -> String {
    let text = text.replace("TOKEN", token).replace("\"2027-01-15T08:59:30+01:00\"", "null");
    let text =
        text.replace("\"2027-01-15T07:59:00-00:00\"", "null").replace("ann.secret@", &format!("{source}@"));
    let text = text.replace("Ann.Secret@", &format!("{source}@"));
    let seconds = ["1799999980", "1799999985", "1799999990", "1799999995"];
    seconds.into_iter().fold(text, |text, then| text.replace(then, &(now() + 1).to_string()))
}

/// What a source with this id sends about a lead with this token and what it reaches; a postback has no body.
pub fn of_provider(source: &str, token: &str) -> Vec<Delivery> {
    signed_with(SECRET, now(), source, token)
}

/// The same, signed with this secret at this time (Unix seconds).
pub fn signed_with(secret: &str, at: u64, source: &str, token: &str) -> Vec<Delivery> {
    let key = secret.as_bytes();
    let text = |text| prepared(text, source, token);
    let of = |path: &str, headers, body| Delivery { path: path.to_owned(), headers, body };
    match source {
        "stripe" => vec![of_stripe(secret, at, text(payload!("stripe_checkout.json")))],
        "hubspot" => vec![of_hubspot(secret, text(payload!("hubspot_batch.json")))],
        "hubspot-v3" => {
            let body =
                text(payload!("hubspot_batch.json")).replace(": 123,", ": 124,").replace(": 456,", ": 457,");
            vec![of_hubspot_v3(secret, at, body)]
        }
        "salesforce" => vec![of_salesforce(secret, text(payload!("salesforce_outbound.xml")))],
        "salesforce-flow" => {
            let body = text(payload!("salesforce_flow.json"));
            let headers = vec![("x-flow-signature", STANDARD.encode(hmac_sha256(key, &[body.as_bytes()])))];
            vec![of(source, headers, body)]
        }
        "intercom" => [payload!("intercom_user.json"), payload!("intercom_tag.json")]
            .into_iter()
            .map(|one| of_intercom(secret, text(one)))
            .collect(),
        "shopify" => vec![of_shopify(secret, "orders/paid", text(payload!("shopify_order.json")))],
        "svix" => {
            let body = text(payload!("standard_order.json"));
            let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
            let mac = hmac_sha256(&key, &[format!("msg_2f8c1e.{at}.{body}").as_bytes()]);
            let headers = vec![
                ("webhook-id", "msg_2f8c1e".into()),
                ("webhook-timestamp", at.to_string()),
                ("webhook-signature", format!("v1,{}", STANDARD.encode(mac))),
            ];
            vec![of(source, headers, body)]
        }
        "zapier" => {
            let headers = vec![("authorization", format!("Bearer {secret}"))];
            vec![of(source, headers, text(payload!("generic_deal.json")))]
        }
        _ => Vec::new(),
    }
}

/// The query with which an affiliate network tells of a sale.
pub fn postback(token: &str) -> String {
    format!("subid={token}&status=sale&tid=t-1&payout=12.50&currency=USD")
}

/// So much of the payment was refunded, so much before.
pub fn refund_of_stripe(before: u64, refunded: u64) -> Delivery {
    let text = prepared(payload!("stripe_refund.json"), "stripe", "none");
    let text = text.replace("\"amount_refunded\": 500", &format!("\"amount_refunded\": {before}"));
    let text = text.replace("\"amount_refunded\": 2000", &format!("\"amount_refunded\": {refunded}"));
    of_stripe(SECRET, now(), text.replace("Wrefund", &format!("Wrefund{refunded}")))
}

/// The same customer has paid an invoice, so many cents, so many seconds from now.
pub fn invoice_of_stripe(number: u64, cents: u64, seconds: i64) -> Delivery {
    let at = now().strict_add_signed(seconds);
    let body = format!(
        r#"{{"id": "evt_invoice_{number}", "object": "event", "type": "invoice.paid", "livemode": true, "created": {at},
            "data": {{"object": {{"id": "in_{number}", "object": "invoice", "customer": "cus_NffrFeUfNV2Hib",
                "customer_email": "stripe@shop.example", "payment_intent": "pi_invoice_{number}",
                "amount_paid": {cents}, "currency": "eur", "status": "paid"}}}}}}"#
    );
    of_stripe(SECRET, now(), body)
}

/// An event of this type about this object, so many seconds from now.
pub fn event_of_stripe(kind: &str, object: &Value, seconds: i64) -> Delivery {
    let at = now().strict_add_signed(seconds);
    let id = format!("evt_{kind}_{}_{at}", object["id"].as_str().unwrap());
    let event = json!({"id": id, "object": "event", "type": kind, "livemode": true, "created": at,
        "data": {"object": object}});
    of_stripe(SECRET, now(), event.to_string())
}

/// HubSpot's events in one delivery.
pub fn events_of_hubspot(events: &[Value]) -> Delivery {
    of_hubspot(SECRET, Value::from(events).to_string())
}

/// What ties HubSpot's deals to their contacts, and Salesforce's account to the lead that became it.
pub fn ties(token: &str) -> [Delivery; 3] {
    let tie = |event: &str, kind: &str, from: u32, to: u32| {
        format!(
            r#"[{{"eventId": 9, "subscriptionId": 2005, "portalId": 62515, "appId": 54321, "occurredAt": {}000,
                "subscriptionType": "{event}.associationChange", "attemptNumber": 0, "associationType": "{kind}",
                "fromObjectId": {from}, "toObjectId": {to}, "associationRemoved": false}}]"#,
            now()
        )
    };
    // Either end of an association tells of it.
    let of_deal = tie("deal", "DEAL_TO_CONTACT", 456, 123);
    let of_contact = tie("contact", "CONTACT_TO_DEAL", 124, 457);
    let lead = prepared(payload!("salesforce_outbound.xml"), "salesforce", token);
    let opportunity = lead.rfind("<Notification>").unwrap()..lead.find("</notifications>").unwrap();
    let mut converted = lead.replace(
        "<sf:IsConverted>false</sf:IsConverted>",
        "<sf:IsConverted>true</sf:IsConverted>\
         <sf:ConvertedAccountId>0015g00000AccntAAA</sf:ConvertedAccountId>",
    );
    converted = converted.replace(&lead[opportunity], "");
    [
        of_hubspot(SECRET, of_deal),
        of_hubspot_v3(SECRET, now(), of_contact),
        of_salesforce(
            SECRET,
            converted.replace("AbCdEAAV", "AbCdGAAV").replace("Qualified", "Closed - Converted"),
        ),
    ]
}

/// All of the order, in two transactions.
pub fn refund_of_shopify() -> Delivery {
    let text = payload!("shopify_refund.json").replace("EUR", "JPY").replace("10.00", "4000.00");
    let text = text.replace("\"2.5\"", "\"900.0\"").replace("\"2027-01-15T07:59:50-00:00\"", "null");
    of_shopify(SECRET, "refunds/create", text)
}

/// This payload of the provider, under this topic where it has topics, proved; of a postback the query.
pub fn signed(provider: &str, topic: &str, payload: &Value) -> Delivery {
    let body = match payload {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    match provider {
        "stripe" => of_stripe(SECRET, now(), body),
        "hubspot" => of_hubspot(SECRET, body),
        "intercom" => of_intercom(SECRET, body),
        "shopify" => of_shopify(SECRET, topic, body),
        "salesforce" if body.starts_with('{') => {
            let delivery = of_salesforce(SECRET, body);
            Delivery { headers: vec![("content-type", "application/json".into())], ..delivery }
        }
        "salesforce" => of_salesforce(SECRET, body),
        _ => {
            let token = SECRET.replace('=', "%3D");
            let path = format!("postback?{body}&token={token}");
            Delivery { path, headers: Vec::new(), body: String::new() }
        }
    }
}

fn of_stripe(secret: &str, at: u64, body: String) -> Delivery {
    let mac = hex::encode(hmac_sha256(secret.as_bytes(), &[format!("{at}.{body}").as_bytes()]));
    Delivery { path: "stripe".into(), headers: vec![("stripe-signature", format!("t={at},v1={mac}"))], body }
}

fn of_hubspot(secret: &str, body: String) -> Delivery {
    let headers = vec![
        ("x-hubspot-signature", hex::encode(sha256(&[secret.as_bytes(), body.as_bytes()]))),
        ("x-hubspot-signature-version", "v1".into()),
    ];
    Delivery { path: "hubspot".into(), headers, body }
}

fn of_hubspot_v3(secret: &str, at: u64, body: String) -> Delivery {
    let at = (at * 1000).to_string();
    let mac = hmac_sha256(secret.as_bytes(), &[format!("POST{HUBSPOT_URL}{body}{at}").as_bytes()]);
    let headers = vec![("x-hubspot-signature-v3", STANDARD.encode(mac)), ("x-hubspot-request-timestamp", at)];
    Delivery { path: "hubspot-v3".into(), headers, body }
}

fn of_salesforce(secret: &str, body: String) -> Delivery {
    let headers = vec![("content-type", "text/xml".into())];
    Delivery { path: format!("salesforce?token={}", secret.replace('=', "%3D")), headers, body }
}

fn of_intercom(secret: &str, body: String) -> Delivery {
    let mac = hex::encode(hmac_sha1(secret.as_bytes(), body.as_bytes()));
    Delivery { path: "intercom".into(), headers: vec![("x-hub-signature", format!("sha1={mac}"))], body }
}

fn of_shopify(secret: &str, topic: &str, body: String) -> Delivery {
    let mac = STANDARD.encode(hmac_sha256(secret.as_bytes(), &[body.as_bytes()]));
    let headers = vec![("x-shopify-hmac-sha256", mac), ("x-shopify-topic", topic.to_owned())];
    Delivery { path: "shopify".into(), headers, body }
}

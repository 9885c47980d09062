//! One payload of each provider, signed and sent to `whence up`, ends in the ledger of the real engine; refunds
//! take their part of it back.

use std::fs;
use std::path::Path;

use crate::providers::{
    Delivery, SECRET, SOURCES, WRONG_SECRET, invoice_of_stripe, now, of_provider, postback,
    refund_of_shopify, refund_of_stripe, signed_with, ties,
};
use crate::support::hooks::write_secrets;
use crate::support::{Role, ask};
use serde_json::{Value, json};
use tempfile::tempdir;

/// Whatever is reached first gives 5 EUR, and its value a tenth.
fn program() -> Value {
    let share = |currency: &str| {
        json!({ "id": format!("share-{}", currency.to_lowercase()), "for": "referrer", "currency": currency,
            "percent": "10", "hold_days": 1 })
    };
    let flat =
        json!({ "id": "flat", "for": "referrer", "currency": "EUR", "fixed_minor": 500, "hold_days": 1 });
    json!({ "destination_hosts": ["shop.example"], "channels": ["email"],
        "rewards": [flat, share("EUR"), share("USD"), share("JPY")] })
}

/// `whence up` with a source for every provider.
pub fn set_up(dir: &Path) -> (Role, String) {
    let data = dir.join("data");
    let secrets = write_secrets(dir, &format!("# made up\np/main={SECRET}\n"));
    let whence = Role::start(&data, &["up", "--webhook-secrets-file", secrets.to_str().unwrap()]);
    whence.until_ready();
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    whence.call_with(&key, "PUT", "/v1/programs/p", &program());
    for (id, source) in SOURCES {
        let source: Value = serde_json::from_str(source).unwrap();
        whence.call_with(&key, "PUT", &format!("/v1/programs/p/sources/{id}"), &source);
    }
    (whence, key)
}

pub fn deliver(whence: &Role, delivery: &Delivery) {
    answered(whence, delivery, 200);
}

fn answered(whence: &Role, delivery: &Delivery, status: u16) {
    let path = format!("/v1/webhooks/p/{}", delivery.path);
    let answer = ask(&whence.address("api"), "POST", &path, &delivery.headers, &delivery.body);
    assert_eq!(answer.status, status, "{path}: {}", answer.body);
}

/// An affiliate network's call.
pub fn call_back(whence: &Role, query: &str, secret: &str) -> u16 {
    let bearer = [("authorization", format!("Bearer {secret}"))];
    ask(&whence.address("api"), "GET", &format!("/v1/postback/p?{query}"), &bearer, "").status
}

/// What is in the ledger for what this source has reported, in a state (or several), under a rule.
pub fn ledger(source: &str, rule: &str, states: &str) -> String {
    format!(
        "SELECT toInt64(sum(r.sign * r.amount_minor)) FROM rewards AS r WHERE rule = '{rule}' \
         AND state IN ({states}) AND referrer = 'ann' \
         AND qualification_id IN (SELECT id FROM qualifications WHERE source = '{source}')"
    )
}

pub const OPEN: &str = "'accrued', 'held', 'approved', 'issued'";

/// Decides about a reward of what this source has reported.
pub fn decide(whence: &Role, source: &str, rule: &str, decision: &str, reference: &[(&str, &str)]) {
    let sql = format!(
        "SELECT toString(any(reward_id)) FROM rewards WHERE rule = '{rule}' \
         AND qualification_id IN (SELECT id FROM qualifications WHERE source = '{source}')"
    );
    let reward = ask(&whence.address("clickhouse"), "POST", "/?database=whence", &[], &sql).body;
    let mut event = json!({ "id": format!("{decision}-{source}-{rule}"), "reward": reward.trim(),
        "decision": decision, "decided_by": "finance", "reason": "as agreed" });
    for (name, value) in reference {
        event[*name] = json!(value);
    }
    whence.call("POST", "/v1/programs/p/reward_decisions", &event);
}

#[test]
fn what_providers_send_is_rewarded_and_what_proves_nothing_is_a_reject() {
    let dir = tempdir().unwrap();
    let (whence, _) = set_up(dir.path());
    let token = whence.click("x");
    // Twice the same, of the same second: providers do.
    let deliveries: Vec<_> = SOURCES.iter().flat_map(|(source, _)| of_provider(source, &token)).collect();
    let postback = postback(&token);
    for _ in 0..2 {
        deliveries.iter().for_each(|delivery| deliver(&whence, delivery));
        assert_eq!(call_back(&whence, &postback, SECRET), 200);
    }
    assert_eq!(ask(&whence.address("api"), "POST", "/v1/webhooks/p/stripe", &[], "{}").status, 401);

    for (source, rule, amount) in [
        ("stripe", "flat", 500),
        ("stripe", "share-eur", 490),
        ("hubspot", "flat", 500),
        ("hubspot-v3", "flat", 500),
        ("salesforce", "flat", 500),
        ("salesforce-flow", "flat", 500),
        ("salesforce-flow", "share-usd", 1999),
        ("intercom", "flat", 500),
        ("shopify", "flat", 500),
        ("shopify", "share-jpy", 490),
        ("svix", "flat", 500),
        ("svix", "share-eur", 800),
        ("zapier", "flat", 500),
        ("zapier", "share-usd", 12_505),
        ("postback", "flat", 500),
        ("postback", "share-usd", 125),
    ] {
        whence.until_count(&ledger(source, rule, OPEN), amount);
    }
    // Each once, however often it was sent: one reward of each rule for one person.
    whence.until_count("SELECT count() FROM rewards", 16);
    whence.until_count("SELECT uniqExact(source) FROM leads WHERE touch_evidence = 'token'", 10);
    // What nobody is referred by is a lead all the same: the creation of HubSpot's contacts.
    whence.until_count("SELECT count() FROM leads WHERE revision = 0", 12);
    // Salesforce's account is nobody's lead yet, and neither are HubSpot's deals.
    whence.until_count("SELECT count() FROM unmatched WHERE kind = 'qualification'", 3);
    whence.until_count("SELECT count() FROM rejects WHERE reason = 'unsigned'", 1);
    // A property that no rule of HubSpot's is about.
    whence.until_count("SELECT uniqExact(event_id) FROM rejects WHERE reason = 'unmapped'", 2);
    // What ties them to their leads brings them to the ledger; only Salesforce says what its won deal is worth.
    let ties = ties(&token);
    for _ in 0..2 {
        ties.iter().for_each(|delivery| deliver(&whence, delivery));
    }
    whence.until_count("SELECT count() FROM unmatched WHERE kind = 'qualification'", 0);
    for source in ["hubspot", "hubspot-v3", "salesforce"] {
        let won = format!(
            "SELECT toUInt64(sum(sign)) FROM qualifications \
             WHERE source = '{source}' AND name = 'closed_won' AND referrer = 'ann'"
        );
        whence.until_count(&won, 1);
        whence.until_count(&ledger(source, "flat", OPEN), 500);
    }
    whence.until_count(&ledger("salesforce", "share-eur", OPEN), 15_000);
    whence.until_count("SELECT toUInt64(sum(sign)) FROM rewards", 17);
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(!whence.log().contains(SECRET) && !whence.log().contains("long+enough"));
    assert!(whence.stop().success());
}

#[test]
fn refunds_take_rewards_back_before_and_after_they_were_paid() {
    let dir = tempdir().unwrap();
    let (whence, _) = set_up(dir.path());
    let token = whence.click("x");
    for source in ["stripe", "shopify"] {
        of_provider(source, &token).iter().for_each(|delivery| deliver(&whence, delivery));
    }
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 490);
    whence.until_count(&ledger("shopify", "share-jpy", OPEN), 490);
    // A network that rejects its sale.
    assert_eq!(call_back(&whence, &postback(&token), SECRET), 200);
    whence.until_count(&ledger("postback", "share-usd", OPEN), 125);
    let rejected = format!("subid={token}&status=rejected&tid=t-1");
    assert_eq!(call_back(&whence, &rejected, SECRET), 200);
    whence.until_count(&ledger("postback", "share-usd", "'rejected'"), 125);

    // 15 of 49 euros, while nothing is paid: in proportion, and rounded down.
    deliver(&whence, &refund_of_stripe(0, 1500));
    whence.until_count(&ledger("stripe", "share-eur", "'rejected'"), 150);
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 340);
    whence.until_count(&ledger("stripe", "flat", OPEN), 346);
    // The rest, when it is: paid is paid, and to be clawed back.
    decide(&whence, "stripe", "share-eur", "approve", &[]);
    decide(&whence, "stripe", "share-eur", "issue", &[("reference", "payout-7")]);
    whence.until_count(&ledger("stripe", "share-eur", "'issued'"), 340);
    let refund = refund_of_stripe(1500, 4900);
    for _ in 0..2 {
        deliver(&whence, &refund);
    }
    whence.until_count(&ledger("stripe", "share-eur", "'clawed_back'"), 340);
    whence.until_count(&ledger("stripe", "flat", "'rejected'"), 500);
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 0);

    deliver(&whence, &refund_of_shopify());
    whence.until_count(&ledger("shopify", "share-jpy", "'rejected'"), 490);
    whence.until_count(&ledger("shopify", "flat", "'rejected'"), 500);
    whence.until_count("SELECT toUInt64(sum(sign)) FROM qualifications", 0);
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(whence.stop().success());
}

/// The sources whose provider signs the body, and those of them that say when.
const SIGNED: [&str; 7] =
    ["stripe", "hubspot", "hubspot-v3", "salesforce-flow", "intercom", "shopify", "svix"];
const DATED: [&str; 3] = ["stripe", "hubspot-v3", "svix"];

/// A byte in the middle is another one.
fn altered(mut delivery: Delivery) -> Delivery {
    let is_letter = |(_, byte): &(usize, u8)| byte.is_ascii_alphanumeric();
    let half = delivery.body.len() / 2;
    let (at, byte) = delivery.body.bytes().enumerate().skip(half).find(is_letter).unwrap();
    let other = char::from(byte ^ 1).to_string();
    delivery.body.replace_range(at..=at, &other);
    delivery
}

#[test]
fn what_is_altered_old_or_of_another_secret_is_refused_and_counted_for_every_provider() {
    let dir = tempdir().unwrap();
    let (whence, _) = set_up(dir.path());
    let token = whence.click("x");
    let refuse = |delivery: Delivery| answered(&whence, &delivery, 401);
    for (source, _) in SOURCES {
        signed_with(WRONG_SECRET, now(), source, &token).into_iter().for_each(refuse);
        if SIGNED.contains(&source) {
            of_provider(source, &token).into_iter().map(altered).for_each(refuse);
        }
        if DATED.contains(&source) {
            // Too old, and too far ahead of the clock even a while from now.
            for at in [now() - 301, now() + 600] {
                signed_with(SECRET, at, source, &token).into_iter().for_each(refuse);
            }
        }
    }
    assert_eq!(call_back(&whence, &postback(&token), WRONG_SECRET), 401);
    let metrics = ask(&whence.address("admin"), "GET", "/metrics", &[], "").body;
    let counted = |name: &str, labels: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} ")));
        line.unwrap_or("0").parse().unwrap()
    };
    let refused = [
        ("stripe", 2, 2),
        ("hubspot", 4, 2),
        ("salesforce", 3, 0),
        ("intercom", 4, 0),
        ("shopify", 2, 0),
        ("standard_webhooks", 2, 2),
        ("generic", 1, 0),
        ("postback", 1, 0),
    ];
    for (provider, wrong, stale) in refused {
        for (outcome, wanted) in [("signature_wrong", wrong), ("stale", stale), ("accepted", 0)] {
            let labels = format!("provider=\"{provider}\",outcome=\"{outcome}\"");
            assert_eq!(counted("whence_webhook_deliveries_total", &labels), wanted, "{labels}");
        }
    }
    // Dead letters about what anybody can send are bounded in every second; what is not kept is counted.
    let all: u64 = refused.iter().map(|(_, wrong, stale)| wrong + stale).sum();
    let dropped = counted("whence_webhook_dead_letters_dropped_total", "why=\"too_many\"");
    whence.until_count("SELECT count() FROM rejects", all - dropped);
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    whence.until_count("SELECT count() FROM rejects WHERE reason NOT IN ('signature_wrong', 'stale')", 0);
    whence.until_count("SELECT count() FROM rejects WHERE detail LIKE '%@%' OR detail LIKE '%secret%'", 0);
    whence.until_count("SELECT (SELECT count() FROM leads) + (SELECT count() FROM qualifications)", 0);
    assert!(whence.stop().success());
}

/// Has a payment count only under a condition: the provider's own mapping, except for that.
fn ask_of_payments(whence: &Role, key: &str, history: &Value) {
    let source = whence.call_with(key, "GET", "/v1/programs/p/sources/stripe", &Value::Null);
    let mut rules = source["rules"].clone();
    for rule in rules.as_array_mut().unwrap().iter_mut().filter(|rule| rule["name"] == "payment") {
        rule["history"] = history.clone();
    }
    let source = json!({ "provider": "stripe", "secrets": ["main"], "rules": rules });
    whence.call_with(key, "PUT", "/v1/programs/p/sources/stripe", &source);
}

#[test]
fn what_has_to_be_the_first_payment_is_rewarded_once_also_where_the_first_comes_late() {
    let dir = tempdir().unwrap();
    let (whence, key) = set_up(dir.path());
    ask_of_payments(&whence, &key, &json!({ "is": "first_payment" }));
    let token = whence.click("x");
    of_provider("stripe", &token).iter().for_each(|delivery| deliver(&whence, delivery));
    deliver(&whence, &invoice_of_stripe(1, 3000, 5));
    whence.until_count("SELECT count() FROM not_counted WHERE reason = 'not_first_payment'", 1);
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 490);
    // An invoice that was paid before the checkout comes after it.
    deliver(&whence, &invoice_of_stripe(2, 1000, -60));
    whence.until_count(&ledger("stripe", "share-eur", "'rejected'"), 490);
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 100);
    whence.until_count("SELECT count() FROM not_counted WHERE reason = 'not_first_payment'", 2);
    whence.until_count("SELECT toUInt64(sum(qualification_events)) FROM funnel", 1);
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(whence.stop().success());
}

#[test]
fn what_has_to_reach_a_total_is_rewarded_when_it_does_and_as_long() {
    let dir = tempdir().unwrap();
    let (whence, key) = set_up(dir.path());
    let total = json!({ "is": "spend_at_least", "amount_minor": 5000, "currency": "EUR", "within_days": 30 });
    ask_of_payments(&whence, &key, &total);
    let token = whence.click("x");
    // 49 euros are not enough; 30 more are, until 20 of the first go back; 10 more are again.
    of_provider("stripe", &token).iter().for_each(|delivery| deliver(&whence, delivery));
    whence.until_count("SELECT count() FROM not_counted WHERE reason = 'below_threshold'", 1);
    deliver(&whence, &invoice_of_stripe(1, 3000, 2));
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 300);
    whence.until_count("SELECT toUInt64(sum(qualification_events)) FROM funnel", 1);
    deliver(&whence, &refund_of_stripe(0, 3000));
    whence.until_count(&ledger("stripe", "share-eur", "'rejected'"), 300);
    whence.until_count("SELECT toUInt64(sum(qualification_events)) FROM funnel_daily", 0);
    deliver(&whence, &invoice_of_stripe(2, 1000, 3));
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 100);
    whence.until_count("SELECT count() FROM not_counted WHERE reason = 'below_threshold'", 2);
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    let lines = "SELECT count() FROM lineage(program = 'p', lead = 'customer-1') \
                 WHERE step = 'qualification' AND sign = 0 AND reason = 'below_threshold'";
    assert!(whence.count(lines).unwrap() >= 2);
    assert!(whence.stop().success());
}

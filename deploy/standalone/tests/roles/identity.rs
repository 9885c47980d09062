//! What several deliveries tell of counts once, and what was taken back can be given again: from the providers'
//! payloads to the ledger of the real engine.

use crate::providers::{Delivery, SECRET, event_of_stripe, events_of_hubspot, now, postback};
use crate::support::Role;
use crate::webhooks::{OPEN, call_back, decide, deliver, ledger, set_up};
use serde_json::{Value, json};
use tempfile::tempdir;

const COUNTS: &str = "SELECT toUInt64(sum(sign)) FROM qualifications";
const VALUE: &str = "SELECT toUInt64(sum(sign * value_minor)) FROM qualifications";

/// One payment of 20 euros as API 2025-03-31.basil tells of it: the invoice does not know its intent.
fn session(token: &str) -> Value {
    json!({"id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid",
        "status": "complete", "amount_total": 2000, "currency": "eur", "customer": "cus_1", "payment_intent": "pi_1",
        "invoice": null, "client_reference_id": token, "metadata": {}})
}

fn invoice() -> Value {
    json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 2000, "currency": "eur",
        "customer": "cus_1"})
}

fn invoice_payment() -> Value {
    json!({"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid",
        "payment": {"type": "payment_intent", "payment_intent": "pi_1"}})
}

fn dispute(status: &str) -> Value {
    json!({"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1", "amount": 2000,
        "currency": "eur", "status": status})
}

fn nothing_is_missing(whence: &Role) {
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
}

#[test]
fn a_payment_that_three_objects_tell_of_counts_once_in_whatever_order_they_come() {
    let dir = tempdir().unwrap();
    let (whence, _) = set_up(dir.path());
    let token = whence.click("x");
    let told: [Delivery; 3] = [
        event_of_stripe("invoice.paid", &invoice(), 2),
        event_of_stripe("invoice_payment.paid", &invoice_payment(), 2),
        event_of_stripe("checkout.session.completed", &session(&token), 1),
    ];
    for _ in 0..2 {
        told.iter().for_each(|delivery| deliver(&whence, delivery));
    }
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 200);
    whence.until_count("SELECT count() FROM not_counted WHERE reason = 'same_payment'", 1);
    whence.until_count(COUNTS, 1);
    whence.until_count(VALUE, 2000);
    whence.until_count("SELECT toUInt64(sum(value_minor)) FROM funnel_daily", 2000);

    // A part of it goes back, by the charge's name for it; the refund fails.
    let charge = json!({"id": "ch_1", "object": "charge", "amount": 2000, "amount_refunded": 500, "currency": "eur",
        "payment_intent": "pi_1", "customer": "cus_1"});
    let refund = json!({"id": "re_1", "object": "refund", "amount": 500, "currency": "eur", "charge": "ch_1",
        "payment_intent": "pi_1", "status": "failed"});
    deliver(&whence, &event_of_stripe("charge.refunded", &charge, 3));
    whence.until_count(VALUE, 1500);
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 150);
    deliver(&whence, &event_of_stripe("refund.failed", &refund, 4));
    whence.until_count(VALUE, 2000);
    whence.until_count(&ledger("stripe", "share-eur", OPEN), 200);

    // All of it is disputed when the reward is paid, and won back.
    decide(&whence, "stripe", "share-eur", "approve", &[]);
    decide(&whence, "stripe", "share-eur", "issue", &[("reference", "payout-7")]);
    whence.until_count(&ledger("stripe", "share-eur", "'issued'"), 200);
    deliver(&whence, &event_of_stripe("charge.dispute.created", &dispute("needs_response"), 5));
    whence.until_count(&ledger("stripe", "share-eur", "'clawed_back'"), 200);
    whence.until_count(COUNTS, 0);
    deliver(&whence, &event_of_stripe("charge.dispute.closed", &dispute("won"), 6));
    whence.until_count(COUNTS, 1);
    whence.until_count(VALUE, 2000);
    whence.until_count("SELECT toUInt64(sum(value_minor)) FROM funnel_daily", 2000);
    whence.until_count(&ledger("stripe", "share-eur", "'accrued'"), 200);
    whence.until_count("SELECT toUInt64(sum(sign)) FROM reinstatements WHERE outcome = 'applied'", 2);
    let given = "SELECT count() FROM lineage(program = 'p', lead = (SELECT toString(any(id)) FROM leads)) \
                 WHERE step = 'reinstatement' AND sign = 1";
    whence.until_count(given, 2);
    nothing_is_missing(&whence);
    assert!(whence.stop().success());
}

#[test]
fn contacts_whose_touch_comes_apart_from_them_are_one_lead_each() {
    let dir = tempdir().unwrap();
    let (whence, _) = set_up(dir.path());
    let token = whence.click("x");
    let at = (now() + 1) * 1000;
    let created = |contact: u64, at: u64| {
        json!({"eventId": contact, "subscriptionId": 1, "portalId": 1, "appId": 1, "occurredAt": at,
            "subscriptionType": "contact.creation", "attemptNumber": 0, "objectId": contact})
    };
    let touched = |contact: u64, at: u64| {
        json!({"eventId": 100 + contact, "subscriptionId": 2, "portalId": 1, "appId": 1, "occurredAt": at,
            "subscriptionType": "contact.propertyChange", "attemptNumber": 0, "objectId": contact,
            "propertyName": "wclid", "propertyValue": token})
    };
    // Six in one delivery, of one millisecond; four in two deliveries, in either order.
    let together: Vec<Value> =
        (1..7).flat_map(|contact| [created(contact, at), touched(contact, at)]).collect();
    deliver(&whence, &events_of_hubspot(&together));
    for contact in 7..11 {
        let mut apart = [created(contact, at), touched(contact, at + 100)];
        if contact % 2 == 0 {
            apart.reverse();
        }
        apart.iter().for_each(|event| deliver(&whence, &events_of_hubspot(std::slice::from_ref(event))));
    }
    whence.until_count("SELECT count() FROM leads WHERE revision = 0", 20);
    whence.until_count("SELECT toUInt64(sum(sign)) FROM leads", 10);
    whence.until_count("SELECT toUInt64(sum(sign)) FROM leads WHERE referrer = 'ann'", 10);
    whence.until_count("SELECT toUInt64(sum(lead_events)) FROM funnel_daily", 10);
    whence.until_count("SELECT toUInt64(sum(lead_events)) FROM funnel_daily WHERE referrer = ''", 0);
    whence.until_count("SELECT count() FROM unmatched WHERE kind = 'lead'", 0);
    nothing_is_missing(&whence);
    assert!(whence.stop().success());
}

#[test]
fn a_sale_that_a_network_rejects_and_takes_again_is_rewarded_again() {
    let dir = tempdir().unwrap();
    let (whence, _) = set_up(dir.path());
    let token = whence.click("x");
    let sale = postback(&token);
    let rejected = format!("subid={token}&status=rejected&tid=t-1");
    for (query, open) in
        [(&sale, 125), (&rejected, 0), (&sale, 125), (&sale, 125), (&rejected, 0), (&sale, 125)]
    {
        assert_eq!(call_back(&whence, query, SECRET), 200);
        whence.until_count(&ledger("postback", "share-usd", OPEN), open);
        whence.until_count(COUNTS, u64::from(open > 0));
    }
    whence.until_count("SELECT count() FROM unmatched WHERE kind != 'lead'", 0);

    // The payout is told only after the rejection: another event counts for the sale, and earns what the first had.
    let told = |rest: &str| format!("subid={token}-2&tid=t-2&{rest}");
    let flat = "SELECT toInt64(sum(sign * amount_minor)) FROM rewards WHERE rule = 'flat' AND state IN ('accrued', 'approved') \
                AND qualification_id IN (SELECT id FROM qualifications WHERE source = 'postback' AND has(payments, \
                (SELECT any(payments[1]) FROM qualifications WHERE source = 'postback' AND paid_minor = 700)))";
    let lead = json!({"id": "second", "contact": format!("subid-{token}-2"), "wclid": whence.click("x")});
    whence.call("POST", "/v1/programs/p/leads", &lead);
    for query in ["status=sale", "status=rejected", "status=sale&payout=7.00&currency=USD"] {
        assert_eq!(call_back(&whence, &told(query), SECRET), 200);
    }
    whence.until_count(flat, 500);
    whence.until_count("SELECT count() FROM rewards WHERE rule = 'flat' AND reason = 'same_payment'", 1);
    nothing_is_missing(&whence);
    assert!(whence.stop().success());
}

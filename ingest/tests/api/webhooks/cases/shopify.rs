//! Shopify.

use super::{Row, merged, row};
use serde_json::{Value, json};

fn shopify(kind: &str, patch: Value) -> Value {
    let objects: Value = serde_json::from_str(include_str!("../payloads/objects/shopify.json")).unwrap();
    merged(objects[kind].clone(), patch)
}

fn refund(transactions: Value) -> Value {
    let list = transactions
        .as_array()
        .map(|list| list.iter().map(|patch| shopify("transaction", patch.clone())).collect::<Vec<_>>());
    shopify("refund", json!({"transactions": list.map_or(transactions, Value::from)}))
}

/// One that went back in the buyer's currency.
fn refund_in_dollars(amount: &str, rest: Value) -> Value {
    merged(refund(json!([{"amount": amount, "currency": "USD"}])), rest)
}

/// All of them.
pub fn all() -> Vec<Row> {
    let paid = &["lead", "qualification purchase 1250 EUR"][..];
    let order = |status, patch, expected| {
        row("shopify", ["2025-01", "orders/paid", status], shopify("order", patch), expected)
    };
    let taken_back =
        |status, refund, expected| row("shopify", ["2025-01", "refunds/create", status], refund, expected);
    let line = || shopify("line", json!({}));
    let adjustment = |shop: &str, buyer: &str| {
        let set = |shop: &str, buyer: &str| {
            json!({"shop_money": {"amount": shop, "currency_code": "EUR"},
                "presentment_money": {"amount": buyer, "currency_code": "USD"}})
        };
        json!([{"id": 1, "refund_id": 8, "amount": shop, "kind": "refund_discrepancy",
            "amount_set": set(shop, buyer), "tax_amount_set": set("0.00", "0.00")}])
    };
    let nothing = &["without_effect"][..];
    vec![
        order("paid", json!({}), paid),
        order("paid", json!({"total_price_set": null}), paid),
        order("paid", json!({"financial_status": "pending"}), &["unmapped"]),
        order("authorized", json!({"financial_status": "authorized"}), &["unmapped"]),
        order("partially_paid", json!({"financial_status": "partially_paid"}), &["unmapped"]),
        order("partially_refunded", json!({"financial_status": "partially_refunded"}), &["unmapped"]),
        order("voided", json!({"financial_status": "voided"}), &["unmapped"]),
        order("cancelled", json!({"cancelled_at": "2027-01-15T07:59:00-00:00"}), &["lead"]),
        order("free", json!({"total_price": "0.00", "total_price_set": null}), &["lead"]),
        order(
            "no currency",
            json!({"total_price_set": null, "currency": null}),
            &["lead", "unusable currency_missing"],
        ),
        order(
            "no time",
            json!({"processed_at": "soon"}),
            &["unusable occurred_at_unreadable", "unusable occurred_at_unreadable"],
        ),
        taken_back("restock", refund(json!([])), nothing),
        taken_back("pending", refund(json!([{"status": "pending"}])), nothing),
        taken_back("failure", refund(json!([{"status": "failure"}, {"status": "error"}])), nothing),
        taken_back("void", refund(json!([{"kind": "void"}])), nothing),
        taken_back("success", refund(json!([{}])), &["disqualification refund 500 EUR"]),
        taken_back(
            "one of two",
            refund(json!([{"amount": "1.5"}, {"status": "failure"}, {"amount": "2"}])),
            &["disqualification refund 350 EUR"],
        ),
        taken_back("no list", refund(json!(null)), &["unusable amount_missing"]),
        taken_back("no status", refund(json!([{"status": null}])), &["unusable amount_unreadable"]),
        taken_back("no amount", refund(json!([{"amount": null}])), &["unusable amount_unreadable"]),
        taken_back("thousands", refund(json!([{"amount": "1,000.00"}])), &["unusable amount_unreadable"]),
        taken_back("negative", refund(json!([{"amount": "-5.00"}])), &["unusable amount_negative"]),
        taken_back("no currency", refund(json!([{"currency": null}])), &["unusable amount_unreadable"]),
        taken_back(
            "two currencies",
            refund(json!([{}, {"currency": "USD"}])),
            &["unusable amount_unreadable"],
        ),
        taken_back(
            "buyer's currency",
            refund_in_dollars("13.75", json!({"refund_line_items": [line()]})),
            &["disqualification refund 1250 EUR"],
        ),
        taken_back(
            "buyer's currency, less than the lines",
            refund_in_dollars(
                "11.55",
                json!({"refund_line_items": [line()],
                "order_adjustments": adjustment("2.00", "2.20")}),
            ),
            &["disqualification refund 1050 EUR"],
        ),
        taken_back(
            "buyer's currency, shipping only",
            refund_in_dollars("5.50", json!({"order_adjustments": adjustment("-5.00", "-5.50")})),
            &["disqualification refund 500 EUR"],
        ),
        taken_back(
            "buyer's currency, by the rate",
            refund_in_dollars("1.00", json!({"refund_line_items": [line()]})),
            &["disqualification refund 91 EUR"],
        ),
        taken_back(
            "a third currency",
            refund(json!([{"currency": "GBP"}])).as_object().map_or(Value::Null, |refund| {
                merged(Value::Object(refund.clone()), json!({"refund_line_items": [line()]}))
            }),
            &["unusable amount_unreadable"],
        ),
        taken_back(
            "the shop's currency",
            merged(refund(json!([{"amount": "5.00"}])), json!({"refund_line_items": [line()]})),
            &["disqualification refund 500 EUR"],
        ),
    ]
    .into_iter()
    .chain(["failed", "in_progress", "requested"].into_iter().map(|status| merge(status, &["unmapped"])))
    .chain([merge("completed", &["identify", "identify"])])
    .collect()
}

fn merge(status: &'static str, expected: &'static [&'static str]) -> Row {
    let payload = json!({"admin_graphql_api_customer_kept_id": "gid://shopify/Customer/1",
        "admin_graphql_api_customer_deleted_id": "gid://shopify/Customer/2", "admin_graphql_api_job_id": null,
        "status": status, "errors": []});
    row("shopify", ["2025-01", "customers/merge", status], payload, expected)
}

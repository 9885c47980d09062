//! Salesforce, by flow and by outbound message.

use super::{Row, merged, row};
use serde_json::{Value, json};

fn salesforce(
    kind: &'static str,
    status: &'static str,
    object: Value,
    expected: &'static [&'static str],
) -> Row {
    row("salesforce", ["flow", kind, status], json!({"type": kind, "id": "f-1", "sObject": object}), expected)
}

/// All of them.
pub fn all() -> Vec<Row> {
    let deal = |patch| {
        let deal = json!({"Id": "006", "AccountId": "001", "StageName": "Closed Won", "IsWon": true, "IsClosed": true,
            "Amount": 8.0e7, "CurrencyIsoCode": "EUR", "LastModifiedDate": "2027-01-15T07:59:00.000+0000"});
        merged(deal, patch)
    };
    let lead = |patch| {
        merged(json!({"Id": "00Q", "Status": "Open", "IsConverted": false, "IsDeleted": false}), patch)
    };
    let soap = include_str!("../payloads/salesforce_outbound.xml");
    vec![
        salesforce("Lead", "Open", lead(json!({})), &["lead"]),
        salesforce(
            "Lead",
            "Qualified",
            lead(json!({"Status": "Qualified"})),
            &["lead", "qualification qualified"],
        ),
        salesforce("Lead", "deleted", lead(json!({"Status": "Qualified", "IsDeleted": true})), &["unmapped"]),
        salesforce(
            "Lead",
            "bad time",
            lead(json!({"LastModifiedDate": "1/15/2027 8:00 AM"})),
            &["unusable occurred_at_unreadable"],
        ),
        salesforce(
            "Lead",
            "merged",
            lead(json!({"IsDeleted": true, "MasterRecordId": "00R"})),
            &["identify"; 2],
        ),
        salesforce("Contact", "merged", json!({"Id": "003", "MasterRecordId": "004"}), &["identify"; 2]),
        salesforce("Account", "merged", json!({"Id": "001", "MasterRecordId": "002"}), &["identify"; 2]),
        salesforce(
            "Opportunity",
            "Closed Won",
            deal(json!({})),
            &["qualification closed_won 8000000000 EUR"],
        ),
        salesforce(
            "Opportunity",
            "as text",
            deal(json!({"Amount": "8.0E7"})),
            &["qualification closed_won 8000000000 EUR"],
        ),
        salesforce(
            "Opportunity",
            "noise",
            deal(json!({"Amount": 59.970000000000006})),
            &["qualification closed_won 5997 EUR"],
        ),
        salesforce(
            "Opportunity",
            "too precise",
            deal(json!({"Amount": 59.975})),
            &["unusable amount_too_precise"],
        ),
        salesforce(
            "Opportunity",
            "thousands",
            deal(json!({"Amount": "8,000"})),
            &["unusable amount_with_separators"],
        ),
        salesforce("Opportunity", "no amount", deal(json!({"Amount": null})), &["unusable amount_missing"]),
        salesforce(
            "Opportunity",
            "no currency",
            deal(json!({"CurrencyIsoCode": null})),
            &["unusable currency_missing"],
        ),
        salesforce(
            "Opportunity",
            "lost",
            deal(json!({"StageName": "Closed Lost", "IsWon": false})),
            &["unmapped"],
        ),
        salesforce("Opportunity", "not won", deal(json!({"IsWon": false})), &["unmapped"]),
        salesforce("Opportunity", "deleted", deal(json!({"IsDeleted": true})), &["unmapped"]),
        row(
            "salesforce",
            ["outbound message", "Opportunity", "double"],
            json!(soap.replace("1500.0<", "8.0E7<")),
            &["lead", "qualification qualified", "qualification closed_won 8000000000 EUR"],
        ),
        row(
            "salesforce",
            ["outbound message", "Opportunity", "no currency"],
            json!(soap.replace("<sf:CurrencyIsoCode>EUR</sf:CurrencyIsoCode>", "")),
            &["lead", "qualification qualified", "unusable currency_missing"],
        ),
    ]
}

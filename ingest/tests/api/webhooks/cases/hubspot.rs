//! HubSpot, `contact.*` and `deal.*` and what replaces them, `object.*`.

use super::{Row, merged, row};
use serde_json::{Value, json};

fn hubspot(patch: Value) -> Value {
    let event = json!({"appId": 54321, "eventId": 100, "subscriptionId": 2001, "portalId": 62515,
        "occurredAt": 1_799_999_990_000_i64, "attemptNumber": 0, "objectId": 3, "changeSource": "CRM_UI",
        "sourceId": "userId:1"});
    json!([merged(event, patch)])
}

/// All of them.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for (version, contact, deal) in [("v3", "contact", "deal"), ("v3 object.*", "object", "object")] {
        let name = |of: &str, what: &str| format!("{of}.{what}");
        let is_new = contact == "object";
        let types =
            |id: &str| if is_new { json!({"objectTypeId": id, "isSensitive": false}) } else { json!({}) };
        let mut add =
            |event: &'static str, status: &'static str, subscription: String, kind: &str, patch, expected| {
                let patch = merged(merged(json!({"subscriptionType": subscription}), types(kind)), patch);
                rows.push(row("hubspot", [version, event, status], hubspot(patch), expected));
            };
        let (of_contact, of_deal) = ("0-1", "0-3");
        add(
            "creation",
            "",
            name(contact, "creation"),
            of_contact,
            json!({"changeFlag": "CREATED"}),
            &["lead"],
        );
        for (property, value, expected) in [
            ("wclid", "x", &["lead"][..]),
            ("lifecyclestage", "customer", &["qualification customer"]),
            ("lifecyclestage", "lead", &["unmapped"]),
            ("lifecyclestage", "", &["unmapped"]),
            ("email", "a@shop.example", &["identify"]),
            ("email", "", &["unusable one_name_only"]),
            ("dealstage", "closedwon", &["unmapped"]),
        ] {
            let patch = json!({"propertyName": property, "propertyValue": value});
            add("propertyChange", property, name(contact, "propertyChange"), of_contact, patch, expected);
        }
        for (stage, expected) in
            [("closedwon", &["qualification closed_won"][..]), ("closedlost", &["unmapped"])]
        {
            let patch = json!({"propertyName": "dealstage", "propertyValue": stage});
            add("propertyChange", stage, name(deal, "propertyChange"), of_deal, patch, expected);
        }
        let merge = json!({"primaryObjectId": 3, "mergedObjectIds": [4, 5], "newObjectId": 6,
            "numberOfPropertiesMoved": 2});
        add("merge", "contact", name(contact, "merge"), of_contact, merge.clone(), &["identify"; 4]);
        add("merge", "deal", name(deal, "merge"), of_deal, merge, &["identify"; 4]);
        for (is_removed, expected) in [(false, &["identify"][..]), (true, &["unmapped"])] {
            let mut patch = json!({"fromObjectId": 7, "toObjectId": 3, "associationRemoved": is_removed});
            let more = if is_new {
                json!({"fromObjectTypeId": "0-3", "toObjectTypeId": "0-1", "associationTypeId": 3,
                    "associationCategory": "HUBSPOT_DEFINED", "isPrimaryAssociation": false})
            } else {
                json!({"associationType": "DEAL_TO_CONTACT"})
            };
            patch = merged(patch, more);
            let status = if is_removed { "removed" } else { "added" };
            add("associationChange", status, name(deal, "associationChange"), "", patch, expected);
        }
        add("deletion", "", name(contact, "deletion"), of_contact, json!({}), &["unmapped"]);
    }
    for (kind, expected) in [("0-2", &["unmapped"][..]), ("0-5", &["unmapped"]), ("2-123", &["unmapped"])] {
        let patch = json!({"subscriptionType": "object.creation", "objectTypeId": kind});
        rows.push(row("hubspot", ["v3 object.*", "creation", kind], hubspot(patch), expected));
    }
    let property =
        |value: &str| json!({"value": value, "timestamp": 1_799_999_990_000_i64, "source": "CRM_UI"});
    let deal = |stage: &str, amount: &str, currency: &str| {
        json!({"portalId": 62515, "dealId": 3, "isDeleted": false,
            "associations": {"associatedVids": [7], "associatedCompanyIds": [], "associatedDealIds": []},
            "properties": {"dealstage": property(stage), "amount": property(amount),
                "deal_currency_code": property(currency), "dealname": property("x")}})
    };
    let won = &["qualification closed_won 150050 EUR"][..];
    for (version, status, payload, expected) in [
        ("workflow, all properties", "closedwon", deal("closedwon", "1500.50", "EUR"), won),
        ("workflow, all properties", "closedlost", deal("closedlost", "1500.50", "EUR"), &["unmapped"]),
        ("workflow, all properties", "no amount", deal("closedwon", "", "EUR"), &["unusable amount_missing"]),
        (
            "workflow, all properties",
            "no currency",
            deal("closedwon", "1", ""),
            &["unusable currency_missing"],
        ),
        (
            "workflow, CRM object",
            "closedwon",
            json!({"id": "3", "createdAt": "2027-01-01T00:00:00.000Z", "archived": false, "properties": {
                "dealstage": "closedwon", "amount": "1500.5", "deal_currency_code": "EUR",
                "closedate": "2027-01-15T07:00:00.000Z"}}),
            won,
        ),
        (
            "workflow, chosen properties",
            "own pipeline",
            json!({"hs_object_id": 3, "dealstage": "417", "hs_is_closed_won": "true", "amount": 1500.5,
                "deal_currency_code": "EUR", "closedate": 1_799_999_990_000_i64}),
            won,
        ),
        (
            "workflow, chosen properties",
            "closes later",
            json!({"hs_object_id": 3, "dealstage": "closedwon", "amount": 1500.5, "deal_currency_code": "EUR",
                "closedate": "2030-01-01"}),
            &["unusable occurred_at_in_future"],
        ),
        ("workflow", "of something else", json!({"vid": 7, "properties": {}}), &["unmapped"]),
    ] {
        rows.push(row("hubspot", [version, "deal", status], payload, expected));
    }
    rows
}

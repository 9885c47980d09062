//! Intercom.

use super::{Row, merged, row};
use serde_json::{Value, json};

fn intercom(
    version: &'static str,
    topic: &'static str,
    status: &'static str,
    item: Value,
    expected: &'static [&'static str],
) -> Row {
    let payload = json!({"type": "notification_event", "app_id": "x", "id": "notif_1", "topic": topic,
        "created_at": 1_799_999_990, "delivery_attempts": 1, "first_sent_at": 1_799_999_991, "self": null,
        "data": {"type": "notification_event_data", "item": item}});
    row("intercom", [version, topic, status], payload, expected)
}

/// All of them.
pub fn all() -> Vec<Row> {
    let contact = |patch| {
        let contact = json!({"type": "contact", "id": "c1", "external_id": "u-1", "role": "user", "email": null,
            "phone": null, "workspace_id": "x", "custom_attributes": {}, "created_at": 1, "signed_up_at": 1});
        merged(contact, patch)
    };
    let tag = |name: &str| {
        json!({"type": "contact_tag", "created_at": 1, "tag": {"type": "tag", "id": "1", "name": name},
            "contact": contact(json!({}))})
    };
    let stage = |stage: &str| contact(json!({"custom_attributes": {"whence_stage": stage}}));
    let qualified = &["qualification qualified"][..];
    vec![
        intercom("2.11", "contact.user.created", "", contact(json!({})), &["lead"]),
        intercom(
            "2.11",
            "contact.lead.created",
            "",
            contact(json!({"role": "lead", "external_id": null})),
            &["lead"],
        ),
        intercom(
            "2.11",
            "contact.user.created",
            "address as id",
            contact(json!({"external_id": "A@Shop.example"})),
            &["lead"],
        ),
        intercom("2.11", "contact.merged", "", contact(json!({"email": "a@shop.example"})), &["identify"]),
        intercom(
            "2.11",
            "contact.merged",
            "both",
            json!({"into": contact(json!({})), "from": {"id": "c2"}}),
            &["identify", "identify"],
        ),
        intercom(
            "2.11",
            "contact.merged",
            "nothing but an id",
            json!({"id": "c1"}),
            &["unusable one_name_only"],
        ),
        intercom("2.11", "contact.user.tag.created", "qualified", tag("qualified"), qualified),
        intercom("2.11", "contact.user.tag.created", "other", tag("newsletter"), &["unmapped"]),
        intercom("2.11", "contact.user.tag.deleted", "qualified", tag("qualified"), &["unmapped"]),
        intercom("2.11", "contact.user.updated", "qualified", stage("qualified"), qualified),
        intercom("2.11", "contact.user.updated", "trial", stage("trial"), &["unmapped"]),
        intercom("2.11", "contact.deleted", "", contact(json!({})), &["unmapped"]),
        intercom("2.0", "user.updated", "qualified", stage("qualified"), qualified),
        intercom("2.0", "user.created", "", contact(json!({})), &["lead"]),
    ]
}

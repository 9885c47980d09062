//! Salesforce. Outbound messages (SOAP) carry no signature: a secret in the address (`?token=…`, the only
//! thing an outbound message can be given), and the organization's id in the message. Callouts of flows
//! (JSON) prove themselves like any JSON. Source: Salesforce's "SOAP API Developer Guide: Outbound
//! Messaging".

use super::{Delivery, ProviderEvent, Refusal, Unreadable, generic, merge, postback, text};
use roxmltree::{Document, Node};
use serde_json::{Map, Value, json};
use whence_schemas::event::WebhookScheme;

pub(super) const KEEPS: &[&str] = &[
    "/Id",
    "/ActionId",
    "/OrganizationId",
    "/sObject/type",
    "/sObject/Id",
    "/sObject/StageName",
    "/sObject/Status",
    "/sObject/IsConverted",
    "/sObject/IsDeleted",
    "/sObject/MasterRecordId",
];
pub(super) const RULES: &str = include_str!("../defaults/salesforce.json");

/// What Salesforce takes as "arrived"; it sends everything else again for 24 hours.
pub const ACK: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>\
    <notificationsResponse xmlns=\"http://soap.sforce.com/2005/09/outbound\"><Ack>true</Ack>\
    </notificationsResponse></soapenv:Body></soapenv:Envelope>";

const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
/// Ids have 15 characters; the 18 of newer ones add a checksum.
const ID_CHARS: usize = 15;

pub(super) fn verify(delivery: &Delivery<'_>, scheme: &WebhookScheme, secret: &[u8]) -> Result<(), Refusal> {
    if !scheme.signature_header.is_empty() && !is_soap(delivery) {
        return generic::verify(delivery, scheme, secret);
    }
    postback::verify(delivery, scheme, secret)
}

/// Whether this is an outbound message.
fn is_soap(delivery: &Delivery<'_>) -> bool {
    delivery.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

pub(super) fn events(
    delivery: &Delivery<'_>,
    scheme: &WebhookScheme,
) -> Result<Vec<ProviderEvent>, Unreadable> {
    if !is_soap(delivery) {
        return Ok(generic::events(delivery, scheme)?.into_iter().flat_map(merged).collect());
    }
    let text = std::str::from_utf8(delivery.body).map_err(|_| Unreadable::Body)?;
    // No DTD, hence no entities: the parser's default.
    let document = Document::parse(text).map_err(|_| Unreadable::Body)?;
    let notifications = document
        .descendants()
        .find(|node| node.has_tag_name((OUTBOUND, "notifications")))
        .ok_or(Unreadable::Body)?;
    let organization = child(notifications, "OrganizationId").ok_or(Unreadable::Body)?;
    let is_own =
        |id: &str| id.get(..ID_CHARS).is_some_and(|id| scheme.organization.get(..ID_CHARS) == Some(id));
    if !is_own(organization) {
        return Err(Refusal::Organization.into());
    }
    let action = child(notifications, "ActionId").unwrap_or_default();
    let list = notifications.children().filter(|node| node.has_tag_name((OUTBOUND, "Notification")));
    let events: Result<Vec<_>, _> = list.map(|node| notification(node, organization, action)).collect();
    Ok(events?.into_iter().flat_map(merged).collect())
}

/// A record that was merged into another is deleted and names it.
fn merged(event: ProviderEvent) -> Vec<ProviderEvent> {
    let (own, master) = (text(&event.body, "/sObject/Id"), text(&event.body, "/sObject/MasterRecordId"));
    if master.is_empty() {
        return vec![event];
    }
    merge(event, vec![master.clone(), own], &master)
}

fn notification(node: Node<'_, '_>, organization: &str, action: &str) -> Result<ProviderEvent, Unreadable> {
    let id = child(node, "Id").ok_or(Unreadable::Body)?;
    let object = node.children().find(|node| node.tag_name().name() == "sObject").ok_or(Unreadable::Body)?;
    let kind = object
        .attributes()
        .find(|attribute| attribute.name() == "type" && attribute.namespace().is_some())
        .map(|attribute| attribute.value().rsplit(':').next().unwrap_or_default())
        .ok_or(Unreadable::Body)?;
    let mut fields = Map::from_iter([("type".to_owned(), kind.into())]);
    for field in object.children().filter(Node::is_element) {
        if let Some(text) = field.text() {
            fields.insert(field.tag_name().name().to_owned(), text.into());
        }
    }
    // The message's session id is a key to the organization and goes no further.
    let body = json!({
        "Id": id,
        "OrganizationId": organization,
        "ActionId": action,
        "sObject": Value::Object(fields),
    });
    Ok(ProviderEvent { id: id.to_owned(), name: kind.to_owned(), body, is_test: false })
}

fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.tag_name().name() == name)?.text().map(str::trim)
}

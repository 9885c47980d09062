//! Lead ids that are a person's address: many give their customers' addresses to a provider as ids. They are taken as
//! what they are, hashed, and the event is not lost for them.

use crate::{
    api::{events::resolve::personal_alias, intake::Intake},
    webhooks::Translated,
};
use serde_json::Value;

/// The event with its `lead` as `email` or `phone` where it is one, unless the program hashes lead ids anyway. An
/// address that the event names itself stays.
pub(super) fn told_as_alias(intake: &Intake, mut translated: Translated) -> Translated {
    let event = &mut translated.event;
    let Some((kind, alias)) = event.get("lead").and_then(Value::as_str).and_then(personal_alias) else {
        return translated;
    };
    let program = event.get("program").and_then(Value::as_str).unwrap_or_default();
    let is_hashed =
        intake.registry.shared().read().program(program).is_some_and(|program| program.hash_lead_ids);
    if !is_hashed {
        event.remove("lead");
        event.entry(kind.word()).or_insert_with(|| alias.into());
    }
    translated
}

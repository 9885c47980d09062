//! A lead is worth more than its touches: those that prove nothing are left out, and the lead is taken.

use super::is_patient;
use crate::{
    api::{auth::Caller, events::draft::Context, intake::Intake},
    webhooks::Translated,
};
use serde_json::Value;

/// The event with those of its touches that prove something, and those that may yet, while it is young.
pub(super) fn proved(intake: &Intake, translated: Translated, caller: &Caller) -> Value {
    let Translated { mut event, mut touches, occurred_at, .. } = translated;
    let is_patient = is_patient(occurred_at, (intake.clock)());
    while !touches.is_empty() {
        event.insert("touches".to_owned(), touches.clone().into());
        let outcome = intake.check(Value::Object(event.clone()), &Context::default(), caller);
        let Err(problem) = outcome.result else { break };
        let vain = problem.errors.iter().filter(|error| !(is_patient && error.code.is_retriable()));
        let Some((index, code)) = vain.filter_map(|error| Some((index(&error.field)?, error.code))).next()
        else {
            break;
        };
        metrics::counter!("whence_webhook_touches_left_out_total", "code" => code.tag()).increment(1);
        touches.remove(index.min(touches.len() - 1));
    }
    if touches.is_empty() {
        event.remove("touches");
    }
    Value::Object(event)
}

/// The place of the touch that an error is about.
fn index(field: &str) -> Option<usize> {
    field.strip_prefix("touches[")?.split_once(']')?.0.parse().ok()
}

//! A lead is worth more than its touches: those that are refused are left out, and the lead is taken. Tokens that prove
//! nothing are none of these: they stand on the lead with their reason.

use crate::{
    api::{
        auth::Caller,
        events::{draft::Context, resolve::KEY_WAIT_MS_MAX},
        intake::Intake,
        problem::Code,
    },
    webhooks::Translated,
};
use serde_json::Value;
use whence_schemas::{time::UnixMs, token};

whence_metrics::declare! {
    /// Tokens and codes of providers' leads that prove nothing, by reason.
    counter WEBHOOK_TOUCHES_LEFT_OUT: "whence_webhook_touches_left_out_total" { code };
}

/// The event with those of its touches that prove something, and those that may yet: see [`may_mend`].
pub(super) fn proved(intake: &Intake, translated: Translated, caller: &Caller) -> Value {
    let Translated { mut event, mut touches, occurred_at, .. } = translated;
    let now = (intake.clock)();
    while !touches.is_empty() {
        event.insert("touches".to_owned(), touches.clone().into());
        let outcome = intake.check(
            Value::Object(event.clone()),
            &Context { is_delivery: true, ..Context::default() },
            caller,
        );
        let Err(problem) = outcome.result else { break };
        let of_touches = problem.errors.iter().filter_map(|error| Some((index(&error.field)?, error.code)));
        let mut vain = of_touches.filter(|(index, code)| {
            let at = occurred_at.or_else(|| clicked_at(touches.get(*index)?));
            !may_mend(*code, at, intake.registry.is_current(), now)
        });
        let Some((index, code)) = vain.next() else { break };
        metrics::counter!(WEBHOOK_TOUCHES_LEFT_OUT, "code" => code.tag()).increment(1);
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

/// Whether waiting may fix what is wrong with a touch: a link while the registry here is behind, however
/// long that takes; anything that arrives by itself while the event of this time is young.
fn may_mend(code: Code, at: Option<UnixMs>, is_current: bool, now: UnixMs) -> bool {
    match code {
        Code::LinkUnknown | Code::Behind if !is_current => true,
        _ => code.is_retriable() && at.is_some_and(|at| now.ms_since(at) <= KEY_WAIT_MS_MAX),
    }
}

/// The time of the click that a touch claims: where the provider gives no time, its event is no older.
fn clicked_at(touch: &Value) -> Option<UnixMs> {
    token::claimed_time(touch.get("token")?.as_str()?)
}

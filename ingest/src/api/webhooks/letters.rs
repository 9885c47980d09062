//! Dead letters: what is kept of a delivery that became no event. They go where events go, to the journal
//! of conversions, and end as rejects with their reason, so that nobody has to look in a second place.

use crate::{
    api::{Api, problem::Problem},
    webhooks::{Provider, ProviderEvent, keep},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use whence_schemas::{
    event::{self, DeadLetter, Event, Mode, WebhookSource},
    ids::{EventId, ProgramId},
    time::UnixMs,
};

/// Dead letters about unproved deliveries, of one process in one second: anybody can send those.
pub const PER_SECOND_MAX: u32 = 10;

/// How many there were in this second.
#[derive(Debug, Default)]
pub struct Letters {
    second: AtomicI64,
    count: AtomicU32,
}

impl Letters {
    /// Whether there is room for one more. Two that race at the turn of a second may get one too many.
    fn take(&self, now: UnixMs) -> bool {
        let second = now.0.div_euclid(1000);
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < PER_SECOND_MAX
    }
}

/// One delivery, or one event of it, that became nothing.
pub struct Letter {
    reason: &'static str,
    detail: Map<String, Value>,
    /// What makes it one over the provider's retries; unproved deliveries are each their own.
    key: Option<String>,
}

impl Letter {
    /// A letter about a delivery of which nothing is believed: its size and where it came in.
    #[must_use]
    pub fn new(source: &WebhookSource, reason: &'static str, body_bytes: usize) -> Letter {
        let mut detail = Map::new();
        detail.insert("source".to_owned(), source.id.as_str().into());
        detail.insert("provider".to_owned(), source.provider.as_str().into());
        detail.insert("reason".to_owned(), reason.into());
        detail.insert("body_bytes".to_owned(), body_bytes.into());
        Letter { reason, detail, key: None }
    }

    /// With the ids and fixed words of an event that was proved.
    #[must_use]
    pub fn of(mut self, provider: Provider, event: &ProviderEvent) -> Letter {
        self.detail.insert("event".to_owned(), keep::name(event).into());
        self.detail.insert("kept".to_owned(), keep::kept(provider, event).into());
        self.key = Some(format!("dead-letter:{}:{}", self.reason, event.id));
        self
    }

    fn is_proved(&self) -> bool {
        self.key.is_some()
    }

    fn record(self, source: &WebhookSource, now: UnixMs, registry_version: u64) -> Option<Bytes> {
        // The registry holds no source of a program that is none.
        let program: ProgramId = source.program.parse().ok()?;
        let key = self.key.unwrap_or_else(|| format!("dead-letter:{:032x}", rand::random::<u128>()));
        let (mode, id) = match source.test {
            true => (Mode::Test, EventId::of_kind(&program, &source.id, true, "dead_letter", &key)),
            false => (Mode::Live, EventId::of(&program, &source.id, &key)),
        };
        let letter =
            DeadLetter { reason: self.reason.to_owned(), detail: Value::Object(self.detail).to_string() };
        let event = Event {
            id: Bytes::copy_from_slice(id.0.as_bytes()),
            mode: mode.into(),
            program: source.program.clone(),
            source: source.id.clone(),
            occurred_at_ms: now.0,
            received_at_ms: now.0,
            registry_version,
            rule: None,
            body: Some(event::event::Body::DeadLetter(letter)),
        };
        Some(event::encode(&event))
    }
}

/// Writes the letters of one delivery: of unproved ones as many as there is room for.
///
/// # Errors
/// Where one about an event that was proved can't be written: it is to be sent again. What is lost of the
/// others is counted, and is no reason to answer otherwise.
pub(super) async fn lay_aside(
    api: &Api,
    source: &WebhookSource,
    letters: Vec<Letter>,
    now: UnixMs,
) -> Result<(), Problem> {
    let registry_version = api.registry.shared().read().version();
    let count = letters.len();
    let roomy = letters.into_iter().filter(|letter| letter.is_proved() || api.webhooks.letters.take(now));
    let (proved, records): (Vec<bool>, Vec<Bytes>) = roomy
        .filter_map(|letter| Some((letter.is_proved(), letter.record(source, now, registry_version)?)))
        .unzip();
    let dropped = |why: &'static str, count: usize| {
        if count > 0 {
            metrics::counter!("whence_webhook_dead_letters_dropped_total", "why" => why)
                .increment(count as u64);
        }
    };
    dropped("too_many", count - records.len());
    if records.is_empty() {
        return Ok(());
    }
    let (mut refused, mut outcome) = (0, Ok(()));
    for (is_proved, committed) in proved.into_iter().zip(api.intake.commit(&records).await) {
        let Err(problem) = committed else { continue };
        if is_proved {
            outcome = Err(problem);
        } else {
            refused += 1;
        }
    }
    dropped("journal", refused);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_bounded_in_every_second() {
        let letters = Letters::default();
        let now = UnixMs(1_800_000_000_000);
        let taken = (0..100).filter(|_| letters.take(now)).count();
        assert_eq!(taken, PER_SECOND_MAX as usize);
        assert!(letters.take(now.plus_ms(1000)));
    }
}

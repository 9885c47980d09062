//! Dead letters: what is kept of a delivery that became no event. They go where events go, to the journal
//! of conversions, and end as rejects with their reason, so that nobody has to look in a second place.

use crate::{
    api::{Api, problem::Problem},
    webhooks::{Provider, ProviderEvent, keep},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use whence_runtime::shares::Prefix;
use whence_schemas::{
    event::{self, Event, Mode, WebhookSource},
    ids::{EventId, ProgramId},
    time::UnixMs,
};

whence_metrics::declare! {
    /// Dead letters that were not written.
    counter WEBHOOK_DEAD_LETTERS_DROPPED: "whence_webhook_dead_letters_dropped_total" { why: ["too_many", "too_many_proved", "journal"] };
}

/// Dead letters about unproved deliveries from one network in one second, of one process: anybody can send those.
pub const UNPROVED_PER_SECOND_MAX: u32 = 10;
/// The same from all networks together.
pub const UNPROVED_TOGETHER_MAX: u32 = 100;
/// Dead letters about proved deliveries to one source in one second that could not be read. Only who has the source's
/// secret can send those: it is the provider, and it is wrong. Those about events have no quota, as events have none.
pub const UNREADABLE_PER_SECOND_MAX: u32 = 1000;

/// What a dead letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// A delivery of which nothing is believed, from this network.
    Unproved(Prefix),
    /// A delivery that proved itself and could not be read.
    Unreadable,
    /// An event of a delivery that proved itself.
    Event,
}

/// How many there were in this second.
#[derive(Debug, Default)]
pub struct DeadLetterQuota(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    second: i64,
    unproved: u32,
    /// Of unproved deliveries by network, at most [`UNPROVED_TOGETHER_MAX`].
    networks: HashMap<Prefix, u32>,
    /// Of unreadable ones by program and source, at most what the registry has of sources.
    sources: HashMap<(String, String), u32>,
}

impl DeadLetterQuota {
    /// Whether there is room for one more.
    fn take(&self, source: &WebhookSource, of: Of, now: UnixMs) -> bool {
        let mut this = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0.div_euclid(1000);
        if this.second != second {
            *this = Second { second, ..Second::default() };
        }
        let (count, max) = match of {
            Of::Event => return true,
            Of::Unproved(_) if this.unproved >= UNPROVED_TOGETHER_MAX => return false,
            Of::Unproved(network) => {
                let count = this.networks.entry(network).or_default();
                (count, UNPROVED_PER_SECOND_MAX)
            }
            Of::Unreadable => {
                let source = (source.program.clone(), source.id.clone());
                (this.sources.entry(source).or_default(), UNREADABLE_PER_SECOND_MAX)
            }
        };
        if *count >= max {
            return false;
        }
        *count += 1;
        this.unproved += u32::from(matches!(of, Of::Unproved(_)));
        true
    }
}

/// One delivery, or one event of it, that became nothing.
pub struct DeadLetter {
    reason: &'static str,
    detail: Map<String, Value>,
    of: Of,
    /// What makes it one over the provider's retries; deliveries of which nothing could be read are each their own.
    key: Option<String>,
}

impl DeadLetter {
    /// A letter about a delivery of which nothing is believed or could be read: its size and where it came in.
    #[must_use]
    pub fn new(source: &WebhookSource, reason: &'static str, of: Of, body_bytes: usize) -> DeadLetter {
        let mut detail = Map::new();
        detail.insert("source".to_owned(), source.id.as_str().into());
        detail.insert("provider".to_owned(), source.provider.as_str().into());
        detail.insert("reason".to_owned(), reason.into());
        detail.insert("body_bytes".to_owned(), body_bytes.into());
        DeadLetter { reason, detail, of, key: None }
    }

    /// With the ids and fixed words of an event that was proved.
    #[must_use]
    pub fn of(mut self, provider: Provider, event: &ProviderEvent) -> DeadLetter {
        self.detail.insert("event".to_owned(), keep::name(event).into());
        self.detail.insert("kept".to_owned(), keep::kept(provider, event).into());
        self.of = Of::Event;
        self.key = Some(format!("dead-letter:{}:{}", self.reason, event.id));
        self
    }

    fn record(self, source: &WebhookSource, now: UnixMs, registry_version: u64) -> Option<Bytes> {
        // The registry holds only sources with a valid program id.
        let program: ProgramId = source.program.parse().ok()?;
        let key = self.key.unwrap_or_else(|| format!("dead-letter:{:032x}", rand::random::<u128>()));
        let (mode, id) = match source.test {
            true => (Mode::Test, EventId::of_kind(&program, &source.id, true, "dead_letter", &key)),
            false => (Mode::Live, EventId::of(&program, &source.id, &key)),
        };
        let letter = event::DeadLetter {
            reason: self.reason.to_owned(),
            detail: Value::Object(self.detail).to_string(),
        };
        let event = Event {
            id: Bytes::copy_from_slice(id.0.as_bytes()),
            mode: mode.into(),
            program: source.program.clone(),
            source: source.id.clone(),
            occurred_at_ms: now.0,
            received_at_ms: now.0,
            registry_version,
            rule: None,
            digest: 0,
            body: Some(event::event::Body::DeadLetter(letter)),
        };
        Some(event::encode(&event))
    }
}

/// Writes the dead letters of one delivery, as far as there is room for them.
///
/// # Errors
/// Where one about an event that was proved can't be written: it is to be sent again. What is lost of the
/// others is counted, and is no reason to answer otherwise.
pub(super) async fn lay_aside(
    api: &Api,
    source: &WebhookSource,
    letters: Vec<DeadLetter>,
    now: UnixMs,
) -> Result<(), Problem> {
    let registry_version = api.registry.shared().read().version();
    let count = letters.len();
    let about = letters.first().map(|letter| letter.of);
    let roomy = letters.into_iter().filter(|letter| api.webhooks.letters.take(source, letter.of, now));
    let (of_events, records): (Vec<bool>, Vec<Bytes>) = roomy
        .filter_map(|letter| Some((letter.of == Of::Event, letter.record(source, now, registry_version)?)))
        .unzip();
    let dropped = |why: &'static str, count: usize| {
        if count > 0 {
            metrics::counter!(WEBHOOK_DEAD_LETTERS_DROPPED, "why" => why).increment(count as u64);
        }
    };
    let too_many = if matches!(about, Some(Of::Unproved(_))) { "too_many" } else { "too_many_proved" };
    dropped(too_many, count - records.len());
    if records.is_empty() {
        return Ok(());
    }
    let (mut refused, mut outcome) = (0, Ok(()));
    for (is_of_event, committed) in of_events.into_iter().zip(api.intake.commit(&records).await) {
        let Err(problem) = committed else { continue };
        if is_of_event {
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
        let letters = DeadLetterQuota::default();
        let now = UnixMs(1_800_000_000_000);
        let from = |network: u8| Of::Unproved(Prefix::of([127, 0, network, 1].into()));
        let source = |id: &str| WebhookSource { id: id.to_owned(), ..WebhookSource::default() };
        let taken = |id, of| (0..2000).filter(|_| letters.take(&source(id), of, now)).count();
        assert_eq!(
            (taken("a", from(0)), taken("a", Of::Unreadable), taken("a", Of::Event)),
            (10, 1000, 2000)
        );
        assert_eq!((taken("b", from(0)), taken("b", from(1))), (0, 10), "one network's flood is no other's");
        assert_eq!(
            (2..100).map(|network| taken("a", from(network))).sum::<usize>(),
            80,
            "all together have a bound"
        );
        assert_eq!(taken("b", Of::Unreadable), 1000, "who proves nothing takes nothing from who does");
        assert!(letters.take(&source("a"), from(0), now.plus_ms(1000)));
    }
}

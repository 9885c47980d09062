//! Takes events: reads, resolves, commits them, and says for each what became of it. An event is accepted
//! only once it is synced. Knows no HTTP: webhooks come in here, too.

pub mod recent;

use super::{
    auth::Caller,
    batch::Outcome,
    disposable::DisposableDomains,
    events::{
        draft::{self, Context},
        resolve::{Resolved, Resolver},
    },
    problem::{Code, Problem},
};
use crate::{
    edge::AddressHasher,
    registry::{Clock, Registry},
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use recent::Recent;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use whence_journal::{CommitError, GroupCommit};
use whence_runtime::health::Component;
use whence_runtime::seldom;
use whence_schemas::{digest, event, ids::EventId, subject::IdentityHasher, token::KeyRing};

whence_metrics::declare! {
    /// Events sent to the API by kind and outcome.
    counter API_EVENTS: "whence_api_events_total" { kind, outcome: ["accepted", "retry", "rejected"] };
    /// Events not accepted, by reason.
    counter API_REFUSED_EVENTS: "whence_api_refused_events_total" { code };
    /// Click tokens of accepted leads that prove nothing, by reason.
    counter API_WORTHLESS_TOKENS: "whence_api_worthless_tokens_total" { code };
}

/// Records of one append: a large batch takes its place among others in pieces.
const APPEND_BYTES_MAX: usize = 256 * 1024;
/// How long after a failure a journal that nothing is written to counts as not ready.
const FAILURE_SHOWN: Duration = Duration::from_secs(5);

/// What taking events needs.
pub struct Intake {
    /// Programs and links.
    pub registry: Arc<dyn Registry>,
    /// The keys that tokens are checked with; swapped when they rotate.
    pub keys: Arc<ArcSwap<KeyRing>>,
    /// The deployment's identity secret.
    pub identity: IdentityHasher,
    /// Domains of mailboxes that are thrown away after use.
    pub disposable: DisposableDomains,
    /// Hashes addresses as the edge does.
    pub addresses: AddressHasher,
    /// Where events are kept.
    pub journal: Arc<GroupCommit>,
    /// Ids that were taken lately.
    pub recent: Recent,
    /// Now.
    pub clock: Clock,
    /// How long a caller waits for the disk.
    pub commit_timeout: Duration,
    /// Shows whether the journal takes events.
    pub readiness: JournalReadiness,
}

/// Where an answer names the touches of an accepted lead that prove nothing.
pub(super) const WORTHLESS: &str = "worthless_touches";
/// What became of an event that is on the disk.
const ACCEPTED: &str = "accepted";
/// What would become of it.
const ACCEPTABLE: &str = "acceptable";

impl Intake {
    /// Takes these events, in this order, and answers when what is accepted is on the disk.
    pub async fn take(
        &self,
        events: Vec<Result<Value, Problem>>,
        context: &Context,
        caller: &Caller,
    ) -> Vec<Outcome> {
        let context = Context { now: (self.clock)(), ..context.clone() };
        let (mut outcomes, mut kinds) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
        let (mut places, mut names, mut records) = (Vec::new(), Vec::new(), Vec::new());
        let mut here: HashMap<EventId, u64> = HashMap::new();
        for event in events {
            kinds.push(event.as_ref().map_or("unknown", |event| draft::kind_label(event, &context)));
            let (head, made) = match event {
                Ok(event) => self.record(event, &context, caller),
                Err(problem) => (Map::new(), Err(problem)),
            };
            let made = made.and_then(|made| {
                let is_another =
                    here.get(&made.id).is_some_and(|first| digest::tell_apart(*first, made.digest));
                // A provider would deliver it again and again: it is taken, and whoever stores it tells.
                if is_another && !context.is_delivery { Err(conflict(made.id)) } else { Ok(made) }
            });
            let result = made.map(|Made { id, digest, record }| {
                here.entry(id).or_insert(digest);
                places.push(outcomes.len());
                names.push((id, digest));
                records.push(record);
                ACCEPTED
            });
            outcomes.push(Outcome { head, result });
        }
        for ((place, (id, digest)), committed) in
            places.into_iter().zip(names).zip(self.commit(&records).await)
        {
            outcomes[place].result = committed.map(|()| {
                self.recent.took(id, digest);
                ACCEPTED
            });
        }
        outcomes.iter().zip(kinds).for_each(|(outcome, kind)| count(outcome, kind));
        outcomes
    }

    /// What would become of this event now. Writes nothing and counts nothing. Says the event's digest as well.
    pub fn check(&self, event: Value, context: &Context, caller: &Caller) -> Outcome {
        let context = Context { now: (self.clock)(), ..context.clone() };
        let (mut head, made) = self.record(event, &context, caller);
        let result = made.map(|made| {
            head.insert("digest".into(), format!("{:016x}", made.digest).into());
            ACCEPTABLE
        });
        Outcome { head, result }
    }

    /// What names the event, and its record. Raw aliases end here.
    fn record(
        &self,
        event: Value,
        context: &Context,
        caller: &Caller,
    ) -> (Map<String, Value>, Result<Made, Problem>) {
        let mut head = Map::new();
        let draft = match draft::read(event, context) {
            Ok(draft) => draft,
            Err(errors) => return (head, Err(Problem::of_fields(errors))),
        };
        head.insert("id".into(), draft.id().0.to_string().into());
        let keys = self.keys.load();
        let resolver = Resolver {
            registry: &self.registry.shared().read(),
            is_current: self.registry.is_current(),
            keys: &keys,
            identity: &self.identity,
            disposable: &self.disposable,
            addresses: &self.addresses,
            now: context.now,
        };
        match resolver.event(&draft, caller) {
            Ok(Resolved { event, worthless }) => {
                if !worthless.is_empty() {
                    let worthless = serde_json::to_value(worthless).expect("they are text");
                    head.insert(WORTHLESS.into(), worthless);
                }
                let (id, digest) = (draft.id(), event.digest);
                if !context.is_delivery && self.recent.is_another(id, digest) {
                    return (head, Err(conflict(id)));
                }
                (head, Ok(Made { id, digest, record: event::encode(&event) }))
            }
            Err(errors) => (head, Err(Problem::of_fields(errors))),
        }
    }

    /// One answer for each record, when it is on the disk or can't be.
    pub(super) async fn commit(&self, records: &[Bytes]) -> Vec<Result<(), Problem>> {
        let deadline = Instant::now() + self.commit_timeout;
        let appends = pieces(records).map(|piece| {
            let slices: Vec<&[u8]> = piece.iter().map(Bytes::as_ref).collect();
            // Appended here, in order; only the waiting is concurrent.
            let appended = self.journal.append(&slices);
            let count = piece.len();
            async move { (count, timeout_at(deadline, appended).await) }
        });
        let mut answers = Vec::with_capacity(records.len());
        for (count, committed) in join_all(appends).await {
            let answer = match committed {
                Ok(Ok(_position)) => {
                    self.readiness.committed();
                    Ok(())
                }
                Ok(Err(error)) => {
                    seldom!(warn, error = &error as &dyn std::error::Error, events = count, "events refused");
                    self.readiness.failed(&error);
                    Err(Problem::from(&error))
                }
                Err(_elapsed) => {
                    seldom!(warn, events = count, "events not synced in time");
                    self.readiness.stalled();
                    Err(Problem::new(Code::Journal, "the disk did not answer in time"))
                }
            };
            answers.extend(std::iter::repeat_n(answer, count));
        }
        answers
    }
}

/// The record of an event, and what it is told apart by.
struct Made {
    id: EventId,
    digest: u64,
    record: Bytes,
}

fn conflict(id: EventId) -> Problem {
    let detail = format_args!(
        "this process accepted another event with this id before ({}): which of them stands, lineage says; a change is an \
         event of its own, with another id",
        id.0
    );
    Problem::new(Code::ConflictingBody, detail)
}

/// Cuts records into pieces of at most [`APPEND_BYTES_MAX`], or of one record.
fn pieces(records: &[Bytes]) -> impl Iterator<Item = &[Bytes]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|record| {
            bytes += record.len();
            bytes <= APPEND_BYTES_MAX
        });
        let count = fitting.count().max(1).min(rest.len());
        let (piece, after) = rest.split_at(count);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn count(outcome: &Outcome, kind: &'static str) {
    let word = outcome.word();
    metrics::counter!(API_EVENTS, "kind" => kind, "outcome" => word).increment(1);
    match &outcome.result {
        Err(problem) => {
            let code = problem.code.tag();
            metrics::counter!(API_REFUSED_EVENTS, "code" => code).increment(1);
        }
        Ok(_) => {
            let worthless = outcome.head.get(WORTHLESS).and_then(Value::as_array).into_iter().flatten();
            for code in worthless.filter_map(|touch| touch["code"].as_str()) {
                metrics::counter!(API_WORTHLESS_TOKENS, "code" => code.to_owned()).increment(1);
            }
        }
    }
}

/// Shows a journal that fails as not ready, until it takes something or some seconds have passed: a node
/// that is sent nothing could never show otherwise that it is well again.
pub struct JournalReadiness {
    component: Component,
    is_failing: AtomicBool,
    failed: tokio::sync::Notify,
    shown: Duration,
}

impl JournalReadiness {
    /// The journal is open.
    #[must_use]
    pub fn open(component: Component) -> JournalReadiness {
        component.ready();
        JournalReadiness {
            component,
            is_failing: AtomicBool::new(false),
            failed: tokio::sync::Notify::new(),
            shown: FAILURE_SHOWN,
        }
    }

    fn committed(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            self.component.ready();
        }
    }

    fn failed(&self, error: &CommitError) {
        // Too much at once says nothing about the disk.
        if !matches!(error, CommitError::Busy | CommitError::TooLarge) {
            self.fail(error.tag());
        }
    }

    fn stalled(&self) {
        self.fail("stalled");
    }

    fn fail(&self, why: &str) {
        self.component.not_ready(format!("the journal failed: {why}"));
        self.is_failing.store(true, Ordering::Relaxed);
        self.failed.notify_one();
    }

    /// Forgets the last failure after some seconds, until `shutdown`.
    pub async fn recover(&self, shutdown: CancellationToken) {
        shutdown
            .run_until_cancelled(async {
                loop {
                    self.failed.notified().await;
                    while timeout(self.shown, self.failed.notified()).await.is_ok() {}
                    self.committed();
                }
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use whence_runtime::health::Health;

    #[tokio::test]
    async fn a_failure_is_shown_until_something_is_taken_or_time_has_passed() {
        let health = Health::new();
        let mut readiness = JournalReadiness::open(health.component("api.journal"));
        readiness.shown = Duration::from_millis(1);
        let is_ready = || health.readiness().ready;
        assert!(is_ready());
        readiness.failed(&CommitError::Busy);
        assert!(is_ready(), "too much at once says nothing about the disk");
        readiness.failed(&CommitError::DiskFull);
        assert_eq!(health.readiness().components[0].reason.as_deref(), Some("the journal failed: disk_full"));
        readiness.committed();
        assert!(is_ready());

        readiness.stalled();
        assert!(!is_ready());
        let until_ready = async {
            while !is_ready() {
                tokio::task::yield_now().await;
            }
        };
        let recovered = async {
            tokio::select! { () = readiness.recover(CancellationToken::new()) => {}, () = until_ready => {} }
        };
        timeout(Duration::from_secs(10), recovered).await.expect("ready again within the deadline");
    }

    proptest! {
        #[test]
        fn pieces_are_the_records_again_and_bounded(lens in proptest::collection::vec(0usize..200_000, 0..20)) {
            let records: Vec<Bytes> = lens.iter().map(|len| vec![0; *len].into()).collect();
            let cut: Vec<&[Bytes]> = pieces(&records).collect();
            prop_assert!(cut.concat() == records);
            for piece in cut {
                let bytes: usize = piece.iter().map(Bytes::len).sum();
                prop_assert!(piece.len() == 1 || bytes <= APPEND_BYTES_MAX);
            }
        }
    }
}

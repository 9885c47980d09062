//! Readiness with reasons and liveness by heartbeat. Knows nothing of HTTP; [`admin`](crate::admin) shows it.
//!
//! *Ready* means "send me work"; *live* means "do not kill me". A process whose broker is away is not
//! ready, and killing it would not bring the broker back: only a loop that stopped turning makes a process
//! not live.
//!
//! Not every component decides: a role names those without which it is of no use ([`Health::requiring`]). The
//! failure of another one makes it *degraded*, which is shown and alarming, and takes no traffic away. A
//! redirector whose Kafka is away still redirects and records; taken out of service for it, it would not.
//!
//! What a person has to look at and no restart, roll-out or other process fixes, such as a row that is gone or a
//! customer's endpoint that answers nothing, is [advisory](Health::advisory) in every role: it degrades, and never
//! decides.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

whence_metrics::declare! {
    /// Whether a component is ready (1) or not (0).
    gauge COMPONENT_READY: "whence_component_ready" { component };
}

/// The registry; clones are handles to one.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// The names that decide; `None`: all.
    required: Option<&'static [&'static str]>,
    draining: AtomicBool,
    /// Names are literals of the program and partitions that it owns, so their number is bounded by these.
    components: Mutex<BTreeMap<Name, ComponentState>>,
    /// Bounded by the number of live tasks: a heartbeat leaves with its handle.
    heartbeats: Mutex<BTreeMap<u64, Beat>>,
    heartbeat_id_next: AtomicU64,
}

type Name = Cow<'static, str>;

#[derive(Debug)]
struct ComponentState {
    /// `None` is ready.
    reason: Option<String>,
    /// When it became so.
    since: Instant,
    /// Never decides on readiness.
    is_advisory: bool,
}

#[derive(Debug)]
struct Beat {
    name: String,
    age_max: Duration,
    /// Milliseconds after `Inner::started`.
    last_ms: Arc<AtomicU64>,
}

/// One component's readiness, with the reason if it is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentReport {
    /// Such as `ingest.kafka`.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether the process is not ready without it.
    pub required: bool,
    /// Whether it is for people to look at, and decides in no role.
    #[serde(skip_serializing_if = "is_false")]
    pub advisory: bool,
    /// For how many seconds it has been so.
    pub seconds: u64,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether the process takes work: it does when every required component is ready and it is not draining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The verdict.
    pub ready: bool,
    /// Whether some component is not ready, required or not.
    pub degraded: bool,
    /// Whether a shutdown has begun.
    pub draining: bool,
    /// In the order of names.
    pub components: Vec<ComponentReport>,
}

/// A loop that has not turned for longer than it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stalled {
    /// The heartbeat's name.
    pub name: String,
    /// Time since its last beat, in milliseconds.
    pub age_ms: u64,
    /// What it is allowed, in milliseconds.
    pub age_ms_max: u64,
}

/// Whether the process still turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Liveness {
    /// The verdict.
    pub live: bool,
    /// What stands still.
    pub stalled: Vec<Stalled>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// An empty registry: ready and live until told otherwise. Every component decides on readiness.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A registry in which only the components of these names decide on readiness. Those nobody has asked
    /// for yet count as not ready.
    pub fn requiring(names: &'static [&'static str]) -> Self {
        let health = Self::with(Some(names));
        for name in names {
            let _ = health.component(*name);
        }
        health
    }

    fn with(required: Option<&'static [&'static str]>) -> Self {
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                required,
                draining: AtomicBool::new(false),
                components: Mutex::default(),
                heartbeats: Mutex::default(),
                heartbeat_id_next: AtomicU64::new(0),
            }),
        }
    }

    /// The component of that name, not ready ("starting") when it is new.
    ///
    /// Two callers with one name share one state and would overwrite each other: name the role as well
    /// (`ingest.kafka`, `aggregator.kafka`).
    pub fn component(&self, name: impl Into<Name>) -> Component {
        self.enter(name.into(), Some("starting"))
    }

    /// The component of that name, ready when it is new, which only ever degrades the process.
    pub fn advisory(&self, name: impl Into<Name>) -> Component {
        self.enter(name.into(), None)
    }

    fn enter(&self, name: Name, starting: Option<&str>) -> Component {
        let mut components = lock(&self.inner.components);
        components.entry(name.clone()).or_insert_with(|| {
            record(&name, starting.is_none());
            ComponentState {
                reason: starting.map(str::to_owned),
                since: Instant::now(),
                is_advisory: starting.is_none(),
            }
        });
        drop(components);
        Component { name, inner: Arc::clone(&self.inner) }
    }

    /// Watches a loop: the process is not live if `beat` is not called for longer than `age_max`.
    ///
    /// Counts from now. The watch ends when the handle is dropped, except by a panic: a loop that died
    /// stays on the list and makes the process not live.
    pub fn heartbeat(&self, name: impl Into<String>, age_max: Duration) -> Heartbeat {
        let last_ms = Arc::new(AtomicU64::new(self.inner.now_ms()));
        let id = self.inner.heartbeat_id_next.fetch_add(1, Ordering::Relaxed);
        let beat = Beat { name: name.into(), age_max, last_ms: Arc::clone(&last_ms) };
        lock(&self.inner.heartbeats).insert(id, beat);
        Heartbeat { id, last_ms, inner: Arc::clone(&self.inner) }
    }

    /// From now on the process takes no more work, whatever its components say. There is no way back.
    pub fn drain(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
    }

    /// The readiness now.
    pub fn readiness(&self) -> Readiness {
        let draining = self.inner.draining.load(Ordering::Relaxed);
        let components: Vec<ComponentReport> = lock(&self.inner.components)
            .iter()
            .map(|(name, state)| ComponentReport {
                name: name.clone().into_owned(),
                ready: state.reason.is_none(),
                required: !state.is_advisory
                    && self.inner.required.is_none_or(|names| names.contains(&&**name)),
                advisory: state.is_advisory,
                seconds: state.since.elapsed().as_secs(),
                reason: state.reason.clone(),
            })
            .collect();
        Readiness {
            ready: !draining && components.iter().all(|component| component.ready || !component.required),
            degraded: components.iter().any(|component| !component.ready),
            draining,
            components,
        }
    }

    /// The liveness now.
    pub fn liveness(&self) -> Liveness {
        let now_ms = self.inner.now_ms();
        let stalled: Vec<Stalled> = lock(&self.inner.heartbeats)
            .values()
            .map(|beat| Stalled {
                name: beat.name.clone(),
                age_ms: now_ms.saturating_sub(beat.last_ms.load(Ordering::Relaxed)),
                age_ms_max: millis(beat.age_max),
            })
            .filter(|beat| beat.age_ms > beat.age_ms_max)
            .collect();
        Liveness { live: stalled.is_empty(), stalled }
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

/// A handle to one component's readiness; cheap to clone.
#[derive(Clone, Debug)]
pub struct Component {
    name: Name,
    inner: Arc<Inner>,
}

impl Component {
    /// The component works.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The component does not work; `reason` is shown to operators, so it holds no secret.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    /// The component is no longer this process's.
    pub fn remove(self) {
        lock(&self.inner.components).remove(&self.name);
        // A gauge can't be taken back, and another process's component is not at fault here.
        record(&self.name, true);
    }

    /// Logs changes only: a component may report its state on every turn of a loop.
    fn set(&self, reason: Option<String>) {
        let mut components = lock(&self.inner.components);
        let Some(known) = components.get_mut(&self.name).filter(|known| known.reason != reason) else {
            return;
        };
        if known.reason.is_some() != reason.is_some() {
            known.since = Instant::now();
        }
        known.reason.clone_from(&reason);
        // Still under the lock, so that the gauge and the log end with the last state.
        record(&self.name, reason.is_none());
        let component = &*self.name;
        match reason {
            None => tracing::info!(component, "component is ready"),
            Some(reason) => tracing::warn!(component, reason, "component is not ready"),
        }
    }
}

/// A handle to one loop's heartbeat.
#[derive(Debug)]
pub struct Heartbeat {
    id: u64,
    last_ms: Arc<AtomicU64>,
    inner: Arc<Inner>,
}

impl Heartbeat {
    /// The loop turned. One clock reading and one store; meant for once a turn, not once a record.
    pub fn beat(&self) {
        self.last_ms.store(self.inner.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            lock(&self.inner.heartbeats).remove(&self.id);
        }
    }
}

fn record(name: &Name, ready: bool) {
    metrics::gauge!(COMPONENT_READY, "component" => name.clone()).set(if ready { 1.0 } else { 0.0 });
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// No code panics while it holds one of these locks; if some ever does, the maps are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_process_is_ready_when_all_its_components_are() {
        let health = Health::new();
        let kafka = health.component("kafka");
        let store = health.component("store");
        store.ready();
        assert_eq!(
            reasons(&health),
            [("kafka".to_owned(), Some("starting".to_owned())), ("store".to_owned(), None)]
        );
        kafka.ready();
        assert!(health.readiness().ready);
        kafka.not_ready("no broker answers");
        assert!(!health.readiness().ready);
        assert_eq!(reasons(&health)[0].1.as_deref(), Some("no broker answers"));
    }

    #[test]
    fn a_component_that_is_not_required_degrades_and_takes_no_traffic_away() {
        let health = Health::requiring(&["journal"]);
        let kafka = health.component("kafka");
        assert!(!health.readiness().ready, "a required component that nobody has asked for");
        health.component("journal").ready();
        let readiness = health.readiness();
        assert!(readiness.ready && readiness.degraded, "{readiness:?}");
        let required: Vec<bool> = readiness.components.iter().map(|component| component.required).collect();
        assert_eq!(required, [true, false]);
        kafka.ready();
        assert!(!health.readiness().degraded);
        health.component("journal").not_ready("the disk is full");
        assert!(!health.readiness().ready);
    }

    #[test]
    fn an_advisory_component_degrades_and_decides_nowhere() {
        let health = Health::new();
        let account = health.advisory("account");
        health.component("store").ready();
        let readiness = health.readiness();
        assert!(readiness.ready && !readiness.degraded, "{readiness:?}");
        account.not_ready("a row is gone");
        let readiness = health.readiness();
        assert!(readiness.ready && readiness.degraded, "{readiness:?}");
        assert_eq!(
            readiness.components.iter().map(|component| component.advisory).collect::<Vec<_>>(),
            [true, false]
        );
        health.component("store").not_ready("away");
        assert!(!health.readiness().ready);
    }

    #[test]
    fn a_component_that_was_removed_says_nothing_more() {
        let health = Health::new();
        let partition = health.component(format!("aggregator.clicks-{}", 3));
        let another = partition.clone();
        assert!(!health.readiness().ready);
        partition.remove();
        assert!(health.readiness().ready);
        another.not_ready("by whoever had it");
        assert!(health.readiness().ready && health.readiness().components.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_it_has_been_so_is_told_whatever_the_reason_is() {
        let health = Health::new();
        let store = health.component("store");
        store.not_ready("no answer");
        advance(Duration::from_secs(5)).await;
        store.not_ready("no answer yet");
        advance(Duration::from_secs(2)).await;
        assert_eq!(health.readiness().components[0].seconds, 7);
        store.ready();
        assert_eq!(health.readiness().components[0].seconds, 0);
    }

    #[test]
    fn asking_for_a_component_again_keeps_its_state() {
        let health = Health::new();
        health.component("kafka").ready();
        let _same = health.component("kafka");
        assert!(health.readiness().ready);
    }

    #[test]
    fn a_draining_process_is_not_ready_whatever_its_components_say() {
        let health = Health::new();
        health.component("kafka").ready();
        health.drain();
        health.component("kafka").ready();
        let readiness = health.readiness();
        assert!(!readiness.ready && readiness.draining && readiness.components[0].ready);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stops_turning_makes_the_process_not_live() {
        let health = Health::new();
        let heartbeat = health.heartbeat("partition 3", Duration::from_secs(10));
        advance(Duration::from_secs(10)).await;
        assert!(health.liveness().live);
        advance(Duration::from_millis(1)).await;
        let stalled = Stalled { name: "partition 3".to_owned(), age_ms: 10_001, age_ms_max: 10_000 };
        assert_eq!(health.liveness(), Liveness { live: false, stalled: vec![stalled] });
        heartbeat.beat();
        assert!(health.liveness().live);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ended_is_forgotten_and_one_that_panicked_is_not() {
        let health = Health::new();
        drop(health.heartbeat("ended", Duration::from_secs(1)));
        let panicked = health.heartbeat("panicked", Duration::from_secs(1));
        let task = tokio::spawn(async move {
            let _held = panicked;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        advance(Duration::from_secs(2)).await;
        let stalled: Vec<String> = health.liveness().stalled.into_iter().map(|beat| beat.name).collect();
        assert_eq!(stalled, ["panicked"]);
    }

    fn reasons(health: &Health) -> Vec<(String, Option<String>)> {
        health.readiness().components.into_iter().map(|report| (report.name, report.reason)).collect()
    }
}

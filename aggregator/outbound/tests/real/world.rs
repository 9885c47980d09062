//! An engine with messages in it, endpoints, and a partition's owner.

use clickhouse::Client;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use whence_aggregator::{clickhouse::migrate::migrate, position::Commit, work::Owned};
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_outbound::{
    DeliverySettings, Directory, Now, Outbound, machine_time, status::OutboundStatus, tables::Tables,
};
use whence_schemas::{event::WebhookEndpoint, ids::Incarnation, outgoing::Reach, sql::Topology};

pub const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==";
pub const OTHER: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz";

/// Endpoints and secrets as the test has them.
pub struct Known {
    endpoints: Mutex<BTreeMap<String, WebhookEndpoint>>,
    version: watch::Sender<u64>,
}

impl Directory for Known {
    fn endpoints(&self) -> Vec<WebhookEndpoint> {
        self.endpoints.lock().unwrap().values().cloned().collect()
    }

    fn secret(&self, program: &str, name: &str) -> Option<&[u8]> {
        match (program, name) {
            ("demo", "main") => Some(SECRET.as_bytes()),
            ("demo", "other") => Some(OTHER.as_bytes()),
            _ => None,
        }
    }

    fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

impl Known {
    pub fn put(&self, id: &str, url: String, change: impl FnOnce(&mut WebhookEndpoint)) {
        let mut endpoint = WebhookEndpoint {
            program: "demo".into(),
            id: id.into(),
            url,
            secrets: vec!["main".into()],
            ..WebhookEndpoint::default()
        };
        change(&mut endpoint);
        self.endpoints.lock().unwrap().insert(id.to_owned(), endpoint);
        self.version.send_modify(|version| *version += 1);
    }
}

pub struct World {
    pub client: Client,
    pub known: Arc<Known>,
    /// By how much the clock of deliveries is ahead of the machine's, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
    // Dropped in this order: the server before its data.
    _engine: EngineProcess,
    _dir: TempDir,
}

/// A partition at work.
pub struct Work {
    stored: watch::Sender<Option<Commit>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Work {
    /// The partition is stored up to this offset.
    pub fn stored(&self, incarnation: u128, next: u64) {
        self.stored.send_replace(Some(commit(incarnation, next)));
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As a crash.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn commit(incarnation: u128, next: u64) -> Commit {
    Commit { incarnation: Incarnation(Uuid::from_u128(incarnation)), next, intent: None }
}

/// Settings of a test: tries follow each other quickly.
pub fn settings() -> DeliverySettings {
    let mut settings = whence_runtime::settings::defaults::<DeliverySettings>().unwrap();
    settings.delivery_retry_first = Duration::from_millis(10);
    settings.delivery_retry_max = Duration::from_millis(50);
    settings.delivery_timeout = Duration::from_secs(5);
    settings
}

impl World {
    pub async fn new() -> World {
        let dir = TempDir::new().unwrap();
        let engine = EngineProcess::start(&dir.path().join("clickhouse")).unwrap();
        let client = Client::default()
            .with_url(engine.url())
            .with_user("default")
            .with_password(engine.password())
            .with_database("whence");
        migrate(&client, "whence", &Topology::Single).await.unwrap();
        let known = Arc::new(Known { endpoints: Mutex::default(), version: watch::Sender::new(0) });
        World { client, known, ahead_ms: Arc::default(), _engine: engine, _dir: dir }
    }

    /// Works partition 0, which is stored up to `next` of this incarnation.
    pub fn work(&self, settings: DeliverySettings, incarnation: u128, next: u64) -> Work {
        self.work_within(Reach::Private, settings, incarnation, next)
    }

    /// The same, calling addresses of this reach only.
    pub fn work_within(
        &self,
        reach: Reach,
        settings: DeliverySettings,
        incarnation: u128,
        next: u64,
    ) -> Work {
        let tables = Tables::new(self.client.clone(), Duration::from_secs(20));
        let ahead_ms = Arc::clone(&self.ahead_ms);
        let now: Now = Arc::new(move || machine_time().plus_ms(ahead_ms.load(Ordering::SeqCst)));
        let outbound = Outbound {
            settings,
            reach,
            tables,
            directory: self.known.clone(),
            topic: None,
            now,
            status: OutboundStatus::default(),
        };
        let (stored, stop) = (watch::Sender::new(Some(commit(incarnation, next))), CancellationToken::new());
        let owned = Owned { partition: 0, stored: stored.subscribe(), stop: stop.clone() };
        let task = tokio::spawn(outbound.companion()(owned));
        Work { stored, stop, task }
    }

    /// Turns the clock of deliveries to this time, from where it goes on.
    pub fn turn_to(&self, at_ms: u64) {
        self.ahead_ms.store(i64::try_from(at_ms).unwrap() - machine_time().0, Ordering::SeqCst);
    }

    pub async fn run(&self, sql: &str) {
        self.client.query(sql).execute().await.unwrap();
    }

    /// Stores leads with their messages, of offsets from `first`, one lead each; lead `n` is called `lead n`.
    pub async fn leads(&self, incarnation: u128, first: u64, count: u64) {
        let incarnation = Uuid::from_u128(incarnation);
        self.run(&format!(
            "INSERT INTO leads (program, id, lead, keys, referrer, evidence, live, sign, occurred_at, received_at, incarnation, partition, offset)
             SELECT 'demo', reinterpretAsUUID(toUInt128(number + 1)), concat('lead ', toString(number)), [], 'ann', 'code', true, 1,
                 toDateTime64('2026-01-31 12:00:00', 3, 'UTC'), toDateTime64('2026-01-31 12:00:00', 3, 'UTC'), toUUID('{incarnation}'), 0, number
             FROM numbers({first}, {count})"
        ))
        .await;
    }

    /// Stores a qualification of each of these leads, of offsets from `first`.
    pub async fn qualifications(&self, incarnation: u128, leads_first: u64, first: u64, count: u64) {
        let incarnation = Uuid::from_u128(incarnation);
        self.run(&format!(
            "INSERT INTO qualifications (program, id, lead_id, name, referrer, value_minor, currency, live, sign, occurred_at, received_at, incarnation, partition, offset)
             SELECT 'demo', reinterpretAsUUID(toUInt128(1000000 + {first} + number)), reinterpretAsUUID(toUInt128({leads_first} + number + 1)), 'purchase', 'ann', 1999, 'EUR', true, 1,
                 toDateTime64('2026-01-31 12:00:00', 3, 'UTC'), toDateTime64('2026-01-31 12:00:00', 3, 'UTC'), toUUID('{incarnation}'), 0, {first} + number
             FROM numbers({count})"
        ))
        .await;
    }

    pub async fn count(&self, sql: &str) -> u64 {
        self.client.query(sql).fetch_one::<u64>().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Polls until the query gives `wanted`; panics with what it gave last after a minute.
    pub async fn until(&self, sql: &str, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.count(sql).await;
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{sql} gives {found}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

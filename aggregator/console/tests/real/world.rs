//! An engine with the tables in it, and records that the aggregator turns into facts.

use bytes::Bytes;
use clickhouse::Client;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use uuid::Uuid;
use whence_aggregator::{
    click::{self, ClickDedup, DedupSettings},
    clickhouse::{ClickHouseStore, StoreSettings, migrate::migrate},
    conversion::{self, ConversionState},
    filter::FilterSettings,
    position::{BlockRange, Partition},
    source::Record,
    store::Store,
};
use whence_clickhouse_embedded::testing::EngineProcess;
use whence_console::{
    ask::reader,
    subject::{Name, term},
};
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, Click, Disqualification, Erasure, Event, Identify, Lead,
        Mode, Qualification, RewardTerms, Subject, Touch, Verdict, event::Body,
    },
    ids::{ChannelNumber, ClickId, EventId, Incarnation, LinkNumber, ProgramId},
    sql::Topology,
    subject::{AliasKind, IdentityHasher},
    time::{DAY_MS, UnixMs},
    token::{ClickToken, KeyRing, TEXT_LEN},
    topics::Stream,
};

/// 2026-12-31T23:40:00Z.
pub const NOW: UnixMs = UnixMs(1_798_760_400_000);
pub const PROGRAM: &str = "p";

pub struct World {
    /// As the console asks: read only.
    pub reader: Client,
    /// As the aggregator writes.
    pub client: Client,
    store: ClickHouseStore,
    keys: Arc<KeyRing>,
    identity: IdentityHasher,
    taken: u64,
    // Dropped in this order: the server before its data.
    _engine: EngineProcess,
    _dir: TempDir,
}

/// Who an event is about.
#[derive(Clone, Copy, Default)]
pub struct Person {
    pub lead: &'static str,
    pub email: &'static str,
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
        World {
            reader: reader(client.clone(), Duration::from_secs(60)),
            store: ClickHouseStore::new(client.clone(), StoreSettings::default()),
            client,
            keys: Arc::new(KeyRing::new(1, &[(1, [1; 32])]).unwrap()),
            identity: IdentityHasher::new(&[2; 32]),
            taken: 0,
            _engine: engine,
            _dir: dir,
        }
    }

    /// The aggregator's work on a block of conversions.
    pub async fn take(&mut self, payloads: impl IntoIterator<Item = Bytes>) {
        let (range, records) = self.block(Stream::Conversions, payloads);
        let mut state = ConversionState::new(FilterSettings::default(), Arc::clone(&self.keys));
        let mut looked = conversion::look(&range, &records, &mut state, &self.store).await.unwrap();
        let looks = looked.take_looks();
        if !looks.is_empty() {
            self.store.insert(&range.token(), &looks).await.unwrap();
        }
        let tables = looked.into_rows(&range, &mut state, &self.store).await.unwrap().tables;
        for rows in tables.iter().filter(|rows| !rows.is_empty()) {
            self.store.insert(&range.token(), rows).await.unwrap();
        }
    }

    /// The same for clicks.
    pub async fn take_clicks(&mut self, payloads: impl IntoIterator<Item = Bytes>) {
        let (range, records) = self.block(Stream::Clicks, payloads);
        let mut dedup = ClickDedup::new(DedupSettings::default());
        let tables = click::process(&range, &records, &mut dedup, &self.store).await.unwrap();
        for rows in tables.iter().filter(|rows| !rows.is_empty()) {
            self.store.insert(&range.token(), rows).await.unwrap();
        }
    }

    fn block(
        &mut self,
        stream: Stream,
        payloads: impl IntoIterator<Item = Bytes>,
    ) -> (BlockRange, Vec<Record>) {
        let first = self.taken;
        let record = |(offset, payload)| Record { offset, timestamp: NOW, payload: Some(payload) };
        let records: Vec<Record> = (first..).zip(payloads).map(record).collect();
        self.taken += records.len() as u64;
        let partition = Partition { stream, number: 0 };
        let incarnation = Incarnation(Uuid::from_u128(7));
        (BlockRange { incarnation, partition, first, end: self.taken }, records)
    }

    /// A touch of the click on `host/REFERRER` this long ago.
    pub fn token(&self, referrer: &str, ago_ms: i64) -> Touch {
        let link = format!("go.example/{referrer}");
        let token = ClickToken {
            click: click_id(ago_ms),
            link: LinkNumber::of(&link),
            channel: ChannelNumber::of("email"),
        };
        let mut text = [0; TEXT_LEN];
        let token = self.keys.mint(&token, &mut text).to_owned();
        Touch { token, link, referrer: referrer.into(), channel: "email".into() }
    }

    fn subject(&self, person: Person) -> Option<Subject> {
        let program: ProgramId = PROGRAM.parse().unwrap();
        let names = [(AliasKind::Lead, person.lead), (AliasKind::Email, person.email)];
        let named = names.into_iter().filter(|(_, name)| !name.is_empty());
        let keys =
            named.map(|(kind, name)| Bytes::copy_from_slice(&self.identity.key(&program, kind, name).0));
        Some(Subject { lead: person.lead.into(), keys: keys.collect(), ..Subject::default() })
    }

    pub fn lead(&self, id: &str, person: Person, touches: Vec<Touch>) -> Event {
        event(id, Body::Lead(Lead { subject: self.subject(person), touches, ..Lead::default() }))
    }

    pub fn qualification(&self, id: &str, person: Person, name: &str, value_minor: i64) -> Event {
        let subject = self.subject(person);
        let currency = "EUR".to_owned();
        event(
            id,
            Body::Qualification(Qualification {
                subject,
                name: name.into(),
                value_minor,
                currency,
                rewards: None,
                history: None,
                ..Qualification::default()
            }),
        )
    }

    /// The same, with what the program pays for it.
    pub fn rewarded(&self, id: &str, person: Person, value_minor: i64, terms: RewardTerms) -> Event {
        let paid = self.qualification(id, person, "purchase", value_minor);
        let Some(Body::Qualification(body)) = paid.body else { unreachable!("it is one") };
        event(id, Body::Qualification(Qualification { rewards: Some(terms), ..body }))
    }

    /// A refund of a part of what the person paid.
    pub fn refund(&self, id: &str, person: Person, value_minor: i64) -> Event {
        let subject = self.subject(person);
        let (reason, currency) = ("refund".to_owned(), "EUR".to_owned());
        event(
            id,
            Body::Disqualification(Disqualification {
                subject,
                reason,
                value_minor,
                currency,
                ..Default::default()
            }),
        )
    }

    /// The person is forgotten.
    pub fn erasure(&self, id: &str, person: Person) -> Event {
        let keys = self.subject(person).map(|subject| Subject { lead: String::new(), ..subject });
        event(id, Body::Erasure(Erasure { subject: keys, requested_by: "ticket 1".into() }))
    }

    /// Both names of the person are one person's.
    pub fn identify(&self, id: &str, person: Person) -> Event {
        event(id, Body::Identify(Identify { subject: self.subject(person), ..Identify::default() }))
    }

    /// What a question about this person says to ClickHouse.
    pub fn term(&self, name: Name, value: &str) -> String {
        term(&self.identity, &PROGRAM.parse().unwrap(), name, value).unwrap()
    }

    pub async fn count(&self, sql: &str) -> u64 {
        self.reader.query(sql).fetch_one::<u64>().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

pub fn click_id(ago_ms: i64) -> ClickId {
    ClickId::mint(NOW.plus_ms(-ago_ms), &[3; 10], true)
}

pub fn click(referrer: &str, ago_ms: i64, verdict: Verdict) -> Bytes {
    event::encode(&Click {
        id: Bytes::copy_from_slice(click_id(ago_ms).0.as_bytes()),
        mode: Mode::Live.into(),
        program: PROGRAM.into(),
        link: format!("go.example/{referrer}"),
        referrer: referrer.into(),
        channel: "email".into(),
        destination: "https://shop.example/".into(),
        registry_version: 1,
        verdict: verdict.into(),
        reason: "browser".into(),
        ..Click::default()
    })
}

pub fn event(id: &str, body: Body) -> Event {
    Event {
        id: Bytes::copy_from_slice(event_id(id).0.as_bytes()),
        mode: Mode::Live.into(),
        program: PROGRAM.into(),
        source: "api".into(),
        occurred_at_ms: NOW.0,
        received_at_ms: NOW.0,
        registry_version: 1,
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: 30 * DAY_MS as u64,
            ..AttributionRule::default()
        }),
        digest: 0,
        body: Some(body),
    }
}

/// The id of the event that was sent with this idempotency key.
pub fn event_id(key: &str) -> EventId {
    EventId::of(&PROGRAM.parse().unwrap(), "api", key)
}

/// The event's bytes, taken this long after [`NOW`].
pub fn later(event: Event, ms: i64) -> Bytes {
    event::encode(&Event { received_at_ms: NOW.0 + ms, ..event })
}

/// The event's bytes as a test.
pub fn as_test(event: Event) -> Bytes {
    event::encode(&Event { mode: Mode::Test.into(), ..event })
}

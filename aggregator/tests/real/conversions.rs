//! Refunds, links between aliases and erasures, from a journal to the tables and reports.

use crate::{
    events::{event, keys, lead, qualification, subject},
    world::World,
};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use uuid::Uuid;
use whence_aggregator::{
    account::deep,
    journal::{JournalSettings, JournalSource},
    partition::LoopSettings,
    position::{Horizon, Partition},
    store::Store as _,
    work::{Stop, work},
};
use whence_journal::{JournalConfig, Quota, Writer};
use whence_schemas::{
    event::{Disqualification, Erasure, Identify, Participant, Share, Subject, event::Body},
    ids::{EventId, Incarnation},
    topics::Stream,
};

fn refund(person: u64, key: &str, value_minor: i64) -> Bytes {
    let paid = EventId::of(&"demo".parse().unwrap(), "test", &format!("qualification {person}"));
    let body = Disqualification {
        subject: subject(person),
        qualification_id: Bytes::copy_from_slice(paid.0.as_bytes()),
        reason: "refund".into(),
        value_minor,
        currency: if value_minor == 0 { String::new() } else { "EUR".into() },
        ..Disqualification::default()
    };
    event(&format!("refund {person} {key}"), Body::Disqualification(body))
}

fn same(one: u64, other: u64) -> Bytes {
    let keys = [one, other].into_iter().flat_map(|person| subject(person).unwrap().keys).collect();
    let body = Identify {
        subject: Some(Subject { lead: String::new(), keys, ..Subject::default() }),
        ..Identify::default()
    };
    event(&format!("{one} is {other}"), Body::Identify(body))
}

fn erasure(person: u64, key: &str) -> Bytes {
    let body = Erasure {
        subject: Some(Subject {
            lead: String::new(),
            keys: subject(person).unwrap().keys,
            ..Subject::default()
        }),
        requested_by: "privacy desk".into(),
    };
    event(&format!("erasure {person} {key}"), Body::Erasure(body))
}

struct Node {
    world: World,
    journal: Writer,
    sent: u64,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Node {
    async fn new() -> Node {
        let world = World::new().await;
        let dir = world.dir.path().join("conversions");
        let config = JournalConfig { dir: dir.clone(), segment_bytes: 1 << 20, quota: Quota::bytes(1 << 30) };
        let journal = Writer::open(config).unwrap();
        let source = JournalSource::new(JournalSettings {
            checkpoint: dir.with_extension("checkpoint"),
            dir,
            partition: Partition { stream: Stream::Conversions, number: 0 },
            grace: Duration::ZERO,
            accept_loss: false,
        });
        let settings = LoopSettings { linger: Duration::from_millis(20), ..LoopSettings::default() };
        let stop = Stop::default();
        let (store, stops) = (world.store.clone(), stop.clone());
        let task = tokio::spawn(async move { work(source, &store, settings, keys(), stops).await });
        Node { world, journal, sent: 0, stop, task }
    }

    /// Sends these and waits until each has its row; what else they bring about may take longer.
    async fn take(&mut self, records: impl IntoIterator<Item = Bytes>) {
        for record in records {
            self.journal.append(&record).unwrap();
            self.sent += 1;
        }
        self.world.until("SELECT toUInt64(sum(offsets)) FROM reconciliation", self.sent).await;
    }

    /// Lets the keys of forgotten persons cease to lead to events, as their partition's owner does.
    async fn unlink(&self) {
        let partition = Partition { stream: Stream::Conversions, number: 0 };
        // Behind all that is stored.
        let before = Horizon { incarnation: Incarnation(Uuid::nil()), partition, before: 0 };
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let linked = self.world.store.linked(&before).await.unwrap();
            if linked.is_empty() {
                return;
            }
            for linked in &linked {
                if self.world.store.is_settled().await.unwrap()
                    && self.world.store.rename_links(linked).await.unwrap()
                {
                    self.world.store.drop_links(linked).await.unwrap();
                }
            }
            assert!(Instant::now() < deadline, "{linked:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) {
        self.world.check_consistent().await;
        self.stop.after_block.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refunded_leaves_the_reports_whichever_came_first_and_never_twice() {
    let mut node = Node::new().await;
    node.take([refund(1, "early", 500), qualification(2), lead(1)]).await;
    let waiting = "SELECT count() FROM unmatched WHERE kind = 'disqualification'";
    node.world.until(waiting, 1).await;
    node.take([qualification(1), lead(2), qualification(1), refund(1, "early", 500)]).await;
    node.world.until(waiting, 0).await;
    let left = "SELECT toUInt64(sum(value_minor)) FROM funnel_daily WHERE referrer != ''";
    node.world.until(left, 1999 - 500 + 1999).await;

    node.take([refund(2, "all", 0), refund(2, "all", 0), refund(1, "more", 5000)]).await;
    node.world.until(left, 0).await;
    node.world.until("SELECT toUInt64(sum(qualification_events)) FROM funnel", 0).await;
    let excess = "SELECT toUInt64(sum(excess_minor)) FROM excess_refunds WHERE taken_minor = 1499";
    node.world.until(excess, 5000 - 1499).await;
    node.world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 3).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_one_person_are_linked_in_chains_and_the_first_lead_keeps_the_credit() {
    let mut node = Node::new().await;
    // 9 pays, 7 and 8 were referred; they turn out to be one person.
    node.take([qualification(9), lead(7), same(8, 9)]).await;
    node.world.until("SELECT count() FROM unmatched WHERE kind = 'qualification'", 1).await;
    node.take([lead(8)]).await;
    let credited =
        "SELECT toUInt64(sum(sign)) FROM qualifications WHERE referrer = 'r1' AND evidence = 'token'";
    node.world.until(credited, 1).await;
    node.take([same(7, 8)]).await;
    let first = "SELECT toUInt64(sum(sign)) FROM qualifications AS q
        WHERE lead_id = (SELECT id FROM leads WHERE first_lead = toUUIDOrZero('') GROUP BY id HAVING sum(sign) = 1)";
    node.world.until(first, 1).await;
    node.world.until("SELECT toUInt64(sum(sign)) FROM qualifications", 1).await;
    let marked =
        "SELECT toUInt64(sum(sign)) FROM leads WHERE first_lead != toUUIDOrZero('') AND evidence != 'token'";
    node.world.until(marked, 1).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_join_and_share() {
    let mut node = Node::new().await;
    let joined = || {
        let body = Participant { referrer: "r1".into(), keys: subject(1).unwrap().keys, prefix: 5 };
        event("joined", Body::Participant(body))
    };
    let share =
        Share { referrer: "r1".into(), link: "go.example/r1".into(), channel: "email".into(), prefix: 5 };
    node.take([
        joined(),
        event("share", Body::Share(share)),
        joined(),
        event("bad", Body::Share(Share::default())),
    ])
    .await;
    node.world.until("SELECT count() FROM participants WHERE referrer = 'r1'", 1).await;
    node.world.until("SELECT count() FROM shares WHERE channel = 'email'", 1).await;
    node.world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 1).await;
    node.world.until("SELECT count() FROM rejects WHERE reason = 'malformed'", 1).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_person_is_blank_counts_on_and_is_not_counted_again() {
    let mut node = Node::new().await;
    let retry = |person| {
        event(
            "a retry under another key",
            Body::Lead(whence_schemas::event::Lead {
                subject: subject(person),
                touches: vec![],
                ..whence_schemas::event::Lead::default()
            }),
        )
    };
    let joined = |person| {
        let keys = subject(person).unwrap().keys;
        let body = Participant { referrer: format!("r{person}"), keys, prefix: 5 };
        event(&format!("{person} joined"), Body::Participant(body))
    };
    node.take([lead(1), qualification(1), same(1, 3), lead(2), joined(1), joined(2)]).await;
    node.world.until("SELECT count() FROM participants WHERE notEmpty(keys)", 2).await;
    node.take([erasure(1, "a")]).await;
    let personal = "SELECT sum(n) FROM (
        SELECT countIf(lead != '' OR notEmpty(keys)) AS n FROM leads WHERE lead != 'person 2'
        UNION ALL SELECT countIf(lead != '' OR notEmpty(keys)) FROM qualifications
        UNION ALL SELECT countIf(lead != '' OR notEmpty(keys)) FROM identifies
        UNION ALL SELECT countIf(notEmpty(keys)) FROM participants WHERE referrer != 'r2')";
    node.world.until(personal, 0).await;
    node.world.until("SELECT count() FROM participants WHERE referrer = 'r2' AND notEmpty(keys)", 1).await;
    node.world.until("SELECT count() FROM leads WHERE lead = 'person 2' AND notEmpty(keys)", 1).await;
    node.world.until("SELECT toUInt64(sum(lead_events)) FROM funnel", 2).await;
    // Nobody comes from a key that is suppressed to an event, and all of the person's events are known as one person's still.
    let links = "SELECT count() FROM subject_keys WHERE kind != 'erased'";
    let linked = node.world.count(links).await;
    node.unlink().await;
    let paths = "SELECT count() FROM subject_keys WHERE kind != 'erased' AND hasAny(keys,
        (SELECT groupUniqArray(key) FROM subject_keys WHERE kind = 'erased'))";
    node.world.until(paths, 0).await;
    node.world.until(links, linked).await;
    node.world.until("SELECT count() FROM erasures WHERE events = 4 AND NOT linked", 1).await;
    assert_eq!(deep(&node.world.client, (0, u32::MAX)).await.unwrap(), []);

    // The provider's retries: of the same event, of the person, and of an alias that was linked.
    node.take([lead(1), retry(1), qualification(3)]).await;
    node.world.until("SELECT count() FROM rejects WHERE reason = 'duplicate'", 1).await;
    node.world.until("SELECT count() FROM rejects WHERE reason = 'suppressed'", 2).await;
    // Money is taken back all the same, and asking again changes nothing.
    node.take([refund(1, "late", 999), erasure(1, "b")]).await;
    node.world.until("SELECT toUInt64(sum(value_minor)) FROM funnel_daily WHERE referrer != ''", 1000).await;
    node.world.until("SELECT toUInt64(sum(lead_events)) FROM funnel", 2).await;
    node.world.until(personal, 0).await;
    node.world.until("SELECT countIf(lead != '' OR notEmpty(keys)) FROM disqualifications", 0).await;
    node.unlink().await;
    node.world.until(paths, 0).await;
    node.world.until(links, linked + 2).await;
    assert_eq!(deep(&node.world.client, (0, u32::MAX)).await.unwrap(), []);
    let acts = "SELECT count() FROM erasures WHERE requested_by = 'privacy desk' AND suppressed > 0";
    node.world.until(acts, 2).await;
    node.end().await;
}

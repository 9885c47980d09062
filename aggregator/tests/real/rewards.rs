//! From a qualification to a payout and back, through a journal and through two members of a group.

use crate::{events::keys, world::World};
use bytes::Bytes;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use whence_aggregator::{
    journal::{JournalOutbox, JournalSettings, JournalSource},
    partition::LoopSettings,
    position::Partition,
    work::{Stop, work, work_and_sweep},
};
use whence_journal::{GroupCommit, GroupCommitConfig, JournalConfig, Quota};
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, Disqualification, Event, HistoryCondition, Lead, Mode,
        Participant, Qualification, RewardCap, RewardDecision, RewardParty, RewardRule, RewardTerms,
        RewardTier, RiskPolicy, Subject, Touch, event::Body, history_condition::Is, reward_tier::Amount,
    },
    ids::EventId,
    reward::reward_id,
    time::UnixMs,
    topics::Stream,
};

/// 2026-02-02: in the past, so that what is held for no days is due.
pub const AT: UnixMs = UnixMs(1_770_000_000_000);
/// Long after everything else.
const LATER: UnixMs = UnixMs(1_770_000_900_000);

fn id(key: &str) -> EventId {
    EventId::of(&"demo".parse().unwrap(), "test", key)
}

pub fn event(key: &str, at: UnixMs, body: Body) -> Bytes {
    event::encode(&Event {
        id: Bytes::copy_from_slice(id(key).0.as_bytes()),
        mode: Mode::Live.into(),
        program: "demo".into(),
        source: "test".into(),
        occurred_at_ms: at.0,
        received_at_ms: at.0,
        registry_version: 3,
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: 86_400_000,
            ..AttributionRule::default()
        }),
        digest: 0,
        body: Some(body),
    })
}

fn subject_of(person: u64) -> Option<Subject> {
    Some(Subject {
        lead: format!("person {person}"),
        keys: vec![Bytes::from(vec![person as u8; 16])],
        ..Subject::default()
    })
}

pub fn terms() -> RewardTerms {
    let rule = |id: &str, amount| RewardRule {
        id: id.into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(amount) }],
        ..RewardRule::default()
    };
    let capped = RewardCap { count: 5, amount_minor: 0 };
    RewardTerms {
        rules: vec![
            RewardRule { referrer_cap: Some(capped), ..rule("fixed", Amount::FixedMinor(500)) },
            RewardRule { hold_days: 400, budget_minor: 4000, ..rule("share", Amount::ValuePpm(100_000)) },
        ],
        risk: Some(RiskPolicy {
            threshold: 50,
            velocity: 50,
            velocity_rewards: 4,
            self_referral: 60,
            duplicate_identity: 10,
            disposable_email: 5,
            ..RiskPolicy::default()
        }),
    }
}

pub fn lead(person: u64) -> Bytes {
    let referrer = format!("r{}", person % 4);
    let touch = Touch { link: format!("go.example/{referrer}"), referrer, ..Touch::default() };
    let body = Lead { subject: subject_of(person), touches: vec![touch], ..Lead::default() };
    event(&format!("lead {person}"), AT, Body::Lead(body))
}

pub fn qualification(person: u64) -> Bytes {
    let body = Qualification {
        subject: subject_of(person),
        name: "purchase".into(),
        value_minor: 1999,
        currency: "EUR".into(),
        rewards: Some(terms()),
        history: None,
        ..Qualification::default()
    };
    event(&format!("qualification {person}"), AT, Body::Qualification(body))
}

/// Another payment of the person (or `qualification`'s, where `key` is empty) that counts only under a condition, for
/// a tenth of its value.
pub fn paid_under(person: u64, key: &str, at: UnixMs, is: Is) -> Bytes {
    let mut rewards = terms();
    rewards.rules.retain(|rule| rule.id == "share");
    let body = Qualification {
        subject: subject_of(person),
        name: "purchase".into(),
        value_minor: 1999,
        currency: "EUR".into(),
        rewards: Some(rewards),
        history: Some(HistoryCondition { is: Some(is) }),
        ..Qualification::default()
    };
    event(format!("qualification {person} {key}").trim_end(), at, Body::Qualification(body))
}

pub fn refund(person: u64, minor: i64) -> Bytes {
    let body = Disqualification {
        subject: subject_of(person),
        qualification_id: Bytes::copy_from_slice(id(&format!("qualification {person}")).0.as_bytes()),
        reason: "refund".into(),
        value_minor: minor,
        currency: "EUR".into(),
        ..Disqualification::default()
    };
    event(&format!("refund {person} {minor}"), AT.plus_ms(2000), Body::Disqualification(body))
}

pub fn decision(person: u64, key: &str, decision: &str, reference: &str) -> Bytes {
    let reward = reward_id("demo", id(&format!("lead {person}")), "fixed");
    let body = RewardDecision {
        reward_id: Bytes::copy_from_slice(reward.as_bytes()),
        decision: decision.into(),
        decided_by: "ann".into(),
        reason: "because".into(),
        reference: reference.into(),
        ..RewardDecision::default()
    };
    event(&format!("{decision} {person} {key}"), AT.plus_ms(1000), Body::RewardDecision(body))
}

fn source(dir: &Path) -> JournalSource {
    JournalSource::new(JournalSettings {
        dir: dir.to_owned(),
        checkpoint: dir.with_extension("checkpoint"),
        partition: Partition { stream: Stream::Conversions, number: 0 },
        grace: Duration::ZERO,
        accept_loss: false,
    })
}

fn settings() -> LoopSettings {
    LoopSettings {
        block_records_max: 7,
        linger: Duration::from_millis(5),
        sweep_every: Duration::from_millis(50),
        ..LoopSettings::default()
    }
}

/// Starts an aggregator over the journal, which sends no timers.
pub fn aggregate_without_timers(world: &World, dir: &Path) -> (Stop, tokio::task::JoinHandle<()>) {
    let stop = Stop::default();
    let (store, stops, source) = (world.store.clone(), stop.clone(), source(dir));
    let task = tokio::spawn(async move { work(source, &store, settings(), keys(), stops).await });
    (stop, task)
}

/// Starts an aggregator over the journal, which sends timers into it.
pub fn aggregate(
    world: &World,
    dir: &Path,
    journal: &Arc<GroupCommit>,
) -> (Stop, tokio::task::JoinHandle<()>) {
    let (stop, settings) = (Stop::default(), settings());
    let (store, stops, source) = (world.store.clone(), stop.clone(), source(dir));
    let outbox = JournalOutbox(Arc::downgrade(journal));
    let task = tokio::spawn(async move {
        work_and_sweep(source, &store, &outbox, None, settings, keys(), stops).await;
    });
    (stop, task)
}

pub const BALANCE: &str = "SELECT toUInt64(sum(accrued) + 1000000 * sum(approved) + 1000000000000 * sum(issued)) FROM reward_balance";

async fn until_balance(world: &World, accrued: u64, approved: u64, issued: u64) {
    world.until(BALANCE, accrued + 1_000_000 * approved + 1_000_000_000_000 * issued).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_accrued_approved_paid_and_taken_back_once_through_crashes() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let append = async |records: Vec<Bytes>| {
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        journal.append(&records).await.unwrap();
    };
    append((0..16).flat_map(|p| [qualification(p), lead(p), qualification(p)]).collect()).await;
    let (stop, task) = aggregate(&world, &dir, &journal);
    // 16 fixed rewards of 5.00 come due at once. 10% of 19.99 is 1.99: a budget of 40.00 is enough.
    until_balance(&world, 16 * 199, 16 * 500, 0).await;
    stop.at_once.cancel();
    task.await.unwrap();

    append(
        (0..8)
            .flat_map(|p| [decision(p, "a", "issue", "pay-1"), decision(p, "b", "issue", "pay-1")])
            .collect(),
    )
    .await;
    append((0..2).map(|p| refund(p, 0)).collect()).await;
    append((2..4).map(|p| refund(p, 1000)).collect()).await;
    append((8..10).map(|p| decision(p, "c", "reject", "")).collect()).await;
    append(vec![decision(99, "d", "approve", "")]).await;
    let (stop, task) = aggregate(&world, &dir, &journal);
    // Of 19.99 are 9.99 left: 2.49 of 5.00, 0.99 of 1.99.
    until_balance(&world, 12 * 199 + 2 * 99, 6 * 500, 4 * 500 + 2 * 249).await;

    let state =
        |state: &str| format!("SELECT count() FROM reward_states WHERE rule = 'fixed' AND state = '{state}'");
    assert_eq!(world.count(&state("issued")).await, 6);
    assert_eq!(world.count(&state("clawed_back")).await, 2);
    assert_eq!(world.count(&state("rejected")).await, 2);
    let clawed = "SELECT toUInt64(sum(clawed_back)) FROM reward_balance";
    assert_eq!(world.count(clawed).await, 2 * 500 + 2 * 251);
    let lines =
        "SELECT count() FROM rewards WHERE rule = 'fixed' AND sign = 1 AND state = 'issued' AND revision = 2";
    assert_eq!(world.count(lines).await, 8, "two orders with one reference pay once");
    assert_eq!(
        world.count("SELECT toUInt64(sum(amount_minor)) FROM payouts WHERE currency = 'EUR'").await,
        6 * 500
    );
    let outcomes = "SELECT uniqExact(outcome, decision) FROM reward_events";
    // Issued, issued so already, rejected, unknown, timer: events are stored after what they cause.
    world.until(outcomes, 5).await;
    // What was believed before anything was paid.
    let then = "SELECT toUInt64(sum(issued) + sum(approved) + sum(accrued)) FROM reward_balance_as_of(at = '2026-02-02 02:40:00.999')";
    assert_eq!(world.count(then).await, 16 * (500 + 199), "nothing was approved or taken back yet");
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

/// A journal of conversions, and where it is.
pub fn journal(world: &World) -> (PathBuf, Arc<GroupCommit>) {
    let dir = world.dir.path().join("conversions");
    let journal = Arc::new(GroupCommit::open(config(&dir)).unwrap());
    (dir, journal)
}

pub fn config(dir: &Path) -> GroupCommitConfig {
    GroupCommitConfig {
        journal: JournalConfig { dir: dir.to_owned(), segment_bytes: 1 << 20, quota: Quota::bytes(1 << 30) },
        waiting_bytes_max: 1 << 20,
        segment_age: Duration::MAX,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refers_themselves_is_found_by_any_key_of_the_lead() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let keys = |numbers: &[u8]| numbers.iter().map(|n| Bytes::from(vec![*n; 16])).collect::<Vec<_>>();
    let joined = Participant { referrer: "r1".into(), keys: keys(&[77]), prefix: 0 };
    let touch = Touch { link: "go.example/r1".into(), referrer: "r1".into(), ..Touch::default() };
    let subject = Some(Subject { lead: "self".into(), keys: keys(&[1, 77]), ..Subject::default() });
    let told = event(
        "lead told",
        LATER,
        Body::Lead(Lead { subject: subject.clone(), touches: vec![], ..Lead::default() }),
    );
    let thrown_away = subject_of(5).map(|subject| Subject { email_disposable: true, ..subject });
    let again = Lead { subject: thrown_away, touches: vec![touch.clone()], ..Lead::default() };
    let again = event("lead again", LATER, Body::Lead(again));
    let themselves =
        event("lead 1", AT, Body::Lead(Lead { subject, touches: vec![touch], ..Lead::default() }));
    let records = [
        event("joined", AT, Body::Participant(joined)),
        themselves,
        told,
        qualification(1),
        lead(5),
        again,
        qualification(5),
    ];
    journal.append(&records.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    let (stop, task) = aggregate(&world, &dir, &journal);
    world.until("SELECT count() FROM rewards WHERE revision = 0", 4).await;
    let flagged = |flag: &str, state: &str| {
        format!(
            "SELECT count() FROM reward_states WHERE has(flags, '{flag}') AND state = '{state}' AND rule = 'share'"
        )
    };
    assert_eq!(world.count(&flagged("self_referral", "held")).await, 1);
    assert_eq!(world.count(&flagged("duplicate_identity", "accrued")).await, 1, "too light to hold");
    assert_eq!(
        world.count(&flagged("duplicate_identity", "held")).await,
        0,
        "a lead without a touch is no second"
    );
    assert_eq!(world.count(&flagged("disposable_email", "accrued")).await, 1);
    assert_eq!(world.count("SELECT count() FROM reward_states WHERE risk > 0").await, 4);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_and_budgets_hold_and_what_looks_suspicious_is_held() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let records: Vec<Bytes> = (0..40).flat_map(|p| [lead(p), qualification(p)]).collect();
    let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
    journal.append(&records).await.unwrap();
    let (stop, task) = aggregate(&world, &dir, &journal);
    // Of each of four referrers: five fixed rewards, the fifth of a day is one too many to pass unseen.
    world.until("SELECT count() FROM review_queue WHERE rule = 'fixed'", 4).await;
    world.until("SELECT toUInt64(sum(approved)) FROM reward_balance", 4 * 4 * 500).await;
    world.until("SELECT count() FROM rewards WHERE reason = 'referrer_cap'", 20).await;
    // 20 shares of 1.99 are within 40.00.
    world.until("SELECT toUInt64(sum(accrued) + sum(held)) FROM reward_balance", 20 * 199 + 4 * 500).await;
    world.until("SELECT count() FROM rewards WHERE reason = 'budget' AND amount_minor = 0", 20).await;
    let evidence = "SELECT count() FROM review_queue WHERE has(flags, 'velocity') AND evidence LIKE 'reward 5 of the day, 0 in%'";
    assert_eq!(world.count(evidence).await, 8);
    assert_eq!(
        world.count("SELECT count() FROM (SELECT reward_id FROM reward_states GROUP BY reward_id)").await,
        80
    );
    assert_eq!(world.count("SELECT uniqExact(rules_version) FROM rewards WHERE rules_version = 3").await, 1);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

//! The click behind a lead as evidence: found at once, or days after its lead.

use crate::{
    events::keys,
    rewards::{self, aggregate, aggregate_without_timers, journal},
    world::World,
};
use bytes::Bytes;
use uuid::Uuid;
use whence_aggregator::{
    click::{self, ClickDedup, DedupSettings},
    clickhouse::{ClickHouseStore, StoreSettings},
    position::{BlockRange, Partition},
    source::Record,
    store::{EvidenceStore, Store},
};
use whence_schemas::{
    event::{
        self, Click, Lead, Mode, Participant, Qualification, RewardParty, RewardRule, RewardTerms,
        RewardTier, RiskPolicy, Share, Subject, Touch, Verdict, event::Body, reward_tier::Amount,
    },
    ids::{ChannelNumber, ClickId, Incarnation, LinkNumber},
    time::UnixMs,
    token::{ClickToken, TEXT_LEN},
    topics::Stream,
};

/// 2026-02-02: in the past, so that what is held for no days is due.
const AT: UnixMs = UnixMs(1_770_000_000_000);
const LINK: &str = "go.example/r1";

fn click_id(person: u8) -> ClickId {
    ClickId::mint(AT.plus_ms(-60_000 * i64::from(person)), &[person; 10], true)
}

fn click(person: u8, verdict: Verdict) -> Bytes {
    event::encode(&click_of(person, verdict))
}

fn click_from(person: u8, prefix: u64) -> Bytes {
    event::encode(&Click { prefix, ..click_of(person, Verdict::Human) })
}

pub fn click_of(person: u8, verdict: Verdict) -> Click {
    Click {
        id: Bytes::copy_from_slice(click_id(person).0.as_bytes()),
        mode: Mode::Live.into(),
        program: "demo".into(),
        referrer: "r1".into(),
        link: LINK.into(),
        channel: "email".into(),
        registry_version: 1,
        verdict: verdict.into(),
        reason: "headless".into(),
        visitor: 7,
        address: 8,
        prefix: 9,
        ..Click::default()
    }
}

pub fn subject(person: u8) -> Option<Subject> {
    Some(Subject {
        lead: format!("person {person}"),
        keys: vec![Bytes::from(vec![person; 16])],
        ..Subject::default()
    })
}

pub fn touch(person: u8) -> Touch {
    let token = ClickToken {
        click: click_id(person),
        link: LinkNumber::of(LINK),
        channel: ChannelNumber::of("email"),
    };
    Touch {
        token: keys().mint(&token, &mut [0; TEXT_LEN]).to_owned(),
        link: LINK.into(),
        referrer: "r1".into(),
        channel: "email".into(),
    }
}

pub fn lead(person: u8) -> Bytes {
    let body = Body::Lead(Lead { subject: subject(person), touches: vec![touch(person)], ..Lead::default() });
    rewards::event(&format!("lead {person}"), AT, body)
}

fn qualification(person: u8, risk: RiskPolicy) -> Bytes {
    let rule = RewardRule {
        id: "fixed".into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(Amount::FixedMinor(500)) }],
        ..RewardRule::default()
    };
    let body = Qualification {
        subject: subject(person),
        name: "purchase".into(),
        value_minor: 1999,
        currency: "EUR".into(),
        rewards: Some(RewardTerms { rules: vec![rule], risk: Some(risk) }),
        history: None,
        ..Qualification::default()
    };
    rewards::event(&format!("qualification {person}"), AT, Body::Qualification(body))
}

/// Stores these clicks as the aggregator of clicks does.
pub async fn store_clicks(world: &World, first: u64, clicks: Vec<Bytes>) {
    store_clicks_by(&world.store, first, clicks).await;
}

async fn store_clicks_by(store: &ClickHouseStore, first: u64, clicks: Vec<Bytes>) {
    let range = BlockRange {
        incarnation: Incarnation(Uuid::from_u128(9)),
        partition: Partition { stream: Stream::Clicks, number: 0 },
        first,
        end: first + clicks.len() as u64,
    };
    let records = clicks.into_iter().zip(range.first..);
    let records: Vec<_> =
        records.map(|(payload, offset)| Record { offset, timestamp: AT, payload: Some(payload) }).collect();
    let mut dedup = ClickDedup::new(DedupSettings::default());
    for rows in click::process(&range, &records, &mut dedup, store).await.unwrap() {
        if !rows.is_empty() {
            store.insert(&range.token(), &rows).await.unwrap();
        }
    }
}

fn looks(person: u8) -> String {
    format!("FROM click_evidence WHERE click_id = toUUID('{}')", click_id(person).0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_comes_days_late_holds_its_reward_at_the_approval() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let risk = RiskPolicy { threshold: 50, bot_click: 60, ..RiskPolicy::default() };
    store_clicks(&world, 0, vec![click(1, Verdict::Bot), click(2, Verdict::Human)]).await;
    let records: Vec<_> = (1..=4).flat_map(|person| [lead(person), qualification(person, risk)]).collect();
    journal.append(&records.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    let (stop, task) = aggregate_without_timers(&world, &dir);
    world.until("SELECT count() FROM rewards", 4).await;
    stop.at_once.cancel();
    task.await.unwrap();
    // A bot's click that was there holds at once; of those that were not, nothing is known.
    assert_eq!(world.count("SELECT count() FROM review_queue WHERE has(flags, 'bot_click')").await, 1);
    assert_eq!(world.count("SELECT count() FROM reward_states WHERE state = 'accrued'").await, 3);
    let found = |person| format!("SELECT countIf(found) * 10 + count() {}", looks(person));
    for (person, seen) in [(1, 11), (2, 11), (3, 2), (4, 2)] {
        assert_eq!(world.count(&found(person)).await, seen, "{person}: by its lead, and again if not found");
    }

    store_clicks(&world, 2, vec![click(3, Verdict::Bot), click(4, Verdict::Human)]).await;
    let (stop, task) = aggregate(&world, &dir, &journal);
    world.until("SELECT count() FROM reward_states WHERE state = 'approved'", 2).await;
    world.until("SELECT count() FROM review_queue WHERE reason = 'risk'", 2).await;
    let late = "SELECT count() FROM review_queue WHERE risk = 60 AND flags = ['bot_click'] \
                AND evidence = 'the click\\'s verdict is bot (headless)'";
    assert_eq!(world.count(late).await, 2);
    world.until("SELECT count() FROM reward_events WHERE outcome = 'held'", 1).await;
    for person in [3, 4] {
        let by_timer =
            format!("SELECT countIf(found AND looked_by = 'timer') * 10 + count() {}", looks(person));
        assert_eq!(world.count(&by_timer).await, 13);
    }

    // A person has looked: it is not held again.
    journal.append(&[&rewards::decision(3, "x", "approve", "")[..]]).await.unwrap();
    world.until("SELECT count() FROM reward_states WHERE state = 'approved' AND decided_by = 'ann'", 1).await;
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
    let known = "SELECT toUInt64(sum(sign * amount_minor)) FROM rewards WHERE state = 'held'";
    assert_eq!(world.count(known).await, 500, "the one that was held at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_persons_behind_one_browser_or_prefix_are_told_wherever_blocks_are_cut() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let risk = RiskPolicy {
        threshold: 50,
        shared_device: 10,
        shared_device_leads: 3,
        shared_device_days: 1,
        shared_prefix: 50,
        shared_prefix_leads: 5,
        ..RiskPolicy::default()
    };
    store_clicks(&world, 0, (1..=9).map(|person| click(person, Verdict::Human)).collect()).await;
    // The third one comes three times: by an alias of its own, it is one person.
    let again = |key: &str| {
        let body = Lead { subject: subject(3), touches: vec![touch(3)], ..Lead::default() };
        rewards::event(key, AT.plus_ms(1), Body::Lead(body))
    };
    let mut records = Vec::new();
    for person in 1..=8 {
        records.extend([lead(person), qualification(person, risk)]);
        if person == 3 {
            records.extend([again("again"), again("and again")]);
        }
    }
    journal.append(&records.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    let (stop, task) = aggregate_without_timers(&world, &dir);
    world.until("SELECT count() FROM rewards", 8).await;
    let flagged = |flag: &str| format!("SELECT count() FROM rewards WHERE has(flags, '{flag}')");
    assert_eq!(
        world.count(&flagged("shared_device")).await,
        4,
        "persons 5 to 8 have more than three before them"
    );
    assert_eq!(world.count(&flagged("shared_prefix")).await, 2, "persons 7 and 8");
    let told = "SELECT count() FROM review_queue WHERE risk = 60 AND evidence = 'more than 3 other persons clicked with \
                the same browser within 1 days; the clicks of more than 5 other persons came from the same address prefix that day'";
    assert_eq!(world.count(told).await, 2);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referrer_in_the_address_prefix_of_a_click_or_lead_is_told_and_a_person_decides() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let risk = RiskPolicy { threshold: 50, self_referral_prefix: 50, ..RiskPolicy::default() };
    store_clicks(&world, 0, (1..=5).map(|person| click_from(person, 10 + u64::from(person))).collect()).await;
    let share = |key: &str, referrer: &str, prefix| {
        let share = Share { referrer: referrer.into(), prefix, ..Share::default() };
        rewards::event(key, AT, Body::Share(share))
    };
    let joined = Participant { referrer: "r1".into(), keys: vec![], prefix: 11 };
    // Of person 3 the lead says where it was, of person 5 nobody was near: another one was, and the referrer elsewhere.
    let near = Subject { prefix: 33, ..subject(3).unwrap() };
    let near = Lead { subject: Some(near), touches: vec![touch(3)], ..Lead::default() };
    let mut records = vec![
        rewards::event("joined", AT, Body::Participant(joined)),
        share("shared", "r1", 33),
        share("another's", "r2", 15),
        share("elsewhere", "r1", 99),
        rewards::event("lead 3", AT, Body::Lead(near)),
    ];
    records.extend([1, 2, 4, 5].map(lead));
    records.extend((1..=5).map(|person| qualification(person, risk)));
    journal.append(&records.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    let (stop, task) = aggregate_without_timers(&world, &dir);
    world.until("SELECT count() FROM rewards", 5).await;
    stop.at_once.cancel();
    task.await.unwrap();
    let held = |what: &str| {
        format!(
            "SELECT count() FROM review_queue WHERE flags = ['self_referral_prefix'] AND risk = 50 AND reason = 'risk' \
             AND evidence = 'the referrer joined or shared from the {what}\\'s address prefix that day'"
        )
    };
    assert_eq!(world.count(&held("click")).await, 1, "person 1");
    assert_eq!(world.count(&held("lead")).await, 1, "person 3");
    assert_eq!(world.count("SELECT count() FROM reward_states WHERE state = 'accrued'").await, 3);

    // Too late for the first look, and in time for the approval of person 4's.
    journal.append(&[&share("late", "r1", 14)[..]]).await.unwrap();
    let (stop, task) = aggregate(&world, &dir, &journal);
    world.until("SELECT count() FROM reward_states WHERE state = 'approved'", 2).await;
    world.until(&held("click"), 2).await;

    let decided = [rewards::decision(1, "x", "approve", ""), rewards::decision(3, "x", "reject", "")];
    journal.append(&decided.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    world.until("SELECT count() FROM reward_states WHERE decided_by = 'ann' AND state = 'approved'", 1).await;
    world.until("SELECT count() FROM reward_states WHERE decided_by = 'ann' AND state = 'rejected'", 1).await;
    world.until("SELECT count() FROM review_queue", 1).await;
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_are_found_by_program_and_id_whatever_else_is_of_their_millisecond() {
    let world = World::new().await;
    store_clicks(&world, 0, vec![click(1, Verdict::Bot), click(2, Verdict::Human)]).await;
    let neighbour = ClickId::mint(click_id(1).at(), &[99; 10], true);
    let asked = [click_id(1), click_id(2), neighbour].map(|id| ("demo".to_owned(), id));
    let mut found = world.store.clicks(&asked).await.unwrap();
    found.sort_by_key(|click| click.id.0);
    let said: Vec<_> = found.iter().map(|click| (click.id, click.verdict, click.reason.as_str())).collect();
    assert_eq!(said, [(click_id(2), Verdict::Human, "headless"), (click_id(1), Verdict::Bot, "headless")]);
    assert_eq!((found[0].visitor, found[0].address, found[0].prefix), (7, 8, 9));
    let elsewhere = [("o'ther".to_owned(), click_id(1))];
    assert_eq!(world.store.clicks(&elsewhere).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_that_this_process_stored_are_found_without_asking_and_as_clickhouse_says_them() {
    let world = World::new().await;
    let settings = StoreSettings { hot_clicks_max: 4, ..StoreSettings::default() };
    let hot = ClickHouseStore::new(world.client.clone(), settings.clone());
    let find = async |store: &ClickHouseStore, persons: std::ops::RangeInclusive<u8>| {
        let asked: Vec<_> = persons.map(|person| ("demo".to_owned(), click_id(person))).collect();
        let mut found = store.clicks(&asked).await.unwrap();
        found.sort_by_key(|click| click.id.0);
        found
    };
    store_clicks(&world, 0, vec![click(1, Verdict::Bot)]).await;
    store_clicks_by(&hot, 1, vec![click(2, Verdict::Human), click_from(3, 77), click(4, Verdict::Prefetch)])
        .await;
    let stored = find(&world.store, 1..=5).await;
    assert_eq!(stored.len(), 4);
    assert_eq!(find(&hot, 1..=5).await, stored, "what another process stored is asked for");

    world.client.query("TRUNCATE TABLE clicks").execute().await.unwrap();
    assert_eq!(find(&world.store, 1..=5).await, []);
    assert_eq!(find(&hot, 1..=5).await, stored[..3], "the newest three, which this one stored");
    let more: Vec<_> = (10..13).map(|person| click(person, Verdict::Human)).collect();
    store_clicks_by(&hot, 4, more).await;
    world.client.query("TRUNCATE TABLE clicks").execute().await.unwrap();
    assert_eq!(find(&hot, 2..=3).await, [], "the oldest have gone at the bound");

    // What nobody acknowledged is not known.
    let gone = ClickHouseStore::new(world.client.clone().with_database("gone"), settings);
    let range = BlockRange {
        incarnation: Incarnation(Uuid::from_u128(9)),
        partition: Partition { stream: Stream::Clicks, number: 0 },
        first: 7,
        end: 8,
    };
    let record = Record { offset: 7, timestamp: AT, payload: Some(click(7, Verdict::Human)) };
    let mut dedup = ClickDedup::new(DedupSettings::default());
    let tables = click::process(&range, &[record], &mut dedup, &world.store).await.unwrap();
    gone.insert(&range.token(), &tables[0]).await.unwrap_err();
    gone.clicks(&[("demo".to_owned(), click_id(7))]).await.unwrap_err();
}

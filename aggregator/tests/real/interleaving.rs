//! Stories of referrals over a real broker and two members that come and go: in whatever order a story's events
//! come, the same stands in the end, in every table and report.

use crate::{
    events::keys,
    kafka::{create, join_with, produce},
    stories::{Told, paid_story, story},
    world::World,
};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use uuid::Uuid;
use whence_schemas::{
    event::{RewardParty, RewardRule, RewardTerms, RewardTier, reward_tier::Amount},
    topics::Stream,
};

const STORIES: u64 = 100;
/// Each of them is told to so many programs, in another order.
const ORDERS: usize = 2;

struct Case {
    story: u64,
    program: String,
    told: Vec<Told>,
    /// In the order in which they are sent, some of them twice.
    records: Vec<Bytes>,
}

/// Without caps: who is first gets what is left of one.
fn terms() -> RewardTerms {
    let rule = RewardRule {
        id: "flat".into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        hold_days: 400,
        tiers: vec![RewardTier { from: 0, amount: Some(Amount::FixedMinor(50_000)) }],
        ..RewardRule::default()
    };
    RewardTerms { rules: vec![rule], risk: None }
}

fn case(story_seed: u64, order: usize) -> Case {
    let program = format!("story-{story_seed}-{order}");
    let events = 4 + story_seed as usize % 8;
    let told = match story_seed % 2 {
        0 => story(story_seed, events, &program, &keys()),
        _ => paid_story(story_seed, events + 10, &program, &keys(), terms()),
    };
    let mut chance = SmallRng::seed_from_u64(story_seed << 8 | order as u64);
    let mut records: Vec<Bytes> = told.iter().map(|told| told.record.clone()).collect();
    records.shuffle(&mut chance);
    if chance.random_bool(0.5) {
        let at = chance.random_range(0..records.len());
        records.insert(chance.random_range(at..records.len()) + 1, records[at].clone());
    }
    Case { story: story_seed, program, told, records }
}

/// All records, each program's in their order.
fn shuffled(cases: &[Case]) -> Vec<(Vec<u8>, Bytes)> {
    let turns = cases.iter().enumerate().flat_map(|(at, case)| vec![at; case.records.len()]);
    let mut turns: Vec<usize> = turns.collect();
    turns.shuffle(&mut SmallRng::seed_from_u64(1));
    let mut next = vec![0; cases.len()];
    let send = |at: usize| {
        next[at] += 1;
        (cases[at].program.clone().into_bytes(), cases[at].records[next[at] - 1].clone())
    };
    turns.into_iter().map(send).collect()
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct Line {
    program: String,
    said: String,
    counts: i64,
}

/// What stands of each program: tables without the place that caused a row, and reports.
async fn states(world: &World) -> BTreeMap<String, BTreeSet<(String, i64)>> {
    let mut states: BTreeMap<String, BTreeSet<(String, i64)>> = BTreeMap::new();
    // Hashed names are of the program.
    let net = |(table, names, counted): (&str, &str, &str)| {
        format!(
            "SELECT program, toString(tuple('{table}', {counted} * EXCEPT (program, {names}, sign, revision, incarnation, partition, offset))) AS said,
                toInt64(sum(sign)) AS counts FROM {table} GROUP BY program, said HAVING counts != 0"
        )
    };
    let report = |(view, beside, having): (&str, &str, &str)| {
        format!(
            "SELECT program, toString(tuple('{view}', * EXCEPT ({beside}))) AS said, toInt64(count()) AS counts
                FROM {view} WHERE {having} GROUP BY program, said"
        )
    };
    let tables = [
        ("leads", "record, person", "sign * person,"),
        ("qualifications", "payments, person", "sign * person,"),
        ("disqualifications", "payments", ""),
        ("reinstatements", "payments", ""),
        ("identifies", "payments", ""),
    ]
    .map(net);
    // What was taken back whole says what it was last, and not what became known of its lead later.
    // Whoever was credited for a while has a line of zeros; a reward's lines are as many as the orders made them.
    let reports = [
        ("funnel", "program", "true"),
        ("top_referrers", "program", "leads != 0 OR lead_events != 0 OR qualification_events != 0"),
        ("channels", "program, referrers", "leads != 0 OR lead_events != 0 OR qualification_events != 0"),
        ("steps", "program", "true"),
        ("lead_facts", "program, record", "true"),
        ("qualification_facts", "program", "reason != 'taken_back'"),
        ("time_to_qualify", "program", "true"),
        ("cohorts", "program", "true"),
        ("unmatched", "program, since, age_seconds", "true"),
        ("excess_refunds", "program", "true"),
        ("not_counted", "program", "true"),
        ("status", "program, history, rewards", "true"),
        (
            "reward_roi",
            "program, clawed_back",
            "qualification_events != 0 OR value_minor != 0 OR cost_minor != 0",
        ),
        (
            "reward_balance",
            "program, rejected, clawed_back",
            "accrued != 0 OR held != 0 OR approved != 0 OR issued != 0",
        ),
    ]
    .map(report);
    for sql in tables.into_iter().chain(reports) {
        for Line { program, said, counts } in world.client.query(&sql).fetch_all::<Line>().await.unwrap() {
            states.entry(program).or_default().insert((said, counts));
        }
    }
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_that_come_and_go_give_the_same_state_for_every_order_of_a_story() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [(Stream::Conversions, format!("whence.conversions-{unique}"))];
    create(&topics[0].1, 2).await;
    let cases: Vec<Case> =
        (0..STORIES).flat_map(|story| (0..ORDERS).map(move |order| case(story, order))).collect();
    let records = shuffled(&cases);
    let sent = records.len() as u64;
    produce(&topics[0].1, records.into_iter());

    let steady = join_with(37, &world.store, &unique, &topics);
    let consumed = "SELECT toUInt64(sum(offsets)) FROM reconciliation";
    for _ in 0..3 {
        let member = join_with(23, &world.store, &unique, &topics);
        let wanted = (world.count(consumed).await + sent / 6).min(sent);
        let deadline = Instant::now() + Duration::from_secs(240);
        while world.count(consumed).await < wanted && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        member.die().await;
    }
    world.until(consumed, sent).await;
    // The block in flight is finished: of each record not only its own row is there.
    steady.leave().await;
    world.check_consistent().await;
    let facts: usize = cases.iter().map(|case| case.told.len()).sum();
    world.until("SELECT count() FROM rejects", sent - facts as u64).await;

    let earned = world.count("SELECT count() FROM reward_roi WHERE cost_minor > 0").await;
    assert!(earned >= 10, "{earned} earned");
    let states = states(&world).await;
    let mut by_story: BTreeMap<u64, BTreeSet<(String, i64)>> = BTreeMap::new();
    for case in &cases {
        let mut state = states.get(&case.program).cloned().unwrap_or_default();
        // Ids are of the program: each event goes by its number in the story.
        for (number, told) in case.told.iter().enumerate() {
            let named = |(said, counts): (String, i64)| {
                (said.replace(&told.id.0.hyphenated().to_string(), &format!("event {number}")), counts)
            };
            state = state.into_iter().map(named).collect();
        }
        match by_story.get(&case.story) {
            None => _ = by_story.insert(case.story, state),
            Some(wanted) => {
                let differs: Vec<_> = state.symmetric_difference(wanted).collect();
                assert!(differs.is_empty(), "story {} of {}: {differs:#?}", case.story, case.program);
            }
        }
    }
    assert!(by_story.values().map(BTreeSet::len).sum::<usize>() > 500, "there is something to compare");
}

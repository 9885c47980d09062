//! A story's events in every order, with duplicates, cut into blocks anywhere, with crashes: the same stands in
//! the end.

use crate::{
    events::keys,
    executor::stored,
    store::Tables,
    stories::{Told, paid_story, story},
    world::rng,
};
use bytes::Bytes;
use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};
use std::collections::BTreeMap;
use whence_schemas::{
    event::{RewardParty, RewardRule, RewardTerms, RewardTier, reward_tier::Amount},
    ids::{EventId, Incarnation},
};

/// Told in every order: 720 each.
const EXHAUSTIVE: u64 = 12;
const EXHAUSTIVE_EVENTS: usize = 6;
/// Told in some orders.
const SAMPLED: u64 = 400;
const SAMPLES: u64 = 6;

/// What stands, each line as often as it counts: rows without the place that caused them, and the reports.
fn state(tables: &Tables) -> BTreeMap<String, i64> {
    let mut state: BTreeMap<String, i64> = BTreeMap::new();
    macro_rules! net {
        ($($table:ident $(($counted:ident))?)*) => {$(
            for row in &tables.$table {
                let mut said = row.clone();
                (said.incarnation, said.partition, said.offset) = (Incarnation(uuid::Uuid::nil()), 0, 0);
                $(said.$counted *= said.sign;)?
                (said.sign, said.revision) = (0, 0);
                *state.entry(format!("{said:?}")).or_default() += i64::from(row.sign);
            }
        )*};
    }
    net! { leads(person) qualifications(person) disqualifications reinstatements identifies }
    // What stands without counting.
    macro_rules! uncounted {
        ($($table:ident)*) => {$(
            let mut newest = BTreeMap::new();
            for row in &tables.$table {
                let known = newest.entry(row.id).or_insert(row);
                if (known.revision, known.sign) < (row.revision, row.sign) {
                    *known = row;
                }
            }
            for row in newest.into_values().filter(|row| row.sign == 0) {
                let mut said = row.clone();
                (said.incarnation, said.partition, said.offset) = (Incarnation(uuid::Uuid::nil()), 0, 0);
                said.revision = 0;
                *state.entry(format!("does not count: {said:?}")).or_default() += 1;
            }
        )*};
    }
    uncounted! { leads qualifications }
    for row in &tables.subject_keys {
        let mut said = row.clone();
        (said.incarnation, said.partition, said.offset) = (Incarnation(uuid::Uuid::nil()), 0, 0);
        *state.entry(format!("{said:?}")).or_default() += 1;
    }
    for (group, sums) in &tables.funnel_quarter_hourly {
        for (what, sum) in crate::rollup::NAMES.iter().zip(sums) {
            *state.entry(format!("funnel {group:?}: {what}")).or_default() += sum;
        }
    }
    for row in &tables.leads {
        if row.referrer.is_empty() {
            *state.entry(format!("unmatched lead {:?} {:?}", row.id, row.reason)).or_default() +=
                i64::from(row.sign);
        }
    }
    for row in &tables.qualifications {
        if row.lead_id.is_nil() {
            *state.entry(format!("unmatched qualification {:?}", row.id)).or_default() += i64::from(row.sign);
        }
    }
    for row in &tables.disqualifications {
        let said = format!("{} disqualification {:?}: {}", row.outcome.0, row.id, row.excess_minor);
        *state.entry(said).or_default() += i64::from(row.sign);
    }
    for row in &tables.reinstatements {
        let said = format!("{} reinstatement {:?}: {}", row.outcome.0, row.id, row.excess_minor);
        *state.entry(said).or_default() += i64::from(row.sign);
    }
    state.retain(|_, counts| *counts != 0);
    state
}

/// Some events come again.
fn with_duplicates(chance: &mut SmallRng, order: &[&Told]) -> Vec<Bytes> {
    let mut records: Vec<Bytes> = order.iter().map(|told| told.record.clone()).collect();
    for _ in 0..chance.random_range(0..3) {
        let again = records[chance.random_range(0..records.len())].clone();
        let first = records.iter().position(|record| *record == again).expect("it is one of them");
        records.insert(chance.random_range(first..records.len()) + 1, again);
    }
    records
}

/// Every order of so many.
fn permutations(of: usize) -> Vec<Vec<usize>> {
    let Some(rest) = of.checked_sub(1) else { return vec![vec![]] };
    let insert = |order: Vec<usize>| {
        (0..of).map(move |at| {
            let mut order = order.clone();
            order.insert(at, rest);
            order
        })
    };
    permutations(rest).into_iter().flat_map(insert).collect()
}

/// What stands of the story.
fn assert_same(seed: u64, orders: impl Iterator<Item = Vec<usize>>, told: &[Told]) -> BTreeMap<String, i64> {
    let mut chance = rng(seed);
    let mut first: Option<(Vec<usize>, BTreeMap<String, i64>)> = None;
    for order in orders {
        let records = with_duplicates(&mut chance, &order.iter().map(|at| &told[*at]).collect::<Vec<_>>());
        let tables = stored(chance.random(), &records).expect("it settles");
        assert_eq!(tables.rejects.len(), records.len() - told.len(), "what came again, and nothing else");
        let facts = tables.event_ids(|_| true);
        assert!(told.iter().all(|told| facts.contains(&told.id)), "every event is a fact");
        let state = state(&tables);
        match &first {
            None => first = Some((order, state)),
            Some((of, wanted)) => assert!(
                state == *wanted,
                "story {seed}: {of:?} and {order:?} differ: {:#?} and {:#?}",
                wanted.iter().filter(|line| state.get(line.0) != Some(line.1)).collect::<Vec<_>>(),
                state.iter().filter(|line| wanted.get(line.0) != Some(line.1)).collect::<Vec<_>>(),
            ),
        }
    }
    first.expect("there is an order").1
}

#[test]
fn in_every_order_the_same_stands_in_the_end() {
    let orders = permutations(EXHAUSTIVE_EVENTS);
    assert_eq!(orders.len(), 720);
    for seed in 0..EXHAUSTIVE {
        let told = story(seed, EXHAUSTIVE_EVENTS, "north", &keys());
        assert_same(seed, orders.iter().cloned(), &told);
    }
}

#[test]
fn in_any_order_of_a_longer_story_the_same_stands_in_the_end() {
    // What a story may come to, and in how many it does.
    let mut seen = [
        "same_payment",
        "same_record",
        "applied reinstatement",
        "excess reinstatement",
        "nothing reinstatement",
        "reinstated disqualification",
    ]
    .map(|what| (what, 0));
    for seed in 1000..1000 + SAMPLED {
        let mut chance = rng(seed);
        let told = story(seed, chance.random_range(7..16), "north", &keys());
        let mut order: Vec<usize> = (0..told.len()).collect();
        let orders = (0..SAMPLES).map(|_| {
            order.shuffle(&mut chance);
            order.clone()
        });
        let state = assert_same(seed, orders.collect::<Vec<_>>().into_iter(), &told);
        for (what, stories) in &mut seen {
            *stories += u32::from(state.keys().any(|line| line.contains(*what)));
        }
    }
    assert!(seen.iter().all(|(_, stories)| *stories >= 10), "the stories come to too little: {seen:?}");
}

/// The open rewards: lead, and the qualification that has earned it.
fn open_rewards(tables: &Tables) -> BTreeMap<String, i64> {
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    for line in tables.rewards.iter().filter(|line| line.state.is_open()) {
        let said = format!("{:?} for {:?} to {}", line.lead_id, line.qualification_id, line.referrer);
        *open.entry(said).or_default() += i64::from(line.sign);
    }
    open.retain(|_, count| *count != 0);
    open
}

#[test]
fn what_a_condition_on_the_history_lets_count_is_rewarded_in_any_order_and_nothing_else() {
    let rule = RewardRule {
        id: "flat".into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(Amount::FixedMinor(50_000)) }],
        ..RewardRule::default()
    };
    let terms = RewardTerms { rules: vec![rule], risk: None };
    let (mut rewarded, mut taken_back) = (0, 0);
    for seed in 2000..2000 + SAMPLED {
        let mut chance = rng(seed);
        let told = paid_story(seed, chance.random_range(7..16), "north", &keys(), terms.clone());
        let mut order: Vec<&Told> = told.iter().collect();
        let mut first: Option<BTreeMap<String, i64>> = None;
        for _ in 0..SAMPLES {
            order.shuffle(&mut chance);
            let records = with_duplicates(&mut chance, &order);
            let tables = stored(chance.random(), &records).expect("it settles");
            let mut standing: BTreeMap<String, i64> = BTreeMap::new();
            for row in tables.qualifications.iter().filter(|row| !row.referrer.is_empty()) {
                let said = format!("{:?} for {:?} to {}", EventId(row.lead_id), row.id, row.referrer);
                *standing.entry(said).or_default() += i64::from(row.sign);
            }
            standing.retain(|_, count| *count != 0);
            let open = open_rewards(&tables);
            assert_eq!(open, standing, "story {seed}: what counts is rewarded");
            rewarded += open.len();
            taken_back += tables.rewards.iter().filter(|line| line.reason == "condition_unmet").count();
            assert_eq!(first.get_or_insert_with(|| open.clone()), &open, "story {seed}: in every order");
        }
    }
    assert!(rewarded > 400 && taken_back > 200, "{rewarded} rewarded, {taken_back} taken back");
}

//! Rewards in the world: the twin's look-ups, the events, and what must hold of the ledger in the end.

use crate::{
    store::MemoryStore,
    world::{Shared, World, pick},
};
use bytes::Bytes;
use rand::rngs::SmallRng;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;
use whence_aggregator::{
    position::{Horizon, Partition},
    source::Record,
    store::{DueReward, EventName, LeadTimes, RewardStore, RewardSum, RewardUsage, StoreError},
    sweep::{Outbox, OutboxError},
};
use whence_schemas::{
    event::{
        self, CapPeriod, Event, RewardCap, RewardDecision, RewardParty, RewardRule, RewardTerms, RewardTier,
        RiskPolicy, reward_tier::Amount,
    },
    ids::EventId,
    reward::reward_id,
    rows::{QualificationRow, RewardRow, RewardState, RewardTermsRow},
    time::UnixMs,
    topics::Stream,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const BUDGET: i64 = 900;
const CAP: i64 = 2;
const RULES: [&str; 2] = ["fixed", "share"];
/// Later than every reward of a run is due.
pub const LATE: UnixMs = UnixMs(1_900_000_000_000);

/// The terms of every qualification.
pub fn terms() -> RewardTerms {
    let rule = |id: &str, amount| RewardRule {
        id: id.into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(amount) }],
        hold_days: 1,
        ..RewardRule::default()
    };
    RewardTerms {
        rules: vec![
            RewardRule { budget_minor: BUDGET, ..rule(RULES[0], Amount::FixedMinor(400)) },
            RewardRule {
                referrer_cap: Some(RewardCap { count: CAP as u32, amount_minor: 0 }),
                period_cap: Some(RewardCap { count: 3, amount_minor: 0 }),
                period: CapPeriod::Day.into(),
                ..rule(RULES[1], Amount::ValuePpm(100_000))
            },
        ],
        risk: Some(RiskPolicy {
            threshold: 50,
            bot_click: 50,
            shared_device: 20,
            shared_device_leads: 1,
            shared_device_days: 400,
            shared_prefix: 20,
            shared_prefix_leads: 1,
            self_referral_prefix: 15,
            ..RiskPolicy::default()
        }),
    }
}

/// A decision about a reward of this lead, which may never be.
pub fn decision(rng: &mut SmallRng, program: &str, lead: EventId) -> RewardDecision {
    let rule = *pick(rng, &RULES);
    let reward = reward_id(program, lead, rule);
    RewardDecision {
        reward_id: Bytes::copy_from_slice(reward.as_bytes()),
        decision: (*pick(rng, &["approve", "issue", "issue", "reject", "claw_back"])).into(),
        decided_by: "ann".into(),
        reason: "because".into(),
        reference: (*pick(rng, &["pay-1", "pay-2"])).into(),
        paid_minor: *pick(rng, &[0, 0, 500, 250]),
    }
}

fn day(at: UnixMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

impl MemoryStore {
    async fn lines(&self, before: &Horizon) -> Result<Vec<RewardRow>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let is_before = |row: &&RewardRow| before.includes(row.incarnation, row.partition, row.offset);
        Ok(tables.rewards.iter().filter(is_before).cloned().collect())
    }
}

impl RewardStore for MemoryStore {
    async fn rewards(
        &self,
        before: &Horizon,
        leads: &[EventName],
        rewards: &[(String, Uuid)],
    ) -> Result<Vec<RewardRow>, StoreError> {
        let mut lines = self.lines(before).await?;
        lines.retain(|row| {
            leads.contains(&(row.program.0.clone(), row.lead_id))
                || rewards.contains(&(row.program.0.clone(), row.reward_id))
        });
        Ok(lines)
    }

    async fn reward_usage(
        &self,
        before: &Horizon,
        referrers: &[(String, String)],
    ) -> Result<Vec<RewardUsage>, StoreError> {
        let lines = self.lines(before).await?;
        let usage = |row: &RewardRow| RewardUsage {
            program: row.program.0.clone(),
            rule: row.rule.0.clone(),
            referrer: row.referrer.clone(),
            day: day(row.earned_at),
            count: i64::from(row.sign),
            amount_minor: i64::from(row.sign) * row.amount_minor,
        };
        let is_asked = |row: &&RewardRow| referrers.contains(&(row.program.0.clone(), row.referrer.clone()));
        Ok(lines.iter().filter(|row| row.state.is_open()).filter(is_asked).map(usage).collect())
    }

    async fn reward_sums(&self, before: &Horizon, programs: &[String]) -> Result<Vec<RewardSum>, StoreError> {
        let lines = self.lines(before).await?;
        self.0.lock().ledgers_read += programs.len() as u64;
        let sum = |row: &RewardRow| RewardSum {
            program: row.program.0.clone(),
            rule: row.rule.0.clone(),
            count: i64::from(row.sign),
            amount_minor: i64::from(row.sign) * row.amount_minor,
        };
        let is_asked = |row: &&RewardRow| row.state.is_open() && programs.contains(&row.program.0);
        Ok(lines.iter().filter(is_asked).map(sum).collect())
    }

    async fn reward_terms(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> Result<Vec<RewardTermsRow>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let rows = tables
            .reward_terms
            .iter()
            .filter(|row| before.includes(row.incarnation, row.partition, row.offset))
            .filter(|row| qualifications.contains(&(row.program.0.clone(), row.qualification_id)));
        Ok(rows.cloned().collect())
    }

    async fn lead_times(&self, before: &Horizon, leads: &[EventName]) -> Result<Vec<LeadTimes>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let rows = tables
            .leads
            .iter()
            .filter(|row| before.includes(row.incarnation, row.partition, row.offset))
            .filter(|row| row.revision == 0 && leads.contains(&(row.program.0.clone(), row.id)));
        Ok(rows.map(LeadTimes::of).collect())
    }

    async fn rewards_due(
        &self,
        partition: u32,
        at: UnixMs,
        max: usize,
    ) -> Result<Vec<DueReward>, StoreError> {
        self.before_reading().await?;
        // Timers do no harm: where it is looked makes no difference.
        let tables = &self.0.lock().tables;
        let mut sums: BTreeMap<Uuid, (i64, DueReward)> = BTreeMap::new();
        for row in tables.rewards.iter().filter(|row| row.partition == partition && row.due_at <= at) {
            if row.state == RewardState::Accrued {
                let due = DueReward {
                    program: row.program.0.clone(),
                    reward_id: row.reward_id,
                    revision: row.revision,
                    due_at: row.due_at,
                };
                let sum = sums.entry(row.reward_id).or_insert((0, due));
                sum.0 += i64::from(row.sign);
                sum.1.revision = sum.1.revision.max(row.revision);
                // One that was earned again by another qualification has another day.
                sum.1.due_at = sum.1.due_at.max(row.due_at);
            }
        }
        Ok(sums.into_values().filter(|(sum, _)| *sum > 0).map(|(_, due)| due).take(max).collect())
    }
}

/// Sends timers into the logs of the programs' partitions.
pub struct LogOutbox(pub Shared);

impl Outbox for LogOutbox {
    async fn send(&self, records: Vec<(String, Bytes)>) -> Result<(), OutboxError> {
        for (program, payload) in records {
            let record = Record { offset: 0, timestamp: LATE, payload: Some(payload) };
            let event: Event =
                event::decode(record.payload.as_ref().expect("it is there")).expect("an event");
            let id = EventId::from_bytes(&event.id).expect("a UUIDv5");
            *self.0.lock().expected.others.entry(id).or_default() += 1;
            self.0.append(crate::events::program_partition(&program), record);
        }
        Ok(())
    }
}

/// What must hold of the ledger, whatever happened on the way.
pub fn check(world: &World) -> Result<(), String> {
    sums_are_sound(&world.tables.rewards)?;
    caps_hold(&world.tables.rewards)?;
    every_qualification_has_its_verdicts(world)?;
    open_rewards_have_their_qualification(world)?;
    nothing_is_due(world)?;
    ledgers_are_read_once(world)?;
    rollup_equals_raw(world)
}

fn sums_are_sound(lines: &[RewardRow]) -> Result<(), String> {
    let mut sums: BTreeMap<(Uuid, RewardState), (i64, i64)> = BTreeMap::new();
    for line in lines {
        let sum = sums.entry((line.reward_id, line.state)).or_default();
        *sum = (sum.0 + i64::from(line.sign), sum.1 + i64::from(line.sign) * line.amount_minor);
    }
    let mut open: BTreeMap<Uuid, i64> = BTreeMap::new();
    for ((reward, state), (count, amount)) in sums {
        if amount < 0 || count < 0 {
            return Err(format!("reward {reward} has {count} lines of {amount} in {state:?}"));
        }
        if state.is_open() {
            *open.entry(reward).or_default() += count;
        }
    }
    match open.into_iter().find(|(_, count)| *count > 1) {
        Some((reward, count)) => Err(format!("reward {reward} is open {count} times")),
        None => Ok(()),
    }
}

fn caps_hold(lines: &[RewardRow]) -> Result<(), String> {
    let (mut budgets, mut counts) = (HashMap::<&str, i64>::new(), HashMap::<(&str, &str), i64>::new());
    for line in lines.iter().filter(|line| line.state.is_open()) {
        if line.rule.0 == RULES[0] {
            *budgets.entry(&line.program.0).or_default() += i64::from(line.sign) * line.amount_minor;
        } else {
            *counts.entry((&line.program.0, &line.referrer)).or_default() += i64::from(line.sign);
        }
    }
    if let Some(spent) = budgets.iter().find(|(_, spent)| **spent > BUDGET) {
        return Err(format!("budget exceeded: {spent:?}"));
    }
    match counts.iter().find(|(_, count)| **count > CAP) {
        Some(count) => Err(format!("cap exceeded: {count:?}")),
        None => Ok(()),
    }
}

/// What stands of each live, credited qualification.
fn standing(world: &World) -> Vec<&QualificationRow> {
    let mut newest: BTreeMap<EventId, (i64, &QualificationRow)> = BTreeMap::new();
    for row in world.tables.qualifications.iter().filter(|row| row.live) {
        let entry = newest.entry(row.id).or_insert((0, row));
        entry.0 += i64::from(row.sign);
        if (row.revision, row.sign) > (entry.1.revision, entry.1.sign) {
            entry.1 = row;
        }
    }
    let is_standing = |row: &&QualificationRow| !row.lead_id.is_nil() && !row.referrer.is_empty();
    newest.into_values().filter(|(net, _)| *net == 1).map(|(_, row)| row).filter(is_standing).collect()
}

fn every_qualification_has_its_verdicts(world: &World) -> Result<(), String> {
    for row in standing(world) {
        for rule in RULES {
            let id = reward_id(&row.program.0, EventId(row.lead_id), rule);
            if !world.tables.rewards.iter().any(|line| line.reward_id == id) {
                return Err(format!("qualification {:?} has no verdict by {rule}", row.id));
            }
        }
    }
    Ok(())
}

fn open_rewards_have_their_qualification(world: &World) -> Result<(), String> {
    let standing: HashMap<EventId, &QualificationRow> =
        standing(world).into_iter().map(|row| (row.id, row)).collect();
    let mut open: BTreeMap<(Uuid, EventId, EventId, &str), i64> = BTreeMap::new();
    for line in world.tables.rewards.iter().filter(|line| line.state.is_open()) {
        let key = (line.reward_id, line.qualification_id, line.lead_id, line.referrer.as_str());
        *open.entry(key).or_default() += i64::from(line.sign) * line.amount_minor;
    }
    for ((reward, qualification, lead, referrer), amount) in open.into_iter().filter(|(_, sum)| *sum != 0) {
        match standing.get(&qualification) {
            Some(row) if row.lead_id == lead.0 && row.referrer == referrer => {}
            other => {
                return Err(format!("reward {reward} of {amount} is open, its qualification is {other:?}"));
            }
        }
    }
    Ok(())
}

fn nothing_is_due(world: &World) -> Result<(), String> {
    let mut accrued: BTreeMap<Uuid, i64> = BTreeMap::new();
    for line in world.tables.rewards.iter().filter(|line| line.state == RewardState::Accrued) {
        *accrued.entry(line.reward_id).or_default() += i64::from(line.sign);
    }
    match accrued.into_iter().find(|(_, sum)| *sum != 0) {
        Some((reward, _)) => Err(format!("reward {reward} was never approved")),
        None => Ok(()),
    }
}

fn rollup_equals_raw(world: &World) -> Result<(), String> {
    let tables = &world.tables;
    let mut raw = BTreeMap::new();
    tables.rewards.iter().for_each(|line| roll_up(&mut raw, line));
    if raw == tables.rewards_daily { Ok(()) } else { Err("the rollup of rewards differs".into()) }
}

/// Program, referrer, rule, day and state.
pub type Group = (String, String, String, i64, RewardState);

/// Adds a line to the rollup as the view does.
pub fn roll_up(sums: &mut BTreeMap<Group, (i64, i64)>, line: &RewardRow) {
    let group =
        (line.program.0.clone(), line.referrer.clone(), line.rule.0.clone(), day(line.earned_at), line.state);
    let sum = sums.entry(group).or_default();
    *sum = (sum.0 + i64::from(line.sign), sum.1 + i64::from(line.sign) * line.amount_minor);
}

/// Partitions whose rewards fall due.
pub fn partitions(world: &World) -> Vec<Partition> {
    let all = world.logs.keys().copied();
    all.filter(|partition| partition.stream == Stream::Conversions).collect()
}

/// To sum up what a program has spent is to read its whole ledger: each owner of its partition does so once.
fn ledgers_are_read_once(world: &World) -> Result<(), String> {
    let most = world.loops * crate::events::PROGRAMS.len() as u64;
    let read = world.ledgers_read;
    if read <= most { Ok(()) } else { Err(format!("{read} ledgers were read by {} loops", world.loops)) }
}

//! Clicks as evidence in the world: the twin's look-ups, and what must hold of what was found.

use crate::{
    store::{MemoryStore, Tables},
    world::{Sabotage, World},
};
use rand::RngExt;
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;
use whence_aggregator::{
    position::{BlockRange, Horizon},
    store::{
        ClickedFrom, EventName, EvidenceStore, FoundClick, Origin, PersonClick, Rows, SeenReferrer,
        StoreError,
    },
};
use whence_schemas::{
    event::Verdict,
    ids::{ClickId, EventId, Incarnation},
    rows::{ClickEvidenceRow, ClickRow, RewardRow, Row},
    time::UnixMs,
};

fn found(row: &ClickRow) -> FoundClick {
    FoundClick {
        program: row.program.0.clone(),
        id: row.id,
        verdict: row.verdict,
        reason: row.reason.0.clone(),
        visitor: row.visitor,
        address: row.address,
        prefix: row.prefix,
    }
}

fn is_of(row: &ClickEvidenceRow, leads: &[EventName]) -> bool {
    leads.contains(&(row.program.0.clone(), row.lead_id))
}

impl EvidenceStore for MemoryStore {
    async fn clicks(&self, clicks: &[(String, ClickId)]) -> Result<Vec<FoundClick>, StoreError> {
        self.before_reading().await?;
        let World { tables, rng, .. } = &mut *self.0.lock();
        let rows = tables.clicks.iter().filter(|row| clicks.contains(&(row.program.0.clone(), row.id)));
        // A replica may not have heard of a row that another one has.
        Ok(rows.filter(|_| rng.random_bool(0.7)).map(found).collect())
    }

    async fn click_evidence(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> Result<Vec<ClickEvidenceRow>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let is_before = |row: &&ClickEvidenceRow| before.includes(row.incarnation, row.partition, row.offset);
        Ok(tables.click_evidence.iter().filter(is_before).filter(|row| is_of(row, leads)).cloned().collect())
    }

    async fn click_evidence_of(
        &self,
        range: &BlockRange,
        leads: &[EventName],
    ) -> Result<Vec<ClickEvidenceRow>, StoreError> {
        self.before_reading().await?;
        let world = self.0.lock();
        let is_within = |row: &&ClickEvidenceRow| {
            row.incarnation == range.incarnation
                && row.partition == range.partition.number
                && (range.first..range.end).contains(&row.offset)
        };
        let seen = self.seen();
        let rows = seen.click_evidence.iter().filter(is_within).filter(|row| is_of(row, leads));
        let mut rows: Vec<_> = rows.cloned().collect();
        if world.sabotage == Sabotage::LooksNotReadBack {
            for row in &mut rows {
                let now = world.tables.clicks.iter().find(|click| click.id == row.click_id);
                row.found = now.is_some();
                row.verdict = now.map_or(Verdict::Unspecified, |click| click.verdict);
            }
        }
        Ok(rows)
    }

    async fn clicked_from(
        &self,
        before: &Horizon,
        places: &[ClickedFrom],
        max: usize,
    ) -> Result<Vec<PersonClick>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let is_before = |row: &&ClickEvidenceRow| before.includes(row.incarnation, row.partition, row.offset);
        let mut found = Vec::new();
        for from in places {
            let mut last: BTreeMap<Uuid, UnixMs> = BTreeMap::new();
            for row in tables.click_evidence.iter().filter(is_before).filter(|row| {
                row.live && row.program.0 == from.program && hash(row, from.origin) == from.hash
            }) {
                let last = last.entry(row.person).or_insert(row.clicked_at);
                *last = row.clicked_at.max(*last);
            }
            let mut last: Vec<_> =
                last.into_iter().map(|(person, at)| (std::cmp::Reverse(at), person)).collect();
            last.sort_unstable();
            found.extend(last.into_iter().take(max).map(|(at, person)| PersonClick {
                from: from.clone(),
                person,
                clicked_at: at.0,
            }));
        }
        Ok(found)
    }

    async fn seen_referrers(
        &self,
        before: &Horizon,
        asked: &[SeenReferrer],
    ) -> Result<HashSet<SeenReferrer>, StoreError> {
        self.before_reading().await?;
        let tables = self.seen();
        let seen = sightings(&tables)
            .filter(|(incarnation, partition, offset, _)| before.includes(*incarnation, *partition, *offset));
        Ok(seen.map(|(.., seen)| seen).filter(|seen| asked.contains(seen)).collect())
    }
}

/// Where live referrers joined and shared from, with the places of the records.
fn sightings(tables: &Tables) -> impl Iterator<Item = (Incarnation, u32, u64, SeenReferrer)> {
    let seen = |program: &str, referrer: &str, prefix| SeenReferrer {
        program: program.to_owned(),
        referrer: referrer.to_owned(),
        prefix,
    };
    let joined = tables.participants.iter().filter(|row| row.live && row.prefix != 0).map(move |row| {
        (row.incarnation, row.partition, row.offset, seen(&row.program.0, &row.referrer, row.prefix))
    });
    let shared = tables.shares.iter().filter(|row| row.live && row.prefix != 0).map(move |row| {
        (row.incarnation, row.partition, row.offset, seen(&row.program.0, &row.referrer, row.prefix))
    });
    joined.chain(shared)
}

fn hash(row: &ClickEvidenceRow, origin: Origin) -> u64 {
    match origin {
        Origin::Visitor => row.visitor,
        Origin::Prefix => row.prefix,
    }
}

/// The rows without what an erasure blanks, by which nothing is decided, and without the account of looks, which says what
/// stood at the moment.
pub fn without_personal(rows: &Rows) -> Rows {
    let mut rows = rows.clone();
    macro_rules! blank {
        ($($kind:ident: $($column:ident),*;)*) => {
            match &mut rows {
                $(Rows::$kind(rows) => rows.iter_mut().for_each(|row| { $(row.$column.clear();)* }),)*
                _ => {}
            }
        };
    }
    blank! {
        Leads: lead, keys;
        Qualifications: lead, keys;
        Disqualifications: lead, keys;
        Reinstatements: lead, keys;
        Identifies: lead, keys;
        Participants: keys;
    }
    if let Rows::Blocks(rows) = &mut rows {
        rows.retain(|row| row.table.0 != ClickEvidenceRow::TABLE);
    }
    rows
}

/// What must hold of the evidence, and of the rewards that rest on it.
pub fn check(world: &World) -> Result<(), String> {
    if let Some(table) = world.tables.tries_differ.first() {
        return Err(format!("two tries of a block sent different rows of {table}"));
    }
    every_proved_lead_was_looked_at(world)?;
    every_click_is_found_once_and_as_it_is(world)?;
    rewards_are_flagged_by_what_was_found(world)
}

fn every_proved_lead_was_looked_at(world: &World) -> Result<(), String> {
    for lead in world.tables.leads.iter().filter(|row| row.revision == 0 && !row.touch_click_id.is_nil()) {
        let place = (lead.incarnation, lead.partition, lead.offset);
        let looks =
            world.tables.click_evidence.iter().filter(|row| {
                row.lead_id == lead.id && (row.incarnation, row.partition, row.offset) == place
            });
        let looks = looks.filter(|row| row.looked_by.0 == "lead" && row.click_id.0 == lead.touch_click_id);
        if looks.count() != 1 {
            return Err(format!("the click of lead {:?} was not looked at once as it came", lead.id));
        }
    }
    Ok(())
}

fn every_click_is_found_once_and_as_it_is(world: &World) -> Result<(), String> {
    let mut seen: BTreeMap<EventId, u64> = BTreeMap::new();
    for row in world.tables.click_evidence.iter().filter(|row| row.found) {
        *seen.entry(row.lead_id).or_default() += 1;
        let is_as_it_is = |click: &&ClickRow| click.id == row.click_id && click.verdict == row.verdict;
        if !world.tables.clicks.iter().any(|click| is_as_it_is(&click)) {
            return Err(format!("no click is what lead {:?} is said to rest on", row.lead_id));
        }
    }
    match seen.iter().find(|(_, times)| **times > 1) {
        Some((lead, times)) => Err(format!("the click of lead {lead:?} was found {times} times")),
        None => Ok(()),
    }
}

/// Where a record stands among those of its partition: the world's incarnations follow each other by number.
fn place(incarnation: Incarnation, offset: u64) -> (u128, u64) {
    (incarnation.0.as_u128(), offset)
}

/// Whether the reward's referrer had joined or shared from this prefix by then.
fn was_there(world: &World, line: &RewardRow, prefix: u64) -> bool {
    sightings(&world.tables).any(|(incarnation, partition, offset, seen)| {
        (seen.program == line.program.0 && seen.referrer == line.referrer && seen.prefix == prefix)
            && partition == line.partition
            && place(incarnation, offset) <= place(line.incarnation, line.offset)
    })
}

/// What is accrued, held for its flags or approved by its day is flagged by what was known then.
fn rewards_are_flagged_by_what_was_found(world: &World) -> Result<(), String> {
    let rests_on_it = |line: &&RewardRow| {
        let is_decided_here = ["earned", "risk", "due"].contains(&line.reason.as_str());
        line.sign == 1 && line.amount_minor > 0 && is_decided_here && line.state.is_open()
    };
    for line in world.tables.rewards.iter().filter(rests_on_it) {
        let looks = world.tables.click_evidence.iter().filter(|row| row.lead_id == line.lead_id && row.found);
        let known = looks.filter(|row| {
            row.partition == line.partition
                && place(row.incarnation, row.offset) <= place(line.incarnation, line.offset)
        });
        let known: Vec<_> = known.collect();
        let is_bot = known.iter().any(|row| row.verdict == Verdict::Bot);
        let is_flagged = line.flags.iter().any(|flag| flag.0 == "bot_click");
        // A refund writes what is left again, unchanged.
        let is_rest = world.tables.rewards.iter().any(|other| {
            let is_of_the_change = (other.reward_id, other.revision) == (line.reward_id, line.revision);
            is_of_the_change && !other.state.is_open()
        });
        let is_looked_at = line.revision == 0 || line.reason != "earned" && !is_rest;
        if is_looked_at && is_bot != is_flagged {
            return Err(format!(
                "reward {} is flagged {:?}, the click is a bot's: {is_bot}",
                line.reward_id, line.flags
            ));
        }
        let is_near = known.iter().any(|row| was_there(world, line, row.prefix));
        let is_flagged = line.flags.iter().any(|flag| flag.0 == "self_referral_prefix");
        if is_looked_at && is_near != is_flagged {
            return Err(format!(
                "reward {} is flagged {:?}, its referrer was where the click came from: {is_near}",
                line.reward_id, line.flags
            ));
        }
    }
    Ok(())
}

//! What must hold in the end, whatever happened on the way.

use crate::{
    evidence, rewards,
    rollup::{self, Group, groups},
    world::World,
};
use std::collections::{BTreeMap, BTreeSet};
use whence_aggregator::{position::Partition, store::Rows};
use whence_schemas::{
    ids::{EventId, Incarnation},
    rows::{
        BlockRow, SubjectKeyRow,
        account::{self, Sums},
    },
    subject::SubjectKey,
    time::UnixMs,
    topics::Stream,
};

type RecordPosition = (Partition, Incarnation, u64);

/// The first difference found, in words.
pub fn check(world: &World) -> Result<(), String> {
    every_record_is_one_fact_or_reject(world)?;
    the_account_adds_up(world)?;
    every_event_is_one_fact(world)?;
    credit_is_as_made(world)?;
    what_is_taken_back_is_what_is_missing(world)?;
    forgotten_persons_are_blank(world)?;
    persons_count_once(world)?;
    rollups_equal_raw(world)?;
    evidence::check(world)?;
    rewards::check(world)
}

fn every_record_is_one_fact_or_reject(world: &World) -> Result<(), String> {
    let mut stored: BTreeMap<RecordPosition, u64> = BTreeMap::new();
    let mut count = |stream, number, incarnation, offset| {
        *stored.entry((Partition { stream, number }, incarnation, offset)).or_default() += 1;
    };
    let tables = &world.tables;
    tables.clicks.iter().for_each(|r| count(Stream::Clicks, r.partition, r.incarnation, r.offset));
    for (incarnation, partition, offset) in tables.fact_places() {
        count(Stream::Conversions, partition, incarnation, offset);
    }
    for r in &tables.rejects {
        let stream = if r.stream.0 == "clicks" { Stream::Clicks } else { Stream::Conversions };
        count(stream, r.partition, r.incarnation, r.offset);
    }
    for (partition, log) in &world.logs {
        for (incarnation, records) in &log.lives {
            for record in records {
                let place = (*partition, *incarnation, record.offset);
                match stored.remove(&place) {
                    Some(1) => {}
                    other => return Err(format!("record {place:?} stands in {} rows", other.unwrap_or(0))),
                }
            }
        }
    }
    match stored.first_key_value() {
        Some((place, _)) => Err(format!("a row of {place:?}, which no record has")),
        None => Ok(()),
    }
}

/// Blocks follow each other from the first record to the last, and what they say of each table is what stands there.
fn the_account_adds_up(world: &World) -> Result<(), String> {
    let tables = &world.tables;
    for (partition, log) in &world.logs {
        for (incarnation, records) in &log.lives {
            let is_of = |row: &&BlockRow| {
                (row.stream.0.as_str(), row.partition) == (partition.stream.word(), partition.number)
                    && row.incarnation == *incarnation
            };
            let mut next = records.first().map_or(0, |record| record.offset);
            let links = tables.blocks.iter().filter(is_of).filter(|row| row.table.0.is_empty());
            let ranges: BTreeSet<(u64, u64)> = links.clone().map(|row| (row.first.0, row.end.0)).collect();
            if ranges.len() != links.count() {
                return Err(format!("a block of {partition} is in the account twice"));
            }
            for (first, end) in ranges {
                if first != next {
                    return Err(format!("of {partition} a block begins at {first}, not at {next}"));
                }
                next = end;
            }
            let end = records.last().map_or(0, |record| record.offset + 1);
            if next != end {
                return Err(format!("of {partition} the last block ends at {next}, not at {end}"));
            }
        }
    }
    let mut said: BTreeMap<(String, u32), Sums> = BTreeMap::new();
    for row in tables.blocks.iter().filter(|row| !row.table.0.is_empty()) {
        let (records, rows, positions) = said.entry((row.table.0.clone(), row.month)).or_default();
        *records += row.records.0;
        *rows += row.rows.0;
        *positions = positions.wrapping_add(row.positions.0);
    }
    let mut stands: BTreeMap<(String, u32), Sums> = BTreeMap::new();
    macro_rules! add {
        ($($table:ident),*) => {$(
            for (month, sums) in account::sums(&tables.$table) {
                stands.insert((stringify!($table).to_owned(), month), sums);
            }
        )*};
    }
    add!(clicks, leads, qualifications, disqualifications, reinstatements, identifies, participants, shares);
    add!(erasures);
    add!(subject_keys, click_evidence, reward_terms, rewards, reward_events, rejects);
    // Of these there may be more (`may_have_more`): looks of an owner that was none any more, and rows under names that a crash
    // left behind.
    let mut more = |table: &str| -> [i64; 2] {
        [&mut said, &mut stands].map(|sums| {
            let of_table: Vec<_> = sums.extract_if(.., |(of, _), _| of == table).collect();
            of_table.into_iter().map(|(_, (_, rows, _))| rows).sum()
        })
    };
    let is_enough = ["click_evidence", "subject_keys"].map(|table| {
        let [said, stand] = more(table);
        said <= stand
    });
    match said == stands && is_enough == [true; 2] {
        true => Ok(()),
        false => Err(format!("the account says {said:?}, the tables have {stands:?}")),
    }
}

fn every_event_is_one_fact(world: &World) -> Result<(), String> {
    let (tables, expected) = (&world.tables, &world.expected);
    for id in expected.clicks.keys() {
        let rows = tables.clicks.iter().filter(|row| row.id == *id).count();
        if rows != 1 {
            return Err(format!("click {id:?} stands in {rows} rows"));
        }
    }
    for id in expected.leads.keys() {
        let net: i64 = tables.leads.iter().filter(|row| row.id == *id).map(|row| i64::from(row.sign)).sum();
        if net != 1 {
            return Err(format!("lead {id:?} counts {net}"));
        }
    }
    let sent = expected.clicks.values().copied();
    let sent = sent.chain(expected.leads.values().map(|(_, times)| *times));
    let sent = sent.chain(expected.qualifications.values().map(|(_, times)| *times));
    let sent = sent.chain(expected.others.values().copied());
    let repeats: u64 = sent.map(|times| times - 1).sum();
    let count = |reason: &str| tables.rejects.iter().filter(|row| row.reason.0 == reason).count() as u64;
    let (duplicates, conflicts) = (count("duplicate"), count("conflicting_body"));
    let found = (duplicates, conflicts, tables.rejects.len() as u64 - duplicates - conflicts);
    let wanted = (repeats, expected.conflicts, expected.refused);
    if found != wanted {
        return Err(format!("rejects (duplicate, conflicting, other) {found:?}, expected {wanted:?}"));
    }
    Ok(())
}

fn credit_is_as_made(world: &World) -> Result<(), String> {
    for (id, (referrer, _)) in &world.expected.leads {
        let mut net: BTreeMap<&str, i64> = BTreeMap::new();
        for row in world.tables.leads.iter().filter(|row| row.id == *id) {
            *net.entry(&row.referrer).or_default() += i64::from(row.sign);
        }
        net.retain(|_, sum| *sum != 0);
        if net != BTreeMap::from([(referrer.as_str(), 1)]) {
            return Err(format!("lead {id:?} is credited to {net:?}, not {referrer:?}"));
        }
    }
    for (id, (paid, _)) in &world.expected.qualifications {
        let mut net: BTreeMap<(bool, &str, i64), i64> = BTreeMap::new();
        for row in world.tables.qualifications.iter().filter(|row| row.id == *id) {
            let said = (!row.lead_id.is_nil(), row.referrer.as_str(), row.value_minor);
            *net.entry(said).or_default() += i64::from(row.sign);
        }
        net.retain(|_, sum| *sum != 0);
        let referrer = paid.referrer.as_deref();
        let stands = paid.left.map(|left| ((referrer.is_some(), referrer.unwrap_or_default(), left), 1));
        let wanted = BTreeMap::from_iter(stands);
        if net != wanted {
            return Err(format!("qualification {id:?} nets {net:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

fn what_is_taken_back_is_what_is_missing(world: &World) -> Result<(), String> {
    let rows = &world.tables.disqualifications;
    let taken: i64 = rows.iter().map(|row| i64::from(row.sign) * row.taken_minor).sum();
    let paid = world.expected.qualifications.values().map(|(paid, _)| paid.paid - paid.left.unwrap_or(0));
    let missing: i64 = paid.sum();
    if taken != missing {
        return Err(format!("{taken} is taken back, {missing} is missing"));
    }
    let mut waiting: BTreeMap<EventId, i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.outcome.0 == "waiting") {
        *waiting.entry(row.id).or_default() += i64::from(row.sign);
    }
    // What takes back all of a person who paid nothing waits for ever.
    let has_paid = |id: &&EventId| rows.iter().any(|row| row.id == **id && !row.qualification_id.is_nil());
    match waiting.iter().find(|(id, sum)| **sum != 0 && has_paid(id)) {
        Some((id, sum)) => Err(format!("disqualification {id:?} waits {sum} times, its partner is there")),
        None => Ok(()),
    }
}

fn forgotten_persons_are_blank(world: &World) -> Result<(), String> {
    let (tables, erased) = (&world.tables, &world.expected.erased);
    let leads = tables.leads.iter().map(|row| (row.id, &row.lead, &row.keys));
    let qualifications = tables.qualifications.iter().map(|row| (row.id, &row.lead, &row.keys));
    let disqualifications = tables.disqualifications.iter().map(|row| (row.id, &row.lead, &row.keys));
    for (id, lead, keys) in leads.chain(qualifications).chain(disqualifications) {
        if erased.contains(&id) != (lead.is_empty() && keys.is_empty()) {
            return Err(format!("event {id:?} says {lead:?}, {keys:?}"));
        }
    }
    let is_suppressed = |row: &&SubjectKeyRow| row.kind.0 == "erased";
    let suppressed: BTreeSet<(&str, SubjectKey)> =
        tables.subject_keys.iter().filter(is_suppressed).map(|row| (&row.program.0[..], row.key)).collect();
    for row in tables.subject_keys.iter().filter(|row| !is_suppressed(row)) {
        if row.keys.iter().any(|key| suppressed.contains(&(&row.program.0[..], *key))) {
            return Err(format!("a key that is suppressed leads to event {:?}", row.event_id));
        }
    }
    Ok(())
}

/// Of the leads of one person one stands for it, and of its qualifications that count and have a lead the first; its lead is
/// that one. Whose events are whose is found here from the keys alone.
fn persons_count_once(world: &World) -> Result<(), String> {
    let tables = &world.tables;
    let mut person_of: BTreeMap<(String, bool, SubjectKey), usize> = BTreeMap::new();
    let mut events: Vec<BTreeSet<EventId>> = Vec::new();
    let is_of_person = |kind: &str| !matches!(kind, "erased" | "participant");
    for row in tables.subject_keys.iter().filter(|row| is_of_person(&row.kind.0)) {
        let names: Vec<_> = row.keys.iter().map(|key| (row.program.0.clone(), row.live, *key)).collect();
        let known: BTreeSet<usize> = names.iter().filter_map(|name| person_of.get(name)).copied().collect();
        events.push(BTreeSet::from([row.event_id]));
        for other in &known {
            let theirs = std::mem::take(&mut events[*other]);
            events.last_mut().expect("one was added").extend(theirs);
        }
        let person = events.len() - 1;
        person_of.values_mut().filter(|at| known.contains(at)).for_each(|at| *at = person);
        person_of.extend(names.into_iter().map(|name| (name, person)));
    }
    for events in events {
        let leads = tables.leads.iter().filter(|row| events.contains(&row.id));
        let mut stands: BTreeMap<EventId, (i8, i8)> = BTreeMap::new();
        for row in leads {
            let (sign, person) = stands.entry(row.id).or_default();
            (*sign, *person) = (*sign + row.sign, *person + row.person);
        }
        let reached = tables.qualifications.iter().filter(|row| events.contains(&row.id));
        let mut counts: BTreeMap<(UnixMs, UnixMs, EventId), (i8, i8)> = BTreeMap::new();
        let mut lead_of: BTreeMap<uuid::Uuid, i8> = BTreeMap::new();
        for row in reached {
            let (sign, person) = counts.entry((row.occurred_at, row.received_at, row.id)).or_default();
            *sign += if row.lead_id.is_nil() { 0 } else { row.sign };
            *person += row.person;
            *lead_of.entry(row.lead_id).or_default() += row.person;
        }
        lead_of.retain(|_, person| *person != 0);
        let standing: Vec<EventId> =
            stands.iter().filter(|(_, (_, person))| *person != 0).map(|(id, _)| *id).collect();
        let is_lead = stands.values().any(|(sign, _)| *sign > 0);
        if standing.len() != usize::from(is_lead)
            || stands.values().any(|(_, person)| !(0..=1).contains(person))
        {
            return Err(format!("a person's leads stand for {stands:?}"));
        }
        let first = counts.iter().find(|(_, (sign, _))| *sign > 0).map(|(reached, _)| *reached);
        let persons: Vec<_> =
            counts.iter().filter(|(_, (_, person))| *person != 0).map(|(reached, _)| *reached).collect();
        if persons != first.into_iter().collect::<Vec<_>>() {
            return Err(format!("a person's qualifications stand for {counts:?}"));
        }
        if lead_of.iter().any(|(lead, person)| (*person, Some(&EventId(*lead))) != (1, standing.first())) {
            return Err(format!("a person qualified by {lead_of:?} and is the lead {standing:?}"));
        }
    }
    Ok(())
}

fn rollups_equal_raw(world: &World) -> Result<(), String> {
    let tables = &world.tables;
    let mut raw: BTreeMap<Group, rollup::Sums> = BTreeMap::new();
    for rows in [
        Rows::Clicks(tables.clicks.clone()),
        Rows::Leads(tables.leads.clone()),
        Rows::Qualifications(tables.qualifications.clone()),
    ] {
        for (group, sums) in groups(&rows) {
            let total = raw.entry(group).or_default();
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
    if raw == tables.funnel_quarter_hourly {
        return Ok(());
    }
    let wrong = raw.iter().find(|(group, sums)| tables.funnel_quarter_hourly.get(*group) != Some(*sums));
    Err(format!("the rollup differs from the raw rows, first at {wrong:?}"))
}

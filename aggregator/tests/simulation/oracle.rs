//! What must hold in the end, whatever happened on the way.

use crate::{
    store::{Group, Sums, groups},
    world::World,
};
use std::collections::BTreeMap;
use whence_aggregator::{position::Partition, store::Rows};
use whence_schemas::{ids::Incarnation, topics::Stream};

type Place = (Partition, Incarnation, u64);

/// The first difference found, in words.
pub fn check(world: &World) -> Result<(), String> {
    every_record_is_one_fact_or_reject(world)?;
    every_event_is_one_fact(world)?;
    credit_is_as_made(world)?;
    rollups_equal_raw(world)
}

fn every_record_is_one_fact_or_reject(world: &World) -> Result<(), String> {
    let mut stored: BTreeMap<Place, u64> = BTreeMap::new();
    let mut count = |stream, number, incarnation, offset| {
        *stored.entry((Partition { stream, number }, incarnation, offset)).or_default() += 1;
    };
    let tables = &world.tables;
    tables.clicks.iter().for_each(|r| count(Stream::Clicks, r.partition, r.incarnation, r.offset));
    let leads = tables.leads.iter().filter(|r| r.revision == 0);
    leads.for_each(|r| count(Stream::Conversions, r.partition, r.incarnation, r.offset));
    let qualifications = tables.qualifications.iter().filter(|r| r.revision == 0);
    qualifications.for_each(|r| count(Stream::Conversions, r.partition, r.incarnation, r.offset));
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
    let repeats: u64 = sent.map(|times| times - 1).sum();
    let count = |is_duplicate: bool| {
        tables.rejects.iter().filter(|row| (row.reason.0 == "duplicate") == is_duplicate).count() as u64
    };
    if count(true) != repeats || count(false) != expected.refused {
        let found = (count(true), count(false));
        return Err(format!(
            "rejects (duplicate, other) {found:?}, expected {:?}",
            (repeats, expected.refused)
        ));
    }
    Ok(())
}

fn credit_is_as_made(world: &World) -> Result<(), String> {
    for (id, (referrer, _)) in &world.expected.leads {
        let row = world.tables.leads.iter().find(|row| row.id == *id).ok_or(format!("no lead {id:?}"))?;
        if row.referrer != *referrer {
            return Err(format!("lead {id:?} is credited to {:?}, not {referrer:?}", row.referrer));
        }
    }
    for (id, (referrer, _)) in &world.expected.qualifications {
        let mut net: BTreeMap<(bool, &str), i64> = BTreeMap::new();
        for row in world.tables.qualifications.iter().filter(|row| row.id == *id) {
            *net.entry((!row.lead_id.is_nil(), &row.referrer)).or_default() += i64::from(row.sign);
        }
        net.retain(|_, sum| *sum != 0);
        let wanted = BTreeMap::from([((referrer.is_some(), referrer.as_deref().unwrap_or_default()), 1)]);
        if net != wanted {
            return Err(format!("qualification {id:?} nets {net:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

fn rollups_equal_raw(world: &World) -> Result<(), String> {
    let tables = &world.tables;
    let mut raw: BTreeMap<Group, Sums> = BTreeMap::new();
    for rows in [
        Rows::Clicks(tables.clicks.clone()),
        Rows::Leads(tables.leads.clone()),
        Rows::Qualifications(tables.qualifications.clone()),
    ] {
        for (group, sums) in groups(&rows) {
            let total = raw.entry(group).or_default();
            (0..4).for_each(|at| total[at] += sums[at]);
        }
    }
    if raw == tables.funnel_hourly {
        return Ok(());
    }
    let wrong = raw.iter().find(|(group, sums)| tables.funnel_hourly.get(*group) != Some(*sums));
    Err(format!("the rollup differs from the raw rows, first at {wrong:?}"))
}

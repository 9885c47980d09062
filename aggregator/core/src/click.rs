//! A block of click records becomes rows of `clicks` and `rejects`.

mod decode;
mod dedup;

pub use dedup::{ClickDedup, DedupSettings, DedupTally};

use crate::{
    position::BlockRange,
    source::Record,
    store::{Rows, Store, StoreError},
};
use std::collections::HashSet;
use whence_schemas::{
    ids::ClickId,
    reject::RejectReason,
    rows::{ClickRow, Lc, RejectRow},
};

/// What the records of a block become. Tables in the order in which they are inserted.
pub async fn process<S: Store>(
    range: &BlockRange,
    records: &[Record],
    dedup: &mut ClickDedup,
    store: &S,
) -> Result<Vec<Rows>, StoreError> {
    let mut rejects = Vec::new();
    let mut clicks: Vec<ClickRow> = Vec::with_capacity(records.len());
    for record in records {
        match decode::row(range, record) {
            Ok(row) => clicks.push(row),
            Err(refusal) => rejects.push(refusal.row(range, record)),
        }
    }
    let duplicates = dedup.duplicates(&range.horizon(), &clicks, store).await?;
    if !duplicates.is_empty() {
        clicks = split_off(clicks, &duplicates, records, &mut rejects);
    }
    rejects.sort_by_key(|row| row.offset);
    Ok(vec![Rows::Clicks(clicks), Rows::Rejects(rejects)])
}

/// Takes the duplicates (by their place in `clicks`) out and leaves a reject for each.
fn split_off(
    clicks: Vec<ClickRow>,
    duplicates: &HashSet<usize>,
    records: &[Record],
    rejects: &mut Vec<RejectRow>,
) -> Vec<ClickRow> {
    let mut kept = Vec::with_capacity(clicks.len() - duplicates.len());
    for (at, click) in clicks.into_iter().enumerate() {
        if duplicates.contains(&at) {
            let record = &records[records.partition_point(|record| record.offset < click.offset)];
            rejects.push(duplicate(click, record));
        } else {
            kept.push(click);
        }
    }
    kept
}

fn duplicate(click: ClickRow, record: &Record) -> RejectRow {
    let ClickRow { program, ts, id: ClickId(event_id), live, incarnation, partition, offset, .. } = click;
    RejectRow {
        received_at: ts,
        stream: Lc("clicks".into()),
        program,
        event_id,
        kind: Lc("click".into()),
        reason: Lc(RejectReason::Duplicate.word().into()),
        detail: String::new(),
        live,
        payload_bytes: crate::refusal::payload_bytes(record),
        incarnation,
        partition,
        offset,
    }
}

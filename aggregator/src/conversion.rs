//! A block of conversion records becomes rows of `leads`, `qualifications`, `subject_keys` and
//! `rejects`.
//!
//! Records are taken strictly in order, over what was stored before the block and what the block's
//! earlier records did: so the cut between blocks changes nothing.

mod credit;
mod decode;
mod join;

pub use credit::Credit;

use crate::{
    filter::{FilterSettings, GrowingFilter},
    position::{BlockRange, Horizon},
    refusal::Refusal,
    source::Record,
    store::{EventName, Rows, Store, StoreError},
};
use decode::Conversion;
use join::Subjects;
use std::{collections::HashSet, sync::Arc};
use whence_schemas::{ids::EventId, rows::RejectRow, token::KeyRing};

/// What the owner of a partition of conversions keeps between blocks: a cache, rebuilt from the store.
pub struct ConversionState {
    settings: FilterSettings,
    keys: Arc<KeyRing>,
    /// Over the partition's whole history: event ids carry no time.
    seen: Option<GrowingFilter>,
}

impl ConversionState {
    /// With nothing loaded; `keys` verify the click tokens that leads carry.
    #[must_use]
    pub fn new(settings: FilterSettings, keys: Arc<KeyRing>) -> ConversionState {
        ConversionState { settings, keys, seen: None }
    }

    async fn filter<S: Store>(
        &mut self,
        before: &Horizon,
        store: &S,
    ) -> Result<&mut GrowingFilter, StoreError> {
        if self.seen.is_none() {
            let stored = store.event_ids(before).await?;
            let mut filter = GrowingFilter::new(self.settings, stored.len() * 2);
            for id in stored {
                filter.check_and_add(id.0.as_u128());
            }
            self.seen = Some(filter);
        }
        Ok(self.seen.as_mut().expect("it was just loaded"))
    }
}

/// What the records of a block become. Tables in the order in which they are inserted: what comes
/// later is found again by what came earlier.
pub async fn process<S: Store>(
    range: &BlockRange,
    records: &[Record],
    state: &mut ConversionState,
    store: &S,
) -> Result<Vec<Rows>, StoreError> {
    let before = range.horizon();
    let decoded: Vec<_> = records.iter().map(decode::conversion).collect();
    let known = known(&before, &decoded, state, store).await?;
    let mut subjects = Subjects::load(&before, &decoded, &known, store).await?;

    let mut rejects: Vec<RejectRow> = Vec::new();
    let mut done = HashSet::new();
    for (record, decoded) in records.iter().zip(decoded) {
        let refusal = match decoded {
            Err(refusal) => refusal,
            Ok(conversion) if known.contains(&conversion.id) || !done.insert(conversion.id) => {
                conversion.refusal("duplicate")
            }
            Ok(conversion) => {
                subjects.take(range, record.offset, conversion, &state.keys);
                continue;
            }
        };
        rejects.push(refusal.row(range, record));
    }
    let mut tables = subjects.into_rows();
    tables.push(Rows::Rejects(rejects));
    Ok(tables)
}

/// The events of the block that are stored before it.
async fn known<S: Store>(
    before: &Horizon,
    decoded: &[Result<Conversion, Refusal>],
    state: &mut ConversionState,
    store: &S,
) -> Result<HashSet<EventId>, StoreError> {
    let filter = state.filter(before, store).await?;
    let mut maybe: Vec<EventName> = Vec::new();
    for conversion in decoded.iter().flatten() {
        if filter.check_and_add(conversion.id.0.as_u128()) {
            maybe.push((conversion.program.clone(), conversion.id));
        }
    }
    if maybe.is_empty() { Ok(HashSet::new()) } else { store.events_known(before, &maybe).await }
}

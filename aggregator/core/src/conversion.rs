//! A block of conversion records becomes rows of `leads`, `qualifications`, `disqualifications`, `reinstatements`,
//! `identifies`, `participants`, `shares`, `erasures`, `subject_keys` and `rejects`, and what [`crate::reward`] makes of them.
//!
//! | module | what it does |
//! |---|---|
//! | `decode` | a record becomes an event, or a refusal |
//! | `credit` | what a lead's own touches prove |
//! | `person` | what follows from all events of one person, in whatever order they came |
//! | `people` | which events are of one person |
//! | `join` | takes the block's events in order and makes their rows |
//! | [`replay`] | what would follow from stored events under other rules |
//! | `sets` | keys that belong together |
//! | `rows` | between what is known and the rows that say it |
//!
//! Records are taken strictly in order, over what was stored before the block and what the block's
//! earlier records did: so the cut between blocks changes nothing.

mod condition;
mod credit;
mod decode;
mod join;
mod people;
mod person;
pub mod replay;
mod rows;
mod sets;
pub mod unlink;

pub use credit::Credit;
pub use join::Joined;

use crate::{
    filter::{FilterSettings, GrowingFilter},
    position::{BlockRange, Horizon},
    refusal::Refusal,
    reward::{self, Incoming},
    source::Record,
    store::{EventName, Forgotten, Rows, Store, StoreError},
};
use decode::{Conversion, Kind};
use join::Join;
use people::People;
use rows::Cause;
use std::{collections::HashMap, sync::Arc};
use whence_schemas::{digest, ids::EventId, reject::RejectReason, rows::RejectRow, token::KeyRing};

/// What the owner of a partition of conversions keeps between blocks: a cache, rebuilt from the store. Each block in
/// its order must become rows that are stored; where one does not, the state is of no more use.
pub struct ConversionState {
    settings: FilterSettings,
    keys: Arc<KeyRing>,
    /// Over the partition's whole history: event ids carry no time.
    seen: Option<GrowingFilter>,
    spent: reward::Spent,
}

impl ConversionState {
    /// With nothing loaded; `keys` verify the click tokens that leads carry.
    #[must_use]
    pub fn new(settings: FilterSettings, keys: Arc<KeyRing>) -> ConversionState {
        ConversionState { settings, keys, seen: None, spent: reward::Spent::default() }
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

/// What the records of a block become, except for their rewards.
pub struct BlockFacts {
    tables: Vec<Rows>,
    rejects: Vec<RejectRow>,
    erased: Forgotten,
    rewards: reward::UnbookedRewards,
}

/// What the records of a block become.
#[derive(Debug)]
pub struct Processed {
    /// Rows by table, in the order in which the tables are inserted.
    pub tables: Vec<Rows>,
    /// What stands of the block's looks at clicks, for the account.
    pub looks: Rows,
    /// Whose personal columns are to be blank once the tables are stored.
    pub erased: Forgotten,
}

impl BlockFacts {
    /// What was found of clicks at this moment: to be stored before the rest is made.
    pub fn take_looks(&mut self) -> Rows {
        self.rewards.take_looks()
    }

    /// All other rows, derived from what stands of the looks.
    pub async fn into_rows<S: Store>(
        self,
        range: &BlockRange,
        state: &mut ConversionState,
        store: &S,
    ) -> Result<Processed, StoreError> {
        let BlockFacts { mut tables, rejects, erased, rewards } = self;
        let (earned, looks) = rewards.into_rows(range, &tables, &mut state.spent, store).await?;
        tables.extend(earned);
        tables.push(Rows::Rejects(rejects));
        Ok(Processed { tables, looks: Rows::ClickEvidence(looks), erased })
    }
}

/// Why the records of a block can't become anything yet.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The store can't say what is needed.
    #[error("storing or looking up failed")]
    Store(#[from] StoreError),
    /// The API knew the key of a click token, this process does not: to go on would cost somebody the credit.
    #[error(
        "key {key_id} of a click token in the record at offset {offset} is not in this process's secrets file: give every process the same keys, and a key to all before it mints"
    )]
    UnknownKey {
        /// The key's id.
        key_id: u8,
        /// Of the record.
        offset: u64,
    },
}

/// Joins the records of a block and looks at the clicks behind its leads.
pub async fn look<S: Store>(
    range: &BlockRange,
    records: &[Record],
    state: &mut ConversionState,
    store: &S,
) -> Result<BlockFacts, ProcessError> {
    let before = range.horizon();
    let decoded: Vec<_> = records.iter().map(decode::conversion).collect();
    for (record, conversion) in records.iter().zip(&decoded) {
        if let Some(key_id) =
            conversion.as_ref().ok().and_then(|event| credit::unknown_key(event, &state.keys))
        {
            return Err(ProcessError::UnknownKey { key_id, offset: record.offset });
        }
    }
    let known = known(&before, &decoded, state, store).await?;
    let new = decoded.iter().flatten().filter(|conversion| !known.contains_key(&conversion.id));
    let people = People::load(&before, new, store).await?;
    let mut join = Join { people, keys: &state.keys, made: Joined::default() };

    let mut rejects: Vec<RejectRow> = Vec::new();
    let mut rewards = Incoming::default();
    let mut done = known;
    for (record, decoded) in records.iter().zip(decoded) {
        let refusal = match decoded {
            Err(refusal) => refusal,
            Ok(conversion) if done.contains_key(&conversion.id) => {
                let first = done[&conversion.id];
                again(conversion, first)
            }
            Ok(conversion) => {
                let head = conversion.head(record.offset);
                let (id, digest) = (conversion.id, conversion.digest);
                if let Kind::Reward { act, reward } = conversion.kind {
                    rewards.act(head, act, reward);
                    done.insert(id, digest);
                    continue;
                }
                match join.take(Cause::new(range, record.offset), &conversion) {
                    Ok(()) => {
                        // What is refused takes no id: in a later block nothing would be known of it.
                        done.insert(id, digest);
                        rewards.record(range, head, conversion.terms());
                        continue;
                    }
                    Err(reason) => conversion.refusal(reason),
                }
            }
        };
        rejects.push(refusal.row(range, record));
    }
    let mut joined = join.made;
    let erased = Forgotten {
        events: std::mem::take(&mut joined.erased).into_iter().collect(),
        keys: std::mem::take(&mut joined.forgotten).into_iter().collect(),
    };
    let tables = joined.into_tables();
    let rewards = rewards.look(range, &tables, &mut state.spent, store).await?;
    Ok(BlockFacts { tables, rejects, erased, rewards })
}

/// An event under an id that has one already, whose digest is given: the same once more, or another.
fn again(conversion: Conversion, first: u64) -> Refusal {
    match digest::tell_apart(first, conversion.digest) {
        false => conversion.refusal(RejectReason::Duplicate),
        true => Refusal {
            detail: "an event with this id was taken before, and says something else".into(),
            ..conversion.refusal(RejectReason::ConflictingBody)
        },
    }
}

/// The events of the block that are stored before it, with their digests.
async fn known<S: Store>(
    before: &Horizon,
    decoded: &[Result<Conversion, Refusal>],
    state: &mut ConversionState,
    store: &S,
) -> Result<HashMap<EventId, u64>, StoreError> {
    let filter = state.filter(before, store).await?;
    let mut maybe: Vec<EventName> = Vec::new();
    for conversion in decoded.iter().flatten() {
        if filter.check_and_add(conversion.id.0.as_u128()) {
            maybe.push((conversion.program.clone(), conversion.id));
        }
    }
    if maybe.is_empty() { Ok(HashMap::new()) } else { store.events_known(before, &maybe).await }
}

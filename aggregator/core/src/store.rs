//! Where facts go, and what is looked up in them: ClickHouse, or its twin in the simulation.
//!
//! Every look-up is limited to a [`Horizon`], so that a replayed block sees what its first try saw.

mod evidence;
mod reward;

pub use evidence::{ClickedFrom, EvidenceStore, FoundClick, Origin, PersonClick, SeenReferrer};
pub use reward::{DueReward, LeadTimes, RewardStore, RewardSum, RewardUsage};

use crate::position::{BlockRange, Horizon, InsertToken, Partition};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
};
use whence_schemas::{
    ids::{ClickId, EventId, Incarnation},
    rows::{
        BlockRow, ClickEvidenceRow, ClickRow, DisqualificationRow, ErasureRow, IdentifyRow, LeadRow,
        ParticipantRow, QualificationRow, ReinstatementRow, RejectRow, RewardEventRow, RewardRow,
        RewardTermsRow, Row, ShareRow, SubjectKeyRow,
        account::{self, Sums},
    },
    subject::SubjectKey,
    time::UnixMs,
};

macro_rules! rows {
    ($($kind:ident $row:ident $doc:literal,)*) => {
        /// Rows of one table.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Rows {
            $(#[doc = $doc] $kind(Vec<$row>),)*
            /// `blocks`: the account of the others.
            Blocks(Vec<BlockRow>),
        }

        impl Rows {
            /// How many.
            #[must_use]
            pub fn len(&self) -> usize {
                match self {
                    $(Rows::$kind(rows) => rows.len(),)*
                    Rows::Blocks(rows) => rows.len(),
                }
            }

            /// The table they belong to.
            #[must_use]
            pub fn table(&self) -> &'static str {
                match self {
                    $(Rows::$kind(_) => $row::TABLE,)*
                    Rows::Blocks(_) => BlockRow::TABLE,
                }
            }

            /// What they add to the account, by month: records, rows, positions; nothing for the account itself.
            fn sums(&self) -> BTreeMap<u32, Sums> {
                match self {
                    $(Rows::$kind(rows) => account::sums(rows),)*
                    Rows::Blocks(_) => BTreeMap::new(),
                }
            }
        }
    };
}

rows! {
    Clicks ClickRow "`clicks`",
    Leads LeadRow "`leads`",
    Qualifications QualificationRow "`qualifications`",
    Disqualifications DisqualificationRow "`disqualifications`",
    Reinstatements ReinstatementRow "`reinstatements`",
    Identifies IdentifyRow "`identifies`",
    Participants ParticipantRow "`participants`",
    Shares ShareRow "`shares`",
    Erasures ErasureRow "`erasures`",
    SubjectKeys SubjectKeyRow "`subject_keys`",
    ClickEvidence ClickEvidenceRow "`click_evidence`",
    RewardTerms RewardTermsRow "`reward_terms`",
    Rewards RewardRow "`rewards`",
    RewardEvents RewardEventRow "`reward_events`",
    Rejects RejectRow "`rejects`",
}

impl Rows {
    /// The account of a block's tables.
    #[must_use]
    pub fn account<'a>(range: &BlockRange, tables: impl IntoIterator<Item = &'a Rows>) -> Rows {
        let Partition { stream, number } = range.partition;
        let tables = tables.into_iter().map(|rows| (rows.table(), rows.sums()));
        let place = (stream.word(), number, range.incarnation);
        Rows::Blocks(BlockRow::of(place, (range.first, range.end), tables))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tables in which an event of the conversions stands as a fact: in one of them, with `revision` 0.
pub const EVENT_TABLES: [&str; 9] = [
    LeadRow::TABLE,
    QualificationRow::TABLE,
    DisqualificationRow::TABLE,
    ReinstatementRow::TABLE,
    IdentifyRow::TABLE,
    ParticipantRow::TABLE,
    ShareRow::TABLE,
    ErasureRow::TABLE,
    RewardEventRow::TABLE,
];

/// Whom a block's erasures forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The events that are about them.
    pub events: Vec<EventName>,
    /// The keys that they went by, each with its program.
    pub keys: Vec<(String, SubjectKey)>,
}

impl Forgotten {
    /// Whether it is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.keys.is_empty()
    }
}

/// An erasure whose keys still lead to the person's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Its program.
    pub program: String,
    /// Its event id.
    pub erasure: EventId,
    /// When the events API took it.
    pub received_at: UnixMs,
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has waited for it as long as it may, in vain; an insert may have been stored all the same.
    #[error("the store did not become available in time")]
    Waited(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may work later; an insert may have been stored all the same.
    #[error("the store failed")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The same again fails again: tables and rows do not fit, for example.
    #[error("the store refused")]
    Fatal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The event of a program.
pub type EventName = (String, EventId);

/// Facts.
pub trait Store: RewardStore + EvidenceStore {
    /// Returns once every look-up that is begun afterwards sees all that was stored before this was called, by
    /// whomever.
    ///
    /// Otherwise look-ups see at least what was stored by way of this store, and by other ways a little later.
    fn catch_up(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stores these rows once, however often they come under this token. Rows that were stored in
    /// part, or without their rollups, are completed.
    ///
    /// Where a try under this token has failed, or nobody knows what became of it, its success alone says nothing: what
    /// it has left may be given up a moment later, with this try's consent. Only the success after that is one.
    fn insert(&self, token: &InsertToken, rows: &Rows)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// One past the last record of this partition and incarnation that a row of facts or rejects stands for;
    /// 0 where none does. Costs a scan: only asked where a commit is missing.
    fn stored_end(
        &self,
        incarnation: Incarnation,
        partition: Partition,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Where the account of a partition's blocks ends, of each incarnation that it has.
    fn account_ends(
        &self,
        partition: Partition,
    ) -> impl Future<Output = Result<Vec<(Incarnation, u64)>, StoreError>> + Send;

    /// Which of these clicks (program and id) are stored before the horizon.
    fn clicks_known(
        &self,
        before: &Horizon,
        clicks: &[(String, ClickId)],
    ) -> impl Future<Output = Result<HashSet<ClickId>, StoreError>> + Send;

    /// Ids of all clicks of `from..to` stored before the horizon, in any order.
    fn click_ids(
        &self,
        before: &Horizon,
        from: UnixMs,
        to: UnixMs,
    ) -> impl Future<Output = Result<Vec<ClickId>, StoreError>> + Send;

    /// Which of these conversions are stored before the horizon.
    fn events_known(
        &self,
        before: &Horizon,
        events: &[EventName],
    ) -> impl Future<Output = Result<HashMap<EventId, u64>, StoreError>> + Send;

    /// Ids of all conversions of the partition stored before the horizon, in any order.
    fn event_ids(&self, before: &Horizon) -> impl Future<Output = Result<Vec<EventId>, StoreError>> + Send;

    /// The rows of `subject_keys` with one of these keys stored before the horizon, in any order.
    fn subjects(
        &self,
        before: &Horizon,
        keys: &[(String, SubjectKey)],
    ) -> impl Future<Output = Result<Vec<SubjectKeyRow>, StoreError>> + Send;

    /// The newest row of each of these leads before the horizon: the one of the highest revision that counts,
    /// or that took it back. So of the other two.
    fn leads(
        &self,
        before: &Horizon,
        leads: &[EventName],
    ) -> impl Future<Output = Result<Vec<LeadRow>, StoreError>> + Send;

    /// The newest row of each of these qualifications before the horizon.
    fn qualifications(
        &self,
        before: &Horizon,
        qualifications: &[EventName],
    ) -> impl Future<Output = Result<Vec<QualificationRow>, StoreError>> + Send;

    /// The newest row of each of these disqualifications before the horizon.
    fn disqualifications(
        &self,
        before: &Horizon,
        disqualifications: &[EventName],
    ) -> impl Future<Output = Result<Vec<DisqualificationRow>, StoreError>> + Send;

    /// The newest row of each of these reinstatements before the horizon.
    fn reinstatements(
        &self,
        before: &Horizon,
        reinstatements: &[EventName],
    ) -> impl Future<Output = Result<Vec<ReinstatementRow>, StoreError>> + Send;

    /// Has the personal columns (`lead`, `keys`) of all rows of these events blanked, and of what takes back or gives again and
    /// names one of these keys, though it is found by its payment alone: certain to be done when it
    /// returns, and done a little later, where a copy is away once it is back. Nothing is ever decided by them and no
    /// rollup has them, so that it may be done twice, or again after a crash.
    fn erase(&self, forgotten: &Forgotten) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Erasures of the horizon's partition, and before it, whose keys still lead to events; some, the oldest ones first.
    fn linked(&self, before: &Horizon) -> impl Future<Output = Result<Vec<Linked>, StoreError>> + Send;

    /// Whether all that erasures have asked for is done on every replica.
    fn is_settled(&self) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Stores what links the person's events once more, under other names for the keys that the erasure suppressed
    /// ([`crate::conversion::unlink`]). `false`: something personal stands still; it is asked for again. May be done twice, or again
    /// after a crash.
    fn rename_links(&self, linked: &Linked) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes what links them under those keys. To be called when nobody is at look-ups any more that were begun before the
    /// other names were there.
    fn drop_links(&self, linked: &Linked) -> impl Future<Output = Result<(), StoreError>> + Send;
}

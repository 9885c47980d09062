//! Who would have been credited and paid under other rules: the stored events of a program, the aggregator's own
//! decision over them ([`whence_aggregator::conversion::replay`]), and the difference per referrer.

mod rewards;

use std::collections::BTreeMap;

use clickhouse::{Client, Row as ClientRow};
use serde::Deserialize;
use uuid::Uuid;
use whence_aggregator::conversion::replay::{Outcome, Past};
use whence_schemas::{
    ids::EventId,
    rows::{LeadRow, QualificationRow, Row, select_list},
    subject::SubjectKey,
    time::UnixMs,
};

use crate::ask::AskError;

pub use rewards::{Ledger, ledger, pay};

/// Events of each kind, at most: they are held in memory.
pub const EVENTS_MAX: usize = 500_000;

/// Why there is nothing to compute.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// ClickHouse does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The program has too many events.
    #[error("the program has more than {EVENTS_MAX} events of a kind: more than is held in memory")]
    TooMany,
    /// The tables are another version's.
    #[error("the rows of {0} are not as this version of whence stores them")]
    Rows(&'static str),
}

/// Loads what stands of a program's live events, also what does not count for a condition, whenever they happened: credit depends on all of a person's
/// history.
///
/// # Errors
/// See [`ReplayError`].
pub async fn past(client: &Client, program: &str) -> Result<Past, ReplayError> {
    Ok(Past {
        leads: standing::<LeadRow>(client, program).await?,
        qualifications: standing::<QualificationRow>(client, program).await?,
        names: names(client, program).await?,
    })
}

/// The row that stands of each event, which does not count where its `sign` is 0.
async fn standing<R: Row>(client: &Client, program: &str) -> Result<Vec<R>, ReplayError> {
    let sql = format!(
        "SELECT {} FROM (SELECT * FROM {} WHERE program = {{program:String}} AND live \
         ORDER BY id, revision DESC, sign DESC LIMIT 1 BY id) WHERE sign >= 0 LIMIT {}",
        select_list::<R>(),
        R::TABLE,
        EVENTS_MAX + 1
    );
    let query = client.query(&sql).param("program", program);
    let bytes =
        query.fetch_bytes("RowBinary").map_err(AskError::from)?.collect().await.map_err(AskError::from)?;
    let mut bytes: &[u8] = &bytes;
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        rows.push(R::decode(&mut bytes).ok_or(ReplayError::Rows(R::TABLE))?);
    }
    bounded(rows)
}

#[derive(ClientRow, Deserialize)]
struct NamedRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    names: Vec<[u8; 16]>,
}

/// The keys of each event that names a person.
async fn names(client: &Client, program: &str) -> Result<Vec<(EventId, Vec<SubjectKey>)>, ReplayError> {
    let sql = format!(
        "SELECT event_id, groupUniqArray(key) AS names FROM subject_keys WHERE program = {{program:String}} AND live \
         AND kind NOT IN ('erased', 'participant') GROUP BY event_id LIMIT {}",
        4 * EVENTS_MAX
    );
    let rows = client.query(&sql).param("program", program).fetch_all::<NamedRow>().await;
    let rows = rows.map_err(AskError::from)?;
    if rows.len() >= 4 * EVENTS_MAX {
        return Err(ReplayError::TooMany);
    }
    let keys = |names: Vec<[u8; 16]>| names.into_iter().map(SubjectKey).collect();
    Ok(rows.into_iter().map(|row| (EventId(row.event_id), keys(row.names))).collect())
}

fn bounded<T>(rows: Vec<T>) -> Result<Vec<T>, ReplayError> {
    if rows.len() > EVENTS_MAX { Err(ReplayError::TooMany) } else { Ok(rows) }
}

/// What changes for a referrer. Undecided events are in none of the other counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Leads credited now.
    pub leads: u64,
    /// Leads that would be.
    pub leads_then: u64,
    /// Qualifications credited now.
    pub qualifications: u64,
    /// Qualifications that would be.
    pub qualifications_then: u64,
    /// Leads and qualifications credited now of which nothing can be said.
    pub undecided: u64,
    /// By party (`referrer` or `referred`) and currency: minor units that stand now (accrued, held, approved or issued),
    /// and that would.
    pub rewards: BTreeMap<(String, String), [i64; 2]>,
    /// Rewards that stand now of which nothing can be said: they count as they are.
    pub rewards_undecided: u64,
}

/// The changes by referrer (empty: nobody) of what happened from `from` on and before `until`.
#[must_use]
pub fn changes(
    outcomes: &[Outcome],
    from: Option<UnixMs>,
    until: Option<UnixMs>,
) -> BTreeMap<String, Change> {
    let is_of_span = |outcome: &&Outcome| {
        from.is_none_or(|from| outcome.occurred_at >= from)
            && until.is_none_or(|until| outcome.occurred_at < until)
    };
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for outcome in outcomes.iter().filter(is_of_span) {
        let before = changes.entry(outcome.before.clone()).or_default();
        let Ok(after) = &outcome.after else {
            before.undecided += 1;
            continue;
        };
        let counts = |change: &mut Change, is_lead: bool, n: [u64; 2]| {
            if is_lead {
                change.leads += n[0];
                change.leads_then += n[1];
            } else {
                change.qualifications += n[0];
                change.qualifications_then += n[1];
            }
        };
        counts(before, outcome.is_lead, [1, 0]);
        counts(changes.entry(after.clone()).or_default(), outcome.is_lead, [0, 1]);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_aggregator::conversion::replay::Undecided;

    #[test]
    fn changes_move_counts_and_leave_out_what_nothing_can_be_said_of() {
        let outcome = |at: i64, is_lead, before: &str, after: Result<&str, Undecided>| Outcome {
            id: EventId(Uuid::nil()),
            is_lead,
            occurred_at: UnixMs(at),
            before: before.into(),
            after: after.map(str::to_owned),
            lead: None,
        };
        let outcomes = [
            outcome(1, true, "ann", Ok("bob")),
            outcome(2, true, "ann", Ok("ann")),
            outcome(3, false, "ann", Ok("")),
            outcome(4, true, "bob", Err(Undecided::NoTouches)),
            outcome(9, true, "bob", Ok("ann")),
        ];
        let found = changes(&outcomes, Some(UnixMs(1)), Some(UnixMs(9)));
        let change = |leads, leads_then, qualifications, qualifications_then, undecided| Change {
            leads,
            leads_then,
            qualifications,
            qualifications_then,
            undecided,
            ..Change::default()
        };
        let expected =
            [("", change(0, 0, 0, 1, 0)), ("ann", change(2, 1, 1, 0, 0)), ("bob", change(0, 1, 0, 0, 1))];
        assert_eq!(found, expected.map(|(name, change)| (name.to_owned(), change)).into());
        assert_eq!(changes(&outcomes, Some(UnixMs(10)), None), BTreeMap::new());
    }
}

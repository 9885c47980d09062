//! Whether what is stored adds up: the tables with the account of the blocks (`blocks`), the account with itself and
//! with what was committed. Only reads.
//!
//! [`quick`] compares sums of the account with the numbers of rows in `system.parts`, and reads rows only of a table and
//! month that has more than it should, to leave out a block under way. [`deep`] reads the
//! positions of all rows of some months, and names records that stand in no row or in several.

mod deep;

use crate::position::Partition;
use clickhouse::{Client, Row, error::Error};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, time::Duration};
use whence_schemas::rows::{
    ClickEvidenceRow, ClickRow, DisqualificationRow, ErasureRow, IdentifyRow, LeadRow, ParticipantRow,
    QualificationRow, ReinstatementRow, RejectRow, RewardEventRow, RewardRow, RewardTermsRow, Row as _,
    ShareRow, SubjectKeyRow,
};
use whence_schemas::topics::Stream;

pub use deep::deep;

/// The tables that the account counts, with the column by whose month each is partitioned, the stream of its rows, and
/// which rows stand for a record itself.
const TABLES: [Accounted; 15] = [
    Accounted {
        table: ClickRow::TABLE,
        at: "ts",
        stream: "'clicks'",
        is_record: Some("1"),
        may_have_more: false,
    },
    Accounted {
        table: RejectRow::TABLE,
        at: RECEIVED,
        stream: "stream",
        is_record: Some("1"),
        may_have_more: false,
    },
    Accounted::event(LeadRow::TABLE),
    Accounted::event(QualificationRow::TABLE),
    Accounted::event(DisqualificationRow::TABLE),
    Accounted::event(ReinstatementRow::TABLE),
    Accounted::event(IdentifyRow::TABLE),
    Accounted::event(ParticipantRow::TABLE),
    Accounted::event(ShareRow::TABLE),
    Accounted::event(ErasureRow::TABLE),
    Accounted::event(RewardEventRow::TABLE),
    Accounted { may_have_more: true, ..Accounted::consequence(SubjectKeyRow::TABLE) },
    Accounted { may_have_more: true, ..Accounted::consequence(ClickEvidenceRow::TABLE) },
    Accounted::consequence(RewardTermsRow::TABLE),
    Accounted::consequence(RewardRow::TABLE),
];
/// The stream of the account's rows that say what is past retention (`sql/views/past_retention.sql`).
pub const RETENTION: &str = "retention";
const RECEIVED: &str = "received_at";
const CONVERSIONS: &str = "'conversions'";

struct Accounted {
    table: &'static str,
    at: &'static str,
    stream: &'static str,
    /// `None`: no row does.
    is_record: Option<&'static str>,
    /// Of two processes that store a block, one of which has lost it without knowing, each may find other clicks:
    /// what the later one stores in a month that the first one had no rows of is in no account. Of the keys of a person
    /// who was forgotten, rows under other names stand before those under the keys go.
    may_have_more: bool,
}

impl Accounted {
    const fn event(table: &'static str) -> Accounted {
        Accounted {
            table,
            at: RECEIVED,
            stream: CONVERSIONS,
            is_record: Some("revision = 0"),
            may_have_more: false,
        }
    }

    const fn consequence(table: &'static str) -> Accounted {
        Accounted { table, at: RECEIVED, stream: CONVERSIONS, is_record: None, may_have_more: false }
    }
}

/// A block that is being stored while the account is looked at stands in some tables and not in the account yet: what
/// differs is looked at again, so often.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);

/// Up to where a partition's owner has committed what it stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// `clicks` or `conversions`.
    pub stream: String,
    /// Its number.
    pub partition: u32,
    /// Incarnation of the records, as text.
    pub incarnation: String,
    /// Offset of the first record that is not committed.
    pub next: u64,
}

/// What edges have shipped and where partitions end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InKafka {
    /// One past the last record of each partition.
    pub ends: BTreeMap<Partition, u64>,
    /// Clicks that Kafka has acknowledged to edges, each once.
    pub clicks_shipped: u64,
    /// Events that Kafka has acknowledged to edges, each once.
    pub events_shipped: u64,
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Blocks of a partition do not begin with its first record.
    Head {
        /// The partition, in words.
        place: String,
        /// Offset at which they begin.
        first: u64,
    },
    /// Blocks do not follow each other: one is missing, doubled or overlaps another.
    Chain {
        /// The partition.
        place: String,
        /// Offset of the first record.
        first: u64,
        /// One past the last.
        end: u64,
        /// Records of all blocks.
        records: i64,
    },
    /// Not each record of the blocks stands in one row.
    Records {
        /// The partition.
        place: String,
        /// Records of all blocks.
        said: i64,
        /// Rows that stand for one.
        rows: i64,
    },
    /// The account ends before what was committed.
    Tail {
        /// The partition.
        place: String,
        /// Where the account ends; 0: there is none.
        end: u64,
        /// What was committed.
        committed: u64,
    },
    /// Edges have shipped more than there is.
    Shipped {
        /// The stream.
        stream: String,
        /// What Kafka has acknowledged to them.
        shipped: u64,
        /// Records that Kafka has or had when they were stored.
        there: u64,
    },
    /// A table has more or fewer rows of a month than were stored.
    Rows {
        /// The table.
        table: String,
        /// Year and month: 202611.
        month: u32,
        /// What was stored.
        said: i64,
        /// What there is.
        stands: i64,
    },
    /// A table has as many rows of a month as were stored, and not the same.
    Exchanged {
        /// The table.
        table: String,
        /// Year and month.
        month: u32,
        /// The partition.
        place: String,
    },
    /// Records of which some are past retention: those that stand in rows and those that were dropped do not make all.
    Past {
        /// The partition.
        place: String,
        /// The records before this offset.
        end: u64,
        /// How many of them should stand in rows.
        said: i64,
        /// How many rows stand for one.
        rows: i64,
    },
    /// A record stands in no row, or in several.
    Record {
        /// The partition.
        place: String,
        /// Its offset.
        offset: u64,
        /// Rows that stand for it.
        rows: u64,
        /// Their tables.
        tables: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Head { place, first } => {
                write!(
                    f,
                    "{place}: the account begins at offset {first}, not at 0: earlier blocks are missing, or their records were gone before they were read"
                )
            }
            Difference::Chain { place, first, end, records } => write!(
                f,
                "{place}: blocks from offset {first} to {end} have {records} records, or do not follow each other: a block is missing, doubled or overlaps another"
            ),
            Difference::Records { place, said, rows } => {
                write!(f, "{place}: {said} records were stored as {rows} rows of facts and rejects")
            }
            Difference::Tail { place, end, committed } => {
                write!(
                    f,
                    "{place}: {committed} records are committed, the account ends at {end}: the last blocks are missing"
                )
            }
            Difference::Shipped { stream, shipped, there } => {
                write!(
                    f,
                    "{stream}: Kafka has acknowledged {shipped} records to edges, and has or had {there}: a topic was deleted and created again before all was stored, or brokers have lost what they had acknowledged"
                )
            }
            Difference::Rows { table, month, said, stands } => {
                write!(f, "{table} {month}: {said} rows were stored, {stands} are there")
            }
            Difference::Exchanged { table, month, place } => {
                write!(f, "{table} {month}, {place}: as many rows as were stored, but not the same ones")
            }
            Difference::Past { place, end, said, rows } => {
                write!(
                    f,
                    "{place}: of the records before offset {end} all but those past retention, {said}, should stand in one row each; {rows} rows stand for others or for some of them"
                )
            }
            Difference::Record { place, offset, rows: 0, .. } => {
                write!(f, "{place}: the record at offset {offset} stands in no row")
            }
            Difference::Record { place, offset, rows, tables } => {
                write!(f, "{place}: the record at offset {offset} stands in {rows} rows ({tables})")
            }
        }
    }
}

#[derive(Row, Deserialize)]
struct ChainRow {
    place: String,
    stream: String,
    partition: u32,
    incarnation: String,
    first: u64,
    end: u64,
    is_chain: bool,
    said: i64,
    rows: i64,
}

/// How a partition is called in words.
const PLACE: &str = "concat(stream, ' ', toString(partition), ' of ', toString(incarnation))";

/// Compares the account with itself, with the tables' parts and with what was committed.
///
/// # Errors
/// ClickHouse's.
pub async fn quick(client: &Client, committed: &[Committed]) -> Result<Vec<Difference>, Error> {
    let mut found = look(client, committed).await?;
    for _ in 1..TRIES {
        if found.is_empty() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        let again = look(client, committed).await?;
        // The same place may differ by another number each time.
        found = again.into_iter().filter(|now| found.iter().any(|before| key(before) == key(now))).collect();
    }
    Ok(found)
}

fn key(difference: &Difference) -> (u8, &str, u32) {
    match difference {
        Difference::Head { place, .. } => (0, place, 0),
        Difference::Chain { place, .. } => (1, place, 0),
        Difference::Records { place, .. } => (2, place, 0),
        Difference::Tail { place, .. } => (3, place, 0),
        Difference::Rows { table, month, .. } => (4, table, *month),
        Difference::Exchanged { table, month, .. } => (5, table, *month),
        Difference::Past { place, .. } => (6, place, 0),
        Difference::Record { place, .. } => (7, place, 0),
        Difference::Shipped { stream, .. } => (8, stream, 0),
    }
}

/// Compares what edges have shipped with what Kafka has, or had when it was stored. A record that was sent twice is there
/// twice, so that as many may be missing without being seen.
///
/// # Errors
/// ClickHouse's.
pub async fn shipped(
    client: &Client,
    committed: &[Committed],
    kafka: &InKafka,
) -> Result<Vec<Difference>, Error> {
    let chains = chains(client).await?;
    let mut found = Vec::new();
    for (stream, shipped) in
        [(Stream::Clicks, kafka.clicks_shipped), (Stream::Conversions, kafka.events_shipped)]
    {
        let word = stream.word();
        let ends = kafka.ends.iter().filter(|(partition, _)| partition.stream == stream).map(|(_, end)| end);
        // Of topics that were there before these.
        let former = chains.iter().filter(|chain| {
            let is_now = |commit: &&Committed| {
                (&commit.stream, commit.partition, &commit.incarnation)
                    == (&chain.stream, chain.partition, &chain.incarnation)
            };
            chain.stream == word && committed.iter().find(is_now).is_none()
        });
        let there = ends.sum::<u64>() + former.map(|chain| chain.end).sum::<u64>();
        if there < shipped {
            found.push(Difference::Shipped { stream: word.to_owned(), shipped, there });
        }
    }
    Ok(found)
}

async fn look(client: &Client, committed: &[Committed]) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    let chains = chains(client).await?;
    for chain in &chains {
        let ChainRow { place, first, end, said, rows, .. } = chain;
        if *first != 0 {
            found.push(Difference::Head { place: place.clone(), first: *first });
        }
        if !chain.is_chain {
            found.push(Difference::Chain { place: place.clone(), first: *first, end: *end, records: *said });
        }
        if said != rows {
            found.push(Difference::Records { place: place.clone(), said: *said, rows: *rows });
        }
    }
    for commit in committed {
        let is_of = |chain: &&ChainRow| {
            (&chain.stream, chain.partition, &chain.incarnation)
                == (&commit.stream, commit.partition, &commit.incarnation)
        };
        let end = chains.iter().find(is_of).map_or(0, |chain| chain.end);
        if end < commit.next {
            let place = format!("{} {} of {}", commit.stream, commit.partition, commit.incarnation);
            found.push(Difference::Tail { place, end, committed: commit.next });
        }
    }
    for row in parts(client).await? {
        let RowsRow { table, month, said, stands } = row;
        // What is under way stands beyond the account's ends.
        let stands = if stands > said { within(client, &table, month).await? } else { stands };
        let accounted = TABLES.iter().find(|accounted| accounted.table == table);
        let may_have_more = accounted.is_some_and(|accounted| accounted.may_have_more);
        if stands < said || (stands > said && !may_have_more) {
            found.push(Difference::Rows { table, month, said, stands });
        }
    }
    Ok(found)
}

async fn chains(client: &Client) -> Result<Vec<ChainRow>, Error> {
    let sql = format!(
        "SELECT {PLACE} AS place, toString(stream) AS stream, partition, toString(incarnation) AS incarnation, \
         min(blocks.first) AS first, max(blocks.end) AS end, \
         sumIf(positions, table = '') = toUInt64(sipHash64(end) - sipHash64(first)) AND said = toInt64(end - first) AS is_chain, \
         sumIf(records, table = '') AS said, sumIf(records, table != '') AS rows \
         FROM blocks WHERE blocks.stream != '{RETENTION}' GROUP BY blocks.stream, blocks.partition, blocks.incarnation ORDER BY place"
    );
    client.query(&sql).fetch_all().await
}

#[derive(Row, Deserialize)]
struct RowsRow {
    table: String,
    month: u32,
    said: i64,
    stands: i64,
}

/// Tables and months of which the parts have another number of rows than the account: more, where the month is past
/// retention, for of those any number may be gone.
async fn parts(client: &Client) -> Result<Vec<RowsRow>, Error> {
    let names: Vec<String> = TABLES.iter().map(|accounted| format!("'{}'", accounted.table)).collect();
    let sql = format!(
        "SELECT table, month, sum(said_rows) AS said, sum(part_rows) AS stands FROM ( \
         SELECT toString(table) AS table, month, rows AS said_rows, toInt64(0) AS part_rows, \
         stream = '{RETENTION}' AS is_past FROM blocks WHERE table != '' UNION ALL \
         SELECT table, toUInt32(partition) AS month, toInt64(0), toInt64(rows), toUInt8(0) FROM system.parts \
         WHERE database = currentDatabase() AND active AND table IN ({})) \
         GROUP BY table, month HAVING stands > said OR (stands < said AND max(is_past) = 0) ORDER BY table, month",
        names.join(", ")
    );
    client.query(&sql).fetch_all().await
}

/// Rows of a table's month whose blocks are in the account.
async fn within(client: &Client, table: &str, month: u32) -> Result<i64, Error> {
    let Some(accounted) = TABLES.iter().find(|accounted| accounted.table == table) else { return Ok(0) };
    let Accounted { at, stream, .. } = accounted;
    let sql = format!(
        "SELECT toInt64(count()) FROM {table} INNER JOIN ( \
         SELECT toString(stream) AS of_stream, partition, incarnation, max(end) AS account_end FROM blocks \
         WHERE blocks.stream != '{RETENTION}' GROUP BY stream, partition, incarnation) AS ends \
         ON {table}.partition = ends.partition AND {table}.incarnation = ends.incarnation \
         WHERE of_stream = {stream} AND offset < account_end AND toYYYYMM({at}) = {month}"
    );
    client.query(&sql).fetch_one().await
}

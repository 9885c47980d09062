//! The positions of all rows against the account, and each record against the rows that stand for it.
//!
//! Sums are made by ClickHouse, in groups of which there are few; single records are looked at only in slices that do
//! not add up. Where some months are past retention, what their records were is known only as sums: up to the last of
//! them, all records that still stand and those sums have to make the whole.

use super::{Accounted, Difference, PLACE, RETENTION, TABLES, quick};
use clickhouse::{Client, Row, error::Error};
use serde::Deserialize;

/// Records of a slice.
const SLICE: u64 = 1_000_000;
/// Records that are named, at most.
const NAMED_MAX: usize = 100;

/// What [`quick`] finds, and: rows of the months `from..=to` (202611) that are others than those that were stored, and
/// records that stand in no row or in several.
///
/// # Errors
/// ClickHouse's.
pub async fn deep(client: &Client, months: (u32, u32)) -> Result<Vec<Difference>, Error> {
    let mut found = quick(client, &[]).await?;
    for accounted in &TABLES {
        found.extend(exchanged(client, accounted, months).await?);
    }
    let past = past(client).await?;
    for past in &past {
        found.extend(whole(client, past).await?);
    }
    for slice in slices(client, &past).await? {
        if found.iter().filter(|difference| matches!(difference, Difference::Record { .. })).count()
            >= NAMED_MAX
        {
            break;
        }
        found.extend(records(client, &slice).await?);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[derive(Row, Deserialize)]
struct ExchangedRow {
    place: String,
    month: u32,
    said: i64,
    stands: i64,
}

/// Partitions and months of a table whose rows have other positions than were stored.
async fn exchanged(
    client: &Client,
    accounted: &Accounted,
    (from, to): (u32, u32),
) -> Result<Vec<Difference>, Error> {
    let Accounted { table, at, stream, .. } = accounted;
    let past = not_past(table);
    // Rows beyond the account's end are of a block that is under way.
    let sql = format!(
        "SELECT {PLACE} AS place, month, sum(said_rows) AS said, sum(row_count) AS stands FROM ( \
         SELECT toString(stream) AS stream, partition, incarnation, month, rows AS said_rows, positions AS said_positions, \
         toInt64(0) AS row_count, toUInt64(0) AS row_positions FROM blocks \
         WHERE table = '{table}' AND stream != '{RETENTION}' AND month BETWEEN {from} AND {to} AND month {past} \
         UNION ALL \
         SELECT toString({stream}) AS stream, partition, incarnation, toYYYYMM({at}) AS month, toInt64(0), toUInt64(0), \
         toInt64(count()), sum(sipHash64(offset)) FROM {table} \
         LEFT JOIN (SELECT toString(stream) AS of_stream, partition AS of_partition, incarnation AS of_incarnation, \
         max(end) AS account_end FROM blocks WHERE blocks.stream != '{RETENTION}' \
         GROUP BY blocks.stream, blocks.partition, blocks.incarnation) AS ends \
         ON toString({stream}) = of_stream AND partition = of_partition AND incarnation = of_incarnation \
         WHERE offset < account_end AND toYYYYMM({at}) BETWEEN {from} AND {to} AND toYYYYMM({at}) {past} \
         GROUP BY stream, partition, incarnation, month) \
         GROUP BY stream, partition, incarnation, month \
         HAVING said != stands OR sum(said_positions) != sum(row_positions) ORDER BY place, month"
    );
    let rows: Vec<ExchangedRow> = client.query(&sql).fetch_all().await?;
    let rows = rows.into_iter().filter(|row| !accounted.may_have_more || row.stands < row.said);
    let differences = rows.map(|row| {
        let ExchangedRow { place, month, said, stands } = row;
        let table = (*table).to_owned();
        match said == stands {
            true => Difference::Exchanged { table, month, place },
            false => Difference::Rows { table: format!("{table}, {place}"), month, said, stands },
        }
    });
    Ok(differences.collect())
}

#[derive(Row, Deserialize)]
struct Slice {
    stream: String,
    partition: u32,
    incarnation: String,
    first: u64,
    end: u64,
}

/// Of a month of this table, that it is not past retention.
fn not_past(table: &str) -> String {
    format!("NOT IN (SELECT month FROM blocks WHERE stream = '{RETENTION}' AND table = '{table}')")
}

/// Each row that stands for a record and is not past retention: its stream, place and table.
fn record_rows(filter: &str) -> String {
    let selects: Vec<String> = TABLES
        .iter()
        .filter_map(|Accounted { table, at, stream, is_record, .. }| {
            let is_record = (*is_record)?;
            let past = not_past(table);
            Some(format!(
                "SELECT toString({stream}) AS stream, partition, incarnation, offset, '{table}' AS table FROM {table} \
                 WHERE {is_record} AND toYYYYMM({at}) {past} AND {filter}"
            ))
        })
        .collect();
    selects.join(" UNION ALL ")
}

/// A partition of which some records are past retention.
#[derive(Row, Deserialize)]
struct Past {
    stream: String,
    partition: u32,
    incarnation: String,
    /// One past the last of them, rounded up to a slice's end.
    end: u64,
    records: i64,
    positions: u64,
}

/// What the account knows of records that are past retention.
async fn past(client: &Client) -> Result<Vec<Past>, Error> {
    let of_records: Vec<_> =
        TABLES.iter().filter(|accounted| accounted.is_record.is_some()).map(|found| found.table).collect();
    let sql = format!(
        "SELECT toString(stream) AS stream, partition, toString(incarnation) AS incarnation, \
         toUInt64(least(intDiv(maxIf(b.end, is_past) + {SLICE} - 1, {SLICE}) * {SLICE}, max(b.end))) AS end, \
         sumIf(b.records, is_past) AS records, sumIf(b.positions, is_past) AS positions \
         FROM (SELECT *, (toString(table), month) IN (SELECT toString(table), month FROM blocks \
         WHERE stream = '{RETENTION}') AND table IN ('{}') AS is_past FROM blocks WHERE stream != '{RETENTION}') AS b \
         GROUP BY b.stream, b.partition, b.incarnation HAVING records != 0",
        of_records.join("', '")
    );
    client.query(&sql).fetch_all().await
}

#[derive(Row, Deserialize)]
struct WholeRow {
    rows: i64,
    is_whole: bool,
}

/// Whether rows that stand and records past retention are all records before an offset, each once.
async fn whole(client: &Client, past: &Past) -> Result<Option<Difference>, Error> {
    let Past { stream, partition, incarnation, end, records, positions } = past;
    let rows = record_rows(&format!(
        "partition = {partition} AND incarnation = toUUID('{incarnation}') AND offset < {end}"
    ));
    let sql = format!(
        "SELECT toInt64(count()) AS rows, rows + {records} = toInt64({end}) AND sum(sipHash64(offset)) + toUInt64({positions}) \
         = ifNull((SELECT sum(sipHash64(number)) FROM numbers({end})), toUInt64(0)) AS is_whole FROM ({rows}) WHERE stream = '{stream}'"
    );
    let WholeRow { rows, is_whole } = client.query(&sql).fetch_one().await?;
    let said = i64::try_from(*end).unwrap_or(i64::MAX) - records;
    let place = format!("{stream} {partition} of {incarnation}");
    Ok((!is_whole).then_some(Difference::Past { place, end: *end, said, rows }))
}

/// Runs of records of which not each stands in one row, behind what is past retention.
async fn slices(client: &Client, past: &[Past]) -> Result<Vec<Slice>, Error> {
    let rows = record_rows("1");
    let past = past.iter().map(|past| {
        let Past { stream, partition, incarnation, end, .. } = past;
        format!("('{stream}', {partition}, toUUID('{incarnation}'), {end})")
    });
    let past: Vec<_> = past.collect();
    let is_told = match past.is_empty() {
        true => "0".to_owned(),
        false => format!(
            "arrayExists(p -> p.1 = wanted.stream AND p.2 = wanted.partition AND p.3 = wanted.incarnation \
             AND p.4 > wanted.begin, [{}])",
            past.join(", ")
        ),
    };
    // What is missing altogether has no rows: hence from the account's ends. Each offset once means that there are as
    // many as there should be, with the sums of the numbers and of their squares that a run has.
    let squares = |end: &str| {
        format!("intDiv((toUInt256({end}) - 1) * {end} * (2 * toUInt256({end}) - 1), toUInt256(6))")
    };
    let sql = format!(
        "WITH ends AS (SELECT toString(stream) AS stream, partition, incarnation, max(blocks.end) AS account_end \
         FROM blocks WHERE blocks.stream != '{RETENTION}' GROUP BY blocks.stream, blocks.partition, blocks.incarnation), \
         wanted AS (SELECT stream, partition, incarnation, arrayJoin(range(0, account_end, {SLICE})) AS begin, \
         least(begin + {SLICE}, account_end) AS stop FROM ends), \
         sums AS (SELECT stream, partition, incarnation, intDiv(offset, {SLICE}) * {SLICE} AS begin, count() AS rows, \
         sum(toUInt256(offset)) AS numbers, sum(toUInt256(offset) * offset) AS squares FROM ({rows}) AS found \
         INNER JOIN (SELECT stream AS of_stream, partition AS of_partition, incarnation AS of_incarnation, account_end \
         FROM ends) AS known ON stream = of_stream AND partition = of_partition AND incarnation = of_incarnation \
         WHERE offset < account_end GROUP BY stream, partition, incarnation, begin) \
         SELECT wanted.stream AS stream, wanted.partition AS partition, toString(wanted.incarnation) AS incarnation, \
         wanted.begin AS first, stop AS end \
         FROM wanted LEFT JOIN sums ON wanted.stream = sums.stream AND wanted.partition = sums.partition \
         AND wanted.incarnation = sums.incarnation AND wanted.begin = sums.begin \
         WHERE NOT {is_told} AND (rows != stop - first OR numbers != intDiv(toUInt256(stop - first) * (first + stop - 1), toUInt256(2)) \
         OR squares != {} - if(first = 0, toUInt256(0), {})) ORDER BY stream, partition, incarnation, first",
        squares("stop"),
        squares("first")
    );
    client.query(&sql).fetch_all().await
}

#[derive(Row, Deserialize)]
struct RecordRow {
    offset: u64,
    rows: u64,
    tables: String,
}

/// Records of a slice that stand in no row or in several.
async fn records(client: &Client, slice: &Slice) -> Result<Vec<Difference>, Error> {
    let Slice { stream, partition, incarnation, first, end } = slice;
    let rows = record_rows(&format!(
        "partition = {partition} AND incarnation = toUUID('{incarnation}') AND offset >= {first} AND offset < {end}"
    ));
    let sql = format!(
        "SELECT offset, sum(is_row) AS rows, arrayStringConcat(arraySort(groupUniqArrayIf(table, is_row = 1)), ', ') AS tables \
         FROM (SELECT offset, toString(table) AS table, toUInt64(1) AS is_row FROM ({rows}) WHERE stream = '{stream}' \
         UNION ALL SELECT {first} + number, '', toUInt64(0) FROM numbers({end} - {first})) \
         GROUP BY offset HAVING rows != 1 ORDER BY offset LIMIT {NAMED_MAX}"
    );
    let found: Vec<RecordRow> = client.query(&sql).fetch_all().await?;
    let place = format!("{stream} {partition} of {incarnation}");
    let named = found.into_iter().map(|row| {
        let RecordRow { offset, rows, tables } = row;
        Difference::Record { place: place.clone(), offset, rows, tables }
    });
    Ok(named.collect())
}

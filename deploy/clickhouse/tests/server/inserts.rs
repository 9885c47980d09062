//! Inserts: a body counts whole or not at all, and a retry counts once.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use crate::support::{Engine, basic, connect, eventually, read_answer};

const TABLE: &str = "CREATE TABLE t (id UInt64, note String) ENGINE = MergeTree ORDER BY id \
                     SETTINGS non_replicated_deduplication_window = 100";
const INSERT: &str = "/?query=INSERT%20INTO%20t%20FORMAT%20RowBinary";
const TOKEN: &str = "/?query=INSERT%20INTO%20t%20FORMAT%20RowBinary&insert_deduplication_token=block-1";

/// Rows from `first` on. Each note has blank lines in it, and so have some of the ids.
fn rows(first: u64, count: u64) -> Vec<u8> {
    let mut rows = Vec::new();
    for id in first..first + count {
        rows.extend_from_slice(&id.to_le_bytes());
        rows.extend_from_slice(b"\x09a\n\n;'\n\nb\0");
    }
    rows
}

fn with_table() -> Engine {
    let engine = Engine::start();
    engine.query(TABLE);
    engine
}

fn count(engine: &Engine) -> u64 {
    engine.query("SELECT count() FROM t").parse().unwrap()
}

/// The head of an insert whose body is still to come.
fn begin(engine: &Engine, target: &str, framing: &str) -> TcpStream {
    let mut stream = connect(engine.process.address());
    let own = basic("default", engine.process.password());
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: {own}\r\nconnection: close\r\n{framing}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_client_that_dies_in_mid_insert_leaves_no_row_and_its_token_unused() {
    let engine = with_table();
    let body = rows(0, 50_000);
    let half = &body[..body.len() / 2];
    let announced = format!("content-length: {}", body.len());
    let mut cut = begin(&engine, TOKEN, &announced);
    cut.write_all(half).unwrap();
    drop(cut);
    let mut cut = begin(&engine, TOKEN, "transfer-encoding: chunked");
    cut.write_all(format!("{:x}\r\n", half.len()).as_bytes()).unwrap();
    cut.write_all(half).unwrap();
    cut.write_all(b"\r\n").unwrap();
    // The last chunk never comes.
    cut.shutdown(Shutdown::Write).unwrap();
    let answer = std::panic::catch_unwind(move || read_answer(&mut cut));
    assert!(answer.is_err() || answer.unwrap().status != 200);
    assert_eq!(count(&engine), 0);
    assert_eq!(engine.post(TOKEN, &[], &body).status, 200);
    assert_eq!(count(&engine), 50_000);
}

#[test]
fn a_body_that_is_damaged_in_transit_leaves_no_row_and_its_token_unused() {
    let engine = with_table();
    let body = rows(0, 1000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let mut gzip = gzip.finish().unwrap();
    let target = format!("{TOKEN}&");
    let cut = engine.post(&target, &[("content-encoding", "gzip")], &gzip[..gzip.len() - 9]);
    assert_eq!(cut.status, 400, "{}", cut.text());
    let middle = gzip.len() / 2;
    gzip[middle] ^= 0xff;
    assert_eq!(engine.post(&target, &[("content-encoding", "gzip")], &gzip).status, 400);
    gzip[middle] ^= 0xff;
    assert_eq!(engine.post(&target, &[("content-encoding", "br")], &gzip).code(), Some(89));
    let blocks = format!("{TOKEN}&decompress=1");
    assert_eq!(engine.post(&blocks, &[], &body).status, 400);
    // A row that ends early is the engine's to notice; one block is stored whole or not at all.
    assert_eq!(engine.post(TOKEN, &[], &body[..body.len() - 3]).code(), Some(33));
    assert_eq!(count(&engine), 0);
    assert_eq!(engine.post(&target, &[("content-encoding", "gzip")], &gzip).status, 200);
    assert_eq!(count(&engine), 1000);
}

#[test]
fn blank_lines_inside_binary_rows_end_nothing() {
    let engine = with_table();
    for block in 0..4 {
        assert_eq!(engine.post(INSERT, &[], &rows(block * 100_000, 100_000)).status, 200);
    }
    let sql = "SELECT count(), min(id), max(id), uniqExact(id), any(note) = 'a\\n\\n;\\'\\n\\nb\\0' FROM t";
    assert_eq!(engine.query(sql), "400000\t0\t399999\t400000\t1");
    // The id 0x0A0A is a blank line by itself.
    assert_eq!(engine.query("SELECT count() FROM t WHERE id = 0x0A0A"), "1");
}

#[test]
fn a_retry_with_the_same_token_is_stored_once_in_the_table_and_in_its_windowed_views_only() {
    let engine = with_table();
    for (name, window) in [("windowed", 100), ("bare", 0)] {
        engine.query(&format!(
            "CREATE TABLE {name} (day UInt64, rows UInt64) ENGINE = SummingMergeTree ORDER BY day \
             SETTINGS non_replicated_deduplication_window = {window}"
        ));
        engine.query(&format!(
            "CREATE MATERIALIZED VIEW {name}_view TO {name} AS \
             SELECT intDiv(id, 100) AS day, count() AS rows FROM t GROUP BY day"
        ));
    }
    let target = format!("{TOKEN}&deduplicate_blocks_in_dependent_materialized_views=1");
    for _ in 0..3 {
        let answer = engine.post(&target, &[], &rows(0, 1000));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(count(&engine), 1000);
    assert_eq!(engine.query("SELECT sum(rows) FROM windowed"), "1000");
    // What a view's table without a window does, so that nobody relies on it.
    assert_eq!(engine.query("SELECT sum(rows) FROM bare"), "3000");
}

#[test]
fn a_view_that_fails_is_reported_and_repaired_by_sending_the_block_again() {
    let engine = with_table();
    engine.query("CREATE TABLE gate (open UInt8) ENGINE = MergeTree ORDER BY open");
    engine.query(
        "CREATE TABLE sums (rows UInt64) ENGINE = MergeTree ORDER BY rows \
         SETTINGS non_replicated_deduplication_window = 100",
    );
    engine.query(
        "CREATE MATERIALIZED VIEW sums_view TO sums AS SELECT count() + \
         throwIf((SELECT count() FROM gate) = 0) AS rows FROM t",
    );
    let target = format!("{TOKEN}&deduplicate_blocks_in_dependent_materialized_views=1");
    assert_eq!(engine.post(&target, &[], &rows(0, 10)).code(), Some(395));
    // Whatever database the request names, the reason is told.
    let named = format!("{target}&database=default");
    assert_eq!(engine.post(&named, &[], &rows(0, 10)).code(), Some(395));
    engine.query("INSERT INTO gate VALUES (1)");
    assert_eq!(engine.post(&target, &[], &rows(0, 10)).status, 200);
    assert_eq!((count(&engine), engine.query("SELECT sum(rows) FROM sums")), (10, "10".into()));
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let engine = Engine::start_with(&["--body-bytes-max", "100000"]);
    engine.query(TABLE);
    let body = rows(0, 10_000);
    let announced = engine.post(INSERT, &[], &body);
    assert_eq!((announced.status, announced.code()), (413, Some(307)));
    let mut chunked = begin(&engine, INSERT, "transfer-encoding: chunked");
    let _ = chunked.write_all(format!("{:x}\r\n", body.len()).as_bytes());
    let _ = chunked.write_all(&body);
    let _ = chunked.write_all(b"\r\n0\r\n\r\n");
    let refused = std::panic::catch_unwind(move || read_answer(&mut chunked));
    assert!(refused.is_err() || refused.unwrap().status == 413);
    let packed = zstd::encode_all(&body[..], 3).unwrap();
    assert!(packed.len() < 100_000);
    assert_eq!(engine.post(INSERT, &[("content-encoding", "zstd")], &packed).code(), Some(307));
    assert_eq!(count(&engine), 0);
    assert_eq!(engine.post(INSERT, &[], &rows(0, 5000)).status, 200);
}

#[test]
fn rows_may_follow_the_statement_in_the_body_in_any_format() {
    let engine = with_table();
    for body in [
        "INSERT INTO t FORMAT CSV\n1,\"a\n\nb\"\n",
        "INSERT INTO t (id, note) SETTINGS async_insert = 0 FORMAT JSONEachRow\n{\"id\":2,\"note\":\"x\"}\n\n",
        "INSERT INTO t VALUES (3, 'c;\n\nd'), (4, 'E');",
        "INSERT INTO t (note, id) FORMAT TSV\nf\t5",
        "INSERT INTO t SELECT number + 6, toString(number) FROM numbers(2)",
    ] {
        let answer = engine.post("/", &[], body.as_bytes());
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
    let stored = engine.query("SELECT id, note FROM t ORDER BY id");
    assert_eq!(stored, "1\ta\\n\\nb\n2\tx\n3\tc;\\n\\nd\n4\tE\n5\tf\n6\t0\n7\t1");
    assert_eq!(engine.post("/", &[], b"INSERT INTO t").code(), Some(62));
    let target = "/?query=INSERT%20INTO%20t%20SELECT%20%7Ba%3AUInt64%7D,%20lower('P')&param_a=8";
    assert_eq!(engine.post(target, &[], b"").status, 200);
    assert_eq!(engine.query("SELECT note FROM t WHERE id = 8"), "p");
}

#[test]
fn the_native_format_comes_back_as_it_went() {
    let engine = with_table();
    assert_eq!(engine.post(INSERT, &[], &rows(0, 100_000)).status, 200);
    engine.query("CREATE TABLE copy AS t");
    let native = engine.post("/?compress=1", &[], b"SELECT * FROM t ORDER BY id FORMAT Native").body;
    let target = "/?decompress=1&query=INSERT%20INTO%20copy%20FORMAT%20Native";
    let answer = engine.post(target, &[], &native);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sums = |table| engine.query(&format!("SELECT count(), sum(cityHash64(id, note)) FROM {table}"));
    assert_eq!(sums("t"), sums("copy"));
}

#[test]
fn inserts_are_written_when_they_are_acknowledged() {
    let engine = with_table();
    // Were it queued, the row would not be there yet.
    assert_eq!(engine.query("SELECT getSetting('async_insert')"), "false");
    for id in 0..20 {
        assert_eq!(engine.post(INSERT, &[], &rows(id, 1)).status, 200);
        assert_eq!(count(&engine), id + 1);
    }
}

#[test]
fn an_insert_over_many_partitions_says_why_it_fails_and_passes_when_allowed() {
    let engine = Engine::start();
    engine.query("CREATE TABLE t (id UInt64, note String) ENGINE = MergeTree ORDER BY id PARTITION BY id");
    assert_eq!(engine.post(INSERT, &[], &rows(0, 200)).code(), Some(252));
    let target = format!("{INSERT}&max_partitions_per_insert_block=1000");
    assert_eq!(engine.post(&target, &[], &rows(0, 200)).status, 200);
    eventually("every row is there", || count(&engine) == 200);
}

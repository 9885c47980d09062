//! What a request says beside its statement: done or refused by name, never passed over where it would change the answer.

use crate::support::{Engine, basic, request};

fn code(engine: &Engine, target: &str, sql: &str) -> Option<u16> {
    engine.post(target, &[], sql.as_bytes()).code()
}

#[test]
fn what_would_change_an_answer_is_refused_by_its_name() {
    let engine = Engine::start();
    for (parameter, expected) in [
        ("role=whence_owner", 48),
        ("profile=readonly", 48),
        ("session_check=1", 372),
        ("http_write_exception_in_output_format=1", 48),
        ("http_response_headers=%7B%27a%27:%27b%27%7D", 48),
        ("t_structure=a+UInt8", 48),
        ("t_types=UInt8", 48),
        ("t_format=CSV", 48),
        ("roles=a", 115),
        ("nonsense=1", 115),
        ("dialect=kusto", 452),
    ] {
        let answer = engine.post(&format!("/?{parameter}"), &[], b"SELECT 1");
        let name = parameter.split('=').next().unwrap();
        assert_eq!(answer.code(), Some(expected), "{parameter}: {}", answer.text());
        assert!(answer.text().contains(name), "{parameter}: {}", answer.text());
    }
    // Asked for nothing, there is nothing to refuse.
    let target = "/?session_check=0&http_write_exception_in_output_format=0";
    assert_eq!(engine.post(target, &[], b"SELECT 1").text(), "1\n");
}

#[test]
fn a_session_has_nothing_to_keep() {
    let engine = Engine::start();
    let session = "/?session_id=mine&session_timeout=60&close_session=0";
    assert_eq!(engine.post(session, &[], b"SELECT 1").text(), "1\n");
    for sql in [
        "SET max_threads = 1",
        "SET ROLE whence_owner",
        "USE whence",
        "CREATE TEMPORARY TABLE t (a UInt8)",
        "CREATE OR REPLACE TEMPORARY TABLE t (a UInt8)",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "BEGIN TRANSACTION",
    ] {
        let answer = engine.post(session, &[], sql.as_bytes());
        assert_eq!(answer.code(), Some(497), "{sql}: {}", answer.text());
    }
}

#[test]
fn tables_that_come_with_a_request_are_refused_by_name() {
    let engine = Engine::start();
    let form = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT * FROM t\r\n\
                --b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t.csv\"\r\n\r\n1\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    for target in ["/", "/?t_structure=a+UInt8&t_format=CSV", "/?t_types=UInt8"] {
        let answer = engine.post(target, &headers, form.as_bytes());
        assert_eq!((answer.status, answer.code()), (501, Some(48)), "{}", answer.text());
        assert!(answer.text().contains("External tables are not served (t"), "{}", answer.text());
    }
    // The same form without the table, and with parameters as its fields.
    let form = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:UInt8}\r\n\
                --b\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\n7\r\n\
                --b\r\nContent-Disposition: form-data; name=\"default_format\"\r\n\r\nCSVWithNames\r\n--b--\r\n";
    assert_eq!(engine.post("/", &headers, form.as_bytes()).text(), "\"_CAST(7, 'UInt8')\"\n7\n");
    let form = form.replace("default_format", "role");
    assert_eq!(engine.post("/", &headers, form.as_bytes()).code(), Some(48));
}

#[test]
fn headers_of_clickhouses_name_are_done_or_refused() {
    let engine = Engine::start();
    let own = basic("default", engine.process.password());
    let ask = |headers: &[(&str, &str)]| {
        let headers = [&[("authorization", own.as_str())], headers].concat();
        request(engine.process.address(), "POST", "/", &headers, b"SELECT currentDatabase() AS d")
    };
    assert_eq!(ask(&[("X-ClickHouse-Database", "whence")]).text(), "whence\n");
    assert_eq!(ask(&[("X-ClickHouse-Format", "JSONEachRow")]).text(), "{\"d\":\"default\"}\n");
    assert_eq!(ask(&[("X-ClickHouse-Query-Id", "mine")]).header("x-clickhouse-query-id"), Some("mine"));
    assert_eq!(ask(&[("X-ClickHouse-Quota", "q"), ("X-ClickHouse-SSL-Certificate-Auth", "off")]).status, 200);
    for (name, expected) in [("x-clickhouse-ssl-certificate-auth", 516), ("x-clickhouse-newcomer", 48)] {
        let answer = ask(&[(name, "on")]);
        assert_eq!(answer.code(), Some(expected), "{}", answer.text());
        assert!(answer.text().contains(name), "{}", answer.text());
    }
}

#[test]
fn a_result_is_held_back_as_far_as_is_asked() {
    let engine = Engine::start();
    // Some 700 KB: longer than what is held back by itself.
    let sql = "SELECT throwIf(number = 90000), number FROM numbers(100000) SETTINGS max_block_size = 1000";
    let told = |target: &str| engine.post(target, &[], sql.as_bytes()).status;
    assert_eq!(told("/"), 200, "its beginning was sent before it failed");
    for target in [
        "/?buffer_size=2000000",
        "/?http_response_buffer_size=2000000",
        "/?wait_end_of_query=1",
        "/?wait_end_of_query=true",
        "/?http_wait_end_of_query=1",
    ] {
        assert_eq!(told(target), 500, "{target}");
    }
    assert_eq!(code(&engine, "/?wait_end_of_query=maybe", "SELECT 1"), Some(36));
}

/// Rows that are wrong, in every format that is served: what is told is about them, and nothing of how the engine is
/// called.
#[test]
fn errors_are_about_what_was_sent_and_tell_nothing_of_how_the_engine_is_called() {
    let engine = Engine::start();
    engine.query("CREATE TABLE t (id UInt64, note String, day Date) ENGINE = MergeTree ORDER BY id");
    let mut told = Vec::new();
    for (format, rows) in [
        ("CSV", &b"x,y,z\n"[..]),
        ("CSV", b"1,\"a"),
        ("CSVWithNames", b"id,note\nx,y\n"),
        ("CSVWithNamesAndTypes", b"id\nString\n1\n"),
        ("TSV", b"x\ty\tz\n"),
        ("TabSeparatedRaw", b"1\n"),
        ("TSVWithNames", b"id\nx\n"),
        ("JSONEachRow", b"{\"id\": \"x\"}"),
        ("JSONEachRow", b"{\"id\": 1"),
        ("JSONCompactEachRow", b"[1"),
        ("JSONStringsEachRow", b"{\"id\": []}"),
        ("NDJSON", b"["),
        ("RowBinary", b"abc"),
        ("RowBinaryWithNames", b"\x01\x02idabc"),
        ("Native", b"abc"),
        ("Parquet", b"abcabcabcabc"),
        ("Arrow", b"abc"),
        ("ArrowStream", b"abc"),
        ("Values", b"('x', 'y', '2026-01-01')"),
        ("Values", b"(1, 'y')"),
    ] {
        for query in
            [format!("INSERT INTO t FORMAT {format}"), format!("INSERT INTO default.t FORMAT {format}")]
        {
            for settings in ["", "&input_format_parallel_parsing=0", "&async_insert=1"] {
                let url: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
                let answer = engine.post(&format!("/?query={url}{settings}"), &[], rows);
                assert_ne!(answer.status, 200, "{query}{settings}");
                told.push((query.clone(), answer.text()));
            }
        }
    }
    for sql in [
        "FROM t",
        "SELECT * FROM t ORDER",
        "SELECT 1 1",
        "SELECT (1",
        "SELECT 1 AS FORMAT JSON",
        "SELECT 1 INTO x",
        "SELECT * FROM t ORDER FORMAT JSON",
        "SELECT 1 FORMAT Nonsense",
        "SELECT 1 FORMAT Nonsense SETTINGS max_threads = 1",
        "(SHOW TABLES)",
        "SELECT * FROM (SHOW TABLES)",
        "WITH 1 AS x SELECT",
        "SELECT * FROM nowhere",
        "SELECT nothing FROM t",
        "SELECT throwIf(1)",
        "SELECT toDate('x')",
        "SELECT 'a' + 1",
        "SELECT number FROM numbers(100) LIMIT 'x'",
        "SHOW TABLES FROM",
        "SHOW CREATE TABLE nowhere",
        "EXPLAIN SELECT",
        "DESCRIBE nowhere",
        "EXISTS",
        "INSERT INTO nowhere VALUES (1)",
        "INSERT INTO t (nothing) VALUES (1)",
        "INSERT INTO t SELECT 1",
        "INSERT INTO t SELECT",
        "CREATE TABLE t",
        "ALTER TABLE t DELETE WHERE",
    ] {
        for target in ["/", "/?default_format=Native&client_protocol_version=54460", "/?wait_end_of_query=1"]
        {
            let answer = engine.post(target, &[], sql.as_bytes());
            assert_ne!(answer.status, 200, "{sql}");
            told.push((sql.to_owned(), answer.text()));
        }
    }
    let long = format!("SELECT 1 1{}", ", 1".repeat(60));
    told.push((long.clone(), engine.post("/", &[], long.as_bytes()).text()));
    let data = engine.data.path().display().to_string();
    for (sql, text) in told {
        assert!(text.starts_with("Code: ") && text.matches("Code: ").count() == 1, "{sql}: {text}");
        for betrays in ["/proc", "OUTFILE '", "APPEND", "stdin", "log_comment", "whence_owner", data.as_str()]
        {
            assert!(!text.contains(betrays), "{sql}: {text}");
        }
    }
}

//! The interface as a plain HTTP client sees it: statuses, headers, streaming, and what is refused.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use crate::support::{Engine, connect, eventually, post, request};

#[test]
fn exceptions_have_clickhouses_status_code_and_text() {
    let engine = Engine::start();
    for (sql, status, code) in [
        ("SELECT nonsense FROM", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT * FROM nowhere", 404, 60),
        ("INSERT INTO nowhere VALUES (1)", 404, 60),
        ("SELECT 1 FORMAT Nonsense", 404, 73),
        ("SELECT throwIf(1)", 500, 395),
    ] {
        let answer = engine.post("/", &[], sql.as_bytes());
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{sql}: {}", answer.text());
        assert!(answer.text().starts_with(&format!("Code: {code}. DB::Exception: ")), "{}", answer.text());
        assert!(answer.text().ends_with(")\n"), "{}", answer.text());
    }
    assert_eq!(engine.post("/?database=nowhere", &[], b"SELECT 1").code(), Some(497));
    assert_eq!(engine.post("/?nonsense=1", &[], b"SELECT 1").code(), Some(115));
    assert_eq!(engine.post("/?max_threads=many", &[], b"SELECT 1").code(), Some(27));
    assert_eq!(engine.get("/nowhere").status, 404);
    // A statement that failed leaves nothing behind for the next one.
    assert_eq!(engine.query("SELECT 1"), "1");
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_passes_however_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let engine = Engine::start_with(&["--password-file", file.to_str().unwrap()]);
    let ask = |target: &str, headers: &[(&str, &str)]| {
        request(engine.process.address(), "POST", target, headers, b"SELECT 1")
    };
    for (target, headers) in [
        ("/", &[][..]),
        ("/?password=guess", &[]),
        ("/", &[("x-clickhouse-user", "default"), ("x-clickhouse-key", "guess")]),
        ("/", &[("x-clickhouse-user", "someone"), ("x-clickhouse-key", "s3cret")]),
        ("/", &[("authorization", "Basic ZGVmYXVsdDpndWVzcw==")]),
    ] {
        let answer = ask(target, headers);
        assert_eq!((answer.status, answer.code()), (403, Some(516)), "{target} {headers:?}");
    }
    for (target, headers) in [
        ("/?user=default&password=s3cret", &[][..]),
        ("/", &[("x-clickhouse-user", "default"), ("x-clickhouse-key", "s3cret")]),
        ("/", &[("authorization", "Basic ZGVmYXVsdDpzM2NyZXQ=")]),
    ] {
        assert_eq!(ask(target, headers).text(), "1\n", "{target} {headers:?}");
    }
    assert_eq!(engine.get("/ping").text(), "Ok.\n");
    assert!(!engine.process.log().contains("s3cret"));
}

#[test]
fn a_get_request_changes_nothing() {
    let engine = Engine::start();
    let made = "/?query=CREATE+TABLE+d+(n+UInt8)+ENGINE+MergeTree+ORDER+BY+n";
    assert_eq!(engine.get(made).code(), Some(164));
    assert_eq!(engine.get("/?query=SELECT+1").text(), "1\n");
    assert_eq!(engine.query("SELECT count() FROM system.tables WHERE name = 'd'"), "0");
}

#[test]
fn settings_params_and_database_hold_for_one_request() {
    let engine = Engine::start();
    let sql = b"SELECT getSetting('max_threads'), currentDatabase(), {text:String}, {list:Array(UInt8)}";
    let target = "/?max_threads=3&database=whence&param_text=a%5Ctb%5Cn%27&param_list=%5B1,2%5D";
    assert_eq!(engine.post(target, &[], sql).text(), "3\twhence\ta\\tb\\n\\'\t[1,2]\n");
    assert_eq!(engine.query("SELECT getSetting('max_threads') = 3, currentDatabase()"), "0\tdefault");
    assert_eq!(engine.post("/", &[], b"SELECT {text:String}").code(), Some(456));
    engine.query("CREATE TABLE whence.t (n UInt8) ENGINE = MergeTree ORDER BY n");
    assert_eq!(engine.post("/?database=whence", &[], b"INSERT INTO t FORMAT CSV\n1\n2\n").status, 200);
    assert_eq!(engine.query("SELECT count() FROM whence.t"), "2");
}

#[test]
fn every_format_comes_out_as_one_document_however_long() {
    let engine = Engine::start();
    let rows = 200_000;
    let sql =
        |format: &str| format!("SELECT number, toString(number) AS s FROM numbers({rows}) FORMAT {format}");
    let csv = engine.post("/", &[], sql("CSVWithNames").as_bytes());
    assert!(csv.complete && csv.header("transfer-encoding") == Some("chunked"));
    assert_eq!(csv.text().lines().count(), rows + 1);
    assert_eq!(csv.text().matches("\"number\"").count(), 1);
    let json = engine.post("/", &[], sql("JSONCompact").as_bytes());
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["rows"], rows);
    let binary = engine.post("/", &[], sql("RowBinaryWithNamesAndTypes").as_bytes());
    let digits: usize = (0..rows).map(|number| number.to_string().len()).sum();
    let header = "\x02\x06number\x01s\x06UInt64\x06String".len();
    assert_eq!(binary.body.len(), header + rows * 9 + digits);
    assert_eq!(csv.header("x-clickhouse-format"), Some("CSVWithNames"));
    let short = engine.post("/?default_format=JSONEachRow&query_id=mine", &[], b"SELECT 1 AS a");
    assert_eq!(short.text(), "{\"a\":1}\n");
    assert_eq!(short.header("x-clickhouse-query-id"), Some("mine"));
    assert!(short.header("x-clickhouse-summary").unwrap().contains("\"read_rows\":\"1\""));
}

#[test]
fn a_failure_in_mid_result_is_framed_and_the_response_is_cut() {
    let engine = Engine::start();
    let sql = "SELECT throwIf(number = 3000000), toString(number) FROM numbers(4000000) FORMAT CSV";
    for (target, unpack) in [("/", false), ("/?compress=1", true)] {
        let answer = engine.post(target, &[], sql.as_bytes());
        assert_eq!((answer.status, answer.complete), (200, false));
        let tag = answer.header("x-clickhouse-exception-tag").unwrap();
        if !unpack {
            let end = format!(" {tag}\r\n__exception__\r\n");
            assert!(answer.body.ends_with(end.as_bytes()));
            assert!(answer.text().contains("Code: 395. DB::Exception: "));
        }
    }
    // Held back, the same failure has a status.
    let answer = engine.post("/?wait_end_of_query=1", &[], sql.as_bytes());
    assert_eq!((answer.status, answer.code()), (500, Some(395)));
}

#[test]
fn a_result_too_large_to_hold_back_is_refused() {
    let engine = Engine::start();
    let sql = b"SELECT number FROM numbers(20000000) FORMAT RowBinary";
    assert_eq!(engine.post("/?wait_end_of_query=1", &[], sql).code(), Some(396));
    assert_eq!(engine.post("/", &[], sql).body.len(), 160_000_000);
}

#[test]
fn a_client_that_goes_away_takes_its_statement_with_it() {
    let engine = Engine::start();
    let running = || {
        engine.query("SELECT count() FROM system.processes WHERE query LIKE '%nobody reads%' AND query NOT LIKE '%processes%'")
    };
    // One that has sent nothing yet, and one in the middle of its result.
    for sql in [
        "SELECT sum(sipHash64(number)), 'nobody reads' FROM numbers(1000000000000)".to_owned(),
        "SELECT number, 'nobody reads' FROM numbers(1000000000000)".to_owned(),
        // Longer than what the engine's list of statements shows of one.
        format!(
            "SELECT 'nobody reads', sum(sipHash64(number)), '{}' FROM numbers(1000000000000)",
            "x".repeat(150_000)
        ),
    ] {
        let mut stream = connect(engine.process.address());
        stream.write_all(post(&engine, &sql).as_bytes()).unwrap();
        eventually("the statement runs", || running() == "1");
        drop(stream);
        eventually("the statement is killed", || running() == "0");
    }
}

#[test]
fn statements_end_at_their_time_limit() {
    let engine = Engine::start();
    let sql = b"SELECT sum(sipHash64(number)) FROM numbers(1000000000000)";
    let answer = engine.post("/?max_execution_time=1", &[], sql);
    assert_eq!((answer.status, answer.code()), (408, Some(159)));
}

#[test]
fn a_statement_beyond_the_memory_limit_fails_and_the_next_one_does_not() {
    let engine = Engine::start_with(&["--memory-bytes-max", "1000000000"]);
    let sql = b"SELECT length(groupArray(toString(number))) FROM numbers(1000000000)";
    for target in ["/", "/?max_memory_usage=100000000"] {
        let answer = engine.post(target, &[], sql);
        assert_eq!((answer.status, answer.code()), (500, Some(241)), "{}", answer.text());
        assert_eq!(engine.query("SELECT 1"), "1");
    }
}

#[test]
fn results_are_packed_as_asked() {
    let engine = Engine::start();
    let sql = b"SELECT number FROM numbers(300000)";
    let plain = engine.post("/", &[], sql).body;
    let gzip = engine.post("/", &[("accept-encoding", "br, gzip")], sql);
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain);
    let zstd = engine.post("/?enable_http_compression=1", &[("accept-encoding", "zstd")], sql);
    assert!(zstd::decode_all(&zstd.body[..]).unwrap() == plain);
    assert_eq!(
        engine
            .post("/?enable_http_compression=0", &[("accept-encoding", "gzip")], sql)
            .header("content-encoding"),
        None
    );
    let packed = engine.post("/?compress=1", &[], sql).body;
    assert!(packed.len() < plain.len() && packed[16] == 0x82);
}

#[test]
fn eight_clients_are_served_at_once() {
    let engine = Engine::start();
    engine.query("CREATE TABLE t (client UInt8, n UInt64) ENGINE = MergeTree ORDER BY n");
    let engine = &engine;
    std::thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || {
                for round in 0..10 {
                    let rows: String =
                        (0..1000).map(|n| format!("{client},{}\n", round * 1000 + n)).collect();
                    let target = "/?query=INSERT%20INTO%20t%20FORMAT%20CSV";
                    let answer = engine.post(target, &[], rows.as_bytes());
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let sql = format!("SELECT count() FROM t WHERE client = {client}");
                    let answer = engine.post("/", &[], sql.as_bytes());
                    assert_eq!(answer.text().trim(), ((round + 1) * 1000).to_string());
                }
            });
        }
    });
    assert_eq!(engine.query("SELECT count(), uniqExact(client, n) FROM t"), "80000\t80000");
}

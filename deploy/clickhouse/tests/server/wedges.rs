//! Attempts of the reader's to keep the process busy or to end it: others are answered meanwhile, and what does not
//! end by itself is ended.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{Engine, basic, read_answer, request};
use whence_clickhouse_embedded::library;
use whence_clickhouse_embedded::supervise::{ChildState, Supervisor, SupervisorLimits};

/// One call of a function that compares for hours and looks at no clock.
const ENDLESS: &str = "SELECT sum(positionCaseInsensitive(materialize(repeat('a', 1000000)), \
                       concat(repeat('a', 500000), 'b'))) FROM numbers(50)";

/// The owner's `SELECT 1`, answered before this client loses its patience.
fn owner_is_answered(engine: &Engine) {
    let mut stream = crate::support::connect(engine.process.address());
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let post = crate::support::post(engine, "SELECT 1")
        .replace("host: localhost", "host: localhost\r\nconnection: close");
    stream.write_all(post.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).text(), "1\n");
}

#[test]
fn texts_that_are_long_or_full_of_brackets_keep_nobody_waiting() {
    let engine = Engine::start();
    let engine = &engine;
    let values = |rows: String| format!("INSERT INTO scratch.v VALUES {rows}");
    let texts = [
        (values(format!("(1{}", ",a(".repeat(1_300_000))), 229),
        (values(format!("(1{}", ",a(".repeat(80_000))), 497),
        (values("(1),".repeat(1_000_000)), 229),
        (values("(1),".repeat(60_000)), 60),
        (format!("SELECT 1{}", ",a(".repeat(85_000)), 497),
        (format!("SELECT * FROM {}", "a(x=1),".repeat(30_000)), 497),
        (format!("WITH {}", "a(x),".repeat(50_000)), 497),
        (format!("SELECT {}", "(".repeat(250_000)), 62),
    ];
    let form = format!("{}{}", "-".repeat(60_000), "x");
    let content_type = format!("multipart/form-data; boundary={form}");
    let own = basic("reader", engine.process.reader_password());
    let own = &own;
    thread::scope(|scope| {
        let mut sent = Vec::new();
        for _ in 0..3 {
            for (text, code) in &texts {
                sent.push(scope.spawn(move || (engine.read("/", text).code(), Some(*code))));
            }
            let content_type = content_type.as_str();
            sent.push(scope.spawn(move || {
                let headers = [("authorization", own.as_str()), ("content-type", content_type)];
                let body = vec![b'-'; 4_000_000];
                (request(engine.process.address(), "POST", "/", &headers, &body).code(), Some(117))
            }));
        }
        let mut answered = 0;
        while answered == 0 || !sent.iter().all(thread::ScopedJoinHandle::is_finished) {
            owner_is_answered(engine);
            answered += 1;
        }
        for sent in sent {
            let (code, expected) = sent.join().unwrap();
            assert!(code == expected || (code == Some(306) && expected == Some(62)), "{code:?} {expected:?}");
        }
    });
}

#[test]
fn what_ends_the_process_or_outgrows_its_memory_is_not_served() {
    let engine = Engine::start();
    let aliases: String = (1..40).map(|n| format!(", (a{}, a{}) AS a{n}", n - 1, n - 1)).collect();
    for (sql, code) in [
        ("SELECT length(JSONExtractRaw(concat(repeat('[', 100000), repeat(']', 100000)), 1)) SETTINGS allow_simdjson = 0".to_owned(), 452),
        ("SELECT length(jsonMergePatch(concat(repeat('{\"a\":', 1000000), '1', repeat('}', 1000000)), '{}'))".into(), 497),
        ("SELECT length(JSONMergePatch(concat(repeat('{\"a\":', 1000000), '1', repeat('}', 1000000)), '{}'))".into(), 497),
        (format!("WITH 1 AS a0{aliases} SELECT a39 SETTINGS enable_analyzer = 0"), 452),
        (format!("WITH 1 AS a0{aliases} SELECT a39 SETTINGS max_expanded_ast_elements = 100000000000"), 452),
        ("SELECT 1 SETTINGS max_ast_elements = 100000000000".into(), 452),
        ("SELECT 1 SETTINGS max_subquery_depth = 100000000000".into(), 452),
        ("SELECT 1 SETTINGS max_parser_depth = 100000000000".into(), 452),
        ("SELECT 1 SETTINGS max_parser_backtracks = 100000000000".into(), 452),
        ("SELECT editDistance('a', 'b')".into(), 497),
        ("SELECT damerauLevenshteinDistance('a', 'b')".into(), 497),
        ("SELECT length(tokenizeQuery('x'))".into(), 497),
    ] {
        let answer = engine.read("/", &sql);
        assert_eq!(answer.code(), Some(code), "{sql}: {}", answer.text());
        assert_eq!(engine.read("/", "SELECT 1").text(), "1\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_does_not_end_is_told_and_the_engine_is_started_again() {
    let data = tempfile::tempdir().unwrap();
    let (folder, library) = (data.path().to_owned(), library::find().unwrap());
    let start = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whence-clickhouse-embedded"));
        command.arg("--data").arg(&folder).env("WHENCE_CLICKHOUSE_ENGINE", &library).stdout(Stdio::null());
        command.args(["--reader-seconds-max", "1", "--stuck-seconds-max", "2"]);
        command
    };
    let limits = SupervisorLimits::default();
    let supervisor = Supervisor::start("127.0.0.1:0".parse().unwrap(), start, limits).await.unwrap();
    let password = |name: &str| std::fs::read_to_string(data.path().join(name)).unwrap().trim().to_owned();
    let address = supervisor.address();
    let ask =
        move |own: &str, sql: &str| request(address, "POST", "/", &[("authorization", own)], sql.as_bytes());
    let (owner, reader) =
        (basic("default", &password("password")), basic("reader", &password("reader-password")));
    let asked = ask;
    let own = owner.clone();
    let told = tokio::task::spawn_blocking(move || {
        asked(&own, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n");
        assert_eq!(asked(&own, "INSERT INTO t SELECT number FROM numbers(10)").status, 200);
        asked(&reader, ENDLESS)
    });
    let mut state = supervisor.state();
    let restarted = async {
        state.wait_for(|state| *state == ChildState::Down).await.unwrap();
        state.wait_for(|state| *state == ChildState::Up).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(90), restarted).await.expect("the engine is started again");
    // Whoever asked was told before.
    assert_eq!(told.await.unwrap().code(), Some(159));
    let kept = tokio::task::spawn_blocking(move || ask(&owner, "SELECT count() FROM t").text());
    assert_eq!(kept.await.unwrap(), "10\n");
    supervisor.stop().await;
}

#[test]
fn a_statement_that_does_not_end_does_not_keep_the_server_from_ending() {
    let engine = Engine::start();
    let own = basic("reader", engine.process.reader_password());
    let address = engine.process.address();
    let mut stuck = crate::support::connect(address);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: {own}\r\ncontent-length: {}\r\n\r\n{ENDLESS}",
        ENDLESS.len()
    );
    stuck.write_all(head.as_bytes()).unwrap();
    let running =
        "SELECT count() FROM system.processes WHERE query LIKE '%position%' AND query NOT LIKE '%processes%'";
    crate::support::eventually("it runs", || engine.query(running) == "1");
    // Not in order, and yet by itself.
    let status = engine.process.terminate().unwrap();
    assert_eq!(status.code(), Some(1));
}

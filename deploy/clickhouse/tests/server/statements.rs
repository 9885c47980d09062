//! Every kind of statement that has rows answers with them: some are sent to the engine in one way and some in another,
//! and the wrong one answers 200 with nothing.

use whence_clickhouse_embedded::testing::{OUTPUT_WORDS, SHOWN_WORDS};

use crate::support::Engine;

/// One statement at least for each word that begins a query and each that may follow `SHOW`; all have rows.
const WITH_ROWS: &[&str] = &[
    "SELECT 1",
    "SELECT count() FROM t",
    "WITH 1 AS x SELECT x",
    "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT x FROM n",
    "FROM t SELECT id",
    "FROM numbers(2) SELECT number",
    "(SELECT 1)",
    "((SELECT 1) UNION ALL (SELECT 2))",
    "SELECT * FROM (EXPLAIN SELECT 1)",
    "SHOW TABLES",
    "SHOW FULL TABLES",
    "SHOW TABLES FROM default LIKE 't%'",
    "SHOW DATABASES",
    "SHOW DATABASES LIKE 'd%'",
    "SHOW DICTIONARIES",
    "SHOW CLUSTERS",
    "SHOW CREATE TABLE t",
    "SHOW CREATE t",
    "SHOW CREATE VIEW v",
    "SHOW CREATE DATABASE default",
    "SHOW COLUMNS FROM t",
    "SHOW FULL COLUMNS FROM t",
    "SHOW EXTENDED COLUMNS FROM t",
    "SHOW FIELDS FROM t",
    "SHOW INDEX FROM t",
    "SHOW INDEXES FROM t",
    "SHOW INDICES FROM t",
    "SHOW KEYS FROM t",
    "SHOW SETTINGS LIKE 'max_threads'",
    "SHOW CHANGED SETTINGS LIKE 'max%'",
    "SHOW FUNCTIONS LIKE 'plus'",
    "SHOW ENGINES",
    "EXPLAIN SELECT 1",
    "EXPLAIN AST SELECT 1",
    "EXPLAIN SYNTAX SELECT 1",
    "EXPLAIN SYNTAX INSERT INTO t SELECT 2",
    "EXPLAIN QUERY TREE SELECT 1",
    "EXPLAIN PLAN SELECT 1",
    "EXPLAIN PLAN json = 1 SELECT 1",
    "EXPLAIN indexes = 1 SELECT * FROM t",
    "EXPLAIN PIPELINE SELECT 1",
    "EXPLAIN PIPELINE INSERT INTO t SELECT 2",
    "EXPLAIN ESTIMATE SELECT * FROM t",
    "DESCRIBE t",
    "DESC t",
    "DESCRIBE TABLE t",
    "DESCRIBE (SELECT 1)",
    "EXISTS t",
    "EXISTS TABLE t",
    "EXISTS VIEW v",
    "EXISTS DATABASE default",
    "CHECK GRANT SELECT ON default.t",
];

/// Of those, what there is nothing of on this machine.
const EMPTY: [&str; 2] = ["SHOW DICTIONARIES", "SHOW CLUSTERS"];

/// What is left out of what `SHOW` shows, and other statements with rows: refused by name.
const REFUSED: [&str; 14] = [
    "SHOW GRANTS",
    "SHOW PROCESSLIST",
    "SHOW ACCESS",
    "SHOW USERS",
    "SHOW ROLES",
    "SHOW PROFILES",
    "SHOW POLICIES",
    "SHOW QUOTA",
    "SHOW MERGES",
    "SHOW PRIVILEGES",
    "SHOW SETTING max_threads",
    "SHOW FILESYSTEM CACHES",
    "CHECK TABLE t",
    "VALUES (1)",
];

fn engine() -> Engine {
    let engine = Engine::start();
    engine.query("CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id");
    engine.query("CREATE VIEW v AS SELECT id FROM t");
    engine.query("INSERT INTO t VALUES (1)");
    engine
}

#[test]
fn every_word_has_a_statement() {
    for word in OUTPUT_WORDS {
        assert!(WITH_ROWS.iter().any(|sql| sql.split(' ').next() == Some(word)), "{word}");
    }
    for word in SHOWN_WORDS {
        assert!(
            WITH_ROWS.iter().any(|sql| sql.strip_prefix("SHOW ").is_some_and(|sql| sql.starts_with(word))),
            "{word}"
        );
    }
}

#[test]
fn every_statement_with_rows_answers_with_them_in_every_writing() {
    let engine = engine();
    for sql in WITH_ROWS {
        // The format of `CHECK GRANT` is the request's alone, by ClickHouse's grammar.
        let may_name_one = !sql.starts_with("CHECK");
        let mut written = vec![
            sql.to_string(),
            format!("{sql};"),
            format!("  -- a comment\n/* another */ {sql} # and one more"),
            format!("#! one\n{sql}"),
        ];
        if may_name_one {
            written.push(format!("{sql} FORMAT TabSeparated"));
            written.push(format!("{sql}\nformat TSV ;"));
        }
        for written in written {
            let answer = engine.post("/", &[], written.as_bytes());
            assert_eq!(answer.status, 200, "{written}: {}", answer.text());
            assert_eq!(answer.body.is_empty(), EMPTY.contains(sql), "{written}: {}", answer.text());
        }
        for target in ["/?default_format=JSONCompact", "/?default_format=JSONCompact&wait_end_of_query=1"] {
            let answer = engine.post(target, &[("accept-encoding", "")], sql.as_bytes());
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(json["rows"] == 0, EMPTY.contains(sql), "{sql}: {}", answer.text());
            assert_eq!(answer.header("x-clickhouse-format"), Some("JSONCompact"));
        }
        // ClickHouse explains how an insert would run to those alone who may insert, and a GET may not.
        if sql.starts_with("EXPLAIN PIPELINE INSERT") {
            continue;
        }
        let url: String = form_urlencoded::byte_serialize(sql.as_bytes()).collect();
        let answer = engine.get(&format!("/?query={url}"));
        assert_eq!(
            (answer.status, answer.body.is_empty()),
            (200, EMPTY.contains(sql)),
            "{sql}: {}",
            answer.text()
        );
    }
}

#[test]
fn what_is_not_shown_is_refused_by_its_name() {
    let engine = engine();
    for sql in REFUSED {
        let answer = engine.post("/", &[], sql.as_bytes());
        assert_eq!(answer.code(), Some(497), "{sql}: {}", answer.text());
        let words: Vec<&str> = sql.split(' ').collect();
        let name = if words[0] == "SHOW" { words[..2].join(" ") } else { words[0].to_owned() };
        assert!(answer.text().contains(&name), "{sql}: {}", answer.text());
    }
}

#[test]
fn an_insert_without_rows_stores_none_and_waits_for_none() {
    let (engine, _input) = Engine::start_with_input(b"7\n(8)\n{\"id\":9}\n");
    engine.query("CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id");
    for format in
        ["CSV", "TSV", "JSONEachRow", "JSONCompactEachRow", "RowBinary", "Native", "Values", "CSVWithNames"]
    {
        let url = format!("/?query=INSERT+INTO+t+FORMAT+{format}");
        assert_eq!(engine.post(&url, &[], b"").status, 200, "{format}");
        let sql = format!("INSERT INTO t FORMAT {format}");
        for sql in [sql.clone(), format!("{sql}\n"), format!("/* x */ {sql} \n")] {
            let answer = engine.post("/", &[], sql.as_bytes());
            assert_eq!(answer.status, 200, "{sql:?}: {}", answer.text());
            assert!(
                answer.header("x-clickhouse-summary").unwrap().contains("\"written_rows\":\"0\""),
                "{sql:?}"
            );
        }
    }
    for sql in [
        "INSERT INTO t VALUES",
        "INSERT INTO t VALUES;",
        "INSERT INTO t (id) SETTINGS async_insert = 1 VALUES",
    ] {
        assert_eq!(engine.post("/", &[], sql.as_bytes()).status, 200, "{sql}");
    }
    // Formats that have a beginning, and what is not an insert of rows: an error, and no wait.
    for (sql, code) in [
        ("INSERT INTO t FORMAT Parquet", 117),
        ("INSERT INTO t FORMAT Arrow", 33),
        ("INSERT INTO t", 62),
        ("INSERT INTO t (id)", 62),
        ("WITH 1 AS x INSERT INTO t FORMAT CSV", 62),
        ("WITH 1 AS x INSERT INTO t FORMAT CSV\n5", 62),
        ("WITH 1 AS x INSERT INTO t VALUES", 62),
        ("EXPLAIN INSERT INTO t FORMAT CSV", 80),
        ("SELECT * FROM t INSERT INTO t FORMAT CSV", 62),
    ] {
        let answer = engine.post("/", &[], sql.as_bytes());
        assert_eq!(answer.code(), Some(code), "{sql}: {}", answer.text());
    }
    engine.query("INSERT INTO t SELECT 1 FORMAT CSV");
    assert_eq!(engine.query("SELECT groupArray(id) FROM t"), "[1]");
}

//! What may be asked through the door: every keyword, engine, function, setting and system table that the
//! engine knows is on the list or refused, and each attack that ever got in.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Answer, Engine, basic, request};

/// Refused because of who asks, or of what; a syntax error cannot do anything either.
const REFUSED: [u16; 4] = [497, 452, 358, 62];

/// The two who may ask.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Owner,
    Reader,
}

/// Statements tried by this process's tests, and those among them that were refused.
static TRIED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

fn ask(engine: &Engine, who: Who, sql: &str) -> Answer {
    let answer = match who {
        Who::Owner => engine.post("/", &[], sql.as_bytes()),
        Who::Reader => engine.read("/", sql),
    };
    let is_refused = answer.code().is_some_and(|code| REFUSED.contains(&code));
    TRIED[0].fetch_add(1, Ordering::Relaxed);
    TRIED[1].fetch_add(usize::from(is_refused), Ordering::Relaxed);
    answer
}

/// Says how many so far, with `--nocapture`.
fn tell(what: &str) {
    let [tried, refused] = [0, 1].map(|at| TRIED[at].load(Ordering::Relaxed));
    eprintln!("{what}: {tried} statements tried by now, {refused} of them refused");
}

fn refused(engine: &Engine, who: Who, sql: &str) -> bool {
    ask(engine, who, sql).code().is_some_and(|code| REFUSED.contains(&code))
}

/// An engine whose owner sees all tables of `system`.
fn engine() -> Engine {
    Engine::start_with(&["--grant", "SHOW ON *.*"])
}

fn names(engine: &Engine, sql: &str) -> Vec<String> {
    let names: Vec<String> = engine.query(sql).lines().map(str::to_owned).collect();
    assert!(names.len() > 5, "{sql}: {names:?}");
    names
}

#[test]
fn every_keyword_is_the_beginning_of_a_served_statement_or_refused() {
    let engine = engine();
    // First words of keywords; those that begin what is served.
    let served = |who: Who| -> &[&str] {
        match who {
            Who::Owner => &[
                "SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "INSERT",
                "CREATE", "DROP", "ALTER", "TRUNCATE", "OPTIMIZE",
            ],
            Who::Reader => &[
                "SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "INSERT",
                "CREATE", "DROP",
            ],
        }
    };
    let mut tried = 0;
    for keyword in names(&engine, "SELECT keyword FROM system.keywords ORDER BY keyword") {
        let first = keyword.split(' ').next().unwrap();
        for who in [Who::Owner, Who::Reader] {
            for rest in ["", " x", " TABLE x", " DATABASE whence", " (x) y"] {
                tried += 1;
                let sql = format!("{keyword}{rest}");
                let answer = ask(&engine, who, &sql);
                if served(who).contains(&first) {
                    // What it does is held by the other tests; here, that nothing else begins a statement.
                    assert!(
                        answer.status != 200 || !["INSERT", "CREATE", "DROP", "ALTER"].contains(&first),
                        "{sql}"
                    );
                } else {
                    assert!(matches!(answer.code(), Some(497 | 358)), "{who:?} {sql}: {}", answer.text());
                }
            }
        }
    }
    assert!(tried > 5_000, "{tried}");
    tell("keywords");
}

#[test]
fn every_table_engine_is_of_the_mergetree_family_or_refused() {
    let engine = engine();
    let family = BTreeSet::from([
        "MergeTree",
        "ReplacingMergeTree",
        "SummingMergeTree",
        "AggregatingMergeTree",
        "CollapsingMergeTree",
        "VersionedCollapsingMergeTree",
        "CoalescingMergeTree",
    ]);
    for name in names(&engine, "SELECT name FROM system.table_engines ORDER BY name") {
        for (who, database) in [(Who::Owner, "whence"), (Who::Reader, "scratch")] {
            for clause in [
                format!("ENGINE = {name}"),
                format!("ENGINE {name}"),
                format!("ENGINE={name}()"),
                format!("engine = `{name}`('/tmp/x')"),
                format!("ENGINE = {name}('127.0.0.1:1', 'a', 'b', 'c', 'd') ORDER BY a"),
            ] {
                let sql = format!("CREATE TABLE {database}.e (a String) {clause}");
                if !family.contains(name.as_str()) {
                    assert_eq!(ask(&engine, who, &sql).code(), Some(497), "{who:?} {sql}");
                }
            }
        }
    }
    for engine_of_database in names(&engine, "SELECT name FROM system.database_engines ORDER BY name") {
        for who in [Who::Owner, Who::Reader] {
            let sql = format!("CREATE DATABASE e ENGINE = {engine_of_database}('/tmp/x')");
            assert_eq!(ask(&engine, who, &sql).code(), Some(497), "{who:?} {sql}");
        }
    }
    assert_eq!(
        ask(&engine, Who::Owner, "CREATE TABLE whence.e (a String) ENGINE = MergeTree ORDER BY a").status,
        200
    );
    assert_eq!(
        ask(&engine, Who::Reader, "CREATE TABLE scratch.e (a String) ENGINE = MergeTree ORDER BY a").status,
        200
    );
    tell("engines");
}

#[test]
fn every_table_function_makes_rows_of_nothing_or_is_refused() {
    let engine = engine();
    let served = BTreeSet::from([
        "generateSeries",
        "generate_series",
        "numbers",
        "numbers_mt",
        "primes",
        "view",
        "zeros",
        "zeros_mt",
    ]);
    for name in names(&engine, "SELECT name FROM system.table_functions ORDER BY name") {
        if served.contains(name.as_str()) {
            continue;
        }
        for who in [Who::Owner, Who::Reader] {
            let scratch = if who == Who::Owner { "whence" } else { "scratch" };
            for sql in [
                format!("SELECT * FROM {name}('x')"),
                format!("SELECT * FROM {name} /* */ ('/etc/passwd', 'CSV', 'a String')"),
                format!("SELECT * FROM `{name}`('x')"),
                format!("SELECT * FROM \"{name}\"('x')"),
                format!("SELECT 1 WHERE 1 IN (SELECT * FROM {name}('x'))"),
                format!("SELECT * FROM system.one JOIN {name}('x') AS t ON 1"),
                format!("SELECT * FROM system.one, {name}('x')"),
                format!("WITH t AS (SELECT * FROM {name}('x')) SELECT * FROM t"),
                format!("DESCRIBE TABLE {name}('x')"),
                format!("EXPLAIN SELECT * FROM {name}('x')"),
                format!("CREATE TABLE {scratch}.f AS {name}('x')"),
                format!("CREATE VIEW {scratch}.f AS SELECT * FROM {name}('x')"),
                format!("INSERT INTO FUNCTION {name}('x') SELECT 1"),
                format!("INSERT INTO TABLE FUNCTION {name}('x') FORMAT CSV\n1"),
                format!("INSERT INTO {scratch}.f SELECT * FROM {name}('x')"),
            ] {
                let code = ask(&engine, who, &sql).code();
                assert!(code.is_some_and(|code| REFUSED.contains(&code)), "{who:?} {sql}: {code:?}");
            }
        }
    }
    tell("table functions");
}

#[test]
fn every_function_is_on_the_list_or_refused_called_or_passed_on() {
    let engine = engine();
    let listed: BTreeSet<&str> = include_str!("../../src/sql/allow/functions.txt").lines().collect();
    let functions = names(&engine, "SELECT name FROM system.functions ORDER BY name");
    let (mut served, mut kept_out) = (0, Vec::new());
    for name in &functions {
        if listed.contains(name.as_str()) {
            // The word that joins, or one that only operators use, is not called by its name.
            served += 1;
            continue;
        }
        kept_out.push(name.clone());
        for sql in [
            format!("SELECT {name}()"),
            format!("SELECT {name}('/etc/passwd')"),
            format!("SELECT `{name}`('x')"),
            format!("SELECT arrayMap({name}, ['x'])"),
            format!("SELECT arrayMap(x -> {name}(x), ['x'])"),
            format!("SELECT * APPLY({name}) FROM system.one"),
            format!("SELECT * APPLY {name} FROM system.one"),
            format!("WITH {name}('x') AS y SELECT y"),
            format!("SELECT arrayMap(`{name}`, ['x'])"),
            format!("SELECT * APPLY `{name}` FROM system.one"),
            format!("INSERT INTO scratch.t VALUES ({name}('x'))"),
            format!("CREATE TABLE scratch.t (a String DEFAULT {name}('x')) ENGINE = MergeTree ORDER BY a"),
            format!("SELECT number FROM numbers(1) ORDER BY {name}('x') LIMIT 1 BY {name}('y')"),
        ] {
            for who in [Who::Owner, Who::Reader] {
                let answer = ask(&engine, who, &sql);
                assert_eq!(answer.code(), Some(497), "{who:?} {sql}: {}", answer.text());
            }
        }
    }
    // What reads files, dictionaries and other machines is kept out; most of SQL is not.
    assert!(kept_out.contains(&"file".to_owned()) && kept_out.contains(&"dictGet".to_owned()));
    assert!(served > 1_600 && kept_out.len() > 100, "{served} served, {} kept out", kept_out.len());
    for sql in [
        "SELECT sumIf(number, number > 1), uniqExactArray([1]), quantilesTDigest(0.5, 0.9)(number) FROM numbers(9)",
        "SELECT arrayMap(x -> toString(x), [1]), CAST('1' AS Decimal(10, 2)), extract('a1', '\\\\d')",
        "SELECT count() OVER (PARTITION BY number), row_number() OVER (ORDER BY number) FROM numbers(2)",
        "SELECT * EXCEPT (number) REPLACE (1 AS x) FROM (SELECT number, 2 AS x FROM numbers(1))",
        "SELECT COLUMNS('number') APPLY(toString) FROM numbers(2)",
        "SELECT dateAdd(DAY, 1, toDate('2026-01-01')), DATE_SUB(toDate('2026-01-01'), INTERVAL 1 DAY)",
        "SELECT trim(BOTH ' ' FROM ' x '), substring('abc' FROM 2), position('b' IN 'abc')",
        "SELECT 1 WHERE (1, 2) IN ((1, 2)) AND NOT (1 = 2) GROUP BY GROUPING SETS ((1), ())",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT max(n) FROM t",
        "SELECT 5 / 2 // note",
        "SELECT hostname, `file`, sleep FROM (SELECT 1 AS hostname, 2 AS file, 3 AS sleep)",
        "WITH b(y) AS (SELECT 2) SELECT y FROM b",
        "DESCRIBE TABLE (SELECT 1 AS a)",
        "SELECT displayName(), version(), revision(), timezone()",
        "SELECT 1 AS insert, 'é' AS `ü`",
        "SELECT tuple(1, 2).2, [1, 2][1], '{\"a\":1}'::JSON.a, 1e-5, .5",
        "SELECT toTypeName(sumState(number)), sumMerge(s) FROM (SELECT number, sumState(1) AS s FROM numbers(1) GROUP BY number) GROUP BY number",
    ] {
        for who in [Who::Owner, Who::Reader] {
            let answer = ask(&engine, who, sql);
            assert_eq!(answer.status, 200, "{who:?} {sql}: {}", answer.text());
        }
    }
    tell("functions");
}

#[test]
fn every_table_of_the_system_is_on_the_list_or_refused() {
    let engine = engine();
    let served = BTreeSet::from([
        "aggregate_function_combinators",
        "build_options",
        "collations",
        "columns",
        "contributors",
        "data_skipping_indices",
        "clusters",
        "current_roles",
        "data_type_families",
        "database_engines",
        "databases",
        "dictionaries",
        "enabled_roles",
        "formats",
        "functions",
        "keywords",
        "licenses",
        "merge_tree_settings",
        "numbers",
        "numbers_mt",
        "one",
        "projections",
        "settings",
        "table_engines",
        "table_functions",
        "tables",
        "time_zones",
        "zeros",
    ]);
    let tables = names(&engine, "SELECT name FROM system.tables WHERE database = 'system' ORDER BY name");
    assert!(tables.len() > 80, "{}", tables.len());
    for table in tables.iter().filter(|table| !served.contains(table.as_str())) {
        for sql in [
            format!("SELECT * FROM system.{table}"),
            format!("SELECT * FROM `system`.\"{table}\""),
            format!("SELECT * FROM system /* */ . {table}"),
            format!("SELECT 1 IN system.{table}"),
            format!("SELECT * FROM {{d:Identifier}}.{table}"),
            format!("DESCRIBE system.{table}"),
            format!("CREATE VIEW scratch.v AS SELECT * FROM system.{table}"),
        ] {
            assert_eq!(ask(&engine, Who::Reader, &sql).code(), Some(497), "{sql}");
        }
        assert_eq!(engine.read("/?database=system", &format!("SELECT * FROM {table}")).code(), Some(497));
        let sql = format!("INSERT INTO system.{table} SELECT 1");
        assert!(refused(&engine, Who::Owner, &sql), "{sql}");
    }
    for table in served {
        let answer = ask(&engine, Who::Reader, &format!("SELECT * FROM system.{table} LIMIT 1 FORMAT Null"));
        assert_eq!(answer.status, 200, "{table}: {}", answer.text());
    }
    tell("tables of the system");
}

#[test]
fn every_setting_of_the_reader_is_on_the_list_or_refused_and_bounds_hold() {
    let engine = engine();
    let mut served = Vec::new();
    for line in names(&engine, "SELECT name, value FROM system.settings ORDER BY name") {
        let (name, value) = line.split_once('\t').unwrap();
        if ["max_memory_usage", "max_execution_time", "max_threads", "readonly"].contains(&name) {
            continue;
        }
        let url = engine.read(&format!("/?{name}={}", value.replace(' ', "+")), "SELECT 1").code();
        let text = ask(&engine, Who::Reader, &format!("SELECT 1 SETTINGS {name} = '{value}'")).code();
        match url {
            Some(452) => assert_eq!(text, Some(452), "{name}"),
            _ => served.push(name.to_owned()),
        }
    }
    // What reads or writes files, changes the language, or logs is on no list.
    for dangerous in [
        "dialect",
        "format_schema",
        "output_format_schema",
        "format_template_row",
        "input_format_record_errors_file_path",
        "format_avro_schema_registry_url",
        "allow_introspection_functions",
        "default_view_definer",
        "default_table_engine",
        "allow_experimental_kusto_dialect",
    ] {
        assert!(!served.contains(&dangerous.to_owned()), "{dangerous}");
    }
    assert!((60..200).contains(&served.len()), "{}: {served:?}", served.len());
    // In a URL, more than the maximum is the maximum: clients ask for a little more than their own patience.
    for (asked, name, given) in [
        ("max_threads=64", "max_threads", "2"),
        ("max_threads=0", "max_threads", "2"),
        ("max_execution_time=65", "max_execution_time", "60"),
        ("max_execution_time=0", "max_execution_time", "60"),
        ("max_memory_usage=999999999999", "max_memory_usage", "268435456"),
        ("max_memory_usage=0", "max_memory_usage", "268435456"),
        ("log_comment=mine", "readonly", "2"),
        ("readonly=1", "readonly", "1"),
    ] {
        let answer = engine.read(&format!("/?{asked}"), &format!("SELECT getSetting('{name}')"));
        assert_eq!(answer.text(), format!("{given}\n"), "{asked}");
    }
    for odd in [
        "max_threads=auto(64)",
        "max_execution_time=-1",
        "max_execution_time=1e-9",
        "max_execution_time=inf",
        "max_memory_usage=0.5",
        "readonly=0",
        "readonly=00",
        "readonly=+0",
        "readonly=",
    ] {
        assert_eq!(
            engine.read(&format!("/?{}", odd.replace('+', "%2B")), "SELECT 1").code(),
            Some(452),
            "{odd}"
        );
    }
    for beyond in [
        "max_memory_usage=0",
        "max_memory_usage=0.5",
        "max_memory_usage=999999999999",
        "max_threads=64",
        "max_threads=0",
        "max_threads=auto(64)",
        "max_execution_time=0",
        "max_execution_time=0.0000001",
        "max_execution_time=-1",
        "max_execution_time=1e9",
        "max_execution_time=inf",
        "max_execution_time=nan",
        "readonly=0",
        "extremes, max_memory_usage=0",
        "limit==1, max_memory_usage=0",
        "http_zlib_compression_level = -1, max_memory_usage=0",
        "input_format_allow_errors_ratio=1e-5, max_memory_usage=0",
    ] {
        let sql = format!("SELECT 1 SETTINGS limit = 1, {beyond}");
        assert!(refused(&engine, Who::Reader, &sql), "{sql}");
        let sql = format!("SELECT * FROM (SELECT 1 SETTINGS {beyond})");
        assert!(refused(&engine, Who::Reader, &sql), "{sql}");
    }
    let sql = "SELECT 1 SETTINGS max_memory_usage = 1.5e10";
    assert_eq!(ask(&engine, Who::Reader, sql).code(), Some(452));
    assert_eq!(
        engine.read("/?max_threads=1&max_execution_time=5", "SELECT getSetting('max_threads')").text(),
        "1\n"
    );
    let own = "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage') <= 268435456, getSetting('readonly')";
    assert_eq!(ask(&engine, Who::Reader, own).text(), "60\t1\t2\n");
    tell("settings");
}

#[test]
fn each_attack_that_got_in_is_refused_whoever_asks() {
    let engine = engine();
    engine.query("CREATE TABLE whence.ledger (a UInt64, s String) ENGINE = MergeTree ORDER BY a");
    engine.query("INSERT INTO whence.ledger VALUES (1, 'kept')");
    let proof = engine.data.path().join("proof");
    let proof = proof.to_str().unwrap();
    for sql in [
        format!(
            "CREATE DICTIONARY whence.d (a UInt64, s String) PRIMARY KEY a \
             SOURCE(EXECUTABLE(COMMAND 'touch {proof}' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)"
        ),
        "CREATE DICTIONARY whence.d (a UInt64) PRIMARY KEY a SOURCE(HTTP(URL 'http://127.0.0.1:1/' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)".into(),
        "CREATE DICTIONARY whence.d (a UInt64) PRIMARY KEY a SOURCE(MYSQL(HOST '127.0.0.1' PORT 1 DB 'x' TABLE 'y')) LAYOUT(FLAT()) LIFETIME(0)".into(),
        "CREATE DICTIONARY whence.d (a UInt64) PRIMARY KEY a SOURCE(REDIS(HOST '127.0.0.1' PORT 1)) LAYOUT(FLAT()) LIFETIME(0)".into(),
        "CREATE DICTIONARY whence.d (a UInt64) PRIMARY KEY a SOURCE(CLICKHOUSE(HOST '127.0.0.1' PORT 1 TABLE 'y')) LAYOUT(FLAT()) LIFETIME(0)".into(),
        format!("CREATE DICTIONARY whence.d (a UInt64) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 'ledger')) LAYOUT(SSD_CACHE(PATH '{proof}')) LIFETIME(1)"),
        format!("CREATE OR REPLACE DICTIONARY whence.d (a UInt64) PRIMARY KEY a SOURCE(FILE(PATH '{proof}' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)"),
        format!("CREATE TABLE whence.r (a UInt64) ENGINE = EmbeddedRocksDB(0, '{proof}') PRIMARY KEY a"),
        format!("CREATE TABLE scratch.r (a UInt64) ENGINE = EmbeddedRocksDB(0, '{proof}') PRIMARY KEY a"),
        format!("CREATE TABLE whence.r (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = 'local', path = '{proof}/')"),
        format!("CREATE TABLE scratch.r (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = 'local', path = '{proof}/')"),
        "CREATE TABLE scratch.r (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS storage_policy = 'x'".into(),
        format!("CREATE TABLE scratch.r (a UInt64, t DateTime) ENGINE = MergeTree ORDER BY a TTL t TO DISK '{proof}'"),
        "CREATE TABLE scratch.r (a UInt64) ENGINE = Executable('x.sh', TSV)".into(),
        "SELECT * FROM executable('x.sh', 'TSV', 'a String')".into(),
        "EXCHANGE TABLES whence.ledger AND whence.other".into(),
        "RENAME TABLE whence.ledger TO scratch.ledger".into(),
        "RENAME DATABASE whence TO elsewhere".into(),
        "DETACH DATABASE whence".into(),
        "DETACH TABLE whence.ledger PERMANENTLY".into(),
        "DROP DATABASE whence".into(),
        "DROP TABLE system.one".into(),
        "ATTACH TABLE whence.x FROM '/etc' (a UInt64) ENGINE = MergeTree ORDER BY a".into(),
        "ALTER TABLE whence.ledger FREEZE WITH NAME 'x'".into(),
        "ALTER TABLE whence.ledger FETCH PARTITION tuple() FROM '/x'".into(),
        "ALTER TABLE whence.ledger MOVE PARTITION tuple() TO DISK 'x'".into(),
        "ALTER TABLE whence.ledger DETACH PARTITION tuple()".into(),
        "ALTER TABLE whence.ledger DROP PARTITION tuple()".into(),
        "ALTER TABLE whence.ledger DROP PARTITION ALL".into(),
        "ALTER TABLE whence.ledger DROP PARTITION 202611, DROP PARTITION 202612".into(),
        "ALTER TABLE whence.ledger DROP PARTITION ID 'all'".into(),
        "ALTER TABLE whence.ledger ATTACH PARTITION tuple() FROM scratch.e".into(),
        "ALTER TABLE whence.ledger REPLACE PARTITION tuple() FROM scratch.e".into(),
        "ALTER TABLE whence.ledger UPDATE s = file('/etc/passwd') WHERE 1".into(),
        "ALTER TABLE whence.ledger MODIFY SETTING disk = 'x'".into(),
        "ALTER DATABASE whence MODIFY SETTING x = 1".into(),
        format!("BACKUP TABLE whence.ledger TO File('{proof}')"),
        format!("RESTORE TABLE whence.ledger FROM File('{proof}')"),
        format!("SELECT 1 INTO OUTFILE '{proof}'"),
        format!("INSERT INTO whence.ledger FROM INFILE '{proof}' FORMAT TSV"),
        format!("INSERT INTO FUNCTION file('{proof}', 'TSV', 'a String') SELECT 'x'"),
        "CREATE FUNCTION f AS (x) -> x".into(),
        "CREATE USER intruder".into(),
        "CREATE ROLE intruder".into(),
        "GRANT ALL ON *.* TO default".into(),
        "SET ROLE whence_keeper".into(),
        "SET ROLE DEFAULT".into(),
        "SET DEFAULT ROLE ALL TO default".into(),
        "EXECUTE AS default SELECT 1".into(),
        "CREATE NAMED COLLECTION c AS url = 'x'".into(),
        "CREATE WORKLOAD all".into(),
        "CREATE RESOURCE r (READ DISK d)".into(),
        "CREATE TEMPORARY TABLE t (a UInt8)".into(),
        "CREATE DATABASE evil".into(),
        "CREATE LIVE VIEW whence.v AS SELECT 1".into(),
        "CREATE WINDOW VIEW whence.v AS SELECT count() FROM whence.ledger GROUP BY tumble(now(), INTERVAL '1' SECOND)".into(),
        "CREATE VIEW scratch.v DEFINER = default SQL SECURITY DEFINER AS SELECT * FROM whence.ledger".into(),
        "CREATE VIEW scratch.v SQL SECURITY NONE AS SELECT * FROM whence.ledger".into(),
        "CREATE TABLE scratch.v ON CLUSTER default (a UInt8) ENGINE = MergeTree ORDER BY a".into(),
        "CREATE TABLE scratch.a (a UInt8) ENGINE = MergeTree ORDER BY a PARALLEL WITH TRUNCATE TABLE whence.ledger".into(),
        "INSERT INTO scratch.a SELECT 1 PARALLEL WITH DROP TABLE whence.ledger".into(),
        "SELECT * FROM kql($$whence.ledger | project a$$)".into(),
        "SYSTEM SHUTDOWN".into(),
        "SYSTEM STOP MERGES".into(),
        "SYSTEM START LISTEN TCP".into(),
        "SYSTEM RELOAD CONFIG".into(),
        "KILL QUERY WHERE 1".into(),
        "KILL MUTATION WHERE 1".into(),
        "SHOW PROCESSLIST".into(),
        "SHOW ACCESS".into(),
        "SHOW USERS".into(),
        "SELECT * FROM `/etc/passwd`".into(),
        "SELECT * FROM default.`/etc/passwd`".into(),
        "SELECT * FROM merge('system', '.*')".into(),
        "SELECT * FROM dictionary('d')".into(),
        "SELECT hasColumnInTable('127.0.0.1', 'default', '', 'system', 'one', 'dummy')".into(),
        "SELECT catboostEvaluate('/etc/passwd', 1)".into(),
        "SELECT showCertificate()".into(),
        "SELECT getServerPort('tcp_port')".into(),
        "SELECT AIGenerate('x')".into(),
        "EXPLAIN TABLE OVERRIDE mysql('127.0.0.1:1', 'd', 't', 'u', 'p') PARTITION BY x".into(),
        "DESCRIBE TABLE url('http://127.0.0.1:1/')".into(),
        "SELECT 1 SETTINGS dialect = 'kusto'".into(),
        "COPY whence.ledger TO STDOUT".into(),
        "WATCH whence.ledger".into(),
        "CHECK TABLE whence.ledger".into(),
        "MOVE USER x TO y".into(),
        "UNDROP TABLE whence.ledger".into(),
        "DELETE FROM whence.ledger WHERE 1".into(),
        "UPDATE whence.ledger SET s = '' WHERE 1".into(),
        "USE system".into(),
        "BEGIN TRANSACTION".into(),
        // What the engine's lexer reads otherwise than one might think.
        "DROP TABLE IF EXISTS scratch.zz // '\n ; SET ROLE whence_owner; TRUNCATE TABLE whence.ledger -- '\n".into(),
        "SELECT 1, '// '\n ; SET ROLE whence_owner; TRUNCATE TABLE whence.ledger -- '\n".into(),
        "SELECT 1, file( -- '\n /* */ '/etc/hostname')".into(),
        "SELECT * FROM system // x\n . server_settings".into(),
        "SELECT * FROM /* // */ system.user_directories".into(),
        "CREATE VIEW scratch.dv // '\n DEFINER=default SQL SECURITY DEFINER AS SELECT 1 -- '".into(),
        format!("EXPLAIN SYNTAX SELECT 'evil', .5INTO OUTFILE '{proof}' FORMAT TSV"),
        "SELECT getSetting('max_memory_usage'), .5SETTINGS max_memory_usage=0".into(),
        "SELECT 1. SETTINGS dialect='kusto'".into(),
        "SELECT 1 SETTINGS extremes, additional_result_filter='file(\\'/etc/passwd\\')=1'".into(),
        format!("SELECT 1 SETTINGS extremes, output_format_schema='{proof}' FORMAT Protobuf"),
        "SELECT 1, 1\u{2212}file('/etc/hostname')::UInt8".into(),
        "SELECT $$x$$".into(),
        "SELECT arrayMap(`file`, ['/etc/hostname'])".into(),
        "SELECT * APPLY `file` FROM (SELECT '/etc/hostname' AS a)".into(),
        "CREATE TABLE scratch.with (s String) ENGINE = Log".into(),
        "CREATE TABLE scratch.`select` (s String) ENGINE = Memory".into(),
        "CREATE TABLE scratch.t (with Int8) ORDER BY with ENGINE = EmbeddedRocksDB".into(),
        "SELECT * FROM format(ORC, unhex('4f5243'))".into(),
        "SELECT * FROM format('ORC', unhex('4f5243'))".into(),
        "INSERT INTO scratch.t FORMAT ORC\nx".into(),
        "SELECT length(printf('%2000000000d', 1))".into(),
        format!("SELECT x{}(1)", "If".repeat(100_000)),
    ] {
        for who in [Who::Owner, Who::Reader] {
            let answer = ask(&engine, who, &sql);
            let code = answer.code();
            assert!(code.is_some_and(|code| REFUSED.contains(&code)), "{who:?} {sql}: {}", answer.text());
        }
    }
    assert!(!std::path::Path::new(proof).exists());
    // A view that is called like one of the engine's own table functions stays a view.
    for name in ["loop", "executable", "mergeTreeIndex", "kql", "viewExplain"] {
        assert_eq!(
            ask(&engine, Who::Reader, &format!("CREATE VIEW scratch.{name} AS SELECT 1 AS a")).status,
            200
        );
        let answer =
            engine.read("/?database=scratch", &format!("SELECT * FROM {name}('system', 'processes')"));
        assert!(
            answer.status != 200 && !answer.text().contains("processes WHERE"),
            "{name}: {}",
            answer.text()
        );
        let answer = engine.read("/?database=scratch", &format!("SELECT a FROM {name}"));
        assert_eq!(answer.text(), "1\n", "{name}");
    }
    assert_eq!(engine.query("SELECT groupArray((a, s)) FROM whence.ledger"), "[(1,'kept')]");
    tell("attacks");
}

#[test]
fn the_reader_reads_everything_and_changes_nothing_of_the_owners() {
    let engine = engine();
    engine.query("CREATE TABLE whence.ledger (a UInt64, s String) ENGINE = MergeTree ORDER BY a");
    engine.query("CREATE VIEW whence.sums AS SELECT sum(a) AS s FROM whence.ledger");
    engine.query("CREATE VIEW whence.above AS SELECT a FROM whence.ledger WHERE a > {least:UInt64}");
    engine.query("INSERT INTO whence.ledger VALUES (1, 'x'), (5, 'y')");
    for sql in [
        "INSERT INTO whence.ledger VALUES (2, 'z')",
        "INSERT INTO whence.ledger SELECT 2, 'z'",
        "WITH 1 AS x INSERT INTO whence.ledger SELECT x, 'z'",
        "INSERT INTO whence.ledger FORMAT CSV\n2,z\n",
        "ALTER TABLE whence.ledger UPDATE s = '' WHERE 1",
        "ALTER TABLE whence.ledger DELETE WHERE 1",
        "ALTER TABLE whence.ledger DROP PARTITION 202611",
        "TRUNCATE TABLE whence.ledger",
        "OPTIMIZE TABLE whence.ledger FINAL",
        "DROP TABLE whence.ledger",
        "DROP TABLE scratch.x, whence.ledger",
        "DROP VIEW whence.sums",
        "CREATE TABLE whence.mine (a UInt8) ENGINE = MergeTree ORDER BY a",
        "CREATE OR REPLACE TABLE whence.ledger (a UInt8) ENGINE = MergeTree ORDER BY a",
        "CREATE VIEW whence.mine AS SELECT 1",
        "CREATE MATERIALIZED VIEW scratch.m TO whence.ledger AS SELECT a, s FROM whence.ledger",
        "CREATE MATERIALIZED VIEW scratch.m ENGINE = MergeTree ORDER BY a AS SELECT a FROM whence.ledger",
    ] {
        let answer = ask(&engine, Who::Reader, sql);
        assert_eq!(answer.code(), Some(497), "{sql}: {}", answer.text());
        let answer = engine.read("/?database=whence", &sql.replace("whence.", ""));
        assert_eq!(answer.code(), Some(497), "{sql} in whence: {}", answer.text());
    }
    for (sql, expected) in [
        ("SELECT s FROM whence.sums", "6\n"),
        ("SELECT a FROM whence.above(least = 3)", "5\n"),
        ("SHOW TABLES FROM whence", "above\nledger\nsums\n"),
        ("CHECK GRANT SELECT ON whence.*", "1\n"),
        ("CHECK GRANT INSERT ON whence.*", "0\n"),
        ("SELECT count() FROM system.columns WHERE database = 'whence' AND table = 'ledger'", "2\n"),
        ("SELECT count() FROM information_schema.tables WHERE table_schema = 'whence'", "3\n"),
    ] {
        let answer = ask(&engine, Who::Reader, sql);
        assert_eq!(answer.text(), expected, "{sql}");
    }
    assert_eq!(engine.read("/?database=whence", "SELECT a FROM above(least = 3)").text(), "5\n");
    assert_eq!(engine.read("/?database=whence", "SELECT a FROM below(least = 3)").code(), Some(497));
    // What the reader makes of it is the reader's.
    let made = [
        "CREATE TABLE scratch.mine ENGINE = MergeTree ORDER BY a AS SELECT * FROM whence.ledger",
        "INSERT INTO scratch.mine SELECT a + 10, s FROM whence.ledger",
        "INSERT INTO scratch.mine FORMAT CSV\n7,\"z\"\n",
        "INSERT INTO scratch.mine (a, s) VALUES (8, 'ab')",
        "CREATE VIEW scratch.view AS SELECT max(a) AS most FROM scratch.mine",
    ];
    for sql in made {
        assert_eq!(
            ask(&engine, Who::Reader, sql).status,
            200,
            "{sql}: {}",
            ask(&engine, Who::Reader, sql).text()
        );
    }
    assert_eq!(engine.read("/?database=scratch", "SELECT most FROM view").text(), "15\n");
    assert_eq!(ask(&engine, Who::Reader, "SELECT count() FROM scratch.mine").text(), "6\n");
    for sql in ["DROP VIEW scratch.view", "DROP TABLE IF EXISTS scratch.mine"] {
        assert_eq!(ask(&engine, Who::Reader, sql).status, 200, "{sql}");
    }
    assert_eq!(engine.query("SELECT count(), sum(a) FROM whence.ledger"), "2\t6");
    tell("the reader");
}

#[test]
fn nobody_asks_without_credentials_and_no_page_of_another_site_does() {
    let engine = engine();
    let address = engine.process.address();
    let own = basic("default", engine.process.password());
    for headers in [
        &[][..],
        &[("x-clickhouse-user", "default")],
        &[("x-clickhouse-user", "default"), ("x-clickhouse-key", "")],
        &[("x-clickhouse-user", "reader"), ("x-clickhouse-key", "")],
        &[("x-clickhouse-user", "whence_keeper"), ("x-clickhouse-key", "")],
    ] {
        for target in ["/", "/?query=SELECT+1", "/?user=default", "/?user=default&password="] {
            let answer = request(address, "POST", target, headers, b"SELECT 1");
            assert_eq!(answer.code(), Some(516), "{target} {headers:?}: {}", answer.text());
        }
    }
    for (header, value, status) in [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://localhost:1", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "none", 200),
    ] {
        let headers = [("authorization", own.as_str()), (header, value)];
        for method in ["POST", "GET"] {
            let answer = request(address, method, "/?query=SELECT+1", &headers, b"");
            assert_eq!(answer.status, status, "{method} {header} {value}: {}", answer.text());
        }
    }
    // By a name that was made to resolve to this machine.
    for (host, status) in [("evil.example", 421), ("localhost.evil.example:8123", 421), ("127.0.0.1", 200)] {
        let answer = crate::support::request_to(host, address, &[("authorization", &own)], b"SELECT 1");
        assert_eq!(answer.status, status, "{host}: {}", answer.text());
    }
}

#[test]
fn the_roles_for_a_real_server_are_statements_that_the_engine_can_read() {
    use whence_clickhouse_embedded::rights::{Databases, ReaderLimits, script};

    let engine = engine();
    let databases = Databases { owned: vec!["whence".into()], scratch: "scratch".into() };
    let limits = ReaderLimits { memory_bytes_max: 1 << 30, seconds_max: 60, queries_max: 8 };
    for cluster in [None, Some("main")] {
        let script = script(&databases, cluster, &limits);
        let code: String = script.lines().filter(|line| !line.starts_with("--")).collect();
        let statements: Vec<&str> = code.split(';').filter(|statement| !statement.is_empty()).collect();
        assert!(statements.len() > 40, "{script}");
        for statement in statements {
            let read =
                engine.query(&format!("SELECT formatQuerySingleLine('{}')", statement.replace('\'', "\\'")));
            assert!(read.starts_with("CREATE") || read.starts_with("GRANT"), "{statement}: {read}");
            assert_eq!(read.contains("ON CLUSTER"), cluster.is_some(), "{statement}");
        }
        for refused in ["DICTIONARY", "FUNCTION", "SOURCES", "ALL ON", "EXCHANGE", "DETACH"] {
            assert!(!script.contains(refused), "{refused}");
        }
    }
}

#[test]
fn the_engines_own_lexer_reads_what_is_sent_to_it_as_it_was_checked() {
    // Random statements out of pieces that lexers differ on: whatever passes was compared token by token on
    // the way (`http::agree`), so a difference is told as such.
    let engine = engine();
    let pieces = [
        "SELECT", "1", ".5", "1e-5", "1e", "0x1F", "0b2", "1_0", "1._0", "1.", "a", "t.1.2", "`q`", "\"q\"",
        "'s'", "'\\''", "''", "/*", "*/", "/* */", "//", "--", "# x", "#!", "\n", " ", "\t", ",", "(", ")",
        "[", "]", "{", "}", ";", "->", "::", ":", "==", "<=>", "!=", "<>", "||", "|", "@@", "@", "?", "^",
        "%", "*", "+", "-", "/", "\\", "$", "$$", "$a$", "\u{a0}", "\u{2212}", "“", "’", "é", "FORMAT",
        "SETTINGS", "=", "_", "e5", "x", "\\G", "\0",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut outcomes = [0; 2];
    for _ in 0..3_000 {
        let length = 1 + random(12);
        let text: String = (0..length).map(|_| pieces[random(pieces.len())]).collect();
        let answer = ask(&engine, Who::Reader, &format!("SELECT {text}"));
        assert!(!answer.text().contains("read in two ways"), "{text:?}: {}", answer.text());
        outcomes[usize::from(answer.status == 200)] += 1;
    }
    assert!(outcomes[0] > 500 && outcomes[1] > 20, "{outcomes:?}");
}

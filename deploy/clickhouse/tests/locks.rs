//! The engine's own rights and the kernel's, each without the lock before it: statements go straight to the
//! engine, past the allow-list.
//!
//! One test, for a process can open one engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::path::Path;

use whence_clickhouse_embedded::confine::{Confined, Reach, confine};
use whence_clickhouse_embedded::engine::{Engine, EngineError, EngineLimits};
use whence_clickhouse_embedded::library;
use whence_clickhouse_embedded::rights::{Databases, Identity};

/// Everything that lets a statement reach out of the data folder.
const EVIL: [&str; 4] =
    ["SOURCES ON *.*", "CREATE DICTIONARY ON *.*", "dictGet ON *.*", "CREATE FUNCTION ON *.*"];

#[test]
fn each_lock_holds_without_the_one_before_it() {
    let (own, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = foreign.path().join("secret.csv");
    std::fs::write(&secret, "a secret\n").unwrap();
    let data = own.path().to_owned();
    std::fs::create_dir(data.join("engine")).unwrap();
    let password = data.join("engine/password");
    std::fs::write(&password, "secret\n").unwrap();
    // Rights are taken from a thread and those that it starts; the engine's are among them.
    let thread = std::thread::spawn(move || {
        let library = library::find().unwrap();
        let read = library.parent().map(Path::to_owned).into_iter().collect();
        let confined =
            confine(&Reach { data: data.join("engine"), read, write: Vec::new(), connects: false }).unwrap();
        assert_ne!(confined, Confined::Not, "this machine's kernel has no landlock");
        let limits =
            EngineLimits { further_grants: EVIL.map(str::to_owned).into(), ..EngineLimits::default() };
        let databases = Databases { owned: vec!["db".into()], scratch: "scratch".into() };
        let engine = Engine::open(&library, &data.join("engine"), &limits, &databases).unwrap();
        the_engines_rights_hold_without_the_list(&engine, &secret);
        rows_are_not_evaluated_without_the_list(&engine);
        the_kernel_holds_without_both(&engine, &secret, &password);
        engine.close().unwrap();
    });
    thread.join().unwrap();
    assert_eq!(std::fs::read_dir(foreign.path()).unwrap().count(), 1, "the secret alone");
}

fn ask(engine: &Engine, identity: Identity, sql: &str) -> Result<String, EngineError> {
    let answer = engine.session(identity, &[])?.query(sql.as_bytes(), "TSVRaw", &[])?;
    Ok(String::from_utf8_lossy(&answer.output).into_owned())
}

/// What the reader is not granted, nobody's list has to refuse.
fn the_engines_rights_hold_without_the_list(engine: &Engine, secret: &Path) {
    let secret = secret.display();
    ask(engine, Identity::Owner, "CREATE TABLE db.t (a UInt64) ENGINE = MergeTree ORDER BY a").unwrap();
    ask(engine, Identity::Owner, "INSERT INTO db.t VALUES (1)").unwrap();
    for sql in [
        "CREATE DICTIONARY scratch.d (a UInt64) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'id' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)".to_owned(),
        format!("SELECT * FROM file('{secret}', 'LineAsString')"),
        format!("SELECT * FROM `{secret}`"),
        format!("INSERT INTO FUNCTION file('{secret}', 'CSV', 'a UInt8') SELECT 1"),
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')".into(),
        "SELECT * FROM remote('127.0.0.1', 'system.one')".into(),
        "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')".into(),
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'CSV', 'a String')".into(),
        "CREATE FUNCTION f AS (x) -> x".into(),
        "CREATE DATABASE evil".into(),
        "CREATE USER evil".into(),
        "GRANT whence_owner TO default".into(),
        "CREATE NAMED COLLECTION c AS a = 1".into(),
        "CREATE TABLE db.u (a UInt64) ENGINE = MergeTree ORDER BY a".into(),
        "INSERT INTO db.t VALUES (2)".into(),
        "ALTER TABLE db.t UPDATE a = 2 WHERE 1".into(),
        "ALTER TABLE db.t DELETE WHERE 1".into(),
        "TRUNCATE TABLE db.t".into(),
        "DROP TABLE db.t".into(),
        "DETACH TABLE db.t".into(),
        "DETACH DATABASE db".into(),
        "EXCHANGE TABLES db.t AND db.t".into(),
        "RENAME TABLE db.t TO scratch.t".into(),
        "SYSTEM SHUTDOWN".into(),
        "SYSTEM STOP MERGES db.t".into(),
        format!("BACKUP TABLE db.t TO File('{secret}')"),
    ] {
        let refused = ask(engine, Identity::Reader, &sql).map(|answer| panic!("{sql}: {answer}")).unwrap_err();
        assert!(matches!(&refused, EngineError::Exception(exception) if exception.code == 497), "{sql}: {refused}");
    }
    for sql in [
        "CREATE DATABASE evil",
        "CREATE USER evil",
        "DROP DATABASE db",
        "EXCHANGE TABLES db.t AND scratch.t",
        "RENAME TABLE db.t TO scratch.t",
        "CREATE TABLE scratch.t (a UInt8) ENGINE = MergeTree ORDER BY a",
        "SYSTEM SHUTDOWN",
    ] {
        let refused = ask(engine, Identity::Owner, sql).map(|answer| panic!("{sql}: {answer}")).unwrap_err();
        assert!(
            matches!(&refused, EngineError::Exception(exception) if exception.code == 497),
            "{sql}: {refused}"
        );
    }
    assert_eq!(ask(engine, Identity::Reader, "SELECT a FROM db.t").unwrap(), "1\n");
}

/// Whatever stands among rows in format `Values`, and whichever of the engine's parsers reads it.
fn rows_are_not_evaluated_without_the_list(engine: &Engine) {
    let make = "CREATE TABLE scratch.d (a Dynamic, s String, n UInt64, b Dynamic) ENGINE = MergeTree ORDER BY tuple()";
    ask(engine, Identity::Reader, make).unwrap();
    let insert = |rows: &str| {
        engine.session(Identity::Reader, &[]).unwrap().insert(b"INSERT INTO scratch.d", "Values", &[], [rows])
    };
    for rows in [
        "('a', upper('x'), 1, 'b')",
        "([ `] , upper('x'), 1, [`])",
        "([ \"] , upper('x'), 1, [\"])",
        "('a', 'x', 1 + 1, 'b')",
        "('a', 'x', 1, upper('b')), ('a', 'x', 1, upper('c'))",
        "('a', concat('x', 'y'), 1, 'b'), ('a', concat('x', 'z'), 1, 'b')",
    ] {
        let stored = insert(rows);
        assert!(stored.is_err(), "{rows}: {stored:?}");
    }
    insert("('a','x',1,['b']),(NULL,'it''s',2,{'a':1})").unwrap();
    assert_eq!(ask(engine, Identity::Reader, "SELECT count() FROM scratch.d").unwrap(), "2\n");
}

/// An owner who was granted everything, and no list: nothing leaves the folder.
fn the_kernel_holds_without_both(engine: &Engine, secret: &Path, password: &Path) {
    let (secret, folder) = (secret.display(), secret.parent().unwrap().display());
    let owner = |sql: &str| ask(engine, Identity::Owner, sql);
    for sql in [
        format!("SELECT file('{secret}')"),
        format!("SELECT * FROM file('{secret}', 'LineAsString')"),
        format!("INSERT INTO FUNCTION file('{folder}/new.csv', 'CSV', 'a UInt8') SELECT 1"),
        format!("SELECT 1 INTO OUTFILE '{folder}/out.csv'"),
        "SELECT file('/etc/passwd')".into(),
        // Its own passwords, its environment, its memory: files that other locks are made of.
        format!("SELECT file('{}')", password.display()),
        format!("SELECT * FROM file('{}', 'LineAsString')", password.display()),
        "SELECT file('/proc/self/environ')".into(),
        "SELECT file('/proc/self/cmdline')".into(),
        "SELECT file('/proc/self/maps')".into(),
        "SELECT file('/proc/self/status')".into(),
        "SELECT file('/proc/1/status')".into(),
        "SELECT * FROM url('http://127.0.0.1:9/', 'CSV', 'a String') SETTINGS http_max_tries = 1".into(),
        "SELECT * FROM executable('id', 'TSV', 'a String')".into(),
        format!("CREATE TABLE db.r (a UInt64) ENGINE = EmbeddedRocksDB(0, '{folder}/rocks') PRIMARY KEY a"),
    ] {
        assert!(owner(&sql).is_err(), "{sql}");
    }
    for command in [format!("touch {folder}/made"), format!("cat {secret}")] {
        let made = owner(&format!(
            "CREATE OR REPLACE DICTIONARY db.d (a UInt64, s String) PRIMARY KEY a \
             SOURCE(EXECUTABLE(COMMAND '{command}' FORMAT 'TSV')) LAYOUT(FLAT()) LIFETIME(0)"
        ));
        assert!(made.is_err() || owner("SELECT * FROM db.d").is_err(), "{command}");
    }
}

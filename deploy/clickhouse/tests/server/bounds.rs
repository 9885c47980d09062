//! What the reader may take of time, memory and disk, and that neither the owner nor the next reader goes short.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Engine, basic};

#[test]
fn the_readers_tables_are_bounded_in_size_number_and_age() {
    let engine = Engine::start_with(&[
        "--scratch-bytes-max",
        "3000000",
        "--scratch-tables-max",
        "2",
        "--scratch-seconds-max",
        "3",
    ]);
    let make = |name: &str| format!("CREATE TABLE scratch.{name} (n UInt64) ENGINE = MergeTree ORDER BY n");
    assert_eq!(engine.read("/", &make("a")).status, 200);
    // A statement that would never end is ended once it has passed the bound; what came after is refused.
    let endless = "INSERT INTO scratch.a SELECT sipHash64(number) FROM numbers(100000000000)";
    let full = engine.read("/", endless);
    assert_eq!(full.code(), Some(201), "{}", full.text());
    let refused = engine.read("/", "INSERT INTO scratch.a VALUES (1)");
    assert_eq!(refused.code(), Some(201), "{}", refused.text());
    assert!(refused.text().contains("drop tables"), "{}", refused.text());
    let tables = || engine.read("/", "SELECT count() FROM system.tables WHERE database = 'scratch'").text();
    crate::support::eventually("what nobody changes is dropped", || tables() == "0\n");
    for name in ["b", "c"] {
        let made = engine.read("/", &make(name));
        assert_eq!(made.status, 200, "{}", made.text());
    }
    assert_eq!(engine.read("/", &make("d")).code(), Some(201));
    crate::support::eventually("there is room for a view again", || {
        engine.read("/", "CREATE VIEW scratch.v AS SELECT 1").status == 200
    });
    crate::support::eventually("a view goes, too", || tables() == "0\n");
}

#[test]
fn small_parts_and_their_files_count_for_what_they_take() {
    let engine = Engine::start_with(&["--scratch-bytes-max", "5000000"]);
    for (name, clause) in [("single", ""), ("parted", "PARTITION BY n")] {
        let make = format!("CREATE TABLE scratch.{name} (n UInt64) ENGINE = MergeTree ORDER BY n {clause}");
        assert_eq!(engine.read("/", &make).status, 200);
        let insert = match name {
            "single" => "INSERT INTO scratch.single VALUES (1)",
            _ => "INSERT INTO scratch.parted SELECT number FROM numbers(50)",
        };
        let full = (0..200).map(|_| engine.read("/", insert)).find(|answer| answer.status != 200);
        let full =
            full.expect("the bound is reached by parts of a few bytes, those that were merged included");
        assert_eq!(full.code(), Some(201), "{}", full.text());
        assert_eq!(engine.read("/", &format!("DROP TABLE scratch.{name}")).status, 200);
    }
}

#[test]
fn primary_keys_of_the_readers_tables_are_bounded_in_memory() {
    let engine = Engine::start_with(&["--scratch-bytes-max", "16000000"]);
    let make = "CREATE TABLE scratch.wide (s String) ENGINE = MergeTree ORDER BY s";
    assert_eq!(engine.read("/", make).status, 200);
    let insert =
        "INSERT INTO scratch.wide SELECT concat(toString(number), repeat('a', 1000000)) FROM numbers(20)";
    let full = (0..20).map(|_| engine.read("/", insert)).find(|answer| answer.status != 200).unwrap();
    assert_eq!(full.code(), Some(201), "{}", full.text());
    assert!(full.text().contains("primary keys"), "{}", full.text());
}

#[test]
fn the_reader_makes_plain_tables() {
    let engine = Engine::start();
    let settings = engine.query("SELECT name, value FROM system.merge_tree_settings ORDER BY name");
    let mut served = Vec::new();
    for line in settings.lines() {
        let (name, value) = line.split_once('\t').unwrap();
        let sql = format!(
            "CREATE TABLE scratch.{name} (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS {name} = '{value}'"
        );
        match engine.read("/", &sql).code() {
            Some(452) => {}
            _ => served.push(name),
        }
    }
    // The second is one of statements, too, and harmless as both.
    assert_eq!(served, ["allow_nullable_key", "async_insert"]);
    for sql in [
        "CREATE TABLE scratch.a (t DateTime, n UInt64) ENGINE = MergeTree ORDER BY n TTL t + INTERVAL 1 SECOND",
        "CREATE TABLE scratch.a (t DateTime, n UInt64 TTL t + INTERVAL 1 SECOND) ENGINE = MergeTree ORDER BY n",
        "CREATE TABLE scratch.a (t DateTime) ENGINE = MergeTree TTL t ORDER BY t",
    ] {
        assert_eq!(engine.read("/", sql).code(), Some(497), "{sql}");
    }
    let quoted = "CREATE TABLE scratch.a (`ttl` DateTime) ENGINE = MergeTree ORDER BY `ttl`";
    assert_eq!(engine.read("/", quoted).status, 200);
    engine.query(
        "CREATE TABLE whence.a (t DateTime, n UInt64) ENGINE = MergeTree ORDER BY n TTL t + INTERVAL 1 DAY \
         SETTINGS index_granularity = 256",
    );
}

#[test]
fn what_statements_of_the_reader_put_on_the_disk_while_they_run_is_bounded() {
    let engine = Engine::start_with(&["--reader-temporary-bytes-max", "80000000"]);
    let spill =
        "SELECT count() FROM (SELECT randomPrintableASCII(200) AS k FROM numbers(3000000) GROUP BY k)";
    let answer = engine.read("/?max_block_size=8192&max_bytes_before_external_group_by=20000000", spill);
    assert_eq!(answer.code(), Some(396), "{}", answer.text());
    let own = engine.read("/?max_temporary_data_on_disk_size_for_query=0", "SELECT 1");
    assert_eq!(own.code(), Some(452));
}

#[test]
fn tables_are_swept_whatever_their_names_are() {
    let engine = Engine::start_with(&["--scratch-seconds-max", "2"]);
    // Quoted in the two ways that there are, one of which each of them needs.
    let names = [
        "`it's`",
        "\"a`b\"",
        "`\"`",
        "`select`",
        "`\u{fc} \u{2028}`",
        "`a b;--`",
        "`{x:String}`",
        "`%00`",
        "`x/*`",
    ];
    for name in names {
        let make = format!("CREATE TABLE scratch.{name} (n UInt64) ENGINE = MergeTree ORDER BY n");
        let made = engine.read("/", &make);
        assert_eq!(made.status, 200, "{name}: {}", made.text());
    }
    let tables = || engine.query("SELECT count() FROM system.tables WHERE database = 'scratch'");
    crate::support::eventually("all are dropped", || tables() == "0");
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[test]
fn tables_made_and_dropped_again_and_again_leave_nothing_on_the_disk() {
    let engine = Engine::start();
    let make = "CREATE TABLE scratch.t ENGINE = MergeTree ORDER BY n AS \
                SELECT sipHash64(number) AS n FROM numbers(300000)";
    let before = size(engine.data.path());
    let mut one = 0;
    for _ in 0..8 {
        let made = engine.read("/", make);
        assert_eq!(made.status, 200, "{}", made.text());
        one = one.max(size(engine.data.path()).saturating_sub(before));
        assert_eq!(engine.read("/", "DROP TABLE scratch.t").status, 200);
    }
    let left = size(engine.data.path()).saturating_sub(before);
    assert!(one > 1_000_000 && left < one, "{left} bytes of eight tables of {one}");
}

#[test]
fn a_reader_that_takes_its_result_slowly_gives_its_place_back() {
    let flags = ["--reader-queries-max", "1", "--reader-seconds-max", "2", "--idle-seconds-max", "2"];
    let engine = Engine::start_with(&flags);
    let mut slow = crate::support::connect(engine.process.address());
    let own = basic("reader", engine.process.reader_password());
    let sql = "SELECT number, toString(number) FROM numbers(100000000000) FORMAT TSV";
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: {own}\r\ncontent-length: {}\r\n\r\n{sql}",
        sql.len()
    );
    slow.write_all(head.as_bytes()).unwrap();
    let mut piece = vec![0; 64 << 10];
    slow.read_exact(&mut piece).unwrap();
    thread::scope(|scope| {
        let next = scope.spawn(|| engine.read("/", "SELECT 1"));
        let deadline = Instant::now() + Duration::from_secs(240);
        // Never silent for as long as a pause may be, and never done.
        while !next.is_finished() && Instant::now() < deadline {
            let _ = slow.read(&mut piece);
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(next.join().unwrap().text(), "1\n");
    });
}

#[test]
fn a_readers_heavy_statements_stop_neither_inserts_nor_lookups_of_the_owner() {
    let engine = Engine::start_with(&["--reader-queries-max", "2", "--reader-memory-bytes-max", "200000000"]);
    engine.query("CREATE TABLE whence.t (n UInt64) ENGINE = MergeTree ORDER BY n");
    let engine = &engine;
    let running = || {
        engine.query("SELECT count() FROM system.processes WHERE query LIKE '%heavy%' AND query NOT LIKE '%processes%'")
    };
    thread::scope(|scope| {
        let heavy: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(move || {
                    engine.read(
                        "/?max_execution_time=20",
                        "SELECT 'heavy', sum(sipHash64(number)) FROM numbers(1000000000000)",
                    )
                })
            })
            .collect();
        crate::support::eventually("two of them run", || running() == "2");
        for n in 0..50 {
            assert_eq!(
                engine.post("/?query=INSERT+INTO+whence.t+FORMAT+CSV", &[], n.to_string().as_bytes()).status,
                200
            );
            assert_eq!(engine.query("SELECT count() FROM whence.t"), (n + 1).to_string());
        }
        assert_eq!(running(), "2", "no more than two at a time, and they still run");
        let greedy = engine.read("/", "SELECT length(groupArray(toString(number))) FROM numbers(1000000000)");
        let outcomes: Vec<_> = heavy.into_iter().map(|heavy| heavy.join().unwrap().code()).collect();
        assert!(outcomes.iter().all(|code| matches!(code, Some(159 | 202))), "{outcomes:?}");
        assert!(matches!(greedy.code(), Some(241 | 202)), "{}", greedy.text());
    });
}

#[test]
fn what_is_deep_or_long_ends_with_an_answer_and_not_with_the_server() {
    let engine = Engine::start();
    let tables: Vec<String> = (0..1000).map(|at| format!("(SELECT 1) t{at}")).collect();
    for sql in [
        format!("SELECT 1 FROM {}", tables.join(", ")),
        format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("SELECT {}", (0..40_000).map(|at| format!("${at}$ ")).collect::<String>()),
        format!("SELECT 1 {}", "SETTINGS limit=(".repeat(15_000)),
        format!("SELECT '{}'", "x".repeat(300_000)),
        format!("SELECT {}", "-".repeat(100_000)),
        format!("SELECT {}1", "NOT ".repeat(50_000)),
    ] {
        let answer = engine.read("/", &sql);
        assert!(answer.status >= 400 || answer.complete, "{}", &sql[..40]);
        assert_eq!(engine.read("/", "SELECT 1").text(), "1\n", "after {}", &sql[..40]);
    }
}

#[test]
fn a_readers_bodies_take_no_memory_of_the_owners() {
    let engine = Engine::start();
    engine.query("CREATE TABLE whence.t (n UInt64) ENGINE = MergeTree ORDER BY n");
    let own = basic("reader", engine.process.reader_password());
    let held: Vec<_> = (0..64)
        .map(|_| {
            let mut stream = crate::support::connect(engine.process.address());
            let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\nauthorization: {own}\r\ncontent-length: 33554432\r\n\r\nS");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for n in 0..20 {
        assert_eq!(engine.query("SELECT 1"), "1");
        let target = "/?query=INSERT+INTO+whence.t+FORMAT+CSV";
        assert_eq!(engine.post(target, &[], n.to_string().as_bytes()).status, 200);
    }
    drop(held);
}

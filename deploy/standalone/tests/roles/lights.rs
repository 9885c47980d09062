//! What a process says of itself while something is broken: each light is put out by the fault, and comes back when the
//! fault is gone.

use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::support::brokers::{OwnBroker, Shared};
use crate::support::clock::OtherClock;
use crate::support::hooks::{Receiver, Taken, write_secrets};
use crate::support::{Role, ask, ask_api, count, kill, run, until};
use serde_json::{Value, json};
use tempfile::tempdir;
use whence_runtime::disk::free_bytes;

/// One component as readiness has it.
fn component(whence: &Role, name: &str) -> Value {
    let (_, readiness) = whence.readiness();
    let components = readiness["components"].as_array().unwrap();
    components.iter().find(|component| component["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Waits until a component is not ready; its reason. Prints how long that took: with `--nocapture` a table of the lights.
fn reason(whence: &Role, name: &str) -> String {
    let began = Instant::now();
    let said = until(&format!("{name} is not ready"), || {
        component(whence, name)["reason"].as_str().map(str::to_owned)
    });
    println!("{name}: after {:.1} s \"{said}\"", began.elapsed().as_secs_f64());
    said
}

fn until_well(whence: &Role, name: &str) {
    let began = Instant::now();
    until(&format!("{name} is ready"), || (component(whence, name)["ready"] == true).then_some(()));
    println!("{name}: well after {:.1} s", began.elapsed().as_secs_f64());
}

/// No file of this process may grow beyond so many bytes from now on: to it, a full disk.
fn limit_files(pid: i32, bytes: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both point to a limit of this function's.
    let read = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, std::ptr::null(), &mut limit) };
    limit.rlim_cur = bytes.min(limit.rlim_max);
    // SAFETY: the same.
    let set = unsafe { libc::prlimit(pid, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!((read, set), (0, 0));
}

const UNLIMITED: u64 = u64::MAX;

#[test]
fn an_engine_alone_starts_again_in_its_folder_and_misses_what_is_gone() {
    let dir = tempdir().unwrap();
    let start = || Role::start(dir.path(), &["clickhouse"]);
    let engine = start();
    engine.until_ready();
    assert!(engine.stop().success());
    let engine = start();
    engine.until_ready();
    assert!(engine.stop().success());
    fs::remove_dir_all(dir.path().join("clickhouse/store")).unwrap();
    let refused = run(&["clickhouse", "--data", dir.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("lacks clickhouse/store"), "{said}");
}

#[test]
fn a_disk_that_fills_is_said_before_it_is_full_and_takes_no_traffic_away() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    // What others write meanwhile is less than half of it.
    const MARGIN: u64 = 2 << 30;
    let free = free_bytes(&data).unwrap();
    assert!(free > 4 * MARGIN, "this test needs 8 GiB of disk that is free");
    let floor = format!("{}MiB", (free - MARGIN) >> 20);
    let whence = Role::start(&data, &["up", "--disk-free-min", &floor]);
    whence.until_ready();
    until_well(&whence, "disk");
    let file = File::create(dir.path().join("large")).unwrap();
    // SAFETY: the file is open.
    assert_eq!(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, 2 * MARGIN as i64) }, 0);
    let said = reason(&whence, "disk");
    assert!(said.contains("MiB are free") && said.contains("disk-free-min"), "{said}");
    let (status, readiness) = whence.readiness();
    assert_eq!((status, &readiness["degraded"]), (200, &json!(true)), "{readiness}");
    fs::remove_file(dir.path().join("large")).unwrap();
    drop(file);
    until_well(&whence, "disk");
}

#[test]
fn an_endpoint_that_takes_nothing_is_named_until_it_takes_something() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), "p/shop-1=whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=\n");
    let flags = ["--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let whence = Role::start(&data, &[&["up", "--delivery-retry-first", "100ms"][..], &flags].concat());
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let taken: Arc<Taken> = Arc::default();
    taken.status.store(503, Ordering::Relaxed);
    let receiver = Receiver::new(&taken);
    let endpoint = json!({ "url": format!("http://{}/hook", receiver.address), "secrets": ["shop-1"] });
    whence.call("PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    for lead in ["ann", "bob", "kim"] {
        let lead = json!({ "type": "lead", "program": "p", "id": lead, "lead": lead });
        whence.call("POST", "/v1/events", &lead);
    }
    let said = reason(&whence, "aggregator.deliveries");
    assert!(said.contains("endpoint p/shop accepts no messages") && said.contains("status 503"), "{said}");
    assert_eq!(whence.readiness().0, 200);
    taken.status.store(0, Ordering::Relaxed);
    until_well(&whence, "aggregator.deliveries");
}

#[test]
fn an_engine_that_answers_nobody_who_connects_is_seen_and_comes_back() {
    let dir = tempdir().unwrap();
    let whence = Role::up(dir.path());
    until_well(&whence, "clickhouse.connections");
    kill(whence.engine_pid(), libc::SIGSTOP);
    let said = reason(&whence, "clickhouse.connections");
    assert!(said.contains("a new connection is not answered"), "{said}");
    assert_eq!(whence.readiness().0, 200, "links are answered");
    // The supervisor would replace it after a while.
    kill(whence.engine_pid(), libc::SIGCONT);
    until_well(&whence, "clickhouse.connections");
}

#[test]
fn inserts_that_are_refused_are_said_until_they_go_on() {
    let dir = tempdir().unwrap();
    let whence = Role::up(dir.path());
    whence.set_up_world(&fs::read_to_string(dir.path().join("admin-key")).unwrap());
    whence.click("x");
    whence.until_count("SELECT count() FROM clicks", 1);
    // As after an overload, until merges have caught up.
    let alter = |setting: &str| {
        tell_engine(&whence, &format!("ALTER TABLE clicks {setting}"));
    };
    alter("MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1");
    whence.click("x");
    let said = reason(&whence, "aggregator.clickhouse");
    assert!(said.contains("Code: 252"), "ClickHouse's own words: {said}");
    assert_eq!(whence.readiness().0, 200, "links are answered");
    alter("MODIFY SETTING parts_to_throw_insert = 3000, parts_to_delay_insert = 1000");
    until_well(&whence, "aggregator.clickhouse");
    whence.until_count("SELECT count() FROM clicks", 2);
}

/// Has the engine that `whence` runs do something.
fn tell_engine(whence: &Role, sql: &str) {
    let answer = ask(&whence.address("clickhouse"), "POST", "/?database=whence", &[], sql);
    assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
}

#[test]
fn a_partition_that_stands_is_said_until_it_goes_on() {
    let dir = tempdir().unwrap();
    let whence = Role::start(dir.path(), &["up", "--edge-threads", "1"]);
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(dir.path().join("admin-key")).unwrap());
    whence.click("x");
    whence.until_count("SELECT count() FROM clicks", 1);
    tell_engine(&whence, "ALTER TABLE clicks RENAME COLUMN registry_version TO away");
    whence.click("x");
    let said = reason(&whence, "aggregator.clicks-0");
    assert!(said.contains("Code: "), "ClickHouse's own words: {said}");
    assert_eq!(component(&whence, "aggregator.conversions-0")["ready"], true, "it alone");
    assert_eq!(whence.readiness().0, 200, "links are answered");
    tell_engine(&whence, "ALTER TABLE clicks RENAME COLUMN away TO registry_version");
    until_well(&whence, "aggregator.clicks-0");
    whence.until_count("SELECT count() FROM clicks", 2);
}

#[test]
fn messages_that_can_not_be_read_and_a_log_that_can_not_be_written_are_told_apart() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let secrets = write_secrets(dir.path(), "p/shop-1=whsec_b25lIHNlY3JldCBvZiB0aGUgdGVzdHM=\n");
    let flags = ["--webhook-secrets-file", secrets.to_str().unwrap(), "--delivery-private"];
    let whence = Role::start(&data, &[&["up", "--delivery-retry-first", "100ms"][..], &flags].concat());
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let taken: Arc<Taken> = Arc::default();
    let receiver = Receiver::new(&taken);
    let endpoint = json!({ "url": format!("http://{}/hook", receiver.address), "secrets": ["shop-1"] });
    whence.call("PUT", "/v1/programs/p/endpoints/shop", &endpoint);
    let lead = |name: &str| {
        let lead = json!({ "type": "lead", "program": "p", "id": name, "lead": name });
        whence.call("POST", "/v1/events", &lead);
    };
    lead("ann");
    until("the first message is taken", || (!taken.first().is_empty()).then_some(()));
    whence.until_count("SELECT count() FROM deliveries", 1);

    for (table, column, words) in [
        ("deliveries", "duration_ms", "the delivery log can't be written"),
        ("outbound_messages", "reference", "what is to be sent can't be read"),
    ] {
        tell_engine(&whence, &format!("ALTER TABLE {table} RENAME COLUMN {column} TO away"));
        lead(table);
        println!("without {table}:");
        let said = until(words, || {
            let said = component(&whence, "aggregator.deliveries")["reason"].as_str()?.to_owned();
            said.contains(words).then_some(said)
        });
        assert!(said.contains("Code: "), "ClickHouse's own words: {said}");
        assert_eq!(whence.readiness().0, 200);
        tell_engine(&whence, &format!("ALTER TABLE {table} RENAME COLUMN away TO {column}"));
        until_well(&whence, "aggregator.deliveries");
    }
    whence.until_count("SELECT uniqExact(message_id) FROM deliveries WHERE outcome = 'delivered'", 3);
}

#[test]
fn a_broker_that_says_nothing_is_said_by_who_ships_and_by_who_reads() {
    let broker = OwnBroker::start(&[]);
    let shared = Shared::over(broker.brokers.clone(), "whence.".into());
    let Shared { prefix, secrets, key_file, key, .. } = &shared;
    shared.make_topics(1, 1);
    let clickhouse = shared.migrated();
    let store = clickhouse.address("clickhouse");
    let edge = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
    let edge = Role::start(&shared.place("edge"), &[&edge[..], &shared.bus()].concat());
    let aggregate = ["aggregate", "--secrets-file", secrets, "--clickhouse-url", &store];
    let group = ["--kafka-group", prefix, "--kafka-session-timeout", "6s"];
    let aggregate =
        Role::start(&shared.place("aggregate"), &[&aggregate[..], &shared.bus(), &group].concat());
    for role in [&edge, &aggregate] {
        role.until_ready();
    }
    edge.set_up_world(key);
    edge.click("x");
    clickhouse.until_count("SELECT count() FROM clicks", 1);

    assert!(broker.kafka("pause", &[]).status.success());
    edge.click("x");
    let began = Instant::now();
    // Both at once: each is printed with its own time.
    let (ships, reads) = std::thread::scope(|scope| {
        let reads = scope.spawn(|| reason(&aggregate, "aggregator.kafka"));
        (reason(&edge, "ingest.kafka"), reads.join().unwrap())
    });
    println!("both within {:.1} s: {ships:?}, {reads:?}", began.elapsed().as_secs_f64());
    assert_eq!(edge.readiness().0, 200, "links are answered");
    assert_eq!(aggregate.readiness().0, 503);
    assert!(broker.kafka("resume", &[]).status.success());
    std::thread::scope(|scope| {
        scope.spawn(|| until_well(&aggregate, "aggregator.kafka"));
        until_well(&edge, "ingest.kafka");
    });
    clickhouse.until_count("SELECT count() FROM clicks", 2);
    for role in [edge, aggregate, clickhouse] {
        assert!(role.stop().success());
    }
}

#[test]
fn a_member_that_its_group_has_given_nothing_says_so_until_it_has_partitions() {
    let shared = Shared::new("member");
    let Shared { prefix, secrets, .. } = &shared;
    shared.make_topics(1, 1);
    let clickhouse = shared.migrated();
    let store = clickhouse.address("clickhouse");
    let aggregate = |name: &str| {
        let given = ["aggregate", "--secrets-file", secrets, "--clickhouse-url", &store];
        let group = ["--kafka-group", prefix, "--kafka-member", name, "--kafka-session-timeout", "10s"];
        Role::start(&shared.place(name), &[&given[..], &shared.bus(), &group].concat())
    };
    let first = aggregate("a");
    first.until_ready();
    until_well(&first, "aggregator.clicks-0");
    // It is a member of the group until its session is over, and takes part in nothing.
    kill(first.pid(), libc::SIGSTOP);
    let second = aggregate("b");
    until("it is there", || second.noted_readiness());
    until("it says so", || {
        let said = component(&second, "aggregator.kafka")["reason"].as_str()?.to_owned();
        said.contains("has not assigned partitions to this member").then_some(())
    });
    assert_eq!(second.readiness().0, 503);
    until_well(&second, "aggregator.kafka");
    second.until_ready();
    kill(first.pid(), libc::SIGCONT);
    for role in [first, second, clickhouse] {
        assert!(role.stop().success());
    }
}

#[test]
fn a_clock_that_is_set_back_is_said_until_times_are_new_again() {
    let shared = Shared::new("clock");
    let Shared { secrets, key_file, .. } = &shared;
    shared.make_topics(1, 1);
    let clock = OtherClock::off_by_s(shared.dir(), 0);
    let given = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
    let given = [&given[..], &shared.bus()].concat();
    let edge = Role::start_in(clock.environment(), &shared.place("edge"), &given);
    edge.until_ready();
    until_well(&edge, "clock");
    clock.set(-20);
    let said = reason(&edge, "clock");
    assert!(said.contains("was set back"), "{said}");
    let (status, readiness) = edge.readiness();
    assert_eq!((status, &readiness["degraded"]), (200, &json!(true)), "{readiness}");
    // Once what it shows is later than all that it has shown.
    until_well(&edge, "clock");
    assert!(edge.stop().success());
}

#[test]
fn journals_that_fill_are_said_while_there_is_room() {
    let dir = tempdir().unwrap();
    let flags = ["--conversion-journal-quota", "8MiB", "--journal-segment", "1MiB", "--journal-grace", "0s"];
    let whence = Role::start(dir.path(), &[&["up"][..], &flags].concat());
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(dir.path().join("admin-key")).unwrap());
    until_well(&whence, "journals");
    kill(whence.engine_pid(), libc::SIGSTOP);
    let journal = dir.path().join("journal/conversions");
    let taken = || -> u64 {
        let files = fs::read_dir(&journal).unwrap().flatten();
        files.map(|file| file.metadata().map_or(0, |file| file.len())).sum()
    };
    let mut sent = 0;
    while taken() < 7 << 20 {
        let name = |number: u64| format!("{number:0>200}");
        let lead =
            |number| json!({ "type": "lead", "program": "p", "id": name(number), "lead": name(number) });
        whence.call("POST", "/v1/events", &(sent..sent + 500).map(lead).collect());
        sent += 500;
    }
    let said = reason(&whence, "journals");
    assert!(said.contains("of conversion-journal-quota=8MiB"), "{said}");
    assert_eq!(component(&whence, "api.journal")["ready"], true, "nothing was refused");
    kill(whence.engine_pid(), libc::SIGCONT);
    whence.until_count("SELECT count() FROM leads", sent);
    until_well(&whence, "journals");
}

#[test]
fn a_registry_on_a_full_disk_says_so_and_takes_changes_when_there_is_room() {
    let dir = tempdir().unwrap();
    let whence = Role::up(dir.path());
    let key = fs::read_to_string(dir.path().join("admin-key")).unwrap();
    whence.set_up_world(&key);
    let token = whence.click("x");
    assert!(!token.is_empty());
    let create = |code: &str| {
        let body = json!({ "host": "go.example", "code": code, "referrer": "ann", "channel": "email",
            "destination": "https://shop.example/" });
        ask_api(&whence.address("api"), &key, "POST", "/v1/programs/p/links", &body).status
    };
    limit_files(whence.pid(), fs::metadata(dir.path().join("registry.redb")).unwrap().len());
    let mut created = Vec::new();
    let refused = (0..20_000).find(|n| {
        let code = format!("full{n}");
        let status = create(&code);
        assert!(matches!(status, 201 | 503), "{status}");
        if status == 201 {
            created.push(code);
        }
        status == 503
    });
    assert!(refused.is_some(), "the file never had to grow");
    assert!(reason(&whence, "registry").contains("changes of programs and links are refused"));
    // Links go on, and stay as they were.
    whence.click("x");
    limit_files(whence.pid(), UNLIMITED);
    until_well(&whence, "registry");
    assert_eq!(create("roomy"), 201);
    created.push("roomy".into());
    assert!(whence.stop().success());

    let whence = Role::up(dir.path());
    for code in created {
        let path = format!("/v1/programs/p/links/go.example/{code}");
        assert_eq!(ask_api(&whence.address("api"), &key, "GET", &path, &json!(null)).status, 200, "{code}");
    }
}

/// What `whence up` says when it doesn't start.
fn refusal(data: &Path) -> String {
    let ended = run(&["up", "--data", data.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

#[test]
fn a_part_of_the_folder_that_is_gone_is_an_error_until_somebody_says_that_it_may_be_lost() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    assert!(whence.stop().success());
    let note = fs::read_to_string(data.join("contents")).unwrap();
    let parts: Vec<&str> = note.lines().filter(|line| !line.starts_with('#')).collect();
    for part in ["registry.redb", "secrets.toml", "admin-key", "clickhouse/store", "journal/conversions"] {
        assert!(parts.contains(&part), "{note}");
    }
    for part in &parts {
        let (there, away) = (data.join(part), dir.path().join("away"));
        fs::rename(&there, &away).unwrap();
        let said = refusal(&data);
        assert!(said.contains(&format!("lacks {part}")) && said.contains("put it back"), "{part}: {said}");
        assert!(!there.exists(), "{part} was created again");
        fs::rename(&away, &there).unwrap();
    }
    let whence = Role::up(&data);
    assert!(!whence.click("x").is_empty());
    assert!(whence.stop().success());

    fs::remove_file(data.join("registry.redb")).unwrap();
    fs::write(data.join("contents"), note.replace("registry.redb\n", "")).unwrap();
    let whence = Role::up(&data);
    assert!(
        fs::read_to_string(data.join("contents")).unwrap().contains("registry.redb"),
        "it is expected again"
    );
    assert!(whence.stop().success());
}

#[test]
fn a_journal_whose_unread_file_was_removed_stands_still_and_says_which() {
    let dir = tempdir().unwrap();
    let data = dir.path();
    // Without ClickHouse nothing is read: an address that nobody listens on.
    let away = [
        "up",
        "--clickhouse-url",
        "http://127.0.0.1:9",
        "--journal-segment",
        "1MiB",
        "--journal-segment-age",
        "1s",
    ];
    let whence = Role::start(data, &away);
    whence.until_edge();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let segments = || -> Vec<PathBuf> {
        let journals = fs::read_dir(data.join("journal")).unwrap().flatten();
        let clicks = journals.filter(|entry| entry.file_name().to_string_lossy().starts_with("clicks-"));
        let files = clicks.flat_map(|entry| fs::read_dir(entry.path()).unwrap().flatten());
        let mut files: Vec<_> = files.map(|file| file.path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "seg"));
        files.sort();
        files
    };
    let clicked = until("a journal of three files", || {
        whence.click("x");
        let files = segments();
        let of = |file: &PathBuf| file.parent().unwrap().to_owned();
        let middle = files.windows(3).find(|three| of(&three[0]) == of(&three[2]))?[1].clone();
        Some(middle)
    });
    whence.kill();
    fs::remove_file(&clicked).unwrap();
    let whence = Role::start(data, &["up"]);
    let name = clicked.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let said = until("the partition stands still", || {
        let (_, readiness) = whence.noted_readiness()?;
        let components = readiness["components"].as_array()?;
        let component =
            components.iter().find(|component| component["name"] == format!("aggregator.{name}"))?;
        component["reason"].as_str().filter(|reason| reason.contains("were removed")).map(str::to_owned)
    });
    assert!(said.contains("is stopped until this is fixed"), "{said}");
}

#[test]
fn two_signals_within_a_moment_are_one_wish() {
    let dir = tempdir().unwrap();
    let whence = Role::up(dir.path());
    whence.set_up_world(&fs::read_to_string(dir.path().join("admin-key")).unwrap());
    whence.click("x");
    let pid = whence.pid().to_string();
    for _ in 0..3 {
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
    let ended = whence.ended();
    assert!(ended.success(), "{ended}");
}

#[test]
fn rows_that_were_lost_are_seen_by_the_process_and_by_verify() {
    let dir = tempdir().unwrap();
    let flags = ["up", "--verify-every", "1s"];
    let whence = Role::start(dir.path(), &flags);
    whence.until_ready();
    whence.set_up_world(&fs::read_to_string(dir.path().join("admin-key")).unwrap());
    let verify = || {
        let ended = run(&["verify", "--deep", "--data", dir.path().to_str().unwrap()]);
        (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    let clicks = "SELECT count() FROM clicks";
    for number in 1..=20 {
        whence.click("x");
        until("the click is stored", || {
            (count(&whence.address("clickhouse"), clicks)? == number).then_some(())
        });
    }
    let (code, said) = verify();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("what is stored adds up"), "{said}");
    until_well(&whence, "aggregator.account");

    // One part of the table is gone, as after a disk's fault: the engine knows nothing of it.
    assert!(whence.stop().success());
    // With it go those that were merged into it, which the engine would fall back upon.
    let parts = parts_of(&dir.path().join("clickhouse/store/store"), "visitor");
    let (_, lost) = parts.iter().max_by_key(|(_, blocks)| blocks.end() - blocks.start()).unwrap();
    for (path, blocks) in &parts {
        if lost.contains(blocks.start()) && lost.contains(blocks.end()) {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let whence = Role::start(dir.path(), &flags);
    let said = until("the account differs", || {
        let (_, readiness) = whence.noted_readiness()?;
        let components = readiness["components"].as_array()?;
        let account = components.iter().find(|component| component["name"] == "aggregator.account")?;
        account["reason"].as_str().map(str::to_owned)
    });
    assert!(said.contains("rows were stored"), "{said}");
    let (code, said) = verify();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("clicks 2") && said.contains("stands in no row"), "{said}");
    assert!(whence.counter("whence_account_differences") >= 1);
}

/// Folders of parts that have a column of this name, those of one table, and the blocks in them, which stand in a
/// folder's name: `PARTITION_FIRST_LAST_LEVEL`.
fn parts_of(store: &Path, column: &str) -> Vec<(PathBuf, RangeInclusive<u64>)> {
    let children = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let tables = children(store).into_iter().flat_map(|prefix| children(&prefix));
    let parts = tables.flat_map(|table| children(&table));
    let has = |part: &PathBuf| {
        let columns = fs::read_to_string(part.join("columns.txt")).unwrap_or_default();
        columns.contains(&format!("`{column}`")) && columns.contains("`destination`")
    };
    let blocks = |part: PathBuf| {
        let name = part.file_name()?.to_str()?.to_owned();
        let numbers: Vec<u64> = name.split('_').skip(1).map_while(|number| number.parse().ok()).collect();
        let [first, last, _level] = numbers[..] else { return None };
        Some((part, first..=last))
    };
    parts.filter(has).filter_map(blocks).collect()
}

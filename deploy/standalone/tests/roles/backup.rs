//! What is lost can be put back: `whence backup` of a folder whose process works, `whence restore`, and what came after.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::consistent::CONSISTENT;
use crate::support::brokers::{Shared, brokers};
use crate::support::{BROWSER, Role, ask, ask_api, run, until, whence};
use serde_json::json;
use tempfile::tempdir;

const CLICKS: &str = "SELECT count() FROM clicks";
const LEADS: &str = "SELECT count() FROM leads WHERE revision = 0";
const PURCHASES: &str = "SELECT count() FROM qualifications WHERE revision = 0";
const REWARDS: &str = "SELECT count() FROM reward_states";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn backup(data: &Path, to: &Path) -> Output {
    run(&["backup", "--data", data.to_str().unwrap(), "--to", to.to_str().unwrap()])
}

fn restore(from: &Path, data: &Path, more: &[&str]) -> Output {
    let places = ["restore", "--from", from.to_str().unwrap(), "--data", data.to_str().unwrap()];
    run(&[&places[..], more].concat())
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    said(output)
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
}

/// All that must hold of the facts of a process, whichever they are.
#[track_caller]
fn adds_up(whence: &Role) {
    for (what, sql) in CONSISTENT {
        until(&format!("no {what}"), || (whence.count(sql)? == 0).then_some(()));
    }
    let verified = run(&["verify", "--deep", "--data", whence.data().to_str().unwrap()]);
    assert!(succeeded(&verified).contains("what is stored adds up"));
}

/// Ann's program, in which every purchase earns a reward.
fn set_up(whence: &Role) {
    whence.set_up_world(&fs::read_to_string(whence.data().join("admin-key")).unwrap());
    let rule = json!({ "id": "order", "for": "referrer", "qualification": "purchase", "currency": "EUR", "fixed_minor": 500 });
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [rule] });
    whence.call("PUT", "/v1/programs/p", &program);
    whence.click("x");
}

/// What was answered: each a record.
#[derive(Default)]
struct Answered {
    clicks: AtomicU64,
    leads: AtomicU64,
    purchases: AtomicU64,
}

impl Answered {
    fn clicks(&self) -> u64 {
        self.clicks.load(Ordering::SeqCst)
    }
}

/// Visitors who click, every fourth of which buys, until told to stop.
struct Visitors {
    stop: Arc<AtomicBool>,
    answered: Arc<Answered>,
    threads: Vec<JoinHandle<()>>,
}

impl Visitors {
    fn start(whence: &Role) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::<Answered>::default());
        let (edge, api) = (whence.address("edge"), whence.address("api"));
        let key = fs::read_to_string(whence.data().join("admin-key")).unwrap();
        let visit = move |visitor: usize, stop: &AtomicBool, answered: &Answered| {
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let headers = [("host", "go.example".to_owned()), ("user-agent", BROWSER.to_owned())];
                let answer = ask(&edge, "GET", "/x", &headers, "");
                assert_eq!(answer.status, 302, "a redirect was not answered");
                answered.clicks.fetch_add(1, Ordering::SeqCst);
                if number % 4 > 0 {
                    continue;
                }
                let (_, token) = answer.header("location").unwrap().split_once("wclid=").unwrap();
                let name = format!("{visitor}/{number}");
                let lead = json!({ "type": "lead", "program": "p", "id": format!("lead {name}"), "lead": name,
                    "touches": [{ "token": token }] });
                let paid = json!({ "type": "qualification", "program": "p", "id": format!("order {name}"),
                    "lead": name, "name": "purchase" });
                for (event, count) in [(lead, &answered.leads), (paid, &answered.purchases)] {
                    let answer = ask_api(&api, &key, "POST", "/v1/events", &event);
                    assert_eq!(answer.status, 202, "{}", answer.body);
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let threads = (0..3).map(|visitor| {
            let (visit, stop, answered) = (visit.clone(), Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || visit(visitor, &stop, &answered))
        });
        let threads = threads.collect();
        Self { stop, answered, threads }
    }

    /// Until so many more clicks were answered.
    fn until_more(&self, clicks: u64) {
        let from = self.answered.clicks();
        until("visitors are answered", || {
            assert!(self.threads.iter().all(|thread| !thread.is_finished()), "a visitor was not answered");
            (self.answered.clicks() >= from + clicks).then_some(())
        });
    }

    fn stop(self) -> Arc<Answered> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.answered
    }
}

#[test]
fn a_backup_under_load_is_restored_and_what_came_behind_it_is_replayed_from_the_journals() {
    let dir = tempdir().unwrap();
    let [data, kept, early, late] = ["data", "kept", "early", "late"].map(|name| dir.path().join(name));
    let lost = Role::start(&data, &["up", "--linger", "50ms", "--journal-grace", "1h"]);
    lost.until_ready();
    set_up(&lost);
    let visitors = Visitors::start(&lost);
    visitors.until_more(500);
    until("facts are stored while it is copied", || (lost.count(CLICKS)? > 100).then_some(()));
    let before = visitors.answered.clicks();
    succeeded(&backup(&data, &kept));
    visitors.until_more(500);
    until("facts are stored behind it", || (lost.count(CLICKS)? > before + 200).then_some(()));
    let answered = visitors.stop();
    // With the click of the set-up.
    let clicks = answered.clicks() + 1;
    lost.kill();
    fs::remove_dir_all(data.join("clickhouse")).unwrap();

    succeeded(&restore(&kept, &early, &[]));
    let whence = Role::up(&early);
    until("the journal in the backup is stored", || (whence.count(CLICKS)? > before).then_some(()));
    adds_up(&whence);
    let found = whence.count(CLICKS).unwrap();
    assert!(found <= clicks, "{found} of {clicks}");
    assert_eq!(whence.count("SELECT count() FROM rejects"), Some(0));
    whence.click("y");
    whence.until_count(CLICKS, found + 1);
    adds_up(&whence);
    assert!(whence.stop().success());

    let journals = data.join("journal");
    let told = succeeded(&restore(&kept, &late, &["--journals", journals.to_str().unwrap()]));
    assert!(!told.contains("are in no journal"), "{told}");
    let whence = Role::up(&late);
    whence.until_count(CLICKS, clicks);
    whence.until_count(LEADS, answered.leads.load(Ordering::SeqCst));
    whence.until_count(PURCHASES, answered.purchases.load(Ordering::SeqCst));
    whence.until_count(REWARDS, answered.purchases.load(Ordering::SeqCst));
    assert_eq!(whence.count("SELECT count() FROM rejects"), Some(0));
    adds_up(&whence);
    assert!(whence.stop().success());
}

/// A stopped process with a few facts of every kind, backed up.
fn kept_world(data: &Path, kept: &Path) {
    let whence = Role::up(data);
    set_up(&whence);
    let visitors = Visitors::start(&whence);
    visitors.until_more(40);
    let answered = visitors.stop();
    whence.until_count(CLICKS, answered.clicks() + 1);
    whence.until_count(REWARDS, answered.purchases.load(Ordering::SeqCst));
    assert!(whence.stop().success());
    succeeded(&backup(data, kept));
}

#[test]
fn a_stopped_folder_is_backed_up_as_it_is_and_closed_to_others() {
    let dir = tempdir().unwrap();
    let [data, kept, new] = ["data", "kept", "new"].map(|name| dir.path().join(name));
    kept_world(&data, &kept);
    let mut folders = vec![kept.clone()];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
            }
        }
    }
    refused(&restore(&kept, &data, &[]), "is not empty");
    fs::create_dir(&new).unwrap();
    fs::create_dir(new.join("lost+found")).unwrap();
    succeeded(&restore(&kept, &new, &[]));
    for name in ["secrets.toml", "admin-key", "clickhouse-password", "contents"] {
        assert_eq!(fs::read(data.join(name)).unwrap(), fs::read(new.join(name)).unwrap(), "{name}");
    }
    let whence = Role::up(&new);
    adds_up(&whence);
    let clicks = whence.count(CLICKS).unwrap();
    whence.click("z");
    whence.until_count(CLICKS, clicks + 1);
    adds_up(&whence);
    assert!(whence.stop().success());
}

/// A file under `folder` for which this holds, from there.
fn file(folder: &Path, is_it: &dyn Fn(&str) -> bool) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_file() && metadata.len() > 0 {
                let within = path.strip_prefix(folder).unwrap();
                if is_it(within.to_str().unwrap()) {
                    return within.to_owned();
                }
            }
        }
    }
    panic!("no such file in {}", folder.display());
}

#[test]
fn a_backup_with_a_file_that_is_missing_cut_or_altered_is_refused_by_name_and_nothing_is_restored() {
    let dir = tempdir().unwrap();
    let [data, kept, new] = ["data", "kept", "new"].map(|name| dir.path().join(name));
    kept_world(&data, &kept);
    let kinds: [&dyn Fn(&str) -> bool; 8] = [
        &|path| path == "registry.redb",
        &|path| path == "secrets.toml",
        &|path| path == "contents",
        &|path| path.ends_with("aggregator.checkpoint"),
        &|path| path.ends_with(".seg"),
        &|path| path.starts_with("clickhouse/store/store") && path.ends_with(".bin"),
        &|path| path.starts_with("clickhouse/store/store") && path.ends_with(".sql"),
        &|path| path.contains("deduplication_logs/"),
    ];
    for is_it in kinds {
        let name = file(&kept, is_it);
        let path = kept.join(&name);
        let bytes = fs::read(&path).unwrap();
        let name = name.to_str().unwrap();
        let check = |why: &str| {
            refused(&restore(&kept, &new, &[]), &format!("{name} {why}"));
            assert!(!new.exists(), "something was restored");
        };
        fs::remove_file(&path).unwrap();
        check("can't be read");
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        check("has");
        let mut altered = bytes.clone();
        altered[bytes.len() / 2] ^= 1;
        fs::write(&path, &altered).unwrap();
        check("has other bytes than were written");
        fs::write(&path, &bytes).unwrap();
    }
    let manifest = kept.join("manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    for (changed, why) in [
        (text.replace("registry.redb", "registry.rodb"), "manifest has other bytes"),
        (text[..text.len() / 2].to_owned(), "manifest is cut"),
        (text.replace("whence-backup 1 ", "whence-backup 2 "), "has format 2"),
        (String::new(), "manifest is damaged"),
    ] {
        fs::write(&manifest, changed).unwrap();
        refused(&restore(&kept, &new, &[]), why);
        assert!(!new.exists());
    }
    fs::remove_file(&manifest).unwrap();
    refused(&restore(&kept, &new, &[]), "it is not a backup, or was not finished");
    fs::write(&manifest, text).unwrap();
    succeeded(&restore(&kept, &new, &[]));
}

#[test]
fn a_backup_that_can_not_be_written_leaves_nothing_and_the_process_goes_on() {
    let dir = tempdir().unwrap();
    let [data, kept, plain] = ["data", "kept", "plain"].map(|name| dir.path().join(name));
    let whence_up = Role::up(&data);
    set_up(&whence_up);
    fs::write(&plain, "").unwrap();
    refused(&backup(&data, &plain.join("kept")), "cannot use");
    refused(&backup(&data, dir.path()), "is not empty");
    let within = data.join("kept");
    refused(&backup(&data, &within), "is in the data folder");
    refused(&backup(&plain.with_extension("none"), &kept), "cannot use");
    assert!(!within.exists());

    // To it, a disk that is full: no file may grow beyond so many bytes.
    let mut command = whence();
    command.args(["backup", "--data", data.to_str().unwrap(), "--to", kept.to_str().unwrap()]);
    let limit = || {
        let limit = libc::rlimit { rlim_cur: 2000, rlim_max: 2000 };
        // SAFETY: a plain system call on a value of this frame.
        match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(limit) };
    refused(&command.output().unwrap(), "File too large");
    assert!(!kept.exists(), "half a backup is left");
    until("what it copied from is gone", || (!data.join("backup.tmp").exists()).then_some(()));

    // Somebody else is at it.
    let door = UnixStream::connect(data.join("backup.socket")).unwrap();
    let mut line = String::new();
    BufReader::new(&door).read_line(&mut line).unwrap();
    assert!(line.contains("snapshot"), "{line}");
    refused(&backup(&data, &kept), "another backup of this folder is being made");
    assert!(!kept.exists());
    drop(door);
    until("what it copied from is gone", || (!data.join("backup.tmp").exists()).then_some(()));
    succeeded(&backup(&data, &kept));
    whence_up.click("x");
    whence_up.until_count(CLICKS, 2);
    assert!(whence_up.stop().success());
}

#[test]
fn over_kafka_restored_tables_are_older_than_the_commits_and_what_lacks_is_read_again_from_the_topics() {
    let (brokers, prefix) = brokers("backup");
    let dir = tempdir().unwrap();
    let [data, kept, new] = ["data", "kept", "new"].map(|name| dir.path().join(name));
    let kafka = ["--kafka-brokers", &brokers, "--kafka-prefix", &prefix, "--kafka-session-timeout", "3s"];
    let topics = ["--clicks-partitions", "2", "--conversions-partitions", "1", "--linger", "50ms"];
    let flags = [&["up"][..], &kafka, &topics].concat();
    let lost = Role::start(&data, &flags);
    lost.until_ready();
    set_up(&lost);
    let visitors = Visitors::start(&lost);
    visitors.until_more(200);
    until("facts are stored", || (lost.count(CLICKS)? > 50).then_some(()));
    succeeded(&backup(&data, &kept));
    visitors.until_more(200);
    let answered = visitors.stop();
    let clicks = answered.clicks() + 1;
    lost.until_count(CLICKS, clicks);
    lost.until_count(REWARDS, answered.purchases.load(Ordering::SeqCst));
    assert!(lost.stop().success());

    succeeded(&restore(&kept, &new, &[]));
    let whence = Role::start(&new, &flags);
    until("a partition stands still and says so", || {
        let (_, readiness) = whence.noted_readiness()?;
        readiness.to_string().contains("--replay-missing").then_some(())
    });
    assert!(whence.stop().success());
    let whence = Role::start(&new, &[&flags[..], &["--replay-missing"]].concat());
    whence.until_ready();
    whence.until_count(CLICKS, clicks);
    whence.until_count(LEADS, answered.leads.load(Ordering::SeqCst));
    whence.until_count(REWARDS, answered.purchases.load(Ordering::SeqCst));
    // What the journals in the backup had shipped already comes a second time.
    until("nothing but repetitions is refused", || {
        (whence.count("SELECT count() FROM rejects WHERE reason != 'duplicate'")? == 0).then_some(())
    });
    adds_up(&whence);
    assert!(whence.stop().success());
}

#[test]
fn an_edge_whose_kafka_is_away_is_backed_up_with_its_links_and_what_it_has_not_shipped() {
    let shared = Shared::new("edge-backup");
    shared.make_topics(1, 1);
    let [data, kept, new] = ["data", "kept", "new"].map(|name| shared.place(name));
    let given = ["--secrets-file", &shared.secrets, "--api-admin-key-file", &shared.key_file];
    let edge =
        ["ingest", "--edge-threads", "1", "--ship-drain-timeout", "1s", "--kafka-prefix", &shared.prefix];
    let flags = [&edge[..], &given].concat();
    let start =
        |data: &Path, brokers: &str| Role::start(data, &[&flags[..], &["--kafka-brokers", brokers]].concat());
    let first = start(&data, &shared.brokers);
    first.until_ready();
    first.set_up_world(&shared.key);
    first.click("x");
    assert!(first.stop().success());

    // An address that nobody listens on.
    let away = start(&data, "127.0.0.1:9");
    away.until_edge();
    away.click("x");
    succeeded(&backup(&data, &kept));
    away.kill();
    succeeded(&restore(&kept, &new, &["--journals", data.join("journal").to_str().unwrap()]));
    let head = 4096;
    let newest = |path: &str| path.starts_with("journal/clicks-0/") && path.ends_with("0.seg");
    let mut found = Vec::new();
    for entry in fs::read_dir(new.join("journal/clicks-0")).unwrap() {
        let path = entry.unwrap().path();
        if newest(path.strip_prefix(&new).unwrap().to_str().unwrap()) {
            found.push((path.file_name().unwrap().to_owned(), fs::metadata(&path).unwrap().len()));
        }
    }
    found.sort();
    assert!(found.last().is_some_and(|(_, bytes)| *bytes > head), "the last click is in no file: {found:?}");
    let whence = start(&new, "127.0.0.1:9");
    whence.until_edge();
    whence.click("x");
    whence.kill();
}

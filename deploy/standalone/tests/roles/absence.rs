//! Parts of the engine's folder that are gone or older than what was committed: said at the start, with the way out, and
//! the way out leads to where all is well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Role, run, until};
use tempfile::tempdir;

const CLICKS: &str = "SELECT count() FROM clicks";
const REJECTS: &str = "SELECT count() FROM rejects WHERE reason = 'damaged'";
/// A journal keeps what was stored for longer than any of this takes.
const UP: [&str; 5] = ["up", "--edge-threads", "1", "--journal-grace", "1h"];

/// A process that has stored so many clicks, stopped.
fn with_clicks(data: &Path, clicks: u64) {
    let is_new = !data.exists();
    let whence = Role::start(data, &UP);
    whence.until_ready();
    if is_new {
        whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    }
    let before = whence.count(CLICKS).unwrap();
    for _ in before..clicks {
        whence.click("x");
    }
    whence.until_count(CLICKS, clicks);
    until("all is committed", || verifies(data).then_some(()));
    assert!(whence.stop().success());
}

fn verifies(data: &Path) -> bool {
    run(&["verify", "--deep", "--data", data.to_str().unwrap()]).status.success()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Waits until the partition of clicks stands still; what it says.
fn stands_still(whence: &Role) -> String {
    until("the partition stands still", || {
        let (status, readiness) = whence.noted_readiness()?;
        let components = readiness["components"].as_array()?;
        let clicks = components.iter().find(|component| component["name"] == "aggregator.clicks-0")?;
        let reason = clicks["reason"].as_str()?.to_owned();
        assert!(status != 200 || readiness["degraded"] == true, "{readiness}");
        Some(reason)
    })
}

fn until_well(data: &Path, more: &[&str], clicks: u64, lost: u64) {
    let whence = Role::start(data, &[&UP[..], more].concat());
    whence.until_ready();
    whence.until_count(CLICKS, clicks);
    whence.until_count(REJECTS, lost);
    whence.click("x");
    whence.until_count(CLICKS, clicks + 1);
    until("all adds up", || verifies(data).then_some(()));
    assert!(whence.stop().success());
    // Once is enough.
    let whence = Role::start(data, &UP);
    whence.until_ready();
    whence.click("x");
    whence.until_count(CLICKS, clicks + 2);
    assert!(verifies(data));
    assert!(whence.stop().success());
}

#[test]
fn tables_older_than_what_was_committed_are_said_and_what_lacks_is_read_again_or_counted_as_lost() {
    let dir = tempdir().unwrap();
    let [data, older, again, given_up] =
        ["data", "older", "again", "given-up"].map(|name| dir.path().join(name));
    with_clicks(&data, 10);
    copy(&data.join("clickhouse"), &older);
    with_clicks(&data, 15);
    with_clicks(&data, 20);
    fs::remove_dir_all(data.join("clickhouse")).unwrap();
    copy(&older, &data.join("clickhouse"));

    let whence = Role::start(&data, &UP);
    let said = stands_still(&whence);
    assert!(said.contains("were committed as stored, but the account of the blocks ends at"), "{said}");
    for way_out in ["whence restore", "--replay-missing", "--accept-loss"] {
        assert!(said.contains(way_out), "{said}");
    }
    // Links go on meanwhile, and nothing is stored on top.
    whence.click("x");
    assert_eq!(whence.count(CLICKS), Some(10));
    let verified = run(&["verify", "--data", data.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(1), "{}", String::from_utf8_lossy(&verified.stdout));
    assert!(whence.stop().success());

    copy(&data, &again);
    copy(&data, &given_up);
    // Ten that were stored, one that was not yet.
    until_well(&again, &["--replay-missing"], 21, 0);
    // The five of the process in between nobody knows of any more: their journal's place was not the last.
    until_well(&given_up, &["--accept-loss"], 11, 5);
}

#[test]
fn tables_that_were_emptied_are_said_also_after_a_restart_and_are_made_again_from_the_journals() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    with_clicks(&data, 10);
    // Its journal goes on in a new file, of which nothing is stored.
    with_clicks(&data, 10);
    fs::remove_dir_all(data.join("clickhouse")).unwrap();
    let refused = run(&["up", "--data", data.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lacks clickhouse/store"));
    let note = fs::read_to_string(data.join("contents")).unwrap();
    fs::write(data.join("contents"), note.replace("clickhouse/store\n", "")).unwrap();

    let whence = Role::start(&data, &UP);
    let said = stands_still(&whence);
    assert!(said.contains("from offset 0 to 10"), "{said}");
    assert!(whence.stop().success());
    until_well(&data, &["--replay-missing"], 10, 0);
}

#[test]
fn records_whose_file_was_removed_before_they_were_read_are_counted_as_lost_where_that_is_accepted() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    // Without ClickHouse nothing is read: an address that nobody listens on.
    let away = ["--clickhouse-url", "http://127.0.0.1:9", "--journal-segment-age", "1s"];
    let whence = Role::start(&data, &[&UP[..], &away].concat());
    whence.until_edge();
    whence.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    let base = |file: &Path| -> u64 {
        let name = file.file_stem().unwrap().to_str().unwrap();
        name.rsplit_once('-').unwrap().1.parse().unwrap()
    };
    let mut clicks = 0;
    let files = until("a journal of three files", || {
        whence.click("x");
        clicks += 1;
        let mut files: Vec<PathBuf> =
            fs::read_dir(data.join("journal/clicks-0")).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "seg"));
        files.sort();
        (files.len() >= 3).then_some(files)
    });
    whence.kill();
    fs::remove_file(&files[1]).unwrap();
    let lost = base(&files[2]) - base(&files[1]);

    let whence = Role::start(&data, &UP);
    let said = stands_still(&whence);
    assert!(said.contains("were removed") && said.contains("--accept-loss"), "{said}");
    assert!(whence.stop().success());
    until_well(&data, &["--accept-loss"], clicks - lost, lost);
}

/// The folders of the tables with a file of this name whose statement has this in it.
fn tables(store: &Path) -> Vec<(String, PathBuf)> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(store.join("metadata/whence")).unwrap() {
        let path = entry.unwrap().path();
        let statement = fs::read_to_string(&path).unwrap();
        if !statement.contains("MergeTree") {
            continue;
        }
        let (_, id) = statement.split_once("UUID '").unwrap();
        let (id, _) = id.split_once('\'').unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        tables.push((name, store.join("store").join(&id[..3]).join(id)));
    }
    tables
}

#[test]
fn a_table_whose_folder_is_gone_is_said_by_name_at_the_start_and_comes_back_from_a_backup() {
    let dir = tempdir().unwrap();
    let [data, kept, new] = ["data", "kept", "new"].map(|name| dir.path().join(name));
    with_clicks(&data, 3);
    assert!(
        run(&["backup", "--data", data.to_str().unwrap(), "--to", kept.to_str().unwrap()]).status.success()
    );
    let start = || {
        let ended = run(&["up", "--data", data.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"]);
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let found = tables(&data.join("clickhouse/store"));
    assert!(found.len() > 20, "{found:?}");
    for (table, folder) in &found {
        let away = dir.path().join("away");
        fs::rename(folder, &away).unwrap();
        let said = start();
        assert!(said.contains(&format!("lacks the rows of whence.{table} in")), "{table}: {said}");
        assert!(said.contains("whence restore"), "{said}");
        assert!(!folder.exists(), "it was created again");
        // What is left of it is not it.
        fs::create_dir(folder).unwrap();
        assert!(start().contains(&format!("lacks the rows of whence.{table} in")));
        fs::remove_dir(folder).unwrap();
        fs::rename(&away, folder).unwrap();
    }
    let (_, folder) = &found[0];
    fs::remove_dir_all(folder).unwrap();
    let journals = data.join("journal");
    let restored = run(&[
        "restore",
        "--from",
        kept.to_str().unwrap(),
        "--data",
        new.to_str().unwrap(),
        "--journals",
        journals.to_str().unwrap(),
    ]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    until_well(&new, &[], 3, 0);
}

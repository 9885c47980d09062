//! `whence up`, as a process, with the real engine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Role, ask, is_running, kill, run, until, write_private};
use serde_json::json;
use tempfile::tempdir;

const CLICKS: &str = "SELECT count() FROM clicks";

fn admin_key(data: &std::path::Path) -> String {
    fs::read_to_string(data.join("admin-key")).unwrap()
}

#[test]
fn a_click_becomes_a_row_and_a_stop_leaves_nothing_behind() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    whence.set_up_world(&admin_key(&data));
    whence.click("x");
    whence.until_count(CLICKS, 1);
    whence.until_count("SELECT count() FROM links FINAL", 3);
    let (status, readiness) = whence.readiness();
    assert_eq!((status, &readiness["degraded"]), (200, &json!(false)), "{readiness}");

    whence.until_count("SELECT count() FROM funnel", 1);
    let report = run(&["report", "funnel", "--program", "p", "--data", data.to_str().unwrap()]);
    let text = String::from_utf8(report.stdout).unwrap();
    let columns: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(columns[..4], ["p", "ann", "email", "1"], "{text}");

    let printed = whence.printed();
    assert!(printed.contains("whence up is ready\n  links       http://127.0.0.1:"), "{printed}");
    let (engine, log) = (whence.engine_pid(), data.join("stderr"));
    assert!(is_running(engine));
    let status = whence.stop();
    let log = fs::read_to_string(log).unwrap();
    assert!(status.success(), "{status}: {log}");
    assert!(!is_running(engine) && !data.join("addresses.json").exists());
    assert!(log.trim_end().ends_with("stopped"), "{log}");
    let stages = log.split("shutdown stage finished stage=\"").skip(1);
    let stages: Vec<&str> = stages.map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(
        stages,
        ["drain", "edge", "api", "journals", "registry", "console", "aggregator", "clickhouse"]
    );
}

#[test]
fn a_second_start_knows_the_links_the_keys_and_the_tokens_of_the_first() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Role::up(&data);
    let key = admin_key(&data);
    first.set_up_world(&key);
    let token = first.click("x");
    let printed = first.printed();
    assert!(!printed.contains(key.trim()), "the admin key is shown on a terminal only: {printed}");
    assert!(
        printed.contains(data.join("admin-key").to_str().unwrap()),
        "elsewhere it is said where it is: {printed}"
    );
    assert!(first.stop().success());
    let mode = fs::metadata(data.join("secrets.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_file(data.join("stdout")).unwrap();

    let second = Role::up(&data);
    assert!(!second.printed().contains(key.trim()), "nor ever after");
    second.click("y");
    let lead =
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "touches": [{ "token": token }] });
    second.call_with(&key, "POST", "/v1/events", &lead);
    second.until_count(CLICKS, 2);
    second.until_count("SELECT count() FROM leads WHERE evidence = 'token' AND referrer = 'ann'", 1);
    assert!(second.stop().success());
}

#[test]
fn a_link_as_it_was_passed_on_and_a_token_as_it_came_back_are_in_the_tables() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let key = admin_key(&data);
    whence.set_up_world(&key);
    let token = whence.click("x");
    for path in ["/X", "/%78", "/x%E2%80%9D", "/x&a=1"] {
        let host = [("host", "go.example".to_owned())];
        assert_eq!(ask(&whence.address("edge"), "GET", path, &host, "").status, 302, "{path}");
    }
    whence.until_count(CLICKS, 5);
    let readings =
        "SELECT reading, count() FROM clicks WHERE endsWith(link, '/x') GROUP BY reading ORDER BY reading";
    assert_eq!(whence.rows(readings).trim_end(), "\t1\ncase\t1\ndecoded\t1\nquery\t1\ntrimmed\t1");

    for (id, wclid) in
        [("padded", format!("\"{token}\"==")), ("damaged", token[..50].to_owned()), ("empty", String::new())]
    {
        let lead = json!({ "type": "lead", "program": "p", "id": id, "lead": id, "wclid": wclid });
        whence.call_with(&key, "POST", "/v1/events", &lead);
    }
    whence.until_count("SELECT count() FROM leads", 3);
    let leads = "SELECT lead, evidence, reason, touches.refused FROM leads ORDER BY lead";
    let expected = "damaged\tnone\ttoken_malformed\t['token_malformed']\nempty\tnone\tno_touch\t[]\npadded\ttoken\t\t['']";
    assert_eq!(whence.rows(leads).trim_end(), expected);
    assert!(whence.stop().success());
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Role::up(&data);
    let second = run(&["up", "--data", data.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"]);
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(error.contains("whence up: the data folder") && error.contains("is in use"), "{error}");
    assert_eq!(first.readiness().0, 200);
}

#[test]
fn a_killed_engine_costs_no_click() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    whence.set_up_world(&admin_key(&data));
    whence.click("x");
    whence.until_count(CLICKS, 1);
    let killed = whence.engine_pid();
    kill(killed, libc::SIGKILL);
    for _ in 0..50 {
        whence.click("y");
    }
    assert_eq!(whence.readiness().0, 200, "redirects stay in service");
    whence.until_count(CLICKS, 51);
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert_ne!(whence.engine_pid(), killed);
    assert!(whence.stop().success());
}

#[test]
fn a_killed_process_goes_on_where_it_was() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let mut clicks = 0;
    for life in 0..4 {
        // Killed before, while and after the facts come up.
        let whence = Role::start(&data, &["up"]);
        whence.until_edge();
        if life == 0 {
            until("the key is there", || fs::metadata(data.join("admin-key")).ok());
            whence.set_up_world(&admin_key(&data));
        }
        for _ in 0..25 {
            whence.click("z");
            clicks += 1;
        }
        if life % 2 == 1 {
            whence.until_ready();
            whence.click("x");
            clicks += 1;
        }
        let engine = data.join("clickhouse").exists().then(|| whence.log());
        whence.kill();
        if let Some((_, after)) = engine.as_deref().and_then(|log| log.rsplit_once("started pid=")) {
            let pid = after.split_whitespace().next().unwrap().parse().unwrap();
            until("the engine ends with its parent", || (!is_running(pid)).then_some(()));
        }
    }
    let last = Role::up(&data);
    last.until_count(CLICKS, clicks);
    last.until_count("SELECT uniqExact(id) FROM clicks", clicks);
    last.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(last.stop().success());
}

#[test]
fn an_engine_with_a_password_asks_for_it() {
    let dir = tempdir().unwrap();
    let (data, password) = (dir.path().join("data"), dir.path().join("password"));
    write_private(&password, "hunter2\n");
    let whence = Role::start(&data, &["up", "--clickhouse-password-file", password.to_str().unwrap()]);
    whence.until_ready();
    whence.set_up_world(&admin_key(&data));
    whence.click("x");
    let url = whence.address("clickhouse");
    assert_eq!(ask(&url, "POST", "/?database=whence", &[], CLICKS).status, 403);
    let key = [("x-clickhouse-user", "default".to_owned()), ("x-clickhouse-key", "hunter2".to_owned())];
    until("the click is stored", || {
        let answer = ask(&url, "POST", "/?database=whence", &key, CLICKS);
        (answer.body.trim() == "1").then_some(())
    });
    assert!(!whence.log().contains("hunter2"));
    assert!(whence.stop().success());
}

#[test]
fn without_an_engine_it_says_how_to_get_one() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let missing = dir.path().join("libchdb.so");
    let flags = ["up", "--data", data.to_str().unwrap(), "--clickhouse-engine", missing.to_str().unwrap()];
    let refused = run(&flags);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(error.contains("libchdb.so") && error.contains("fetch-engine"), "{error}");
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn a_clickhouse_that_is_away_takes_no_redirect_away() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    // Nobody listens there: the port is bound and never accepted from, then gone.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let whence = Role::start(&data, &["up", "--clickhouse-url", &format!("http://{nobody}")]);
    whence.until_edge();
    whence.set_up_world(&admin_key(&data));
    whence.click("x");
    let readiness = until("readiness names clickhouse", || {
        let (status, readiness) = whence.readiness();
        let components = readiness["components"].as_array().unwrap();
        let clickhouse = components.iter().find(|component| component["name"] == "clickhouse").unwrap();
        (status == 200 && clickhouse["reason"] != "starting").then(|| readiness.clone())
    });
    assert_eq!((&readiness["ready"], &readiness["degraded"]), (&json!(true), &json!(true)), "{readiness}");
    assert!(whence.stop().success());
}

#[test]
fn a_qualification_is_rewarded_and_its_reward_approved_when_due() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let whence = Role::up(&data);
    let key = admin_key(&data);
    whence.set_up_world(&key);
    let rules = json!([
        { "id": "now", "for": "referrer", "currency": "EUR", "percent": "12.5" },
        { "id": "later", "for": "referred", "currency": "EUR", "fixed_minor": 300, "hold_days": 30 },
    ]);
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": rules });
    let program = whence.call_with(&key, "PUT", "/v1/programs/p", &program);
    assert_eq!(program["rewards"][0]["tiers"][0]["percent"], "12.5000", "{program}");
    for event in [
        json!({ "type": "lead", "program": "p", "id": "1", "lead": "bob", "code": "x" }),
        json!({ "type": "qualification", "program": "p", "id": "2", "lead": "bob", "name": "purchase",
                "value": { "amount": "99.99", "currency": "EUR" } }),
    ] {
        whence.call_with(&key, "POST", "/v1/events", &event);
    }
    // By a timer that the aggregator has sent itself through the journal.
    whence.until_count("SELECT toUInt64(sum(approved)) FROM reward_balance WHERE referrer = 'ann'", 1249);
    whence.until_count("SELECT toUInt64(sum(accrued)) FROM reward_balance WHERE party = 'referred'", 300);
    whence.until_count("SELECT count() FROM reward_events WHERE kind = 'timer' AND outcome = 'applied'", 1);
    let payouts =
        run(&["report", "payouts", "--program", "p", "--format", "csv", "--data", data.to_str().unwrap()]);
    let text = String::from_utf8(payouts.stdout).unwrap();
    assert!(text.lines().count() == 2 && text.contains("\"ann\",\"referrer\""), "{text}");
    whence.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(whence.stop().success());
}

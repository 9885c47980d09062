//! `whence import`, as a process.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::SystemTime;

use crate::support::{Role, ask_api, run, whence, write_private};
use serde_json::{Value, json};
use tempfile::tempdir;
use whence_schemas::time::UnixMs;

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn import(data: &Path, file: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let base = ["import", file.to_str().unwrap(), "--program", "p", "--data", data.to_str().unwrap()];
    said(&run(&[&base[..], flags].concat()))
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

const PAST: &str = "\
type,lead,email,code,name,amount,currency,occurred_at
lead,bob,bob@mail.example,x,,,,2026-01-01T10:00:00Z
qualification,bob,,,purchase,19.99,EUR,2026-01-02T10:00:00Z
lead,eve,EMAIL,y,,,,2026-01-03T10:00:00Z
lead,zoe,,nope,,,,2026-01-03T10:00:00Z
lead,kim
";

#[test]
fn the_past_is_imported_once_however_often_the_file_is_sent() {
    let dir = tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("past.csv"));
    let role = Role::up(&data);
    role.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());

    fs::write(&file, PAST).unwrap();
    let (code, out, err) = import(&data, &file, &["--batch", "2"]);
    assert_eq!((code, out.as_str()), (Some(1), "5 rows read, 2 accepted, 0 unchanged, 3 refused\n"), "{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(
        lines,
        [
            "line 6: has 2 fields where the header has 8",
            "line 4: email is not an email address",
            "line 5: code is not the code of a link of the program",
        ]
    );
    assert!(err.ends_with("whence import: 3 rows were refused\n") && !err.contains("bob"), "{err}");
    role.until_count("SELECT count() FROM leads WHERE evidence = 'code' AND referrer = 'ann'", 1);
    role.until_count("SELECT count() FROM qualifications WHERE referrer = 'ann' AND value_minor = 1999", 1);

    let fixed = PAST.replace("EMAIL", "eve@mail.example").replace("nope", "z").replace("lead,kim\n", "");
    fs::write(&file, fixed).unwrap();
    for (accepted, unchanged) in [(2, 2), (0, 4)] {
        let (code, out, err) = import(&data, &file, &[]);
        let expected = format!("4 rows read, {accepted} accepted, {unchanged} unchanged, 0 refused\n");
        assert_eq!((code, out.as_str()), (Some(0), &*expected), "{err}");
    }
    role.until_count("SELECT count() FROM rejects", 0);
    role.until_count("SELECT count() FROM leads", 3);
    role.until_count("SELECT count() FROM qualifications", 1);
    assert!(role.stop().success());
}

/// What is stored, and another amount, another person and another time under the same ids; the last two rows are of one id.
const OTHERS: &str = "\
type,id,lead,code,name,amount,currency,occurred_at
lead,l-1,bob,x,,,,2026-01-01T10:00:00Z
qualification,q-1,bob,,purchase,19.99,EUR,2026-01-02T10:00:00Z
qualification,q-2,bob,,purchase,5.00,EUR,2026-01-03T10:00:00Z
qualification,q-2,bob,,purchase,5.00,EUR,2026-01-03T10:00:00Z
qualification,q-2,bob,,purchase,6.00,EUR,2026-01-03T10:00:00Z
";

#[test]
fn another_row_under_an_id_is_refused_wherever_the_first_is_and_told_everywhere() {
    let dir = tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("past.csv"));
    let role = Role::up(&data);
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    role.set_up_world(&key);
    let all = |text: &str, code: i32, expected: &str| {
        fs::write(&file, text).unwrap();
        let (found, out, err) = import(&data, &file, &[]);
        assert_eq!((found, out.trim_end()), (Some(code), expected), "{err}");
        err
    };
    let err = all(OTHERS, 1, "5 rows read, 3 accepted, 1 unchanged, 1 refused");
    assert!(err.contains("line 6: ") && err.contains("another id"), "{err}");
    let changed = OTHERS.replace("19.99", "21.00").replace("lead,l-1,bob", "lead,l-1,eve");
    let err = all(&changed, 1, "5 rows read, 0 accepted, 2 unchanged, 3 refused");
    assert!(["line 2: ", "line 3: ", "line 6: "].iter().all(|line| err.contains(line)), "{err}");
    role.until_count("SELECT count() FROM rejects", 0);

    // The process knows what it took before it was started again; another one does not, and the aggregator tells.
    let paid = |minor: i64| {
        json!({ "type": "qualification", "program": "p", "id": "q-1", "source": "import", "lead": "bob", "name": "purchase",
            "value": { "minor": minor, "currency": "EUR" }, "occurred_at": "2026-01-02T10:00:00Z" })
    };
    assert!(role.stop().success());
    let role = Role::up(&data);
    role.call_with(&key, "POST", "/v1/events", &paid(1999));
    let again = ask_api(&role.address("api"), &key, "POST", "/v1/events", &paid(2000));
    let problem: Value = serde_json::from_str(&again.body).unwrap();
    assert_eq!((again.status, &problem["code"]), (409, &json!("conflicting_body")), "{problem}");
    role.until_count("SELECT count() FROM rejects WHERE reason = 'duplicate'", 1);
    // A file without rows is no success, whatever the program.
    fs::write(&file, "type,lead,occurred_at\n").unwrap();
    let (code, out, err) = import(&data, &file, &[]);
    assert_eq!((code, out.as_str()), (Some(1), "0 rows read, 0 accepted, 0 unchanged, 0 refused\n"), "{err}");
    assert!(err.contains("no row is in it"), "{err}");
    assert!(role.stop().success());
}

const OBJECTS: &str = r#"
{"type": "lead", "id": "l-1", "lead": "bob", "email": "bob@mail.example", "code": "x", "occurred_at": "2026-01-01T10:00:00Z"}
{"type": "qualification", "id": "q-1", "lead": "bob", "name": "purchase", "value": {"minor": 1999, "currency": "EUR"}, "occurred_at": "2026-01-02T10:00:00Z"}
{"type": "lead", "id": "l-2", "lead": "zoe", "code": "nope", "occurred_at": "2026-01-03T10:00:00Z"}
{"type": "lead",
"#;

#[test]
fn a_past_of_json_objects_is_imported_too() {
    let dir = tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("past.ndjson"));
    let role = Role::up(&data);
    role.set_up_world(&fs::read_to_string(data.join("admin-key")).unwrap());
    fs::write(&file, OBJECTS).unwrap();
    for (accepted, unchanged) in [(2, 0), (0, 2)] {
        let (code, out, err) = import(&data, &file, &[]);
        let expected = format!("4 rows read, {accepted} accepted, {unchanged} unchanged, 2 refused\n");
        assert_eq!((code, out.as_str()), (Some(1), &*expected), "{err}");
        assert!(err.contains("line 4: code is not the code of a link of the program\n"), "{err}");
        assert!(err.contains("line 5: ") && !err.contains("bob"), "{err}");
    }
    role.until_count("SELECT count() FROM rejects", 0);
    role.until_count("SELECT count() FROM leads WHERE evidence = 'code' AND referrer = 'ann'", 1);
    role.until_count("SELECT count() FROM qualifications WHERE referrer = 'ann' AND value_minor = 1999", 1);
    assert!(role.stop().success());
}

/// On each of seven days.
const SOLD: &str = "\
type,id,referrer,lead,email,customer,code,name,qualification,reason,amount,currency,occurred_at
participant,,ann,,ann@mail.example,,,,,,,,DAY0
lead,,,bob,bob@mail.example,,x,,,,,,DAY1
identify,,,bob,,cus_1,,,,,,,DAY2
qualification,order-1,,,,cus_1,,purchase,,,100.00,EUR,DAY3
disqualification,,,,,cus_1,,,order-1,refund,25.00,EUR,DAY4
qualification,order-2,,eve,,,,purchase,,,10.00,EUR,DAY5
lead,,,eve,eve@mail.example,,y,,,,,,DAY6
";

#[test]
fn a_past_with_payments_and_refunds_changes_nothing_the_second_time() {
    let dir = tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("past.csv"));
    let role = Role::up(&data);
    let key = fs::read_to_string(data.join("admin-key")).unwrap();
    role.set_up_world(&key);
    let share =
        json!({ "id": "share", "for": "referrer", "currency": "EUR", "percent": "10", "hold_days": 400 });
    let program = json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [share] });
    role.call_with(&key, "PUT", "/v1/programs/p", &program);

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let week = UnixMs(i64::try_from(now).unwrap() - 7 * DAY_MS);
    let dated = (0..7).fold(SOLD.to_owned(), |text, day| {
        text.replace(&format!("DAY{day}"), &week.plus_ms(day * DAY_MS).rfc3339())
    });
    fs::write(&file, dated).unwrap();
    let all = |accepted| {
        let (code, out, err) = import(&data, &file, &["--batch", "3"]);
        assert_eq!((code, out.as_str()), (Some(0), accepted), "{err}");
    };
    all("7 rows read, 7 accepted, 0 unchanged, 0 refused\n");
    // A tenth of what is left of the first order, and of the second, which came before its lead.
    let open =
        "SELECT toInt64(sum(sign * amount_minor)) FROM rewards WHERE state = 'accrued' AND referrer = 'ann'";
    role.until_count(open, 750 + 100);
    role.until_count("SELECT toUInt64(sum(offsets)) FROM reconciliation WHERE stream = 'conversions'", 7);
    // Every row with its position, and every sum.
    let tables = [
        "leads",
        "qualifications",
        "disqualifications",
        "identifies",
        "participants",
        "subject_keys",
        "reward_terms",
        "rewards",
        "outbound_messages",
        "funnel",
        "reward_balance",
    ];
    let stored = || {
        let sql = |table: &&str| format!("SELECT sum(cityHash64(toString(tuple(*)))) FROM {table}");
        tables.map(|table| (table, role.count(&sql(&table)).unwrap()))
    };
    let before = stored();
    assert!(before.iter().all(|(_, rows)| *rows > 0), "{before:?}");
    all("7 rows read, 0 accepted, 7 unchanged, 0 refused\n");
    assert_eq!(stored(), before);
    role.until_count("SELECT count() FROM rejects", 0);
    role.until_count("SELECT toUInt64(sum(offsets)) FROM reconciliation WHERE stream = 'conversions'", 7);
    // What is refused after it was accepted is told with its line, and not sent again.
    let erased =
        run(&["erase", "p", "--lead", "eve", "--requested-by", "ticket 1", "--data", data.to_str().unwrap()]);
    assert!(erased.status.success(), "{erased:?}");
    fs::write(&file, "type,lead,code,occurred_at\nlead,eve,x,2026-01-01T00:00:00Z\n").unwrap();
    for why in ["was accepted and became no fact: suppressed", "was refused before: suppressed"] {
        let (code, out, err) = import(&data, &file, &[]);
        assert_eq!((code, &*out), (Some(1), "1 rows read, 0 accepted, 0 unchanged, 1 refused\n"), "{err}");
        assert!(err.contains(&format!("line 2: {why}")), "{err}");
    }
    role.until_count("SELECT count() FROM rejects", 1);
    role.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    assert!(role.stop().success());
}

/// An API that gives these answers, one a request, and returns the bodies it was sent.
fn scripted(answers: Vec<(u16, Value)>) -> (String, std::thread::JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let answer = |(status, body): (u16, Value)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let sent = loop {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request);
                let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
                if let Ok(body) = serde_json::from_str(body) {
                    break body;
                }
            };
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\nretry-after: 0\r\n");
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
            sent
        };
        answers.into_iter().map(answer).collect()
    });
    (url, serving)
}

fn import_lines(url: &str, lines: &str) -> (Option<i32>, String, String) {
    let base = ["import", "-", "--program", "p", "--format", "ndjson", "--type", "lead"];
    let mut child = whence()
        .args(base)
        .args(["--api-url", url])
        .env("WHENCE_API_KEY", "whk_1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    said(&child.wait_with_output().unwrap())
}

const LINES: &str = "{\"id\":\"a\",\"lead\":\"a\",\"occurred_at\":1700000000000}\n\
                     {\"id\":\"b\",\"lead\":\"b\",\"occurred_at\":1700000000000}\n";

#[test]
fn what_the_api_could_not_take_is_sent_again_and_nothing_else_is() {
    let (url, serving) = scripted(vec![
        (503, json!({"code": "busy", "detail": "too many"})),
        (
            207,
            json!({"accepted": 1, "results": [{"index": 0, "status": "accepted"}, {"index": 1, "status": "retry"}]}),
        ),
        (202, json!({"accepted": 1, "results": [{"index": 0, "status": "accepted"}]})),
    ]);
    let (code, out, err) = import_lines(&url, LINES);
    assert_eq!((code, out.as_str()), (Some(0), "2 rows read, 2 accepted, 0 unchanged, 0 refused\n"), "{err}");
    let sent = serving.join().unwrap();
    let ids = |body: &Value| -> Vec<String> {
        body.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(sent.iter().map(ids).collect::<Vec<_>>(), [vec!["a", "b"], vec!["a", "b"], vec!["b"]]);
    assert_eq!((&sent[0][0]["type"], &sent[0][0]["source"]), (&json!("lead"), &json!("import-lead")));
}

#[test]
fn an_answer_that_tells_nothing_of_the_rows_ends_the_import() {
    for (status, body) in [
        (403, json!({"code": "forbidden", "detail": "the API key is for another program"})),
        (202, json!({"accepted": 1, "results": [{"index": 0, "status": "accepted"}]})),
        (200, json!("welcome to some other server")),
    ] {
        let (url, serving) = scripted(vec![(status, body)]);
        let (code, out, err) = import_lines(&url, LINES);
        assert_eq!(
            (code, out.as_str()),
            (Some(1), "2 rows read, 0 accepted, 0 unchanged, 0 refused\n"),
            "{err}"
        );
        assert!(err.contains(&format!("the API refused the request: {status}")), "{err}");
        serving.join().unwrap();
    }
}

#[test]
fn what_cannot_be_imported_is_said() {
    let dir = tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    write_private(&dir.path().join("admin-key"), "whk_1");
    let cases = [
        (file("a.csv", "lead,colour\n"), &[][..], "the column \"colour\" is not one of"),
        (file("a.txt", ""), &[], "--format csv or --format ndjson"),
        (dir.path().join("none.csv"), &[], "none.csv"),
        (
            file("b.csv", "type,lead,occurred_at\nlead,a,2026-01-01T00:00:00Z\n"),
            &["--api-url", "https://ann:hunter2@api.example"],
            "not an address such as",
        ),
    ];
    for (path, flags, expected) in cases {
        let (code, _, err) = import(dir.path(), &path, flags);
        // A flag that lacks is a wrong call.
        let is_wrong_call = expected.starts_with("--");
        assert!(code == Some(if is_wrong_call { 2 } else { 1 }) && err.contains(expected), "{err}");
    }
}

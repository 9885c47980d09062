//! The JSON API: every answer is one that its OpenAPI document names.

use crate::{
    document::{self, DOCUMENT},
    rewards::{self, decision, person, reward},
    world::{NOW, PROGRAM, World, click, event, event_id, later},
};
use hyper::HeaderMap;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use whence_console::{
    http::{Access, Code, ConsoleHandle, ConsoleSettings, Parts, Problem, start},
    reports::Report,
};
use whence_schemas::{
    event::{
        Event, FirstPayment, HistoryCondition, Qualification, Verdict, event::Body, history_condition::Is,
    },
    subject::IdentityHasher,
    time::HOUR_MS,
};

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

struct Keys;

impl Access for Keys {
    fn check(&self, headers: &HeaderMap, _: IpAddr, _: &str) -> Result<(), Problem> {
        match headers.get("authorization").map(|key| key.as_bytes()) {
            Some(b"Bearer reader") => Ok(()),
            Some(b"Bearer sender") => Err(Problem::new(Code::Forbidden, "the key lacks reports:read")),
            Some(b"Bearer guesser") => Err(Problem::limited("too often", 7)),
            Some(b"Bearer early") => Err(Problem::new(Code::Busy, "the registry is not read yet")),
            _ => Err(Problem::new(Code::Unauthorized, "there is no such key")),
        }
    }

    fn knows_program(&self, program: &str) -> bool {
        program == "registered"
    }

    fn knows_referrer(&self, _: &str, referrer: &str) -> bool {
        referrer == "registered"
    }

    fn unproved(&self, headers: &HeaderMap, _: IpAddr) -> Result<(), Problem> {
        match headers.get("authorization").map(|key| key.as_bytes()) {
            Some(b"Bearer guesser") => Err(Problem::limited("too often", 7)),
            _ => Ok(()),
        }
    }
}

struct Console {
    handle: ConsoleHandle,
    stop: CancellationToken,
}

impl Console {
    async fn start(client: clickhouse::Client) -> Console {
        let settings = ConsoleSettings {
            console_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            console_connections_max: 10,
            console_questions_max: 2,
            console_question_timeout: Duration::from_secs(60),
        };
        let parts = Parts {
            client,
            identity: IdentityHasher::new(&[2; 32]),
            access: Arc::new(Keys),
            connections_percent: 25,
            proxies: Vec::new(),
            hosts: Vec::new(),
        };
        let stop = CancellationToken::new();
        Console { handle: start(&settings, parts, stop.clone()).await.unwrap(), stop }
    }

    /// Asks, and holds the answer to the document.
    fn ask_as(&self, key: &str, method: &str, target: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.handle.local_addr).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.into(), value.into()));
        let answer = Answer { status, headers: lines.filter_map(header).collect(), text: body.to_owned() };
        document::check(method, target, &answer);
        answer
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.ask_as("reader", "GET", &format!("/v1/programs/{PROGRAM}/{path}"), "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    async fn stop(self) {
        self.stop.cancel();
        assert_eq!(self.handle.stopped().await.cut, 0);
    }
}

/// A payment that counts only if it is the person's first.
fn not_the_first(world: &World) -> Event {
    let again = world.qualification("paid again", person("1"), "purchase", 100);
    let Some(Body::Qualification(body)) = again.body else { unreachable!("it is one") };
    let history = Some(HistoryCondition { is: Some(Is::FirstPayment(FirstPayment {})) });
    let again = event("paid again", Body::Qualification(Qualification { history, ..body }));
    Event { occurred_at_ms: NOW.0 + 1, ..again }
}

/// Something of every kind.
async fn world() -> World {
    let mut world = rewards::world().await;
    let (human, bot) = (click("ann", HOUR_MS, Verdict::Human), click("eve", 2 * HOUR_MS, Verdict::Bot));
    world.take_clicks([human, bot]).await;
    let nobodys = world.lead("5", person("5"), vec![]);
    let waiting = world.qualification("paid 9", person("9"), "purchase", 100);
    let unknown = world.refund("refund 9", person("8"), 100);
    let empty = event("x", Body::Lead(Default::default()));
    let again = decision("claw back", reward("1", "order"), "claw_back", "");
    let links = world.identify("names", crate::world::Person { lead: "1", email: "1@shop.example" });
    let events = [nobodys, waiting, unknown, empty, again, links, not_the_first(&world)];
    world.take((400_000..).step_by(1000).zip(events).map(|(ms, event)| later(event, ms))).await;
    let now = NOW.rfc3339().replace('T', " ").replace('Z', "");
    for sql in [
        format!("INSERT INTO programs (program, version, changed_at) VALUES ('{PROGRAM}', 1, '{now}')"),
        format!(
            "INSERT INTO referrers (program, referrer, version, changed_at, name) \
             VALUES ('{PROGRAM}', 'ann', 2, '{now}', 'Ann Example'), ('{PROGRAM}', 'ann', 1, '{now}', 'Ann')"
        ),
        format!(
            "INSERT INTO completeness_clock (through, said_at, held_since) VALUES ('{now}', '{now}', '{now}')"
        ),
    ] {
        world.client.query(&sql).execute().await.unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_lineage_and_status_is_as_the_document_says() {
    let world = world().await;
    let console = Console::start(world.reader.clone()).await;
    for report in Report::of_programs() {
        let found = console.get(report.word());
        assert!(
            !found["items"].as_array().unwrap().is_empty(),
            "nothing of {report:?} is held to the document"
        );
        if report.has_days() {
            let none = console.get(&format!("{}?to=2020-01-01&referrer=ann", report.word()));
            assert_eq!(none, json!({ "items": [], "more": false, "next": null }));
        }
        if report.has_past() {
            let path = format!("{}?as_of=2026-12-31T23:42:30Z&limit=1", report.word());
            assert_eq!(console.get(&path)["items"].as_array().unwrap().len(), 1, "{path}");
        }
    }
    let payouts = console.get("payouts");
    let welcome =
        payouts["items"].as_array().unwrap().iter().find(|item| item["party"] == "referred").unwrap();
    assert_eq!(
        (&welcome["lead"], &welcome["referrer_name"]),
        (&json!("3"), &json!("Ann Example")),
        "{welcome}"
    );

    let mut steps = BTreeSet::new();
    for lead in ["1", "2", "3", "4", "5", "9"] {
        let found = console.get(&format!("lineage/{lead}?referrer=eve"));
        let lines = found["lines"].as_array().unwrap();
        steps.extend(lines.iter().map(|line| line["step"].as_str().unwrap().to_owned()));
        let body = json!({ "lead": lead, "referrer": "eve" }).to_string();
        let path = format!("/v1/programs/{PROGRAM}/lineage");
        assert_eq!(console.ask_as("reader", "POST", &path, &body).json(), found);
    }
    let all = [
        "click",
        "decision",
        "disqualification",
        "evidence",
        "identify",
        "lead",
        "qualification",
        "reward",
        "terms",
    ];
    assert_eq!(steps, all.map(str::to_owned).into());

    let mut found = Vec::new();
    let mut path = "status?limit=2".to_owned();
    loop {
        let page = console.get(&path);
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("status?limit=2&after={next}");
    }
    let uncounted = |step: &Value| step["sign"] == 0 && step["step"] == "purchase: not_first_payment";
    assert!(found.iter().any(|lead| lead["history"].as_array().unwrap().iter().any(uncounted)));
    let states: BTreeSet<&str> = found.iter().map(|lead| lead["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["lead", "rewarded", "uncredited", "waiting"].into());
    assert_eq!(console.get("status?test=true")["items"], json!([]));
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_that_is_cut_says_so_and_goes_on_where_it_ended() {
    let world = world().await;
    let console = Console::start(world.reader.clone()).await;
    // A page each of one row: equal values of what is sorted by would be passed over, or come twice.
    let paged = |list: &str| {
        let (mut items, mut path) = (Vec::new(), format!("{list}?limit=1"));
        loop {
            let page = console.get(&path);
            let found = page["items"].as_array().unwrap();
            assert_eq!(found.len(), 1, "{path}");
            items.extend(found.clone());
            let Some(next) = page["next"].as_str() else { return items };
            path = format!("{list}?limit=1&after={next}");
            assert!(items.len() < 1000, "no end of {list}");
        }
    };
    let mut cut = 0;
    for list in Report::of_programs().map(Report::word).chain(["status"]) {
        // Ages grow between two questions.
        let without_age = |mut items: Vec<Value>| {
            items.iter_mut().for_each(|item| {
                item.as_object_mut()
                    .unwrap()
                    .retain(|name, _| !["age_seconds", "behind_seconds"].contains(&&**name));
            });
            items
        };
        let whole = console.get(list);
        assert_eq!(whole["next"], Value::Null, "{list}");
        let whole = without_age(whole["items"].as_array().unwrap().clone());
        cut += usize::from(whole.len() > 1);
        assert_eq!(without_age(paged(list)), whole, "{list}");
    }
    assert!(cut > 8, "{cut} lists have more than a row");
    // A place in one list is none in another.
    let next = console.get("funnel?limit=1")["next"].as_str().unwrap().to_owned();
    let answer = console.ask_as("reader", "GET", &format!("/v1/programs/{PROGRAM}/payouts?after={next}"), "");
    assert_eq!(answer.status, 422, "{}", answer.text);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_unknown_is_told_so_and_never_an_empty_success() {
    let world = world().await;
    let console = Console::start(world.reader.clone()).await;
    let status = |program: &str, path: &str| {
        let method = if path == "lineage" { "POST" } else { "GET" };
        let body = if path == "lineage" { r#"{"lead": "1"}"# } else { "" };
        console.ask_as("reader", method, &format!("/v1/programs/{program}/{path}"), body).status
    };
    let words = || Report::of_programs().map(Report::word);
    for path in words().chain([
        "status",
        "lineage",
        "lineage/1",
        "erasures/01234567-89ab-5cde-8f01-23456789abcd",
        "leads/01234567-89ab-5cde-8f01-23456789abcd",
    ]) {
        assert_eq!(status("nobodys", path), 404, "{path}");
        // In the registry, and no fact of it: its lists are empty, its people unknown.
        let is_list = !path.contains("lineage") && !path.contains("/0123");
        assert_eq!(status("registered", path), if is_list { 200 } else { 404 }, "{path}");
    }
    let of_referrers = Report::of_programs().filter(|report| report.has_days()).map(Report::word);
    for path in of_referrers.chain(["status", "lineage/1"]) {
        for (referrer, expected) in
            [("ann", 200), ("eve", 200), ("registered", 200), ("nobody", 404), ("Ann", 404)]
        {
            assert_eq!(
                status(PROGRAM, &format!("{path}?referrer={referrer}")),
                expected,
                "{path} {referrer}"
            );
        }
    }
    let unknown = console.ask_as("reader", "GET", &format!("/v1/programs/{PROGRAM}/lineage/nobody"), "");
    assert_eq!((unknown.status, unknown.json()["code"].as_str()), (404, Some("not_found")));
    assert!(unknown.text.contains("nothing is known"), "{}", unknown.text);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_and_a_qualification_are_read_by_their_ids_as_they_stand() {
    let mut world = world().await;
    let console = Console::start(world.reader.clone()).await;
    let lead = console.get(&format!("leads/{}", event_id("1").0));
    assert_eq!(
        [&lead["lead"], &lead["counts"], &lead["is_person"]],
        [&json!("1"), &json!(true), &json!(true)]
    );
    let paid = console.get(&format!("qualifications/{}", event_id("paid 1").0));
    assert_eq!((&paid["lead_id"], &paid["counts"]), (&lead["id"], &json!(true)), "{paid}");
    let person = crate::world::Person { lead: "1", email: "1@shop.example" };
    world.take([later(world.refund("part", person, 100), 700_000)]).await;
    let left = console.get(&format!("qualifications/{}", event_id("paid 1").0));
    let value = |fact: &Value, name: &str| fact[name].as_i64().unwrap();
    assert_eq!(value(&left, "paid_minor"), value(&paid, "paid_minor"));
    assert_eq!(value(&left, "value_minor"), value(&paid, "value_minor") - 100, "{left}");
    // A lead is no qualification, and a word is no id.
    for path in [format!("qualifications/{}", event_id("1").0), "leads/1".to_owned()] {
        let answer = console.ask_as("reader", "GET", &format!("/v1/programs/{PROGRAM}/{path}"), "");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_tells_what_it_touched_and_its_person_is_found_by_no_key() {
    let mut world = world().await;
    let named = crate::world::Person { lead: "1", email: "1@shop.example" };
    world.take([later(world.erasure("erase", named), 500_000)]).await;
    let console = Console::start(world.reader.clone()).await;
    let id = event_id("erase").0;
    let done = console.get(&format!("erasures/{id}"));
    let touched = ["events", "rewards", "keys", "requested_by"].map(|name| done[name].clone());
    // Its lead, two payments, a refund, what names it; the order's reward and the welcome; the lead's id and the address.
    assert_eq!(touched, [json!(5), json!(2), json!(2), json!("ticket 1")], "{done}");

    // What comes later of the person, under a name that was not known either.
    let other = crate::world::Person { lead: "1", email: "other@shop.example" };
    world.take([later(world.refund("late refund", other, 100), 600_000)]).await;
    for body in [
        json!({ "lead": "1" }),
        json!({ "email": "1@shop.example" }),
        json!({ "email": "other@shop.example" }),
        json!({ "lead": "nobody" }),
    ] {
        let answer =
            console.ask_as("reader", "POST", &format!("/v1/programs/{PROGRAM}/lineage"), &body.to_string());
        assert_eq!(answer.status, 404, "{body}: {}", answer.text);
        let unknown = console.ask_as("reader", "GET", &format!("/v1/programs/{PROGRAM}/lineage/never"), "");
        assert_eq!(answer.json(), unknown.json(), "as of somebody who was never heard of");
    }
    // By the ids of their events finance finds them.
    for (event, step) in
        [(event_id("1").0, "lead"), (event_id("paid 1").0, "qualification"), (reward("1", "order"), "reward")]
    {
        let body = json!({ "event": event.to_string() }).to_string();
        let answer = console.ask_as("reader", "POST", &format!("/v1/programs/{PROGRAM}/lineage"), &body);
        assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        let answer = answer.json();
        let lines = answer["lines"].as_array().unwrap();
        assert!(lines.iter().any(|line| line["step"] == step), "{step}: {lines:?}");
    }
    // Others are found as before.
    console.get("lineage/2");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_as_the_document_says() {
    let world = World::new().await;
    let console = Console::start(world.reader.clone()).await;
    let served = console.ask_as("nobody", "GET", "/v1/openapi.json", "");
    assert_eq!((served.status, &served.json()), (200, &*DOCUMENT));
    let large = "x".repeat(5000);
    for (key, method, path, body, expected) in [
        ("nobody", "GET", "funnel", "", 401),
        ("sender", "GET", "status", "", 403),
        ("early", "GET", "lineage/1", "", 503),
        ("reader", "GET", "nothing", "", 404),
        ("reader", "GET", "funnel", "", 404),
        ("reader", "GET", "lineage/1", "", 404),
        ("reader", "GET", "erasures/01234567-89ab-5cde-8f01-23456789abcd", "", 404),
        ("guesser", "GET", "funnel", "", 429),
        ("reader", "POST", "funnel", "", 405),
        ("reader", "GET", "lineage", "", 405),
        ("reader", "POST", "lineage", "{}", 422),
        ("reader", "POST", "lineage", &large, 400),
        ("reader", "GET", "funnel?from=yesterday", "", 422),
        ("reader", "GET", "payouts?as_of=then", "", 422),
        ("reader", "GET", "cohorts?as_of=2026-01-01", "", 422),
        ("reader", "GET", "status?limit=1001", "", 422),
        ("reader", "GET", "status?referrer=", "", 422),
        ("reader", "GET", "lineage/1?referrer=ann&referrer=ann", "", 422),
    ] {
        let answer = console.ask_as(key, method, &format!("/v1/programs/{PROGRAM}/{path}"), body);
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (expected, &json!(expected)),
            "{method} {path}"
        );
    }
    assert_eq!(console.ask_as("reader", "POST", "/v1/openapi.json", "").status, 405);
    console.stop().await;

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let alone = Console::start(world.reader.clone().with_url(format!("http://{nobody}"))).await;
    for path in ["funnel", "status", "lineage/1"] {
        let answer = alone.ask_as("reader", "GET", &format!("/v1/programs/{PROGRAM}/{path}"), "");
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("clickhouse_unavailable")));
    }
    alone.stop().await;
}

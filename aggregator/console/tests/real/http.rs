//! The JSON API: every answer is one that its OpenAPI document names.

use crate::{
    document::{self, DOCUMENT},
    rewards::{self, decision, person, reward},
    world::{NOW, PROGRAM, World, click, event, later},
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
    let (human, bot) = (click("ann", HOUR_MS, Verdict::Human), click("eve", HOUR_MS, Verdict::Bot));
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
            assert_eq!(none, json!({ "items": [], "more": false }));
        }
        if report.has_past() {
            let path = format!("{}?as_of=2026-12-31T23:42:30Z&limit=1", report.word());
            assert_eq!(console.get(&path)["items"].as_array().unwrap().len(), 1, "{path}");
        }
    }
    let mut steps = BTreeSet::new();
    for lead in ["1", "2", "3", "4", "5", "9", "nobody"] {
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
        ("guesser", "GET", "funnel", "", 429),
        ("reader", "POST", "funnel", "", 405),
        ("reader", "GET", "lineage", "", 405),
        ("reader", "POST", "lineage", "{}", 422),
        ("reader", "POST", "lineage", &large, 400),
        ("reader", "GET", "funnel?from=yesterday", "", 422),
        ("reader", "GET", "payouts?as_of=then", "", 422),
        ("reader", "GET", "cohorts?as_of=2026-01-01", "", 422),
        ("reader", "GET", "status?limit=1001", "", 422),
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

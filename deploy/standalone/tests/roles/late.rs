//! A click that arrives days after it was made, since its edge was offline: over a real broker, each role in a process
//! of its own, and beside it the same story with a click that came in time.

use std::net::TcpListener;
use std::path::Path;

use crate::support::brokers::Shared;
use crate::support::clock::{Environment, OtherClock, now_ms};
use crate::support::{BROWSER, Role, run};
use serde_json::{Value, json};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
/// How long before its lead a click was made, and how long a reward is held.
const CLICK_DAYS: i64 = 3;
const HOLD_DAYS: i64 = 2;

/// The programs: with the click that comes in time, and with the one that comes late.
const PROMPT: &str = "prompt";
const LATE: &str = "late";
/// In both a person and a bot click, and each becomes a lead.
const LEADS: [(&str, &str); 2] = [("human", BROWSER), ("bot", "curl/8.5.0")];

/// A bot's click makes a lead that came by none of the counted ones.
const COUNTS: &str = "SELECT clicks, other_clicks, leads, leads_by_click, qualified, qualification_events, no_lead_rate \
     FROM funnel WHERE program = {}";

/// What reports say of a program, and what stands in its tables, without ids and times of receipt.
const REPORTS: [&str; 22] = [
    "SELECT referrer, channel, quarter_hour, verdict, currency, sum(f.clicks) AS clicks, sum(f.other_clicks) AS others, \
     sum(f.leads) AS leads, sum(f.leads_by_click) AS by_click, sum(f.qualified) AS qualified, \
     sum(f.lead_events) AS lead_events, sum(f.qualification_events) AS reached, sum(f.value_minor) AS minor \
     FROM funnel_quarter_hourly AS f WHERE program = {} GROUP BY ALL \
     HAVING (clicks, others, leads, qualified, lead_events, reached, minor) != (0, 0, 0, 0, 0, 0, 0)",
    "SELECT referrer, channel, day, verdict, currency, sum(f.clicks) AS clicks, sum(f.other_clicks) AS others, \
     sum(f.leads) AS leads, sum(f.leads_by_click) AS by_click, sum(f.qualified) AS qualified, \
     sum(f.lead_events) AS lead_events, sum(f.qualification_events) AS reached, sum(f.value_minor) AS minor \
     FROM funnel_daily AS f WHERE program = {} GROUP BY ALL \
     HAVING (clicks, others, leads, qualified, lead_events, reached, minor) != (0, 0, 0, 0, 0, 0, 0)",
    "SELECT * EXCEPT (program) FROM funnel WHERE program = {}",
    "SELECT * EXCEPT (program) FROM top_referrers WHERE program = {}",
    "SELECT * EXCEPT (program) FROM channels WHERE program = {}",
    "SELECT * EXCEPT (program) FROM steps WHERE program = {}",
    "SELECT * EXCEPT (program) FROM time_to_qualify WHERE program = {}",
    "SELECT * EXCEPT (program) FROM cohorts WHERE program = {}",
    "SELECT * EXCEPT (program) FROM reward_balance WHERE program = {}",
    "SELECT * EXCEPT (program) FROM reward_roi WHERE program = {}",
    "SELECT * EXCEPT (program) FROM reward_roi_by_rule WHERE program = {}",
    "SELECT kind, reason, lead FROM unmatched WHERE program = {}",
    "SELECT stream, kind, reason, records FROM rejects_by_reason WHERE program = {}",
    "SELECT live, lead, state, why, referrer, channel, link, evidence, qualification_events, value_minor, \
     arrayMap(r -> (r.rule, r.party, r.state, r.open_minor, r.currency, r.reason), rewards) FROM status WHERE program = {}",
    "SELECT referrer, party, rule, amount_minor, currency, risk, flags, evidence, reason FROM review_queue \
     WHERE program = {}",
    "SELECT referrer, party, rule, amount_minor, currency, earned_at, decided_by FROM payouts WHERE program = {}",
    "SELECT state, open_minor, currency, party, referrer, rule, earned_at, due_at, reason, risk, flags, evidence \
     FROM reward_states WHERE program = {}",
    "SELECT referrer, rule, state, currency, sum(sign) AS lines, sum(sign * amount_minor) FROM rewards \
     WHERE program = {} GROUP BY ALL HAVING lines != 0",
    "SELECT lead, occurred_at, evidence, reason, referrer, link, channel, model, window_ms, live, sum(sign) AS rows \
     FROM leads WHERE program = {} GROUP BY ALL HAVING rows != 0",
    "SELECT lead, occurred_at, name, evidence, referrer, link, channel, value_minor, currency, live, sum(sign) AS rows \
     FROM qualifications WHERE program = {} GROUP BY ALL HAVING rows != 0",
    "SELECT referrer, link, channel, destination, verdict, reason, live, sum(sign) FROM clicks \
     WHERE program = {} GROUP BY ALL",
    "SELECT argMax(verdict, found), argMax(reason, found), max(found) FROM click_evidence \
     WHERE program = {} GROUP BY lead_id",
];

/// All roles but the edge whose clicks come late.
struct World {
    ingest: Vec<String>,
    aggregate: Vec<String>,
    store: String,
    clickhouse: Role,
    api: Role,
    // Dropped last: the roles write into it.
    shared: Shared,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl World {
    fn new() -> Self {
        let shared = Shared::new("late");
        let Shared { brokers, prefix, secrets, key_file, .. } = &shared;
        shared.make_topics(1, 1);
        let clickhouse = shared.migrated();
        let store = clickhouse.address("clickhouse");
        let common = ["--secrets-file", secrets, "--kafka-prefix", prefix];
        let keys = ["--api-admin-key-file", key_file, "--ship-drain-timeout", "1s"];
        let ingest = words(&[&["ingest"], &common[..], &keys].concat());
        let group = ["--clickhouse-url", &store, "--kafka-group", prefix, "--kafka-session-timeout", "3s"];
        let aggregate = words(&[&["aggregate"], &common[..], &group, &["--kafka-brokers", brokers]].concat());
        let online = ["--kafka-brokers", brokers];
        let api = start(&shared.place("api"), &ingest, &online, Environment::new());
        api.until_ready();
        Self { ingest, aggregate, store, clickhouse, api, shared }
    }

    /// The edge that goes offline, of these brokers and so much behind the others.
    fn edge(&self, brokers: &str, behind_s: i64) -> Role {
        let clock = OtherClock::off_by_s(self.shared.dir(), -behind_s).environment();
        start(&self.shared.place("edge"), &self.ingest, &["--kafka-brokers", brokers], clock)
    }

    /// The aggregator, so many days ahead of the others.
    fn aggregator(&self, days: i64) -> Role {
        let clock = OtherClock::off_by_s(self.shared.dir(), days * DAY_S).environment();
        let aggregator = start(&self.shared.place("aggregate"), &self.aggregate, &[], clock);
        aggregator.until_ready();
        aggregator
    }

    /// A program with a link for each lead; what bots clicked is for a person to decide.
    fn make(&self, program: &str) {
        let path = format!("/v1/programs/{program}");
        let call = |method: &str, of: &str, body: Value| {
            self.api.call_with(&self.shared.key, method, &format!("{path}{of}"), &body)
        };
        let order = json!({ "id": "order", "for": "referrer", "currency": "EUR", "percent": "10",
            "hold_days": HOLD_DAYS });
        call(
            "PUT",
            "",
            json!({ "destination_hosts": ["shop.example"], "channels": ["email"], "rewards": [order],
            "risk": { "threshold": 50, "bot_click": 60 } }),
        );
        call("POST", "/referrers", json!({ "id": "ann", "name": "Ann" }));
        for (lead, _) in LEADS {
            let code = format!("{program}-{lead}");
            let destination = format!("https://shop.example/{code}");
            call(
                "POST",
                "/links",
                json!({ "host": "go.example", "code": code, "referrer": "ann",
                "channel": "email", "destination": destination }),
            );
        }
    }

    fn send(&self, event: &Value) {
        self.api.call_with(&self.shared.key, "POST", "/v1/events", event);
    }

    /// What the query gives for a program, with the program's name taken out.
    fn rows(&self, program: &str, sql: &str) -> String {
        let sql = format!("{} ORDER BY ALL", sql.replace("{}", &format!("'{program}'")));
        self.clickhouse.rows(&sql).replace(program, "PROGRAM")
    }

    fn until_count(&self, sql: &str, wanted: u64) {
        self.clickhouse.until_count(sql, wanted);
    }

    /// What a tool prints.
    fn told(&self, arguments: &[&str]) -> String {
        let data = self.shared.place("tools");
        let given = ["--clickhouse-url", &self.store, "--data", data.to_str().unwrap()];
        let output = run(&[arguments, &given].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fails unless lineage says all of this.
    fn explains(&self, lead: &str, expected: &[&str]) {
        let said = self.told(&["lineage", LATE, lead, "--secrets-file", &self.shared.secrets]);
        for expected in expected {
            assert!(said.contains(expected), "no {expected:?} in {said}");
        }
    }
}

fn start(place: &Path, given: &[String], more: &[&str], clock: Environment) -> Role {
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    Role::start_in(clock, place, &[&given[..], more].concat())
}

fn click_all(edge: &Role, program: &str) -> [String; 2] {
    LEADS.map(|(lead, agent)| {
        edge.click_with(&format!("{program}-{lead}"), &[("user-agent", agent.to_owned())])
    })
}

fn lead(program: &str, lead: &str, token: &str, at: i64) -> Value {
    json!({ "type": "lead", "program": program, "id": format!("lead {lead}"), "lead": lead,
        "touches": [{ "token": token }], "occurred_at": at - 60_000 })
}

fn purchase(program: &str, lead: &str, at: i64) -> Value {
    json!({ "type": "qualification", "program": program, "id": format!("order {lead}"), "lead": lead,
        "name": "purchase", "value": { "minor": 1000, "currency": "EUR" }, "occurred_at": at })
}

#[test]
fn a_click_that_is_shipped_days_late_changes_no_credit_and_is_looked_at_before_the_approval() {
    let world = World::new();
    let brokers = &world.shared.brokers;
    let first = world.aggregator(0);
    [LATE, PROMPT].into_iter().for_each(|program| world.make(program));

    // Three days ago, in an hour that has only begun, so that all clicks are of that hour.
    let now_s = now_ms() / 1000;
    let hour_s = now_s / HOUR_S * HOUR_S - HOUR_S - CLICK_DAYS * DAY_S;
    let behind_s = now_s - (hour_s + HOUR_S / 12);
    let edge = world.edge(brokers, behind_s);
    edge.until_ready();
    // The registry's order is one: who knows these links knows those made before.
    let prompt = click_all(&edge, PROMPT);
    world.until_count("SELECT count() FROM clicks", 2);
    assert!(edge.stop().success());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = world.edge(&nobody.local_addr().unwrap().to_string(), behind_s);
    edge.until_edge();
    let late = click_all(&edge, LATE);
    let (status, readiness) = edge.readiness();
    assert_eq!((status, &readiness["degraded"]), (200, &json!(true)), "{readiness}");

    // Today; late, the bot's purchase comes before its lead.
    let at = now_ms();
    for (token, (name, _)) in prompt.iter().zip(LEADS) {
        [lead(PROMPT, name, token, at), purchase(PROMPT, name, at)]
            .iter()
            .for_each(|event| world.send(event));
    }
    world.send(&purchase(LATE, "bot", at));
    let waits = "SELECT count() FROM unmatched WHERE program = 'late' AND kind = 'qualification' \
                 AND reason = 'no_lead_yet' AND lead = 'bot' AND age_seconds BETWEEN 0 AND 3600";
    world.until_count(waits, 1);
    for (token, (name, _)) in late.iter().zip(LEADS) {
        world.send(&lead(LATE, name, token, at));
    }
    world.send(&purchase(LATE, "human", at));

    // By the token alone.
    world.until_count("SELECT uniqExact(event_id) FROM subject_keys", 8);
    world.until_count("SELECT uniqExact(reward_id) FROM rewards WHERE program = 'late'", 2);
    world.until_count(
        "SELECT toUInt64(sum(qualification_events)) FROM funnel_daily WHERE program = 'late'",
        2,
    );
    let is = |sql: &str, expected: &str| assert_eq!(world.rows(LATE, sql).trim(), expected, "{sql}");
    is("SELECT count() FROM clicks WHERE program = {}", "0");
    is("SELECT kind, reason FROM unmatched WHERE program = {}", "");
    is("SELECT reward_id FROM review_queue WHERE program = {}", "");
    is(
        "SELECT looked_by, found, verdict FROM click_evidence WHERE program = {}",
        "lead\tfalse\tunspecified\nlead\tfalse\tunspecified\nqualification\tfalse\tunspecified",
    );
    is(COUNTS, "0\t0\t2\t1\t2\t2\tother_cohort");
    is(
        "SELECT lead, state, referrer, evidence, rewards[1].state FROM status WHERE program = {}",
        "bot\trewarded\tann\ttoken\taccrued\nhuman\trewarded\tann\ttoken\taccrued",
    );
    world.explains(
        "bot",
        &[
            "ann gets the credit: the lead carried a signed token of a click on go.example/late-bot",
            "made 3 days",
            "is not stored (yet, or no more); the token proves it without.",
            "The record of the click was looked at when the lead came (it had not come yet).",
            "It came before its lead, waited",
        ],
    );
    let decided = ["leads", "qualifications", "rewards", "reward_events", "click_evidence", "subject_keys"];
    let decided = decided.map(|table| format!("SELECT * FROM {table} WHERE program = {{}}"));
    let before = decided.clone().map(|sql| world.rows(LATE, &sql));

    // The broker is back.
    assert!(edge.stop().success());
    drop(nobody);
    let edge = world.edge(brokers, 0);
    edge.until_ready();
    world.until_count(
        "SELECT toUInt64(sum(clicks + other_clicks)) FROM funnel_daily WHERE program = 'late'",
        2,
    );
    is(
        "SELECT verdict, reason, referrer, link FROM clicks WHERE program = {}",
        "human\tbrowser\tann\tgo.example/PROGRAM-human\nbot\thttp_library\tann\tgo.example/PROGRAM-bot",
    );
    let hour = format!(
        "SELECT clicks + other_clicks AS requests, intDiv(toUnixTimestamp(quarter_hour), 3600) * 3600 - {hour_s} \
         FROM funnel_quarter_hourly WHERE program = {{}} AND requests != 0"
    );
    is(&hour, "1\t0\n1\t0");
    let day = format!(
        "SELECT clicks + other_clicks AS requests, toUnixTimestamp(day) - {} FROM funnel_daily WHERE program = {{}} AND requests != 0",
        hour_s / DAY_S * DAY_S
    );
    is(&day, "1\t0\n1\t0");
    is(COUNTS, "1\t1\t2\t1\t2\t2");
    assert_eq!(decided.map(|sql| world.rows(LATE, &sql)), before, "a click's row decides nothing");
    world.explains("human", &["is stored, and looked like a person's."]);
    is("SELECT state FROM reward_states WHERE program = {}", "accrued\naccrued");

    // Three days on the rewards are due: now it counts what the click says.
    assert!(first.stop().success());
    let second = world.aggregator(HOLD_DAYS + 1);
    world.until_count("SELECT count() FROM reward_events WHERE kind = 'timer'", 3);
    is(
        "SELECT state, decided_by, reason FROM reward_states WHERE program = {}",
        "held\ttimer\trisk\napproved\ttimer\tdue",
    );
    is(
        "SELECT looked_by, found, verdict FROM click_evidence WHERE program = {} AND found",
        "timer\ttrue\thuman\ntimer\ttrue\tbot",
    );
    is(
        "SELECT flags, evidence FROM review_queue WHERE program = {}",
        "['bot_click']\tthe click\\'s verdict is bot (http_library)",
    );
    world.explains("bot", &["before an approval (bot: http_library)"]);
    world.explains("human", &["before an approval (human: browser)"]);
    for sql in REPORTS {
        assert_eq!(
            world.rows(LATE, sql),
            world.rows(PROMPT, sql),
            "late and in time come to the same: {sql}"
        );
    }
    world.until_count("SELECT toUInt64(sum(missing + extra)) FROM reconciliation", 0);
    let World { clickhouse, api, .. } = &world;
    assert_eq!(clickhouse.count("SELECT count() FROM rejects"), Some(0));
    assert_eq!(api.readiness().0, 200);
    for role in [second, edge] {
        let log = role.log();
        assert!(role.stop().success(), "{log}");
    }
}

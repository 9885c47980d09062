//! Up to when everything is in: on one machine, and with two edges over a real broker of which one is away.

use std::fs;

use crate::support::brokers::Shared;
use crate::support::clock::now_ms;
use crate::support::{Role, kill, run, until};
use serde_json::json;
use tempfile::tempdir;
use whence_schemas::topics::{EDGES, Stream};

/// Everything before this is in, milliseconds since the epoch; 0: nothing is known.
fn through(clickhouse: &Role) -> i64 {
    let sql = "SELECT toUnixTimestamp64Milli(max(through)) FROM completeness_clock";
    clickhouse.rows(sql).trim().parse().unwrap()
}

fn until_through(clickhouse: &Role, at: i64) -> i64 {
    until(&format!("{at} is in"), || Some(through(clickhouse)).filter(|through| *through > at))
}

/// What was said to be in at some time, and what of it was there.
struct Seen(Vec<(i64, u64)>);

impl Seen {
    fn look(&mut self, clickhouse: &Role) {
        let through = through(clickhouse);
        self.0.push((through, Self::before(clickhouse, through)));
    }

    fn before(clickhouse: &Role, through: i64) -> u64 {
        clickhouse
            .count(&format!(
                "SELECT count() FROM clicks WHERE ts < fromUnixTimestamp64Milli({through}, 'UTC')"
            ))
            .unwrap()
    }

    /// Nothing from before it was stored later.
    fn held(&self, clickhouse: &Role) {
        for (through, rows) in &self.0 {
            assert_eq!(Self::before(clickhouse, *through), *rows, "before {through}");
        }
    }
}

#[test]
fn on_one_machine_it_follows_the_clock_and_waits_for_what_is_not_stored() {
    let dir = tempdir().unwrap();
    let whence = Role::up(dir.path());
    whence.set_up_world(&fs::read_to_string(dir.path().join("admin-key")).unwrap());
    let mut seen = Seen(Vec::new());
    until_through(&whence, now_ms() - 1000);
    for _ in 0..3 {
        whence.click("x");
        until_through(&whence, now_ms());
        seen.look(&whence);
    }
    assert_eq!(seen.0.last().unwrap().1, 3);
    assert_eq!(whence.rows("SELECT program, held_by FROM completeness").trim(), "p");
    let status = run(&["status", "p", "--data", dir.path().to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("is in\n"), "{status:?}");
    whence.click("y");
    whence.kill();
    let whence = Role::up(dir.path());
    until_through(&whence, now_ms());
    seen.held(&whence);
    assert_eq!(Seen::before(&whence, through(&whence)), 4);
}

#[test]
fn an_edge_that_is_away_holds_it_is_named_and_comes_back_or_is_retired() {
    let shared = Shared::new("complete");
    let Shared { brokers, prefix, secrets, key_file, key, .. } = &shared;
    shared.make_topics(2, 2);
    let clickhouse = shared.migrated();
    let store = clickhouse.address("clickhouse");
    let common = ["--secrets-file", secrets, "--kafka-prefix", prefix, "--kafka-brokers", brokers];
    let edge = |name: &str| {
        let given = ["--api-admin-key-file", key_file, "--edge-threads", "1"];
        let edge = Role::start(&shared.place(name), &[&["ingest"], &common[..], &given].concat());
        edge.until_ready();
        edge
    };
    let (a, b) = (edge("a"), edge("b"));
    let group = ["--clickhouse-url", &store, "--kafka-group", prefix, "--kafka-session-timeout", "3s"];
    let aggregate = || {
        let role = Role::start(&shared.place("aggregate"), &[&["aggregate"], &common[..], &group].concat());
        role.until_ready();
        role
    };
    let aggregator = aggregate();
    a.set_up_world(key);
    let name = fs::read_to_string(b.data().join("edge-name")).unwrap().trim().to_owned();
    let mut seen = Seen(Vec::new());
    // Idle, it follows the clock; with clicks, too.
    until_through(&clickhouse, now_ms());
    a.click("x");
    b.click("x");
    until_through(&clickhouse, now_ms());
    seen.look(&clickhouse);
    assert_eq!(seen.0[0].1, 2);
    // Kafka may not have this one.
    b.click("y");
    b.kill();
    a.click("y");
    let since = until("it is named", || {
        seen.look(&clickhouse);
        a.click("z");
        let held = clickhouse.rows("SELECT held_by FROM completeness");
        (held.contains(&format!("edge {name} says nothing since")) && held.contains("edges retire"))
            .then(|| through(&clickhouse))
    });
    assert!(since < now_ms() - 20_000, "it stands");
    // The aggregator is killed meanwhile: what was known is not given up, and nothing more is concluded.
    aggregator.kill();
    let aggregator = aggregate();
    seen.look(&clickhouse);
    let b = edge("b");
    assert_eq!(fs::read_to_string(b.data().join("edge-name")).unwrap().trim(), name);
    until_through(&clickhouse, now_ms());
    seen.look(&clickhouse);
    assert!(clickhouse.rows("SELECT held_by FROM completeness").trim().is_empty());
    // Gone for good.
    assert!(b.stop().success());
    let retired = run(&["edges", "retire", &name, "--kafka-brokers", brokers, "--kafka-prefix", prefix]);
    assert!(retired.status.success(), "{retired:?}");
    until_through(&clickhouse, now_ms());
    seen.look(&clickhouse);
    seen.held(&clickhouse);
    assert_eq!(
        Some(Seen::before(&clickhouse, through(&clickhouse))),
        clickhouse.count("SELECT count() FROM clicks")
    );

    // What edges have shipped is held against what Kafka has.
    let verify = || {
        let ended =
            run(&[&["verify", "--clickhouse-url", &store, "--kafka-group", prefix], &shared.bus()[..]]
                .concat());
        (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    until("all adds up", || (verify().0 == Some(0)).then_some(()));
    assert!(aggregator.stop().success());
    // Kafka has these, and nobody has stored them: more than there are of the edge that was retired, which count for nobody.
    for _ in 0..20 {
        a.click("x");
    }
    assert!(a.stop().success());
    assert_eq!(verify().0, Some(0));
    shared.delete_topic(Stream::Clicks.topic());
    shared.make_topics(2, 2);
    let (code, said) = verify();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("clicks: Kafka has acknowledged") && said.contains("created again"), "{said}");
    // Without what edges say there is nothing to compare, and it is no failure.
    shared.delete_topic(EDGES);
    let (_, said) = verify();
    assert!(!said.contains("Kafka has acknowledged"), "{said}");
}

#[test]
fn a_partition_of_conversions_that_stands_holds_its_programs_and_no_others() {
    const PROGRAMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let shared = Shared::new("scopes");
    let Shared { prefix, secrets, key_file, key, .. } = &shared;
    shared.make_topics(1, 2);
    let clickhouse = shared.migrated();
    let store = clickhouse.address("clickhouse");
    let edge = ["ingest", "--secrets-file", secrets, "--api-admin-key-file", key_file];
    let edge = Role::start(&shared.place("edge"), &[&edge[..], &shared.bus()].concat());
    edge.until_ready();
    // Of one partition of clicks and two of conversions, the second member has a partition of conversions alone.
    let aggregate = |name: &str| {
        let group = ["--kafka-group", prefix, "--kafka-member", name, "--kafka-session-timeout", "60s"];
        let given = ["aggregate", "--secrets-file", secrets, "--clickhouse-url", &store];
        let role = Role::start(&shared.place(name), &[&given[..], &shared.bus(), &group].concat());
        role.until_ready();
        role
    };
    let members = [aggregate("a"), aggregate("b")];
    for program in PROGRAMS {
        let hosts = json!({ "destination_hosts": ["shop.example"] });
        edge.call_with(key, "PUT", &format!("/v1/programs/{program}"), &hosts);
        let lead = json!({ "type": "lead", "program": program, "id": "1", "lead": "bob" });
        edge.call_with(key, "POST", "/v1/events", &lead);
    }
    clickhouse.until_count("SELECT count() FROM leads", PROGRAMS.len() as u64);
    // Where Kafka has put them.
    let of = |partition: u32| {
        clickhouse.rows(&format!("SELECT program FROM leads WHERE partition = {partition} ORDER BY program"))
    };
    let of = [of(0), of(1)];
    assert!(of.iter().all(|programs| !programs.is_empty()), "both partitions have programs: {of:?}");
    let through = |program: &str| {
        let sql = format!(
            "SELECT toUnixTimestamp64Milli(complete_through) FROM completeness WHERE program = '{program}'"
        );
        clickhouse.rows(&sql).trim().parse::<i64>().unwrap_or(0)
    };
    let all = || PROGRAMS.map(|program| (program, through(program)));
    let start = now_ms();
    until("all of them follow the clock", || all().iter().all(|(_, at)| *at > start).then_some(()));

    let has = |member: &Role, partition: &str| member.readiness().1.to_string().contains(partition);
    let (stands, number) = until("one of them has a partition of conversions alone", || {
        let stands = members.iter().find(|member| !has(member, "aggregator.clicks-0"))?;
        let number = (0..2).find(|number| has(stands, &format!("aggregator.conversions-{number}")))?;
        Some((stands, number))
    });
    kill(stands.pid(), libc::SIGSTOP);
    for program in PROGRAMS {
        let lead = json!({ "type": "lead", "program": program, "id": "2", "lead": "kim" });
        edge.call_with(key, "POST", "/v1/events", &lead);
    }
    let now = now_ms() + 30_000;
    let told = until("what stands is named, and the others go on", || {
        let held = format!(
            "SELECT program FROM completeness WHERE held_by LIKE 'conversions-{number} %' ORDER BY program"
        );
        let others = all().into_iter().filter(|(_, at)| *at > now).count();
        let has_gone_on = others == of[1 - number].lines().count();
        (has_gone_on && clickhouse.rows(&held) == of[number]).then(all)
    });
    let is_held = |program: &str| of[number].lines().any(|held| held == program);
    assert!(told.iter().all(|(program, at)| is_held(program) == (*at < now)), "{told:?} {of:?}");
    kill(stands.pid(), libc::SIGCONT);
    until("all of them go on", || all().iter().all(|(_, at)| *at > now).then_some(()));
    clickhouse.until_count("SELECT count() FROM leads", 2 * PROGRAMS.len() as u64);
    for role in members.into_iter().chain([edge, clickhouse]) {
        assert!(role.stop().success());
    }
}

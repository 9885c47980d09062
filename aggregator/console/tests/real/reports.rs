//! The reports: counts of days and the report views.

use crate::world::{PROGRAM, Person, World, as_test, click, event, event_id, later};
use serde_json::{Value, json};
use std::time::SystemTime;
use whence_console::reports::{Report, Selection, rows};
use whence_schemas::{
    event::{self, Event, Verdict, event::Body},
    time::{DAY_MS, HOUR_MS},
};

const HOUR_SECONDS: i64 = HOUR_MS / 1000;

fn all(limit: u32) -> Selection {
    Selection { program: Some(PROGRAM.into()), ..Selection::first(limit) }
}

async fn table(world: &World, report: Report, selection: &Selection, columns: &[&str]) -> Vec<Vec<Value>> {
    let rows = rows(&world.reader, report, selection).await.unwrap();
    rows.items.iter().map(|row| columns.iter().map(|name| row[*name].clone()).collect()).collect()
}

/// The same event this long before.
fn ago(event: Event, ms: i64) -> Event {
    Event { occurred_at_ms: event.occurred_at_ms - ms, ..event }
}

fn person(lead: &'static str) -> Person {
    Person { lead, email: "" }
}

/// Ann: three clicks, two leads, one of which bought twice, after 1 hour and after 20 days. Eve: one click by a
/// bot and one lead. Nobody: one lead. A test that counts nowhere.
async fn world() -> World {
    let mut world = World::new().await;
    world
        .take_clicks([
            click("ann", 40 * DAY_MS, Verdict::Human),
            click("ann", 2 * DAY_MS, Verdict::Human),
            click("ann", HOUR_MS, Verdict::Human),
            click("eve", 3 * HOUR_MS, Verdict::Bot),
        ])
        .await;
    let old = world.lead("old", person("1"), vec![world.token("ann", 40 * DAY_MS)]);
    let new = world.lead("new", person("2"), vec![world.token("ann", HOUR_MS)]);
    let eves = world.lead("eves", person("3"), vec![world.token("eve", 3 * HOUR_MS)]);
    let nobodys = world.lead("nobodys", person("4"), vec![]);
    let first = world.qualification("first", person("1"), "purchase", 1000);
    let second = world.qualification("second", person("1"), "purchase", 500);
    let test = world.qualification("test", person("1"), "purchase", 9);
    let (lead_ago, first_ago, second_ago) = (30 * DAY_MS, 30 * DAY_MS - HOUR_MS, 10 * DAY_MS);
    // The first purchase comes before its lead, and is completed by it.
    world.take([later(ago(first, first_ago), 0)]).await;
    let rest = [later(ago(old, lead_ago), 1), later(new, 2), later(eves, 3), later(nobodys, 4)];
    world.take(rest).await;
    world.take([later(ago(second, second_ago), 5), as_test(test)]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_of_the_days_and_the_referrer_that_were_asked_for() {
    let world = world().await;
    let columns = [
        "referrer",
        "channel",
        "reason",
        "clicks",
        "other_clicks",
        "leads",
        "qualification_events",
        "value_minor",
    ];
    let funnel = table(&world, Report::Funnel, &all(100), &columns).await;
    let row = |row: Value| row.as_array().unwrap().clone();
    assert_eq!(
        funnel,
        [
            row(json!(["", "", "no_credit", 0, 0, 1, 0, {}])),
            row(json!(["ann", "email", "", 3, 0, 2, 2, { "EUR": 1500 }])),
            row(json!(["eve", "email", "", 0, 1, 1, 0, {}])),
        ]
    );
    let recent = Selection { from: Some("2026-12-31".into()), referrer: Some("ann".into()), ..all(100) };
    let recent = table(&world, Report::Funnel, &recent, &columns).await;
    assert_eq!(recent, [row(json!(["ann", "email", "", 1, 0, 1, 0, {}]))]);
    let before = Selection { to: Some("2026-11-30".into()), ..all(100) };
    let before = table(&world, Report::Channels, &before, &["channel", "clicks", "leads"]).await;
    assert_eq!(before, [row(json!(["email", 1, 0]))]);
    let quoted = Selection { referrer: Some("' OR 1 OR '".into()), ..all(100) };
    assert_eq!(table(&world, Report::Funnel, &quoted, &columns).await, Vec::<Vec<Value>>::new());

    let best = rows(&world.reader, Report::TopReferrers, &all(1)).await.unwrap();
    assert!(best.next.is_some() && best.items.len() == 1);
    let rates = ["referrer", "qualified", "qualification_events", "lead_rate", "qualification_rate"]
        .map(|name| &best.items[0][name]);
    assert_eq!(rates, [&json!("ann"), &json!(1), &json!(2), &json!(0.6667), &json!(0.5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_or_what_nothing_is_left_of_is_in_no_count() {
    let mut world = World::new().await;
    let lead = world.lead("lead", person("1"), vec![world.token("ann", HOUR_MS)]);
    let paid = world.qualification("paid", person("1"), "purchase", 1000);
    let named = async |world: &World| {
        let mut names = Vec::new();
        for (report, name) in [(Report::Funnel, "referrer"), (Report::Channels, "channel")] {
            names.extend(table(world, report, &all(100), &[name]).await.concat());
        }
        let sql = "SELECT arrayJoin([referrer, channel]) FROM funnel UNION ALL SELECT channel FROM channels";
        let mut view = world.reader.query(sql).fetch_all::<String>().await.unwrap();
        view.sort();
        (names, view)
    };
    // For nobody, in no channel, until its lead has come.
    world.take([later(paid, 0)]).await;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(named(&world).await, (vec![json!(""), json!("")], words(&["", "", ""])));
    world.take([later(lead, 1)]).await;
    assert_eq!(named(&world).await, (vec![json!("ann"), json!("email")], words(&["ann", "email", "email"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_views_say_how_long_it_took_and_what_became_of_each_week() {
    let world = world().await;
    let columns = ["channel", "name", "lead_events", "median_seconds", "p90_seconds"];
    let times = table(&world, Report::TimeToQualify, &all(100), &columns).await;
    assert_eq!(times, [json!(["email", "purchase", 1, 3600, 3600]).as_array().unwrap().clone()]);

    let columns = ["week", "leads", "qualified_7d", "qualified_30d", "qualified", "qualification_rate"];
    let weeks = table(&world, Report::Cohorts, &all(100), &columns).await;
    let row = |row: Value| row.as_array().unwrap().clone();
    let expected = [row(json!(["2026-11-30", 1, 1, 1, 1, 1])), row(json!(["2026-12-28", 3, 0, 0, 0, 0]))];
    assert_eq!(weeks, expected);

    let waiting = table(&world, Report::Unmatched, &all(100), &["kind", "lead", "reason"]).await;
    assert_eq!(waiting, [row(json!(["lead", "4", "no_touch"]))]);
    assert_eq!(world.count("SELECT count() FROM top_referrers WHERE program = 'p'").await, 2);
    assert_eq!(
        world.count("SELECT referrers FROM channels WHERE program = 'p' AND channel = 'email'").await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_listed_with_what_for_and_for_how_long_the_longest_first() {
    let mut world = World::new().await;
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let clock_ms = i64::try_from(clock.as_millis()).unwrap();
    let waits_for = |event: Event, hours: i64| {
        let at = clock_ms - hours * HOUR_MS;
        event::encode(&Event { occurred_at_ms: at, received_at_ms: at, ..event })
    };
    let refund = waits_for(world.refund("refund", person("never paid"), 500), 3);
    let paid = waits_for(world.qualification("paid", person("no lead"), "purchase", 1000), 2);
    let lead = waits_for(world.lead("lead", person("untouched"), vec![]), 1);
    let test = as_test(world.lead("test", person("a test"), vec![]));
    world.take([lead, paid, refund, test]).await;

    let named = table(&world, Report::Unmatched, &all(100), &["kind", "id", "lead", "reason"]).await;
    let row = |kind: &str, id: &str, lead: &str, reason: &str| {
        [kind, event_id(id).0.to_string().as_str(), lead, reason].map(Value::from).to_vec()
    };
    assert_eq!(
        named,
        [
            row("disqualification", "refund", "never paid", "no_qualification_yet"),
            row("qualification", "paid", "no lead", "no_lead_yet"),
            row("lead", "lead", "untouched", "no_touch"),
        ]
    );
    let ages = table(&world, Report::Unmatched, &all(100), &["age_seconds"]).await;
    for (age, hours) in ages.iter().zip([3, 2, 1]) {
        let age = age[0].as_i64().unwrap();
        // The engine has ten minutes to take three rows and to answer.
        assert!((hours * HOUR_SECONDS..hours * HOUR_SECONDS + 600).contains(&age), "{age} s, of {hours} h");
    }

    // What they waited for comes: a lead that nobody is credited with waits on, and nothing else.
    let leads = [("of nobody", "never paid", 6), ("late", "no lead", 5)];
    let leads = leads.map(|(id, who, hours)| waits_for(world.lead(id, person(who), vec![]), hours));
    let first = waits_for(world.qualification("first", person("never paid"), "purchase", 500), 4);
    world.take(leads.into_iter().chain([first])).await;
    let still = table(&world, Report::Unmatched, &all(100), &["kind", "lead", "reason"]).await;
    let row = |lead: &str| ["lead", lead, "no_touch"].map(Value::from).to_vec();
    assert_eq!(still, ["never paid", "no lead", "untouched"].map(row));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_answers_about_a_program_without_facts() {
    let mut world = World::new().await;
    for report in Report::of_programs() {
        let rows = rows(&world.reader, report, &all(10)).await.unwrap();
        assert!(rows.items.is_empty() && rows.next.is_none(), "{report:?}");
    }
    let empty = event("x", Body::Lead(Default::default()));
    world.take([later(empty, 0)]).await;
    let rejects = table(&world, Report::Rejects, &all(10), &["stream", "reason", "records"]).await;
    assert_eq!(rejects, [json!(["conversions", "malformed", 1]).as_array().unwrap().clone()]);
}

//! The reports: counts of days and the report views.

use crate::world::{PROGRAM, Person, World, as_test, click, event, later};
use serde_json::{Value, json};
use whence_console::reports::{Report, Selection, rows};
use whence_schemas::{
    event::{Event, Verdict, event::Body},
    time::{DAY_MS, HOUR_MS},
};

fn all(limit: u32) -> Selection {
    Selection { program: PROGRAM.into(), referrer: None, from: None, to: None, as_of: None, limit }
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
    let columns = ["referrer", "channel", "clicks", "other_clicks", "leads", "qualifications", "value_minor"];
    let funnel = table(&world, Report::Funnel, &all(100), &columns).await;
    let row = |row: Value| row.as_array().unwrap().clone();
    assert_eq!(
        funnel,
        [
            row(json!(["", "", 0, 0, 1, 0, {}])),
            row(json!(["ann", "email", 3, 0, 2, 2, { "EUR": 1500 }])),
            row(json!(["eve", "email", 0, 1, 1, 0, {}])),
        ]
    );
    let lately = Selection { from: Some("2026-12-31".into()), referrer: Some("ann".into()), ..all(100) };
    let lately = table(&world, Report::Funnel, &lately, &columns).await;
    assert_eq!(lately, [row(json!(["ann", "email", 1, 0, 1, 0, {}]))]);
    let before = Selection { to: Some("2026-11-30".into()), ..all(100) };
    let before = table(&world, Report::Channels, &before, &["channel", "clicks", "leads"]).await;
    assert_eq!(before, [row(json!(["email", 1, 0]))]);
    let quoted = Selection { referrer: Some("' OR 1 OR '".into()), ..all(100) };
    assert_eq!(table(&world, Report::Funnel, &quoted, &columns).await, Vec::<Vec<Value>>::new());

    let best = rows(&world.reader, Report::TopReferrers, &all(1)).await.unwrap();
    assert!(best.more && best.items.len() == 1);
    let rates =
        ["referrer", "qualifications", "lead_rate", "qualification_rate"].map(|name| &best.items[0][name]);
    assert_eq!(rates, [&json!("ann"), &json!(2), &json!(0.6667), &json!(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_views_say_how_long_it_took_and_what_became_of_each_week() {
    let world = world().await;
    let columns = ["channel", "name", "leads", "median_seconds", "p90_seconds"];
    let times = table(&world, Report::TimeToQualify, &all(100), &columns).await;
    assert_eq!(times, [json!(["email", "purchase", 1, 3600, 3600]).as_array().unwrap().clone()]);

    let columns = ["week", "leads", "qualified_7d", "qualified_30d", "qualified", "qualification_rate"];
    let weeks = table(&world, Report::Cohorts, &all(100), &columns).await;
    let row = |row: Value| row.as_array().unwrap().clone();
    let expected = [row(json!(["2026-11-30", 1, 1, 1, 1, 1])), row(json!(["2026-12-28", 2, 0, 0, 0, 0]))];
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
async fn every_report_answers_about_a_program_without_facts() {
    let mut world = World::new().await;
    for report in Report::ALL {
        let rows = rows(&world.reader, report, &all(10)).await.unwrap();
        assert!(rows.items.is_empty() && !rows.more, "{report:?}");
    }
    let empty = event("x", Body::Lead(Default::default()));
    world.take([later(empty, 0)]).await;
    let rejects = table(&world, Report::Rejects, &all(10), &["stream", "reason", "records"]).await;
    assert_eq!(rejects, [json!(["conversions", "malformed", 1]).as_array().unwrap().clone()]);
}

//! The view `status`, page by page.

use crate::world::{NOW, PROGRAM, Person, World, as_test, event_id, later};
use serde_json::{Value, json};
use whence_console::{
    ask::Object,
    status::{Selection, page},
};
use whence_schemas::{
    event::{Event, Touch, encode},
    time::{DAY_MS, HOUR_MS},
};

fn selection(limit: u32) -> Selection {
    Selection { program: PROGRAM.into(), limit, ..Selection::default() }
}

fn person(lead: &'static str) -> Person {
    Person { lead, email: "" }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lead_has_its_state_and_history() {
    let mut world = World::new().await;
    let paid_before = world.qualification("paid", person("qualified"), "purchase", 1250);
    let qualified = world.lead("a", person("qualified"), vec![world.token("ann", HOUR_MS)]);
    let twice = world.qualification("paid again", person("qualified"), "purchase", 750);
    let fresh = world.lead("b", person("fresh"), vec![world.token("ann", 2 * HOUR_MS)]);
    let nobodys = world.lead("c", person("nobodys"), vec![]);
    let waiting = world.qualification("d", person("unknown"), "trial", 0);
    let test = world.lead("e", person("test"), vec![world.token("ann", HOUR_MS)]);
    world.take([later(paid_before, 0)]).await;
    world
        .take([later(qualified, 1), later(twice, 2), later(fresh, 3), later(nobodys, 4), later(waiting, 5)])
        .await;
    world.take([as_test(test)]).await;

    let all = page(&world.reader, &selection(100)).await.unwrap();
    assert_eq!(all.next, None);
    let states: Vec<[&str; 4]> = all
        .items
        .iter()
        .map(|item| ["lead", "state", "why", "referrer"].map(|name| item[name].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            ["qualified", "qualified", "", "ann"],
            ["fresh", "lead", "", "ann"],
            ["nobodys", "uncredited", "no_touch", ""],
            ["unknown", "waiting", "no_lead_yet", ""],
        ]
    );
    let qualified = &all.items[0];
    assert_eq!(qualified["event_id"], json!(event_id("a").0.to_string()));
    assert_eq!(
        (&qualified["qualification_events"], &qualified["value_minor"]),
        (&json!(2), &json!({ "EUR": 2000 }))
    );
    assert_eq!(qualified["since"], "2026-12-31T23:40:00.001Z");
    let history: Vec<(&str, i64)> = qualified["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["sign"].as_i64().unwrap()))
        .collect();
    assert_eq!(history, [("seen", 1), ("lead", 1), ("purchase", 1), ("purchase", 1)]);
    assert_eq!(qualified["history"][0]["at"], "2026-12-31T22:40:00.000Z");

    let tests = page(&world.reader, &Selection { is_test: true, ..selection(100) }).await.unwrap();
    assert_eq!(tests.items.iter().map(|item| &item["lead"]).collect::<Vec<_>>(), ["test"]);
}

/// A refused lead stays so whatever the person pays, and of touches that are all too old the last one counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_referrers_list_has_what_was_refused_them_and_why() {
    let mut world = World::new().await;
    let ago = |event, ms| Event { occurred_at_ms: NOW.0 - ms, received_at_ms: NOW.0 - ms, ..event };
    let customer = ago(world.lead("before", person("customer"), vec![]), 2 * HOUR_MS);
    let known = world.lead("a", person("customer"), vec![world.token("ann", HOUR_MS)]);
    let old = vec![world.token("bob", 32 * DAY_MS), world.token("ann", 31 * DAY_MS)];
    let expired = world.lead("b", person("expired"), old);
    let bought = world.qualification("c", person("expired"), "purchase", 750);
    let credited = world.lead("d", person("credited"), vec![world.token("ann", HOUR_MS)]);
    let touches = vec![world.token("ann", 31 * DAY_MS), world.token("bob", HOUR_MS)];
    let others = world.lead("e", person("others"), touches);
    world.take([encode(&customer)]).await;
    world
        .take([later(known, 1), later(expired, 2), later(bought, 3), later(credited, 4), later(others, 5)])
        .await;

    let of = |referrer: &str| Selection { referrer: Some(referrer.into()), ..selection(100) };
    let told = |items: &[Object]| -> Vec<[String; 6]> {
        let names = ["lead", "state", "why", "link", "channel", "evidence"];
        items.iter().map(|item| names.map(|name| item[name].as_str().unwrap().to_owned())).collect()
    };
    let anns = page(&world.reader, &of("ann")).await.unwrap().items;
    assert_eq!(
        told(&anns),
        [
            ["customer", "uncredited", "existing_customer", "go.example/ann", "email", "none"],
            ["expired", "uncredited", "token_expired", "go.example/ann", "email", "none"],
            ["credited", "lead", "", "go.example/ann", "email", "token"],
        ]
    );
    assert_eq!((&anns[0]["referrer"], &anns[1]["qualification_events"]), (&json!("ann"), &json!(1)));
    assert_eq!(
        told(&page(&world.reader, &of("bob")).await.unwrap().items),
        [["others", "lead", "token_expired", "go.example/bob", "email", "token"]]
    );
    // Each lead is in one list: in nobody's if it names nobody.
    assert_eq!(
        told(&page(&world.reader, &of("")).await.unwrap().items),
        [["customer", "uncredited", "no_touch", "", "", "none"]]
    );
    assert_eq!(page(&world.reader, &selection(100)).await.unwrap().items.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_referrer_meet_without_gap_or_overlap() {
    let mut world = World::new().await;
    let code = |referrer: &str| Touch { link: "h/c".into(), referrer: referrer.into(), ..Touch::default() };
    let mut leads = Vec::new();
    for number in 0..25 {
        let referrer = if number % 5 == 4 { "eve" } else { "it's" };
        let id = format!("lead {number}");
        let lead: &'static str = Box::leak(id.clone().into_boxed_str());
        // Five at a time are of one moment: the id decides.
        leads.push(later(world.lead(&id, person(lead), vec![code(referrer)]), number / 5));
    }
    world.take(leads).await;
    let mut of_referrer = Selection { referrer: Some("it's".into()), ..selection(3) };
    let mut found: Vec<Value> = Vec::new();
    loop {
        let page = page(&world.reader, &of_referrer).await.unwrap();
        assert!(page.items.len() <= 3);
        found.extend(page.items.iter().map(|item| item["lead"].clone()));
        match page.next {
            Some(next) => of_referrer.after = Some(next),
            None => break,
        }
    }
    found.sort_by_key(ToString::to_string);
    let mut wanted: Vec<Value> = (0..25).filter(|n| n % 5 != 4).map(|n| json!(format!("lead {n}"))).collect();
    wanted.sort_by_key(ToString::to_string);
    assert_eq!(found, wanted);
    assert_eq!(world.count("SELECT count() FROM status WHERE referrer = 'eve'").await, 5);
}

//! The view `status`, page by page.

use crate::rewards::{decision, reward, terms};
use crate::world::{NOW, PROGRAM, Person, World, as_test, event_id, later};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whence_console::{
    ask::Object,
    lineage::{explain, lines},
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
    // Nobody is credited, whatever is paid.
    let nobody_paid = world.lead("f", person("nobody paid"), vec![]);
    let paid = world.qualification("g", person("nobody paid"), "purchase", 300);
    let test = world.lead("e", person("test"), vec![world.token("ann", HOUR_MS)]);
    world.take([later(paid_before, 0)]).await;
    world
        .take([later(qualified, 1), later(twice, 2), later(fresh, 3), later(nobodys, 4), later(waiting, 5)])
        .await;
    world.take([later(nobody_paid, 6), later(paid, 7)]).await;
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
            ["nobody paid", "uncredited", "no_touch", ""],
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

/// Whatever came again as something else under its id.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_under_a_taken_id_is_a_step_of_whom_it_is_about_and_told_by_the_lineage() {
    let mut world = World::new().await;
    let who = person("customer");
    let reward = reward("lead", "order");
    let as_another = |event: Event, digest| later(Event { digest, ..event }, digest as i64);
    let lead = world.lead("lead", who, vec![world.token("ann", HOUR_MS)]);
    let other_lead = world.lead("lead", who, vec![]);
    let paid = |value| world.rewarded("paid", who, value, terms());
    let kinds = [
        (lead, other_lead),
        (paid(1000), paid(2000)),
        (world.refund("refund", who, 100), world.refund("refund", who, 200)),
        (
            world.identify("names", Person { email: "a@shop.example", ..who }),
            world.identify("names", Person { email: "b@shop.example", ..who }),
        ),
        (decision("decision", reward, "approve", ""), decision("decision", reward, "reject", "")),
    ];
    let records: Vec<_> = kinds
        .into_iter()
        .zip(1..)
        .flat_map(|((one, other), n)| [as_another(one, 2 * n), as_another(other, 1000 + n)])
        .collect();
    for record in records {
        world.take([record]).await;
    }
    assert_eq!(world.count("SELECT count() FROM rejects WHERE reason = 'conflicting_body'").await, 5);
    let items = page(&world.reader, &selection(10)).await.unwrap().items;
    let history = items[0]["history"].as_array().unwrap();
    let conflicts: BTreeSet<&str> = history
        .iter()
        .filter(|step| step["step"] == "conflicting_body")
        .map(|step| step["id"].as_str().unwrap())
        .collect();
    let ids = ["lead", "paid", "refund", "names", "decision"].map(|key| event_id(key).0.to_string());
    assert_eq!((items.len(), conflicts), (1, ids.iter().map(String::as_str).collect()));
    assert_eq!(items[0]["left_out"], json!(0));
    let found = lines(&world.reader, PROGRAM, "customer").await.unwrap();
    let refused: BTreeSet<String> =
        found.iter().filter(|line| line.step == "reject").map(|line| line.event_id.to_string()).collect();
    assert_eq!(refused, ids.into_iter().collect());
    let said = explain(&found, None).into_iter().flat_map(|one| one.sentences).collect::<Vec<_>>().join(" ");
    let count = said.matches("nother event came under its id").count();
    assert!(count >= 4, "{count}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_cut_says_how_much_is_left_out() {
    let mut world = World::new().await;
    let lead = world.lead("lead", person("loyal"), vec![world.token("ann", HOUR_MS)]);
    let names: Vec<String> = (0..120).map(|number| format!("paid {number}")).collect();
    let paid = names.iter().map(|id| world.qualification(id, person("loyal"), "purchase", 100));
    let records: Vec<_> = [lead].into_iter().chain(paid).map(|event| later(event, 1)).collect();
    world.take(records).await;
    let items = page(&world.reader, &selection(10)).await.unwrap().items;
    // Each row is a step, and the lead's is two: the click was seen.
    let rows =
        world.count("SELECT count() FROM (SELECT id FROM qualifications UNION ALL SELECT id FROM leads UNION ALL SELECT id FROM leads)").await;
    let left_out = items[0]["left_out"].as_u64().unwrap();
    assert_eq!((items[0]["history"].as_array().unwrap().len(), left_out + 100), (100, rows));
    assert!(left_out >= 22, "{left_out}");
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

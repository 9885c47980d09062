//! What the views, the lineage and the lists say of rewards.

use crate::world::{PROGRAM, Person, World, click, event, event_id, later};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use whence_console::{
    lineage::{explain, lines},
    reports::{Report, Selection, rows},
    status,
};
use whence_schemas::{
    event::{
        Event, Participant, RewardDecision, RewardParty, RewardRule, RewardTerms, RewardTier, RiskPolicy,
        Share, Verdict, event::Body, reward_tier::Amount,
    },
    reward::reward_id,
    time::{HOUR_MS, UnixMs},
};

pub fn terms() -> RewardTerms {
    let rule = |id: &str, party: RewardParty, amount| RewardRule {
        id: id.into(),
        party: party.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(amount) }],
        ..RewardRule::default()
    };
    let order = rule("order", RewardParty::Referrer, Amount::ValuePpm(100_000));
    let welcome = rule("welcome", RewardParty::Referred, Amount::FixedMinor(500));
    let risk = RiskPolicy { threshold: 50, too_fast: 50, too_fast_ms: 1000, ..RiskPolicy::default() };
    RewardTerms { rules: vec![RewardRule { budget_minor: 250, ..order }, welcome], risk: Some(risk) }
}

pub fn reward(lead: &str, rule: &str) -> Uuid {
    reward_id(PROGRAM, event_id(lead), rule)
}

pub fn decision(id: &str, reward: Uuid, decision: &str, reference: &str) -> Event {
    event(
        id,
        Body::RewardDecision(RewardDecision {
            reward_id: Bytes::copy_from_slice(reward.as_bytes()),
            decision: decision.into(),
            decided_by: "kim".into(),
            reason: "looked at".into(),
            reference: reference.into(),
            paid_minor: if reference.is_empty() { 0 } else { 60 },
        }),
    )
}

pub fn person(lead: &'static str) -> Person {
    Person { lead, email: "" }
}

/// Ann's leads: `1` paid 10.00 of which 4.00 are refunded, so that 0.60 are paid to her; `2` clicked too fast to be
/// paid unseen; `3` is beyond the budget. Bob's lead `4` is nobody's money yet.
pub async fn world() -> World {
    let mut world = World::new().await;
    let (long, short) = (vec![world.token("ann", HOUR_MS)], vec![world.token("ann", 10)]);
    world
        .take([
            later(world.lead("1", person("1"), long.clone()), 0),
            later(world.rewarded("paid 1", person("1"), 1000, terms()), 1000),
            later(world.lead("2", person("2"), short), 2000),
            later(world.rewarded("paid 2", person("2"), 1000, terms()), 3000),
            later(world.lead("3", person("3"), long), 4000),
            later(world.rewarded("paid 3", person("3"), 1000, terms()), 5000),
            later(world.lead("4", person("4"), vec![world.token("bob", HOUR_MS)]), 6000),
        ])
        .await;
    let order = reward("1", "order");
    world
        .take([
            later(world.refund("refund", person("1"), 400), 60_000),
            later(decision("approve", order, "approve", ""), 120_000),
            later(decision("issue", order, "issue", "SEPA-1"), 180_000),
            later(decision("again", order, "issue", "SEPA-2"), 240_000),
            later(decision("welcome", reward("3", "welcome"), "approve", ""), 250_000),
        ])
        .await;
    world
}

async fn told(world: &World, term: &str) -> String {
    let lines = lines(&world.reader, PROGRAM, term).await.unwrap();
    let explained = explain(&lines, None);
    explained.into_iter().flat_map(|explanation| explanation.sentences).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lineage_tells_the_money_from_the_terms_to_the_payment() {
    let world = world().await;
    let text = told(&world, "1").await;
    for expected in [
        "Its terms (version 1): \"order\" gives the referrer 10% of the value in EUR for anything reached, all \
         together at most 250 minor units of EUR; \"welcome\" gives the person referred 500 minor units of EUR",
        "Rule \"order\" gives ann 100 minor units of EUR: accrued 2026-12-31T23:40:01Z, due 2026-12-31T23:40:00Z; 40 \
         minor units of EUR rejected 2026-12-31T23:41:00Z, before it was paid (a part of what earned it was taken \
         back); approved 2026-12-31T23:42:00Z (by kim: looked at); paid 2026-12-31T23:43:00Z under the reference \
         \"SEPA-1\" (by kim: looked at); kim's issue of 60 as \"SEPA-2\" 2026-12-31T23:40:00Z changed nothing: it was \
         paid already; so 60 minor units of EUR is issued now. It is reward ",
        "Rule \"welcome\" gives the person referred 500 minor units of EUR: accrued",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    assert_eq!(text, told(&world, &reward("1", "order").to_string()).await, "found by the reward, too");
    let held = told(&world, "2").await;
    let why =
        "held for review since 2026-12-31T23:40:03Z for too_fast, weight 50 (lead 10 ms after its click)";
    assert!(held.contains(why), "{held}");
    let refused = told(&world, "3").await;
    assert!(refused.contains("nothing: the budget is used up (it would have been 100)"), "{refused}");

    let found = lines(&world.reader, PROGRAM, "1").await.unwrap();
    let terms = found.iter().find(|line| line.step == "terms").unwrap().json();
    assert_eq!((terms["rules"].as_array().unwrap().len(), terms.get("detail")), (2, None), "{terms}");
    let paid = found.iter().find(|line| line.state == "issued").unwrap().json();
    let fields =
        ["name", "value_minor", "reference", "decided_by", "party", "reason"].map(|name| &paid[name]);
    let expected =
        [json!("order"), json!(60), json!("SEPA-1"), json!("kim"), json!("referrer"), json!("looked at")];
    assert_eq!(fields, expected.each_ref());
    let idle = found.iter().find(|line| line.detail == "issued_already").unwrap().json();
    assert_eq!((&idle["step"], &idle["value_minor"]), (&json!("decision"), &json!(60)), "{idle}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_lead_says_what_became_of_its_rewards() {
    let world = world().await;
    let selection = status::Selection { program: PROGRAM.into(), limit: 10, ..Default::default() };
    let page = status::page(&world.reader, &selection).await.unwrap();
    let of = |item: &Value| {
        ["rule", "state", "open_minor", "reason"]
            .map(|name| item[name].as_str().map_or(item[name].to_string(), String::from))
    };
    let states: Vec<_> = page
        .items
        .iter()
        .map(|item| {
            let rewards: Vec<String> =
                item["rewards"].as_array().unwrap().iter().map(|reward| of(reward).join(" ")).collect();
            (item["lead"].as_str().unwrap(), item["state"].as_str().unwrap(), rewards)
        })
        .collect();
    let rewards = |all: [&str; 2]| all.map(str::to_owned).to_vec();
    assert_eq!(
        states,
        [
            ("1", "rewarded", rewards(["order issued 60 looked at", "welcome accrued 300 earned"])),
            ("2", "rewarded", rewards(["order held 100 risk", "welcome held 500 risk"])),
            ("3", "rewarded", rewards(["order rejected 0 budget", "welcome approved 500 looked at"])),
            ("4", "lead", vec![]),
        ]
    );
    let steps = |name: &str| {
        let history = page.items[0]["history"].as_array().unwrap();
        let mine = history.iter().filter(|step| step["step"] == name);
        mine.map(|step| step["sign"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((steps("issued"), steps("rejected"), steps("seen")), (vec![1], vec![1, 1], vec![1]));
    let of_bob = status::Selection { referrer: Some("bob".into()), ..selection };
    assert_eq!(status::page(&world.reader, &of_bob).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reports_on_rewards_know_what_stands_and_what_was_believed() {
    let world = world().await;
    let asked = async |report: Report, as_of_ms: Option<i64>, columns: &[&str]| {
        let as_of = as_of_ms.map(|ms| UnixMs(crate::world::NOW.0 + ms));
        let selection = Selection { program: Some(PROGRAM.into()), as_of, ..Selection::first(100) };
        let found = rows(&world.reader, report, &selection).await.unwrap();
        let cells =
            |row: &serde_json::Map<String, Value>| columns.iter().map(|name| row[*name].clone()).collect();
        Value::from(found.items.iter().map(cells).collect::<Vec<Value>>())
    };
    let columns = ["referrer", "party", "accrued", "held", "approved", "issued", "rejected"];
    let now = json!([["ann", "referred", 300, 500, 500, 0, 200], ["ann", "referrer", 0, 100, 0, 60, 40]]);
    assert_eq!(asked(Report::Rewards, None, &columns).await, now);
    assert_eq!(asked(Report::Rewards, Some(1_000_000), &columns).await, now);
    let then = json!([["ann", "referred", 1000, 500, 0, 0, 0], ["ann", "referrer", 100, 100, 0, 0, 0]]);
    assert_eq!(asked(Report::Rewards, Some(59_999), &columns).await, then);

    let payable = ["reward_id", "amount_minor", "decided_by", "revision"];
    let welcome = json!([[reward("3", "welcome").to_string(), 500, "kim", 1]]);
    assert_eq!(asked(Report::Payouts, None, &payable).await, welcome);
    let order = json!([[reward("1", "order").to_string(), 60, "kim", 2]]);
    assert_eq!(asked(Report::Payouts, Some(120_000), &payable).await, order);
    assert_eq!(asked(Report::Payouts, Some(119_999), &payable).await, json!([]));
    let queue = ["rule", "amount_minor", "flags", "age_seconds"];
    let held = json!([["order", 100, ["too_fast"], 57], ["welcome", 500, ["too_fast"], 57]]);
    let mut found = asked(Report::ReviewQueue, Some(60_000), &queue).await;
    found.as_array_mut().unwrap().sort_by_key(|row| row[0].to_string());
    assert_eq!(found, held);

    let columns =
        ["referrer", "channel", "qualification_events", "value_minor", "issued", "cost_minor", "roi"];
    let cost = 300 + 500 + 500 + 100 + 60;
    let roi = (2600.0 - f64::from(cost)) / f64::from(cost);
    let found = asked(Report::RewardRoi, None, &columns).await;
    assert_eq!(found, json!([["ann", "email", 3, 2600, 60, cost, (roi * 10_000.0).round() / 10_000.0]]));
    // What the budget refused has cost nothing, and its value is not what the rule has brought.
    let columns = ["rule", "party", "qualification_events", "capped", "value_minor", "cost_minor"];
    let found = asked(Report::RewardRoiByRule, None, &columns).await;
    assert_eq!(
        found,
        json!([["order", "referrer", 2, 1, 1600, 160], ["welcome", "referred", 3, 0, 2600, 1300]])
    );
    assert_eq!(world.count("SELECT count() FROM reward_roi_by_rule WHERE program = 'p'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_listed_with_what_is_owed_back_of_it_and_the_steps_end_with_who_is_rewarded() {
    let mut world = world().await;
    let all = |limit| Selection {
        program: Some(PROGRAM.into()),
        referrer: None,
        from: None,
        to: None,
        as_of: None,
        after: None,
        limit,
    };
    let columns =
        ["reference", "referrer", "party", "rule", "paid_minor", "owed_back_minor", "currency", "paid_by"];
    let paid = async |world: &World| {
        let found = rows(&world.reader, Report::PaymentsMade, &all(10)).await.unwrap();
        let cells =
            |row: &serde_json::Map<String, Value>| columns.iter().map(|name| row[*name].clone()).collect();
        Value::from(found.items.iter().map(cells).collect::<Vec<Value>>())
    };
    let of_order = |owed: i64| json!([["SEPA-1", "ann", "referrer", "order", 60, owed, "EUR", "kim"]]);
    assert_eq!(paid(&world).await, of_order(0));
    let refund = world.refund("a part", person("1"), 200);
    world.take([later(refund, 300_000)]).await;
    assert_eq!(paid(&world).await, of_order(20));
    let refund = world.refund("the rest", person("1"), 400);
    world.take([later(refund, 310_000)]).await;
    assert_eq!(paid(&world).await, of_order(60));

    // Three persons of ann's and one of bob's; what is left are two who qualified, both with a reward.
    let steps = rows(&world.reader, Report::Steps, &all(10)).await.unwrap().items;
    let columns = ["step", "unit", "reached", "referrers", "rate", "no_rate", "biggest_drop"];
    let steps: Vec<Value> =
        steps.iter().map(|row| columns.iter().map(|name| row[*name].clone()).collect()).collect();
    let expected = [
        json!(["joined", "referrers", 0, 0, null, "first_step", false]),
        json!(["shared", "referrers", 0, 0, null, "nothing_before", false]),
        json!(["clicked", "clicks", 0, 0, null, "nothing_before", false]),
        json!(["lead", "persons", 4, 2, null, "nothing_before", false]),
        json!(["qualified", "persons", 2, 1, 0.5, "", true]),
        json!(["rewarded", "persons", 2, 1, 1, "", false]),
    ];
    assert_eq!(steps, expected);

    // Of those who joined one shared; of the three who shared only ann was clicked, and eve was without sharing.
    let joined = |name: &str| {
        event(
            &format!("join {name}"),
            Body::Participant(Participant { referrer: name.into(), ..Participant::default() }),
        )
    };
    let shared = |name: &str| {
        event(&format!("share {name}"), Body::Share(Share { referrer: name.into(), ..Share::default() }))
    };
    let records = [joined("ann"), joined("kim"), shared("ann"), shared("zoe"), shared("max")];
    world.take(records.map(|event| later(event, 400_000))).await;
    world
        .take_clicks([click("ann", HOUR_MS, Verdict::Human), click("eve", HOUR_MS - 1, Verdict::Human)])
        .await;
    let steps = rows(&world.reader, Report::Steps, &all(10)).await.unwrap().items;
    let steps: Vec<Value> =
        steps.iter().map(|row| columns.iter().take(6).map(|name| row[*name].clone()).collect()).collect();
    let expected = [
        json!(["joined", "referrers", 2, 2, null, "first_step"]),
        json!(["shared", "referrers", 3, 3, 0.5, ""]),
        json!(["clicked", "clicks", 2, 2, 0.3333, ""]),
    ];
    assert_eq!(steps[..3], expected);
}

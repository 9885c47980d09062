//! The view `lineage` and what is made of it.

use crate::world::{PROGRAM, Person, World, click, event_id, later};
use whence_console::{
    lineage::{Explanation, Line, explain, lines},
    subject::Name,
};
use whence_schemas::{
    event::{Touch, Verdict},
    subject::AliasKind,
    time::HOUR_MS,
};

const EMAIL: Name = Name::Alias(AliasKind::Email);
const LEAD: Name = Name::Alias(AliasKind::Lead);
const BOB: Person = Person { lead: "42", email: "bob@shop.example" };

async fn asked(world: &World, name: Name, value: &str) -> Vec<Line> {
    let term = world.term(name, value);
    let found = lines(&world.reader, PROGRAM, &term).await.unwrap();
    let view = "SELECT ?fields FROM lineage(program = ?, lead = ?)";
    let by_view = world.reader.query(view).bind(PROGRAM).bind(&term).fetch_all::<Line>().await.unwrap();
    let stored = found.iter().filter(|line| line.step != "past_retention").cloned();
    assert_eq!(stored.collect::<Vec<_>>(), by_view, "the view, and the two queries that are made of it");
    found
}

fn steps(lines: &[Line]) -> Vec<(&str, i8)> {
    lines.iter().map(|line| (line.step.as_str(), line.sign)).collect()
}

fn said(explanations: &[Explanation]) -> String {
    explanations.iter().flat_map(|explanation| explanation.sentences.clone()).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_by_every_name_with_all_that_is_stored() {
    let mut world = World::new().await;
    world
        .take_clicks([click("ann", 2 * HOUR_MS, Verdict::Human), click("eve", HOUR_MS, Verdict::Human)])
        .await;
    let paid = world.qualification("paid", BOB, "purchase", 1250);
    let touches = vec![world.token("eve", 3 * HOUR_MS), world.token("ann", 2 * HOUR_MS)];
    let lead = world.lead("signup", BOB, touches);
    let stranger = Person { lead: "43", email: "" };
    let other = world.lead("other", stranger, vec![world.token("eve", HOUR_MS)]);
    world.take([later(paid, 0)]).await;
    world.take([later(lead.clone(), 60_000), later(lead, 120_000), later(other, 0)]).await;

    let found = asked(&world, EMAIL, "Bob@shop.example").await;
    let expected = [
        ("click", 1),
        ("evidence", 1),
        ("qualification", 1),
        ("lead", 1),
        ("qualification", -1),
        ("qualification", 1),
        ("reject", 1),
    ];
    let mut seen = steps(&found);
    seen.sort();
    let mut wanted = expected.to_vec();
    wanted.sort();
    assert_eq!(seen, wanted);
    assert_eq!(found, asked(&world, LEAD, "42").await);
    assert_eq!(found, asked(&world, Name::Event, &event_id("signup").0.to_string()).await);
    assert_eq!(found, asked(&world, Name::Event, &event_id("paid").0.to_string()).await);
    // An analyst has no hashing secret, and names the lead as it is stored.
    assert_eq!(found, lines(&world.reader, PROGRAM, "42").await.unwrap());

    let explained = explain(&found, Some("eve"));
    assert_eq!(explained.len(), 1, "{explained:#?}");
    let text = said(&explained);
    for expected in [
        "ann gets the credit: the lead carried a signed token of a click on go.example/ann (channel email), made \
         2 hours before",
        "looked like a person's",
        "The record of the click was looked at when the lead came (human: browser).",
        "eve does not get it: of the valid click tokens that the lead carried, ann's was the last; eve's click was 1 \
         hour earlier.",
        "Reached \"purchase\" at 2026-12-31T23:40:00Z, worth 1250 minor units of EUR.",
        "waited 1 minute for it",
        "came once more, and was counted once",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_found_who_is_not_there() {
    let mut world = World::new().await;
    // Neither leads without a lead id nor qualifications without a lead are everybody's.
    let nameless = Person { lead: "", email: "ann@shop.example" };
    let lead = world.lead("nameless", nameless, vec![]);
    let waiting = world.qualification("waiting", Person { lead: "7", email: "" }, "trial", 0);
    world.take([later(lead, 0), later(waiting, 0)]).await;
    for term in ["", "nobody", "' OR 1 OR '", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(lines(&world.reader, PROGRAM, term).await.unwrap(), [], "{term:?}");
    }
    assert_eq!(lines(&world.reader, "q", &world.term(LEAD, "7")).await.unwrap(), []);

    let waits = explain(&asked(&world, LEAD, "7").await, None);
    assert!(said(&waits).contains("It waits for its lead since"), "{waits:?}");
    let nobody = explain(&asked(&world, EMAIL, "ann@shop.example").await, None);
    assert!(said(&nobody).contains("Nobody gets the credit: the lead carried no click token"), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_by_code_and_by_an_earlier_lead_is_told() {
    let mut world = World::new().await;
    let code = Touch { link: "go.example/ann".into(), referrer: "ann".into(), ..Touch::default() };
    let forged = Touch { token: "x".repeat(62), ..code.clone() };
    let first = world.lead("first", Person { lead: "1", email: "bob@shop.example" }, vec![forged, code]);
    let second = world.lead("second", Person { lead: "2", email: "bob@shop.example" }, vec![]);
    let bad = world.lead("bad", Person { lead: "3", email: "" }, vec![]);
    let bad = whence_schemas::event::Event { occurred_at_ms: -5, ..bad };
    world.take([later(first, 0), later(second, 1000), later(bad, 0)]).await;

    let found = explain(&asked(&world, LEAD, "2").await, None);
    assert_eq!(found.len(), 2, "both are the same person's: {found:#?}");
    let (by_code, by_alias) = (said(&found[..1]), said(&found[1..]));
    assert!(by_code.contains("named the referral code of go.example/ann."), "{by_code}");
    assert!(by_code.contains("A click token that it carried is not a click token."), "{by_code}");
    let origin = format!("and the lead {} of", event_id("first").0);
    assert!(by_alias.contains(&origin), "{by_alias}");

    let refused = explain(&asked(&world, Name::Event, &event_id("bad").0.to_string()).await, None);
    assert!(said(&refused).contains("it does not say what it must (a time is before"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_back_and_what_links_names_is_told() {
    let mut world = World::new().await;
    let (by_lead, by_email) =
        (Person { lead: "1", email: "" }, Person { lead: "", email: "bob@shop.example" });
    let code = Touch { link: "go.example/ann".into(), referrer: "ann".into(), ..Touch::default() };
    let first = world.lead("first", by_lead, vec![code.clone()]);
    let later_lead = world.lead("later", by_email, vec![Touch { referrer: "eve".into(), ..code }]);
    let paid = world.qualification("paid", by_lead, "purchase", 1250);
    let refund = world.refund("refund", by_lead, 800);
    let linked = world.identify("linked", Person { lead: "1", email: "bob@shop.example" });
    world.take([later(first, 0), later(later_lead, 1000), later(paid, 2000), later(refund, 3000)]).await;
    let before = said(&explain(&asked(&world, EMAIL, "bob@shop.example").await, None));
    assert!(before.contains("eve gets the credit"), "{before}");
    world.take([later(linked, 4000)]).await;

    let explained = explain(&asked(&world, EMAIL, "bob@shop.example").await, None);
    assert_eq!(explained, explain(&asked(&world, LEAD, "1").await, None));
    let steps: Vec<&str> = explained.iter().map(|explanation| explanation.step.as_str()).collect();
    assert_eq!(steps, ["lead", "lead", "disqualification", "identify"], "{explained:#?}");
    let text = said(&explained);
    for expected in [
        "worth 450 minor units of EUR. 800 of 1250 minor units were taken back.",
        "The refund of 2026-12-31T23:40:00Z took back what it names, worth 800 minor units of EUR.",
        "Nobody gets the credit: the person was known already",
        "When the lead came, eve got the credit; what came later about the person has changed that.",
        "names are known to be one person's, or one payment's",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
}

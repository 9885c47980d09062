//! Other rules over stored facts.

use crate::world::{PROGRAM, Person, World, as_test, later};
use whence_aggregator::conversion::replay::{Rules, replay};
use whence_console::replay::{Change, changes, past};
use whence_schemas::{
    event::{AttributionModel, Touch},
    time::DAY_MS,
};

const NAMES: &str = "SELECT toUInt64(count() + 1000 * sum(sign)) FROM leads";

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_credit_others_and_change_no_fact() {
    let mut world = World::new().await;
    let person = |lead| Person { lead, email: "" };
    let two = vec![world.token("ann", 20 * DAY_MS), world.token("bob", 5 * DAY_MS)];
    let code = Touch { link: "go.example/eve".into(), referrer: "eve".into(), ..Touch::default() };
    let forged = Touch { token: "x".repeat(62), ..code.clone() };
    let lead = world.lead("1", person("1"), two.clone());
    let paid = world.qualification("paid", person("1"), "purchase", 1250);
    let by_code = world.lead("2", person("2"), vec![world.token("ann", 20 * DAY_MS), forged, code]);
    let nobodys = world.lead("3", person("3"), vec![]);
    let test = world.lead("4", person("4"), two);
    // The qualification comes first: its own row names nobody, and the lead corrects it.
    world.take([later(paid, 0)]).await;
    world.take([later(lead, 1), later(by_code, 2), later(nobodys, 3), as_test(test)]).await;
    let stored = world.count(NAMES).await;

    let past = past(&world.reader, PROGRAM).await.unwrap();
    assert_eq!((past.leads.len(), past.qualifications.len()), (3, 1));
    let counts = |rules: &Rules| {
        let changes = changes(&replay(&past, rules), None, None);
        let of = |name: &str| changes.get(name).cloned().unwrap_or_default();
        ["", "ann", "bob", "eve"].map(|name| {
            let Change { leads_then, qualifications_then, undecided, .. } = of(name);
            (leads_then, qualifications_then, undecided)
        })
    };
    assert_eq!(counts(&Rules::default()), [(1, 0, 0), (1, 0, 0), (1, 1, 0), (0, 0, 0)]);
    let first = Rules { model: Some(AttributionModel::FirstTouch), ..Rules::default() };
    assert_eq!(counts(&first), [(1, 0, 0), (2, 1, 0), (0, 0, 0), (0, 0, 0)]);
    let ten_days = Rules { window_ms: Some(10 * DAY_MS as u64), ..Rules::default() };
    assert_eq!(counts(&ten_days), [(1, 0, 0), (0, 0, 0), (1, 1, 0), (1, 0, 0)]);
    assert_eq!(world.count(NAMES).await, stored);
}

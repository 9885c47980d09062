//! The same decision under the same rules, another one under others, and none where facts are missing.

use super::*;
use crate::conversion::{credit::Credit, decode::Conversion, decode::Kind, rows};
use crate::position::{BlockRange, Partition};
use uuid::Uuid;
use whence_schemas::{
    event::RewardTerms,
    ids::Incarnation,
    rows::{Lc, TouchValue},
    topics::Stream,
};

const DAY_MS: i64 = 86_400_000;
const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn click(referrer: &str, days_ago: i64) -> TouchValue {
    TouchValue {
        click_id: Uuid::from_u128(days_ago as u128 + 1),
        clicked_at: NOW.plus_ms(-days_ago * DAY_MS),
        referrer: referrer.into(),
        ..TouchValue::default()
    }
}

fn id(number: u8) -> EventId {
    EventId(Uuid::from_bytes([number; 16]))
}

fn conversion(number: u8, kind: Kind) -> Conversion {
    Conversion {
        id: id(number),
        program: "p".into(),
        source: "api".into(),
        live: true,
        occurred_at: NOW,
        received_at: NOW.plus_ms(i64::from(number)),
        registry_version: 1,
        model: AttributionModel::LastTouch,
        window_ms: 30 * DAY_MS as u64,
        allows_existing: false,
        lead: String::new(),
        keys: vec![],
        payments: vec![],
        email_disposable: false,
        prefix: 0,
        digest: 0,
        kind,
    }
}

fn cause() -> rows::Cause {
    let partition = Partition { stream: Stream::Conversions, number: 0 };
    let range = BlockRange { incarnation: Incarnation(Uuid::nil()), partition, first: 0, end: 1 };
    rows::Cause::new(&range, 0)
}

/// A lead that was decided when it came: the last touch within 30 days.
fn lead(number: u8, touches: &[TouchValue]) -> LeadRow {
    let conversion = conversion(number, Kind::Lead { touches: vec![], record: None });
    let proved = credit::chosen(touches, conversion.model, conversion.window_ms, NOW);
    let row = rows::lead_row(&conversion, touches.to_vec(), &proved, cause());
    credited_as(row, proved)
}

/// A payment of the first lead that this referrer sent.
fn payment(number: u8, referrer: &str, condition: &str, sign: i8) -> QualificationRow {
    let kind = Kind::Qualification {
        name: "paid".into(),
        value_minor: 100,
        currency: "EUR".into(),
        rewards: RewardTerms::default(),
        condition: None,
    };
    let row = rows::qualification_row(&conversion(number, kind), cause()).unwrap();
    QualificationRow {
        referrer: referrer.into(),
        lead_id: id(1).0,
        condition: Lc(condition.into()),
        sign,
        ..row
    }
}

fn credited_as(row: LeadRow, credit: Credit) -> LeadRow {
    LeadRow { evidence: credit.evidence, referrer: credit.referrer, ..row }
}

fn key(number: u8) -> SubjectKey {
    SubjectKey([number; 16])
}

/// Each lead is another person's, unless `shared` names a key of both.
fn past(leads: Vec<LeadRow>, shared: bool) -> Past {
    let keys = |lead: &LeadRow| if shared { vec![key(0), key(lead.id.0.as_bytes()[0])] } else { vec![] };
    let names = leads.iter().map(|lead| (lead.id, keys(lead))).collect();
    Past { leads, names, ..Past::default() }
}

fn after(past: &Past, rules: &Rules) -> Vec<Result<String, Undecided>> {
    let mut outcomes = replay(past, rules);
    outcomes.sort_by_key(|outcome| outcome.id);
    outcomes.into_iter().map(|outcome| outcome.after).collect()
}

fn first() -> Rules {
    Rules { model: Some(AttributionModel::FirstTouch), ..Rules::default() }
}

fn within(days: i64) -> Rules {
    Rules { window_ms: Some((days * DAY_MS) as u64), ..Rules::default() }
}

#[test]
fn the_same_rules_change_nothing_and_others_credit_others() {
    let past = past(vec![lead(1, &[click("ann", 20), click("bob", 5)]), lead(2, &[click("eve", 20)])], false);
    for same in [Rules::default(), within(30)] {
        assert_eq!(after(&past, &same), [Ok("bob".into()), Ok("eve".into())]);
    }
    assert_eq!(after(&past, &first()), [Ok("ann".into()), Ok("eve".into())]);
    assert_eq!(after(&past, &within(10)), [Ok("bob".into()), Ok(String::new())]);
    assert_eq!(after(&past, &within(1)), [Ok(String::new()), Ok(String::new())]);
}

#[test]
fn a_wider_window_counts_what_the_lead_carried_in_vain() {
    let past = past(vec![lead(1, &[click("ann", 40)])], false);
    assert_eq!(replay(&past, &Rules::default())[0].before, "");
    assert_eq!(after(&past, &within(60)), [Ok("ann".into())]);
}

#[test]
fn a_later_lead_of_the_person_follows_the_first() {
    let second = lead(2, &[]);
    let second = LeadRow { evidence: Evidence::Alias, referrer: "bob".into(), ..second };
    let past = past(vec![lead(1, &[click("ann", 20), click("bob", 5)]), second], true);
    assert_eq!(after(&past, &Rules::default()), [Ok("bob".into()), Ok("bob".into())]);
    assert_eq!(after(&past, &first()), [Ok("ann".into()), Ok("ann".into())]);
}

#[test]
fn what_is_not_stored_or_does_not_fit_is_not_guessed() {
    let old = LeadRow { touches: vec![], ..lead(1, &[click("ann", 5)]) };
    let past_old = past(vec![old, lead(2, &[])], true);
    assert_eq!(
        after(&past_old, &first()),
        [Err(Undecided::NoTouches), Err(Undecided::NoTouches)],
        "nor is the rest of the person"
    );
    let odd = LeadRow { referrer: "eve".into(), ..lead(1, &[click("ann", 5)]) };
    assert_eq!(after(&past(vec![odd], false), &first()), [Err(Undecided::NotReproduced)]);
    let without = past(vec![lead(1, &[])], false);
    assert_eq!(after(&without, &first()), [Ok(String::new())], "there was nothing to keep");
}

#[test]
fn payments_move_with_the_credit_and_totals_of_what_moved_are_not_guessed() {
    let second = LeadRow { evidence: Evidence::Alias, referrer: "ann".into(), ..lead(2, &[click("eve", 0)]) };
    let mut past = past(vec![lead(1, &[click("ann", 20)]), second], true);
    past.qualifications = vec![
        payment(3, "ann", "", 1),
        payment(4, "ann", "first_payment", 1),
        payment(5, "ann", "spend_at_least", 1),
        payment(6, "ann", "spend_at_least", 0),
        payment(7, "ann", "first_payment", 0),
    ];
    past.names.extend((3..8).map(|number| (id(number), vec![key(0)])));
    let ann = || Ok("ann".to_owned());
    let eve = || Ok("eve".to_owned());
    assert_eq!(after(&past, &Rules::default()), [ann(), ann(), ann(), ann(), ann()]);
    assert_eq!(after(&past, &first()), [ann(), ann(), ann(), ann(), ann()]);
    // Ann's click is too old then, and the second lead may be referred again.
    let moved = Rules { allows_existing: Some(true), ..within(1) };
    let total = || Err(Undecided::Total);
    assert_eq!(after(&past, &moved), [Ok(String::new()), eve(), eve(), eve(), total(), total()]);
    let found = replay(&past, &moved);
    let lead =
        |number| found.iter().find(|one| one.id == id(number)).map(|one| (one.before.as_str(), one.lead));
    assert_eq!([lead(3), lead(6)], [Some(("ann", Some(id(2)))), Some(("", Some(id(2))))]);
}

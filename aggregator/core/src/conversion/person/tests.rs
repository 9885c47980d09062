//! The rules, one by one.

mod identity;
mod unit;

use super::*;

fn id(number: u8) -> EventId {
    EventId(Uuid::from_bytes([number; 16]))
}

fn lead(number: u8, received_at: i64, proved: Credit) -> Lead {
    let at = UnixMs(received_at);
    Lead {
        received_at: at,
        occurred_at: at,
        id: id(number),
        proved,
        touches: vec![],
        model: AttributionModel::LastTouch,
        window_ms: 1_000_000,
        allows_existing: false,
        record: None,
    }
}

fn token(referrer: &str, clicked_at: i64) -> Credit {
    Credit {
        evidence: Evidence::Token,
        referrer: referrer.into(),
        clicked_at: UnixMs(clicked_at),
        ..Credit::default()
    }
}

fn code(referrer: &str) -> Credit {
    Credit { evidence: Evidence::Code, ..token(referrer, 0) }
}

fn qualification(number: u8, occurred_at: i64, paid_minor: i64) -> Qualification {
    Qualification {
        id: id(number),
        received_at: UnixMs(occurred_at),
        occurred_at: UnixMs(occurred_at),
        payments: vec![],
        name: "payment".into(),
        paid_minor,
        currency: "EUR".into(),
        condition: None,
    }
}

fn back(number: u8, at: i64, qualification: Option<u8>, value_minor: i64) -> Disqualification {
    Disqualification {
        received_at: UnixMs(at),
        id: id(number),
        occurred_at: UnixMs(at),
        qualification: qualification.map(id),
        payments: vec![],
        value_minor,
        currency: if value_minor == 0 { String::new() } else { "EUR".into() },
    }
}

fn person(leads: Vec<Lead>, paid: Vec<Qualification>, backs: Vec<Disqualification>) -> Decision {
    let mut person = Person::default();
    leads.into_iter().for_each(|lead| person.add_lead(lead));
    paid.into_iter().for_each(|q| person.add_qualification(q));
    backs.into_iter().for_each(|d| person.add_disqualification(d));
    person.decision()
}

fn credited(decision: &Decision, number: u8) -> (Evidence, &str, &str) {
    let credit = &decision.leads[&id(number)].credit;
    (credit.evidence, &credit.referrer, &credit.reason)
}

fn left(decision: &Decision, number: u8) -> Option<i64> {
    decision.qualifications[&id(number)].left_minor
}

fn outcome(decision: &Decision, number: u8) -> (&str, i64, i64) {
    let state = &decision.disqualifications[&id(number)];
    (state.outcome, state.taken_minor, state.excess_minor)
}

#[test]
fn the_first_lead_keeps_the_credit_and_the_same_referral_told_again_relies_on_it() {
    let decision = person(
        vec![
            lead(1, 100, token("a", 50)),
            lead(2, 200, token("b", 60)),
            lead(3, 300, Credit::nobody(NO_TOUCH)),
            lead(4, 400, Credit::nobody("token_forged")),
        ],
        vec![],
        vec![],
    );
    assert_eq!(credited(&decision, 1), (Evidence::Token, "a", ""));
    assert_eq!(credited(&decision, 2), (Evidence::Alias, "a", "repeated_lead"));
    assert_eq!(credited(&decision, 3), (Evidence::Alias, "a", ""));
    assert_eq!(credited(&decision, 4), (Evidence::Alias, "a", "token_forged"));
    assert_eq!(decision.leads[&id(1)].first_lead, Uuid::nil());
    assert_eq!(decision.leads[&id(3)].first_lead, id(1).0);
}

#[test]
fn of_leads_of_one_millisecond_the_one_that_happened_first_is_first_whatever_the_ids() {
    for (early, late) in [(1, 2), (2, 1)] {
        let early_lead = Lead { occurred_at: UnixMs(50), ..lead(early, 100, code("a")) };
        let decision = person(vec![early_lead, lead(late, 100, Credit::nobody(NO_TOUCH))], vec![], vec![]);
        assert_eq!(credited(&decision, early), (Evidence::Code, "a", ""));
        assert_eq!(credited(&decision, late), (Evidence::Alias, "a", ""));
        let paid = |number, occurred_at, currency: &str| Qualification {
            received_at: UnixMs(100),
            payments: vec![SubjectKey([7; 16])],
            currency: currency.into(),
            ..qualification(number, occurred_at, 5)
        };
        let told = vec![paid(late + 10, 90, "EUR"), paid(early + 10, 80, "EUR")];
        let counts = person(vec![lead(3, 10, token("a", 5))], told, vec![]);
        let counts = |number: u8| counts.qualifications[&id(number + 10)].counts();
        assert_eq!((counts(early), counts(late)), (true, false));
    }
}

#[test]
fn an_existing_customer_is_credited_only_where_the_program_allows_it() {
    let known = || lead(1, 100, Credit::nobody(NO_TOUCH));
    for proved in [token("b", 101), code("b")] {
        let refused = person(vec![known(), lead(2, 200, proved.clone())], vec![], vec![]);
        assert_eq!(credited(&refused, 2), (Evidence::None, "", "existing_customer"));
        let allowing = Lead { allows_existing: true, ..lead(2, 200, proved.clone()) };
        let allowed = person(vec![known(), allowing], vec![], vec![]);
        assert_eq!(credited(&allowed, 2).1, "b");
    }
    let clicked_before = person(vec![known(), lead(2, 200, token("b", 100))], vec![], vec![]);
    assert_eq!(credited(&clicked_before, 2), (Evidence::Token, "b", ""));
}

#[test]
fn a_qualification_belongs_to_the_earliest_lead_that_a_touch_before_it_is_credited_with() {
    let allowing = Lead { allows_existing: true, ..lead(2, 200, token("b", 150)) };
    let leads = vec![lead(1, 100, Credit::nobody(NO_TOUCH)), allowing];
    let decision = person(leads, vec![qualification(8, 149, 5), qualification(9, 150, 5)], vec![]);
    let lead_of = |number| decision.qualifications[&id(number)].lead.as_ref().unwrap().0;
    assert_eq!((lead_of(8), lead_of(9)), (id(1), id(2)), "before the click nobody had referred the person");
    let alone = person(vec![], vec![qualification(8, 149, 5)], vec![]);
    assert_eq!(
        alone.qualifications[&id(8)],
        QualificationState { lead: None, left_minor: Some(5), unmet: "", is_person: false }
    );
}

#[test]
fn never_more_is_taken_back_than_was_paid() {
    let paid = vec![qualification(1, 10, 1000)];
    let backs = vec![back(5, 20, Some(1), 300), back(6, 30, Some(1), 900), back(7, 40, Some(1), 1)];
    let decision = person(vec![], paid, backs);
    assert_eq!(left(&decision, 1), None);
    assert_eq!(outcome(&decision, 5), ("applied", 300, 0));
    assert_eq!(outcome(&decision, 6), ("excess", 700, 200));
    assert_eq!(outcome(&decision, 7), ("excess", 0, 1));
}

#[test]
fn a_part_of_what_a_person_paid_is_taken_from_the_newest_first_and_not_from_what_comes_later() {
    let paid = vec![qualification(1, 10, 100), qualification(2, 20, 100), qualification(3, 90, 100)];
    let decision = person(vec![], paid, vec![back(5, 50, None, 150)]);
    assert_eq!([1, 2, 3].map(|number| left(&decision, number)), [Some(50), None, Some(100)]);
    assert_eq!(outcome(&decision, 5), ("applied", 150, 0));
}

#[test]
fn what_is_taken_back_whole_can_be_taken_back_once() {
    let paid = vec![qualification(1, 10, 100), qualification(2, 20, 0)];
    let decision = person(vec![], paid, vec![back(5, 50, None, 0), back(6, 60, Some(2), 0)]);
    assert_eq!([1, 2].map(|number| left(&decision, number)), [None, None]);
    assert_eq!(outcome(&decision, 5), ("applied", 100, 0));
    assert_eq!(outcome(&decision, 6), ("repeated", 0, 0));
}

#[test]
fn what_was_not_paid_in_the_currency_is_not_taken_and_what_is_not_there_is_waited_for() {
    let foreign = Disqualification { currency: "USD".into(), ..back(5, 50, Some(1), 10) };
    let decision = person(vec![], vec![qualification(1, 10, 100)], vec![foreign, back(6, 5, None, 0)]);
    assert_eq!(left(&decision, 1), Some(100));
    assert_eq!(outcome(&decision, 5), ("currency", 0, 10));
    assert_eq!(outcome(&decision, 6), ("waiting", 0, 0), "it was before the payment");
}

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Payment `number` with a condition, so many days after the lead.
fn under(condition: &Condition, number: u8, day: i64, paid_minor: i64) -> Qualification {
    Qualification {
        condition: Some(condition.clone()),
        ..qualification(number, 1000 * DAY + day * DAY, paid_minor)
    }
}

fn spend(minor: i64) -> Condition {
    Condition::SpendAtLeast { minor, currency: "EUR".into(), days: 30 }
}

/// Why these payments of a lead do not count, with these taken back on the day after the last of them.
fn unmet(paid: Vec<Qualification>, backs: &[(u8, i64)]) -> Vec<&'static str> {
    let lead = lead(99, 1000 * DAY, code("a"));
    let mut ids: Vec<_> = paid.iter().map(|q| (q.occurred_at, q.id)).collect();
    ids.sort_unstable();
    let back = |(at, (of, minor)): (usize, &(u8, i64))| back(200 + at as u8, 2000 * DAY, Some(*of), *minor);
    let backs = backs.iter().enumerate().map(back).collect();
    let decision = person(vec![lead], paid, backs);
    ids.iter().map(|(_, id)| decision.qualifications[id].unmet).collect()
}

#[test]
fn the_first_payment_is_the_first_of_its_name_that_happened_and_stays_it() {
    let first = Condition::FirstPayment;
    let paid = || vec![under(&first, 3, 1, 10), under(&first, 2, 5, 10), under(&first, 1, 9, 10)];
    assert_eq!(unmet(paid(), &[]), ["", "not_first_payment", "not_first_payment"]);
    assert_eq!(unmet(paid(), &[(3, 4)]), ["", "not_first_payment", "not_first_payment"]);
    assert_eq!(unmet(paid(), &[(3, 0)]), ["taken_back", "not_first_payment", "not_first_payment"]);
    let of_old = Qualification { condition: None, ..under(&first, 1, -400, 10) };
    assert_eq!(unmet(vec![of_old.clone(), under(&first, 2, 0, 10)], &[]), ["", "not_first_payment"]);
    let trial = Qualification { name: "trial".into(), ..of_old };
    assert_eq!(
        unmet(vec![trial, under(&first, 2, 0, 10)], &[]),
        ["", ""],
        "another name is no payment of it"
    );
}

#[test]
fn the_payment_that_reaches_the_total_counts_and_no_other() {
    let fifty = spend(50);
    let paid = || {
        vec![
            under(&fifty, 1, 1, 30),
            under(&fifty, 2, 2, 40),
            under(&fifty, 3, 3, 20),
            under(&fifty, 4, 4, 90),
        ]
    };
    let reached = |at: usize| {
        let before = vec!["below_threshold"; at];
        let after = vec!["reached_before"; 3 - at];
        before.into_iter().chain([""]).chain(after).collect::<Vec<_>>()
    };
    assert_eq!(unmet(paid(), &[]), reached(1));
    assert_eq!(unmet(paid(), &[(1, 20)]), reached(1), "exactly the total is enough");
    assert_eq!(unmet(paid(), &[(1, 21)]), reached(2), "a refund gives it to a later one");
    assert_eq!(unmet(paid(), &[(1, 0)]), ["taken_back", "below_threshold", "", "reached_before"]);
    assert_eq!(unmet(paid(), &[(2, 0)]), ["below_threshold", "taken_back", "", "reached_before"]);
    assert_eq!(
        unmet(vec![under(&fifty, 1, 1, 30), under(&fifty, 2, 2, 40)], &[(2, 21)]),
        ["below_threshold"; 2]
    );
}

#[test]
fn a_total_is_of_one_currency_condition_and_window() {
    let fifty = spend(50);
    let dollars = Qualification { currency: "USD".into(), ..under(&fifty, 1, 1, 90) };
    let paid = vec![dollars, under(&fifty, 2, 2, 40), under(&spend(30), 3, 3, 90), under(&fifty, 4, 30, 10)];
    assert_eq!(unmet(paid, &[]), ["other_currency", "below_threshold", "", ""]);
    let late = vec![under(&fifty, 1, 30, 49), under(&fifty, 2, 31, 90)];
    assert_eq!(unmet(late, &[]), ["below_threshold", "outside_window"]);
    let early = vec![under(&fifty, 1, -2, 90), under(&fifty, 2, -1, 50)];
    assert_eq!(unmet(early, &[]), ["outside_window", ""], "the invoice before the checkout counts");
}

#[test]
fn without_a_lead_a_total_counts_from_the_first_payment_and_each_lead_has_its_own() {
    let fifty = spend(50);
    let paid = || vec![under(&fifty, 1, 1, 40), under(&fifty, 2, 31, 40), under(&fifty, 3, 32, 40)];
    let alone = person(vec![], paid(), vec![]);
    let why = |decision: &Decision| [1, 2, 3].map(|number| decision.qualifications[&id(number)].unmet);
    assert_eq!(why(&alone), ["below_threshold", "", "outside_window"]);
    let again = Lead { allows_existing: true, ..lead(98, 1020 * DAY, token("b", 1010 * DAY)) };
    let twice = person(vec![lead(99, 1000 * DAY, Credit::nobody(NO_TOUCH)), again], paid(), vec![]);
    assert_eq!(
        why(&twice),
        ["below_threshold", "below_threshold", ""],
        "the first belongs to the first lead"
    );
}

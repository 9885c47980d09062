//! The rules, one by one.

use super::*;

fn id(number: u8) -> EventId {
    EventId(Uuid::from_bytes([number; 16]))
}

fn lead(number: u8, received_at: i64, proved: Credit) -> Lead {
    Lead { received_at: UnixMs(received_at), id: id(number), proved, allows_existing: false }
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
    Qualification { id: id(number), occurred_at: UnixMs(occurred_at), paid_minor, currency: "EUR".into() }
}

fn back(number: u8, at: i64, qualification: Option<u8>, value_minor: i64) -> Disqualification {
    Disqualification {
        received_at: UnixMs(at),
        id: id(number),
        occurred_at: UnixMs(at),
        qualification: qualification.map(id),
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
    assert_eq!(alone.qualifications[&id(8)], QualificationState { lead: None, left_minor: Some(5) });
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

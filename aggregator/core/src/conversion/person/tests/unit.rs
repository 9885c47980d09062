//! Which lead and which qualification stand for a person.

use super::*;

/// The leads and the qualifications that stand for the person.
fn stands(decision: &Decision) -> (Vec<EventId>, Vec<EventId>) {
    let leads = decision.leads.iter().filter(|(_, state)| state.is_person).map(|(id, _)| *id);
    let reached = decision.qualifications.iter().filter(|(_, state)| state.is_person).map(|(id, _)| *id);
    (leads.collect(), reached.collect())
}

fn nobodys(number: u8, at: i64) -> Lead {
    lead(number, at, Credit::nobody(NO_TOUCH))
}

#[test]
fn months_of_a_subscription_and_leads_told_twice_are_one_person() {
    let leads = || vec![lead(1, 100, token("a", 50)), lead(2, 200, token("b", 60)), nobodys(3, 300)];
    let months = (10..22).map(|month| qualification(month, 1000 * i64::from(month), 20)).collect();
    assert_eq!(stands(&person(leads(), months, vec![])), (vec![id(1)], vec![id(10)]));
    assert_eq!(stands(&person(leads(), vec![], vec![])), (vec![id(1)], vec![]));
}

#[test]
fn without_a_qualification_the_earliest_credited_lead_stands_and_without_one_the_first() {
    let bought_by_touch = || lead(2, 200, token("b", 90));
    let decision = person(vec![nobodys(1, 100), bought_by_touch()], vec![], vec![]);
    assert_eq!(stands(&decision), (vec![id(2)], vec![]));
    let decision = person(vec![nobodys(2, 100), nobodys(1, 200)], vec![], vec![]);
    assert_eq!(stands(&decision), (vec![id(2)], vec![]));
}

#[test]
fn what_a_person_reached_first_says_which_of_its_leads_stands() {
    let again = || Lead { allows_existing: true, ..lead(2, 200, token("b", 150)) };
    let leads = || vec![nobodys(1, 100), again()];
    let bought = |at: &[(u8, i64)]| at.iter().map(|(number, at)| qualification(*number, *at, 20)).collect();
    let before = person(leads(), bought(&[(8, 160), (9, 140)]), vec![]);
    assert_eq!(stands(&before), (vec![id(1)], vec![id(9)]), "it was nobody's customer");
    let after = person(leads(), bought(&[(8, 160)]), vec![]);
    assert_eq!(stands(&after), (vec![id(2)], vec![id(8)]));
    let refunded = person(leads(), bought(&[(8, 160), (9, 140)]), vec![back(20, 170, Some(9), 0)]);
    assert_eq!(stands(&refunded), (vec![id(2)], vec![id(8)]));
}

#[test]
fn what_does_not_count_or_waits_stands_for_nobody() {
    let paid = || vec![qualification(8, 160, 20)];
    assert_eq!(stands(&person(vec![], paid(), vec![])), (vec![], vec![]), "it has no lead yet");
    let below = vec![under(&spend(50), 8, 0, 20)];
    assert_eq!(stands(&person(vec![nobodys(1, 1000 * DAY)], below, vec![])), (vec![id(1)], vec![]));
    let taken = person(vec![nobodys(1, 100)], paid(), vec![back(20, 170, None, 0)]);
    assert_eq!(stands(&taken), (vec![id(1)], vec![]));
    let record = Some(id_key(id(77)));
    let told = vec![Lead { record, ..nobodys(1, 100) }, Lead { record, ..nobodys(2, 200) }];
    assert_eq!(stands(&person(told, vec![], vec![])), (vec![id(1)], vec![]));
}

#[test]
fn persons_that_turn_out_to_be_one_count_once_from_then_on() {
    let mut one = Person::default();
    one.add_lead(lead(1, 200, token("a", 50)));
    one.add_qualification(qualification(8, 300, 20));
    let mut other = Person::default();
    other.add_lead(lead(2, 100, token("b", 60)));
    other.add_qualification(qualification(9, 290, 20));
    assert_eq!(stands(&one.decision()), (vec![id(1)], vec![id(8)]));
    assert_eq!(stands(&other.decision()), (vec![id(2)], vec![id(9)]));
    one.merge(other);
    assert_eq!(stands(&one.decision()), (vec![id(2)], vec![id(9)]));
}

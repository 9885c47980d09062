//! What is one payment or one lead, and what is given again.

use super::*;

fn name(number: u8) -> SubjectKey {
    SubjectKey([number; 16])
}

fn paid_as(number: u8, names: &[u8]) -> Qualification {
    let payments = names.iter().copied().map(name).collect();
    Qualification { payments, ..qualification(number, 100 + i64::from(number), 2000) }
}

fn named(number: u8, at: i64, names: &[u8], value_minor: i64) -> Disqualification {
    let payments = names.iter().copied().map(name).collect();
    Disqualification { payments, ..back(number, at, None, value_minor) }
}

fn again(number: u8, at: i64, disqualification: Option<u8>, names: &[u8], minor: i64) -> Reinstatement {
    Reinstatement {
        received_at: UnixMs(at),
        id: id(number),
        occurred_at: UnixMs(at),
        disqualification: disqualification.map(id),
        payments: names.iter().copied().map(name).collect(),
        value_minor: minor,
        currency: if minor == 0 { String::new() } else { "EUR".into() },
    }
}

fn decided(
    paid: Vec<Qualification>,
    links: &[&[u8]],
    backs: Vec<Disqualification>,
    agains: Vec<Reinstatement>,
) -> Decision {
    let mut person = Person::default();
    paid.into_iter().for_each(|q| person.add_qualification(q));
    for (number, names) in (200..).zip(links) {
        person.add_name(id(number), names.iter().copied().map(name).collect());
    }
    backs.into_iter().for_each(|d| person.add_disqualification(d));
    agains.into_iter().for_each(|r| person.add_reinstatement(r));
    person.decision()
}

fn why_not(decision: &Decision, number: u8) -> &'static str {
    decision.qualifications[&id(number)].unmet
}

fn given(decision: &Decision, number: u8) -> (&str, i64, i64) {
    let state = &decision.reinstatements[&id(number)];
    (state.outcome, state.given_minor, state.excess_minor)
}

/// A session knows its intent, an invoice itself, and a third event that the intent paid the invoice.
#[test]
fn a_payment_counts_once_however_many_names_it_has_and_whoever_says_that_they_are_one() {
    let (session, invoice) = (|| paid_as(1, &[50, 51]), || paid_as(2, &[52]));
    let apart = decided(vec![session(), invoice()], &[], vec![], vec![]);
    assert_eq!((why_not(&apart, 1), why_not(&apart, 2)), ("", ""), "nothing says that they are one");
    let linked = decided(vec![session(), invoice()], &[&[51, 52]], vec![], vec![]);
    assert_eq!(
        (why_not(&linked, 1), why_not(&linked, 2)),
        ("", SAME_PAYMENT),
        "the first one received counts"
    );
    let shared = decided(vec![paid_as(1, &[50]), paid_as(2, &[50])], &[], vec![], vec![]);
    assert_eq!((why_not(&shared, 1), why_not(&shared, 2)), ("", SAME_PAYMENT));
    let by_refund = decided(vec![session(), invoice()], &[], vec![named(9, 500, &[51, 52], 500)], vec![]);
    assert_eq!(why_not(&by_refund, 2), SAME_PAYMENT, "a refund that has both names says so too");
    assert_eq!(left(&by_refund, 1), Some(1500));
}

#[test]
fn other_names_of_what_was_reached_and_what_has_a_value_are_told_apart() {
    let trial = Qualification { name: "trial".into(), ..paid_as(3, &[50]) };
    let both = decided(vec![paid_as(1, &[50]), trial], &[], vec![], vec![]);
    assert_eq!((why_not(&both, 1), why_not(&both, 3)), ("", ""), "a payment may reach two things");
    let worthless = Qualification { paid_minor: 0, currency: String::new(), ..paid_as(1, &[50]) };
    let told = decided(vec![worthless, paid_as(2, &[50])], &[], vec![], vec![]);
    assert_eq!(
        (why_not(&told, 1), why_not(&told, 2)),
        (SAME_PAYMENT, ""),
        "the one that says what was paid counts"
    );
}

#[test]
fn a_refund_of_any_name_finds_the_payment() {
    for names in [&[50][..], &[51], &[52], &[51, 99]] {
        let paid = vec![paid_as(1, &[50, 51]), paid_as(2, &[52])];
        let decision = decided(paid, &[&[51, 52]], vec![named(9, 500, names, 0)], vec![]);
        assert_eq!(outcome(&decision, 9), ("applied", 2000, 0), "{names:?}");
        assert_eq!(left(&decision, 1), None);
    }
    let unknown = decided(vec![paid_as(1, &[50])], &[], vec![named(9, 500, &[60], 0)], vec![]);
    assert_eq!((outcome(&unknown, 9), left(&unknown, 1)), (("waiting", 0, 0), Some(2000)));
}

#[test]
fn a_dispute_that_is_won_gives_again_what_it_took_whenever_the_two_came() {
    for at in [400, 500, 600] {
        let backs = vec![named(9, 500, &[50], 0)];
        let decision = decided(vec![paid_as(1, &[50])], &[], backs, vec![again(10, at, Some(9), &[], 0)]);
        assert_eq!(left(&decision, 1), Some(2000), "{at}");
        assert_eq!(outcome(&decision, 9), ("reinstated", 0, 0));
        assert_eq!(given(&decision, 10), ("applied", 2000, 0));
    }
    let waiting = decided(vec![paid_as(1, &[50])], &[], vec![], vec![again(10, 400, Some(9), &[], 0)]);
    assert_eq!(given(&waiting, 10), ("waiting", 0, 0));
}

#[test]
fn a_refund_that_failed_gives_again_what_was_taken_of_the_payment_before() {
    let backs = || vec![named(8, 500, &[50], 500), named(9, 510, &[50], 300)];
    let of = |at, minor| {
        let decision =
            decided(vec![paid_as(1, &[50])], &[], backs(), vec![again(10, at, None, &[50], minor)]);
        let taken = [8, 9].map(|number| outcome(&decision, number).1);
        (left(&decision, 1).unwrap(), taken, given(&decision, 10).0.to_owned(), given(&decision, 10).2)
    };
    assert_eq!(of(600, 300), (1500, [500, 0], "applied".into(), 0), "the newest first");
    assert_eq!(of(600, 400), (1600, [400, 0], "applied".into(), 0));
    assert_eq!(of(600, 900), (2000, [0, 0], "excess".into(), 100));
    assert_eq!(of(600, 0), (2000, [0, 0], "applied".into(), 0));
    assert_eq!(of(505, 0), (1700, [0, 300], "applied".into(), 0), "what came after it stays taken");
    assert_eq!(of(450, 0), (1200, [500, 300], "nothing".into(), 0));
}

#[test]
fn what_is_told_rejected_and_told_again_follows_the_last_word() {
    let sale = || vec![paid_as(1, &[50])];
    let (no, yes) =
        (|number, at| named(number, at, &[50], 0), |number, at| again(number, at, None, &[50], 0));
    let once = decided(sale(), &[], vec![no(9, 500)], vec![yes(10, 101), yes(11, 600)]);
    assert_eq!((left(&once, 1), given(&once, 10).0, given(&once, 11).0), (Some(2000), "nothing", "applied"));
    let twice = decided(sale(), &[], vec![no(9, 500), no(8, 700)], vec![yes(10, 101), yes(11, 600)]);
    assert_eq!((left(&twice, 1), outcome(&twice, 8).0), (None, "applied"));
}

#[test]
fn a_payment_without_a_value_is_given_again_too() {
    let trial = || Qualification { paid_minor: 0, currency: String::new(), ..paid_as(1, &[50]) };
    let decision =
        decided(vec![trial()], &[], vec![named(9, 500, &[50], 0)], vec![again(10, 600, None, &[50], 0)]);
    assert_eq!((left(&decision, 1), outcome(&decision, 9).0), (Some(0), "reinstated"));
    assert_eq!(given(&decision, 10), ("applied", 0, 0));
}

fn touched(referrer: &str, clicked_at: i64) -> TouchValue {
    TouchValue {
        click_id: Uuid::from_bytes([7; 16]),
        clicked_at: UnixMs(clicked_at),
        referrer: referrer.into(),
        ..TouchValue::default()
    }
}

fn coded(referrer: &str) -> TouchValue {
    TouchValue { referrer: referrer.into(), ..TouchValue::default() }
}

/// An event about the record, with what its touches prove by themselves.
fn told(number: u8, at: i64, touches: Vec<TouchValue>) -> Lead {
    let proved =
        crate::conversion::credit::chosen(&touches, AttributionModel::LastTouch, 1_000_000, UnixMs(at));
    Lead { record: Some(name(1)), touches, ..lead(number, at, proved) }
}

#[test]
fn events_about_one_record_are_one_lead_credited_as_if_all_had_come_at_once() {
    let created = |at| told(1, at, vec![]);
    // In the same millisecond, a moment and a day apart, and in the other order.
    for (created_at, touched_at) in [(100, 100), (100, 200), (100, 90_000), (200, 100)] {
        let events = vec![created(created_at), told(2, touched_at, vec![touched("a", 50)])];
        let decision = person(events, vec![qualification(8, 300, 5)], vec![]);
        let (first, other) = if (created_at, 1) < (touched_at, 2) { (1, 2) } else { (2, 1) };
        assert_eq!(credited(&decision, first), (Evidence::Token, "a", ""), "{created_at} {touched_at}");
        assert_eq!(credited(&decision, other), (Evidence::None, "", SAME_RECORD));
        let state = &decision.leads[&id(other)];
        assert_eq!((state.counts, state.first_lead), (false, id(first).0));
        assert!(decision.leads[&id(first)].counts);
        assert_eq!(decision.qualifications[&id(8)].lead.as_ref().unwrap().0, id(first));
    }
}

#[test]
fn a_visit_after_the_lead_changes_nothing_about_it() {
    let later = 100 + whence_schemas::token::CLOCK_SKEW_MS_MAX + 1;
    let events = || vec![told(1, 100, vec![touched("a", 50)]), told(2, later, vec![touched("b", later)])];
    assert_eq!(credited(&person(events(), vec![], vec![]), 1), (Evidence::Token, "a", ""));
    let codes = vec![told(1, 100, vec![coded("a")]), told(2, later, vec![coded("b")])];
    assert_eq!(credited(&person(codes, vec![], vec![]), 1), (Evidence::Code, "a", ""));
    let late_code = vec![told(1, 100, vec![]), told(2, later, vec![coded("b")])];
    assert_eq!(credited(&person(late_code, vec![], vec![]), 1), (Evidence::Code, "b", ""));
}

#[test]
fn leads_of_other_records_stay_leads_of_their_own() {
    let other = Lead { record: Some(name(2)), ..told(3, 300, vec![]) };
    let decision = person(vec![told(1, 100, vec![touched("a", 50)]), other], vec![], vec![]);
    assert_eq!(credited(&decision, 3), (Evidence::Alias, "a", ""));
    assert!(decision.leads[&id(3)].counts);
}

//! The oracle is only worth something if it finds what is wrong: every kind of damage to a store that
//! fits its ledger must be found, and nothing in the store that does fit.

use crate::common::{Fixture, LOSSY, NOON_MS, STRICT, click_id, kinds};
use proptest::prelude::*;
use whence_loadtest::{
    ledger::{Body, Class, ClickOutcome, Id, Reply, SendEntry},
    oracle::{
        compare,
        difference::Kind,
        stored::{ClickRow, Counts, LeadRow, QualificationRow},
    },
};

#[test]
fn a_store_that_fits_has_no_difference() {
    let it = Fixture::busy();
    let findings = compare(&it.ledger, &it.stored, STRICT);
    assert_eq!(findings.differences.first, []);
    assert_eq!(findings.differences.total(), 0);
    let totals = findings.totals;
    assert_eq!((totals.clicks_answered, totals.clicks_stored_without_id), (3, 1));
    assert_eq!((totals.leads, totals.qualifications, totals.unmatched, totals.duplicates), (4, 3, 1, 1));
}

#[test]
fn a_deleted_click_is_missing_from_rows_and_sums() {
    let mut it = Fixture::busy();
    it.stored.clicks.remove(0);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::ClickMissing, 1), (Kind::Raw, 1)]);
    it.roll_up();
    let found = kinds(&it.ledger, &it.stored, STRICT);
    let sums = [(Kind::Raw, 1), (Kind::QuarterHourly, 1), (Kind::Daily, 1), (Kind::Funnel, 1)];
    assert_eq!(found, [&[(Kind::ClickMissing, 1)], &sums[..]].concat());
}

#[test]
fn a_doubled_click_is_found_whether_or_not_its_id_is_known() {
    for (doubled, kind) in [(0, Kind::ClickMultiple), (3, Kind::ClickExtra)] {
        let mut it = Fixture::busy();
        let row: ClickRow = it.stored.clicks[doubled];
        it.stored.clicks.push(row);
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (kind, 1));
    }
}

#[test]
fn a_click_under_another_name_or_hour_is_wrong() {
    type Change = fn(&mut Fixture, &mut ClickRow);
    let changes: [Change; 5] = [
        |it, row| row.referrer = it.stored.names.of("somebody"),
        |it, row| row.channel = it.stored.names.of("elsewhere"),
        |it, row| row.verdict = it.stored.names.of("bot"),
        |_, row| row.at_ms += 3_600_000,
        |_, row| row.live = false,
    ];
    for change in changes {
        let mut it = Fixture::busy();
        let mut row = it.stored.clicks[0];
        change(&mut it, &mut row);
        it.stored.clicks[0] = row;
        let found = kinds(&it.ledger, &it.stored, STRICT);
        assert_eq!(found[0], (Kind::ClickWrong, 1));
        assert!(found.iter().any(|(kind, _)| *kind == Kind::Raw), "{found:?}");
    }
}

#[test]
fn a_deleted_or_doubled_conversion_is_found() {
    let mut it = Fixture::busy();
    it.stored.leads.remove(0);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (Kind::LeadMissing, 1));
    let mut it = Fixture::busy();
    let row: LeadRow = it.stored.leads[1];
    it.stored.leads.push(row);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (Kind::LeadMultiple, 1));
    let mut it = Fixture::busy();
    it.stored.qualifications.remove(0);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (Kind::QualificationMissing, 1));
    let mut it = Fixture::busy();
    let row: QualificationRow = it.stored.qualifications[0];
    it.stored.qualifications.push(row);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (Kind::QualificationMultiple, 1));
}

#[test]
fn a_correction_that_is_half_done_is_found() {
    let mut it = Fixture::busy();
    let taken_back = it.stored.qualifications.iter().position(|row| row.sign < 0).unwrap();
    it.stored.qualifications.remove(taken_back);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (Kind::QualificationMultiple, 1));
}

#[test]
fn credit_given_to_somebody_else_is_found() {
    let mut it = Fixture::busy();
    it.stored.leads[0].credit = it.stored.leads[1].credit;
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT)[0], (Kind::LeadCredit, 1));
    let mut it = Fixture::busy();
    it.stored.qualifications[0].lead = it.stored.leads[1].id;
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::QualificationCredit, 1)]);
}

#[test]
fn a_person_that_counts_twice_or_not_or_elsewhere_is_found() {
    type Change = fn(&mut Fixture);
    let changes: [Change; 6] = [
        |it| it.stored.leads[0].person = 0,
        // The same person's second lead.
        |it| it.stored.leads[3].person = 1,
        |it| (it.stored.leads[0].person, it.stored.leads[3].person) = (0, 1),
        |it| it.stored.qualifications[0].person = 0,
        |it| it.stored.qualifications.last_mut().unwrap().person = 1,
        |it| it.stored.qualifications.iter_mut().for_each(|row| row.person = row.sign),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut it = Fixture::busy();
        change(&mut it);
        it.roll_up();
        let found = kinds(&it.ledger, &it.stored, STRICT);
        assert!(found.iter().any(|(kind, _)| *kind == Kind::Person), "{at}: {found:?}");
        for sums in [Kind::Raw, Kind::QuarterHourly, Kind::Daily, Kind::Funnel] {
            assert!(found.iter().any(|(kind, _)| *kind == sums), "{at}: {found:?}");
        }
    }
}

#[test]
fn a_store_with_refunds_and_what_undoes_them_that_fits_has_no_difference() {
    let it = Fixture::reversed();
    let findings = compare(&it.ledger, &it.stored, STRICT);
    assert_eq!(findings.differences.first, []);
    let totals = findings.totals;
    assert_eq!((totals.refunds, totals.reinstatements, totals.qualifications), (3, 1, 3));
    assert_eq!((totals.persons, totals.persons_qualified), (3, 1));
    assert_eq!((totals.rewards, totals.rewards_reduced), (1, 1));
    assert_eq!((totals.identifies, totals.participants, totals.shares, totals.decisions), (1, 1, 1, 1));
    assert_eq!(it.stored.rewards[0].amount_minor, 500 * 1_200 / 1_500);
}

#[test]
fn what_nothing_is_left_of_and_is_there_all_the_same_is_found() {
    let mut it = Fixture::reversed();
    let bob = it.stored.qualifications[1].id;
    let taken = it.stored.qualifications.iter().rposition(|row| row.id == bob).unwrap();
    it.stored.qualifications.remove(taken);
    it.roll_up();
    let found = kinds(&it.ledger, &it.stored, STRICT);
    for kind in
        [Kind::QualificationMultiple, Kind::Person, Kind::Raw, Kind::Daily, Kind::Funnel, Kind::Reward]
    {
        assert!(found.contains(&(kind, 1)), "{kind:?}: {found:?}");
    }
    let mut it = Fixture::reversed();
    it.stored.qualifications.last_mut().unwrap().value_minor += 1;
    it.roll_up();
    let found = kinds(&it.ledger, &it.stored, STRICT);
    assert!(found.contains(&(Kind::QualificationCredit, 1)) && found.contains(&(Kind::Raw, 1)), "{found:?}");
}

#[test]
fn an_event_of_any_other_kind_that_is_missing_doubled_or_altered_is_found() {
    type Change = fn(&mut Fixture);
    let changes: [(Change, Kind); 19] = [
        (|it| it.stored.reversals[0].came.moved_minor += 1, Kind::Outcome),
        (|it| it.stored.reversals[0].came.excess_minor += 1, Kind::Outcome),
        (|it| it.stored.reversals[0].came.qualifications += 1, Kind::Outcome),
        (|it| it.stored.reversals[0].came.outcome = it.stored.names.of("excess"), Kind::Outcome),
        (|it| it.stored.reversals[1].came.moved_currency = it.stored.names.of("USD"), Kind::Outcome),
        (|it| it.stored.reversals[1].asked_minor += 1, Kind::EventWrong),
        (|it| it.stored.reversals[1].names = Id(4), Kind::EventWrong),
        (|it| it.stored.reversals[1].occurred_at_ms += 1, Kind::EventWrong),
        (|it| it.stored.reversals[1].table = it.stored.names.of("disqualifications"), Kind::EventWrong),
        (|it| it.stored.reversals[1].live = false, Kind::EventWrong),
        (|it| it.stored.reversals[1].sign = -1, Kind::EventMultiple),
        (|it| it.stored.reversals[1].id = Id(4), Kind::EventExtra),
        (|it| it.stored.plain[1].referrer = it.stored.names.of("somebody"), Kind::EventWrong),
        (|it| it.stored.plain[2].link = it.stored.names.of("elsewhere"), Kind::EventWrong),
        (|it| it.stored.plain[2].channel = it.stored.names.of("elsewhere"), Kind::EventWrong),
        (|it| it.stored.plain[3].reward = Id(4), Kind::EventWrong),
        (|it| it.stored.plain[3].outcome = it.stored.names.of("not_approved"), Kind::Outcome),
        (|it| it.stored.plain[0].outcome = it.stored.names.of("applied"), Kind::Outcome),
        (|it| it.stored.plain[0].id = Id(4), Kind::EventExtra),
    ];
    for (at, (change, kind)) in changes.into_iter().enumerate() {
        let mut it = Fixture::reversed();
        change(&mut it);
        let found = kinds(&it.ledger, &it.stored, STRICT);
        assert!(found.contains(&(kind, 1)), "{at}: {found:?}");
    }
    for at in 0..4 {
        let mut it = Fixture::reversed();
        it.stored.reversals.remove(at);
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::EventMissing, 1)], "{at}");
        let mut it = Fixture::reversed();
        it.stored.plain.remove(at);
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::EventMissing, 1)], "{at}");
        let mut it = Fixture::reversed();
        it.stored.reversals.push(it.stored.reversals[at]);
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::EventMultiple, 1)], "{at}");
        let mut it = Fixture::reversed();
        it.stored.plain.push(it.stored.plain[at]);
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::EventMultiple, 1)], "{at}");
    }
}

#[test]
fn a_reward_is_approved_exactly_where_its_decision_was_applied() {
    let mut it = Fixture::reversed();
    it.stored.plain[3].outcome = it.stored.names.of("applied");
    let both = [(Kind::Reward, 1), (Kind::RewardsDaily, 1)];
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), both);
    it.stored.rewards[0].approved = 1;
    it.stored.reward_sums[0].approved = 1;
    let findings = compare(&it.ledger, &it.stored, STRICT);
    assert_eq!((findings.differences.total(), findings.totals.rewards_approved), (0, 1));
    it.stored.plain[3].outcome = it.stored.names.of("unknown_reward");
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), both);
}

#[test]
fn two_names_are_one_person_where_an_event_says_so() {
    let mut it = Fixture::reversed();
    let at = it.ledger.events.iter().position(|event| event.body == Body::Identify).unwrap();
    it.ledger.events[at].subject.lead = Some("carl".into());
    it.ledger.events[at].subject.email = Some("dora@mail.example".into());
    let found = kinds(&it.ledger, &it.stored, STRICT);
    let of_doras = [(Kind::QualificationCredit, 1), (Kind::Person, 1), (Kind::Unmatched, 1)];
    assert!(of_doras.iter().all(|kind| found.contains(kind)), "{found:?}");
    let carl = it.stored.leads[2].id;
    let waiting =
        it.stored.qualifications.iter_mut().find(|row| row.lead == Id::NIL && row.value_minor == 100);
    let waiting = waiting.unwrap();
    (waiting.lead, waiting.person) = (carl, 1);
    it.roll_up();
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), []);
}

#[test]
fn every_count_of_rollups_and_of_the_funnel_is_compared() {
    let columns: [fn(&mut Counts) -> &mut i64; 9] = [
        |counts| &mut counts.clicks,
        |counts| &mut counts.other_clicks,
        |counts| &mut counts.leads,
        |counts| &mut counts.leads_by_click,
        |counts| &mut counts.leads_by_code,
        |counts| &mut counts.qualified,
        |counts| &mut counts.lead_events,
        |counts| &mut counts.qualification_events,
        |counts| &mut counts.value_minor,
    ];
    for column in columns {
        let mut it = Fixture::busy();
        *column(&mut it.stored.quarter_hourly[0].counts) += 1;
        *column(&mut it.stored.daily[0].counts) -= 1;
        *column(&mut it.stored.funnel[0].counts) += 1;
        let expected = [(Kind::QuarterHourly, 1), (Kind::Daily, 1), (Kind::Funnel, 1)];
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT), expected);
    }
}

#[test]
fn a_lead_by_a_page_that_was_fetched_ahead_and_counts_as_one_by_a_click_is_found() {
    let mut it = Fixture::busy();
    it.ledger.clicks[0].class = Class::Prefetch;
    it.stored.clicks[0].verdict = it.stored.names.of("prefetch");
    it.roll_up();
    let sums = [(Kind::QuarterHourly, 1), (Kind::Daily, 1), (Kind::Funnel, 1)];
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), sums);
}

#[test]
fn a_reward_of_another_lead_referrer_amount_or_number_is_found() {
    let it = Fixture::busy();
    assert_eq!(compare(&it.ledger, &it.stored, STRICT).totals.rewards, it.stored.rewards.len() as u64);
    type Change = fn(&mut Fixture);
    let changes: [(Change, &[(Kind, u64)]); 7] = [
        (|it| it.stored.rewards.truncate(it.stored.rewards.len() - 1), &[(Kind::Reward, 1)]),
        (|it| it.stored.rewards[0].rewards = 2, &[(Kind::Reward, 1)]),
        (|it| it.stored.rewards[0].amount_minor += 1, &[(Kind::Reward, 1)]),
        (|it| it.stored.rewards[0].lead = Id(77), &[(Kind::Reward, 2)]),
        (|it| it.stored.rewards[0].referrer = it.stored.names.of("somebody"), &[(Kind::Reward, 2)]),
        (|it| it.stored.rewards[0].approved = 1, &[(Kind::Reward, 1)]),
        (|it| it.stored.reward_sums[0].amount_minor -= 1, &[(Kind::RewardsDaily, 1)]),
    ];
    for (change, expected) in changes {
        let mut it = Fixture::busy();
        change(&mut it);
        assert_eq!(kinds(&it.ledger, &it.stored, STRICT), expected);
    }
}

#[test]
fn values_that_changed_are_found() {
    let mut it = Fixture::busy();
    it.stored.qualifications[0].value_minor += 1;
    let found = kinds(&it.ledger, &it.stored, STRICT);
    assert_eq!(found, [(Kind::QualificationCredit, 1), (Kind::Raw, 1)]);
    let mut it = Fixture::busy();
    it.stored.qualifications[0].paid_minor += 1;
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::QualificationWrong, 1)]);
    let mut it = Fixture::busy();
    let worth = it.stored.quarter_hourly.iter().position(|row| row.counts.value_minor != 0).unwrap();
    it.stored.quarter_hourly[worth].counts.value_minor += 1;
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::QuarterHourly, 1)]);
}

#[test]
fn duplicates_are_counted_exactly() {
    let mut it = Fixture::busy();
    let reject = it.stored.rejects.pop().unwrap();
    assert_eq!(
        kinds(&it.ledger, &it.stored, STRICT),
        [(Kind::Duplicates, 1)],
        "a duplicate that left no trace"
    );
    it.stored.rejects = vec![reject; 2];
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::Duplicates, 1)], "one too many");
    assert_eq!(kinds(&it.ledger, &it.stored, LOSSY), [], "a shipper may have sent it again");
    it.stored.rejects[0].reason = it.stored.names.of("malformed");
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::Reject, 1)]);
}

#[test]
fn views_that_lie_are_found() {
    let mut it = Fixture::busy();
    it.stored.unmatched.pop();
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::Unmatched, 1)]);
    let mut it = Fixture::busy();
    it.stored.funnel[0].counts.leads += 1;
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::Funnel, 1)]);
    let mut it = Fixture::busy();
    it.stored.counted[0].missing = 1;
    let found = kinds(&it.ledger, &it.stored, STRICT);
    assert_eq!(found, [(Kind::Reconciliation, 1), (Kind::ReconciliationView, 1)]);
}

#[test]
fn an_unanswered_click_may_be_stored_or_not_but_only_where_answers_may_fail() {
    let mut it = Fixture::busy();
    it.known_click(0, Class::Human, NOON_MS + 20_000, 0, ClickOutcome::Unanswered);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::Answer, 1)]);
    let findings = compare(&it.ledger, &it.stored, LOSSY);
    assert_eq!((findings.differences.total(), findings.totals.clicks_unanswered_and_absent), (0, 1));
    it.stored_click(0, Class::Human, click_id(NOON_MS + 20_000, 50));
    it.roll_up();
    assert_eq!(kinds(&it.ledger, &it.stored, LOSSY), []);
    it.stored_click(0, Class::Human, click_id(NOON_MS + 20_001, 51));
    it.roll_up();
    assert_eq!(kinds(&it.ledger, &it.stored, LOSSY)[0], (Kind::ClickExtra, 1), "one request is one click");
}

#[test]
fn an_unanswered_lead_may_be_stored_or_not_and_its_qualification_follows_it() {
    let mut it = Fixture::busy();
    let lead = it.event("dora", NOON_MS, Body::Lead(vec![]), |_| Reply::Unknown);
    assert_eq!(kinds(&it.ledger, &it.stored, LOSSY), []);
    let nobody = it.nobody();
    it.stored_lead(lead, NOON_MS, nobody, true);
    it.roll_up();
    let found = kinds(&it.ledger, &it.stored, LOSSY);
    let of_its_own = [(Kind::QualificationCredit, 1), (Kind::Person, 1)];
    assert!(of_its_own.iter().all(|found_too| found.contains(found_too)), "{found:?}");
    let waiting = it.stored.qualifications.last_mut().unwrap();
    (waiting.lead, waiting.person) = (lead, 1);
    it.roll_up();
    assert_eq!(kinds(&it.ledger, &it.stored, LOSSY), []);
}

#[test]
fn answers_that_do_not_fit_are_differences_too() {
    let mut it = Fixture::empty();
    it.known_click(0, Class::Human, NOON_MS, 500, ClickOutcome::Wrong);
    it.event("eve", NOON_MS, Body::Lead(vec![]), |_| Reply::Refused);
    it.roll_up();
    assert_eq!(kinds(&it.ledger, &it.stored, LOSSY), [(Kind::Answer, 2)]);
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::Answer, 3)], "and it was never accepted");
    let mut it = Fixture::busy();
    it.ledger.sends.insert(0, SendEntry { number: 0, status: 503, reply: Reply::Unknown });
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [], "it was accepted when it came again");
    let mut it = Fixture::busy();
    it.ledger.sends[0].reply = Reply::Accepted(Id(1));
    assert_eq!(kinds(&it.ledger, &it.stored, STRICT), [(Kind::EventId, 1)]);
    let mut it = Fixture::busy();
    it.ledger.events[0].refusal = Some(401);
    let found = kinds(&it.ledger, &it.stored, STRICT);
    assert!(found.contains(&(Kind::Answer, 2)), "it was accepted twice: {found:?}");
}

proptest! {
    #[test]
    fn any_damage_to_any_row_is_found(n in 1usize..60, table in 0usize..5, row: prop::sample::Index, doubled: bool) {
        let mut it = Fixture::reversed();
        for click in 0..n {
            let class = [Class::Human, Class::Bot, Class::Preview, Class::Prefetch, Class::Head][click % 5];
            it.click((click % 6) as u32, class, NOON_MS + 100 * click as i64, 1_000 + click as u128);
        }
        it.roll_up();
        prop_assert_eq!(kinds(&it.ledger, &it.stored, STRICT), []);
        fn damage<T: Copy>(rows: &mut Vec<T>, at: &prop::sample::Index, doubled: bool) {
            let at = at.index(rows.len());
            if doubled { rows.push(rows[at]) } else { rows.remove(at); }
        }
        match table {
            0 => damage(&mut it.stored.clicks, &row, doubled),
            1 => damage(&mut it.stored.leads, &row, doubled),
            2 => damage(&mut it.stored.qualifications, &row, doubled),
            3 => damage(&mut it.stored.reversals, &row, doubled),
            _ => damage(&mut it.stored.plain, &row, doubled),
        }
        prop_assert!(!kinds(&it.ledger, &it.stored, STRICT).is_empty());
        prop_assert!(!kinds(&it.ledger, &it.stored, LOSSY).is_empty());
        it.roll_up();
        prop_assert!(!kinds(&it.ledger, &it.stored, STRICT).is_empty(), "rollups that agree with wrong rows");
    }
}

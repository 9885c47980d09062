//! What is said of every outcome that the join and the rejects know.

use super::*;

const NOW: i64 = 1_798_760_400_000;
const LEAD: Uuid = Uuid::from_u128(1);
const EARLIER: Uuid = Uuid::from_u128(2);
const PAID: Uuid = Uuid::from_u128(3);

fn line(step: &str, event_id: Uuid) -> Line {
    Line {
        step: step.into(),
        event_id,
        at: NOW,
        received_at: NOW,
        keys: vec![[1; 16]],
        live: true,
        sign: 1,
        ..Line::default()
    }
}

fn lead(event_id: Uuid, evidence: &str) -> Line {
    Line {
        evidence: evidence.into(),
        referrer: "ann".into(),
        source: "api".into(),
        lead: "42".into(),
        ..line("lead", event_id)
    }
}

fn paid(lead_id: Uuid, sign: i8, revision: u32) -> Line {
    let money = Line {
        name: "purchase".into(),
        value_minor: 1250,
        currency: "EUR".into(),
        ..line("qualification", PAID)
    };
    Line { lead_id, sign, revision, received_at: NOW - 60_000, ..money }
}

fn reject(event_id: Uuid, reason: &str) -> Line {
    Line { reason: reason.into(), name: "lead".into(), ..line("reject", event_id) }
}

fn told(lines: &[Line]) -> Vec<String> {
    explain(lines, None).into_iter().map(|explanation| explanation.sentences.join(" ")).collect()
}

#[test]
fn nothing_stored_is_nothing_said() {
    assert_eq!(explain(&[], Some("ann")), []);
}

#[test]
fn a_qualification_is_told_with_its_lead() {
    let told = told(&[lead(LEAD, "code"), paid(LEAD, 1, 0)]);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("Lead of 2026-12-31T23:40:00Z, from api. ann gets the credit"), "{told:?}");
    let end = "Reached \"purchase\" at 2026-12-31T23:40:00Z, worth 1250 minor units of EUR.";
    assert!(told[0].ends_with(end), "{told:?}");
}

#[test]
fn one_that_came_first_waited_and_one_without_lead_waits() {
    let completed = [lead(LEAD, "code"), paid(Uuid::nil(), 1, 0), paid(Uuid::nil(), -1, 1), paid(LEAD, 1, 1)];
    let all = told(&completed);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].contains("came before its lead, waited 1 minute for it, and is credited like it."),
        "{all:?}"
    );
    let waiting = told(&[paid(Uuid::nil(), 1, 0)]);
    assert!(waiting[0].contains("waits for its lead since 2026-12-31T23:39:00Z"), "{waiting:?}");
}

#[test]
fn the_earlier_lead_of_the_person_is_named() {
    let earlier = Line { received_at: NOW - 1, ..lead(EARLIER, "token") };
    let stranger = Line { keys: vec![[2; 16]], received_at: NOW - 2, ..lead(PAID, "token") };
    let of_test = Line { live: false, received_at: NOW - 3, ..lead(Uuid::from_u128(9), "token") };
    let all = told(&[stranger, of_test, earlier, lead(LEAD, "alias")]);
    assert!(all[3].contains(&format!("and the lead {EARLIER} of")), "{all:?}");
    let alone = told(&[lead(LEAD, "alias")]);
    assert!(alone[0].contains("and an earlier lead, by the same person"), "{alone:?}");
}

#[test]
fn what_was_taken_back_or_is_a_test_says_so() {
    let back = told(&[lead(LEAD, "code"), paid(LEAD, 1, 0), paid(LEAD, -1, 1)]);
    assert!(back[0].ends_with("\"purchase\" was taken back."), "{back:?}");
    let test = told(&[Line { live: false, ..lead(LEAD, "code") }]);
    assert!(test[0].ends_with("It is a test: no report counts it, and it earns nothing."), "{test:?}");
}

#[test]
fn what_was_taken_back_in_part_and_what_changed_later_is_told() {
    let part = Line { value_minor: 450, ..paid(LEAD, 1, 1) };
    let told_part = told(&[lead(LEAD, "code"), paid(LEAD, 1, 0), paid(LEAD, -1, 1), part]);
    assert!(told_part[0].ends_with("800 of 1250 minor units were taken back."), "{told_part:?}");
    let nobodys = Line { referrer: String::new(), reason: "existing_customer".into(), ..lead(LEAD, "none") };
    let (back, now) =
        (Line { sign: -1, revision: 1, ..nobodys.clone() }, Line { revision: 1, ..lead(LEAD, "code") });
    let changed = told(&[nobodys, back, now]);
    assert!(changed[0].contains("ann gets the credit"), "{changed:?}");
    assert!(
        changed[0].ends_with("nobody got the credit; what came later about the person has changed that.")
    );
}

#[test]
fn every_look_at_the_click_is_told() {
    let look = |by: u64, state: &str, looked_by: &str| Line {
        lead_id: LEAD,
        state: state.into(),
        detail: looked_by.into(),
        name: if state == "found" { "bot".into() } else { String::new() },
        reason: "curl".into(),
        offset: by,
        ..line("evidence", Uuid::from_u128(by.into()))
    };
    let looks = [look(9, "found", "timer"), look(7, "missing", "lead"), look(8, "found", "qualification")];
    let told = told(&[&[lead(LEAD, "token")], &looks[..]].concat());
    let expected = "The record of the click was looked at when the lead came (it had not come yet), when the lead \
                    counted (bot: curl), before an approval (bot: curl).";
    assert!(told[0].contains(expected), "{told:?}");
}

#[test]
fn every_outcome_of_a_refund_is_told() {
    for (outcome, expected) in [
        ("waiting", "waits for what it takes back."),
        ("applied", "took back what it names, worth 300 minor units of EUR."),
        ("repeated", "took nothing back: all of it was taken back before."),
        ("excess", "took back what was left, worth 300 minor units of EUR."),
        ("currency", "nothing was paid in its currency."),
        ("reinstated", "took back what it names, all of which was given again."),
    ] {
        let refund = Line {
            name: "refund".into(),
            reason: outcome.into(),
            value_minor: 300,
            currency: "EUR".into(),
            ..line("disqualification", PAID)
        };
        let told = told(&[refund]);
        assert!(told[0].starts_with("The refund of 2026-12-31T23:40:00Z "), "{told:?}");
        assert!(told[0].ends_with(expected), "{told:?}");
    }
    let linked = told(&[line("identify", PAID)]);
    assert_eq!(linked, ["Since 2026-12-31T23:40:00Z names are known to be one person's, or one payment's."]);
}

#[test]
fn every_outcome_of_what_is_given_again_is_told() {
    for (outcome, expected) in [
        ("waiting", "waits for what it undoes."),
        ("applied", "gave again what had been taken back, worth 300 minor units of EUR."),
        ("nothing", "gave nothing again: nothing of the payment was taken back then."),
        (
            "excess",
            "asked for more than had been taken back, and gave all of that again, worth 300 minor units of EUR.",
        ),
        ("currency", "gave nothing again: nothing was taken back in its currency."),
    ] {
        let won = Line {
            name: "dispute_won".into(),
            reason: outcome.into(),
            value_minor: 300,
            currency: "EUR".into(),
            ..line("reinstatement", PAID)
        };
        let told = told(&[won]);
        assert_eq!(told, [format!("The dispute_won of 2026-12-31T23:40:00Z {expected}")]);
    }
}

#[test]
fn what_tells_of_another_events_lead_or_payment_says_so() {
    let part = Line { sign: 0, reason: "same_record".into(), ..lead(LEAD, "none") };
    let told_of_lead = told(&[part]);
    assert!(told_of_lead[0].contains("tells of the same record of its source"), "{told_of_lead:?}");
    let again = Line { sign: 0, reason: "same_payment".into(), ..line("qualification", PAID) };
    let told_of_payment = told(&[again]);
    assert!(told_of_payment[0].contains("another event tells of the same payment"), "{told_of_payment:?}");
}

#[test]
fn every_refused_record_is_told() {
    let again = told(&[lead(LEAD, "code"), reject(LEAD, "duplicate"), reject(LEAD, "duplicate")]);
    assert!(again.len() == 1 && again[0].ends_with("came 2 times more, and was counted once."), "{again:?}");
    for (reason, expected) in [
        ("duplicate", "the same event had been stored before."),
        ("malformed", "it does not say what it must."),
        ("damaged", "its bytes were damaged on the way."),
        ("unknown_program", "there is no such program."),
        ("suppressed", "the person it names has asked to be forgotten."),
        ("person_too_large", "more events name this person than a person has."),
        ("something_new", "something_new."),
    ] {
        let all = told(&[reject(LEAD, reason)]);
        let start = "The lead of 2026-12-31T23:40:00Z counts for nothing and credits nobody: ";
        assert_eq!(all, [format!("{start}{expected}")]);
    }
    let why = Line { detail: "program is empty".into(), name: String::new(), ..reject(LEAD, "malformed") };
    assert!(told(&[why])[0].ends_with("must (program is empty)."));
}

#[test]
fn a_referrer_who_asks_is_answered() {
    let asked = explain(&[lead(LEAD, "code")], Some("bob"));
    assert!(asked[0].sentences.iter().any(|s| s.starts_with("bob does not get it")), "{asked:?}");
    assert_eq!((asked[0].referrer.as_str(), asked[0].lead.as_str()), ("ann", "42"));
}

#[test]
fn why_a_payment_does_not_count_is_said() {
    let uncounted = Line { reason: "below_threshold".into(), ..paid(LEAD, 0, 0) };
    let told = told(&[lead(LEAD, "code"), uncounted]);
    let why = "It does not count: the person's payments have not reached the total that it asks for.";
    assert!(told[0].contains(why) && !told[0].contains("taken back"), "{told:?}");
}

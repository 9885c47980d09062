//! What is said of every way that a reward can take.

use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use whence_schemas::event::{self, RewardTerms, RewardTier};

const NOW: i64 = 1_798_760_400_000;
const REWARD: Uuid = Uuid::from_u128(7);
const LEAD: Uuid = Uuid::from_u128(1);
const PAID: Uuid = Uuid::from_u128(3);

fn line(revision: u32, sign: i8, state: &str, value_minor: i64) -> Line {
    Line {
        step: "reward".into(),
        at: NOW,
        lead_id: LEAD,
        referrer: "ann".into(),
        name: "order".into(),
        currency: "EUR".into(),
        party: "referrer".into(),
        decided_by: "rules".into(),
        reward_id: REWARD,
        qualification_id: PAID,
        due_at: NOW + 60_000,
        state: state.into(),
        revision,
        sign,
        value_minor,
        ..Line::default()
    }
}

fn by(line: Line, decided_by: &str, reason: &str) -> Line {
    Line { decided_by: decided_by.into(), reason: reason.into(), ..line }
}

fn reached() -> Line {
    Line {
        step: "qualification".into(),
        event_id: PAID,
        lead_id: LEAD,
        referrer: "ann".into(),
        name: "purchase".into(),
        currency: "EUR".into(),
        sign: 1,
        ..Line::default()
    }
}

fn said(lines: &[Line], reached: &Line) -> String {
    Ledger::of(lines).earned_by(reached).join(" ")
}

fn terms(rules: Vec<RewardRule>) -> Line {
    let detail = STANDARD.encode(event::encode(&RewardTerms { rules, risk: None }));
    Line {
        step: "terms".into(),
        event_id: PAID,
        qualification_id: PAID,
        rules_version: 4,
        detail,
        ..Line::default()
    }
}

fn rule(id: &str, amount: Amount) -> RewardRule {
    let tiers = vec![RewardTier { from: 0, amount: Some(amount) }];
    RewardRule { id: id.into(), currency: "EUR".into(), tiers, ..RewardRule::default() }
}

#[test]
fn a_reward_is_told_from_its_accrual_to_its_clawback() {
    let paid = |line: Line| Line { reference: "SEPA-1".into(), ..by(line, "kim", "") };
    let lines = [
        by(line(0, 1, "accrued", 500), "rules", "earned"),
        line(1, -1, "accrued", 500),
        by(line(1, 1, "rejected", 200), "rules", "value_reduced"),
        by(line(1, 1, "accrued", 300), "rules", "earned"),
        line(2, -1, "accrued", 300),
        by(line(2, 1, "approved", 300), "timer", "due"),
        line(3, -1, "approved", 300),
        paid(line(3, 1, "issued", 300)),
    ];
    let told = said(&lines, &reached());
    assert_eq!(
        told,
        format!(
            "Rule \"order\" gives ann 500 minor units of EUR: accrued 2026-12-31T23:40:00Z, due 2026-12-31T23:41:00Z; \
             200 minor units of EUR rejected 2026-12-31T23:40:00Z, before it was paid (a part of what earned it was \
             taken back); approved 2026-12-31T23:40:00Z (its day had come); paid 2026-12-31T23:40:00Z under the \
             reference \"SEPA-1\" (by kim); so 300 minor units of EUR is issued now. It is reward {REWARD}."
        )
    );
    let back = [
        paid(line(4, -1, "issued", 300)),
        Line { reference: "SEPA-1".into(), ..by(line(4, 1, "clawed_back", 300), "eve", "fraud") },
    ];
    let told = said(&[&lines[..], &back].concat(), &reached());
    let end = "300 minor units of EUR clawed back 2026-12-31T23:40:00Z, after it was paid as \"SEPA-1\" (by eve: fraud)";
    assert!(told.contains(end) && !told.contains(" now."), "{told}");
}

#[test]
fn what_is_held_and_what_a_cap_forbids_says_why() {
    let flags = vec!["self_referral".to_owned(), "velocity".to_owned()];
    let found = "the referrer has a key of the lead; reward 5 of the day";
    let held = Line { flags, risk: 160, detail: found.into(), ..line(0, 1, "held", 500) };
    let told = said(std::slice::from_ref(&held), &reached());
    let why = "held for review since 2026-12-31T23:40:00Z for self_referral, velocity, weight 160 (the referrer has";
    assert!(told.contains(why), "{told}");
    let flags = vec!["bot_click".to_owned()];
    let looked_again = Line { flags, risk: 50, detail: "a bot clicked".into(), ..line(1, 1, "held", 500) };
    let lines = [line(0, 1, "accrued", 500), line(1, -1, "accrued", 500), by(looked_again, "timer", "risk")];
    let told = said(&lines, &reached());
    let why =
        "held for review 2026-12-31T23:40:00Z for bot_click, weight 50 (a bot clicked); so 500 minor units";
    assert!(told.contains(why), "{told}");
    let light = said(&[Line { state: "accrued".into(), ..held }], &reached());
    assert!(light.contains("with self_referral, velocity, weight 160, too light to hold"), "{light}");
    for (cap, expected) in [
        ("budget", "nothing: the budget is used up (it would have been 500)"),
        ("referrer_cap", "all that one referrer can have"),
        ("period_cap", "all that one period allows"),
    ] {
        let refused = Line { detail: "would have been 500".into(), ..line(0, 1, "rejected", 0) };
        let told = said(&[by(refused, "rules", cap)], &reached());
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn every_decision_without_effect_is_told() {
    for (outcome, expected) in [
        ("nothing_open", "nothing of it was open"),
        ("approved_already", "it was approved already"),
        ("issued_already", "it was paid already"),
        ("issued_so_already", "it was paid under this reference already"),
        ("not_approved", "it was not approved"),
        ("not_issued", "it was not paid"),
        ("no_reference", "it named no payment"),
        ("amount_changed", "another amount of it was open than was paid"),
    ] {
        let act = Line {
            step: "decision".into(),
            at: NOW,
            reward_id: REWARD,
            name: "issue".into(),
            decided_by: "kim".into(),
            reference: "SEPA-1".into(),
            value_minor: 500,
            detail: outcome.into(),
            ..Line::default()
        };
        let applied = Line { detail: "applied".into(), ..act.clone() };
        let told = said(&[line(0, 1, "accrued", 500), applied, act], &reached());
        let text =
            format!("kim's issue of 500 as \"SEPA-1\" 2026-12-31T23:40:00Z changed nothing: {expected};");
        assert!(told.contains(&text) && told.matches("kim's").count() == 1, "{told}");
    }
}

#[test]
fn a_rule_that_gave_nothing_says_why() {
    let share = rule("share", Amount::ValuePpm(1));
    let trial = RewardRule { qualification: "trial".into(), ..rule("trial", Amount::FixedMinor(5)) };
    let brought = terms(vec![share.clone(), trial, rule("order", Amount::FixedMinor(500))]);
    let other = Line { qualification_id: Uuid::from_u128(9), ..line(0, 1, "accrued", 500) };
    let told = said(&[brought.clone(), other.clone()], &reached());
    for expected in [
        "Its terms (version 4): \"share\" gives the referrer 0.0001% of the value in EUR",
        "Rule \"share\" gives nothing for it: its part of the value is less than a minor unit.",
        "Rule \"trial\" gives nothing for it: it is for another qualification.",
        "Rule \"order\" gives nothing for it: the lead has its one reward by it, for something else",
    ] {
        assert!(told.contains(expected), "no {expected:?} in {told}");
    }
    let dollars = Line { currency: "USD".into(), ..reached() };
    let told = said(&[brought.clone(), other], &dollars);
    assert!(told.contains("the value is in another currency"), "{told}");
    let nobodys = said(std::slice::from_ref(&brought), &Line { referrer: String::new(), ..reached() });
    assert!(
        nobodys.contains("Rule \"order\" gives nothing for it: nobody is credited with it."),
        "{nobodys}"
    );
    let given = said(&[brought, line(0, 1, "accrued", 500)], &reached());
    assert!(!given.contains("Rule \"order\" gives nothing"), "{given}");
    assert_eq!(said(&[], &reached()), "");
}

//! Properties of the ledger over random histories, cut into blocks at random.

mod again;
mod order;
mod replay;
mod spent;
mod terms;

use super::{
    book::{Book, QualificationChange, Terms},
    ledger::Cause,
    risk::Signals,
    usage::{Spent, Usage, day},
};
use crate::{
    position::{BlockRange, Partition},
    store::RewardUsage,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;
use whence_schemas::{
    event::{
        CapPeriod, RewardCap, RewardDecision, RewardParty, RewardRule, RewardTerms, RewardTier,
        reward_tier::Amount,
    },
    ids::{EventId, Incarnation},
    reward::{mistakes, reward_id},
    rows::{Evidence, Lc, QualificationRow, RewardRow, RewardState},
    time::UnixMs,
    topics::Stream,
};

const START: UnixMs = UnixMs(1_798_588_800_000);
const DAY_MS: i64 = 86_400_000;
const RULES: [&str; 3] = ["capped", "budgeted", "friend"];

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The qualification stands with this lead (none: unmatched), referrer and share of its value.
    Stands {
        qualification: u8,
        lead: u8,
        left: i64,
    },
    Gone {
        qualification: u8,
    },
    Decision {
        lead: u8,
        rule: usize,
        decision: &'static str,
        reference: &'static str,
    },
    Due {
        lead: u8,
        rule: usize,
        days: i64,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let decision = prop::sample::select(vec!["approve", "reject", "issue", "issue", "claw_back"]);
    let op = prop_oneof![
        5 => (0u8..8, 1u8..6, prop_oneof![3 => Just(100i64), 1 => 0i64..=100])
            .prop_map(|(qualification, lead, left)| Op::Stands { qualification, lead, left }),
        1 => (0u8..8).prop_map(|qualification| Op::Gone { qualification }),
        4 => (1u8..6, 0usize..3, decision, prop::sample::select(vec!["pay-1", "pay-2", ""]))
            .prop_map(|(lead, rule, decision, reference)| Op::Decision { lead, rule, decision, reference }),
        2 => (1u8..6, 0usize..3, 0i64..60).prop_map(|(lead, rule, days)| Op::Due { lead, rule, days }),
    ];
    prop::collection::vec(op, 1..60)
}

fn terms() -> Terms {
    let rule = |id: &str, tiers: Vec<(u32, Amount)>| RewardRule {
        id: id.into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: tiers.into_iter().map(|(from, amount)| RewardTier { from, amount: Some(amount) }).collect(),
        hold_days: 14,
        ..RewardRule::default()
    };
    let rules = vec![
        RewardRule {
            referrer_cap: Some(RewardCap { count: 3, amount_minor: 2500 }),
            period_cap: Some(RewardCap { count: 2, amount_minor: 0 }),
            period: CapPeriod::Month.into(),
            ..rule(RULES[0], vec![(0, Amount::FixedMinor(500)), (1, Amount::FixedMinor(900))])
        },
        RewardRule { budget_minor: 3000, ..rule(RULES[1], vec![(0, Amount::ValuePpm(123_456))]) },
        RewardRule {
            party: RewardParty::Referred.into(),
            qualification: "purchase".into(),
            ..rule(RULES[2], vec![(0, Amount::FixedMinor(1))])
        },
    ];
    let terms = RewardTerms { rules, risk: None };
    assert_eq!(mistakes(&terms), []);
    (terms, 7)
}

fn id(number: u8) -> EventId {
    EventId(Uuid::from_u128(u128::from(number)))
}

/// Qualification `number` with its lead's referrer: of two, so that credit moves between them, too.
fn row(number: u8, lead: u8, left: i64) -> QualificationRow {
    let paid = i64::from(number) * 1000 + 77;
    QualificationRow {
        person: 0,
        program: Lc("p".into()),
        id: id(number + 100),
        occurred_at: START.plus_ms(i64::from(number) * 9 * DAY_MS),
        received_at: START,
        name: Lc(if number.is_multiple_of(3) { "trial" } else { "purchase" }.into()),
        lead: String::new(),
        keys: Vec::new(),
        lead_id: id(lead).0,
        evidence: Evidence::Token,
        referrer: format!("r{}", lead % 2),
        link: String::new(),
        channel: Lc(String::new()),
        click_id: Uuid::nil(),
        value_minor: paid * left / 100,
        paid_minor: paid,
        currency: Lc("EUR".into()),
        condition: Lc(String::new()),
        threshold_minor: 0,
        threshold_currency: Lc(String::new()),
        within_days: 0,
        payments: vec![],
        reason: Lc(String::new()),
        source: Lc(String::new()),
        live: true,
        digest: 0,
        sign: 1,
        revision: 0,
        incarnation: Incarnation(Uuid::nil()),
        partition: 0,
        offset: 0,
    }
}

/// What the store would say of these lines.
fn usage(lines: &[RewardRow]) -> Usage {
    let of = |line: &RewardRow| RewardUsage {
        program: line.program.0.clone(),
        rule: line.rule.0.clone(),
        referrer: line.referrer.clone(),
        day: day(line.earned_at),
        count: i64::from(line.sign),
        amount_minor: i64::from(line.sign) * line.amount_minor,
    };
    let mut spent = Spent::default();
    spent.know(vec!["p".into()], Vec::new());
    spent.apply(lines);
    let open = lines.iter().filter(|line| line.state.is_open());
    Usage::new(open.map(of).collect(), &spent, &BTreeSet::from(["p".into()]))
}

fn apply(op: Op, offset: u64, range: &BlockRange, book: &mut Book) -> Option<&'static str> {
    let cause = |event| Cause { range, offset, event, received_at: START.plus_ms(offset as i64) };
    match op {
        Op::Stands { qualification, lead, left } => {
            let row = row(qualification, lead, left);
            let (now, earning, signals) = (Some(&row), Some(&row), Signals::default());
            book.qualifications(
                vec![QualificationChange { program: "p", id: row.id, now, earning, signals }],
                cause(row.id),
            );
            None
        }
        Op::Gone { qualification } => {
            let id = id(qualification + 100);
            let gone = QualificationChange {
                program: "p",
                id,
                now: None,
                earning: None,
                signals: Signals::default(),
            };
            book.qualifications(vec![gone], cause(id));
            None
        }
        Op::Decision { lead, rule, decision, reference } => {
            let reward = reward_id("p", id(lead), RULES[rule]);
            let decision = RewardDecision {
                decision: decision.into(),
                decided_by: "ann".into(),
                reason: "because".into(),
                reference: reference.into(),
                ..RewardDecision::default()
            };
            Some(book.decide("p", reward, &decision, cause(id(200))))
        }
        Op::Due { lead, rule, days } => {
            let reward = reward_id("p", id(lead), RULES[rule]);
            Some(book.due("p", reward, START.plus_ms(days * DAY_MS), &Signals::default(), cause(id(201))))
        }
    }
}

fn range() -> BlockRange {
    let partition = Partition { stream: Stream::Conversions, number: 0 };
    BlockRange { incarnation: Incarnation(Uuid::nil()), partition, first: 0, end: 1 }
}

fn all_terms() -> HashMap<(String, EventId), Terms> {
    (0..8).map(|number| (("p".to_owned(), id(number + 100)), terms())).collect()
}

/// The lines of a history whose blocks end where `cuts` say, and what came of each decision.
fn play(ops: &[Op], cuts: &[bool]) -> (Vec<RewardRow>, Vec<Option<&'static str>>) {
    let range = range();
    let (mut lines, mut outcomes): (Vec<RewardRow>, _) = (Vec::new(), Vec::new());
    let all_terms = all_terms();
    let new_book =
        |lines: &[RewardRow]| Book::new(lines.to_vec(), usage(lines)).with_terms(all_terms.clone());
    let mut book = new_book(&lines);
    for (at, op) in ops.iter().enumerate() {
        outcomes.push(apply(*op, at as u64, &range, &mut book));
        if cuts.get(at).copied().unwrap_or(false) {
            lines.extend(book.into_lines());
            book = new_book(&lines);
        }
    }
    lines.extend(book.into_lines());
    (lines, outcomes)
}

#[derive(Default)]
struct Sums {
    by_state: BTreeMap<RewardState, i64>,
    open_lines: i64,
}

/// What must hold after every record.
fn check(lines: &[RewardRow]) -> Result<(), TestCaseError> {
    let mut rewards: BTreeMap<(EventId, &str), Sums> = BTreeMap::new();
    let (mut budget, mut of_referrer) = (0, BTreeMap::<(&str, i64), (i64, i64)>::new());
    for line in lines {
        let reward = (line.lead_id, line.rule.0.as_str());
        let (sign, amount) = (i64::from(line.sign), i64::from(line.sign) * line.amount_minor);
        prop_assert!(line.amount_minor >= 0);
        let sums = rewards.entry(reward).or_default();
        *sums.by_state.entry(line.state).or_default() += amount;
        if line.state.is_open() {
            sums.open_lines += sign;
            if line.rule.0 == RULES[1] {
                budget += amount;
            }
            if line.rule.0 == RULES[0] {
                let sum = of_referrer.entry((&line.referrer, line.earned_at.0)).or_default();
                *sum = (sum.0 + sign, sum.1 + amount);
            }
        }
    }
    prop_assert!(budget <= 3000, "budget {budget}");
    for referrer in ["r0", "r1"] {
        let of = of_referrer.iter().filter(|((name, _), _)| *name == referrer);
        let (count, amount) = of.fold((0, 0), |sum, (_, of_day)| (sum.0 + of_day.0, sum.1 + of_day.1));
        prop_assert!(count <= 3 && amount <= 2500, "{referrer}: {count}, {amount}");
    }
    for (reward, sums) in rewards {
        prop_assert!((0..=1).contains(&sums.open_lines), "{reward:?} is open {} times", sums.open_lines);
        for (state, sum) in sums.by_state {
            prop_assert!(sum >= 0, "{reward:?} has {sum} {state:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn caps_hold_and_no_sum_is_negative_after_any_record(ops in ops()) {
        let (lines, _) = play(&ops, &[]);
        let mut ends: Vec<usize> = (1..lines.len()).filter(|at| lines[at - 1].offset != lines[*at].offset).collect();
        ends.push(lines.len());
        for end in ends {
            check(&lines[..end])?;
        }
    }

    #[test]
    fn the_cut_between_blocks_changes_nothing(ops in ops(), cuts in prop::collection::vec(any::<bool>(), 60)) {
        prop_assert_eq!(play(&ops, &cuts), play(&ops, &[]));
    }

    #[test]
    fn a_prefix_of_the_records_gives_a_prefix_of_the_lines(ops in ops(), at in 0usize..60) {
        let (lines, _) = play(&ops, &[]);
        let (first, _) = play(&ops[..at.min(ops.len())], &[]);
        prop_assert_eq!(&lines[..first.len()], first);
    }

    #[test]
    fn refunds_after_the_payment_claw_back_in_steps_and_never_more_than_was_paid(
        lefts in prop::collection::vec(0i64..=100, 1..6),
    ) {
        let mut ops = vec![
            Op::Stands { qualification: 5, lead: 1, left: 100 },
            Op::Due { lead: 1, rule: 0, days: 60 },
            Op::Decision { lead: 1, rule: 0, decision: "issue", reference: "pay-1" },
            Op::Decision { lead: 1, rule: 0, decision: "issue", reference: "pay-1" },
        ];
        ops.extend(lefts.iter().map(|left| Op::Stands { qualification: 5, lead: 1, left: *left }));
        ops.extend([Op::Gone { qualification: 5 }, Op::Gone { qualification: 5 }]);
        let (lines, outcomes) = play(&ops, &[]);
        prop_assert_eq!(outcomes[2..4].to_vec(), [Some("applied"), Some("issued_so_already")]);
        let mine = lines.iter().filter(|line| line.rule.0 == RULES[0]);
        let clawed: Vec<_> = mine.filter(|line| line.state == RewardState::ClawedBack).collect();
        let falls = |at: &usize| lefts[..*at].iter().all(|before| *before > lefts[*at]) && lefts[*at] < 100;
        let steps = (0..lefts.len()).filter(falls).count();
        prop_assert!(clawed.len() <= steps + 1);
        prop_assert_eq!(clawed.iter().map(|line| line.amount_minor).sum::<i64>(), 500);
        if lefts.iter().all(|left| *left == 100) {
            prop_assert_eq!(clawed.len(), 1, "one refund, one clawback");
        }
    }
}

#[test]
fn credit_that_moves_takes_the_reward_along_and_back() {
    let stands = |lead| Op::Stands { qualification: 4, lead, left: 100 };
    let (lines, _) = play(&[stands(1), stands(2), stands(1)], &[]);
    let open = |referrer: &str| -> i64 {
        let mine = lines.iter().filter(|line| line.referrer == referrer && line.state.is_open());
        mine.map(|line| i64::from(line.sign) * line.amount_minor).sum()
    };
    assert_eq!(open("r0"), 0);
    assert_eq!(open("r1"), 500 + 503 + 1, "fixed, 12.3456% of 40.77, fixed");
}

#[test]
fn who_did_not_pay_cannot_claw_back_and_who_paid_cannot_reject() {
    let decide = |decision, reference| Op::Decision { lead: 1, rule: 0, decision, reference };
    let ops = [
        decide("approve", ""),
        Op::Stands { qualification: 5, lead: 1, left: 100 },
        decide("claw_back", ""),
        decide("issue", "pay-1"),
        Op::Due { lead: 1, rule: 0, days: 58 },
        Op::Due { lead: 1, rule: 0, days: 59 },
        decide("issue", ""),
        decide("issue", "pay-1"),
        decide("issue", "pay-2"),
        decide("reject", ""),
        decide("claw_back", ""),
        decide("approve", ""),
    ];
    let (_, outcomes) = play(&ops, &[]);
    let wanted = [
        "unknown_reward",
        "",
        "not_issued",
        "not_approved",
        "not_due",
        "applied",
        "no_reference",
        "applied",
        "issued_already",
        "issued_already",
        "applied",
        "nothing_open",
    ];
    assert_eq!(outcomes.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>(), wanted);
}

#[test]
fn what_was_paid_must_be_what_is_open() {
    let range = range();
    let mut book = Book::new(Vec::new(), Usage::default()).with_terms(all_terms());
    let mut offset = 0;
    let mut stand = |book: &mut Book, left| {
        offset += 1;
        apply(Op::Stands { qualification: 5, lead: 1, left }, offset, &range, book);
        apply(Op::Due { lead: 1, rule: 0, days: 60 }, offset, &range, book)
    };
    assert_eq!(stand(&mut book, 100), Some("applied"));
    stand(&mut book, 50);
    let reward = reward_id("p", id(1), RULES[0]);
    let mut issue = |paid_minor| {
        let (decision, reference) = ("issue".to_owned(), "pay-1".to_owned());
        let decision = RewardDecision { decision, reference, paid_minor, ..RewardDecision::default() };
        let cause = Cause { range: &range, offset: 8, event: id(200), received_at: START };
        book.decide("p", reward, &decision, cause)
    };
    assert_eq!([issue(500), issue(250), issue(249)], ["amount_changed", "amount_changed", "applied"]);
    assert_eq!(issue(500), "issued_so_already", "the payment was taken before");
}

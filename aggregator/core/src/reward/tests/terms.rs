//! Terms that bind: tiers, caps of a period, and a pace beside the referrer's own past.

use super::*;
use whence_schemas::event::RiskPolicy;

fn rule(tiers: &[(u32, i64)]) -> RewardRule {
    let tier =
        |(from, minor): &(u32, i64)| RewardTier { from: *from, amount: Some(Amount::FixedMinor(*minor)) };
    RewardRule {
        id: RULES[0].into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: tiers.iter().map(tier).collect(),
        ..RewardRule::default()
    }
}

/// The lines when referrers earn a rule with a new lead each, on these days after `START` (2026-12-30): the same in
/// one block as in a block each.
fn earned(rule: RewardRule, risk: Option<RiskPolicy>, by: &[(&str, i64)]) -> Vec<RewardRow> {
    let terms = RewardTerms { rules: vec![rule], risk };
    assert_eq!(mistakes(&terms), []);
    let of = |((referrer, days), number): (&(&str, i64), u8)| QualificationRow {
        referrer: (*referrer).into(),
        occurred_at: START.plus_ms(days * DAY_MS),
        ..row(number, number, 100)
    };
    let rows: Vec<QualificationRow> = by.iter().zip(1u8..).map(of).collect();
    let all_terms: HashMap<_, Terms> =
        rows.iter().map(|row| (("p".to_owned(), row.id), (terms.clone(), 7))).collect();
    let range = range();
    let in_blocks_of = |size| {
        let mut lines: Vec<RewardRow> = Vec::new();
        for block in rows.chunks(size) {
            let mut book = Book::new(lines.clone(), usage(&lines)).with_terms(all_terms.clone());
            for row in block {
                let (now, earning, signals) = (Some(row), Some(row), Signals::default());
                let cause = Cause { range: &range, offset: 0, event: row.id, received_at: START };
                book.qualifications(
                    vec![QualificationChange { program: "p", id: row.id, now, earning, signals }],
                    cause,
                );
            }
            lines.extend(book.into_lines());
        }
        lines
    };
    let lines = in_blocks_of(1);
    assert_eq!(lines, in_blocks_of(rows.len()));
    assert_eq!(lines.len(), by.len(), "one line each");
    lines
}

#[test]
fn a_tier_begins_at_the_referrers_own_count() {
    let by = ["r0", "r0", "r1", "r0", "r1", "r0", "r1"].map(|referrer| (referrer, 0));
    let lines = earned(rule(&[(0, 500), (2, 900)]), None, &by);
    let given: Vec<_> = lines.iter().map(|line| (line.referrer.as_str(), line.amount_minor)).collect();
    let wanted = [("r0", 500), ("r0", 500), ("r1", 500), ("r0", 900), ("r1", 500), ("r0", 900), ("r1", 900)];
    assert_eq!(given, wanted);
}

/// What comes of rewards of 500 on these days, of which a referrer may have two a period.
fn two_a(period: CapPeriod, days: &[i64]) -> Vec<(String, i64, String)> {
    let cap = RewardCap { count: 2, amount_minor: 0 };
    let rule = RewardRule { period_cap: Some(cap), period: period.into(), ..rule(&[(0, 500)]) };
    let lines = earned(rule, None, &days.iter().map(|day| ("r0", *day)).collect::<Vec<_>>());
    lines.into_iter().map(|line| (line.reason, line.amount_minor, line.evidence)).collect()
}

fn paid() -> (String, i64, String) {
    ("earned".into(), 500, String::new())
}

fn refused() -> (String, i64, String) {
    ("period_cap".into(), 0, "would have been 500".into())
}

#[test]
fn the_third_of_a_day_is_refused_and_the_next_day_pays_again() {
    let wanted = [paid(), paid(), refused(), paid(), paid(), refused(), refused()];
    assert_eq!(
        two_a(CapPeriod::Day, &[0, 0, 0, 1, 1, 1, 0]),
        wanted,
        "the last one is late and of the first day"
    );
}

#[test]
fn the_third_of_a_month_is_refused_and_the_next_month_pays_again() {
    // December 30, 31 and 31; January 1, 31 and 31; February 1.
    let wanted = [paid(), paid(), refused(), paid(), paid(), refused(), paid()];
    assert_eq!(two_a(CapPeriod::Month, &[0, 1, 1, 2, 32, 32, 33]), wanted);
}

#[test]
fn a_pace_is_unusual_only_beside_the_referrers_own_past() {
    let policy = RiskPolicy { velocity: 60, velocity_rewards: 3, ..RiskPolicy::default() };
    // Two on each of 28 days; then five on the next day, by one referrer with that history and by one without.
    let past = (0..28).flat_map(|day| [("old", day); 2]);
    let today = [("old", 28); 5].into_iter().chain([("new", 28); 5]);
    let by: Vec<_> = past.chain(today).collect();
    let lines = earned(rule(&[(0, 500)]), Some(policy), &by);
    let flagged = |lines: &[RewardRow]| lines.iter().map(|line| line.flags.len()).collect::<Vec<_>>();
    let (past, today) = lines.split_at(56);
    assert_eq!(flagged(past), [0; 56]);
    assert_eq!(flagged(&today[..5]), [0, 0, 0, 0, 1], "twice its average is usual, more is not");
    assert_eq!(today[4].flags, [Lc("velocity".into())]);
    assert_eq!(today[4].evidence, "reward 5 of the day, 56 in the 28 days before");
    assert_eq!(flagged(&today[5..]), [0, 0, 0, 1, 1], "without a past more than `velocity_rewards` is");
    // The past ends 28 days ago.
    let by: Vec<_> = [("old", 0); 3].into_iter().chain([("old", 29); 4]).collect();
    let lines = earned(rule(&[(0, 500)]), Some(policy), &by);
    assert_eq!(lines[6].evidence, "reward 4 of the day, 0 in the 28 days before");
}

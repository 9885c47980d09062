//! How much of caps and budgets is used. Only open rewards count: what was taken back can be granted again.

use crate::store::{RewardSum, RewardUsage};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use whence_schemas::{
    event::{CapPeriod, RewardCap, RewardRule},
    rows::{QualificationRow, RewardRow},
    time::UnixMs,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const BUDGET: &str = "budget";
const REFERRER_CAP: &str = "referrer_cap";
const PERIOD_CAP: &str = "period_cap";
/// `reason` of what is refused.
pub(super) const CAPS: [&str; 3] = [BUDGET, REFERRER_CAP, PERIOD_CAP];

/// Rewards and their amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub count: i64,
    pub amount_minor: i64,
}

impl Sum {
    fn add(&mut self, count: i64, amount_minor: i64) {
        self.count += count;
        self.amount_minor += amount_minor;
    }

    /// Whether one more reward of this amount keeps within the cap.
    fn has_room(self, amount_minor: i64, cap: RewardCap) -> bool {
        (cap.count == 0 || self.count < i64::from(cap.count))
            && (cap.amount_minor == 0 || self.amount_minor + amount_minor <= cap.amount_minor)
    }
}

/// A referrer's rewards by one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// On the day of the qualification, with this one.
    pub today: i64,
    /// On the days before.
    pub before: i64,
}

impl Pace {
    /// The days that a day is compared with.
    pub const DAYS_BEFORE: i64 = 28;

    /// More than twice the average of the days before.
    pub fn is_unusual(self) -> bool {
        self.today * Self::DAYS_BEFORE > 2 * self.before
    }
}

/// What stands open by rule, of programs with budgets: kept between blocks by the owner of their partition, who alone
/// writes their ledger, since to sum it up is to read all of it. As many sums as these programs ever had rules.
#[derive(Debug, Default)]
pub(crate) struct Spent(HashMap<String, HashMap<String, Sum>>);

impl Spent {
    /// Whether nothing was read of this program yet.
    pub(super) fn lacks(&self, program: &str) -> bool {
        !self.0.contains_key(program)
    }

    /// Takes what these programs have spent before the block.
    pub(super) fn know(&mut self, programs: Vec<String>, stored: Vec<RewardSum>) {
        self.0.extend(programs.into_iter().map(|program| (program, HashMap::new())));
        for RewardSum { program, rule, count, amount_minor } in stored {
            if let Some(rules) = self.0.get_mut(&program) {
                rules.entry(rule).or_default().add(count, amount_minor);
            }
        }
    }

    /// Counts the lines that a block adds to the ledger.
    pub(super) fn apply(&mut self, lines: &[RewardRow]) {
        for line in lines.iter().filter(|line| line.state.is_open()) {
            if let Some(rules) = self.0.get_mut(&line.program.0) {
                let (count, amount) = counted(line);
                rules.entry(line.rule.0.clone()).or_default().add(count, amount);
            }
        }
    }
}

/// How many rewards and how much a line adds.
fn counted(line: &RewardRow) -> (i64, i64) {
    (i64::from(line.sign), i64::from(line.sign) * line.amount_minor)
}

/// Sums of open rewards, live ones of course.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// By program and rule, of the programs with budgets.
    rules: HashMap<(String, String), Sum>,
    /// By program, rule and referrer, and by the day of the qualification.
    referrers: HashMap<(String, String, String), BTreeMap<i64, Sum>>,
}

impl Usage {
    /// From what was stored before the block, and what the programs of it with budgets have spent.
    pub fn new(stored: Vec<RewardUsage>, spent: &Spent, programs: &BTreeSet<String>) -> Usage {
        let mut usage = Usage::default();
        for RewardUsage { program, rule, referrer, day, count, amount_minor } in stored {
            let days = usage.referrers.entry((program, rule, referrer)).or_default();
            days.entry(day).or_default().add(count, amount_minor);
        }
        for program in programs {
            let rules = spent.0.get(program).into_iter().flatten();
            usage.rules.extend(rules.map(|(rule, sum)| ((program.clone(), rule.clone()), *sum)));
        }
        usage
    }

    /// Counts a line of the ledger.
    pub fn apply(&mut self, line: &RewardRow) {
        if !line.state.is_open() {
            return;
        }
        let (count, amount) = counted(line);
        self.count((&line.program.0, &line.rule.0, &line.referrer), line.earned_at, count, amount);
    }

    /// Counts rewards of a program, rule and referrer.
    pub fn count(&mut self, of: (&str, &str, &str), earned_at: UnixMs, count: i64, amount_minor: i64) {
        let (program, rule) = (of.0.to_owned(), of.1.to_owned());
        self.rules.entry((program.clone(), rule.clone())).or_default().add(count, amount_minor);
        let days = self.referrers.entry((program, rule, of.2.to_owned())).or_default();
        days.entry(day(earned_at)).or_default().add(count, amount_minor);
    }

    /// Of one referrer by one rule, over all time.
    pub fn of_referrer(&self, program: &str, rule: &str, referrer: &str) -> Sum {
        self.of_days(program, rule, referrer, i64::MIN..=i64::MAX)
    }

    /// Of one referrer by one rule, on these days since the epoch.
    pub fn of_days(
        &self,
        program: &str,
        rule: &str,
        referrer: &str,
        days: std::ops::RangeInclusive<i64>,
    ) -> Sum {
        let mut sum = Sum::default();
        if let Some(stored) = self.referrers.get(&(program.into(), rule.into(), referrer.into())) {
            stored.range(days).for_each(|(_, of_day)| sum.add(of_day.count, of_day.amount_minor));
        }
        sum
    }

    /// How fast this qualification's rewards come to its referrer.
    pub fn pace(&self, program: &str, rule: &str, now: &QualificationRow) -> Pace {
        let today = day(now.occurred_at);
        let of = |days| self.of_days(program, rule, &now.referrer, days).count;
        Pace { today: of(today..=today) + 1, before: of(today - Pace::DAYS_BEFORE..=today - 1) }
    }

    /// What forbids one more reward of this amount, if anything does.
    pub fn refusal(
        &self,
        program: &str,
        rule: &RewardRule,
        referrer: &str,
        earned_at: UnixMs,
        amount_minor: i64,
    ) -> Option<&'static str> {
        let of_rule = self.rules.get(&(program.into(), rule.id.clone())).copied().unwrap_or_default();
        let of_referrer = self.of_referrer(program, &rule.id, referrer);
        let of_period = self.of_days(program, &rule.id, referrer, period(earned_at, rule.period()));
        let budget = RewardCap { count: 0, amount_minor: rule.budget_minor };
        let caps = [
            (BUDGET, of_rule, budget),
            (REFERRER_CAP, of_referrer, rule.referrer_cap.unwrap_or_default()),
            (PERIOD_CAP, of_period, rule.period_cap.unwrap_or_default()),
        ];
        let exceeded = caps.into_iter().find(|(_, sum, cap)| !sum.has_room(amount_minor, *cap));
        exceeded.map(|(name, _, _)| name)
    }
}

/// The day since the epoch, in UTC.
pub(super) fn day(at: UnixMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// The days of the period that holds this moment.
fn period(at: UnixMs, period: CapPeriod) -> std::ops::RangeInclusive<i64> {
    let day = day(at);
    match period {
        CapPeriod::Day | CapPeriod::Unspecified => day..=day,
        CapPeriod::Month => {
            let of_month = day_of_month(day);
            let first = day - of_month;
            // The first of the next month lies within 31 days of this month's first.
            let next = (28..=31).find(|length| day_of_month(first + length) == 0).unwrap_or(31);
            first..=first + next - 1
        }
    }
}

/// 0 on the first of a month. Days to civil dates in the proleptic Gregorian calendar, as in Howard Hinnant's
/// "chrono-Compatible Low-Level Date Algorithms".
fn day_of_month(day: i64) -> i64 {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(iso_days: &[i64], of: CapPeriod) -> Vec<(i64, i64)> {
        let range = |day: &i64| period(UnixMs(day * DAY_MS + 1), of);
        iso_days.iter().map(range).map(|days| (*days.start(), *days.end())).collect()
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        // 1970-01-01, 1970-01-31, 1972-02-29, 2000-02-29, 2100-02-28, 2026-12-31
        let some = [0, 30, 789, 11_016, 47_540, 20_818];
        let wanted = [(0, 30), (0, 30), (761, 789), (10_988, 11_016), (47_513, 47_540), (20_788, 20_818)];
        assert_eq!(days(&some, CapPeriod::Month), wanted);
        assert_eq!(days(&[789], CapPeriod::Day), [(789, 789)]);
    }

    #[test]
    fn months_follow_each_other_without_a_gap() {
        let mut day = 0;
        for _ in 0..12 * 330 {
            let month = period(UnixMs(day * DAY_MS), CapPeriod::Month);
            assert_eq!(*month.start(), day);
            assert!((27..31).contains(&(month.end() - month.start())));
            day = month.end() + 1;
        }
        assert_eq!(day, 120_530, "2300-01-01");
    }
}

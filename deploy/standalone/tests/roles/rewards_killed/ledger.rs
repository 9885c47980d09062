//! The ledger as one question finds it, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use super::group::PARTITIONS;
use super::orders::{
    BUDGET_MINOR, FIXED_MINOR, MONTH_CAP_MINOR, MONTHLY_MINOR, MONTHS, PROGRAMS, Person, REFERRER_CAP,
    REFERRERS, SHARE_MINOR, WELCOME_MINOR, referrer,
};
use crate::consistent::CONSISTENT;
use crate::support::{ask, count, until};

/// The lines of a reward in one state and of one referrer, summed.
const SQL: &str = "SELECT program, rule, referrer, lead_id, reward_id, formatDateTime(earned_at, '%Y-%m') AS month, \
    toString(state) AS state, toUInt64(count()) AS lines, sum(toInt64(sign)) AS n, sum(sign * amount_minor) AS minor, \
    arrayStringConcat(groupUniqArray(reason), ' ') AS reasons FROM rewards GROUP BY ALL FORMAT TSV";

struct Row {
    program: String,
    rule: String,
    referrer: String,
    lead: String,
    reward: String,
    month: String,
    state: String,
    rewards: i64,
    minor: i64,
    reasons: String,
}

impl Row {
    fn is_open(&self) -> bool {
        ["accrued", "held", "approved", "issued"].contains(&self.state.as_str())
    }
}

/// Of some rewards, how many and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rewards: i64,
    minor: i64,
}

/// All of the ledger at one moment.
pub struct Ledger {
    rows: Vec<Row>,
    pub lines: u64,
}

impl Ledger {
    /// `None` where the engine does not answer.
    pub fn read(engine: &str) -> Option<Self> {
        let answer = ask(engine, "POST", "/?database=whence", &[], SQL);
        let mut ledger = Self { rows: Vec::new(), lines: 0 };
        for line in answer.body.lines() {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let [program, rule, referrer, lead, reward, month, state, lines, rewards, minor, reasons] =
                <[String; 11]>::try_from(fields).unwrap_or_else(|_| panic!("{}", answer.body));
            let [rewards, minor] = [rewards, minor].map(|number| number.parse().unwrap());
            ledger.lines += lines.parse::<u64>().unwrap();
            ledger.rows.push(Row {
                program,
                rule,
                referrer,
                lead,
                reward,
                month,
                state,
                rewards,
                minor,
                reasons,
            });
        }
        (answer.status == 200).then_some(ledger)
    }

    /// What is open, by what `of` says of a row.
    fn open<'a, K: Ord>(&'a self, of: impl Fn(&'a Row) -> K) -> BTreeMap<K, Sum> {
        sums(self.rows.iter().filter(|row| row.is_open()), of)
    }

    /// What is open by a rule.
    fn open_by<'a, K: Ord>(&'a self, rule: &str, of: impl Fn(&'a Row) -> K) -> BTreeMap<K, Sum> {
        sums(self.rows.iter().filter(|row| row.rule == rule && row.is_open()), of)
    }

    /// What must hold at any moment.
    pub fn check_bounds(&self) {
        let none = |what: &str, found: Vec<String>| assert!(found.is_empty(), "{what}: {found:?}");
        let twice = self.open(|row| (&row.program, &row.lead, &row.rule));
        none("more than one reward", beyond(&twice, |sum| sum.rewards > 1));
        let states = sums(&self.rows, |row| (&row.program, &row.reward, &row.state));
        none("more is taken out than was in", beyond(&states, |sum| sum.rewards < 0 || sum.minor < 0));
        let fixed = self.open_by("fixed", |row| (&row.program, &row.referrer));
        none("beyond the referrer's cap", beyond(&fixed, |sum| sum.rewards > REFERRER_CAP));
        let monthly = self.open_by("monthly", |row| (&row.program, &row.referrer, &row.month));
        none("beyond the month's cap", beyond(&monthly, |sum| sum.minor > MONTH_CAP_MINOR));
        let share = self.open_by("share", |row| &row.program);
        none("beyond the budget", beyond(&share, |sum| sum.minor > BUDGET_MINOR));
    }

    /// The one reward of each rule that a person must have, may have, or must not have.
    fn check_person(&self, person: Person) {
        let leads = person.leads();
        let theirs =
            || self.rows.iter().filter(|row| row.program == person.program && leads.contains(&row.lead));
        let open = || theirs().filter(|row| row.is_open() && row.rewards != 0);
        let credited: BTreeSet<_> = open().map(|row| (&row.lead, &row.referrer)).collect();
        assert!(credited.len() <= 1, "{person:?} has brought something to several: {credited:?}");
        assert!(credited.iter().all(|(_, who)| person.referrers().contains(who)), "{person:?}: {credited:?}");
        let by_rule = sums(open(), |row| row.rule.as_str());
        let rules = [
            ("fixed", FIXED_MINOR, "referrer_cap"),
            ("monthly", MONTHLY_MINOR, "period_cap"),
            ("share", person.share(), "budget"),
            ("welcome", WELCOME_MINOR, ""),
        ];
        for (rule, minor, bound) in rules {
            let is_refused =
                theirs().any(|row| row.rule == rule && row.reasons.split(' ').any(|why| why == bound));
            match by_rule.get(rule) {
                Some(sum) => {
                    assert_eq!(*sum, Sum { rewards: 1, minor }, "{rule} of {person:?}");
                    assert!(!person.is_refunded(), "{rule} of {person:?}");
                }
                None => assert!(person.is_refunded() || is_refused, "{person:?} lacks {rule}"),
            }
        }
    }

    /// Who of them has what does not depend on the order; how much there is, does not: every bound is reached, as far
    /// as whole rewards fit.
    fn check_sums(&self, persons: &[Person]) {
        for program in PROGRAMS {
            let fixed = self.open_by("fixed", |row| (row.program.as_str(), row.referrer.clone()));
            let monthly = self.open_by("monthly", |row| (&*row.program, row.referrer.clone(), &*row.month));
            for referrer in (0..REFERRERS).map(referrer) {
                let all = Sum { rewards: REFERRER_CAP, minor: REFERRER_CAP * FIXED_MINOR };
                assert_eq!(fixed[&(program, referrer.clone())], all, "{program} {referrer}");
                let rewards = MONTH_CAP_MINOR / MONTHLY_MINOR;
                let all = Sum { rewards, minor: rewards * MONTHLY_MINOR };
                for month in MONTHS {
                    assert_eq!(
                        monthly[&(program, referrer.clone(), month)],
                        all,
                        "{program} {referrer} {month}"
                    );
                }
            }
            let share = self.open_by("share", |row| row.program.as_str())[program];
            assert_eq!(share.minor, BUDGET_MINOR / SHARE_MINOR * SHARE_MINOR, "{program}");
            let stand = persons.iter().filter(|person| person.program == program && !person.is_refunded());
            let rewards = stand.count() as i64;
            let welcome = self.open_by("welcome", |row| row.program.as_str())[program];
            assert_eq!(welcome, Sum { rewards, minor: rewards * WELCOME_MINOR }, "{program}");
        }
    }
}

fn sums<'a, K: Ord>(rows: impl IntoIterator<Item = &'a Row>, of: impl Fn(&'a Row) -> K) -> BTreeMap<K, Sum> {
    let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(of(row)).or_default();
        sum.rewards += row.rewards;
        sum.minor += row.minor;
    }
    sums
}

fn beyond<K: std::fmt::Debug>(sums: &BTreeMap<K, Sum>, is_beyond: impl Fn(&Sum) -> bool) -> Vec<String> {
    sums.iter().filter(|(_, sum)| is_beyond(sum)).map(|found| format!("{found:?}")).collect()
}

/// What must hold once all is consumed.
pub fn check_end(engine: &str, persons: &[Person]) {
    let are = |sql: &str, wanted: u64| {
        until(&format!("{sql} gives {wanted}"), || (count(engine, sql)? == wanted).then_some(()));
    };
    for (what, sql) in CONSISTENT {
        until(what, || (count(engine, sql)? == 0).then_some(()));
    }
    are("SELECT uniqExact(partition) FROM reconciliation WHERE stream = 'conversions'", PARTITIONS as u64);
    are("SELECT count() FROM rejects WHERE kind != 'timer' AND reason != 'duplicate'", 0);
    are("SELECT count() FROM unmatched WHERE kind != 'lead'", 0);
    let twice = persons.iter().filter(|person| person.is_lead_twice()).count() as u64;
    are("SELECT count() FROM unmatched WHERE reason = 'existing_customer'", twice);
    are("SELECT count() FROM unmatched", twice);
    let ledger = Ledger::read(engine).unwrap();
    ledger.check_bounds();
    persons.iter().for_each(|person| ledger.check_person(*person));
    let leads: BTreeSet<String> = persons.iter().flat_map(|person| person.leads()).collect();
    assert!(ledger.rows.iter().all(|row| leads.contains(&row.lead)), "a reward of nobody");
    ledger.check_sums(persons);
}

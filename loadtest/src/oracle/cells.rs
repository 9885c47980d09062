//! Counts by program, referrer, channel, time, verdict and currency: what rollups are made of.

use super::{
    names::{Name, Names},
    stored::{Counts, FunnelRow, RollupRow},
};
use std::collections::{BTreeMap, HashMap};

/// What a count is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    /// Program.
    pub program: Name,
    /// Referrer, empty for nobody.
    pub referrer: Name,
    /// Channel, empty for none.
    pub channel: Name,
    /// Quarters of an hour or days since the epoch.
    pub period: i64,
    /// The clicks' verdict, empty for conversions.
    pub verdict: Name,
    /// The values' currency, empty for what has no value.
    pub currency: Name,
}

impl Counts {
    /// A click with this verdict.
    #[must_use]
    pub fn click(is_human: bool) -> Counts {
        Counts { clicks: i64::from(is_human), other_clicks: i64::from(!is_human), ..Counts::default() }
    }

    /// As many times this.
    #[must_use]
    pub fn times(self, count: i64) -> Counts {
        self.map(|own| own * count)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Counts::default()
    }

    fn map(self, change: impl Fn(i64) -> i64) -> Counts {
        Counts {
            clicks: change(self.clicks),
            other_clicks: change(self.other_clicks),
            leads: change(self.leads),
            leads_by_click: change(self.leads_by_click),
            leads_by_code: change(self.leads_by_code),
            qualified: change(self.qualified),
            lead_events: change(self.lead_events),
            qualification_events: change(self.qualification_events),
            value_minor: change(self.value_minor),
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.clicks += other.clicks;
        self.other_clicks += other.other_clicks;
        self.leads += other.leads;
        self.leads_by_click += other.leads_by_click;
        self.leads_by_code += other.leads_by_code;
        self.qualified += other.qualified;
        self.lead_events += other.lead_events;
        self.qualification_events += other.qualification_events;
        self.value_minor += other.value_minor;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} + {} clicks, {} leads ({} by click, {} by code), {} qualified, {} lead events, {} qualifications worth {}",
            self.clicks,
            self.other_clicks,
            self.leads,
            self.leads_by_click,
            self.leads_by_code,
            self.qualified,
            self.lead_events,
            self.qualification_events,
            self.value_minor
        )
    }
}

/// Milliseconds of a quarter of an hour.
pub const QUARTER_MS: i64 = 15 * 60 * 1000;
/// Of them in a day.
pub const QUARTERS_OF_DAY: i64 = 96;

/// Counts that have not all been added yet.
#[derive(Clone, Debug, Default)]
pub struct Cells(HashMap<CellKey, Counts>);

impl Cells {
    /// Adds to the count of `key`.
    pub fn add(&mut self, key: CellKey, counts: Counts) {
        *self.0.entry(key).or_default() += counts;
    }

    /// The same by day.
    #[must_use]
    pub fn daily(&self) -> Cells {
        let mut daily = Cells::default();
        for (key, counts) in &self.0 {
            daily.add(CellKey { period: key.period.div_euclid(QUARTERS_OF_DAY), ..*key }, *counts);
        }
        daily
    }

    /// Rollup rows, added up.
    #[must_use]
    pub fn of_rollup(rows: &[RollupRow]) -> Cells {
        let mut cells = Cells::default();
        for row in rows {
            let RollupRow { program, referrer, channel, period, verdict, currency, counts } = *row;
            cells.add(CellKey { program, referrer, channel, period, verdict, currency }, counts);
        }
        cells
    }

    /// Every cell in which the two differ, with both counts, in order.
    #[must_use]
    pub fn unequal(&self, other: &Cells) -> BTreeMap<CellKey, (Counts, Counts)> {
        let count = |cells: &Cells, key: &CellKey| cells.0.get(key).copied().unwrap_or_default();
        let keys = self.0.keys().chain(other.0.keys());
        keys.map(|key| (*key, (count(self, key), count(other, key))))
            .filter(|(_, (own, others))| own != others)
            .collect()
    }

    /// The funnel by program, referrer and channel.
    #[must_use]
    pub fn funnel(&self) -> BTreeMap<(Name, Name, Name), FunnelRow> {
        let mut funnel = BTreeMap::new();
        for (key, counts) in &self.0 {
            let CellKey { program, referrer, channel, .. } = *key;
            let empty = FunnelRow { program, referrer, channel, counts: Counts::default() };
            funnel.entry((program, referrer, channel)).or_insert(empty).counts += *counts;
        }
        funnel
    }
}

impl CellKey {
    /// The key in words; `period_ms` is the period's length.
    #[must_use]
    pub fn describe(&self, names: &Names, period_ms: i64) -> String {
        let words: Vec<_> = [self.program, self.referrer, self.channel, self.verdict, self.currency]
            .iter()
            .map(|name| names.text(*name))
            .map(|text| if text.is_empty() { "-" } else { text })
            .collect();
        format!("{} from unix second {}", words.join(" × "), self.period * period_ms / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_differ_are_found_from_both_sides_and_zeros_are_nothing() {
        let mut names = Names::default();
        let mut key = |channel| CellKey {
            program: names.of("p"),
            referrer: names.of("r"),
            channel: names.of(channel),
            period: -1,
            verdict: Name::EMPTY,
            currency: Name::EMPTY,
        };
        let (a, b, c) = (key("a"), key("b"), key("c"));
        let one = Counts { leads: 1, ..Counts::default() };
        let (mut own, mut other) = (Cells::default(), Cells::default());
        own.add(a, one);
        other.add(b, one);
        own.add(c, Counts::default());
        let unequal = own.unequal(&other);
        let expected = [(a, (one, Counts::default())), (b, (Counts::default(), one))];
        assert_eq!(unequal, BTreeMap::from(expected));
        assert_eq!(own.daily().unequal(&other.daily()).keys().next().unwrap().period, -1);
    }
}

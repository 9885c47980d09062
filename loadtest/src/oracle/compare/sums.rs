//! Sums: raw rows, rollups and views against what the ledger adds up to, and every offset's outcome.

use super::{
    super::{
        cells::{Cells, QUARTER_MS, QUARTERS_OF_DAY},
        difference::Kind,
        names::Name,
        stored::{FunnelRow, PartitionRow},
    },
    Comparison,
};
use std::collections::BTreeMap;

impl Comparison<'_> {
    pub(super) fn compare_sums(&mut self) {
        let quarter_hourly = Cells::of_rollup(&self.stored.quarter_hourly);
        let daily = Cells::of_rollup(&self.stored.daily);
        let known = std::mem::take(&mut self.known);
        let raw = std::mem::take(&mut self.raw);
        self.compare_cells(Kind::Raw, &known, &raw, QUARTER_MS);
        self.compare_cells(Kind::QuarterHourly, &known, &quarter_hourly, QUARTER_MS);
        self.compare_cells(Kind::Daily, &known.daily(), &daily, QUARTERS_OF_DAY * QUARTER_MS);
        self.compare_funnel(&known);
        self.known = known;
    }

    fn compare_cells(&mut self, kind: Kind, known: &Cells, stored: &Cells, period_ms: i64) {
        for (key, (known, stored)) in known.unequal(stored) {
            let about = key.describe(&self.names, period_ms);
            self.differ(kind, about, known, stored);
        }
    }

    fn compare_funnel(&mut self, known: &Cells) {
        let known = known.funnel();
        let key = |row: &FunnelRow| (row.program, row.referrer, row.channel);
        let stored: BTreeMap<_, _> = self.stored.funnel.iter().map(|row| (key(row), *row)).collect();
        if stored.len() != self.stored.funnel.len() {
            self.differ(
                Kind::Funnel,
                "rows of one referrer and channel",
                stored.len(),
                self.stored.funnel.len(),
            );
        }
        // What was taken back whole leaves no row.
        for row in known.values().filter(|row| !row.counts.is_nothing()) {
            match stored.get(&key(row)) {
                Some(found) if found == row => {}
                found => self.differ_in_funnel(row, Some(row), found),
            }
        }
        for row in stored.values().filter(|row| !known.contains_key(&key(row)) && !row.counts.is_nothing()) {
            self.differ_in_funnel(row, None, Some(row));
        }
    }

    fn differ_in_funnel(&mut self, about: &FunnelRow, known: Option<&FunnelRow>, stored: Option<&FunnelRow>) {
        let text = |name: Name| self.names.text(name);
        let about = [about.program, about.referrer, about.channel].map(text).join(" × ");
        let words = |row: Option<&FunnelRow>| match row {
            None => "no row".to_owned(),
            Some(row) => row.counts.to_string(),
        };
        self.differ(Kind::Funnel, about, words(known), words(stored));
    }

    pub(super) fn compare_positions(&mut self) {
        let key = |row: &PartitionRow| (row.stream, row.incarnation, row.partition);
        let mut viewed: BTreeMap<_, _> =
            self.stored.reconciliation.iter().map(|row| (key(row), *row)).collect();
        for row in &self.stored.counted {
            self.totals.offsets += row.offsets;
            if row.missing != 0 || row.extra != 0 {
                let found = format!("{} missing, {} extra of {}", row.missing, row.extra, row.records);
                let about = self.partition_words(row);
                self.differ(Kind::Reconciliation, about, "every offset once", found);
            }
            let in_view = viewed.remove(&key(row));
            if in_view != Some(*row) {
                let about = self.partition_words(row);
                self.differ(Kind::ReconciliationView, about, format!("{row:?}"), format!("{in_view:?}"));
            }
        }
        for row in viewed.into_values() {
            let about = self.partition_words(&row);
            self.differ(Kind::ReconciliationView, about, "no such partition", format!("{row:?}"));
        }
    }

    fn partition_words(&self, row: &PartitionRow) -> String {
        format!("{} {} of incarnation {}", self.names.text(row.stream), row.partition, row.incarnation)
    }
}

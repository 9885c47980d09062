//! Rejects: as many duplicates as events were repeated, and nothing else.

use super::{super::difference::Kind, Comparison, people::People};
use crate::ledger::Id;
use std::collections::HashMap;

/// Kinds of what `unmatched` lists.
const KINDS: [&str; 4] = ["lead", "qualification", "disqualification", "reinstatement"];

impl Comparison<'_> {
    pub(super) fn compare_rejects(&mut self, people: &People<'_>) {
        let mut duplicates: HashMap<Id, i64> = HashMap::new();
        let mut of_clicks = 0;
        for row in &self.stored.rejects {
            match (self.names.text(row.stream), self.names.text(row.reason)) {
                ("conversions", "duplicate") => *duplicates.entry(row.id).or_default() += 1,
                ("clicks", "duplicate") => of_clicks += 1,
                (stream, reason) => {
                    let stored = format!("{reason} in {stream}");
                    self.differ(Kind::Reject, row.id, "no reject", stored);
                }
            }
        }
        // Clicks are never repeated by the generator, only by a shipper that was interrupted.
        self.totals.reshipped = of_clicks;
        if of_clicks > 0 && !self.is_lossy {
            self.differ(Kind::Duplicates, "clicks sent to the topic more than once", 0, of_clicks);
        }
        for (id, sent) in &people.sent {
            let stored = duplicates.remove(id).unwrap_or_default();
            let exists = sent.accepted > 0 || people.exists(*id);
            let repeats = i64::from(sent.accepted) - i64::from(exists);
            let repeats_max = repeats + i64::from(sent.unknown);
            self.totals.duplicates += stored.clamp(0, repeats_max.max(0)).unsigned_abs();
            if stored < repeats || (stored > repeats_max && !self.is_lossy) {
                self.differ(Kind::Duplicates, id, format!("{repeats} to {repeats_max}"), stored);
            }
            self.totals.reshipped += (stored - repeats_max.max(0)).max(0).unsigned_abs();
        }
        for (id, stored) in duplicates {
            self.differ(Kind::Duplicates, id, "no such event", stored);
        }
    }

    pub(super) fn compare_unmatched(&mut self, people: &People<'_>) {
        let mut unmatched = people.unmatched();
        for row in &self.stored.unmatched {
            let kind = self.names.text(row.kind).to_owned();
            let known = KINDS.iter().any(|known| *known == kind && unmatched.remove(&(*known, row.id)));
            if !known {
                self.differ(Kind::Unmatched, row.id, "matched, or not there", kind);
            }
        }
        for (kind, id) in unmatched {
            self.differ(Kind::Unmatched, id, format!("an unmatched {kind}"), "not in the view");
        }
    }
}

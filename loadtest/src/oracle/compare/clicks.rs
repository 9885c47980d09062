//! Clicks, id by id. A click whose id nobody was told (the request died, or its code leads nowhere) is
//! found by link, channel, verdict and time.

use super::{
    super::{
        difference::Kind,
        names::Name,
        stored::{ClickRow, Counts},
    },
    Comparison, click_cell,
    intervals::{Span, pair},
};
use crate::{
    ledger::{Class, ClickEntry, ClickOutcome},
    world::LinkState,
};
use std::collections::{BTreeMap, HashSet};

/// How far the clocks of generator and edge may differ.
const CLOCK_SKEW_MS_MAX: i64 = 2_000;

/// The verdict of people's clicks.
const HUMAN: &str = "human";

/// What a stored click without a known id is recognised by.
type Kin = (Name, Name, Name, Name, Name);

impl Comparison<'_> {
    pub(super) fn compare_clicks(&mut self) {
        let mut rows: Vec<&ClickRow> = self.stored.clicks.iter().collect();
        rows.sort_unstable_by_key(|row| row.id);
        for row in &rows {
            self.add_raw_click(row);
        }
        let ledger = self.ledger;
        let mut answered = Vec::with_capacity(ledger.clicks.len());
        let mut unnamed = Vec::new();
        for click in &ledger.clicks {
            self.check_answer(click);
            match click.outcome {
                ClickOutcome::Redirected(id) => answered.push((id, click)),
                ClickOutcome::NotSent => {}
                // A code that nobody made belongs to no program: its clicks are not in the run's rows.
                _ if ledger.header.world.links[click.link as usize].state == LinkState::Missing => {}
                _ => unnamed.push(click),
            }
        }
        answered.sort_unstable_by_key(|(id, _)| *id);
        self.totals.clicks_answered = answered.len() as u64;

        let mut strangers = Vec::new();
        let mut groups = rows.chunk_by(|a, b| a.id == b.id).peekable();
        let mut last = None;
        let of_people = answered.iter().filter(|(_, click)| click.class == Class::Human);
        self.peoples_clicks = of_people.map(|(id, _)| *id).collect();
        for (id, click) in answered {
            while let Some(group) = groups.next_if(|group| group[0].id < id) {
                strangers.extend_from_slice(group);
            }
            if last.replace(id) == Some(id) {
                self.differ_by_id(Kind::Answer, id, "one click", "two answers with this id");
                continue;
            }
            match groups.next_if(|group| group[0].id == id) {
                Some(group) => self.compare_click(click, group),
                None => self.differ_by_id(Kind::ClickMissing, id, "answered", "absent"),
            }
            self.know_click(click, id.at_ms());
        }
        groups.for_each(|group| strangers.extend_from_slice(group));
        self.compare_unnamed(&unnamed, &strangers);
    }

    fn add_raw_click(&mut self, row: &ClickRow) {
        if row.live {
            let ClickRow { program, referrer, channel, at_ms, verdict, .. } = *row;
            let one = Counts::click(self.names.text(verdict) == HUMAN);
            let cell = click_cell(program, referrer, channel, at_ms, verdict);
            self.raw.add(cell, one.times(row.sign.into()));
        }
    }

    fn check_answer(&mut self, click: &ClickEntry) {
        let is_right = match click.outcome {
            ClickOutcome::Redirected(_) => click.class != Class::Inactive,
            ClickOutcome::Answered => click.class == Class::Inactive,
            ClickOutcome::Wrong => false,
            ClickOutcome::Unanswered | ClickOutcome::NotSent => self.is_lossy,
        };
        if !is_right {
            let link = self.ledger.header.world.links[click.link as usize].name();
            let about = format!("{} request for {link}", click.class.word());
            self.differ(
                Kind::Answer,
                about,
                "a fitting answer",
                format!("{:?}, status {}", click.outcome, click.status),
            );
        }
    }

    fn kin_of(&mut self, click: &ClickEntry) -> Kin {
        let verdict = self.names.of(click.class.word());
        let link = &self.links[click.link as usize];
        (link.program, link.referrer, link.link, link.channels[usize::from(click.channel)], verdict)
    }

    fn know_click(&mut self, click: &ClickEntry, at_ms: i64) {
        if !self.ledger.header.world.links[click.link as usize].test {
            let (program, referrer, _, channel, verdict) = self.kin_of(click);
            let one = Counts::click(click.class == Class::Human);
            self.known.add(click_cell(program, referrer, channel, at_ms, verdict), one);
        }
    }

    /// The rows of one id against the request that was answered with it.
    fn compare_click(&mut self, click: &ClickEntry, rows: &[&ClickRow]) {
        let id = rows[0].id;
        let net: i64 = rows.iter().map(|row| i64::from(row.sign)).sum();
        if net != 1 {
            self.differ(Kind::ClickMultiple, id, 1, format!("{} rows that add up to {net}", rows.len()));
        }
        let kin = self.kin_of(click);
        let live = !self.ledger.header.world.links[click.link as usize].test;
        for row in rows {
            let as_known = kin_of_row(row) == kin && row.live == live;
            let in_time = row.at_ms == id.at_ms() && span(click).contains(&row.at_ms);
            if !as_known || !in_time {
                let known = format!("{} at {}, live: {live}", self.words(kin), click.sent_at_ms);
                let stored = format!("{} at {}, live: {}", self.words(kin_of_row(row)), row.at_ms, row.live);
                self.differ(Kind::ClickWrong, id, known, stored);
            }
        }
    }

    fn compare_unnamed(&mut self, unnamed: &[&ClickEntry], strangers: &[&ClickRow]) {
        let mut kindred: BTreeMap<Kin, (Vec<&ClickEntry>, Vec<&ClickRow>)> = BTreeMap::new();
        for click in unnamed {
            kindred.entry(self.kin_of(click)).or_default().0.push(click);
        }
        for row in strangers {
            kindred.entry(kin_of_row(row)).or_default().1.push(row);
        }
        for (kin, (clicks, rows)) in kindred {
            let points_ms: Vec<_> = rows.iter().map(|row| row.at_ms).collect();
            let spans: Vec<_> = clicks.iter().map(|click| span_of(click)).collect();
            let unpaired = pair(&points_ms, &spans);
            for point in &unpaired.points {
                let words = self.words(kin);
                self.differ(Kind::ClickExtra, rows[*point].id, "no such request", words);
            }
            for span in &unpaired.spans {
                match spans[*span].is_certain {
                    true => {
                        let about = format!("{} at {}", self.words(kin), clicks[*span].sent_at_ms);
                        self.differ(Kind::ClickMissing, about, "answered", "absent");
                        self.know_click(clicks[*span], clicks[*span].sent_at_ms);
                    }
                    false => self.totals.clicks_unanswered_and_absent += 1,
                }
            }
            let extra: HashSet<usize> = unpaired.points.into_iter().collect();
            self.totals.clicks_stored_without_id += (rows.len() - extra.len()) as u64;
            // Which of a kin's requests it was changes nothing: they share every cell but the hour's.
            for (at, row) in rows.iter().enumerate() {
                if !extra.contains(&at) {
                    self.know_click(clicks[0], row.at_ms);
                }
            }
        }
    }

    fn words(&self, (program, referrer, link, channel, verdict): Kin) -> String {
        [program, referrer, link, channel, verdict].map(|name| self.names.text(name)).join(" × ")
    }
}

fn kin_of_row(row: &ClickRow) -> Kin {
    (row.program, row.referrer, row.link, row.channel, row.verdict)
}

fn span(click: &ClickEntry) -> std::ops::RangeInclusive<i64> {
    let answered_at_ms = click.sent_at_ms + i64::from(click.took_ms);
    click.sent_at_ms - CLOCK_SKEW_MS_MAX..=answered_at_ms + CLOCK_SKEW_MS_MAX
}

fn span_of(click: &ClickEntry) -> Span {
    let span = span(click);
    Span {
        from_ms: *span.start(),
        to_ms: *span.end(),
        is_certain: matches!(click.outcome, ClickOutcome::Answered),
    }
}

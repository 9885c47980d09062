//! Clicks that this process stored recently, so that the leads that follow need no query to ClickHouse.
//!
//! Only what ClickHouse has acknowledged is kept, and a stored click never changes: to find it here or there is
//! the same. What is not here may be stored all the same, by another process or earlier.

use crate::store::FoundClick;
use metrics::{Counter, Gauge, counter, gauge};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};
use whence_schemas::{event::Verdict, ids::ClickId, rows::ClickRow};

whence_metrics::declare! {
    /// Stored clicks in memory.
    gauge HOT_CLICKS: "whence_hot_clicks";
    /// Stored clicks that left memory at its bound.
    counter HOT_CLICKS_DROPPED: "whence_hot_clicks_dropped_total";
}

/// A click without its id.
struct Hot {
    program: u32,
    reason: u32,
    verdict: Verdict,
    visitor: u64,
    address: u64,
    prefix: u64,
}

/// Programs and reasons of a generation, once each.
#[derive(Default)]
struct Texts {
    places: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let (text, place): (Arc<str>, _) = (text.into(), self.texts.len() as u32);
        self.texts.push(text.clone());
        self.places.insert(text, place);
        place
    }

    fn text(&self, place: u32) -> &str {
        &self.texts[place as usize]
    }
}

#[derive(Default)]
struct Generation {
    clicks: HashMap<ClickId, Hot>,
    texts: Texts,
}

impl Generation {
    fn keep(&mut self, row: &ClickRow) {
        let hot = Hot {
            program: self.texts.place(&row.program.0),
            reason: self.texts.place(&row.reason.0),
            verdict: row.verdict,
            visitor: row.visitor,
            address: row.address,
            prefix: row.prefix,
        };
        self.clicks.insert(row.id, hot);
    }

    fn find(&self, program: &str, id: ClickId) -> Option<FoundClick> {
        let hot = self.clicks.get(&id).filter(|hot| self.texts.text(hot.program) == program)?;
        Some(FoundClick {
            program: program.to_owned(),
            id,
            verdict: hot.verdict,
            reason: self.texts.text(hot.reason).to_owned(),
            visitor: hot.visitor,
            address: hot.address,
            prefix: hot.prefix,
        })
    }
}

/// The newest clicks, in two generations: when the young one has half of what may be kept, the old one goes and it
/// takes its place. So the last half is always there, for the price of one insert a click.
#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

/// The cache: shared by the loops of all partitions of a process.
pub(super) struct HotClicks {
    generation_max: usize,
    kept: Mutex<Generations>,
    count: Gauge,
    dropped: Counter,
}

impl HotClicks {
    /// A cache of so many clicks at most. `None` for fewer than two.
    pub(super) fn new(clicks_max: usize) -> Option<Arc<HotClicks>> {
        (clicks_max >= 2).then(|| {
            Arc::new(HotClicks {
                generation_max: clicks_max / 2,
                kept: Mutex::default(),
                count: gauge!(HOT_CLICKS),
                dropped: counter!(HOT_CLICKS_DROPPED),
            })
        })
    }

    /// Takes clicks that are stored.
    pub(super) fn keep(&self, rows: &[ClickRow]) {
        // What is large is freed when nobody waits for the lock any more.
        let mut gone = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            if kept.young.clicks.len() >= self.generation_max {
                let full = mem::take(&mut kept.young);
                gone.push(mem::replace(&mut kept.old, full));
            }
            kept.young.keep(row);
        }
        self.count.set((kept.young.clicks.len() + kept.old.clicks.len()) as f64);
        drop(kept);
        self.dropped.increment(gone.iter().map(|gone| gone.clicks.len() as u64).sum());
    }

    /// What is here of these clicks (program and id), and those that are not.
    pub(super) fn find(&self, asked: &[(String, ClickId)]) -> (Vec<FoundClick>, Vec<(String, ClickId)>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (program, id) in asked {
            match kept.young.find(program, *id).or_else(|| kept.old.find(program, *id)) {
                Some(click) => found.push(click),
                None => missing.push((program.clone(), *id)),
            }
        }
        (found, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use whence_schemas::{ids::Incarnation, rows::Lc, time::UnixMs};

    fn id(number: u64) -> ClickId {
        let mut random = [1; 10];
        random[1..9].copy_from_slice(&number.to_be_bytes());
        ClickId::mint(UnixMs(1_770_000_000_000), &random, true)
    }

    fn clicks(numbers: std::ops::Range<u64>) -> Vec<ClickRow> {
        let row = |number| ClickRow {
            program: Lc("demo".into()),
            ts: id(number).at(),
            id: id(number),
            referrer: "r1".into(),
            link: "go.example/r1".into(),
            channel: Lc("email".into()),
            destination: "https://shop.example/".into(),
            registry_version: 1,
            verdict: Verdict::Human,
            reason: Lc("browser".into()),
            made_by: Verdict::Human,
            made_by_reason: Lc("browser".into()),
            reading: Lc(String::new()),
            visitor: number,
            address: number + 1,
            prefix: number + 2,
            requests: 1,
            live: true,
            sign: 1,
            incarnation: Incarnation(Uuid::nil()),
            partition: 0,
            offset: number,
        };
        numbers.map(row).collect()
    }

    fn found(hot: &HotClicks, numbers: std::ops::Range<u64>) -> usize {
        let asked: Vec<_> = numbers.map(|number| ("demo".to_owned(), id(number))).collect();
        let (found, missing) = hot.find(&asked);
        assert_eq!(found.len() + missing.len(), asked.len());
        found.len()
    }

    #[test]
    fn what_was_kept_is_found_as_it_was_and_nothing_else() {
        let hot = HotClicks::new(100).unwrap();
        hot.keep(&clicks(0..3));
        let asked = [("demo".to_owned(), id(2)), ("other".to_owned(), id(1)), ("demo".to_owned(), id(3))];
        let (found, missing) = hot.find(&asked);
        let expected = FoundClick {
            program: "demo".into(),
            id: id(2),
            verdict: Verdict::Human,
            reason: "browser".into(),
            visitor: 2,
            address: 3,
            prefix: 4,
        };
        assert_eq!(found, [expected]);
        assert_eq!(missing, asked[1..]);
    }

    #[test]
    fn the_newest_half_is_always_there_and_never_more_than_may_be_kept() {
        let hot = HotClicks::new(100).unwrap();
        for block in 0..97 {
            let end = (block + 1) * 7;
            hot.keep(&clicks(block * 7..end));
            let newest = end.saturating_sub(50);
            assert_eq!(found(&hot, newest..end) as u64, end - newest);
            assert!(found(&hot, 0..end) <= 100, "after {end}");
        }
        hot.keep(&clicks(1000..1500));
        assert_eq!(found(&hot, 1450..1500), 50, "of a block larger than the cache its end is kept");
        assert!(found(&hot, 0..1500) <= 100);
        assert!(HotClicks::new(0).is_none());
    }
}

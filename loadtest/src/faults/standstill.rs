//! How long a partition stood still: the longest time between two of its steps (a block begun, a table's rows stored, a
//! block committed), from an aggregator's log. Time between blocks would say how large they are on a loaded machine.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime},
};

#[derive(Deserialize)]
struct Line {
    timestamp: String,
    message: String,
    #[serde(default)]
    partition: String,
}

/// What is logged of each step.
const STEPS: [&str; 3] = ["block intended", "table inserted", "block committed"];

/// When steps were taken, by partition, in milliseconds since the epoch.
#[derive(Debug, Default)]
pub(super) struct Steps(BTreeMap<String, Vec<i64>>);

impl Steps {
    /// Adds those that a log tells of.
    pub fn read(&mut self, log: &Path) -> std::io::Result<()> {
        let text = std::fs::read(log)?;
        for line in String::from_utf8_lossy(&text).lines() {
            let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
            if STEPS.contains(&line.message.as_str())
                && let Some(at) = millis(&line.timestamp)
            {
                self.0.entry(line.partition).or_default().push(at);
            }
        }
        self.0.values_mut().for_each(|times| times.sort_unstable());
        Ok(())
    }

    /// The partition that stood still for longest in this time, and for how long.
    pub fn longest(&self, from: SystemTime, to: SystemTime) -> (Duration, String) {
        let (from, to) = (since_epoch(from), since_epoch(to));
        let gaps = self.0.iter().flat_map(|(partition, times)| {
            let within = times.windows(2).filter(move |pair| pair[1] > from && pair[0] < to);
            within.map(move |pair| (pair[1] - pair[0], partition.clone()))
        });
        let (gap, partition) = gaps.max().unwrap_or_default();
        (Duration::from_millis(gap.try_into().unwrap_or(0)), partition)
    }
}

fn since_epoch(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-11-29T14:01:02.345678Z`, within a day of the epoch's count.
fn millis(text: &str) -> Option<i64> {
    let (date, time) = text.trim_end_matches('Z').split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let fraction = format!("{fraction:0<3}");
    let millis: i64 = fraction.get(..3)?.parse().ok()?;
    // Days since the epoch in the proleptic Gregorian calendar, with years that begin in March.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years.div_euclid(4) - years.div_euclid(100)
        + years.div_euclid(400)
        + (153 * months + 2) / 5
        + day
        - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_between_two_steps_of_a_partition_is_found() {
        assert_eq!(millis("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(millis("2026-11-29T14:01:02.345678Z"), Some(1_795_960_862_345));
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let line = |second: u32, partition: &str, step: &str| {
            format!(
                r#"{{"timestamp":"2026-11-29T14:00:{second:02}.000000Z","level":"DEBUG","message":"{step}","partition":"{partition}","target":"x"}}"#
            )
        };
        let [begun, stored, committed] = STEPS;
        let lines = [
            line(1, "a-0", begun),
            line(2, "a-0", stored),
            line(3, "b-0", begun),
            line(5, "a-0", "something else"),
            line(9, "a-0", committed),
            line(4, "b-0", stored),
        ];
        std::fs::write(&log, lines.join("\n")).unwrap();
        let mut steps = Steps::default();
        steps.read(&log).unwrap();
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_960_800 + second);
        assert_eq!(steps.longest(at(0), at(20)), (Duration::from_secs(7), "a-0".into()));
        assert_eq!(steps.longest(at(0), at(2)).0, Duration::from_secs(1));
    }
}

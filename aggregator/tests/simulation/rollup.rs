//! What the views make of rows: the funnel's groups and their sums.

use whence_aggregator::store::Rows;
use whence_schemas::{
    event::Verdict,
    time::{HOUR_MS, UnixMs},
};

/// Program, referrer, channel, hour, verdict, currency.
pub type Group = (String, String, String, i64, Verdict, String);

/// clicks, leads, qualifications, value.
pub type Sums = [i64; 4];

/// What the views make of live rows.
pub fn groups(rows: &Rows) -> Vec<(Group, Sums)> {
    let hour = |at: UnixMs| at.0 - at.0.rem_euclid(HOUR_MS);
    match rows {
        Rows::Clicks(rows) => rows
            .iter()
            .filter(|row| row.live)
            .map(|row| {
                let group = (
                    row.program.0.clone(),
                    row.referrer.clone(),
                    row.channel.0.clone(),
                    hour(row.ts),
                    row.verdict,
                    String::new(),
                );
                (group, [i64::from(row.sign), 0, 0, 0])
            })
            .collect(),
        Rows::Leads(rows) => rows
            .iter()
            .filter(|row| row.live)
            .map(|row| {
                let group = (
                    row.program.0.clone(),
                    row.referrer.clone(),
                    row.channel.0.clone(),
                    hour(row.occurred_at),
                    Verdict::Unspecified,
                    String::new(),
                );
                (group, [0, i64::from(row.sign), 0, 0])
            })
            .collect(),
        Rows::Qualifications(rows) => rows
            .iter()
            .filter(|row| row.live)
            .map(|row| {
                let group = (
                    row.program.0.clone(),
                    row.referrer.clone(),
                    row.channel.0.clone(),
                    hour(row.occurred_at),
                    Verdict::Unspecified,
                    row.currency.0.clone(),
                );
                (group, [0, 0, i64::from(row.sign), i64::from(row.sign) * row.value_minor])
            })
            .collect(),
        _ => Vec::new(),
    }
}

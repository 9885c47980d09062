//! What the views make of rows: the funnel's groups and their sums.

use whence_aggregator::store::Rows;
use whence_schemas::{event::Verdict, ids::ClickId, rows::Evidence, time::UnixMs};

/// Program, referrer, channel, quarter of an hour, verdict, currency.
pub type Group = (String, String, String, i64, Verdict, String);

/// What [`Sums`] are of.
pub const NAMES: [&str; 9] = [
    "clicks",
    "other_clicks",
    "leads",
    "leads_by_click",
    "leads_by_code",
    "qualified",
    "lead_events",
    "qualification_events",
    "value_minor",
];

/// Sums of the columns that [`NAMES`] says.
pub type Sums = [i64; 9];

const QUARTER_MS: i64 = 15 * 60 * 1000;

/// What the views make of live rows.
pub fn groups(rows: &Rows) -> Vec<(Group, Sums)> {
    let quarter = |at: UnixMs| at.0 - at.0.rem_euclid(QUARTER_MS);
    match rows {
        Rows::Clicks(rows) => rows
            .iter()
            .filter(|row| row.live)
            .map(|row| {
                let group = (
                    row.program.0.clone(),
                    row.referrer.clone(),
                    row.channel.0.clone(),
                    quarter(row.ts),
                    row.verdict,
                    String::new(),
                );
                let (sign, is_human) = (i64::from(row.sign), i64::from(row.verdict == Verdict::Human));
                (group, [sign * is_human, sign * (1 - is_human), 0, 0, 0, 0, 0, 0, 0])
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
                    quarter(row.occurred_at),
                    Verdict::Unspecified,
                    String::new(),
                );
                let person = i64::from(row.person);
                let by_click = row.evidence == Evidence::Token && ClickId(row.click_id).is_counted();
                let by_code = row.evidence == Evidence::Code;
                let by = |is_so: bool| person * i64::from(is_so);
                (group, [0, 0, person, by(by_click), by(by_code), 0, i64::from(row.sign), 0, 0])
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
                    quarter(row.occurred_at),
                    Verdict::Unspecified,
                    row.currency.0.clone(),
                );
                let sign = i64::from(row.sign);
                (group, [0, 0, 0, 0, 0, i64::from(row.person), 0, sign, sign * row.value_minor])
            })
            .collect(),
        _ => Vec::new(),
    }
}

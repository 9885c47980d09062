//! The reports on a program: counts of a span of days from the daily rollup, and the report views.

use clickhouse::Client;
use whence_schemas::time::{UnixMs, parse};

use crate::ask::{AskError, Object, objects};

/// Rows of a report, at most.
pub const ROWS_MAX: u32 = 1000;

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Counts of each referrer and channel.
    Funnel,
    /// Counts of each referrer, the most qualifications first.
    TopReferrers,
    /// Counts of each channel, the most qualifications first.
    Channels,
    /// How long leads took to reach what they reached.
    TimeToQualify,
    /// Leads by their week, and how many of them qualified within so many days.
    Cohorts,
    /// What waits for its partner, the longest first.
    Unmatched,
    /// Records that became no fact, by reason.
    Rejects,
    /// What stands in each state of reward, for each referrer.
    Rewards,
    /// Rewards that wait for a person's decision, the longest first.
    ReviewQueue,
    /// Rewards to be paid.
    Payouts,
    /// What came of what was paid, for each referrer and channel.
    RewardRoi,
    /// The same for each rule.
    RewardRoiByRule,
}

impl Report {
    /// All of them.
    pub const ALL: [Report; 12] = [
        Report::Funnel,
        Report::TopReferrers,
        Report::Channels,
        Report::TimeToQualify,
        Report::Cohorts,
        Report::Unmatched,
        Report::Rejects,
        Report::Rewards,
        Report::ReviewQueue,
        Report::Payouts,
        Report::RewardRoi,
        Report::RewardRoiByRule,
    ];

    /// The word in paths.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Report::Funnel => "funnel",
            Report::TopReferrers => "top_referrers",
            Report::Channels => "channels",
            Report::TimeToQualify => "time_to_qualify",
            Report::Cohorts => "cohorts",
            Report::Unmatched => "unmatched",
            Report::Rejects => "rejects",
            Report::Rewards => "rewards",
            Report::ReviewQueue => "review_queue",
            Report::Payouts => "payouts",
            Report::RewardRoi => "reward_roi",
            Report::RewardRoiByRule => "reward_roi_by_rule",
        }
    }

    /// The report of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Report> {
        Self::ALL.into_iter().find(|report| report.word() == word)
    }

    /// Whether it counts days that can be chosen, and referrers.
    #[must_use]
    pub fn has_days(self) -> bool {
        matches!(self, Report::Funnel | Report::TopReferrers | Report::Channels)
    }

    /// Whether it can be asked what was believed at a moment: it rests on lines of the ledger, each with the time
    /// at which whence took its cause.
    #[must_use]
    pub fn has_past(self) -> bool {
        matches!(self, Report::Rewards | Report::ReviewQueue | Report::Payouts)
    }

    /// Where its rows are: the view, or what that would have been at the moment `{at:DateTime64(3, 'UTC')}`; nothing
    /// for reports that count days.
    #[must_use]
    pub fn table(self, is_past: bool) -> Option<String> {
        let view = match self {
            Report::Funnel | Report::TopReferrers | Report::Channels => return None,
            Report::Rejects => "rejects_by_reason",
            Report::Rewards => "reward_balance",
            other => other.word(),
        };
        let is_past = is_past && self.has_past();
        Some(if is_past {
            format!("{view}_as_of(at = {{at:DateTime64(3, 'UTC')}})")
        } else {
            view.to_owned()
        })
    }

    fn sql(self, is_past: bool) -> String {
        let of_view = |order| of_view(&self.table(is_past).unwrap_or_default(), order);
        const MOST: &str = "qualifications DESC, leads DESC, clicks DESC";
        match self {
            Report::Funnel => counts("referrer, channel", "referrer, channel"),
            Report::TopReferrers => counts("referrer", &format!("{MOST}, referrer")),
            Report::Channels => counts("channel", &format!("{MOST}, channel")),
            Report::TimeToQualify => of_view("channel, name"),
            Report::Cohorts => of_view("week"),
            Report::Unmatched => of_view("since, id"),
            Report::Rejects => of_view("records DESC, stream, kind, reason, live"),
            Report::Rewards => of_view("referrer, party, currency"),
            Report::ReviewQueue => of_view("since, reward_id"),
            Report::Payouts => of_view("referrer, approved_at, reward_id"),
            Report::RewardRoi => of_view("referrer, channel, currency"),
            Report::RewardRoiByRule => of_view("rule, party, currency"),
        }
    }
}

/// Counts by these dimensions, of days from the daily rollup; what nothing is left of is left out.
fn counts(dimensions: &str, order: &str) -> String {
    format!(
        "SELECT {dimensions}, sumIf(f.clicks, verdict = 'human') AS clicks, \
         sumIf(f.clicks, verdict NOT IN ('human', '')) AS other_clicks, sum(f.leads) AS leads, \
         sum(f.qualifications) AS qualifications, round(leads / nullIf(clicks, 0), 4) AS lead_rate, \
         round(qualifications / nullIf(leads, 0), 4) AS qualification_rate, \
         mapFilter((c, minor) -> minor != 0, sumMap(map(toString(f.currency), f.value_minor))) AS value_minor \
         FROM funnel_daily AS f WHERE program = {{program:String}} \
         AND day >= {{from:Date32}} AND day <= {{to:Date32}} \
         AND ({{referrer:String}} = '' OR referrer = {{referrer:String}}) \
         GROUP BY {dimensions} \
         HAVING clicks != 0 OR other_clicks != 0 OR leads != 0 OR qualifications != 0 \
         ORDER BY {order} LIMIT {{rows:UInt32}}"
    )
}

fn of_view(view: &str, order: &str) -> String {
    format!(
        "SELECT * EXCEPT (program) FROM {view} WHERE program = {{program:String}} ORDER BY {order} \
         LIMIT {{rows:UInt32}}"
    )
}

/// A moment for `as_of`: RFC 3339, or a day in UTC, which means its end.
#[must_use]
pub fn as_of(text: &str) -> Option<UnixMs> {
    let end = || parse(&format!("{text}T23:59:59.999Z"));
    parse(text).or_else(end).filter(|at| at.is_storable())
}

/// The moment as ClickHouse reads a parameter of type `DateTime64`.
#[must_use]
pub fn parameter(at: UnixMs) -> String {
    at.rfc3339().trim_end_matches('Z').replace('T', " ")
}

/// What a report is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The program.
    pub program: String,
    /// Counts of this referrer only; reports without days pass it over.
    pub referrer: Option<String>,
    /// First day in UTC, `2026-01-31`; reports without days pass it over.
    pub from: Option<String>,
    /// Last day in UTC.
    pub to: Option<String>,
    /// What was believed at this moment; reports without a past pass it over.
    pub as_of: Option<UnixMs>,
    /// Rows, at most [`ROWS_MAX`].
    pub limit: u32,
}

/// The rows of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The first of them.
    pub items: Vec<Object>,
    /// Whether there are more than the limit allowed.
    pub more: bool,
}

/// Asks for a report.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn rows(client: &Client, report: Report, selection: &Selection) -> Result<Rows, AskError> {
    let limit = selection.limit.clamp(1, ROWS_MAX);
    let as_of = selection.as_of.filter(|_| report.has_past());
    let mut query = client
        .query(&report.sql(as_of.is_some()))
        .param("program", &selection.program)
        .param("rows", limit + 1);
    if let Some(at) = as_of {
        query = query.param("at", parameter(at));
    }
    if report.has_days() {
        query = query
            .param("referrer", selection.referrer.as_deref().unwrap_or_default())
            .param("from", selection.from.as_deref().unwrap_or("1970-01-01"))
            .param("to", selection.to.as_deref().unwrap_or("2299-12-31"));
    }
    let mut items = objects(query).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Ok(Rows { items, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_means_its_end_and_a_moment_itself() {
        assert_eq!(parameter(as_of("2026-03-31").unwrap()), "2026-03-31 23:59:59.999");
        assert_eq!(parameter(as_of("2026-03-31T12:00:00+02:00").unwrap()), "2026-03-31 10:00:00.000");
        for wrong in ["", "yesterday", "2026-02-30", "1969-12-31", "2026-03-31' OR 1"] {
            assert_eq!(as_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_report_with_a_past_has_a_view_of_it() {
        for report in Report::ALL {
            let is_other = report.table(true) != report.table(false);
            assert_eq!(is_other, report.has_past(), "{report:?}");
        }
    }
}

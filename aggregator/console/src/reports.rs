//! The reports on a program: counts of a span of days from the daily rollup, and the report views.

use clickhouse::Client;

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
}

impl Report {
    /// All of them.
    pub const ALL: [Report; 10] = [
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

    fn sql(self) -> String {
        const MOST: &str = "qualifications DESC, leads DESC, clicks DESC";
        match self {
            Report::Funnel => counts("referrer, channel", "referrer, channel"),
            Report::TopReferrers => counts("referrer", &format!("{MOST}, referrer")),
            Report::Channels => counts("channel", &format!("{MOST}, channel")),
            Report::TimeToQualify => of_view("time_to_qualify", "channel, name"),
            Report::Cohorts => of_view("cohorts", "week"),
            Report::Unmatched => of_view("unmatched", "since, id"),
            Report::Rejects => of_view("rejects_by_reason", "records DESC, stream, kind, reason, live"),
            Report::Rewards => of_view("reward_balance", "referrer, party, currency"),
            Report::ReviewQueue => of_view("review_queue", "since, reward_id"),
            Report::Payouts => of_view("payouts", "referrer, approved_at, reward_id"),
        }
    }
}

/// Counts by these dimensions, of days from the daily rollup.
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
         GROUP BY {dimensions} ORDER BY {order} LIMIT {{rows:UInt32}}"
    )
}

fn of_view(view: &str, order: &str) -> String {
    format!(
        "SELECT * EXCEPT (program) FROM {view} WHERE program = {{program:String}} ORDER BY {order} \
         LIMIT {{rows:UInt32}}"
    )
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
    let mut query = client.query(&report.sql()).param("program", &selection.program).param("rows", limit + 1);
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

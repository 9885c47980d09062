//! The reports on a program: counts of a span of days from the daily rollup, and the report views.

use clickhouse::{Client, query::Query};
use whence_schemas::{
    sql::{Column, views},
    time::{DAY_MS, UnixMs, parse},
};

use crate::{
    ask::{AskError, Object, objects},
    cursor::{Cursor, SortKey},
};

/// Rows of a page of the console, at most.
pub const ROWS_MAX: u32 = 1000;

/// Where a report's rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `funnel_over`, of days that can be chosen, by `referrer`, by `channel` or, empty, by both. The view of the report's own
    /// name has the same of all days.
    Funnel(&'static str),
    /// A view.
    View(&'static str),
    /// A view that has a second one, of the name with `_as_of`, which tells what was believed at a moment: it rests on lines
    /// of the ledger, each with the time at which whence took its cause.
    Ledger(&'static str),
    /// A view of all programs together.
    Whole(&'static str),
}

macro_rules! reports {
    ($(#[doc = $about:literal] $report:ident: $word:literal, $source:expr, $order:literal;)+) => {
        /// A report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Report {
            $(#[doc = $about] $report,)+
        }

        impl Report {
            /// All of them.
            pub const ALL: &[Report] = &[$(Report::$report),+];

            /// The word in paths; with hyphens, that of the command line.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Report::$report => $word,)+ }
            }

            /// What it tells, in a line.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Report::$report => $about,)+ }.trim().trim_end_matches('.')
            }

            /// Where its rows come from.
            #[must_use]
            pub fn source(self) -> Source {
                match self { $(Report::$report => $source,)+ }
            }

            fn order(self) -> &'static str {
                match self { $(Report::$report => $order,)+ }
            }
        }
    };
}

// The columns are those that the view's file declares.
reports! {
    /// Counts of each referrer and channel.
    Funnel: "funnel", Source::Funnel(""), "referrer, channel, reason";
    /// Counts of each referrer, the most persons who qualified first.
    TopReferrers: "top_referrers", Source::Funnel("referrer"), "qualified DESC, leads DESC, clicks DESC, referrer, reason";
    /// Counts of each channel, the most persons who qualified first.
    Channels: "channels", Source::Funnel("channel"), "qualified DESC, leads DESC, clicks DESC, channel, reason";
    /// The steps from a referrer who joined to a reward, and where the most is lost.
    Steps: "steps", Source::View("steps"), "place";
    /// How long leads took to reach what they reached.
    TimeToQualify: "time_to_qualify", Source::View("time_to_qualify"), "channel, name";
    /// Leads by their week, and how many of them qualified within so many days.
    Cohorts: "cohorts", Source::View("cohorts"), "week";
    /// What waits for its partner, the longest first.
    Unmatched: "unmatched", Source::View("unmatched"), "since, id";
    /// Records that became no fact, by reason.
    Rejects: "rejects", Source::View("rejects_by_reason"), "records DESC, stream, kind, reason, live";
    /// What stands in each state of reward, for each referrer.
    Rewards: "rewards", Source::Ledger("reward_balance"), "referrer, party, currency";
    /// Rewards that wait for a person's decision, the longest first.
    ReviewQueue: "review_queue", Source::Ledger("review_queue"), "since, reward_id";
    /// Rewards to be paid.
    Payouts: "payouts", Source::Ledger("payouts"), "referrer, approved_at, reward_id";
    /// Payments of rewards that were made, and what is owed back of them.
    PaymentsMade: "payments_made", Source::View("payments_made"), "paid_on, reference, reward_id";
    /// What came of what was paid, for each referrer and channel.
    RewardRoi: "reward_roi", Source::View("reward_roi"), "referrer, channel, currency";
    /// The same for each rule. A qualification counts for every rule that it earned.
    RewardRoiByRule: "reward_roi_by_rule", Source::View("reward_roi_by_rule"), "rule, party, currency";
    /// Up to when everything of a program is in the tables.
    Completeness: "completeness", Source::View("completeness"), "program";
    /// What the account of blocks finds missing or too much.
    Reconciliation: "reconciliation", Source::Whole("reconciliation"), "stream, incarnation, partition";
}

impl Report {
    /// The report of this word, of those on one program.
    #[must_use]
    pub fn of_program(word: &str) -> Option<Report> {
        Self::of_programs().find(|report| report.word() == word)
    }

    /// Those on one program.
    pub fn of_programs() -> impl Iterator<Item = Report> {
        Self::ALL.iter().copied().filter(|report| report.has_program())
    }

    /// Whether its rows are of programs.
    #[must_use]
    pub fn has_program(self) -> bool {
        !matches!(self.source(), Source::Whole(_))
    }

    /// Whether it counts days that can be chosen, and referrers.
    #[must_use]
    pub fn has_days(self) -> bool {
        matches!(self.source(), Source::Funnel(_))
    }

    /// Whether it can be asked what was believed at a moment.
    #[must_use]
    pub fn has_past(self) -> bool {
        matches!(self.source(), Source::Ledger(_))
    }

    /// The view with its rows of all days, which declares its columns.
    #[must_use]
    pub fn view(self) -> &'static str {
        match self.source() {
            Source::Funnel(_) => self.word(),
            Source::View(view) | Source::Ledger(view) | Source::Whole(view) => view,
        }
    }

    /// What is read from: the view, or what that would have been at the moment `{at:DateTime64(3, 'UTC')}`.
    #[must_use]
    pub fn table(self, is_past: bool) -> String {
        let view = self.view();
        if is_past && self.has_past() {
            format!("{view}_as_of(at = {{at:DateTime64(3, 'UTC')}})")
        } else {
            view.to_owned()
        }
    }

    /// Its columns, as the view's file declares them; of those on programs all but `program`.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        self.all_columns().into_iter().filter(|column| column.name != "program").collect()
    }

    /// Its columns, as the view's file declares them.
    #[must_use]
    pub fn all_columns(self) -> Vec<Column> {
        let view =
            views().into_iter().find(|view| view.name == self.view()).expect("a report's view has a file");
        view.columns()
    }

    /// What its rows are sorted by: no two rows have the same values of all of these.
    #[must_use]
    pub fn sort_keys(self) -> Vec<SortKey> {
        let columns = self.all_columns();
        let key = |text: &str| {
            let name = text.trim_end_matches(" DESC");
            let column = columns.iter().find(|column| column.name == name).expect("it is one of its columns");
            SortKey { name: name.to_owned(), kind: column.kind.clone(), is_descending: name != text }
        };
        let program = columns.iter().any(|column| column.name == "program").then_some("program");
        let own = self.order().split(", ").filter(|name| *name != "program");
        program.into_iter().chain(own).map(key).collect()
    }

    /// What is read from, with what is asked for: see [`bound`] for its parameters.
    fn from(self, selection: &Selection) -> String {
        let table = match self.source() {
            Source::Funnel(by) => format!(
                "funnel_over(from = {{from:Date32}}, to = {{to:Date32}}, referrer = {{referrer:String}}, by = '{by}')"
            ),
            _ => self.table(selection.as_of.is_some()),
        };
        let program = selection.program.as_ref().map(|_| "program = {program:String}".to_owned());
        let after = selection.after.as_ref().map(|_| Cursor::condition(&self.sort_keys()));
        let conditions: Vec<String> = program.into_iter().chain(after).collect();
        if conditions.is_empty() { table } else { format!("{table} WHERE {}", conditions.join(" AND ")) }
    }

    fn sql(self, selection: &Selection) -> String {
        let columns: Vec<String> = self.all_columns().into_iter().map(|column| column.name).collect();
        let order = |key: SortKey| format!("{}{}", key.name, if key.is_descending { " DESC" } else { "" });
        let order: Vec<String> = self.sort_keys().into_iter().map(order).collect();
        let (columns, order) = (columns.join(", "), order.join(", "));
        format!("SELECT {columns} FROM {} ORDER BY {order} LIMIT {{rows:UInt32}}", self.from(selection))
    }
}

/// A day that there is, such as `2026-01-31`: ClickHouse would take other texts for days, too.
#[must_use]
pub fn day(text: &str) -> Option<UnixMs> {
    parse(&format!("{text}T00:00:00Z")).filter(|at| text.len() == 10 && at.is_storable())
}

/// A moment for `as_of`: RFC 3339, or a day in UTC, which means its end.
#[must_use]
pub fn as_of(text: &str) -> Option<UnixMs> {
    let end = || day(text).map(|day| day.plus_ms(DAY_MS - 1));
    parse(text).filter(|at| at.is_storable()).or_else(end)
}

/// The moment as ClickHouse reads a parameter of type `DateTime64`.
#[must_use]
pub fn parameter(at: UnixMs) -> String {
    at.rfc3339().trim_end_matches('Z').replace('T', " ")
}

/// What a report is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The program; `None`: all of them.
    pub program: Option<String>,
    /// Counts of this referrer only; reports without days pass it over.
    pub referrer: Option<String>,
    /// First day in UTC, `2026-01-31`; reports without days pass it over.
    pub from: Option<String>,
    /// Last day in UTC.
    pub to: Option<String>,
    /// What was believed at this moment; reports without a past pass it over.
    pub as_of: Option<UnixMs>,
    /// Rows behind this place, which fits [`Report::sort_keys`].
    pub after: Option<Cursor>,
    /// Rows, at most.
    pub limit: u32,
}

impl Selection {
    /// The first rows of all programs.
    #[must_use]
    pub fn first(limit: u32) -> Selection {
        Selection { program: None, referrer: None, from: None, to: None, as_of: None, after: None, limit }
    }
}

/// The rows of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// A page of them, with all columns.
    pub items: Vec<Object>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// Asks for a report.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn rows(client: &Client, report: Report, selection: &Selection) -> Result<Rows, AskError> {
    let limit = selection.limit.max(1);
    // One more than the page has: so it is known whether more follow.
    let query = bound(client.query(&report.sql(selection)), report, selection).param("rows", limit + 1);
    let mut items = objects(query).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| Cursor::behind(last, &report.sort_keys()));
    Ok(Rows { items, next })
}

/// How many rows a report has behind `selection.after`, or at all.
///
/// # Errors
/// ClickHouse does not answer.
pub async fn count(client: &Client, report: Report, selection: &Selection) -> Result<u64, AskError> {
    let sql = format!("SELECT count() FROM {}", report.from(selection));
    Ok(bound(client.query(&sql), report, selection).fetch_one::<u64>().await?)
}

/// The query with the parameters of [`Report::from`].
fn bound(query: Query, report: Report, selection: &Selection) -> Query {
    let text = |text: &Option<String>, absent: &str| text.clone().unwrap_or_else(|| absent.to_owned());
    let query = match &selection.program {
        Some(program) => query.param("program", program),
        None => query,
    };
    let query = match selection.as_of {
        Some(at) if report.has_past() => query.param("at", parameter(at)),
        _ => query,
    };
    let query = match report.has_days() {
        true => query
            .param("referrer", text(&selection.referrer, ""))
            .param("from", text(&selection.from, "1970-01-01"))
            .param("to", text(&selection.to, "2299-12-31")),
        false => query,
    };
    match &selection.after {
        Some(place) => place.bind(query),
        None => query,
    }
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
    fn every_report_has_a_view_that_declares_its_columns() {
        for report in Report::ALL {
            let keys = report.sort_keys();
            assert_eq!(
                keys.first().is_some_and(|key| key.name == "program"),
                report.has_program(),
                "{report:?}"
            );
            assert!(keys.iter().all(|key| !key.kind.contains("Nullable")), "NULL has no place: {report:?}");
            assert!(report.columns().len() > 1, "{report:?}");
            let is_there = |name: &str| views().iter().any(|view| view.name == name);
            assert_eq!(is_there(&format!("{}_as_of", report.view())), report.has_past(), "{report:?}");
        }
    }
}

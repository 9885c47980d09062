//! The statements, and the rows they give. Column names that an alias would hide are given other names.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Clicks.
    pub clicks: i64,
    /// Leads, without corrections.
    pub leads: i64,
    /// Qualifications, without corrections: what was taken back is there all the same.
    pub qualifications: i64,
    /// Events of other kinds.
    pub other_events: i64,
    /// Events that were rejected as duplicates.
    pub duplicates: i64,
}

impl Counts {
    /// Whether there is at least as much of everything.
    #[must_use]
    pub fn covers(&self, other: &Counts) -> bool {
        self.clicks >= other.clicks
            && self.leads >= other.leads
            && self.qualifications >= other.qualifications
            && self.other_events >= other.other_events
            && self.duplicates >= other.duplicates
    }
}

pub(super) const CLICKS: &str = "SELECT id, toUnixTimestamp64Milli(ts) AS at_ms, program, referrer, link, \
    channel, toString(verdict) AS verdict_word, live, sign FROM clicks WHERE program IN ?";

#[derive(Row, Deserialize)]
pub(super) struct Click<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    pub at_ms: i64,
    pub program: &'a str,
    pub referrer: &'a str,
    pub link: &'a str,
    pub channel: &'a str,
    pub verdict_word: &'a str,
    pub live: bool,
    pub sign: i8,
}

pub(super) const LEADS: &str = "SELECT id, toUnixTimestamp64Milli(occurred_at) AS occurred_at_ms, program, \
    toString(evidence) AS evidence_word, referrer, link, channel, click_id, live, person, sign \
    FROM leads WHERE program IN ?";

#[derive(Row, Deserialize)]
pub(super) struct Lead<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    pub occurred_at_ms: i64,
    pub program: &'a str,
    pub evidence_word: &'a str,
    pub referrer: &'a str,
    pub link: &'a str,
    pub channel: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub click_id: Uuid,
    pub live: bool,
    pub person: i8,
    pub sign: i8,
}

pub(super) const QUALIFICATIONS: &str = "SELECT id, toUnixTimestamp64Milli(occurred_at) AS occurred_at_ms, \
    program, name, lead_id, toString(evidence) AS evidence_word, referrer, link, channel, click_id, \
    value_minor, paid_minor, currency, live, person, sign FROM qualifications WHERE program IN ?";

#[derive(Row, Deserialize)]
pub(super) struct Qualification<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    pub occurred_at_ms: i64,
    pub program: &'a str,
    pub name: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub lead_id: Uuid,
    pub evidence_word: &'a str,
    pub referrer: &'a str,
    pub link: &'a str,
    pub channel: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub click_id: Uuid,
    pub value_minor: i64,
    pub paid_minor: i64,
    pub currency: &'a str,
    pub live: bool,
    pub person: i8,
    pub sign: i8,
}

pub(super) const DISQUALIFICATIONS: &str = "SELECT id, toUnixTimestamp64Milli(occurred_at) AS occurred_at_ms, \
    program, qualification_id AS names, value_minor, currency, outcome, toInt64(qualifications) AS payments_count, \
    taken_minor AS moved_minor, taken_currency AS moved_currency, excess_minor, live, sign \
    FROM disqualifications WHERE program IN ?";

pub(super) const REINSTATEMENTS: &str = "SELECT id, toUnixTimestamp64Milli(occurred_at) AS occurred_at_ms, \
    program, disqualification_id AS names, value_minor, currency, outcome, toInt64(0) AS payments_count, \
    given_minor AS moved_minor, given_currency AS moved_currency, excess_minor, live, sign \
    FROM reinstatements WHERE program IN ?";

#[derive(Row, Deserialize)]
pub(super) struct Reversal<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    pub occurred_at_ms: i64,
    pub program: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub names: Uuid,
    pub value_minor: i64,
    pub currency: &'a str,
    pub outcome: &'a str,
    pub payments_count: i64,
    pub moved_minor: i64,
    pub moved_currency: &'a str,
    pub excess_minor: i64,
    pub live: bool,
    pub sign: i8,
}

/// Tables that nothing corrects, and how their rows are read.
macro_rules! plain {
    ($table:literal, $referrer:literal, $link:literal, $channel:literal, $reward:literal, $decision:literal, $outcome:literal, $which:literal) => {
        (
            $table,
            concat!(
                "SELECT id, toUnixTimestamp64Milli(occurred_at) AS occurred_at_ms, program, ",
                $referrer,
                " AS referrer_name, ",
                $link,
                " AS link_name, toString(",
                $channel,
                ") AS channel_name, ",
                $reward,
                " AS reward_named, toString(",
                $decision,
                ") AS decision_word, toString(",
                $outcome,
                ") AS outcome_word, live FROM ",
                $table,
                " WHERE ",
                $which,
                " AND program IN ?"
            ),
        )
    };
}

pub(super) const PLAIN: [(&str, &str); 4] = [
    plain!(
        "identifies",
        "''",
        "''",
        "''",
        "toUUID('00000000-0000-0000-0000-000000000000')",
        "''",
        "''",
        "true"
    ),
    plain!(
        "participants",
        "referrer",
        "''",
        "''",
        "toUUID('00000000-0000-0000-0000-000000000000')",
        "''",
        "''",
        "true"
    ),
    plain!(
        "shares",
        "referrer",
        "link",
        "channel",
        "toUUID('00000000-0000-0000-0000-000000000000')",
        "''",
        "''",
        "true"
    ),
    plain!("reward_events", "''", "''", "''", "reward_id", "decision", "outcome", "kind != 'timer'"),
];

#[derive(Row, Deserialize)]
pub(super) struct Plain<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    pub occurred_at_ms: i64,
    pub program: &'a str,
    pub referrer_name: &'a str,
    pub link_name: &'a str,
    pub channel_name: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub reward_named: Uuid,
    pub decision_word: &'a str,
    pub outcome_word: &'a str,
    pub live: bool,
}

/// Timers are whence's own, and may be sent again.
pub(super) const REJECTS: &str =
    "SELECT stream, event_id, reason FROM rejects WHERE program IN ? AND kind != 'timer'";

#[derive(Row, Deserialize)]
pub(super) struct Reject<'a> {
    pub stream: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    pub reason: &'a str,
}

/// The columns that rollups and `funnel` add up, with what a row's value is.
macro_rules! sums {
    ($value:literal) => {
        concat!(
            "toInt64(sum(clicks)) AS clicks_sum, toInt64(sum(other_clicks)) AS other_sum, ",
            "toInt64(sum(leads)) AS leads_sum, toInt64(sum(leads_by_click)) AS by_click_sum, ",
            "toInt64(sum(leads_by_code)) AS by_code_sum, toInt64(sum(qualified)) AS qualified_sum, ",
            "toInt64(sum(lead_events)) AS lead_events_sum, toInt64(sum(qualification_events)) AS qualifications_sum, ",
            "toInt64(sum(", $value, ")) AS value_sum "
        )
    };
}

pub(super) const QUARTER_HOURLY: &str = concat!(
    "SELECT program, referrer, channel, toInt64(intDiv(toUnixTimestamp(quarter_hour), 900)) AS period, verdict, ",
    "currency, ",
    sums!("value_minor"),
    "FROM funnel_quarter_hourly WHERE program IN ? ",
    "GROUP BY program, referrer, channel, quarter_hour, verdict, currency"
);

pub(super) const DAILY: &str = concat!(
    "SELECT program, referrer, channel, toInt64(toUInt16(day)) AS period, verdict, currency, ",
    sums!("value_minor"),
    "FROM funnel_daily WHERE program IN ? GROUP BY program, referrer, channel, day, verdict, currency"
);

#[derive(Row, Deserialize)]
pub(super) struct Rollup<'a> {
    pub program: &'a str,
    pub referrer: &'a str,
    pub channel: &'a str,
    pub period: i64,
    pub verdict: &'a str,
    pub currency: &'a str,
    pub clicks_sum: i64,
    pub other_sum: i64,
    pub leads_sum: i64,
    pub by_click_sum: i64,
    pub by_code_sum: i64,
    pub qualified_sum: i64,
    pub lead_events_sum: i64,
    pub qualifications_sum: i64,
    pub value_sum: i64,
}

/// What is open of a reward: the other states are of what was taken back, which depends on what came first.
macro_rules! open {
    () => {
        "state NOT IN ('rejected', 'clawed_back') AND program IN ? "
    };
}

pub(super) const REWARDS: &str = concat!(
    "SELECT program, referrer, lead_id AS lead, toInt64(sum(sign)) AS rewards_sum, ",
    "toInt64(sum(sign * amount_minor)) AS amount_sum, toInt64(sumIf(sign, state = 'approved')) AS approved_sum ",
    "FROM rewards WHERE ",
    open!(),
    "GROUP BY program, referrer, lead_id HAVING rewards_sum != 0 OR amount_sum != 0 OR approved_sum != 0"
);

pub(super) const REWARDS_DAILY: &str = concat!(
    "SELECT program, referrer, toUUID('00000000-0000-0000-0000-000000000000') AS lead, ",
    "toInt64(sum(rewards)) AS rewards_sum, toInt64(sum(amount_minor)) AS amount_sum, ",
    "toInt64(sumIf(rewards, state = 'approved')) AS approved_sum FROM rewards_daily WHERE ",
    open!(),
    "GROUP BY program, referrer HAVING rewards_sum != 0 OR amount_sum != 0 OR approved_sum != 0"
);

#[derive(Row, Deserialize)]
pub(super) struct Reward<'a> {
    pub program: &'a str,
    pub referrer: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub lead: Uuid,
    pub rewards_sum: i64,
    pub amount_sum: i64,
    pub approved_sum: i64,
}

pub(super) const FUNNEL: &str = concat!(
    "SELECT program, referrer, channel, ",
    sums!("arraySum(mapValues(value_minor))"),
    "FROM funnel WHERE program IN ? GROUP BY program, referrer, channel"
);

#[derive(Row, Deserialize)]
pub(super) struct Funnel<'a> {
    pub program: &'a str,
    pub referrer: &'a str,
    pub channel: &'a str,
    pub clicks_sum: i64,
    pub other_sum: i64,
    pub leads_sum: i64,
    pub by_click_sum: i64,
    pub by_code_sum: i64,
    pub qualified_sum: i64,
    pub lead_events_sum: i64,
    pub qualifications_sum: i64,
    pub value_sum: i64,
}

pub(super) const UNMATCHED: &str = "SELECT kind, id FROM unmatched WHERE program IN ?";

#[derive(Row, Deserialize)]
pub(super) struct Unmatched<'a> {
    pub kind: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
}

pub(super) const RECONCILIATION: &str = "SELECT toString(stream) AS stream_word, incarnation, partition, \
    toUInt64(first_offset) AS first, toUInt64(next_offset) AS next, toUInt64(records) AS records_count, \
    toUInt64(offsets) AS offsets_count, toInt64(missing) AS missing_count, toInt64(extra) AS extra_count \
    FROM reconciliation";

#[derive(Row, Deserialize)]
pub(super) struct Reconciled<'a> {
    pub stream_word: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub incarnation: Uuid,
    pub partition: u32,
    pub first: u64,
    pub next: u64,
    pub records_count: u64,
    pub offsets_count: u64,
    pub missing_count: i64,
    pub extra_count: i64,
}

/// The rows that are the outcome of the record at their offset. Corrections (revisions above 0) are not:
/// they stand at the offset of the record that caused them, which has its own outcome.
pub const OFFSETS: [&str; 11] = [
    "SELECT 'clicks' AS stream_word, incarnation, partition, offset FROM clicks",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM leads WHERE revision = 0",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM qualifications WHERE revision = 0",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM disqualifications WHERE revision = 0",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM reinstatements WHERE revision = 0",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM identifies",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM participants",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM shares",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM erasures",
    "SELECT 'conversions' AS stream_word, incarnation, partition, offset FROM reward_events WHERE revision = 0",
    "SELECT toString(stream) AS stream_word, incarnation, partition, offset FROM rejects",
];

#[derive(Row, Deserialize)]
pub(super) struct Offset<'a> {
    pub stream_word: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    pub incarnation: Uuid,
    pub partition: u32,
    pub offset: u64,
}

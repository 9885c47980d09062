//! The journal's metrics, each in one place with what it means.
//!
//! Only what should be rare is counted here: the hot path stays a copy. Callers count what they append
//! and read.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const REFUSED_RECORDS: &str = "whence_journal_refused_records_total";
const REFUSED_COMMITS: &str = "whence_journal_refused_commits_total";
const CORRUPT_RECORDS: &str = "whence_journal_corrupt_records_total";
const TORN_TAILS: &str = "whence_journal_torn_tails_total";
const DAMAGED_HEADERS: &str = "whence_journal_damaged_headers_total";
const SYNC_FAILURES: &str = "whence_journal_sync_failures_total";
const SYNC_SECONDS: &str = "whence_journal_sync_seconds";

/// Describes the journal's metrics to the installed recorder. Call once, after installing it.
///
/// `whence_journal_sync_seconds` is a histogram: give it buckets from 0.1 ms (a disk with a protected
/// cache) to 10 s (a disk in trouble).
pub fn describe_metrics() {
    describe_counter!(REFUSED_RECORDS, "records a writer refused, by reason (an `AppendError`'s tag)");
    describe_counter!(REFUSED_COMMITS, "group commits refused at once, by reason (a `CommitError`'s tag)");
    describe_counter!(CORRUPT_RECORDS, "record numbers handed to a reader as corrupt");
    describe_counter!(TORN_TAILS, "dead incarnations found to end in a half-written record");
    describe_counter!(DAMAGED_HEADERS, "segments opened for reading whose header is damaged");
    describe_counter!(SYNC_FAILURES, "syncs that failed and ended an incarnation");
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "duration of a group commit's sync");
}

pub(crate) fn refused_record(reason: &'static str) {
    counter!(REFUSED_RECORDS, "reason" => reason).increment(1);
}

pub(crate) fn refused_commit(reason: &'static str) {
    counter!(REFUSED_COMMITS, "reason" => reason).increment(1);
}

pub(crate) fn corrupt_records(records: u64) {
    counter!(CORRUPT_RECORDS).increment(records);
}

pub(crate) fn torn_tail() {
    counter!(TORN_TAILS).increment(1);
}

pub(crate) fn damaged_header() {
    counter!(DAMAGED_HEADERS).increment(1);
}

pub(crate) fn sync_failure() {
    counter!(SYNC_FAILURES).increment(1);
}

pub(crate) fn synced_in(duration: Duration) {
    histogram!(SYNC_SECONDS).record(duration);
}

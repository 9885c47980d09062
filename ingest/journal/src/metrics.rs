//! The journal's metrics, each in one place with what it means.
//!
//! Only what should be rare is counted here: the hot path stays a copy. Callers count what they append
//! and read.

use std::time::Duration;

use metrics::{counter, histogram};

whence_metrics::declare! {
    /// Records that a writer refused, by reason (an `AppendError`'s tag).
    counter REFUSED_RECORDS: "whence_journal_refused_records_total" { reason: crate::AppendError::TAGS };
    /// Group commits refused at once, by reason (a `CommitError`'s tag).
    counter REFUSED_COMMITS: "whence_journal_refused_commits_total" { reason: crate::CommitError::TAGS };
    /// Record numbers handed to a reader as corrupt.
    counter CORRUPT_RECORDS: "whence_journal_corrupt_records_total";
    /// Dead incarnations found to end in a half-written record.
    counter TORN_TAILS: "whence_journal_torn_tails_total";
    /// Segments opened for reading whose header is damaged.
    counter DAMAGED_HEADERS: "whence_journal_damaged_headers_total";
    /// Syncs that failed and ended an incarnation.
    counter SYNC_FAILURES: "whence_journal_sync_failures_total";
    /// Duration of a group commit's sync.
    histogram SYNC_SECONDS: "whence_journal_sync_seconds";
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

//! Why a journal refuses: one enum for each of opening, appending and committing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::prepare::NoBlank;

/// Why a journal could not be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another writer has the journal, in this process or another.
    #[error("another writer has the journal {0}")]
    Locked(PathBuf),
    /// The directory could not be used.
    #[error("cannot open the journal")]
    Io(#[from] io::Error),
}

/// Why a record was not appended. Nothing of it is in the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// All segments together have reached their quota. Passes when segments are retired.
    #[error("the journal has reached its quota")]
    QuotaReached,
    /// The disk has no room for another segment. Passes when it has.
    #[error("the disk is full")]
    DiskFull,
    /// The record does not fit a segment. Never passes.
    #[error("the record is larger than a segment")]
    TooLarge,
    /// The disk does not answer. Passes when it does.
    #[error("the disk does not answer")]
    Stalled,
    /// The disk failed. May pass.
    #[error("cannot write the journal")]
    Io(#[source] Arc<io::Error>),
    /// An earlier sync failed, so nothing this incarnation says can be relied on. Open a new one.
    #[error("the journal failed to sync and must be reopened")]
    Failed,
}

impl AppendError {
    /// What [`Self::tag`] can say.
    pub const TAGS: [&str; 6] = ["quota", "disk_full", "too_large", "stalled", "io", "failed"];

    /// A short static name for logs and metrics.
    pub fn tag(&self) -> &'static str {
        match self {
            AppendError::QuotaReached => "quota",
            AppendError::DiskFull => "disk_full",
            AppendError::TooLarge => "too_large",
            AppendError::Stalled => "stalled",
            AppendError::Io(_) => "io",
            AppendError::Failed => "failed",
        }
    }
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        NoBlank::from(error).into()
    }
}

impl From<NoBlank> for AppendError {
    fn from(refusal: NoBlank) -> Self {
        match refusal {
            NoBlank::Quota => AppendError::QuotaReached,
            NoBlank::Full => AppendError::DiskFull,
            NoBlank::Stalled => AppendError::Stalled,
            NoBlank::Io(error) => AppendError::Io(error),
        }
    }
}

/// Why records were not committed. They may be in the journal all the same: retry under the same id.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// As much as may wait for the disk is waiting.
    #[error("too much is waiting for the disk")]
    Busy,
    /// A record does not fit a segment, or the call's records together exceed what may wait.
    #[error("the records are too large")]
    TooLarge,
    /// The journal has reached its quota.
    #[error("the journal has reached its quota")]
    QuotaReached,
    /// The disk has no room.
    #[error("the disk is full")]
    DiskFull,
    /// The disk does not answer.
    #[error("the disk does not answer")]
    Stalled,
    /// The disk failed to sync or to write.
    #[error("cannot write the journal")]
    Io(#[source] Arc<io::Error>),
    /// The journal failed and is being reopened.
    #[error("the journal is being reopened")]
    Reopening,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

impl CommitError {
    /// What [`Self::tag`] can say.
    pub const TAGS: [&str; 8] =
        ["busy", "too_large", "quota", "disk_full", "stalled", "io", "reopening", "closed"];

    /// Whether the same records may be committed later. All but [`CommitError::TooLarge`].
    pub fn is_retriable(&self) -> bool {
        !matches!(self, CommitError::TooLarge)
    }

    /// A short static name for logs and metrics.
    pub fn tag(&self) -> &'static str {
        match self {
            CommitError::Busy => "busy",
            CommitError::TooLarge => "too_large",
            CommitError::QuotaReached => "quota",
            CommitError::DiskFull => "disk_full",
            CommitError::Stalled => "stalled",
            CommitError::Io(_) => "io",
            CommitError::Reopening => "reopening",
            CommitError::Closed => "closed",
        }
    }
}

impl From<AppendError> for CommitError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::QuotaReached => CommitError::QuotaReached,
            AppendError::DiskFull => CommitError::DiskFull,
            AppendError::Stalled => CommitError::Stalled,
            AppendError::TooLarge => CommitError::TooLarge,
            AppendError::Io(error) => CommitError::Io(error),
            AppendError::Failed => CommitError::Reopening,
        }
    }
}

//! Where records come from: one partition of a Kafka topic, or one journal.

use crate::position::{Commit, Partition};
use bytes::Bytes;
use std::{future::Future, time::Duration};
use whence_schemas::{ids::Incarnation, time::UnixMs};

/// A record and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the chunk's incarnation.
    pub offset: u64,
    /// The broker's or journal's time of it; used only where the payload's own can't be read.
    pub timestamp: UnixMs,
    /// Its bytes, or `None` where the journal knows the record but its bytes are damaged.
    pub payload: Option<Bytes>,
}

/// Some records of one incarnation, in order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The incarnation of all of them.
    pub incarnation: Incarnation,
    /// The records; empty where none came in time.
    pub records: Vec<Record>,
}

/// Why a source did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The partition is somebody else's now: stop, and touch nothing.
    #[error("the partition was taken away")]
    Lost,
    /// It may work later: start again from what is committed.
    #[error("the source failed")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It can't work before a person has looked at it.
    #[error("the source can't go on")]
    Fatal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where a source goes on, and how it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A partition's owner committed this.
    Committed(Commit),
    /// No owner's commit is there: the first record there is, or the offset that somebody set by hand. What
    /// stands there may be stored already.
    Uncommitted(Commit),
}

/// One partition, read from the committed position on.
pub trait Source: Send {
    /// Which partition this is.
    fn partition(&self) -> Partition;

    /// Goes back to what was committed last and returns it; reading goes on from its `next`.
    fn restart(&mut self) -> impl Future<Output = Result<Start, SourceError>> + Send;

    /// The next records, at most `records_max`, all of one incarnation. Waits for the first one up to
    /// `wait`; then gives what is there. An empty chunk: none came.
    fn read(
        &mut self,
        records_max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Chunk, SourceError>> + Send;

    /// Up to where an earlier incarnation was stored, as far as the commit knows: where it has come to a later one of
    /// which nothing is stored yet.
    fn stored_before(&self) -> Option<(Incarnation, u64)> {
        None
    }

    /// The first record that is not stored, where these ends of incarnations are: from there on it is to be read again.
    /// Seeks nothing.
    fn first_behind(
        &mut self,
        stored: &[(Incarnation, u64)],
    ) -> impl Future<Output = Result<Commit, SourceError>> + Send;

    /// The time that stands for that of records of which nothing is known but their offsets.
    fn time_of(&self, incarnation: Incarnation) -> UnixMs;

    /// Remembers this durably, replacing what was committed before.
    fn commit(&mut self, commit: &Commit) -> impl Future<Output = Result<(), SourceError>> + Send;
}

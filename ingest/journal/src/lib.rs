//! A durable segmented log on local disk: what the edge and the events API write before they answer,
//! and what the shipper and the aggregator read.
//!
//! | module | role |
//! |---|---|
//! | [`Position`], [`Incarnation`] | where a record stands |
//! | [`Writer`] | appends; one per journal, one thread, survives SIGKILL |
//! | [`GroupCommit`] | appends from many tasks, answered when on the disk |
//! | [`Reader`] | reads in order, also while it is written, also what is damaged |
//! | [`Checkpoint`] | a reader's place, kept in a file |
//! | [`retire`], [`disk_usage`] | what is no longer needed, and what there is |
//! | [`snapshot`], [`merge`], [`missing`] | a copy while it is written; one of two; what lacks in it |
//! | [`Quota`] | how much there may be, in one journal or in several |
//! | [`Disk`] | the calls that can fail, to make them fail in tests |
//!
//! Internally: `frame` (a record's bytes) and `layout` (a segment's) are pure; `mapping` holds all the
//! unsafe code; `segment` is a segment being written, `cursor` one being read, `resync` the search
//! behind damage; `directory` the files; `prepare` the thread that makes segments ready.
//!
//! # Promises
//!
//! - A record that [`Writer::append`] returned for is read, once and in order, by every reader, after
//!   any death of the process. A power cut may take records that were not synced, the newest first as
//!   a rule; what is missing below a record that was kept is reported.
//! - A record that [`GroupCommit::append`] resolved for is on the disk.
//! - A damaged record is reported at its own position; what is around it is read. Nothing is made up.
//! - An offset is never used twice: every opening is a new [`Incarnation`].
//! - Everything is bounded: the directories by their quota, a read by its limits, what waits for a sync by
//!   its bytes. A journal at its limit refuses, and counts that.
//!
//! # Deliberately absent
//!
//! No truncation of damaged tails and no repair: a new incarnation begins behind them. No index: a
//! segment is small enough to walk. No knowledge of what a payload is. No runtime: readers poll, and
//! [`GroupCommit`]'s future runs on any.

mod checkpoint;
mod cursor;
mod directory;
mod disk;
mod error;
mod frame;
mod group_commit;
mod layout;
mod mapping;
mod metrics;
mod position;
mod prepare;
mod quota;
mod read;
mod reader;
mod record;
mod resync;
mod segment;
mod snapshot;
mod writer;

pub use checkpoint::{Checkpoint, NOTE_BYTES_MAX, Stored};
pub use directory::{DiskUsage, Retired, disk_usage, retire, sync};
pub use disk::{Disk, OsDisk};
pub use error::{AppendError, CommitError, OpenError};
pub use group_commit::{GroupCommit, GroupCommitConfig};
pub use position::{Incarnation, Position};
pub use quota::Quota;
pub use reader::{ReadError, Reader};
pub use record::{Payload, ReadOutcome, Record};
pub use snapshot::{Missing, merge, missing, snapshot};
pub use writer::{JournalConfig, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Visibility, Writer};

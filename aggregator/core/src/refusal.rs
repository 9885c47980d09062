//! Why a record becomes no fact, and the row that says so.

use crate::{position::BlockRange, source::Record};
use uuid::Uuid;
use whence_schemas::{
    reject::RejectReason,
    rows::{Lc, RejectRow},
    time::UnixMs,
};

/// A record that becomes a reject, with all of it that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RejectReason,
    /// For a person; never text from the record, except for a dead letter's ids and fixed words.
    pub detail: String,
    /// The time of receipt in the record.
    pub received_at: Option<UnixMs>,
    /// Program, or empty.
    pub program: String,
    /// Click or event id, or nil.
    pub event_id: Uuid,
    /// Kind of event, or empty.
    pub kind: &'static str,
    /// Whether the event says it is live.
    pub live: bool,
}

impl Refusal {
    /// A record whose bytes do not say what they must.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Refusal {
        Refusal { reason: RejectReason::Malformed, detail: detail.into(), ..Refusal::default() }
    }

    /// A record whose bytes the journal found damaged.
    #[must_use]
    pub fn damaged() -> Refusal {
        Refusal {
            reason: RejectReason::Damaged,
            detail: "the journal's checksum does not fit".into(),
            ..Refusal::default()
        }
    }

    /// The row for the record. Its month depends on the record alone.
    #[must_use]
    pub fn row(self, range: &BlockRange, record: &Record) -> RejectRow {
        RejectRow {
            received_at: self.received_at.unwrap_or(record.timestamp).clamped(),
            stream: Lc(range.partition.stream.word().into()),
            program: Lc(self.program),
            event_id: self.event_id,
            kind: Lc(self.kind.into()),
            reason: Lc(self.reason.word().into()),
            detail: self.detail,
            live: self.live,
            payload_bytes: payload_bytes(record),
            incarnation: range.incarnation,
            partition: range.partition.number,
            offset: record.offset,
        }
    }
}

/// Bytes of the record, 0 where it is damaged.
pub(crate) fn payload_bytes(record: &Record) -> u32 {
    record.payload.as_ref().map_or(0, |payload| u32::try_from(payload.len()).unwrap_or(u32::MAX))
}

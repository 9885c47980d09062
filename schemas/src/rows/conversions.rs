//! The tables of what is neither lead nor qualification.

use super::{
    column::{Column, Lc},
    tables::table,
};
use crate::{
    ids::{EventId, Incarnation},
    subject::SubjectKey,
    time::UnixMs,
};
use uuid::Uuid;

table!(
    /// A refund, chargeback or other taking back of qualifications.
    "disqualifications" DisqualificationRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it happened, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// `refund`, `chargeback`, …, as the caller says.
        reason: Lc,
        /// The caller's lead id, or its keyed hash in hex.
        lead: String,
        /// Keyed hashes of the lead id and the aliases.
        keys: Vec<SubjectKey>,
        /// Event id of the qualification it names; nil: that of `payments`, or all of the person's so far.
        qualification_id: Uuid,
        /// The names it has for the payment, hashed.
        payments: Vec<SubjectKey>,
        /// Minor units of `currency` to take back; 0: all.
        value_minor: i64,
        /// ISO 4217, or empty.
        currency: Lc,
        /// `waiting` (for what it takes back), `applied`, `repeated` (all of it was taken back before),
        /// `excess` (more than was left), `currency` (nothing was paid in it), `reinstated` (all that it took was
        /// given again).
        outcome: Lc,
        /// Qualifications that it took back, whole or in part.
        qualifications: u64,
        /// Minor units that it took back, 0 where they are of several currencies.
        taken_minor: i64,
        /// Their currency.
        taken_currency: Lc,
        /// Minor units beyond what was left.
        excess_minor: i64,
        /// Where the event came from.
        source: Lc,
        /// Only live rows reach rollups.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// 1, or -1 on a row that takes another back.
        sign: i8,
        /// 0 on the record's own row.
        revision: u32,
        /// Incarnation of the causing record.
        incarnation: Incarnation,
        /// Partition of the causing record.
        partition: u32,
        /// Offset of the causing record.
        offset: u64,
    }
);

table!(
    /// What was taken back is given again.
    "reinstatements" ReinstatementRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it happened, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// `dispute_won`, `refund_failed`, …, as the caller says.
        reason: Lc,
        /// The caller's lead id, or its keyed hash in hex.
        lead: String,
        /// Keyed hashes of the lead id and the aliases.
        keys: Vec<SubjectKey>,
        /// Event id of the disqualification that it undoes; nil: those of `payments` that happened no later.
        disqualification_id: Uuid,
        /// The names it has for the payment, hashed.
        payments: Vec<SubjectKey>,
        /// Minor units of `currency` to give again; 0: all.
        value_minor: i64,
        /// ISO 4217, or empty.
        currency: Lc,
        /// `waiting` (for what it undoes), `applied`, `nothing` (nothing was taken back, or all of it was given again
        /// before), `excess` (more than was taken back), `currency` (nothing was taken back in it).
        outcome: Lc,
        /// Minor units that it gave again, 0 where they are of several currencies.
        given_minor: i64,
        /// Their currency.
        given_currency: Lc,
        /// Minor units beyond what was taken back.
        excess_minor: i64,
        /// Where the event came from.
        source: Lc,
        /// Only live rows reach rollups.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// 1, or -1 on a row that takes another back.
        sign: i8,
        /// 0 on the record's own row.
        revision: u32,
        /// Incarnation of the causing record.
        incarnation: Incarnation,
        /// Partition of the causing record.
        partition: u32,
        /// Offset of the causing record.
        offset: u64,
    }
);

table!(
    /// All keys are one person's, all payments one payment.
    "identifies" IdentifyRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it happened, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// The caller's lead id, or its keyed hash in hex.
        lead: String,
        /// Keyed hashes of the lead id and the aliases.
        keys: Vec<SubjectKey>,
        /// The names that it has for one payment, hashed.
        payments: Vec<SubjectKey>,
        /// Where the event came from.
        source: Lc,
        /// Whether the event is live.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Always 1.
        sign: i8,
        /// Always 0.
        revision: u32,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

table!(
    /// A referrer joined the program.
    "participants" ParticipantRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it happened, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// Who joined.
        referrer: String,
        /// Keyed hashes of the referrer's own aliases.
        keys: Vec<SubjectKey>,
        /// Keyed hash of the /24 or /48 of the referrer's address with that day's salt, 0 where it was not said.
        prefix: u64,
        /// Where the event came from.
        source: Lc,
        /// Whether the event is live.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Always 1.
        sign: i8,
        /// Always 0.
        revision: u32,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

table!(
    /// A referrer shared a link.
    "shares" ShareRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it happened, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// Who shared.
        referrer: String,
        /// `host/code`, or empty.
        link: String,
        /// Where.
        channel: Lc,
        /// Keyed hash of the /24 or /48 of the referrer's address with that day's salt, 0 where it was not said.
        prefix: u64,
        /// Where the event came from.
        source: Lc,
        /// Whether the event is live.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Always 1.
        sign: i8,
        /// Always 0.
        revision: u32,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

table!(
    /// A person was forgotten; the row does not say who.
    "erasures" ErasureRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it was asked for, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// Who asked for it.
        requested_by: String,
        /// Events whose personal columns are blank since.
        events: u64,
        /// Keys that are suppressed since.
        suppressed: u64,
        /// Rewards of the person's, counted when the keys ceased to lead to them; 0 until then.
        rewards: u64,
        /// Whether the keys still lead to the person's events: until all copies of these are blank.
        linked: bool,
        /// Where the event came from.
        source: Lc,
        /// Whether the event is live. What it does, it does to test events too.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Always 1.
        sign: i8,
        /// Always 0.
        revision: u32,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

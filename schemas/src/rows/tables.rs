//! The tables: see `sql/` for what each is ordered and partitioned by.

use super::{
    column::{Column, Evidence, Lc},
    touch::TouchValue,
};
use crate::{
    event::Verdict,
    ids::{ClickId, EventId, Incarnation},
    subject::SubjectKey,
    time::UnixMs,
};
use uuid::Uuid;

macro_rules! table {
    ($(#[$doc:meta])* $table:literal $row:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $row {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl super::Row for $row {
            const TABLE: &'static str = $table;

            fn columns() -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), <$kind as Column>::kind())),*]
            }

            fn encode(&self, out: &mut Vec<u8>) {
                $(Column::put(&self.$field, out);)*
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                Some($row { $($field: Column::take(bytes)?,)* })
            }
        }
    };
}
pub(super) use table;

table!(
    /// A click, as [`crate::event::Click`] says it.
    "clicks" ClickRow {
        /// Program.
        program: Lc,
        /// The millisecond in `id`.
        ts: UnixMs,
        /// Click id.
        id: ClickId,
        /// Who shared the link.
        referrer: String,
        /// `host/code`.
        link: String,
        /// Where it was shared.
        channel: Lc,
        /// Where the visitor was sent.
        destination: String,
        /// Version of the registry the link was read from.
        registry_version: u64,
        /// Who clicked, or that the link led nowhere.
        verdict: Verdict,
        /// Why the verdict.
        reason: Lc,
        /// Who clicked, wherever the link led. Unspecified: several.
        made_by: Verdict,
        /// Why `made_by`.
        made_by_reason: Lc,
        /// How the link was read out of the request; empty: its code as it stands.
        reading: Lc,
        /// Keyed hash of the visitor cookie, 0 without one.
        visitor: u64,
        /// Keyed hash of the address, with a daily salt.
        address: u64,
        /// Keyed hash of its /24 or /48, with a daily salt.
        prefix: u64,
        /// How many requests it stands for: 1, except for those that had used up their network's share.
        requests: u64,
        /// Only live rows reach rollups.
        live: bool,
        /// Always 1.
        sign: i8,
        /// Incarnation of the topic or journal.
        incarnation: Incarnation,
        /// Partition of the topic, or number of the journal.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

table!(
    /// A lead: one row for every accepted lead event, credited or not. Of several events about one record the first
    /// one received counts; the others have `sign` 0 and the reason `same_record`.
    "leads" LeadRow {
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
        /// On what it was credited.
        evidence: Evidence,
        /// Why better evidence was refused, or why there is none; empty where there is nothing to say.
        reason: Lc,
        /// Who is credited; empty: nobody.
        referrer: String,
        /// `host/code` that led here.
        link: String,
        /// Channel of the touch.
        channel: Lc,
        /// The click, nil without a token.
        click_id: Uuid,
        /// Time of the click, 0 without a token.
        clicked_at: UnixMs,
        /// `last_touch` or `first_touch`.
        model: Lc,
        /// The program's window at acceptance, milliseconds.
        window_ms: u64,
        /// `refuse` or `allow`: whether a person who was a lead already can be referred again.
        existing_customers: Lc,
        /// Event id of the person's first lead, where that is another one; of an event about a record that another
        /// one stands for, the id of that.
        first_lead: Uuid,
        /// The source's record that it is, hashed; nil: it is a lead of its own.
        record: Uuid,
        /// What the lead's own touches prove, whatever came of it.
        touch_evidence: Evidence,
        /// Why better evidence was refused.
        touch_reason: Lc,
        /// The referrer that they name.
        touch_referrer: String,
        /// The link they name.
        touch_link: String,
        /// The channel they name.
        touch_channel: Lc,
        /// The click they prove.
        touch_click_id: Uuid,
        /// Its time.
        touch_clicked_at: UnixMs,
        /// All touches, in the order in which the lead names them.
        touches: Vec<TouchValue>,
        /// Version of the registry at acceptance.
        registry_version: u64,
        /// Where the event came from.
        source: Lc,
        /// Only live rows reach rollups.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Of the one lead that stands for its person in the program 1, taken back -1; of other leads 0.
        person: i8,
        /// 1, -1 on a row that takes another back, 0 on one that does not count.
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
    /// A qualification: the record's own row says what was known when it came; when its lead comes
    /// later, a row with `sign` -1 takes that back and a new one names the lead. One whose condition on the
    /// person's history is not met has `sign` 0 and a reason: it is stored, and no sum counts it.
    "qualifications" QualificationRow {
        /// Program.
        program: Lc,
        /// Event id.
        id: EventId,
        /// When it happened, as the caller says.
        occurred_at: UnixMs,
        /// When the events API took it.
        received_at: UnixMs,
        /// What was reached.
        name: Lc,
        /// The caller's lead id, or its keyed hash in hex.
        lead: String,
        /// Keyed hashes of the lead id and the aliases.
        keys: Vec<SubjectKey>,
        /// Event id of the lead; nil: unmatched, waiting for it.
        lead_id: Uuid,
        /// The lead's evidence.
        evidence: Evidence,
        /// The lead's referrer.
        referrer: String,
        /// The lead's link.
        link: String,
        /// The lead's channel.
        channel: Lc,
        /// The lead's click.
        click_id: Uuid,
        /// Minor units of `currency` that are left after what was taken back.
        value_minor: i64,
        /// Minor units before anything was taken back.
        paid_minor: i64,
        /// ISO 4217, or empty.
        currency: Lc,
        /// `first_payment` or `spend_at_least`: what the person's history must say for it to count. Empty:
        /// nothing.
        condition: Lc,
        /// Of `spend_at_least`: the total, minor units of `threshold_currency`.
        threshold_minor: i64,
        /// ISO 4217, or empty.
        threshold_currency: Lc,
        /// Of `spend_at_least`: days within which it is to be reached.
        within_days: u32,
        /// The names that its source has for the payment, hashed.
        payments: Vec<SubjectKey>,
        /// Why it does not count: `not_first_payment`, `below_threshold`, `reached_before`, `other_currency`,
        /// `outside_window`, `taken_back` or `same_payment` (another event tells of the payment). Empty where it counts.
        reason: Lc,
        /// Where the event came from.
        source: Lc,
        /// Only live rows reach rollups.
        live: bool,
        /// Keyed hash of what the caller said, by which another event under the same id is told; 0: not known.
        digest: u64,
        /// Of the person's first qualification that counts and has a lead 1, taken back -1; of others 0.
        person: i8,
        /// 1, -1 on a row that takes another back, 0 on one that does not count.
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
    /// Finds what was said about a person by each key of the person: one row for each key of each event. An
    /// event's keys are one person's; the id of a qualification is a key of it too, so that what takes it
    /// back finds it.
    "subject_keys" SubjectKeyRow {
        /// Program.
        program: Lc,
        /// Keyed hash of a lead id or alias.
        key: SubjectKey,
        /// `lead`, `qualification` (`waiting` in rows of earlier versions), `disqualification`, `reinstatement`,
        /// `identify`, `participant`, or `erased`: the key is suppressed.
        kind: Lc,
        /// Event id.
        event_id: EventId,
        /// All keys of the event, this one included.
        keys: Vec<SubjectKey>,
        /// Those of them that are names of one payment.
        payments: Vec<SubjectKey>,
        /// Of a lead: the source's record that it is, hashed; nil: it is a lead of its own.
        record: Uuid,
        /// When the events API took it.
        received_at: UnixMs,
        /// Test events find only test events.
        live: bool,
        /// Whether the event gave an email address of a mailbox that is thrown away after use.
        email_disposable: bool,
        /// Of a lead: keyed hash of the /24 or /48 of the person's address with that day's salt, 0 where it was not
        /// said.
        prefix: u64,
        /// What a lead's own touches prove.
        evidence: Evidence,
        /// The referrer that they name; of a participant: itself.
        referrer: String,
        /// The link they name.
        link: String,
        /// The channel they name.
        channel: Lc,
        /// The click they prove.
        click_id: Uuid,
        /// Incarnation of the causing record.
        incarnation: Incarnation,
        /// Partition of the causing record.
        partition: u32,
        /// Offset of the causing record.
        offset: u64,
    }
);

table!(
    /// A record that became no fact, with the reason.
    "rejects" RejectRow {
        /// The time in the record, or the record's own where none can be read.
        received_at: UnixMs,
        /// `clicks` or `conversions`.
        stream: Lc,
        /// Program, where it can be read.
        program: Lc,
        /// Click or event id, nil where it can't be read.
        event_id: Uuid,
        /// Kind of event, where it can be read.
        kind: Lc,
        /// `duplicate`, `malformed`, `suppressed`, …
        reason: Lc,
        /// What a person needs to find the fault; never text from the record.
        detail: String,
        /// Whether the event said so; false where it can't be read.
        live: bool,
        /// Bytes of the record.
        payload_bytes: u32,
        /// Incarnation of the record.
        incarnation: Incarnation,
        /// Partition of the record.
        partition: u32,
        /// Offset of the record.
        offset: u64,
    }
);

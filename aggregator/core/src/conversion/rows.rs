//! Between what is known and the rows that say it. A record's own row has revision 0; a correction takes the
//! standing row back with all its dimensions and writes it again, as caused by the record that brought it about.

use super::{
    condition::Condition,
    credit::Credit,
    decode::{Conversion, Kind},
    people::id_key,
    person::{
        Disqualification, DisqualificationState, Lead, LeadState, Qualification, QualificationState,
        Reinstatement, ReinstatementState,
    },
};
use crate::position::BlockRange;
use uuid::Uuid;
use whence_schemas::{
    event::AttributionModel,
    history::{FIRST_PAYMENT, SPEND_AT_LEAST},
    ids::{EventId, Incarnation},
    rows::{
        DisqualificationRow, ErasureRow, Evidence, IdentifyRow, Lc, LeadRow, ParticipantRow,
        QualificationRow, ReinstatementRow, ShareRow, SubjectKeyRow, TouchValue,
    },
    subject::SubjectKey,
};

/// The place of the record that causes rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    incarnation: Incarnation,
    partition: u32,
    offset: u64,
}

impl Cause {
    pub fn new(range: &BlockRange, offset: u64) -> Cause {
        Cause { incarnation: range.incarnation, partition: range.partition.number, offset }
    }
}

/// A row that can be taken back and written again, with `sign` 0 where it is to stand and not to count.
pub(super) trait Signed: Clone + PartialEq {
    fn sign(&self) -> i8;
    fn revision(&self) -> u32;
    /// The same dimensions with this sign and revision, as caused by that record.
    fn signed(&self, sign: i8, revision: u32, cause: Cause) -> Self;
}

macro_rules! signed {
    ($($row:ident $(($counted:ident))?),*) => {$(
        impl Signed for $row {
            fn sign(&self) -> i8 {
                self.sign
            }
            fn revision(&self) -> u32 {
                self.revision
            }
            fn signed(&self, sign: i8, revision: u32, cause: Cause) -> $row {
                let Cause { incarnation, partition, offset } = cause;
                $(let $counted = if sign < 0 { -self.$counted } else { self.$counted };)?
                $row { $($counted,)? sign, revision, incarnation, partition, offset, ..self.clone() }
            }
        }
    )*};
}
signed!(LeadRow(person), QualificationRow(person), DisqualificationRow, ReinstatementRow);

/// The newest row of a fact: the one that stands, or the one that took it back.
#[derive(Clone, Debug)]
pub(super) struct NewestRow<R> {
    row: R,
}

impl<R: Signed> NewestRow<R> {
    /// Of the newest row.
    pub fn new(newest: R) -> NewestRow<R> {
        NewestRow { row: newest }
    }

    /// The dimensions.
    pub fn row(&self) -> &R {
        &self.row
    }

    /// Sees to it that this stands, or nothing; the rows that takes are added to `made`.
    pub fn change_to(&mut self, wanted: Option<R>, cause: Cause, made: &mut Vec<R>) {
        if wanted.as_ref() == Some(&self.row) {
            return;
        }
        let revision = self.row.revision() + 1;
        if self.row.sign() > 0 {
            self.row = self.row.signed(-1, revision, cause);
            made.push(self.row.clone());
        }
        if let Some(wanted) = wanted {
            self.row = wanted.signed(wanted.sign(), revision, cause);
            made.push(self.row.clone());
        }
    }
}

/// The lead that a row is of.
pub(super) fn lead_of(row: &LeadRow) -> Lead {
    let proved = match row.touch_evidence {
        // Earlier versions did not keep what touches prove apart from what came of it.
        Evidence::Alias => Credit::nobody(&row.touch_reason.0),
        evidence => Credit {
            evidence,
            reason: row.touch_reason.0.clone(),
            referrer: row.touch_referrer.clone(),
            link: row.touch_link.clone(),
            channel: row.touch_channel.0.clone(),
            click_id: row.touch_click_id,
            clicked_at: row.touch_clicked_at,
        },
    };
    let allows_existing = row.existing_customers.0 == ALLOW;
    Lead {
        received_at: row.received_at,
        occurred_at: row.occurred_at,
        id: row.id,
        proved,
        touches: row.touches.clone(),
        model: match row.model.0.as_str() {
            FIRST_TOUCH => AttributionModel::FirstTouch,
            _ => AttributionModel::LastTouch,
        },
        window_ms: row.window_ms,
        allows_existing,
        record: (!row.record.is_nil()).then(|| id_key(EventId(row.record))),
    }
}

/// The qualification that a row is of.
pub(super) fn qualification_of(row: &QualificationRow) -> Qualification {
    Qualification {
        id: row.id,
        received_at: row.received_at,
        occurred_at: row.occurred_at,
        payments: row.payments.clone(),
        name: row.name.0.clone(),
        paid_minor: row.paid_minor,
        currency: row.currency.0.clone(),
        condition: Condition::of(row),
    }
}

/// The disqualification that a row is of.
pub(super) fn disqualification_of(row: &DisqualificationRow) -> Disqualification {
    Disqualification {
        received_at: row.received_at,
        id: row.id,
        occurred_at: row.occurred_at,
        qualification: Some(EventId(row.qualification_id)).filter(|id| !id.0.is_nil()),
        payments: row.payments.clone(),
        value_minor: row.value_minor,
        currency: row.currency.0.clone(),
    }
}

/// The reinstatement that a row is of.
pub(super) fn reinstatement_of(row: &ReinstatementRow) -> Reinstatement {
    Reinstatement {
        received_at: row.received_at,
        id: row.id,
        occurred_at: row.occurred_at,
        disqualification: Some(EventId(row.disqualification_id)).filter(|id| !id.0.is_nil()),
        payments: row.payments.clone(),
        value_minor: row.value_minor,
        currency: row.currency.0.clone(),
    }
}

/// The row with what stands for it.
pub(super) fn with_lead_state(row: &LeadRow, state: LeadState) -> LeadRow {
    let LeadState { credit, first_lead, counts, is_person } = state;
    LeadRow {
        evidence: credit.evidence,
        reason: Lc(credit.reason),
        referrer: credit.referrer,
        link: credit.link,
        channel: Lc(credit.channel),
        click_id: credit.click_id,
        clicked_at: credit.clicked_at,
        first_lead,
        person: i8::from(is_person),
        sign: i8::from(counts),
        ..row.clone()
    }
}

/// The row with what stands for it, or nothing where all was taken back of what has no condition.
pub(super) fn with_qualification_state(
    row: &QualificationRow,
    state: QualificationState,
) -> Option<QualificationRow> {
    let value_minor = match state.left_minor {
        // Taken back is a reason like others why a condition is not met.
        None if !state.unmet.is_empty() => 0,
        left_minor => left_minor?,
    };
    let (lead_id, credit) = state.lead.map_or_else(Default::default, |(id, credit)| (id.0, credit));
    Some(QualificationRow {
        lead_id,
        evidence: credit.evidence,
        referrer: credit.referrer,
        link: credit.link,
        channel: Lc(credit.channel),
        click_id: credit.click_id,
        value_minor,
        reason: Lc(state.unmet.into()),
        person: i8::from(state.is_person),
        sign: i8::from(state.unmet.is_empty()),
        ..row.clone()
    })
}

/// The row with what stands for it.
pub(super) fn with_disqualification_state(
    row: &DisqualificationRow,
    state: DisqualificationState,
) -> DisqualificationRow {
    DisqualificationRow {
        outcome: Lc(state.outcome.into()),
        qualifications: state.qualifications,
        taken_minor: state.taken_minor,
        taken_currency: Lc(state.taken_currency),
        excess_minor: state.excess_minor,
        ..row.clone()
    }
}

/// The row with what stands for it.
pub(super) fn with_reinstatement_state(
    row: &ReinstatementRow,
    state: ReinstatementState,
) -> ReinstatementRow {
    ReinstatementRow {
        outcome: Lc(state.outcome.into()),
        given_minor: state.given_minor,
        given_currency: Lc(state.given_currency),
        excess_minor: state.excess_minor,
        ..row.clone()
    }
}

const FIRST_TOUCH: &str = "first_touch";
const LAST_TOUCH: &str = "last_touch";
const ALLOW: &str = "allow";
const REFUSE: &str = "refuse";

/// Everything every conversion's own row has: position, times, program.
macro_rules! own_row {
    ($row:ident, $conversion:ident, $cause:ident, { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        $row {
            program: Lc($conversion.program.clone()),
            id: $conversion.id,
            occurred_at: $conversion.occurred_at,
            received_at: $conversion.received_at,
            source: Lc($conversion.source.clone()),
            live: $conversion.live,
            digest: $conversion.digest,
            sign: 1,
            revision: 0,
            incarnation: $cause.incarnation,
            partition: $cause.partition,
            offset: $cause.offset,
            $($field $(: $value)?,)*
        }
    };
}

/// The source's record that a lead is; nil for none.
fn record_of(conversion: &Conversion) -> Uuid {
    match &conversion.kind {
        Kind::Lead { record: Some(record), .. } => Uuid::from_bytes(record.0),
        _ => Uuid::nil(),
    }
}

/// The record's own row, credited to nobody yet.
pub(super) fn lead_row(
    conversion: &Conversion,
    touches: Vec<TouchValue>,
    proved: &Credit,
    cause: Cause,
) -> LeadRow {
    let model = match conversion.model {
        AttributionModel::FirstTouch => FIRST_TOUCH,
        AttributionModel::LastTouch | AttributionModel::Unspecified => LAST_TOUCH,
    };
    let nobody = Credit::default();
    own_row!(LeadRow, conversion, cause, {
        lead: conversion.lead.clone(),
        keys: conversion.keys.clone(),
        evidence: nobody.evidence,
        reason: Lc(nobody.reason),
        referrer: nobody.referrer,
        link: nobody.link,
        channel: Lc(nobody.channel),
        click_id: nobody.click_id,
        clicked_at: nobody.clicked_at,
        model: Lc(model.into()),
        window_ms: conversion.window_ms,
        existing_customers: Lc(if conversion.allows_existing { ALLOW } else { REFUSE }.into()),
        first_lead: Uuid::nil(),
        person: 0,
        record: record_of(conversion),
        touch_evidence: proved.evidence,
        touch_reason: Lc(proved.reason.clone()),
        touch_referrer: proved.referrer.clone(),
        touch_link: proved.link.clone(),
        touch_channel: Lc(proved.channel.clone()),
        touch_click_id: proved.click_id,
        touch_clicked_at: proved.clicked_at,
        touches,
        registry_version: conversion.registry_version,
    })
}

/// The record's own row, without a lead; `None` where it is not a qualification.
pub(super) fn qualification_row(conversion: &Conversion, cause: Cause) -> Option<QualificationRow> {
    let Kind::Qualification { name, value_minor, currency, condition, .. } = &conversion.kind else {
        return None;
    };
    let (condition, (threshold_minor, threshold_currency, within_days)) = match condition {
        None => ("", Default::default()),
        Some(Condition::FirstPayment) => (FIRST_PAYMENT, Default::default()),
        Some(Condition::SpendAtLeast { minor, currency, days }) => {
            (SPEND_AT_LEAST, (*minor, currency.clone(), *days))
        }
    };
    Some(own_row!(QualificationRow, conversion, cause, {
        name: Lc(name.clone()),
        lead: conversion.lead.clone(),
        keys: conversion.keys.clone(),
        lead_id: Uuid::nil(),
        evidence: Evidence::None,
        referrer: String::new(),
        link: String::new(),
        channel: Lc(String::new()),
        click_id: Uuid::nil(),
        value_minor: *value_minor,
        paid_minor: *value_minor,
        currency: Lc(currency.clone()),
        condition: Lc(condition.into()),
        threshold_minor,
        threshold_currency: Lc(threshold_currency),
        within_days,
        payments: conversion.payments.clone(),
        reason: Lc(String::new()),
        person: 0,
    }))
}

/// The record's own row, which has taken nothing back yet; `None` where it is not a disqualification.
pub(super) fn disqualification_row(conversion: &Conversion, cause: Cause) -> Option<DisqualificationRow> {
    let Kind::Disqualification { qualification, reason, value_minor, currency } = &conversion.kind else {
        return None;
    };
    Some(own_row!(DisqualificationRow, conversion, cause, {
        reason: Lc(reason.clone()),
        lead: conversion.lead.clone(),
        keys: conversion.keys.clone(),
        qualification_id: qualification.map_or(Uuid::nil(), |id| id.0),
        payments: conversion.payments.clone(),
        value_minor: *value_minor,
        currency: Lc(currency.clone()),
        outcome: Lc(String::new()),
        qualifications: 0,
        taken_minor: 0,
        taken_currency: Lc(String::new()),
        excess_minor: 0,
    }))
}

/// The record's own row, which has given nothing again yet; `None` where it is not a reinstatement.
pub(super) fn reinstatement_row(conversion: &Conversion, cause: Cause) -> Option<ReinstatementRow> {
    let Kind::Reinstatement { disqualification, reason, value_minor, currency } = &conversion.kind else {
        return None;
    };
    Some(own_row!(ReinstatementRow, conversion, cause, {
        reason: Lc(reason.clone()),
        lead: conversion.lead.clone(),
        keys: conversion.keys.clone(),
        disqualification_id: disqualification.map_or(Uuid::nil(), |id| id.0),
        payments: conversion.payments.clone(),
        value_minor: *value_minor,
        currency: Lc(currency.clone()),
        outcome: Lc(String::new()),
        given_minor: 0,
        given_currency: Lc(String::new()),
        excess_minor: 0,
    }))
}

/// The record's row.
pub(super) fn identify_row(conversion: &Conversion, cause: Cause) -> IdentifyRow {
    own_row!(IdentifyRow, conversion, cause, {
        lead: conversion.lead.clone(),
        keys: conversion.keys.clone(),
        payments: conversion.payments.clone(),
    })
}

/// The record's row.
pub(super) fn participant_row(conversion: &Conversion, referrer: &str, cause: Cause) -> ParticipantRow {
    own_row!(ParticipantRow, conversion, cause, {
        referrer: referrer.to_owned(),
        keys: conversion.keys.clone(),
        prefix: conversion.prefix,
    })
}

/// The record's row.
pub(super) fn share_row(
    conversion: &Conversion,
    [referrer, link, channel]: [&str; 3],
    cause: Cause,
) -> ShareRow {
    own_row!(ShareRow, conversion, cause, {
        referrer: referrer.to_owned(),
        link: link.to_owned(),
        channel: Lc(channel.to_owned()),
        prefix: conversion.prefix,
    })
}

/// The record's row.
pub(super) fn erasure_row(
    conversion: &Conversion,
    requested_by: &str,
    [events, suppressed]: [u64; 2],
    cause: Cause,
) -> ErasureRow {
    own_row!(ErasureRow, conversion, cause, {
        requested_by: requested_by.to_owned(),
        events,
        suppressed,
        rewards: 0,
        linked: events > 0,
    })
}

/// A row that finds the event by a key, for each of them.
pub(super) fn subject_keys(
    conversion: &Conversion,
    kind: &str,
    live: bool,
    keys: &[SubjectKey],
    credit: &Credit,
    cause: Cause,
) -> Vec<SubjectKeyRow> {
    let row = SubjectKeyRow {
        program: Lc(conversion.program.clone()),
        key: SubjectKey([0; 16]),
        kind: Lc(kind.to_owned()),
        event_id: conversion.id,
        keys: keys.to_vec(),
        payments: conversion.payments.clone(),
        record: record_of(conversion),
        received_at: conversion.received_at,
        live,
        email_disposable: conversion.email_disposable,
        prefix: conversion.prefix,
        evidence: credit.evidence,
        referrer: credit.referrer.clone(),
        link: credit.link.clone(),
        channel: Lc(credit.channel.clone()),
        click_id: credit.click_id,
        incarnation: cause.incarnation,
        partition: cause.partition,
        offset: cause.offset,
    };
    keys.iter().map(|key| SubjectKeyRow { key: *key, ..row.clone() }).collect()
}

//! The bytes of a conversion record become something to join, or a refusal that says why not.

use super::{condition::Condition, people::id_key};
use crate::{
    refusal::Refusal,
    reward::{Act, Head},
    source::Record,
};
use bytes::Bytes;
use uuid::Uuid;
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, DeadLetter, Event, ExistingCustomers, HistoryCondition,
        Mode, RewardTerms, Subject, Touch, event::Body, history_condition::Is,
    },
    history::mistake,
    ids::EventId,
    reject::RejectReason,
    reward::{MINOR_MAX, mistakes},
    subject::SubjectKey,
    time::UnixMs,
};

/// A conversion as its record says it.
#[derive(Clone, Debug)]
pub(super) struct Conversion {
    pub id: EventId,
    pub program: String,
    pub source: String,
    pub live: bool,
    pub occurred_at: UnixMs,
    pub received_at: UnixMs,
    pub registry_version: u64,
    pub model: AttributionModel,
    pub window_ms: u64,
    /// Whether a person who was a lead already can be referred again.
    pub allows_existing: bool,
    pub lead: String,
    pub keys: Vec<SubjectKey>,
    /// The names that its source has for the payment it is about, hashed; all of them are one payment's.
    pub payments: Vec<SubjectKey>,
    /// Whether it gave an email address of a mailbox that is thrown away after use.
    pub email_disposable: bool,
    /// Hash of the prefix of the address that it came from; 0: not said.
    pub prefix: u64,
    /// Keyed hash of what its caller said; 0: not known.
    pub digest: u64,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Lead {
        touches: Vec<Touch>,
        /// The source's record that it is, hashed; none: it is a lead of its own.
        record: Option<SubjectKey>,
    },
    Qualification {
        name: String,
        value_minor: i64,
        currency: String,
        rewards: RewardTerms,
        condition: Option<Condition>,
    },
    Disqualification {
        qualification: Option<EventId>,
        reason: String,
        value_minor: i64,
        currency: String,
    },
    Reinstatement {
        disqualification: Option<EventId>,
        reason: String,
        value_minor: i64,
        currency: String,
    },
    Identify,
    Participant {
        referrer: String,
    },
    Share {
        referrer: String,
        link: String,
        channel: String,
    },
    Erasure {
        requested_by: String,
    },
    Reward {
        act: Act,
        reward: Uuid,
    },
}

impl Kind {
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Lead { .. } => "lead",
            Kind::Qualification { .. } => "qualification",
            Kind::Disqualification { .. } => "disqualification",
            Kind::Reinstatement { .. } => "reinstatement",
            Kind::Identify => "identify",
            Kind::Participant { .. } => "participant",
            Kind::Share { .. } => "share",
            Kind::Erasure { .. } => "erasure",
            Kind::Reward { act, .. } => act.word(),
        }
    }
}

impl Conversion {
    /// The terms that a qualification brings.
    pub fn terms(&self) -> Option<RewardTerms> {
        match &self.kind {
            Kind::Qualification { rewards, .. } => Some(rewards.clone()),
            _ => None,
        }
    }

    /// What rewards need to know of any event.
    pub fn head(&self, offset: u64) -> Head {
        Head {
            id: self.id,
            program: self.program.clone(),
            source: self.source.clone(),
            live: self.live,
            occurred_at: self.occurred_at,
            received_at: self.received_at,
            registry_version: self.registry_version,
            digest: self.digest,
            offset,
        }
    }

    /// A refusal of this event, with all that its row should say.
    pub fn refusal(self, reason: RejectReason) -> Refusal {
        Refusal {
            reason,
            detail: String::new(),
            received_at: Some(self.received_at),
            program: self.program,
            event_id: self.id.0,
            kind: self.kind.word(),
            live: self.live,
        }
    }
}

/// The event of a record.
pub(super) fn conversion(record: &Record) -> Result<Conversion, Refusal> {
    let payload = record.payload.as_ref().ok_or_else(Refusal::damaged)?;
    let event: Event = event::decode(payload).map_err(|error| Refusal::malformed(error.to_string()))?;
    let id = EventId::from_bytes(&event.id).ok_or_else(|| Refusal::malformed("id is not a UUIDv5"))?;
    let refused = Refusal {
        received_at: Some(UnixMs(event.received_at_ms)),
        program: event.program.clone(),
        event_id: id.0,
        live: event.mode() == Mode::Live,
        ..Refusal::default()
    };
    let malformed =
        |detail: &str| Refusal { reason: RejectReason::Malformed, detail: detail.into(), ..refused.clone() };

    let (occurred_at, received_at) = (UnixMs(event.occurred_at_ms), UnixMs(event.received_at_ms));
    if !occurred_at.is_storable() || !received_at.is_storable() {
        return Err(malformed("a time is before the year 1970 or past the year 2299"));
    }
    if event.mode() == Mode::Unspecified {
        return Err(malformed("mode is neither live nor test"));
    }
    if event.program.is_empty() {
        return Err(malformed("program is empty"));
    }
    let rule = event.rule.unwrap_or_default();
    let live = event.mode() == Mode::Live;
    let body = event.body.ok_or_else(|| malformed("it has no body that this version knows"))?;
    let (subject, payments, kind) = match taken_apart(body) {
        Ok(parts) => parts,
        Err(Unfit::Malformed(detail)) => return Err(malformed(detail)),
        Err(Unfit::DeadLetter(letter)) => {
            let reason = RejectReason::of_dead_letter(&letter.reason);
            return Err(Refusal { reason, kind: "dead_letter", detail: letter.detail, ..refused });
        }
    };
    let keys = hashes(&subject.keys).ok_or_else(|| malformed("a key of the subject is not 16 bytes long"))?;
    let payments =
        hashes(&payments).ok_or_else(|| malformed("a name of the payment is not 16 bytes long"))?;
    let is_named = match &kind {
        Kind::Participant { referrer } | Kind::Share { referrer, .. } => !referrer.is_empty(),
        Kind::Disqualification { qualification: Some(_), .. } | Kind::Reward { .. } => true,
        // All that a person has reached is taken back at once, but not given again.
        Kind::Reinstatement { disqualification, .. } => disqualification.is_some() || !payments.is_empty(),
        _ => !keys.is_empty() || !payments.is_empty(),
    };
    if !is_named {
        return Err(malformed("it names nobody: no key of a subject, no referrer"));
    }
    Ok(Conversion {
        id,
        program: event.program,
        source: event.source,
        live,
        occurred_at,
        received_at,
        registry_version: event.registry_version,
        model: rule.model(),
        window_ms: rule.window_ms,
        allows_existing: allows_existing(&rule),
        lead: subject.lead,
        keys,
        payments,
        email_disposable: subject.email_disposable,
        prefix: subject.prefix,
        digest: event.digest,
        kind,
    })
}

fn allows_existing(rule: &AttributionRule) -> bool {
    match rule.existing_customers() {
        ExistingCustomers::Allow => true,
        ExistingCustomers::Refuse | ExistingCustomers::Unspecified => false,
    }
}

/// Each once, in order; `None` where one is not 16 bytes long.
fn hashes(bytes: &[Bytes]) -> Option<Vec<SubjectKey>> {
    let mut hashes: Vec<SubjectKey> =
        bytes.iter().map(|one| SubjectKey::from_bytes(one)).collect::<Option<_>>()?;
    hashes.sort_unstable();
    hashes.dedup();
    Some(hashes)
}

/// Why a body is nothing to join.
enum Unfit {
    Malformed(&'static str),
    /// It says so itself.
    DeadLetter(DeadLetter),
}

/// Who and which payment a body is about, and what it says.
fn taken_apart(body: Body) -> Result<(Subject, Vec<Bytes>, Kind), Unfit> {
    let subject = Option::unwrap_or_default;
    Ok(match body {
        Body::Lead(lead) => {
            let record = named(&lead.record, "its record is no UUIDv5")?.map(id_key);
            (subject(lead.subject), Vec::new(), Kind::Lead { touches: lead.touches, record })
        }
        Body::Qualification(q) => {
            if !(0..=MINOR_MAX).contains(&q.value_minor) {
                return Err(Unfit::Malformed("the value is below 0 or too large"));
            }
            let kind = Kind::Qualification {
                name: q.name,
                value_minor: q.value_minor,
                currency: q.currency,
                rewards: terms(q.rewards)?,
                condition: condition(q.history)?,
            };
            (subject(q.subject), q.payments, kind)
        }
        Body::Disqualification(d) => {
            if !(0..=MINOR_MAX).contains(&d.value_minor) {
                return Err(Unfit::Malformed("the amount to take back is below 0 or too large"));
            }
            let qualification = named(&d.qualification_id, "its qualification is no UUIDv5")?;
            let (reason, value_minor, currency) = (d.reason, d.value_minor, d.currency);
            let kind = Kind::Disqualification { qualification, reason, value_minor, currency };
            (subject(d.subject), d.payments, kind)
        }
        Body::Reinstatement(r) => {
            if !(0..=MINOR_MAX).contains(&r.value_minor) {
                return Err(Unfit::Malformed("the amount to give again is below 0 or too large"));
            }
            let disqualification = named(&r.disqualification_id, "its disqualification is no UUIDv5")?;
            let (reason, value_minor, currency) = (r.reason, r.value_minor, r.currency);
            let kind = Kind::Reinstatement { disqualification, reason, value_minor, currency };
            (subject(r.subject), r.payments, kind)
        }
        Body::Identify(identify) => (subject(identify.subject), identify.payments, Kind::Identify),
        Body::Participant(p) => {
            let subject = Subject { keys: p.keys, prefix: p.prefix, ..Subject::default() };
            (subject, Vec::new(), Kind::Participant { referrer: p.referrer })
        }
        Body::Share(s) => {
            let subject = Subject { prefix: s.prefix, ..Subject::default() };
            let kind = Kind::Share { referrer: s.referrer, link: s.link, channel: s.channel };
            (subject, Vec::new(), kind)
        }
        Body::Erasure(e) => (subject(e.subject), Vec::new(), Kind::Erasure { requested_by: e.requested_by }),
        Body::DeadLetter(letter) => return Err(Unfit::DeadLetter(letter)),
        Body::RewardDecision(decision) => (Subject::default(), Vec::new(), reward(Act::Decision(decision))?),
        Body::Timer(timer) => (Subject::default(), Vec::new(), reward(Act::Due(timer))?),
    })
}

/// The event that is named by its id, if any is.
fn named(id: &[u8], mistake: &'static str) -> Result<Option<EventId>, Unfit> {
    match id {
        [] => Ok(None),
        id => EventId::from_bytes(id).map(Some).ok_or(Unfit::Malformed(mistake)),
    }
}

/// Terms that can be used.
fn terms(terms: Option<RewardTerms>) -> Result<RewardTerms, Unfit> {
    let terms = terms.unwrap_or_default();
    let is_sound = mistakes(&terms).is_empty();
    is_sound.then_some(terms).ok_or(Unfit::Malformed("its reward terms break a rule of the registry"))
}

/// A condition on the person's history that can be decided: what is not understood must not count.
fn condition(history: Option<HistoryCondition>) -> Result<Option<Condition>, Unfit> {
    let Some(history) = history else { return Ok(None) };
    match history.is.as_ref().filter(|_| mistake(&history).is_none()) {
        None => Err(Unfit::Malformed("its condition on the person's history can't be")),
        Some(Is::FirstPayment(_)) => Ok(Some(Condition::FirstPayment)),
        Some(Is::SpendAtLeast(spend)) => Ok(Some(Condition::SpendAtLeast {
            minor: spend.amount_minor,
            currency: spend.currency.clone(),
            days: spend.within_days,
        })),
    }
}

fn reward(act: Act) -> Result<Kind, Unfit> {
    act.check().map(|reward| Kind::Reward { act, reward }).map_err(Unfit::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use whence_schemas::event::Qualification;

    #[test]
    fn an_amount_that_the_api_would_not_take_is_malformed() {
        for (value_minor, is_taken) in [(-1, false), (0, true), (MINOR_MAX, true), (i64::MAX, false)] {
            let q = Qualification { value_minor, currency: "EUR".into(), ..Qualification::default() };
            assert_eq!(taken_apart(Body::Qualification(q)).is_ok(), is_taken, "{value_minor}");
        }
    }

    #[test]
    fn a_dead_letter_is_a_refusal_with_its_own_reason_and_no_text_for_one() {
        for (reason, expected) in
            [("stale", "stale"), ("unknown_field", "unknown_field"), ("a@b.example", "dead_letter")]
        {
            let letter = DeadLetter { reason: reason.into(), detail: "{}".into() };
            let event = Event {
                id: EventId::of(&"demo".parse().unwrap(), "stripe", "k").0.as_bytes().to_vec().into(),
                mode: Mode::Live.into(),
                program: "demo".into(),
                source: "stripe".into(),
                occurred_at_ms: 1,
                received_at_ms: 1,
                body: Some(Body::DeadLetter(letter)),
                ..Event::default()
            };
            let record = Record { offset: 0, timestamp: UnixMs(1), payload: Some(event::encode(&event)) };
            let refusal = conversion(&record).unwrap_err();
            assert_eq!(
                (refusal.reason.word(), refusal.kind, refusal.detail.as_str()),
                (expected, "dead_letter", "{}")
            );
        }
    }
}

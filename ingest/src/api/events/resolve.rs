//! Makes the record of a draft: finds its program, proves its touches, hashes who it is about. Pure: the
//! registry's state, the keys and the time are given.
//!
//! After this, raw aliases and addresses are gone.

use super::{
    digest::digest,
    draft::{
        Draft,
        body::{DraftBody, Reference},
        touches::{DraftTouch, Named},
        value::Money,
    },
};
use crate::{
    api::{
        auth::Caller,
        disposable::DisposableDomains,
        json::Errors,
        problem::{Code, FieldError},
    },
    edge::AddressHasher,
    registry::{RegistryState, state::address},
};
use bytes::Bytes;
use whence_schemas::{
    event::{
        AttributionRule, Disqualification, Erasure, Event, Identify, Lead, Link, Mode, Participant, Program,
        Qualification, Reinstatement, RewardDecision, Share, Subject, Touch, event::Body,
    },
    ids::{ChannelId, ChannelNumber, EventId, ReferrerId},
    subject::{AliasKind, IdentityHasher, normalise},
    time::UnixMs,
    token::{self, KeyRing, TokenError},
};

/// What a draft is resolved with.
pub struct Resolver<'a> {
    /// The registry's present.
    pub registry: &'a RegistryState,
    /// Whether that has all that was written: see [`crate::registry::Registry::is_current`].
    pub is_current: bool,
    /// The keys that tokens are checked with.
    pub keys: &'a KeyRing,
    /// The deployment's identity secret.
    pub identity: &'a IdentityHasher,
    /// Domains of mailboxes that are thrown away after use.
    pub disposable: &'a DisposableDomains,
    /// Hashes addresses as the edge does.
    pub addresses: &'a AddressHasher,
    /// Now.
    pub now: UnixMs,
}

/// What a draft became.
pub struct Resolved {
    /// The record.
    pub event: Event,
    /// The touches that prove nothing, and why: they stand in the record all the same.
    pub worthless: Vec<FieldError>,
}

/// How long a token under an unknown key keeps its lead waiting, from its click on. A key travels for seconds; a token
/// under a key that never existed must not cost the lead.
pub(in crate::api) const KEY_WAIT_MS_MAX: i64 = 15 * 60 * 1000;
/// Stands in a record for what is no token: whatever that is, it is not written down.
const NO_TOKEN: &str = "-";

impl Resolver<'_> {
    /// The record of this event.
    ///
    /// # Errors
    /// Every field at fault. Where all of them may resolve by themselves (a key or a link that has not arrived
    /// here yet), the event is to be tried again.
    pub fn event(&self, draft: &Draft, caller: &Caller) -> Result<Resolved, Vec<FieldError>> {
        let one = |field: &str, code, detail: &str| {
            Err(vec![FieldError { field: field.into(), code, detail: detail.into() }])
        };
        let scope = draft.kind.scope();
        if !caller.has(scope) {
            let detail = format!("needs a key with the scope {}", scope.word());
            return one("type", Code::Forbidden, &detail);
        }
        if !caller.may_touch(draft.program.as_str()) {
            return one("program", Code::Forbidden, "is not the one the API key is for");
        }
        let Some(program) = self.registry.program(draft.program.as_str()) else {
            return one("program", self.missing(Code::UnknownProgram), "is not known");
        };
        let mut errors = Errors::default();
        for (index, _) in draft.payments.iter().enumerate().filter(|(_, name)| looks_personal(name)) {
            errors.add(format!("payments[{index}]"), Code::Invalid, NOT_PERSONAL);
        }
        let mut worthless = Errors::default();
        let body = self.body(draft, program, &mut worthless, &mut errors);
        if !errors.is_empty() {
            return Err(errors.into_vec());
        }
        let mode = if draft.is_test { Mode::Test } else { Mode::Live };
        let mut event = Event {
            id: bytes_of(draft.id()),
            mode: mode.into(),
            program: program.id.clone(),
            source: draft.source.clone(),
            occurred_at_ms: draft.occurred_at.0,
            received_at_ms: self.now.0,
            registry_version: self.registry.version(),
            rule: Some(rule(program)),
            digest: 0,
            body: Some(body),
        };
        event.digest = digest(draft, &event, self.identity);
        Ok(Resolved { event, worthless: worthless.into_vec() })
    }

    fn body(&self, draft: &Draft, program: &Program, worthless: &mut Errors, errors: &mut Errors) -> Body {
        match &draft.body {
            DraftBody::Lead { touches, record } => {
                if record.as_deref().is_some_and(looks_personal) {
                    errors.add("record", Code::Invalid, NOT_PERSONAL);
                }
                let subject = Some(self.subject(draft, program, errors));
                let touches = self.touches(touches, draft.occurred_at, program, worthless, errors);
                let record = record.as_deref().map(|record| name_of(draft, "record", record));
                Body::Lead(Lead { subject, touches, record: record.unwrap_or_default() })
            }
            DraftBody::Qualification { name, value: Money { minor, currency }, history } => {
                Body::Qualification(Qualification {
                    subject: Some(self.subject(draft, program, errors)),
                    name: name.clone(),
                    value_minor: *minor,
                    currency: currency.clone(),
                    rewards: program.rewards.clone(),
                    history: history.clone(),
                    payments: payments_of(draft),
                })
            }
            DraftBody::Disqualification { qualification, reason, value: Money { minor, currency } } => {
                Body::Disqualification(Disqualification {
                    subject: Some(self.subject(draft, program, errors)),
                    qualification_id: event_named(draft, "qualification", qualification.as_ref()),
                    reason: reason.clone(),
                    value_minor: *minor,
                    currency: currency.clone(),
                    payments: payments_of(draft),
                })
            }
            DraftBody::Reinstatement { disqualification, reason, value: Money { minor, currency } } => {
                Body::Reinstatement(Reinstatement {
                    subject: Some(self.subject(draft, program, errors)),
                    disqualification_id: event_named(draft, "disqualification", disqualification.as_ref()),
                    payments: payments_of(draft),
                    reason: reason.clone(),
                    value_minor: *minor,
                    currency: currency.clone(),
                })
            }
            DraftBody::Participant { referrer } => {
                self.known_referrer(referrer, program, errors);
                Body::Participant(Participant {
                    referrer: referrer.as_str().to_owned(),
                    keys: self.keys_of(draft),
                    prefix: self.prefix(draft),
                })
            }
            DraftBody::Share { referrer, code, channel } => {
                let share = self.share(referrer.as_ref(), code.as_deref(), channel.as_ref(), program, errors);
                Body::Share(Share { prefix: self.prefix(draft), ..share })
            }
            DraftBody::Identify => Body::Identify(Identify {
                subject: Some(self.subject(draft, program, errors)),
                payments: payments_of(draft),
            }),
            DraftBody::RewardDecision { reward, decision, decided_by, reason, reference, paid_minor } => {
                Body::RewardDecision(RewardDecision {
                    reward_id: Bytes::copy_from_slice(reward.as_bytes()),
                    decision: (*decision).to_owned(),
                    decided_by: decided_by.clone(),
                    reason: reason.clone(),
                    reference: reference.clone(),
                    paid_minor: *paid_minor,
                })
            }
            // What is to be forgotten is not written down again: keys only.
            DraftBody::Erasure { requested_by } => Body::Erasure(Erasure {
                subject: Some(Subject { keys: self.keys_of(draft), ..Subject::default() }),
                requested_by: requested_by.clone(),
            }),
        }
    }

    /// The code for something that is not there.
    fn missing(&self, code: Code) -> Code {
        if self.is_current { code } else { Code::Behind }
    }

    fn keys_of(&self, draft: &Draft) -> Vec<Bytes> {
        let key = |(kind, alias): &(AliasKind, String)| self.identity.key(&draft.program, *kind, alias);
        draft.aliases.iter().map(|alias| Bytes::copy_from_slice(&key(alias).0)).collect()
    }

    /// The hash that a click from the same /24 or /48 has on the day of the event; 0 where no address is given.
    fn prefix(&self, draft: &Draft) -> u64 {
        let hash = |address| self.addresses.keys_at(draft.occurred_at).address(address).prefix;
        draft.client_ip.map_or(0, hash)
    }

    fn subject(&self, draft: &Draft, program: &Program, errors: &mut Errors) -> Subject {
        let is_disposable =
            |(kind, alias): &(AliasKind, String)| *kind == AliasKind::Email && self.disposable.has(alias);
        let email_disposable = draft.aliases.iter().any(is_disposable);
        let (keys, prefix) = (self.keys_of(draft), self.prefix(draft));
        let mut subject = Subject { lead: String::new(), keys, email_disposable, prefix };
        let lead = draft.aliases.iter().find(|(kind, _)| *kind == AliasKind::Lead);
        if let Some((kind, lead)) = lead {
            if program.hash_lead_ids {
                subject.lead = self.identity.key(&draft.program, *kind, lead).to_string();
            } else if looks_personal(lead) {
                let detail = "looks like an email address or phone number: send it as email or phone, \
                              or have the program hash lead ids";
                errors.add("lead", Code::Invalid, detail);
            } else {
                subject.lead.clone_from(lead);
            }
        }
        subject
    }

    fn known_referrer(&self, referrer: &ReferrerId, program: &Program, errors: &mut Errors) {
        if self.registry.referrer(&program.id, referrer.as_str()).is_none() {
            let code = self.missing(Code::UnknownReferrer);
            errors.add("referrer", code, "is not a referrer of the program");
        }
    }

    /// What was shared is told even of a link that has been disabled since.
    fn share(
        &self,
        referrer: Option<&ReferrerId>,
        code: Option<&str>,
        channel: Option<&ChannelId>,
        program: &Program,
        errors: &mut Errors,
    ) -> Share {
        let link = code.and_then(|code| self.registry.link_by_code(&program.id, code));
        if code.is_some() && link.is_none() {
            let code = self.missing(Code::UnknownCode);
            errors.add("code", code, "is not the code of a link of the program");
        }
        match (referrer, link) {
            (Some(referrer), Some(link)) if referrer.as_str() != link.referrer => {
                errors.add("referrer", Code::Invalid, "is not the referrer of this link");
            }
            (Some(referrer), None) => self.known_referrer(referrer, program, errors),
            _ => {}
        }
        let channel = channel.map(ChannelId::as_str);
        if channel.is_some_and(|channel| !program.channels.iter().any(|name| name == channel)) {
            errors.add("channel", Code::Invalid, "is not one of the program's channels");
        }
        let of_link = |part: fn(&Link) -> &String| link.map(part).cloned().unwrap_or_default();
        Share {
            referrer: referrer.map_or_else(|| of_link(|link| &link.referrer), |own| own.as_str().to_owned()),
            link: link.map(|link| address(&link.host, &link.code)).unwrap_or_default(),
            channel: channel.map_or_else(|| of_link(|link| &link.channel), str::to_owned),
            prefix: 0,
        }
    }

    fn touches(
        &self,
        drafts: &[DraftTouch],
        occurred_at: UnixMs,
        program: &Program,
        worthless: &mut Errors,
        errors: &mut Errors,
    ) -> Vec<Touch> {
        let mut touches = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let touch = match &draft.evidence {
                Named::Token(text) => self.token_touch(text, occurred_at, program),
                Named::Code(code) => self.code_touch(code, occurred_at, program).map(|touch| (touch, None)),
            };
            match touch {
                Ok((touch, why_not)) => {
                    touches.push(touch);
                    if let Some((code, detail)) = why_not {
                        worthless.add(draft.field.as_str(), code, detail);
                    }
                }
                Err((code, detail)) => errors.add(draft.field.as_str(), code, detail),
            }
        }
        touches
    }

    /// The touch, and why it proves nothing where that is so: whoever decides says it again, and it stands on the lead.
    ///
    /// # Errors
    /// What it proves may be known later.
    fn token_touch(
        &self,
        text: &str,
        used: UnixMs,
        program: &Program,
    ) -> Result<(Touch, Option<Refused>), Refused> {
        let refused = |error: TokenError| (Code::from(error), error.to_string());
        let (token, text) = match self.keys.verify(text) {
            Ok(token) => (token, text.to_owned()),
            Err(error @ TokenError::UnknownKey { .. }) => match self.keys.mended(text) {
                Some(mended) => (self.keys.verify(&mended).map_err(refused)?, mended),
                None if self.may_get_key(text) => return Err(refused(error)),
                None => return Ok((of_token(NO_TOKEN), Some(refused(error)))),
            },
            Err(TokenError::Malformed) => {
                return Ok((of_token(NO_TOKEN), Some(refused(TokenError::Malformed))));
            }
            Err(error) => return Ok((of_token(text), Some(refused(error)))),
        };
        let link = self
            .registry
            .link_by_number(token.link)
            .ok_or((Code::LinkUnknown, "is for a link that is not known here yet".to_owned()))?;
        if link.program != program.id {
            let why = (Code::TokenForeign, "is for another program's link".to_owned());
            return Ok((of_token(&text), Some(why)));
        }
        let window_ms = i64::try_from(rule(program).window_ms).unwrap_or(i64::MAX);
        let why_not = token::check_age(token.click.at(), used, window_ms).map_err(refused).err();
        let clicked_on = program.channels.iter().find(|name| ChannelNumber::of(name) == token.channel);
        let channel = clicked_on.unwrap_or(&link.channel).clone();
        Ok((Touch { token: text, channel, ..touch_of(link) }, why_not))
    }

    /// Whether the key of this token may be on its way: its click says that it is new.
    fn may_get_key(&self, text: &str) -> bool {
        token::claimed_time(text).is_some_and(|clicked| self.now.ms_since(clicked).abs() <= KEY_WAIT_MS_MAX)
    }

    fn code_touch(&self, code: &str, used: UnixMs, program: &Program) -> Result<Touch, (Code, String)> {
        let link = self
            .registry
            .link_by_code(&program.id, code)
            .ok_or((self.missing(Code::UnknownCode), "is not the code of a link of the program".into()))?;
        let referrer = self.registry.referrer(&program.id, &link.referrer);
        let is_disabled = program.disabled || link.disabled || referrer.is_none_or(|r| r.disabled);
        if is_disabled {
            return Err((Code::InactiveCode, "belongs to a disabled link, referrer or program".into()));
        }
        if link.expires_at_ms != 0 && used.0 >= link.expires_at_ms {
            return Err((Code::InactiveCode, "belongs to a link that has expired".into()));
        }
        Ok(touch_of(link))
    }
}

fn bytes_of(id: EventId) -> Bytes {
    Bytes::copy_from_slice(id.0.as_bytes())
}

/// The id of the event of this kind that the draft names; empty for none.
fn event_named(draft: &Draft, kind: &str, named: Option<&Reference>) -> Bytes {
    match named {
        None => Bytes::new(),
        Some(Reference::Id(id)) => bytes_of(*id),
        Some(Reference::Key(key)) => name_of(draft, kind, key),
    }
}

/// What the draft's source calls `name`, as 16 bytes.
fn name_of(draft: &Draft, kind: &str, name: &str) -> Bytes {
    let Draft { program, source, is_test, .. } = draft;
    bytes_of(EventId::of_kind(program, source, *is_test, kind, name))
}

fn payments_of(draft: &Draft) -> Vec<Bytes> {
    draft.payments.iter().map(|name| name_of(draft, "payment", name)).collect()
}

/// A code of the API, and what completes the sentence that starts with the field.
type Refused = (Code, String);

/// A touch that proves nothing.
fn of_token(text: &str) -> Touch {
    Touch { token: text.to_owned(), ..Touch::default() }
}

fn touch_of(link: &Link) -> Touch {
    Touch {
        token: String::new(),
        link: address(&link.host, &link.code),
        referrer: link.referrer.clone(),
        channel: link.channel.clone(),
    }
}

fn rule(program: &Program) -> AttributionRule {
    program.rule.unwrap_or_default()
}

/// Of names that are kept as a hash without a key, by which a person could be guessed.
const NOT_PERSONAL: &str = "looks like an email address or phone number: name it by an id of its own";

/// Lead ids that are stored as they are must not be personal by accident.
fn looks_personal(lead: &str) -> bool {
    personal_alias(lead).is_some()
}

/// The alias that a lead id is, where it is a person's address or phone number.
pub(in crate::api) fn personal_alias(lead: &str) -> Option<(AliasKind, String)> {
    let alias = |kind| normalise(kind, lead).ok().map(|normalised| (kind, normalised));
    // A number of digits alone may be anything's.
    let is_written_as_phone = || !lead.trim_start().starts_with(|c: char| c.is_ascii_digit());
    alias(AliasKind::Email).or_else(|| alias(AliasKind::Phone).filter(|_| is_written_as_phone()))
}

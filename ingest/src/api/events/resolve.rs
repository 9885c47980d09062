//! Makes the record of a draft: finds its program, proves its touches, hashes whom it is about. Pure: the
//! registry's state, the keys and the time are given.
//!
//! After this, raw aliases are gone.

use super::draft::{Draft, DraftBody, DraftTouch, Named};
use crate::{
    api::{
        auth::Caller,
        json::Errors,
        problem::{Code, FieldError},
    },
    registry::{RegistryState, state::address},
};
use bytes::Bytes;
use whence_schemas::{
    event::{self, AttributionRule, Event, Lead, Link, Mode, Program, Qualification, Subject, Touch},
    ids::{ChannelNumber, EventId},
    subject::{AliasKind, IdentityHasher, normalise},
    time::UnixMs,
    token::{self, KeyRing},
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
    /// Now.
    pub now: UnixMs,
}

impl Resolver<'_> {
    /// The record of this event.
    ///
    /// # Errors
    /// Every field at fault. Where all of them may mend themselves (a key or a link that has not arrived
    /// here yet), the event is to be tried again.
    pub fn event(&self, draft: &Draft, caller: &Caller) -> Result<Event, Vec<FieldError>> {
        let one =
            |code, detail: &str| vec![FieldError { field: "program".into(), code, detail: detail.into() }];
        if !caller.may_touch(draft.program.as_str()) {
            return Err(one(Code::Forbidden, "is not the one the API key is for"));
        }
        let Some(program) = self.registry.program(draft.program.as_str()) else {
            return Err(one(self.missing(Code::UnknownProgram), "is not known"));
        };
        let mut errors = Errors::default();
        let subject = self.subject(draft, program, &mut errors);
        let body = match &draft.body {
            DraftBody::Lead { touches } => {
                let touches = self.touches(touches, draft.occurred_at, program, &mut errors);
                event::event::Body::Lead(Lead { subject: Some(subject), touches })
            }
            DraftBody::Qualification { name, value_minor, currency } => {
                event::event::Body::Qualification(Qualification {
                    subject: Some(subject),
                    name: name.clone(),
                    value_minor: *value_minor,
                    currency: currency.clone(),
                    rewards: program.rewards.clone(),
                })
            }
        };
        if !errors.is_empty() {
            return Err(errors.into_vec());
        }
        let mode = if draft.is_test { Mode::Test } else { Mode::Live };
        Ok(Event {
            id: Bytes::copy_from_slice(event_id(draft).0.as_bytes()),
            mode: mode.into(),
            program: program.id.clone(),
            source: draft.source.clone(),
            occurred_at_ms: draft.occurred_at.0,
            received_at_ms: self.now.0,
            registry_version: self.registry.version(),
            rule: Some(rule(program)),
            body: Some(body),
        })
    }

    /// The code for something that is not there.
    fn missing(&self, code: Code) -> Code {
        if self.is_current { code } else { Code::Behind }
    }

    fn subject(&self, draft: &Draft, program: &Program, errors: &mut Errors) -> Subject {
        let mut subject = Subject::default();
        for (kind, alias) in &draft.aliases {
            let key = self.identity.key(&draft.program, *kind, alias);
            subject.keys.push(Bytes::copy_from_slice(&key.0));
            if *kind == AliasKind::Lead {
                if program.hash_lead_ids {
                    subject.lead = key.to_string();
                } else if looks_personal(alias) {
                    let detail = "looks like an email address or phone number: send it as email or phone, \
                                  or have the program hash lead ids";
                    errors.add("lead", Code::Invalid, detail);
                } else {
                    subject.lead.clone_from(alias);
                }
            }
        }
        subject
    }

    fn touches(
        &self,
        drafts: &[DraftTouch],
        occurred_at: UnixMs,
        program: &Program,
        errors: &mut Errors,
    ) -> Vec<Touch> {
        let mut touches = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let touch = match &draft.evidence {
                Named::Token(text) => self.token_touch(text, occurred_at, program),
                Named::Code(code) => self.code_touch(code, occurred_at, program),
            };
            match touch {
                Ok(touch) => touches.push(touch),
                Err((code, detail)) => errors.add(draft.field.as_str(), code, detail),
            }
        }
        touches
    }

    fn token_touch(&self, text: &str, used: UnixMs, program: &Program) -> Result<Touch, (Code, String)> {
        let refused = |error: token::TokenError| (error.into(), error.to_string());
        let token = self.keys.verify(text).map_err(refused)?;
        let link = self
            .registry
            .link_by_number(token.link)
            .ok_or((Code::LinkUnknown, "is of a link that is not known here yet".into()))?;
        if link.program != program.id {
            return Err((Code::TokenForeign, "is of another program's link".into()));
        }
        let window_ms = i64::try_from(rule(program).window_ms).unwrap_or(i64::MAX);
        token::check_age(token.click.at(), used, window_ms).map_err(refused)?;
        let clicked_on = program.channels.iter().find(|name| ChannelNumber::of(name) == token.channel);
        let channel = clicked_on.unwrap_or(&link.channel).clone();
        Ok(Touch { token: text.to_owned(), channel, ..touch_of(link) })
    }

    fn code_touch(&self, code: &str, used: UnixMs, program: &Program) -> Result<Touch, (Code, String)> {
        let link = self
            .registry
            .link_by_code(&program.id, code)
            .ok_or((self.missing(Code::UnknownCode), "is not the code of a link of the program".into()))?;
        let referrer = self.registry.referrer(&program.id, &link.referrer);
        let is_disabled = program.disabled || link.disabled || referrer.is_none_or(|r| r.disabled);
        if is_disabled {
            return Err((Code::InactiveCode, "is of a disabled link, referrer or program".into()));
        }
        if link.expires_at_ms != 0 && used.0 >= link.expires_at_ms {
            return Err((Code::InactiveCode, "is of a link that has expired".into()));
        }
        Ok(touch_of(link))
    }
}

/// The event's id: the caller's retry has the same.
#[must_use]
pub fn event_id(draft: &Draft) -> EventId {
    EventId::of(&draft.program, &draft.source, &draft.key)
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

/// Lead ids that are stored as they are must not be personal by accident.
fn looks_personal(lead: &str) -> bool {
    normalise(AliasKind::Email, lead).is_ok()
        || (lead.starts_with('+') && normalise(AliasKind::Phone, lead).is_ok())
}

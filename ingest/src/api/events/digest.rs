//! What a caller said, as a number: two events under one id that say the same have the same.

use super::draft::{
    Draft,
    body::DraftBody,
    touches::{DraftTouch, Named},
};
use bytes::Bytes;
use whence_schemas::{
    digest,
    event::{self, Event, Share, Subject, Touch, event::Body},
    subject::IdentityHasher,
};

/// The digest of a draft that became this event: a keyed hash of what its caller said, normalised. Never 0.
///
/// Left out is what whence adds (the program's rules, the registry's version, what a code or token was found to be) and
/// the time where the caller gave none: all of this may be different when the same event is sent again. Addresses are left out
/// too: nothing of them is kept longer than their day's key. A provider's delivery is compared only by what happened and for how
/// much: several of its events tell of one object, each with the names and touches that it knows.
#[must_use]
pub fn digest(draft: &Draft, event: &Event, identity: &IdentityHasher) -> u64 {
    let mut said = Event {
        occurred_at_ms: draft.said_at.map_or(0, |at| at.0),
        received_at_ms: 0,
        registry_version: 0,
        rule: None,
        digest: 0,
        ..event.clone()
    };
    let is_delivery = draft.is_delivery;
    match &mut said.body {
        Some(Body::Lead(lead)) => {
            bare(&mut lead.subject, is_delivery);
            lead.touches = match &draft.body {
                DraftBody::Lead { touches, .. } if !is_delivery => touches.iter().map(touch).collect(),
                _ => Vec::new(),
            };
        }
        Some(Body::Qualification(qualification)) => {
            bare(&mut qualification.subject, is_delivery);
            in_any_order(&mut qualification.payments, is_delivery);
            qualification.rewards = None;
            qualification.history = qualification.history.take().filter(|_| !is_delivery);
        }
        Some(Body::Disqualification(back)) => {
            bare(&mut back.subject, is_delivery);
            in_any_order(&mut back.payments, is_delivery);
        }
        Some(Body::Reinstatement(again)) => {
            bare(&mut again.subject, is_delivery);
            in_any_order(&mut again.payments, is_delivery);
        }
        Some(Body::Identify(identify)) => {
            bare(&mut identify.subject, is_delivery);
            in_any_order(&mut identify.payments, is_delivery);
        }
        Some(Body::Erasure(erasure)) => bare(&mut erasure.subject, is_delivery),
        Some(Body::Participant(participant)) => {
            in_any_order(&mut participant.keys, is_delivery);
            participant.prefix = 0;
        }
        Some(Body::Share(share)) => *share = said_of_share(draft),
        Some(Body::RewardDecision(_) | Body::Timer(_) | Body::DeadLetter(_)) | None => {}
    }
    digest::of(identity.digest(&draft.program, &event::encode(&said)), is_delivery)
}

/// Keys alone say who it is: how a lead id is stored, and what an address is found to be, are not the caller's.
fn bare(subject: &mut Option<Subject>, is_delivery: bool) {
    let mut keys = subject.take().unwrap_or_default().keys;
    in_any_order(&mut keys, is_delivery);
    *subject = Some(Subject { keys, ..Subject::default() });
}

fn in_any_order(names: &mut Vec<Bytes>, is_delivery: bool) {
    names.sort_unstable();
    names.dedup();
    if is_delivery {
        names.clear();
    }
}

fn touch(draft: &DraftTouch) -> Touch {
    match &draft.evidence {
        Named::Token(token) => Touch { token: token.clone(), ..Touch::default() },
        Named::Code(code) => Touch { link: code.to_ascii_lowercase(), ..Touch::default() },
    }
}

fn said_of_share(draft: &Draft) -> Share {
    let DraftBody::Share { referrer, code, channel } = &draft.body else { return Share::default() };
    Share {
        referrer: referrer.as_ref().map_or_else(String::new, |referrer| referrer.as_str().to_owned()),
        link: code.as_deref().map_or_else(String::new, str::to_ascii_lowercase),
        channel: channel.as_ref().map_or_else(String::new, |channel| channel.as_str().to_owned()),
        prefix: 0,
    }
}

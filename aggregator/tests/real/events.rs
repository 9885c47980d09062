//! Records to send.

use bytes::Bytes;
use std::sync::Arc;
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, Click, Event, Lead, Mode, Qualification, Subject, Touch,
        Verdict, event::Body,
    },
    ids::{ChannelNumber, ClickId, EventId, LinkNumber},
    time::UnixMs,
    token::{ClickToken, KeyRing, TEXT_LEN},
};

/// 20 minutes before the end of a month.
pub const START: UnixMs = UnixMs(1_798_760_400_000);

pub fn keys() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(1, &[(1, [1; 32])]).unwrap())
}

pub fn click_id(number: u64) -> ClickId {
    // Spread over 40 minutes: two hours, days and months.
    let mut random = [1; 10];
    random[1..9].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    ClickId::mint(START.plus_ms((number * 7919 % 2_400_000) as i64), &random, true)
}

fn referrer(number: u64) -> String {
    format!("r{}", number % 7)
}

pub fn click(number: u64) -> Bytes {
    let referrer = referrer(number);
    event::encode(&Click {
        id: Bytes::copy_from_slice(click_id(number).0.as_bytes()),
        mode: Mode::Live.into(),
        program: "demo".into(),
        link: format!("go.example/{referrer}"),
        referrer,
        channel: "email".into(),
        destination: "https://shop.example/\n\n?it's".into(),
        registry_version: 1,
        verdict: if number.is_multiple_of(10) { Verdict::Bot } else { Verdict::Human }.into(),
        reason: "browser".into(),
        visitor: number,
        ..Click::default()
    })
}

pub fn token(number: u64) -> Touch {
    let referrer = referrer(number);
    let link = format!("go.example/{referrer}");
    let token = ClickToken {
        click: click_id(number),
        link: LinkNumber::of(&link),
        channel: ChannelNumber::of("email"),
    };
    let mut text = [0; TEXT_LEN];
    Touch { token: keys().mint(&token, &mut text).to_owned(), link, referrer, channel: "email".into() }
}

/// A record of this body under this idempotency key.
pub fn event(key: &str, body: Body) -> Bytes {
    let at = START.plus_ms(41 * 60 * 1000);
    event::encode(&Event {
        id: Bytes::copy_from_slice(EventId::of(&"demo".parse().unwrap(), "test", key).0.as_bytes()),
        mode: Mode::Live.into(),
        program: "demo".into(),
        source: "test".into(),
        occurred_at_ms: at.0,
        received_at_ms: at.0,
        registry_version: 1,
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: 86_400_000,
            ..AttributionRule::default()
        }),
        digest: 0,
        body: Some(body),
    })
}

/// This person, by one key.
pub fn subject(person: u64) -> Option<Subject> {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&person.to_be_bytes());
    Some(Subject {
        lead: format!("person {person}"),
        keys: vec![Bytes::copy_from_slice(&key)],
        ..Subject::default()
    })
}

/// A lead of this person by the token of the click of the same number.
pub fn lead(person: u64) -> Bytes {
    event(
        &format!("lead {person}"),
        Body::Lead(Lead { subject: subject(person), touches: vec![token(person)], ..Lead::default() }),
    )
}

pub fn qualification(person: u64) -> Bytes {
    let body = Qualification {
        subject: subject(person),
        name: "purchase".into(),
        value_minor: 1999,
        currency: "EUR".into(),
        rewards: None,
        history: None,
        ..Qualification::default()
    };
    event(&format!("qualification {person}"), Body::Qualification(body))
}

//! The records and the clicks: everything about a person or a click is computed from its number.

use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, Click, Disqualification, Event, Lead, Mode, Qualification,
        RewardCap, RewardParty, RewardRule, RewardTerms, RewardTier, RiskPolicy, Subject, Touch, Verdict,
        event::Body, reward_tier::Amount,
    },
    ids::{ChannelNumber, ClickId, EventId, LinkNumber},
    time::UnixMs,
    token::{ClickToken, KeyRing, TEXT_LEN},
};

/// 2026-02-01, and the 30 days from then on.
const START: UnixMs = UnixMs(1_769_904_000_000);
const DAYS_30_MS: u64 = 30 * 86_400_000;
const REFERRERS: u64 = 2000;
/// Spreads numbers over 64 bits (2^64 over the golden ratio), here and in SQL.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

pub fn keys() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(1, &[(1, [1; 32])]).unwrap())
}

fn click_at(number: u64, clicks: u64) -> UnixMs {
    START.plus_ms((number * DAYS_30_MS / clicks) as i64)
}

/// UUIDv7 of the click of this number: its time, and bits spread from the number.
fn click_id(number: u64, clicks: u64) -> ClickId {
    let spread = number.wrapping_mul(SPREAD);
    let high = (click_at(number, clicks).0 as u64) << 16 | 0x7000 | spread >> 52;
    ClickId(Uuid::from_u64_pair(high, 1 << 63 | spread >> 2))
}

/// Inserts the clicks `from..from + count` of `clicks`: the same ids as [`click_id`]. One in five is of
/// another program, one in ten of a bot.
pub fn clicks_sql(from: u64, count: u64, clicks: u64) -> String {
    format!(
        "INSERT INTO clicks SELECT \
           if(number % 5 = 0, concat('other', toString(number % 7)), 'demo') AS program, \
           fromUnixTimestamp64Milli(toInt64({start} + intDiv(number * {DAYS_30_MS}, {clicks})), 'UTC') AS ts, \
           reinterpretAsUUID(reinterpretAsFixedString( \
             bitShiftLeft(toUInt128(bitOr(bitShiftLeft(toUInt64(1), 63), bitShiftRight(number * {SPREAD}, 2))), 64) \
             + toUInt128(bitOr(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli(ts)), 16), 28672), bitShiftRight(number * {SPREAD}, 52))))) AS id, \
           concat('r', toString(cityHash64(number) % {REFERRERS})) AS referrer, concat('go.example/', referrer) AS link, \
           arrayElement(['email', 'chat', 'post'], 1 + number % 3) AS channel, \
           concat('https://shop.example/', channel, '?utm_source=', referrer) AS destination, \
           1000 + intDiv(number, 1000000) AS registry_version, if(number % 10 = 0, 'bot', 'human') AS verdict, \
           if(number % 10 = 0, 'agent', 'browser') AS reason, \
           verdict AS made_by, reason AS made_by_reason, '' AS reading, cityHash64(number, 1) AS visitor, \
           cityHash64(number, 2) AS address, cityHash64(intDiv(number, 3), 3) AS prefix, toUInt64(1) AS requests, true AS live, 1 AS sign, \
           toUUID('0196f000-0000-7000-8000-000000000000') AS incarnation, toUInt32(number % 8) AS partition, \
           intDiv(number, 8) AS offset \
         FROM (SELECT toUInt64(number) AS number FROM numbers({from}, {count}))",
        start = START.0,
    )
}

/// Which click is behind a person's lead.
#[derive(Clone, Copy)]
pub struct Made {
    /// Of so many stored ones, any.
    pub clicks: u64,
    /// From this person on, one of their own, made after all stored ones.
    pub recent_from: u64,
}

/// A person's click, of the program's own.
fn click_of(person: u64, made: Made) -> ClickId {
    let Made { clicks, recent_from } = made;
    if person >= recent_from {
        return click_id(clicks + person, clicks);
    }
    let number = person.wrapping_mul(SPREAD) % clicks;
    click_id(if number.is_multiple_of(5) { (number + 1) % clicks } else { number }, clicks)
}

/// The clicks of these persons, as the edge sends them.
pub fn recent_clicks(from: u64, to: u64, made: Made) -> impl Iterator<Item = Bytes> {
    (from..to).map(move |person| {
        let referrer = referrer(person);
        event::encode(&Click {
            id: Bytes::copy_from_slice(click_of(person, made).0.as_bytes()),
            mode: Mode::Live.into(),
            program: "demo".into(),
            link: format!("go.example/{referrer}"),
            referrer,
            channel: "email".into(),
            registry_version: 1,
            verdict: Verdict::Human.into(),
            reason: "browser".into(),
            visitor: person,
            address: person,
            prefix: person / 3,
            ..Click::default()
        })
    })
}

fn referrer(person: u64) -> String {
    format!("r{}", person.wrapping_mul(SPREAD) % REFERRERS)
}

/// The same clicks looked up in two ways.
pub fn own_questions(made: Made) -> Vec<(&'static str, String)> {
    let mut questions = Vec::new();
    for (names, by_time, by_id) in [
        (1, "a click by program, time and id", "a click by id alone"),
        (1000, "1000 clicks by program, time and id", "1000 clicks by id alone"),
    ] {
        let ids: Vec<ClickId> = (0..names).map(|person| click_of(person, made)).collect();
        let times = ids.iter().map(|id| id.at().0.to_string()).collect::<Vec<_>>().join(",");
        let texts = ids.iter().map(|id| format!("'{}'", id.0.hyphenated())).collect::<Vec<_>>().join(",");
        let found = "SELECT id, verdict, reason, visitor, address, prefix FROM clicks WHERE";
        let ids = format!("id IN (SELECT toUUID(arrayJoin([{texts}])))");
        let time =
            format!("ts IN (SELECT fromUnixTimestamp64Milli(arrayJoin([{times}]::Array(Int64)), 'UTC'))");
        questions.push((by_time, format!("{found} program IN ['demo'] AND {time} AND {ids}")));
        questions.push((by_id, format!("{found} {ids}")));
    }
    questions
}

fn event_id(key: &str) -> EventId {
    EventId::of(&"demo".parse().unwrap(), "bench", key)
}

fn event(key: &str, at: UnixMs, body: Body) -> Bytes {
    event::encode(&Event {
        id: Bytes::copy_from_slice(event_id(key).0.as_bytes()),
        mode: Mode::Live.into(),
        program: "demo".into(),
        source: "bench".into(),
        occurred_at_ms: at.0,
        received_at_ms: at.0,
        registry_version: 1,
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: DAYS_30_MS,
            ..AttributionRule::default()
        }),
        digest: 0,
        body: Some(body),
    })
}

/// This person: the caller's id, and two hashes.
fn subject(person: u64) -> Option<Subject> {
    let key = |kind: u64| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&(person + 1).wrapping_mul(SPREAD).to_be_bytes());
        key[8..].copy_from_slice(&kind.to_be_bytes());
        Bytes::copy_from_slice(&key)
    };
    Some(Subject { lead: format!("customer-{person}"), keys: vec![key(1), key(2)], ..Subject::default() })
}

fn lead(person: u64, made: Made) -> Bytes {
    let referrer = referrer(person);
    let link = format!("go.example/{referrer}");
    let click = click_of(person, made);
    let token = ClickToken { click, link: LinkNumber::of(&link), channel: ChannelNumber::of("email") };
    let mut text = [0; TEXT_LEN];
    let token = keys().mint(&token, &mut text).to_owned();
    let touches = vec![Touch { token, link, referrer, channel: "email".into() }];
    let at = click.at().plus_ms(60_000 + (person % 86_400_000) as i64);
    event(
        &format!("lead {person}"),
        at,
        Body::Lead(Lead { subject: subject(person), touches, ..Lead::default() }),
    )
}

fn terms() -> RewardTerms {
    let rule = |id: &str, amount| RewardRule {
        id: id.into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        hold_days: 400,
        tiers: vec![RewardTier { from: 0, amount: Some(amount) }],
        ..RewardRule::default()
    };
    let capped = RewardCap { count: 500, amount_minor: 0 };
    RewardTerms {
        rules: vec![
            RewardRule { referrer_cap: Some(capped), ..rule("fixed", Amount::FixedMinor(500)) },
            RewardRule { budget_minor: 1 << 40, ..rule("share", Amount::ValuePpm(100_000)) },
        ],
        risk: Some(RiskPolicy {
            threshold: 100,
            velocity: 20,
            velocity_rewards: 20,
            self_referral: 60,
            duplicate_identity: 10,
            bot_click: 20,
            shared_device: 30,
            shared_device_leads: 3,
            shared_device_days: 7,
            shared_prefix: 30,
            shared_prefix_leads: 3,
            too_fast: 50,
            too_fast_ms: 3000,
            ..RiskPolicy::default()
        }),
    }
}

fn qualification(person: u64, order: u64, made: Made) -> Bytes {
    let body = Qualification {
        subject: subject(person),
        name: "purchase".into(),
        value_minor: 1999,
        currency: "EUR".into(),
        rewards: Some(terms()),
        ..Qualification::default()
    };
    let at = click_of(person, made).at().plus_ms(86_400_000 + (order % 86_400_000) as i64);
    event(&format!("order {order} of {person}"), at, Body::Qualification(body))
}

fn refund(person: u64, made: Made) -> Bytes {
    let id = event_id(&format!("order {person} of {person}"));
    let body = Disqualification {
        subject: subject(person),
        qualification_id: Bytes::copy_from_slice(id.0.as_bytes()),
        reason: "refund".into(),
        value_minor: 0,
        currency: "EUR".into(),
        ..Disqualification::default()
    };
    let at = click_of(person, made).at().plus_ms(3 * 86_400_000);
    event(&format!("refund {person}"), at, Body::Disqualification(body))
}

/// What the persons `from..to` bring about. Of ten: ten leads, four first orders, two orders of earlier
/// persons; of a hundred, five leads come twice and two earlier orders are refunded.
pub fn conversions(from: u64, to: u64, made: Made) -> impl Iterator<Item = Bytes> {
    (from..to).flat_map(move |person| {
        // Some person before, whose number ends in `last`.
        let earlier = |last: u64| person.wrapping_mul(SPREAD) % person.max(10) / 10 * 10 + last;
        let mut records = vec![lead(person, made)];
        match person % 10 {
            0..=3 => records.push(qualification(person, person, made)),
            5 | 6 => records.push(qualification(earlier(person % 10), person, made)),
            _ => {}
        }
        if person % 20 == 9 {
            records.push(lead(person, made));
        }
        if person % 50 == 8 {
            records.push(refund(earlier(person / 50 % 4), made));
        }
        records
    })
}

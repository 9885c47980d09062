//! One reward per lead and rule, caps and budgets never exceeded: several senders at once, every record sent by
//! two of them, persons whose names are linked late, two members that are killed again and again.
//!
//! Looked at while it runs, too: a block's lines are one insert into one month, so that no look sees half of them.

use crate::{
    kafka::{create, join_with, produce},
    world::World,
};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::time::{Duration, Instant};
use uuid::Uuid;
use whence_schemas::{
    event::{
        self, AttributionModel, AttributionRule, CapPeriod, Disqualification, Event, Identify, Lead, Mode,
        Qualification, RewardCap, RewardParty, RewardRule, RewardTerms, RewardTier, Subject, Touch,
        event::Body, reward_tier::Amount,
    },
    ids::EventId,
    time::UnixMs,
    topics::Stream,
};

/// 2026-02-02.
const AT: UnixMs = UnixMs(1_770_000_000_000);
/// Each on a partition of its own, or two on one.
const PROGRAMS: [&str; 4] = ["north", "east", "south", "west"];
const PERSONS: u64 = 90;
const REFERRERS: u64 = 3;
const SENDERS: usize = 4;
const KILLS: usize = 10;
/// Of the rule `fixed`, for each referrer.
const REFERRER_CAP: u32 = 7;
/// Of the rule `monthly`, for each referrer and month, in minor units; a reward is 300.
const MONTH_CAP: i64 = 1000;
/// Of the rule `share`, in minor units; the last reward rarely fits exactly.
const BUDGET: i64 = 5000;

fn id(program: &str, key: &str) -> EventId {
    EventId::of(&program.parse().unwrap(), "test", key)
}

fn record(program: &str, key: &str, at: UnixMs, body: Body) -> Bytes {
    event::encode(&Event {
        id: Bytes::copy_from_slice(id(program, key).0.as_bytes()),
        mode: Mode::Live.into(),
        program: program.into(),
        source: "test".into(),
        occurred_at_ms: at.0,
        received_at_ms: AT.0,
        registry_version: 1,
        rule: Some(AttributionRule {
            model: AttributionModel::LastTouch.into(),
            window_ms: 86_400_000,
            ..AttributionRule::default()
        }),
        body: Some(body),
    })
}

fn terms() -> RewardTerms {
    let rule = |id: &str, amount| RewardRule {
        id: id.into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(amount) }],
        ..RewardRule::default()
    };
    let cap = |count, amount_minor| Some(RewardCap { count, amount_minor });
    let month = CapPeriod::Month.into();
    RewardTerms {
        rules: vec![
            RewardRule { referrer_cap: cap(REFERRER_CAP, 0), ..rule("fixed", Amount::FixedMinor(500)) },
            RewardRule {
                period_cap: cap(0, MONTH_CAP),
                period: month,
                ..rule("monthly", Amount::FixedMinor(300))
            },
            RewardRule { budget_minor: BUDGET, hold_days: 400, ..rule("share", Amount::ValuePpm(100_000)) },
        ],
        risk: None,
    }
}

/// What a person goes by in the form, and at the payment provider.
fn names(person: u64) -> [Bytes; 2] {
    [1, 2].map(|kind| {
        let mut key = [kind; 16];
        key[..8].copy_from_slice(&person.to_be_bytes());
        Bytes::copy_from_slice(&key)
    })
}

fn by(name: &Bytes) -> Option<Subject> {
    Some(Subject { lead: String::new(), keys: vec![name.clone()], ..Subject::default() })
}

/// Everything about a person of a program. Every third pays under the name of the lead, the next under the other
/// name only, which the link makes theirs, and the next under both; some become a lead under both names.
fn person(program: &str, person: u64) -> Vec<Bytes> {
    let [form, paid] = names(person);
    let lead = |name: &Bytes, key: &str, referrer: u64| {
        let referrer = format!("r{}", referrer % REFERRERS);
        let touch = Touch { link: format!("go.example/{referrer}"), referrer, ..Touch::default() };
        let body = Lead { subject: by(name), touches: vec![touch] };
        record(program, &format!("lead {person} {key}"), AT, Body::Lead(body))
    };
    let order = |name: &Bytes, key: &str| {
        let body = Qualification {
            subject: by(name),
            name: "purchase".into(),
            value_minor: 2000 + 137 * (person as i64 % 11),
            currency: "EUR".into(),
            rewards: Some(terms()),
            ..Qualification::default()
        };
        // Over two months.
        let at = AT.plus_ms((person % 40) as i64 * 86_400_000);
        record(program, &format!("order {person} {key}"), at, Body::Qualification(body))
    };
    let refund = |key: &str| {
        let body = Disqualification {
            subject: None,
            qualification_id: Bytes::copy_from_slice(
                id(program, &format!("order {person} {key}")).0.as_bytes(),
            ),
            reason: "refund".into(),
            value_minor: 0,
            currency: "EUR".into(),
        };
        record(program, &format!("refund {person} {key}"), AT.plus_ms(1000), Body::Disqualification(body))
    };
    let link = Identify {
        subject: Some(Subject {
            lead: String::new(),
            keys: vec![form.clone(), paid.clone()],
            ..Subject::default()
        }),
    };
    let mut records = vec![lead(&form, "form", person)];
    if person % 3 != 1 {
        records.push(order(&form, "form"));
    }
    if !person.is_multiple_of(3) {
        records.push(order(&paid, "paid"));
    }
    if person.is_multiple_of(5) {
        records.push(lead(&paid, "paid", person + 1));
    }
    if person.is_multiple_of(7) {
        records.push(refund(if person % 3 == 1 { "paid" } else { "form" }));
    }
    records.push(record(program, &format!("link {person}"), AT, Body::Identify(link)));
    records
}

/// What a sender sends: half of all records, each of which another sender sends too, in an order of its own but
/// for the links, which come late as a rule.
fn sends(sender: usize) -> Vec<(Vec<u8>, Bytes)> {
    let mut chance = SmallRng::seed_from_u64(sender as u64);
    let mut early = Vec::new();
    let mut late = Vec::new();
    for program in PROGRAMS {
        for number in 0..PERSONS {
            let records = person(program, number);
            let count = records.len();
            for (at, record) in records.into_iter().enumerate() {
                let sent_by = (number as usize + at) % SENDERS;
                if sender == sent_by || sender == (sent_by + 1) % SENDERS {
                    let is_link = at + 1 == count;
                    let queue = if is_link && chance.random_bool(0.8) { &mut late } else { &mut early };
                    queue.push((program.as_bytes().to_vec(), record));
                }
            }
        }
    }
    early.shuffle(&mut chance);
    late.shuffle(&mut chance);
    early.append(&mut late);
    early
}

/// Rewards and amounts beyond what the rules allow, in what a look at the ledger finds; and its size.
#[derive(clickhouse::Row, serde::Deserialize, Debug, Default, PartialEq)]
struct Look {
    lines: u64,
    twice: u64,
    negative: u64,
    beyond_referrer_cap: u64,
    beyond_month_cap: u64,
    beyond_budget: u64,
}

/// One question, hence one moment.
fn look_sql() -> String {
    let open = "state IN ('accrued', 'held', 'approved', 'issued')";
    let beyond = |rule: &str, groups: &str, sum: &str, cap: i64| {
        format!(
            "SELECT toUInt64(count()) AS n FROM (SELECT 1 FROM l WHERE rule = '{rule}' AND {open} \
             GROUP BY program{groups} HAVING {sum} > {cap})"
        )
    };
    format!(
        "WITH l AS (SELECT program, rule, lead_id, reward_id, r.referrer AS referrer, state, toInt64(sign) AS s, \
            sign * amount_minor AS amount, toStartOfMonth(earned_at) AS month FROM rewards AS r), \
         found AS (SELECT groupArray(n) AS n FROM (SELECT n FROM ( \
            SELECT 0 AS k, toUInt64(count()) AS n FROM l UNION ALL \
            SELECT 1, toUInt64(count()) FROM (SELECT 1 FROM l WHERE {open} GROUP BY program, lead_id, rule HAVING sum(s) > 1) UNION ALL \
            SELECT 2, toUInt64(count()) FROM (SELECT 1 FROM l GROUP BY program, reward_id, state HAVING sum(s) < 0 OR sum(amount) < 0) UNION ALL \
            SELECT 3, n FROM ({}) UNION ALL SELECT 4, n FROM ({}) UNION ALL SELECT 5, n FROM ({})) ORDER BY k)) \
         SELECT n[1] AS lines, n[2] AS twice, n[3] AS negative, n[4] AS beyond_referrer_cap, n[5] AS beyond_month_cap, \
            n[6] AS beyond_budget FROM found",
        beyond("fixed", ", referrer", "sum(s)", i64::from(REFERRER_CAP)),
        beyond("monthly", ", referrer, month", "sum(amount)", MONTH_CAP),
        beyond("share", "", "sum(amount)", BUDGET),
    )
}

async fn look(world: &World) -> Look {
    let look = world.client.query(&look_sql()).fetch_one::<Look>().await.unwrap();
    assert_eq!(
        look,
        Look { lines: look.lines, ..Look::default() },
        "something was given twice or beyond its bound"
    );
    look
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reward_is_given_twice_or_beyond_a_bound_at_any_moment() {
    let world = World::new().await;
    let unique = Uuid::now_v7().simple().to_string();
    let topics = [(Stream::Conversions, format!("whence.conversions-{unique}"))];
    create(&topics[0].1, 4).await;
    let topic = &topics[0].1;
    let join = |records| join_with(records, &world.store, &unique, &topics);
    let mut members = [join(23), join(41)];
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let topic = topic.clone();
            tokio::task::spawn_blocking(move || produce(&topic, sends(sender).into_iter()))
        })
        .collect();

    let sent: u64 = (0..SENDERS).map(|sender| sends(sender).len() as u64).sum();
    let consumed = "SELECT toUInt64(sum(offsets)) FROM reconciliation";
    let mut chance = SmallRng::seed_from_u64(7);
    let mut looks = std::collections::BTreeSet::new();
    for _ in 0..KILLS {
        let wanted = world.count(consumed).await + chance.random_range(1..sent / KILLS as u64);
        let deadline = Instant::now() + Duration::from_secs(10);
        while world.count(consumed).await < wanted.min(sent) && Instant::now() < deadline {
            looks.insert(look(&world).await.lines);
        }
        let which = chance.random_range(0..2);
        let next = join(chance.random_range(11..60));
        std::mem::replace(&mut members[which], next).die().await;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    // Timers come back to the topic too, some of them twice.
    let refused = "SELECT count() FROM rejects WHERE kind != 'timer'";
    while world.count(&format!("{refused} AND reason = 'duplicate'")).await < sent / 2 {
        looks.insert(look(&world).await.lines);
        assert!(Instant::now() < deadline, "not all is consumed");
    }
    let [one, two] = members;
    one.leave().await;
    two.leave().await;
    world.check_consistent().await;
    assert!(look(&world).await.lines > 0);
    assert_eq!(world.count(refused).await, sent / 2, "nothing but the second of each is refused");
    assert!(looks.len() > 10, "looked while it ran: {looks:?}");

    for program in PROGRAMS {
        let of = format!("FROM rewards WHERE program = '{program}'");
        for reason in ["referrer_cap", "period_cap", "budget"] {
            let refused = world.count(&format!("SELECT count() {of} AND reason = '{reason}'")).await;
            assert!(refused > 0, "{program} came to its {reason}");
        }
        let by_link = "SELECT count() FROM reward_states WHERE state NOT IN ('rejected', 'clawed_back')";
        let only = (0..PERSONS)
            .filter(|number| number % 3 == 1)
            .map(|number| format!("'{}'", id(program, &format!("order {number} paid")).0.hyphenated()));
        let only = only.collect::<Vec<_>>().join(",");
        let earned = format!(
            "{by_link} AND program = '{program}' AND reward_id IN \
            (SELECT reward_id {of} AND qualification_id IN ({only}))"
        );
        assert!(
            world.count(&earned).await > 0,
            "some of {program} earned under a name that was linked later"
        );
    }
}

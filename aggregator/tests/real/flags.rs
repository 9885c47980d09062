//! Each risk flag by itself: who is held for review and who is not, and that a person decides about it.

use crate::{
    evidence::{click_of, lead, store_clicks, subject, touch},
    rewards::{self, AT, aggregate_without_timers, journal},
    world::World,
};
use bytes::Bytes;
use whence_schemas::event::{
    self, Click, Lead, Participant, Qualification, RewardParty, RewardRule, RewardTerms, RewardTier,
    RiskPolicy, Share, Subject, Touch, Verdict, event::Body, reward_tier::Amount,
};

const FLAGS: [&str; 9] = [
    "self_referral",
    "self_referral_prefix",
    "velocity",
    "too_fast",
    "duplicate_identity",
    "bot_click",
    "shared_device",
    "shared_prefix",
    "disposable_email",
];

/// Each flag with the person who is to be left alone and the one who is to be held.
fn cases() -> impl Iterator<Item = (&'static str, u8, u8)> {
    FLAGS.into_iter().zip((1..).step_by(2)).map(|(flag, person)| match flag {
        // Each person has clicked a minute before the one of the number below.
        "too_fast" => (flag, person + 1, person),
        _ => (flag, person, person + 1),
    })
}

/// Looks for nothing but this flag, which is enough to hold.
fn policy(flag: &str, suspect: u8) -> RiskPolicy {
    let alone = RiskPolicy { threshold: 50, ..RiskPolicy::default() };
    match flag {
        "self_referral" => RiskPolicy { self_referral: 50, ..alone },
        "self_referral_prefix" => RiskPolicy { self_referral_prefix: 50, ..alone },
        "velocity" => RiskPolicy { velocity: 50, velocity_rewards: 1, ..alone },
        "too_fast" => RiskPolicy { too_fast: 50, too_fast_ms: 60_000 * u64::from(suspect) + 1, ..alone },
        "duplicate_identity" => RiskPolicy { duplicate_identity: 50, ..alone },
        "bot_click" => RiskPolicy { bot_click: 50, ..alone },
        "shared_device" => RiskPolicy { shared_device: 50, shared_device_days: 1, ..alone },
        "shared_prefix" => RiskPolicy { shared_prefix: 50, ..alone },
        "disposable_email" => RiskPolicy { disposable_email: 50, ..alone },
        other => panic!("{other}"),
    }
}

fn qualification(person: u8, subject: Subject, risk: RiskPolicy) -> Bytes {
    let rule = RewardRule {
        id: "fixed".into(),
        party: RewardParty::Referrer.into(),
        currency: "EUR".into(),
        tiers: vec![RewardTier { from: 0, amount: Some(Amount::FixedMinor(500)) }],
        hold_days: 400,
        ..RewardRule::default()
    };
    let body = Qualification {
        subject: Some(subject),
        name: "purchase".into(),
        rewards: Some(RewardTerms { rules: vec![rule], risk: Some(risk) }),
        ..Qualification::default()
    };
    rewards::event(&format!("qualification {person}"), AT, Body::Qualification(body))
}

/// The lead and the qualification of a person, and what raises the flag or nearly does.
fn story(flag: &str, person: u8, is_suspect: bool, risk: RiskPolicy) -> Vec<Bytes> {
    let named = |key: &str, body| rewards::event(&format!("{key} {person}"), AT.plus_ms(1), body);
    let mut who = subject(person).unwrap();
    let mut records = vec![lead(person)];
    match flag {
        "self_referral" => {
            let keys = if is_suspect { who.keys.clone() } else { vec![Bytes::from(vec![99; 16])] };
            let joined = Participant { referrer: "r1".into(), keys, ..Participant::default() };
            records.insert(0, named("joined", Body::Participant(joined)));
        }
        "self_referral_prefix" => {
            let referrer = if is_suspect { "r1" } else { "r3" };
            let share =
                Share { referrer: referrer.into(), prefix: 100 + u64::from(person), ..Share::default() };
            records.insert(0, named("shared", Body::Share(share)));
        }
        "velocity" => {
            let touch = Touch { link: "go.example/r2".into(), referrer: "r2".into(), ..Touch::default() };
            let lead = Lead { subject: Some(who.clone()), touches: vec![touch], ..Lead::default() };
            records = vec![rewards::event(&format!("lead {person}"), AT, Body::Lead(lead))];
        }
        "duplicate_identity" => {
            let touches = if is_suspect { vec![touch(person)] } else { vec![] };
            records.push(named(
                "again",
                Body::Lead(Lead { subject: Some(who.clone()), touches, ..Lead::default() }),
            ));
        }
        "disposable_email" => who.email_disposable = is_suspect,
        _ => {}
    }
    records.push(qualification(person, who, risk));
    records
}

/// A click that shares nothing with others, except for what the flag is about.
fn click(flag: &str, person: u8, is_suspect: bool) -> Bytes {
    let verdict = if flag == "bot_click" && is_suspect { Verdict::Bot } else { Verdict::Human };
    let like = |shares: bool| 100 + u64::from(if shares && is_suspect { person - 1 } else { person });
    let (visitor, prefix) = (like(flag == "shared_device"), like(flag == "shared_prefix"));
    event::encode(&Click { visitor, prefix, ..click_of(person, verdict) })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flag_by_itself_holds_for_review_and_a_person_decides() {
    let world = World::new().await;
    let (dir, journal) = journal(&world);
    let (mut clicks, mut records) = (Vec::new(), Vec::new());
    for (flag, innocent, suspect) in cases() {
        let risk = policy(flag, suspect);
        for (person, is_suspect) in [(innocent, false), (suspect, true)] {
            clicks.push(click(flag, person, is_suspect));
            records.extend(story(flag, person, is_suspect, risk));
        }
    }
    store_clicks(&world, 0, clicks).await;
    journal.append(&records.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    let (stop, task) = aggregate_without_timers(&world, &dir);
    world.until("SELECT count() FROM rewards", 2 * FLAGS.len() as u64).await;
    for flag in FLAGS {
        let held = format!(
            "SELECT count() FROM review_queue WHERE flags = ['{flag}'] AND risk = 50 AND evidence != ''"
        );
        assert_eq!(world.count(&held).await, 1, "{flag}");
    }
    let left_alone =
        "SELECT count() FROM reward_states WHERE state = 'accrued' AND empty(flags) AND risk = 0";
    assert_eq!(world.count(left_alone).await, FLAGS.len() as u64);

    let decisions = cases().zip(["approve", "reject"].into_iter().cycle());
    let decisions =
        decisions.map(|((_, _, held), decision)| rewards::decision(u64::from(held), "", decision, ""));
    // Who is under no suspicion may be approved before the days are over as well.
    let decisions: Vec<_> = decisions.chain([rewards::decision(1, "", "approve", "")]).collect();
    journal.append(&decisions.iter().map(|record| &record[..]).collect::<Vec<_>>()).await.unwrap();
    let decided = |state: &str| {
        format!(
            "SELECT count() FROM reward_states WHERE state = '{state}' AND decided_by = 'ann' AND due_at > earned_at"
        )
    };
    world.until("SELECT count() FROM reward_events WHERE outcome = 'applied'", 10).await;
    assert_eq!(world.count(&decided("approved")).await, 6, "at once, though their 400 days are not over");
    assert_eq!(world.count(&decided("rejected")).await, 4);
    assert_eq!(world.count("SELECT count() FROM review_queue").await, 0);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

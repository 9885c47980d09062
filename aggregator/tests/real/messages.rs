//! What is announced is what is stored, once, in the order of the records, and nothing personal.

use crate::{
    rewards::{AT, aggregate, config, decision, event, lead, paid_under, qualification, refund},
    world::World,
};
use bytes::Bytes;
use std::sync::Arc;
use whence_journal::GroupCommit;
use whence_schemas::event::{
    self, Event, Lead, Mode, SpendAtLeast, Subject, event::Body, history_condition::Is,
};

/// The types of the messages about the lead of the person, in the order of their positions.
async fn told(world: &World, person: u64) -> Vec<String> {
    let sql = "SELECT concat(type, if(rule = '', '', concat(' ', rule, ' ', toString(amount_minor), '/', toString(open_minor))))
        FROM outbound_messages WHERE lead_id = (SELECT any(id) FROM leads WHERE lead = ?)
        ORDER BY offset, rank, rule, revision";
    world.client.query(sql).bind(format!("person {person}")).fetch_all::<String>().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_tell_a_referral_from_its_lead_to_its_clawback_in_order() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    let journal = Arc::new(GroupCommit::open(config(&dir)).unwrap());
    let append = async |records: Vec<Bytes>| {
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        journal.append(&records).await.unwrap();
    };
    // Person 1 in order; of person 2 the payment comes first; person 3 is nobody's.
    let subject =
        Some(Subject { lead: "person 3".into(), keys: vec![Bytes::from(vec![3; 16])], ..Subject::default() });
    let unreferred = event("lead 3", AT, Body::Lead(Lead { subject, touches: vec![], ..Lead::default() }));
    append(vec![lead(1), qualification(1), qualification(2), lead(2), unreferred]).await;
    let (stop, task) = aggregate(&world, &dir, &journal);
    world.until("SELECT count() FROM outbound_messages WHERE type = 'reward.approved'", 2).await;
    append(vec![decision(1, "a", "issue", "pay-1"), refund(1, 1000), refund(2, 0)]).await;
    world.until("SELECT count() FROM outbound_messages", 18).await;
    assert_eq!(
        told(&world, 1).await,
        [
            "lead.credited",
            "lead.qualified",
            "reward.accrued fixed 500/500",
            "reward.accrued share 199/199",
            "reward.approved fixed 500/500",
            "reward.issued fixed 500/500",
            "lead.qualified",
            "reward.clawed_back fixed 251/249",
            "reward.rejected share 100/99",
        ]
    );
    assert_eq!(
        told(&world, 2).await,
        [
            "lead.credited",
            "lead.qualified",
            "reward.accrued fixed 500/500",
            "reward.accrued share 199/199",
            "reward.approved fixed 500/500",
            "lead.disqualified",
            "reward.rejected fixed 500/0",
            "reward.rejected share 199/0",
        ]
    );
    assert_eq!(told(&world, 3).await, ["lead.uncredited"]);
    let uuids = "SELECT countIf(substring(toString(message_id), 15, 1) = '8' AND substring(toString(message_id), 20, 1) = '8') FROM outbound_messages";
    assert_eq!(world.count(uuids).await, 18, "UUIDs of version 8");
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_is_announced_when_it_does_and_when_it_does_no_more() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    let journal = Arc::new(GroupCommit::open(config(&dir)).unwrap());
    let (stop, task) = aggregate(&world, &dir, &journal);
    let append = async |records: &[Bytes], consumed: u64| {
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        journal.append(&records).await.unwrap();
        world.until("SELECT toUInt64(sum(offsets)) FROM reconciliation", consumed).await;
    };
    // 39.98 in two payments, whichever comes first, then half of the first goes back.
    let is = Is::SpendAtLeast(SpendAtLeast { amount_minor: 3500, currency: "EUR".into(), within_days: 9 });
    append(&[lead(1), paid_under(1, "again", AT.plus_ms(1000), is.clone())], 2).await;
    assert_eq!(told(&world, 1).await, ["lead.credited"]);
    append(&[paid_under(1, "", AT, is)], 3).await;
    let rewarded = ["lead.credited", "lead.qualified", "reward.accrued share 199/199"];
    world.until("SELECT count() FROM outbound_messages WHERE startsWith(type, 'reward')", 1).await;
    assert_eq!(told(&world, 1).await, rewarded);
    append(&[refund(1, 1000)], 4).await;
    world.until("SELECT count() FROM outbound_messages WHERE type = 'reward.rejected'", 1).await;
    let taken_back = ["lead.disqualified", "reward.rejected share 199/0"];
    assert_eq!(told(&world, 1).await, [&rewarded[..], &taken_back[..]].concat());
    world.until("SELECT count() FROM not_counted WHERE reason = 'below_threshold'", 2).await;
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_event_under_an_id_is_refused_and_told() {
    let world = World::new().await;
    let dir = world.dir.path().join("conversions");
    let journal = Arc::new(GroupCommit::open(config(&dir)).unwrap());
    let append = async |records: Vec<Bytes>| {
        let records: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        journal.append(&records).await.unwrap();
    };
    let with_digest = |record: Bytes, digest: u64| {
        let event: Event = event::decode(&record).unwrap();
        event::encode(&Event { digest, ..event })
    };
    let is_test = |record: Bytes| {
        let event: Event = event::decode(&record).unwrap();
        event::encode(&Event { mode: Mode::Test.into(), ..event })
    };
    // In one block, and in a later one; what has no digest is compared by its id.
    append(vec![with_digest(lead(1), 7), with_digest(lead(1), 8), with_digest(lead(1), 7), lead(1)]).await;
    let (stop, task) = aggregate(&world, &dir, &journal);
    world.until("SELECT count() FROM rejects", 3).await;
    append(vec![
        with_digest(qualification(1), 3),
        with_digest(lead(1), 9),
        with_digest(lead(1), 7),
        is_test(with_digest(lead(1), 9)),
        with_digest(decision(1, "a", "approve", ""), 5),
    ])
    .await;
    world.until("SELECT count() FROM rejects", 6).await;
    let approved: Event = event::decode(&decision(1, "a", "approve", "")).unwrap();
    let rejected: Event = event::decode(&decision(1, "a", "reject", "")).unwrap();
    let named_alike = event::encode(&Event { id: approved.id, ..rejected });
    append(vec![
        with_digest(qualification(1), 4),
        with_digest(named_alike, 6),
        with_digest(decision(1, "a", "approve", ""), 5),
    ])
    .await;
    world.until("SELECT count() FROM rejects", 9).await;
    let count = async |reason: &str| {
        world.count(&format!("SELECT count() FROM rejects WHERE reason = '{reason}'")).await
    };
    assert_eq!((count("conflicting_body").await, count("duplicate").await), (5, 4));
    let named = "SELECT count() FROM rejects WHERE reason = 'conflicting_body' AND event_id IN (SELECT id FROM leads)";
    assert_eq!(world.count(named).await, 3, "by the id of the first");
    // A test tells nobody.
    world.until("SELECT count() FROM outbound_messages WHERE type = 'event.conflicting'", 4).await;
    let kinds = "SELECT arrayStringConcat(arraySort(groupArray(toString(name))), ' ') FROM outbound_messages
        WHERE type = 'event.conflicting'";
    let kinds = world.client.query(kinds).fetch_one::<String>().await.unwrap();
    assert_eq!(kinds, "lead lead qualification reward_decision");
    let kept = "SELECT count() FROM leads WHERE digest = 7 AND revision = 0";
    assert_eq!(world.count(kept).await, 1);
    world.check_consistent().await;
    stop.after_block.cancel();
    task.await.unwrap();
}

//! The roles over three secured brokers (TLS, SCRAM, ACLs) and ClickHouse behind https. Of the brokers one is killed
//! under load, then another one; then both come back, and each in turn is restarted in order.
//!
//! With one broker away everything goes on; with two, topics take nothing and the edge answers from its own disk. Nothing
//! is lost, nothing is counted twice.

use super::{
    FaultError, Ground, Outcome,
    apart::Apart,
    broker::Brokers,
    load::{answered, judge, until_answered},
    outcome::Outage,
};
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep};

/// A process that waits more often a second than this, while brokers are away, does not wait: it asks without a pause (one
/// that does makes 50,000 and more, others a few hundred).
const WAITS_MAX: u64 = 15_000;

/// Plays it; two brokers are away for this long.
///
/// # Errors
/// If it cannot be played to its end; differences are an outcome.
pub async fn run(ground: &Ground, script: PathBuf, away: Duration) -> Result<Outcome, FaultError> {
    let mut apart = Apart::start(ground, &Brokers::Secured(script)).await?;
    let brokers = apart.broker.take().expect("the script has started them");
    let load = apart.load(ground).await?;
    let some = ground.clicks / 10;
    let (ledger, (outage, restless)) = load
        .during(async |progress| {
            until_answered(progress, some).await?;
            brokers.kill(1).await?;
            let (before, since) = (apart.roles.waits(), Instant::now());
            until_answered(progress, answered(progress) + 2 * some).await?;
            brokers.kill(2).await?;
            let started = Instant::now();
            let (clicks, unanswered, events) = (answered(progress), progress.unanswered(), progress.events());
            sleep(away).await;
            let outage = Outage {
                lasted: started.elapsed(),
                answered: answered(progress) - clicks,
                unanswered: progress.unanswered() - unanswered,
                events: progress.events() - events,
            };
            let (after, seconds) = (apart.roles.waits(), since.elapsed().as_secs().max(1));
            let each_second = after.into_iter().map(|(name, count)| {
                let waits = count.saturating_sub(before.get(&name).copied().unwrap_or(0)) / seconds;
                (name, waits)
            });
            let restless: Vec<_> = each_second.filter(|(_, waits)| *waits > WAITS_MAX).collect();
            // The second one first: with it there is a quorum again.
            brokers.again(2).await?;
            brokers.again(1).await?;
            until_answered(progress, answered(progress) + some).await?;
            for number in 1..=3 {
                brokers.stop(number).await?;
                brokers.again(number).await?;
                until_answered(progress, answered(progress) + some).await?;
            }
            Ok((outage, restless))
        })
        .await?;
    let verdict = judge(&ledger, &apart.clickhouse, true).await?;
    let replays = apart.replays().await?;
    let requests = verdict.requests;
    let mut broken = Vec::new();
    if outage.answered == 0 {
        broken.push("no redirect was answered while two brokers were away".to_owned());
    }
    for (name, waits) in restless {
        broken.push(format!("{name} asked without a pause while brokers were away: {waits} waits a second"));
    }
    let lost = requests.in_flight + requests.refused + requests.events_in_flight + requests.events_refused;
    if lost > 0 {
        broken.push(format!("{lost} requests got no answer although edge and API were up all the time"));
    }
    // What leans on the brokers ends before them.
    drop(apart);
    drop(brokers);
    Ok(Outcome {
        scenario: "brokers",
        kills: Vec::new(),
        outage: Some(outage),
        replayed_by_metric: replays.by_metric,
        replayed_by_log: replays.by_log,
        tables_of_replayed: replays.tables,
        verdict,
        broken,
    })
}

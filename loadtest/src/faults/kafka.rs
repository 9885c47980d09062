//! The roles over Kafka; the broker goes away under load and comes back.
//!
//! The edge answers from its own disk: redirects go on, nothing is lost, nothing is counted twice. Records
//! that reach Kafka twice because their acknowledgement got lost are rejected as duplicates and reported.

use super::{
    FaultError, Ground, Outcome,
    apart::Apart,
    broker::{Absence, Brokers},
    load::{answered, judge, until_answered},
    outcome::Outage,
};
use crate::drive::Progress;
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep};

/// Plays it with a broker of its own, which is away for this long, half-way through the load.
///
/// # Errors
/// If it cannot be played to its end; differences are an outcome.
pub async fn run(
    ground: &Ground,
    script: PathBuf,
    how: Absence,
    away: Duration,
) -> Result<Outcome, FaultError> {
    let mut apart = Apart::start(ground, &Brokers::Script(script)).await?;
    let broker = apart.broker.take().expect("the script has started one");
    let load = apart.load(ground).await?;
    let (ledger, outage) = load
        .during(async |progress| {
            until_answered(progress, ground.clicks / 3).await?;
            broker.leave(how).await?;
            let outage = watch(progress, away).await;
            broker.come_back(how).await?;
            // Some of the load comes after it, whatever the outage has taken.
            until_answered(progress, answered(progress) + ground.clicks / 10).await?;
            Ok(outage)
        })
        .await?;
    let verdict = judge(&ledger, &apart.clickhouse, true).await?;
    let replays = apart.replays().await?;
    let requests = verdict.requests;
    let mut broken = Vec::new();
    if outage.answered == 0 {
        broken.push("no redirect was answered while the broker was away".to_owned());
    }
    let lost = requests.in_flight + requests.refused + requests.events_in_flight + requests.events_refused;
    if lost > 0 {
        broken.push(format!("{lost} requests got no answer although edge and API were up all the time"));
    }
    // What leans on the broker ends before it.
    drop(apart);
    drop(broker);
    Ok(Outcome {
        scenario: "kafka",
        kills: Vec::new(),
        outage: Some(outage),
        replayed_by_metric: replays.by_metric,
        replayed_by_log: replays.by_log,
        tables_of_replayed: replays.tables,
        verdict,
        broken,
    })
}

/// Looks at what is answered while the broker is away.
async fn watch(progress: &Progress, away: Duration) -> Outage {
    let started = Instant::now();
    let (clicks, unanswered, events) = (answered(progress), progress.unanswered(), progress.events());
    sleep(away).await;
    Outage {
        lasted: started.elapsed(),
        answered: answered(progress) - clicks,
        unanswered: progress.unanswered() - unanswered,
        events: progress.events() - events,
    }
}

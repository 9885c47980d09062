//! The roles over Kafka; aggregators are killed in turn in the middle of blocks and started again.
//!
//! Exactly once: nothing is lost and nothing is counted twice, to the unit. Edges and broker are left in
//! peace, so not even a record that was sent to Kafka twice is an excuse.

use super::{
    FaultError, Ground, Outcome,
    apart::{AGGREGATORS, Apart},
    blocks::Step,
    broker::Brokers,
    load::{judge, until_answered},
    outcome::Kill,
    roles::Until,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Shorter than an insert.
const TAIL: Duration = Duration::from_millis(1);
/// Shorter than a commit; too short for the runtime's clock.
const TAIL_TO_AIM: Duration = Duration::from_micros(100);
/// A moment that does not come within this time is replaced by any other.
const AIM_MAX: Duration = Duration::from_secs(10);
const ANY_MAX: Duration = Duration::from_secs(120);

/// A moment in a block to kill at.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AfterIntent,
    BetweenTables,
    AfterLastTable,
}

impl Moment {
    const ALL: [Moment; 3] = [Moment::AfterIntent, Moment::BetweenTables, Moment::AfterLastTable];

    fn words(self) -> &'static str {
        match self {
            Moment::AfterIntent => "aimed after the intent",
            Moment::BetweenTables => "aimed between tables",
            Moment::AfterLastTable => "aimed after the last table",
        }
    }

    /// A block of leads has qualifications or rejects as well, more often than not; one of clicks has
    /// nothing but clicks as long as nothing is sent to Kafka twice.
    fn is_now(self, step: &Step) -> bool {
        match (self, step) {
            (Moment::AfterIntent, Step::Intended(_)) => true,
            (Moment::BetweenTables, Step::Inserted { table, .. }) => table == "leads",
            (Moment::AfterLastTable, Step::Inserted { table, .. }) => table == "clicks",
            _ => false,
        }
    }
}

/// Plays it with so many kills.
///
/// # Errors
/// If it cannot be played to its end; differences are an outcome.
pub async fn run(ground: &Ground, brokers: &Brokers, kills: u32) -> Result<Outcome, FaultError> {
    let mut apart = Apart::start(ground, brokers).await?;
    let load = apart.load(ground).await?;
    let (ledger, kills) = load
        .during(async |progress| {
            let mut done = Vec::new();
            let turns = AGGREGATORS.into_iter().cycle().zip(Moment::ALL.into_iter().cycle());
            for (number, (name, moment)) in (1..=kills).zip(turns) {
                let share = f64::from(number) / f64::from(kills + 1);
                until_answered(progress, (share * ground.clicks as f64) as u64).await?;
                done.push(kill(&mut apart, name, moment).await?);
            }
            Ok(done)
        })
        .await?;
    let verdict = judge(&ledger, &apart.clickhouse, false).await?;
    let replays = apart.replays().await?;
    let mut broken = Vec::new();
    if replays.by_metric == 0 || replays.by_log == 0 {
        broken.push("no kill made a replay necessary".to_owned());
    }
    Ok(Outcome {
        scenario: "aggregator",
        kills,
        outage: None,
        replayed_by_metric: replays.by_metric,
        replayed_by_log: replays.by_log,
        tables_of_replayed: replays.tables,
        verdict,
        broken,
    })
}

/// Kills an aggregator at this moment, or at any if this one does not come, and starts it again.
async fn kill(apart: &mut Apart, name: &'static str, moment: Moment) -> Result<Kill, FaultError> {
    until_at_work(apart, name).await?;
    apart.count_replays(name).await?;
    let aim = aim(apart, name, moment).await?;
    apart.roles.kill(name).await?;
    let path = apart.roles.log_path(name);
    let log = apart.log(name);
    log.read_on().map_err(|source| FaultError::File { path, source })?;
    let open = log.blocks.died();
    apart.roles.start(name)?;
    apart.roles.wait(name, Until::Ready).await?;
    Ok(Kill { name: name.to_owned(), aim, open })
}

/// Waits until it has committed a block since it was last looked at: what it had to replay is behind it.
async fn until_at_work(apart: &mut Apart, name: &'static str) -> Result<(), FaultError> {
    let before = apart.log(name).blocks.committed;
    let deadline = Instant::now() + ANY_MAX;
    loop {
        let path = apart.roles.log_path(name);
        let log = apart.log(name);
        log.read_on().map_err(|source| FaultError::File { path, source })?;
        if log.blocks.committed > before {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(FaultError::Late { what: format!("{name} commits a block"), within: ANY_MAX });
        }
        sleep(TAIL).await;
    }
}

async fn aim(apart: &mut Apart, name: &'static str, moment: Moment) -> Result<&'static str, FaultError> {
    let started = Instant::now();
    loop {
        let path = apart.roles.log_path(name);
        let steps = apart.log(name).read_on().map_err(|source| FaultError::File { path, source })?;
        if steps.iter().any(|step| moment.is_now(step)) {
            return Ok(moment.words());
        }
        let is_open = steps.iter().any(|step| !matches!(step, Step::Committed(_)));
        if is_open && started.elapsed() > AIM_MAX {
            return Ok("aimed at any moment");
        }
        if started.elapsed() > ANY_MAX {
            return Err(FaultError::Late { what: format!("{name} opens a block"), within: ANY_MAX });
        }
        // The thread has nothing else to do: the load has threads of its own.
        std::thread::sleep(TAIL_TO_AIM);
        tokio::task::yield_now().await;
    }
}

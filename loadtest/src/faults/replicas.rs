//! The roles over Kafka and three ClickHouse replicas: at first nothing is wrong; then a replica dies, another freezes,
//! Keeper freezes and dies, an aggregator dies, each for a while. At the end every replica is compared.
//!
//! Exactly once on each of them. Without a fault no insert is tried twice and no partition begins again; with one of
//! three replicas dead nothing stands still for longer than it takes to notice.

use super::{
    FaultError, Ground,
    apart::{AGGREGATORS, Apart, Tables},
    broker::Brokers,
    cluster::{Cluster, REPLICAS},
    load::{answered, judge, until_answered},
    outcome::Verdict,
    roles::{Until, sum_of},
    standstill::Steps,
};
use std::{
    fmt,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, sleep};

/// How long things are wrong, and how long they are right in between.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before anything goes wrong.
    pub healthy: Duration,
    /// A replica is dead or frozen, and Keeper likewise.
    pub away: Duration,
    /// Until the next thing goes wrong.
    pub between: Duration,
}

/// What happened in a part of the load.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// What was wrong.
    pub what: &'static str,
    /// How long it was looked at.
    pub lasted: Duration,
    /// Clicks answered meanwhile.
    pub clicks: u64,
    /// Inserts that were tried again, partitions that began again, waits, moves to another replica; of both aggregators.
    pub counted: [u64; 4],
    /// The longest time between two steps of a partition, and which one.
    pub standstill: (Duration, String),
}

/// The counters of a [`Phase`].
const COUNTERS: [(&str, &str); 4] = [
    ("whence_insert_retries_total", "insert retries"),
    ("whence_partition_restarts_total", "partition restarts"),
    ("whence_clickhouse_waits_total", "waits"),
    ("whence_clickhouse_moves_total", "moves"),
];

/// What came of it.
#[derive(Debug)]
pub struct Came {
    /// One after the other.
    pub phases: Vec<Phase>,
    /// The comparison with each replica.
    pub verdicts: Vec<Verdict>,
    /// How long the dead replica's partitions may stand still.
    pub standstill_max: Duration,
}

impl Came {
    /// Whether every replica has everything exactly once, and health cost nothing.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let is_exact = |verdict: &Verdict| verdict.is_complete && verdict.differences.total() == 0;
        let [retries, restarts, ..] = self.phases.first().map_or([1; 4], |phase| phase.counted);
        self.verdicts.len() == REPLICAS && self.verdicts.iter().all(is_exact) && retries + restarts == 0
    }

    /// Partitions that began again, in all phases but that in which their process died.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.phases.iter().map(|phase| phase.counted[1]).sum()
    }
}

/// Plays it.
///
/// # Errors
/// If it cannot be played to its end; differences are an outcome.
pub async fn run(ground: &Ground, brokers: &Brokers, times: Times) -> Result<Came, FaultError> {
    let mut cluster = Cluster::start(ground).await?;
    // Blocks as they are by default.
    let mut apart = Apart::start_over(ground, brokers, Tables::Replicas(&cluster), &[]).await?;
    let load = apart.load(ground).await?;
    let (ledger, phases) = load
        .during(async |progress| {
            // The first look-ups, caches and parts are not part of health.
            until_answered(progress, (ground.rate * 3.0) as u64).await?;
            let mut watch = Watch { phases: Vec::new(), spans: Vec::new() };
            watch.phase("nothing", &mut apart, progress, async |_| sleep_for(times.healthy).await).await?;

            let dead = asked(&apart, &cluster).await?;
            watch
                .phase("the replica that an aggregator asks is dead", &mut apart, progress, async |_| {
                    cluster.kill(dead).await?;
                    sleep_for(times.away).await
                })
                .await?;
            watch
                .phase("it is back", &mut apart, progress, async |_| {
                    cluster.revive(dead).await?;
                    sleep_for(times.between).await
                })
                .await?;
            let frozen = asked(&apart, &cluster).await?;
            watch
                .phase("the replica that an aggregator asks is frozen", &mut apart, progress, async |_| {
                    cluster.freeze(frozen, true);
                    sleep_for(times.away).await?;
                    cluster.freeze(frozen, false);
                    sleep_for(times.between).await
                })
                .await?;
            watch
                .phase("Keeper is frozen", &mut apart, progress, async |_| {
                    cluster.freeze_keeper(true);
                    sleep_for(times.away).await?;
                    cluster.freeze_keeper(false);
                    sleep_for(times.between).await
                })
                .await?;
            watch
                .phase("Keeper is dead", &mut apart, progress, async |_| {
                    cluster.kill_keeper().await?;
                    sleep_for(times.away).await?;
                    cluster.revive_keeper().await?;
                    sleep_for(times.between).await
                })
                .await?;
            watch
                .phase("an aggregator is killed and started again", &mut apart, progress, async |apart| {
                    apart.roles.kill(AGGREGATORS[1]).await?;
                    apart.roles.start(AGGREGATORS[1])?;
                    apart.roles.wait(AGGREGATORS[1], Until::Ready).await?;
                    sleep_for(times.between).await
                })
                .await?;
            watch.finish(&apart)
        })
        .await?;
    let mut verdicts = Vec::new();
    for replica in 0..REPLICAS {
        verdicts.push(judge(&ledger, &cluster.address(replica), false).await?);
    }
    // What leans on the replicas ends before them.
    drop(apart);
    drop(cluster);
    Ok(Came { phases, verdicts, standstill_max: Duration::from_secs(5) })
}

async fn sleep_for(time: Duration) -> Result<(), FaultError> {
    sleep(time).await;
    Ok(())
}

/// The replica that the first aggregator asks.
async fn asked(apart: &Apart, cluster: &Cluster) -> Result<usize, FaultError> {
    const METRIC: &str = "whence_clickhouse_server_asked{server=\"";
    const WITHIN: Duration = Duration::from_secs(180);
    let deadline = Instant::now() + WITHIN;
    loop {
        let metrics = apart.roles.metrics(AGGREGATORS[0]).await?;
        let of = metrics.lines().filter_map(|line| line.strip_prefix(METRIC)?.split_once("\"}"));
        let asked = of.filter(|(_, value)| value.trim() == "1").find_map(|(server, _)| cluster.at(server));
        if let Some(asked) = asked {
            return Ok(asked);
        }
        if Instant::now() >= deadline {
            return Err(FaultError::Late {
                what: "an aggregator says which server it asks".into(),
                within: WITHIN,
            });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

struct Watch {
    phases: Vec<Phase>,
    spans: Vec<(SystemTime, SystemTime)>,
}

impl Watch {
    /// Has something go wrong, and counts what that does.
    async fn phase(
        &mut self,
        what: &'static str,
        apart: &mut Apart,
        progress: &crate::drive::Progress,
        act: impl AsyncFnOnce(&mut Apart) -> Result<(), FaultError>,
    ) -> Result<(), FaultError> {
        let (from, began, clicks) = (SystemTime::now(), Instant::now(), answered(progress));
        let before = counted(apart).await?;
        act(apart).await?;
        let after = counted(apart).await?;
        let of = |kind: usize| {
            // A process that was started meanwhile counts from 0.
            let each = before.iter().zip(&after).map(|(before, after)| match after[kind] < before[kind] {
                true => after[kind],
                false => after[kind] - before[kind],
            });
            each.sum()
        };
        self.phases.push(Phase {
            what,
            lasted: began.elapsed(),
            clicks: answered(progress) - clicks,
            counted: [of(0), of(1), of(2), of(3)],
            standstill: Default::default(),
        });
        self.spans.push((from, SystemTime::now()));
        Ok(())
    }

    /// Looks up in the logs how long partitions stood still.
    fn finish(mut self, apart: &Apart) -> Result<Vec<Phase>, FaultError> {
        let mut steps = Steps::default();
        for name in AGGREGATORS {
            let path = apart.roles.log_path(name);
            steps.read(&path).map_err(|source| FaultError::File { path, source })?;
        }
        for (phase, (from, to)) in self.phases.iter_mut().zip(self.spans) {
            phase.standstill = steps.longest(from, to);
        }
        Ok(self.phases)
    }
}

/// The counters of each aggregator.
async fn counted(apart: &Apart) -> Result<[[u64; 4]; 2], FaultError> {
    let mut counted = [[0; 4]; 2];
    for (of, name) in counted.iter_mut().zip(AGGREGATORS) {
        let metrics = apart.roles.metrics(name).await?;
        *of = COUNTERS.map(|(counter, _)| sum_of(counter, &metrics));
    }
    Ok(counted)
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in &self.phases {
            let seconds = phase.lasted.as_secs_f64();
            let rate = phase.clicks as f64 / seconds.max(f64::MIN_POSITIVE);
            let counted =
                COUNTERS.iter().zip(phase.counted).map(|((_, words), count)| format!("{count} {words}"));
            let (standstill, partition) = &phase.standstill;
            writeln!(
                f,
                "{}: {seconds:.1} s, {rate:.0} clicks/s; {}; longest between two steps {:.1} s ({partition})",
                phase.what,
                counted.collect::<Vec<_>>().join(", "),
                standstill.as_secs_f64()
            )?;
        }
        for (number, verdict) in (1..).zip(&self.verdicts) {
            writeln!(f, "replica {number}:")?;
            write!(f, "{verdict}")?;
        }
        let differences: u64 = self.verdicts.iter().map(|verdict| verdict.differences.total()).sum();
        let word = if self.is_right() { "right" } else { "WRONG" };
        writeln!(f, "replicas: {word}, {differences} differences")
    }
}

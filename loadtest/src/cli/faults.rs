//! `whence-loadtest faults SCENARIO`: starts everything itself, breaks it, and compares.

use super::Failed;
use crate::faults::idle::{self, Flood};
use crate::faults::{
    Absence, Brokers, FaultError, Ground, Outcome, aggregator, brokers, edge, find_whence, kafka,
    replicas::{self, Times},
};
use clap::{Args, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Other clients of the scenario `idle`.
const CLIENTS: usize = 32;

#[derive(Debug, Args)]
pub(super) struct FaultsArgs {
    #[command(subcommand)]
    scenario: Scenario,
    /// The binary `whence`; by default the one beside this program.
    #[arg(long, env = "WHENCE_LOADTEST_WHENCE", global = true)]
    whence: Option<PathBuf>,
    /// Clicks that must be answered; more are sent if the scenario takes longer.
    #[arg(long, env = "WHENCE_LOADTEST_CLICKS", default_value_t = 200_000, global = true)]
    clicks: u64,
    /// Clicks a second.
    #[arg(long, env = "WHENCE_LOADTEST_RATE", default_value_t = 5_000.0, value_parser = super::values::positive, global = true)]
    rate: f64,
    /// Seed of the load and of random moments.
    #[arg(long, env = "WHENCE_LOADTEST_SEED", default_value_t = 1, global = true)]
    seed: u64,
    /// Keep data and logs even if everything is right.
    #[arg(long, env = "WHENCE_LOADTEST_KEEP", global = true)]
    keep: bool,
}

/// What goes wrong.
#[derive(Debug, Subcommand)]
enum Scenario {
    /// `whence up` alone, with few file descriptors: strangers connect and say nothing.
    Idle {
        /// Limits of file descriptors (soft and hard), each tried in turn.
        #[arg(long, env = "WHENCE_LOADTEST_DESCRIPTORS", value_delimiter = ',', default_values_t = [1024, 20_000])]
        descriptors: Vec<u64>,
        /// Idle connections from one network.
        #[arg(long, env = "WHENCE_LOADTEST_IDLE_OF_ONE", default_value_t = 10_000)]
        idle_of_one: usize,
        /// Idle connections from 200 networks.
        #[arg(long, env = "WHENCE_LOADTEST_IDLE_OF_MANY", default_value_t = 21_000)]
        idle_of_many: usize,
        /// Seconds that clicks are measured before, and again while strangers are there.
        #[arg(long, env = "WHENCE_LOADTEST_PHASE_S", default_value_t = 20)]
        phase_s: u64,
        /// Size of a journal's file.
        #[arg(long, env = "WHENCE_LOADTEST_SEGMENT", default_value = "1MiB")]
        journal_segment: String,
    },
    /// `whence up` alone: the whole process is killed at random moments.
    Edge {
        /// Kills.
        #[arg(long, env = "WHENCE_LOADTEST_KILLS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        kills: u32,
    },
    /// The roles over Kafka: aggregators are killed in the middle of blocks.
    Aggregator {
        /// Kills, two aggregators in turn.
        #[arg(long, env = "WHENCE_LOADTEST_KILLS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        kills: u32,
        /// Brokers that run already, instead of one of its own.
        #[arg(long, env = "WHENCE_LOADTEST_BROKERS")]
        brokers: Option<String>,
        #[command(flatten)]
        script: ScriptArg,
    },
    /// The roles over Kafka and three ClickHouse replicas, which are killed and frozen, and their Keeper and an
    /// aggregator too.
    Replicas {
        /// Seconds before anything goes wrong.
        #[arg(long, env = "WHENCE_LOADTEST_HEALTHY_S", default_value_t = 40)]
        healthy_s: u64,
        /// Seconds that each thing is wrong.
        #[arg(long, env = "WHENCE_LOADTEST_AWAY_S", default_value_t = 20)]
        away_s: u64,
        /// Seconds between one and the next.
        #[arg(long, env = "WHENCE_LOADTEST_BETWEEN_S", default_value_t = 20)]
        between_s: u64,
        /// Brokers that run already, instead of one of its own.
        #[arg(long, env = "WHENCE_LOADTEST_BROKERS")]
        brokers: Option<String>,
        #[command(flatten)]
        script: ScriptArg,
    },
    /// The roles over Kafka: the broker goes away and comes back.
    Kafka {
        /// Seconds without a broker.
        #[arg(long, env = "WHENCE_LOADTEST_OUTAGE_S", default_value_t = 30)]
        outage_s: u64,
        /// How it goes away.
        #[arg(long, env = "WHENCE_LOADTEST_HOW", value_enum, default_value_t = Absence::Down)]
        how: Absence,
        #[command(flatten)]
        script: ScriptArg,
    },
    /// The roles over three secured brokers: one is killed, then two, then each is restarted.
    Brokers {
        /// Seconds with one broker of three.
        #[arg(long, env = "WHENCE_LOADTEST_OUTAGE_S", default_value_t = 20)]
        outage_s: u64,
        #[command(flatten)]
        script: ScriptArg,
    },
}

#[derive(Debug, Args)]
struct ScriptArg {
    /// The script that runs a broker.
    #[arg(long, env = "WHENCE_LOADTEST_KAFKA_SCRIPT", default_value = "deploy/kafka/kafka")]
    kafka_script: PathBuf,
}

pub(super) async fn run(args: FaultsArgs) -> Result<ExitCode, Failed> {
    let whence = args.whence.map_or_else(find_whence, Ok)?;
    let dir = tempfile::Builder::new().prefix("whence-faults.").tempdir()?;
    let path = dir.path().to_owned();
    let ground = Ground { whence, dir: path.clone(), clicks: args.clicks, rate: args.rate, seed: args.seed };
    eprintln!("data and logs are in {}", path.display());
    // What was started ends with the scenario's future.
    if let Scenario::Idle { descriptors, idle_of_one, idle_of_many, phase_s, journal_segment } = args.scenario
    {
        let phase = Duration::from_secs(phase_s);
        let floods = descriptors.into_iter().flat_map(|descriptors| {
            [(idle_of_one, 1), (idle_of_many, 200)].map(|(connections, networks)| Flood {
                descriptors,
                connections,
                networks,
                clients: CLIENTS,
                phase,
            })
        });
        return tokio::select! {
            played = Box::pin(flood(&ground, floods.collect(), &journal_segment)) => played,
            () = interrupted() => Err("interrupted".into()),
        };
    }
    if let Scenario::Replicas { healthy_s, away_s, between_s, brokers, script } = args.scenario {
        let brokers = brokers.map_or(Brokers::Script(script.kafka_script), Brokers::Running);
        let [healthy, away, between] = [healthy_s, away_s, between_s].map(Duration::from_secs);
        let times = Times { healthy, away, between };
        let played = tokio::select! {
            played = Box::pin(replicas::run(&ground, &brokers, times)) => played.map_err(Failed::from),
            () = interrupted() => Err("interrupted".into()),
        };
        let is_right = played.as_ref().is_ok_and(replicas::Came::is_right);
        if args.keep || !is_right {
            let kept = dir.keep();
            eprintln!("data and logs stay in {}", kept.display());
        }
        print!("{}", played?);
        return Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let played = tokio::select! {
        played = Box::pin(play(args.scenario, &ground)) => played.map_err(Failed::from),
        () = interrupted() => Err("interrupted".into()),
    };
    let is_right = played.as_ref().is_ok_and(Outcome::is_right);
    if args.keep || !is_right {
        let kept = dir.keep();
        eprintln!("data and logs stay in {}", kept.display());
    }
    print!("{}", played?);
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn flood(ground: &Ground, floods: Vec<Flood>, segment: &str) -> Result<ExitCode, Failed> {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{machine} cores, shared with the clients and the strangers; {} clicks a second", ground.rate);
    println!("command: {}", std::env::args().collect::<Vec<_>>().join(" "));
    let mut is_right = true;
    for (n, flood) in floods.into_iter().enumerate() {
        let ground = Ground { dir: ground.dir.join(n.to_string()), ..ground.clone() };
        std::fs::create_dir_all(&ground.dir)?;
        let came =
            idle::run(&ground, Path::new("/proc/self/exe"), flood, &["--journal-segment", segment]).await?;
        print!("{came}");
        is_right &= came.is_right();
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(scenario: Scenario, ground: &Ground) -> Result<Outcome, FaultError> {
    match scenario {
        Scenario::Idle { .. } | Scenario::Replicas { .. } => {
            unreachable!("they have no outcome of that kind")
        }
        Scenario::Edge { kills } => edge::run(ground, kills).await,
        Scenario::Aggregator { kills, brokers, script } => {
            let brokers = brokers.map_or(Brokers::Script(script.kafka_script), Brokers::Running);
            aggregator::run(ground, &brokers, kills).await
        }
        Scenario::Kafka { outage_s, how, script } => {
            kafka::run(ground, script.kafka_script, how, Duration::from_secs(outage_s)).await
        }
        Scenario::Brokers { outage_s, script } => {
            brokers::run(ground, script.kafka_script, Duration::from_secs(outage_s)).await
        }
    }
}

async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        // Without a handler the system's own applies.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

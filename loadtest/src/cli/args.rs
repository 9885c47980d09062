//! Flags, each with its environment twin.

use super::values;
use crate::{
    drive::DriveSettings,
    oracle::{
        store::{Roots, StoreAddress},
        wait::WaitLimits,
    },
    plan::{arrivals::Rhythm, clicks::ClickMix, stories::StoryMix},
    world::WorldSize,
};
use clap::{Args, Parser, Subcommand};
use std::{io, path::PathBuf, time::Duration};

/// Sends clicks and events to whence, knows the truth about all of them, and checks it in ClickHouse.
#[derive(Debug, Parser)]
#[command(name = "whence-loadtest", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a demo world: programs, referrers, links.
    Setup {
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        world: WorldArgs,
        /// Write the world down as JSON, for `drive --world`.
        #[arg(long = "world")]
        out: Option<PathBuf>,
    },
    /// Send the load and write the ledger.
    Drive {
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        world: WorldArgs,
        /// Use this world instead of setting up a new one.
        #[arg(long = "world")]
        world_file: Option<PathBuf>,
        #[command(flatten)]
        drive: DriveArgs,
        #[command(flatten)]
        ledger: LedgerArg,
    },
    /// Compare a ledger with what ClickHouse holds.
    Check {
        #[command(flatten)]
        check: CheckArgs,
        #[command(flatten)]
        ledger: LedgerArg,
    },
    /// Set up, send, wait, compare.
    Run {
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        world: WorldArgs,
        #[command(flatten)]
        drive: DriveArgs,
        #[command(flatten)]
        check: CheckArgs,
        /// Also write the ledger to this file.
        #[arg(long, env = "WHENCE_LOADTEST_LEDGER")]
        ledger: Option<PathBuf>,
    },
    /// Start everything, kill some of it under load, and compare.
    Faults(super::faults::FaultsArgs),
    /// Holds idle connections; what `faults idle` starts.
    #[command(hide = true)]
    Hold {
        /// Where to.
        to: std::net::SocketAddr,
        /// How many.
        connections: usize,
        /// The first network.
        first: usize,
        /// How many networks.
        networks: usize,
    },
}

/// Where whence is.
#[derive(Debug, Args)]
pub(super) struct RegistryArgs {
    /// The edge.
    #[arg(long, env = "WHENCE_LOADTEST_EDGE", default_value = "http://127.0.0.1:8080")]
    pub edge: String,
    /// The events API.
    #[arg(long, env = "WHENCE_LOADTEST_API", default_value = "http://127.0.0.1:8081")]
    pub api: String,
    /// File with an API key that may do everything.
    #[arg(long, env = "WHENCE_LOADTEST_ADMIN_KEY_FILE")]
    pub admin_key_file: PathBuf,
}

/// What is set up.
#[derive(Debug, Args)]
pub(super) struct WorldArgs {
    /// Seed of the world.
    #[arg(long = "world-seed", env = "WHENCE_LOADTEST_WORLD_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Programs; every second one credits the first touch within two seconds.
    #[arg(long, env = "WHENCE_LOADTEST_PROGRAMS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub programs: u16,
    /// Referrers of each program.
    #[arg(long, env = "WHENCE_LOADTEST_REFERRERS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub referrers: u32,
    /// Links of all programs together.
    #[arg(long, env = "WHENCE_LOADTEST_LINKS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// Channels of each program.
    #[arg(long, env = "WHENCE_LOADTEST_CHANNELS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=8))]
    pub channels: u16,
    /// Host of the links, if it is not the edge's address.
    #[arg(long, env = "WHENCE_LOADTEST_LINK_HOST")]
    pub link_host: Option<String>,
    /// Names the run's programs and codes; without it, the time does.
    #[arg(long, env = "WHENCE_LOADTEST_TAG")]
    pub tag: Option<String>,
}

impl WorldArgs {
    /// The world's size.
    pub fn size(&self) -> WorldSize {
        let WorldArgs { programs, referrers, links, channels, .. } = *self;
        WorldSize { programs, referrers, links, channels }
    }
}

/// What is sent.
#[derive(Debug, Args)]
pub(super) struct DriveArgs {
    /// Seed of the load.
    #[arg(long = "seed", env = "WHENCE_LOADTEST_SEED", default_value_t = 1)]
    pub load_seed: u64,
    /// Clicks altogether.
    #[arg(long, env = "WHENCE_LOADTEST_CLICKS", default_value_t = 200_000)]
    pub clicks: u64,
    /// Clicks a second.
    #[arg(long, env = "WHENCE_LOADTEST_RATE", default_value_t = 5_000.0, value_parser = values::positive)]
    pub rate: f64,
    /// Evenly spaced instead of independent of each other.
    #[arg(long, env = "WHENCE_LOADTEST_EVEN")]
    pub even: bool,
    /// Threads of the generator.
    #[arg(long, env = "WHENCE_LOADTEST_WORKERS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Connections to the edge at a time, of each thread.
    #[arg(long, env = "WHENCE_LOADTEST_CONNECTIONS", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Seconds that an answer may take.
    #[arg(long, env = "WHENCE_LOADTEST_TIMEOUT_S", default_value_t = 10)]
    pub timeout_s: u64,
    /// Of people's clicks, those that a lead follows, in percent.
    #[arg(long, env = "WHENCE_LOADTEST_LEADS_PERCENT", default_value_t = 3.0, value_parser = values::percent)]
    pub leads_percent: f64,
    /// Of clicks, those on a connection of their own, in percent.
    #[arg(long, env = "WHENCE_LOADTEST_FRESH_PERCENT", default_value_t = 10.0, value_parser = values::percent)]
    pub fresh_percent: f64,
    /// Milliseconds from one event of a story to the next, at least.
    #[arg(long, env = "WHENCE_LOADTEST_DELAY_MS_MIN", default_value_t = 200)]
    pub delay_ms_min: u32,
    /// The same, at most.
    #[arg(long, env = "WHENCE_LOADTEST_DELAY_MS_MAX", default_value_t = 3_000)]
    pub delay_ms_max: u32,
}

impl DriveArgs {
    /// The load's settings.
    pub fn settings(&self) -> DriveSettings {
        DriveSettings {
            clicks: self.clicks,
            rate: self.rate,
            rhythm: if self.even { Rhythm::Even } else { Rhythm::Poisson },
            workers: self.workers.into(),
            connections: self.connections.into(),
            timeout: Duration::from_secs(self.timeout_s),
            click_mix: ClickMix { fresh_connections: self.fresh_percent, ..ClickMix::default() },
            story_mix: StoryMix {
                leads: self.leads_percent,
                delay_ms_min: self.delay_ms_min.min(self.delay_ms_max),
                delay_ms_max: self.delay_ms_max,
                ..StoryMix::default()
            },
            ..DriveSettings::default()
        }
    }
}

/// The ledger.
#[derive(Debug, Args)]
pub(super) struct LedgerArg {
    /// The ledger's file.
    #[arg(long, env = "WHENCE_LOADTEST_LEDGER")]
    pub ledger: PathBuf,
}

/// What is compared, and how strictly.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// ClickHouse's HTTP interface, with http:// or https://.
    #[arg(long, env = "WHENCE_LOADTEST_CLICKHOUSE", default_value = "http://127.0.0.1:8123")]
    pub clickhouse: String,
    /// The database with whence's tables.
    #[arg(long, env = "WHENCE_LOADTEST_DATABASE", default_value = "whence")]
    pub database: String,
    /// The user.
    #[arg(long, env = "WHENCE_LOADTEST_CLICKHOUSE_USER", default_value = "default")]
    pub clickhouse_user: String,
    /// File with the user's password.
    #[arg(long, env = "WHENCE_LOADTEST_CLICKHOUSE_PASSWORD_FILE")]
    pub clickhouse_password_file: Option<PathBuf>,
    /// Certificates of the authorities that ClickHouse's may be signed by, PEM; by default the machine's.
    #[arg(long, env = "WHENCE_LOADTEST_CLICKHOUSE_CA_FILE")]
    pub clickhouse_ca_file: Option<PathBuf>,
    /// Something was killed on purpose: what was not answered may be stored or not. What was answered must
    /// still be exact.
    #[arg(long, env = "WHENCE_LOADTEST_LOSSY")]
    pub lossy: bool,
    /// Seconds to wait for everything to be stored.
    #[arg(long, env = "WHENCE_LOADTEST_DEADLINE_S", default_value_t = 300)]
    pub deadline_s: u64,
    /// Seconds without anything new after which waiting ends.
    #[arg(long, env = "WHENCE_LOADTEST_STANDSTILL_S", default_value_t = 20)]
    pub standstill_s: u64,
    /// Differences of each kind to print.
    #[arg(long, env = "WHENCE_LOADTEST_PRINT", default_value_t = 10)]
    pub print: u64,
    /// Rows of the funnel to print.
    #[arg(long, env = "WHENCE_LOADTEST_ROWS", default_value_t = 20)]
    pub rows: usize,
    /// Also write the result to this file, as JSON.
    #[arg(long, env = "WHENCE_LOADTEST_JSON")]
    pub json: Option<PathBuf>,
}

impl CheckArgs {
    /// Where ClickHouse is.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn store_address(&self) -> io::Result<StoreAddress> {
        let password = match &self.clickhouse_password_file {
            Some(file) => std::fs::read_to_string(file)?.trim().to_owned(),
            None => String::new(),
        };
        Ok(StoreAddress {
            url: self.clickhouse.clone(),
            database: self.database.clone(),
            user: self.clickhouse_user.clone(),
            password,
            roots: self.clickhouse_ca_file.as_deref().map_or_else(|| Ok(Roots::machine()), Roots::of)?,
        })
    }

    /// How long to wait.
    pub fn wait_limits(&self) -> WaitLimits {
        WaitLimits {
            deadline: Duration::from_secs(self.deadline_s),
            standstill: Duration::from_secs(self.standstill_s),
            ..WaitLimits::default()
        }
    }
}

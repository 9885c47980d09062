//! Things that go wrong on purpose: processes that are killed and started again while the load runs.
//!
//! | module | what it does |
//! |---|---|
//! | [`edge`] | scenario: all of `whence up` is killed, again and again |
//! | [`aggregator`] | scenario: aggregators are killed in the middle of blocks |
//! | [`kafka`] | scenario: the broker is away for a while |
//! | [`brokers`] | scenario: of three secured brokers one is killed, then two, then each is restarted |
//! | [`replicas`] | scenario: ClickHouse is three replicas, which are killed, and their Keeper |
//! | `cluster` | those replicas, as processes |
//! | `standstill` | how long a partition stood still, from its log |
//! | [`idle`], [`hold`] | scenario: strangers connect and say nothing |
//! | `load` | sends the load while a scenario acts, and judges what is stored |
//! | [`blocks`] | where in a block a process stands, from its log |
//! | `apart` | the roles over Kafka, each in its own process |
//! | `roles` | the binary `whence` as processes of a fleet, and what they note |
//! | `broker` | a broker of the scenario's own |
//! | `tls` | TLS before ClickHouse, where brokers are secured, too |
//! | [`outcome`] | what was done and what came of it |
//!
//! A [`Fleet`] starts processes, keeps their logs, waits until they are ready and kills them. Everything
//! runs on loopback, in a folder that the caller names, and is gone when a scenario returns.

pub mod aggregator;
mod apart;
pub mod blocks;
mod broker;
pub mod brokers;
mod cluster;
pub mod edge;
mod fleet;
pub mod hold;
pub mod idle;
pub mod kafka;
mod load;
pub mod outcome;
pub mod replicas;
mod roles;
mod standstill;
mod tls;

pub use broker::{Absence, Brokers};
pub use fleet::{Fleet, FleetError, Member};
pub use outcome::Outcome;
pub use roles::find_whence;

use crate::{drive::DriveError, setup::SetupError, wire::TargetError};
use std::{io, path::PathBuf, time::Duration};

/// What every scenario is given.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The binary `whence`.
    pub whence: PathBuf,
    /// An empty folder for data and logs. Letters, digits and `/ . _ + @ -` only: Kafka takes no others.
    pub dir: PathBuf,
    /// Clicks that must be answered; more are sent if what is to go wrong takes longer.
    pub clicks: u64,
    /// Clicks a second.
    pub rate: f64,
    /// Seed of the load and of random moments.
    pub seed: u64,
}

/// Why a scenario could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The binary is not there.
    #[error("the binary is not at {}: run `cargo build -p whence` (with the same profile) first", .0.display())]
    NoBinary(PathBuf),
    /// A process does not do as asked.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A file, or a command that could not be run.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed:\n{said}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// An address is not valid.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The admin key is not valid.
    #[error("the admin key cannot stand in a header")]
    Key(#[from] hyper::header::InvalidHeaderValue),
    /// The world could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The load ended by a defect.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// ClickHouse could not be read.
    #[error("cannot read what is stored")]
    Store(#[from] clickhouse::error::Error),
    /// An operator's page gave no answer.
    #[error("{name} does not tell its metrics")]
    Metrics {
        /// Who.
        name: String,
        /// Why.
        source: crate::wire::Failure,
    },
    /// Something that must happen did not.
    #[error("waited {} s, and still not: {what}", .within.as_secs())]
    Late {
        /// What.
        what: String,
        /// How long.
        within: Duration,
    },
}

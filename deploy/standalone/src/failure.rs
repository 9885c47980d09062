//! Why a command ended without success, as the operator reads it.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use whence_aggregator::clickhouse::migrate::MigrateError;
use whence_aggregator::servers::{Trouble, trouble};
use whence_clickhouse_embedded::ServeError;
use whence_clickhouse_embedded::library::NoEngine;
use whence_clickhouse_embedded::passwords::PasswordError;
use whence_clickhouse_embedded::supervise::SuperviseError;
use whence_console::ask::AskError;
use whence_console::replay::ReplayError;
use whence_ingest::api::AdminKeyError;
use whence_ingest::edge::EdgeError;
use whence_ingest::edge::acme::AcmeError;
use whence_ingest::edge::tls::FolderError;
use whence_ingest::registry::embedded;
use whence_ingest::ship::ShipError;
use whence_ingest::topics::TopicsError;
use whence_runtime::descriptors::TooFew;
use whence_runtime::private::PrivateError;
use whence_runtime::settings::Mistakes;
use whence_runtime::telemetry::TelemetryError;
use whence_runtime::tls::TlsError;

use crate::backup::BackupError;
use crate::call::CallError;
use crate::data_dir::DataDirError;
use crate::secrets::SecretsError;

/// Why a command failed. Its text and those of its sources are printed in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Settings are wrong; all mistakes are in it.
    #[error(transparent)]
    Settings(#[from] Mistakes),
    /// Logs or metrics could not be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The threads or signals of the process could not be had.
    #[error("cannot start the process")]
    Process(#[source] io::Error),
    /// The limit of open files is too low for the settings.
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    /// The data folder can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no backup, or nothing was restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The secrets can't be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The kernel does not let this process give up what it does not need.
    #[error("cannot confine the engine's process")]
    Confine(#[source] Box<dyn Error + Send + Sync>),
    /// A password of the embedded ClickHouse can't be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The admin key can't be used.
    #[error(transparent)]
    AdminKey(#[from] AdminKeyError),
    /// A file with a secret can't be used.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The registry's file can't be used.
    #[error(transparent)]
    Registry(#[from] embedded::OpenError),
    /// librdkafka does not accept its properties.
    #[error("the settings of the kafka client are not valid")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// Kafka does not have what the role needs, and waiting does not fix it.
    #[error("kafka: {0}")]
    Brokers(String),
    /// Kafka does not say what its group has committed.
    #[error(transparent)]
    Commits(#[from] whence_aggregator::kafka::CommitsError),
    /// Kafka does not say what edges have shipped.
    #[error("cannot read from Kafka what edges say they have shipped")]
    Edges(#[source] rdkafka::error::KafkaError),
    /// The edge did not start.
    #[error("cannot start the edge")]
    Edge(#[from] EdgeError),
    /// The edge's certificates can't be had.
    #[error("cannot use the certificates")]
    Certificates(#[from] FolderError),
    /// A certificate authority's certificates can't be kept.
    #[error("cannot order certificates")]
    Acme(#[from] AcmeError),
    /// A journal can't be opened.
    #[error("cannot open the journal of conversions")]
    Journal(#[from] whence_journal::OpenError),
    /// The shipper did not start.
    #[error("cannot start the shipper")]
    Ship(#[from] ShipError),
    /// An address can't be listened at.
    #[error("cannot listen at {address} ({setting})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is no engine.
    #[error(transparent)]
    NoEngine(#[from] NoEngine),
    /// The library is not an engine.
    #[error(
        "clickhouse-engine: {path} is not an engine that runs here ({why}): fetch it with deploy/clickhouse/fetch-engine"
    )]
    BadEngine {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// What a role needs can't be had.
    #[error("{role} can't start: {} problems:\n  {}", wrong.len(), wrong.join("\n  "))]
    Unfit {
        /// The command.
        role: String,
        /// What is wrong, a sentence each.
        wrong: Vec<String>,
    },
    /// The engine did not start.
    #[error("cannot start the embedded clickhouse")]
    Engine(#[from] SuperviseError),
    /// The engine ended.
    #[error("the embedded clickhouse ended")]
    EngineEnded(#[from] ServeError),
    /// The tables could not be made.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The topics could not be made.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// ClickHouse can't be used as the settings have it.
    #[error("clickhouse can't be used: {0}")]
    Unusable(#[from] Trouble),
    /// Files of certificates or keys can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Topics are not as planned; each difference has been told.
    #[error("{topics} topics are not as planned: nothing is changed that is there")]
    TopicsDiffer {
        /// How many.
        topics: usize,
    },
    /// ClickHouse did not answer a question.
    #[error("clickhouse did not answer: {0}")]
    ClickHouse(Trouble),
    /// ClickHouse did not answer a question of the read side.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What is stored does not add up; where was told before.
    #[error("what is stored does not add up in {0} places")]
    Differs(usize),
    /// What would have been can't be computed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A part of whence did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A step of several did not work.
    #[error("the step \"{name}\" did not work")]
    Step {
        /// The step.
        name: &'static str,
        /// Why.
        source: Box<Failure>,
    },
    /// A file could not be written or read.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output is gone.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Rows of a file were not taken; each has been told.
    #[error("{refused} rows were refused")]
    Refused {
        /// How many.
        refused: u64,
    },
    /// What was asked for was not done with all rewards; each has been told.
    #[error("{rows} rewards were not decided as asked")]
    Undecided {
        /// How many.
        rows: u64,
    },
    /// An endpoint has not taken all messages; each has been told.
    #[error("{messages} messages were not delivered: the same command sends them again")]
    Undelivered {
        /// How many.
        messages: u64,
    },
    /// The command was called in a way that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Somebody refused what was asked, or something needed for it is not there, in words.
    #[error("{0}")]
    Failed(String),
    /// The process stopped, but not in order; the log says which stage.
    #[error("the stop was not clean")]
    Unclean,
}

impl From<clickhouse::error::Error> for Failure {
    fn from(error: clickhouse::error::Error) -> Self {
        Self::ClickHouse(trouble(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::chain;

    #[test]
    fn causes_stand_in_one_line_and_none_twice() {
        let source = io::Error::other("disk on fire");
        let failure = Failure::File { path: "/x".into(), source };
        assert_eq!(chain(&failure), "cannot use /x: disk on fire");
        let wrapped = Failure::Process(io::Error::other(io::Error::other("disk on fire")));
        assert_eq!(chain(&wrapped), "cannot start the process: disk on fire");
    }
}

//! Every setting of the program, in groups, and what each command is given.
//!
//! A group stands where it is shared: `whence up` has what all roles have together. Nothing here acts.

mod clickhouse;
mod ingest;
mod kafka;
mod machine;
mod roles;
mod tls;

pub use clickhouse::{AccountSettings, AggregatorSettings, ClickHouseSettings, EngineSettings, KeepSettings};
pub use ingest::{EdgeSettings, JournalSettings, ProxySettings};
pub use kafka::{KafkaSettings, RetentionSettings, ShipSettings, TopicSettings};
pub use machine::{AnswerSettings, CallSettings, DataSettings, ProcessSettings, SecretsSettings};
pub use roles::{
    AggregateSettings, ClickHouseRoleSettings, ConsoleRoleSettings, EdgesSettings, EndpointSenderSettings,
    FolderSettings, ImportSettings, IngestSettings, LineageSettings, MigrateSettings, ReportSettings,
    RewardLedgerSettings, TopicsSettings, TrySettings, UpSettings, VerifySettings,
};

pub use tls::TlsSettings;

use clap::ArgMatches;
use whence_runtime::settings::{self, Catalogue, Environment, Group, Loaded, Mistakes};

/// Every setting of every command, and the variables that scripts and tests read.
pub fn catalogue() -> Catalogue {
    const OTHERS: [&str; 17] = [
        "WHENCE_CACHE",
        "WHENCE_CLICKHOUSE_BIN",
        "WHENCE_CLICKHOUSE_LISTENER_FD",
        "WHENCE_KAFKA_CONTROLLER_PORT",
        "WHENCE_KAFKA_DATA",
        "WHENCE_KAFKA_HEAP",
        "WHENCE_KAFKA_PORT",
        "WHENCE_KAFKA_WAIT",
        "WHENCE_REVISION",
        "WHENCE_TEST_CLIENTS",
        "WHENCE_TEST_GENERATED",
        "WHENCE_TEST_DEVICE_DETECTOR",
        "WHENCE_TEST_KAFKA_BROKERS",
        "WHENCE_TEST_PEBBLE",
        "WHENCE_UPDATE_README",
        "WHENCE_UPDATE_SCHEMAS",
        "WHENCE_URL",
    ];
    let catalogue = Catalogue::default()
        .with::<UpSettings>()
        .with::<IngestSettings>()
        .with::<AggregateSettings>()
        .with::<ClickHouseRoleSettings>()
        .with::<ConsoleRoleSettings>()
        .with::<MigrateSettings>()
        .with::<TopicsSettings>()
        .with::<ReportSettings>()
        .with::<LineageSettings>()
        .with::<TrySettings>()
        .with::<RewardLedgerSettings>()
        .with::<EndpointSenderSettings>()
        .with::<EdgesSettings>()
        .with::<ImportSettings>();
    OTHERS.into_iter().fold(catalogue, Catalogue::with_variable)
}

/// Loads a command's settings from its flags, the environment and the file.
///
/// # Errors
/// Every mistake there is.
pub fn load<G: Group>(flags: &ArgMatches) -> Result<Loaded<G>, Mistakes> {
    settings::load(flags, &Environment::of_process(), &catalogue())
}

/// A number of threads where 0 stands for one per core.
pub fn threads(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

//! The data folder: its lock, the engine's storage, and the configuration the engine is started with.
//!
//! ```text
//! DATA/lock            held while a process has the folder open
//! DATA/store/          the engine's own storage path
//! DATA/engine/         config.xml and users.xml, rewritten at every start
//! DATA/log/engine.log  the engine's warnings and errors, 3 files of 10 MB
//! ```
//!
//! The engine's one user has no right of its own, only roles ([`crate::rights`]); a session takes one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{EngineError, EngineLimits};
use crate::rights::{Databases, Identity, KEEPER};
use crate::sql::ENGINES;

/// What the engine's log leaves out: statements that fail, whose callers are told and whose text no
/// log should hold; and two loggers that speak at every insert and say nothing (chdb 26.7 runs the
/// insert stream's worker with a thread status too many).
const QUIET_LOGGERS: [&str; 4] =
    ["executeQuery", "EmbeddedServer", "ThreadStatus", "BackgroundSchedulePool/BgSchPool"];

/// What a data folder holds.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// The engine's own storage path.
    pub store: PathBuf,
    /// The configuration's folder.
    pub config: PathBuf,
    /// The log's folder.
    pub log: PathBuf,
    /// The file that is locked.
    pub lock: PathBuf,
}

impl Folders {
    /// Makes what is missing, closed to others.
    pub fn make(data: &Path) -> Result<Self, EngineError> {
        let [store, config, log] = ["store", "engine", "log"].map(|name| data.join(name));
        for folder in [data, &store, &config, &log] {
            private_folder(folder).map_err(failed(folder))?;
        }
        let lock = data.join("lock");
        open_lock(&lock).map_err(failed(&lock))?;
        Ok(Self { store, config, log, lock })
    }
}

/// Paths inside a prepared data folder; the folder is locked while this lives.
pub(super) struct Layout {
    pub store: PathBuf,
    pub config: PathBuf,
    pub log: PathBuf,
    _lock: File,
}

impl Layout {
    /// Creates what is missing, takes the lock and writes the configuration.
    pub fn prepare(data: &Path, limits: &EngineLimits, databases: &Databases) -> Result<Self, EngineError> {
        let Folders { store, config: engine, log, lock: lock_path } = Folders::make(data)?;
        let lock = lock(&lock_path, data)?;
        let store = store.canonicalize().map_err(failed(&store))?;
        let engine = engine.canonicalize().map_err(failed(&engine))?;
        let log = log.canonicalize().map_err(failed(&log))?.join("engine.log");
        let (config, users) = (engine.join("config.xml"), engine.join("users.xml"));
        fs::write(&config, config_xml(&users, &log, limits)).map_err(failed(&config))?;
        fs::write(&users, users_xml(limits, databases)).map_err(failed(&users))?;
        Ok(Self { store, config, log, _lock: lock })
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> EngineError {
    let path = path.to_owned();
    move |source| EngineError::DataFolder { path, source }
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn lock(path: &Path, data: &Path) -> Result<File, EngineError> {
    let file = open_lock(path).map_err(failed(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineError::InUse { path: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(EngineError::DataFolder { path: path.to_owned(), source }),
    }
}

fn config_xml(users: &Path, log: &Path, limits: &EngineLimits) -> String {
    let users = escape(&users.to_string_lossy());
    let log = escape(&log.to_string_lossy());
    let memory = limits.memory_bytes_max;
    let cache = limits.cache_bytes_max;
    let sync = u8::from(limits.sync_inserts);
    let quiet: String =
        QUIET_LOGGERS.map(|name| format!("<logger><name>{name}</name><level>none</level></logger>")).concat();
    // `log-level` opens the log at all; without it the engine logs fatal errors only.
    format!(
        "<clickhouse>\n\
         <users_config>{users}</users_config>\n\
         <log-level>warning</log-level>\n\
         <logger><level>warning</level><log>{log}</log><size>10M</size><count>3</count>\
         <levels>{quiet}</levels></logger>\n\
         <max_server_memory_usage>{memory}</max_server_memory_usage>\n\
         <mark_cache_size>{cache}</mark_cache_size>\n\
         <uncompressed_cache_size>0</uncompressed_cache_size>\n\
         <merge_tree><fsync_after_insert>{sync}</fsync_after_insert>\
         <fsync_part_directory>{sync}</fsync_part_directory></merge_tree>\n\
         </clickhouse>\n"
    )
}

/// The profile holds the defaults that a request may change. `async_insert` is off because an insert
/// that is only queued must not be acknowledged; newer engines turn it on. What is in format `Values` is no
/// expression to this engine: no list of this crate has these two settings.
fn users_xml(limits: &EngineLimits, databases: &Databases) -> String {
    let query_memory = limits.query_memory_bytes_max;
    let seconds = limits.query_seconds_max;
    let engines = ENGINES.map(|engine| format!("TABLE ENGINE ON {engine}"));
    let of_tables = |identity| databases.grants(identity).into_iter().chain(engines.iter().cloned());
    let roles = [
        role(Identity::Owner.role(), of_tables(Identity::Owner).chain(limits.further_grants.iter().cloned())),
        role(Identity::Reader.role(), of_tables(Identity::Reader)),
        role(KEEPER, databases.keeper_grants().into_iter()),
    ]
    .concat();
    let (owner, reader) = (Identity::Owner.role(), Identity::Reader.role());
    format!(
        "<clickhouse>\n\
         <profiles><default>\
         <async_insert>0</async_insert>\
         <input_format_values_interpret_expressions>0</input_format_values_interpret_expressions>\
         <input_format_values_deduce_templates_of_expressions>0</input_format_values_deduce_templates_of_expressions>\
         <max_memory_usage>{query_memory}</max_memory_usage>\
         <max_execution_time>{seconds}</max_execution_time>\
         </default></profiles>\n\
         <roles>{roles}</roles>\n\
         <users><default><password></password><networks><ip>::/0</ip></networks>\
         <profile>default</profile><quota>default</quota>\
         <grants><query>GRANT {owner}, {reader}, {KEEPER}</query></grants></default></users>\n\
         <quotas><default></default></quotas>\n\
         </clickhouse>\n"
    )
}

fn role(name: &str, grants: impl Iterator<Item = String>) -> String {
    let grants: String = grants.map(|grant| format!("<query>GRANT {}</query>", escape(&grant))).collect();
    format!("<{name}><grants>{grants}</grants></{name}>\n")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn databases() -> Databases {
        Databases { owned: vec!["d".to_owned()], scratch: "scratch".to_owned() }
    }

    #[test]
    fn a_second_owner_of_a_data_folder_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let first = Layout::prepare(data.path(), &EngineLimits::default(), &databases()).unwrap();
        let second = Layout::prepare(data.path(), &EngineLimits::default(), &databases());
        assert!(matches!(second, Err(EngineError::InUse { .. })));
        drop(first);
        Layout::prepare(data.path(), &EngineLimits::default(), &databases()).unwrap();
    }

    #[test]
    fn paths_are_escaped_in_the_configuration() {
        let data = tempfile::tempdir().unwrap();
        let odd = data.path().join("a<b&c");
        let layout = Layout::prepare(&odd, &EngineLimits::default(), &databases()).unwrap();
        let config = fs::read_to_string(layout.config).unwrap();
        assert!(config.contains("a&lt;b&amp;c"), "{config}");
    }
}

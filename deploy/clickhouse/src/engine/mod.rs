//! The ClickHouse engine in this process: loaded at run time, one data folder, a session per statement.
//!
//! Knows nothing of HTTP. `ffi` has the symbols, `layout` the data folder, `session` one connection.
//!
//! Two things about chdb decide the shape of this module. A process has one storage path, and closing
//! the last connection closes the engine, so an anchor session stays open from start to `close`. And
//! connections left open at exit can crash it, so `close` is the only orderly end.

mod error;
mod ffi;
mod layout;
mod session;

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{EngineError, Exception};
pub(crate) use layout::Folders;
pub use session::{Answer, Params, Session};

use layout::Layout;

use crate::rights::{Databases, Identity, KEEPER, quoted};
use crate::sql::Catalogue;

/// Stack of the threads that statements run on, in bytes: with 2 MiB, tokio's own, the engine dies of a
/// query with a thousand joins; with 8 it says that it is too deep (tried with 26.7.3).
pub const STACK_BYTES: usize = 16 << 20;

/// Whether a library is an engine that can be loaded. It stays loaded, with threads of its own: for a process that ends
/// at once.
///
/// # Errors
/// It can't be.
pub fn probe(library: &Path) -> Result<(), EngineError> {
    ffi::Api::load(library).map(|_| ())
}

/// What the engine may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLimits {
    /// Memory of all statements and caches together, in bytes (`max_server_memory_usage`). The engine
    /// counts what it allocates; resident memory exceeds it by about 300 MB of code and allocator.
    pub memory_bytes_max: u64,
    /// Memory of one statement, in bytes (default of `max_memory_usage`).
    pub query_memory_bytes_max: u64,
    /// Time of one statement, in seconds (default of `max_execution_time`).
    pub query_seconds_max: u64,
    /// Memory of the cache of index marks, in bytes.
    pub cache_bytes_max: u64,
    /// Sync every part to disk before its insert is acknowledged (default of the table settings
    /// `fsync_after_insert` and `fsync_part_directory`, which are not settings of a statement). Without
    /// it acknowledged rows survive the process, but not a power cut.
    pub sync_inserts: bool,
    /// Privileges of the owner beyond tables and views, as `GRANT` takes them; for trials.
    pub further_grants: Vec<String>,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 4 << 30,
            query_memory_bytes_max: 2 << 30,
            query_seconds_max: 300,
            cache_bytes_max: 256 << 20,
            sync_inserts: true,
            further_grants: Vec::new(),
        }
    }
}

/// What every session of one engine shares.
struct Shared {
    api: &'static ffi::Api,
    arguments: Vec<CString>,
    log: PathBuf,
}

/// The running engine.
pub struct Engine {
    anchor: Session,
    shared: Arc<Shared>,
    version: String,
    settings: HashSet<String>,
    catalogue: Catalogue,
    _layout: Layout,
}

impl Engine {
    /// Loads the library at `library` and opens the data folder `data`, creating it and its databases if
    /// need be. Blocks while the engine loads its tables. The process has no standard input from then on.
    ///
    /// # Errors
    /// The library cannot be loaded, or the folder cannot be prepared, is in use, or is refused by the
    /// engine.
    pub fn open(
        library: &Path,
        data: &Path,
        limits: &EngineLimits,
        databases: &Databases,
    ) -> Result<Self, EngineError> {
        let layout = Layout::prepare(data, limits, databases)?;
        without_input().map_err(|source| EngineError::Input { source })?;
        let api = ffi::Api::load(library)?;
        let arguments = vec![
            c"clickhouse".to_owned(),
            option(b"--path=", &layout.store)?,
            option(b"--config-file=", &layout.config)?,
        ];
        let shared = Arc::new(Shared { api, arguments, log: layout.log.clone() });
        let mut anchor = Session::open(shared.clone(), &[])?;
        let version = first_line(&mut anchor, "SELECT version()")?;
        let settings = lines(&mut anchor, "SELECT name FROM system.settings")?;
        let functions = lines(&mut anchor, "SELECT name, case_insensitive FROM system.functions")?;
        let tables = lines(&mut anchor, "SELECT name FROM system.table_functions")?;
        let functions = functions.iter().filter_map(|line| line.split_once('\t'));
        let catalogue = Catalogue::new(
            functions.map(|(name, folds)| (name, folds == "1")),
            tables.iter().map(String::as_str),
        );
        let settings = settings.into_iter().collect();
        tracing::info!(library = api.version(), version, "engine open");
        let engine = Self { anchor, shared, version, settings, catalogue, _layout: layout };
        let mut keeper = engine.keeper()?;
        for database in databases.owned.iter().chain([&databases.scratch]) {
            let sql = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(database));
            keeper.query(sql.as_bytes(), "Null", &[])?;
        }
        Ok(engine)
    }

    /// ClickHouse's version, such as `26.7.2.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The engine's time zone.
    ///
    /// # Errors
    /// The engine's exception.
    pub fn time_zone(&self) -> Result<String, EngineError> {
        first_line(&mut self.keeper()?, "SELECT timezone()")
    }

    /// Whether the engine has a setting of this name.
    pub(crate) fn has_setting(&self, name: &str) -> bool {
        self.settings.contains(name)
    }

    /// The functions that the engine has.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// A session with the rights that this server itself needs.
    ///
    /// # Errors
    /// As for [`Self::session`].
    pub fn keeper(&self) -> Result<Session, EngineError> {
        self.open_session(KEEPER, &[])
    }

    /// Opens a connection for one statement of `identity`, with its rights alone and these settings over
    /// the engine's defaults.
    ///
    /// # Errors
    /// 115 (`UNKNOWN_SETTING`) for a name the engine does not have, the engine's own exception for a
    /// value a setting cannot take.
    pub fn session(&self, identity: Identity, settings: &[(String, String)]) -> Result<Session, EngineError> {
        self.open_session(identity.role(), settings)
    }

    /// Opens a connection for one insert of the owner's with rows, and for nothing else: the engine tells
    /// why an insert stream failed only where no statement ran before it on the connection (otherwise it
    /// says `QUERY_WAS_CANCELLED`, tried with 26.7.3), so none takes the other roles away. What an insert
    /// needs of them is `INSERT`, and the statement's target has been checked.
    ///
    /// # Errors
    /// As for [`Self::session`].
    pub fn inserter(&self, settings: &[(String, String)]) -> Result<Session, EngineError> {
        self.connect(settings)
    }

    fn open_session(&self, role: &str, settings: &[(String, String)]) -> Result<Session, EngineError> {
        let mut session = self.connect(settings)?;
        session.query(format!("SET ROLE {role}").as_bytes(), "Null", &[])?;
        Ok(session)
    }

    fn connect(&self, settings: &[(String, String)]) -> Result<Session, EngineError> {
        if let Some((name, _)) = settings.iter().find(|(name, _)| !self.settings.contains(name)) {
            return Err(Exception::unknown_setting(name).into());
        }
        match Session::open(self.shared.clone(), settings) {
            Err(error @ EngineError::Connect { .. }) => Err(self.why_refused(settings).unwrap_or(error)),
            other => other,
        }
    }

    /// `chdb_connect` says only that it failed; setting the same values by `SET` says why.
    fn why_refused(&self, settings: &[(String, String)]) -> Option<EngineError> {
        let mut session = Session::open(self.shared.clone(), &[]).ok()?;
        settings.iter().find_map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            session.query(format!("SET {name} = '{value}'").as_bytes(), "Null", &[]).err()
        })
    }

    /// Closes the engine: its merges end, its tables are flushed and closed. Must be called before the
    /// process ends, which should then be soon; no engine can be opened in this process afterwards.
    ///
    /// # Errors
    /// `Busy` while sessions are open; the engine is then left as it is.
    pub fn close(self) -> Result<(), EngineError> {
        let Self { anchor, shared, _layout, .. } = self;
        if Arc::strong_count(&shared) > 2 {
            std::mem::forget(anchor);
            return Err(EngineError::Busy);
        }
        drop(anchor);
        // SAFETY: no connection is open.
        if unsafe { (shared.api.shutdown)() } != 0 {
            // Usual in 26.7 once a table was made: idle pool threads stay, and hold nothing.
            tracing::debug!("the engine left idle threads behind");
        }
        Ok(())
    }
}

/// Puts `/dev/null` in the place of standard input: the library reads rows from there where an insert brings none, and waits
/// for them.
fn without_input() -> std::io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: a plain call on an open descriptor; the copy in the place of standard input stays open.
    match unsafe { libc::dup2(null.as_raw_fd(), libc::STDIN_FILENO) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn option(name: &[u8], path: &Path) -> Result<CString, EngineError> {
    CString::new([name, path.as_os_str().as_bytes()].concat()).map_err(|_| EngineError::Nul)
}

fn lines(session: &mut Session, sql: &str) -> Result<Vec<String>, EngineError> {
    let answer = session.query(sql.as_bytes(), "TSVRaw", &[])?;
    Ok(String::from_utf8_lossy(&answer.output).lines().map(str::to_owned).collect())
}

fn first_line(session: &mut Session, sql: &str) -> Result<String, EngineError> {
    Ok(lines(session, sql)?.into_iter().next().unwrap_or_default())
}

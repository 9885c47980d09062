//! What all requests share, and the engine's sessions.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use whence_runtime::site::Site;

use super::agree;
use super::auth::Accounts;
use super::body::{BodyLimits, Budget};
use super::gate::Gate;
use super::reply::Failure;
use super::request::Ask;
use crate::config::ServerLimits;
use crate::engine::{Engine, EngineError, Exception, Session};
use crate::metrics::REFUSED;
use crate::rights::{Databases, Identity};
use crate::scratch::Scratch;
use crate::sql::{Rules, SettingLimits, Statement, View};
use crate::watchdog::Watchdog;

/// How long after its time a statement of the reader is killed: the engine ends most by itself.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// Databases in which nothing is stored, and which clients name by habit.
const HARMLESS: [&str; 2] = ["default", "information_schema"];

/// The same for every request.
pub struct Server {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Places for statements other than inserts.
    pub queries: Gate,
    /// Places for inserts.
    pub inserts: Gate,
    /// Places for the reader's statements, of whatever kind.
    pub reader: Gate,
    /// Statements of the reader that can be killed.
    pub watchdog: Arc<Watchdog>,
    /// One statement at a time writes to the scratch database.
    pub writing: Arc<Semaphore>,
    /// The scratch database.
    pub scratch: Arc<Scratch>,
    /// What uses the engine, on threads that block and in tasks that move results.
    pub blocking: TaskTracker,
    /// The HTTP side's bounds.
    pub limits: ServerLimits,
    pub(super) site: Site,
    pub(super) accounts: Accounts,
    pub(super) databases: Databases,
    pub(super) further_engines: Vec<String>,
    pub(super) setting_limits: SettingLimits,
    pub(super) budget: Budget,
    pub(super) reader_budget: Budget,
    pub(super) time_zone: String,
}

impl Server {
    /// What holds for this request's statement.
    ///
    /// # Errors
    /// 497 for a database that is not served.
    pub fn rules<'server>(
        &'server self,
        ask: &'server Ask,
        identity: Identity,
    ) -> Result<Rules<'server>, Exception> {
        let database = ask.said.database.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
        if database.eq_ignore_ascii_case("system") {
            let message = "The database system is not served as a whole: name its tables, system.tables";
            return Err(Exception::new(497, "ACCESS_DENIED", message));
        }
        Ok(Rules {
            identity,
            database,
            databases: &self.databases.owned,
            scratch: &self.databases.scratch,
            further_engines: &self.further_engines,
            catalogue: self.engine.catalogue(),
            limits: &self.setting_limits,
        })
    }

    /// A place to run a statement in: the reader's has been taken before its text was read.
    pub async fn place(
        &self,
        taken: Option<OwnedSemaphorePermit>,
        is_insert: bool,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        match taken {
            Some(place) => Ok(place),
            None if is_insert => self.inserts.enter().await,
            None => self.queries.enter().await,
        }
    }

    /// How long the reader's statement may take; the engine is asked to end it then, and told a little later.
    pub fn time_max(&self, ask: &Ask) -> Duration {
        let asked = ask.said.settings.iter().find(|(name, _)| name == "max_execution_time");
        let seconds =
            asked.and_then(|(_, value)| value.parse().ok()).unwrap_or(self.setting_limits.seconds_max);
        Duration::from_secs(seconds.min(self.setting_limits.seconds_max)) + KILL_AFTER
    }

    /// What is told of a statement that has not ended in time.
    pub fn timed_out(time_max: Duration) -> Failure {
        counter!(REFUSED, "bound" => "statement_time").increment(1);
        let message = format!(
            "Timeout exceeded: the statement did not end within {} s and is killed",
            time_max.as_secs()
        );
        Exception::new(159, "TIMEOUT_EXCEEDED", &message).into()
    }

    /// Opens the session a request asks for; to be called on the thread that runs the statement. It has the
    /// rights of `identity` alone.
    ///
    /// With a `marker`, the statement can be killed.
    pub fn open_session(
        &self,
        ask: &Ask,
        identity: Identity,
        reads: bool,
        marker: Option<&str>,
    ) -> impl FnOnce() -> Result<Session, EngineError> + Send + 'static {
        let engine = self.engine.clone();
        let settings = self.settings(ask, identity, reads, marker);
        let database = ask.said.database.clone().filter(|name| !matches!(name.as_str(), "" | "default"));
        move || {
            let mut session = engine.session(identity, &settings)?;
            if let Some(database) = database {
                session.use_database(&database)?;
            }
            Ok(session)
        }
    }

    /// Opens the session of an insert of the owner's whose statement names its table in full.
    pub fn open_inserter(&self, ask: &Ask) -> impl FnOnce() -> Result<Session, EngineError> + Send + 'static {
        let engine = self.engine.clone();
        let settings = self.settings(ask, Identity::Owner, false, None);
        move || engine.inserter(&settings)
    }

    fn settings(
        &self,
        ask: &Ask,
        identity: Identity,
        reads: bool,
        marker: Option<&str>,
    ) -> Vec<(String, String)> {
        // Given twice, a setting is an error to the library.
        let mut settings = ask.said.settings.clone();
        let mut default = |name: &str, value: String| {
            if !settings.iter().any(|(given, _)| given == name) {
                settings.push((name.to_owned(), value));
            }
        };
        if identity == Identity::Reader {
            default("max_memory_usage", self.setting_limits.memory_bytes_max.to_string());
            default("max_execution_time", self.setting_limits.seconds_max.to_string());
            default("max_threads", self.setting_limits.threads_max.to_string());
        }
        if identity == Identity::Reader {
            default(
                "max_temporary_data_on_disk_size_for_query",
                self.setting_limits.temporary_bytes_max.to_string(),
            );
            // A table that is dropped takes up its place until it is gone.
            default("database_atomic_wait_for_drop_and_detach_synchronously", "1".into());
        }
        if ask.read_only || (reads && identity == Identity::Reader) {
            settings.retain(|(name, value)| name != "readonly" || value != "0");
            if !settings.iter().any(|(name, _)| name == "readonly") {
                settings.push(("readonly".into(), "2".into()));
            }
        }
        if let Some(marker) = marker {
            settings.push(("log_comment".into(), marker.into()));
        }
        settings
    }

    /// Whether what a statement calls are views of databases that may be read. Blocks.
    pub fn check_views(&self, views: &[View]) -> Result<(), Failure> {
        for View { place, .. } in views {
            let readable = self.databases.owned.iter().chain([&self.databases.scratch]);
            let is_readable =
                readable.map(String::as_str).chain(HARMLESS).any(|known| known == place.database);
            let sql = "SELECT count() FROM system.tables WHERE engine = 'View' \
                       AND database = {database:String} AND name = {name:String}";
            let params = [("database".into(), place.database.clone()), ("name".into(), place.name.clone())];
            let answer = self.engine.keeper()?.query(sql.as_bytes(), "TSVRaw", &params)?;
            if !is_readable || answer.output.trim_ascii() != b"1" {
                let message = format!(
                    "{}.{} is neither a view nor a function that is served",
                    place.database, place.name
                );
                return Err(Exception::new(497, "ACCESS_DENIED", &message).into());
            }
        }
        Ok(())
    }

    /// Whether the engine reads a statement of the reader's as this server has read it. Blocks.
    pub fn agree(&self, statement: &Statement) -> Result<(), Failure> {
        let text = match statement {
            Statement::Empty => return Ok(()),
            Statement::Output(output) => [&output.head[..], b" ", &output.tail].concat(),
            Statement::Command { sql, .. } => sql.clone(),
            Statement::Insert(insert) => insert.head.clone(),
        };
        Ok(agree::check(&self.engine, &text)?)
    }

    /// What holds for a body of this identity's.
    pub(super) fn body_limits(&self, identity: Identity) -> BodyLimits<'_> {
        let limits = &self.limits;
        match identity {
            Identity::Owner => BodyLimits {
                bytes_max: limits.body_bytes_max,
                idle_max: limits.idle_max,
                time_max: None,
                budget: &self.budget,
            },
            Identity::Reader => BodyLimits {
                bytes_max: limits.reader_body_bytes_max.min(limits.body_bytes_max),
                idle_max: limits.idle_max,
                time_max: Some(limits.idle_max),
                budget: &self.reader_budget,
            },
        }
    }

    /// Ends the statement with this `marker`, whenever the engine comes to it.
    pub fn kill(&self, marker: &str) {
        self.watchdog.killed(marker);
        let engine = self.engine.clone();
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = '{marker}' ASYNC");
        self.blocking.spawn_blocking(move || {
            let killed = engine.keeper().and_then(|mut session| session.query(sql.as_bytes(), "Null", &[]));
            if let Err(error) = killed {
                tracing::warn!(error = %error, "cannot kill a statement");
            }
        });
    }
}

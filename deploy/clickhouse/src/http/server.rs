//! What all requests share, and the engine's sessions.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::auth::Account;
use super::body::Budget;
use super::gate::Gate;
use super::request::Ask;
use crate::config::ServerLimits;
use crate::engine::{Engine, EngineError, Session};

/// The same for every request.
pub struct Server {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Places for statements other than inserts.
    pub queries: Gate,
    /// Places for inserts.
    pub inserts: Gate,
    /// What uses the engine, on threads that block and in tasks that move results.
    pub blocking: TaskTracker,
    /// The HTTP side's bounds.
    pub limits: ServerLimits,
    pub(super) account: Account,
    pub(super) budget: Budget,
    pub(super) time_zone: String,
}

impl Server {
    /// Opens the session a request asks for; to be called on the thread that runs the statement.
    ///
    /// With a `marker`, the statement can be killed.
    pub fn open_session(
        &self,
        ask: &Ask,
        marker: Option<&str>,
    ) -> impl FnOnce() -> Result<Session, EngineError> + Send + 'static {
        let engine = self.engine.clone();
        let mut settings = ask.said.settings.clone();
        if ask.read_only && !settings.iter().any(|(name, _)| name == "readonly") {
            settings.push(("readonly".into(), "2".into()));
        }
        if let Some(marker) = marker {
            settings.push(("log_comment".into(), marker.into()));
        }
        let database = ask.said.database.clone().filter(|name| !matches!(name.as_str(), "" | "default"));
        move || {
            let mut session = engine.session(&settings)?;
            if let Some(database) = database {
                session.use_database(&database)?;
            }
            Ok(session)
        }
    }

    /// Ends the statement with this `marker`, whenever the engine comes to it.
    pub fn kill(&self, marker: &str) {
        let engine = self.engine.clone();
        let sql = format!("KILL QUERY WHERE Settings['log_comment'] = '{marker}' ASYNC");
        self.blocking.spawn_blocking(move || {
            let killed =
                engine.session(&[]).and_then(|mut session| session.query(sql.as_bytes(), "Null", &[]));
            if let Err(error) = killed {
                tracing::warn!(error = %error, "cannot kill an abandoned statement");
            }
        });
    }
}

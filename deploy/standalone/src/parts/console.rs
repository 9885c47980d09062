//! The console, and who may ask it: holders of API keys with the scope `reports:read`, and of the admin key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use hyper::HeaderMap;
use tokio_util::sync::CancellationToken;
use whence_console::http::{self, Access, Code, ConsoleHandle, ConsoleSettings, Parts, Problem};
use whence_ingest::api::auth::{Scope, authenticate, refused};
use whence_ingest::api::{AdminKey, KeyUses};
use whence_ingest::registry::Registry;
use whence_outbound::machine_time;
use whence_runtime::shares::{Callers, Prefix};
use whence_runtime::shutdown::Shutdown;
use whence_schemas::subject::IdentityHasher;

use crate::failure::Failure;

/// The keys of the registry, and one more.
pub struct Keys {
    /// Knows API keys.
    pub registry: Arc<dyn Registry>,
    /// May do everything.
    pub admin: AdminKey,
    /// On which days keys are used.
    pub uses: Arc<KeyUses>,
    /// What one network may take of what is there for all callers.
    pub callers: Callers,
}

impl Keys {
    fn network(&self, headers: &HeaderMap, peer: IpAddr) -> Prefix {
        self.callers.network_of(peer, headers)
    }
}

impl Access for Keys {
    fn check(&self, headers: &HeaderMap, peer: IpAddr, program: &str) -> Result<(), Problem> {
        let caller = authenticate(headers, self.registry.as_ref(), &self.admin, &self.uses, machine_time());
        let caller =
            caller.map_err(|problem| refused(&self.callers, headers, self.network(headers, peer), problem));
        let checked = caller.and_then(|caller| caller.require_in(Scope::ReportsRead, program));
        checked.map_err(|problem| {
            let code = match problem.code.status().as_u16() {
                401 => Code::Unauthorized,
                403 => Code::Forbidden,
                429 => return Problem::limited(&problem.detail, problem.retry_after_s().unwrap_or(1)),
                _ => Code::Busy,
            };
            Problem::new(code, problem.detail)
        })
    }

    fn knows_program(&self, program: &str) -> bool {
        self.registry.shared().read().program(program).is_some()
    }

    fn knows_referrer(&self, program: &str, referrer: &str) -> bool {
        self.registry.shared().read().referrer(program, referrer).is_some()
    }

    fn unproved(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Problem> {
        let taken = self.callers.unproved.take(self.network(headers, peer));
        taken.map_err(|beyond| Problem::limited("this was asked for too often", beyond.retry_after_s))
    }
}

/// A console at work.
pub struct Console {
    handle: ConsoleHandle,
    stop: CancellationToken,
}

impl Console {
    /// Starts it.
    ///
    /// # Errors
    /// Its address can't be had.
    pub async fn start(
        settings: &ConsoleSettings,
        client: Client,
        identity: IdentityHasher,
        keys: Keys,
    ) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let Callers { connections_percent, proxies, hosts, .. } = keys.callers.clone();
        let parts = Parts { client, identity, access: Arc::new(keys), connections_percent, proxies, hosts };
        let address = settings.console_listen;
        let handle = http::start(settings, parts, stop.clone()).await.map_err(|source| Failure::Listen {
            address,
            setting: "console-listen",
            source,
        })?;
        Ok(Self { handle, stop })
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        crate::addresses::url(self.handle.local_addr)
    }

    /// No more questions, and the answers in hand.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let close = async move {
            self.stop.cancel();
            let drained = self.handle.stopped().await;
            tracing::info!(cut = drained.cut, "the console has stopped");
        };
        shutdown.stage("console", limit, close)
    }
}

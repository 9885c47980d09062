//! The JSON API of the read side, on a listener of its own.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/programs/P/lineage/LEAD` | who is credited with the lead and why, and all that is stored about it |
//! | `POST /v1/programs/P/lineage` | the same by `{"email": …}`, `phone`, `customer`, `contact`, `lead` or `event`: personal names stay out of addresses |
//! | `GET /v1/programs/P/status` | leads with their states: `referrer`, `test`, `after`, `limit` |
//! | `GET /v1/programs/P/REPORT` | rows of a [report](crate::reports::Report): `from`, `to`, `referrer`; of rewards `as_of`; `after`, `limit` |
//! | `GET /v1/programs/P/leads/ID`, `…/qualifications/ID` | one event as it stands |
//! | `GET /v1/programs/P/erasures/ID` | how many events, rewards and keys an erasure touched |
//!
//! `GET /v1/openapi.json` describes all of it (`schemas/json/console.json`), to anybody.
//!
//! Who may ask is known to whoever starts it ([`Access`]). Errors are problems (RFC 9457). Questions are
//! bounded in number, time and rows; reaching the number is answered 503 and counted.

mod answer;
mod openapi;
mod problem;
mod route;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use clickhouse::Client;
use hyper::HeaderMap;
use ipnet::IpNet;
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use whence_runtime::http::{Drained, Limits, serve_http};
use whence_runtime::listeners;
use whence_schemas::subject::IdentityHasher;

pub use problem::{Code, Problem};

use crate::ask::reader;

whence_runtime::settings! {
    /// Console
    pub struct ConsoleSettings {
        /// Address of the console: lineage, status and reports as JSON.
        pub console_listen: SocketAddr = "127.0.0.1:8082",
        /// Connections of the console at a time.
        pub console_connections_max: usize = "200" in 1..=100_000,
        /// Questions to ClickHouse at a time; more are answered 503.
        pub console_questions_max: usize = "4" in 1..=1000,
        /// How long a question may take.
        pub console_question_timeout: Duration = "30s" in Duration::from_secs(1)..=Duration::from_secs(3600),
    }
}

/// Who may read what.
pub trait Access: Send + Sync {
    /// Looks at the headers of a question about a program, and at who has connected.
    ///
    /// # Errors
    /// [`Code::Unauthorized`], [`Code::Forbidden`], [`Code::Limited`] where the network has used up its share of
    /// requests that prove nothing, or [`Code::Busy`] where that can't be told yet.
    fn check(&self, headers: &HeaderMap, peer: IpAddr, program: &str) -> Result<(), Problem>;

    /// A request that needs no key, or leads nowhere.
    ///
    /// # Errors
    /// [`Code::Limited`], as above.
    fn unproved(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Problem>;

    /// Whether the process knows of this program, whatever is stored about it.
    fn knows_program(&self, program: &str) -> bool;

    /// Whether the process knows of this referrer of the program, whatever is stored about them.
    fn knows_referrer(&self, program: &str, referrer: &str) -> bool;
}

/// What the console works with.
pub struct Parts {
    /// ClickHouse.
    pub client: Client,
    /// Hashes the names in questions.
    pub identity: IdentityHasher,
    /// Who may ask.
    pub access: Arc<dyn Access>,
    /// The part of the connections that one network may have, in percent.
    pub connections_percent: usize,
    /// Networks of proxies, whose connections are never closed for others.
    pub proxies: Vec<IpNet>,
    /// Names by which it may be called where it listens on loopback, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

struct Console {
    client: Client,
    identity: IdentityHasher,
    access: Arc<dyn Access>,
    places: Semaphore,
    timeout: Duration,
}

/// The running console.
#[derive(Debug)]
pub struct ConsoleHandle {
    /// The bound address.
    pub local_addr: SocketAddr,
    serving: JoinHandle<Drained>,
}

impl ConsoleHandle {
    /// Waits until it has stopped: after the shutdown, when the questions in hand are answered or cut.
    ///
    /// # Panics
    /// If serving has panicked.
    pub async fn stopped(self) -> Drained {
        self.serving.await.expect("serving does not panic: handlers are tasks of their own")
    }
}

/// Binds the console and serves it on the current runtime until `shutdown`. ClickHouse need not be there.
///
/// # Errors
/// If the address can't be bound.
pub async fn start(
    settings: &ConsoleSettings,
    parts: Parts,
    shutdown: CancellationToken,
) -> io::Result<ConsoleHandle> {
    let listener = listeners::listen_async("console", settings.console_listen)?;
    let local_addr = listener.local_addr()?;
    let limits = Limits {
        connections_max: settings.console_connections_max,
        share_percent: parts.connections_percent,
        proxies: parts.proxies,
        hosts: parts.hosts,
        ..Limits::named("console")
    };
    let timeout = settings.console_question_timeout;
    let console = Arc::new(Console {
        client: reader(parts.client, timeout),
        identity: parts.identity,
        access: parts.access,
        places: Semaphore::new(settings.console_questions_max),
        timeout,
    });
    let handler = move |request| answer::answer(Arc::clone(&console), request);
    let serving = tokio::spawn(serve_http(listener, limits, handler, shutdown));
    tracing::info!(%local_addr, "console listening");
    Ok(ConsoleHandle { local_addr, serving })
}

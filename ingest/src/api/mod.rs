//! The events API and the registry's calls, on a listener of their own.
//!
//! | module | what it does |
//! |---|---|
//! | [`server`](self) | route, key, call, in this order |
//! | [`route`], [`query`], `conditions`, `request_id` | paths, queries, and what is read of the headers |
//! | [`auth`], [`admin_key`], [`key_uses`] | who calls, what they may do, and when they last did |
//! | [`batch`] | bodies of one entry or many, and their answers |
//! | `encoding` | what bodies are compressed with, and their JSON |
//! | [`json`], [`moment`] | reads fields and collects all that is wrong |
//! | [`problem`] | every error, and the one mapping to a status |
//! | [`events`] | drafts of events, and their records |
//! | [`intake`] | read, resolve, commit: an event is accepted once it is synced |
//! | `records`, `lists` | the registry's calls: what those for all kinds of records have in common |
//! | `form`, `merge` | the one JSON form of a record, in both directions, and patches of it |
//! | `programs`, `referrers`, `links`, `keys`, `endpoints`, `rewards` | the forms, kind by kind |
//! | `hosts` | on which hosts a program may put codes |
//! | `webhooks` | what providers call, and the calls for their mappings |
//! | [`lacking`] | secrets that are named and were not given |
//! | `openapi` | what describes all this to programs |
//!
//! Statuses of `POST /v1/events`: a single event has 202 or its own problem. A batch has 202 where every
//! event was accepted, the problem they share where none was (422 where their statuses differ, 503 where
//! all are to be sent again), else 207; each event has its outcome in `results`. An outcome is
//! `accepted`, `rejected` (sending it again is no use) or `retry`.
//!
//! An idempotency key names one event of its kind, source and mode (live or test) in a program; only a live
//! lead and a live qualification need different ones (see [`whence_schemas::ids::EventId::of_kind`]).
//!
//! Architecture invariant: raw aliases (emails, phone numbers, ids) live from the body to
//! [`events::resolve`] and reach no journal, log, metric or error.

pub mod admin_key;
pub mod auth;
pub mod batch;
mod call;
mod conditions;
pub mod disposable;
mod encoding;
mod endpoints;
pub mod events;
mod form;
mod hosts;
pub mod intake;
pub mod json;
mod key_text;
pub mod key_uses;
mod keys;
pub mod lacking;
mod links;
mod lists;
mod merge;
pub mod moment;
mod openapi;
pub mod problem;
mod programs;
pub mod query;
mod records;
mod referrers;
mod request_id;
mod rewards;
pub mod route;
mod server;
mod webhooks;

pub use admin_key::{AdminKey, AdminKeyError, ensure_admin_key};
pub use key_uses::KeyUses;

use crate::{
    edge::AddressHasher,
    hosts::{Dns, TxtRecords},
    registry::{Clock, Registry},
    webhooks::NamedSecrets,
};
use arc_swap::ArcSwap;
use disposable::DisposableDomains;
use intake::{Intake, JournalReadiness, recent::Recent};
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use whence_journal::GroupCommit;
use whence_runtime::{
    health::Health,
    http::{Drained, Limits, serve_http},
    listeners,
    settings::{ByteSize, Secret},
    shares::Callers,
};
use whence_schemas::{outgoing::Reach, subject::IdentityHasher, token::KeyRing};

/// The room for bodies of unproved senders, as a part of [`ApiSettings::api_bodies_bytes_max`].
const UNPROVED_SHARE: usize = 4;

whence_runtime::choice! {
    /// The scheme of link addresses in answers.
    pub enum LinkScheme {
        /// Behind TLS.
        Https = "https",
        /// On one machine, for a try.
        Http = "http",
    }
}

impl LinkScheme {
    fn word(self) -> &'static str {
        match self {
            LinkScheme::Https => "https",
            LinkScheme::Http => "http",
        }
    }
}

whence_runtime::settings! {
    /// Events API
    pub struct ApiSettings {
        /// Address of the events API.
        pub api_listen: SocketAddr = "127.0.0.1:8081",
        /// Connections of the events API at a time.
        pub api_connections_max: usize = "1000" in 1..=100_000,
        /// Size of a body with events.
        pub api_body_bytes_max: ByteSize = "1MiB" in ByteSize::mib(1)..=ByteSize::mib(64),
        /// Size of all bodies that are in memory at a time; more are answered 503.
        ///
        /// Deliveries of webhooks have a quarter of this besides, for themselves.
        pub api_bodies_bytes_max: ByteSize = "64MiB" in ByteSize::mib(64)..=ByteSize::mib(4096),
        /// Events of one request.
        pub api_events_max: usize = "1000" in 1..=100_000,
        /// How long a caller waits for the disk before being told to come again.
        ///
        /// The events may be in the journal all the same; the caller's retry has the same ids.
        pub api_commit_timeout: Duration = "10s" in Duration::from_millis(1)..=Duration::from_secs(300),
        /// Scheme of link addresses in answers.
        pub api_link_scheme: LinkScheme = "https",
        /// API key that may do everything.
        ///
        /// Without one, a key is made at the first start, shown once and kept in the data folder. Several
        /// processes need the same one given.
        pub api_admin_key: Option<Secret>,
        /// DNS servers that are asked for the records that prove hosts, `address:port`; none: those of the machine.
        pub api_dns_servers: Vec<SocketAddr>,
        /// Domains of disposable mailboxes beside the built-in list, one a line; `!` before a domain that is not disposable.
        ///
        /// Read at start. Of an address only a hash and whether its domain is one of these are kept.
        pub disposable_domains_file: Option<PathBuf>,
    }
}

impl ApiSettings {
    /// The DNS, to be asked for records that prove hosts.
    #[must_use]
    pub fn dns(&self) -> Dns {
        Dns { servers: self.api_dns_servers.clone() }
    }
}

/// What the API works with.
pub struct Parts {
    /// Programs, referrers, links, API keys.
    pub registry: Arc<dyn Registry>,
    /// The keys that tokens are checked with; swapped when they rotate.
    pub keys: Arc<ArcSwap<KeyRing>>,
    /// The deployment's identity secret.
    pub identity: IdentityHasher,
    /// Hashes addresses as the edge does, with the same secret.
    pub addresses: AddressHasher,
    /// The secrets that sources of webhooks name.
    pub secrets: Arc<NamedSecrets>,
    /// The journal of conversions. Whoever drops it last waits for the disk.
    pub journal: Arc<GroupCommit>,
    /// Which addresses endpoints may have.
    pub reach: Reach,
    /// The key that may do everything.
    pub admin: AdminKey,
    /// On which days keys are used.
    pub key_uses: Arc<KeyUses>,
    /// Who is asked for the records that prove hosts: [`ApiSettings::dns`], but in tests.
    pub names: Arc<dyn TxtRecords>,
    /// Now.
    pub clock: Clock,
    /// Gets the component `api.journal`.
    pub health: Health,
    /// What one network may take of what is there for all callers.
    pub callers: Callers,
}

struct Api {
    settings: ApiSettings,
    registry: Arc<dyn Registry>,
    admin: AdminKey,
    key_uses: Arc<KeyUses>,
    proofs: hosts::Proofs,
    reach: Reach,
    intake: Intake,
    /// See [`ApiSettings::api_bodies_bytes_max`].
    room: Semaphore,
    /// A part of its own for senders that have proved nothing: they can take no place from callers with a key.
    unproved_room: Semaphore,
    callers: Callers,
    webhooks: webhooks::Webhooks,
}

/// The running API.
#[derive(Debug)]
pub struct ApiHandle {
    /// The bound address.
    pub local_addr: SocketAddr,
    serving: JoinHandle<Drained>,
}

impl ApiHandle {
    /// Waits until it has stopped: after the shutdown, when the requests in hand are answered or cut.
    ///
    /// # Panics
    /// If serving has panicked.
    pub async fn stopped(self) -> Drained {
        self.serving.await.expect("serving does not panic: handlers are tasks of their own")
    }
}

/// What the journal tells of events that were taken before. Without it nothing is wrong: whoever stores the events knows all.
async fn recent(journal: &Arc<GroupCommit>) -> Recent {
    let journal = Arc::clone(journal);
    match tokio::task::spawn_blocking(move || Recent::of(&journal)).await {
        Ok(Ok(recent)) => recent,
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the journal does not say which events were taken before");
            Recent::default()
        }
        Err(_panicked) => Recent::default(),
    }
}

/// Binds the API and serves it on the current runtime until `shutdown`.
///
/// # Errors
/// If the address can't be bound.
pub async fn start(
    settings: ApiSettings,
    parts: Parts,
    shutdown: CancellationToken,
) -> io::Result<ApiHandle> {
    whence_metrics::begin("whence_ingest::api");
    let disposable = DisposableDomains::read(settings.disposable_domains_file.as_deref())?;
    let listener = listeners::listen_async("api", settings.api_listen)?;
    let local_addr = listener.local_addr()?;
    let limits = Limits {
        connections_max: settings.api_connections_max,
        share_percent: parts.callers.connections_percent,
        proxies: parts.callers.proxies.clone(),
        hosts: parts.callers.hosts.clone(),
        ..Limits::named("api")
    };
    let room = Semaphore::new(Api::room_for(settings.api_bodies_bytes_max.as_usize()));
    let unproved_bytes_max = (settings.api_bodies_bytes_max.as_usize() / UNPROVED_SHARE)
        .max(settings.api_body_bytes_max.as_usize());
    let unproved_room = Semaphore::new(Api::room_for(unproved_bytes_max));
    let intake = Intake {
        registry: Arc::clone(&parts.registry),
        keys: parts.keys,
        identity: parts.identity,
        disposable,
        addresses: parts.addresses,
        recent: recent(&parts.journal).await,
        journal: parts.journal,
        clock: parts.clock,
        commit_timeout: settings.api_commit_timeout,
        readiness: JournalReadiness::open(parts.health.component("api.journal")),
    };
    let webhooks = webhooks::Webhooks { secrets: parts.secrets, letters: Default::default() };
    let (registry, admin, key_uses, reach) = (parts.registry, parts.admin, parts.key_uses, parts.reach);
    let callers = parts.callers;
    let proofs = hosts::Proofs::new(parts.names);
    let api = Arc::new(Api {
        settings,
        registry,
        admin,
        key_uses,
        proofs,
        reach,
        intake,
        room,
        unproved_room,
        callers,
        webhooks,
    });
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let recovering = Arc::clone(&api);
            let handler = move |request| server::answer(Arc::clone(&api), request);
            let recover = recovering.intake.readiness.recover(shutdown.clone());
            let uses = recovering.key_uses.write(recovering.registry.as_ref(), shutdown.clone());
            let (drained, (), ()) =
                tokio::join!(serve_http(listener, limits, handler, shutdown), recover, uses);
            drained
        }
    });
    tracing::info!(%local_addr, "events API listening");
    Ok(ApiHandle { local_addr, serving })
}

//! The edge and the events API over one registry, with their journals: what takes clicks and leads.
//!
//! The edge is started last of what it needs and first of all else: from then on links are answered,
//! whatever becomes of the rest.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use whence_aggregator::journal::JournalOutbox;
use whence_ingest::api::lacking::{self, Needs};
use whence_ingest::api::{self, AdminKey, ApiHandle, ApiSettings, KeyUses};
use whence_ingest::edge::{self, Clock, EdgeHandle, LinkTable, TableLimits};
use whence_ingest::registry::wall_clock;
use whence_ingest::webhooks::NamedSecrets;
use whence_journal::GroupCommit;
use whence_runtime::shares::{Callers, ShareSettings};
use whence_runtime::shutdown::Shutdown;
use whence_schemas::outgoing::Reach;
use whence_schemas::topics::Stream;

use super::certificates::Certificates;
use super::registry::Opened;
use super::{follow, journals};
use crate::addresses::url;
use crate::failure::Failure;
use crate::process::Process;
use crate::secrets::Secrets;
use crate::settings::{EdgeSettings, JournalSettings, ProxySettings, TlsSettings};

/// Without these a process is no use to visitors: clicks can be recorded, and links are known.
pub const REQUIRED: &[&str] = &["edge.journal", LINKS];
const LINKS: &str = "edge.links";

/// What the edge and the API are started with.
pub struct Parts<'a> {
    /// The edge's settings.
    pub edge: &'a EdgeSettings,
    /// TLS and its certificates.
    pub tls: &'a TlsSettings,
    /// The API's settings.
    pub api: &'a ApiSettings,
    /// Whose word on forwarded clients counts.
    pub proxies: &'a ProxySettings,
    /// What one network may take of what is there for all.
    pub shares: &'a ShareSettings,
    /// The same of those who call with a key.
    pub callers: Callers,
    /// The journals' settings.
    pub journals: &'a JournalSettings,
    /// Token keys and hashing secrets.
    pub secrets: &'a Secrets,
    /// The secrets that sources of webhooks name.
    pub webhook_secrets: Arc<NamedSecrets>,
    /// Which addresses endpoints may have.
    pub reach: Reach,
    /// The key that may do everything.
    pub admin: AdminKey,
    /// On which days keys are used.
    pub key_uses: Arc<KeyUses>,
    /// Programs, referrers, links.
    pub registry: &'a Opened,
}

/// The edge and the API at work.
pub struct Ingest {
    edge: EdgeHandle,
    api: ApiHandle,
    api_stop: CancellationToken,
    /// Stops what follows the registry.
    followers: CancellationToken,
    journal: Arc<GroupCommit>,
}

impl Ingest {
    /// Opens the journals and starts both.
    ///
    /// # Errors
    /// A journal or an address can't be had.
    pub async fn start(parts: Parts<'_>, process: &mut Process) -> Result<Self, Failure> {
        whence_metrics::begin("whence_journal");
        let root = process.data.journals();
        let followers = CancellationToken::new();
        let links = Arc::new(LinkTable::new(TableLimits::default()));
        let Opened { registry, is_known, .. } = parts.registry;
        let shown = process.health.component(LINKS);
        follow::links(registry.shared(), is_known.clone(), &links, shown, followers.clone());

        let keys = Arc::new(ArcSwap::from_pointee(parts.secrets.keys.clone()));
        let certificates = Certificates::open(parts.tls, process)?;
        let edge_parts = edge::Parts {
            links: Arc::clone(&links),
            keys: Arc::clone(&keys),
            hasher: parts.secrets.addresses.clone(),
            clock: Clock::system(),
            health: Some(process.health.clone()),
        };
        let secure = parts.tls.secure(certificates.store());
        let Parts { journals, proxies, shares, .. } = parts;
        let config = parts.edge.config(journals, proxies, shares, secure, root.clone());
        // Stopped by its stage, after the operator's port has said so; not by the signal.
        let edge = edge::start(&config, &edge_parts, &CancellationToken::new())?;
        process.book.note(|addresses| {
            addresses.edge = Some(url(edge.local_addr()));
            addresses.edge_tls = edge.secure_addr().map(|address| format!("https://{address}"));
        })?;
        certificates.keep(&links, process, &followers)?;

        let journal = open_journal(parts.journals, journals::conversions(&root)).await?;
        end_former_journals(root.clone()).await?;
        let quotas = [
            (Stream::Clicks, "click-journal-quota", parts.journals.click_journal_quota),
            (Stream::Conversions, "conversion-journal-quota", parts.journals.conversion_journal_quota),
        ];
        let shown = process.health.advisory("journals");
        tokio::spawn(journals::watch_quotas(root, quotas, shown, followers.clone()));
        let api_stop = CancellationToken::new();
        let api_parts = api::Parts {
            registry: Arc::clone(registry),
            keys,
            identity: parts.secrets.identity.clone(),
            addresses: parts.secrets.addresses.clone(),
            secrets: parts.webhook_secrets,
            journal: Arc::clone(&journal),
            reach: parts.reach,
            admin: parts.admin,
            key_uses: parts.key_uses,
            names: Arc::new(parts.api.dns()),
            clock: wall_clock(),
            health: process.health.clone(),
            callers: parts.callers,
        };
        tokio::spawn(lacking::tell(
            Arc::clone(registry.shared()),
            Arc::clone(&api_parts.secrets),
            Needs::SourcesAndEndpoints,
            followers.clone(),
        ));
        let address = parts.api.api_listen;
        let api = api::start(parts.api.clone(), api_parts, api_stop.clone())
            .await
            .map_err(|source| Failure::Listen { address, setting: "api-listen", source })?;
        process.book.note(|addresses| addresses.api = Some(url(api.local_addr)))?;
        Ok(Self { edge, api, api_stop, followers, journal })
    }

    /// Takes the aggregator's own events into the journal of the conversions, while that is open.
    pub fn outbox(&self) -> JournalOutbox {
        JournalOutbox(Arc::downgrade(&self.journal))
    }

    /// First no more clicks, then no more events, then the journals are closed.
    pub fn stages(self, shutdown: Shutdown, limit: Duration) -> Shutdown {
        let Self { edge, api, api_stop, followers, journal } = self;
        let stop_edge = async move {
            let stopped = edge.stop().await;
            tracing::info!(cut = stopped.cut, panicked = stopped.panicked, "the edge has stopped");
        };
        let stop_api = async move {
            api_stop.cancel();
            let drained = api.stopped().await;
            tracing::info!(cut = drained.cut, "the events api has stopped");
        };
        let close = async move {
            followers.cancel();
            // Waits for the disk.
            if let Err(error) = tokio::task::spawn_blocking(move || drop(journal)).await {
                tracing::error!(%error, "closing the journal of conversions failed");
            }
        };
        shutdown.stage("edge", limit, stop_edge).stage("api", limit, stop_api).stage("journals", limit, close)
    }
}

async fn end_former_journals(root: PathBuf) -> Result<(), Failure> {
    let ended = tokio::task::spawn_blocking(move || journals::end_former(&root)).await;
    Ok(ended.expect("ending journals does not panic")?)
}

async fn open_journal(settings: &JournalSettings, dir: PathBuf) -> Result<Arc<GroupCommit>, Failure> {
    let config = settings.conversions(dir);
    let opened = tokio::task::spawn_blocking(move || GroupCommit::open(config)).await;
    Ok(Arc::new(opened.expect("opening a journal does not panic")?))
}

//! What every process that stays has: logs, metrics, a folder, threads, signals, health, the operator's
//! port, and an end in stages. Knows no part of whence.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::engine::STACK_BYTES;
use whence_runtime::admin;
use whence_runtime::descriptors;
use whence_runtime::health::Health;
use whence_runtime::http::Drained;
use whence_runtime::listeners;
use whence_runtime::settings::Warning;
use whence_runtime::shutdown::{Report, Shutdown, on_signals};
use whence_runtime::telemetry::{BuildInfo, Metrics, install_panic_hook, start_logs};

use crate::addresses::{AddressBook, url};
use crate::backup::door::{self, Sources};
use crate::chain::chain;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::parts::machine;
use crate::settings::{ProcessSettings, threads};

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, if the build was told.
pub const REVISION: &str = match option_env!("WHENCE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Partition loops hand their thread over while they wait for the disk; with one worker nothing else would
/// run meanwhile.
const WORKERS_MIN: usize = 2;
/// What is left after the stages (blocking calls that nobody waits for) gets this long.
const LEFTOVERS: Duration = Duration::from_secs(1);
const READY_POLL: Duration = Duration::from_millis(20);

/// Whether every part is started, its listener with it; each shows its own state from then on.
const START: &str = "start";

/// What kind of process this is.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// The command.
    pub name: &'static str,
    /// The components that must be ready before it takes traffic; `None`: all.
    pub required: Option<&'static [&'static str]>,
}

/// Ends the process with a failure, from wherever that is found.
#[derive(Clone, Default)]
pub struct Ending {
    stop: CancellationToken,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Ending {
    /// The process stops in order, and its command fails with this; the first one counts.
    pub fn fail(&self, failure: Failure) {
        tracing::error!(failure = chain(&failure), "waiting can't fix this, stopping");
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.stop.cancel();
    }

    fn take(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A running process.
pub struct Process {
    /// Its folder, locked.
    pub data: DataDir,
    /// Its components.
    pub health: Health,
    /// Cancelled by the first signal.
    pub stop: CancellationToken,
    /// For faults that are found later and that waiting can't fix.
    pub ending: Ending,
    /// Where it answers.
    pub book: AddressBook,
    /// Files and sockets that it may have open.
    pub descriptors: u64,
    /// What a backup of its folder is made of.
    pub backups: Sources,
    settings: ProcessSettings,
    admin: JoinHandle<Drained>,
    admin_stop: CancellationToken,
}

/// Sets a process up, runs `main` in it, and takes it down.
///
/// # Errors
/// What the set-up or `main` says.
pub fn run(
    role: Role,
    settings: ProcessSettings,
    warnings: &[Warning],
    main: impl AsyncFnOnce(Process) -> Result<(), Failure>,
) -> Result<(), Failure> {
    start(&settings, warnings)?;
    let data = DataDir::open(&settings.data.data)?;
    run_in(data, role, settings, main)
}

/// What comes before all else: logs, and what is to be said of the settings.
///
/// # Errors
/// The log's settings are wrong.
pub fn start(settings: &ProcessSettings, warnings: &[Warning]) -> Result<(), Failure> {
    start_logs(&settings.log)?;
    install_panic_hook();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(())
}

/// The same in a folder that is open already, with logs that are started.
///
/// # Errors
/// What the set-up or `main` says.
pub fn run_in(
    data: DataDir,
    role: Role,
    settings: ProcessSettings,
    main: impl AsyncFnOnce(Process) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let descriptors = descriptors::raise().map_err(Failure::Process)?;
    let metrics = Metrics::install(BuildInfo { version: VERSION, revision: REVISION, role: role.name })?;
    let runtime = runtime(settings.workers.workers)?;
    let ended = runtime.block_on(async move {
        let process = Process::start(role, settings, data, metrics, descriptors).await?;
        Box::pin(main(process)).await
    });
    runtime.shutdown_timeout(LEFTOVERS);
    ended
}

/// The threads of everything but the edge.
pub fn runtime(workers: usize) -> Result<Runtime, Failure> {
    let workers = threads(workers).max(WORKERS_MIN);
    // Memory of a stack is taken as it is used; the embedded engine needs deep ones.
    let mut threads = Builder::new_multi_thread();
    threads.worker_threads(workers).thread_stack_size(STACK_BYTES).enable_all();
    threads.build().map_err(Failure::Process)
}

impl Process {
    async fn start(
        role: Role,
        settings: ProcessSettings,
        data: DataDir,
        metrics: Metrics,
        descriptors: u64,
    ) -> Result<Self, Failure> {
        let stop = on_signals().map_err(Failure::Process)?;
        let health = role.required.map_or_else(Health::new, Health::requiring);
        health.component(START).not_ready("not every part listens yet");
        let address = settings.admin.admin_listen;
        let failed = |source: io::Error| Failure::Listen { address, setting: "admin-listen", source };
        let listener = listeners::listen_async("admin", address).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let mut book = AddressBook::new(data.addresses(), role.name);
        book.note(|addresses| addresses.admin = Some(url(local)))?;
        let admin_stop = CancellationToken::new();
        tokio::spawn(metrics.clone().keep_up(admin_stop.clone()));
        let free_min = settings.workers.disk_free_min;
        machine::watch(data.path().to_owned(), free_min, &health, admin_stop.clone());
        let hosts = settings.site.allowed_hosts.clone();
        let admin = tokio::spawn(admin::serve(listener, hosts, health.clone(), metrics, admin_stop.clone()));
        tracing::info!(
            role = role.name,
            version = VERSION,
            revision = REVISION,
            data = %data.path().display(),
            admin = %local,
            descriptors,
            "starting"
        );
        let backups = Sources::default();
        match door::open(data.path()) {
            Ok(door) => {
                tokio::spawn(door::serve(door, data.path().to_owned(), backups.clone(), stop.clone()));
            }
            Err(error) => tracing::warn!(%error, "a backup can only be made while this process is stopped"),
        }
        let ending = Ending { stop: stop.clone(), failure: Arc::default() };
        Ok(Self { data, health, stop, ending, book, descriptors, backups, settings, admin, admin_stop })
    }

    /// All parts are started and listen. Waits until every component is ready, then says so on standard output and in
    /// the file of addresses. Returns early if the process is to stop.
    ///
    /// # Errors
    /// The file can't be written. A closed standard output is not an error.
    pub async fn announce(&mut self) -> Result<(), Failure> {
        self.health.component(START).ready();
        loop {
            let readiness = self.health.readiness();
            if readiness.ready
                && readiness.components.iter().all(|component| component.ready || component.advisory)
            {
                break;
            }
            let pause = tokio::time::sleep(READY_POLL);
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
        for address in listeners::unclaimed() {
            tracing::warn!(%address, "a socket was handed over that no listener of this process has: check LISTEN_FDNAMES");
        }
        self.book.note(|addresses| addresses.ready = true)?;
        self.data.note_contents();
        if let Err(error) = self.book.print(&mut io::stdout().lock()) {
            tracing::warn!(%error, "cannot write to standard output");
        }
        Ok(())
    }

    /// The stages of the end, of which the first says that this process takes no more work. The parts add
    /// theirs.
    pub fn shutdown(&self) -> Shutdown {
        let (health, delay) = (self.health.clone(), self.settings.workers.drain_delay);
        let announce = async move {
            health.drain();
            tokio::time::sleep(delay).await;
        };
        Shutdown::within(self.limit()).stage("drain", self.limit(), announce)
    }

    /// How long the end may take in all; a stage without a reason for less may take as long.
    pub fn limit(&self) -> Duration {
        self.settings.shutdown.shutdown_timeout
    }

    /// Closes the operator's port, last.
    ///
    /// # Errors
    /// What ended the process, or that a stage did not finish.
    pub async fn finish(self, report: Report) -> Result<(), Failure> {
        self.admin_stop.cancel();
        if let Err(error) = self.admin.await {
            tracing::error!(%error, "the operator's port failed");
        }
        if let Some(failure) = self.ending.take() {
            Err(failure)
        } else if report.is_clean() {
            tracing::info!("stopped");
            Ok(())
        } else {
            Err(Failure::Unclean)
        }
    }
}

//! `whence clickhouse`: the embedded ClickHouse alone; also the child of `whence up`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::confine::{self, Confined, Reach};
use whence_clickhouse_embedded::engine;
use whence_clickhouse_embedded::rights::Databases;
use whence_clickhouse_embedded::{
    EngineLimits, ScratchLimits, ServerConfig, ServerLimits, listener, serve, serve_and_tell,
};
use whence_runtime::shutdown::on_signals;
use whence_runtime::telemetry::{install_panic_hook, start_logs};
use whence_runtime::{descriptors, settings};

use crate::addresses::url;
use crate::backup::door::Engine;
use crate::chain::chain;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::parts::accounts::Embedded;
use crate::parts::engine::{PROBE, SCRATCH, SUPERVISED, library};
use crate::parts::store;
use crate::process::{self, Process, Role};
use crate::settings::{ClickHouseRoleSettings, load};

/// `whence clickhouse`
pub fn command() -> Command {
    let about = "Runs the embedded ClickHouse alone, behind the ClickHouse HTTP interface";
    let hidden = |flag| Arg::new(flag).long(flag).action(ArgAction::SetTrue).hide(true);
    let hidden = [hidden(SUPERVISED), hidden(PROBE)];
    settings::command::<ClickHouseRoleSettings>(Command::new("clickhouse").about(about)).args(hidden)
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or the engine can't be started. An engine that fails ends the process at once.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<ClickHouseRoleSettings>(flags)?;
    let settings = loaded.settings;
    let library = library(&settings.engine)?;
    if flags.get_flag(PROBE) {
        end_with(engine::probe(&library).map_err(|error| Failure::EngineEnded(error.into())))?;
        exit(0);
    }
    let config = |data, accounts| server(&settings, library.clone(), data, accounts);
    if flags.get_flag(SUPERVISED) {
        let data = settings.process.data.data.clone();
        let accounts = Embedded::ensure(&data, &settings.account, &settings.engine)?;
        return supervised(&settings, config(data, accounts));
    }
    process::start(&settings.process, &loaded.warnings)?;
    // The folder is looked at and its passwords are read first: later no file of it is, but the engine's.
    let data = DataDir::open(&settings.process.data.data)?;
    let accounts = Embedded::ensure(data.path(), &settings.account, &settings.engine)?;
    let confined = confine(&data.engine(), &library, vec![data.path().to_owned()])?;
    let role = Role { name: "clickhouse", required: None };
    process::run_in(data, role, settings.process.clone(), async |process| {
        confine::tell(confined);
        let config = config(process.data.engine(), accounts);
        alone(&settings, config, process).await
    })
}

/// The parent has the data folder, the operator's port and the last word.
fn supervised(settings: &ClickHouseRoleSettings, config: ServerConfig) -> Result<(), Failure> {
    start_logs(&settings.process.log)?;
    install_panic_hook();
    descriptors::raise().map_err(Failure::Process)?;
    confine::tell(confine(&config.data, &config.library, Vec::new())?);
    process::runtime(settings.process.workers.workers)?.block_on(async {
        let stop = on_signals().map_err(Failure::Process)?;
        let listener = listen(settings)?;
        end_with(serve(config, listener, stop).await.map_err(Failure::from))
    })
}

/// Leaves this process the engine's folder and what it needs to run. Before it has other threads, which would
/// keep their rights.
fn confine(engine: &Path, library: &Path, write: Vec<PathBuf>) -> Result<Confined, Failure> {
    let read = library.parent().map(Path::to_owned).into_iter().collect();
    let reach = Reach { data: engine.to_owned(), read, write, connects: false };
    confine::confine(&reach).map_err(|error| Failure::Confine(Box::new(error)))
}

async fn alone(
    settings: &ClickHouseRoleSettings,
    config: ServerConfig,
    mut process: Process,
) -> Result<(), Failure> {
    whence_metrics::begin("whence_clickhouse_embedded");
    process.backups.engine(Engine::Refused(
        "an engine in a process of its own is not held still from inside: stop it, and back its folder up then",
    ));
    let listener = listen(settings)?;
    let address = listener.local_addr().map_err(Failure::Process)?;
    process.book.note(|addresses| addresses.clickhouse = Some(url(address)))?;
    let serving_stop = CancellationToken::new();
    let component = process.health.component(store::COMPONENT);
    let (opened, answers) = oneshot::channel();
    let tell = move || {
        component.ready();
        let _ = opened.send(());
    };
    let mut serving = tokio::spawn(serve_and_tell(config, listener, serving_stop.clone(), tell));
    let stop = process.stop.clone();
    tokio::select! {
        ended = &mut serving => {
            // Before it was asked to: a start that failed, as a rule.
            return end_with(ended.expect("the server does not panic").map_err(Failure::from));
        }
        Ok(()) = answers => process.announce().await?,
        () = stop.cancelled() => {}
    }
    tokio::select! {
        ended = &mut serving => return end_with(ended.expect("the server does not panic").map_err(Failure::from)),
        () = stop.cancelled() => {}
    }
    let close = async move {
        serving_stop.cancel();
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = chain(&error), "the engine did not end in order"),
            Err(error) => tracing::error!(%error, "the engine's server failed"),
        }
    };
    let shutdown = process.shutdown().stage("clickhouse", process.limit(), close);
    process.finish(shutdown.run().await).await
}

fn server(
    settings: &ClickHouseRoleSettings,
    library: PathBuf,
    data: PathBuf,
    accounts: Embedded,
) -> ServerConfig {
    let engine = &settings.engine;
    let Embedded { owner, reader } = accounts;
    ServerConfig {
        reader: Some(reader),
        hosts: settings.process.site.allowed_hosts.clone(),
        databases: Databases {
            owned: vec![settings.account.clickhouse_database.clone()],
            scratch: SCRATCH.to_owned(),
        },
        engine: EngineLimits {
            memory_bytes_max: engine.clickhouse_memory_max.as_u64(),
            query_memory_bytes_max: engine.clickhouse_query_memory_max.as_u64(),
            query_seconds_max: engine.clickhouse_query_timeout.as_secs().max(1),
            ..EngineLimits::default()
        },
        limits: ServerLimits {
            queries_max: engine.clickhouse_queries_max,
            inserts_max: engine.clickhouse_inserts_max,
            reader_queries_max: engine.clickhouse_reader_queries_max,
            reader_memory_bytes_max: engine.clickhouse_reader_memory_max.as_u64(),
            reader_seconds_max: engine.clickhouse_reader_query_timeout.as_secs().max(1),
            scratch: ScratchLimits {
                bytes_max: engine.clickhouse_scratch_max.as_u64(),
                tables_max: engine.clickhouse_scratch_tables_max,
                age_max: engine.clickhouse_scratch_age_max,
            },
            ..ServerLimits::default()
        },
        ..ServerConfig::new(library, data, owner)
    }
}

/// The parent's socket, or one of its own.
fn listen(settings: &ClickHouseRoleSettings) -> Result<TcpListener, Failure> {
    let address = settings.engine.clickhouse_listen;
    let taken = listener::take(address).and_then(TcpListener::from_std);
    taken.map_err(|source| Failure::Listen { address, setting: "clickhouse-listen", source })
}

/// Ends the process here if the engine failed: it may still have threads, beside which nothing of this
/// process may be taken apart.
fn end_with(ended: Result<(), Failure>) -> Result<(), Failure> {
    if let Err(failure) = &ended {
        tracing::error!(error = chain(failure), "the embedded clickhouse ended");
        let _ = writeln!(io::stderr(), "whence clickhouse: {}", chain(failure));
        exit(1);
    }
    ended
}

fn exit(status: libc::c_int) -> ! {
    // SAFETY: ends the process, and runs nothing of it.
    unsafe { libc::_exit(status) }
}

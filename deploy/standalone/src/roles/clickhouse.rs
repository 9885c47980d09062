//! `whence clickhouse`: the embedded ClickHouse alone; also the child of `whence up`.

use std::io::{self, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::{EngineLimits, ServerConfig, ServerLimits, listener, metrics, serve};
use whence_runtime::shutdown::on_signals;
use whence_runtime::telemetry::{install_panic_hook, start_logs};
use whence_runtime::{descriptors, settings};

use crate::addresses::url;
use crate::failure::{Failure, chain};
use crate::parts::engine::{SUPERVISED, library};
use crate::parts::store;
use crate::process::{self, Process, Role};
use crate::settings::{ClickHouseRoleSettings, load};

/// `whence clickhouse`
pub fn command() -> Command {
    let about = "Runs the embedded ClickHouse alone, behind the ClickHouse HTTP interface";
    let supervised = Arg::new(SUPERVISED).long(SUPERVISED).action(ArgAction::SetTrue).hide(true);
    settings::command::<ClickHouseRoleSettings>(Command::new("clickhouse").about(about)).arg(supervised)
}

/// Runs it until it is told to stop.
///
/// # Errors
/// Settings are wrong, or the engine can't be started. An engine that fails ends the process at once.
pub fn run(flags: &ArgMatches) -> Result<(), Failure> {
    let loaded = load::<ClickHouseRoleSettings>(flags)?;
    let settings = loaded.settings;
    let library = library(&settings.engine)?;
    let config = |data| server(&settings, library, data);
    if flags.get_flag(SUPERVISED) {
        return supervised(&settings, config(settings.process.data.data.clone()));
    }
    let role = Role { name: "clickhouse", required: None };
    process::run(role, settings.process.clone(), &loaded.warnings, async |process| {
        let config = config(process.data.engine());
        alone(&settings, config, process).await
    })
}

/// The parent has the data folder, the operator's port and the last word.
fn supervised(settings: &ClickHouseRoleSettings, config: ServerConfig) -> Result<(), Failure> {
    start_logs(&settings.process.log)?;
    install_panic_hook();
    descriptors::raise().map_err(Failure::Process)?;
    process::runtime(settings.process.workers.workers)?.block_on(async {
        let stop = on_signals().map_err(Failure::Process)?;
        let listener = listen(settings)?;
        end_with(serve(config, listener, stop).await.map_err(Failure::from))
    })
}

async fn alone(
    settings: &ClickHouseRoleSettings,
    config: ServerConfig,
    mut process: Process,
) -> Result<(), Failure> {
    metrics::describe();
    let listener = listen(settings)?;
    let address = listener.local_addr().map_err(Failure::Process)?;
    process.book.note(|addresses| addresses.clickhouse = Some(url(address)))?;
    let serving_stop = CancellationToken::new();
    let mut serving = tokio::spawn(serve(config, listener, serving_stop.clone()));
    let component = process.health.component(store::COMPONENT);
    let answers = store::answers(url(address), component);
    let stop = process.stop.clone();
    tokio::select! {
        ended = &mut serving => {
            // Before it was asked to: a start that failed, as a rule.
            return end_with(ended.expect("the server does not panic").map_err(Failure::from));
        }
        () = answers => process.announce().await?,
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
    library: std::path::PathBuf,
    data: std::path::PathBuf,
) -> ServerConfig {
    let engine = &settings.engine;
    ServerConfig {
        user: settings.account.clickhouse_user.clone(),
        password: settings.account.clickhouse_password.clone(),
        engine: EngineLimits {
            memory_bytes_max: engine.clickhouse_memory_max.as_u64(),
            query_memory_bytes_max: engine.clickhouse_query_memory_max.as_u64(),
            query_seconds_max: engine.clickhouse_query_timeout.as_secs().max(1),
            ..EngineLimits::default()
        },
        limits: ServerLimits {
            queries_max: engine.clickhouse_queries_max,
            inserts_max: engine.clickhouse_inserts_max,
            ..ServerLimits::default()
        },
        ..ServerConfig::new(library, data)
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
        // SAFETY: ends the process, and runs nothing of it.
        unsafe { libc::_exit(1) }
    }
    ended
}

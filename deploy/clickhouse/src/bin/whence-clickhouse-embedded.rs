//! The embedded ClickHouse server on its own.
//!
//! Prints `listening on ADDRESS:PORT` to standard output once it answers, logs to standard error, and
//! ends in order on SIGTERM or SIGINT.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::{ServerConfig, library, listener, serve};
use whence_runtime::private;

type Failure = Box<dyn std::error::Error>;

/// Longer than any password.
const PASSWORD_BYTES_MAX: u64 = 4096;

fn main() -> ExitCode {
    private::make_only_private_files();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&command().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            tracing::error!(error = text, "the server ended");
            // The engine may still have threads; destructors must not run beside them.
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) }
        }
    }
}

fn command() -> Command {
    Command::new("whence-clickhouse-embedded")
        .about("The ClickHouse engine in one process, behind the ClickHouse HTTP interface")
        .arg(
            Arg::new("engine")
                .long("engine")
                .env(library::ENGINE_ENV)
                .value_parser(value_parser!(PathBuf))
                .help("libchdb.so [default: where fetch-engine put it]"),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Data folder"),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .default_value("127.0.0.1:8123")
                .value_parser(value_parser!(SocketAddr))
                .help("Address and port; port 0 takes a free one"),
        )
        .arg(
            Arg::new("password-file")
                .long("password-file")
                .value_parser(value_parser!(PathBuf))
                .help("File with the password of user `default`; required to listen beyond loopback"),
        )
        .arg(
            Arg::new("no-sync")
                .long("no-sync")
                .action(ArgAction::SetTrue)
                .help("Acknowledge inserts before their parts are synced to disk"),
        )
        .arg(
            Arg::new("grant").long("grant").action(ArgAction::Append).help(
                "A privilege beyond tables and views, for trials: `KAFKA ON *.*`, `TABLE ENGINE ON Kafka`",
            ),
        )
        .arg(
            Arg::new("memory-bytes-max")
                .long("memory-bytes-max")
                .value_parser(value_parser!(u64))
                .help("Memory of all statements and caches together, in bytes"),
        )
        .arg(
            Arg::new("body-bytes-max")
                .long("body-bytes-max")
                .value_parser(value_parser!(usize))
                .help("Size of one request body, in bytes"),
        )
}

#[tokio::main]
async fn run(arguments: &ArgMatches) -> Result<(), Failure> {
    let engine = match arguments.get_one::<PathBuf>("engine") {
        Some(engine) => engine.clone(),
        None => library::find()?,
    };
    let data = arguments.get_one::<PathBuf>("data").expect("required");
    let mut config = ServerConfig::new(engine, data);
    if let Some(file) = arguments.get_one::<PathBuf>("password-file") {
        let password = private::read(file, PASSWORD_BYTES_MAX)?;
        config.password = Some(SecretString::from(password.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if let Some(bytes) = arguments.get_one::<usize>("body-bytes-max") {
        config.limits.body_bytes_max = *bytes;
    }
    if let Some(bytes) = arguments.get_one::<u64>("memory-bytes-max") {
        config.engine.memory_bytes_max = *bytes;
    }
    config.engine.further_grants =
        arguments.get_many::<String>("grant").unwrap_or_default().cloned().collect();
    config.engine.sync_inserts = !arguments.get_flag("no-sync");
    let listen = arguments.get_one::<SocketAddr>("listen").expect("has a default");
    let listener = TcpListener::from_std(listener::take(*listen)?)?;
    let address = listener.local_addr()?;
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    // The backlog takes connections from here on; they are answered once the engine is open.
    writeln!(std::io::stdout(), "listening on {address}")?;
    serve(config, listener, shutdown).await?;
    Ok(())
}

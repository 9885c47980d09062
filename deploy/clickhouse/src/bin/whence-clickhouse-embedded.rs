//! The embedded ClickHouse server on its own.
//!
//! Prints `listening on ADDRESS:PORT` to standard output once it answers, logs to standard error, and
//! ends in order on SIGTERM or SIGINT.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::confine::{self, Reach};
use whence_clickhouse_embedded::{Account, ServerConfig, engine, library, listener, passwords, serve};
use whence_runtime::private;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    private::make_only_private_files();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match start(&command().get_matches()) {
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
        .arg(Arg::new("password-file").long("password-file").value_parser(value_parser!(PathBuf)).help(
            "File with the password of user `default` [default: DATA/password, made at the first start]",
        ))
        .arg(
            Arg::new("reader-password-file")
                .long("reader-password-file")
                .value_parser(value_parser!(PathBuf))
                .help("The same of user `reader` [default: DATA/reader-password]"),
        )
        .arg(
            Arg::new("database")
                .long("database")
                .action(ArgAction::Append)
                .default_value("default")
                .help("A database of user `default`, made at the start; `reader` may read it"),
        )
        .arg(
            Arg::new("allowed-host")
                .long("allowed-host")
                .action(ArgAction::Append)
                .help("Another name that a server on loopback may be called by, beside addresses and localhost"),
        )
        .arg(number("reader-queries-max", "Statements of user `reader` at once"))
        .arg(number(
            "reader-memory-bytes-max",
            "Memory of all statements of user `reader` together, in bytes",
        ))
        .arg(number("reader-seconds-max", "Seconds of one statement of user `reader`"))
        .arg(number(
            "reader-temporary-bytes-max",
            "What all statements of user `reader` together put on the disk while they run, in bytes",
        ))
        .arg(number(
            "stuck-seconds-max",
            "Seconds that a statement of user `reader` may go on after it was killed: then the server ends, to be \
             started again",
        ))
        .arg(number(
            "idle-seconds-max",
            "Seconds that a client may pause while it sends a body or takes a result",
        ))
        .arg(number("scratch-bytes-max", "Size of all tables in the database `scratch`, in bytes"))
        .arg(number("scratch-tables-max", "Tables and views in the database `scratch`"))
        .arg(number("scratch-seconds-max", "Seconds after its last change when a table there is dropped"))
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

fn number(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(value_parser!(u64).range(1..)).help(help)
}

fn start(arguments: &ArgMatches) -> Result<(), Failure> {
    let config = config(arguments)?;
    let connects = !config.engine.further_grants.is_empty();
    let folder = config.library.parent().map(PathBuf::from);
    let read = folder.into_iter().collect();
    let reach = Reach { data: config.data.clone(), read, write: Vec::new(), connects };
    // Before there are other threads, which would keep their rights.
    confine::tell(confine::confine(&reach)?);
    run(config, *arguments.get_one::<SocketAddr>("listen").expect("has a default"))
}

fn config(arguments: &ArgMatches) -> Result<ServerConfig, Failure> {
    let engine = match arguments.get_one::<PathBuf>("engine") {
        Some(engine) => engine.clone(),
        None => library::find()?,
    };
    let data = arguments.get_one::<PathBuf>("data").expect("required");
    std::fs::create_dir_all(data)?;
    let password = |flag: &str, name: &str| match arguments.get_one::<PathBuf>(flag) {
        Some(file) => passwords::read(file),
        None => passwords::kept(&data.join(name)),
    };
    let owner = Account::new(Account::OWNER, password("password-file", "password")?);
    let mut config = ServerConfig::new(engine, data, owner);
    config.reader = Some(Account::new(Account::READER, password("reader-password-file", "reader-password")?));
    config.databases.owned = arguments.get_many::<String>("database").unwrap_or_default().cloned().collect();
    config.hosts = arguments.get_many::<String>("allowed-host").unwrap_or_default().cloned().collect();
    let number = |name: &str| arguments.get_one::<u64>(name).copied();
    let limits = &mut config.limits;
    if let Some(queries) = number("reader-queries-max") {
        limits.reader_queries_max = usize::try_from(queries)?;
    }
    limits.reader_memory_bytes_max =
        number("reader-memory-bytes-max").unwrap_or(limits.reader_memory_bytes_max);
    limits.reader_seconds_max = number("reader-seconds-max").unwrap_or(limits.reader_seconds_max);
    limits.reader_temporary_bytes_max =
        number("reader-temporary-bytes-max").unwrap_or(limits.reader_temporary_bytes_max);
    limits.stuck_max = number("stuck-seconds-max").map_or(limits.stuck_max, Duration::from_secs);
    limits.idle_max = number("idle-seconds-max").map_or(limits.idle_max, Duration::from_secs);
    limits.scratch.bytes_max = number("scratch-bytes-max").unwrap_or(limits.scratch.bytes_max);
    limits.scratch.tables_max = number("scratch-tables-max").unwrap_or(limits.scratch.tables_max);
    limits.scratch.age_max =
        number("scratch-seconds-max").map_or(limits.scratch.age_max, Duration::from_secs);
    if let Some(bytes) = arguments.get_one::<usize>("body-bytes-max") {
        config.limits.body_bytes_max = *bytes;
    }
    if let Some(bytes) = arguments.get_one::<u64>("memory-bytes-max") {
        config.engine.memory_bytes_max = *bytes;
    }
    config.engine.further_grants =
        arguments.get_many::<String>("grant").unwrap_or_default().cloned().collect();
    config.engine.sync_inserts = !arguments.get_flag("no-sync");
    Ok(config)
}

fn run(config: ServerConfig, listen: SocketAddr) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(engine::STACK_BYTES)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(served(config, listen));
    // A statement that does not end would be waited for.
    runtime.shutdown_background();
    ended
}

async fn served(config: ServerConfig, listen: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::from_std(listener::take(listen)?)?;
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

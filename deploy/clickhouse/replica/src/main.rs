//! `whence-clickhouse-replica replica|keeper`: a process of a test's cluster. Ends with the process that started it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use whence_clickhouse_embedded::engine::STACK_BYTES;
use whence_clickhouse_replica::replica::{self, ReplicaSettings};
use whence_clickhouse_replica::{keeper, tie};

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let ended = match command().get_matches().subcommand() {
        Some(("keeper", flags)) => {
            keeper::run(&path(flags, "data"), address(flags, "listen")).map_err(Into::into)
        }
        Some((_, flags)) => tie::end_with_parent(|| ()).map_err(Into::into).and_then(|()| run(flags)),
        None => Err("a command is missing".into()),
    };
    if let Err(error) = ended {
        tracing::error!(error = error as Box<dyn std::error::Error>, "ended");
        // SAFETY: ends the process; destructors must not run beside the engine's threads.
        unsafe { libc::_exit(1) }
    }
    ExitCode::SUCCESS
}

fn command() -> Command {
    let address = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).required(true).value_parser(value_parser!(SocketAddr)).help(help)
    };
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).required(true).value_parser(value_parser!(PathBuf)).help(help)
    };
    let replica = Command::new("replica")
        .about("Runs one replica")
        .arg(path("data", "Data folder"))
        .arg(path("password-file", "File with the password of user `default`"))
        .arg(
            Arg::new("number")
                .long("number")
                .required(true)
                .value_parser(value_parser!(usize))
                .help("From 1"),
        )
        .arg(address("replicas", "Addresses of all replicas, in order").value_delimiter(','))
        .arg(
            Arg::new("shards")
                .long("shards")
                .value_delimiter(',')
                .value_parser(value_parser!(u32))
                .help("The shard of each [default: one for all]"),
        )
        .arg(address("parts", "Where parts are given"))
        .arg(address("keeper", "Keeper"))
        .arg(
            Arg::new("session-ms")
                .long("session-ms")
                .default_value("3000")
                .value_parser(value_parser!(u32))
                .help("Keeper's session timeout: how long a silent replica is taken to be alive"),
        );
    let keeper = Command::new("keeper")
        .about("Runs Debian's ZooKeeper")
        .arg(path("data", "Data folder"))
        .arg(address("listen", "Address and port"));
    Command::new("whence-clickhouse-replica")
        .about("For tests only: a replica of a ClickHouse cluster from the embedded engine")
        .subcommand_required(true)
        .subcommands([replica, keeper])
}

fn path(flags: &ArgMatches, name: &str) -> PathBuf {
    flags.get_one::<PathBuf>(name).expect("required").clone()
}

fn address(flags: &ArgMatches, name: &str) -> SocketAddr {
    *flags.get_one::<SocketAddr>(name).expect("required")
}

fn run(flags: &ArgMatches) -> Result<(), Box<dyn std::error::Error>> {
    let replicas: Vec<SocketAddr> = flags.get_many("replicas").expect("required").copied().collect();
    let shards = flags.get_many("shards").map_or(vec![1; replicas.len()], |shards| shards.copied().collect());
    let number = *flags.get_one::<usize>("number").expect("required");
    if number == 0 || number > replicas.len() || shards.len() != replicas.len() {
        return Err("number and shards have to fit the replicas".into());
    }
    let settings = ReplicaSettings {
        data: path(flags, "data"),
        number,
        replicas,
        shards,
        parts: address(flags, "parts"),
        keeper: address(flags, "keeper"),
        session_ms: *flags.get_one("session-ms").expect("has a default"),
        password_file: path(flags, "password-file"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let stopped = stop.clone();
        tokio::spawn(async move {
            terminate.recv().await;
            stopped.cancel();
        });
        replica::run(settings, stop).await
    })
}

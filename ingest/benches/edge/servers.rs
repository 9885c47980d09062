//! The servers that are compared: this program again as a child, and nginx.

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use whence_ingest::{
    edge::{
        AddressHasher, Clock, EdgeConfig, LinkTable, Parts, SecureConfig, TableLimits, start,
        tls::{CertificateFolder, CertificateStore},
    },
    ship::{self, JournalSource, ShipConfig},
    topics::{TopicPlan, ensure_topics},
};
use whence_journal::{Incarnation, Position, retire};
use whence_kafka::Cluster;
use whence_runtime::health::Health;
use whence_schemas::{
    event::{Link, Program, RegistryEntry, registry_entry::Entry},
    token::KeyRing,
    topics::Stream,
};

use super::{LINKS, THREADS};

/// The argument that makes this program a server.
pub const CHILD: &str = "--child";
/// Where a child's shipper finds Kafka; without it none is started.
const BROKERS: &str = "EDGE_BENCH_BROKERS";
/// Set: a child answers over TLS, with the certificate in its directory.
const TLS: &str = "EDGE_BENCH_TLS";
const NGINX: &str = "/usr/sbin/nginx";

/// A running server.
pub struct Server {
    pub name: &'static str,
    pub scheme: &'static str,
    pub port: u16,
    /// Of all processes that answer.
    pub pids: Vec<u32>,
    process: Child,
    /// A child stops when this closes.
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    _dir: tempfile::TempDir,
}

impl Server {
    /// This program as the server `name`: bare, edge, edge with a shipper to these brokers, edge with
    /// huge pages, or edge over TLS.
    pub fn child(name: &'static str, brokers: Option<&str>) -> Option<Server> {
        let dir = tempfile::TempDir::new().expect("a directory");
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new(this);
        command.env("EDGE_BENCH_DIR", dir.path());
        if let Some(brokers) = brokers {
            command.env(BROKERS, brokers);
        }
        // glibc 2.35 and later: `malloc` asks for huge pages.
        if name.ends_with("+thp") {
            command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
        }
        let scheme = scheme(name);
        if scheme == "https" {
            put_certificate(dir.path());
            command.env(TLS, "1");
        }
        command.args([CHILD, name.split(['+', '-']).next().unwrap_or(name)]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("the child's port");
        let port = line.trim().parse().expect("a port");
        let stdin = process.stdin.take();
        let (pids, stdout) = (vec![process.id()], Some(stdout));
        Some(Server { name, scheme, port, pids, process, stdin, stdout, _dir: dir })
    }

    /// Waits until the server has done all work of the requests that it answered.
    pub fn finish_work(&mut self) {
        let (Some(stdin), Some(stdout)) = (&mut self.stdin, &mut self.stdout) else { return };
        stdin.write_all(b"\n").expect("the child listens");
        stdout.read_line(&mut String::new()).expect("the child says when it is done");
    }

    /// nginx, if it is installed.
    pub fn nginx(name: &'static str) -> Option<Server> {
        if !std::path::Path::new(NGINX).exists() {
            eprintln!("nginx is not installed and left out");
            return None;
        }
        let dir = tempfile::TempDir::new().expect("a directory");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let (ssl, certificate) = match scheme(name) {
            "https" => {
                put_certificate(dir.path());
                (" ssl", "ssl_certificate tls.crt; ssl_certificate_key tls.key;")
            }
            _ => ("", ""),
        };
        let config = format!(
            "daemon off; worker_processes {THREADS}; pid nginx.pid; error_log stderr crit; user root;
             events {{ worker_connections 4096; }}
             http {{
                 access_log access.log combined;
                 keepalive_requests 1000000000;
                 server {{
                     listen 127.0.0.1:{port}{ssl} reuseport backlog=4096; {certificate}
                     location / {{ return 302 {LOCATION}; }}
                 }}
             }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).expect("a file");
        let process =
            Command::new(NGINX).arg("-p").arg(dir.path()).args(["-c", "nginx.conf"]).spawn().expect("nginx");
        let mut pids = Vec::new();
        for _ in 0..500 {
            pids = children(process.id());
            if pids.len() == THREADS && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(pids.len(), THREADS, "nginx has its workers");
        let scheme = scheme(name);
        Some(Server { name, scheme, port, pids, process, stdin: None, stdout: None, _dir: dir })
    }
}

fn scheme(name: &str) -> &'static str {
    if name.ends_with("-tls") { "https" } else { "http" }
}

/// A certificate and its key, as `tls.crt` and `tls.key`.
fn put_certificate(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = dir.join("tls.key");
    std::fs::write(dir.join("tls.crt"), made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx stops its workers when it is asked to, not when it is killed.
        if self.name.starts_with("nginx") {
            let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        } else {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// As long as the edge's.
const LOCATION: &str = "https://shop.example.com/landing/spring?utm_source=referral&wclid=AQcBi8_laABwAIAAAAAAAAAAkiVtfGeEl9SCJEQXozlvjS4bta6UQ1GCfts1lg";

/// Serves as `name` until standard input closes.
pub fn be(name: &str) {
    match name {
        "bare" => bare(),
        "edge" => edge(),
        other => panic!("no server {other}"),
    }
}

/// Says where it listens, and at each line from the parent that `finish_work` has returned.
fn announce(port: u16, finish_work: impl Fn()) {
    println!("{port}");
    for _line in std::io::stdin().lines() {
        finish_work();
        println!();
    }
}

fn listen(port: u16) -> TcpListener {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    socket.set_tcp_nodelay(true).expect("an option");
    socket.set_nonblocking(true).expect("an option");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("a port");
    socket.listen(4096).expect("a listener");
    socket.into()
}

fn bare() {
    let first = listen(0);
    let port = first.local_addr().expect("an address").port();
    let listeners = std::iter::once(first).chain((1..THREADS).map(|_| listen(port)));
    for listener in listeners {
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default());
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    let service = service_fn(async |_| {
                        let answer = Response::builder().status(302).header("location", LOCATION);
                        Ok::<_, Infallible>(answer.body(Full::<Bytes>::default()).expect("an answer"))
                    });
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    tokio::task::spawn_local(connection);
                }
            });
        });
    }
    announce(port, || {});
}

fn edge() {
    let dir = std::env::var("EDGE_BENCH_DIR").expect("a directory");
    let links = Arc::new(LinkTable::new(TableLimits::default()));
    fill(&links);
    let keys = KeyRing::new(1, &[(1, [1; 32])]).expect("a ring");
    let parts = Parts {
        links,
        keys: Arc::new(ArcSwap::from_pointee(keys)),
        hasher: AddressHasher::new(&[2; 32]),
        clock: Clock::system(),
        health: None,
    };
    let secure = std::env::var_os(TLS).map(|_| {
        let certificates = Arc::new(CertificateStore::default());
        CertificateFolder::open(dir.as_str().into(), Arc::clone(&certificates), None).expect("a certificate");
        SecureConfig { listen: ([127, 0, 0, 1], 0).into(), certificates }
    });
    let config =
        EdgeConfig { threads: THREADS, secure, ..EdgeConfig::new(([127, 0, 0, 1], 0).into(), &*dir) };
    let edge = start(&config, &parts, &CancellationToken::new()).expect("an edge");
    let port = edge.secure_addr().unwrap_or(edge.local_addr()).port();
    let journals = (0..THREADS).map(|index| std::path::Path::new(&dir).join(format!("clicks-{index}")));
    let Ok(brokers) = std::env::var(BROKERS) else {
        for dir in journals {
            std::thread::spawn(move || consume(&dir));
        }
        return announce(port, || {});
    };
    let cluster = Cluster { brokers: brokers.as_str().into(), ..Cluster::default() };
    let config = ShipConfig { segment_grace: Duration::ZERO, ..ShipConfig::new(cluster) };
    let sources = journals.map(|dir| JournalSource { dir, stream: Stream::Clicks }).collect();
    let shipper = ship::start(config, sources, &Health::default(), CancellationToken::new());
    let shipper = shipper.expect("a shipper");
    announce(port, || {
        // The status is renewed once a second: twice the same says that it is not of before.
        let mut looks = 0;
        while looks < 2 {
            std::thread::sleep(Duration::from_millis(1100));
            looks = if shipper.status().lag_bytes == 0 { looks + 1 } else { 0 };
        }
    });
}

/// Where a shipper would read: here, full segments only go.
fn consume(dir: &std::path::Path) {
    let all = Position { incarnation: Incarnation(u128::MAX), offset: 0 };
    loop {
        std::thread::sleep(Duration::from_millis(500));
        retire(dir, all, Duration::ZERO).expect("segments go");
    }
}

/// Makes the topics that the edge's shipper writes to.
pub fn make_topics(brokers: &str) {
    let cluster = Cluster { brokers: brokers.into(), ..Cluster::default() };
    let plan = TopicPlan {
        clicks_partitions: 4,
        conversions_partitions: 1,
        replication: Some(1),
        retention: Duration::from_secs(3600),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(ensure_topics(&cluster, &plan, Duration::from_secs(60))).expect("topics");
}

fn fill(links: &LinkTable) {
    let program = |index: usize| format!("program-{index}");
    let (programs, mut version) = (10, 0);
    let mut put = |entry: Entry| {
        version += 1;
        links.apply(&RegistryEntry { version, entry: Some(entry), ..RegistryEntry::default() });
    };
    for index in 0..programs {
        put(Entry::Program(Program {
            id: program(index),
            destination_hosts: vec!["shop.example.com".into()],
            channels: vec!["email".into(), "qr".into()],
            ..Program::default()
        }));
    }
    for index in 0..LINKS {
        put(Entry::Link(Link {
            host: "127.0.0.1".into(),
            code: format!("l{index}"),
            program: program(index % programs),
            referrer: format!("customer-{}", index / 10),
            channel: "email".into(),
            destination: "https://shop.example.com/landing/spring?utm_source=referral".into(),
            ..Link::default()
        }));
    }
}

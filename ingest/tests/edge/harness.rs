//! An edge on a port of its own, a client that speaks raw bytes, and a reader of the journal.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use whence_ingest::edge::{
    AddressHasher, Clock, CookieConfig, EdgeConfig, EdgeHandle, LinkTable, Parts, Stopped, TableLimits, start,
};
use whence_journal::{Payload, Reader};
use whence_runtime::{
    health::Health,
    telemetry::{BuildInfo, Metrics},
};
use whence_schemas::{
    event::{self, Click, ConsentMode, Link, Program, Referrer, RegistryEntry, registry_entry::Entry},
    time::UnixMs,
    token::{ClickToken, KeyRing},
};

/// The time at which tests begin.
pub const START: UnixMs = UnixMs(1_700_000_000_000);
/// A browser's agent.
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
/// How long anything may take that is waited for.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// A running edge and all that belongs to it.
pub struct Edge {
    pub table: Arc<LinkTable>,
    pub keys: Arc<ArcSwap<KeyRing>>,
    pub health: Health,
    pub now_ms: Arc<AtomicI64>,
    /// Whoever holds this makes a core wait that looks at the clock.
    pub gate: Arc<Mutex<()>>,
    pub shutdown: CancellationToken,
    pub dir: TempDir,
    pub address: SocketAddr,
    /// Where TLS is spoken.
    pub secure: Option<SocketAddr>,
    handle: EdgeHandle,
    version: AtomicU64,
}

/// A key ring with one key.
pub fn ring(id: u8) -> KeyRing {
    KeyRing::new(id, &[(id, [id; 32])]).unwrap()
}

/// A configuration of one thread with small segments.
pub fn config(dir: &Path) -> EdgeConfig {
    EdgeConfig {
        threads: 1,
        segment_bytes: 1 << 16,
        quota_bytes: 64 << 20,
        cookie: CookieConfig { is_secure: false, ..CookieConfig::default() },
        ..EdgeConfig::new("127.0.0.1:0".parse().unwrap(), dir)
    }
}

impl Edge {
    /// An edge with the program `demo` and its link `go.example/abc`.
    pub fn start() -> Edge {
        Edge::start_with(|_| {})
    }

    /// As [`Edge::start`], with other settings.
    pub fn start_with(change: impl FnOnce(&mut EdgeConfig)) -> Edge {
        metrics();
        let dir = TempDir::new().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let table = Arc::new(LinkTable::new(TableLimits::default()));
        let keys = Arc::new(ArcSwap::from_pointee(ring(7)));
        let now_ms = Arc::new(AtomicI64::new(START.0));
        let (health, shutdown) = (Health::new(), CancellationToken::new());
        let gate = Arc::new(Mutex::new(()));
        let clock = {
            let (now_ms, gate) = (Arc::clone(&now_ms), Arc::clone(&gate));
            Clock::new(move || {
                drop(gate.lock().unwrap());
                UnixMs(now_ms.load(Ordering::SeqCst))
            })
        };
        let parts = Parts {
            links: Arc::clone(&table),
            keys: Arc::clone(&keys),
            hasher: AddressHasher::new(&[1; 32]),
            clock,
            health: Some(health.clone()),
        };
        let handle = start(&config, &parts, &shutdown).unwrap();
        let (address, secure) = (handle.local_addr(), handle.secure_addr());
        let version = AtomicU64::new(1);
        let edge =
            Edge { table, keys, health, now_ms, gate, shutdown, dir, address, secure, handle, version };
        edge.put_program(demo());
        edge.put_link(abc());
        edge
    }

    fn put(&self, entry: Entry) -> u64 {
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        self.table.apply(&RegistryEntry { version, entry: Some(entry), ..RegistryEntry::default() });
        version
    }

    pub fn put_program(&self, program: Program) -> u64 {
        self.put(Entry::Program(program))
    }

    pub fn put_link(&self, link: Link) -> u64 {
        self.put(Entry::Link(link))
    }

    pub fn put_referrer(&self, referrer: Referrer) -> u64 {
        self.put(Entry::Referrer(referrer))
    }

    /// A connection whose reads do not wait for ever.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A connection from the network `127.NETWORK.0.0/24`.
    pub fn connect_from(&self, network: u8) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, network, 0, 1], 0)).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Sends these bytes on a connection of their own and reads the answer to them.
    pub fn send(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        Reply::read(&mut stream, request.starts_with(b"HEAD"))
    }

    /// A GET of `target` at go.example with a browser's agent and further header lines.
    pub fn get(&self, target: &str, lines: &[&str]) -> Reply {
        self.send(get(target, lines).as_bytes())
    }

    /// All clicks of the first core's journal.
    pub fn clicks(&self) -> Vec<Click> {
        clicks(&self.dir.path().join("clicks-0"))
    }

    /// The one click there is.
    pub fn click(&self) -> Click {
        let mut clicks = self.clicks();
        assert_eq!(clicks.len(), 1, "{clicks:#?}");
        clicks.remove(0)
    }

    pub fn stop(self) -> Stopped {
        block_on(self.handle.stop())
    }

    /// Stops it and returns its folder.
    pub fn stop_keeping(self) -> TempDir {
        let Edge { dir, handle, .. } = self;
        let _ = block_on(handle.stop());
        dir
    }

    /// Waits for the edge to end by itself.
    pub fn join(self) -> Stopped {
        block_on(self.handle.join())
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A GET request.
pub fn get(target: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\nHost: go.example\r\nUser-Agent: {BROWSER}\r\n{lines}\r\n")
}

/// The program of most tests.
pub fn demo() -> Program {
    Program {
        id: "demo".into(),
        destination_hosts: vec!["shop.example".into(), "*.apps.example".into()],
        link_hosts: vec!["go.example".into()],
        channels: vec!["email".into(), "qr".into(), "whatsapp".into()],
        consent: ConsentMode::None.into(),
        ..Program::default()
    }
}

/// The link of most tests.
pub fn abc() -> Link {
    Link {
        host: "go.example".into(),
        code: "abc".into(),
        program: "demo".into(),
        referrer: "ann".into(),
        channel: "whatsapp".into(),
        destination: "https://shop.example/landing?utm_source=ref#top".into(),
        ..Link::default()
    }
}

/// All clicks of a journal.
pub fn clicks(dir: &Path) -> Vec<Click> {
    let (mut reader, mut records) = (Reader::open(dir, None), Vec::new());
    while !reader.read(1000, 1 << 20, &mut records).unwrap().caught_up {}
    let click = |payload: &Payload| match payload {
        Payload::Intact(bytes) => event::decode(bytes).unwrap(),
        Payload::Corrupt { .. } => panic!("a corrupt record"),
    };
    records.iter().map(|record| click(&record.payload)).collect()
}

/// Waits until `holds`, looking every few milliseconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The process's counter of this name with exactly these labels, counted by all edges of all tests.
pub fn counted(name: &str, labels: &str) -> u64 {
    let series = format!("{name}{{{labels}}} ");
    let text = rendered();
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or_default()
}

/// All metrics of the process.
pub fn rendered() -> String {
    metrics().render()
}

fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| {
        let build = BuildInfo { version: "0", revision: "0", role: "test" };
        Metrics::install(build).unwrap()
    })
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub head: String,
    pub body: String,
}

impl Reply {
    /// Reads one answer.
    pub fn read(stream: &mut impl Read, is_head: bool) -> Reply {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
                let reply = Reply { head, body: String::new() };
                let length: usize = reply.header("content-length").map_or(0, |text| text.parse().unwrap());
                let whole = end + 4 + if is_head { 0 } else { length };
                if bytes.len() >= whole {
                    assert_eq!(bytes.len(), whole, "bytes behind the answer");
                    let body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
                    return Reply { body, ..reply };
                }
            }
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&buffer[..read]);
        }
    }

    pub fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    /// The only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            line.split_once(": ")
                .filter(|(other, _)| other.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    pub fn location(&self) -> &str {
        self.header("location").expect("a location")
    }

    /// The token's text in the location.
    pub fn token_text(&self) -> &str {
        let location = self.location();
        let parameters = location.matches("wclid=").count();
        assert_eq!(parameters, 1, "{location}");
        location.split("wclid=").nth(1).unwrap().split(['&', '#']).next().unwrap()
    }

    pub fn token(&self) -> ClickToken {
        ring(7).verify(self.token_text()).unwrap()
    }
}

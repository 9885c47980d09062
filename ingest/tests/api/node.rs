//! One API node with its registry and journal in a folder of its own, and a client that speaks bytes.

use super::behind::Following;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use whence_ingest::{
    api::{self, ApiHandle, ApiSettings, Parts, ensure_admin_key},
    edge::AddressHasher,
    hosts::{DnsError, TxtRecords},
    registry::{Registry, embedded::EmbeddedRegistry},
    webhooks::NamedSecrets,
};
use whence_journal::{Disk, GroupCommit, GroupCommitConfig, JournalConfig, OsDisk, Payload, Quota, Reader};
use whence_runtime::{
    health::Health,
    settings::{self, ByteSize},
    shares::Callers,
};
use whence_schemas::{
    event::{self, Event},
    ids::{ChannelNumber, ClickId, LinkNumber},
    subject::IdentityHasher,
    time::UnixMs,
    token::{ClickToken, KeyRing, TEXT_LEN},
};

pub const NOW: UnixMs = UnixMs(1_800_000_000_000);
pub const WINDOW_MS: i64 = 86_400_000;
/// Ids of the keys that the node accepts; it mints with the first.
pub const KEY_IDS: [u8; 2] = [1, 2];

/// A disk whose syncs fail as often, and take as long, as told.
#[derive(Debug, Default)]
pub struct FailingDisk {
    pub syncs_to_fail: AtomicU32,
    pub stalls: AtomicBool,
}

impl Disk for FailingDisk {
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        OsDisk.allocate(file, bytes)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        while self.stalls.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let fails = |left: u32| left.checked_sub(1);
        match self.syncs_to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails) {
            Ok(_) => Err(io::Error::other("the disk is broken")),
            Err(_) => OsDisk.sync_file(file),
        }
    }

    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }
}

/// A DNS with the records that a test sets.
#[derive(Default)]
pub struct Names {
    pub texts: Mutex<BTreeMap<String, Vec<String>>>,
    pub is_away: AtomicBool,
    pub asked: AtomicU32,
}

impl Names {
    pub fn set(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.texts.lock().unwrap().insert(name.to_owned(), texts);
    }
}

impl TxtRecords for Names {
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, DnsError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let found = self.texts.lock().unwrap().get(name).cloned().unwrap_or_default();
        let is_away = self.is_away.load(Ordering::Relaxed);
        let answer = if is_away {
            Err(DnsError::Slow)
        } else {
            Ok(found.into_iter().map(String::into_bytes).collect())
        };
        Box::pin(std::future::ready(answer))
    }
}

pub struct Node {
    pub dir: TempDir,
    pub disk: Arc<FailingDisk>,
    pub health: Health,
    pub registry: Arc<EmbeddedRegistry>,
    pub admin: String,
    pub clock_ms: Arc<AtomicI64>,
    pub is_current: Arc<AtomicBool>,
    pub names: Arc<Names>,
    handle: Mutex<Option<ApiHandle>>,
    pub address: std::net::SocketAddr,
    shutdown: CancellationToken,
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status, code and field of a problem, which must be whole.
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let json = self.json();
        problem(&json, Some(self.status))
    }
}

/// Status, code and field of a problem, which must be whole.
pub fn problem(json: &Value, status: Option<u16>) -> (u16, String, String) {
    let code = json["code"].as_str().unwrap();
    assert_eq!(json["type"], format!("urn:whence:problem:{code}"));
    assert!(!json["title"].as_str().unwrap().is_empty());
    assert!(!json["detail"].as_str().unwrap().is_empty());
    let own = u16::try_from(json["status"].as_u64().unwrap()).unwrap();
    assert!(status.is_none_or(|status| status == own), "{json}");
    (own, code.to_owned(), json["field"].as_str().unwrap_or_default().to_owned())
}

impl Node {
    pub async fn start() -> Node {
        Self::start_with(|_| ()).await
    }

    /// A node with the programs `demo` (referrer `ann`, link `go.example/abc` on `email`) and `other`
    /// (`bob`, `go.example/xyz`).
    pub async fn start_with(change: impl FnOnce(&mut ApiSettings)) -> Node {
        Node::start_for(change, Callers::default()).await
    }

    /// A node with these shares of its callers' networks.
    pub async fn start_for(change: impl FnOnce(&mut ApiSettings), callers: Callers) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings::defaults::<ApiSettings>().unwrap();
        settings.api_listen = "127.0.0.1:0".parse().unwrap();
        change(&mut settings);
        let clock_ms = Arc::new(AtomicI64::new(NOW.0));
        let ticking = Arc::clone(&clock_ms);
        let clock: whence_ingest::registry::Clock = Arc::new(move || UnixMs(ticking.load(Ordering::Relaxed)));
        let file = dir.path().join("registry.redb");
        let registry = Arc::new(EmbeddedRegistry::open(&file, Arc::clone(&clock)).unwrap());
        let disk = Arc::new(FailingDisk::default());
        let journal = GroupCommitConfig {
            journal: JournalConfig {
                dir: dir.path().join("conversions"),
                segment_bytes: 1 << 20,
                quota: Quota::bytes(64 << 20),
            },
            waiting_bytes_max: 8 << 20,
            segment_age: std::time::Duration::MAX,
        };
        let journal = GroupCommit::open_with(journal, Arc::<FailingDisk>::clone(&disk)).unwrap();
        let admin = ensure_admin_key(dir.path(), settings.api_admin_key.as_ref()).unwrap();
        let shown = admin.shown.as_ref().map(|key| key.expose_secret().to_owned()).unwrap_or_default();
        let health = Health::new();
        let names = Arc::new(Names::default());
        let is_current = Arc::new(AtomicBool::new(true));
        let parts = Parts {
            registry: Arc::new(Following {
                inner: Arc::clone(&registry),
                is_current: Arc::clone(&is_current),
            }),
            keys: Arc::new(arc_swap::ArcSwap::from_pointee(ring(KEY_IDS[0], &KEY_IDS))),
            identity: IdentityHasher::new(&[3; 32]),
            addresses: AddressHasher::new(&[4; 32]),
            secrets: Arc::new(NamedSecrets::parse(super::webhooks::SECRETS).unwrap()),
            journal: Arc::new(journal),
            reach: whence_schemas::outgoing::Reach::Public,
            admin,
            key_uses: Arc::default(),
            names: Arc::<Names>::clone(&names),
            clock,
            health: health.clone(),
            callers,
        };
        let shutdown = CancellationToken::new();
        let handle = api::start(settings, parts, shutdown.clone()).await.unwrap();
        let address = handle.local_addr;
        let node = Node {
            dir,
            disk,
            health,
            registry,
            admin: shown,
            clock_ms,
            is_current,
            names,
            handle: Mutex::new(Some(handle)),
            address,
            shutdown,
        };
        node.fill().await;
        node
    }

    async fn fill(&self) {
        use super::node::demo::{link, program, referrer};
        use whence_ingest::registry::Change::{CreateLink, CreateReferrer, PutProgram};
        let changes = vec![
            PutProgram(program("demo")),
            PutProgram(program("other")),
            CreateReferrer(referrer("demo", "ann")),
            CreateReferrer(referrer("other", "bob")),
            CreateLink(link("demo", "abc", "ann")),
            CreateLink(link("other", "xyz", "bob")),
        ];
        for outcome in self.registry.write(changes).await.unwrap() {
            outcome.unwrap();
        }
    }

    /// Sends a request as the admin.
    pub async fn send(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let key = format!("authorization: Bearer {}", self.admin);
        self.send_as(method, path, &[&key], body).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body.to_string()).await
    }

    /// Sends a request with these header lines and no others than it needs. The answer is one that the
    /// OpenAPI document names.
    pub async fn send_as(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let body = body.into();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        head.extend(headers.iter().flat_map(|header| [*header, "\r\n"]));
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let answer = self.send_raw(&[head.as_bytes(), &body].concat()).await;
        super::document::check(method, path, &answer);
        answer
    }

    /// Sends bytes and reads to the end of the connection, which the answer must say.
    pub async fn send_raw(&self, request: &[u8]) -> Answer {
        self.send_on(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    /// The same on this connection.
    pub async fn send_on(&self, mut stream: TcpStream, request: &[u8]) -> Answer {
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        // A body that is refused unread may break the connection after the answer.
        let writing = async { writer.write_all(request).await.ok() };
        let reading = async { reader.read_to_end(&mut answer).await.ok() };
        tokio::join!(writing, reading);
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.into(), value.into()));
        Answer { status, headers: lines.filter_map(header).collect(), text: body.to_owned() }
    }

    pub fn journal_dir(&self) -> PathBuf {
        self.dir.path().join("conversions")
    }

    /// Every event that the journal shows to a reader now.
    pub fn events(&self) -> Vec<Event> {
        self.records().iter().map(|record| event::decode(record).unwrap()).collect()
    }

    pub fn records(&self) -> Vec<Vec<u8>> {
        let mut reader = Reader::open(self.journal_dir(), None);
        let mut records = Vec::new();
        loop {
            let mut batch = Vec::new();
            let outcome = reader.read(10_000, 64 << 20, &mut batch).unwrap();
            let done = batch.is_empty() && outcome.caught_up;
            for record in batch {
                match record.payload {
                    Payload::Intact(payload) => records.push(payload.to_vec()),
                    Payload::Corrupt { .. } => panic!("corrupt record"),
                }
            }
            if done {
                return records;
            }
        }
    }

    /// Makes an API key and returns it as a header line.
    pub async fn key(&self, body: Value) -> String {
        let answer = self.post("/v1/keys", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        format!("authorization: Bearer {}", answer.json()["key"].as_str().unwrap())
    }

    pub async fn stop(&self) {
        self.shutdown.cancel();
        let handle = self.handle.lock().unwrap().take().unwrap();
        assert_eq!(handle.stopped().await.cut, 0);
    }
}

/// A key ring; every key is made of its own id.
pub fn ring(minting: u8, ids: &[u8]) -> KeyRing {
    let keys: Vec<_> = ids.iter().map(|id| (*id, [*id; 32])).collect();
    KeyRing::new(minting, &keys).unwrap()
}

/// A token of a click on `go.example/CODE`, `age_ms` before [`NOW`].
pub fn token(ring: &KeyRing, code: &str, channel: &str, age_ms: i64) -> String {
    let token = ClickToken {
        click: ClickId::mint(NOW.plus_ms(-age_ms), &[9; 10], true),
        link: LinkNumber::of(&format!("go.example/{code}")),
        channel: ChannelNumber::of(channel),
    };
    ring.mint(&token, &mut [0; TEXT_LEN]).to_owned()
}

/// A token that the node accepts.
pub fn good_token() -> String {
    token(&ring(1, &[1]), "abc", "email", 1000)
}

/// A lead that is accepted, with these fields changed; `null` takes one away.
pub fn lead(changes: Value) -> Value {
    let lead = json!({"type": "lead", "program": "demo", "id": "lead-1", "lead": "l1"});
    changed(lead, changes)
}

pub fn qualification(changes: Value) -> Value {
    let body =
        json!({"type": "qualification", "program": "demo", "id": "q-1", "lead": "l1", "name": "purchase"});
    changed(body, changes)
}

/// An event of this kind with these fields and an id.
pub fn event_of(kind: &str, fields: Value) -> Value {
    changed(json!({"type": kind, "program": "demo", "id": format!("{kind}-1")}), fields)
}

/// The event under an id that no other has: it may say what it wants.
pub fn of_its_own(event: Value) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    changed(event, json!({"id": format!("own-{}", NEXT.fetch_add(1, Ordering::Relaxed))}))
}

pub fn changed(mut event: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        event[name] = value;
    }
    event
}

pub fn small_body(settings: &mut ApiSettings) {
    settings.api_body_bytes_max = ByteSize::kib(4);
}

mod demo {
    use super::WINDOW_MS;
    use whence_schemas::event::{AttributionModel, AttributionRule, ConsentMode, Link, Program, Referrer};

    pub fn program(id: &str) -> Program {
        Program {
            id: id.into(),
            destination_hosts: vec!["shop.example".into()],
            link_hosts: if id == "demo" { vec!["go.example".into()] } else { Vec::new() },
            channels: vec!["email".into(), "whatsapp".into()],
            rule: Some(AttributionRule {
                model: AttributionModel::FirstTouch.into(),
                window_ms: WINDOW_MS.unsigned_abs(),
                ..AttributionRule::default()
            }),
            consent: ConsentMode::None.into(),
            ..Program::default()
        }
    }

    pub fn referrer(program: &str, id: &str) -> Referrer {
        Referrer { program: program.into(), id: id.into(), ..Referrer::default() }
    }

    pub fn link(program: &str, code: &str, referrer: &str) -> Link {
        Link {
            host: "go.example".into(),
            code: code.into(),
            program: program.into(),
            referrer: referrer.into(),
            channel: "email".into(),
            destination: "https://shop.example/".into(),
            ..Link::default()
        }
    }
}

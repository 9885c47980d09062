//! A receiver of webhooks.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use jsonschema::Validator;
use serde_json::{Value, json};
use whence_ingest::webhooks::{Delivery, Provider};
use whence_schemas::event::WebhookSource;
use whence_schemas::time::UnixMs;

use super::{kill, until};

/// A webhook as it came.
#[derive(Clone)]
pub struct Hook {
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    pub body: Value,
}

/// The document of the API, which says what is sent, too.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/json/openapi.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
});

fn described() -> &'static Value {
    &DOCUMENT["components"]["schemas"]["Message"]
}

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schemas = &DOCUMENT["components"]["schemas"];
    let whole = json!({ "allOf": [described()], "components": { "schemas": schemas } });
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
    options.should_validate_formats(true).build(&whole).unwrap()
});

impl Hook {
    /// Fails unless the document describes its body, to the last field.
    fn check(&self) {
        let errors: Vec<String> = VALIDATOR.iter_errors(&self.body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {}", self.body);
        let fits = |schema: &&Value| {
            let types = schema["properties"]["type"]["enum"].as_array();
            types.is_some_and(|types| types.contains(&self.body["type"]))
        };
        let target = |reference: &Value| reference["$ref"].as_str().unwrap()[1..].to_owned();
        let mut messages = described()["oneOf"].as_array().unwrap().iter().map(target);
        let described = messages.find_map(|target| DOCUMENT.pointer(&target).filter(fits)).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&self.body["data"]), names(&described["properties"]["data"]["properties"]));
    }

    /// By whence's own reader of Standard Webhooks.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let at: i64 = self.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let delivery = Delivery {
            method: "POST",
            uri: Cow::Borrowed("/hook"),
            query: None,
            headers: &self.headers,
            body: &self.raw,
            now: UnixMs(at * 1000),
        };
        let source = WebhookSource::default();
        Provider::StandardWebhooks.verify(&delivery, &source, &[secret.as_bytes()]).is_ok()
    }

    /// The id of its message.
    pub fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }
}

/// What a receiver was sent, and how it behaves; outlives it, so that another can take its place.
#[derive(Default)]
pub struct Taken {
    hooks: Mutex<Vec<Hook>>,
    /// What is answered, except for 0, which is 200.
    pub status: AtomicU16,
    /// Bytes of each answer's body.
    pub answer_bytes: AtomicUsize,
    /// So many more are answered 503.
    pub refusals: AtomicU16,
    /// A process that is killed right after it was answered; then 0 again.
    pub victim: AtomicI32,
}

impl Taken {
    /// All that came, in order.
    pub fn all(&self) -> Vec<Hook> {
        let hooks = self.hooks.lock().unwrap().clone();
        hooks.iter().for_each(Hook::check);
        hooks
    }

    /// The messages in the order in which each came first.
    pub fn first(&self) -> Vec<Hook> {
        let mut first: Vec<Hook> = Vec::new();
        for hook in self.all() {
            if first.iter().all(|known| known.id() != hook.id()) {
                first.push(hook);
            }
        }
        first
    }

    /// Their types.
    pub fn types(&self) -> Vec<String> {
        self.first().iter().map(|hook| hook.body["type"].as_str().unwrap().to_owned()).collect()
    }
}

/// Takes webhooks on a thread, until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Receiver {
    /// At a free port.
    pub fn new(taken: &Arc<Taken>) -> Receiver {
        Receiver::at("127.0.0.1:0".parse().unwrap(), taken)
    }

    /// At this address, once it is free.
    pub fn at(address: SocketAddr, taken: &Arc<Taken>) -> Receiver {
        let listener = until("the port is free", || TcpListener::bind(address).ok());
        let (address, stop) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (Arc::clone(taken), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.and_then(|stream| take(stream, &kept));
            }
        });
        Receiver { address, stop }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// One request, answered, and the connection closed.
fn take(stream: TcpStream, taken: &Taken) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream);
    let mut headers = HeaderMap::new();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = HeaderName::try_from(name.to_ascii_lowercase()).unwrap();
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut raw = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut raw)?;
    let body = serde_json::from_slice(&raw)?;
    taken.hooks.lock().unwrap().push(Hook { headers, raw, body });
    let is_refused = taken.refusals.load(Ordering::SeqCst) > 0;
    let status = if is_refused { 503 } else { taken.status.load(Ordering::SeqCst).max(200) };
    taken.refusals.fetch_sub(u16::from(is_refused), Ordering::SeqCst);
    let said = "a".repeat(taken.answer_bytes.load(Ordering::SeqCst));
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close", said.len());
    let answer = format!("{head}\r\n\r\n{said}");
    let written = reader.into_inner().write_all(answer.as_bytes());
    let victim = taken.victim.swap(0, Ordering::SeqCst);
    if victim != 0 {
        kill(victim, libc::SIGKILL);
    }
    written
}

/// Writes a file of secrets for its owner alone.
pub fn write_secrets(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("webhook-secrets");
    super::write_private(&path, text);
    path
}

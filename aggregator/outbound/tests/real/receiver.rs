//! A receiver of webhooks that answers as it is told, and remembers what it was sent.

use hyper::{HeaderMap, Request, Response, body::Incoming, header::HeaderValue};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use whence_outbound::sign::{SigningKey, sign};
use whence_runtime::http::{Full, Limits, full, read_body, serve_http};

/// A request.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    pub body: Value,
    pub status: u16,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Type and lead id of the message.
    pub fn gist(&self) -> (String, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&self.body["type"]), text(&self.body["data"]["lead"]))
    }

    /// Whether the secret has signed it.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = SigningKey::of(secret.as_bytes()).unwrap();
        let at = self.header("webhook-timestamp").parse().unwrap();
        let expected = sign(&[key], self.header("webhook-id"), at, &self.raw);
        self.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}

/// What is answered: a status, `Retry-After`, and after how long.
#[derive(Clone, Copy, Debug)]
pub struct Answer(pub u16, pub Option<u64>, pub Duration);

pub fn status(status: u16) -> Answer {
    Answer(status, None, Duration::ZERO)
}

type Decide = dyn Fn(&Received, usize) -> Answer + Send + Sync;

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: CancellationToken,
}

impl Receiver {
    /// Answers each request by what it is and how often this message came to this path before.
    pub async fn start(decide: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let (kept, decide): (_, Arc<Decide>) = (Arc::clone(&received), Arc::new(decide));
        let handler = move |request| answer(request, Arc::clone(&kept), Arc::clone(&decide));
        tokio::spawn(serve_http(listener, Limits::named("receiver"), handler, stop.clone()));
        Receiver { address, received, stop }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that came to this path, in order.
    pub fn at(&self, path: &str) -> Vec<Received> {
        self.received.lock().unwrap().iter().filter(|one| one.path == path).cloned().collect()
    }

    /// What was taken at this path, as type and lead id.
    pub fn taken(&self, path: &str) -> Vec<(String, String)> {
        self.at(path).iter().filter(|one| one.status < 300).map(Received::gist).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if Arc::strong_count(&self.received) <= 2 {
            self.stop.cancel();
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Received>>>,
    decide: Arc<Decide>,
) -> Response<Full> {
    let (head, body) = request.into_parts();
    let raw = read_body(body, 1 << 20, Duration::from_secs(5)).await.unwrap().to_vec();
    let body = serde_json::from_slice(&raw).unwrap();
    let path = head.uri.path().to_owned();
    let mut received = Received { path, headers: head.headers, raw, body, status: 0 };
    let answer = {
        let mut kept = kept.lock().unwrap();
        let is_same = |other: &&Received| {
            other.path == received.path && other.header("webhook-id") == received.header("webhook-id")
        };
        let answer = decide(&received, kept.iter().filter(is_same).count());
        received.status = answer.0;
        kept.push(received);
        answer
    };
    tokio::time::sleep(answer.2).await;
    let mut response = Response::new(full("thank you"));
    *response.status_mut() = answer.0.try_into().unwrap();
    if let Some(seconds) = answer.1 {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    if answer.0 == 302 {
        response.headers_mut().insert("location", HeaderValue::from_static("/elsewhere"));
    }
    response
}

//! Who has a place on a plain listener when there are more connections than places. Networks are /24s of
//! 127.0.0.0/8.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whence_runtime::http::{Full, Limits, full, serve_http};

/// Long enough for a loaded machine; no test passes by waiting for it.
const DEADLINE: Duration = Duration::from_secs(240);

struct Server {
    address: SocketAddr,
    /// Lets `/wait` answer.
    release: Arc<Notify>,
    /// Told when `/wait` has begun.
    begun: Arc<Notify>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (release, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (release, begun) = (Arc::clone(&release), Arc::clone(&begun));
            move |request| answer(request, Arc::clone(&release), Arc::clone(&begun))
        };
        tokio::spawn(serve_http(listener, limits, handler, CancellationToken::new()));
        Self { address, release, begun }
    }

    /// A connection from the network `127.NETWORK.0.0/24`.
    async fn connect(&self, network: u8) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, network, 0, 1], 0))).unwrap();
        Client(socket.connect(self.address).await.unwrap())
    }
}

async fn answer(request: Request<Incoming>, release: Arc<Notify>, begun: Arc<Notify>) -> Response<Full> {
    if request.uri().path() == "/wait" {
        begun.notify_one();
        release.notified().await;
    }
    Response::new(full("done"))
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Until an answer is whole, or the connection ends (`None`).
    async fn answer(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"done") {
            let mut chunk = [0; 1024];
            match timeout(DEADLINE, self.0.read(&mut chunk)).await.expect("an answer, or the end") {
                Ok(0) => return None,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                read => bytes.extend_from_slice(&chunk[..read.unwrap()]),
            }
        }
        Some(String::from_utf8(bytes).unwrap())
    }

    async fn ask(&mut self) -> Option<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.ok()?;
        self.answer().await
    }
}

#[tokio::test]
async fn a_newcomer_has_the_place_of_who_has_been_idle_longest() {
    let limits = Limits { connections_max: 3, share_percent: 100, ..Limits::named("test") };
    let server = Server::start(limits).await;
    let mut clients = Vec::new();
    for network in 1..=3 {
        let mut client = server.connect(network).await;
        assert!(client.ask().await.is_some());
        clients.push(client);
    }
    assert!(clients[0].ask().await.is_some());
    assert!(server.connect(4).await.ask().await.is_some());
    assert_eq!(clients[1].answer().await, None, "it was idle longest");
    assert!(clients[0].ask().await.is_some() && clients[2].ask().await.is_some());
}

#[tokio::test]
async fn who_has_begun_to_ask_goes_after_the_idle_ones() {
    let limits = Limits { connections_max: 2, share_percent: 100, ..Limits::named("test") };
    let server = Server::start(limits).await;
    let mut slow = server.connect(1).await;
    assert!(slow.ask().await.is_some());
    slow.send("GET / HTTP/1.1\r\nho").await;
    let mut idle = server.connect(2).await;
    assert!(idle.ask().await.is_some(), "what came before is read by now");
    assert!(server.connect(3).await.ask().await.is_some());
    assert_eq!(idle.answer().await, None);
    slow.send("st: localhost\r\n\r\n").await;
    assert!(slow.answer().await.is_some());
}

#[tokio::test]
async fn who_is_being_answered_stays() {
    let limits = Limits { connections_max: 2, share_percent: 100, ..Limits::named("test") };
    let server = Server::start(limits).await;
    let (mut one, mut other) = (server.connect(1).await, server.connect(2).await);
    for client in [&mut one, &mut other] {
        client.send("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        server.begun.notified().await;
    }
    let mut refused = server.connect(3).await;
    let mut refusal = String::new();
    let _ = refused.0.read_to_string(&mut refusal).await;
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    for client in [&mut one, &mut other] {
        server.release.notify_one();
        assert!(client.answer().await.is_some());
    }
}

#[tokio::test]
async fn a_network_beyond_its_share_takes_nothing_from_the_others() {
    let limits = Limits { connections_max: 40, share_percent: 25, ..Limits::named("test") };
    let server = Server::start(limits).await;
    let mut others = Vec::new();
    for network in 1..=20 {
        let mut client = server.connect(network).await;
        assert!(client.ask().await.is_some());
        others.push(client);
    }
    let mut flood = Vec::new();
    for _ in 0..100 {
        let mut client = server.connect(99).await;
        assert!(client.ask().await.is_some(), "its own oldest one goes");
        flood.push(client);
    }
    for other in &mut others {
        assert!(other.ask().await.is_some());
    }
    let mut left = 0;
    for client in &mut flood {
        left += usize::from(client.ask().await.is_some());
    }
    assert_eq!(left, 10);
}

#[tokio::test]
async fn a_proxys_connections_are_never_closed_for_others() {
    let proxies = vec!["127.9.0.0/16".parse().unwrap()];
    let limits = Limits { connections_max: 8, proxies, ..Limits::named("test") };
    let server = Server::start(limits).await;
    let mut proxy = Vec::new();
    for _ in 0..6 {
        let mut client = server.connect(9).await;
        assert!(client.ask().await.is_some());
        proxy.push(client);
    }
    for network in 20..40 {
        assert!(server.connect(network).await.ask().await.is_some());
    }
    for client in &mut proxy {
        assert!(client.ask().await.is_some());
    }
}

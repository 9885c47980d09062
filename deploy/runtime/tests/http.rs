//! The server's limits, seen as bytes on a socket.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whence_runtime::http::{BodyError, Drained, Full, Limits, Peer, empty, full, read_body, serve_http};
use whence_runtime::telemetry::{BuildInfo, Metrics};

/// Long enough for a loaded machine; no test passes by waiting for it.
const DEADLINE: Duration = Duration::from_secs(240);

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    /// Lets `/wait` answer.
    release: Arc<Notify>,
    /// Told when `/wait` has begun.
    begun: Arc<Notify>,
    serving: JoinHandle<Drained>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (release, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (release, begun) = (Arc::clone(&release), Arc::clone(&begun));
            move |request| answer(request, Arc::clone(&release), Arc::clone(&begun))
        };
        let serving = tokio::spawn(serve_http(listener, limits, handler, shutdown.clone()));
        Self { address, shutdown, release, begun, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn drained(self) -> Drained {
        self.shutdown.cancel();
        timeout(DEADLINE, self.serving).await.expect("the server stops").unwrap()
    }
}

async fn answer(request: Request<Incoming>, release: Arc<Notify>, begun: Arc<Notify>) -> Response<Full> {
    match request.uri().path() {
        "/peer" => {
            let peer = request.extensions().get::<Peer>().expect("every request has one");
            Response::new(full(peer.0.to_string()))
        }
        "/wait" => {
            begun.notify_one();
            release.notified().await;
            Response::new(full("released"))
        }
        "/panic" => panic!("on purpose"),
        "/body" => match read_body(request.into_body(), 8, Duration::from_millis(200)).await {
            Ok(bytes) => Response::new(full(bytes)),
            Err(BodyError::TooLarge { .. }) => status(StatusCode::PAYLOAD_TOO_LARGE),
            Err(BodyError::TooSlow { .. }) => status(StatusCode::REQUEST_TIMEOUT),
            Err(BodyError::Broken(_)) => status(StatusCode::BAD_REQUEST),
        },
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn status(code: StatusCode) -> Response<Full> {
    let mut response = Response::new(empty());
    *response.status_mut() = code;
    response
}

/// Everything until the server closes; a reset ends it too.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8(bytes).unwrap()
}

/// Reads until `end` has been seen, leaving the connection open.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).ends_with(end) {
        let mut chunk = [0; 1024];
        let read = timeout(DEADLINE, stream.read(&mut chunk)).await.expect("the server answers").unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

async fn exchange(server: &Server, request: &str) -> String {
    let mut stream = server.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// As [`exchange`], by a client that writes on for a while after its answer is there, and reads it only then.
async fn exchange_stubbornly(server: &Server, request: &str) -> String {
    let mut stream = server.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    for _ in 0..20 {
        stream.write_all(b"more").await.expect("no reset");
    }
    stream.shutdown().await.expect("no reset");
    rest(&mut stream).await
}

#[tokio::test]
async fn a_request_sees_its_peer_and_a_connection_is_kept() {
    let server = Server::start(Limits::named("test")).await;
    let mut stream = server.connect().await;
    let mine = stream.local_addr().unwrap().to_string();
    for _ in 0..2 {
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let answer = until(&mut stream, &mine).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_client_without_a_place_is_told_to_come_back() {
    let server = Server::start(Limits { connections_max: 1, ..Limits::named("test") }).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    let refusal = rest(&mut server.connect().await).await;
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("retry-after: 1"), "{refusal}");
    server.release.notify_one();
    until(&mut first, "released").await;
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_place_is_free_again_after_its_connection_ended() {
    let server = Server::start(Limits { connections_max: 1, ..Limits::named("test") }).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    for _ in 0..3 {
        // The place is given back a moment after the client sees the end: poll.
        loop {
            let answer = exchange(&server, "GET /peer HTTP/1.1\r\nconnection: close\r\n\r\n").await;
            if answer.starts_with("HTTP/1.1 200") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{answer}");
        }
    }
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_head_that_never_ends_and_an_idle_connection_are_closed() {
    let limits = Limits { head_timeout: Duration::from_millis(50), ..Limits::named("test") };
    let server = Server::start(limits).await;
    assert_eq!(exchange(&server, "").await, "");
    assert!(!exchange(&server, "GET /peer HTT").await.contains("200 OK"));
    let idle = exchange(&server, "GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_its_answer_however_much_of_it_comes() {
    let server = Server::start(Limits { head_bytes_max: 8192, ..Limits::named("test") }).await;
    for bytes in [8192, 10_000, 100_000, 500_000] {
        for request in [
            format!("GET /peer HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(bytes)),
            format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "y".repeat(bytes)),
            "y".repeat(bytes),
        ] {
            let answer = exchange_stubbornly(&server, &request).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{bytes} {answer}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_its_answer_however_much_of_it_comes() {
    let server = Server::start(Limits::named("test")).await;
    for bytes in [9, 100_000, 500_000] {
        let body = "y".repeat(bytes);
        let request = format!("POST /body HTTP/1.1\r\ncontent-length: {bytes}\r\n\r\n{body}");
        let answer = exchange_stubbornly(&server, &request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{bytes} {answer:?}");
    }
}

#[tokio::test]
async fn a_refused_client_that_never_stops_writing_is_cut() {
    let server = Server::start(Limits { connections_max: 1, ..Limits::named("test") }).await;
    let mut stream = server.connect().await;
    let mut written = 0;
    let chunk = [b'y'; 4096];
    while timeout(DEADLINE, stream.write_all(&chunk)).await.expect("cut, not stuck").is_ok() {
        written += chunk.len();
        assert!(written < 16 << 20, "taken from a client that was refused");
    }
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_client_that_ends_its_side_after_its_request_is_answered() {
    let server = Server::start(Limits::named("test")).await;
    for _ in 0..200 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    }
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    stream.shutdown().await.unwrap();
    // The server has had the time to see the end.
    assert!(exchange(&server, "GET /peer HTTP/1.1\r\nconnection: close\r\n\r\n").await.contains("200 OK"));
    server.release.notify_one();
    assert!(rest(&mut stream).await.ends_with("released"));
}

#[tokio::test]
async fn refusals_by_the_parser_are_counted_by_reason() {
    let build = BuildInfo { version: "0", revision: "0", role: "test" };
    let metrics = Metrics::install(build).expect("the only test that does");
    let limits = Limits { head_timeout: Duration::from_millis(50), ..Limits::named("counted") };
    let server = Server::start(limits).await;
    for (reason, request) in [
        ("head_too_large", "y".repeat(20_000)),
        ("malformed", "GET /<> HTTP/1.1\r\n\r\n".to_owned()),
        ("http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("too_slow", "GET /peer HTT".to_owned()),
    ] {
        exchange(&server, &request).await;
        let line = format!("whence_http_heads_refused_total{{listener=\"counted\",reason=\"{reason}\"}} 1");
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !metrics.render().contains(&line) {
            assert!(tokio::time::Instant::now() < deadline, "{line}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn an_old_connection_is_closed_after_the_request_in_hand() {
    let limits = Limits { connection_age_max: Duration::from_millis(50), ..Limits::named("test") };
    let server = Server::start(limits).await;
    assert_eq!(exchange(&server, "").await, "");
}

#[tokio::test]
async fn an_old_connection_with_a_stuck_request_is_cut() {
    let limit = Duration::from_millis(50);
    let limits = Limits { connection_age_max: limit, drain_timeout: limit, ..Limits::named("test") };
    let server = Server::start(limits).await;
    assert_eq!(exchange(&server, "GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await, "");
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let server = Server::start(Limits::named("test")).await;
    let close = "host: localhost\r\nconnection: close\r\n";
    for (request, expected) in [
        (format!("POST /body HTTP/1.1\r\n{close}content-length: 8\r\n\r\n12345678"), "200"),
        (format!("POST /body HTTP/1.1\r\n{close}content-length: 9\r\n\r\n"), "413"),
        (
            format!(
                "POST /body HTTP/1.1\r\n{close}transfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n"
            ),
            "413",
        ),
        (format!("POST /body HTTP/1.1\r\n{close}content-length: 8\r\n\r\n1234"), "408"),
        (format!("POST /body HTTP/1.1\r\n{close}transfer-encoding: chunked\r\n\r\nzz\r\n"), "400"),
    ] {
        let answer = exchange(&server, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{request:?} got {answer:?}");
    }
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    let server = Server::start(Limits { connections_max: 1, ..Limits::named("test") }).await;
    assert_eq!(exchange(&server, "GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n").await, "");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !exchange(&server, "GET /peer HTTP/1.1\r\nconnection: close\r\n\r\n").await.contains("200 OK") {
        assert!(tokio::time::Instant::now() < deadline, "the place of the panicked connection is lost");
    }
}

#[tokio::test]
async fn a_drain_finishes_the_request_in_hand_and_accepts_no_other() {
    let server = Server::start(Limits::named("test")).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    server.shutdown.cancel();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while TcpStream::connect(server.address).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "still accepting");
        tokio::task::yield_now().await;
    }
    server.release.notify_one();
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("released"), "{answer}");
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_ends_idle_connections_at_once() {
    let limits = Limits { drain_timeout: DEADLINE * 10, ..Limits::named("test") };
    let server = Server::start(limits).await;
    let mut idle = server.connect().await;
    let mine = idle.local_addr().unwrap().to_string();
    idle.write_all(b"GET /peer HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    until(&mut idle, &mine).await;
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_cuts_what_does_not_finish_in_time() {
    let limits = Limits { drain_timeout: Duration::from_millis(50), ..Limits::named("test") };
    let server = Server::start(limits).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    assert_eq!(server.drained().await, Drained { cut: 1 });
    assert_eq!(rest(&mut stream).await, "", "cut, not answered");
}

#[tokio::test]
async fn a_local_listener_answers_no_foreign_name_and_no_other_sites_page() {
    let server =
        Server::start(Limits { hosts: vec!["api.shop.example".to_owned()], ..Limits::named("test") }).await;
    let own = server.address;
    for (headers, status) in [
        (format!("host: {own}\r\n"), "200"),
        ("host: localhost\r\n".to_owned(), "200"),
        ("host: api.shop.example\r\n".to_owned(), "200"),
        (format!("host: {own}\r\norigin: http://{own}\r\n"), "200"),
        ("host: evil.example\r\n".to_owned(), "421"),
        (format!("host: {own}\r\norigin: https://evil.example\r\n"), "403"),
        (format!("host: {own}\r\nsec-fetch-site: cross-site\r\n"), "403"),
    ] {
        let answer =
            exchange(&server, &format!("GET /peer HTTP/1.1\r\n{headers}connection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{answer}");
    }
    assert_eq!(server.drained().await, Drained { cut: 0 });
}

//! The operator's port, as a probe and a scraper see it.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusRecorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use whence_runtime::admin;
use whence_runtime::health::Health;
use whence_runtime::telemetry::{BuildInfo, Metrics};

const BUILD: BuildInfo = BuildInfo { version: "1.2.3", revision: "abc", role: "ingest" };

async fn start(health: &Health) -> (SocketAddr, CancellationToken, PrometheusRecorder) {
    let (metrics, recorder) = Metrics::detached(BUILD).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(admin::serve(listener, Vec::new(), health.clone(), metrics, shutdown.clone()));
    (address, shutdown, recorder)
}

async fn request(address: SocketAddr, line: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn readiness_is_503_with_the_reason_until_everything_is_ready() {
    let health = Health::new();
    let kafka = health.component("ingest.kafka");
    health.component("journal").ready();
    let (address, _shutdown, _recorder) = start(&health).await;

    kafka.not_ready("no broker answers");
    let (head, body) = request(address, "GET /readyz").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // A slow machine may have taken a second or two.
    assert_eq!(
        ["1", "2", "3"]
            .iter()
            .fold(body, |body, n| body.replace(&format!("\"seconds\":{n}"), "\"seconds\":0")),
        concat!(
            r#"{"ready":false,"degraded":true,"draining":false,"components":["#,
            r#"{"name":"ingest.kafka","ready":false,"required":true,"seconds":0,"reason":"no broker answers"},"#,
            r#"{"name":"journal","ready":true,"required":true,"seconds":0}]}"#
        )
    );

    kafka.ready();
    let (head, _) = request(address, "GET /readyz").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"), "{head}");

    health.drain();
    let (head, body) = request(address, "GET /readyz").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && body.contains(r#""draining":true"#), "{head} {body}");
}

#[tokio::test]
async fn liveness_does_not_depend_on_readiness() {
    let health = Health::new();
    health.component("kafka").not_ready("away");
    let (address, _shutdown, _recorder) = start(&health).await;
    let (head, body) = request(address, "GET /livez").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, r#"{"live":true,"stalled":[]}"#);
}

#[tokio::test]
async fn a_stalled_loop_is_named_by_liveness() {
    let health = Health::new();
    let _heartbeat = health.heartbeat("partition 0", Duration::ZERO);
    let (address, _shutdown, _recorder) = start(&health).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let (head, body) = request(address, "GET /livez").await;
        if head.starts_with("HTTP/1.1 503 ") {
            assert!(body.contains(r#""name":"partition 0""#), "{body}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{head}");
    }
}

#[tokio::test]
async fn metrics_are_exposition_text_with_build_and_process() {
    let (address, _shutdown, recorder) = start(&Health::new()).await;
    metrics::with_local_recorder(&recorder, || metrics::counter!("whence_test_events_total").increment(3));
    let (head, body) = request(address, "GET /metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for expected in [
        "# TYPE whence_test_events_total counter\nwhence_test_events_total 3\n",
        "# TYPE whence_build_info gauge\nwhence_build_info{version=\"1.2.3\",revision=\"abc\",role=\"ingest\"} 1\n",
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ",
        "# TYPE process_open_fds gauge\nprocess_open_fds ",
    ] {
        assert!(body.contains(expected), "no {expected:?} in {body}");
    }
}

#[tokio::test]
async fn head_has_no_body_and_everything_else_is_refused() {
    let (address, _shutdown, _recorder) = start(&Health::new()).await;
    let (head, body) = request(address, "HEAD /livez").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head} {body}");
    let (head, _) = request(address, "POST /livez").await;
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"), "{head}");
    let (head, _) = request(address, "GET /").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

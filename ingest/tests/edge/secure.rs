//! Clicks over TLS, by HTTP/1.1 and HTTP/2.

use crate::{harness::*, tls_support::*};
use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::TlsConnector;
use whence_schemas::event::{ConsentMode, Link, Program};

const HTTP_1: &[&[u8]] = &[b"http/1.1"];
const HTTP_2: &[&[u8]] = &[b"h2"];

#[test]
fn a_click_over_tls_is_recorded_as_any_other() {
    let (edge, pair) = secured(|_| {});
    for protocols in [HTTP_1, &[], &[b"http/1.0", b"http/1.1"]] {
        let mut stream = edge.shake_hands(&client(&[&pair], protocols), "go.example").unwrap();
        for _ in 0..2 {
            stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
            let reply = Reply::read(&mut stream, false);
            assert_eq!(reply.status(), 302);
            let click = edge.clicks().pop().unwrap();
            assert_eq!(
                (&*click.id, click.link.as_str()),
                (&reply.token().click.0.as_bytes()[..], "go.example/abc")
            );
        }
    }
    edge.get("/abc", &[]);
    let clicks = edge.clicks();
    assert_eq!(clicks.len(), 7);
    assert_eq!(clicks[0].address, clicks[6].address, "the plain listener is there, too");
}

#[test]
fn what_holds_for_http_1_holds_over_tls() {
    let (edge, pair) = secured(|config| config.head_bytes_max = 8192);
    edge.put_link(Link { passthrough: true, ..abc() });
    let config = client(&[&pair], HTTP_1);
    let talk = |request: &str| {
        let mut stream = edge.shake_hands(&config, "go.example").unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        // The client ends its side, unless the edge has been quicker.
        stream.conn.send_close_notify();
        let _ = stream.flush().and_then(|()| stream.sock.shutdown(std::net::Shutdown::Write));
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    let pipeline = get("/abc?q=<\"{|}\\^`>", &[]).repeat(100);
    let text = talk(&pipeline);
    assert_eq!(text.matches("q=%3C%22%7B%7C%7D%5C%5E%60%3E&").count(), 100, "{text}");
    for bytes in [8192, 100_000, 500_000] {
        let text = talk(&get("/abc", &[&format!("X: {}", "x".repeat(bytes))]));
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
    let text = talk(&format!(
        "GET /abc HTTP/1.1\r\nHost: go.example\r\nContent-Length: 3\r\n\r\nabc{}",
        get("/abc", &[])
    ));
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1);
    for _ in 0..100 {
        assert!(talk(&get("/abc", &[])).starts_with("HTTP/1.1 302 "));
    }
}

#[test]
fn a_cookie_that_is_given_over_tls_stays_there() {
    let (edge, pair) = secured(|config| config.cookie.is_secure = false);
    edge.put_program(Program { consent: ConsentMode::Cookie.into(), ..demo() });
    let mut stream = edge.shake_hands(&client(&[&pair], HTTP_1), "go.example").unwrap();
    stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
    let secure = Reply::read(&mut stream, false);
    assert!(secure.header("set-cookie").unwrap().ends_with("; SameSite=Lax; Secure"));
    assert!(edge.get("/abc", &[]).header("set-cookie").unwrap().ends_with("; SameSite=Lax"));
}

#[test]
fn many_clicks_on_one_connection_of_http_2_are_clicks() {
    let (edge, pair) = secured(|_| {});
    let answered = block_on(async {
        let stream = tokio::net::TcpStream::connect(edge.secure.unwrap()).await.unwrap();
        let connector = TlsConnector::from(client(&[&pair], HTTP_2));
        let stream = connector.connect("go.example".try_into().unwrap(), stream).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let talking = async {
            let mut answered = Vec::new();
            for (target, status) in
                [("/abc", 302), ("/abc?c=qr", 302), ("/nope", 404), ("/a/b", 404)].repeat(50)
            {
                client = client.ready().await.unwrap();
                let uri = format!("https://go.example{target}");
                let request = hyper::Request::get(uri).header("user-agent", BROWSER).body(()).unwrap();
                let (response, _) = client.send_request(request, true).unwrap();
                let response = response.await.unwrap();
                assert_eq!(response.status(), status, "{target}");
                assert_eq!(response.headers().get("connection"), None);
                answered.extend(response.headers().get("location").cloned());
            }
            drop(client);
            answered
        };
        let (answered, ended) = tokio::join!(talking, connection);
        ended.unwrap();
        answered
    });
    assert_eq!(answered.len(), 100);
    // A code that is not known is a click as well.
    let clicks = edge.clicks();
    assert_eq!(clicks.len(), 200);
    assert_eq!(
        clicks.iter().filter(|click| click.channel == "qr").count(),
        0,
        "the link does not let it be chosen"
    );
}

#[test]
fn a_connection_of_http_2_without_a_request_is_closed_in_time() {
    let (edge, pair) = secured(|config| config.head_timeout = Duration::from_millis(50));
    let before = counted_plain("whence_edge_connections_silent_total");
    let mut stream = edge.shake_hands(&client(&[&pair], HTTP_2), "go.example").unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.windows(5).any(|frame| frame == b"\0\0\x08\x07\0"), "GOAWAY in {bytes:?}");
    assert!(counted_plain("whence_edge_connections_silent_total") > before);
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up_and_counted() {
    let (edge, _) = secured(|config| {
        config.head_timeout = Duration::from_millis(100);
        config.connections_max = 2;
    });
    let slow = "reason=\"too_slow\"";
    let before = counted("whence_edge_handshakes_failed_total", slow);
    let mut silent = edge.connect_secure();
    let mut dripping = edge.connect_secure();
    // The start of a ClientHello, a byte at a time.
    let hello = [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];
    let mut dripped = 0;
    eventually("given up", || {
        let byte = hello.get(dripped).copied().unwrap_or_default();
        dripped += 1;
        dripping.write_all(&[byte]).is_err()
    });
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or_default(), 0);
    eventually("counted", || counted("whence_edge_handshakes_failed_total", slow) >= before + 2);
    eventually("their places are free", || edge.connect_and_get().is_ok());
}

#[test]
fn who_does_not_speak_tls_is_counted() {
    let (edge, _) = secured(|_| {});
    let before = counted("whence_edge_handshakes_failed_total", "reason=\"failed\"");
    let mut stream = edge.connect_secure();
    stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP"));
    eventually("counted", || counted("whence_edge_handshakes_failed_total", "reason=\"failed\"") > before);
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn a_stop_lets_connections_of_tls_finish() {
    let (edge, pair) = secured(|_| {});
    let config = client(&[&pair], HTTP_1);
    let mut idle = edge.shake_hands(&config, "go.example").unwrap();
    idle.write_all(get("/abc", &[]).as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut idle, false).status(), 302);
    let mut idle2 = edge.shake_hands(&client(&[&pair], HTTP_2), "go.example").unwrap();
    idle2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    drop(idle2);
    edge.shutdown.cancel();
    assert_eq!(idle.read(&mut [0; 16]).unwrap(), 0, "a farewell, not a cut");
    let dir = Arc::new(edge.dir.path().join("clicks-0"));
    assert_eq!(clicks(&dir).len(), 1);
    assert_eq!(edge.join().cut, 0);
}

/// Of a metric without labels.
pub fn counted_plain(name: &str) -> u64 {
    let name = format!("{name} ");
    let text = rendered();
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
}

impl Edge {
    fn connect_and_get(&self) -> std::io::Result<()> {
        let mut stream = self.connect();
        stream.write_all(get("/abc", &["Connection: close"]).as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        text.starts_with("HTTP/1.1 302 ").then_some(()).ok_or(std::io::ErrorKind::Other.into())
    }
}

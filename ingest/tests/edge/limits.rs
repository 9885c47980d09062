//! Clients that want too much.

use crate::harness::*;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Reads until the other end closes; a reset is an end as well.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_head_that_is_too_large_gets_its_answer_however_much_of_it_comes() {
    let edge = Edge::start_with(|config| config.head_bytes_max = 8192);
    for bytes in [8192, 9000, 20_000, 100_000, 500_000] {
        for request in [
            get("/abc", &[&format!("X-Long: {}", "x".repeat(bytes))]),
            get("/abc", &[&format!("{}: x", "x".repeat(bytes))]),
            get(&format!("/abc?{}", "x".repeat(bytes)), &[]),
            get(&format!("/{}", "x".repeat(bytes)), &[]),
            get("/abc", &vec!["X: y"; bytes / 6]),
            format!("GET /abc HTTP/1.1\r\nX: {}", "x".repeat(bytes)),
        ] {
            // A client that writes all it has before it reads.
            let mut stream = edge.connect();
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let text = read_to_end(&mut stream);
            assert!(text.starts_with("HTTP/1.1 431 "), "{bytes} {:.60} {text}", &request);
        }
    }
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn a_refused_client_that_never_stops_writing_is_cut() {
    let edge = Edge::start_with(|config| {
        config.head_bytes_max = 8192;
        config.connections_max = 1;
    });
    let mut endless = edge.connect();
    let written = (0..4096).take_while(|_| endless.write_all(&[b'x'; 4096]).is_ok()).count();
    assert!(written < 4096, "16 MiB taken from a client that was refused");
    eventually("its place is free", || {
        let mut stream = edge.connect();
        stream.write_all(get("/abc", &["Connection: close"]).as_bytes()).is_ok()
            && read_to_end(&mut stream).starts_with("HTTP/1.1 302 ")
    });
}

#[test]
fn a_refused_client_that_falls_silent_is_cut() {
    let edge = Edge::start_with(|config| {
        config.head_bytes_max = 8192;
        config.head_timeout = Duration::from_millis(50);
    });
    let mut silent = edge.connect();
    silent.write_all(&[b'x'; 10_000]).unwrap();
    assert!(read_to_end(&mut silent).starts_with("HTTP/1.1 431 "));
    eventually("cut", || silent.write_all(b"x").is_err());
}

#[test]
fn refusals_by_the_parser_are_counted_by_reason() {
    let edge = Edge::start();
    let large = get("/abc", &[&format!("X: {}", "x".repeat(20_000))]);
    for (reason, request) in [
        ("head_too_large", large.as_str()),
        ("malformed", "GET /a b HTTP/1.1\r\nHost: go.example\r\n\r\n"),
        ("malformed", "GET /abc HTTP/1.1\r\nHost : go.example\r\n\r\n"),
        ("http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("incomplete", "GET /abc HTTP/1.1\r\nHost: go.ex"),
    ] {
        let labels = format!("reason=\"{reason}\"");
        let before = counted("whence_edge_heads_refused_total", &labels);
        let mut stream = edge.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        read_to_end(&mut stream);
        eventually(reason, || counted("whence_edge_heads_refused_total", &labels) > before);
    }
}

#[test]
fn a_head_that_does_not_end_and_a_silent_connection_are_closed() {
    let edge = Edge::start_with(|config| config.head_timeout = Duration::from_millis(50));
    let mut slow = edge.connect();
    slow.write_all(b"GET /abc HTTP/1.1\r\nHost: go.ex").unwrap();
    read_to_end(&mut slow);
    let mut idle = edge.connect();
    idle.write_all(get("/abc", &[]).as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut idle, false).status(), 302);
    assert_eq!(read_to_end(&mut idle), "");
    assert_eq!(edge.clicks().len(), 1);
}

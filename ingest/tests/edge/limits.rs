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
fn a_head_that_is_too_large_is_refused() {
    let edge = Edge::start_with(|config| config.head_bytes_max = 8192);
    let mut stream = edge.connect();
    let head = get("/abc", &[&format!("X-Long: {}", "x".repeat(20_000))]);
    // The edge may close before it has taken everything.
    let _ = stream.write_all(head.as_bytes());
    let text = read_to_end(&mut stream);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn a_head_with_too_many_lines_is_refused() {
    let edge = Edge::start();
    let lines = vec!["X: y"; 200];
    let mut stream = edge.connect();
    stream.write_all(get("/abc", &lines).as_bytes()).unwrap();
    let text = read_to_end(&mut stream);
    assert!(text.starts_with("HTTP/1.1 431 "), "{text:?}");
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

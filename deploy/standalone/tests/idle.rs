//! Strangers who connect and say nothing: the others have their clicks recorded, and every listener answers.
//!
//! The number of descriptors is what idle connections use up: processes run with few of them here. Source
//! addresses are networks of 127.0.0.0/8.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};
use support::{Role, ask, run, until, whence};
use tempfile::tempdir;

const CONNECT: Duration = Duration::from_secs(10);

fn authority(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A connection from this address.
fn connect_from(source: [u8; 4], to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Ports are chosen at connecting: so many connections have not enough of them at binding.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), CONNECT).ok()?;
    Some(socket.into())
}

/// So many connections that say nothing, from these networks in turn.
fn idle(count: usize, networks: usize, to: SocketAddr) -> Vec<TcpStream> {
    let source = |n: usize| [127, 7, u8::try_from(n % networks).unwrap(), 1];
    (0..count).filter_map(|n| connect_from(source(n), to)).collect()
}

/// Follows a link so often, on connections of so many clicks each; returns how often it was redirected.
fn clicks(whence: &Role, count: usize, each: usize) -> usize {
    let edge = authority(&whence.address("edge"));
    let request =
        b"GET /x HTTP/1.1\r\nhost: go.example\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n";
    let mut redirected = 0;
    for _ in 0..count / each {
        let Some(mut stream) = connect_from([127, 0, 0, 1], edge) else { continue };
        stream.set_read_timeout(Some(CONNECT)).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..each {
            let mut line = String::new();
            if stream.write_all(request).is_err() || !answers.read_line(&mut line).is_ok_and(|read| read > 0)
            {
                break;
            }
            redirected += usize::from(line.starts_with("HTTP/1.1 302"));
            while line.trim() != "" {
                line.clear();
                answers.read_line(&mut line).unwrap();
            }
        }
    }
    redirected
}

/// Every listener answers as if nobody else were there.
fn all_answer(whence: &Role) {
    let (status, readiness) = whence.readiness();
    assert_eq!(status, 200, "{readiness}");
    assert_eq!(ask(&whence.address("admin"), "GET", "/livez", &[], "").status, 200);
    let key = std::fs::read_to_string(whence.data().join("admin-key")).unwrap();
    let bearer = [("authorization", format!("Bearer {}", key.trim()))];
    assert_eq!(ask(&whence.address("api"), "GET", "/v1/programs", &bearer, "").status, 200);
    let console = ask(&whence.address("console"), "GET", "/v1/programs/p/funnel", &bearer, "");
    assert_eq!(console.status, 200, "{}", console.body);
}

/// `whence up` with so many descriptors, while so many idle connections are open to `listener`.
fn idle_connections_harm_nobody(
    descriptors: (u64, u64),
    (count, networks): (usize, usize),
    listener: &str,
    arguments: &[&str],
) {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = [&["up", "--edge-threads", "2", "--linger", "200ms"], arguments].concat();
    let whence = Role::start_limited(descriptors, &data, &arguments);
    whence.until_ready();
    let key = std::fs::read_to_string(data.join("admin-key")).unwrap();
    whence.set_up_world(&key);
    whence.click("x");

    let to = authority(&whence.address(listener));
    let held = idle(count, networks, to);
    // 9,000 clicks are several segments of 1 MiB for each of two threads.
    let answered = 1 + clicks(&whence, 8_000, 100) + clicks(&whence, 1_000, 1);
    all_answer(&whence);
    assert_eq!(answered, 9_001, "every click was answered");
    assert_eq!(whence.counter("whence_clicks_lost_total"), 0, "of {answered}; log:\n{}", whence.log());
    whence.until_count("SELECT count() FROM clicks", answered as u64);
    drop(held);
    let floods = whence.log().lines().filter(|line| line.contains("accept failed")).count();
    assert!(floods <= 20, "{floods} lines of one kind");
}

#[test]
fn idle_connections_from_one_address_lose_no_click_at_the_first_roll_of_a_small_segment() {
    idle_connections_harm_nobody((1024, 1024), (1_500, 1), "edge", &["--journal-segment", "1MiB"]);
}

#[test]
fn idle_connections_from_many_addresses_lose_no_click_when_a_segment_is_closed_for_its_age() {
    idle_connections_harm_nobody((256, 256), (600, 200), "edge", &["--journal-segment-age", "1s"]);
}

#[test]
fn idle_connections_from_one_address_shut_neither_api_nor_probes() {
    for listener in ["api", "admin", "console"] {
        idle_connections_harm_nobody((1024, 1024), (1_100, 1), listener, &[]);
    }
}

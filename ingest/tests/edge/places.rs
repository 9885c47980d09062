//! Who has a place when there are more connections than places. Networks are /24s of 127.0.0.0/8.

use crate::harness::*;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

/// Follows the link on this connection; `false` if that has ended.
fn click(stream: &mut TcpStream) -> bool {
    is_open(stream) && stream.write_all(get("/abc", &[]).as_bytes()).is_ok() && answered(stream)
}

fn answered(stream: &mut TcpStream) -> bool {
    let mut first = [0; 1];
    if !matches!(stream.peek(&mut first), Ok(1)) {
        return false;
    }
    Reply::read(stream, false).status() == 302
}

/// Whether the other end has not closed it, as far as can be known yet.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0; 1]);
    stream.set_nonblocking(false).unwrap();
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Waits until the other end has closed it.
fn ended(stream: &mut TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

#[test]
fn a_newcomer_has_the_place_of_who_has_been_idle_longest() {
    let edge = Edge::start_with(|config| {
        config.connections_max = 3;
        config.connections_share_percent = 100;
    });
    let mut seated = [edge.connect_from(1), edge.connect_from(2), edge.connect_from(3)];
    assert!(seated.iter_mut().all(click));
    assert!(click(&mut seated[0]));
    assert!(click(&mut edge.connect_from(4)));
    ended(&mut seated[1]);
    assert!(click(&mut seated[0]) && click(&mut seated[2]));
    assert_eq!(edge.clicks().len(), 7);
}

#[test]
fn who_has_begun_to_ask_goes_after_the_idle_ones() {
    let edge = Edge::start_with(|config| {
        config.connections_max = 2;
        config.connections_share_percent = 100;
    });
    let mut slow = edge.connect_from(1);
    assert!(click(&mut slow));
    let (begun, rest) = "GET /abc HTTP/1.1\r\nHost: go.example\r\n\r\n".split_at(30);
    slow.write_all(begun.as_bytes()).unwrap();
    let mut idle = edge.connect_from(2);
    // What was sent before has been read when this is answered.
    assert!(click(&mut idle));
    assert!(click(&mut edge.connect_from(3)));
    ended(&mut idle);
    slow.write_all(rest.as_bytes()).unwrap();
    assert!(answered(&mut slow));
}

#[test]
fn idle_connections_of_one_network_take_nothing_from_the_others_and_lose_no_click() {
    let edge = Edge::start_with(|config| config.connections_max = 40);
    let mut others: Vec<_> = (1..=20).map(|network| edge.connect_from(network)).collect();
    assert!(others.iter_mut().all(click));
    let mut flood: Vec<_> = (0..400).map(|_| edge.connect_from(99)).collect();
    assert!(click(flood.last_mut().unwrap()), "who comes last has the place of who came first");
    assert!(others.iter_mut().all(click));
    for network in 100..140 {
        assert!(click(&mut edge.connect_from(network)), "a newcomer of another network");
    }
    assert!(flood.iter().filter(|stream| is_open(stream)).count() <= 10);
    assert_eq!(edge.clicks().len(), 20 + 1 + 20 + 40);
}

#[test]
fn idle_connections_of_many_networks_keep_no_newcomer_out() {
    let edge = Edge::start_with(|config| config.connections_max = 40);
    let _flood: Vec<_> = (0..400).map(|n| edge.connect_from((n % 200) as u8)).collect();
    for _ in 0..40 {
        assert!(click(&mut edge.connect_from(210)));
    }
    assert_eq!(edge.clicks().len(), 40);
}

#[test]
fn heads_that_do_not_end_keep_no_newcomer_out() {
    let edge = Edge::start_with(|config| config.connections_max = 40);
    let begun = |n: usize| {
        let mut stream = edge.connect_from((n % 200) as u8);
        // It may have been closed for another one already.
        let _ = stream.write_all(b"GET /abc HTTP/1.1\r\nHost: ");
        stream
    };
    let _flood: Vec<_> = (0..400).map(begun).collect();
    for _ in 0..40 {
        assert!(click(&mut edge.connect_from(210)));
    }
}

#[test]
fn a_configured_proxys_connections_are_never_closed_for_others() {
    let edge = Edge::start_with(|config| {
        config.connections_max = 8;
        config.trusted_proxies = vec!["127.9.0.0/16".parse().unwrap()];
    });
    let mut proxy: Vec<_> = (0..7).map(|_| edge.connect_from(9)).collect();
    assert!(proxy.iter_mut().all(click));
    for network in 20..60 {
        assert!(click(&mut edge.connect_from(network)));
    }
    assert!(
        proxy.iter_mut().all(click),
        "although they have been idle longest, and have more than one share"
    );
}

#[test]
fn a_client_for_whom_nobody_can_go_is_told_so_and_places_come_back() {
    let edge = Edge::start_with(|config| {
        config.connections_max = 2;
        config.trusted_proxies = vec!["127.9.0.0/16".parse().unwrap()];
    });
    let mut seated = [edge.connect_from(9), edge.connect_from(9)];
    assert!(seated.iter_mut().all(click));
    let mut refusal = String::new();
    let _ = edge.connect_from(1).read_to_string(&mut refusal);
    assert!(refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("retry-after: 1\r\n"), "{refusal}");
    drop(seated);
    eventually("a place again", || click(&mut edge.connect_from(1)));
}

//! Clients that end their side of a connection before they are answered.

use crate::harness::*;
use rustix::net::sockopt::set_tcp_cork;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

/// Connections of each kind, four at a time.
const CONNECTIONS: usize = 400;

/// How many of the connections got no redirect.
fn unanswered(edge: &Edge, speak: impl Fn(&mut TcpStream, &str) + Sync) -> usize {
    let request = get("/abc", &[]);
    let ask = || {
        let mut stream = edge.connect();
        speak(&mut stream, &request);
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        read.is_err() || !text.starts_with("HTTP/1.1 302 ")
    };
    std::thread::scope(|scope| {
        let asking = [(); 4].map(|()| scope.spawn(|| (0..CONNECTIONS / 4).filter(|_| ask()).count()));
        asking.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn a_client_that_ends_its_side_right_after_its_request_is_answered() {
    let edge = Edge::start();
    let left = unanswered(&edge, |stream, request| {
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(left, 0, "of {CONNECTIONS}");
    assert_eq!(edge.clicks().len(), CONNECTIONS);
}

#[test]
fn a_client_whose_end_comes_in_the_segment_of_its_request_is_answered() {
    let edge = Edge::start();
    let left = unanswered(&edge, |stream, request| {
        set_tcp_cork(&*stream, true).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(left, 0, "of {CONNECTIONS}");
}

#[test]
fn a_client_whose_end_comes_with_the_last_of_several_segments_is_answered() {
    let edge = Edge::start();
    let left = unanswered(&edge, |stream, request| {
        let (first, second) = request.split_at(request.len() / 2);
        stream.set_nodelay(true).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        // Until the edge has looked at it, more or less.
        std::thread::yield_now();
        set_tcp_cork(&*stream, true).unwrap();
        stream.write_all(second.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(left, 0, "of {CONNECTIONS}");
}

#[test]
fn all_requests_of_a_pipeline_are_answered_after_the_client_has_ended_its_side() {
    let edge = Edge::start();
    let mut stream = edge.connect();
    set_tcp_cork(&stream, true).unwrap();
    stream.write_all(get("/abc", &[]).repeat(100).as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 302 ").count(), 100);
    assert_eq!(edge.clicks().len(), 100);
}

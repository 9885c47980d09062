//! What clients write into a request's target, unencoded or not, and what becomes of it.

use crate::harness::*;
use std::{
    io::{Read, Write},
    net::TcpStream,
};
use whence_schemas::event::Link;

/// An edge whose link passes parameters on.
fn passing() -> Edge {
    let edge = Edge::start();
    edge.put_link(Link { passthrough: true, ..abc() });
    edge
}

/// The answer to a request whose target has this byte, in the path or in the query.
fn answer(edge: &Edge, byte: u8, is_in_query: bool) -> Reply {
    let mut request = b"GET /abc".to_vec();
    if is_in_query {
        request.extend(b"?x=1");
    }
    request.push(byte);
    request.extend(b"y HTTP/1.1\r\nHost: go.example\r\n\r\n");
    edge.send(&request)
}

#[test]
fn every_byte_of_a_query_is_a_click_unless_it_ends_the_target() {
    let edge = passing();
    for byte in 0..=255 {
        let reply = answer(&edge, byte, true);
        // Space, line ends and other control characters are not part of a request line (RFC 9112, 3).
        if byte <= b' ' || byte == 0x7f {
            assert_eq!(reply.status(), 400, "{byte:#x}");
            continue;
        }
        assert_eq!(reply.status(), 302, "{byte:#x}");
        let passed = match byte {
            b'#' => "x=1&".to_owned(),
            b'&' => "x=1&y&".to_owned(),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':'
            | b'@' | b'/' | b'?' | b';' => format!("x=1{}y&", byte as char),
            _ if byte.is_ascii_alphanumeric() => format!("x=1{}y&", byte as char),
            _ => format!("x=1%{byte:02X}y&"),
        };
        assert!(
            reply.location().contains(&format!("?utm_source=ref&{passed}wclid=")),
            "{}",
            reply.location()
        );
    }
    assert_eq!(edge.clicks().len(), 256 - 34);
}

#[test]
fn every_byte_of_a_path_is_answered_as_the_path_that_it_makes() {
    let edge = Edge::start();
    for byte in 0..=255u8 {
        let expected = match byte {
            0..=b' ' | 0x7f => 400,
            // Where a query begins, or what no client should send of a page's address.
            b'?' | b'#' | b'&' => 302,
            _ => 404,
        };
        assert_eq!(answer(&edge, byte, false).status(), expected, "{byte:#x}");
    }
}

#[test]
fn an_unencoded_target_is_a_click_wherever_it_stands_on_a_connection_and_however_it_comes() {
    let edge = passing();
    let odd =
        get("/abc?q=<a href=\"{x|y}\\^`ü\">".replace(' ', "+").as_str(), &["Sec-CH-UA: \"a\";v=\"<8>\""]);
    let encoded = "q=%3Ca+href=%22%7Bx%7Cy%7D%5C%5E%60%C3%BC%22%3E&";
    let mut stream = edge.connect();
    for _ in 0..3 {
        stream.write_all(odd.as_bytes()).unwrap();
        assert!(Reply::read(&mut stream, false).location().contains(encoded));
    }
    // Byte by byte, each in a segment of its own.
    stream.set_nodelay(true).unwrap();
    for byte in odd.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(Reply::read(&mut stream, false).location().contains(encoded));
    // Many at once, more than one read takes.
    let last = get("/abc?q=\">", &["Connection: close"]);
    stream.write_all([odd.repeat(50), last].concat().as_bytes()).unwrap();
    let text = read_to_end(stream);
    assert_eq!(text.matches(encoded).count(), 50, "{text}");
    assert_eq!(text.matches("q=%22%3E&").count(), 1);
    assert_eq!(edge.clicks().len(), 55);
}

#[test]
fn a_target_that_grows_when_it_is_encoded_is_answered_while_the_head_fits() {
    let edge = Edge::start();
    let reply = edge.get(&format!("/abc?q={}", "<".repeat(4000)), &[]);
    assert_eq!(reply.status(), 302);
    let mut stream = edge.connect();
    stream.write_all(get(&format!("/abc?q={}", "<".repeat(8000)), &[]).as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream, false).status(), 431);
}

/// Bytes of a body that look like a request must never be read as one.
#[test]
fn nothing_after_a_body_is_a_request() {
    for body in [
        "Content-Length: 59\r\n\r\nGET /abc?smuggled=\"<>\" HTTP/1.1\r\nHost: go.example\r\n\r\nabc",
        "Content-Length: 3\r\n\r\nabcGET /abc?smuggled HTTP/1.1\r\nHost: go.example\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /abc?smuggled HTTP/1.1\r\nHost: go.example\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n\"<>\r\n0\r\n\r\nGET /abc?smuggled HTTP/1.1\r\nHost: go.example\r\n\r\n",
    ] {
        for method in ["GET", "POST"] {
            let edge = Edge::start();
            let mut stream = edge.connect();
            let request = format!("{method} /abc HTTP/1.1\r\nHost: go.example\r\n{body}");
            stream.write_all(request.as_bytes()).unwrap();
            stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
            let text = read_to_end(stream);
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
            assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
            assert_eq!(edge.clicks().len(), usize::from(method == "GET"));
        }
    }
}

fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

//! Answers, byte by byte.

use crate::harness::*;

/// The head with what differs from run to run made the same.
fn plain(reply: &Reply) -> String {
    let head = match reply.header("location") {
        Some(location) if location.contains("wclid=") => reply.head.replace(reply.token_text(), "TOKEN"),
        _ => reply.head.clone(),
    };
    match reply.header("date") {
        Some(date) => head.replace(date, "DATE"),
        None => head,
    }
}

const REDIRECT: &str = "HTTP/1.1 302 Found\r\n\
    location: https://shop.example/landing?utm_source=ref&wclid=TOKEN#top\r\n\
    cache-control: private, no-store\r\n\
    referrer-policy: strict-origin-when-cross-origin\r\n\
    content-length: 0\r\n\
    date: DATE\r\n\r\n";

#[test]
fn a_link_is_answered_by_a_lean_redirect() {
    let edge = Edge::start();
    let reply = edge.get("/abc", &[]);
    assert_eq!(plain(&reply), REDIRECT);
    assert_eq!(reply.body, "");
}

#[test]
fn head_is_answered_as_get_without_a_body() {
    let edge = Edge::start();
    let reply = edge.send(b"HEAD /abc HTTP/1.1\r\nHost: go.example\r\n\r\n");
    // HTTP lets the length be left out here (RFC 9110, 9.3.2).
    assert_eq!(plain(&reply), REDIRECT.replace("content-length: 0\r\n", ""));
    let missing = edge.send(b"HEAD /nope HTTP/1.1\r\nHost: go.example\r\n\r\n");
    assert_eq!(missing.status(), 404);
    assert_ne!(missing.header("content-length"), Some("0"), "the length that GET would have");
}

#[test]
fn each_link_has_its_status() {
    let edge = Edge::start();
    for (status, expected) in [(301, 301), (302, 302), (307, 307), (308, 308), (0, 302), (200, 302)] {
        edge.put_link(whence_schemas::event::Link { status, ..abc() });
        let reply = edge.get("/abc", &[]);
        assert_eq!(reply.status(), expected);
        assert_eq!(
            reply.header("cache-control"),
            Some("private, no-store"),
            "repeated clicks come back here"
        );
    }
}

#[test]
fn other_methods_are_refused() {
    let edge = Edge::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let request = format!("{method} /abc HTTP/1.1\r\nHost: go.example\r\nContent-Length: 0\r\n\r\n");
        let reply = edge.send(request.as_bytes());
        assert_eq!((reply.status(), reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn a_request_for_no_host_is_a_bad_one() {
    let edge = Edge::start();
    for lines in [
        "",
        "Host: go.example\r\nHost: go.example\r\n",
        "Host:\r\n",
        "Host: a@go.example\r\n",
        "Host: a b\r\n",
    ] {
        let reply = edge.send(format!("GET /abc HTTP/1.1\r\n{lines}\r\n").as_bytes());
        assert_eq!(reply.status(), 400, "{lines:?}");
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn an_absolute_target_names_the_host() {
    let edge = Edge::start();
    let reply = edge.send(b"GET http://GO.example:80/abc HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(reply.status(), 302);
    let reply = edge.send(b"GET http://other.example/abc HTTP/1.1\r\nHost: go.example\r\n\r\n");
    assert_eq!(reply.status(), 404);
}

#[test]
fn what_is_no_link_gets_a_small_page() {
    let edge = Edge::start();
    for target in ["/", "/a/b", "/favicon.ico", "//evil.example", "/%2e%2e", "/a%00bc"] {
        let reply = edge.get(target, &[]);
        assert_eq!(reply.status(), 404, "{target}");
        assert!(reply.body.contains("no such link") && reply.body.len() < 500);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("private, no-store"));
    }
    // All but the icon, which every browser asks for, and what begins with a dot are clicks on links that are not there.
    let clicks = edge.clicks();
    assert_eq!(clicks.len(), 4);
    assert!(clicks.iter().all(|click| click.verdict() == whence_schemas::event::Verdict::Inactive));
}

#[test]
fn robots_may_draw_previews_and_nothing_else() {
    let edge = Edge::start();
    let reply = edge.get("/robots.txt", &[]);
    assert_eq!((reply.status(), reply.header("content-type")), (200, Some("text/plain")));
    assert!(reply.body.ends_with("\n\nUser-agent: *\nDisallow: /\n"), "{}", reply.body);
    assert!(reply.body.starts_with("User-agent: Twitterbot\n") && reply.body.contains("\nDisallow:\n"));
}

#[test]
fn requests_on_one_connection_are_answered_one_after_another() {
    use std::io::{Read, Write};
    let edge = Edge::start();
    let mut stream = edge.connect();
    stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream, false).status(), 302);
    let both = [get("/abc", &[]), get("/nope", &["Connection: close"])].concat();
    stream.write_all(both.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 302 Found\r\n").count(), 1);
    assert_eq!(text.matches("HTTP/1.1 404 Not Found\r\n").count(), 1);
    assert_eq!(edge.clicks().len(), 3);
}

#[test]
fn a_body_that_nobody_asked_for_is_not_read() {
    let edge = Edge::start();
    let reply = edge.send(b"GET /abc HTTP/1.1\r\nHost: go.example\r\nContent-Length: 1000000\r\n\r\nabc");
    assert_eq!(reply.status(), 302);
}

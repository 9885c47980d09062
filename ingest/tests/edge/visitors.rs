//! The visitor cookie, consent, and whose address it is.

use crate::harness::*;
use whence_schemas::event::{Click, ConsentMode, Program};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn with_cookie() -> Edge {
    let edge = Edge::start();
    edge.put_program(Program { consent: ConsentMode::Cookie.into(), ..demo() });
    edge
}

fn last(edge: &Edge) -> Click {
    edge.clicks().pop().unwrap()
}

#[test]
fn without_consent_no_cookie_is_set_or_read() {
    let edge = Edge::start();
    for consent in [ConsentMode::None, ConsentMode::Unspecified] {
        edge.put_program(Program { consent: consent.into(), ..demo() });
        let reply = edge.get("/abc", &[&format!("Cookie: whence_visitor={ID}")]);
        assert_eq!((reply.header("set-cookie"), last(&edge).visitor), (None, 0));
    }
}

#[test]
fn a_new_visitor_gets_a_cookie_and_is_known_by_it_again() {
    let edge = with_cookie();
    let reply = edge.get("/abc", &[]);
    let cookie = reply.header("set-cookie").unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax");
    let visitor = last(&edge).visitor;
    assert_ne!(visitor, 0);
    let again = edge.get("/abc", &[&format!("Cookie: a=b; {value}")]);
    assert_eq!(again.header("set-cookie"), None);
    assert_eq!(last(&edge).visitor, visitor);
    edge.get("/abc", &[]);
    assert_ne!(last(&edge).visitor, visitor, "another visitor");
}

#[test]
fn a_cookie_that_was_not_made_here_is_replaced() {
    let edge = with_cookie();
    let reply = edge.get("/abc", &["Cookie: whence_visitor=admin"]);
    assert!(reply.header("set-cookie").is_some_and(|cookie| cookie.starts_with("whence_visitor=")));
}

#[test]
fn who_objects_to_being_followed_is_not() {
    let edge = with_cookie();
    let reply = edge.get("/abc", &["Sec-GPC: 1", &format!("Cookie: whence_visitor={ID}")]);
    assert_eq!((reply.header("set-cookie"), last(&edge).visitor), (None, 0));
    assert!(edge.get("/abc", &["Sec-GPC: 0"]).header("set-cookie").is_some());
}

#[test]
fn programs_get_no_cookie() {
    let edge = with_cookie();
    for request in [
        "HEAD /abc HTTP/1.1\r\nHost: go.example\r\n\r\n".to_owned(),
        "GET /abc HTTP/1.1\r\nHost: go.example\r\nUser-Agent: curl/8\r\n\r\n".to_owned(),
        get("/abc", &["Sec-Purpose: prefetch"]),
    ] {
        let reply = edge.send(request.as_bytes());
        assert_eq!((reply.header("set-cookie"), last(&edge).visitor), (None, 0), "{request}");
    }
}

#[test]
fn forwarded_addresses_count_only_from_trusted_proxies() {
    let stranger = Edge::start();
    let direct = {
        stranger.get("/abc", &[]);
        last(&stranger)
    };
    stranger.get("/abc", &["X-Forwarded-For: 203.0.113.9"]);
    assert_eq!(last(&stranger).address, direct.address);

    let proxied = Edge::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let seen = |forwarded: &str| {
        proxied.get("/abc", &[&format!("X-Forwarded-For: {forwarded}")]);
        last(&proxied)
    };
    let client = seen("203.0.113.9");
    assert_ne!(client.address, direct.address);
    assert_eq!(
        seen("198.51.100.1, 203.0.113.9").address,
        client.address,
        "what the client wrote is no matter"
    );
    assert_eq!(seen("203.0.113.9, 127.0.0.7").address, client.address, "a hop of ours");
    assert_eq!(seen("203.0.113.10").prefix, client.prefix);
    assert_eq!(seen("nonsense").address, direct.address);
}

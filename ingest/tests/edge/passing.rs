//! The channel that a request may name, and parameters that are passed on.

use crate::harness::*;
use whence_schemas::{event::Link, ids::ChannelNumber};

#[test]
fn a_channel_of_the_programs_may_be_named_where_the_link_allows_it() {
    let edge = Edge::start();
    edge.put_link(Link { channel_override: true, ..abc() });
    for (target, expected) in [
        ("/abc?c=qr", "qr"),
        ("/abc?x=1&c=email", "email"),
        ("/abc", "whatsapp"),
        ("/abc?c=", "whatsapp"),
        ("/abc?c=telegram", "whatsapp"),
        ("/abc?c=QR", "whatsapp"),
    ] {
        let token = edge.get(target, &[]).token();
        assert_eq!(token.channel, ChannelNumber::of(expected), "{target}");
        assert_eq!(edge.clicks().last().unwrap().channel, expected, "{target}");
    }
    edge.put_link(abc());
    assert_eq!(edge.get("/abc?c=qr", &[]).token().channel, ChannelNumber::of("whatsapp"));
}

#[test]
fn parameters_are_passed_on_only_where_the_link_allows_it() {
    let edge = Edge::start();
    assert!(!edge.get("/abc?gclid=1", &[]).location().contains("gclid"));
    edge.put_link(Link { passthrough: true, ..abc() });
    let reply = edge.get("/abc?gclid=1&utm_source=evil&c=2&wclid=x&%77clid=y&WCLID[]=z&b#f", &[]);
    let token = reply.token_text();
    let expected = format!("https://shop.example/landing?utm_source=ref&gclid=1&c=2&b&wclid={token}#top");
    assert_eq!(reply.location(), expected);
}

#[test]
fn the_channel_parameter_is_not_passed_on_where_it_has_a_meaning() {
    let edge = Edge::start();
    edge.put_link(Link { passthrough: true, channel_override: true, ..abc() });
    assert!(!edge.get("/abc?c=qr", &[]).location().contains("c=qr"));
}

#[test]
fn what_is_passed_on_is_bounded() {
    let edge = Edge::start();
    edge.put_link(Link { passthrough: true, ..abc() });
    let long = "x".repeat(2000);
    let reply = edge.get(&format!("/abc?a={long}&b=1"), &[]);
    assert!(reply.location().starts_with("https://shop.example/landing?utm_source=ref&b=1&wclid="));
}

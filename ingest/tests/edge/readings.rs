//! Links as they are passed on: what stands around a code costs no click, and no link is taken for another.

use crate::harness::*;
use whence_schemas::event::{HostClaim, Link, RegistryEntry, Verdict, registry_entry::Entry};

/// What was asked for, read as which link, how, by the last click.
fn read(edge: &Edge, path: &str) -> (u16, String, String) {
    let before = edge.clicks().len();
    let status = edge.get(path, &[]).status();
    let clicks = edge.clicks();
    assert_eq!(clicks.len(), before + 1, "{path}: a click for every request of a known host");
    let click = clicks.last().unwrap();
    (status, click.link.clone(), click.reading.clone())
}

fn found(edge: &Edge, path: &str, code: &str, reading: &str) {
    assert_eq!(read(edge, path), (302, format!("go.example/{code}"), reading.to_owned()), "{path}");
}

fn put_code(edge: &Edge, code: &str) {
    edge.put_link(Link { code: code.into(), ..abc() });
}

#[test]
fn what_stands_around_a_code_is_cut_and_said_on_the_click() {
    let edge = Edge::start();
    for (path, reading) in [
        ("/abc", ""),
        ("/ABC", "case"),
        ("/%61bc", "decoded"),
        ("/%41bc", "decoded"),
        ("/abc/", "trimmed"),
        ("/abc.", "trimmed"),
        ("/abc)", "trimmed"),
        ("/ABC).", "trimmed"),
        ("/abc%20", "trimmed"),
        ("/abc%0A", "trimmed"),
        ("/abc%E2%80%9D", "trimmed"),
        ("/abc%E3%80%82", "trimmed"),
        ("/abc%2520", "trimmed"),
        ("//abc", "trimmed"),
        ("/abc//", "trimmed"),
        ("/%3Cabc%3E", "trimmed"),
        ("/abc&utm_source=x", "query"),
        ("/abc%3Futm_source=x", "query"),
    ] {
        found(&edge, path, "abc", reading);
    }
    for path in ["/nope", "/abc+", "/abcd", "/abc/there", "/abc.qr", "/abc%20there", "/", "/%20", "/%C3%A9"] {
        let (status, link, _) = read(&edge, path);
        assert_eq!(status, 404, "{path}");
        assert_ne!(link, "go.example/abc", "{path}");
        let click = edge.clicks().pop().unwrap();
        assert_eq!((click.verdict(), &*click.reason), (Verdict::Inactive, "unknown_link"), "{path}");
        assert_eq!((click.made_by(), &*click.made_by_reason), (Verdict::Human, "browser"), "{path}");
    }
    assert_eq!(read(&edge, "/nope%29").1, "go.example/nope");
    assert_eq!(read(&edge, "/ann@shop.example").1, "go.example/", "no text of the request's own");
}

#[test]
fn the_exact_code_counts_before_every_reading_and_the_longest_before_the_shorter() {
    let edge = Edge::start();
    for code in ["abc.", "abc..", "Abc_", "abc-1", "abc.qr"] {
        put_code(&edge, code);
    }
    for (path, code, reading) in [
        ("/abc", "abc", ""),
        ("/abc.", "abc.", ""),
        ("/abc..", "abc..", ""),
        ("/abc...", "abc..", "trimmed"),
        ("/abc.)", "abc.", "trimmed"),
        ("/abc-", "abc", "trimmed"),
        ("/abc-1!", "abc-1", "trimmed"),
        ("/abc_", "Abc_", "case"),
        ("/ABC_.", "Abc_", "trimmed"),
        ("/abc.qr", "abc.qr", ""),
    ] {
        found(&edge, path, code, reading);
    }
}

#[test]
fn parameters_that_begin_with_something_else_are_passed_on_like_others() {
    let edge = Edge::start();
    edge.put_link(Link { passthrough: true, channel_override: true, ..abc() });
    for (path, passed) in [
        ("/abc&gclid=x", "&gclid=x&"),
        ("/abc&gclid=x?y=1", "&gclid=x&y=1&"),
        ("/abc%26gclid%3Dx", "&gclid=x&"),
        ("/abc&wclid=forged&utm_source=other&gclid=x", "&gclid=x&"),
    ] {
        let reply = edge.get(path, &[]);
        let expected = format!("https://shop.example/landing?utm_source=ref{passed}wclid=");
        assert!(reply.location().starts_with(&expected), "{path}: {}", reply.location());
        reply.token();
    }
    edge.get("/abc&c=qr", &[]);
    assert_eq!(edge.clicks().pop().unwrap().channel, "qr");
}

#[test]
fn a_channel_behind_a_code_is_named_where_the_link_lets_it() {
    let edge = Edge::start();
    assert_eq!(read(&edge, "/abc/qr").0, 404, "the link lets nobody name one");
    edge.put_link(Link { channel_override: true, ..abc() });
    for path in ["/abc/qr", "/ABC/QR/", "//abc//qr."] {
        found(&edge, path, "abc", "channel");
        assert_eq!(edge.clicks().pop().unwrap().channel, "qr", "{path}");
    }
    assert_eq!(read(&edge, "/abc/radio").0, 404, "no channel of the program's");
}

fn put_host(edge: &Edge, version: u64, case_sensitive: bool) {
    let claim = HostClaim { host: "go.example".into(), case_sensitive, ..HostClaim::default() };
    let entry = Some(Entry::HostClaim(claim));
    edge.table.apply(&RegistryEntry { version, entry, ..RegistryEntry::default() });
}

#[test]
fn case_makes_a_difference_where_the_host_says_so_or_its_links_do() {
    let edge = Edge::start();
    put_code(&edge, "HeLLo");
    for path in ["/hello", "/HELLO", "/Hello."] {
        assert_eq!(read(&edge, path).1, "go.example/HeLLo", "{path}");
    }
    assert_eq!(
        edge.get("/hello", &[]).token().link,
        edge.get("/HeLLo", &[]).token().link,
        "the stored spelling's"
    );
    edge.put_link(Link { code: "HeLLo".into(), disabled: true, ..abc() });
    assert_eq!(read(&edge, "/hello").0, 410, "a change is seen in any case");

    put_host(&edge, 100, true);
    put_host(&edge, 99, false);
    assert_eq!(read(&edge, "/ABC").0, 404);
    found(&edge, "/abc.", "abc", "trimmed");
    put_host(&edge, 101, false);
    found(&edge, "/ABC", "abc", "case");

    put_code(&edge, "Abc");
    found(&edge, "/abc", "abc", "");
    found(&edge, "/Abc", "Abc", "");
    assert_eq!(read(&edge, "/ABC").0, 404, "either could be meant");
    put_host(&edge, 102, false);
    assert_eq!(read(&edge, "/ABC").0, 404);
}

#[test]
fn probes_are_no_clicks_however_they_are_written() {
    let edge = Edge::start();
    for path in [
        "/favicon.ico%20",
        "//wp-login.php",
        "/%2Egit/config",
        "/.env)",
        "/index.html&x=1",
        "//.well-known/a",
    ] {
        assert_eq!(edge.get(path, &[]).status(), 404, "{path}");
    }
    put_code(&edge, "Robots.TXT");
    assert_eq!(edge.get("/robots.txt", &[]).status(), 200);
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn what_has_no_form_of_a_code_has_its_share_as_well() {
    let edge = Edge::start_with(|config| config.unknown_codes_per_minute = 2);
    let statuses: Vec<_> = ["/", "/a@b", "/a/b/c", "//"].map(|path| edge.get(path, &[]).status()).into();
    assert_eq!(statuses, [404, 404, 429, 429]);
    assert_eq!(edge.get("/abc!", &[]).status(), 302, "a link that is found has none");
}

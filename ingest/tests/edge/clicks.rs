//! What the journal has when the answer is there.

use crate::harness::*;
use std::sync::atomic::Ordering;
use whence_schemas::{
    event::{Click, Link, Mode, Program, Verdict},
    ids::{ChannelNumber, ClickId, LinkNumber},
};

#[test]
fn the_click_is_in_the_journal_before_the_answer_is_there() {
    let edge = Edge::start();
    for clicked in 1..=200 {
        let token = edge.get("/abc", &[]).token();
        // Read at once, while the edge runs.
        let clicks = edge.clicks();
        assert_eq!(clicks.len(), clicked);
        assert_eq!(clicks[clicked - 1].id, token.click.0.as_bytes().as_slice());
    }
}

#[test]
fn a_click_carries_what_it_resolved_to() {
    let edge = Edge::start();
    let version = edge.put_link(abc());
    let token = edge.get("/abc?x=1", &[]).token();
    let click = edge.click();
    assert_eq!(token.link, LinkNumber::of("go.example/abc"));
    assert_eq!(token.channel, ChannelNumber::of("whatsapp"));
    assert_eq!(ClickId::from_bytes(&click.id), Some(token.click));
    assert_eq!(token.click.at(), START);
    let expected = Click {
        id: click.id.clone(),
        mode: Mode::Live.into(),
        program: "demo".into(),
        referrer: "ann".into(),
        link: "go.example/abc".into(),
        channel: "whatsapp".into(),
        destination: "https://shop.example/landing?utm_source=ref#top".into(),
        registry_version: version,
        verdict: Verdict::Human.into(),
        reason: "browser".into(),
        visitor: 0,
        address: click.address,
        prefix: click.prefix,
        requests: 0,
        made_by: Verdict::Unspecified.into(),
        made_by_reason: String::new(),
        reading: String::new(),
    };
    assert_eq!(click, expected);
    assert!(click.address != 0 && click.prefix != 0 && click.address != click.prefix);
}

#[test]
fn a_click_names_the_newest_version_of_what_it_came_from() {
    let edge = Edge::start();
    let version = edge.put_program(demo());
    edge.get("/abc", &[]);
    assert_eq!(edge.click().registry_version, version);
}

#[test]
fn clicks_have_ids_of_their_own_and_the_clocks_time() {
    let edge = Edge::start();
    let first = edge.get("/abc", &[]).token();
    edge.now_ms.store(START.0 + 1234, Ordering::SeqCst);
    let second = edge.get("/abc", &[]).token();
    assert_ne!(first.click, second.click);
    assert_eq!(second.click.at(), START.plus_ms(1234));
}

#[test]
fn tokens_are_made_with_the_key_of_the_moment() {
    let edge = Edge::start();
    edge.keys.store(ring(9).into());
    let reply = edge.get("/abc", &[]);
    assert!(ring(9).verify(reply.token_text()).is_ok() && ring(7).verify(reply.token_text()).is_err());
}

#[test]
fn verdicts_follow_method_headers_and_agent() {
    let edge = Edge::start();
    let request = |method: &str, agent: &str, line: &str| {
        let agent = if agent.is_empty() { String::new() } else { format!("User-Agent: {agent}\r\n") };
        format!("{method} /abc HTTP/1.1\r\nHost: go.example\r\n{agent}{line}\r\n")
    };
    let cases = [
        (request("GET", BROWSER, ""), Verdict::Human, "browser"),
        (request("HEAD", BROWSER, ""), Verdict::Head, "head_method"),
        (request("GET", BROWSER, "Sec-Purpose: prefetch;prerender\r\n"), Verdict::Prefetch, "sec_purpose"),
        (request("GET", BROWSER, "Purpose: prefetch\r\n"), Verdict::Prefetch, "purpose"),
        (request("GET", BROWSER, "X-Moz: prefetch\r\n"), Verdict::Prefetch, "x_moz"),
        (request("GET", "", ""), Verdict::Bot, "no_agent"),
        (request("GET", "  ", ""), Verdict::Bot, "no_agent"),
        (request("GET", "curl/8.5.0", ""), Verdict::Bot, "http_library"),
        (
            request("GET", BROWSER, "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n"),
            Verdict::Bot,
            "subresource",
        ),
        (
            request("GET", BROWSER, "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"),
            Verdict::Human,
            "browser",
        ),
        (request("GET", "[FBAN/FB4A;FBAV/567.1.0.52.74;FBDV/SM-S921B;]", ""), Verdict::Human, "app"),
        (request("GET", "WhatsApp/2.23.20.0 A", ""), Verdict::Preview, "preview_agent"),
        (request("GET", "Mozilla/5.0 (compatible; bingbot/2.0)", ""), Verdict::Bot, "search_engine"),
    ];
    for (request, _, _) in &cases {
        let reply = edge.send(request.as_bytes());
        assert_eq!(reply.status(), 302, "whoever asks is answered");
        reply.token();
    }
    let judged: Vec<_> = edge.clicks().iter().map(|click| (click.verdict(), click.reason.clone())).collect();
    let expected: Vec<_> =
        cases.iter().map(|(_, verdict, reason)| (*verdict, (*reason).to_owned())).collect();
    assert_eq!(judged, expected);
}

#[test]
fn clicks_on_test_links_are_test_events() {
    let edge = Edge::start();
    edge.put_link(Link { test: true, ..abc() });
    edge.get("/abc", &[]);
    assert_eq!(edge.click().mode(), Mode::Test);
}

#[test]
fn nothing_of_the_request_but_hashes_and_names_is_recorded() {
    let edge = Edge::start();
    let lines =
        ["Referer: https://secret.example/inbox", "Cookie: whence_visitor=0123456789abcdef0123456789abcdef"];
    edge.get("/abc?secret=1", &lines);
    let bytes = std::fs::read(segment(&edge)).unwrap();
    for secret in ["secret", "127.0.0.1", "Firefox", "0123456789abcdef", "gecko"] {
        assert!(
            !bytes.windows(secret.len()).any(|part| part.eq_ignore_ascii_case(secret.as_bytes())),
            "{secret}"
        );
    }
}

fn segment(edge: &Edge) -> std::path::PathBuf {
    let files = std::fs::read_dir(edge.dir.path().join("clicks-0")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    files.find(|path| path.extension().is_some_and(|ending| ending == "seg")).unwrap()
}

#[test]
fn two_programs_answer_for_themselves() {
    let edge = Edge::start();
    edge.put_program(Program {
        id: "other".into(),
        destination_hosts: vec!["other.example".into()],
        link_hosts: vec!["l.example".into()],
        ..Program::default()
    });
    edge.put_link(Link {
        host: "l.example".into(),
        program: "other".into(),
        destination: "https://other.example/".into(),
        referrer: String::new(),
        channel: String::new(),
        ..abc()
    });
    let at = |host: &str| edge.send(format!("GET /abc HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    assert!(at("go.example").location().starts_with("https://shop.example/landing?"));
    assert!(at("l.example").location().starts_with("https://other.example/?wclid="));
    let clicks = edge.clicks();
    let programs: Vec<_> =
        clicks.iter().map(|click| (&*click.program, &*click.link, &*click.referrer)).collect();
    assert_eq!(programs, [("demo", "go.example/abc", "ann"), ("other", "l.example/abc", "")]);
}

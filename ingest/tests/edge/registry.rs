//! Registry records become answers, and links that lead nowhere are recorded as such.

use crate::harness::*;
use std::sync::atomic::Ordering;
use whence_schemas::event::{Click, Link, Program, Referrer, Verdict};

fn inactive(edge: &Edge) -> Vec<(Verdict, String)> {
    edge.clicks().iter().map(|click: &Click| (click.verdict(), click.reason.clone())).collect()
}

#[test]
fn a_change_of_a_link_shows_in_the_next_answer() {
    let edge = Edge::start();
    edge.put_link(Link { destination: "https://shop.example/new".into(), ..abc() });
    assert!(edge.get("/abc", &[]).location().starts_with("https://shop.example/new?wclid="));
    assert_eq!(edge.get("/xyz", &[]).status(), 404);
    edge.put_link(Link { code: "xyz".into(), ..abc() });
    assert_eq!(edge.get("/xyz", &[]).status(), 302);
}

#[test]
fn a_link_that_leads_nowhere_is_gone_where_there_is_no_fallback() {
    let edge = Edge::start();
    type Step<'a> = Box<dyn Fn() + 'a>;
    let cases: [(&str, Step<'_>); 4] = [
        ("link_disabled", Box::new(|| _ = edge.put_link(Link { disabled: true, ..abc() }))),
        ("link_expired", Box::new(|| _ = edge.put_link(Link { expires_at_ms: START.0 + 5000, ..abc() }))),
        (
            "referrer_disabled",
            Box::new(|| {
                edge.put_link(abc());
                edge.put_referrer(Referrer {
                    program: "demo".into(),
                    id: "ann".into(),
                    disabled: true,
                    ..Referrer::default()
                });
            }),
        ),
        ("program_disabled", Box::new(|| _ = edge.put_program(Program { disabled: true, ..demo() }))),
    ];
    for (_, put) in &cases {
        put();
        edge.now_ms.store(START.0 + 5000, Ordering::SeqCst);
        let reply = edge.get("/abc", &[]);
        assert_eq!((reply.status(), reply.header("location")), (410, None));
        assert!(reply.body.contains("no longer active"));
    }
    let expected = cases.map(|(reason, _)| (Verdict::Inactive, reason.to_owned()));
    assert_eq!(inactive(&edge), expected);
    let click = &edge.clicks()[0];
    assert_eq!((&*click.program, &*click.referrer, &*click.channel), ("demo", "ann", "whatsapp"));
}

#[test]
fn a_click_on_a_dead_link_keeps_who_made_it() {
    let edge = Edge::start();
    edge.put_link(Link { disabled: true, ..abc() });
    let cases = [
        (BROWSER, "", Verdict::Human, "browser"),
        ("curl/8.5.0", "", Verdict::Bot, "http_library"),
        ("WhatsApp/2.23.20.0 A", "", Verdict::Preview, "preview_agent"),
        (BROWSER, "Sec-Purpose: prefetch\r\n", Verdict::Prefetch, "sec_purpose"),
        (BROWSER, "Sec-Fetch-Dest: image\r\n", Verdict::Bot, "subresource"),
    ];
    for (path, reason) in [("/abc", "link_disabled"), ("/unknown", "unknown_link")] {
        for (agent, line, made_by, made_by_reason) in cases {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: go.example\r\nUser-Agent: {agent}\r\n{line}\r\n");
            edge.send(request.as_bytes());
            let click = edge.clicks().pop().unwrap();
            assert_eq!((click.verdict(), &*click.reason), (Verdict::Inactive, reason), "{request}");
            assert_eq!((click.made_by(), &*click.made_by_reason), (made_by, made_by_reason), "{request}");
        }
    }
}

#[test]
fn what_every_host_is_asked_for_is_no_click() {
    let edge = Edge::start();
    edge.put_program(Program { fallback: "https://shop.example/sorry".into(), ..demo() });
    for path in [
        "/favicon.ico",
        "/apple-touch-icon.png",
        "/.well-known/traffic-advice",
        "/whence.js",
        "/.env",
        "/%2Eenv",
    ] {
        let reply = edge.get(path, &[]);
        assert_eq!((reply.status(), reply.header("location")), (404, None), "{path}");
    }
    assert_eq!(edge.get("/robots.txt", &[]).status(), 200);
    assert_eq!(edge.clicks().len(), 0);
    edge.put_link(Link { code: "sale.png".into(), ..abc() });
    assert_eq!(edge.get("/sale.png", &[]).status(), 302, "a link is followed, whatever it looks like");
    edge.get("/john.doe", &[]);
    let reasons: Vec<_> = edge.clicks().iter().map(|click| click.reason.clone()).collect();
    assert_eq!(reasons, ["browser", "unknown_link"]);
}

#[test]
fn the_fallback_takes_the_place_of_an_inactive_link_and_has_no_token() {
    let edge = Edge::start();
    edge.put_link(Link { disabled: true, status: 308, ..abc() });
    edge.put_program(Program { fallback: "https://shop.example/sorry".into(), ..demo() });
    for target in ["/abc?wclid=x&c=qr", "/unknown"] {
        let reply = edge.get(target, &[]);
        assert_eq!((reply.status(), reply.location()), (302, "https://shop.example/sorry"), "{target}");
        assert_eq!(reply.header("cache-control"), Some("private, no-store"));
    }
    let reasons = ["link_disabled", "unknown_link"].map(|reason| (Verdict::Inactive, reason.to_owned()));
    assert_eq!(inactive(&edge), reasons);
    let click = &edge.clicks()[1];
    assert_eq!((&*click.program, &*click.link, &*click.referrer), ("demo", "go.example/unknown", ""));
}

#[test]
fn a_link_works_until_the_millisecond_of_its_expiry() {
    let edge = Edge::start();
    edge.put_link(Link { expires_at_ms: START.0 + 1, ..abc() });
    assert_eq!(edge.get("/abc", &[]).status(), 302);
    edge.now_ms.store(START.0 + 1, Ordering::SeqCst);
    assert_eq!(edge.get("/abc", &[]).status(), 410);
}

#[test]
fn unknown_codes_of_a_host_that_nobody_answers_for_are_nobodys_clicks() {
    let edge = Edge::start();
    let reply = edge.send(b"GET /abc HTTP/1.1\r\nHost: stranger.example\r\n\r\n");
    assert_eq!(reply.status(), 404);
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn a_stored_destination_outside_the_programs_hosts_is_not_followed() {
    let edge = Edge::start();
    edge.put_link(Link { destination: "https://evil.example/".into(), ..abc() });
    assert_eq!(edge.get("/abc", &[]).status(), 410);
    assert_eq!(inactive(&edge), [(Verdict::Inactive, "destination_refused".to_owned())]);
}

//! Unknown codes beyond a network's share. Networks are /24s of 127.0.0.0/8.

use crate::harness::*;
use std::io::Write;

fn status_from(edge: &Edge, network: u8, target: &str, lines: &[&str]) -> Reply {
    let mut stream = edge.connect_from(network);
    stream.write_all(get(target, lines).as_bytes()).unwrap();
    Reply::read(&mut stream, false)
}

fn reasons(edge: &Edge, reason: &str) -> Vec<(String, u64)> {
    let clicks = edge.clicks().into_iter().filter(|click| click.reason == reason);
    clicks.map(|click| (click.link, click.requests)).collect()
}

#[test]
fn unknown_codes_beyond_a_networks_share_are_counted_in_one_record_and_known_links_are_never_limited() {
    let edge = Edge::start_with(|config| config.unknown_codes_per_minute = 10);
    for n in 0..30 {
        let reply = status_from(&edge, 1, &format!("/guess{n}"), &[]);
        match reply.status() {
            404 => assert!(n < 11, "{n}"),
            429 => {
                assert!(n >= 10 && reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
                assert_eq!(reply.header("cache-control"), Some("private, no-store"));
            }
            other => panic!("{other}"),
        }
    }
    for _ in 0..50 {
        assert_eq!(status_from(&edge, 1, "/abc", &[]).status(), 302, "a link is answered whoever asks");
    }
    assert_eq!(status_from(&edge, 2, "/guess", &[]).status(), 404, "another network has its own share");
    let dir = edge.dir.path().join("clicks-0");
    let kept = reasons(&edge, "unknown_link").len();
    // The end of an edge is the end of an interval.
    let edge_dir = edge.stop_keeping();
    let clicks = clicks(&dir);
    let limited: Vec<_> = clicks.iter().filter(|click| click.reason == "unknown_link_limited").collect();
    assert_eq!(limited.len(), 1, "{limited:#?}");
    assert_eq!(limited[0].link, "go.example/");
    assert_eq!((limited[0].requests + kept as u64, limited[0].program.as_str()), (31, "demo"));
    assert_eq!((limited[0].address, limited[0].prefix, limited[0].visitor), (0, 0, 0));
    assert!(clicks.iter().all(|click| click.requests == 0 || click.reason == "unknown_link_limited"));
    drop(edge_dir);
}

#[test]
fn behind_a_configured_proxy_the_forwarded_address_has_the_share() {
    let edge = Edge::start_with(|config| {
        config.unknown_codes_per_minute = 2;
        config.trusted_proxies = vec!["127.9.0.0/16".parse().unwrap()];
    });
    let ask = |from: &str| status_from(&edge, 9, "/guess", &[&format!("X-Forwarded-For: {from}")]).status();
    assert_eq!([ask("203.0.113.1"), ask("203.0.113.2"), ask("203.0.113.3")], [404, 404, 429]);
    assert_eq!(ask("198.51.100.1"), 404);
    let header = ["X-Forwarded-For: 192.0.2.1"];
    let strangers = [(); 3].map(|()| status_from(&edge, 1, "/guess", &header).status());
    assert_eq!(strangers, [404, 404, 429], "what strangers write makes them nobody else");
    assert_eq!(status_from(&edge, 9, "/guess", &header).status(), 404);
}

#[test]
fn codes_of_a_host_that_nobody_answers_for_take_no_share() {
    let edge = Edge::start_with(|config| config.unknown_codes_per_minute = 1);
    for _ in 0..5 {
        let request = b"GET /guess HTTP/1.1\r\nHost: other.example\r\n\r\n";
        let mut stream = edge.connect_from(1);
        stream.write_all(request).unwrap();
        assert_eq!(Reply::read(&mut stream, false).status(), 404);
    }
    assert_eq!(status_from(&edge, 1, "/guess", &[]).status(), 404);
}

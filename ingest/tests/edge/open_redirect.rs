//! Whatever is asked for, and however: a redirect goes where the stored destination goes.

use crate::harness::*;
use proptest::{prelude::*, test_runner::TestRunner};
use std::{io::Write, net::TcpStream};
use whence_schemas::event::{Link, Program};

const SHOP: &str = "https://shop.example/landing?utm_source=ref&";
const FALLBACK: &str = "https://shop.example/sorry";

/// An edge whose one link takes everything from outside that a link can take.
fn generous() -> Edge {
    let edge = Edge::start();
    edge.put_program(Program { fallback: FALLBACK.into(), ..demo() });
    edge.put_link(Link { passthrough: true, channel_override: true, ..abc() });
    edge
}

/// The answer, or none where the edge closes without one.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

/// Nothing but the stored destination or fallback, one token, one line for each header.
fn check(answer: &[u8]) {
    let text = String::from_utf8(answer.to_vec()).expect("answers are ASCII");
    let head = text.split("\r\n\r\n").next().unwrap();
    let names: Vec<&str> = head.lines().skip(1).map(|line| line.split(": ").next().unwrap()).collect();
    let known = [
        "location",
        "cache-control",
        "referrer-policy",
        "content-length",
        "date",
        "connection",
        "content-type",
        "x-content-type-options",
        "allow",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{head}");
    if let Some(location) = head.lines().find_map(|line| line.strip_prefix("location: "))
        && location != FALLBACK
    {
        assert!(location.starts_with(SHOP) && location.ends_with("#top"), "{location}");
        assert_eq!(location.matches('#').count(), 1, "{location}");
        assert_eq!(location.to_lowercase().matches("&wclid=").count(), 1, "{location}");
        assert!(location.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'), "{location}");
    }
}

#[test]
fn known_tricks_lead_nowhere_else() {
    let edge = generous();
    for target in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/\\/evil.example",
        "//evil.example/abc",
        "/abc//evil.example",
        "/abc/../../evil.example",
        "/abc@evil.example",
        "/abc%40evil.example",
        "/@evil.example",
        "/abc%0d%0aLocation:%20https://evil.example",
        "/abc?%0d%0aLocation:%20https://evil.example",
        "/abc?x=%0aSet-Cookie:a=b",
        "/abc?https://evil.example",
        "/abc?url=https://evil.example&destination=//evil.example&fallback=https://evil.example",
        "/abc?wclid=forged&wclid=forged",
        "/abc?%77%63%6c%69%64=forged",
        "/abc?x=1#wclid=forged",
        "/abc?#@evil.example/",
        "/abc?x=\\evil.example",
        "/abc?@evil.example",
        "/javascript:alert(1)",
        "/https:%2f%2fevil.example",
        "/https://evil.example",
        "/data:text/html,x",
        "/%09/evil.example",
        "/.evil.example",
        "https://evil.example/abc",
        "http://evil.example/abc",
        "http://go.example@evil.example/abc",
        "http://evil.example\\@go.example/abc",
        "evil.example:443",
        "*",
        "",
        "abc",
        "?x",
    ] {
        for host in [
            "go.example",
            "evil.example",
            "go.example@evil.example",
            "go.example:80@evil.example",
            "go.example\\.evil.example",
        ] {
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n"
            );
            if let Some(answer) = ask(&mut edge.connect(), request.as_bytes()) {
                check(&answer);
            }
        }
    }
    // Raw line breaks and blanks end the request line, as HTTP has it.
    for request in [
        &b"GET /abc\r\nLocation: https://evil.example HTTP/1.1\r\nHost: go.example\r\nConnection: close\r\n\r\n"[..],
        b"GET /abc?a b HTTP/1.1\r\nHost: go.example\r\nConnection: close\r\n\r\n",
        b"GET /abc?\xc3\xbc\xff HTTP/1.1\r\nHost: go.example\r\nConnection: close\r\n\r\n",
        b"GET /abc?\x00 HTTP/1.1\r\nHost: go.example\r\nConnection: close\r\n\r\n",
    ] {
        if let Some(answer) = ask(&mut edge.connect(), request) {
            check(&answer);
        }
    }
}

#[test]
fn no_target_and_no_header_changes_where_a_redirect_goes() {
    let edge = generous();
    let target = prop_oneof![
        "/abc\\?[ -~]{0,60}",
        "/abc(\\?|/|%|@|\\\\|#|//)[!-~]{0,40}",
        "[!-~]{0,40}",
        "/abc\\?(wclid|WCLID|%77clid|c|url|x|utm_source)(=|%3d|\\[\\]=|;|&)[!-~]{0,30}",
        "https?://[a-z.@\\\\/]{0,20}/abc",
    ];
    let header = prop_oneof![
        "(Host|X-Forwarded-Host|Forwarded|Referer|Origin|Cookie|Location|X-Original-URL|Sec-GPC|Purpose): [ -~]{0,40}",
        "[A-Za-z-]{1,20}: [ -~]{0,40}",
    ];
    let mut runner = TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let asked = runner.run(&(target, proptest::collection::vec(header, 0..3)), |(target, headers)| {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: go.example\r\n{headers}Connection: close\r\n\r\n");
        if let Some(answer) = ask(&mut edge.connect(), request.as_bytes()) {
            check(&answer);
        }
        Ok(())
    });
    asked.unwrap();
    assert!(!edge.clicks().is_empty(), "some of them were clicks");
}

//! Which host a request is for, and which requests are for none.

use crate::harness::*;
use whence_schemas::event::{Link, Program};

/// An edge with the link `abc` on these hosts as the registry names them.
fn on(hosts: &[&str]) -> Edge {
    let edge = Edge::start();
    edge.put_program(Program { link_hosts: hosts.iter().map(|&host| host.into()).collect(), ..demo() });
    for &host in hosts {
        edge.put_link(Link { host: host.into(), ..abc() });
    }
    edge
}

fn ask(edge: &Edge, line: &str, headers: &[&str]) -> u16 {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    edge.send(format!("{line}\r\n{headers}\r\n").as_bytes()).status()
}

#[test]
fn every_spelling_of_a_host_is_that_host_and_what_is_no_host_is_refused() {
    let edge = on(&["go.example", "go.example:8080", "127.0.0.1", "[2001:db8::1]", "[2001:db8::1]:8080"]);
    for (host, expected) in [
        ("go.example", 302),
        ("GO.Example", 302),
        ("go.example.", 302),
        ("go.example.:80", 302),
        ("GO.EXAMPLE.:443", 302),
        ("go.example:80", 302),
        ("go.example:443", 302),
        ("go.example:080", 302),
        // RFC 3986, 3.2.3: an empty port is the scheme's own.
        ("go.example:", 302),
        ("go.example.:", 302),
        ("go.example:8080", 302),
        ("go.example.:8080", 302),
        ("go.example:08080", 302),
        ("127.0.0.1", 302),
        ("127.0.0.1:80", 302),
        ("[2001:db8::1]", 302),
        ("[2001:DB8::1]:80", 302),
        ("[2001:db8:0:0:0:0:0:1]", 302),
        ("[2001:db8::1]:8080", 302),
        // Other hosts.
        ("go.example:8081", 404),
        ("xgo.example", 404),
        ("example", 404),
        ("[::1]", 404),
        ("xn--go-fka.example", 404),
        // None.
        ("go.example:80:80", 400),
        ("go.example:8080:80", 400),
        ("go.example::80", 400),
        ("go.example:80.", 400),
        ("go.example..", 400),
        ("go.example..:80", 400),
        (".go.example", 400),
        ("go..example", 400),
        (".", 400),
        (":80", 400),
        (":", 400),
        ("go.example:0", 400),
        ("go.example:00", 400),
        ("go.example:65536", 400),
        ("go.example:100000000000000000000", 400),
        ("go.example:+80", 400),
        ("go.example:-1", 400),
        ("go.example:80a", 400),
        ("go.example: 80", 400),
        ("go.example:http", 400),
        ("user@go.example", 400),
        ("user:secret@go.example", 400),
        ("go.example@evil.example", 400),
        ("go.example,evil.example", 400),
        ("go.example evil.example", 400),
        ("go.example/", 400),
        ("go.example?", 400),
        ("go.example#", 400),
        ("go.example\\", 400),
        ("http://go.example", 400),
        ("go%2eexample", 400),
        ("go_x.example", 400),
        ("gö.example", 400),
        ("2001:db8::1", 400),
        ("[2001:db8::1", 400),
        ("2001:db8::1]", 400),
        ("[2001:db8::1].", 400),
        ("[2001:db8::1]x", 400),
        ("[2001:db8::1]80", 400),
        ("[2001:db8::1]:80:80", 400),
        ("[2001:db8::1%25eth0]", 400),
        ("[2001:db8::g]", 400),
        ("[127.0.0.1]", 400),
        ("[go.example]", 400),
        ("[v1.x]", 400),
        ("[]", 400),
        ("[]:80", 400),
        ("", 400),
        ("*", 400),
    ] {
        assert_eq!(ask(&edge, "GET /abc HTTP/1.1", &[&format!("Host: {host}")]), expected, "{host:?}");
    }
}

#[test]
fn a_request_names_its_host_once_and_in_one_way() {
    let edge = on(&["go.example"]);
    let own = "Host: go.example";
    for (line, headers, expected) in [
        ("GET /abc HTTP/1.1", &[own] as &[&str], 302),
        ("GET /abc HTTP/1.1", &[], 400),
        ("GET /abc HTTP/1.0", &[], 400),
        ("GET /abc HTTP/1.0", &[own], 302),
        ("GET /abc HTTP/1.1", &[own, own], 400),
        ("GET /abc HTTP/1.1", &[own, "Host: other.example"], 400),
        ("GET /abc HTTP/1.1", &["host: go.example", "HOST: go.example"], 400),
        // The target outdoes the header, which must be there and one all the same (RFC 9112, 3.2).
        ("GET http://go.example/abc HTTP/1.1", &[own], 302),
        ("GET https://GO.example.:443/abc HTTP/1.1", &["Host: other.example"], 302),
        ("GET http://other.example/abc HTTP/1.1", &[own], 404),
        ("GET http://go.example/abc HTTP/1.0", &[], 302),
        ("GET http://go.example/abc HTTP/1.1", &[], 400),
        ("GET http://go.example/abc HTTP/1.1", &["Host: a b"], 400),
        ("GET http://go.example/abc HTTP/1.1", &["Host: go.example:80:80"], 400),
        ("GET http://go.example/abc HTTP/1.1", &[own, own], 400),
        ("GET http://user@go.example/abc HTTP/1.1", &[own], 400),
        ("GET http://go.example:80:80/abc HTTP/1.1", &[own], 400),
        ("GET http://go.example:0/abc HTTP/1.1", &[own], 400),
        ("GET http:///abc HTTP/1.1", &[own], 400),
        ("GET ftp://go.example/abc HTTP/1.1", &[own], 400),
        ("GET go.example/abc HTTP/1.1", &[own], 400),
        ("GET go.example:80 HTTP/1.1", &[own], 400),
        ("GET abc HTTP/1.1", &[own], 400),
        ("GET * HTTP/1.1", &[own], 404),
        ("OPTIONS * HTTP/1.1", &[own], 405),
        ("CONNECT go.example:80 HTTP/1.1", &[own], 405),
    ] {
        assert_eq!(ask(&edge, line, headers), expected, "{line} {headers:?}");
    }
}

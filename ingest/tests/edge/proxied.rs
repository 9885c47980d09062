//! Connections that proxies make for others: the PROXY protocol and headers on forwarded clients.

use crate::{harness::*, tls_support::*};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use whence_ingest::edge::EdgeConfig;
use whence_runtime::http::forwarded::ForwardedHeader;
use whence_schemas::event::{Click, ConsentMode, Program};

const CLIENT: &str = "203.0.113.9";

fn introduced(config: &mut EdgeConfig) {
    config.proxy_protocol_from = vec!["127.0.0.0/16".parse().unwrap()];
}

/// Headers of both versions that say CLIENT, IPv4 and IPv6.
fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let v2 = |family: u8, addresses: &[u8], more: &[u8]| {
        let length = u16::try_from(addresses.len() + more.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[family], &length, addresses, more].concat()
    };
    let v4 = [203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
    let mapped: Vec<u8> =
        [&[0; 10][..], &[255, 255, 203, 0, 113, 9], &[0; 16], &[0x12, 0x34, 0, 80]].concat();
    vec![
        ("v1", b"PROXY TCP4 203.0.113.9 127.0.0.1 4660 80\r\n".to_vec()),
        ("v1 IPv6", b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4660 80\r\n".to_vec()),
        ("v2", v2(0x11, &v4, &[])),
        ("v2 IPv6", v2(0x21, &mapped, &[])),
        ("v2 with fields", v2(0x11, &v4, &[&[2, 0, 10][..], b"go.example", &[4, 1, 0], &[0; 256]].concat())),
    ]
}

fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn refused(reason: &str) -> u64 {
    counted("whence_edge_proxy_headers_refused_total", &format!("reason=\"{reason}\""))
}

fn last(edge: &Edge) -> Click {
    edge.clicks().pop().unwrap()
}

/// The address of a click from CLIENT.
fn expected() -> Click {
    let edge = Edge::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    edge.get("/abc", &[&format!("X-Forwarded-For: {CLIENT}")]);
    last(&edge)
}

#[test]
fn a_click_is_of_whom_the_proxy_says() {
    let (edge, pair) = secured(introduced);
    let expected = expected();
    for (what, header) in headers() {
        // In one piece, in two, and byte by byte.
        for piece in [usize::MAX, header.len() - 1, 1] {
            let mut stream = edge.connect();
            stream.set_nodelay(true).unwrap();
            let all = [
                &header[..],
                get("/abc", &[]).as_bytes(),
                get("/abc?q=<\">", &["Connection: close"]).as_bytes(),
            ]
            .concat();
            for piece in all.chunks(piece.min(all.len())) {
                stream.write_all(piece).unwrap();
            }
            let text = answer(&mut stream);
            assert_eq!(text.matches("HTTP/1.1 302 ").count(), 2, "{what} {text}");
            assert_eq!(last(&edge).address, expected.address, "{what}");
        }
        // And before a handshake.
        let mut sock = edge.connect_secure();
        sock.write_all(&header).unwrap();
        let config = client(&[&pair], &[b"http/1.1"]);
        let mut conn = rustls::ClientConnection::new(config, "go.example".try_into().unwrap()).unwrap();
        let mut stream = rustls::Stream::new(&mut conn, &mut sock);
        stream.write_all(get("/abc", &[]).as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream, false).status(), 302);
        assert_eq!(last(&edge).address, expected.address, "{what}");
    }
    assert_eq!(edge.clicks().len(), headers().len() * 7);
}

#[test]
fn a_proxys_own_checks_are_its_own() {
    let edge = Edge::start_with(introduced);
    let direct = Edge::start();
    direct.get("/abc", &[]);
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ] {
        let mut stream = edge.connect();
        stream.write_all(&[header, get("/abc", &["Connection: close"]).as_bytes()].concat()).unwrap();
        assert!(answer(&mut stream).starts_with("HTTP/1.1 302 "));
        assert_eq!(last(&edge).address, last(&direct).address);
    }
}

#[test]
fn a_network_that_must_introduce_its_clients_is_refused_without() {
    let (edge, pair) = secured(|config| {
        introduced(config);
        config.head_timeout = Duration::from_millis(200);
    });
    for sent in [
        get("/abc", &[]).into_bytes(),
        b"PROXY TCP4 nonsense\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 127.0.0.1 99999 80\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9".to_vec(),
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(), vec![0; 8192]].concat(),
        Vec::new(),
    ] {
        let before = refused("missing");
        let mut stream = edge.connect();
        stream.write_all(&sent).unwrap();
        assert_eq!(answer(&mut stream), "", "{sent:?}");
        eventually("counted", || refused("missing") > before);
    }
    let before = refused("missing");
    assert!(edge.shake_hands(&client(&[&pair], &[]), "go.example").is_err());
    eventually("counted", || refused("missing") > before);
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn nobody_else_may_say_who_he_is() {
    let (edge, _) = secured(|config| config.proxy_protocol_from = vec!["10.0.0.0/8".parse().unwrap()]);
    for (what, header) in headers() {
        let before = refused("untrusted");
        let mut stream = edge.connect();
        stream.write_all(&[&header[..], get("/abc", &[]).as_bytes()].concat()).unwrap();
        assert!(answer(&mut stream).starts_with("HTTP/1.1 400 "), "{what}");
        eventually("counted", || refused("untrusted") > before);
        let before = refused("untrusted");
        let mut stream = edge.connect_secure();
        stream.write_all(&header).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        eventually("counted over TLS", || refused("untrusted") > before);
    }
    assert_eq!(edge.clicks().len(), 0);
}

#[test]
fn headers_of_proxies_count_behind_the_proxy_protocol_as_without() {
    let edge = Edge::start_with(|config| {
        introduced(config);
        config.trusted_proxies = vec!["198.51.100.0/24".parse().unwrap()];
        config.forwarded_header = ForwardedHeader::Forwarded;
    });
    let expected = expected();
    let ask = |proxy: &str, forwarded: &str| {
        let request = get("/abc", &[&format!("Forwarded: {forwarded}"), "Connection: close"]);
        let mut stream = edge.connect();
        write!(stream, "PROXY TCP4 {proxy} 127.0.0.1 1 2\r\n{request}").unwrap();
        assert!(answer(&mut stream).starts_with("HTTP/1.1 302 "));
        last(&edge)
    };
    assert_eq!(ask("198.51.100.1", &format!("for=1.1.1.1, for=\"{CLIENT}:80\"")).address, expected.address);
    assert_eq!(ask(CLIENT, "for=1.1.1.1").address, expected.address, "who is no proxy of ours is the client");
}

#[test]
fn a_cookie_is_as_secure_as_the_visit() {
    let edge = Edge::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/16".parse().unwrap()];
        config.cookie.is_secure = false;
    });
    edge.put_program(Program { consent: ConsentMode::Cookie.into(), ..demo() });
    let is_secure = |edge: &Edge, lines: &[&str]| {
        edge.get("/abc", lines).header("set-cookie").unwrap().ends_with("; Secure")
    };
    assert!(is_secure(&edge, &["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"]));
    assert!(!is_secure(&edge, &["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http"]));
    assert!(!is_secure(&edge, &["X-Forwarded-For: 203.0.113.9"]));
    let stranger = Edge::start_with(|config| config.cookie.is_secure = false);
    stranger.put_program(Program { consent: ConsentMode::Cookie.into(), ..demo() });
    assert!(!is_secure(&stranger, &["X-Forwarded-Proto: https"]));
}

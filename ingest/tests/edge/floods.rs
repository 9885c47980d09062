//! Floods of HTTP/2, frame by frame.

use crate::{harness::*, tls_support::*};
use std::io::{Read, Write};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The error codes of GOAWAY.
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a GET (RFC 7541; indices of the static table, texts as they are).
fn block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    let text = |bytes: &mut Vec<u8>, text: &str| {
        // A length with a prefix of 7 bits.
        match u8::try_from(text.len()) {
            Ok(length @ 0..127) => bytes.push(length),
            _ => {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                bytes.push(rest as u8);
            }
        }
        bytes.extend(text.as_bytes());
    };
    block.push(0x04);
    text(&mut block, path);
    block.push(0x01);
    text(&mut block, "go.example");
    for (name, value) in more {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(path, &[]))
}

/// A connection of HTTP/2 whose settings are exchanged.
fn begun(edge: &Edge, pair: &Pair) -> TlsStream {
    let mut stream = edge.shake_hands(&client(&[pair], &[b"h2"]), "go.example").unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat()).unwrap();
    stream
}

/// All frames until the other end closes: kinds, streams and payloads.
fn frames(stream: &mut TlsStream) -> Vec<(u8, u32, Vec<u8>)> {
    frames_until(stream, |_| false)
}

/// All frames until there are these.
fn frames_until(
    stream: &mut TlsStream,
    mut are_all: impl FnMut(&[(u8, u32, Vec<u8>)]) -> bool,
) -> Vec<(u8, u32, Vec<u8>)> {
    let (mut frames, mut bytes, mut chunk) = (Vec::new(), Vec::new(), [0; 1 << 14]);
    while !are_all(&frames) {
        // A reset is an end as well.
        let Ok(read @ 1..) = stream.read(&mut chunk) else { break };
        bytes.extend_from_slice(&chunk[..read]);
        let mut rest = &bytes[..];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let Some(payload) = after.get(..length) else { break };
            frames.push((head[3], stream, payload.to_vec()));
            rest = &after[length..];
        }
        let kept = rest.len();
        bytes.drain(..bytes.len() - kept);
    }
    frames
}

fn count(frames: &[(u8, u32, Vec<u8>)], kind: u8) -> usize {
    frames.iter().filter(|(other, ..)| *other == kind).count()
}

/// The code of the last GOAWAY.
fn end(frames: &[(u8, u32, Vec<u8>)]) -> Option<u32> {
    let (.., payload) = frames.iter().rfind(|(kind, ..)| *kind == GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

/// Writes up to 16 MiB of these in pieces, until the other end does not take any more. Returns how much.
fn pour(stream: &mut TlsStream, mut piece: impl FnMut(usize) -> Vec<u8>) -> usize {
    let mut poured = 0;
    for at in 0.. {
        let piece = piece(at);
        if poured > 16 << 20 || stream.write_all(&piece).is_err() || stream.flush().is_err() {
            break;
        }
        poured += piece.len();
    }
    poured
}

fn ended(reason: &str) -> u64 {
    counted("whence_edge_http2_ended_total", &format!("reason=\"{reason}\""))
}

/// Another client is served as if nothing were.
fn is_unharmed(edge: &Edge) -> bool {
    edge.get("/abc", &["Connection: close"]).status() == 302
}

/// CVE-2023-44487.
#[test]
fn streams_that_are_reset_right_after_they_were_opened_end_the_connection() {
    let (edge, pair) = secured(|_| {});
    let before = ended("too_many_frames");
    let mut stream = begun(&edge, &pair);
    let poured = pour(&mut stream, |at| {
        // As many as one record of TLS holds come at once.
        let streams = (0..250).map(|index| (at as u32 * 250 + index) * 2 + 1);
        streams
            .flat_map(|id| [request(id, "/abc"), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat())
            .collect()
    });
    assert!(poured < 1 << 20, "{poured} bytes taken");
    eventually("counted", || ended("too_many_frames") > before);
    assert!(is_unharmed(&edge));
}

/// CVE-2024-27316.
#[test]
fn a_head_that_goes_on_without_end_ends_the_connection() {
    let (edge, pair) = secured(|_| {});
    for continued in [
        vec![],
        vec![0],
        vec![0, 1, b'a', 1, b'b'],
        block("/abc", &[("x", &"y".repeat(10_000))])[2..].to_vec(),
    ] {
        let before = ended("too_many_frames") + ended("protocol") + ended("bytes_without_request");
        let mut stream = begun(&edge, &pair);
        stream.write_all(&frame(HEADERS, END_STREAM, 1, &block("/abc", &[]))).unwrap();
        let poured = pour(&mut stream, |_| frame(CONTINUATION, 0, 1, &continued).repeat(50));
        assert!(poured < 4 << 20, "{poured} bytes taken of {continued:?}");
        eventually("counted", || {
            ended("too_many_frames") + ended("protocol") + ended("bytes_without_request") > before
        });
    }
    assert!(is_unharmed(&edge));
    assert_eq!(edge.clicks().len(), 1, "nobody's but the other client's");
}

#[test]
fn frames_that_ask_for_nothing_end_the_connection() {
    let (edge, pair) = secured(|_| {});
    for (what, flood) in [
        ("ping", frame(PING, 0, 0, &[7; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("settings acknowledged", frame(SETTINGS, 1, 0, &[])),
        ("priority", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
        ("window update", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("empty data", frame(DATA, 0, 1, &[])),
        ("an unknown kind", frame(0xee, 0, 0, &[0; 64])),
    ] {
        let all = || ["too_many_frames", "protocol", "bytes_without_request"].map(ended).iter().sum::<u64>();
        let before = all();
        let mut stream = begun(&edge, &pair);
        // A stream that stays open, whose head is a request.
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block("/abc", &[]))).unwrap();
        let poured = pour(&mut stream, |_| flood.repeat(100));
        // What the system's buffers hold is on its way still.
        assert!(poured < 12 << 20, "{what}: {poured} bytes taken");
        eventually(what, || all() > before);
    }
    assert!(ended("bytes_without_request") > 0);
    assert!(is_unharmed(&edge));
}

#[test]
fn frames_between_requests_are_no_flood() {
    let (edge, pair) = secured(|_| {});
    let mut stream = begun(&edge, &pair);
    // Together more than a connection may send without a request.
    for index in 0..120 {
        stream.write_all(&frame(PING, 0, 0, &[7; 8]).repeat(500)).unwrap();
        stream.write_all(&request(index * 2 + 1, "/abc")).unwrap();
        let answers = frames_until(&mut stream, |all| count(all, HEADERS) == 1 && count(all, PING) == 500);
        assert_eq!((count(&answers, HEADERS), count(&answers, PING)), (1, 500), "{index}");
    }
    assert_eq!(edge.clicks().len(), 120);
}

#[test]
fn as_many_large_requests_as_may_be_in_hand_are_no_flood_when_they_come_at_once() {
    let (edge, pair) = secured(|_| {});
    let mut stream = begun(&edge, &pair);
    let large = "x".repeat(12 << 10);
    let block = block("/abc", &[("x-large", &large)]);
    let request = |index: u32| frame(HEADERS, END_STREAM | END_HEADERS, index * 2 + 1, &block);
    let requests: Vec<u8> = (0..30).flat_map(request).collect();
    stream.write_all(&requests).unwrap();
    let answers = frames_until(&mut stream, |all| count(all, HEADERS) == 30);
    assert_eq!(count(&answers, HEADERS), 30);
    assert_eq!(edge.clicks().len(), 30);
}

#[test]
fn a_header_list_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let (edge, pair) = secured(|config| config.head_bytes_max = 8192);
    let mut stream = begun(&edge, &pair);
    let large = block("/abc", &[("x", &"y".repeat(9000))]);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &large)).unwrap();
    stream.write_all(&request(3, "/abc")).unwrap();
    let answers = frames_until(&mut stream, |all| count(all, HEADERS) == 2);
    let answered: Vec<u32> =
        answers.iter().filter(|(kind, ..)| *kind == HEADERS).map(|(_, stream, _)| *stream).collect();
    assert_eq!(answered, [1, 3], "the first by a 431");
    assert_eq!(edge.clicks().len(), 1);
}

#[test]
fn more_streams_than_allowed_are_refused_one_by_one_or_end_the_connection() {
    let (edge, pair) = secured(|_| {});
    let mut stream = begun(&edge, &pair);
    // Open streams whose bodies never end, in one piece.
    let opened: Vec<u8> =
        (0..200).flat_map(|index| frame(HEADERS, END_HEADERS, index * 2 + 1, &block("/abc", &[]))).collect();
    let _ = stream.write_all(&opened);
    let _ = stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8]));
    let answers = frames(&mut stream);
    let answered = answers.iter().filter(|(kind, ..)| *kind == HEADERS).count();
    let refused =
        answers.iter().filter(|(kind, _, payload)| *kind == RST_STREAM && *payload == [0, 0, 0, 7]).count();
    assert!(
        answered <= 200 && (answered == 200 || refused > 0 || end(&answers).is_some()),
        "{answered} {refused}"
    );
    assert!(is_unharmed(&edge));
}

#[test]
fn what_is_against_the_protocol_ends_the_connection_or_the_stream_and_is_no_click() {
    let (edge, pair) = secured(|_| {});
    for (what, sent) in [
        ("a head on stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, &block("/abc", &[]))),
        ("an even stream", request(2, "/abc")),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &[])),
        (
            "another frame within a head",
            [frame(HEADERS, 0, 1, &block("/abc", &[])), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
    ] {
        let mut stream = begun(&edge, &pair);
        let _ = stream.write_all(&sent);
        assert_eq!(end(&frames(&mut stream)), Some(PROTOCOL_ERROR), "{what}");
    }
    for (what, block) in [
        ("a target with a quote", block("/abc?\"", &[])),
        ("a connection header", block("/abc", &[("connection", "close")])),
        ("an upper-case header", block("/abc", &[("X-Y", "z")])),
        ("a second path", [block("/abc", &[]), vec![0x04, 1, b'/']].concat()),
    ] {
        let mut stream = begun(&edge, &pair);
        let _ = stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block));
        let _ = stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8]));
        let answers = frames(&mut stream);
        assert!(!answers.iter().any(|(kind, ..)| *kind == HEADERS), "{what}: {answers:?}");
        assert_ne!(end(&answers), Some(ENHANCE_YOUR_CALM));
    }
    assert_eq!(edge.clicks().len(), 0);
}

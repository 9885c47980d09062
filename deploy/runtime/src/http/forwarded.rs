//! Whose request it is when it comes through proxies: the rightmost hop that is not one of ours. Pure.
//!
//! One header counts, the one that the proxies write: a proxy passes on what it does not know, so that the other one
//! is whatever the client made of it.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap,
    header::{FORWARDED, HeaderName},
};
use ipnet::IpNet;

/// Hops that are looked at; whoever sends more is taken for the last one looked at.
const HOPS_MAX: usize = 16;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

crate::choice! {
    /// The header in which proxies name the client that they forward.
    pub enum ForwardedHeader {
        /// `X-Forwarded-For` and `X-Forwarded-Proto`.
        XForwardedFor = "x-forwarded-for",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client spoke https, where a proxy says.
    pub is_https: Option<bool>,
}

/// The origin of a request of this connection.
///
/// A header counts only if the connection comes from a network of `trusted`, and then from the right, as far as
/// trusted proxies wrote it: what stands left of that, anybody may have written. A hop that is not an address ends the
/// walk; the proxy that passed it on is then the best there is.
#[must_use]
pub fn origin(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet], by: ForwardedHeader) -> Origin {
    let origin = Origin { address: peer.to_canonical(), is_https: None };
    if trusted.is_empty() {
        return origin;
    }
    match by {
        ForwardedHeader::Forwarded => walk(origin, elements(headers).into_iter().rev(), trusted),
        ForwardedHeader::XForwardedFor => {
            let mut addresses = from_the_right(headers, &X_FORWARDED_FOR);
            let mut protocols = from_the_right(headers, &X_FORWARDED_PROTO);
            let hops = std::iter::from_fn(move || {
                let is_https = protocols.next().and_then(is_https);
                match addresses.next() {
                    Some(address) => Some((hop(address), is_https)),
                    // Some proxies tell the protocol only.
                    None => is_https.map(|is_https| (None, Some(is_https))),
                }
            });
            walk(origin, hops, trusted)
        }
    }
}

/// What a hop says: the client it forwards, and whether that spoke https.
type Hop = (Option<IpAddr>, Option<bool>);

/// Follows hops from the right.
fn walk(mut origin: Origin, hops: impl Iterator<Item = Hop>, trusted: &[IpNet]) -> Origin {
    for (address, is_https) in hops.take(HOPS_MAX) {
        if !trusted.iter().any(|network| network.contains(&origin.address)) {
            break;
        }
        // A trusted proxy wrote it, also where it does not name the client.
        origin.is_https = is_https.or(origin.is_https);
        let Some(address) = address else { break };
        origin.address = address;
    }
    origin
}

/// The parts of a list from its end. Several headers are one list (RFC 9110, 5.3).
fn from_the_right<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + 'h {
    let headers = headers.get_all(name).into_iter().rev();
    headers.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
}

fn is_https(protocol: &[u8]) -> Option<bool> {
    let protocol = protocol.trim_ascii();
    let is = |word: &str| protocol.eq_ignore_ascii_case(word.as_bytes());
    (is("https") || is("http")).then(|| is("https"))
}

/// Some proxies add the port.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    // A port that is hidden (RFC 7239, 6.3) is no reason not to see the address.
    let address = address.or_else(|| {
        let (node, port) = text.rsplit_once(':')?;
        let node = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
        port.starts_with('_').then(|| node.parse().ok())?
    });
    address.map(|address: IpAddr| address.to_canonical())
}

/// The elements of `Forwarded`, the last of them. What is malformed is an element that says nothing.
fn elements(headers: &HeaderMap) -> Vec<Hop> {
    let mut elements = Vec::new();
    for value in headers.get_all(FORWARDED) {
        let mut rest = value.as_bytes();
        loop {
            let (element, after) = element(rest);
            elements.push(element);
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        // Only the last are ever looked at.
        let old = elements.len().saturating_sub(HOPS_MAX);
        elements.drain(..old);
    }
    elements
}

/// The first element of a list, and what follows the comma behind it.
fn element(text: &[u8]) -> (Hop, Option<&[u8]>) {
    let (mut address, mut proto) = (None, None);
    let mut rest = text;
    loop {
        let (name, value, end) = parameter(rest);
        if name.eq_ignore_ascii_case(b"for") {
            // A second one would be another opinion on the same hop.
            address = if address.is_none() { Some(value.as_deref().and_then(hop)) } else { Some(None) };
        } else if name.eq_ignore_ascii_case(b"proto") {
            proto = value.as_deref().and_then(is_https);
        }
        match end {
            [b';', after @ ..] => rest = after,
            [b',', after @ ..] => return ((address.flatten(), proto), Some(after)),
            _ => return ((address.flatten(), proto), None),
        }
    }
}

/// The first `name=value`, and the rest from the separator behind it on. The value is without its quotes; `None`
/// if it is malformed.
fn parameter(text: &[u8]) -> (&[u8], Option<Vec<u8>>, &[u8]) {
    let is_separator = |byte: &u8| matches!(byte, b';' | b',');
    let name_end = text.iter().position(|byte| *byte == b'=' || is_separator(byte)).unwrap_or(text.len());
    let name = text[..name_end].trim_ascii();
    let Some((b'=', value)) = text[name_end..].split_first() else { return (name, None, &text[name_end..]) };
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(is_separator).unwrap_or(value.len());
        return (name, Some(value[..end].trim_ascii().to_vec()), &value[end..]);
    };
    let (mut plain, mut bytes) = (Vec::new(), quoted.iter().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let rest = quoted[at + 1..].trim_ascii_start();
                let is_ended = rest.first().is_none_or(is_separator);
                let end = rest.iter().position(is_separator).unwrap_or(rest.len());
                return (name, is_ended.then_some(plain), &rest[end..]);
            }
            b'\\' => plain.extend(bytes.next().map(|(_, byte)| byte)),
            byte => plain.push(*byte),
        }
    }
    // The quotes do not end: nothing behind them can be told apart.
    (name, None, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> [IpNet; 2] {
        ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    fn with(peer: &str, lines: &[(HeaderName, &str)], by: ForwardedHeader) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        origin(peer.parse().unwrap(), &headers, &trusted(), by)
    }

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let lines: Vec<_> = forwarded.iter().map(|value| (X_FORWARDED_FOR, *value)).collect();
        with(peer, &lines, ForwardedHeader::XForwardedFor).address.to_string()
    }

    fn told(forwarded: &[&str]) -> (String, Option<bool>) {
        let lines: Vec<_> = forwarded.iter().map(|value| (FORWARDED, *value)).collect();
        let Origin { address, is_https } = with("10.0.0.1", &lines, ForwardedHeader::Forwarded);
        (address.to_string(), is_https)
    }

    #[test]
    fn strangers_cannot_say_who_they_are() {
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        let lines = [(FORWARDED, "for=198.51.100.1;proto=https")];
        let origin_of = with("203.0.113.9", &lines, ForwardedHeader::Forwarded);
        assert_eq!(origin_of, Origin { address: "203.0.113.9".parse().unwrap(), is_https: None });
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, "198.51.100.1".parse().unwrap())]);
        let origin = origin("10.0.0.1".parse().unwrap(), &headers, &[], ForwardedHeader::XForwardedFor);
        assert_eq!(origin.address.to_string(), "10.0.0.1");
    }

    #[test]
    fn the_header_that_the_proxies_do_not_write_is_no_matter() {
        let lines = [(FORWARDED, "for=198.51.100.1;proto=https"), (X_FORWARDED_FOR, "198.51.100.2")];
        let by = |by| with("10.0.0.1", &lines, by).address.to_string();
        assert_eq!(by(ForwardedHeader::XForwardedFor), "198.51.100.2");
        assert_eq!(by(ForwardedHeader::Forwarded), "198.51.100.1");
        assert_eq!(with("10.0.0.1", &lines, ForwardedHeader::XForwardedFor).is_https, None);
    }

    #[test]
    fn the_rightmost_hop_that_is_not_ours_is_the_client() {
        for (forwarded, expected) in [
            (&["198.51.100.1"] as &[&str], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1", "10.0.0.3,10.0.0.2"], "198.51.100.1"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:198.51.100.1"], "198.51.100.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["198.51.100.1,"], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(seen("10.0.0.1", forwarded), expected, "{forwarded:?}");
        }
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        for (forwarded, expected, is_https) in [
            (&["for=198.51.100.1"] as &[&str], "198.51.100.1", None),
            (&["For=\"198.51.100.1:4711\""], "198.51.100.1", None),
            (&["FOR=\"[2001:db8:cafe::17]:4711\";Proto=HTTPS"], "2001:db8:cafe::17", Some(true)),
            (&["for=\"[2001:db8::17]\";by=203.0.113.43;proto=http"], "2001:db8::17", Some(false)),
            (&["by=10.0.0.9;host=\"a,b;for=1.1.1.1\";for=198.51.100.1"], "198.51.100.1", None),
            (
                &["for=1.1.1.1, for=198.51.100.1;proto=https, for=10.0.0.2;proto=http"],
                "198.51.100.1",
                Some(true),
            ),
            (&["for=1.1.1.1, for=198.51.100.1", "for=10.0.0.3,for=10.0.0.2"], "198.51.100.1", None),
            (&["for=198.51.100.1, for=10.0.0.2;proto=https"], "198.51.100.1", Some(true)),
            (&["for=\"198.51.100.1:_port\""], "198.51.100.1", None),
            (&["for=\"[2001:db8::1]:_port\""], "2001:db8::1", None),
            (&["for=\"\\198.51.100.1\""], "198.51.100.1", None),
            // Nobody knows, or nobody says.
            (&["for=198.51.100.1, for=unknown;proto=https, for=10.0.0.2"], "10.0.0.2", Some(true)),
            (&["for=198.51.100.1, for=_hidden"], "10.0.0.1", None),
            (&["for=\"_SEVKISEK\""], "10.0.0.1", None),
            (&["proto=https"], "10.0.0.1", Some(true)),
            (&["proto=gopher"], "10.0.0.1", None),
            // Malformed: who passed it on is the best there is.
            (&["for"], "10.0.0.1", None),
            (&["for="], "10.0.0.1", None),
            (&["198.51.100.1"], "10.0.0.1", None),
            (&["for=\"198.51.100.1"], "10.0.0.1", None),
            (&["for=\"198.51.100.1\"x"], "10.0.0.1", None),
            (&["for=198.51.100.1;for=198.51.100.2"], "10.0.0.1", None),
            (&["for=198.51.100.1,"], "10.0.0.1", None),
            (&["for=198.51.100.1, for=\"10.0.0.2"], "10.0.0.1", None),
            (&[], "10.0.0.1", None),
        ] {
            assert_eq!(told(forwarded), (expected.to_owned(), is_https), "{forwarded:?}");
        }
    }

    #[test]
    fn the_protocol_is_the_clients() {
        let proto = |forwarded: &str, protocols: &[&str]| {
            let mut lines = vec![(X_FORWARDED_FOR, forwarded)];
            lines.extend(protocols.iter().map(|&protocol| (X_FORWARDED_PROTO, protocol)));
            with("10.0.0.1", &lines, ForwardedHeader::XForwardedFor).is_https
        };
        assert_eq!(proto("198.51.100.1", &["https"]), Some(true));
        assert_eq!(proto("198.51.100.1", &["HTTP"]), Some(false));
        assert_eq!(proto("198.51.100.1", &["https, http"]), Some(false), "the last is the proxy's");
        assert_eq!(proto("198.51.100.1, 10.0.0.2", &["https, http"]), Some(true), "each hop has its own");
        assert_eq!(proto("198.51.100.1, 10.0.0.2", &["https"]), Some(true));
        assert_eq!(proto("198.51.100.1", &["ws"]), None);
        assert_eq!(proto("198.51.100.1", &[]), None);
        let only = [(X_FORWARDED_PROTO, "https")];
        assert_eq!(with("10.0.0.1", &only, ForwardedHeader::XForwardedFor).is_https, Some(true));
    }

    #[test]
    fn an_endless_list_is_not_walked_to_its_end() {
        assert_eq!(
            seen("10.0.0.1", &[&format!("198.51.100.1{}", ", 10.0.0.2".repeat(HOPS_MAX))]),
            "10.0.0.2"
        );
        let list = format!("for=198.51.100.1{}", ", for=10.0.0.2".repeat(HOPS_MAX));
        assert_eq!(told(&[&list]).0, "10.0.0.2");
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_does_not_change_what_a_proxy_adds(client in "[ -~]{0,60}") {
            // A proxy writes a header of its own, or its element behind a comma where the rest is one that can be read.
            let lines = [(FORWARDED, client.as_str()), (FORWARDED, "for=198.51.100.1;proto=https")];
            let origin = with("10.0.0.1", &lines, ForwardedHeader::Forwarded);
            prop_assert_eq!(origin.address.to_string(), "198.51.100.1");
            prop_assert_eq!(seen("10.0.0.1", &[&format!("{client}, 198.51.100.1")]), "198.51.100.1");
        }
    }
}

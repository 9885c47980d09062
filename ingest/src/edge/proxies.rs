//! Whose request it is when it comes through proxies: the rightmost hop that is not one of ours. Pure.

use std::net::{IpAddr, SocketAddr};

use hyper::{HeaderMap, header::HeaderName};
use ipnet::IpNet;

/// Hops that are looked at; whoever sends more is taken for the last one looked at.
const HOPS_MAX: usize = 16;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address.
///
/// `X-Forwarded-For` counts only if the connection comes from a network of `trusted`, and then from the
/// right, as far as trusted proxies wrote it: what stands left of that, anybody may have written. A hop
/// that is no address ends the walk; the proxy that passed it on is then the best there is.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    if trusted.is_empty() {
        return client;
    }
    // Several headers are one list (RFC 9110, 5.3).
    let headers = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
    let mut hops = headers.flat_map(|value| value.as_bytes().rsplit(|b| *b == b',')).take(HOPS_MAX);
    while is_trusted(client)
        && let Some(next) = hops.next().and_then(hop)
    {
        client = next;
    }
    client
}

/// Some proxies add the port.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, value.parse().unwrap());
        }
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn strangers_cannot_say_who_they_are() {
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, "198.51.100.1".parse().unwrap())]);
        assert_eq!(client("10.0.0.1".parse().unwrap(), &headers, &[]).to_string(), "10.0.0.1");
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
    fn an_endless_list_is_not_walked_to_its_end() {
        assert_eq!(
            seen("10.0.0.1", &[&format!("198.51.100.1{}", ", 10.0.0.2".repeat(HOPS_MAX))]),
            "10.0.0.2"
        );
    }
}

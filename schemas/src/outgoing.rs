//! Which addresses an operator's endpoint may have: those of the public Internet. An endpoint that leads into the
//! network that whence runs in could otherwise be used to call what only trusts that network (server-side request
//! forgery). One rule, for whoever saves an address and for whoever calls it. Knows no DNS: what a name resolves to is
//! looked at with [`is_public`] when it is called.
//!
//! Strict on purpose: a text that two readers could take for two addresses (`127.1`, `0x7f.1`, `%6f`) is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an address.
pub const URL_BYTES_MAX: usize = 2048;
/// Bytes of a host's name, and of each of its labels (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Domains that no public name is in: RFC 6761 and 6762, RFC 7686, RFC 8375, and what ICANN keeps for private use.
const PRIVATE_DOMAINS: [&str; 5] = ["localhost", "local", "internal", "home.arpa", "lan"];
const NO_DOMAINS: [&str; 2] = ["invalid", "onion"];

/// Where a deployment's endpoints may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On the public Internet, over https.
    Public,
    /// In private networks and on this machine itself besides, on this machine also without TLS.
    Private,
}

impl Reach {
    /// By the setting that allows private addresses.
    #[must_use]
    pub fn of(allows_private: bool) -> Reach {
        if allows_private { Reach::Private } else { Reach::Public }
    }

    /// Whether a connection to this address may be made.
    #[must_use]
    pub fn covers(self, address: IpAddr) -> bool {
        self == Reach::Private || is_public(address)
    }
}

/// Why an address is never called. Each completes the sentence that starts with the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("must have at most {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Something that readers take differently, or that must be percent-encoded.
    #[error("must be made of visible ASCII without \\, #, \", < and >")]
    Character,
    /// No scheme, or one that is not called.
    #[error("must be a whole address such as https://shop.example/whence")]
    Form,
    /// `user@`.
    #[error("must not carry a user or password")]
    Userinfo,
    /// Not 1 to 65535.
    #[error("must have no port, or one between 1 and 65535")]
    Port,
    /// Neither a name nor an IP address in its usual form.
    #[error("must name a host of a-z, 0-9 and '-', or an IP address in its usual form")]
    Host,
    /// In a network that is not called.
    #[error(
        "must name a host of the public Internet: private, loopback and link-local addresses are not called unless \
         delivery-private allows them"
    )]
    Private,
    /// `http://`, and not to this machine itself.
    #[error("must begin with https://")]
    Plain,
}

/// Whether whoever delivers would call this address, as far as it can be seen from its text.
///
/// # Errors
/// See [`UrlError`].
pub fn check(url: &str, reach: Reach) -> Result<(), UrlError> {
    if url.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'))
    {
        return Err(UrlError::Character);
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlError::Form)?;
    let is_plain = match scheme {
        "https" => false,
        "http" => true,
        _ => return Err(UrlError::Form),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlError::Userinfo);
    }
    let (host, port) = split(authority)?;
    let is_port = |port: &str| {
        port.bytes().all(|digit| digit.is_ascii_digit()) && matches!(port.parse::<u16>(), Ok(1..))
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err(UrlError::Port);
    }
    let host = Host::of(host).ok_or(UrlError::Host)?;
    if host.is_nowhere() {
        return Err(UrlError::Host);
    }
    if reach == Reach::Public && !host.may_be_public() {
        return Err(UrlError::Private);
    }
    // Nobody is in between on this machine itself.
    if is_plain && (reach == Reach::Public || !host.is_loopback()) {
        return Err(UrlError::Plain);
    }
    Ok(())
}

/// Host and port of an authority.
fn split(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let end = match authority.starts_with('[') {
        true => authority.find(']').ok_or(UrlError::Host)? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(UrlError::Host),
    }
}

enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

impl Host {
    fn of(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().ok().map(|address| Host::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(fits)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A name that ends in a number is an IPv4 address to some readers (WHATWG URL, "ends in a number").
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
        let is_name = name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label) && !is_number;
        is_name.then_some(Host::Name(name))
    }

    fn is_in(&self, domains: &[&str]) -> bool {
        let Host::Name(name) = self else { return false };
        domains.iter().any(|domain| {
            name.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }

    /// A name that never resolves.
    fn is_nowhere(&self) -> bool {
        self.is_in(&NO_DOMAINS)
    }

    /// A name of one label is looked for in the machine's own domains.
    fn may_be_public(&self) -> bool {
        match self {
            Host::Address(address) => is_public(*address),
            Host::Name(name) => name.contains('.') && !self.is_in(&PRIVATE_DOMAINS),
        }
    }

    fn is_loopback(&self) -> bool {
        match self {
            Host::Address(address) => address.to_canonical().is_loopback(),
            Host::Name(_) => self.is_in(&["localhost"]),
        }
    }
}

/// Whether the address is of the public Internet. Sources: the IANA special-purpose address registries for IPv4
/// (RFC 6890) and IPv6; an address that carries an IPv4 address is what that is.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let carried = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => carried(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => carried(high, low),
        [0x2002, high, low, ..] => carried(high, low),
        // Teredo, ORCHID, benchmarking, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast is 2000::/3, and nothing else is.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    const CALLED: [&str; 7] = [
        "https://shop.example",
        "https://shop.example/hooks?token=a",
        "https://shop.example:8443/",
        "https://SHOP.example/a/../b?c=http://10.0.0.1/@",
        "https://[2606:4700::1111]:8443/a",
        "https://1.1.1.1/",
        "https://xn--bcher-kva.example/a_b/%2F",
    ];
    const HERE: [&str; 5] = [
        "http://127.0.0.1:9000/a",
        "http://127.8.0.1/",
        "http://[::1]/",
        "http://localhost:1",
        "http://[::ffff:127.0.0.1]/",
    ];
    const NEAR: [&str; 9] = [
        "https://10.0.0.1/",
        "https://intranet/",
        "https://localhost/",
        "https://db.internal/",
        "https://printer.local/",
        "https://nas.home.arpa/",
        "https://[fd12:3456::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest",
    ];
    const NEVER: [&str; 38] = [
        "",
        "shop.example",
        "/hooks",
        "//shop.example/",
        "https:/shop.example/",
        "https://",
        "https:///a",
        "https://?a",
        "http://shop.example/",
        "http://127.0.0.1.example/",
        "http://10.0.0.1/",
        "ftp://shop.example/",
        "HTTPS://shop.example/",
        "https://user@shop.example/",
        "https://:@shop.example/",
        "https://shop.example/#a",
        "https://shop.example\\@evil.example/",
        "https://shop.example:0/",
        "https://shop.example:/",
        "https://shop.example:+1/",
        "https://shop.example:99999/",
        "https://shop.example:1:2/",
        "https://sh\u{f6}p.example/",
        "https://sh%6fp.example/",
        "https://shop.example/a b",
        "https://shop..example/",
        "https://shop.example./",
        "https://-shop.example/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://a.0x10/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[10.0.0.1]/",
        "https://x.onion/",
        "https://x.invalid/",
    ];

    #[test]
    fn addresses_are_whole_safe_and_of_one_meaning() {
        for url in CALLED {
            assert_eq!((check(url, Reach::Public), check(url, Reach::Private)), (Ok(()), Ok(())), "{url}");
        }
        for url in HERE.iter().chain(&NEAR) {
            assert!(check(url, Reach::Public).is_err(), "{url}");
            assert_eq!(check(url, Reach::Private), Ok(()), "{url}");
        }
        for url in NEVER {
            assert!(check(url, Reach::Public).is_err() && check(url, Reach::Private).is_err(), "{url}");
        }
        assert_eq!(
            check(&format!("https://shop.example/{}", "a".repeat(2048)), Reach::Public),
            Err(UrlError::TooLong)
        );
    }
}

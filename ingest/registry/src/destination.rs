//! Which addresses a link may point at. Pure.
//!
//! Strict on purpose: a browser reads an address more generously than any parser (`\` as `/`, tabs left
//! out, hosts percent-decoded), so whatever two readers could take differently is refused.

use whence_schemas::token;

/// The longest destination, in bytes. Every browser and proxy takes this much.
pub const DESTINATION_BYTES_MAX: usize = 2048;

/// Why a link may not point at an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Longer than [`DESTINATION_BYTES_MAX`].
    #[error("must have at most {DESTINATION_BYTES_MAX} bytes")]
    TooLong,
    /// A control character, a space, `\`, or something outside ASCII that has to be percent-encoded.
    #[error("must be made of visible ASCII without a backslash, and has {0:?}")]
    Character(char),
    /// Neither `http://` nor `https://`.
    #[error("must start with https:// or http://")]
    Scheme,
    /// `user:password@`.
    #[error("must not carry a user or password")]
    Userinfo,
    /// No host, or one that is not valid.
    #[error("must name a host made of a-z, 0-9, '-' and '.'")]
    Host,
    /// A port that is not valid.
    #[error("must have no port, or one between 1 and 65535")]
    Port,
    /// The query names a parameter that redirects add.
    #[error("must not carry the reserved parameter {0:?}")]
    Reserved(&'static str),
    /// The program's list does not have the host.
    #[error("must point at one of the program's destination_hosts, points at {0:?}")]
    Foreign(String),
}

/// Checks a destination against a program's `destination_hosts`. Ports are not compared.
///
/// # Errors
/// See [`DestinationError`].
pub fn check(destination: &str, hosts: &[impl AsRef<str>]) -> Result<(), DestinationError> {
    let host = host_of(destination)?;
    if hosts.iter().any(|pattern| covers(pattern.as_ref(), &host)) {
        Ok(())
    } else {
        Err(DestinationError::Foreign(host))
    }
}

/// The host of an http(s) address in lower case, without its port.
fn host_of(address: &str) -> Result<String, DestinationError> {
    if address.len() > DESTINATION_BYTES_MAX {
        return Err(DestinationError::TooLong);
    }
    if let Some(wrong) = address.chars().find(|c| !c.is_ascii_graphic() || *c == '\\') {
        return Err(DestinationError::Character(wrong));
    }
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .ok_or(DestinationError::Scheme)?;
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    if authority.contains('@') {
        return Err(DestinationError::Userinfo);
    }
    if query_keys(path).any(|key| key == token::PARAMETER) {
        return Err(DestinationError::Reserved(token::PARAMETER));
    }
    let (host, port) = split_port(authority)?;
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err(DestinationError::Port);
    }
    let host = host.to_ascii_lowercase();
    if is_host(&host) { Ok(host) } else { Err(DestinationError::Host) }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), DestinationError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(DestinationError::Host)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(DestinationError::Host),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn query_keys(path: &str) -> impl Iterator<Item = &str> {
    let before_fragment = path.split('#').next().unwrap_or_default();
    let query = before_fragment.split_once('?').map_or("", |(_, query)| query);
    query.split('&').map(|pair| pair.split('=').next().unwrap_or_default())
}

/// Whether a host in lower case is a name or an IP address in the form browsers keep it in.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        })
}

/// Whether a text may stand in a program's `destination_hosts`: a host in lower case without a port, or
/// `*.` and a domain of at least two labels, which covers every host below that domain but not itself.
#[must_use]
pub fn is_pattern(pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => is_host(domain) && domain.contains('.') && !domain.starts_with('['),
        None => is_host(pattern),
    }
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOSTS: [&str; 3] = ["shop.example", "*.apps.example", "[::1]"];

    #[test]
    fn addresses_that_browsers_read_differently_are_refused() {
        use DestinationError as E;
        let cases = [
            (r"https://shop.example\@evil.example/", E::Character('\\')),
            ("https://shop.example/\t", E::Character('\t')),
            ("https://shop.example/ü", E::Character('ü')),
            ("https://shop.example@evil.example/", E::Userinfo),
            ("https://user:pw@shop.example/", E::Userinfo),
            ("javascript:alert(1)", E::Scheme),
            ("//shop.example/", E::Scheme),
            ("https:shop.example", E::Scheme),
            ("https:///shop.example", E::Host),
            ("https://shop%2eexample/", E::Host),
            ("https://shop.example./", E::Host),
            ("https://[::1]x/", E::Host),
            ("https://[::1", E::Host),
            ("https://shop.example:0/", E::Port),
            ("https://shop.example:/", E::Port),
            ("https://shop.example:1:2/", E::Port),
            ("https://shop.example/?a=1&wclid=x", E::Reserved("wclid")),
            ("https://evil.example/?u=https://shop.example/", E::Foreign("evil.example".into())),
            ("https://evil.example#.apps.example", E::Foreign("evil.example".into())),
            ("https://apps.example/", E::Foreign("apps.example".into())),
            ("https://evilapps.example/", E::Foreign("evilapps.example".into())),
        ];
        for (address, error) in cases {
            assert_eq!(check(address, &HOSTS), Err(error), "{address}");
        }
        assert_eq!(check(&format!("https://shop.example/{}", "x".repeat(2048)), &HOSTS), Err(E::TooLong));
    }

    #[test]
    fn addresses_on_the_programs_hosts_are_taken() {
        for address in [
            "https://shop.example",
            "http://shop.example:8080/a?b=c#d",
            "https://SHOP.example/?wclidx=1#wclid=2",
            "https://one.apps.example/",
            "https://one.two.apps.example/?q",
            "http://[::1]:3000/",
        ] {
            assert_eq!(check(address, &HOSTS), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_wildcard_covers_no_whole_top_level_domain() {
        for wrong in ["*", "*.", "*.com", "a.*", "Shop.example", "shop.example:80", "", "a..b", "*.[::1]"] {
            assert!(!is_pattern(wrong), "{wrong}");
        }
        for right in ["shop.example", "localhost", "127.0.0.1", "*.apps.example", "[::1]"] {
            assert!(is_pattern(right), "{right}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_passes_is_a_location_header(text in "https?://.{0,40}") {
            if check(&text, &["*.example.com", "a"]).is_ok() {
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}

//! The one form of a link's host, which requests are looked up by and which the registry takes. Pure, and
//! without allocating.

use memchr::memchr;
use std::{fmt::Write as _, net::Ipv6Addr};
use whence_schemas::ids::LinkHost;

/// Not `name`, `address` or `[address]`, with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host")]
pub struct NotAHost;

/// Appends the host in its one form: in lower case, without a dot at the end, without the port where that is one
/// of a scheme by itself.
///
/// # Errors
/// See [`NotAHost`]; then `text` may have a part of it.
pub fn put(host: &[u8], text: &mut String) -> Result<(), NotAHost> {
    let start = text.len();
    let name_len = match host {
        [b'[', ..] => memchr(b']', host).ok_or(NotAHost)? + 1,
        _ => memchr(b':', host).unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(name_len);
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => port(digits)?,
        _ => return Err(NotAHost),
    };
    if name.starts_with(b"[") {
        put_literal(name, text)?;
    } else {
        put_name(name, text)?;
    }
    if let Some(port) = port {
        // Writing to a text does not fail.
        let _ = write!(text, ":{port}");
    }
    if text.len() - start > LinkHost::MAX_LEN {
        return Err(NotAHost);
    }
    Ok(())
}

/// The port, where it is not one that a scheme has by itself. Leading zeros and no digits at all are allowed
/// (RFC 3986, 3.2.3).
fn port(digits: &[u8]) -> Result<Option<u16>, NotAHost> {
    let mut port: u16 = 0;
    for digit in digits {
        let value = digit.is_ascii_digit().then(|| u16::from(digit - b'0'));
        let next = value.and_then(|value| port.checked_mul(10)?.checked_add(value));
        port = next.ok_or(NotAHost)?;
    }
    match port {
        0 if !digits.is_empty() => Err(NotAHost),
        0 | 80 | 443 => Ok(None),
        port => Ok(Some(port)),
    }
}

/// Appends a name or an IPv4 address, in lower case and without the dot that stands for the root.
fn put_name(name: &[u8], text: &mut String) -> Result<(), NotAHost> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    // `_`, `@` and `%` are among the characters that a link's host can't have.
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let has_empty_label =
        name.is_empty() || name[0] == b'.' || name.ends_with(b".") || name.windows(2).any(|two| two == b"..");
    if has_empty_label || name.len() > LinkHost::MAX_LEN || !name.iter().all(is_name_byte) {
        return Err(NotAHost);
    }
    text.extend(name.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    Ok(())
}

/// Appends an IPv6 address in brackets in its one form (RFC 5952). A zone is the sender's own business, and
/// no part of it.
fn put_literal(literal: &[u8], text: &mut String) -> Result<(), NotAHost> {
    let inner = str::from_utf8(&literal[1..literal.len() - 1]).map_err(|_| NotAHost)?;
    let address: Ipv6Addr = inner.parse().map_err(|_| NotAHost)?;
    // Writing to a text does not fail.
    let _ = write!(text, "[{address}]");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_form_stays_as_it_is() {
        for host in ["GO.Example.:443", "go.example:08080", "[::0:1]:80", "127.0.0.1:8080", "a-b.c"] {
            let (mut once, mut twice) = (String::new(), String::new());
            put(host.as_bytes(), &mut once).unwrap();
            put(once.as_bytes(), &mut twice).unwrap();
            assert_eq!(once, twice, "{host}");
        }
    }
}

//! Endpoints to which whence sends webhooks: what may stand in their records.

use super::{
    Mistake,
    check::{ID_MAX, Mistakes, is_plain},
};
use hyper::Uri;
use whence_schemas::{event::WebhookEndpoint, ids::ProgramId, message, time::UnixMs};

/// Bytes of an address.
const URL_BYTES_MAX: usize = 2048;
/// Hosts that http is good enough for: nobody is in between.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// All that is wrong with an endpoint; nothing, where it can be used. Whether its secrets are there and its host
/// is one that may be called is seen where messages are sent.
#[must_use]
pub fn check_endpoint(endpoint: &WebhookEndpoint) -> Vec<Mistake> {
    let mut mistakes = Mistakes(Vec::new());
    if let Err(error) = endpoint.program.parse::<ProgramId>() {
        mistakes.add("program", error);
    }
    if !is_plain(&endpoint.id, ID_MAX) {
        mistakes.add("id", format_args!("must be 1 to {ID_MAX} of a-z, 0-9, '-', '_' and '.'"));
    }
    if let Err(reason) = check_url(&endpoint.url) {
        mistakes.add("url", reason);
    }
    for (index, kind) in endpoint.types.iter().enumerate() {
        if !message::TYPES.contains(&kind.as_str()) {
            let types = message::TYPES.join(", ");
            mistakes.add(format!("types[{index}]"), format_args!("must be one of {types}"));
        } else if endpoint.types[..index].contains(kind) {
            mistakes.add(format!("types[{index}]"), "is in the list twice");
        }
    }
    mistakes.secrets(&endpoint.secrets);
    if !UnixMs(endpoint.since_ms).is_storable() {
        mistakes.add("since", "must lie between 1970 and 2299");
    }
    mistakes.0
}

/// Strict, so that no two readers of the address take it for different ones.
fn check_url(url: &str) -> Result<(), &'static str> {
    if url.len() > URL_BYTES_MAX {
        return Err("must have at most 2048 bytes");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#')) {
        return Err("must be made of visible ASCII without \\ and #");
    }
    let uri: Uri = url.parse().map_err(|_| "must be a whole address such as https://shop.example/whence")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("must be a whole address such as https://shop.example/whence");
    };
    if authority.as_str().contains('@') {
        return Err("must not carry a user or password");
    }
    let is_port =
        authority.as_str().ends_with(authority.host()) || authority.port_u16().is_some_and(|port| port > 0);
    if authority.host().is_empty() || !is_port {
        return Err("must name a host, and a port between 1 and 65535 or none");
    }
    match scheme {
        "https" => Ok(()),
        "http" if LOOPBACK.contains(&authority.host()) => Ok(()),
        _ => Err("must begin with https://, or with http:// for this machine itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_whole_safe_and_of_one_meaning() {
        for url in [
            "https://shop.example",
            "https://shop.example/hooks?token=a",
            "https://shop.example:8443/",
            "https://[2001:db8::1]:8443/a",
            "http://127.0.0.1:9000/a",
            "http://[::1]/",
            "http://localhost:1",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "shop.example",
            "/hooks",
            "https://",
            "https:///a",
            "http://shop.example/",
            "http://127.0.0.1.example/",
            "ftp://shop.example/",
            "https://user@shop.example/",
            "https://shop.example/#a",
            "https://shop.example\\@evil.example/",
            "https://shop.example:0/",
            "https://shop.example:99999/",
            "https://sh\u{f6}p.example/",
            "https://shop.example/a b",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
        assert!(check_url(&format!("https://shop.example/{}", "a".repeat(2048))).is_err());
    }
}

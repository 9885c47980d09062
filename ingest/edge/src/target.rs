//! Which link a request asks for: `host/code` from the request target and the `Host` header. Pure, and
//! without allocating: the key of a look-up is put together in memory of the caller's.

use super::reading::Reading;
use hyper::{HeaderMap, Uri, Version, header::HOST, http::uri::Scheme};
use whence_registry::host::{self, NotAHost};
use whence_schemas::ids::{LinkCode, LinkHost};

/// Bytes of the longest `host/code`.
pub const KEY_BYTES_MAX: usize = LinkHost::MAX_LEN + 1 + LinkCode::MAX_LEN;

/// Why a request is for no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No `Host` where there must be one.
    #[error("no host")]
    Missing,
    /// Several hosts: two readers could choose differently (RFC 9112, 3.2).
    #[error("more than one host")]
    Several,
    /// Not the form of a link's host.
    #[error("not a host")]
    Malformed,
}

impl From<NotAHost> for TargetError {
    fn from(NotAHost: NotAHost) -> Self {
        TargetError::Malformed
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'t> {
    /// In lower case; without the port where it is 80 or 443, and without a dot at the end.
    pub host: &'t str,
    /// `host/code`, if the path has the form of a code.
    pub link: Option<&'t str>,
    /// How that was read: exact, decoded, or trimmed of one slash.
    pub reading: Reading,
}

/// Reads the target; `text` holds it and is kept by the caller for its memory.
///
/// A request names its host once and in one way: a second `Host`, one that is not a host and, from HTTP/1.1 on, a
/// missing one are refused even where the address in the target would do (RFC 9112, 3.2). Over HTTP/2 the
/// address takes the header's place, and a header that differs from it is refused (RFC 9113, 8.3.1).
///
/// # Errors
/// See [`TargetError`]; all of them are the client's fault.
pub fn read<'t>(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    text: &'t mut String,
) -> Result<Target<'t>, TargetError> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(TargetError::Several);
    }
    text.clear();
    match (uri.authority(), header) {
        (None, Some(header)) => host::put(header.as_bytes(), text)?,
        (None, None) => return Err(TargetError::Missing),
        (Some(authority), header) => {
            let is_web =
                uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
            if !is_web {
                return Err(TargetError::Malformed);
            }
            match header {
                Some(header) => host::put(header.as_bytes(), text)?,
                None if version == Version::HTTP_11 => return Err(TargetError::Missing),
                None => {}
            }
            let header_len = text.len();
            host::put(authority.as_str().as_bytes(), text)?;
            let (named, outdoing) = text.split_at(header_len);
            if version >= Version::HTTP_2 && header.is_some() && named != outdoing {
                return Err(TargetError::Several);
            }
            // The address in the target outdoes the header (RFC 9112, 3.2.2).
            text.drain(..header_len);
        }
    }
    let host_len = text.len();
    let reading = put_code(uri.path(), text);
    let link = reading.map(|_| &**text);
    Ok(Target { host: &text[..host_len], link, reading: reading.unwrap_or_default() })
}

/// Puts `/code`, if the path is one, and otherwise nothing. Says how it was read. One slash at the end is passed over: mail programs and people
/// add it. Characters that need no encoding are the same encoded (RFC 3986, 6.2.2.2); others are in no code.
fn put_code(path: &str, text: &mut String) -> Option<Reading> {
    let host_len = text.len();
    let reading = try_put_code(path, text);
    if reading.is_none() {
        text.truncate(host_len);
    }
    reading
}

fn try_put_code(path: &str, text: &mut String) -> Option<Reading> {
    let code = path.strip_prefix('/')?;
    let bare = code.strip_suffix('/');
    let mut reading = if bare.is_some() { Reading::Trimmed } else { Reading::Exact };
    let mut rest = bare.unwrap_or(code).as_bytes();
    text.push('/');
    let start = text.len();
    while let [first, after @ ..] = rest {
        let byte;
        (byte, rest) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                reading = reading.max(Reading::Decoded);
                (u8::try_from(digit(high)? << 4 | digit(low)?).ok()?, after)
            }
            _ => (*first, after),
        };
        let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if !is_unreserved || text.len() - start == LinkCode::MAX_LEN {
            return None;
        }
        text.push(char::from(byte));
    }
    (text.len() > start).then_some(reading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    fn with<T>(uri: &str, hosts: &[&[u8]], look: impl FnOnce(Result<Target<'_>, TargetError>) -> T) -> T {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        look(read(&uri.parse().unwrap(), Version::HTTP_10, &headers, &mut String::from("before")))
    }

    #[test]
    fn requests_for_no_host_are_refused() {
        let refused = |hosts: &[&[u8]]| with("/abc", hosts, |target| target.unwrap_err());
        assert_eq!(refused(&[]), TargetError::Missing);
        assert_eq!(refused(&[b"go.example", b"go.example"]), TargetError::Several);
        let odd: &[&[u8]] = &[
            b"",
            b".",
            b":80",
            b"a@b",
            b"a/b",
            b"a b",
            b"a,b",
            b"a%2e",
            b"a\\b",
            b"\xe4",
            b"a_b",
            &[b'a'; 254],
        ];
        for host in odd {
            assert_eq!(refused(&[host]), TargetError::Malformed, "{:?}", host.escape_ascii().to_string());
        }
    }

    #[test]
    fn one_host_has_one_form() {
        for host in ["go.example", "GO.Example", "go.example:80", "go.example:443", "go.example."] {
            with("/aB~1", &[host.as_bytes()], |target| {
                let link = Some("go.example/aB~1");
                let expected = Target { host: "go.example", link, reading: Reading::Exact };
                assert_eq!(target, Ok(expected), "{host}");
            });
        }
        with("/a", &[b"go.example:8080"], |target| {
            assert_eq!(target.unwrap().link, Some("go.example:8080/a"))
        });
        with("/a", &[b"[::1]:80"], |target| assert_eq!(target.unwrap().host, "[::1]"));
    }

    #[test]
    fn two_names_of_one_host_are_one_over_http_2_and_two_names_are_refused() {
        let over = |header: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(header))]);
            let uri = "https://go.example/a".parse().unwrap();
            read(&uri, Version::HTTP_2, &headers, &mut String::new())
                .map(|target| target.host == "go.example")
        };
        assert_eq!(over("GO.example.:443"), Ok(true));
        assert_eq!(over("evil.example"), Err(TargetError::Several));
        assert_eq!(over("go.example:80:80"), Err(TargetError::Malformed));
    }

    #[test]
    fn an_absolute_target_outdoes_the_header() {
        with("http://go.example/a", &[b"evil.example"], |target| {
            assert_eq!(target.unwrap().link, Some("go.example/a"));
        });
        with("http://u@go.example/a", &[], |target| assert_eq!(target, Err(TargetError::Malformed)));
    }

    #[test]
    fn paths_that_are_no_codes_are_no_links_and_codes_are_the_same_encoded() {
        let long = format!("/{}", "a".repeat(65));
        for path in [
            "/",
            "//",
            "//evil.example",
            "/a/b",
            "/a//",
            "/a%2Fb",
            "/a%",
            "/a%7",
            "/a%zz",
            "/a%+7",
            "/a%2561",
            "/a%0d%0aX:",
            "/a@b",
            "/.env/",
            "*",
            &long,
        ] {
            let is_dotted = path == "/.env/";
            with(path, &[b"go.example"], |target| {
                assert_eq!(target.unwrap().link.is_some(), is_dotted, "{path}")
            });
        }
        let longest = format!("/{}", "%61".repeat(64));
        for (path, code) in
            [("/a%7Eb", "a~b"), ("/a%7eb/", "a~b"), ("/%41%2d%5F%2E", "A-_."), (&*longest, &*"a".repeat(64))]
        {
            let expected = format!("go.example/{code}");
            with(path, &[b"go.example"], |target| {
                assert_eq!(target.unwrap().link, Some(&*expected), "{path}")
            });
        }
        with("/a/?x=1", &[b"go.example"], |target| assert_eq!(target.unwrap().link, Some("go.example/a")));
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_the_form_of_the_registrys_names(path in "/[!-~]{0,80}", host in "[!-~]{1,40}") {
            let Ok(uri) = path.parse::<Uri>() else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(&host).unwrap());
            let mut buffer = String::new();
            if let Ok(target) = read(&uri, Version::HTTP_11, &headers, &mut buffer) {
                prop_assert!(target.host.parse::<LinkHost>().is_ok());
                if let Some(link) = target.link {
                    let code = link.strip_prefix(target.host).and_then(|rest| rest.strip_prefix('/'));
                    prop_assert!(code.unwrap().parse::<LinkCode>().is_ok());
                }
            }
        }
    }

    #[test]
    fn fuzz_targets_and_hosts() {
        bolero::check!().with_type::<(String, Vec<u8>)>().for_each(|(uri, host)| {
            let (Ok(uri), Ok(host)) = (uri.parse(), HeaderValue::from_bytes(host)) else { return };
            let headers = HeaderMap::from_iter([(HOST, host)]);
            let mut text = String::new();
            if let Ok(target) = read(&uri, Version::HTTP_11, &headers, &mut text) {
                assert!(!target.host.bytes().any(|byte| byte.is_ascii_uppercase()), "{target:?}");
                assert!(target.link.is_none_or(|link| link.starts_with(target.host)), "{target:?}");
            }
        });
    }
}

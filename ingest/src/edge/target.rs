//! Which link a request asks for: `host/code` from the request target and the `Host` header. Pure, and
//! without allocating: the key of a look-up is put together in memory of the caller's.

use hyper::{HeaderMap, Uri, header::HOST};
use whence_schemas::ids::{LinkCode, LinkHost};

/// Bytes of the longest `host/code`.
pub const KEY_BYTES_MAX: usize = LinkHost::MAX_LEN + 1 + LinkCode::MAX_LEN;

/// Why a request is for no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No `Host` and no address in the request line.
    #[error("no host")]
    Missing,
    /// Several `Host` headers: two readers could choose differently (RFC 9112, 3.2).
    #[error("more than one host")]
    Several,
    /// Not the form of a link's host.
    #[error("not a host")]
    Malformed,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'t> {
    /// In lower case; without the port where it is 80 or 443, and without a dot at the end.
    pub host: &'t str,
    /// `host/code`, if the path has the form of a code.
    pub link: Option<&'t str>,
}

/// Reads the target; `text` holds it and is kept by the caller for its memory.
///
/// # Errors
/// See [`TargetError`]; all of them are the client's fault.
pub fn read<'t>(uri: &Uri, headers: &HeaderMap, text: &'t mut String) -> Result<Target<'t>, TargetError> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(TargetError::Several);
    }
    // The address in an absolute request line outdoes the header (RFC 9112, 3.2.2).
    let host = match (uri.authority(), header) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(header)) => header.to_str().map_err(|_| TargetError::Malformed)?,
        (None, None) => return Err(TargetError::Missing),
    };
    text.clear();
    put_host(host, text)?;
    let host_len = text.len();
    let is_link = put_code(uri.path(), text);
    Ok(Target { host: &text[..host_len], link: is_link.then_some(&**text) })
}

/// Puts the host in its one form.
fn put_host(host: &str, text: &mut String) -> Result<(), TargetError> {
    let host = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    // `_`, `@` and `%` are among what a link's host has not.
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'[' | b']');
    if host.is_empty() || host.len() > LinkHost::MAX_LEN || !host.bytes().all(is_host_byte) {
        return Err(TargetError::Malformed);
    }
    text.push_str(host);
    text.make_ascii_lowercase();
    Ok(())
}

/// Puts `/code`, if the path is one. One slash at the end is passed over: mail programs and people add it.
fn put_code(path: &str, text: &mut String) -> bool {
    let Some(code) = path.strip_prefix('/') else { return false };
    let code = code.strip_suffix('/').unwrap_or(code);
    let is_code_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    if code.is_empty() || code.len() > LinkCode::MAX_LEN || !code.bytes().all(is_code_byte) {
        return false;
    }
    text.push('/');
    text.push_str(code);
    true
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
        look(read(&uri.parse().unwrap(), &headers, &mut String::from("before")))
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
                let expected = Target { host: "go.example", link: Some("go.example/aB~1") };
                assert_eq!(target, Ok(expected), "{host}");
            });
        }
        with("/a", &[b"go.example:8080"], |target| {
            assert_eq!(target.unwrap().link, Some("go.example:8080/a"))
        });
        with("/a", &[b"[::1]:80"], |target| assert_eq!(target.unwrap().host, "[::1]"));
    }

    #[test]
    fn an_absolute_target_outdoes_the_header() {
        with("http://go.example/a", &[b"evil.example"], |target| {
            assert_eq!(target.unwrap().link, Some("go.example/a"));
        });
        with("http://u@go.example/a", &[], |target| assert_eq!(target, Err(TargetError::Malformed)));
    }

    #[test]
    fn paths_that_are_no_codes_are_no_links() {
        let long = format!("/{}", "a".repeat(65));
        for path in
            ["/", "//", "//evil.example", "/a/b", "/a//", "/%61", "/a%0d%0aX:", "/a@b", "/.env/", "*", &long]
        {
            let is_dotted = path == "/.env/";
            with(path, &[b"go.example"], |target| {
                assert_eq!(target.unwrap().link.is_some(), is_dotted, "{path}")
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
            if let Ok(target) = read(&uri, &headers, &mut buffer) {
                prop_assert!(target.host.parse::<LinkHost>().is_ok());
                if let Some(link) = target.link {
                    let code = link.strip_prefix(target.host).and_then(|rest| rest.strip_prefix('/'));
                    prop_assert!(code.unwrap().parse::<LinkCode>().is_ok());
                }
            }
        }
    }
}

//! The address of a server.

use secrecy::SecretString;
use std::{fmt, str::FromStr};
use url::Url;
use whence_runtime::settings::{Invalid, Value};

/// `https://user:password@host:8443/prefix`. Shown without the credentials in it, which are read and taken out.
/// Without a port it is the scheme's own, 80 or 443; ClickHouse itself listens at 8123 and 8443.
#[derive(Clone)]
pub struct ServerUrl {
    /// Without credentials, and without a `/` at its end.
    bare: String,
    authority: String,
    path: String,
    is_https: bool,
    credentials: Option<(String, SecretString)>,
}

/// Why a text is not a server's address; the error never has the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The text is not a URL with a host.
    #[error("expected an address such as https://clickhouse:8443 or http://[::1]:8123")]
    NoUrl,
    /// Another scheme.
    #[error("must begin with http:// or https://: ClickHouse is queried over its HTTP interface")]
    Scheme,
    /// What follows the path is not part of an address.
    #[error("must end with host, port or path: what ?… or #… would say has settings of its own: remove it")]
    Query,
    /// A user without a password.
    #[error("has a user without a password: give both as user:password@, or neither")]
    HalfCredentials,
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<ServerUrl, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoUrl)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlError::Scheme);
        }
        // The parser takes `http:///host` for `http://host`.
        let mut url = Url::parse(text).ok().filter(|_| !rest.starts_with('/')).ok_or(UrlError::NoUrl)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::Query);
        }
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => Some((decoded(user), decoded(password).into())),
            _ => return Err(UrlError::HalfCredentials),
        };
        let cannot_be = "a URL with a host can have credentials, and none";
        url.set_password(None).expect(cannot_be);
        url.set_username("").expect(cannot_be);
        let host = url.host_str().ok_or(UrlError::NoUrl)?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(ServerUrl {
            authority,
            path: url.path().trim_end_matches('/').to_owned(),
            is_https: url.scheme() == "https",
            bare: url.as_str().trim_end_matches('/').to_owned(),
            credentials,
        })
    }
}

impl ServerUrl {
    /// Without credentials.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.bare
    }

    /// Host and port as given, for a metric's label.
    #[must_use]
    pub fn authority(&self) -> String {
        self.authority.clone()
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// User and password in it.
    #[must_use]
    pub fn credentials(&self) -> Option<(&str, &SecretString)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password))
    }

    /// What stands between host and `?`, without a `/` at its end.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bare)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bare)
    }
}

impl Value for ServerUrl {
    const PLACEHOLDER: &'static str = "URL";

    fn parse(text: &str) -> Result<ServerUrl, Invalid> {
        text.parse().map_err(|error: UrlError| Invalid::new(error.to_string()))
    }

    /// That there is a password is shown.
    fn render(&self) -> String {
        match (&self.credentials, self.bare.split_once("://")) {
            (Some(_), Some((scheme, rest))) => format!("{scheme}://(secret)@{rest}"),
            _ => self.bare.clone(),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn an_address_keeps_port_and_path_and_shows_no_credentials() {
        let shown = |text: &str| {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(format!("{url}"), format!("{url:?}"));
            format!("{url} {} {}", url.authority(), url.path())
        };
        assert_eq!(shown("http://db:8123"), "http://db:8123 db:8123 ");
        assert_eq!(shown("HTTPS://Db.Example/"), "https://db.example db.example ");
        assert_eq!(shown("https://a.example/ch/one/"), "https://a.example/ch/one a.example /ch/one");
        assert_eq!(shown("http://[::1]:8123/x"), "http://[::1]:8123/x [::1]:8123 /x");
        assert_eq!(shown("https://ann:p%40ss@db:8443/x@y"), "https://db:8443/x@y db:8443 /x@y");
        let url: ServerUrl = "https://ann:p%40s%3as@db".parse().unwrap();
        let (user, password) = url.credentials().unwrap();
        assert_eq!((user, password.expose_secret()), ("ann", "p@s:s"));
        assert!(url.is_https() && "http://db".parse::<ServerUrl>().unwrap().credentials().is_none());
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused_without_being_shown() {
        for (text, expected) in [
            ("db:8123", UrlError::NoUrl),
            ("", UrlError::NoUrl),
            ("http://", UrlError::NoUrl),
            ("http:///x", UrlError::NoUrl),
            ("http://db:port", UrlError::NoUrl),
            ("http://db:99999", UrlError::NoUrl),
            ("http://a b", UrlError::NoUrl),
            ("clickhouse://db:9000", UrlError::Scheme),
            ("tcp://db:9000", UrlError::Scheme),
            ("http://db:8123?database=x", UrlError::Query),
            ("http://db:8123/#x", UrlError::Query),
            ("http://ann@db:8123", UrlError::HalfCredentials),
            ("http://:hunter2@db:8123", UrlError::HalfCredentials),
        ] {
            let refused = text.parse::<ServerUrl>().unwrap_err();
            assert_eq!(refused, expected, "{text}");
            assert!(!refused.to_string().contains("hunter2"));
        }
    }
}

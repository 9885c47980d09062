//! Which web pages may call a local listener: none but its own.
//!
//! A browser on the same machine reaches what listens on loopback, and so does every page in it: by a
//! form or a script of another site (the browser then says so in `Sec-Fetch-Site` and `Origin`), or by a
//! name that resolves to 127.0.0.1 (DNS rebinding: then only `Host` tells). Programs that are not browsers
//! send neither header and name an address or a name that they were given.
//!
//! Sources: Fetch Metadata (W3C), the Fetch standard for `Origin`, RFC 9110 §7.2 for `Host`.

use std::net::IpAddr;

use hyper::header::{HOST, ORIGIN};
use hyper::{HeaderMap, Method, StatusCode, Uri};

crate::settings! {
    /// Local listeners
    pub struct SiteSettings {
        /// Names by which a listener on loopback may be called, beside addresses and `localhost`: those that a
        /// proxy on this machine passes on. Pages of other sites may call none.
        pub allowed_hosts: Vec<String>,
    }
}

/// What a listener lets pass.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Whether it listens on loopback, so that only this machine's programs should call it.
    pub is_local: bool,
    /// Names by which it may be called, beside addresses and `localhost`; a proxy's public name, for
    /// example. Calls by such a name come from the network and are not held to be local.
    pub names: Vec<String>,
    /// Whether it has pages that other sites may link to.
    pub has_pages: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By a name that is not this listener's.
    Host,
    /// By a page of another site.
    CrossSite,
}

impl Refusal {
    /// The status it is told with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::CrossSite => StatusCode::FORBIDDEN,
        }
    }

    /// What it means and what to do.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Host => {
                "this listener is for this machine: call it by its address or as localhost, or give the name \
                 that it is called by in `allowed-hosts`"
            }
            Self::CrossSite => "pages of other sites may not call this listener",
        }
    }

    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::CrossSite => "cross_site",
        }
    }
}

impl Site {
    /// Whether a request may pass.
    ///
    /// # Errors
    /// A local listener is called by a foreign name or by another site's page.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.is_local {
            return Ok(());
        }
        let mut hosts = headers.get_all(HOST).iter();
        let header = hosts.next().and_then(|host| host.to_str().ok());
        if hosts.next().is_some() {
            return Err(Refusal::Host);
        }
        let authority = uri.authority().map(hyper::http::uri::Authority::as_str);
        let Some(host) = authority.or(header) else {
            // Every browser names one; probes that speak HTTP/1.0 do not.
            return if is_cross_site(headers, "") { Err(Refusal::CrossSite) } else { Ok(()) };
        };
        let name = name_of(host).ok_or(Refusal::Host)?;
        if self.names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        if !is_local_name(name) {
            return Err(Refusal::Host);
        }
        if is_cross_site(headers, host) && !(self.has_pages && is_followed_link(method, headers)) {
            return Err(Refusal::CrossSite);
        }
        Ok(())
    }
}

/// The host of `host[:port]`, brackets and a trailing dot taken off.
fn name_of(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let name = name.strip_suffix('.').unwrap_or(name);
    (is_port && !name.is_empty()).then_some(name)
}

fn is_local_name(name: &str) -> bool {
    let is_localhost = name.eq_ignore_ascii_case("localhost")
        || name.len() > 10 && name[name.len() - 10..].eq_ignore_ascii_case(".localhost");
    // A page that was loaded from an address has that address for its origin: no rebinding.
    is_localhost || name.parse::<IpAddr>().is_ok()
}

fn is_cross_site(headers: &HeaderMap, host: &str) -> bool {
    // Of several, each counts: a page may add one.
    let foreign_fetch = headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let foreign_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        !authority.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    });
    foreign_fetch || foreign_origin
}

/// A person who follows another site's link to a page.
fn is_followed_link(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &[u8]| headers.get(name).is_some_and(|header| header.as_bytes() == value);
    (method == Method::GET || method == Method::HEAD)
        && is("sec-fetch-mode", b"navigate")
        && is("sec-fetch-dest", b"document")
        && !headers.contains_key(ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(site: &Site, method: &Method, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        site.check(method, &Uri::from_static("/"), &map)
    }

    fn local() -> Site {
        Site { is_local: true, names: vec!["api.shop.example".to_owned()], has_pages: false }
    }

    #[test]
    fn a_local_listener_is_called_by_addresses_localhost_and_given_names_only() {
        for host in [
            "127.0.0.1:8123",
            "127.0.0.1",
            "localhost:8123",
            "LOCALHOST.",
            "a.localhost:1",
            "[::1]:8123",
            "10.1.2.3:80",
            "api.shop.example",
            "API.shop.example:443",
        ] {
            assert_eq!(check(&local(), &Method::POST, &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example:8123",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "api.shop.example.evil.example",
            "2130706433.example",
            "",
            ":8123",
            "localhost:1:2",
            "localhost:99999",
            "user@localhost",
            "[::1",
        ] {
            assert_eq!(check(&local(), &Method::POST, &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(check(&local(), &Method::GET, &[]), Ok(()), "a probe that speaks HTTP/1.0");
        let page = [("origin", "https://evil.example")];
        assert_eq!(check(&local(), &Method::GET, &page), Err(Refusal::CrossSite));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&local(), &Method::GET, &two), Err(Refusal::Host));
    }

    #[test]
    fn pages_of_other_sites_are_refused_whichever_header_tells() {
        let host = ("host", "127.0.0.1:8123");
        for header in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:9999"),
            ("origin", "http://localhost:8123"),
            ("origin", "null"),
        ] {
            let refused = check(&local(), &Method::POST, &[host, header]);
            assert_eq!(refused, Err(Refusal::CrossSite), "{header:?}");
        }
        for header in [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("origin", "http://127.0.0.1:8123"),
        ] {
            assert_eq!(check(&local(), &Method::POST, &[host, header]), Ok(()), "{header:?}");
        }
        for name in ["origin", "sec-fetch-site"] {
            let own = if name == "origin" { "http://127.0.0.1:8123" } else { "same-origin" };
            for two in [[own, "https://evil.example"], ["https://evil.example", own]] {
                let headers = [host, (name, two[0]), (name, two[1])];
                let refused = check(&local(), &Method::POST, &headers);
                assert_eq!(refused, Err(Refusal::CrossSite), "{two:?}");
            }
        }
    }

    #[test]
    fn a_link_to_a_page_may_be_followed_and_nothing_more() {
        let pages = Site { has_pages: true, ..local() };
        let headers = [
            ("host", "localhost:8082"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(check(&pages, &Method::GET, &headers), Ok(()));
        assert_eq!(check(&local(), &Method::GET, &headers), Err(Refusal::CrossSite));
        assert_eq!(check(&pages, &Method::POST, &headers), Err(Refusal::CrossSite));
        let mut framed = headers;
        framed[3] = ("sec-fetch-dest", "iframe");
        assert_eq!(check(&pages, &Method::GET, &framed), Err(Refusal::CrossSite));
    }

    #[test]
    fn a_listener_of_the_network_leaves_names_to_the_network() {
        let public = Site { is_local: false, ..local() };
        let headers = [("host", "anything.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(check(&public, &Method::POST, &headers), Ok(()));
    }
}

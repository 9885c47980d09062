//! The first-party visitor cookie: read, judged, made. Whether it may be set is the program's consent
//! mode and the visitor's `Sec-GPC`, decided by the caller.

use std::time::Duration;

use hyper::{
    HeaderMap,
    header::{COOKIE, HeaderName, HeaderValue},
};
use rand::Rng;

/// Characters of the cookie's value: 16 random bytes in hexadecimal.
pub const VALUE_LEN: usize = 32;

/// A visitor's random id, as text.
pub type VisitorId = [u8; VALUE_LEN];

const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// How the visitor cookie is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieConfig {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// How long browsers keep it.
    pub max_age: Duration,
    /// Whether browsers send it over https only. Over plain http such a cookie is never stored.
    pub is_secure: bool,
}

impl Default for CookieConfig {
    /// `whence_visitor`, a year, https only.
    fn default() -> Self {
        CookieConfig {
            name: "whence_visitor".to_owned(),
            max_age: Duration::from_secs(365 * 24 * 3600),
            is_secure: true,
        }
    }
}

/// The cookie, ready to be read and set.
#[derive(Clone, Debug)]
pub struct VisitorCookie {
    /// `name=`
    start: String,
    /// The attributes, from the first `;`: over plain http, over https.
    attributes: [String; 2],
}

impl VisitorCookie {
    /// The cookie of this configuration, or `None` where its name is not valid.
    #[must_use]
    pub fn new(config: &CookieConfig) -> Option<VisitorCookie> {
        let is_name_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if config.name.is_empty() || config.name.len() > 64 || !config.name.bytes().all(is_name_char) {
            return None;
        }
        // Lax: the cookie must come with a visit from another site, which every click on a link is.
        let max_age_s = config.max_age.as_secs();
        let attributes = [config.is_secure, true].map(|is_secure| {
            let secure = if is_secure { "; Secure" } else { "" };
            format!("; Max-Age={max_age_s}; Path=/; HttpOnly; SameSite=Lax{secure}")
        });
        Some(VisitorCookie { start: format!("{}=", config.name), attributes })
    }

    /// The id that the request brings; anything that was not made here is ignored.
    #[must_use]
    pub fn read(&self, headers: &HeaderMap) -> Option<VisitorId> {
        let cookies =
            headers.get_all(COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
        cookies
            .filter_map(|cookie| cookie.trim_ascii().strip_prefix(self.start.as_bytes()))
            .find_map(|value| VisitorId::try_from(value).ok().filter(is_id))
    }

    /// The header that sets it. What was given over https never goes over http again.
    #[must_use]
    pub fn set(&self, id: &VisitorId, is_https: bool) -> HeaderValue {
        let attributes = &self.attributes[usize::from(is_https)];
        let mut text = Vec::with_capacity(self.start.len() + VALUE_LEN + attributes.len());
        for part in [self.start.as_bytes(), id, attributes.as_bytes()] {
            text.extend_from_slice(part);
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("a checked name and plain ASCII")
    }
}

fn is_id(value: &VisitorId) -> bool {
    value.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A new visitor's id.
pub fn mint(random: &mut impl Rng) -> VisitorId {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = [0; VALUE_LEN / 2];
    random.fill_bytes(&mut bytes);
    std::array::from_fn(|at| {
        let byte = bytes[at / 2];
        DIGITS[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// Whether the visitor asks not to be followed (Global Privacy Control).
#[must_use]
pub fn objects(headers: &HeaderMap) -> bool {
    headers.get(SEC_GPC).is_some_and(|value| value.as_bytes().trim_ascii() == b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cookies: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        let cookie = VisitorCookie::new(&CookieConfig::default()).unwrap();
        cookie.read(&headers).map(|id| String::from_utf8(id.to_vec()).unwrap())
    }

    #[test]
    fn values_that_were_not_made_here_are_no_ids() {
        let id = "0123456789abcdef0123456789abcdef";
        for cookie in [
            String::new(),
            "whence_visitor=".into(),
            format!("whence_visitor={}", &id[1..]),
            format!("whence_visitor={id}0"),
            format!("whence_visitor={}", id.to_uppercase()),
            format!("whence_visitor=\"{id}\""),
            format!("xwhence_visitor={id}"),
        ] {
            assert_eq!(read(&[&cookie]), None, "{cookie}");
        }
    }

    #[test]
    fn the_id_is_found_among_other_cookies() {
        let id = "0123456789abcdef0123456789abcdef";
        let ours = format!("whence_visitor={id}");
        assert_eq!(read(&[&ours]).as_deref(), Some(id));
        assert_eq!(read(&[&format!("a=b; {ours};c=d")]).as_deref(), Some(id));
        assert_eq!(read(&["a=b", &format!("whence_visitor=bad; {ours}")]).as_deref(), Some(id));
    }

    #[test]
    fn the_cookie_is_first_party_and_out_of_scripts_reach() {
        let config = CookieConfig { name: "v".into(), max_age: Duration::from_secs(60), is_secure: false };
        let cookie = VisitorCookie::new(&config).unwrap();
        let set = cookie.set(b"0123456789abcdef0123456789abcdef", false);
        let expected = "v=0123456789abcdef0123456789abcdef; Max-Age=60; Path=/; HttpOnly; SameSite=Lax";
        assert_eq!(set, expected);
        let secure = VisitorCookie::new(&CookieConfig { is_secure: true, ..config }).unwrap();
        for (cookie, is_https) in [(&secure, false), (&secure, true), (&cookie, true)] {
            let set = cookie.set(b"0123456789abcdef0123456789abcdef", is_https);
            assert_eq!(set, format!("{expected}; Secure"));
        }
    }

    #[test]
    fn a_name_that_could_end_the_header_is_refused() {
        for name in ["", "a b", "a=b", "a;b", "a\r\nb", "ü"] {
            assert!(
                VisitorCookie::new(&CookieConfig { name: name.into(), ..CookieConfig::default() }).is_none()
            );
        }
    }
}

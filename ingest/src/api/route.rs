//! Paths and queries. Pure.

use super::problem::{Code, Problem};

/// What a path names. Ids are decoded and not looked at further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v1/events`
    Events,
    /// `/v1/programs/P/leads` and `/v1/programs/P/qualifications`
    Short {
        /// The kind of event.
        kind: &'static str,
        /// The program.
        program: String,
    },
    /// `/v1/programs`
    Programs,
    /// `/v1/programs/P`
    Program(String),
    /// `/v1/programs/P/referrers`
    Referrers(String),
    /// `/v1/programs/P/referrers/R`
    Referrer(String, String),
    /// `/v1/programs/P/links`
    Links(String),
    /// `/v1/programs/P/links/HOST/CODE`
    Link(String, String, String),
    /// `/v1/keys`
    Keys,
    /// `/v1/keys/K`
    Key(String),
    /// `/v1/programs/P/sources`
    Sources(String),
    /// `/v1/programs/P/sources/S`
    Source(String, String),
    /// `/v1/programs/P/sources/S/dry-run`
    DryRun(String, String),
    /// `/v1/webhooks/P/S`
    Webhook(String, String),
    /// `/v1/postback/P`
    Postback(String),
    /// `…/disable` or `…/enable` of one of the above.
    Switch(Box<Route>, bool),
}

impl Route {
    /// The route of a path, or `None` where it leads nowhere.
    #[must_use]
    pub fn of(path: &str) -> Option<Route> {
        let segments: Vec<String> =
            path.strip_prefix("/v1/")?.split('/').map(decode).collect::<Option<_>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let [rest @ .., switch @ ("disable" | "enable")] = segments.as_slice()
            && let Some(route) = Self::of_segments(rest)
            && route.can_be_switched(*switch == "disable")
        {
            return Some(Route::Switch(route.into(), *switch == "disable"));
        }
        Self::of_segments(&segments)
    }

    fn of_segments(segments: &[&str]) -> Option<Route> {
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let own = |text: &&str| (*text).to_owned();
        Some(match segments {
            ["events"] => Route::Events,
            ["keys"] => Route::Keys,
            ["keys", id] => Route::Key(own(id)),
            ["programs"] => Route::Programs,
            ["programs", id] => Route::Program(own(id)),
            ["programs", program, "leads"] => Route::Short { kind: "lead", program: own(program) },
            ["programs", program, "qualifications"] => {
                Route::Short { kind: "qualification", program: own(program) }
            }
            ["programs", program, "referrers"] => Route::Referrers(own(program)),
            ["programs", program, "referrers", id] => Route::Referrer(own(program), own(id)),
            ["programs", program, "sources"] => Route::Sources(own(program)),
            ["programs", program, "sources", id] => Route::Source(own(program), own(id)),
            ["programs", program, "sources", id, "dry-run"] => Route::DryRun(own(program), own(id)),
            ["webhooks", program, source] => Route::Webhook(own(program), own(source)),
            ["postback", program] => Route::Postback(own(program)),
            ["programs", program, "links"] => Route::Links(own(program)),
            ["programs", program, "links", host, code] => Route::Link(own(program), own(host), own(code)),
            _ => return None,
        })
    }

    /// A key that was disabled stays so: whoever had it may still have it.
    fn can_be_switched(&self, off: bool) -> bool {
        match self {
            Route::Program(_) | Route::Referrer(..) | Route::Link(..) | Route::Source(..) => true,
            Route::Key(_) => off,
            _ => false,
        }
    }

    /// The methods it takes.
    #[must_use]
    pub fn methods(&self) -> &'static str {
        match self {
            Route::Events
            | Route::Short { .. }
            | Route::Switch(..)
            | Route::DryRun(..)
            | Route::Webhook(..) => "POST",
            Route::Programs | Route::Key(_) | Route::Sources(_) | Route::Postback(_) => "GET",
            Route::Program(_) | Route::Referrer(..) | Route::Source(..) => "GET, PUT",
            Route::Referrers(_) | Route::Links(_) | Route::Keys => "GET, POST",
            Route::Link(..) => "GET, PATCH",
        }
    }
}

/// A segment or query part with its percent-encoding undone (RFC 3986), or `None` where that is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What `next` of the page before said; empty for the first.
    pub after: String,
    /// Entries, at most.
    pub limit: usize,
}

/// Entries of a page, at most.
pub const PAGE_MAX: usize = 1000;
const PAGE_DEFAULT: usize = 100;

impl Page {
    /// Reads `?after=…&limit=…`.
    ///
    /// # Errors
    /// 422 for any other parameter and for values that cannot be.
    pub fn of(query: Option<&str>) -> Result<Page, Problem> {
        let mut page = Page { after: String::new(), limit: PAGE_DEFAULT };
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let invalid = |detail: &str| Problem::of_field(name, Code::Invalid, detail);
            match name {
                "after" => {
                    page.after = decode(value).ok_or_else(|| invalid("is not percent-encoded UTF-8"))?
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                    page.limit = limit.ok_or_else(|| invalid("must be between 1 and 1000"))?;
                }
                _ => return Err(Problem::of_field(name, Code::UnknownField, "is not after or limit")),
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_lead_nowhere_are_refused() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v2/events",
            "/v1/events/",
            "/v1//events",
            "/v1/events/disable",
            "/v1/keys/a/enable",
            "/v1/programs/a/links/h",
            "/v1/programs/a/links/h/c/d",
            "/v1/programs/%",
            "/v1/programs/%zz",
            "/v1/programs/%ff",
            "/v1/programs/disable/links/disable",
            "/v1/programs//leads",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn paths_name_what_they_say() {
        let link = Route::Link("p".into(), "[::1]:80".into(), "a~b".into());
        assert_eq!(Route::of("/v1/programs/p/links/%5B::1%5D%3a80/a%7Eb"), Some(link.clone()));
        let off = Route::Switch(link.into(), true);
        assert_eq!(Route::of("/v1/programs/p/links/[::1]:80/a~b/disable"), Some(off));
        let named_disable = Route::Link("p".into(), "h".into(), "disable".into());
        assert_eq!(Route::of("/v1/programs/p/links/h/disable"), Some(named_disable));
        assert_eq!(Route::of("/v1/programs/disable"), Some(Route::Program("disable".into())));
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(Page::of(None).unwrap(), Page { after: String::new(), limit: 100 });
        let page = Page::of(Some("limit=5&after=a%2Fb")).unwrap();
        assert_eq!(page, Page { after: "a/b".into(), limit: 5 });
        for wrong in ["limit=0", "limit=1001", "limit=x", "limit", "after=%f", "page=2"] {
            assert!(Page::of(Some(wrong)).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "/v1/[a-z%0-9/]{0,40}", query in ".{0,20}") {
            let _ = Route::of(&path);
            let _ = Page::of(Some(&query));
        }
    }
}

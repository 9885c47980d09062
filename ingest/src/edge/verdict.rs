//! Who made a request, as far as its method and headers tell. Pure: what user agents mean is known to
//! [`agents`](super::agents).

use hyper::{
    HeaderMap, Method,
    header::{HeaderName, HeaderValue, USER_AGENT},
};
use whence_schemas::event::Verdict;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// Why a click got its verdict; a fixed set, so that it may be a column of few values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// The reason's word in records.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Reason::$name => $word,)+
                }
            }
        }
    };
}

reasons! {
    /// Human: a browser's agent, and nothing speaks against it.
    Browser = "browser",
    /// Head: the method.
    HeadMethod = "head_method",
    /// Prefetch: `Sec-Purpose` (Chrome, Firefox).
    SecPurpose = "sec_purpose",
    /// Prefetch: `Purpose` or `X-Purpose` (older Chrome, Safari).
    Purpose = "purpose",
    /// Prefetch: `X-Moz` (older Firefox).
    XMoz = "x_moz",
    /// Preview: the agent of a messenger or social network.
    PreviewAgent = "preview_agent",
    /// Bot: no agent, or an empty one.
    NoAgent = "no_agent",
    /// Bot: an agent that does not even claim to be a browser.
    NotABrowser = "not_a_browser",
    /// Bot: an agent of no list that says itself what it is.
    SelfDeclared = "self_declared",
    /// Bot: a search engine's crawler.
    SearchEngine = "search_engine",
    /// Bot: of an advertising system.
    Advertising = "advertising",
    /// Bot: a feed reader.
    FeedReader = "feed_reader",
    /// Bot: an HTTP library or command-line client.
    HttpLibrary = "http_library",
    /// Bot: a web archive.
    Archiver = "archiver",
    /// Bot: a search-engine optimiser's crawler.
    Seo = "seo",
    /// Bot: an uptime or quality monitor.
    Monitoring = "monitoring",
    /// Bot: a security scanner.
    Scanner = "scanner",
    /// Bot: gathers text for language models.
    AiCrawler = "ai_crawler",
    /// Bot: of a research project.
    Academic = "academic",
    /// Bot: a browser driven by a program.
    BrowserAutomation = "browser_automation",
    /// Bot: on an operator's own list, under another tag.
    ListedAgent = "listed_agent",
    /// Inactive: no such code on this host.
    UnknownLink = "unknown_link",
    /// Inactive: requests for such codes that were beyond their network's share; the record says how many.
    UnknownLinkLimited = "unknown_link_limited",
    /// Inactive: the link is switched off.
    LinkDisabled = "link_disabled",
    /// Inactive: its time is over.
    LinkExpired = "link_expired",
    /// Inactive: its referrer is switched off.
    ReferrerDisabled = "referrer_disabled",
    /// Inactive: its program is switched off.
    ProgramDisabled = "program_disabled",
    /// Inactive: its program has not been heard of yet.
    ProgramUnknown = "program_unknown",
    /// Inactive: the program's hosts do not have its destination.
    DestinationRefused = "destination_refused",
}

/// What a request is, and why.
pub type Judgement = (Verdict, Reason);

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const X_PURPOSE: HeaderName = HeaderName::from_static("x-purpose");
const X_MOZ: HeaderName = HeaderName::from_static("x-moz");

/// The verdict that needs no look at the agent, if there is one.
#[must_use]
pub fn of_request(method: &Method, headers: &HeaderMap) -> Option<Judgement> {
    if *method == Method::HEAD {
        return Some((Verdict::Head, Reason::HeadMethod));
    }
    // Values carry parameters: `prefetch;prerender`, `prefetch;anonymous-client-ip`.
    let ahead = |name: HeaderName, words: &[&str]| {
        headers.get(name).is_some_and(|value| words.iter().any(|word| starts_with(value, word)))
    };
    let reason = if ahead(SEC_PURPOSE, &["prefetch", "prerender"]) {
        Reason::SecPurpose
    } else if ahead(PURPOSE, &["prefetch", "prerender", "preview"])
        || ahead(X_PURPOSE, &["preview", "prefetch"])
    {
        Reason::Purpose
    } else if ahead(X_MOZ, &["prefetch"]) {
        Reason::XMoz
    } else {
        return None;
    };
    Some((Verdict::Prefetch, reason))
}

fn starts_with(value: &HeaderValue, word: &str) -> bool {
    let value = value.as_bytes().trim_ascii_start();
    value.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// The agent's bytes, blanks trimmed; empty where there is none.
#[must_use]
pub fn agent(headers: &HeaderMap) -> &[u8] {
    headers.get(USER_AGENT).map_or(&[], |value| value.as_bytes().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(method: &Method, name: &'static str, value: &'static str) -> Option<Judgement> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        of_request(method, &headers)
    }

    #[test]
    fn requests_made_ahead_of_a_click_are_prefetches() {
        let prefetch = |reason| Some((Verdict::Prefetch, reason));
        let cases = [
            ("sec-purpose", "prefetch", prefetch(Reason::SecPurpose)),
            ("sec-purpose", "prefetch;prerender", prefetch(Reason::SecPurpose)),
            ("sec-purpose", "prefetch;anonymous-client-ip", prefetch(Reason::SecPurpose)),
            ("purpose", "prefetch", prefetch(Reason::Purpose)),
            ("x-purpose", "preview", prefetch(Reason::Purpose)),
            ("x-moz", "Prefetch", prefetch(Reason::XMoz)),
            ("sec-purpose", "", None),
            ("sec-fetch-dest", "prefetch", None),
        ];
        for (name, value, expected) in cases {
            assert_eq!(judged(&Method::GET, name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn head_is_head_whatever_the_headers_say() {
        let expected = Some((Verdict::Head, Reason::HeadMethod));
        assert_eq!(judged(&Method::HEAD, "sec-purpose", "prefetch"), expected);
    }

    #[test]
    fn reasons_are_short_words_of_their_own() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            let word = reason.word();
            assert!(word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
            assert!(Reason::ALL[..index].iter().all(|other| other.word() != word), "{word} twice");
        }
    }
}

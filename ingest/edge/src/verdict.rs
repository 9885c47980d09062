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
    /// Human: an app on a telephone, television set or the like, outside of its browser.
    App = "app",
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
    /// Bot: a page loaded the link as an image, script or frame, or a script of it did (`Sec-Fetch-Mode`,
    /// `Sec-Fetch-Dest`). Nobody clicked: cookie stuffing looks like this.
    Subresource = "subresource",
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
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
/// What a page is made of (Fetch, 2.2.5, destinations), but for documents.
const PARTS_OF_PAGES: [&str; 16] = [
    "audio",
    "audioworklet",
    "font",
    "image",
    "json",
    "manifest",
    "paintworklet",
    "report",
    "script",
    "serviceworker",
    "sharedworker",
    "style",
    "track",
    "video",
    "worker",
    "xslt",
];
/// What shows a document within a page.
const FRAMES: [&str; 5] = ["embed", "fencedframe", "frame", "iframe", "object"];

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

/// What is left of the verdict on an agent when the headers tell how its browser came to ask (Fetch Metadata): a link
/// that is loaded as a part of a page was not clicked by the person whose browser it is.
#[must_use]
pub fn of_browser(headers: &HeaderMap, judged: Judgement) -> Judgement {
    if judged.0 == Verdict::Human && is_subresource(headers) {
        (Verdict::Bot, Reason::Subresource)
    } else {
        judged
    }
}

/// Whether a page, or a script of it, loads the link. Values that no specification has say nothing (Fetch Metadata, 2).
fn is_subresource(headers: &HeaderMap) -> bool {
    let is_one_of = |name: HeaderName, words: &[&str]| {
        let value = headers.get(name).map(|value| value.as_bytes().trim_ascii());
        value.is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes())))
    };
    is_one_of(SEC_FETCH_MODE, &["no-cors", "cors", "same-origin", "websocket"])
        || is_one_of(SEC_FETCH_DEST, &PARTS_OF_PAGES)
        // A frame is followed by people too, who click on something in it.
        || is_one_of(SEC_FETCH_DEST, &FRAMES) && !is_one_of(SEC_FETCH_USER, &["?1"])
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
    fn links_that_pages_load_were_not_clicked() {
        let human = (Verdict::Human, Reason::Browser);
        let judged = |lines: &[(&'static str, &'static str)]| {
            let lines =
                lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            of_browser(&HeaderMap::from_iter(lines), human)
        };
        const MODE: &str = "sec-fetch-mode";
        const DEST: &str = "sec-fetch-dest";
        const USER: &str = "sec-fetch-user";
        for lines in [
            &[(MODE, "no-cors"), (DEST, "image")][..],
            &[(DEST, "image")],
            &[(DEST, " IMAGE ")],
            &[(MODE, "no-cors")],
            &[(MODE, "cors"), (DEST, "empty")],
            &[(MODE, "no-cors"), (DEST, "script"), (USER, "?1")],
            &[(DEST, "style")],
            &[(DEST, "video")],
            &[(MODE, "navigate"), (DEST, "iframe")],
            &[(MODE, "navigate"), (DEST, "object")],
        ] {
            assert_eq!(judged(lines), (Verdict::Bot, Reason::Subresource), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[(MODE, "navigate"), (DEST, "document"), (USER, "?1")],
            &[(MODE, "navigate"), (DEST, "document")],
            &[(MODE, "navigate"), (DEST, "iframe"), (USER, "?1")],
            &[(MODE, "navigate"), (DEST, "empty")],
            &[(MODE, "unheard-of"), (DEST, "unheard-of")],
        ] {
            assert_eq!(judged(lines), human, "{lines:?}");
        }
        let preview = (Verdict::Preview, Reason::PreviewAgent);
        let headers = HeaderMap::from_iter([(SEC_FETCH_MODE, HeaderValue::from_static("cors"))]);
        assert_eq!(of_browser(&headers, preview), preview, "programs are what they say");
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

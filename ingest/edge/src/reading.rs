//! How a link is read out of a path that is not its code as it stands: people and programs pass links on with what
//! stood around them. Pure.
//!
//! Codes are few characters of ASCII, so whatever else is there was not meant to be one: it is taken away until a link is
//! found, the longest code first. `+` is never taken away: `/code+` is a form of its own.

use percent_encoding::percent_decode_str;
use whence_schemas::ids::LinkCode;

macro_rules! readings {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// How a link was read; of several the last in this order. A fixed set, so that it may be a column of few values.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reading {
            $($(#[$doc])* $name,)+
        }

        impl Reading {
            /// All of them.
            pub const ALL: &[Reading] = &[$(Reading::$name,)+];

            /// The reading's word in records.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Reading::$name => $word,)+
                }
            }
        }
    };
}

readings! {
    /// The code as it stands.
    #[default]
    Exact = "",
    /// In another case, on a host where case makes no difference.
    Case = "case",
    /// With characters percent-encoded that need not be.
    Decoded = "decoded",
    /// With blanks, punctuation or slashes around it.
    Trimmed = "trimmed",
    /// With parameters that begin with something else than `?`.
    Query = "query",
    /// With a channel behind it.
    Channel = "channel",
}

/// Bytes of a path that is looked at.
const PATH_BYTES_MAX: usize = 4096;
/// How often a path that was encoded several times is decoded.
const DECODINGS_MAX: usize = 3;
/// What stands for a character in HTML, behind its `&`: a page's source that was copied.
const ENTITIES: [&str; 9] = ["amp;", "quot;", "gt;", "lt;", "apos;", "nbsp;", "#34;", "#39;", "#x27;"];

/// What a path asks for, decoded and without what stands before the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    text: String,
    /// What it took to come to the text.
    reading: Reading,
    /// Parameters that the path holds; empty: none.
    pub query: String,
}

impl Asked {
    /// What this path asks for. `None` if it is too long to be looked at.
    #[must_use]
    pub fn of(path: &str) -> Option<Asked> {
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let mut code = path.strip_prefix('/').unwrap_or(path).to_owned();
        let (mut query, mut reading) = (String::new(), Reading::Exact);
        for _ in 0..DECODINGS_MAX {
            if let Some(at) = code.find(['&', '?', '#']).filter(|_| query.is_empty()) {
                query = parameters(&code[at..]);
                code.truncate(at);
                reading = Reading::Trimmed;
            }
            let decoded = percent_decode_str(&code).decode_utf8_lossy();
            if decoded == code {
                break;
            }
            code = decoded.into_owned();
            reading = reading.max(Reading::Decoded);
        }
        let len = code.len();
        // What was encoded and cut short.
        let is_cut = |at: &usize| match &code.as_bytes()[at + 1..] {
            [] => true,
            [digit] => digit.is_ascii_hexdigit(),
            _ => false,
        };
        if let Some(at) = code.rfind('%').filter(is_cut) {
            code.truncate(at);
        }
        code.retain(|c| !is_invisible(c));
        let text = code.trim_start_matches(stands_before).to_owned();
        if text.len() < len {
            reading = Reading::Trimmed;
        }
        Some(Asked { text, reading, query })
    }

    /// The path without what stands before it, decoded.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same without what stands behind it.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.text.trim_end_matches(may_stand_behind)
    }

    /// The codes that it may name, the longest first, each without a part of what stands behind the one before.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        cut(&self.text).filter(|code| code.parse::<LinkCode>().is_ok())
    }

    /// A code and the name of a channel behind it, in lower case.
    #[must_use]
    pub fn with_channel(&self) -> Option<(&str, String)> {
        let mut parts = self.text.split('/').filter(|part| !part.is_empty());
        let (code, channel) = (parts.next()?, parts.next()?);
        let channel = channel.trim_end_matches(may_stand_behind).to_ascii_lowercase();
        let is_code = code.parse::<LinkCode>().is_ok();
        let is_alone = parts.all(|part| part.chars().all(may_stand_behind));
        (is_code && is_alone && !channel.is_empty()).then_some((code, channel))
    }

    /// How a code of [`Asked::codes`] is read.
    #[must_use]
    pub fn reading(&self, code: &str) -> Reading {
        match (self.query.is_empty(), self.text == code) {
            (false, _) => Reading::Query,
            (true, false) => Reading::Trimmed,
            (true, true) => self.reading,
        }
    }
}

/// The text, and what is left of it as one character after the other is taken from its end.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(text), |text| text.strip_suffix(may_stand_behind))
}

/// What stands behind a code as parameters: from `&` or `?` on, without what stands for a character in HTML. Nothing of
/// what begins with `#`: that is for browsers.
fn parameters(text: &str) -> String {
    let mut rest = text;
    while let Some(after) = rest.strip_prefix(['&', '?']) {
        rest = after;
        for entity in ENTITIES {
            rest = rest.strip_prefix(entity).unwrap_or(rest);
        }
    }
    let rest = rest.split('#').next().unwrap_or_default();
    if rest.chars().any(char::is_alphanumeric) { rest.to_owned() } else { String::new() }
}

/// Punctuation, blanks, signs: no letter or digit of any script.
fn may_stand_behind(c: char) -> bool {
    !c.is_alphanumeric() && c != '+'
}

/// The same, but for what a hidden file and odd codes begin with.
fn stands_before(c: char) -> bool {
    may_stand_behind(c) && !matches!(c, '.' | '-' | '_' | '~')
}

/// What is not seen, and comes along within words.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes(path: &str) -> Vec<String> {
        Asked::of(path).unwrap().codes().map(str::to_owned).collect()
    }

    #[test]
    fn what_stands_around_a_code_is_taken_away() {
        for path in [
            "/hi.",
            "/hi)",
            "/hi,",
            "/hi;",
            "/hi:",
            "/hi!",
            "/hi%3F",
            "/hi]",
            "/hi}",
            "/hi%3E",
            "/hi'",
            "/hi%22",
            "/hi%27)",
            "/hi%20",
            "/hi%20%20.",
            "/hi%0A",
            "/hi%0d%0a",
            "/hi%09",
            "/hi%C2%A0",
            "/hi%E2%80%8B",
            "/hi%EF%BB%BF",
            "/hi%E2%80%9D",
            "/hi%C2%BB",
            "/hi%E2%80%A6",
            "/hi%E3%80%82",
            "/hi%EF%BC%8C",
            "/hi%EF%BC%89",
            "/hi%A0",
            "/hi%94",
            "/hi*",
            "/hi_",
            "/hi~",
            "/hi-",
            "/hi=",
            "/hi%",
            "/hi%2",
            "/hi&",
            "/hi&amp;",
            "/hi&quot;",
            "/hi&#39;",
            "/hi%2520",
            "/hi%252520",
            "//hi",
            "///hi//",
            "/hi//",
            "/hi/.",
            "/%20hi",
            "/%22hi%22",
            "/%3Chi%3E",
            "/%E2%80%9Chi%E2%80%9D",
            "/hi%F0%9F%91%8D",
            "/h%E2%80%8Bi",
            "/h%C2%ADi",
            "/hi%23top",
            "/hi%E2%81%A0.",
        ] {
            let asked = Asked::of(path).unwrap();
            assert_eq!((asked.codes().last(), &*asked.query), (Some("hi"), ""), "{path}");
        }
        assert_eq!(codes("/hi..)"), ["hi..", "hi.", "hi"], "the longest first");
    }

    #[test]
    fn what_means_something_else_is_no_code() {
        for path in [
            "/",
            "//",
            "/hi+",
            "/hi+.",
            "/hi/there",
            "/hi%2Fthere",
            "/hi%20there",
            "/h@i",
            "/h%C3%A9",
            "/%20",
            "/*",
        ] {
            assert_eq!(codes(path), [""; 0], "{path}");
        }
        assert_eq!(codes("/hi.qr"), ["hi.qr"]);
        assert_eq!(codes("/.env"), [".env"]);
        assert_eq!(Asked::of(&"/x".repeat(PATH_BYTES_MAX)), None);
    }

    #[test]
    fn parameters_may_begin_with_something_else() {
        for (path, query) in [
            ("/hi&utm_source=x", "utm_source=x"),
            ("/hi&&utm_source=x&b=%26", "utm_source=x&b=%26"),
            ("/hi&amp;utm_source=x&amp;b=1", "utm_source=x&amp;b=1"),
            ("/hi%26utm_source%3Dx", "utm_source=x"),
            ("/hi%3Futm_source=x%26b=1", "utm_source=x&b=1"),
            ("/hi%253Futm_source%253Dx", "utm_source=x"),
            ("/hi.&u=https://shop.example/a", "u=https://shop.example/a"),
            ("/hi/&flag", "flag"),
            ("/hi%3Fa=1%23top", "a=1"),
        ] {
            let asked = Asked::of(path).unwrap();
            assert_eq!((asked.codes().last(), &*asked.query), (Some("hi"), query), "{path}");
            assert_eq!(asked.reading("hi"), Reading::Query, "{path}");
        }
    }

    #[test]
    fn a_channel_may_stand_behind_a_code() {
        for path in ["/hi/email", "/hi/Email/", "//hi//email.", "/hi/email%20"] {
            assert_eq!(Asked::of(path).unwrap().with_channel(), Some(("hi", "email".to_owned())), "{path}");
        }
        for path in ["/hi", "/hi/", "/hi/a/b", "/hi)/email", "/hi/."] {
            assert_eq!(Asked::of(path).unwrap().with_channel(), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_code_is_found_whatever_is_not_a_letter_behind_it(
            code in "[a-zA-Z0-9]([-_.~a-zA-Z0-9]{0,62}[a-zA-Z0-9])?", junk in "[\\PL&&\\PN&&\\PM&&[^+&?#%]]{0,12}",
        ) {
            // Some signs are letters.
            prop_assume!(!junk.chars().any(char::is_alphanumeric));
            let encoded = percent_encoding::utf8_percent_encode(&junk, percent_encoding::NON_ALPHANUMERIC);
            for path in [format!("/{code}{junk}"), format!("/{code}{encoded}"), format!("//{code}{encoded}//")] {
                let asked = Asked::of(&path).unwrap();
                prop_assert!(asked.codes().any(|read| read == code), "{}", path);
                prop_assert_eq!(asked.codes().last(), Some(&*code));
            }
        }

        #[test]
        fn a_code_is_the_first_that_is_read_out_of_itself(code in "[-_.~a-zA-Z0-9]{1,64}") {
            let read = codes(&format!("/{code}"));
            prop_assert_eq!(read.first(), Some(&code));
        }
    }

    #[test]
    fn fuzz_paths() {
        bolero::check!().with_type::<String>().for_each(|path| {
            let Some(asked) = Asked::of(path) else { return };
            assert!(asked.codes().count() <= LinkCode::MAX_LEN);
            let _ = asked.with_channel();
        });
    }
}

//! The id of a request: the caller's, where it gives one, so that one id is in the logs of both; otherwise one made here.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use uuid::Uuid;

/// What answers have, and the first that is looked for.
const NAME: HeaderName = HeaderName::from_static("request-id");
const OTHER_NAME: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of an id that is taken: enough for a trace's.
const CHARS_MAX: usize = 128;

/// 1 to 128 letters, digits and `-_.:+/=@`: nothing that could end a header or a log line, or pass for another field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The id of a request with these headers.
    pub fn of(headers: &HeaderMap) -> RequestId {
        let given =
            [NAME, OTHER_NAME].into_iter().find_map(|name| headers.get(name).filter(|id| is_sane(id)));
        let made =
            || HeaderValue::try_from(Uuid::now_v7().to_string()).expect("hexadecimal digits and hyphens");
        RequestId(given.cloned().unwrap_or_else(made))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Puts it into an answer.
    pub fn put(self, headers: &mut HeaderMap) {
        headers.insert(NAME, self.0);
    }
}

fn is_sane(id: &HeaderValue) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    (1..=CHARS_MAX).contains(&id.len()) && id.as_bytes().iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(HeaderName, &str)]) -> String {
        let line =
            |(name, value): &(HeaderName, &str)| (name.clone(), HeaderValue::try_from(*value).unwrap());
        RequestId::of(&lines.iter().map(line).collect()).as_str().to_owned()
    }

    #[test]
    fn a_callers_id_is_kept_where_it_is_sane() {
        let longest = "x".repeat(CHARS_MAX);
        for sane in ["a", "Root=1-67891233-abcdef", "7f/9+=@:_.-", &longest] {
            assert_eq!(of(&[(NAME, sane)]), sane);
            assert_eq!(of(&[(OTHER_NAME, sane)]), sane);
        }
        assert_eq!(of(&[(OTHER_NAME, "second"), (NAME, "first")]), "first");
        assert_eq!(of(&[(NAME, "not sane"), (OTHER_NAME, "second")]), "second");
        for other in ["", "two words", "a\"b", "a{b}", "caf\u{e9}", &format!("{longest}x")] {
            let made = of(&[(NAME, other)]);
            assert!(made != other && made.parse::<Uuid>().is_ok(), "{other:?}: {made}");
        }
        assert_ne!(of(&[]), of(&[]));
    }
}

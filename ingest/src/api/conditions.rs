//! What a request expects of a record: `If-Match` and `If-None-Match` (RFC 9110, 13.1), and the tags that answers have.
//!
//! A record's tag is the version of the change that made it what it is: `"17"`.

use super::problem::{Code, Problem};
use crate::registry::{Expected, Versions};
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};

/// Bytes of such a header: a client names a tag or a few.
const BYTES_MAX: usize = 1024;

/// The tag of a record of this version.
pub(super) fn tag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits and quotation marks")
}

/// What the headers of a request that writes expect.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    Ok(Expected {
        is: versions(headers, &IF_MATCH, false)?,
        is_not: versions(headers, &IF_NONE_MATCH, false)?,
        exactly: None,
    })
}

/// Whether the client has this version already; an error where it expects another one.
pub(super) fn is_known(headers: &HeaderMap, version: Option<u64>) -> Result<bool, Problem> {
    let is = Expected { is: versions(headers, &IF_MATCH, false)?, ..Expected::default() };
    if !is.holds(version) {
        return Err(Problem::new(Code::Precondition, "the record is not the one that If-Match names"));
    }
    let is_not = Expected { is_not: versions(headers, &IF_NONE_MATCH, true)?, ..Expected::default() };
    Ok(!is_not.holds(version))
}

/// The versions that a header names; a tag that is not one of ours is left out. `is_weak`: weak tags count, too.
fn versions(headers: &HeaderMap, name: &HeaderName, is_weak: bool) -> Result<Option<Versions>, Problem> {
    let mut found = Vec::new();
    let mut is_given = false;
    for value in headers.get_all(name) {
        let malformed = || {
            let reason = "must be * or entity tags such as \"17\", with their quotation marks";
            Problem::of_field(name.as_str(), Code::Invalid, reason)
        };
        is_given = true;
        let text = value.to_str().ok().filter(|text| text.len() <= BYTES_MAX).ok_or_else(malformed)?;
        if text.trim() == "*" {
            return Ok(Some(Versions::Any));
        }
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (is_strong, quoted) = match part.strip_prefix("W/") {
                Some(quoted) => (false, quoted),
                None => (true, part),
            };
            let inner = quoted.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
            let inner = inner.ok_or_else(malformed)?;
            if is_strong || is_weak {
                found.extend(inner.parse::<u64>());
            }
        }
    }
    Ok(is_given.then_some(Versions::Of(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let line =
            |(name, value): &(HeaderName, &'static str)| (name.clone(), HeaderValue::from_static(value));
        lines.iter().map(line).collect()
    }

    #[test]
    fn headers_name_versions() {
        let of = |text| expected(&headers(&[(IF_MATCH, text)])).map(|expected| expected.is.unwrap());
        assert_eq!(of("*").unwrap(), Versions::Any);
        assert_eq!(of("\"17\", \"18\"").unwrap(), Versions::Of(vec![17, 18]));
        assert_eq!(of("W/\"17\"").unwrap(), Versions::Of(vec![]), "a weak tag is no match for a write");
        assert_eq!(of("\"of another server\"").unwrap(), Versions::Of(vec![]));
        for wrong in ["17", "\"17", "W/17", "\"", "* , \"17\""] {
            assert_eq!(of(wrong).unwrap_err().code, Code::Invalid, "{wrong}");
        }
        assert_eq!(expected(&HeaderMap::new()).unwrap(), Expected::default());
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let known = |text, version| is_known(&headers(&[(IF_NONE_MATCH, text)]), version).unwrap();
        assert!(known("\"17\"", Some(17)) && known("W/\"17\"", Some(17)) && known("*", Some(17)));
        assert!(!known("\"16\"", Some(17)) && !known("*", None));
        let other = is_known(&headers(&[(IF_MATCH, "\"16\"")]), Some(17));
        assert_eq!(other.unwrap_err().code, Code::Precondition);
    }
}

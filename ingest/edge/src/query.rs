//! The request's query: the channel it may name, and what is passed on to the landing page. Pure.
//!
//! Readers of queries differ: PHP trims names, cuts them at `[` and reads `.` as `_`, older servers take
//! `;` for `&`, everybody decodes percents. A name is therefore compared in the form that the most
//! generous of them would see, also behind a `;`. All else is passed on as it came.

use whence_schemas::token;

/// The parameter that names a channel.
pub const CHANNEL_PARAMETER: &str = "c";
/// Bytes of parameters that are passed on.
pub const PASSED_BYTES_MAX: usize = 1024;
/// Parameters that are looked at.
pub const PARAMETERS_MAX: usize = 64;
/// Parts of parameters, between semicolons, that are looked at.
const PARTS_MAX: usize = 512;
/// Bytes of a name, decoded; longer ones are not passed on.
const NAME_BYTES_MAX: usize = 64;

/// The first channel that the query names, as it stands there: channels need no decoding.
#[must_use]
pub fn channel(query: &str) -> Option<&str> {
    parameters(query).find(|(name, _)| *name == CHANNEL_PARAMETER).map(|(_, value)| value)
}

/// Appends the parameters of `query` to `out`, each followed by `&`, except those that are reserved: the
/// token's, the channel's where links may be overridden, and those that the destination has itself
/// (`own`, its query). Returns how many others were left out because they are too long, too many or
/// without a name.
pub fn pass_on(query: &str, own: &str, is_channel_reserved: bool, out: &mut Vec<u8>) -> u64 {
    let end_max = out.len() + PASSED_BYTES_MAX;
    let is_reserved = |name: Name| {
        name.is(token::PARAMETER)
            || is_channel_reserved && name.is(CHANNEL_PARAMETER)
            || parameters(own).filter_map(|(own, _)| Name::read(own)).any(|own| own == name)
    };
    let mut left_out = 0;
    let mut parts_left = PARTS_MAX;
    for (seen, parameter) in query.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
        let start = out.len();
        let is_kept = seen < PARAMETERS_MAX
            && parameter.len() <= PASSED_BYTES_MAX
            && put_parameter(parameter, is_reserved, &mut parts_left, out);
        if !is_kept || out.len() > start && out.len() >= end_max {
            out.truncate(start);
            left_out += 1;
        } else if out.len() > start {
            out.push(b'&');
        }
    }
    left_out
}

/// Appends a parameter but for the parts of it, between semicolons, that are reserved. A semicolon before what cannot be
/// compared is encoded, so that nobody takes it for a separator. `false` if the parameter has no name that can be
/// compared, or too many parts.
fn put_parameter(
    parameter: &str,
    is_reserved: impl Fn(Name) -> bool,
    parts_left: &mut usize,
    out: &mut Vec<u8>,
) -> bool {
    let mut is_first = true;
    for part in parameter.split(';') {
        let Some(left) = parts_left.checked_sub(1) else { return false };
        *parts_left = left;
        let name = Name::read(part.split_once('=').map_or(part, |(name, _)| name));
        match name {
            Some(name) if is_reserved(name) => continue,
            None if is_first => return false,
            None => out.extend(b"%3B"),
            Some(_) if is_first => {}
            Some(_) => out.push(b';'),
        }
        put(part, out);
        is_first = false;
    }
    true
}

/// Names and values as they stand, behind `&` and `;`. Empty parts (`&&`) are skipped.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split(['&', ';'])
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// A parameter's name as the most generous reader sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    /// `None` if there is nothing left of it, or too much.
    fn read(raw: &str) -> Option<Name> {
        let mut name = Name { bytes: [0; NAME_BYTES_MAX], len: 0 };
        let mut rest = raw.as_bytes();
        while let Some((byte, after)) = decoded(rest) {
            rest = after;
            match byte {
                b'[' | 0 => break,
                byte if name.len == 0 && !byte.is_ascii_graphic() => continue,
                byte => {
                    *name.bytes.get_mut(name.len)? =
                        if byte == b'.' { b'_' } else { byte.to_ascii_lowercase() };
                    name.len += 1;
                }
            }
        }
        while name.len > 0 && !name.bytes[name.len - 1].is_ascii_graphic() {
            name.len -= 1;
            name.bytes[name.len] = 0;
        }
        (name.len > 0).then_some(name)
    }

    fn is(&self, word: &str) -> bool {
        &self.bytes[..self.len] == word.as_bytes()
    }
}

/// The next byte of percent-encoded text, and what follows it.
fn decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Some((hex(*high) << 4 | hex(*low), rest))
        }
        [b'+', rest @ ..] => Some((b' ', rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Appends `text`; what has no place in a query (RFC 3986, 3.4), and a `%` that encodes nothing, is
/// percent-encoded.
fn put(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let is_encoding =
            || bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        let is_kept = match byte {
            b'%' => is_encoding(),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':'
            | b'@' | b'/' | b'?' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if is_kept {
            out.push(*byte);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(query: &str, own: &str) -> (String, u64) {
        let mut out = Vec::new();
        let left_out = pass_on(query, own, true, &mut out);
        (String::from_utf8(out).unwrap(), left_out)
    }

    #[test]
    fn no_spelling_of_a_reserved_name_is_passed_on() {
        for query in [
            "wclid=x",
            "WCLID=x",
            "wclid",
            "%77clid=x",
            "w%63lid=x",
            "wcl%69d[]=x",
            "wclid[a]=x",
            "+wclid=x",
            "%20wclid=x",
            "%09wclid=x",
            "wclid%20=x",
            "wclid%00y=x",
            "a;wclid=x",
            "c=x",
            "C=x",
            "%63=x",
            "utm_source=x",
            "utm.source=x",
            "UTM%5fSOURCE=x",
        ] {
            let (passed, left_out) = passed(query, "utm_source=stored&b=1");
            assert_eq!((passed.trim_start_matches("a&"), left_out), ("", 0), "{query}");
        }
    }

    #[test]
    fn everything_else_is_passed_on_in_order() {
        let (all, _) = passed("a=1&b=%20x&&gclid=A-_b&flag&e=&wclidx=2&a=3", "");
        assert_eq!(all, "a=1&b=%20x&gclid=A-_b&flag&e=&wclidx=2&a=3&");
        for query in ["ids=1;2;3", "x=", "x==", "x=a=b", "a;b", "a=1;b=2;c1", "q=+%3B%20", "e[]=1&e[]=2"] {
            let expected = format!("{}&", query.replace('[', "%5B").replace(']', "%5D"));
            assert_eq!(passed(query, ""), (expected, 0), "{query}");
        }
    }

    #[test]
    fn what_is_reserved_is_so_behind_a_semicolon() {
        for (query, expected) in [
            ("ids=1;wclid=x;2", "ids=1;2&"),
            ("wclid=x;b=1", "b=1&"),
            ("ids=1;%77clid", "ids=1&"),
            ("ids=1;utm_source=x&b=1;c=qr", "ids=1&b=1&"),
            ("ids=1;;2", "ids=1%3B;2&"),
        ] {
            assert_eq!(passed(query, "utm_source=stored"), (expected.into(), 0), "{query}");
        }
        let padded = format!("ids=1;wclid{}=x", "+".repeat(NAME_BYTES_MAX));
        assert_eq!(passed(&padded, ""), (format!("{}&", padded.replace(';', "%3B")), 0));
        let many = ";2".repeat(PARTS_MAX * 3 / 4);
        let (_, left_out) = passed(&format!("a=1{many}&b=1{many}&d=1"), "");
        assert_eq!(left_out, 2, "also what comes behind it");
    }

    #[test]
    fn what_could_be_read_as_something_else_is_encoded() {
        assert_eq!(passed("a=\"<>\\^`{|}'ü", "").0, "a=%22%3C%3E%5C%5E%60%7B%7C%7D%27%C3%BC&");
        assert_eq!(passed("a=%&b=%4&c1=%zz", "").0, "a=%25&b=%254&c1=%25zz&");
        assert_eq!(
            passed("a=%0d%0aSet-Cookie:x=y", "").0,
            "a=%0d%0aSet-Cookie:x=y&",
            "still encoded: harmless"
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted() {
        let query = format!("a=1&b={}&c1=2", "x".repeat(PASSED_BYTES_MAX));
        assert_eq!(passed(&query, ""), ("a=1&c1=2&".into(), 1));
        assert_eq!(passed(&"a&".repeat(PARAMETERS_MAX + 2), "").1, 2);
        assert_eq!(passed(&format!("{}=1&=2", "n".repeat(NAME_BYTES_MAX + 1)), "").1, 2);
    }

    #[test]
    fn the_first_channel_counts() {
        assert_eq!(channel("x=1&c=email&c=qr"), Some("email"));
        assert_eq!(channel("cc=email&C=qr"), None);
        assert_eq!(channel("c"), Some(""));
    }

    proptest! {
        #[test]
        fn no_query_brings_a_token_a_fragment_or_a_line_break(query in "[ -~ü]{0,200}") {
            let (passed, _) = passed(&query, "");
            prop_assert!(passed.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\')));
            prop_assert!(passed.len() <= PASSED_BYTES_MAX);
            let decoded = passed.replace("%77", "w").replace("%57", "w").to_lowercase();
            prop_assert!(!decoded.split(['&', ';']).any(|part| part == "wclid" || part.starts_with("wclid=")));
        }
    }

    #[test]
    fn fuzz_parameters_passed_on() {
        bolero::check!().with_type::<(String, String)>().for_each(|(query, own)| {
            let (passed, _) = passed(query, own);
            assert!(passed.bytes().all(|byte| byte.is_ascii_graphic()), "{passed:?}");
        });
    }
}

//! Heads of HTTP/1 requests on their way to the parser: what clients send unencoded in a request's target is
//! percent-encoded. Pure.
//!
//! Browsers, mail programs, advertisements' macros and old clients send `<`, `>`, `"`, `{`, `|`, `\`, `^`,
//! a backtick and bytes above ASCII as they are. None of them may stand in a target (RFC 3986, appendix A),
//! so nothing that is valid is changed, and all of them mean what their encoding means (RFC 3986, 2.1). The
//! parser refuses some of them, differently in paths and queries; no click is lost for that.
//!
//! # Where a target begins
//!
//! Targets are found by counting lines as the parser does: a line ends with LF, a head with an empty line, and
//! the next head begins there. That holds as long as no request has a body; the server closes the connection
//! after a request with one, so that what follows is never read as a request. A head that the parser reads
//! differently is one that it refuses, and with it the connection.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Follows the heads of one connection.
#[derive(Debug, Default)]
pub struct Heads(At);

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a request; empty lines are passed over.
    #[default]
    Between,
    Method,
    Target,
    /// In the rest of a line that is not empty.
    Line,
    /// At the start of a header's line.
    LineStart,
    /// After a CR at the start of a header's line.
    EmptyLine,
}

impl Heads {
    /// Whether no request has begun that has not ended.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.0 == At::Between
    }

    /// Reads on. Returns whether something was encoded: then `out` has got all that goes to the parser, and
    /// nothing otherwise.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let (mut at, mut copied) = (0, 0);
        while let Some(&byte) = bytes.get(at) {
            self.0 = match (self.0, byte) {
                (At::Line, _) => match empty_line(&bytes[at..]) {
                    Some(end) => {
                        at += end;
                        At::Between
                    }
                    None => {
                        // The rest of a head is looked through as a whole: line by line costs five times as much.
                        self.0 = match &bytes[at..] {
                            [.., b'\n'] => At::LineStart,
                            [.., b'\n', b'\r'] => At::EmptyLine,
                            _ => At::Line,
                        };
                        break;
                    }
                },
                (At::LineStart, b'\r') => At::EmptyLine,
                (At::LineStart | At::EmptyLine, b'\n') | (At::Between, b'\r' | b'\n') => At::Between,
                (At::LineStart | At::EmptyLine, _) => At::Line,
                (At::Method, b'\n') => At::LineStart,
                (At::Between | At::Method, b' ') => At::Target,
                (At::Between | At::Method, _) => At::Method,
                (At::Target, _) => {
                    match bytes[at..].iter().position(|&byte| byte == b' ' || !is_allowed(byte)) {
                        None => break,
                        Some(length) => {
                            at += length;
                            match bytes[at] {
                                b' ' => At::Line,
                                b'\n' => At::LineStart,
                                byte => {
                                    out.extend_from_slice(&bytes[copied..at]);
                                    put_encoded(byte, out);
                                    copied = at + 1;
                                    At::Target
                                }
                            }
                        }
                    }
                }
            };
            at += 1;
        }
        if copied > 0 {
            out.extend_from_slice(&bytes[copied..]);
        }
        copied > 0
    }
}

/// Where the first empty line ends: the place of its LF.
fn empty_line(bytes: &[u8]) -> Option<usize> {
    static CRLF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\n\r\n"));
    static LF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\n\n"));
    let crlf = CRLF.find(bytes).map(|at| at + 2);
    let lf = LF.find(&bytes[..crlf.unwrap_or(bytes.len())]).map(|at| at + 1);
    lf.or(crlf)
}

/// Whether the byte may stand in a target as it is. Space ends it and a line's end its line; other control
/// characters are left to the parser, which refuses them: no client means anything by them.
const fn is_allowed(byte: u8) -> bool {
    const ALLOWED: [bool; 256] = {
        let mut allowed = [true; 256];
        let mut byte = 0;
        while byte < 256 {
            allowed[byte] = byte < 0x80
                && !matches!(
                    byte as u8,
                    b'\n' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
                );
            byte += 1;
        }
        allowed
    };
    ALLOWED[byte as usize]
}

fn put_encoded(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the parser gets when the bytes come in pieces of this size.
    fn passed(bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut heads, mut all) = (Heads::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut out = Vec::new();
            if heads.pass(piece, &mut out) {
                all.extend(out);
            } else {
                assert!(out.is_empty());
                all.extend(piece);
            }
        }
        all
    }

    const ODD: &str = "GET /a\"<b>?q=<\"{|}\\^`ü> HTTP/1.1\r\nUser-Agent: \"a<b>\"\r\nX: {}\r\n\r\n";
    const ENCODED: &str = "GET /a%22%3Cb%3E?q=%3C%22%7B%7C%7D%5C%5E%60%C3%BC%3E HTTP/1.1\r\n\
                           User-Agent: \"a<b>\"\r\nX: {}\r\n\r\n";

    #[test]
    fn targets_are_encoded_and_nothing_else_is_however_the_bytes_come() {
        let requests = [ODD, "\r\n\n", ODD, "POST /{} HTTP/1.0\n\n", ODD].concat();
        let expected = [ENCODED, "\r\n\n", ENCODED, "POST /%7B%7D HTTP/1.0\n\n", ENCODED].concat();
        for piece in 1..=requests.len() {
            assert_eq!(passed(requests.as_bytes(), piece).escape_ascii().to_string(), {
                expected.as_bytes().escape_ascii().to_string()
            });
        }
    }

    #[test]
    fn heads_are_complete_after_their_empty_line_only() {
        let mut heads = Heads::default();
        assert!(heads.are_complete());
        for (at, byte) in ODD.bytes().enumerate() {
            heads.pass(&[byte], &mut Vec::new());
            assert_eq!(heads.are_complete(), at + 1 == ODD.len());
        }
    }

    #[test]
    fn a_valid_target_is_left_alone() {
        let valid = "GET /-._~!$&'()*+,;=:@/%20?a=b&c[]=/?:@#x HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(passed(valid.as_bytes(), 7), valid.as_bytes());
    }

    proptest! {
        /// The parser and this module agree on where each head of a pipeline ends.
        #[test]
        fn heads_end_where_the_parser_says(
            heads in prop::collection::vec(
                ("(\r\n|\n){0,2}", "/[!-~ü]{0,8}", prop::collection::vec("[A-Za-z]{1,3}: ?[ -~]{0,9}", 0..4), "\r?\n"),
                1..4,
            ),
            piece in 1usize..40,
        ) {
            let mut text = String::new();
            for (lead, target, lines, end) in &heads {
                text += &format!("{lead}GET {target} HTTP/1.1{end}");
                for line in lines {
                    text += &format!("{line}{end}");
                }
                text += end;
            }
            let passed = passed(text.as_bytes(), piece);
            let mut rest = &passed[..];
            for (_, target, ..) in &heads {
                let mut lines = [httparse::EMPTY_HEADER; 8];
                let mut request = httparse::Request::new(&mut lines);
                let end = request.parse(rest).unwrap().unwrap();
                let path = request.path.unwrap();
                prop_assert!(path.bytes().all(is_allowed), "{path}");
                let decoded = percent_encoding::percent_decode_str(path).collect::<Vec<u8>>();
                let original = percent_encoding::percent_decode_str(target).collect::<Vec<u8>>();
                prop_assert_eq!(decoded, original);
                rest = &rest[end..];
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn fuzz_heads_in_pieces() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let whole = passed(bytes, bytes.len().max(1));
            for piece in [1, 2, 7, 64] {
                assert_eq!(passed(bytes, piece), whole, "in pieces of {piece}");
            }
        });
    }
}

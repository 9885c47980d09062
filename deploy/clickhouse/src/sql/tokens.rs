//! ClickHouse's lexical rules, as far as clauses must be found: words, quoted names, strings,
//! comments and heredocs. Works on bytes, since a statement may be followed by binary rows.
//!
//! The rules are those of ClickHouse's lexer, tried against the engine: nested comments, typographic
//! quotes and Unicode blanks included. A difference would let a statement say something to the engine
//! that is not seen here.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, a bare identifier or a number.
    Word,
    /// An identifier in backticks, double quotes or typographic double quotes.
    Quoted,
    /// A string, a heredoc included.
    Text,
    /// One byte of punctuation.
    Punct(u8),
    /// A literal or comment that is not closed, to the end of the text. The last token.
    Unclosed,
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its bytes in the text, quotes included.
    pub span: Range<usize>,
    /// How many parentheses, brackets and braces are open around it; an opening one counts as outside
    /// of itself, a closing one too.
    pub depth: usize,
}

impl Token {
    /// What a word or a quoted identifier names, quotes taken off and escapes left as they are.
    pub fn name<'text>(&self, text: &'text [u8]) -> Option<&'text [u8]> {
        let spelled = &text[self.span.clone()];
        match self.kind {
            Kind::Word => Some(spelled),
            Kind::Quoted => {
                let quote = if spelled.starts_with(LEFT_DOUBLE) { LEFT_DOUBLE.len() } else { 1 };
                Some(&spelled[quote..spelled.len() - quote])
            }
            _ => None,
        }
    }
}

const LEFT_SINGLE: &[u8] = "\u{2018}".as_bytes();
const RIGHT_SINGLE: &[u8] = "\u{2019}".as_bytes();
const LEFT_DOUBLE: &[u8] = "\u{201c}".as_bytes();
const RIGHT_DOUBLE: &[u8] = "\u{201d}".as_bytes();

/// Reads tokens one after the other, to the end of the text.
pub struct Tokens<'text> {
    text: &'text [u8],
    at: usize,
    depth: usize,
}

impl<'text> Tokens<'text> {
    /// The tokens of `text`.
    #[must_use]
    pub fn new(text: &'text [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn rest(&self) -> &'text [u8] {
        &self.text[self.at..]
    }

    /// Skips blanks and comments; the comment's start if one is not closed.
    fn skip_blank(&mut self) -> Result<(), usize> {
        while let Some(&first) = self.rest().first() {
            let rest = self.rest();
            if let Some(bytes) = blank(rest) {
                self.at += bytes;
            } else if rest.starts_with(b"--") || rest.starts_with(b"# ") || rest.starts_with(b"#!") {
                self.at += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
            } else if first == b'/' && rest.starts_with(b"/*") {
                self.at += comment(rest).ok_or(self.at)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// The length of a literal in `quote` that starts here: a backslash takes the next byte with it, a
    /// doubled quote is one quote.
    fn quoted(&self, quote: u8) -> Option<usize> {
        let rest = self.rest();
        let mut at = 1;
        while at < rest.len() {
            match rest[at] {
                b'\\' => at += 2,
                byte if byte == quote => {
                    if rest.get(at + 1) != Some(&quote) {
                        return Some(at + 1);
                    }
                    at += 2;
                }
                _ => at += 1,
            }
        }
        None
    }

    /// The length of `$tag$ … $tag$`, if one starts here.
    fn heredoc(&self) -> Option<usize> {
        let rest = self.rest();
        let tag = rest[1..].iter().position(|&byte| !is_word(byte) || byte == b'$')? + 2;
        if rest.get(tag - 1) != Some(&b'$') {
            return None;
        }
        find(&rest[tag..], &rest[..tag]).map(|end| tag + end + tag)
    }

    /// The length of a word that starts here.
    fn word(&self) -> usize {
        let rest = self.rest();
        let ends = |at: &usize| {
            let rest = &rest[*at..];
            !is_word(rest[0]) || blank(rest).is_some() || typographic(rest)
        };
        (0..rest.len()).find(ends).unwrap_or(rest.len())
    }

    fn token(&mut self) -> (Kind, Option<usize>) {
        let rest = self.rest();
        match rest[0] {
            b'\'' => (Kind::Text, self.quoted(b'\'')),
            quote @ (b'`' | b'"') => (Kind::Quoted, self.quoted(quote)),
            b'$' if self.heredoc().is_some() => (Kind::Text, self.heredoc()),
            _ if rest.starts_with(LEFT_SINGLE) => {
                (Kind::Text, find(rest, RIGHT_SINGLE).map(|end| end + RIGHT_SINGLE.len()))
            }
            _ if rest.starts_with(LEFT_DOUBLE) => {
                (Kind::Quoted, find(rest, RIGHT_DOUBLE).map(|end| end + RIGHT_DOUBLE.len()))
            }
            _ if typographic(rest) => (Kind::Text, Some(RIGHT_SINGLE.len())),
            byte if is_word(byte) => (Kind::Word, Some(self.word())),
            byte => (Kind::Punct(byte), Some(1)),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let (start, skipped) = match self.skip_blank() {
            Ok(()) => (self.at, true),
            Err(comment) => (comment, false),
        };
        if start == self.text.len() {
            return None;
        }
        let (kind, length) = if skipped { self.token() } else { (Kind::Unclosed, None) };
        let (kind, end) = length.map_or((Kind::Unclosed, self.text.len()), |length| (kind, start + length));
        if let Kind::Punct(b')' | b']' | b'}') = kind {
            self.depth = self.depth.saturating_sub(1);
        }
        let depth = self.depth;
        if let Kind::Punct(b'(' | b'[' | b'{') = kind {
            self.depth += 1;
        }
        self.at = end;
        Some(Token { kind, span: start..end, depth })
    }
}

/// Bytes of identifiers and numbers; those of UTF-8 letters count as such.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn typographic(text: &[u8]) -> bool {
    [LEFT_SINGLE, RIGHT_SINGLE, LEFT_DOUBLE, RIGHT_DOUBLE].iter().any(|quote| text.starts_with(quote))
}

/// The length of the blank that starts `text`, if one does: ASCII's, Unicode's, and the characters of
/// no width.
fn blank(text: &[u8]) -> Option<usize> {
    match text {
        [b'\t'..=b'\r' | b' ', ..] => Some(1),
        [0xc2, 0x85 | 0xa0, ..] => Some(2),
        [0xe1, 0x9a, 0x80, ..] | [0xe1, 0xa0, 0x8e, ..] | [0xe3, 0x80, 0x80, ..] => Some(3),
        [0xe2, 0x80, 0x80..=0x8f | 0xa8..=0xaf, ..] | [0xe2, 0x81, 0x9f..=0xaf, ..] => Some(3),
        [0xef, 0xbb, 0xbf, ..] => Some(3),
        _ => None,
    }
}

/// The length of the comment that starts `text`; comments nest.
fn comment(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if text[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spelled(text: &str) -> Vec<&str> {
        Tokens::new(text.as_bytes()).map(|token| &text[token.span]).collect()
    }

    #[test]
    fn comments_and_blanks_are_no_tokens() {
        assert_eq!(spelled("a -- b\n/* c */ d # e\n #!f\n"), ["a", "d"]);
        assert_eq!(spelled("a /* b /* c */ d */ e"), ["a", "e"]);
        assert_eq!(spelled("a\u{a0}b\u{200b}(\u{feff}c\u{3000}"), ["a", "b", "(", "c"]);
    }

    #[test]
    fn a_literal_hides_what_is_inside_it() {
        assert_eq!(spelled(r"'a; \' FORMAT ''x''' b"), [r"'a; \' FORMAT ''x'''", "b"]);
        assert_eq!(spelled("`a``b` \"c\"\"d\""), ["`a``b`", "\"c\"\"d\""]);
        assert_eq!(spelled("$doc$ a; ' $doc$ b"), ["$doc$ a; ' $doc$", "b"]);
    }

    #[test]
    fn typographic_quotes_quote() {
        assert_eq!(spelled("a‘b; c’d“e f”"), ["a", "‘b; c’", "d", "“e f”"]);
        let text = "“e f” `g` h";
        let names: Vec<_> =
            Tokens::new(text.as_bytes()).map(|token| token.name(text.as_bytes()).unwrap()).collect();
        assert_eq!(names, [&b"e f"[..], b"g", b"h"]);
    }

    #[test]
    fn what_is_not_closed_is_the_last_token_and_says_so() {
        for text in ["a 'b; c", "a /* b", "a /* /* */", "a `b", "a “b", "a ‘b"] {
            let tokens: Vec<Token> = Tokens::new(text.as_bytes()).collect();
            assert_eq!(tokens.len(), 2, "{text}");
            assert_eq!((tokens[1].kind, &tokens[1].span), (Kind::Unclosed, &(2..text.len())), "{text}");
        }
    }

    #[test]
    fn brackets_set_the_depth_between_them() {
        let depths: Vec<usize> = Tokens::new(b"a (b [c]) d").map(|token| token.depth).collect();
        assert_eq!(depths, [0, 0, 1, 1, 2, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_the_end_in_order(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut end = 0;
            for token in Tokens::new(&text) {
                prop_assert!(token.span.start >= end && token.span.end > token.span.start);
                end = token.span.end;
            }
            prop_assert!(end <= text.len());
        }
    }
}

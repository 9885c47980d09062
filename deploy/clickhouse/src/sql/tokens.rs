//! ClickHouse's lexical rules, as far as clauses must be found: words, quoted names, strings,
//! comments and heredocs. Works on bytes, since a statement may be followed by binary rows.
//!
//! Source of the rules: the lexer described in ClickHouse's syntax documentation.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, a bare identifier or a number.
    Word,
    /// An identifier in backticks or double quotes.
    Quoted,
    /// A string, a heredoc included.
    Text,
    /// One byte of punctuation.
    Punct(u8),
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

/// Reads tokens one after the other; ends at the end of the text, or inside a literal that is not
/// closed.
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

    fn skip_blank(&mut self) {
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            if rest[0].is_ascii_whitespace() || rest[0] == 0x0b {
                self.at += 1;
            } else if rest.starts_with(b"--") || rest.starts_with(b"# ") || rest.starts_with(b"#!") {
                self.at += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
            } else if rest.starts_with(b"/*") {
                self.at += find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4);
            } else {
                break;
            }
        }
    }

    /// The end of a literal in `quote` that starts here: a backslash takes the next byte with it, a
    /// doubled quote is one quote.
    fn quoted_end(&self, quote: u8) -> Option<usize> {
        let mut at = self.at + 1;
        while at < self.text.len() {
            match self.text[at] {
                b'\\' => at += 2,
                byte if byte == quote => {
                    if self.text.get(at + 1) != Some(&quote) {
                        return Some(at + 1);
                    }
                    at += 2;
                }
                _ => at += 1,
            }
        }
        None
    }

    /// The end of `$tag$ … $tag$`, if one starts here.
    fn heredoc_end(&self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let tag = rest[1..].iter().position(|&byte| !is_word(byte) || byte == b'$')? + 2;
        if rest.get(tag - 1) != Some(&b'$') {
            return None;
        }
        find(&rest[tag..], &rest[..tag]).map(|end| self.at + tag + end + tag)
    }

    fn word_end(&self) -> usize {
        let rest = &self.text[self.at..];
        self.at + rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len())
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let start = self.at;
        let first = *self.text.get(start)?;
        let mut depth = self.depth;
        let (kind, end) = match first {
            b'\'' => (Kind::Text, self.quoted_end(first)?),
            b'`' | b'"' => (Kind::Quoted, self.quoted_end(first)?),
            b'$' if self.heredoc_end().is_some() => (Kind::Text, self.heredoc_end()?),
            b'(' | b'[' | b'{' => {
                self.depth += 1;
                (Kind::Punct(first), start + 1)
            }
            b')' | b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                depth = self.depth;
                (Kind::Punct(first), start + 1)
            }
            _ if is_word(first) => (Kind::Word, self.word_end()),
            _ => (Kind::Punct(first), start + 1),
        };
        self.at = end;
        Some(Token { kind, span: start..end, depth })
    }
}

/// Bytes of identifiers and numbers; those of UTF-8 letters count as such.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
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
        assert_eq!(spelled("a /* never closed"), ["a"]);
    }

    #[test]
    fn a_literal_hides_what_is_inside_it() {
        assert_eq!(spelled(r"'a; \' FORMAT ''x''' b"), [r"'a; \' FORMAT ''x'''", "b"]);
        assert_eq!(spelled("`a``b` \"c\"\"d\""), ["`a``b`", "\"c\"\"d\""]);
        assert_eq!(spelled("$doc$ a; ' $doc$ b"), ["$doc$ a; ' $doc$", "b"]);
    }

    #[test]
    fn a_literal_that_is_not_closed_ends_the_tokens() {
        assert_eq!(spelled("a 'b; c"), ["a"]);
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

//! ClickHouse's lexical rules: words, numbers, quoted names, strings, comments. Works on bytes, since a
//! statement may be followed by binary rows.
//!
//! A difference to the engine's lexer would let a statement say something to the engine that is not seen
//! here. Three things keep that from mattering: what is unusual becomes [`Kind::Foreign`], and
//! refused (characters beyond ASCII outside quotes, `$`, a number that runs into a word); the engine is sent
//! not the client's text but [`render`]'s, one blank between tokens and no comment; and the reader's
//! statements are read by the engine's own lexer once more before they run (`http::agree`).

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or a bare identifier.
    Word,
    /// A number.
    Number,
    /// An identifier in backticks or double quotes.
    Quoted,
    /// A string.
    Text,
    /// One byte of punctuation that stands alone.
    Punct(u8),
    /// An operator of several bytes, such as `::` and `->`.
    Operator,
    /// What is not served, and whatever follows it. The last token.
    Foreign,
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
            Kind::Quoted => Some(&spelled[1..spelled.len() - 1]),
            _ => None,
        }
    }
}

/// Operators of several bytes, longest first.
const OPERATORS: [&[u8]; 10] = [b"<=>", b"->", b"::", b"==", b"!=", b"<>", b"<=", b">=", b"||", b"@@"];

/// Reads tokens one after the other, to the end of the text.
pub struct Tokens<'text> {
    text: &'text [u8],
    at: usize,
    depth: usize,
    /// Whether a dot behind the last token begins no number: `t.1`, `f(x).1`.
    qualifies: bool,
    /// Whether the last token was a dot: a number behind it has no fraction, `t.1.2`.
    after_dot: bool,
    has_ended: bool,
}

impl<'text> Tokens<'text> {
    /// The tokens of `text`.
    #[must_use]
    pub fn new(text: &'text [u8]) -> Self {
        Self { text, at: 0, depth: 0, qualifies: false, after_dot: false, has_ended: false }
    }

    fn rest(&self) -> &'text [u8] {
        &self.text[self.at..]
    }

    /// Skips blanks and comments; the comment's start if one is not closed.
    fn skip_blank(&mut self) -> Result<(), usize> {
        while let Some(&first) = self.rest().first() {
            let rest = self.rest();
            let to_line_end = [&b"--"[..], b"//", b"# ", b"#!"].iter().any(|start| rest.starts_with(start));
            if is_blank(first) {
                self.at += 1;
            } else if to_line_end {
                self.at += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
            } else if rest.starts_with(b"/*") {
                self.at += comment(rest).ok_or(self.at)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn token(&self) -> (Kind, Option<usize>) {
        let rest = self.rest();
        let digit_follows = rest.get(1).is_some_and(u8::is_ascii_digit);
        match rest[0] {
            b'\'' => (Kind::Text, quoted(rest)),
            b'`' | b'"' => (Kind::Quoted, quoted(rest)),
            b'0'..=b'9' => number(rest, self.after_dot),
            b'.' if digit_follows && !self.qualifies => number(rest, false),
            byte if is_word(byte) => {
                let length = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
                match rest.get(length) {
                    Some(&byte) if !byte.is_ascii() || byte == b'$' => (Kind::Foreign, None),
                    _ => (Kind::Word, Some(length)),
                }
            }
            byte if byte.is_ascii_punctuation() && !matches!(byte, b'$' | b'\\' | b'#') => {
                match OPERATORS.iter().find(|operator| rest.starts_with(operator)) {
                    Some(operator) => (Kind::Operator, Some(operator.len())),
                    // `!` and `|` alone are errors to the engine.
                    None if matches!(byte, b'!' | b'|' | b'~' | b'&') => (Kind::Foreign, None),
                    None => (Kind::Punct(byte), Some(1)),
                }
            }
            _ => (Kind::Foreign, None),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if self.has_ended {
            return None;
        }
        let (start, skipped) = match self.skip_blank() {
            Ok(()) => (self.at, true),
            Err(comment) => (comment, false),
        };
        if start == self.text.len() {
            return None;
        }
        let (kind, length) = if skipped { self.token() } else { (Kind::Unclosed, None) };
        let (kind, end) = match (kind, length) {
            (kind, Some(length)) => (kind, start + length),
            (Kind::Foreign, None) => (Kind::Foreign, self.text.len()),
            (_, None) => (Kind::Unclosed, self.text.len()),
        };
        self.has_ended = matches!(kind, Kind::Foreign | Kind::Unclosed);
        if let Kind::Punct(b')' | b']' | b'}') = kind {
            self.depth = self.depth.saturating_sub(1);
        }
        let depth = self.depth;
        if let Kind::Punct(b'(' | b'[' | b'{') = kind {
            self.depth += 1;
        }
        self.at = end;
        self.after_dot = kind == Kind::Punct(b'.');
        self.qualifies = matches!(kind, Kind::Word | Kind::Quoted | Kind::Number | Kind::Punct(b')' | b']'));
        Some(Token { kind, span: start..end, depth })
    }
}

/// Whether a blank stands before this token in what the engine is sent. The type of a parameter (`{name:Type}`) ends at its
/// bracket, and shows in names of columns.
pub fn blank_before(token: &Token) -> bool {
    token.kind != Kind::Punct(b'}')
}

/// The text that the engine is sent: the tokens with one blank between them. Read again, it has the same
/// tokens.
#[must_use]
pub fn render(text: &[u8], tokens: &[Token]) -> Vec<u8> {
    let mut rendered = Vec::with_capacity(text.len() + tokens.len());
    for token in tokens {
        if !rendered.is_empty() && blank_before(token) {
            rendered.push(b' ');
        }
        rendered.extend_from_slice(&text[token.span.clone()]);
    }
    rendered
}

/// The length of a literal whose first byte is its quote: a backslash takes the next byte with it, a
/// doubled quote is one quote.
fn quoted(rest: &[u8]) -> Option<usize> {
    let quote = rest[0];
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

/// A number: decimal, hexadecimal or binary, with a fraction and an exponent. One that runs into a word is
/// served by nobody: the engine takes some of these for names.
fn number(rest: &[u8], after_dot: bool) -> (Kind, Option<usize>) {
    let byte = |at: usize| rest.get(at).copied().unwrap_or(0);
    let run = |start: usize, is: fn(u8) -> bool| {
        let mut at = start;
        while is(byte(at)) || (byte(at) == b'_' && is(byte(at + 1)) && at > start) {
            at += 1;
        }
        at
    };
    let decimal: fn(u8) -> bool = |byte| byte.is_ascii_digit();
    let mut at;
    if after_dot {
        at = run(0, decimal);
    } else {
        let is_hex = byte(0) == b'0' && matches!(byte(1), b'x' | b'X') && byte(2).is_ascii_hexdigit();
        let is_binary = byte(0) == b'0' && matches!(byte(1), b'b' | b'B') && matches!(byte(2), b'0' | b'1');
        let digits: fn(u8) -> bool = if is_hex { |byte| byte.is_ascii_hexdigit() } else { decimal };
        at = run(if is_hex || is_binary { 2 } else { 0 }, digits);
        if byte(at) == b'.' && !is_hex && !is_binary {
            at = run(at + 1, decimal);
        }
        if matches!(byte(at), b'e' | b'E') && !is_hex && !is_binary {
            let signed = at + 1 + usize::from(matches!(byte(at + 1), b'+' | b'-'));
            if !byte(signed).is_ascii_digit() {
                return (Kind::Foreign, None);
            }
            at = run(signed, decimal);
        }
    }
    let next = byte(at);
    if at < rest.len() && (is_word(next) || next == b'$' || !next.is_ascii()) {
        return (Kind::Foreign, None);
    }
    (Kind::Number, Some(at))
}

/// Bytes of bare identifiers.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spelled(text: &str) -> Vec<&str> {
        Tokens::new(text.as_bytes()).map(|token| &text[token.span]).collect()
    }

    fn last(text: &str) -> Kind {
        Tokens::new(text.as_bytes()).last().unwrap().kind
    }

    #[test]
    fn comments_and_blanks_are_no_tokens() {
        assert_eq!(spelled("a -- b\n/* c */ d # e\n #!f\n"), ["a", "d"]);
        assert_eq!(spelled("a // '\n , b // c"), ["a", ",", "b"]);
        assert_eq!(spelled("a /* b /* c */ d */ e"), ["a", "e"]);
    }

    #[test]
    fn a_literal_hides_what_is_inside_it() {
        assert_eq!(spelled(r"'a; \' FORMAT ''x''' b"), [r"'a; \' FORMAT ''x'''", "b"]);
        assert_eq!(spelled("`a``b` \"c\"\"d\""), ["`a``b`", "\"c\"\"d\""]);
        assert_eq!(spelled("'é “x” \u{a0}' \"ü\""), ["'é “x” \u{a0}'", "\"ü\""]);
    }

    #[test]
    fn numbers_are_read_as_the_engine_reads_them() {
        assert_eq!(
            spelled(".5 1e-5 1.5e+3 0x1F 0b01 1_000 1."),
            [".5", "1e-5", "1.5e+3", "0x1F", "0b01", "1_000", "1."]
        );
        assert_eq!(
            spelled("t.1.2 f(x).1 a[1].2"),
            ["t", ".", "1", ".", "2", "f", "(", "x", ")", ".", "1", "a", "[", "1", "]", ".", "2"]
        );
        assert_eq!(spelled("1-2 1..2"), ["1", "-", "2", "1.", ".", "2"]);
        assert_eq!(spelled("a->b x::y <=> !="), ["a", "->", "b", "x", "::", "y", "<=>", "!="]);
    }

    #[test]
    fn what_is_unusual_is_foreign_and_ends_the_reading() {
        for text in [
            ".5SETTINGS x",
            "123FROM t",
            "1e",
            "0x1p-5",
            "a\u{a0}b",
            "a\u{2212}b",
            "“x”",
            "‘x’",
            "$x$ y $x$",
            "a$b",
            "\u{feff}SELECT",
            "é",
            "a | b",
            "a ! b",
            "\\x",
            "a\0b",
            "1$",
            "~x",
        ] {
            assert_eq!(last(text), Kind::Foreign, "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_is_the_last_token_and_says_so() {
        for text in ["a 'b; c", "a /* b", "a /* /* */", "a `b"] {
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

        #[test]
        fn what_is_rendered_has_the_same_tokens(text in "[a-z0-9_ .,()'`\"/*#:<>=|!@?+-]{0,60}") {
            let of = |text: &[u8]| -> Vec<(Kind, Vec<u8>)> {
                Tokens::new(text).map(|token| (token.kind, text[token.span].to_vec())).collect()
            };
            let tokens: Vec<Token> = Tokens::new(text.as_bytes()).collect();
            if !tokens.iter().any(|token| matches!(token.kind, Kind::Foreign | Kind::Unclosed)) {
                prop_assert_eq!(of(&render(text.as_bytes(), &tokens)), of(text.as_bytes()));
            }
        }
    }
}

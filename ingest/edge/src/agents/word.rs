//! Patterns that are plain text: words that are found where they stand as words, in any case. Pure.

/// A pattern without classes and repetitions.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// What may stand around it.
    pub edges: Edges,
}

/// Which ends of a word may lie inside a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    is_open_before: bool,
    is_open_behind: bool,
}

/// Opens an end of a word.
const OPEN: &str = r"\w*";

impl Word {
    /// The word that a regular expression stands for, if it is nothing but text, with or without `\w*` at its ends.
    #[must_use]
    pub fn parse(pattern: &str) -> Option<Word> {
        let (pattern, is_open_before) = match pattern.strip_prefix(OPEN) {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let (pattern, is_open_behind) = match pattern.strip_suffix(OPEN) {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let text = plain_text(pattern).filter(|text| !text.is_empty())?;
        Some(Word { text, edges: Edges { is_open_before, is_open_behind } })
    }
}

impl Edges {
    /// Whether what stands in `agent` from `start` to `end` is a word: no letter or digit goes on before it, and no
    /// letter behind it. A number goes on with digits too, and with the dots of a version.
    #[must_use]
    pub fn are_met(self, agent: &[u8], start: usize, end: usize) -> bool {
        let word = &agent[start..end];
        let before = agent[..start].last().copied().unwrap_or(b' ');
        let behind = agent.get(end).copied().unwrap_or(b' ');
        let (first, last) = (word[0], word[word.len() - 1]);
        let goes_on_before = is_letter(first) && (is_letter(before) || before.is_ascii_digit())
            || first.is_ascii_digit() && (is_letter(before) || before.is_ascii_digit() || before == b'.');
        let goes_on_behind = is_letter(last) && is_letter(behind)
            || last.is_ascii_digit() && (is_letter(behind) || behind.is_ascii_digit() || behind == b'.');
        (self.is_open_before || !goes_on_before) && (self.is_open_behind || !goes_on_behind)
    }
}

/// A letter, of any alphabet.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || !byte.is_ascii()
}

/// The text that a regular expression stands for, if it is nothing but text.
fn plain_text(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            // `\d`, `\b` and the like mean something; a punctuation mark behind `\` means itself.
            '\\' => text.push(chars.next().filter(char::is_ascii_punctuation)?),
            '^' | '$' | '.' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | ']' | '{' | '}' => return None,
            _ => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_punctuation_is_text_and_classes_are_not() {
        assert_eq!(plain_text(r"Mediapartners \(Googlebot\)").as_deref(), Some("Mediapartners (Googlebot)"));
        for regex in [r"BlogTraffic\/\d", "^curl", "[wW]get", "a.b", r"a\"] {
            assert_eq!(plain_text(regex), None, "{regex}");
        }
    }
}

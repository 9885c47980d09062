//! Texts by number: a million rows name a few hundred referrers, so rows hold four bytes instead of a
//! string.

use std::{collections::HashMap, sync::Arc};

/// The number of a text in one [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

impl Name {
    /// The empty text, in every [`Names`].
    pub const EMPTY: Name = Name(0);
}

/// The texts that rows name.
#[derive(Clone, Debug)]
pub struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Default for Names {
    fn default() -> Names {
        let empty: Arc<str> = "".into();
        Names { texts: vec![empty.clone()], numbers: HashMap::from([(empty, 0)]) }
    }
}

impl Names {
    /// The number of this text, a new one if it was not named before.
    pub fn of(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return Name(*number);
        }
        let number = u32::try_from(self.texts.len()).expect("fewer than 2^32 different texts");
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        Name(number)
    }

    /// The text of this number.
    #[must_use]
    pub fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number() {
        let mut names = Names::default();
        let (a, b) = (names.of("a"), names.of("b"));
        assert_ne!(a, b);
        assert_eq!(names.of("a"), a);
        assert_eq!(names.of(""), Name::EMPTY);
        assert_eq!(names.text(b), "b");
    }
}

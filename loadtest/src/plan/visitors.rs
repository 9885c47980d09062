//! People who click more than once: their cookies, and the tokens that landing pages kept for them.

use crate::ledger::Id;
use std::rc::Rc;

/// Tokens that a visitor keeps; a landing page keeps the first and the last.
const TOKENS_MAX: usize = 3;

/// A token in a visitor's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its text.
    pub text: Rc<str>,
    /// The click in it.
    pub click: Id,
    /// Index of the link clicked.
    pub link: u32,
    /// Index of the channel that the click counted for.
    pub channel: u16,
}

#[derive(Clone, Debug, Default)]
struct Visitor {
    generation: u32,
    cookie: Option<Rc<str>>,
    tokens: Vec<Held>,
}

/// Names a visitor; one that has been forgotten names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitorId {
    place: usize,
    generation: u32,
}

/// The visitors who may come back: a fixed number, the oldest make way.
#[derive(Clone, Debug)]
pub struct Visitors {
    places: Vec<Visitor>,
    next: usize,
    known: usize,
}

impl Visitors {
    /// Room for `count` visitors, at least one.
    #[must_use]
    pub fn with_room_for(count: usize) -> Visitors {
        Visitors { places: vec![Visitor::default(); count.max(1)], next: 0, known: 0 }
    }

    /// Somebody new.
    pub fn arrive(&mut self) -> VisitorId {
        let place = self.next;
        self.next = (place + 1) % self.places.len();
        self.known = self.places.len().min(self.known + 1);
        let generation = self.places[place].generation.wrapping_add(1);
        self.places[place] = Visitor { generation, ..Visitor::default() };
        VisitorId { place, generation }
    }

    /// How many may come back.
    #[must_use]
    pub fn known(&self) -> usize {
        self.known
    }

    /// The visitor in this place, below [`Visitors::known`].
    #[must_use]
    pub fn in_place(&self, place: usize) -> VisitorId {
        VisitorId { place, generation: self.places[place].generation }
    }

    fn find(&self, id: VisitorId) -> Option<&Visitor> {
        self.places.get(id.place).filter(|visitor| visitor.generation == id.generation)
    }

    fn find_mut(&mut self, id: VisitorId) -> Option<&mut Visitor> {
        self.places.get_mut(id.place).filter(|visitor| visitor.generation == id.generation)
    }

    /// The visitor's cookie, `name=value`.
    #[must_use]
    pub fn cookie(&self, id: VisitorId) -> Option<Rc<str>> {
        self.find(id)?.cookie.clone()
    }

    /// Keeps a cookie.
    pub fn keep_cookie(&mut self, id: VisitorId, cookie: &str) {
        if let Some(visitor) = self.find_mut(id) {
            visitor.cookie = Some(cookie.into());
        }
    }

    /// Keeps a token; of too many, the one in the middle goes.
    pub fn keep_token(&mut self, id: VisitorId, token: Held) {
        if let Some(visitor) = self.find_mut(id) {
            if visitor.tokens.len() == TOKENS_MAX {
                visitor.tokens.remove(TOKENS_MAX / 2);
            }
            visitor.tokens.push(token);
        }
    }

    /// The visitor's tokens, the oldest first.
    #[must_use]
    pub fn tokens(&self, id: VisitorId) -> &[Held] {
        self.find(id).map_or(&[], |visitor| &visitor.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(link: u32) -> Held {
        Held { text: "t".into(), click: Id(u128::from(link)), link, channel: 0 }
    }

    #[test]
    fn a_forgotten_visitor_is_nobody() {
        let mut visitors = Visitors::with_room_for(1);
        let first = visitors.arrive();
        visitors.keep_cookie(first, "a=1");
        let second = visitors.arrive();
        visitors.keep_cookie(first, "a=2");
        visitors.keep_token(first, token(1));
        assert_eq!((visitors.cookie(first), visitors.cookie(second)), (None, None));
        assert_eq!((visitors.tokens(second), visitors.known()), (&[][..], 1));
    }

    #[test]
    fn the_first_and_the_last_tokens_are_kept() {
        let mut visitors = Visitors::with_room_for(2);
        let id = visitors.arrive();
        (0..6).for_each(|link| visitors.keep_token(id, token(link)));
        let links: Vec<_> = visitors.tokens(id).iter().map(|token| token.link).collect();
        assert_eq!(links, [0, 4, 5]);
    }
}

//! Where a record stands: the incarnation of its journal and its number within it.
//!
//! Knows nothing of files. Every offset in this crate means "next to read": a position stored after
//! a batch is the first one that was not in it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// One opening of a journal for writing, as the 128 bits of a UUIDv7.
///
/// A journal is never appended to after it was closed or its writer died: the next writer starts a
/// new incarnation, so an offset can never be used twice. Incarnations of one directory are strictly
/// ascending, also when the clock is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

impl Incarnation {
    /// A fresh incarnation, greater than `floor`.
    pub(crate) fn mint(floor: Option<Incarnation>) -> Self {
        let fresh = Uuid::now_v7().as_u128();
        match floor {
            // The clock went back: one more than the last one is unique and still sorts last.
            Some(last) if last.0 >= fresh => Incarnation(last.0 + 1),
            _ => Incarnation(fresh),
        }
    }

    /// Whether the version bits are those of a UUIDv7; anything else was not minted here.
    pub(crate) fn is_well_formed(self) -> bool {
        (self.0 >> 76) & 0xf == 7
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for Incarnation {
    type Err = uuid::Error;

    /// Reads the hyphenated or plain hexadecimal form.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Incarnation(Uuid::try_parse(text)?.as_u128()))
    }
}

/// A record's place, ordered as the records were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The opening of the journal that wrote the record.
    pub incarnation: Incarnation,
    /// The record's number within the incarnation, from 0.
    pub offset: u64,
}

impl Position {
    /// The position `records` further on in the same incarnation.
    pub fn plus(self, records: u64) -> Self {
        Position { offset: self.offset + records, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.incarnation, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_greater_than_the_last_even_when_the_clock_went_back() {
        let future = Incarnation(Incarnation::mint(None).0 | 0xffff_ffff_ffff << 80);
        let next = Incarnation::mint(Some(future));
        assert!(next > future);
        assert!(next.is_well_formed());
    }

    #[test]
    fn positions_order_by_incarnation_then_offset() {
        let old = Position { incarnation: Incarnation(1), offset: 900 };
        let new = Position { incarnation: Incarnation(2), offset: 0 };
        assert!(old < new && new < new.plus(1));
    }

    #[test]
    fn an_incarnation_survives_its_text_form() {
        let minted = Incarnation::mint(None);
        assert_eq!(minted.to_string().parse::<Incarnation>().unwrap(), minted);
    }
}

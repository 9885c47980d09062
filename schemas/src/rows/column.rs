//! How a value of each column type is written and read in RowBinary.
//!
//! Format: <https://clickhouse.com/docs/interfaces/formats/RowBinary>: integers little endian,
//! text and arrays behind their length as unsigned LEB128, a UUID as two little-endian halves.

use crate::{
    event::Verdict,
    ids::{ClickId, EventId, Incarnation},
    subject::SubjectKey,
    time::UnixMs,
};
use bytes::Bytes;
use uuid::Uuid;

/// A value that stands in a column.
pub trait Column {
    /// The column's ClickHouse type as `system.columns` shows it.
    fn kind() -> String;

    /// Appends the value's bytes (RowBinary).
    fn put(&self, out: &mut Vec<u8>);

    /// Takes a value off the front of these bytes. `None`: they are not such a value.
    fn take(bytes: &mut &[u8]) -> Option<Self>
    where
        Self: Sized;
}

/// Text of which there are few different ones: `LowCardinality(String)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lc(pub String);

/// On what a lead was credited to a referrer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// It was not.
    #[default]
    None = 0,
    /// A valid click token.
    Token = 1,
    /// A referral code that the lead named.
    Code = 2,
    /// An earlier lead of the same person.
    Alias = 3,
}

impl Evidence {
    /// All, in the order of their numbers.
    pub const ALL: [Evidence; 4] = [Evidence::None, Evidence::Token, Evidence::Code, Evidence::Alias];

    /// The word that stands in the tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Evidence::None => "none",
            Evidence::Token => "token",
            Evidence::Code => "code",
            Evidence::Alias => "alias",
        }
    }

    /// The evidence of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Evidence> {
        Self::ALL.into_iter().find(|evidence| evidence.word() == word)
    }
}

/// Unsigned LEB128.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    String::from_utf8(bytes.split_off(..len)?.to_vec()).ok()
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

fn take_uuid(bytes: &mut &[u8]) -> Option<Uuid> {
    let (high, low) = (take_array(bytes)?, take_array(bytes)?);
    Some(Uuid::from_u64_pair(u64::from_le_bytes(high), u64::from_le_bytes(low)))
}

fn put_uuid(uuid: Uuid, out: &mut Vec<u8>) {
    let (high, low) = uuid.as_u64_pair();
    out.extend_from_slice(&high.to_le_bytes());
    out.extend_from_slice(&low.to_le_bytes());
}

macro_rules! number {
    ($($rust:ty => $kind:literal),*) => {$(
        impl Column for $rust {
            fn kind() -> String {
                $kind.into()
            }
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                take_array(bytes).map(<$rust>::from_le_bytes)
            }
        }
    )*};
}
number!(u32 => "UInt32", u64 => "UInt64", i64 => "Int64", i8 => "Int8");

macro_rules! uuid {
    ($($rust:ty: $field:expr, $new:expr;)*) => {$(
        impl Column for $rust {
            fn kind() -> String {
                "UUID".into()
            }
            fn put(&self, out: &mut Vec<u8>) {
                let field: fn(&$rust) -> Uuid = $field;
                put_uuid(field(self), out);
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let new: fn(Uuid) -> $rust = $new;
                take_uuid(bytes).map(new)
            }
        }
    )*};
}
uuid! {
    Uuid: |id| *id, |id| id;
    ClickId: |id| id.0, ClickId;
    EventId: |id| id.0, EventId;
    Incarnation: |id| id.0, Incarnation;
}

impl Column for bool {
    fn kind() -> String {
        "Bool".into()
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(bytes: &mut &[u8]) -> Option<bool> {
        bytes.split_off_first().map(|byte| *byte != 0)
    }
}

impl Column for String {
    fn kind() -> String {
        "String".into()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_text(self, out);
    }
    fn take(bytes: &mut &[u8]) -> Option<String> {
        take_text(bytes)
    }
}

impl Column for Bytes {
    fn kind() -> String {
        "String".into()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        out.extend_from_slice(self);
    }
    fn take(bytes: &mut &[u8]) -> Option<Bytes> {
        let len = usize::try_from(take_varint(bytes)?).ok()?;
        Some(Bytes::copy_from_slice(bytes.split_off(..len)?))
    }
}

impl Column for Lc {
    fn kind() -> String {
        "LowCardinality(String)".into()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_text(&self.0, out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Lc> {
        take_text(bytes).map(Lc)
    }
}

impl Column for UnixMs {
    fn kind() -> String {
        "DateTime64(3, 'UTC')".into()
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
    fn take(bytes: &mut &[u8]) -> Option<UnixMs> {
        take_array(bytes).map(i64::from_le_bytes).map(UnixMs)
    }
}

impl Column for SubjectKey {
    fn kind() -> String {
        "FixedString(16)".into()
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn take(bytes: &mut &[u8]) -> Option<SubjectKey> {
        take_array(bytes).map(SubjectKey)
    }
}

impl<T: Column> Column for Vec<T> {
    fn kind() -> String {
        format!("Array({})", T::kind())
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len() as u64, out);
        self.iter().for_each(|value| value.put(out));
    }
    fn take(bytes: &mut &[u8]) -> Option<Vec<T>> {
        (0..take_varint(bytes)?).map(|_| T::take(bytes)).collect()
    }
}

pub(super) fn enum8(words: impl Iterator<Item = (&'static str, i8)>) -> String {
    let parts: Vec<_> = words.map(|(word, number)| format!("'{word}' = {number}")).collect();
    format!("Enum8({})", parts.join(", "))
}

impl Column for Evidence {
    fn kind() -> String {
        enum8(Self::ALL.into_iter().map(|evidence| (evidence.word(), evidence as i8)))
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
    fn take(bytes: &mut &[u8]) -> Option<Evidence> {
        let number = bytes.split_off_first()?;
        Self::ALL.into_iter().find(|evidence| *evidence as u8 == *number)
    }
}

impl Column for Verdict {
    fn kind() -> String {
        enum8((0..=6).filter_map(|number| Verdict::try_from(number).ok()).map(|v| (v.word(), v as i8)))
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
    fn take(bytes: &mut &[u8]) -> Option<Verdict> {
        Verdict::try_from(i32::from(*bytes.split_off_first()?)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_carry_a_long_length() {
        let mut out = Vec::new();
        "x".repeat(300).put(&mut out);
        assert_eq!((out[0], out[1], out.len()), (0xac, 0x02, 302));
    }

    #[test]
    fn what_is_cut_short_is_no_value() {
        let mut out = Vec::new();
        vec![Lc("x".repeat(300)), Lc("y".into())].put(&mut out);
        assert_eq!(Vec::<Lc>::take(&mut &out[..]).map(|texts| texts[1].clone()), Some(Lc("y".into())));
        assert!((0..out.len()).all(|cut| Vec::<Lc>::take(&mut &out[..cut]).is_none()));
        assert!(Evidence::take(&mut &[9][..]).is_none());
        assert!(take_varint(&mut &[0x80; 11][..]).is_none());
    }

    #[test]
    fn every_verdict_stands_in_the_column_type() {
        assert_eq!(
            Verdict::kind(),
            "Enum8('unspecified' = 0, 'human' = 1, 'bot' = 2, 'preview' = 3, 'prefetch' = 4, 'head' = 5, 'inactive' = 6)"
        );
        assert!(Verdict::try_from(7).is_err(), "a new verdict needs a migration of the column");
    }
}

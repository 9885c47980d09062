//! Names and ids: what may stand in them is checked once, here.

use crate::time::UnixMs;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use uuid::Uuid;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("must not be empty")]
    Empty,
    /// The name has more characters than allowed.
    #[error("must have at most {max} characters, has {found}")]
    TooLong {
        /// How many it may have.
        max: usize,
        /// How many it has.
        found: usize,
    },
    /// The name has a character outside the allowed set.
    #[error("must be made of {allowed}, has {found:?}")]
    Character {
        /// The allowed set, in words.
        allowed: &'static str,
        /// The first character outside it.
        found: char,
    },
}

fn check(text: &str, max: usize, allowed: &'static str, fits: fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong { max, found: text.len() });
    }
    match text.chars().find(|c| !fits(*c)) {
        Some(found) => Err(NameError::Character { allowed, found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $max:literal, $allowed:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("At most this many bytes: ", stringify!($max), ".")]
            pub const MAX_LEN: usize = $max;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $max, $allowed, $fits)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
}

fn is_visible(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '/' | '\\' | '"' | '\'' | '<' | '>' | '#' | '?' | '%')
}

name!(
    /// A program: a referral campaign with its rules.
    ProgramId, 64, "a-z, 0-9, '-', '_' and '.'", is_name
);
name!(
    /// Where a link was shared: `whatsapp`, `email`, `qr`, …
    ChannelId, 32, "a-z, 0-9, '-', '_' and '.'", is_name
);
name!(
    /// Who shares, unique within a program. The operator's own id; it must not be an email address.
    ReferrerId, 64, "visible ASCII except / \\ \" ' < > # ? % @", |c| is_visible(c) && c != '@'
);
name!(
    /// The part of a link's address behind the host.
    LinkCode, 64, "a-z, A-Z, 0-9, '-', '_', '.' and '~'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~')
);
name!(
    /// A link's host, lower case, with the port where it is not the scheme's own.
    LinkHost, 253, "a-z, 0-9, '-', '.', ':', '[' and ']'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':' | '[' | ']')
);

/// A link's number in tokens: the first 8 bytes of SHA-256 of `host/code`, big endian. The registry
/// refuses a second link with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(pub u64);

impl LinkNumber {
    /// The number of the link `host/code`.
    #[must_use]
    pub fn of(link: &str) -> LinkNumber {
        let hash: [u8; 32] = Sha256::digest(link.as_bytes()).into();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        LinkNumber(u64::from_be_bytes(first))
    }
}

/// A channel's number in tokens: the first 4 bytes of SHA-256 of its name, big endian. A program
/// refuses two channels with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(pub u32);

impl ChannelNumber {
    /// The number of the channel of this name.
    #[must_use]
    pub fn of(channel: &str) -> ChannelNumber {
        let hash: [u8; 32] = Sha256::digest(channel.as_bytes()).into();
        ChannelNumber(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }
}

/// A click: UUIDv7 (RFC 9562), minted at the edge. Its millisecond is the time of the click.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClickId(pub Uuid);

impl ClickId {
    /// An id of this millisecond; `random` fills the 66 free bits. The last byte says whether the click is counted as a
    /// person's, so that what comes of it can be told apart wherever its id is, without the click.
    #[must_use]
    pub fn mint(at: UnixMs, random: &[u8; 10], is_counted: bool) -> ClickId {
        let millis = u64::try_from(at.0).unwrap_or(0);
        let mut random = *random;
        random[9] = if is_counted { random[9].max(1) } else { 0 };
        ClickId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Whether the click is counted as a person's. Ids that were made before it was said say no of one in 256.
    #[must_use]
    pub fn is_counted(self) -> bool {
        self.0.as_bytes()[15] != 0
    }

    /// The id in these 16 bytes, or `None` where they are not a UUIDv7.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<ClickId> {
        let uuid = Uuid::from_slice(bytes).ok()?;
        (uuid.get_version_num() == 7).then_some(ClickId(uuid))
    }

    /// When the click was made.
    #[must_use]
    pub fn at(self) -> UnixMs {
        let bytes = self.0.as_bytes();
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&bytes[..6]);
        UnixMs(i64::from_be_bytes(ms))
    }
}

/// Any other event: UUIDv5 of program, source, kind and idempotency key; of a test also that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub Uuid);

/// The UUIDv5 namespace of event ids.
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x77_68_65_6e_63_65_50_00_8e_76_65_6e_74_69_64_31);

impl EventId {
    /// The id of what `source` calls `key` in `program`: the same three give the same id.
    #[must_use]
    pub fn of(program: &ProgramId, source: &str, key: &str) -> EventId {
        let mut name = Vec::with_capacity(program.as_str().len() + source.len() + key.len() + 2);
        for part in [program.as_str(), source] {
            name.extend_from_slice(part.as_bytes());
            name.push(0);
        }
        name.extend_from_slice(key.as_bytes());
        EventId(Uuid::new_v5(&EVENT_NAMESPACE, &name))
    }

    /// The id of an event of this kind: a disqualification and a participant may have one key.
    ///
    /// Leads and qualifications had ids before kinds were part of them, and keep those: a lead and a
    /// qualification of one source need different keys. A test is another event than the live one of its
    /// kind and key, so that a source may go live with what was tried. `key` must be free of NUL, so that
    /// none of the forms passes for another.
    #[must_use]
    pub fn of_kind(program: &ProgramId, source: &str, is_test: bool, kind: &str, key: &str) -> EventId {
        match kind {
            _ if is_test => EventId::of(program, source, &format!("test\0{kind}\0{key}")),
            "lead" | "qualification" => EventId::of(program, source, key),
            _ => EventId::of(program, source, &format!("{kind}\0{key}")),
        }
    }

    /// The id in these 16 bytes, or `None` where they are not a UUIDv5.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<EventId> {
        let uuid = Uuid::from_slice(bytes).ok()?;
        (uuid.get_version_num() == 5).then_some(EventId(uuid))
    }
}

/// One life of a journal or topic. What is deleted and created again is a new incarnation, so that a
/// reused offset never passes for an old one. For Kafka it is the topic id of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub Uuid);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_say_what_is_wrong_with_them() {
        assert_eq!("".parse::<ProgramId>(), Err(NameError::Empty));
        assert_eq!("x".repeat(65).parse::<ProgramId>(), Err(NameError::TooLong { max: 64, found: 65 }));
        let upper = "Demo".parse::<ProgramId>().unwrap_err();
        assert_eq!(upper.to_string(), "must be made of a-z, 0-9, '-', '_' and '.', has 'D'");
        assert!("a@b.example".parse::<ReferrerId>().is_err(), "an email address is not a referrer id");
        assert!("a/b".parse::<LinkCode>().is_err());
        assert!("go.example:8080".parse::<LinkHost>().is_ok());
    }

    #[test]
    fn event_ids_are_fixed_for_ever() {
        let id = EventId::of(&"demo".parse().unwrap(), "api", "order-1");
        assert_eq!(id.0.to_string(), "201c1ae5-4d17-5934-9801-a73351d61321");
        let of_kind =
            |is_test, kind| EventId::of_kind(&"demo".parse().unwrap(), "api", is_test, kind, "order-1");
        assert_eq!((of_kind(false, "lead"), of_kind(false, "qualification")), (id, id));
        assert_eq!(of_kind(false, "disqualification").0.to_string(), "d7f6ad11-a61a-513b-8997-fc11f899362a");
        assert_eq!(of_kind(true, "lead").0.to_string(), "c084796a-e81f-5145-82d7-9f31632c8c30");
        assert_ne!(of_kind(true, "lead"), of_kind(true, "qualification"));
        assert_eq!(LinkNumber::of("go.example/abc"), LinkNumber(10_530_943_684_755_888_084));
        assert_eq!(ChannelNumber::of("email"), ChannelNumber(2_183_414_807));
    }

    #[test]
    fn parts_of_an_event_id_do_not_run_into_each_other() {
        let program: ProgramId = "demo".parse().unwrap();
        assert_ne!(EventId::of(&program, "a", "bc"), EventId::of(&program, "ab", "c"));
    }

    #[test]
    fn only_a_version_7_uuid_is_a_click_id() {
        assert!(ClickId::from_bytes(&[0; 16]).is_none());
        assert!(ClickId::from_bytes(&[0; 15]).is_none());
        assert!(ClickId::from_bytes(EventId::of(&"p".parse().unwrap(), "s", "k").0.as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn a_click_id_carries_its_millisecond_and_whether_it_is_counted(ms in 0i64..1 << 47, random: [u8; 10], is_counted: bool) {
            let id = ClickId::mint(UnixMs(ms), &random, is_counted);
            prop_assert_eq!(id.at(), UnixMs(ms));
            prop_assert_eq!(id.is_counted(), is_counted);
            prop_assert_eq!(ClickId::from_bytes(id.0.as_bytes()), Some(id));
        }
    }
}

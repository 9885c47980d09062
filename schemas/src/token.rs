//! The click token that a redirect adds to the landing address as `wclid`.
//!
//! Format, 46 bytes as 62 characters of unpadded base64url (RFC 4648 §5):
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format version, 1 |
//! | 1 | key id |
//! | 16 | click id (UUIDv7, big endian): its millisecond is the time of the click |
//! | 8 | [`LinkNumber`], big endian |
//! | 4 | [`ChannelNumber`], big endian |
//! | 16 | the first 16 bytes of HMAC-SHA256 (RFC 2104) under the key, over the 30 bytes before |
//!
//! Anyone who holds the key can prove without a database which link was clicked, and when.
//!
//! Keys rotate: a key is accepted everywhere before it mints anywhere, and outlives the longest
//! attribution window of any program.

use crate::{
    ids::{ChannelNumber, ClickId, LinkNumber},
    time::UnixMs,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use std::{collections::BTreeMap, fmt};

/// The query parameter that carries the token.
pub const PARAMETER: &str = "wclid";
/// Characters of a token.
pub const TEXT_LEN: usize = 62;

const VERSION: u8 = 1;
const BODY_LEN: usize = 30;
const MAC_LEN: usize = 16;
const TOKEN_LEN: usize = BODY_LEN + MAC_LEN;

/// How the token stands in an address.
const CARRIED: &str = "wclid=";
/// How often what was encoded several times is decoded.
const DECODINGS_MAX: usize = 3;

/// How far a click may lie in the future of the one who verifies: clocks differ.
pub const CLOCK_SKEW_MS_MAX: i64 = 5 * 60 * 1000;

/// What a token proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickToken {
    /// The click, and with it its time.
    pub click: ClickId,
    /// The link that was clicked.
    pub link: LinkNumber,
    /// The channel it was clicked on.
    pub channel: ChannelNumber,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not 62 characters of base64url, or not of a known version.
    #[error("is not a click token")]
    Malformed,
    /// Made with a key this process does not have (yet).
    #[error("was made with the unknown key {key_id}")]
    UnknownKey {
        /// The key id in the token.
        key_id: u8,
    },
    /// The MAC does not fit: altered, or made by somebody else.
    #[error("has a wrong signature")]
    Forged,
    /// The click is longer ago than the window.
    #[error("has expired: its click is {age_ms} ms old, the window is {window_ms} ms")]
    Expired {
        /// Milliseconds from the click to the moment of use.
        age_ms: i64,
        /// Milliseconds it may be.
        window_ms: i64,
    },
    /// The click is later than its use, by more than clocks differ.
    #[error("is from the future by {ahead_ms} ms")]
    FromTheFuture {
        /// Milliseconds from the moment of use to the click.
        ahead_ms: i64,
    },
}

impl TokenError {
    /// A fixed word for metrics, rows and error bodies.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            TokenError::Malformed => "token_malformed",
            TokenError::UnknownKey { .. } => "token_unknown_key",
            TokenError::Forged => "token_forged",
            TokenError::Expired { .. } => "token_expired",
            TokenError::FromTheFuture { .. } => "token_from_the_future",
        }
    }
}

/// The keys tokens are made and checked with.
#[derive(Clone)]
pub struct KeyRing {
    minting_id: u8,
    minting: Hmac<Sha256>,
    accepted: BTreeMap<u8, Hmac<Sha256>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing {{ minting: {}, accepted: {:?} }}", self.minting_id, self.accepted.keys())
    }
}

/// Why a set of keys can't be used as a key ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// The key to mint with is not among the keys.
    #[error("the minting key {0} is not among the token keys")]
    NoMintingKey(u8),
    /// Two keys of one id.
    #[error("the token key {0} is given twice")]
    Twice(u8),
}

impl KeyRing {
    /// A ring that mints with the key `minting_id` and accepts every key of `keys` (id, 32 secret
    /// random bytes).
    pub fn new(minting_id: u8, keys: &[(u8, [u8; 32])]) -> Result<KeyRing, KeyRingError> {
        let mut accepted = BTreeMap::new();
        for (id, secret) in keys {
            let mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
            if accepted.insert(*id, mac).is_some() {
                return Err(KeyRingError::Twice(*id));
            }
        }
        let minting = accepted.get(&minting_id).ok_or(KeyRingError::NoMintingKey(minting_id))?.clone();
        Ok(KeyRing { minting_id, minting, accepted })
    }

    /// Writes the token's text (62 ASCII characters) into `text` and returns it as a `str`.
    pub fn mint<'a>(&self, token: &ClickToken, text: &'a mut [u8; TEXT_LEN]) -> &'a str {
        let mut raw = [0; TOKEN_LEN];
        raw[0] = VERSION;
        raw[1] = self.minting_id;
        raw[2..18].copy_from_slice(token.click.0.as_bytes());
        raw[18..26].copy_from_slice(&token.link.0.to_be_bytes());
        raw[26..30].copy_from_slice(&token.channel.0.to_be_bytes());
        let mac = self.minting.clone().chain_update(&raw[..BODY_LEN]).finalize().into_bytes();
        raw[BODY_LEN..].copy_from_slice(&mac[..MAC_LEN]);
        let written = URL_SAFE_NO_PAD.encode_slice(raw, text).expect("46 bytes are 62 characters");
        std::str::from_utf8(&text[..written]).expect("base64url is ASCII")
    }

    /// The token as it was made, if nothing of it is damaged but its key id: it is then one of these keys'.
    #[must_use]
    pub fn mended(&self, text: &str) -> Option<String> {
        let mut raw = raw(text)?;
        self.accepted.iter().find_map(|(id, key)| {
            raw[1] = *id;
            let mac = key.clone().chain_update(&raw[..BODY_LEN]);
            mac.verify_truncated_left(&raw[BODY_LEN..TOKEN_LEN]).ok()?;
            Some(URL_SAFE_NO_PAD.encode(&raw[..TOKEN_LEN]))
        })
    }

    /// What `text` proves, whenever its click was; see [`check_age`] for the time.
    pub fn verify(&self, text: &str) -> Result<ClickToken, TokenError> {
        let raw = raw(text).ok_or(TokenError::Malformed)?;
        let key = self.accepted.get(&raw[1]).ok_or(TokenError::UnknownKey { key_id: raw[1] })?;
        key.clone()
            .chain_update(&raw[..BODY_LEN])
            .verify_truncated_left(&raw[BODY_LEN..TOKEN_LEN])
            .map_err(|_| TokenError::Forged)?;
        let click = ClickId::from_bytes(&raw[2..18]).ok_or(TokenError::Malformed)?;
        let link = raw[18..26].try_into().map(u64::from_be_bytes).expect("8 bytes");
        let channel = raw[26..30].try_into().map(u32::from_be_bytes).expect("4 bytes");
        Ok(ClickToken { click, link: LinkNumber(link), channel: ChannelNumber(channel) })
    }
}

/// The token out of what came with it on its way through addresses, forms, mails and CRMs: blanks, quotes, punctuation,
/// padding, percent-encoding, or the whole address that carried it. Empty if there is nothing left, or an address that
/// carries none; else whatever is there, token or not.
#[must_use]
pub fn repaired(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..DECODINGS_MAX {
        let decoded = percent_decode_str(&text).decode_utf8_lossy();
        if decoded == text {
            break;
        }
        text = decoded.into_owned();
    }
    text.retain(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(c));
    // A link that was followed twice may carry two, the later one behind.
    let value = match text.rfind(CARRIED) {
        Some(at) => text[at + CARRIED.len()..].split(['&', '#']).next().unwrap_or_default(),
        None if text.contains("://") => "",
        None => &text,
    };
    // A token begins and ends with a letter or digit: its first byte and its length say so.
    let value = value.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let end = value.find(|c| !is_of_token(c)).unwrap_or(value.len());
    value[..end].trim_end_matches(['-', '_']).to_owned()
}

/// What is not seen, and comes along when text is copied.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// When the click of this token was, by its own word: no key is needed to read it, and none proves it.
#[must_use]
pub fn claimed_time(text: &str) -> Option<UnixMs> {
    ClickId::from_bytes(&raw(text)?[2..18]).map(|click| click.at())
}

/// A token's bytes, with two behind them.
fn raw(text: &str) -> Option<[u8; TOKEN_LEN + 2]> {
    let mut raw = [0; TOKEN_LEN + 2];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut raw) {
        Ok(TOKEN_LEN) if raw[0] == VERSION => Some(raw),
        _ => None,
    }
}

/// Whether a click made at `clicked` counts for something that happened at `used`, `window_ms`
/// milliseconds being the program's window. The last millisecond of the window counts.
pub fn check_age(clicked: UnixMs, used: UnixMs, window_ms: i64) -> Result<(), TokenError> {
    let age_ms = used.ms_since(clicked);
    if age_ms > window_ms {
        return Err(TokenError::Expired { age_ms, window_ms });
    }
    if age_ms < -CLOCK_SKEW_MS_MAX {
        return Err(TokenError::FromTheFuture { ahead_ms: -age_ms });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(minting: u8, keys: &[u8]) -> KeyRing {
        let keys: Vec<_> = keys.iter().map(|id| (*id, [*id; 32])).collect();
        KeyRing::new(minting, &keys).unwrap()
    }

    fn token(random: [u8; 10]) -> ClickToken {
        ClickToken {
            click: ClickId::mint(UnixMs(1_700_000_000_000), &random, random[9] != 0),
            link: LinkNumber::of("go.example/abc"),
            channel: ChannelNumber::of("email"),
        }
    }

    #[test]
    fn the_format_is_fixed() {
        let mut text = [0; TEXT_LEN];
        let text = ring(7, &[7]).mint(&token([0; 10]), &mut text);
        assert_eq!(text, "AQcBi8_laABwAIAAAAAAAAAAkiVtfGeEl9SCJEQXozlvjS4bta6UQ1GCfts1lg");
    }

    #[test]
    fn a_ring_needs_its_minting_key_once() {
        assert_eq!(KeyRing::new(1, &[]).unwrap_err(), KeyRingError::NoMintingKey(1));
        assert_eq!(KeyRing::new(1, &[(1, [1; 32]), (1, [2; 32])]).unwrap_err(), KeyRingError::Twice(1));
    }

    #[test]
    fn keys_rotate_without_a_gap() {
        let mut text = [0; TEXT_LEN];
        let by_old = ring(1, &[1]).mint(&token([1; 10]), &mut text);
        assert_eq!(ring(2, &[1, 2]).verify(by_old), Ok(token([1; 10])), "the old key is still accepted");
        assert_eq!(ring(2, &[2]).verify(by_old), Err(TokenError::UnknownKey { key_id: 1 }));
        let other = KeyRing::new(1, &[(1, [9; 32])]).unwrap();
        assert_eq!(
            other.verify(by_old),
            Err(TokenError::Forged),
            "a foreign deployment's key of the same id"
        );
    }

    #[test]
    fn a_token_counts_to_the_last_millisecond_of_its_window() {
        let clicked = UnixMs(1_000_000);
        assert_eq!(check_age(clicked, clicked.plus_ms(500), 500), Ok(()));
        let late = check_age(clicked, clicked.plus_ms(501), 500);
        assert_eq!(late, Err(TokenError::Expired { age_ms: 501, window_ms: 500 }));
        assert_eq!(check_age(clicked, clicked.plus_ms(-CLOCK_SKEW_MS_MAX), 500), Ok(()));
        let early = check_age(clicked, clicked.plus_ms(-CLOCK_SKEW_MS_MAX - 1), 500);
        assert_eq!(early, Err(TokenError::FromTheFuture { ahead_ms: CLOCK_SKEW_MS_MAX + 1 }));
    }

    #[test]
    fn of_nothing_nothing_is_left() {
        for empty in [
            "",
            " ",
            "\"\"",
            "==",
            "%20",
            "\u{200b}",
            "-_-",
            "https://shop.example/?wclid=",
            "wclid=&a=1",
            "https://shop.example/?a=1",
        ] {
            assert_eq!(repaired(empty), "", "{empty:?}");
        }
        assert_eq!(repaired(" undefined "), "undefined");
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", ring(1, &[1, 2])), "KeyRing { minting: 1, accepted: [1, 2] }");
    }

    proptest! {
        #[test]
        fn what_is_minted_verifies(ms in 0i64..1 << 47, random: [u8; 10], link: u64, channel: u32) {
            let click = ClickId::mint(UnixMs(ms), &random, true);
            let token = ClickToken { click, link: LinkNumber(link), channel: ChannelNumber(channel) };
            let mut text = [0; TEXT_LEN];
            let text = ring(3, &[3]).mint(&token, &mut text);
            prop_assert!(text.len() <= 64);
            prop_assert_eq!(ring(3, &[3]).verify(text), Ok(token));
            prop_assert_eq!(claimed_time(text), Some(UnixMs(ms)));
        }

        #[test]
        fn one_altered_character_is_refused(random: [u8; 10], at in 0..TEXT_LEN, by in 1u8..64) {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut text = [0; TEXT_LEN];
            ring(3, &[3]).mint(&token(random), &mut text);
            let was = ALPHABET.iter().position(|c| *c == text[at]).unwrap();
            text[at] = ALPHABET[(was + usize::from(by)) % 64];
            prop_assert!(ring(3, &[3]).verify(std::str::from_utf8(&text).unwrap()).is_err());
        }

        #[test]
        fn a_token_is_found_in_what_stands_around_it(
            random: [u8; 10], before in "[ \t\"'<(=“«%20]{0,3}", after in "[ \r\n=\"'>).,;:!?…”»&#%]{0,6}", at in 0..TEXT_LEN,
        ) {
            let mut text = [0; TEXT_LEN];
            let text = ring(3, &[3]).mint(&token(random), &mut text);
            // Digits before it would be a part of it.
            let before = before.replace(['2', '0'], "");
            for padded in [
                format!("{before}{text}{after}"),
                format!("https://shop.example/?wclid={text}&x=1#top"),
                format!("?wclid=old&wclid={text}"),
                format!("{text}%3D%3D"),
                format!("{text}%253D"),
                format!("{}\r\n {}", &text[..at], &text[at..]),
                format!("{}\u{200b}{}", &text[..at], &text[at..]),
                format!("{text},{text}"),
            ] {
                prop_assert_eq!(repaired(&padded), text, "{}", padded);
            }
        }

        #[test]
        fn a_damaged_key_id_alone_is_mended(random: [u8; 10], id: u8) {
            let mut text = [0; TEXT_LEN];
            let text = ring(3, &[3]).mint(&token(random), &mut text);
            let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            bytes[1] = id;
            prop_assert_eq!(ring(3, &[3, 4]).mended(&URL_SAFE_NO_PAD.encode(&bytes)), Some(text.to_owned()));
            bytes[30] ^= 1;
            prop_assert_eq!(ring(3, &[3, 4]).mended(&URL_SAFE_NO_PAD.encode(&bytes)), None);
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            prop_assert!(ring(3, &[3]).verify(&text).is_err());
        }
    }

    #[test]
    fn fuzz_tokens_from_strangers() {
        let ours = ring(3, &[3]);
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let _ = claimed_time(text);
            let once = repaired(text);
            assert_eq!(repaired(&once), once);
            assert!(ours.mended(text).is_none());
            assert!(ours.verify(text).is_err(), "nobody guesses a MAC of 128 bits");
        });
    }
}

//! What all signature schemes are made of. Comparisons take the same time wherever two values differ.

use super::delivery::Refusal;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use whence_schemas::time::UnixMs;

/// How far from now a signed time may lie, either way: the schemes that have a time agree on it.
pub const WINDOW_MS: i64 = 300_000;

/// HMAC-SHA256 of the parts one behind the other.
#[must_use]
pub fn hmac_sha256(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA1 of a body.
#[must_use]
pub fn hmac_sha1(secret: &[u8], body: &[u8]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// SHA-256 of the parts one behind the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Whether a signature is the expected one, in constant time.
///
/// # Errors
/// [`Refusal::Forged`]
pub fn same(found: &[u8], expected: &[u8]) -> Result<(), Refusal> {
    let is_same: bool = found.ct_eq(expected).into();
    is_same.then_some(()).ok_or(Refusal::Forged)
}

/// Whether two texts are the same, in a time that does not tell their lengths either.
///
/// # Errors
/// [`Refusal::Forged`]
pub fn same_text(found: &[u8], expected: &[u8]) -> Result<(), Refusal> {
    same(&sha256(&[found]), &sha256(&[expected]))
}

/// Whether a signed time is near enough to now.
///
/// # Errors
/// [`Refusal::Stale`]
pub fn fresh(signed_at_ms: i64, now: UnixMs) -> Result<(), Refusal> {
    let distance = signed_at_ms.checked_sub(now.0).ok_or(Refusal::Stale)?;
    (-WINDOW_MS..=WINDOW_MS).contains(&distance).then_some(()).ok_or(Refusal::Stale)
}

/// The bytes of hexadecimal digits.
///
/// # Errors
/// [`Refusal::Malformed`]
pub fn of_hex(text: &str) -> Result<Vec<u8>, Refusal> {
    hex::decode(text).map_err(|_| Refusal::Malformed)
}

/// The bytes of Base64 text.
///
/// # Errors
/// [`Refusal::Malformed`]
pub fn of_base64(text: &str) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|_| Refusal::Malformed)
}

/// A time in a header: digits only.
///
/// # Errors
/// [`Refusal::Malformed`]
pub fn time(text: &str) -> Result<i64, Refusal> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits).ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_fresh_up_to_five_minutes_either_way() {
        let now = UnixMs(1_800_000_000_000);
        for (distance, expected) in [
            (-300_001, Err(Refusal::Stale)),
            (-300_000, Ok(())),
            (300_000, Ok(())),
            (300_001, Err(Refusal::Stale)),
        ] {
            assert_eq!(fresh(now.0 + distance, now), expected, "{distance}");
        }
        assert_eq!(fresh(i64::MIN, now), Err(Refusal::Stale));
    }

    #[test]
    fn what_is_no_hex_and_no_time_is_malformed() {
        for wrong in ["0", "0g", "é"] {
            assert_eq!(of_hex(wrong), Err(Refusal::Malformed), "{wrong}");
        }
        assert_eq!(of_hex("00fFa1"), Ok(vec![0, 255, 161]));
        for wrong in ["", "-1", "+1", "1.0", "99999999999999999999"] {
            assert_eq!(time(wrong), Err(Refusal::Malformed), "{wrong}");
        }
    }
}

//! Who an event is about, without saying who: keyed hashes of lead ids and aliases.
//!
//! A key is the first 16 bytes of HMAC-SHA256 under the deployment's identity secret over
//! `program 0x00 kind 0x00 value`. The same person in two programs has two unrelated keys. Raw
//! values stay in the process that received them.

use crate::ids::ProgramId;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// A keyed hash of a lead id or alias.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectKey(pub [u8; 16]);

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SubjectKey {
    /// The key in these bytes, or `None` where they are not 16.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<SubjectKey> {
        bytes.try_into().ok().map(SubjectKey)
    }
}

/// What kind of name a person goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasKind {
    /// The caller's own lead id.
    Lead,
    /// An email address.
    Email,
    /// A phone number.
    Phone,
    /// A payment provider's customer id.
    Customer,
    /// A CRM's contact id.
    Contact,
}

impl AliasKind {
    /// The word that separates this kind's hashes from the others', and the field of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AliasKind::Lead => "lead",
            AliasKind::Email => "email",
            AliasKind::Phone => "phone",
            AliasKind::Customer => "customer",
            AliasKind::Contact => "contact",
        }
    }
}

/// Why a value is no alias of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// Empty, or longer than 255 characters.
    #[error("must have 1 to 255 characters")]
    Length,
    /// Not `local@domain`.
    #[error("is not an email address")]
    Email,
    /// Not a number with its country code.
    #[error("is not a phone number with country code: + and 7 to 15 digits (E.164)")]
    Phone,
    /// It has control characters.
    #[error("must not have control characters")]
    Control,
}

/// `value` in the one form that is hashed: email addresses trimmed and in lower case, phone numbers
/// as `+` and digits (E.164, `00` read as `+`), everything else trimmed.
pub fn normalise(kind: AliasKind, value: &str) -> Result<String, AliasError> {
    let value = value.trim();
    if value.is_empty() || value.chars().count() > 255 {
        return Err(AliasError::Length);
    }
    if value.chars().any(char::is_control) {
        return Err(AliasError::Control);
    }
    match kind {
        AliasKind::Email => email(value),
        AliasKind::Phone => phone(value),
        AliasKind::Lead | AliasKind::Customer | AliasKind::Contact => Ok(value.to_owned()),
    }
}

fn email(value: &str) -> Result<String, AliasError> {
    let (local, domain) = value.rsplit_once('@').ok_or(AliasError::Email)?;
    let is_whole =
        !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
    if is_whole && !value.contains(char::is_whitespace) {
        Ok(value.to_lowercase())
    } else {
        Err(AliasError::Email)
    }
}

fn phone(value: &str) -> Result<String, AliasError> {
    let international =
        value.strip_prefix('+').or_else(|| value.strip_prefix("00")).ok_or(AliasError::Phone)?;
    let mut digits = String::from("+");
    for c in international.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '.' | '(' | ')' | '/' => {}
            _ => return Err(AliasError::Phone),
        }
    }
    if (8..=16).contains(&digits.len()) { Ok(digits) } else { Err(AliasError::Phone) }
}

/// The deployment's identity secret. It must never change: a new one makes every person unknown.
#[derive(Clone)]
pub struct IdentityHasher(Hmac<Sha256>);

impl fmt::Debug for IdentityHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityHasher")
    }
}

impl IdentityHasher {
    /// A hasher with these 32 secret random bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> IdentityHasher {
        IdentityHasher(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// The key of a value that [`normalise`] gave.
    #[must_use]
    pub fn key(&self, program: &ProgramId, kind: AliasKind, normalised: &str) -> SubjectKey {
        let mut mac = self.0.clone();
        for part in [program.as_str(), kind.word()] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        mac.update(normalised.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        SubjectKey(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_aliases_are_named() {
        assert_eq!(normalise(AliasKind::Lead, "  "), Err(AliasError::Length));
        assert_eq!(normalise(AliasKind::Lead, "a\u{0}b"), Err(AliasError::Control));
        for wrong in ["a", "@b.example", "a@b", "a b@c.example", "a@.example", "a@b."] {
            assert_eq!(normalise(AliasKind::Email, wrong), Err(AliasError::Email), "{wrong}");
        }
        for wrong in ["030 123456", "+1", "+1234567890123456", "+49x30123456"] {
            assert_eq!(normalise(AliasKind::Phone, wrong), Err(AliasError::Phone), "{wrong}");
        }
    }

    #[test]
    fn one_person_written_differently_has_one_key() {
        assert_eq!(normalise(AliasKind::Email, " Ann@Shop.Example "), Ok("ann@shop.example".into()));
        assert_eq!(normalise(AliasKind::Phone, "0049 (30) 123-456"), Ok("+4930123456".into()));
        assert_eq!(normalise(AliasKind::Phone, "+49 30 123456"), Ok("+4930123456".into()));
    }

    #[test]
    fn keys_differ_by_program_kind_and_secret() {
        let (one, two) = (IdentityHasher::new(&[1; 32]), IdentityHasher::new(&[2; 32]));
        let (a, b): (ProgramId, ProgramId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let key = one.key(&a, AliasKind::Lead, "42");
        assert_eq!(key, one.key(&a, AliasKind::Lead, "42"));
        assert_ne!(key, one.key(&b, AliasKind::Lead, "42"));
        assert_ne!(key, one.key(&a, AliasKind::Customer, "42"));
        assert_ne!(key, two.key(&a, AliasKind::Lead, "42"));
        assert_eq!(key.to_string(), "abc8774147af9d83ea66434a5090f6c9");
    }
}

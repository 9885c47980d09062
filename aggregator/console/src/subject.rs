//! Who a question is about.

use std::str::FromStr;

use uuid::Uuid;
use whence_schemas::{
    ids::ProgramId,
    subject::{AliasError, AliasKind, IdentityHasher, normalise},
};

/// What a person goes by in a question: a name of some kind, or one of their events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A lead id or an alias.
    Alias(AliasKind),
    /// The id of a lead, qualification or refused event.
    Event,
}

impl Name {
    /// All kinds, by the words of the API and the command line.
    pub const ALL: [Name; 6] = [
        Name::Alias(AliasKind::Lead),
        Name::Alias(AliasKind::Email),
        Name::Alias(AliasKind::Phone),
        Name::Alias(AliasKind::Customer),
        Name::Alias(AliasKind::Contact),
        Name::Event,
    ];

    /// `lead`, `email`, `phone`, `customer`, `contact` or `event`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Name::Alias(kind) => kind.word(),
            Name::Event => "event",
        }
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(word: &str) -> Result<Name, ()> {
        Self::ALL.into_iter().find(|name| name.word() == word).ok_or(())
    }
}

/// Why a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is not a valid alias.
    #[error(transparent)]
    Alias(#[from] AliasError),
    /// The text is not an event id.
    #[error("is not an event id such as 01234567-89ab-5cde-8f01-23456789abcd")]
    Event,
}

/// What the view `lineage` takes: an event id, or the key of a lead id or alias in hex. The raw value ends
/// here.
///
/// # Errors
/// See [`NameError`].
pub fn term(
    identity: &IdentityHasher,
    program: &ProgramId,
    name: Name,
    value: &str,
) -> Result<String, NameError> {
    match name {
        Name::Alias(kind) => Ok(identity.key(program, kind, &normalise(kind, value)?).to_string()),
        Name::Event => {
            let id: Uuid = value.trim().parse().map_err(|_| NameError::Event)?;
            Ok(id.hyphenated().to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_and_event_ids_go_on() {
        let identity = IdentityHasher::new(&[1; 32]);
        let program: ProgramId = "p".parse().unwrap();
        let of = |word: &str, value: &str| term(&identity, &program, word.parse().unwrap(), value);
        let key = of("email", " Ann@Shop.Example").unwrap();
        assert_eq!(key, of("email", "ann@shop.example").unwrap());
        assert!(key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
        assert_ne!(of("lead", "42").unwrap(), of("customer", "42").unwrap());
        let event = "01234567-89AB-5CDE-8F01-23456789ABCD";
        assert_eq!(of("event", event).unwrap(), event.to_lowercase());
        assert_eq!(of("event", "42"), Err(NameError::Event));
        assert_eq!(of("phone", "42"), Err(NameError::Alias(AliasError::Phone)));
        assert!("name".parse::<Name>().is_err());
    }
}

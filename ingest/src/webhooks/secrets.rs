//! Secrets by name. The registry, which travels through Kafka, knows their names only.

use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, fmt};
use whence_runtime::settings::Secret;

whence_runtime::settings! {
    /// Webhook secrets
    pub struct WebhookSecretsSettings {
        /// Secrets of webhook sources, postbacks and endpoints: one `name=secret` a line.
        ///
        /// Sources and endpoints name them; they stand in no registry and no topic. Read at start.
        pub webhook_secrets: Option<Secret>,
    }
}

impl WebhookSecretsSettings {
    /// The secrets by name.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn named(&self) -> Result<NamedSecrets, SecretsError> {
        NamedSecrets::parse(self.webhook_secrets.as_ref().map_or("", |text| text.expose_secret()))
    }

    /// What is wrong with them.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        self.named().err().map(|error| format!("webhook-secrets: {error}")).into_iter().collect()
    }
}

/// Secrets of one process.
pub const SECRETS_MAX: usize = 10_000;
/// Bytes of a secret, at least: fewer could be guessed.
pub const BYTES_MIN: usize = 16;
/// Characters of a name.
pub const NAME_MAX: usize = 64;

/// The secrets that a process was given.
#[derive(Default)]
pub struct NamedSecrets(BTreeMap<String, SecretString>);

impl fmt::Debug for NamedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a list of secrets can't be used. Says the line, never what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// Not `name=secret`.
    #[error("line {0} is not name=secret, the name of a-z, 0-9, '-' and '_'")]
    Form(usize),
    /// Too short.
    #[error("the secret in line {0} has fewer than {BYTES_MIN} characters")]
    Short(usize),
    /// The name was there before.
    #[error("the name in line {0} is there twice")]
    Twice(usize),
    /// More than [`SECRETS_MAX`].
    #[error("there are more than {SECRETS_MAX} secrets")]
    TooMany,
}

impl NamedSecrets {
    /// Reads one `name=secret` a line; empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn parse(text: &str) -> Result<NamedSecrets, SecretsError> {
        let mut secrets = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, secret) = line.split_once('=').ok_or(SecretsError::Form(number))?;
            let (name, secret) = (name.trim(), secret.trim());
            if !is_name(name) {
                return Err(SecretsError::Form(number));
            }
            if secret.len() < BYTES_MIN {
                return Err(SecretsError::Short(number));
            }
            if secrets.insert(name.to_owned(), SecretString::from(secret)).is_some() {
                return Err(SecretsError::Twice(number));
            }
            if secrets.len() > SECRETS_MAX {
                return Err(SecretsError::TooMany);
            }
        }
        Ok(NamedSecrets(secrets))
    }

    /// The secret of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(|secret| secret.expose_secret().as_bytes())
    }
}

/// Whether this can name a secret.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let long = "abcdefghijklmnop";
        for (text, expected) in [
            (long.to_owned(), SecretsError::Form(1)),
            (format!("\nBig={long}"), SecretsError::Form(2)),
            (format!("={long}"), SecretsError::Form(1)),
            ("a=short".to_owned(), SecretsError::Short(1)),
            (format!("a={long}\n# b\na={long}"), SecretsError::Twice(3)),
        ] {
            let error = NamedSecrets::parse(&text).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(long) && !error.to_string().contains("short"), "{error}");
        }
    }

    #[test]
    fn secrets_are_found_by_name_and_shown_by_name_only() {
        let secrets = NamedSecrets::parse("# live\nstripe-1 = whsec_a=b=c=d=e=f==\n").unwrap();
        assert_eq!(secrets.get("stripe-1"), Some(&b"whsec_a=b=c=d=e=f=="[..]));
        assert_eq!(secrets.get("stripe"), None);
        assert_eq!(format!("{secrets:?}"), "{\"stripe-1\"}");
    }
}

//! Secrets by program and name. The registry, which travels through Kafka, knows their names only.
//!
//! A secret is one program's: whoever may change one program's sources and endpoints can't sign with, or have checked
//! by, the secret of another. Records hold the short name, since their program stands beside it.

use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, fmt};
use whence_runtime::settings::Secret;
use whence_schemas::ids::ProgramId;

whence_runtime::settings! {
    /// Webhook secrets
    pub struct WebhookSecretsSettings {
        /// Secrets of webhook sources, postbacks and endpoints: one `program/name=secret` a line.
        ///
        /// Sources and endpoints of the program name them; they stand in no registry and no topic. All processes of a
        /// deployment that serve the API or send are given the same. Read at start.
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

/// The secrets that a process was given, by `program/name`.
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
    /// Not `program/name=secret`.
    #[error("line {0} is not program/name=secret, the name of a-z, 0-9, '-' and '_'")]
    Form(usize),
    /// `name=secret`, as it was before secrets belonged to programs.
    #[error(
        "the name in line {0} says no program: rename it to PROGRAM/NAME=…, with the program whose sources or endpoints \
         name it, and give each program a line (and better a secret) of its own"
    )]
    Unqualified(usize),
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
    /// Reads one `program/name=secret` a line; empty lines and those that begin with `#` do not count.
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
            let Some((program, short)) = name.split_once('/') else {
                let is_former = is_name(name);
                return Err(if is_former {
                    SecretsError::Unqualified(number)
                } else {
                    SecretsError::Form(number)
                });
            };
            if program.parse::<ProgramId>().is_err() || !is_name(short) {
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

    /// The program's secret of this name.
    #[must_use]
    pub fn get(&self, program: &str, name: &str) -> Option<&[u8]> {
        self.0.get(&format!("{program}/{name}")).map(|secret| secret.expose_secret().as_bytes())
    }
}

/// The name within its program: a record's secrets may be named `name` or `program/name`, which say the same.
#[must_use]
pub fn short<'a>(program: &str, name: &'a str) -> &'a str {
    name.strip_prefix(program).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name)
}

/// Whether this can name a secret within its program.
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
            (format!("/a={long}"), SecretsError::Form(1)),
            (format!("p/={long}"), SecretsError::Form(1)),
            (format!("p/A={long}"), SecretsError::Form(1)),
            (format!("p/a/b={long}"), SecretsError::Form(1)),
            (format!("p/a={long}\nstripe-live={long}"), SecretsError::Unqualified(2)),
            ("p/a=short".to_owned(), SecretsError::Short(1)),
            (format!("p/a={long}\n# b\np/a={long}"), SecretsError::Twice(3)),
        ] {
            let error = NamedSecrets::parse(&text).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(long) && !error.to_string().contains("short"), "{error}");
        }
    }

    #[test]
    fn secrets_are_found_by_name_and_shown_by_name_only() {
        let text = "# live\nshop/stripe-1 = whsec_a=b=c=d=e=f==\nblog/stripe-1 = abcdefghijklmnopq\n";
        let secrets = NamedSecrets::parse(text).unwrap();
        assert_eq!(secrets.get("shop", "stripe-1"), Some(&b"whsec_a=b=c=d=e=f=="[..]));
        assert_eq!(secrets.get("blog", "stripe-1"), Some(&b"abcdefghijklmnopq"[..]));
        for (program, name) in
            [("shop", "stripe"), ("", "shop/stripe-1"), ("shop", "shop/stripe-1"), ("other", "stripe-1")]
        {
            assert_eq!(secrets.get(program, name), None, "{program} {name}");
        }
        assert_eq!(format!("{secrets:?}"), r#"{"blog/stripe-1", "shop/stripe-1"}"#);
        assert_eq!(
            (short("shop", "shop/a"), short("shop", "a"), short("shop", "blog/a")),
            ("a", "a", "blog/a")
        );
    }
}

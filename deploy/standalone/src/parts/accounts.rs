//! Who this process is to ClickHouse: the account that it is given, or that of the embedded engine, whose
//! passwords are made at the first start and kept in the data folder.

use std::path::Path;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use whence_clickhouse_embedded::{Account, passwords};

use crate::failure::Failure;
use crate::settings::{AccountSettings, EngineSettings};

/// The owner's password, within the data folder.
pub const OWNER_PASSWORD: &str = "clickhouse-password";
/// The reader's.
pub const READER_PASSWORD: &str = "clickhouse-reader-password";

/// A user of ClickHouse, and whence's database there.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub user: String,
    /// Their password, if they have one.
    pub password: Option<SecretString>,
    /// The database.
    pub database: String,
}

impl Login {
    /// The given account; what the settings leave out may be in `url`, as `http://user:password@host`.
    pub fn given(account: &AccountSettings, url: Option<&str>) -> Self {
        let mut login = Self {
            user: account.clickhouse_user.clone(),
            password: account.clickhouse_password.as_ref().map(copy),
            database: account.clickhouse_database.clone(),
        };
        let credentials = url.and_then(split).and_then(|(_, credentials, _)| credentials.split_once(':'));
        if login.password.is_none()
            && let Some((user, password)) = credentials
        {
            login.user = decoded(user);
            login.password = Some(decoded(password).into());
        }
        login
    }
}

/// `url` without the credentials in it: it is noted, logged and shown.
pub fn bare(url: &str) -> String {
    split(url).map_or_else(|| url.to_owned(), |(scheme, _, rest)| format!("{scheme}://{rest}"))
}

/// Scheme, credentials and the rest of a URL that has credentials.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let at = authority.rfind('@')?;
    Some((scheme, &rest[..at], &rest[at + 1..]))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The embedded engine's accounts.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// This process and its like.
    pub owner: Account,
    /// People, their tools, and the console.
    pub reader: Account,
}

impl Embedded {
    /// With the given passwords, or those of the folder, which are made now if they are missing.
    ///
    /// # Errors
    /// A password can't be kept or read.
    pub fn ensure(data: &Path, account: &AccountSettings, engine: &EngineSettings) -> Result<Self, Failure> {
        let owner = match &account.clickhouse_password {
            Some(password) => copy(password),
            None => passwords::kept(&data.join(OWNER_PASSWORD))?,
        };
        let reader = match &engine.clickhouse_reader_password {
            Some(password) => copy(password),
            None => passwords::kept(&data.join(READER_PASSWORD))?,
        };
        Ok(Self {
            owner: Account::new(&account.clickhouse_user, owner),
            reader: Account::new(Account::READER, reader),
        })
    }
}

/// An account of the embedded engine as a client needs it.
pub fn login(account: &Account, settings: &AccountSettings) -> Login {
    Login {
        user: account.user.clone(),
        password: Some(copy(&account.password)),
        database: settings.clickhouse_database.clone(),
    }
}

fn copy(secret: &SecretString) -> SecretString {
    secret.expose_secret().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountSettings {
        AccountSettings {
            clickhouse_database: "whence".into(),
            clickhouse_user: "default".into(),
            clickhouse_password: None,
        }
    }

    #[test]
    fn credentials_in_an_address_are_used_and_not_shown() {
        let url = "https://ann:p%40ss@db.example:8443/x@y";
        let login = Login::given(&account(), Some(url));
        assert_eq!(login.user, "ann");
        assert_eq!(login.password.unwrap().expose_secret(), "p@ss");
        assert_eq!(bare(url), "https://db.example:8443/x@y");
        assert_eq!(bare("http://db:8123"), "http://db:8123");
        let mut given = account();
        given.clickhouse_password = Some("own".to_owned().into());
        assert_eq!(Login::given(&given, Some(url)).user, "default");
        assert!(Login::given(&account(), Some("http://db:8123")).password.is_none());
    }
}

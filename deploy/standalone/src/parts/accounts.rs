//! Who this process is to ClickHouse: the account that it is given, or that of the embedded engine, whose
//! passwords are made at the first start and kept in the data folder.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use whence_aggregator::servers::{Login, ServerUrl};
use whence_clickhouse_embedded::{Account, passwords};

use crate::data_dir::{OWNER_PASSWORD, READER_PASSWORD};
use crate::failure::Failure;
use crate::settings::{AccountSettings, EngineSettings};

/// The given account; what the settings leave out may be in one of the addresses, as `http://user:password@host`.
pub fn given(account: &AccountSettings, urls: &[ServerUrl]) -> Login {
    let mut login = Login {
        user: account.clickhouse_user.clone(),
        password: account.clickhouse_password.as_ref().map(copy),
        database: account.clickhouse_database.clone(),
    };
    if login.password.is_none()
        && let Some((user, password)) = urls.iter().find_map(ServerUrl::credentials)
    {
        user.clone_into(&mut login.user);
        login.password = Some(copy(password));
    }
    login
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
    fn credentials_in_an_address_are_used_unless_a_password_is_given() {
        let urls = |text: &str| text.split(',').map(|url| url.parse().unwrap()).collect::<Vec<ServerUrl>>();
        let with = urls("http://a:8123,https://ann:p%40ss@db.example:8443/x@y");
        let login = given(&account(), &with);
        assert_eq!(login.user, "ann");
        assert_eq!(login.password.unwrap().expose_secret(), "p@ss");
        let mut own = account();
        own.clickhouse_password = Some("own".to_owned().into());
        assert_eq!(given(&own, &with).user, "default");
        assert!(given(&account(), &urls("http://db:8123")).password.is_none());
    }
}

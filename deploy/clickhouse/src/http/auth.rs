//! Who asks: the owner or the reader, each by name and password; nobody else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::config::Account;
use crate::engine::Exception;
use crate::rights::Identity;

/// What a request says about who asks.
#[derive(Debug, Default)]
pub struct Credentials {
    user: Option<String>,
    password: Option<SecretString>,
}

impl Credentials {
    /// From the URL or ClickHouse's own headers, or else from HTTP basic authentication.
    #[must_use]
    pub fn new(user: Option<String>, password: Option<SecretString>, authorization: Option<&str>) -> Self {
        if user.is_some() || password.is_some() {
            return Self { user, password };
        }
        authorization.and_then(basic).unwrap_or_default()
    }
}

fn basic(header: &str) -> Option<Credentials> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credentials { user: Some(user.to_owned()), password: Some(password.to_owned().into()) })
}

/// Who may ask.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// The process whose data it is.
    pub owner: Account,
    /// People and their tools.
    pub reader: Option<Account>,
}

impl Accounts {
    /// Who it is. The comparison takes as long whatever the passwords' content; only lengths can be told
    /// from the time.
    ///
    /// # Errors
    /// 516, the same for a wrong name, a wrong password and none.
    pub fn identify(&self, credentials: &Credentials) -> Result<Identity, Exception> {
        let user = credentials.user.as_deref().unwrap_or("default");
        let given = credentials.password.as_ref().map_or("", |password| password.expose_secret());
        let is = |account: &Account| -> Choice {
            let right = given.as_bytes().ct_eq(account.password.expose_secret().as_bytes());
            // An empty password is never accepted, whatever the configuration says.
            user.as_bytes().ct_eq(account.user.as_bytes()) & right & Choice::from(u8::from(!given.is_empty()))
        };
        let owner = is(&self.owner);
        let reader = self.reader.as_ref().map_or(Choice::from(0), is);
        if owner.into() {
            return Ok(Identity::Owner);
        }
        if reader.into() {
            return Ok(Identity::Reader);
        }
        let message = format!(
            "{user}: Authentication failed: password is incorrect, or there is no user with such name"
        );
        Err(Exception::new(516, "AUTHENTICATION_FAILED", &message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let account = |user: &str, password: &str| Account {
            user: user.to_owned(),
            password: password.to_owned().into(),
        };
        Accounts { owner: account("default", "secret"), reader: Some(account("reader", "open")) }
    }

    fn given(user: Option<&str>, password: Option<&str>) -> Credentials {
        Credentials::new(user.map(Into::into), password.map(|text| text.to_owned().into()), None)
    }

    #[test]
    fn a_wrong_name_or_password_fails_in_the_same_words() {
        let wrong = accounts().identify(&given(Some("default"), Some("guess"))).unwrap_err();
        assert_eq!(wrong.code, 516);
        assert_eq!(accounts().identify(&given(Some("default"), None)).unwrap_err(), wrong);
        assert_eq!(accounts().identify(&given(Some("default"), Some("open"))).unwrap_err(), wrong);
        assert_eq!(accounts().identify(&given(Some("reader"), Some("secret"))).unwrap_err().code, 516);
        assert_eq!(accounts().identify(&given(Some("other"), Some("secret"))).unwrap_err().code, 516);
        assert_eq!(accounts().identify(&Credentials::default()).unwrap_err(), wrong);
        let mut empty = accounts();
        empty.owner.password = String::new().into();
        assert_eq!(empty.identify(&Credentials::default()).unwrap_err(), wrong);
        assert_eq!(empty.identify(&given(Some("default"), Some(""))).unwrap_err(), wrong);
    }

    #[test]
    fn the_right_password_passes_from_every_place_and_says_who_it_is() {
        let owner = |credentials| assert_eq!(accounts().identify(&credentials), Ok(Identity::Owner));
        owner(given(None, Some("secret")));
        owner(given(Some("default"), Some("secret")));
        let header = format!("Basic {}", STANDARD.encode("default:secret"));
        owner(Credentials::new(None, None, Some(&header)));
        assert_eq!(accounts().identify(&given(Some("reader"), Some("open"))), Ok(Identity::Reader));
    }

    #[test]
    fn the_password_is_in_no_debug_output() {
        let shown = format!("{:?} {:?}", accounts(), given(None, Some("secret")));
        assert!(!shown.contains("\"secret\"") && !shown.contains("\"open\""), "{shown}");
    }
}

//! Who may ask: one user, one password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::engine::Exception;

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

/// The one user.
#[derive(Debug, Clone)]
pub struct Account {
    user: String,
    password: Option<SecretString>,
}

impl Account {
    /// A user who may ask; without a password, whoever gives the name may.
    #[must_use]
    pub fn new(user: String, password: Option<SecretString>) -> Self {
        Self { user, password }
    }

    /// Lets the request pass or not. The comparison takes as long whatever the password's content;
    /// only its length can be told from the time.
    ///
    /// # Errors
    /// 516, the same for a wrong name and a wrong password.
    pub fn check(&self, credentials: &Credentials) -> Result<(), Exception> {
        let user = credentials.user.as_deref().unwrap_or("default");
        let given = credentials.password.as_ref().map_or("", |password| password.expose_secret());
        let known = user.as_bytes().ct_eq(self.user.as_bytes());
        let right = match &self.password {
            None => 1.into(),
            Some(password) => given.as_bytes().ct_eq(password.expose_secret().as_bytes()),
        };
        if (known & right).into() {
            return Ok(());
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

    fn account() -> Account {
        Account::new("default".into(), Some("secret".to_owned().into()))
    }

    fn given(user: Option<&str>, password: Option<&str>) -> Credentials {
        Credentials::new(user.map(Into::into), password.map(|text| text.to_owned().into()), None)
    }

    #[test]
    fn a_wrong_name_or_password_fails_in_the_same_words() {
        let wrong = account().check(&given(Some("default"), Some("guess"))).unwrap_err();
        assert_eq!(wrong.code, 516);
        assert_eq!(account().check(&given(Some("default"), None)).unwrap_err(), wrong);
        assert_eq!(account().check(&given(Some("other"), Some("secret"))).unwrap_err().code, 516);
        assert_eq!(account().check(&Credentials::default()).unwrap_err().code, 516);
    }

    #[test]
    fn the_right_password_passes_from_every_place() {
        account().check(&given(None, Some("secret"))).unwrap();
        account().check(&given(Some("default"), Some("secret"))).unwrap();
        let header = format!("Basic {}", STANDARD.encode("default:secret"));
        account().check(&Credentials::new(None, None, Some(&header))).unwrap();
    }

    #[test]
    fn the_password_is_in_no_debug_output() {
        let shown = format!("{:?} {:?}", account(), given(None, Some("secret")));
        assert!(!shown.contains("secret"), "{shown}");
    }
}

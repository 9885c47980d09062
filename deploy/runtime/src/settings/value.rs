//! How one setting's text becomes a typed value, and back for display.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

/// Why a text is not a value of the type. Never repeats the text: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// `reason` completes the sentence "`--flag 5x`: …", for instance "expected a size such as 512MiB".
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A type a setting can have.
///
/// For a type with `FromStr` and `Display` use [`parsed_value!`](crate::parsed_value), for an enum of
/// words [`choice!`](crate::choice).
pub trait Value: Sized {
    /// What stands for the value in help texts, such as `SIZE`.
    const PLACEHOLDER: &'static str;
    /// The value must not be printed and may come from a file of its own.
    const SECRET: bool = false;
    /// The flag may repeat, and the TOML value may be an array.
    const LIST: bool = false;
    /// The flag alone means `true`.
    const SWITCH: bool = false;

    /// From the text of a flag, a variable, or a TOML scalar.
    ///
    /// # Errors
    /// A reason that does not repeat the text.
    fn parse(text: &str) -> Result<Self, Invalid>;

    /// From a repeated flag or a TOML array.
    ///
    /// # Errors
    /// As [`Value::parse`]; by default any list but one of a single item is refused.
    fn parse_list(items: &[String]) -> Result<Self, Invalid> {
        match items {
            [item] => Self::parse(item),
            _ => Err(Invalid::new("expected one value, not a list")),
        }
    }

    /// The value of a setting that nothing names and that has no default; `None` makes it required.
    fn unset() -> Option<Self> {
        None
    }

    /// For the effective settings; secrets render as a fixed word.
    fn render(&self) -> String;
}

/// Implements [`Value`](crate::settings::Value) for types with `FromStr` and `Display`.
///
/// `parsed_value!(Port => "PORT", "expected a port between 1 and 65535")`
#[macro_export]
macro_rules! parsed_value {
    ($($type:ty => $placeholder:literal, $expected:literal;)+) => {$(
        impl $crate::settings::Value for $type {
            const PLACEHOLDER: &'static str = $placeholder;

            fn parse(text: &str) -> ::std::result::Result<Self, $crate::settings::Invalid> {
                text.parse().map_err(|_| $crate::settings::Invalid::new($expected))
            }

            fn render(&self) -> ::std::string::String {
                self.to_string()
            }
        }
    )+};
}

parsed_value! {
    u8 => "NUMBER", "expected a whole number from 0 to 255";
    u16 => "NUMBER", "expected a whole number from 0 to 65535";
    u32 => "NUMBER", "expected a whole number from 0 to 4294967295";
    u64 => "NUMBER", "expected a whole number, zero or more";
    usize => "NUMBER", "expected a whole number, zero or more";
    i32 => "NUMBER", "expected a whole number";
    i64 => "NUMBER", "expected a whole number";
    SocketAddr => "ADDRESS", "expected an address with a port, such as 127.0.0.1:8080 or [::1]:8080";
    IpAddr => "ADDRESS", "expected an IP address without a port";
}

impl Value for f64 {
    const PLACEHOLDER: &'static str = "NUMBER";

    /// NaN and the infinities parse as `f64` and are never meant.
    fn parse(text: &str) -> Result<Self, Invalid> {
        let number = text.parse().ok().filter(|number: &Self| number.is_finite());
        number.ok_or(Invalid::new("expected a number such as 0.01"))
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    const PLACEHOLDER: &'static str = "BOOL";
    const SWITCH: bool = true;

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(Invalid::new("expected true or false")),
        }
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const PLACEHOLDER: &'static str = "TEXT";

    fn parse(text: &str) -> Result<Self, Invalid> {
        Ok(text.to_owned())
    }

    fn render(&self) -> String {
        without_userinfo(self)
    }
}

impl Value for PathBuf {
    const PLACEHOLDER: &'static str = "PATH";

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("expected a path"));
        }
        Ok(Self::from(text))
    }

    fn render(&self) -> String {
        self.display().to_string()
    }
}

impl Value for SecretString {
    const PLACEHOLDER: &'static str = "SECRET";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("is empty"));
        }
        Ok(Self::from(text))
    }

    fn render(&self) -> String {
        "(secret)".to_owned()
    }
}

impl<T: Value> Value for Option<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SECRET: bool = T::SECRET;
    const LIST: bool = T::LIST;
    const SWITCH: bool = T::SWITCH;

    fn parse(text: &str) -> Result<Self, Invalid> {
        T::parse(text).map(Some)
    }

    fn parse_list(items: &[String]) -> Result<Self, Invalid> {
        T::parse_list(items).map(Some)
    }

    fn unset() -> Option<Self> {
        Some(None)
    }

    fn render(&self) -> String {
        self.as_ref().map_or_else(|| "(unset)".to_owned(), T::render)
    }
}

/// A list: comma-separated as one text, or one value per repeated flag or array item (commas then kept).
impl<T: Value> Value for Vec<T> {
    const PLACEHOLDER: &'static str = T::PLACEHOLDER;
    const SECRET: bool = T::SECRET;
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Self, Invalid> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::parse).collect()
    }

    fn parse_list(items: &[String]) -> Result<Self, Invalid> {
        items.iter().map(|item| T::parse(item)).collect()
    }

    fn unset() -> Option<Self> {
        Some(Self::new())
    }

    fn render(&self) -> String {
        self.iter().map(T::render).collect::<Vec<_>>().join(",")
    }
}

/// `http://user:password@host` without its userinfo, and several such addresses: they are often put into plain settings.
pub(super) fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let authority_end = part.find(['/', '?', '#', ',']).unwrap_or(part.len());
        match part[..authority_end].rfind('@') {
            Some(at) => {
                shown.push_str("(secret)@");
                shown.push_str(&part[at + 1..]);
            }
            None => shown.push_str(part),
        }
    }
    shown
}

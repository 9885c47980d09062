//! The names a person goes by, each in the one form that is hashed.

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use std::borrow::Cow;

/// The longest alias.
const CHARS_MAX: usize = 255;
/// The fewest digits of a phone number with its country code.
const DIGITS_MIN: usize = 7;
/// Where a number's zero in front is a part of it, dialled from abroad, too: Italy, San Marino, the Vatican,
/// Côte d'Ivoire, Gabon and Congo.
const ZERO_STAYS: [&str; 6] = ["39", "378", "379", "225", "241", "242"];

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

/// Why a value is not a valid alias of its kind.
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
    /// The value has control characters.
    #[error("must not have control characters")]
    Control,
}

/// `value` in the one form that is hashed, which is its own form:
/// - email addresses in lower case and composed (Unicode NFC), the domain as [`mail_domain`] gives it. What is
///   before the `@` is else kept, a tag behind `+` and dots, too: which mailboxes are one their provider decides.
/// - phone numbers as `+` and digits (E.164), `00` read as `+`, without the `(0)` that is only dialled at home.
/// - everything else trimmed.
///
/// Invisible characters are not part of an email address or phone number.
///
/// # Errors
/// See [`AliasError`].
pub fn normalise(kind: AliasKind, value: &str) -> Result<String, AliasError> {
    let value = value.trim();
    if value.is_empty() || value.chars().count() > CHARS_MAX {
        return Err(AliasError::Length);
    }
    if value.chars().any(char::is_control) {
        return Err(AliasError::Control);
    }
    match kind {
        AliasKind::Email => email(&seen(value)),
        AliasKind::Phone => phone(&seen(value)),
        AliasKind::Lead | AliasKind::Customer | AliasKind::Contact => Ok(value.to_owned()),
    }
}

/// The domain of an email address as the DNS writes it: lower case, labels in other than ASCII as Punycode (UTS #46,
/// non-transitional). What can't be a domain is lower-cased and composed: a slip in an address is no reason to
/// lose a lead.
#[must_use]
pub fn mail_domain(domain: &str) -> String {
    let ascii =
        Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Verify);
    ascii.map_or_else(|_| folded(domain), Cow::into_owned)
}

/// In lower case and composed.
fn folded(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(&text.to_lowercase()).into_owned()
}

/// Without characters that only steer how text is shown: they come along when it is copied.
fn seen(value: &str) -> String {
    let is_unseen = |c: &char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    value.chars().filter(|c| !is_unseen(c)).collect()
}

fn email(value: &str) -> Result<String, AliasError> {
    let value = value.trim();
    let (local, domain) = value.rsplit_once('@').ok_or(AliasError::Email)?;
    let domain = mail_domain(domain);
    let is_whole =
        !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
    if is_whole && !value.contains(char::is_whitespace) {
        Ok(format!("{}@{domain}", folded(local)))
    } else {
        Err(AliasError::Email)
    }
}

fn phone(value: &str) -> Result<String, AliasError> {
    let value = value.trim();
    let international =
        value.strip_prefix('+').or_else(|| value.strip_prefix("00")).ok_or(AliasError::Phone)?;
    let mut written = String::with_capacity(international.len());
    for c in international.chars() {
        match c {
            '0'..='9' | '(' | ')' => written.push(c),
            '-' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            c if c.is_whitespace() => {}
            _ => return Err(AliasError::Phone),
        }
    }
    if let Some((code, rest)) = written.split_once("(0)")
        && is_country_code(code)
        && !ZERO_STAYS.contains(&code)
        && code.len() + digits(rest).len() >= DIGITS_MIN
    {
        written = format!("{code}{rest}");
    }
    let digits = digits(&written);
    if (DIGITS_MIN..=15).contains(&digits.len()) { Ok(format!("+{digits}")) } else { Err(AliasError::Phone) }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn is_country_code(digits: &str) -> bool {
    (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of each kind: what it is written as, all of it one person.
    const ONE: [(AliasKind, &str, &[&str]); 15] = [
        (AliasKind::Lead, "Lead 1", &["Lead 1", " Lead 1\t"]),
        (AliasKind::Email, "ann@shop.example", &[" Ann@Shop.Example ", "ann@ｓｈｏｐ.example"]),
        (
            AliasKind::Email,
            "ann@shop.example",
            &["\u{202a}ann@shop.example\u{202c}", "a\u{200b}nn@shop.example\u{feff}"],
        ),
        (
            AliasKind::Email,
            "ren\u{e9}@shop.example",
            &["rene\u{301}@shop.example", "REN\u{c9}@shop.example", "RENE\u{301}@shop.example"],
        ),
        (
            AliasKind::Email,
            "ann@xn--mnchen-3ya.example",
            &["ann@münchen.example", "ann@MU\u{308}NCHEN.example", "ann@XN--mnchen-3ya.example"],
        ),
        (AliasKind::Email, "ann@xn--fiqs8s.xn--fiqs8s", &["ann@中国。中国"]),
        (AliasKind::Email, "a.n.n+shop@x_y.example", &["A.N.N+shop@x_y.example"]),
        // No domains, but names all the same.
        (AliasKind::Email, "a@b..\u{e9}.example", &["A@B..E\u{301}.example"]),
        (AliasKind::Email, "a@[10.0.0.1]", &["A@[10.0.0.1]"]),
        (AliasKind::Email, "a@b\u{fe6b}c.example", &["a@b\u{fe6b}C.example"]),
        (
            AliasKind::Phone,
            "+4930123456",
            &[
                "0049 (30) 123-456",
                "+49 30 123456",
                "+49 (0)30 123456",
                "0049(0)30/123456",
                "+49 ( 0 ) 30 123456",
            ],
        ),
        (
            AliasKind::Phone,
            "+442079460958",
            &["+44 (0) 20 7946 0958", "\u{202a}+44\u{a0}20\u{2011}7946\u{2011}0958\u{202c}"],
        ),
        (AliasKind::Phone, "+390612345678", &["+39 06 1234 5678", "+39 (0)6 1234 5678"]),
        (AliasKind::Phone, "+1012345", &["+1 (0)12345"]),
        (AliasKind::Phone, "+12125550123", &["+1 (212) 555-0123", "+1 (212)5(5)50123"]),
    ];

    #[test]
    fn one_person_written_differently_has_one_name() {
        for (kind, name, written) in ONE {
            for value in written {
                assert_eq!(normalise(kind, value).as_deref(), Ok(name), "{value:?}");
            }
        }
    }

    #[test]
    fn tags_dots_and_the_case_of_ids_tell_persons_apart() {
        let differ =
            |kind, one, other| assert_ne!(normalise(kind, one).unwrap(), normalise(kind, other).unwrap());
        differ(AliasKind::Email, "ann+shop@mail.example", "ann@mail.example");
        differ(AliasKind::Email, "a.nn@mail.example", "ann@mail.example");
        differ(AliasKind::Email, "ann@xn--mnchen-3ya.example", "ann@munchen.example");
        differ(AliasKind::Lead, "A1", "a1");
        differ(AliasKind::Phone, "+1 212 (0)5550123", "+1 212 5550123");
    }

    #[test]
    fn values_that_cannot_be_aliases_are_named() {
        assert_eq!(normalise(AliasKind::Lead, "  "), Err(AliasError::Length));
        assert_eq!(normalise(AliasKind::Lead, "a\u{0}b"), Err(AliasError::Control));
        assert_eq!(normalise(AliasKind::Lead, &"é".repeat(256)), Err(AliasError::Length));
        for wrong in [
            "a",
            "@b.example",
            "a@b",
            "a b@c.example",
            "a@b c.example",
            "a@.example",
            "a@b.",
            "\u{200b}@b.example",
            "a@b。",
            "\u{feff}",
        ] {
            assert_eq!(normalise(AliasKind::Email, wrong), Err(AliasError::Email), "{wrong}");
        }
        for wrong in ["030 123456", "+1", "+1234567890123456", "+49x30123456", "\u{200b}"] {
            assert_eq!(normalise(AliasKind::Phone, wrong), Err(AliasError::Phone), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(email in "\\PC{1,20}@\\PC{1,20}\\.\\PC{1,10}", phone in "[+0]0?[-0-9 ()\u{2011}]{7,20}") {
            for (kind, value) in [(AliasKind::Email, email), (AliasKind::Phone, phone)] {
                if let Ok(normal) = normalise(kind, &value) {
                    prop_assert_eq!(normalise(kind, &normal), Ok(normal.clone()));
                }
            }
        }
    }
}

//! The names a person goes by, each in the one form that is hashed.

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The longest alias.
const CHARS_MAX: usize = 255;
/// The fewest digits of a phone number with its country code.
const DIGITS_MIN: usize = 7;
/// Where a number's zero in front is a part of it, dialled from abroad, too: Italy, San Marino, the Vatican,
/// Côte d'Ivoire, Gabon and Congo.
const ZERO_STAYS: [&str; 6] = ["39", "378", "379", "225", "241", "242"];
/// Countries where a zero is dialled before a number at home, and no number begins with one (national prefixes of
/// ITU-T E.164, annex; libphonenumber, `PhoneNumberMetadata.xml`).
const ZERO_AT_HOME: &[&str] = &[
    "20", "27", "31", "32", "33", "40", "41", "43", "44", "46", "49", "51", "53", "54", "55", "58", "60",
    "61", "62", "63", "64", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98", "211",
    "212", "213", "218", "231", "232", "233", "234", "243", "249", "251", "252", "254", "255", "256", "260",
    "261", "262", "263", "264", "265", "291", "353", "355", "358", "359", "370", "373", "374", "377", "380",
    "381", "382", "383", "385", "386", "387", "389", "421", "590", "591", "593", "594", "595", "596", "598",
    "850", "855", "856", "880", "886", "961", "962", "963", "964", "966", "967", "970", "971", "972", "976",
    "977", "994", "996", "998",
];
/// Schemes of addresses, and the words before numbers, that are copied with them.
const MAIL_SCHEMES: [&str; 1] = ["mailto:"];
const PHONE_SCHEMES: [&str; 6] = ["tel:", "sms:", "smsto:", "callto:", "whatsapp:", "mailto:"];
/// Digits of a number in Mexico and Argentina, behind the country's code.
const NATIONAL_DIGITS: usize = 10;

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
/// - phone numbers as `+` and digits (E.164), `00` read as `+`, without the zero that is only dialled at home, be it in
///   brackets or not, and without what Mexico (`1`) and Argentina (`9`, `15`) had or have before the number of a mobile.
/// - both without `mailto:`, `tel:` or the like before them, and what such addresses have behind `?` or `;`.
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
        AliasKind::Email => email(&of_mailto(&seen(value))),
        AliasKind::Phone => phone(of_scheme(&seen(value), &PHONE_SCHEMES, &[';', '?', ','])),
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

/// What stands behind a scheme and before what its addresses have behind it; the value as it is without one.
fn of_scheme<'v>(value: &'v str, schemes: &[&str], ends: &[char]) -> &'v str {
    let value = value.trim();
    let behind = |scheme: &&str| {
        let (head, rest) = value.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    match schemes.iter().find_map(behind) {
        Some(rest) => rest.trim_start_matches('/').split(ends).next().unwrap_or_default(),
        None => value,
    }
}

/// The first address of a `mailto:` (RFC 6068), decoded; the value as it is where it is none.
fn of_mailto(value: &str) -> Cow<'_, str> {
    let address = of_scheme(value, &MAIL_SCHEMES, &['?', ',']);
    if address.len() == value.trim().len() {
        return value.into();
    }
    percent_decode_str(address).decode_utf8_lossy()
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
    let digits = dialled_from_abroad(&digits(&written));
    if (DIGITS_MIN..=15).contains(&digits.len()) { Ok(format!("+{digits}")) } else { Err(AliasError::Phone) }
}

/// Digits with their country's code, without those that are dialled at home only and that mobiles have in some places or
/// had: with and without, it is one telephone.
fn dialled_from_abroad(digits: &str) -> String {
    let codes = ZERO_AT_HOME.iter().chain(&["52"]);
    let split = codes.into_iter().find_map(|code| Some((*code, digits.strip_prefix(code)?)));
    let Some((code, number)) = split else { return digits.to_owned() };
    let bare = if code == "52" { number } else { number.trim_start_matches('0') };
    let bare = match code {
        "52" => mexican(bare),
        "54" => argentine(bare),
        _ => bare.to_owned(),
    };
    if code.len() + bare.len() < DIGITS_MIN { digits.to_owned() } else { format!("{code}{bare}") }
}

/// Until 2020 mobiles had a 1 from abroad, and 01, 044 or 045 at home.
fn mexican(number: &str) -> String {
    let bare = ["1", "01", "044", "045"].iter().filter_map(|prefix| number.strip_prefix(prefix));
    let mut whole = bare.filter(|bare| bare.len() == NATIONAL_DIGITS);
    whole.next().unwrap_or(number).to_owned()
}

/// Mobiles have a 9 from abroad, and 15 behind the code of their area at home: 11, or of three or four digits.
fn argentine(number: &str) -> String {
    let bare = number.strip_prefix('9').filter(|bare| bare.len() >= NATIONAL_DIGITS).unwrap_or(number);
    let bare = bare.trim_start_matches('0');
    if bare.len() == NATIONAL_DIGITS + 2 {
        let areas = if bare.starts_with("11") { &[2][..] } else { &[3, 4] };
        if let Some(area) = areas.iter().find(|area| bare[**area..].starts_with("15")) {
            return format!("{}{}", &bare[..*area], &bare[area + 2..]);
        }
    }
    bare.to_owned()
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
    const ONE: [(AliasKind, &str, &[&str]); 26] = [
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
                "+49030123456",
                "+49 030 / 123 456",
                "0049 030 123456",
                "tel:+49-30-123456",
                "TEL:+49(0)30123456;ext=7",
                "sms:+4930123456?body=hi",
            ],
        ),
        (
            AliasKind::Phone,
            "+442079460958",
            &[
                "+44 (0) 20 7946 0958",
                "+4402079460958",
                "+44 020 7946 0958",
                "tel://+442079460958",
                "\u{202a}+44\u{a0}20\u{2011}7946\u{2011}0958\u{202c}",
            ],
        ),
        (AliasKind::Phone, "+390612345678", &["+39 06 1234 5678", "+39 (0)6 1234 5678"]),
        (
            AliasKind::Email,
            "ann+shop@mail.example",
            &["mailto:Ann%2Bshop@mail.example?subject=hi", "MAILTO: ann+shop@mail.example"],
        ),
        (
            AliasKind::Phone,
            "+33612345678",
            &["+33 (0)6 12 34 56 78", "+330612345678", "whatsapp:+33612345678"],
        ),
        (AliasKind::Phone, "+61412345678", &["+61 0412 345 678", "+61 412 345 678"]),
        (AliasKind::Phone, "+919876543210", &["+91 09876543210", "00919876543210"]),
        (AliasKind::Phone, "+971501234567", &["+971 050 123 4567"]),
        (AliasKind::Phone, "+3725123456", &["+372 512 3456"]),
        (
            AliasKind::Phone,
            "+525512345678",
            &["+52 1 55 1234 5678", "+52 55 1234 5678", "+52 044 55 1234 5678", "+52 01 55 12345678"],
        ),
        (
            AliasKind::Phone,
            "+541112345678",
            &[
                "+54 9 11 1234-5678",
                "+54 11 1234-5678",
                "+54 011 15 1234-5678",
                "+54 9 011 1234 5678",
                "+54 11 15 1234 5678",
            ],
        ),
        (
            AliasKind::Phone,
            "+543511234567",
            &["+54 9 351 123-4567", "+54 0351 15 123-4567", "+54 351 1234567"],
        ),
        (AliasKind::Phone, "+542901123456", &["+54 9 2901 123456", "+54 2901 15 123456"]),
        // Where a zero, a 1 or a 9 is a part of the number, it stays.
        (AliasKind::Phone, "+2250701234567", &["+225 07 01 23 45 67"]),
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

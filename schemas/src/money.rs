//! Amounts of money as whole minor units. Exact: no floating point anywhere.
//!
//! Currencies and their decimals: ISO 4217, list one of 2024-06-25 with VED's and ZWG's later entries,
//! without funds, metals and test codes; and those of the past (list three), since what was paid in them is
//! still reported and imported.

/// The largest amount, in minor units: a thousand million million is beyond any order, and every sum of
/// ten thousand of them fits 64 bits.
pub const MINOR_MAX: i64 = 1_000_000_000_000_000;

const NO_DECIMALS: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
const THREE_DECIMALS: &str = "BHD IQD JOD KWD LYD OMR TND";
const FOUR_DECIMALS: &str = "CLF UYW";
const TWO_DECIMALS: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD \
    BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS \
    GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD \
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN \
    QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD \
    TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG";

/// Currencies of the past without decimals: as in CLDR and the JDK, ISO 4217's list three has none.
const PAST_NO_DECIMALS: &str = "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE TMM TPE TRL";
const PAST_TWO_DECIMALS: &str = "AFA ALK AON AOR ARA ARP ATS AYM AZM BAD BEC BEL BGJ BGK BGL BOP BRB BRC BRE BRN \
    BRR BUK CSD CSK CUC CYP DDM DEM ECS EEK FIM FRF GEK GHC GNE GNS GQE GWE GWP HRD HRK IEP ILP ILR LAJ LTL LTT \
    LUC LUL LVL LVR MLF MRO MTL MTP MXP MZE MZM NIC NLG PEH PEI PES PLZ RHD ROK ROL RUR SDD SDP SIT SKK SLL SRG \
    STD SUR TJR UAK UGS UYN UYP VEB VEF VNC YDD YUD YUM YUN ZAL ZMK ZRN ZRZ ZWC ZWD ZWL ZWN ZWR";

/// Characters of a number: more than any float or decimal type writes.
const NUMBER_CHARS_MAX: usize = 100;
/// The largest power of ten in a number's exponent.
const EXPONENT_MAX: i32 = 40;
/// Decimals of the largest difference that a float's noise explains: 0.000001 of the currency.
const NOISE_DECIMALS: usize = 6;

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Something that separates thousands, or a comma before the decimals.
    #[error("must have no separators of thousands, and a point before its decimals, such as \"1250.50\"")]
    Separators,
    /// Less than 0.
    #[error("must not be negative")]
    Negative,
    /// Not digits, with digits behind a point or without.
    #[error("must be digits with a decimal point or without, such as \"12.50\"")]
    Form,
    /// More decimals than the currency has.
    #[error("must have at most {decimals} decimals in this currency")]
    Decimals {
        /// How many it has.
        decimals: usize,
    },
    /// More than [`MINOR_MAX`].
    #[error("is too large")]
    TooLarge,
}

/// The decimals of a currency, or `None` where this is the code of none.
#[must_use]
pub fn decimals(currency: &str) -> Option<usize> {
    let lists = [
        (TWO_DECIMALS, 2),
        (NO_DECIMALS, 0),
        (THREE_DECIMALS, 3),
        (FOUR_DECIMALS, 4),
        (PAST_TWO_DECIMALS, 2),
        (PAST_NO_DECIMALS, 0),
    ];
    let lists_it = |list: &str| list.split_ascii_whitespace().any(|code| code == currency);
    lists.into_iter().find(|(list, _)| lists_it(list)).map(|(_, decimals)| decimals)
}

/// Minor units of a currency with this many decimals, such as `12.50`.
#[must_use]
pub fn text(minor: i64, decimals: usize) -> String {
    let digits = format!("{minor:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    if fraction.is_empty() { digits } else { format!("{whole}.{fraction}") }
}

/// The minor units of an amount such as `12.50` in a currency with this many decimals.
///
/// # Errors
/// See [`AmountError`]. Signs, exponents and separators of thousands are refused.
pub fn minor_units(amount: &str, decimals: usize) -> Result<i64, AmountError> {
    let (whole, fraction) = match amount.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(AmountError::Form),
        None => (amount, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return Err(AmountError::Form);
    }
    if fraction.len() > decimals {
        return Err(AmountError::Decimals { decimals });
    }
    let mut digits =
        whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', decimals - fraction.len()));
    digits
        .try_fold(0i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
        .filter(|minor| *minor <= MINOR_MAX)
        .ok_or(AmountError::TooLarge)
}

/// The minor units of an amount in a currency with this many decimals, as other programs write numbers: `12.50`,
/// `12.5000`, `8.0E7`, `.5`, and `59.970000000000006`, where what is beyond the currency's decimals is a float's noise
/// (less than 0.000001 of the currency away) and is rounded to the nearest.
///
/// # Errors
/// See [`AmountError`]. Never more than 10^-6 of the currency away from what is written.
pub fn minor_units_of_number(amount: &str, decimals: usize) -> Result<i64, AmountError> {
    let number = Number::read(amount)?;
    if number.is_negative && !number.is_zero() {
        return Err(AmountError::Negative);
    }
    let (whole, rest) = number.split(i32::try_from(decimals).unwrap_or(i32::MAX));
    let minor = whole.parse::<i64>().map_err(|_| AmountError::TooLarge)?;
    let places = NOISE_DECIMALS.saturating_sub(decimals);
    let (near, beyond) = rest.split_at(rest.len().min(places));
    let is_exact = rest.is_empty();
    let is_little_more = near.bytes().all(|digit| digit == b'0');
    let is_little_less =
        near.len() == places && near.bytes().all(|digit| digit == b'9') && !beyond.is_empty();
    let minor = match (is_exact || is_little_more, is_little_less) {
        (true, _) => minor,
        (false, true) => minor.saturating_add(1),
        (false, false) => return Err(AmountError::Decimals { decimals }),
    };
    if minor <= MINOR_MAX { Ok(minor) } else { Err(AmountError::TooLarge) }
}

/// Whether this is a number, and 0: of whatever currency.
#[must_use]
pub fn is_zero(amount: &str) -> bool {
    Number::read(amount).is_ok_and(|number| number.is_zero())
}

/// A decimal number, exactly as it is written.
pub struct Number {
    /// Whether it begins with `-`.
    pub is_negative: bool,
    /// Its digits, without zeros at either end; none: 0.
    digits: String,
    /// How many of the digits stand before the point; below 0: so many zeros come between the point and them.
    point: i32,
}

impl Number {
    /// Reads `-12.50`, `.5`, `8.0E7`.
    ///
    /// # Errors
    /// [`AmountError::Separators`] where only commas, spaces and the like keep it from being one, and
    /// [`AmountError::Form`].
    pub fn read(text: &str) -> Result<Number, AmountError> {
        let form = |text: &str| {
            let is_separator = |c: char| c.is_whitespace() || matches!(c, ',' | '.' | '\'' | '’' | '_');
            let body = text.strip_prefix('-').unwrap_or(text);
            let is_grouped = body.chars().all(|c| c.is_ascii_digit() || is_separator(c))
                && body.chars().any(|c| c.is_ascii_digit());
            if is_grouped { AmountError::Separators } else { AmountError::Form }
        };
        if text.len() > NUMBER_CHARS_MAX {
            return Err(AmountError::Form);
        }
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| AmountError::Form)?),
            None => (unsigned, 0),
        };
        if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
            return Err(AmountError::TooLarge);
        }
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
            return Err(form(text));
        }
        let all = format!("{whole}{fraction}");
        let zeros = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        let places = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(Number { is_negative, digits, point: places(whole.len()) - places(zeros) + exponent })
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The digits of this number times 10^`decimals`, without its sign: those before the point, and those behind it.
    #[must_use]
    pub fn split(&self, decimals: i32) -> (String, String) {
        let point = if self.is_zero() { 0 } else { self.point.saturating_add(decimals) };
        match usize::try_from(point) {
            Ok(0) => ("0".to_owned(), self.digits.clone()),
            Ok(point) => {
                let (whole, rest) = self.digits.split_at(self.digits.len().min(point));
                (format!("{whole:0<point$}"), rest.to_owned())
            }
            Err(_) => {
                let zeros = "0".repeat(usize::try_from(point.unsigned_abs()).unwrap_or_default());
                ("0".to_owned(), format!("{zeros}{}", self.digits))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_programs_write_them() {
        for (text, decimals, minor) in [
            ("8.0E7", 2, 8_000_000_000),
            ("8e7", 0, 80_000_000),
            ("1.5E+2", 2, 15_000),
            ("125E-2", 2, 125),
            ("59.970000000000006", 2, 5997),
            ("59.969999999999995", 2, 5997),
            ("0.30000000000000004", 2, 30),
            ("0.1000000000000000055511151231257827021181583404541015625", 2, 10),
            ("99.99999999999999", 2, 10_000),
            ("1250.0000", 0, 1250),
            ("1.2500000001", 3, 1250),
            (".5", 2, 50),
            ("5.", 2, 500),
            ("0", 2, 0),
            ("-0.0", 2, 0),
            ("000012.50", 2, 1250),
            ("0.0000001", 2, 0),
            ("1e15", 0, MINOR_MAX),
        ] {
            assert_eq!(minor_units_of_number(text, decimals), Ok(minor), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_no_amount_are_refused_by_name() {
        let too_precise = |decimals| AmountError::Decimals { decimals };
        for (text, decimals, error) in [
            ("1.005", 2, too_precise(2)),
            ("59.970001", 2, too_precise(2)),
            ("59.969999", 2, too_precise(2)),
            ("59.9699990", 2, too_precise(2)),
            ("0.5", 0, too_precise(0)),
            ("1.0001", 3, too_precise(3)),
            ("1,000", 2, AmountError::Separators),
            ("1,50", 2, AmountError::Separators),
            ("1.000.000", 2, AmountError::Separators),
            ("1.000,50", 2, AmountError::Separators),
            ("1 000.50", 2, AmountError::Separators),
            ("1\u{a0}000", 2, AmountError::Separators),
            ("1'000", 2, AmountError::Separators),
            ("-1", 2, AmountError::Negative),
            ("-0.01", 2, AmountError::Negative),
            ("", 2, AmountError::Form),
            (".", 2, AmountError::Form),
            ("e5", 2, AmountError::Form),
            ("1e", 2, AmountError::Form),
            ("1e5.5", 2, AmountError::Form),
            ("+1", 2, AmountError::Form),
            ("$5", 2, AmountError::Form),
            ("5 EUR", 2, AmountError::Form),
            ("NaN", 2, AmountError::Form),
            ("inf", 2, AmountError::Form),
            ("0x10", 2, AmountError::Form),
            ("٣", 2, AmountError::Form),
            ("1e41", 2, AmountError::TooLarge),
            ("1e16", 0, AmountError::TooLarge),
        ] {
            assert_eq!(minor_units_of_number(text, decimals), Err(error), "{text}");
        }
    }

    #[test]
    fn currencies_of_the_past_are_known() {
        for (past, decimals_then) in [("DEM", 2), ("HRK", 2), ("ITL", 0), ("VEF", 2), ("BYR", 0)] {
            assert_eq!(decimals(past), Some(decimals_then), "{past}");
        }
    }

    #[test]
    fn amounts_that_are_none_are_refused() {
        for wrong in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,000", "1 000", "1.0.0", "٣", " 1", "0x1", "NaN"]
        {
            assert_eq!(minor_units(wrong, 2), Err(AmountError::Form), "{wrong}");
        }
        assert_eq!(minor_units("1.234", 2), Err(AmountError::Decimals { decimals: 2 }));
        assert_eq!(minor_units("1.0", 0), Err(AmountError::Decimals { decimals: 0 }));
        assert_eq!(minor_units("10000000000000.01", 2), Err(AmountError::TooLarge));
        assert_eq!(minor_units(&"9".repeat(400), 2), Err(AmountError::TooLarge));
    }

    #[test]
    fn currencies_have_their_own_decimals() {
        assert_eq!(minor_units("12.5", decimals("EUR").unwrap()), Ok(1250));
        assert_eq!(minor_units("1250", decimals("JPY").unwrap()), Ok(1250));
        assert_eq!(minor_units("1.25", decimals("KWD").unwrap()), Ok(1250));
        assert_eq!(minor_units("0.1", decimals("CLF").unwrap()), Ok(1000));
        for none in ["eur", "EURO", "", "XXX", "XAU", "EUR USD", " "] {
            assert_eq!(decimals(none), None, "{none}");
        }
    }

    #[test]
    fn no_currency_is_listed_twice() {
        let current = [NO_DECIMALS, TWO_DECIMALS, THREE_DECIMALS, FOUR_DECIMALS];
        let lists = [&current[..], &[PAST_NO_DECIMALS, PAST_TWO_DECIMALS]].concat().join(" ");
        let mut codes: Vec<_> = lists.split_ascii_whitespace().collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(codes.iter().all(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())));
    }

    proptest! {
        #[test]
        fn every_amount_survives_its_own_text(minor in 0..=MINOR_MAX, decimals in 0usize..5) {
            let digits = format!("{minor:0>width$}", width = decimals + 1);
            let (whole, fraction) = digits.split_at(digits.len() - decimals);
            let text = if decimals == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(minor_units(&text, decimals), Ok(minor));
            prop_assert_eq!(minor_units_of_number(&text, decimals), Ok(minor));
        }

        /// Why numbers in JSON need no other parser: whatever amount is possible survives being a float.
        #[test]
        fn every_amount_survives_being_a_number_in_json(minor in 0..=MINOR_MAX, decimals in 0usize..5) {
            let read: serde_json::Value = serde_json::from_str(&text(minor, decimals)).unwrap();
            prop_assert_eq!(minor_units_of_number(&read.to_string(), decimals), Ok(minor));
        }

        #[test]
        fn no_number_panics(text in ".{0,20}|[0-9.eE+-]{0,20}", decimals in 0usize..5) {
            let _ = minor_units_of_number(&text, decimals);
        }
    }
}

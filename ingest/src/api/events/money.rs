//! Amounts of money as whole minor units. Exact: no floating point anywhere.
//!
//! Currencies and their decimals: ISO 4217, list one of 2024-06-25 with VED's and ZWG's later entries,
//! without funds, metals and test codes.

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

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
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
    let lists = [(TWO_DECIMALS, 2), (NO_DECIMALS, 0), (THREE_DECIMALS, 3), (FOUR_DECIMALS, 4)];
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        let lists = [NO_DECIMALS, TWO_DECIMALS, THREE_DECIMALS, FOUR_DECIMALS].join(" ");
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
        }
    }
}

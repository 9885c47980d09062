//! Sizes and durations as people write them. A bare number is refused: "30" of what?

use std::fmt;
use std::time::Duration;

use super::value::{Invalid, Value};

const SIZE_EXPECTED: &str =
    "expected a whole number with a unit, such as 512MiB (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)";
const DURATION_EXPECTED: &str =
    "expected whole numbers with units, such as 30s or 1h30m (us, ms, s, m, h, d)";

/// Bytes of each unit. Binary and decimal units are both in use and differ by 10% at a terabyte, so each
/// keeps its meaning; letters match in any case because `mib` can mean nothing else.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

/// Microseconds of each unit, largest first. Case matters: `M` could be read as minutes or months.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// From bytes.
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }

    /// From units of 1024 bytes; saturates.
    pub const fn kib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// From units of 1024² bytes; saturates.
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// From units of 1024³ bytes; saturates.
    pub const fn gib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 30))
    }

    /// In bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// In bytes; saturates where `usize` is narrower.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The largest binary unit that divides the size, so that what is printed parses back to the same size.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
            .into_iter()
            .find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        match unit {
            Some((name, bytes)) => write!(f, "{}{name}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Value for ByteSize {
    const PLACEHOLDER: &'static str = "SIZE";

    fn parse(text: &str) -> Result<Self, Invalid> {
        let lower = text.to_ascii_lowercase();
        let (number, rest) = leading_number(&lower).ok_or(Invalid::new(SIZE_EXPECTED))?;
        let unit = SIZE_UNITS.iter().find(|(name, _)| *name == rest.trim());
        let (_, bytes) = unit.ok_or(Invalid::new(SIZE_EXPECTED))?;
        number.checked_mul(*bytes).map(Self).ok_or(Invalid::new("is more than 16 EiB"))
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    const PLACEHOLDER: &'static str = "DURATION";

    fn parse(text: &str) -> Result<Self, Invalid> {
        let too_long = Invalid::new("is longer than 500,000 years");
        let mut rest = text;
        let mut total_us = 0u64;
        let mut unit_before_us = u64::MAX;
        while !rest.is_empty() {
            let (number, tail) = leading_number(rest).ok_or(Invalid::new(DURATION_EXPECTED))?;
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let unit = DURATION_UNITS.iter().find(|(name, _)| *name == &tail[..unit_end]);
            let (_, unit_us) = unit.ok_or(Invalid::new(DURATION_EXPECTED))?;
            // "30m1h" and "5s5s" are slips of the pen, not sums.
            if *unit_us >= unit_before_us {
                return Err(Invalid::new("write larger units first, each once, such as 1h30m"));
            }
            unit_before_us = *unit_us;
            let part_us = number.checked_mul(*unit_us).ok_or(too_long.clone())?;
            total_us = total_us.checked_add(part_us).ok_or(too_long.clone())?;
            rest = &tail[unit_end..];
        }
        if unit_before_us == u64::MAX {
            return Err(Invalid::new(DURATION_EXPECTED));
        }
        Ok(Self::from_micros(total_us))
    }

    fn render(&self) -> String {
        let total_us = u64::try_from(self.as_micros()).unwrap_or(u64::MAX);
        let mut left_us = total_us;
        let mut text = String::new();
        for (name, unit_us) in DURATION_UNITS {
            if left_us >= unit_us {
                text.push_str(&format!("{}{name}", left_us / unit_us));
                left_us %= unit_us;
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }
}

/// Splits `512MiB` into 512 and `MiB`; `None` without leading digits or above 64 bits.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits_end].parse().ok()?, &text[digits_end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_need_a_unit_and_keep_binary_and_decimal_apart() {
        for (text, bytes) in [
            ("0B", 0),
            ("1kB", 1_000),
            ("1KiB", 1_024),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize::bytes(bytes)), "{text}");
        }
        for text in ["", "5", "MiB", "1.5GiB", "-1MiB", "1Mb s", "1MiB1KiB", "99999999999TiB", "１MiB"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_units_in_falling_order() {
        for (text, us) in [
            ("0s", 0),
            ("250ms", 250_000),
            ("30s", 30_000_000),
            ("5m", 300_000_000),
            ("1h30m", 5_400_000_000),
            ("7d", 604_800_000_000),
            ("1s5us", 1_000_005),
        ] {
            assert_eq!(Duration::parse(text), Ok(Duration::from_micros(us)), "{text}");
        }
        for text in ["", "30", "s", "5M", "30m1h", "5s5s", "1.5s", "1h 30m", "-1s", "9999999999999999d"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_parses_back(bytes: u64, us: u64) {
            let size = ByteSize::bytes(bytes);
            prop_assert_eq!(ByteSize::parse(&size.render()), Ok(size));
            let duration = Duration::from_micros(us);
            prop_assert_eq!(Duration::parse(&duration.render()), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text: String) {
            let _ = (ByteSize::parse(&text), Duration::parse(&text));
        }
    }
}

//! Milliseconds since the Unix epoch.

use std::fmt;

mod parse;

pub use parse::parse;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl UnixMs {
    /// The latest moment ClickHouse's `DateTime64(3)` holds exactly: 2299-12-31T23:59:59.999Z.
    pub const MAX: UnixMs = UnixMs(10_413_791_999_999);

    /// This moment moved by `ms` milliseconds (negative: back), stopping at the ends of `i64`.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    #[must_use]
    pub fn ms_since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether ClickHouse stores this moment as it is (1970 to 2299).
    #[must_use]
    pub fn is_storable(self) -> bool {
        (0..=Self::MAX.0).contains(&self.0)
    }

    /// This moment, or the nearest one that ClickHouse can store.
    #[must_use]
    pub fn clamped(self) -> UnixMs {
        UnixMs(self.0.clamp(0, Self::MAX.0))
    }

    /// Days since 1970-01-01 (UTC) that have begun.
    #[must_use]
    pub fn day(self) -> i32 {
        i32::try_from(self.0.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
    }

    /// Year and month (UTC): 202601. ClickHouse: `toYYYYMM`.
    #[must_use]
    pub fn month(self) -> u32 {
        let (year, month, _) = date(self.0.div_euclid(DAY_MS));
        u32::try_from(year * 100 + month).unwrap_or(0)
    }

    /// As RFC 3339 text in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = date(days);
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// A day, in days since 1970-01-01, as RFC 3339 has it: `2026-01-31`.
#[must_use]
pub fn day_text(day: i32) -> String {
    let (year, month, day) = date(i64::from(day));
    format!("{year:04}-{month:02}-{day:02}")
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Year, month and day of this many days since the epoch. Source: Howard Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
            (UnixMs::MAX.0, "2299-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UnixMs(ms).rfc3339(), text);
            assert_eq!(day_text(UnixMs(ms).day()), text[..10]);
        }
    }
}

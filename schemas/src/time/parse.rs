//! Moments from text (RFC 3339).

use super::UnixMs;

/// An RFC 3339 `date-time`, cut to milliseconds. A leap second is the second after it.
#[must_use]
pub fn parse(text: &str) -> Option<UnixMs> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| allowed.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_punctuated = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    if !is_punctuated || hour > 23 || minute > 59 || second > 60 || !is_date(year, month, day) {
        return None;
    }
    let (fraction_ms, zone_at) = fraction(bytes, 19)?;
    let offset_min = if is(zone_at, b"Zz") && bytes.len() == zone_at + 1 {
        0
    } else {
        let (hours, minutes) = (number(zone_at + 1, zone_at + 3)?, number(zone_at + 4, zone_at + 6)?);
        if !is(zone_at + 3, b":") || bytes.len() != zone_at + 6 || hours > 23 || minutes > 59 {
            return None;
        }
        match bytes[zone_at] {
            b'+' => hours * 60 + minutes,
            b'-' => -(hours * 60 + minutes),
            _ => return None,
        }
    };
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(UnixMs((seconds - offset_min * 60) * 1_000 + fraction_ms))
}

/// The milliseconds of `.digits` at `at`, if there are any, and where they end.
fn fraction(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    if bytes.get(at) != Some(&b'.') {
        return Some((0, at));
    }
    let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let ms = (0..3).fold(0, |sum, place| {
        let digit = if place < digits { bytes[at + 1 + place] - b'0' } else { 0 };
        sum * 10 + i64::from(digit)
    });
    Some((ms, at + 1 + digits))
}

fn is_date(year: i64, month: i64, day: i64) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "2026",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00+0100",
            "2026-1-31T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00Zx",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00 01:00",
            "2026-01-31T12:00:00é01:00",
            "+026-01-31T12:00:00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_as_rfc_3339_says() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-31T12:00:00Z", 1_769_860_800_000),
            ("2026-01-31t13:30:00.1239+01:30", 1_769_860_800_123),
            ("2026-01-31 07:00:00.5-05:00", 1_769_860_800_500),
            ("2024-02-29T23:59:60Z", 1_709_251_200_000),
            ("1969-12-31T23:59:59Z", -1_000),
            ("2299-12-31T23:59:59.999Z", UnixMs::MAX.0),
        ] {
            assert_eq!(parse(text), Some(UnixMs(ms)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn each_day_is_a_day_after_the_one_before(day in 0i64..120_000) {
            // Finds the date of `day` by search, without the formula under test.
            let year = (1970..2310).rev().find(|y| days_since_epoch(*y, 1, 1) <= day).unwrap();
            let month = (1..=12).rev().find(|m| days_since_epoch(year, *m, 1) <= day).unwrap();
            let date = day - days_since_epoch(year, month, 1) + 1;
            prop_assert!(is_date(year, month, date));
            let text = format!("{year}-{month:02}-{date:02}T00:00:00Z");
            prop_assert_eq!(parse(&text), Some(UnixMs(day * 86_400_000)));
        }
    }
}

//! Moments as providers write them, which is less uniform than what the events API takes.

use whence_schemas::money::Number;
use whence_schemas::time::{DAY_MS, UnixMs, parse};

/// Whole numbers below this are taken for seconds by mistake: as milliseconds they lie in early 1973.
pub const MS_MIN: i64 = 100_000_000_000;

/// A moment as another system writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// To the second or finer.
    At(UnixMs),
    /// Some time of the day that begins here (UTC).
    On(UnixMs),
}

impl Written {
    /// The moment that stands for it: of a day its last one, so that what happened earlier that day comes before it,
    /// or now while the day lasts somewhere on earth. `None` for what lies in the future, further than clocks differ.
    #[must_use]
    pub fn moment(self, now: UnixMs, skew_ms: i64) -> Option<UnixMs> {
        match self {
            Written::At(at) => (at.ms_since(now) <= skew_ms).then_some(at),
            Written::On(day) if day.ms_since(now) > ZONE_MS_MAX => None,
            Written::On(day) => Some(day.plus_ms(DAY_MS - 1).min(now)),
        }
    }
}

/// How far ahead of UTC a zone is at most.
const ZONE_MS_MAX: i64 = 14 * 3_600_000;
/// Whole numbers from here are seconds since 1970 (from 1973 on), smaller ones are none.
const SECONDS_MIN: i64 = 100_000_000;
/// Whole numbers from here are microseconds; from [`MS_MIN`] they are milliseconds.
const MICROSECONDS_MIN: i64 = 100_000_000_000_000;
/// Whole numbers from here are nanoseconds.
const NANOSECONDS_MIN: i64 = 100_000_000_000_000_000;

/// Reads a moment as providers write it, between 1973 and 2299:
///
/// - seconds, milliseconds, microseconds or nanoseconds since 1970, with a fraction or an exponent or without;
/// - ISO 8601 in its usual forms: `2026-01-31T12:00:00Z`, `…12:00:00.123456+0000`, `…12:00+01`,
///   `2026-01-31 12:00:00 UTC`, `20260131T120000Z`. Without a zone it is UTC, hence on the day that is written;
/// - a day: `2026-01-31`, `2026/01/31`, `20260131`.
#[must_use]
pub fn written(text: &str) -> Option<Written> {
    let text = text.trim();
    let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let compact = || (is_digits && matches!(text.len(), 8 | 14)).then(|| iso(text)).flatten();
    let is_usable = |written: &Written| {
        let (Written::At(moment) | Written::On(moment)) = written;
        moment.is_storable() && moment.0 > 0
    };
    let number = || number(text).map(Written::At);
    compact().filter(is_usable).or_else(number).or_else(|| iso(text)).filter(is_usable)
}

fn number(text: &str) -> Option<UnixMs> {
    let number = Number::read(text).ok().filter(|number| !number.is_negative)?;
    let whole: i64 = number.split(0).0.parse().ok()?;
    // What a unit has to be multiplied with, as a power of ten, to be milliseconds.
    let decimals = match whole {
        ..SECONDS_MIN => return None,
        SECONDS_MIN..MS_MIN => 3,
        MS_MIN..MICROSECONDS_MIN => 0,
        MICROSECONDS_MIN..NANOSECONDS_MIN => -3,
        NANOSECONDS_MIN.. => -6,
    };
    number.split(decimals).0.parse().ok().map(UnixMs)
}

fn iso(text: &str) -> Option<Written> {
    let (date, rest) = date(text)?;
    if rest.is_empty() {
        return parse(&format!("{date}T00:00:00Z")).map(Written::On);
    }
    let rest = rest
        .strip_prefix(['T', 't', ' '])
        .or_else(|| rest.starts_with(|c: char| c.is_ascii_digit()).then_some(rest))?;
    let (time, zone) = rest.split_at(
        rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ',')).unwrap_or(rest.len()),
    );
    let (clock, fraction) = match time.split_once(['.', ',']) {
        Some((clock, fraction)) if !fraction.is_empty() => (clock, format!(".{fraction}")),
        Some(_) => return None,
        None => (time, String::new()),
    };
    let clock = match (clock.len(), clock.contains(':')) {
        (8, true) => clock.to_owned(),
        (5, true) if fraction.is_empty() => format!("{clock}:00"),
        (6, false) => format!("{}:{}:{}", clock.get(..2)?, clock.get(2..4)?, clock.get(4..)?),
        (4, false) if fraction.is_empty() => format!("{}:{}:00", clock.get(..2)?, clock.get(2..)?),
        _ => return None,
    };
    let moment = parse(&format!("{date}T{clock}{fraction}{}", self::zone(zone.trim())?))?;
    Some(Written::At(moment))
}

/// The day at the beginning as RFC 3339 has it, and what comes after it.
fn date(text: &str) -> Option<(String, &str)> {
    let compact = text.get(..8).filter(|day| day.bytes().all(|b| b.is_ascii_digit()));
    if let Some(day) = compact {
        return Some((format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]), &text[8..]));
    }
    let day = text.get(..10)?;
    let is_parted = |with: u8| day.as_bytes().get(4) == Some(&with) && day.as_bytes().get(7) == Some(&with);
    (is_parted(b'-') || is_parted(b'/')).then(|| (day.replace('/', "-"), &text[10..]))
}

/// A zone as RFC 3339 has it.
fn zone(text: &str) -> Option<String> {
    if matches!(text, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some("Z".to_owned());
    }
    let sign = text.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
    let offset = &text[1..];
    match (offset.len(), offset.contains(':')) {
        (5, true) => Some(text.to_owned()),
        (4, false) => Some(format!("{sign}{}:{}", offset.get(..2)?, offset.get(2..)?)),
        (2, false) => Some(format!("{sign}{offset}:00")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-01-31T12:00:00Z
    const NOON: i64 = 1_769_860_800_000;

    #[test]
    fn times_are_read_in_every_form_that_providers_write() {
        for (text, ms) in [
            ("1769860800", NOON),
            ("1769860800.123", NOON + 123),
            ("1769860800.1239999", NOON + 123),
            ("1.7698608e9", NOON),
            ("1769860800000", NOON),
            ("1769860800000.5", NOON),
            ("1769860800123456", NOON + 123),
            ("1769860800123456789", NOON + 123),
            ("2026-01-31T12:00:00Z", NOON),
            ("2026-01-31T12:00:00.000+0000", NOON),
            ("2026-01-31T13:30:00.123456+0130", NOON + 123),
            ("2026-01-31T07:00:00.5-05:00", NOON + 500),
            ("2026-01-31T13:00:00+01", NOON),
            ("2026-01-31T12:00Z", NOON),
            ("2026-01-31T12:00:00,250Z", NOON + 250),
            ("2026-01-31 12:00:00", NOON),
            ("2026-01-31T12:00:00.000", NOON),
            ("2026-01-31 12:00:00 UTC", NOON),
            ("2026-01-31 13:00:00 +0100", NOON),
            ("2026/01/31 12:00:00", NOON),
            ("20260131T120000Z", NOON),
            ("20260131120000", NOON),
            (" 2026-01-31T12:00:00Z ", NOON),
        ] {
            assert_eq!(written(text), Some(Written::At(UnixMs(ms))), "{text}");
        }
        for day in ["2026-01-31", "2026/01/31", "20260131"] {
            assert_eq!(written(day), Some(Written::On(UnixMs(NOON - DAY_MS / 2))), "{day}");
        }
    }

    #[test]
    fn what_cannot_be_told_for_sure_is_no_time() {
        for text in [
            "",
            "0",
            "-1",
            "true",
            "yesterday",
            "12:00",
            "31.01.2026",
            "1/31/2026 12:00 PM",
            "01-31-2026",
            "2026",
            "2026-02-30",
            "20261301",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00 CET",
            "2026-01-31Z12:00",
            "2026-01-31T12:00:00+1",
            "1769",
            "9999999",
            "1e30",
            "10413792000000",
            "2026-01-31é",
            "2300-01-01T00:00:00Z",
            "1969-12-31",
            "1,769,860,800",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_is_over_at_its_end_or_now() {
        let moment = |text: &str, now: i64| written(text).unwrap().moment(UnixMs(now), 300_000);
        assert_eq!(moment("2026-01-30", NOON), Some(UnixMs(NOON - DAY_MS / 2 - 1)));
        assert_eq!(moment("2026-01-31", NOON), Some(UnixMs(NOON)));
        assert_eq!(moment("2026-02-01", NOON), Some(UnixMs(NOON)), "it has begun in Auckland");
        assert_eq!(moment("2026-02-02", NOON), None);
        assert_eq!(moment("2026-01-31T12:05:00Z", NOON), Some(UnixMs(NOON + 300_000)));
        assert_eq!(moment("2026-01-31T12:05:01Z", NOON), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}|[0-9TZ:+. -]{0,30}") {
            let _ = written(&text);
        }

        #[test]
        fn every_moment_is_read_in_its_own_forms(ms in MS_MIN..UnixMs::MAX.0) {
            let at = Some(Written::At(UnixMs(ms)));
            prop_assert_eq!(written(&UnixMs(ms).rfc3339()), at);
            prop_assert_eq!(written(&UnixMs(ms).rfc3339().replace('Z', "+0000")), at);
            prop_assert_eq!(written(&ms.to_string()), at);
            prop_assert_eq!(written(&format!("{ms}000")), at);
            let seconds = serde_json::json!(ms as f64 / 1000.0).to_string();
            let Some(Written::At(read)) = written(&seconds) else { panic!("{seconds}") };
            prop_assert!(read.ms_since(UnixMs(ms)).abs() <= 1, "{}", seconds);
        }
    }
}

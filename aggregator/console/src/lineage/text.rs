//! Moments, spans and amounts in words.

use whence_schemas::time::{DAY_MS, HOUR_MS, UnixMs};

/// A moment to the second: what happened within one stands in the order of the sentences.
pub(super) fn moment(ms: i64) -> String {
    let text = UnixMs(ms).rfc3339();
    text.replace(&format!(".{:03}Z", ms.rem_euclid(1000)), "Z")
}

/// A span of time by its two largest units: `3 days 4 hours`, `12 seconds`.
pub(super) fn span(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(DAY_MS, "day"), (HOUR_MS, "hour"), (60_000, "minute"), (1000, "second")];
    let mut left = ms.max(0);
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        let count = left / unit;
        left %= unit;
        if count > 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "less than a second".to_owned() } else { parts.join(" ") }
}

/// `, worth 1250 minor units of EUR`, or nothing.
pub(super) fn worth(value_minor: i64, currency: &str) -> String {
    if currency.is_empty() {
        String::new()
    } else {
        format!(", worth {value_minor} minor units of {currency}")
    }
}

/// `go.example/x (channel email)`
pub(super) fn link(link: &str, channel: &str) -> String {
    if channel.is_empty() { link.to_owned() } else { format!("{link} (channel {channel})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_name_their_two_largest_units() {
        for (ms, text) in [
            (-5, "less than a second"),
            (999, "less than a second"),
            (1000, "1 second"),
            (61_000, "1 minute 1 second"),
            (2 * HOUR_MS + 5 * 60_000 + 7000, "2 hours 5 minutes"),
            (30 * DAY_MS, "30 days"),
            (DAY_MS + 3 * HOUR_MS, "1 day 3 hours"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(moment(1_798_761_599_999), "2026-12-31T23:59:59Z");
    }
}

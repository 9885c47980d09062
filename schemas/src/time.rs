//! Milliseconds since the Unix epoch.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;

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
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

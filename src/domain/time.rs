//! Points in time with the store's resolution, and the stamp that every commit gets.

use std::fmt;

use super::Invalid;

/// A point in time in microseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest instant of `google.protobuf.Timestamp`.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant this many microseconds after the epoch.
    pub fn from_micros(micros: i64) -> Result<Self, Invalid> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(Invalid::new(format!(
                "{micros} µs since 1970 is outside the years 1 to 9999"
            )))
        }
    }

    /// The instant of `google.protobuf.Timestamp` fields; nanoseconds are truncated to microseconds.
    pub fn from_seconds(seconds: i64, nanos: i32) -> Result<Self, Invalid> {
        if !(0..1_000_000_000).contains(&nanos) {
            return Err(Invalid::new(format!(
                "{nanos} nanoseconds is outside 0 to 999999999"
            )));
        }
        let micros = seconds
            .checked_mul(1_000_000)
            .and_then(|s| s.checked_add(i64::from(nanos / 1_000)));
        micros
            .and_then(|micros| Self::from_micros(micros).ok())
            .ok_or_else(|| {
                Invalid::new(format!(
                    "{seconds} seconds since 1970 is outside the years 1 to 9999"
                ))
            })
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch (rounded down) and the nanoseconds that are left.
    pub fn to_seconds(self) -> (i64, i32) {
        let nanos = self.0.rem_euclid(1_000_000) * 1_000;
        (
            self.0.div_euclid(1_000_000),
            i32::try_from(nanos).unwrap_or_default(),
        )
    }

    /// This instant moved by a number of microseconds, clamped to the years 1 to 9999.
    #[must_use]
    pub fn saturating_add_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros).clamp(Self::MIN.0, Self::MAX.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

/// The number of a commit: 1, 2, 3… without gaps.
pub type Seq = u64;

/// When and as which commit something was written. Commit times are strictly increasing, so that the time alone
/// names a state of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// The commit's number; 0 in [`Stamp::PENDING`].
    pub seq: Seq,
    /// The commit's time.
    pub time: Timestamp,
}

impl Stamp {
    /// Stands for the commit that a value is about to be written by; the store replaces it.
    pub const PENDING: Self = Self {
        seq: 0,
        time: Timestamp(0),
    };

    /// Whether the commit is still to come.
    pub fn is_pending(self) -> bool {
        self.seq == 0
    }

    /// Puts the commit's stamp where this one is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        if self.is_pending() {
            *self = stamp;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_the_proto_range() {
        assert_eq!(
            Timestamp::from_seconds(253_402_300_799, 999_999_999).unwrap(),
            Timestamp::MAX
        );
        assert_eq!(
            Timestamp::from_seconds(-62_135_596_800, 0).unwrap(),
            Timestamp::MIN
        );
        for seconds in [253_402_300_800, -62_135_596_801, i64::MAX, i64::MIN] {
            assert!(Timestamp::from_seconds(seconds, 0).is_err(), "{seconds}");
        }
        assert!(Timestamp::from_seconds(0, -1).is_err());
        assert!(Timestamp::from_seconds(0, 1_000_000_000).is_err());
    }

    #[test]
    fn seconds_and_nanos_round_trip_before_the_epoch() {
        let early = Timestamp::from_seconds(-1, 250_000_000).unwrap();
        assert_eq!(early.as_micros(), -750_000);
        assert_eq!(early.to_seconds(), (-1, 250_000_000));
    }
}

//! Throttles log lines that remote peers can trigger, and counts what it suppresses.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// The throttle of one kind of line.
#[derive(Debug)]
pub(super) struct LogThrottle<C: Clock = DefaultClock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    suppressed: AtomicU64,
}

impl LogThrottle {
    /// A burst of lines, and one more after each period.
    pub(super) fn new(burst: u32, period: Duration) -> Self {
        Self::with_clock(burst, period, DefaultClock::default())
    }

    /// One line in a period.
    pub(super) fn once_in(period: Duration) -> Self {
        Self::new(1, period)
    }
}

impl<C: Clock> LogThrottle<C> {
    fn with_clock(burst: u32, period: Duration, clock: C) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        // Only a period of nothing is refused.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        Self {
            limiter: RateLimiter::direct_with_clock(quota.allow_burst(burst), clock),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether a line may be written; if so, how many it stands for: itself and those suppressed since the last one.
    pub(super) fn admit(&self) -> Option<u64> {
        if self.limiter.check().is_err() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let clock = FakeRelativeClock::default();
        let throttle = LogThrottle::with_clock(1_000, Duration::from_millis(10), clock.clone());
        let after = |millis| {
            clock.advance(Duration::from_millis(millis));
            throttle.admit()
        };
        for _ in 0..1_000 {
            assert_eq!(after(0), Some(1));
        }
        assert_eq!((after(0), after(9)), (None, None));
        // One every 10 ms, and the first counts the suppressed ones.
        assert_eq!((after(1), after(0), after(10)), (Some(3), None, Some(2)));
        // After a time there is room for all again.
        for _ in 0..1_000 {
            assert_eq!(after(60), Some(1));
        }
        for _ in 0..999 {
            assert_eq!(after(0), Some(1));
        }
        assert_eq!(after(0), None);
    }
}

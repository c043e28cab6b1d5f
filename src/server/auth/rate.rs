//! Rate limiters of principals: calls a second, and the burst. Callers without credentials share one limiter. A stream is
//! one call.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};

/// Accounts that may pile up before those that are full again are dropped.
const ACCOUNTS: usize = 1_000;

/// A limit of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls a second.
    pub per_second: NonZeroU32,
    /// Calls at once; as many as a second allows if not given.
    pub burst: Option<NonZeroU32>,
}

/// The refusal of a call that must wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooMany {
    pub(super) rate: Rate,
    /// Until the next call is taken.
    pub(super) wait: Duration,
}

/// The account of one principal with a limit of its own.
pub(super) struct Single {
    rate: Rate,
    account: DefaultDirectRateLimiter,
}

/// The accounts of all others.
pub(super) struct Each {
    rate: Rate,
    accounts: DefaultKeyedRateLimiter<String>,
}

impl Rate {
    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst())
    }

    /// Calls at once.
    pub(super) fn burst(self) -> NonZeroU32 {
        self.burst.unwrap_or(self.per_second)
    }
}

impl Single {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            account: DefaultDirectRateLimiter::direct(rate.quota()),
        }
    }

    pub(super) fn take(&self) -> Result<(), TooMany> {
        self.account.check().map_err(|until| TooMany {
            rate: self.rate,
            wait: until.wait_time_from(DefaultClock::default().now()),
        })
    }
}

impl Each {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            accounts: DefaultKeyedRateLimiter::keyed(rate.quota()),
        }
    }

    pub(super) fn take(&self, principal: &String) -> Result<(), TooMany> {
        self.accounts.check_key(principal).map_err(|until| TooMany {
            rate: self.rate,
            wait: until.wait_time_from(DefaultClock::default().now()),
        })
    }

    /// Drops accounts that are full: those of principals that made no call for a while.
    pub(super) fn forget(&self) {
        if self.accounts.len() > ACCOUNTS {
            self.accounts.retain_recent();
            self.accounts.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: Option<u32>) -> Rate {
        let some = |number| NonZeroU32::new(number).unwrap();
        Rate {
            per_second: some(per_second),
            burst: burst.map(some),
        }
    }

    #[test]
    fn each_has_an_account_of_its_own_and_is_told_how_long_to_wait() {
        let each = Each::new(rate(1, Some(2)));
        let [nora, idris] = ["Nora", "Idris"].map(str::to_owned);
        assert!(each.take(&nora).is_ok() && each.take(&nora).is_ok() && each.take(&idris).is_ok());
        let wait = each.take(&nora).unwrap_err().wait;
        assert!(
            wait > Duration::from_millis(500) && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert!(each.take(&idris).is_ok());
    }

    #[test]
    fn accounts_that_are_full_again_are_dropped() {
        let each = Each::new(rate(1_000_000_000, None));
        let names = || (0..5_000).map(|number| format!("n{number}"));
        assert!(names().all(|name| each.take(&name).is_ok()));
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while each.accounts.len() > ACCOUNTS && std::time::Instant::now() < end {
            each.forget();
        }
        assert!(each.accounts.len() <= ACCOUNTS, "{}", each.accounts.len());
        assert_eq!(rate(7, None).burst().get(), 7);
    }
}

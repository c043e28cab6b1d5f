//! Where the time comes from. Everything that needs the time takes a [`Clock`], so that tests can set it; what is stored
//! takes its times from a [`StoreClock`], which a wrong clock does not lead astray.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::time::Timestamp;

/// How far a clock may run ahead of the time that has passed while a store is open.
const LONGEST_JUMP: Duration = Duration::from_secs(24 * 3_600);
/// How far a clock may be ahead of the last commit when a store is opened. Nothing tells a store that was closed for so long
/// from a wrong clock, so that this is longer than a store is left alone, and shorter than a clock that was never set is wrong.
const LONGEST_STOP: Duration = Duration::from_secs(366 * 24 * 3_600);
/// The slew rate: a [`StoreClock`] that is ahead of the clock below loses one part in this many until they agree again.
const SLEW: u32 = 16;
/// Up to this difference a [`StoreClock`] follows the clock below: commits that come together are some microseconds ahead.
const TOLERANCE_MICROS: i64 = 1_000_000;
/// From this difference on, times that callers name are times of the clock below; a smaller one is below their precision.
const NOTICEABLE_MICROS: i64 = 60_000_000;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time now, as a person would have it. It may be wrong, and may be set.
    fn now(&self) -> Timestamp;

    /// The time since some moment. Nobody can set it, and it counts while the machine sleeps.
    fn uptime(&self) -> Duration;

    /// Whether this clock is right however far it jumps ahead.
    fn may_jump(&self) -> bool {
        false
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time enters")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(uptime).unwrap_or_default()
    }
}

/// The operating system's clock, which the operator says is right.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrustedClock;

impl Clock for TrustedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }

    fn may_jump(&self) -> bool {
        true
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Manual>>);

#[derive(Debug)]
struct Manual {
    now: Reading,
    /// What the clock shows less the time that has passed.
    begun: Timestamp,
}

impl ManualClock {
    /// A clock that shows this time.
    pub fn at(time: Timestamp) -> Self {
        let now = Reading {
            time,
            uptime: Duration::ZERO,
        };
        Self(Arc::new(Mutex::new(Manual { now, begun: time })))
    }

    /// Lets time pass until this time. An earlier one is what the clock is set back to, and no time passes until it shows again
    /// what it did.
    pub fn set(&self, time: Timestamp) {
        let mut state = self.0.lock();
        let passed = micros_between(state.begun, time).max(0);
        state.now.uptime = state.now.uptime.max(Duration::from_micros(passed.unsigned_abs()));
        state.now.time = time;
    }

    /// Sets the clock while no time passes.
    pub fn jump(&self, time: Timestamp) {
        let mut state = self.0.lock();
        state.begun = time.saturating_add_micros(-micros(state.now.uptime));
        state.now.time = time;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now.time
    }

    fn uptime(&self) -> Duration {
        self.0.lock().now.uptime
    }
}

/// What a clock showed at a moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    time: Timestamp,
    uptime: Duration,
}

/// A clock that is too far ahead to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// The time of the last commit, and what has passed since as far as that is known.
    pub expected: Timestamp,
    /// What the clock shows.
    pub shown: Timestamp,
}

impl fmt::Display for ClockJump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the clock shows {}, and by the last commit and the time that has passed it is {}; set the clock, or start the \
             server with --accept-clock-jump if it is right",
            self.shown, self.expected
        )
    }
}

/// The time of what is stored: leases, retention and commits. It runs at its own pace while the clock below is more than a
/// second behind the last commit, and does not follow that clock when it jumps ahead by more than a day.
pub struct StoreClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last commit; `None` in a store without one.
    last: Option<Reading>,
    /// Since when this clock is ahead of the one below, as that shows it.
    ahead_since: Option<Timestamp>,
}

impl StoreClock {
    /// A clock of a store without a commit.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// Continues from the last commit of a store that is opened.
    pub fn continue_from(&self, commit: Timestamp) -> Result<(), ClockJump> {
        let shown = self.clock.now();
        let ahead = micros_between(commit, shown);
        if ahead > micros(LONGEST_STOP) && !self.clock.may_jump() {
            return Err(ClockJump {
                expected: commit,
                shown,
            });
        }
        if ahead > micros(LONGEST_JUMP) {
            tracing::info!(clock = %shown, last_commit = %commit, "the last commit is more than a day old");
        }
        self.committed(commit.max(shown));
        Ok(())
    }

    /// Takes up the time of a commit.
    pub fn committed(&self, time: Timestamp) {
        self.state.lock().last = Some(Reading {
            time,
            uptime: self.clock.uptime(),
        });
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.read().0
    }

    /// The time of a commit made now. Writes are refused while the clock below has jumped.
    pub fn commit_time(&self) -> Result<Timestamp, ClockJump> {
        let (now, wall) = self.read();
        wall.map(|_| now)
    }

    /// What the clock below shows, if it may be right.
    pub fn wall(&self) -> Result<Timestamp, ClockJump> {
        self.read().1
    }

    /// Microseconds by which the clock below is ahead of this one; negative if it is behind.
    pub fn ahead_micros(&self) -> i64 {
        micros_between(self.now(), self.clock.now())
    }

    /// Converts a time that a caller named, by the clock below, to this clock.
    pub fn at(&self, time: Timestamp) -> Timestamp {
        let (now, _) = self.read();
        let shown = self.clock.now();
        let ahead = micros_between(shown, now);
        match self.state.lock().ahead_since {
            Some(since) if ahead > NOTICEABLE_MICROS && (since..=shown).contains(&time) => {
                time.saturating_add_micros(ahead)
            }
            _ => time,
        }
    }

    fn read(&self) -> (Timestamp, Result<Timestamp, ClockJump>) {
        let mut state = self.state.lock();
        let shown = self.clock.now();
        let Some(last) = state.last else {
            return (shown, Ok(shown));
        };
        let passed = self.clock.uptime().saturating_sub(last.uptime);
        let expected = last.time.saturating_add_micros(micros(passed));
        if micros_between(expected, shown) > micros(LONGEST_JUMP) && !self.clock.may_jump() {
            return (expected, Err(ClockJump { expected, shown }));
        }
        let slowed = last.time.saturating_add_micros(micros(passed - passed / SLEW));
        let ahead = micros_between(shown, slowed);
        if ahead <= TOLERANCE_MICROS {
            state.ahead_since = None;
            return (shown, Ok(shown));
        }
        if state.ahead_since.is_none() && ahead > NOTICEABLE_MICROS {
            tracing::warn!(clock = %shown, commits = %slowed, "the clock is behind the last commit; commit times continue from that");
        }
        state.ahead_since = Some(state.ahead_since.map_or(shown, |since| since.min(shown)));
        (slowed, Ok(shown))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn micros_between(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_micros().saturating_sub(earlier.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + micros).unwrap()
    }

    fn clocks() -> (ManualClock, StoreClock) {
        let clock = ManualClock::at(at(0));
        let store = StoreClock::new(Arc::new(clock.clone()));
        store.committed(at(0));
        (clock, store)
    }

    #[test]
    fn time_that_passes_is_no_jump() {
        let (clock, store) = clocks();
        clock.set(at(40 * DAY));
        assert_eq!((store.now(), store.wall()), (at(40 * DAY), Ok(at(40 * DAY))));
    }

    #[test]
    fn a_jump_of_more_than_a_day_is_not_followed_until_the_clock_is_set_again() {
        let (clock, store) = clocks();
        clock.jump(at(DAY));
        assert_eq!(store.now(), at(DAY));
        store.committed(at(DAY));
        clock.jump(at(3 * DAY));
        let jump = ClockJump {
            expected: at(DAY),
            shown: at(3 * DAY),
        };
        assert_eq!((store.now(), store.wall()), (at(DAY), Err(jump)));
        assert!(jump.to_string().contains("--accept-clock-jump"));
        clock.jump(at(DAY + 5));
        assert_eq!(store.wall(), Ok(at(DAY + 5)));
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing_and_is_caught_up_with() {
        let (clock, store) = clocks();
        clock.jump(at(-2 * DAY));
        assert_eq!((store.now(), store.wall()), (at(0), Ok(at(-2 * DAY))));
        // A caller's now is this clock's now; what was before the clock went back is as it was.
        clock.set(at(-2 * DAY + 16_000_000));
        assert_eq!(store.now(), at(15_000_000));
        assert_eq!(store.at(at(-2 * DAY + 16_000_000)), at(15_000_000));
        assert_eq!(store.at(at(-3 * DAY)), at(-3 * DAY));
        assert_eq!(store.at(at(1)), at(1), "a commit time");
        clock.set(at(40 * DAY));
        assert_eq!((store.now(), store.ahead_micros()), (at(40 * DAY), 0));
    }

    #[test]
    fn a_store_without_a_commit_follows_the_clock() {
        let clock = ManualClock::at(at(0));
        let store = StoreClock::new(Arc::new(clock.clone()));
        for days in [-900, 900] {
            clock.jump(at(days * DAY));
            assert_eq!((store.now(), store.wall()), (at(days * DAY), Ok(at(days * DAY))));
        }
    }

    #[test]
    fn a_store_that_is_opened_continues_from_its_last_commit() {
        for (commit, now) in [
            (at(9_000_000), Some(at(9_000_000))),
            (at(-300 * DAY), Some(at(0))),
            (at(-400 * DAY), None),
        ] {
            let store = StoreClock::new(Arc::new(ManualClock::at(at(0))));
            let continued = store.continue_from(commit);
            assert_eq!(continued.ok().map(|()| store.now()), now);
        }
    }
}

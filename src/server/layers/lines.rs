//! How many lines about failed calls the log takes: enough for every incident, and too few for a peer to fill a disk with.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lines that may come at once, and how long it takes until there is room for one more.
const AT_ONCE: u32 = 1_000;
const ONE_MORE: Duration = Duration::from_millis(10);

/// The room for lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When all the room is free again; it is now, if that is past.
    free_at: Option<Instant>,
    left_out: u64,
}

impl Lines {
    /// Whether there is room for a line; if so, how many were left out since the last one.
    pub(super) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let free_at = state.free_at.map_or(now, |free_at| free_at.max(now)) + ONE_MORE;
        if free_at > now + ONE_MORE * AT_ONCE {
            state.left_out += 1;
            return None;
        }
        state.free_at = Some(free_at);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let lines = Lines::default();
        let begin = Instant::now();
        let at = |millis| lines.admit_at(begin + Duration::from_millis(millis));
        for _ in 0..AT_ONCE {
            assert_eq!(at(0), Some(0));
        }
        assert_eq!((at(0), at(9)), (None, None));
        // One every 10 ms, and the first says what is missing.
        assert_eq!((at(10), at(10), at(20)), (Some(2), None, Some(1)));
        // After a time there is room for all again.
        for _ in 0..AT_ONCE {
            assert_eq!(at(60_000), Some(0));
        }
        assert_eq!(at(60_000), None);
    }
}

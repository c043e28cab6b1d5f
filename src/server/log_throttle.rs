//! How many lines the log takes of what others cause again and again: enough for every incident, and too few to fill a disk
//! with.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The room for lines of a kind.
#[derive(Debug)]
pub(super) struct Lines {
    /// How many may come at once.
    at_once: u32,
    /// How long it takes until there is room for one more.
    one_more: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When all the room is free again; it is now, if that is past.
    free_at: Option<Instant>,
    left_out: u64,
}

impl Lines {
    pub(super) fn new(at_once: u32, one_more: Duration) -> Self {
        Self {
            at_once,
            one_more,
            state: Mutex::default(),
        }
    }

    /// Whether there is room for a line; if so, for how many it stands: itself, and those left out since the last one.
    pub(super) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        let free_at = state.free_at.map_or(now, |free_at| free_at.max(now)) + self.one_more;
        if free_at > now + self.one_more * self.at_once {
            state.left_out += 1;
            return None;
        }
        state.free_at = Some(free_at);
        Some(std::mem::take(&mut state.left_out) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let lines = Lines::new(1_000, Duration::from_millis(10));
        let begin = Instant::now();
        let at = |millis| lines.admit_at(begin + Duration::from_millis(millis));
        for _ in 0..1_000 {
            assert_eq!(at(0), Some(1));
        }
        assert_eq!((at(0), at(9)), (None, None));
        // One every 10 ms, and the first says what is missing.
        assert_eq!((at(10), at(10), at(20)), (Some(3), None, Some(2)));
        // After a time there is room for all again.
        for _ in 0..1_000 {
            assert_eq!(at(60_000), Some(1));
        }
        assert_eq!(at(60_000), None);
    }

    #[test]
    fn one_at_once_is_one_in_its_time() {
        let lines = Lines::new(1, Duration::from_secs(10));
        let begin = Instant::now();
        let at = |seconds| lines.admit_at(begin + Duration::from_secs(seconds));
        assert_eq!((at(0), at(0), at(9)), (Some(1), None, None));
        assert_eq!((at(10), at(19), at(50)), (Some(3), None, Some(2)));
    }
}

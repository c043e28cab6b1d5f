//! Log lines that a peer can cause: at most one a few seconds, which says how many it stands for.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long nothing more is said.
const QUIET: Duration = Duration::from_secs(10);

/// Whether to say something that happens again and again.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// How many times it happened since it was said, this time included, if it is to be said now.
    pub(super) fn say(&self) -> Option<u64> {
        self.say_at(Instant::now())
    }

    fn say_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock();
        said.since += 1;
        if said.at.is_some_and(|at| now < at + QUIET) {
            return None;
        }
        said.at = Some(now);
        Some(std::mem::take(&mut said.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_later_how_often_it_was() {
        let seldom = Seldom::default();
        let begin = Instant::now();
        let at = |seconds| seldom.say_at(begin + Duration::from_secs(seconds));
        assert_eq!(at(0), Some(1));
        assert_eq!(at(0), None);
        assert_eq!(at(9), None);
        assert_eq!(at(10), Some(3));
        assert_eq!(at(19), None);
    }
}

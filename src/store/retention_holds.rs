//! Holds that keep the change log from being trimmed while a reader needs it. A hold expires after an hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::time::{Seq, Timestamp};

/// How long a hold is valid. A slower reader may find the log trimmed.
const HOLD_MICROS: i64 = 3_600 * 1_000_000;

#[derive(Debug, Default)]
struct Held {
    last: u64,
    /// The commit of each hold, and the time until which it is valid.
    holds: BTreeMap<u64, (Seq, Timestamp)>,
}

/// The holds on the change log of a store.
#[derive(Debug, Clone, Default)]
pub struct LogHolds(Arc<Mutex<Held>>);

/// A hold on the log after a commit, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct LogHold {
    holds: LogHolds,
    number: u64,
}

impl LogHolds {
    /// Adds a hold on the log after a commit.
    pub fn hold(&self, after: Seq, now: Timestamp) -> LogHold {
        let mut held = self.0.lock();
        held.last += 1;
        let number = held.last;
        let until = now.saturating_add_micros(HOLD_MICROS);
        held.holds.insert(number, (after, until));
        LogHold {
            holds: self.clone(),
            number,
        }
    }

    /// The newest commit that all holds let be trimmed; `None` if there are no holds.
    pub fn oldest(&self, now: Timestamp) -> Option<Seq> {
        let held = self.0.lock();
        let counting = held.holds.values().filter(|(_, until)| *until > now);
        counting.map(|(after, _)| *after).min()
    }
}

impl Drop for LogHold {
    fn drop(&mut self) {
        self.holds.0.lock().holds.remove(&self.number);
    }
}

//! Pins: who reads the change log from a place on keeps it from being trimmed there, for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::time::{Seq, Timestamp};

/// How long a pin counts. Who takes longer may find the log trimmed, and nobody holds it up for ever.
const PINNED_MICROS: i64 = 3_600 * 1_000_000;

#[derive(Debug, Default)]
struct Held {
    last: u64,
    /// The commit behind which the log is kept, and until when.
    pins: BTreeMap<u64, (Seq, Timestamp)>,
}

/// The pins of a store's log.
#[derive(Debug, Clone, Default)]
pub struct Pins(Arc<Mutex<Held>>);

/// Keeps the log behind a commit until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct LogPin {
    pins: Pins,
    number: u64,
}

impl Pins {
    /// Keeps the log behind a commit from now on.
    pub fn pin(&self, after: Seq, now: Timestamp) -> LogPin {
        let mut held = self.0.lock();
        held.last += 1;
        let number = held.last;
        let until = now.saturating_add_micros(PINNED_MICROS);
        held.pins.insert(number, (after, until));
        LogPin {
            pins: self.clone(),
            number,
        }
    }

    /// The commit up to which the log may be trimmed for all pins; `None` if there are none.
    pub fn oldest(&self, now: Timestamp) -> Option<Seq> {
        let held = self.0.lock();
        let counting = held.pins.values().filter(|(_, until)| *until > now);
        counting.map(|(after, _)| *after).min()
    }
}

impl Drop for LogPin {
    fn drop(&mut self) {
        self.pins.0.lock().pins.remove(&self.number);
    }
}

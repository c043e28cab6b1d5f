//! When the beginning of the change log goes: now and then, for a moment at a time. What may go is the domain's rule, and
//! the store leaves what requests and readers still need.

use std::time::{Duration, Instant};

use crate::domain::retention::LogRetention;
use crate::domain::time::Timestamp;
use crate::store::{Store, Sweep};

/// How long a run may take: whoever runs it has more to do.
const RUN: Duration = Duration::from_secs(1);

/// How much of the change log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepChanges {
    /// For how long. Less than requests stay recorded counts as that.
    pub age: Duration,
    /// How many bytes at most, as far as requests do not need more.
    pub bytes: u64,
}

impl Default for KeepChanges {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 24 * 3_600),
            bytes: 1 << 30,
        }
    }
}

impl KeepChanges {
    /// Trims the log as it is to be at a time.
    pub(super) async fn run(&self, store: &dyn Store, now: Timestamp) {
        let age = i64::try_from(self.age.as_micros()).unwrap_or(i64::MAX);
        let retention = LogRetention {
            since: now.saturating_add_micros(-age),
            bytes: self.bytes,
        };
        let started = Instant::now();
        while started.elapsed() < RUN {
            match store.trim(retention).await {
                Ok(Sweep::Going) => {}
                Ok(Sweep::Done | Sweep::Postponed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the change log could not be trimmed; the next sweep tries again");
                    return;
                }
            }
        }
    }
}

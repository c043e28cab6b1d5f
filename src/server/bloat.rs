//! The warning that a store takes much more than its records. It only speaks; the operator decides when to compact.

use std::time::{Duration, Instant};

use crate::store::StoreStatus;

/// Time between two warnings at least.
const WARN_EVERY: Duration = Duration::from_secs(3_600);

/// When the last warning was.
#[derive(Debug, Default)]
pub(super) struct Bloat {
    warned: Option<Instant>,
}

impl Bloat {
    /// Warns when the store becomes bloated, and once an hour while it stays so.
    pub(super) fn watch(&mut self, status: &StoreStatus) {
        if self.is_due(status.is_bloated(), Instant::now()) {
            tracing::warn!(
                disk_bytes = status.disk_bytes,
                live_bytes = status.live_bytes,
                "the store takes more than four times the bytes of its records; `article-store compact` gives the space \
                 back while the server runs"
            );
        }
    }

    fn is_due(&mut self, is_bloated: bool, now: Instant) -> bool {
        // A store that hovers about the limit is no news either.
        let due = is_bloated
            && self
                .warned
                .is_none_or(|warned| now.duration_since(warned) >= WARN_EVERY);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warns_when_it_begins_and_once_an_hour() {
        let (mut bloat, start) = (Bloat::default(), Instant::now());
        let minute = |minute: u64| start + Duration::from_secs(60 * minute);
        assert!(!bloat.is_due(false, minute(0)));
        assert!(bloat.is_due(true, minute(1)));
        assert!(!bloat.is_due(false, minute(2)));
        assert!(!bloat.is_due(true, minute(3)));
        assert!(!bloat.is_due(true, minute(60)));
        assert!(bloat.is_due(true, minute(61)));
        assert!(!bloat.is_due(true, minute(62)));
    }
}

//! When the content of old revisions is dropped: now and then, for a moment at a time. What may go is the domain's rule.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::domain::retention::Retention;
use crate::domain::time::Timestamp;
use crate::store::{Store, Sweep};

/// How long a run may take: whoever runs it has more to do.
const RUN: Duration = Duration::from_secs(1);
/// Time between the end of a pass over all articles and the next one, which reads them all again.
const PAUSE: Duration = Duration::from_secs(3_600);

/// The sweep that drops old revisions.
#[derive(Debug)]
pub(super) struct RevisionSweep {
    keep: Option<NonZeroU32>,
    finished: Option<Instant>,
}

impl RevisionSweep {
    /// A sweep that leaves so many revisions of an article; `None`: all.
    pub(super) fn new(keep: Option<NonZeroU32>) -> Self {
        Self { keep, finished: None }
    }

    /// Goes on where it stopped, and leaves what was the newest revision at `superseded_before` or later.
    pub(super) async fn run(&mut self, store: &dyn Store, superseded_before: Timestamp) {
        let Some(newest) = self.keep else { return };
        if self.finished.is_some_and(|finished| finished.elapsed() < PAUSE) {
            return;
        }
        let retention = Retention {
            newest,
            superseded_before,
        };
        let started = Instant::now();
        while started.elapsed() < RUN {
            match store.drop_revisions(retention).await {
                Ok(Sweep::Going) => {}
                Ok(Sweep::Done) => {
                    self.finished = Some(Instant::now());
                    return;
                }
                Ok(Sweep::Postponed) => return,
                Err(error) => {
                    tracing::warn!(%error, "old revisions could not be dropped; the next sweep tries again");
                    return;
                }
            }
        }
    }
}

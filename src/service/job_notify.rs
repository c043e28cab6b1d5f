//! Notifies waiting claims of claimable jobs, and tells waiting calls that the server stops.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::domain::job::{ClaimQuery, JobKey};
use crate::domain::language::Language;

/// Announcements that a claim may be behind before it looks at the queue anyway.
const BEHIND: usize = 256;

/// Wakes waiting claims when jobs may be claimed.
#[derive(Debug)]
pub(super) struct JobNotifier(broadcast::Sender<Arc<(Language, JobKey)>>);

impl Default for JobNotifier {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl JobNotifier {
    /// Says that a job of an article in this language may be claimed, now or later.
    pub(super) fn announce(&self, source: &Language, key: JobKey) {
        if self.0.receiver_count() > 0 {
            let about = Arc::new((source.clone(), key));
            // Nobody may listen any more.
            drop(self.0.send(about));
        }
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> JobListener {
        JobListener(self.0.subscribe())
    }
}

/// What a waiting claim hears.
#[derive(Debug)]
pub(super) struct JobListener(broadcast::Receiver<Arc<(Language, JobKey)>>);

impl JobListener {
    /// Returns when a job was announced that a query may want.
    pub(super) async fn heard(&mut self, query: &ClaimQuery) {
        loop {
            match self.0.recv().await {
                Ok(about) if query.matches(&about.0, &about.1) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The service, which holds the sender, outlives its calls.
                Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// Tells calls that wait that the server stops.
#[derive(Debug, Clone)]
pub(super) struct Drain(Arc<watch::Sender<bool>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Drain {
    /// The server stops.
    pub(super) fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it stops.
    pub(super) fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it stops.
    pub(super) async fn begun(&self) {
        // The sender is held here, so that waiting cannot fail.
        drop(self.0.subscribe().wait_for(|begun| *begun).await);
    }
}

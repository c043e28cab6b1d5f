//! Opening a store: the upgrade, the check of the end of the log, and the start of the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use super::engine::Engine;
use super::recovery::{self, Identity};
use super::shared::Shared;
use super::{KvStore, jobs, writer};
use crate::clock::Clock;
use crate::store::error::{OpenError, Result, StoreError};

/// How long a call waits until the writer takes its job, and again until it answers. Both take milliseconds, and about a
/// second while the engine is reopened; together they end before a call of the longest default deadline does.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

impl KvStore {
    /// Opens the store that the engine holds, or makes a new one in an empty engine. May read the disk for a while.
    ///
    /// `cache_bytes` bounds the decoded articles and texts that are kept in memory.
    pub fn open(engine: impl Engine, clock: Arc<dyn Clock>, cache_bytes: u64) -> Result<Self> {
        let location = engine.location();
        let open = || {
            let identity = recovery::identify(&engine, clock.now())?;
            let core = Shared::new(Box::new(engine), clock, cache_bytes, 0);
            recovery::upgrade(&core, &identity)?;
            Self::start(core, &identity)
        };
        open().map_err(|error| match error {
            StoreError::Corrupt { record, detail } => StoreError::Open(OpenError::Damaged {
                location,
                detail: format!("{record}: {detail}"),
            }),
            other => other,
        })
    }

    /// Starts the writer over an engine that holds a store of the present format.
    pub(super) fn start(core: Shared, identity: &Identity) -> Result<Self> {
        let last = recovery::last_commit(&core)?;
        if last.seq > 0 {
            core.clock
                .continue_from(last.time)
                .map_err(OpenError::ClockJump)
                .map_err(StoreError::Open)?;
        }
        recovery::check_tail(&core)?;
        // What was applied before a crash and is visible now must be durable before anybody reads it.
        core.engine.sync()?;
        recovery::load_counts(&core)?;
        *core.policies.lock() = jobs::policies(&core, last.seq);
        core.applied.store(last.seq, Ordering::Release);
        core.durable.send_modify(|durable| durable.seq = last.seq);
        let core = Arc::new(core);
        let (writer, queue) = mpsc::channel(writer::QUEUE);
        writer::start(core.clone(), last, queue, writer.downgrade())?;
        Ok(Self {
            core,
            writer,
            expiring: Mutex::new(()),
            sweeping: Arc::default(),
            log: Mutex::default(),
            epoch: identity.epoch,
            answer_wait: ANSWER_WAIT,
        })
    }
}

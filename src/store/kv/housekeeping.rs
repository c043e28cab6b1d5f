//! Housekeeping: bounded steps that remove what is no longer to be kept, between the writes of calls.

use super::write_request::WriteRequest;
use super::{KvStore, backup, expiry, purge, retention, trim};
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::Timestamp;
use crate::store::Sweep;
use crate::store::error::Result;

impl KvStore {
    /// See [`Store::expire_requests`](crate::store::Store::expire_requests).
    pub(super) async fn expire(&self, before: Timestamp) -> Result<bool> {
        // Two at once could remove a request that is recorded again between them.
        let _one_at_a_time = self.expiring.lock().await;
        if self.remove_leftover().await? {
            return Ok(true);
        }
        let (writes, more) = self.blocking(move |core| expiry::expired(core, before)).await?;
        if !writes.is_empty() {
            self.ask(|reply| WriteRequest::Housekeeping(writes, reply))
                .await?;
        }
        Ok(more)
    }

    /// See [`Store::drop_revisions`](crate::store::Store::drop_revisions).
    pub(super) async fn drop_contents(&self, retention: Retention) -> Result<Sweep> {
        // A dump must not lose texts that its moment still needs.
        let _no_dump_begins = self.sweeping.lock().await;
        if self.core.dump.lock().is_some() {
            return Ok(Sweep::Postponed);
        }
        let step = self
            .blocking(move |core| retention::step(core, &retention))
            .await?;
        if !step.writes.is_empty() {
            let writes = step.writes;
            self.ask(|reply| WriteRequest::Housekeeping(writes, reply))
                .await?;
            self.core.forget_versions(&step.dropped);
        }
        Ok(if step.done { Sweep::Done } else { Sweep::Going })
    }

    /// See [`Store::trim`](crate::store::Store::trim).
    pub(super) async fn trim_log(&self, retention: LogRetention) -> Result<Sweep> {
        // The log of a dump must have no gap.
        let _no_dump_begins = self.sweeping.lock().await;
        if self.core.dump.lock().is_some() {
            return Ok(Sweep::Postponed);
        }
        let mut measured = self.log.lock().await;
        // After a failure the size is measured anew.
        let mut size = std::mem::take(&mut *measured);
        let (step, mut size) = self
            .blocking(move |core| Ok((trim::step(core, &retention, &mut size)?, size)))
            .await?;
        if !step.writes.is_empty() {
            self.ask(|reply| WriteRequest::Housekeeping(step.writes, reply))
                .await?;
            size.bytes = size.bytes.saturating_sub(step.bytes);
        }
        *measured = size;
        Ok(if step.done { Sweep::Done } else { Sweep::Going })
    }

    /// Removes records that purges and dumps have left, a bounded number. Returns whether there were any.
    async fn remove_leftover(&self) -> Result<bool> {
        // Preimages of a dump that begins meanwhile must stay.
        let _no_dump_begins = self.sweeping.lock().await;
        let is_dumping = self.core.dump.lock().is_some();
        let writes = self.durably(|| async {
            self.blocking(move |core| {
                let (mut writes, seq) = purge::step(core)?;
                if writes.is_empty() && !is_dumping {
                    writes = backup::preimages::leftover(core)?;
                }
                Ok((writes, seq))
            })
            .await
        });
        let writes = writes.await?;
        let found = !writes.is_empty();
        if found {
            self.ask(|reply| WriteRequest::Housekeeping(writes, reply))
                .await?;
        }
        Ok(found)
    }
}

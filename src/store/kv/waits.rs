//! Bounded waits of calls: for reads that may block, for durability, and for the writer thread.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task;
use tokio::time::timeout;

use super::shared::Shared;
use super::write_request::WriteRequest;
use super::{KvStore, unavailable, writer};
use crate::domain::time::Seq;
use crate::store::Durable;
use crate::store::error::{Result, StoreError};

/// Limit of a wait for durability. A sync takes milliseconds; this long means that the volume is stuck.
const DURABLE_WAIT: Duration = Duration::from_secs(30);

impl KvStore {
    /// Runs work that may block on a thread for blocking work.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.core.check_open()?;
        let core = self.core.clone();
        let result = task::spawn_blocking(move || work(&core))
            .await
            .unwrap_or_else(|panic| {
                tracing::error!(%panic, "a read of the store panicked");
                Err(unavailable("a read of the store failed unexpectedly"))
            });
        if let Err(StoreError::Unavailable { .. }) = result {
            // Without writes nothing else would reopen the engine.
            writer::ask_to_recover(&self.writer);
        }
        result
    }

    /// Whether everything up to `seq`, read under this generation, is durable; waits until that is known. `false` means
    /// that the engine was reopened since, and that the state that was read may be lost.
    pub(super) async fn is_durable(&self, seq: Seq, generation: u64) -> Result<bool> {
        let settled = |durable: &Durable| durable.generation != generation || durable.seq >= seq;
        let mut durable = self.core.durable.subscribe();
        if !settled(&durable.borrow()) {
            let waited = tokio::time::timeout(DURABLE_WAIT, durable.wait_for(settled)).await;
            if waited.is_err() {
                return Err(unavailable("the volume does not finish its writes"));
            }
        }
        Ok(durable.borrow().generation == generation)
    }

    /// Repeats a read until its result is durable. `read` returns the value and the newest commit that it shows.
    pub(super) async fn durably<T, F: Future<Output = Result<(T, Seq)>>>(
        &self,
        read: impl Fn() -> F,
    ) -> Result<T> {
        loop {
            let Durable {
                seq: durable,
                generation,
            } = *self.core.durable.borrow();
            let (value, seq) = read().await?;
            if seq <= durable && self.core.durable.borrow().generation == generation {
                return Ok(value);
            }
            if self.is_durable(seq, generation).await? {
                return Ok(value);
            }
        }
    }

    /// Reads what is durable, because the caller knows of it, unless it went with its article: an answer of
    /// [`StoreError::Purged`] waits until the purge is durable.
    pub(super) async fn read_history<T: Send + 'static>(
        &self,
        read: impl Fn(&Shared) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        self.durably(|| async {
            match self.blocking(read.clone()).await {
                Err(StoreError::Purged(tombstone)) => {
                    let seq = tombstone.stamp.seq;
                    Ok((Err(StoreError::Purged(tombstone)), seq))
                }
                read => Ok((Ok(read?), 0)),
            }
        })
        .await?
    }

    /// Sends the writer a request, and waits for the answer up to a limit.
    pub(super) async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T>>) -> WriteRequest,
    ) -> Result<T> {
        let answer = self.send(job).await?;
        match timeout(self.answer_wait, answer).await {
            // The writer is gone or stuck: only it knows whether this was written.
            Err(_) | Ok(Err(_)) => Err(StoreError::OutcomeUnknown),
            Ok(Ok(result)) => result,
        }
    }

    /// Sends the writer a request. If that fails, nothing was written.
    pub(super) async fn send<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> WriteRequest,
    ) -> Result<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        match timeout(self.answer_wait, self.writer.send(job(reply))).await {
            Err(_) => Err(unavailable(
                "the thread that writes does not take any more writes",
            )),
            Ok(Err(_)) => Err(StoreError::Closed),
            Ok(Ok(())) => Ok(answer),
        }
    }
}

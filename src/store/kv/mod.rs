//! The store over any ordered key-value engine.
//!
//! [`engine`] is the small trait, `sled` and [`memory`] implement it. `keys` is the layout, `records.proto` and `codec`
//! the records, `envelope` the frame around them. A commit goes `prepared` → `writer` → `group` → engine; a claim
//! begins at the writer and reads the queues through `queue`; reads go through `core`. `recovery` opens, `verify` checks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task;
use tokio::time::timeout;

use crate::clock::{Clock, StoreClock};
use crate::domain::article::{Alias, ArticleId, Tombstone};
use crate::domain::departures::{Departures, Lookup};
use crate::domain::job::{self, ClaimQuery, JobKey};
use crate::domain::language::Language;
use crate::domain::query::{Position, Query};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::VersionKey;
use crate::store::error::{OpenError, Result, StoreError};
use crate::store::model::{codec, records};
use crate::store::{
    self, ArticleState, Batch, Body, Budget, Changes, Checked, Claim, Claimed, Committed, Counts, Durable,
    Entity, Finding, LogHold, Metrics, Page, Policies, PolicyChange, Standings, Store, StoreStatus, Sweep,
};

use self::encoded_batch::EncodedBatch;
use self::engine::Engine;
use self::recovery::Identity;
use self::shared::{Shared, corrupt};
use self::writer::WriteRequest;

pub mod backup;
mod departures;
mod encoded_batch;
pub mod engine;
#[cfg(test)]
mod engine_tests;
mod envelope;
mod expiry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod group_commit;
mod hand_over;
mod indexes;
mod jobs;
mod keys;
mod lists;
mod log_reader;
pub mod memory;
mod purge;
mod queue;
mod recovery;
mod retention;
mod shared;
pub mod sled;
mod sync;
mod trim;
mod upgrade;
mod verify;
mod versions;
mod writer;

/// How long an answer waits for what it holds to become durable. A sync takes milliseconds; this long means that the
/// volume is stuck.
const DURABLE_WAIT: Duration = Duration::from_secs(30);
/// How long a call waits until the writer takes its job, and again until it answers. Both take milliseconds, and about a
/// second while the engine is reopened; together they end before a call of the longest default deadline does.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// A store over an engine.
pub struct KvStore {
    core: Arc<Shared>,
    writer: mpsc::Sender<WriteRequest>,
    expiring: Mutex<()>,
    /// Held by each step of a sweep, and while a dump begins.
    sweeping: Arc<Mutex<()>>,
    /// What the log takes, as far as it was measured; held by each step of trimming it.
    log: Mutex<trim::LogSize>,
    epoch: [u8; 16],
    answer_wait: Duration,
}

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

    /// Takes up the work on an engine that holds a store of the present format.
    fn start(core: Shared, identity: &Identity) -> Result<Self> {
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

    /// The same store with another limit for each wait for the writer, instead of 20 s.
    pub fn answering_within(self, limit: Duration) -> Self {
        Self {
            answer_wait: limit,
            ..self
        }
    }

    /// Runs work that may read the disk where it holds up nobody.
    async fn blocking<T: Send + 'static>(
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
            // There may be nobody who writes.
            writer::ask_to_recover(&self.writer);
        }
        result
    }

    /// Whether everything up to `seq`, read under this generation, is durable; waits until that is known. `false` means
    /// that the engine was reopened since, and that what was read may be gone.
    async fn is_durable(&self, seq: Seq, generation: u64) -> Result<bool> {
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

    /// Reads until what was read is durable. `read` answers the value and the newest commit that it shows.
    async fn durably<T, F: Future<Output = Result<(T, Seq)>>>(&self, read: impl Fn() -> F) -> Result<T> {
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
    async fn read_history<T: Send + 'static>(
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

    /// Removes some of what purges and dumps have left; answers whether there was anything.
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

    /// Asks the writer, and waits for its answer up to a limit.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> WriteRequest) -> Result<T> {
        let answer = self.send(job).await?;
        match timeout(self.answer_wait, answer).await {
            // Without an answer the writer is gone or stuck, and with it what it knows of this write.
            Err(_) | Ok(Err(_)) => Err(StoreError::OutcomeUnknown),
            Ok(Ok(result)) => result,
        }
    }

    /// Gives the writer a job. Nothing of it was done if that fails.
    async fn send<T>(
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

#[async_trait]
impl Store for KvStore {
    async fn articles(&self, ids: &[ArticleId]) -> Result<Vec<Option<Arc<ArticleState>>>> {
        self.core.check_open()?;
        self.durably(|| async {
            let cached: Option<Vec<_>> = ids.iter().map(|id| self.core.cached(id).map(Some)).collect();
            let states = match cached {
                Some(states) => {
                    self.core.metrics.articles.hits.inc_by(states.len() as u64);
                    states
                }
                None => {
                    let ids = ids.to_vec();
                    self.blocking(move |core| ids.iter().map(|id| core.read(id)).collect())
                        .await?
                }
            };
            let seq = states
                .iter()
                .flatten()
                .map(|state| state.seq())
                .max()
                .unwrap_or_default();
            let is_missing = states.iter().any(Option::is_none);
            Ok((states, seq.max(self.core.absence(is_missing))))
        })
        .await
    }

    async fn versions(&self, keys: &[VersionKey]) -> Result<Vec<Arc<Body>>> {
        // Whoever names a version knows it from durable state.
        if let Some(cached) = keys.iter().map(|key| self.core.bodies.get(key)).collect() {
            self.core.check_open()?;
            self.core.metrics.bodies.hits.inc_by(keys.len() as u64);
            return Ok(cached);
        }
        let keys: Arc<[VersionKey]> = keys.into();
        self.read_history(move |core| {
            let version = |key: &VersionKey| core.unless_purged(&key.article, core.version(key));
            keys.iter().map(version).collect()
        })
        .await
    }

    async fn version_at(&self, newest: &VersionKey, time: Timestamp) -> Result<Option<Arc<Body>>> {
        let newest = newest.clone();
        self.read_history(move |core| core.unless_purged(&newest.article, core.version_at(&newest, time)))
            .await
    }

    async fn departures(&self, id: &ArticleId, lookup: &Lookup) -> Result<Departures> {
        // The revision was read from durable state, so what it replaced is durable too.
        let (id, lookup) = (id.clone(), lookup.clone());
        self.read_history(move |core| core.unless_purged(&id, departures::departures(core, &id, &lookup)))
            .await
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>> {
        let key = keys::request(key);
        self.durably(|| async {
            let key = key.clone();
            self.blocking(move |core| match core.get(&key)? {
                Some((stamp, payload)) => Ok((
                    Some(codec::decode_request(&payload, stamp).map_err(corrupt(&key))?),
                    stamp.seq,
                )),
                None => Ok((None, 0)),
            })
            .await
        })
        .await
    }

    async fn lookup(&self, aliases: &[Alias]) -> Result<Vec<Option<ArticleId>>> {
        let keys: Vec<_> = aliases.iter().map(keys::alias).collect();
        self.durably(|| async {
            let keys = keys.clone();
            self.blocking(move |core| {
                let found = keys
                    .iter()
                    .map(|key| group_commit::holder_of(core, key))
                    .collect::<Result<Vec<_>>>()?;
                let seq = found
                    .iter()
                    .flatten()
                    .map(|(stamp, _, _)| stamp.seq)
                    .max()
                    .unwrap_or_default();
                let seq = seq.max(core.absence(found.iter().any(Option::is_none)));
                Ok((
                    found
                        .into_iter()
                        .map(|found| found.map(|(_, _, holder)| holder))
                        .collect(),
                    seq,
                ))
            })
            .await
        })
        .await
    }

    async fn list(&self, query: &Query, after: Option<&Position>, budget: Budget) -> Result<Page> {
        self.durably(|| async {
            let (query, after) = (query.clone(), after.cloned());
            self.blocking(move |core| {
                let page = lists::list(core, &query, after.as_ref(), budget)?;
                // A row that is gone has no seq to wait for, so the page waits for all that was applied.
                Ok((page, core.applied.load(Ordering::Acquire)))
            })
            .await
        })
        .await
    }

    async fn standings(
        &self,
        query: &Query,
        languages: &[Language],
        after: Option<&Position>,
        rows: usize,
    ) -> Result<Standings> {
        self.durably(|| async {
            let (query, languages, after) = (query.clone(), languages.to_vec(), after.cloned());
            self.blocking(move |core| {
                let standings = lists::standings(core, &query, &languages, after.as_ref(), rows)?;
                Ok((standings, core.applied.load(Ordering::Acquire)))
            })
            .await
        })
        .await
    }

    async fn scan(&self, after: Option<&ArticleId>, limit: usize) -> Result<Vec<Arc<ArticleState>>> {
        self.durably(|| async {
            let after = after.cloned();
            self.blocking(move |core| {
                let states = core
                    .ids_after(after.as_ref(), limit)?
                    .iter()
                    .filter_map(|id| core.read(id).transpose())
                    .collect::<Result<Vec<_>>>()?;
                let seq = states.iter().map(|state| state.seq()).max().unwrap_or_default();
                Ok((states, seq.max(core.absence(true))))
            })
            .await
        })
        .await
    }

    async fn due_embargoes(&self, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>> {
        self.durably(|| async {
            self.blocking(move |core| {
                let due = lists::due_embargoes(core, now, limit)?;
                // Nothing due is nothing to wait for; what is due may be so by a commit of this moment.
                let seq = if due.is_empty() {
                    0
                } else {
                    core.applied.load(Ordering::Acquire)
                };
                Ok((due, seq))
            })
            .await
        })
        .await
    }

    async fn tombstone(&self, id: &ArticleId) -> Result<Option<Tombstone>> {
        self.durably(|| async {
            let id = id.clone();
            let tombstone = self.blocking(move |core| core.tombstone(&id)).await?;
            let seq = tombstone.as_ref().map_or(0, |tombstone| tombstone.stamp.seq);
            Ok((tombstone, seq))
        })
        .await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.core.check_open()?;
        let prepared = Box::new(EncodedBatch::new(batch)?);
        self.ask(|reply| WriteRequest::Commit(prepared, reply)).await
    }

    async fn changes(&self, after: Seq, limit: usize) -> Result<Changes> {
        let head = self.core.durable.borrow().seq;
        self.blocking(move |core| log_reader::changes(core, after, head, limit))
            .await
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.core.durable.subscribe()
    }

    async fn expire_requests(&self, before: Timestamp) -> Result<bool> {
        // Two at once could forget a request that is recorded again between them.
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

    async fn drop_revisions(&self, retention: Retention) -> Result<Sweep> {
        // A dump that began within a step could hand out bodies of before and after it.
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

    async fn claim(&self, claim: Claim) -> Result<Claimed> {
        self.core.check_open()?;
        loop {
            let generation = self.core.durable.borrow().generation;
            let task = claim.clone();
            let (claimed, stamp) = self
                .ask(|reply| WriteRequest::Claim(Box::new(task), reply))
                .await?;
            // What was leased is durable. Nothing may be left because of another claim that is not yet.
            let applied = self.core.applied.load(Ordering::Acquire);
            if stamp.is_some() || self.is_durable(applied, generation).await? {
                return Ok(claimed);
            }
        }
    }

    async fn next_claimable(&self, query: &ClaimQuery) -> Result<Option<Timestamp>> {
        self.durably(|| async {
            let query = query.clone();
            self.blocking(move |core| {
                let next = queue::next_claimable(core, &query)?;
                Ok((next, core.applied.load(Ordering::Acquire)))
            })
            .await
        })
        .await
    }

    async fn jobs(&self, after: Option<&(ArticleId, JobKey)>, limit: usize) -> Result<Vec<Arc<job::Job>>> {
        self.durably(|| async {
            let after = after.cloned();
            self.blocking(move |core| {
                let jobs = jobs::after(core, after.as_ref(), limit)?;
                let seq = jobs.iter().map(|job| job.changed.seq).max().unwrap_or_default();
                Ok((jobs, seq.max(core.absence(true))))
            })
            .await
        })
        .await
    }

    async fn replaced_jobs(&self, article: &ArticleId) -> Result<Vec<Arc<job::Job>>> {
        self.durably(|| async {
            let article = article.clone();
            self.blocking(move |core| {
                let jobs = jobs::replaced(core, &article)?;
                // One may have been replaced just now, which it does not say.
                Ok((jobs, core.applied.load(Ordering::Acquire)))
            })
            .await
        })
        .await
    }

    async fn policies(&self) -> Result<Policies> {
        self.core.check_open()?;
        self.durably(|| async {
            let policies = self.core.policies.lock().clone();
            if policies.is_err() {
                writer::ask_to_recover(&self.writer);
            }
            policies.map(|policies| (policies.clone(), policies.seq))
        })
        .await
    }

    async fn change_policy(&self, change: PolicyChange) -> Result<Stamp> {
        self.core.check_open()?;
        self.ask(|reply| WriteRequest::Policy(change, reply)).await
    }

    async fn trim(&self, retention: LogRetention) -> Result<Sweep> {
        // A dump reads the log to its end, and one that begins within a step could miss what the step removes.
        let _no_dump_begins = self.sweeping.lock().await;
        if self.core.dump.lock().is_some() {
            return Ok(Sweep::Postponed);
        }
        let mut measured = self.log.lock().await;
        // Whatever fails on the way, what was measured may no longer be true.
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

    fn hold(&self, after: Seq) -> LogHold {
        self.core.holds.hold(after, self.core.clock.now())
    }

    fn epoch(&self) -> [u8; 16] {
        self.epoch
    }

    fn clock(&self) -> &StoreClock {
        &self.core.clock
    }

    fn needs_restart(&self) -> bool {
        self.writer.is_closed() && self.core.check_open().is_ok()
    }

    async fn status(&self) -> Result<StoreStatus> {
        let epoch = self.epoch;
        if self.writer.is_closed() {
            self.core.check_open()?;
            return Err(unavailable("the thread that writes has ended"));
        }
        self.blocking(move |core| {
            // Sizes are known of an engine that is down, too.
            core.engine.get(keys::META)?;
            let sizes = core.engine.sizes()?;
            let mut counts = core.counts.lock().clone();
            // What was there and is not any more has no record either.
            counts.retain(|_, counts| *counts != Counts::default());
            Ok(StoreStatus {
                engine: core.engine.name(),
                epoch,
                seq: core.durable.borrow().seq,
                counts,
                sizes: Some(sizes),
                compaction: *core.compaction.lock(),
            })
        })
        .await
    }

    fn metrics(&self) -> Option<&Metrics> {
        Some(&self.core.metrics)
    }

    async fn check_and_report(&self, report: mpsc::Sender<Checked>) -> Result<()> {
        self.blocking(move |core| verify::check(core, &report, 1)).await
    }

    /// On all cores: nobody else waits.
    async fn check(&self) -> Result<Vec<Finding>> {
        let (report, reports) = mpsc::channel(64);
        let cores = available_parallelism().map_or(1, usize::from);
        let check = self.blocking(move |core| verify::check(core, &report, cores));
        let (checked, findings) = futures::join!(check, store::findings(reports));
        checked.map(|()| findings)
    }

    async fn export(&self, chunks: mpsc::Sender<Vec<Entity>>) -> Result<Stamp> {
        let writer = self.writer.clone();
        let no_sweep = self.sweeping.clone().lock_owned().await;
        let mut sink = backup::Chunks::new(chunks);
        self.blocking(move |core| backup::dump(core, &writer, &mut sink, no_sweep))
            .await
    }

    async fn compact(&self) -> Result<()> {
        self.core.check_open()?;
        // It takes as long as it takes; the status tells how far it is.
        let answer = self.send(WriteRequest::Compact).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(unavailable("the thread that writes has ended")))
    }

    async fn close(&self) -> Result<()> {
        self.core.closed.store(true, Ordering::Release);
        match self.ask(WriteRequest::Close).await {
            // The writer is gone, and it closes the engine before it goes.
            Err(StoreError::Closed) => Ok(()),
            Err(StoreError::OutcomeUnknown) => Err(unavailable(
                "the volume does not finish its writes; what was acknowledged is durable",
            )),
            result => result,
        }
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        reason: reason.into(),
    }
}

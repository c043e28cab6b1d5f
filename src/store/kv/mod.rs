//! The store over any ordered key-value engine.
//!
//! [`engine`] is the small trait, `sled` and [`memory`] implement it. `keys` is the layout, `records.proto` and `codec`
//! the records, `envelope` the frame around them. A commit goes `encoded_batch` → `writer` → `group_commit` → engine; a
//! claim begins at the writer and reads the queues through `queue`; reads go through `shared`. `open` and `recovery` open,
//! `verify` checks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, watch};

use crate::clock::StoreClock;
use crate::domain::article::{Alias, ArticleId, Tombstone};
use crate::domain::departures::{Departures, Lookup};
use crate::domain::job::{self, ClaimQuery, JobKey};
use crate::domain::language::Language;
use crate::domain::query::{Position, Query};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::VersionKey;
use crate::store::error::{Result, StoreError};
use crate::store::model::{codec, records};
use crate::store::{
    self, ArticleState, Batch, Body, Budget, Changes, Checked, Claim, Claimed, Committed, Counts, Durable,
    Entity, Finding, LogHold, Metrics, Page, Policies, PolicyChange, Standings, Store, StoreStatus, Sweep,
};

use self::encoded_batch::EncodedBatch;
use self::shared::{Shared, corrupt};
use self::write_request::WriteRequest;

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
mod housekeeping;
mod indexes;
mod jobs;
mod keys;
mod lists;
mod log_reader;
pub mod memory;
mod open;
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
mod waits;
mod write_request;
mod writer;

/// A store over an engine.
pub struct KvStore {
    core: Arc<Shared>,
    writer: mpsc::Sender<WriteRequest>,
    expiring: Mutex<()>,
    /// Held by each step of a sweep, and while a dump begins.
    sweeping: Arc<Mutex<()>>,
    /// Measured size of the log; locked by each step that trims it.
    log: Mutex<trim::LogSize>,
    epoch: [u8; 16],
    answer_wait: Duration,
}

impl KvStore {
    /// The same store with another limit for each wait for the writer, instead of 20 s.
    pub fn answering_within(self, limit: Duration) -> Self {
        Self {
            answer_wait: limit,
            ..self
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
        // A caller that names a version knows it from durable state.
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
        self.expire(before).await
    }

    async fn drop_revisions(&self, retention: Retention) -> Result<Sweep> {
        self.drop_contents(retention).await
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
                // The stamp of a job does not tell when it was replaced.
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
        self.trim_log(retention).await
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

    /// Uses all cores: no other call waits for them.
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
        // Not bounded in time; the status has the progress.
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

//! Group commit: the one writer thread takes batches from all tasks, applies them in groups, and answers when they are durable.
//!
//! A group is all that waits when the writer is free; a lone batch never waits for others and is synced at once by the
//! writer. Under load a second thread syncs a group while the writer applies the next, and answers in order;
//! `hand_over` is between the two. A panic of either thread is contained: its callers get an error, and the engine is
//! reopened.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::backup::preimages;
use super::engine::Compacting;
use super::group_commit::Group;
use super::hand_over::HandOver;
use super::jobs;
use super::recovery;
use super::shared::Shared;
use super::write_request::{ExclusiveWork, Waiting, WriteRequest};
use crate::domain::time::Stamp;
use crate::store::error::{Result, StoreError};
use crate::store::{Counts, Progress};

/// Batches in a group at most. More buys nothing: the sync is amortised long before.
const MAX_GROUP: usize = 512;
/// Bytes in a group at most. Well below a segment of sled's log (8 MiB): a group that reaches into the next segment is synced
/// before another is applied.
const MAX_GROUP_BYTES: usize = 1 << 20;
/// How long to leave an engine alone that could not be reopened: recovery reads much, and every call asks for it.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// Batches that may wait for the writer before their tasks wait to hand them over.
pub(super) const QUEUE: usize = 1024;

/// A group that is applied and flushed, and waits for its sync.
struct Applied {
    last: Stamp,
    waiting: Vec<Waiting>,
    /// When it was begun.
    begun: Instant,
}

/// Starts the writer after the last commit of the log.
pub(super) fn start(
    core: Arc<Shared>,
    last: Stamp,
    queue: mpsc::Receiver<WriteRequest>,
    sender: mpsc::WeakSender<WriteRequest>,
) -> Result<()> {
    let spawn_failed = |error: std::io::Error| {
        tracing::error!(%error, "cannot start a thread");
        unavailable("the system has no room for another thread")
    };
    let hand_over = Arc::new(HandOver::new());
    let syncer = (core.clone(), hand_over.clone());
    thread::Builder::new()
        .name("store-sync".into())
        .spawn(move || {
            let (core, hand_over) = syncer;
            hand_over.sync_each(|group| {
                let done = guarded(|| finish(&core, group)).is_some_and(|result| result.is_ok());
                if !done && let Some(writer) = sender.upgrade() {
                    ask_to_recover(&writer);
                }
                done
            });
        })
        .map_err(spawn_failed)?;
    let writer = Writer {
        core,
        last,
        queue,
        hand_over,
        failed: false,
        reopening_failed: None,
        compacting: None,
    };
    thread::Builder::new()
        .name("store-write".into())
        .spawn(move || writer.run())
        .map_err(spawn_failed)?;
    Ok(())
}

/// Runs one step of a thread that must not end. `None` is a panic, which the hook has logged: callers whose answers were
/// dropped by it learn that the outcome is unknown.
fn guarded<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

/// Wakes the writer to reopen a failed engine. A full queue needs no message: the writer does so before its next group.
pub(super) fn ask_to_recover(writer: &mpsc::Sender<WriteRequest>) {
    drop(writer.try_send(WriteRequest::Recover));
}

/// Makes a group durable, shows it and answers.
fn finish(core: &Shared, group: Applied) -> Result<()> {
    let syncing = Instant::now();
    let result = core.engine.sync().map_err(|error| {
        tracing::error!(%error, seq = group.last.seq, "a sync failed; the writes before it are in doubt");
        StoreError::OutcomeUnknown
    });
    if result.is_ok() {
        let metrics = &core.metrics;
        metrics.sync_seconds.observe(syncing.elapsed().as_secs_f64());
        metrics.group_seconds.observe(group.begun.elapsed().as_secs_f64());
        metrics.group_batches.observe(group.waiting.len() as f64);
        core.durable
            .send_modify(|durable| durable.seq = durable.seq.max(group.last.seq));
    }
    group
        .waiting
        .into_iter()
        .for_each(|waiting| waiting.answer(result.clone()));
    result
}

struct Writer {
    core: Arc<Shared>,
    last: Stamp,
    queue: mpsc::Receiver<WriteRequest>,
    hand_over: Arc<HandOver<Applied>>,
    /// Whether the engine failed and was not reopened since.
    failed: bool,
    /// When it could not be reopened the last time, if it still cannot.
    reopening_failed: Option<Instant>,
    /// The caller of a compaction.
    compacting: Option<oneshot::Sender<Result<()>>>,
}

impl Writer {
    fn run(mut self) {
        loop {
            match guarded(|| self.turn()) {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(())) => break,
                None => self.recover_from_panic(),
            }
        }
        self.hand_over.close();
        self.refuse_the_rest();
    }

    /// Handles the next requests. Breaks when the store is closed or dropped.
    fn turn(&mut self) -> ControlFlow<()> {
        let Some(job) = self.next_job() else {
            self.hand_over.settle();
            if let Err(error) = self.core.engine.close() {
                tracing::error!(%error, "the store did not close cleanly");
            }
            return ControlFlow::Break(());
        };
        let (mut closing, mut exclusive) = (None, None);
        let jobs = self.gather(job, &mut closing, &mut exclusive);
        let patience_is_over = self
            .reopening_failed
            .is_none_or(|at| at.elapsed() >= REOPEN_PAUSE);
        if (self.failed || self.core.engine.wants_reopen()) && patience_is_over {
            self.reopen();
        }
        let mut waiting = VecDeque::from(jobs);
        while !waiting.is_empty() {
            self.write(&mut waiting);
        }
        if let Some(work) = exclusive {
            self.failed |= self.hand_over.settle();
            if self.failed && self.reopening_failed.is_none() {
                self.reopen();
            }
            // What is not durable must not be seen by it; the caller sees that it was dropped.
            if !self.failed {
                work(&self.core, self.last);
            }
        }
        if let Some(reply) = closing {
            self.hand_over.settle();
            self.end_compaction(Err(StoreError::Closed));
            drop(reply.send(self.core.engine.close()));
            return ControlFlow::Break(());
        }
        self.compact();
        ControlFlow::Continue(())
    }

    /// Reopens the engine after a panic, which may have left a group half applied in the engine or in the caches.
    fn recover_from_panic(&mut self) {
        tracing::error!("a write panicked; the storage engine is reopened");
        self.failed = true;
        if guarded(|| self.reopen()).is_none() {
            self.reopening_failed = Some(Instant::now());
            self.core.durable.send_modify(|durable| durable.generation += 1);
        }
    }

    /// The next request. While the queue is empty, compaction advances, if there is one.
    fn next_job(&mut self) -> Option<WriteRequest> {
        while self.compacting.is_some() {
            match self.queue.try_recv() {
                Ok(job) => return Some(job),
                Err(mpsc::error::TryRecvError::Empty) => self.compact(),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
        self.queue.blocking_recv()
    }

    /// Takes a compaction a step further, if there is one.
    fn compact(&mut self) {
        if self.compacting.is_none() {
            return;
        }
        if self.failed {
            return self.end_compaction(Err(unavailable("the store failed while it was compacted")));
        }
        match self.core.engine.compact() {
            Ok(Compacting::Going(progress)) => *self.core.compaction.lock() = Some(progress),
            Ok(Compacting::Ready) => {
                self.reopen();
                let result = if self.failed {
                    Err(unavailable("the store could not be reopened"))
                } else {
                    Ok(())
                };
                self.end_compaction(result);
            }
            Ok(Compacting::Needless) => self.end_compaction(Ok(())),
            Err(error) => self.end_compaction(Err(error)),
        }
    }

    fn begin_compaction(&mut self, reply: oneshot::Sender<Result<()>>) {
        if self.compacting.is_some() {
            drop(reply.send(Err(unavailable("the store is being compacted already"))));
        } else {
            self.compacting = Some(reply);
            *self.core.compaction.lock() = Some(Progress::default());
        }
    }

    fn end_compaction(&mut self, result: Result<()>) {
        if let Some(reply) = self.compacting.take() {
            *self.core.compaction.lock() = None;
            drop(reply.send(result));
        }
    }

    /// Refuses the requests that came after the close.
    fn refuse_the_rest(mut self) {
        self.queue.close();
        while let Some(job) = self.queue.blocking_recv() {
            match job {
                WriteRequest::Close(reply) => drop(reply.send(Ok(()))),
                job => job.refuse(&StoreError::Closed),
            }
        }
    }

    /// The request and those that wait behind it, up to the limits of a group.
    fn gather(
        &mut self,
        first: WriteRequest,
        closing: &mut Option<oneshot::Sender<Result<()>>>,
        exclusive: &mut Option<ExclusiveWork>,
    ) -> Vec<WriteRequest> {
        let mut jobs = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                WriteRequest::Close(reply) => {
                    *closing = Some(reply);
                    break;
                }
                WriteRequest::Exclusive(work) => {
                    *exclusive = Some(work);
                    break;
                }
                WriteRequest::Recover => {}
                WriteRequest::Compact(reply) => self.begin_compaction(reply),
                job => {
                    bytes += job.bytes();
                    jobs.push(job);
                }
            }
            next = (jobs.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES)
                .then(|| self.queue.try_recv().ok())
                .flatten();
        }
        jobs
    }

    /// Writes a group: all jobs, or as many as fit into a record of the log.
    fn write(&mut self, jobs: &mut VecDeque<WriteRequest>) {
        let admitted = if self.failed {
            Err(unavailable(
                "the storage engine failed and could not be reopened yet",
            ))
        } else {
            let now = self.core.clock.commit_time().map_err(StoreError::clock_jump);
            now.and_then(|now| self.core.engine.admit().map(|()| now))
        };
        let now = match admitted {
            Ok(now) => now,
            Err(error) => return jobs.drain(..).for_each(|job| job.refuse(&error)),
        };
        let begun = Instant::now();
        let mut group = Group::after(&self.core, self.last);
        let mut waiting = Vec::with_capacity(jobs.len());
        // What stood in the way may be a batch of this group: whoever is refused must be able to read it.
        let mut refused: Vec<Box<dyn FnOnce()>> = Vec::new();
        while group.log_bytes < MAX_GROUP_BYTES
            && let Some(job) = jobs.pop_front()
        {
            match job {
                WriteRequest::Commit(prepared, reply) => match group.add(*prepared, now) {
                    Ok(committed) => waiting.push(Waiting::Commit(reply, committed)),
                    Err(error) => refused.push(Box::new(move || drop(reply.send(Err(error))))),
                },
                WriteRequest::Claim(claim, reply) => match group.claim(*claim, now) {
                    Ok((claimed, Some(stamp))) => waiting.push(Waiting::Claim(reply, claimed, stamp)),
                    nothing => refused.push(Box::new(move || drop(reply.send(nothing)))),
                },
                WriteRequest::Policy(change, reply) => match group.change_policy(change, now) {
                    Ok(stamp) => waiting.push(Waiting::Policy(reply, stamp)),
                    Err(error) => refused.push(Box::new(move || drop(reply.send(Err(error))))),
                },
                WriteRequest::Housekeeping(writes, reply) => match group.add_housekeeping(writes) {
                    Ok(()) => waiting.push(Waiting::Housekeeping(reply)),
                    Err(error) => drop(reply.send(Err(error))),
                },
                WriteRequest::Exclusive(_)
                | WriteRequest::Compact(_)
                | WriteRequest::Recover
                | WriteRequest::Close(_) => {}
            }
        }
        if waiting.is_empty() {
            return refused.into_iter().for_each(|refuse| refuse());
        }
        let last = group.last();
        let applied = self.apply(group);
        refused.into_iter().for_each(|refuse| refuse());
        match applied {
            Ok(()) => {
                // A group may hold no commit.
                if last.seq > self.last.seq {
                    self.core.clock.committed(last.time);
                }
                self.last = last;
                self.hand_over(Applied { last, waiting, begun });
            }
            Err(error) => {
                tracing::error!(%error, seq = last.seq, writes = waiting.len(), "a group of writes failed");
                let alone = waiting.len() == 1 || error.outcome_unknown();
                let answer = if alone {
                    error
                } else {
                    unavailable("a write beside this one failed")
                };
                waiting
                    .into_iter()
                    .for_each(|waiting| waiting.answer(Err(answer.clone())));
                self.failed = self.core.engine.wants_reopen();
                if self.failed {
                    self.reopen();
                } else {
                    // Readers may wait for commits that do not come: they look again.
                    self.core.roll_back(self.last.seq);
                    self.core.durable.send_modify(|durable| durable.generation += 1);
                }
            }
        }
    }

    /// Applies a group and shows it to readers, which wait until it is durable.
    fn apply(&self, mut group: Group<'_>) -> Result<()> {
        let last = group.last();
        let mut writes = group.finish();
        writes.extend(preimages::of(&self.core, &writes)?);
        {
            let _locks = self.core.lock(group.articles.keys());
            self.core.show(last.seq, group.purged());
            self.core.engine.apply(writes)?;
            let mut counts = self.core.counts.lock();
            counts.extend(group.counts.drain(..));
            counts.retain(|_, counts| *counts != Counts::default());
            drop(counts);
            if let Some(policies) = group.policies.take() {
                *self.core.policies.lock() = Ok(policies);
            }
            for (id, state) in group.articles.drain() {
                match state {
                    Some(state) => self.core.articles.insert(id, state),
                    None => {
                        self.core.articles.remove(&id);
                        self.core.bodies.retain(|version, _| version.article != id);
                    }
                }
            }
        }
        // What is applied and not flushed may survive or not.
        self.core.engine.flush().map_err(|error| {
            tracing::error!(%error, "a flush failed");
            StoreError::OutcomeUnknown
        })
    }

    /// Has the group synced: by the other thread if there is more to do meanwhile, else here.
    fn hand_over(&mut self, group: Applied) {
        let group = if self.queue.is_empty() && self.hand_over.is_idle() {
            group
        } else {
            match self.hand_over.put(group) {
                Ok(()) => return,
                Err(group) => group,
            }
        };
        if finish(&self.core, group).is_err() {
            self.failed = true;
            self.reopen();
        }
    }

    /// Reopens the engine and reads which commits survived.
    fn reopen(&mut self) {
        self.failed |= self.hand_over.settle();
        if self.failed {
            self.core.failures.fetch_add(1, Ordering::AcqRel);
            self.core.engine.stop_compacting();
            self.end_compaction(Err(unavailable("the store failed while it was compacted")));
        }
        let started = Instant::now();
        let result = self.core.engine.reopen().and_then(|()| {
            // Nothing from before may stand in for what is checked.
            self.core.forget();
            recovery::check_tail(&self.core)?;
            let last = recovery::last_commit(&self.core)?;
            recovery::check_end(last, self.core.durable.borrow().seq)?;
            recovery::load_counts(&self.core)?;
            *self.core.policies.lock() = jobs::policies(&self.core, last.seq);
            self.core.engine.sync()?;
            Ok(last)
        });
        match result {
            Ok(last) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(
                    seconds,
                    after_failure = self.failed,
                    seq = last.seq,
                    "the engine was reopened"
                );
                self.last = Stamp {
                    seq: last.seq,
                    time: last.time.max(self.last.time),
                };
                self.core.roll_back(last.seq);
                self.core.durable.send_modify(|durable| {
                    durable.seq = last.seq;
                    durable.generation += 1;
                });
                self.failed = false;
                self.reopening_failed = None;
            }
            Err(error) => {
                tracing::error!(%error, "the storage engine could not be reopened; the next call tries again");
                // Readers may wait for commits that are in doubt: they look again, and meet the engine that is down.
                self.core.forget_what_is_in_doubt();
                self.core.durable.send_modify(|durable| durable.generation += 1);
                self.failed = true;
                self.reopening_failed = Some(Instant::now());
            }
        }
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        reason: reason.into(),
    }
}

//! Commits about an article, together with what follows from them for its jobs.
//!
//! Every change of an article or of its translations goes through [`Service::commit`], so that jobs are opened
//! and ended in the very commit that gives reason to.

use std::collections::HashSet;
use std::sync::Arc;

use tracing::Instrument;

use super::{Call, Service, TRACES};
use crate::domain::article::Head;
use crate::domain::change::{Event, JobStep};
use crate::domain::job::{Article, Job, JobState, Jobs};
use crate::store::{ArticleState, Batch, Committed, Expect, StoreError};

impl Service {
    /// Commits a batch that was decided on a state, with the changes of jobs that follow from it.
    pub(super) async fn commit(
        &self,
        call: &Call,
        state: Option<&ArticleState>,
        mut batch: Batch,
    ) -> Result<Committed, StoreError> {
        batch.principal.clone_from(&call.actor().principal);
        self.add_followers(state, &mut batch).await?;
        let queued = batch.jobs.iter().filter(|job| job.place().is_some());
        let queued: Vec<_> = queued.map(|job| job.id.key.clone()).collect();
        let span = tracing::info_span!(target: TRACES, "store.commit");
        let committed = self.store.commit(batch).instrument(span).await?;
        if let Some(after) = &committed.state {
            let language = &after.head.current.metadata.language;
            queued
                .into_iter()
                .for_each(|key| self.job_notifier.announce(language, key));
        }
        Ok(committed)
    }

    async fn add_followers(&self, state: Option<&ArticleState>, batch: &mut Batch) -> Result<(), StoreError> {
        let languages: Vec<_> = batch.slots.iter().map(|slot| slot.language.clone()).collect();
        if batch.purge.is_some() || batch.head.is_none() && languages.is_empty() {
            return Ok(());
        }
        let policies = self.store.policies().await?;
        batch.expect.push(Expect::Policies(policies.seq));
        let jobs = jobs_after(state, &batch.jobs);
        if policies.all.is_empty() && jobs.is_empty() {
            return Ok(());
        }
        let Some(head) = batch.head.as_ref().or(state.map(|state| &*state.head)) else {
            return Ok(());
        };
        let mut slots = state.map(|state| state.slots.clone()).unwrap_or_default();
        let written = batch.slots.iter().cloned();
        slots.extend(written.map(|slot| (slot.language.clone(), slot)));
        let after = Article {
            head,
            slots: &slots,
            jobs: &jobs,
        };
        // A change of the article concerns all languages.
        let touched = batch.head.is_none().then_some(languages.as_slice());
        let changed = after.follow(touched, &policies.all, self.store.clock().now());
        let head = head.clone();
        if state.is_some_and(|state| state.head.revision() != head.revision()) {
            let keys: HashSet<_> = changed.iter().map(|job| &job.id.key).collect();
            let moved = jobs
                .iter()
                .filter(|(key, job)| job.state == JobState::Pending && !keys.contains(key))
                .map(|(_, job)| Event::about_job(&head, job, JobStep::Retargeted));
            batch.events.extend(moved);
        }
        for job in changed {
            let language = &job.id.key.language;
            if !languages.contains(language) {
                // What is wanted was read off this translation.
                let version = slots.get(language).map(|slot| slot.version);
                batch.expect.push(Expect::Slot(language.clone(), version));
            }
            batch.add_job(&head, state, job);
        }
        Ok(())
    }
}

/// The jobs of a state after some of them changed.
fn jobs_after(state: Option<&ArticleState>, changed: &[Job]) -> Jobs {
    let mut jobs = state.map(|state| state.jobs.clone()).unwrap_or_default();
    let changed = changed.iter().cloned();
    jobs.extend(changed.map(|job| (job.id.key.clone(), Arc::new(job))));
    jobs
}

impl Batch {
    /// Adds a job's new state, or the next job of its key, with its event; bound to the job that was found in `state`.
    pub(super) fn add_job(&mut self, head: &Head, state: Option<&ArticleState>, job: Job) {
        let key = &job.id.key;
        let before = self.jobs.iter().rev().find(|earlier| earlier.id.key == *key);
        let stored = state.and_then(|state| state.jobs.get(key));
        if before.is_none() {
            let version = stored.map(|job| job.version);
            self.expect.push(Expect::Job(key.clone(), version));
        }
        let step = JobStep::between(before.or(stored.map(|job| &**job)), &job);
        let event = step.map(|step| Event::about_job(head, &job, step));
        self.events.extend(event);
        self.jobs.push(job);
    }
}

//! Translation jobs for their principals: read, listed, canceled, retried.

use std::collections::HashMap;
use std::sync::Arc;

use super::attach::usage;
use super::transact::{Decision, Effect, Mutation};
use super::view::PAGE_BYTES;
use super::{Call, Error, Result, Service};
use crate::domain::access::{Reach, Shown, Visibility};
use crate::domain::article::ArticleId;
use crate::domain::job::{Article, Job, JobId, JobKind, JobState, LeaseToken};
use crate::domain::language::Language;
use crate::domain::request::Outcome;
use crate::store::{ArticleState, Batch};

/// Jobs that a page of a list looks at.
const PAGE_ROWS: usize = 2_000;
/// Jobs that are read at once for a list.
const STEP: usize = 256;
/// Jobs of a list whose articles are held at once.
const ARTICLES_AT_ONCE: usize = 8;
/// The most that a job takes in an answer in bytes, without its segments, and each of these.
const JOB_BYTES: usize = 2_560;
const SEGMENT_BYTES: usize = 16;

/// Which jobs a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct JobFilter {
    /// Those of this article.
    pub article: Option<ArticleId>,
    /// Those into this language.
    pub language: Option<Language>,
    /// Those of this kind.
    pub kind: Option<JobKind>,
    /// Those in these states; empty: any.
    pub states: Vec<JobState>,
}

impl JobFilter {
    fn matches(&self, job: &Job, state: JobState) -> bool {
        let key = &job.id.key;
        self.language
            .as_ref()
            .is_none_or(|language| *language == key.language)
            && self.kind.is_none_or(|kind| kind == key.kind)
            && (self.states.is_empty() || self.states.contains(&state))
    }
}

/// A job with how far it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnapshot {
    /// The job with what it wants.
    pub job: Arc<Job>,
    /// How far it is.
    pub state: JobState,
}

impl JobSnapshot {
    /// The most that it takes in an answer, in bytes.
    fn max_bytes(&self) -> usize {
        JOB_BYTES + SEGMENT_BYTES * self.job.wanted.len()
    }
}

/// A job with its article.
type VisibleJob = (Arc<ArticleState>, Arc<Job>);

/// The jobs of an article as the domain sees them.
pub(super) fn article(state: &ArticleState) -> Article<'_> {
    Article {
        head: &state.head,
        slots: &state.slots,
        jobs: &state.jobs,
    }
}

/// A change of one job.
pub(super) struct JobChange<'a, D> {
    /// The job.
    pub(super) id: &'a JobId,
    /// The token of the lease that it is changed under; `None`: it is changed from outside.
    pub(super) token: Option<LeaseToken>,
    /// What becomes of the job; `None`: nothing differs.
    pub(super) decide: D,
}

impl<D> Mutation for JobChange<'_, D>
where
    D: Fn(&Arc<Job>, &ArticleState) -> Result<Option<Job>> + Sync,
{
    type Detail = ();
    /// The job, and the newest revision of its article.
    type Answer = (JobSnapshot, u32);

    fn article(&self) -> &ArticleId {
        &self.id.article
    }

    fn language(&self) -> Option<&Language> {
        Some(&self.id.key.language)
    }

    async fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> Result<Decision> {
        let id = self.id;
        let (state, job) = match self.token {
            Some(token) => service.leased(call, id, token, state).await?,
            None => {
                let state = seen(call.caller.reach, id, state)?;
                (state, service.find_job(state, id).await?)
            }
        };
        let Some(changed) = (self.decide)(&job, state)? else {
            return Ok(Decision::unchanged());
        };
        if state.jobs.get(&id.key).is_none_or(|newest| newest.id != *id) {
            return Err(Error::JobNotOpen {
                id: id.clone(),
                state: job.state,
            });
        }
        let mut batch = match self.token {
            // The lease decides alone.
            Some(_) => Batch::new(id.article.clone()),
            None => Batch::on(state, Some(&id.key.language)),
        };
        batch.add_job(&state.head, Some(state), changed);
        Ok(Decision::write(batch, Outcome::Changed))
    }

    async fn answer(&self, service: &Service, _: &Call, effect: Effect) -> Result<(JobSnapshot, u32)> {
        let (state, _) = effect.state(service).await?;
        let job = service.find_job(&state, self.id).await?;
        Ok((service.job_snapshot(&state, job), state.head.revision()))
    }
}

/// The article of a job as it was read, if the caller may see it.
fn seen<T: AsRef<ArticleState>>(reach: Reach, id: &JobId, state: Option<T>) -> Result<T> {
    state
        .filter(|state| reach.covers(state.as_ref().head.current.visibility))
        .ok_or_else(|| Error::JobNotFound(id.clone()))
}

impl Service {
    /// Reads a job.
    pub async fn get_job(&self, reach: Reach, id: &JobId) -> Result<JobSnapshot> {
        let state = seen(reach, id, self.state(&id.article).await?)?;
        let job = self.find_job(&state, id).await?;
        Ok(self.job_snapshot(&state, job))
    }

    /// Lists the newest jobs of all keys, after a place; of one article those that were replaced too. So many at most.
    pub async fn list_jobs(
        &self,
        reach: Reach,
        filter: &JobFilter,
        after: Option<&JobId>,
        page_size: usize,
    ) -> Result<(Vec<JobSnapshot>, Option<JobId>)> {
        if let Some(article) = &filter.article {
            return self.list_jobs_of(reach, article, filter, after, page_size).await;
        }
        let (mut listed, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let mut last = after.map(|after| (after.article.clone(), after.key.clone()));
        loop {
            let jobs = self.store.jobs(last.as_ref(), STEP).await?;
            let is_end = jobs.len() < STEP;
            for jobs in jobs.chunks(ARTICLES_AT_ONCE) {
                for (id, found) in self.of_visible(reach, jobs, filter).await? {
                    let found = found.map(|(state, job)| self.job_snapshot(&state, job));
                    rows += 1;
                    last = Some((id.article.clone(), id.key.clone()));
                    bytes += found.as_ref().map_or(0, JobSnapshot::max_bytes);
                    listed.extend(found);
                    if listed.len() >= page_size || rows >= PAGE_ROWS || bytes > PAGE_BYTES {
                        return Ok((listed, Some(id)));
                    }
                }
            }
            if is_end {
                return Ok((listed, None));
            }
        }
    }

    /// The jobs that a filter leaves and whose articles may be seen, each with its article; `None` for the others.
    async fn of_visible(
        &self,
        reach: Reach,
        jobs: &[Arc<Job>],
        filter: &JobFilter,
    ) -> Result<Vec<(JobId, Option<VisibleJob>)>> {
        let now = self.store.clock().now();
        let matches = |job: &&Arc<Job>| filter.matches(job, job.state_at(now));
        let mut articles: Vec<_> = jobs
            .iter()
            .filter(matches)
            .map(|job| job.id.article.clone())
            .collect();
        articles.dedup();
        let states = self.store.articles(&articles).await?;
        let visible: HashMap<_, _> = states
            .into_iter()
            .flatten()
            .filter(|state| reach.covers(state.head.current.visibility))
            .map(|state| (state.head.id.clone(), state))
            .collect();
        let found = |job: &Arc<Job>| {
            let state = visible.get(&job.id.article).filter(|_| matches(&job));
            (job.id.clone(), state.map(|state| (state.clone(), job.clone())))
        };
        Ok(jobs.iter().map(found).collect())
    }

    async fn list_jobs_of(
        &self,
        reach: Reach,
        article: &ArticleId,
        filter: &JobFilter,
        after: Option<&JobId>,
        page_size: usize,
    ) -> Result<(Vec<JobSnapshot>, Option<JobId>)> {
        let shown = Shown {
            deleted: true,
            hidden: reach,
        };
        let state = self.visible(article, shown).await?;
        let mut jobs = self.store.replaced_jobs(article).await?;
        jobs.extend(state.jobs.values().cloned());
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        jobs.dedup_by(|a, b| a.id == b.id);
        let now = self.store.clock().now();
        let listed = jobs
            .into_iter()
            .filter(|job| after.is_none_or(|after| job.id > *after))
            .filter(|job| filter.matches(job, job.state_at(now)))
            .map(|job| self.job_snapshot(&state, job));
        let mut listed = listed.peekable();
        let (mut page, mut bytes): (Vec<JobSnapshot>, _) = (Vec::new(), 0);
        while page.len() < page_size
            && bytes <= PAGE_BYTES
            && let Some(snapshot) = listed.next()
        {
            bytes += snapshot.max_bytes();
            page.push(snapshot);
        }
        let next = listed.peek().and(page.last()).map(|last| last.job.id.clone());
        Ok((page, next))
    }

    /// Gives a job up.
    pub async fn cancel_job(&self, call: &Call, id: &JobId) -> Result<JobSnapshot> {
        self.change_job(call, id, |job: &Arc<Job>, state: &ArticleState| match job.state {
            JobState::Canceled => Ok(None),
            open if open.is_open() => Ok(Some(article(state).assigned(job.clone()).canceled(false))),
            state => Err(Error::JobNotOpen {
                id: id.clone(),
                state,
            }),
        })
        .await
    }

    /// Opens a job again that was given up.
    pub async fn retry_job(&self, call: &Call, id: &JobId) -> Result<JobSnapshot> {
        let now = self.store.clock().now();
        self.change_job(call, id, |job: &Arc<Job>, state: &ArticleState| {
            match job.state_at(now) {
                open if open.is_open() => Ok(None),
                JobState::Dead | JobState::Canceled => {
                    match state.head.current.visibility {
                        Visibility::Withheld | Visibility::Canceled => {
                            return Err(Error::SourceWithheld(id.article.clone()));
                        }
                        _ if state.head.current.deleted.is_some() => {
                            return Err(Error::ArticleDeleted(id.article.clone()));
                        }
                        Visibility::Public | Visibility::Embargoed => {}
                    }
                    if !article(state).has_work(&id.key) {
                        return Err(Error::NothingWanted(id.clone()));
                    }
                    let before = usage(state);
                    let after = before.clone().with_open_job(&id.key, Some(job));
                    let full = |exceeded| Error::ArticleFull {
                        id: id.article.clone(),
                        exceeded,
                    };
                    self.capacity.check(&before, &after).map_err(full)?;
                    Ok(Some(job.retried()))
                }
                state => Err(Error::JobNotOpen {
                    id: id.clone(),
                    state,
                }),
            }
        })
        .await
    }

    async fn change_job(
        &self,
        call: &Call,
        id: &JobId,
        decide: impl Fn(&Arc<Job>, &ArticleState) -> Result<Option<Job>> + Sync,
    ) -> Result<JobSnapshot> {
        call.may_work_on(&id.key)?;
        let token = None;
        let (snapshot, _) = self.transact(call, &JobChange { id, token, decide }).await?;
        Ok(snapshot)
    }

    /// A job that a worker names, with its article as it was read. The job of a hidden article is absent for callers that
    /// have neither the scope to see the article nor the token of the job's lease.
    pub(super) async fn leased<'a>(
        &self,
        call: &Call,
        id: &JobId,
        token: LeaseToken,
        state: Option<&'a Arc<ArticleState>>,
    ) -> Result<(&'a Arc<ArticleState>, Arc<Job>)> {
        let absent = || Error::JobNotFound(id.clone());
        let state = state.ok_or_else(absent)?;
        let job = self.find_job(state, id).await?;
        let is_holder = job.fenced(token).is_ok() || job.settled_by(token).is_some();
        if is_holder || call.caller.reach.covers(state.head.current.visibility) {
            Ok((state, job))
        } else {
            Err(absent())
        }
    }

    /// A job of an article, whether it is the newest of its key or not.
    pub(super) async fn find_job(&self, state: &ArticleState, id: &JobId) -> Result<Arc<Job>> {
        match state.jobs.get(&id.key) {
            Some(newest) if newest.id == *id => Ok(newest.clone()),
            Some(newest) if newest.id.number > id.number => {
                let replaced = self.store.replaced_jobs(&id.article).await?;
                let found = replaced.into_iter().find(|job| job.id == *id);
                found.ok_or_else(|| Error::JobNotFound(id.clone()))
            }
            _ => Err(Error::JobNotFound(id.clone())),
        }
    }

    /// A job as callers see it.
    pub(super) fn job_snapshot(&self, state: &ArticleState, job: Arc<Job>) -> JobSnapshot {
        JobSnapshot {
            state: job.state_at(self.store.clock().now()),
            job: article(state).assigned(job),
        }
    }
}

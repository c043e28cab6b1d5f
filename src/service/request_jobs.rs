//! Requests of translation jobs: which languages and kinds are asked for, for articles by id or by query, and what became of
//! each.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::attach::usage;
use super::jobs::article;
use super::transact::{Decision, Effect, Mutation};
use super::view::HELD_BYTES;
use super::{Call, Error, Result, Service};
use crate::domain::article::ArticleId;
use crate::domain::capacity::Exceeded;
use crate::domain::job::{Job, JobId, JobKey, JobState, Order};
use crate::domain::query::{Position, Query};
use crate::store::{ArticleState, Batch, Budget};

/// Articles that one call with a query is about, at most.
const ARTICLES_A_CALL: usize = 1_000;
/// Answers of one call, articles by languages and kinds, at most: each takes up to 520 bytes, and together no more than
/// [`PAGE_BYTES`](super::view::PAGE_BYTES).
pub const ANSWERS_A_CALL: usize = 6_000;
/// Index rows that one call with a query looks at.
const ROWS_A_CALL: usize = 2_000;
/// Articles whose jobs are opened side by side: enough to share commits, few enough to leave room for other writers.
const SIDE_BY_SIDE: usize = 16;
/// The jobs that are requested of each article.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// The languages and kinds.
    pub keys: Vec<JobKey>,
    /// The options of each job.
    pub order: Order,
}

/// The result of a request for one article and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The article.
    pub article: ArticleId,
    /// Language and kind.
    pub key: JobKey,
    /// What became of it.
    pub outcome: RequestOutcome,
}

/// The outcome of a request for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    /// A job was opened.
    Opened(JobId),
    /// A job was open.
    AlreadyOpen(JobId),
    /// Nothing is wanted.
    NothingWanted,
    /// The caller sees no such article.
    NoArticle,
    /// The article is withheld or cancelled.
    Withheld,
    /// The article can have no more jobs.
    Full(Exceeded),
}

/// The mutation that opens jobs of an article.
struct RequestJobs<'a> {
    id: &'a ArticleId,
    request: &'a JobRequest,
}

impl Mutation for RequestJobs<'_> {
    type Detail = Vec<Requested>;
    type Answer = Vec<Requested>;

    fn article(&self) -> &ArticleId {
        self.id
    }

    async fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> Result<Decision<Vec<Requested>>> {
        let all = |outcome: RequestOutcome| {
            let requested = |key: &JobKey| Requested {
                article: self.id.clone(),
                key: key.clone(),
                outcome: outcome.clone(),
            };
            Ok(Decision {
                detail: self.request.keys.iter().map(requested).collect(),
                ..Decision::unchanged()
            })
        };
        match service.translatable(call, self.id, state).await {
            Ok(state) if state.head.current.deleted.is_none() => {
                let (batch, detail) = service.decide_request(self.id, state, self.request);
                let batch = Some(batch).filter(|batch| !batch.jobs.is_empty());
                Ok(Decision {
                    batch,
                    detail,
                    ..Decision::unchanged()
                })
            }
            Ok(_) | Err(Error::ArticleNotFound(_) | Error::ArticlePurged(_)) => {
                all(RequestOutcome::NoArticle)
            }
            Err(Error::SourceWithheld(_)) => all(RequestOutcome::Withheld),
            Err(error) => Err(error),
        }
    }

    async fn answer(&self, _: &Service, _: &Call, effect: Effect<Vec<Requested>>) -> Result<Vec<Requested>> {
        Ok(effect.detail)
    }
}

impl Service {
    /// Opens jobs for articles, in their order.
    pub async fn request_translations(
        &self,
        call: &Call,
        articles: Vec<ArticleId>,
        request: &JobRequest,
    ) -> Result<Vec<Requested>> {
        request.keys.iter().try_for_each(|key| call.may_work_on(key))?;
        let requested: Vec<Vec<Requested>> = stream::iter(articles)
            .map(|id| async move { self.request_for(call, &id, request).await })
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        Ok(requested.into_iter().flatten().collect())
    }

    /// Opens jobs for a part of the articles that a query finds, and answers the place of the next part.
    pub async fn request_translations_of(
        &self,
        call: &Call,
        query: &Query,
        after: Option<&Position>,
        request: &JobRequest,
    ) -> Result<(Vec<Requested>, Option<Position>)> {
        request.keys.iter().try_for_each(|key| call.may_work_on(key))?;
        let budget = Budget {
            articles: ARTICLES_A_CALL
                .min(ANSWERS_A_CALL / request.keys.len().max(1))
                .max(1),
            rows: ROWS_A_CALL,
            bytes: HELD_BYTES,
        };
        let query = query.at(self.clock.now());
        let page = self.store.list(&query, after, budget).await?;
        let ids = page
            .articles
            .into_iter()
            .map(|(position, _)| position.id)
            .collect();
        let requested = self.request_translations(call, ids, request).await?;
        Ok((requested, page.next))
    }

    async fn request_for(&self, call: &Call, id: &ArticleId, request: &JobRequest) -> Result<Vec<Requested>> {
        self.transact(call, &RequestJobs { id, request }).await
    }

    fn decide_request(
        &self,
        id: &ArticleId,
        state: &ArticleState,
        request: &JobRequest,
    ) -> (Batch, Vec<Requested>) {
        let now = self.store.clock().now();
        let mut batch = Batch::on(state, None);
        let mut requested = Vec::with_capacity(request.keys.len());
        let mut usage = usage(state);
        for key in &request.keys {
            let last = state.jobs.get(key);
            let outcome =
                match last.filter(|last| last.state.is_open() && last.state_at(now) != JobState::Dead) {
                    Some(open) => {
                        if let Some(hastened) = open.hastened(&request.order) {
                            batch.add_job(&state.head, Some(state), hastened);
                        }
                        RequestOutcome::AlreadyOpen(open.id.clone())
                    }
                    None => {
                        let is_wanted = article(state).has_work(key);
                        let with_job = usage.clone().with_open_job(key, last.map(|last| &**last));
                        if !is_wanted {
                            RequestOutcome::NothingWanted
                        } else if let Err(exceeded) = self.capacity.check(&usage, &with_job) {
                            RequestOutcome::Full(exceeded)
                        } else {
                            usage = with_job;
                            // One whose last lease has ended is ended by this.
                            let expired = last
                                .filter(|last| last.state.is_open())
                                .map(|last| last.expired());
                            let last = expired.as_ref().or(last.map(|last| &**last));
                            let revision = state.head.revision();
                            let job = Job::open(id, key.clone(), last, revision, request.order.clone());
                            let opened = RequestOutcome::Opened(job.id.clone());
                            expired
                                .into_iter()
                                .chain([job])
                                .for_each(|job| batch.add_job(&state.head, Some(state), job));
                            batch.expect.push(state.expect_slot(&key.language));
                            opened
                        }
                    }
                };
            requested.push(Requested {
                article: id.clone(),
                key: key.clone(),
                outcome,
            });
        }
        (batch, requested)
    }
}

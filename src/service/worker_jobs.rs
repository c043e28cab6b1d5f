//! Translation jobs as workers use them: claim, heartbeat, fail, release. Results are in [`complete_job`](super::complete_job).

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::jobs::{JobChange, JobSnapshot};
use super::snapshot::{Snapshot, TranslationSnapshot};
use super::transact::ATTEMPTS;
use super::view::View;
use super::view::{Moment, PAGE_BYTES};
use super::{Call, Error, Result, Service};
use crate::domain::change;
use crate::domain::job::{ClaimQuery, Failure, Grant, Job, JobId, JobState, Lease, LeaseToken, Settled};
use crate::domain::request::RequestRecord;
use crate::domain::time::Timestamp;
use crate::store::{ArticleState, Claim, Claimed, Conflict, StoreError};

const CLAIM: &str = "ClaimJobs";

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct JobClaim {
    /// Which jobs.
    pub query: ClaimQuery,
    /// How many at most.
    pub max: usize,
    /// How long to lease them for, in microseconds.
    pub lease_micros: i64,
    /// How long to wait if there is none.
    pub wait: Duration,
    /// The worker, by the name that it gives.
    pub worker: String,
}

/// A claimed job with the texts that it is about.
#[derive(Debug, Clone)]
pub struct ClaimedWork {
    /// The job.
    pub job: JobSnapshot,
    /// The lease.
    pub lease: Lease,
    /// The article at the job's revision, with its text.
    pub article: Snapshot,
    /// The active translation; its texts are left out where they are too large for one answer.
    pub translation: Option<TranslationSnapshot>,
}

/// The token of a lease with the digest of the call that names it.
#[derive(Debug, Clone, Copy)]
pub struct Fence {
    /// The token.
    pub token: LeaseToken,
    /// SHA-256 over the decoded call.
    pub digest: [u8; 32],
}

/// What a worker says of a failed attempt.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// What went wrong.
    pub message: String,
    /// Whether no other attempt will succeed.
    pub is_permanent: bool,
    /// How long to wait instead of the usual time, in microseconds.
    pub retry_after_micros: Option<i64>,
}

/// What a call that ends a lease makes of its job; `None`: an earlier call with the same body has done it.
type Settling = Option<Job>;

impl Service {
    /// Leases jobs to a worker, and waits for some if there are none.
    pub async fn claim_jobs(&self, call: &Call, claim: &JobClaim) -> Result<Vec<ClaimedWork>> {
        let query = call.claimable(&claim.query)?;
        let claim = &JobClaim {
            query,
            ..claim.clone()
        };
        let end = Instant::now() + claim.wait;
        let mut looks = 0;
        loop {
            if let Some(record) = self.earlier(call, CLAIM).await? {
                return self.claimed_before(call, &record).await;
            }
            if self.drain.has_begun() {
                return Err(Error::Draining);
            }
            // Heard from before the look at the queue on, so that nothing is missed.
            let mut listener = self.job_notifier.listen();
            let next = self.store.next_claimable(&claim.query).await?;
            let now = self.store.clock().now();
            if next.is_some_and(|next| next <= now) {
                let (mut leased, is_partial) = match self.lease(call, self.claim_of(call, claim)).await {
                    // Another call with this request id was first.
                    Err(Error::Store(StoreError::Conflict(Conflict::Request))) => continue,
                    leased => leased?,
                };
                if !leased.jobs.is_empty() {
                    let work = self.work(call, leased.jobs.clone()).await;
                    leased.jobs.clear();
                    return work;
                }
                looks += 1;
                if is_partial && looks < ATTEMPTS {
                    continue;
                }
            }
            let now_again = Instant::now();
            if now_again >= end {
                return Ok(Vec::new());
            }
            // A lease or a wait that ends makes no announcement. One that has ended already was taken by somebody else.
            let until = next
                .filter(|next| *next > now)
                .map_or(end, |next| end.min(now_again + between(now, next)));
            tokio::select! {
                () = listener.heard(&claim.query) => {}
                () = sleep_until(until) => {}
                () = self.drain.begun() => return Err(Error::Draining),
            }
        }
    }

    /// Leases jobs, and says whether asking again may find more. It is finished even if its caller goes away, so that no job
    /// stays leased for nobody.
    async fn lease(&self, call: &Call, claim: Claim) -> Result<(Undelivered, bool)> {
        let (service, call) = (self.clone(), call.clone());
        let leasing = async move {
            let Claimed { jobs, is_partial } = service.store.claim(claim).await?;
            let leased = Undelivered {
                service: service.clone(),
                call,
                jobs,
            };
            Ok((leased, is_partial))
        };
        let leasing = tokio::spawn(leasing.in_current_span());
        leasing
            .await
            .unwrap_or_else(|panic| Err(Error::Internal(panic.to_string())))
    }

    fn claim_of(&self, call: &Call, claim: &JobClaim) -> Claim {
        let grant = || Grant {
            token: LeaseToken(uuid::Uuid::new_v4().into_bytes()),
            worker: claim.worker.clone(),
            lease_micros: claim.lease_micros,
        };
        Claim {
            query: claim.query.clone(),
            grants: std::iter::repeat_with(grant).take(claim.max).collect(),
            rule: change::claim,
            principal: call.actor().principal.clone(),
            request: call.key(CLAIM).zip(call.request.map(|request| request.digest)),
        }
    }

    /// The jobs that an earlier call with the same request leased, as far as they are its own still.
    async fn claimed_before(&self, call: &Call, record: &RequestRecord) -> Result<Vec<ClaimedWork>> {
        let ids: Vec<_> = record.jobs.iter().map(|id| id.article.clone()).collect();
        let states = self.store.articles(&ids).await?;
        let own = |(id, state): (&JobId, Option<Arc<ArticleState>>)| {
            let job = state?.jobs.get(&id.key).filter(|job| job.id == *id)?.clone();
            let is_own = job
                .lease
                .as_ref()
                .is_some_and(|lease| lease.claimed == record.stamp);
            is_own.then_some(job)
        };
        let jobs = record.jobs.iter().zip(states).filter_map(own).collect();
        self.work(call, jobs).await
    }

    /// Jobs with their texts. What does not fit into the answer goes back to the queue, and a job whose texts cannot be read
    /// does not hold up the others.
    async fn work(&self, call: &Call, jobs: Vec<Arc<Job>>) -> Result<Vec<ClaimedWork>> {
        let (mut work, mut bytes) = (Vec::with_capacity(jobs.len()), 0);
        let mut unreadable = None;
        for job in jobs {
            if bytes > PAGE_BYTES {
                self.give_back(call, &job).await;
                continue;
            }
            let mut claimed = match self.work_of(&job).await {
                Ok(Some(claimed)) => claimed,
                Ok(None) => continue,
                Err(error) => {
                    self.give_up(call, &job, &error).await;
                    unreadable = Some(error);
                    continue;
                }
            };
            let source = claimed.article.max_bytes();
            let targets = claimed.target_bytes();
            if !work.is_empty() && bytes + source + targets > PAGE_BYTES {
                bytes = usize::MAX;
                self.give_back(call, &job).await;
                continue;
            }
            bytes += source;
            if bytes + targets > PAGE_BYTES {
                claimed.omit_targets();
            } else {
                bytes += targets;
            }
            work.push(claimed);
        }
        match unreadable {
            Some(error) if work.is_empty() => Err(error),
            _ => Ok(work),
        }
    }

    /// Ends the attempt at a job whose texts cannot be read: it waits like any that failed, so that it does not come first
    /// again at once. Where the store is down, it goes back as it was.
    async fn give_up(&self, call: &Call, job: &Job, error: &Error) {
        tracing::error!(id = %job.id, %error, "the texts of a claimed job cannot be read");
        let is_damaged = matches!(error, Error::Store(StoreError::Corrupt { .. }));
        let Some(token) = job.claim().filter(|_| is_damaged) else {
            return self.give_back(call, job).await;
        };
        let fence = Fence {
            token,
            digest: [0; 32],
        };
        let attempt = FailedAttempt {
            message: "the texts of the article cannot be read".to_owned(),
            is_permanent: false,
            retry_after_micros: None,
        };
        if let Err(error) = self.fail_job(call, &job.id, fence, &attempt).await {
            tracing::warn!(id = %job.id, %error, "a job could not be given up; its lease ends by itself");
        }
    }

    /// The texts of a leased job; `None` if it was taken back meanwhile because its article disappeared.
    async fn work_of(&self, job: &Arc<Job>) -> Result<Option<ClaimedWork>> {
        let (Some(lease), Some(state)) = (job.lease.clone(), self.state(&job.id.article).await?) else {
            return Ok(None);
        };
        let read = async {
            let then = self.at(&state, Moment::Revision(job.source_revision)).await?;
            let slot = state.slots.get(&job.id.key.language);
            let translation = match slot.and_then(|slot| Some((slot, slot.active()?))) {
                Some((slot, head)) => {
                    let mut translation = self.translation_snapshot(&state, slot, head).await?;
                    translation.version = Some(self.version(&slot.version_key(head)).await?);
                    Some(translation)
                }
                None => None,
            };
            Ok(ClaimedWork {
                // As it was leased, however long the answer takes.
                job: JobSnapshot {
                    job: job.clone(),
                    state: job.state,
                },
                lease,
                article: self.snapshot(then, View::Full).await?,
                translation,
            })
        };
        match read.await {
            Ok(work) => Ok(Some(work)),
            Err(Error::ArticlePurged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a job that was claimed and cannot be handed out. If that fails its lease ends by itself.
    async fn give_back(&self, call: &Call, job: &Job) {
        let Some(token) = job.claim() else { return };
        let release = |job: &Job, lease: Option<&Lease>| Ok(lease.map(|_| job.released(None)));
        let given_back = self.settle(call, &job.id, token, release).await;
        if let Err(error) = given_back {
            tracing::warn!(id = %job.id, %error, "a job could not be given back; its lease ends by itself");
        }
    }

    /// Prolongs a lease; answers when it ends, and the article's newest revision.
    pub async fn heartbeat_job(
        &self,
        call: &Call,
        id: &JobId,
        token: LeaseToken,
        lease_micros: i64,
    ) -> Result<(Timestamp, u32)> {
        call.may_work_on(&id.key)?;
        let change = JobChange {
            id,
            token: Some(token),
            decide: |job: &Arc<Job>, _: &ArticleState| {
                let lease = job.fenced(token).map_err(|_| lost(id, job))?;
                Ok(Some(job.prolonged(lease, self.store.clock().now(), lease_micros)))
            },
        };
        let (snapshot, head_revision) = self.transact(call, &change).await?;
        let lease = snapshot
            .job
            .lease
            .as_ref()
            .ok_or_else(|| lost(id, &snapshot.job))?;
        Ok((lease.until, head_revision))
    }

    /// Takes note that an attempt failed.
    pub async fn fail_job(
        &self,
        call: &Call,
        id: &JobId,
        fence: Fence,
        attempt: &FailedAttempt,
    ) -> Result<JobSnapshot> {
        call.may_work_on(&id.key)?;
        let jitter = {
            let [.., low, high] = uuid::Uuid::new_v4().into_bytes();
            f64::from(u16::from_be_bytes([low, high])) / f64::from(u16::MAX)
        };
        self.settle(call, id, fence.token, |job, lease| {
            if is_settled(job, fence)? {
                return Ok(None);
            }
            let lease = lease.ok_or_else(|| lost(id, job))?;
            let failure = Failure {
                message: attempt.message.clone(),
                worker: lease.worker.clone(),
                time: self.store.clock().now(),
            };
            let wait = attempt.retry_after_micros;
            Ok(Some(job.failed(
                fence.settled(),
                failure,
                attempt.is_permanent,
                wait,
                jitter,
            )))
        })
        .await
    }

    /// Takes a job back undone.
    pub async fn release_job(&self, call: &Call, id: &JobId, fence: Fence) -> Result<JobSnapshot> {
        call.may_work_on(&id.key)?;
        self.settle(call, id, fence.token, |job, lease| {
            if is_settled(job, fence)? {
                return Ok(None);
            }
            lease.ok_or_else(|| lost(id, job))?;
            Ok(Some(job.released(Some(fence.settled()))))
        })
        .await
    }

    async fn settle(
        &self,
        call: &Call,
        id: &JobId,
        token: LeaseToken,
        decide: impl Fn(&Job, Option<&Lease>) -> Result<Settling> + Sync,
    ) -> Result<JobSnapshot> {
        let change = JobChange {
            id,
            token: Some(token),
            decide: |job: &Arc<Job>, _: &ArticleState| decide(job, job.fenced(token).ok()),
        };
        let (snapshot, _) = self.transact(call, &change).await?;
        Ok(snapshot)
    }
}

/// Leased jobs on their way to a worker. If they are dropped there, they are released, because their tokens are lost; those
/// of a recorded request wait for its retry.
struct Undelivered {
    service: Service,
    call: Call,
    jobs: Vec<Arc<Job>>,
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() || self.call.request.is_some() {
            return;
        }
        // Where the process ends, so do the leases, by themselves.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (service, call) = (self.service.clone(), self.call.clone());
        runtime.spawn(async move {
            for job in &jobs {
                service.give_back(&call, job).await;
            }
        });
    }
}

impl Fence {
    /// That the lease was ended without a result.
    fn settled(self) -> Settled {
        Settled {
            token: self.token,
            digest: self.digest,
            result: None,
        }
    }
}

/// Whether this very call has ended the lease before. One with another body comes too late.
pub(super) fn is_settled(job: &Job, fence: Fence) -> Result<bool> {
    match job.settled_by(fence.token) {
        Some(settled) if settled.digest == fence.digest => Ok(true),
        Some(_) => Err(lost(&job.id, job)),
        None => Ok(false),
    }
}

/// That a token does not count any more.
pub(super) fn lost(id: &JobId, job: &Job) -> Error {
    Error::LeaseLost {
        id: id.clone(),
        state: match job.state {
            JobState::Leased => None,
            state => Some(state),
        },
    }
}

/// The time from one instant to a later one.
fn between(now: Timestamp, later: Timestamp) -> Duration {
    let micros = later.as_micros().saturating_sub(now.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

impl ClaimedWork {
    /// The most that the targets take in an answer, in bytes.
    fn target_bytes(&self) -> usize {
        self.translation
            .as_ref()
            .map_or(0, TranslationSnapshot::text_bytes)
    }

    fn omit_targets(&mut self) {
        if let Some(translation) = &mut self.translation {
            translation.version = None;
        }
    }
}

//! The steps of a job's life: each makes the next version of the job.

use super::{Failure, Grant, HOUR, Job, JobRefusal, JobState, Lease, LeaseToken, Order, SECOND, Settled};
use crate::domain::time::{Stamp, Timestamp};

/// The wait after the first failure; it doubles with every further one.
const FIRST_BACK_OFF: i64 = 30 * SECOND;
/// The longest wait after a failure.
const MAX_BACK_OFF: i64 = HOUR;

impl Job {
    /// Gives it to a worker. Its caller has seen that it [`is_claimable`](Self::is_claimable).
    #[must_use]
    pub fn leased(&self, grant: Grant, now: Timestamp) -> Self {
        Self {
            state: JobState::Leased,
            not_before: None,
            attempts: self.attempts + 1,
            lease: Some(Lease {
                token: grant.token,
                worker: grant.worker,
                claimed: Stamp::PENDING,
                until: now.saturating_add_micros(grant.lease_micros),
            }),
            settled: None,
            ..self.next()
        }
    }

    /// The lease, if this is its token: one that has ended counts until another worker has the job, so that no result is
    /// lost for being late.
    pub fn fenced(&self, token: LeaseToken) -> Result<&Lease, JobRefusal> {
        match (self.state, &self.lease) {
            (JobState::Leased, Some(lease)) if lease.token == token => Ok(lease),
            _ => Err(JobRefusal::LeaseLost),
        }
    }

    /// How an earlier call with this token ended the lease, if one did.
    pub fn settled_by(&self, token: LeaseToken) -> Option<&Settled> {
        self.settled.as_ref().filter(|settled| settled.token == token)
    }

    /// Its lease lasts so much longer from now on.
    #[must_use]
    pub fn prolonged(&self, lease: &Lease, now: Timestamp, lease_micros: i64) -> Self {
        Self {
            lease: Some(Lease {
                until: now.saturating_add_micros(lease_micros),
                ..lease.clone()
            }),
            ..self.next()
        }
    }

    /// It is done.
    #[must_use]
    pub fn done(&self, settled: Settled) -> Self {
        Self {
            state: JobState::Done,
            lease: None,
            settled: Some(settled),
            ..self.next()
        }
    }

    /// An attempt failed: it waits, or is dead. `jitter` is random, 0 to 1, and `wait_micros` what the worker asks for
    /// instead of the usual wait.
    #[must_use]
    pub fn failed(
        &self,
        settled: Settled,
        failure: Failure,
        is_permanent: bool,
        wait_micros: Option<i64>,
        jitter: f64,
    ) -> Self {
        let is_dead = is_permanent || self.attempts >= self.max_attempts;
        let wanted = if is_dead { self.wanted.clone() } else { Vec::new() };
        let wait = wait_micros.unwrap_or_else(|| back_off(self.attempts, jitter));
        Self {
            state: if is_dead {
                JobState::Dead
            } else {
                JobState::Pending
            },
            not_before: (!is_dead).then(|| failure.time.saturating_add_micros(wait)),
            wanted,
            lease: None,
            settled: Some(settled),
            last_failure: Some(failure),
            ..self.next()
        }
    }

    /// Its last lease ended without a word from the worker.
    #[must_use]
    pub fn expired(&self) -> Self {
        let failure = self.lease.as_ref().map(|lease| Failure {
            message: "the lease ended".into(),
            worker: lease.worker.clone(),
            time: lease.until,
        });
        Self {
            state: JobState::Dead,
            lease: None,
            last_failure: failure,
            ..self.next()
        }
    }

    /// The worker gives it back undone; the attempt does not count.
    #[must_use]
    pub fn released(&self, settled: Option<Settled>) -> Self {
        Self {
            state: JobState::Pending,
            wanted: Vec::new(),
            attempts: self.attempts.saturating_sub(1),
            lease: None,
            settled,
            ..self.next()
        }
    }

    /// It is given up; `hidden`: because its article was hidden or deleted.
    #[must_use]
    pub fn canceled(&self, hidden: bool) -> Self {
        Self {
            state: JobState::Canceled,
            lease: None,
            hidden,
            ..self.next()
        }
    }

    /// Nothing of it is wanted any more.
    #[must_use]
    pub fn superseded(&self) -> Self {
        Self {
            state: JobState::Superseded,
            lease: None,
            ..self.next()
        }
    }

    /// It is as urgent as this order at least; `None` where it is already.
    pub fn hastened(&self, order: &Order) -> Option<Self> {
        let sooner = |new: Timestamp| self.deadline.is_none_or(|old| new < old);
        let deadline = order.deadline.filter(|new| sooner(*new));
        let is_urgent = order.priority < self.priority;
        (is_urgent || deadline.is_some()).then(|| Self {
            priority: self.priority.min(order.priority),
            deadline: deadline.or(self.deadline),
            ..self.next()
        })
    }

    /// It may be tried again from now on, though it was given up.
    #[must_use]
    pub fn retried(&self) -> Self {
        Self {
            state: JobState::Pending,
            wanted: Vec::new(),
            not_before: None,
            attempts: 0,
            lease: None,
            hidden: false,
            given_up: Vec::new(),
            ..self.next()
        }
    }
}

/// The backoff after a number of attempts, half of it random, so that jobs that failed together do not come back
/// together.
pub(super) fn back_off(attempts: u32, jitter: f64) -> i64 {
    let doubled = FIRST_BACK_OFF.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let wait = doubled.min(MAX_BACK_OFF);
    let half = wait / 2;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a share of at most an hour"
    )]
    let chance = (half as f64 * jitter.clamp(0.0, 1.0)) as i64;
    half + chance
}

//! Background chores of a server: health probing, credential reloads, embargoes, expiry and retention.
//!
//! Each chore is a task of its own that does a small step at a time, so that no chore holds up another one, and the probing
//! of health least of all. The rules are the domain's and the service's; here is only when they are applied.

use std::collections::HashSet;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::auth::Gate;
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::Timestamp;
use crate::service::{Result, Service};
use crate::store::Sweep;

/// How long requests stay recorded for a retry.
const REQUESTS_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long a run of a chore lasts at most.
const BUDGET: Duration = Duration::from_secs(1);
/// How long a chore rests that has more to do, or failed: it takes a tenth of the time at most.
const REST: Duration = Duration::from_secs(9);
/// How long an embargo that could not be lifted is left alone, so that it does not keep later ones waiting.
const LIFT_AGAIN: Duration = Duration::from_secs(10);

/// What a step of a chore says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to do now.
    More,
    /// Nothing is left until the next period.
    Done,
    /// It cannot be done now.
    Later,
}

impl Progress {
    fn of(has_more: bool) -> Self {
        match has_more {
            true => Self::More,
            false => Self::Done,
        }
    }
}

impl From<Sweep> for Progress {
    fn from(sweep: Sweep) -> Self {
        match sweep {
            Sweep::Going => Self::More,
            Sweep::Done => Self::Done,
            Sweep::Postponed => Self::Later,
        }
    }
}

/// Something that is done again and again.
pub(super) struct Chore {
    name: &'static str,
    period: Duration,
    /// How long a run lasts at most, however much is left: it shares the writer and the disk with calls.
    budget: Duration,
    step: Box<dyn FnMut() -> BoxFuture<'static, Result<Progress>> + Send>,
}

impl Chore {
    /// A chore that begins a run at the start and then once in a period, and does a step after the other in a run.
    pub(super) fn new<F>(
        name: &'static str,
        period: Duration,
        mut step: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Progress>> + Send + 'static,
    {
        Self {
            name,
            period,
            budget: BUDGET,
            step: Box::new(move || Box::pin(step())),
        }
    }

    /// Runs it until it is dropped. The first failure in a row is logged.
    pub(super) async fn run(mut self) {
        let mut was_failing = false;
        loop {
            let begun = Instant::now();
            let end = loop {
                match (self.step)().await {
                    Ok(Progress::More) if begun.elapsed() < self.budget => {}
                    end => break end,
                }
            };
            if let Err(error) = &end
                && !was_failing
            {
                tracing::warn!(chore = self.name, %error, "a background chore failed; it is tried again");
            }
            was_failing = end.is_err();
            let pause = match end {
                Ok(Progress::Done) => self.period,
                Ok(Progress::More | Progress::Later) | Err(_) => self.period.min(REST),
            };
            sleep_until(Instant::now() + pause).await;
        }
    }
}

/// How much of the change log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepChanges {
    /// For how long. Less than requests stay recorded counts as that.
    pub age: Duration,
    /// How many bytes at most, as far as requests do not need more.
    pub bytes: u64,
}

impl Default for KeepChanges {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(30 * 24 * 3_600),
            bytes: 1 << 30,
        }
    }
}

/// What is kept of the past.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// How many revisions of an article keep their text; `None`: all.
    pub(super) revisions: Option<NonZeroU32>,
    pub(super) changes: KeepChanges,
}

/// Starts the chores of a server, which end when the set is dropped.
pub(super) fn start(service: &Service, gate: &Arc<Gate>, keep: Keep) -> JoinSet<()> {
    let chores = [
        Some(reload_credentials(gate.clone())),
        Some(lift_embargoes(service.clone())),
        Some(trim_log(service.clone(), keep.changes)),
        keep.revisions
            .map(|newest| drop_revisions(service.clone(), newest)),
    ];
    chores.into_iter().flatten().map(Chore::run).collect()
}

fn ago(service: &Service, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    service.store().clock().now().saturating_add_micros(-age)
}

fn reload_credentials(gate: Arc<Gate>) -> Chore {
    Chore::new("reload of credentials", Duration::from_secs(1), move || {
        let gate = gate.clone();
        async move {
            // It reads the disk.
            if let Err(panic) = tokio::task::spawn_blocking(move || gate.look()).await {
                tracing::error!(%panic, "the files of tokens and keys could not be looked at");
            }
            Ok(Progress::Done)
        }
    })
}

/// Embargoes end at most a second late, the commit included; those that ended while no server ran are lifted first.
fn lift_embargoes(service: Service) -> Chore {
    let failed = Arc::new(Mutex::new((HashSet::new(), Instant::now())));
    Chore::new("lifting of embargoes", Duration::from_millis(250), move || {
        let (service, failed) = (service.clone(), failed.clone());
        async move {
            let (failed, since) = &mut *failed.lock().await;
            if since.elapsed() >= LIFT_AGAIN {
                failed.clear();
                *since = Instant::now();
            }
            service.lift_embargoes(failed).await.map(Progress::of)
        }
    })
}

/// Requests expire, and then the log is trimmed.
fn trim_log(service: Service, keep: KeepChanges) -> Chore {
    Chore::new("trimming of the log", Duration::from_secs(60), move || {
        let before = ago(&service, REQUESTS_KEPT);
        let retention = LogRetention {
            since: ago(&service, keep.age),
            bytes: keep.bytes,
        };
        let service = service.clone();
        async move {
            match service.store().expire_requests(before).await? {
                true => Ok(Progress::More),
                false => Ok(service.store().trim(retention).await?.into()),
            }
        }
    })
}

/// A pass reads all articles, so that there is one an hour. A replay shows an article as it was: what requests may still ask
/// for is kept.
fn drop_revisions(service: Service, newest: NonZeroU32) -> Chore {
    Chore::new(
        "dropping of old revisions",
        Duration::from_secs(3_600),
        move || {
            let retention = Retention {
                newest,
                superseded_before: ago(&service, REQUESTS_KEPT),
            };
            let service = service.clone();
            async move { Ok(service.store().drop_revisions(retention).await?.into()) }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::service::Error;

    /// How many steps a chore of a long period does until it rests.
    async fn steps(budget: Duration, answers: &'static [fn() -> Result<Progress>]) -> usize {
        let done = Arc::new(AtomicUsize::new(0));
        let counting = done.clone();
        let (rested, rests) = tokio::sync::oneshot::channel::<()>();
        let mut rested = Some(rested);
        let chore = Chore::new("test", Duration::from_secs(3_600), move || {
            let step = counting.fetch_add(1, Ordering::Relaxed);
            let answer = answers.get(step).expect("it rests")();
            if step + 1 == answers.len() {
                drop(rested.take());
            }
            std::future::ready(answer)
        });
        let running = tokio::spawn(Chore { budget, ..chore }.run());
        assert!(rests.await.is_err());
        tokio::task::yield_now().await;
        assert!(!running.is_finished());
        running.abort();
        done.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_run_ends_when_nothing_is_left_or_it_cannot_go_on() {
        assert_eq!(
            steps(
                BUDGET,
                &[
                    || Ok(Progress::More),
                    || Ok(Progress::More),
                    || Ok(Progress::Done)
                ]
            )
            .await,
            3
        );
        assert_eq!(steps(BUDGET, &[|| Ok(Progress::Later)]).await, 1);
        assert_eq!(steps(BUDGET, &[|| Err(Error::Draining)]).await, 1);
        // It rests when its budget is used up.
        assert_eq!(steps(Duration::ZERO, &[|| Ok(Progress::More)]).await, 1);
    }

    #[tokio::test]
    async fn a_chore_goes_on_beside_another_that_has_no_end() {
        let endless = Chore::new("endless", Duration::from_secs(3_600), || async {
            tokio::task::yield_now().await;
            Ok(Progress::More)
        });
        let (runs, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let quick = Chore::new("quick", Duration::from_millis(1), move || {
            let sent = runs.send(());
            async move { Ok(sent.map_or(Progress::Later, |()| Progress::Done)) }
        });
        let mut chores: JoinSet<()> = [endless, quick].into_iter().map(Chore::run).collect();
        for _ in 0..10 {
            seen.recv().await.unwrap();
        }
        chores.abort_all();
        while chores.join_next().await.is_some() {}
    }
}

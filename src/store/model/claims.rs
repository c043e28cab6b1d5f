//! A claim on the jobs that an engine offers in the order of their queues: which of them change, as the rule of the claim
//! decides, and the records of that. Pure, and the same for every engine.

use std::sync::Arc;

use super::codec;
use super::commits::{check_changes, check_size};
use crate::domain::job::{self, Job, JobId, JobKey, JobState};
use crate::domain::request::{Outcome, RequestKey, RequestRecord};
use crate::domain::time::{Stamp, Timestamp};
use crate::store::error::Result;
use crate::store::{ArticleState, Claim};

/// Jobs that a claim looks at, at most.
const LOOKED_AT: usize = 2_000;

/// What a claim changes.
pub(in crate::store) struct Decided {
    /// The jobs that it changes. Nothing is written where there are none.
    pub(in crate::store) changes: Vec<Change>,
    /// The encoded events.
    pub(in crate::store) events: Vec<u8>,
    /// The request with its record, if there is one and a job was leased.
    pub(in crate::store) request: Option<(RequestRecord, Vec<u8>)>,
    /// See [`crate::store::Claimed::is_partial`].
    pub(in crate::store) is_partial: bool,
}

/// A job that a claim leases or ends.
pub(in crate::store) struct Change {
    /// The article before the claim.
    pub(in crate::store) article: Arc<ArticleState>,
    /// The job after it.
    pub(in crate::store) job: Job,
    /// The job's record.
    pub(in crate::store) record: Vec<u8>,
}

/// Decides a claim on the jobs that `next` offers, the most urgent first; there is no article where it is damaged. A
/// record that could not be read back is refused.
pub(in crate::store) fn decide(
    claim: Claim,
    now: Timestamp,
    mut next: impl FnMut() -> Result<Option<(Option<Arc<ArticleState>>, JobKey)>>,
) -> Result<Decided> {
    let (mut changes, mut events, mut leased) = (Vec::new(), Vec::new(), Vec::new());
    let (mut grants, mut looked_at) = (claim.grants.iter(), 0);
    let mut grant = grants.next();
    while let Some(offered) = grant.filter(|_| looked_at < LOOKED_AT) {
        let Some((state, key)) = next()? else {
            grant = None;
            break;
        };
        looked_at += 1;
        let Some((state, job)) = state.and_then(|state| Some((state.clone(), state.jobs.get(&key)?.clone())))
        else {
            continue;
        };
        let article = job::Article {
            head: &state.head,
            slots: &state.slots,
            jobs: &state.jobs,
        };
        let Some((job, event)) = (claim.rule)(&article, &job, offered, now) else {
            continue;
        };
        if job.state == JobState::Leased {
            leased.push(job.id.clone());
            grant = grants.next();
        }
        let record = check_size(Some(&job.id.article), "translation job", codec::encode_job(&job))?;
        events.push(event);
        changes.push(Change {
            article: state,
            job,
            record,
        });
    }
    let mut encoded = codec::encode_events(&events, &claim.principal);
    if let Some(first) = events.first() {
        encoded = check_changes(Some(&first.article), encoded)?;
    }
    let request = claim.request.and_then(|request| request_of(request, leased));
    let request = request.map(|request| {
        let record = codec::encode_request(&request);
        let record = check_size(Some(&request.article), "request", record)?;
        Ok((request, record))
    });
    Ok(Decided {
        changes,
        events: encoded,
        request: request.transpose()?,
        is_partial: grant.is_some(),
    })
}

/// The request of a claim; `None` where nothing was leased.
fn request_of((key, digest): (RequestKey, [u8; 32]), leased: Vec<JobId>) -> Option<RequestRecord> {
    Some(RequestRecord {
        key,
        digest,
        stamp: Stamp::PENDING,
        article: leased.first()?.article.clone(),
        translation: None,
        jobs: leased,
        outcome: Outcome::Changed,
    })
}

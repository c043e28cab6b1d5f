//! What a commit needs and what it makes of an article: preconditions, limits and the state afterwards. Pure, and the same
//! for every engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec;
use crate::domain::article::ArticleId;
use crate::domain::job::{Job, Jobs};
use crate::domain::policy::TranslationPolicy;
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::error::{Conflict, Result, StoreError};
use crate::store::{ArticleState, Batch, Expect, Policies};

/// Checks that what the batch was decided on is what is stored.
pub(in crate::store) fn check(
    batch: &Batch,
    state: Option<&ArticleState>,
    policies: impl Fn() -> Result<Policies>,
) -> Result<()> {
    let article = || StoreError::Conflict(Conflict::Article(batch.article.clone()));
    for expect in &batch.expect {
        match expect {
            Expect::Head(version) => {
                if state.map(|state| state.head.version()) != *version {
                    return Err(article());
                }
            }
            Expect::Slot(language, version) => {
                let found = state
                    .and_then(|state| state.slots.get(language))
                    .map(|slot| slot.version);
                if found != *version {
                    let language = language.as_str().to_owned();
                    return Err(StoreError::Conflict(Conflict::Slot(
                        batch.article.clone(),
                        language,
                    )));
                }
            }
            Expect::Job(key, version) => {
                let found = state.and_then(|state| state.jobs.get(key)).map(|job| job.version);
                if found != *version {
                    let job = Conflict::Job(batch.article.clone(), key.clone());
                    return Err(StoreError::Conflict(job));
                }
            }
            Expect::Policies(seq) => check_policies(*seq, &policies()?)?,
            Expect::Slots(versions) => {
                let expected: BTreeMap<_, _> = versions.iter().map(|(language, v)| (language, *v)).collect();
                let found: BTreeMap<_, _> = state
                    .into_iter()
                    .flat_map(|state| &state.slots)
                    .map(|(language, slot)| (language, slot.version))
                    .collect();
                if expected != found {
                    return Err(article());
                }
            }
        }
    }
    Ok(())
}

/// Checks that no policy has changed since a decision.
pub(in crate::store) fn check_policies(expected: Seq, policies: &Policies) -> Result<()> {
    if policies.seq == expected {
        Ok(())
    } else {
        Err(StoreError::Conflict(Conflict::Policies))
    }
}

/// The most bytes of a record, before compression. Larger ones are refused on the way in: nothing is written that cannot be
/// read back.
pub(in crate::store) const MAX_RECORD: usize = 64 << 20;

/// The most bytes of the changes of a commit: one record of the log holds the changes of several.
const MAX_CHANGES: usize = MAX_RECORD / 2;

/// Checks that a record can be read back. Index rows and alias holders need no check: the head of their article holds all
/// that is in them.
pub(in crate::store) fn check_size(
    article: Option<&ArticleId>,
    record: &'static str,
    payload: Vec<u8>,
) -> Result<Vec<u8>> {
    at_most(MAX_RECORD, article, record, payload)
}

/// Checks that the record of the log that holds the changes of a commit can be read back.
pub(in crate::store) fn check_changes(article: Option<&ArticleId>, events: Vec<u8>) -> Result<Vec<u8>> {
    at_most(MAX_CHANGES, article, "changes", events)
}

/// The record of a policy.
pub(in crate::store) fn policy_record(policy: &TranslationPolicy) -> Result<Vec<u8>> {
    at_most(MAX_RECORD, None, "policy", codec::encode_policy(policy))
}

fn at_most(
    limit: usize,
    article: Option<&ArticleId>,
    record: &'static str,
    payload: Vec<u8>,
) -> Result<Vec<u8>> {
    if payload.len() <= limit {
        return Ok(payload);
    }
    Err(StoreError::TooLarge {
        article: article.cloned(),
        record,
        size_bytes: payload.len() as u64,
        limit_bytes: limit as u64,
    })
}

/// The stamp of the commit after `last`: numbers without gaps, times that strictly increase.
pub(in crate::store) fn next_stamp(last: Stamp, now: Timestamp) -> Stamp {
    Stamp {
        seq: last.seq + 1,
        time: now.max(last.time.saturating_add_micros(1)),
    }
}

/// Puts a job in the place of the newest of its key, and answers the one that it replaces for good.
pub(in crate::store) fn put_job(jobs: &mut Jobs, job: Job) -> Option<Arc<Job>> {
    let number = job.id.number;
    let last = jobs.insert(job.id.key.clone(), Arc::new(job));
    last.filter(|last| last.id.number != number)
}

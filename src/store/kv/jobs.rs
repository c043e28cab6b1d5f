//! Reads of jobs and policies.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::engine::Direction;
use super::shared::{Shared, corrupt};
use super::{codec, keys};
use crate::domain::article::ArticleId;
use crate::domain::job::{Job, JobKey};
use crate::domain::time::Seq;
use crate::store::Policies;
use crate::store::error::Result;

/// The newest jobs of their keys after a place.
pub(super) fn after(
    core: &Shared,
    after: Option<&(ArticleId, JobKey)>,
    limit: usize,
) -> Result<Vec<Arc<Job>>> {
    // A key's successor in byte order is the key with a zero byte behind it.
    let from = after.map_or_else(
        || b"j".to_vec(),
        |(id, key)| [keys::job(id, key).as_slice(), &[0]].concat(),
    );
    read(core, &from, b"j", limit)
}

/// The ended jobs of an article that newer ones have replaced.
pub(super) fn replaced(core: &Shared, article: &ArticleId) -> Result<Vec<Arc<Job>>> {
    if core.tombstone(article)?.is_some() {
        return Ok(Vec::new());
    }
    let prefix = keys::replaced_jobs(article);
    read(core, &prefix, &prefix, usize::MAX)
}

fn read(core: &Shared, from: &[u8], prefix: &[u8], limit: usize) -> Result<Vec<Arc<Job>>> {
    let mut jobs = Vec::new();
    core.scan(
        from,
        &keys::above(prefix),
        Direction::Forward,
        |key, stamp, payload| {
            if jobs.len() >= limit {
                return Ok(ControlFlow::Break(()));
            }
            jobs.push(Arc::new(
                codec::decode_job(&payload, stamp).map_err(corrupt(key))?,
            ));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(jobs)
}

/// The policies as they are after the last commit.
pub(super) fn policies(core: &Shared, last: Seq) -> Result<Policies> {
    let mut policies = Vec::new();
    core.scan(b"n", &keys::above(b"n"), Direction::Forward, |key, _, payload| {
        policies.push(codec::decode_policy(&payload).map_err(corrupt(key))?);
        Ok(ControlFlow::Continue(()))
    })?;
    let all = policies.into();
    Ok(Policies { seq: last, all })
}

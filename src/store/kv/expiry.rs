//! Records that are forgotten in time: requests, and ended jobs that were replaced. Each has an entry by the time from which
//! on it ages, so that expired records are the beginning of a range.

use std::ops::ControlFlow;

use super::engine::{Direction, Write};
use super::envelope::Sealed;
use super::shared::{Shared, corrupt};
use super::{codec, keys};
use crate::domain::job::{Job, JobId};
use crate::domain::time::{Stamp, Timestamp};
use crate::store::error::Result;

/// Records that one call of [`Store::expire_requests`] forgets at most.
///
/// [`Store::expire_requests`]: crate::store::Store::expire_requests
const EXPIRE_AT_ONCE: usize = 2_000;

/// The entry of a record that ages from a commit on.
pub(super) fn entry(aging: Stamp, key: &[u8]) -> Write {
    Write::Put(keys::expiry(aging.time, key), Sealed::plain(&[]).stamped(aging))
}

/// The removals of the oldest records that age from before a time on, and whether there may be more.
pub(super) fn expired(core: &Shared, before: Timestamp) -> Result<(Vec<Write>, bool)> {
    let mut writes = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        let aging = keys::aging(key).map(|(_, aging)| Write::Remove(aging.to_vec()));
        writes.extend(aging.into_iter().chain([Write::Remove(key.to_vec())]));
        if writes.len() < 2 * EXPIRE_AT_ONCE {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let to = keys::expiry(before, &[]);
    core.engine
        .scan(b"y".as_slice()..=&to, Direction::Forward, &mut visit)?;
    let more = writes.len() >= 2 * EXPIRE_AT_ONCE;
    Ok((writes, more))
}

/// The commit by which a job was replaced: the next one of its key was opened by it.
pub(super) fn replaced_by(core: &Shared, job: &Job) -> Result<Stamp> {
    let next = JobId {
        number: job.id.number + 1,
        ..job.id.clone()
    };
    for key in [keys::replaced_job(&next), keys::job(&next.article, &next.key)] {
        if let Some((stamp, payload)) = core.get(&key)? {
            let found = codec::decode_job(&payload, stamp).map_err(corrupt(&key))?;
            if found.id == next {
                return Ok(found.opened);
            }
        }
    }
    Ok(job.changed)
}

/// Derives the entries of all records that expire.
pub(super) fn derive(core: &Shared, mut entry_of: impl FnMut(Write)) -> Result<()> {
    core.scan(b"r", &keys::above(b"r"), Direction::Forward, |key, stamp, _| {
        entry_of(entry(stamp, key));
        Ok(ControlFlow::Continue(()))
    })?;
    core.scan(
        b"k",
        &keys::above(b"k"),
        Direction::Forward,
        |key, stamp, payload| {
            let job = codec::decode_job(&payload, stamp).map_err(corrupt(key))?;
            entry_of(entry(replaced_by(core, &job)?, key));
            Ok(ControlFlow::Continue(()))
        },
    )
}

//! Walks over the log: changes, and requests and replaced jobs that are old enough to forget.

use std::ops::ControlFlow;

use super::core::{Core, corrupt};
use super::engine::{Direction, Write};
use super::{codec, envelope, keys, records};
use crate::domain::article::ArticleId;
use crate::domain::change::{Commit, Event, JobStep, Kind};
use crate::domain::job::{JobId, JobKey};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::error::Result;

/// Commits whose requests one call of [`Store::expire_requests`] forgets at most.
const EXPIRE_AT_ONCE: usize = 2_000;

/// Commits after a number up to the durable head.
pub(super) fn changes(core: &Core, after: Seq, head: Seq, limit: usize) -> Result<Vec<Commit>> {
    let mut commits = Vec::new();
    log_after(core, after, |stamp, events| {
        if stamp.seq > head || commits.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        let (events, _) = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        commits.push(Commit { stamp, events });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(commits)
}

/// Visits the commits of the log after a number, with their encoded events.
pub(super) fn log_after(
    core: &Core,
    after: Seq,
    mut visit: impl FnMut(Stamp, &[u8]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    // The commit after `after` may be inside a group that begins before it.
    let mut from = keys::log(after.saturating_add(1));
    core.engine.scan(
        keys::log(0).as_slice()..=&from.clone(),
        Direction::Backward,
        &mut |key, _| {
            from = key.to_vec();
            ControlFlow::Break(())
        },
    )?;
    core.scan(
        &from,
        &keys::above(b"l"),
        Direction::Forward,
        |key, _, payload| {
            let group = codec::Group::decode(&payload).map_err(corrupt(key))?;
            for (seq, (time, events)) in (group.first..).zip(&group.commits) {
                if seq > after && visit(Stamp { seq, time: *time }, events)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        },
    )
}

/// Articles whose embargo has ended at a time, in the order of the ends.
pub(super) fn due_embargoes(core: &Core, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>> {
    let mut due = Vec::new();
    let to = keys::above(&keys::embargo(now, ""));
    core.engine
        .scan(b"e".as_slice()..=&to, Direction::Forward, &mut |key, _| {
            due.extend(keys::embargo_of(key).map(|(_, id)| id));
            if due.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    Ok(due)
}

/// The job that was replaced by one that an event opened.
fn replaced_job(event: &Event) -> Option<JobId> {
    let Kind::Job {
        step: JobStep::Opened,
        kind,
        number,
    } = event.kind
    else {
        return None;
    };
    Some(JobId {
        article: event.article.clone(),
        key: JobKey {
            language: event.language.clone()?,
            kind,
        },
        number: number.checked_sub(1).filter(|number| *number > 0)?,
    })
}

/// The removals of requests recorded before a time, and of jobs replaced before it, following the log from where the last call stopped, and whether there
/// may be more.
pub(super) fn expired_requests(core: &Core, before: Timestamp) -> Result<(Vec<Write>, bool)> {
    use prost::Message;
    let start = match core.get(keys::REQUEST_CURSOR)? {
        Some((_, payload)) => {
            let cursor: records::Cursor = codec::message(&payload).map_err(corrupt(keys::REQUEST_CURSOR))?;
            cursor.seq
        }
        None => 0,
    };
    let (mut writes, mut seen, mut last) = (Vec::new(), 0, None);
    log_after(core, start, |stamp, events| {
        if stamp.time >= before || seen >= EXPIRE_AT_ONCE {
            return Ok(ControlFlow::Break(()));
        }
        seen += 1;
        last = Some(stamp);
        let (events, key) = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        writes.extend(key.map(Write::Remove));
        let replaced = events.iter().filter_map(replaced_job);
        writes.extend(replaced.map(|job| Write::Remove(keys::replaced_job(&job))));
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(last) = last {
        let cursor = envelope::Sealed::new(&records::Cursor { seq: last.seq }.encode_to_vec()).stamped(last);
        writes.push(Write::Put(keys::REQUEST_CURSOR.to_vec(), cursor));
    }
    Ok((writes, seen >= EXPIRE_AT_ONCE))
}

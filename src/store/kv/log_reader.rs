//! Readers of the change log: changes, and requests and replaced jobs whose retention has ended.

use std::ops::ControlFlow;

use prost::Message;

use super::engine::{Direction, Write};
use super::shared::{Shared, corrupt};
use super::{codec, envelope, keys, records, trim};
use crate::domain::article::ArticleId;
use crate::domain::change::{Commit, Event, JobStep, Kind};
use crate::domain::job::{JobId, JobKey};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::Changes;
use crate::store::error::Result;

/// Commits whose requests one call of [`Store::expire_requests`] forgets at most.
const EXPIRE_AT_ONCE: usize = 2_000;

/// Commits after a number up to the durable head.
pub(super) fn changes(core: &Shared, after: Seq, head: Seq, limit: usize) -> Result<Changes> {
    let mut commits = Vec::new();
    log_after(core, after, |stamp, events| {
        if stamp.seq > head || commits.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        let logged = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        commits.push(Commit {
            stamp,
            events: logged.events,
            principal: logged.principal,
        });
        Ok(ControlFlow::Continue(()))
    })?;
    // Read last: what it says is gone may have been gone before the log was read, and what it does not was there.
    let floor = trim::floor(core)?;
    if after < floor {
        commits.clear();
    }
    Ok(Changes { commits, floor, head })
}

/// Visits the commits of the log after a number, with their encoded events.
pub(super) fn log_after(
    core: &Shared,
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
pub(super) fn due_embargoes(core: &Shared, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>> {
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
pub(super) fn expired_requests(core: &Shared, before: Timestamp) -> Result<(Vec<Write>, bool)> {
    let (mut writes, mut seen, mut last) = (Vec::new(), 0, None);
    log_after(core, requests_passed(core)?, |stamp, events| {
        if stamp.time >= before || seen >= EXPIRE_AT_ONCE {
            return Ok(ControlFlow::Break(()));
        }
        seen += 1;
        last = Some(stamp);
        let logged = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        writes.extend(logged.request_key.map(Write::Remove));
        let replaced = logged.events.iter().filter_map(replaced_job);
        writes.extend(replaced.map(|job| Write::Remove(keys::replaced_job(&job))));
        Ok(ControlFlow::Continue(()))
    })?;
    writes.extend(last.map(|last| cursor_write(keys::REQUEST_CURSOR, last)));
    Ok((writes, seen >= EXPIRE_AT_ONCE))
}

/// The newest commit whose request is forgotten, if it had one.
pub(super) fn requests_passed(core: &Shared) -> Result<Seq> {
    cursor(core, keys::REQUEST_CURSOR)
}

/// The commit in a record of the store; 0 without one.
pub(super) fn cursor(core: &Shared, key: &[u8]) -> Result<Seq> {
    let Some((_, payload)) = core.get(key)? else {
        return Ok(0);
    };
    let cursor: records::Cursor = codec::message(&payload).map_err(corrupt(key))?;
    Ok(cursor.seq)
}

/// Puts a commit into a record of the store.
pub(super) fn cursor_write(key: &[u8], commit: Stamp) -> Write {
    let cursor = records::Cursor { seq: commit.seq };
    let record = envelope::Sealed::new(&cursor.encode_to_vec()).stamped(commit);
    Write::Put(key.to_vec(), record)
}

//! Readers of the change log.

use std::ops::ControlFlow;

use super::engine::Direction;
use super::shared::{Shared, corrupt};
use super::{codec, keys, trim};
use crate::domain::change::Commit;
use crate::domain::time::{Seq, Stamp};
use crate::store::Changes;
use crate::store::error::Result;

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

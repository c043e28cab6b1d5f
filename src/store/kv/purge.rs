//! Purging: everything that is stored of an article, found and removed. What is left is a tombstone.
//!
//! Change log and request records stay: they hold ids, hashes and the values that filters look at, and no text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::codec;
use super::engine::{Direction, Write};
use super::shared::{Shared, corrupt};
use super::{indexes, keys, log_reader, orphan_bodies};
use crate::domain::article::ArticleId;
use crate::domain::history::{BodyRef, History};
use crate::domain::query::Axis;
use crate::store::ArticleState;
use crate::store::error::{Result, StoreError};

/// The bodies of all versions of an article and its translations. The list is complete for this very state: every
/// write that adds a body moves the version of the head or of a slot.
pub(super) fn bodies_of(core: &Shared, state: &ArticleState) -> Result<Vec<BodyRef>> {
    let slots = || state.slots.values();
    let translations = slots().flat_map(|slot| &slot.translations);
    let histories = [&state.head.current.history, &state.head.revisions]
        .into_iter()
        .chain(slots().map(|slot| &slot.selections))
        .chain(translations.map(|translation| &translation.history));
    let mut bodies = BTreeSet::new();
    for history in histories {
        match follow(core, history, &mut bodies) {
            Ok(()) => {}
            // A damaged version hides the way to those before it, but not their commits.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::warn!(%error, "an article to purge is damaged; its versions are looked up in the change log");
                logged(core, &state.head.id, &mut bodies)?;
                orphan_bodies::find(core, state, &mut bodies)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bodies.into_iter().collect())
}

/// What to remove of an article but its aliases, its replaced jobs and what is derived from its slots and jobs.
pub(super) fn removals(state: &ArticleState, bodies: &[BodyRef]) -> Vec<Write> {
    let head = &state.head;
    let rows = Axis::ALL.map(|axis| indexes::index_key(head, axis));
    let slots = state.slots.keys().map(|language| keys::slot(&head.id, language));
    let jobs = state.jobs.keys().map(|key| keys::job(&head.id, key));
    bodies
        .iter()
        .map(|body| keys::body(*body))
        .chain(rows)
        .chain(slots)
        .chain(jobs)
        .chain(indexes::timer_key(head))
        .chain([keys::segment_history(&head.id), keys::head(&head.id)])
        .map(Write::Remove)
        .collect()
}

/// The keys of the ended jobs of an article that newer ones have replaced.
pub(super) fn replaced_jobs(core: &Shared, id: &ArticleId) -> Result<Vec<Vec<u8>>> {
    let prefix = keys::replaced_jobs(id);
    let mut found = Vec::new();
    core.engine.scan(
        prefix.as_slice()..=&keys::above(&prefix),
        Direction::Forward,
        &mut |key, _| {
            found.push(key.to_vec());
            ControlFlow::Continue(())
        },
    )?;
    Ok(found)
}

/// Goes back from the newest version: each knows the one before it.
fn follow(core: &Shared, newest: &History, bodies: &mut BTreeSet<BodyRef>) -> Result<()> {
    bodies.insert(newest.newest.body());
    let mut next = newest.earlier.first().copied();
    while let Some(version) = next {
        bodies.insert(version.body());
        let body = core.stored_body(version.body())?;
        next = body.history().earlier.first().copied();
    }
    Ok(())
}

/// The bodies of all commits that say to have changed the article: a commit is about one article.
fn logged(core: &Shared, id: &ArticleId, bodies: &mut BTreeSet<BodyRef>) -> Result<()> {
    log_reader::log_after(core, 0, |stamp, events| {
        let logged = codec::decode_events(events).map_err(corrupt(&keys::log(stamp.seq)))?;
        if logged.events.iter().any(|event| event.article == *id) {
            bodies.extend(bodies_in(core, stamp.seq)?);
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// The bodies that a commit wrote and that are there still.
pub(super) fn bodies_in(core: &Shared, seq: u64) -> Result<Vec<BodyRef>> {
    let body = |part| keys::body(BodyRef { seq, part });
    let mut found = Vec::new();
    core.engine.scan(
        body(0).as_slice()..=&body(u16::MAX),
        Direction::Forward,
        &mut |key, _| {
            found.extend(keys::body_of(key));
            ControlFlow::Continue(())
        },
    )?;
    Ok(found)
}

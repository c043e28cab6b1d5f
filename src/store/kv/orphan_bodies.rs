//! Finds the bodies of a damaged article whose commits are no longer in the log.
//!
//! A body does not name its article. Orphans are found by following version links from both ends: from the newest versions,
//! which the article names, and from the commits that created the article and its translations.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use super::engine::Direction;
use super::shared::Shared;
use super::{codec, envelope, keys, purge, trim};
use crate::domain::history::BodyRef;
use crate::domain::time::Seq;
use crate::store::error::Result;
use crate::store::{ArticleState, Body};

/// Adds the bodies of an article up to the floor of the log, as far as what can be read leads to them. Reads all bodies
/// up to there, some times over.
pub(super) fn find(core: &Shared, state: &ArticleState, bodies: &mut BTreeSet<BodyRef>) -> Result<()> {
    let floor = trim::floor(core)?;
    if floor == 0 {
        return Ok(());
    }
    let translations = state.slots.values().flat_map(|slot| &slot.translations);
    let created = translations.map(|translation| translation.created.seq);
    let mut commits: HashSet<Seq> = bodies
        .iter()
        .map(|body| body.seq)
        .chain(created)
        .chain([state.head.current.created.seq])
        .collect();
    loop {
        let known = commits.len();
        pass(core, state, floor, &mut commits)?;
        if commits.len() == known {
            break;
        }
    }
    for seq in commits {
        bodies.extend(purge::bodies_in(core, seq)?);
    }
    Ok(())
}

/// Adds the commits of all bodies that belong to one of these commits, in either direction.
fn pass(core: &Shared, state: &ArticleState, floor: Seq, commits: &mut HashSet<Seq>) -> Result<()> {
    core.engine.scan(
        b"b".as_slice()..=&keys::bodies_up_to(floor),
        Direction::Forward,
        &mut |key, record| {
            // What cannot be read is found by its commit, or by those that know it.
            let opened = envelope::open(record, || keys::readable(key)).ok();
            let body = opened.and_then(|(stamp, payload)| codec::decode_body(&payload, stamp).ok());
            if let (Some(place), Some(body)) = (keys::body_of(key), body) {
                let earlier = || body.history().earlier.iter().map(|version| version.stamp.seq);
                let is_named = match &body {
                    Body::Article(version) => commits.contains(&version.created.seq),
                    Body::Translation(version) => commits.contains(&version.head.created.seq),
                    Body::Dropped(dropped) => dropped.article == state.head.id,
                    Body::Revision(_) | Body::Selection(_) => false,
                };
                if is_named || commits.contains(&place.seq) || earlier().any(|seq| commits.contains(&seq)) {
                    commits.insert(place.seq);
                    commits.extend(earlier());
                }
            }
            ControlFlow::Continue(())
        },
    )
}

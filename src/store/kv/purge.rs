//! Purging: finds everything that is stored of an article, to remove it. What is left is a tombstone.
//!
//! The commit of a purge removes all that makes the article visible, and a bounded number of other records. If there are
//! more, a marker names the article until housekeeping has removed them, a bounded number at a time; readers do not see
//! them, and the check and dumps pass over them.
//!
//! Change log and request records stay: they hold ids, hashes and the values that filters look at, and no text.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::engine::{Direction, Write};
use super::shared::{Shared, corrupt};
use super::{codec, indexes, keys};
use crate::domain::article::ArticleId;
use crate::domain::query::Axis;
use crate::domain::time::Seq;
use crate::domain::version::VersionKey;
use crate::store::ArticleState;
use crate::store::error::Result;

/// Records that are removed at once, at most, besides those that make the article visible.
const AT_ONCE: usize = 1_000;

/// What the commit of a purge removes.
#[derive(Default)]
pub(super) struct Removal {
    pub(super) keys: Vec<Vec<u8>>,
    /// Whether nothing is left to housekeeping.
    pub(super) is_whole: bool,
}

impl Removal {
    /// The removal of an article, but for what is derived from its slots and jobs.
    pub(super) fn of(core: &Shared, state: &ArticleState) -> Result<Self> {
        let mut keys = history(core, &state.head.id, AT_ONCE)?;
        let is_whole = keys.len() < AT_ONCE;
        keys.extend(visible(core, state)?);
        Ok(Self { keys, is_whole })
    }
}

/// The keys of all that makes an article visible.
fn visible(core: &Shared, state: &ArticleState) -> Result<Vec<Vec<u8>>> {
    let head = &state.head;
    let newest = state.series().map(|(series, version)| {
        let article = head.id.clone();
        let number = version.number;
        keys::body(
            version.stamp.seq,
            &VersionKey {
                article,
                series,
                number,
            },
        )
    });
    let slots_and_jobs = [keys::slots(&head.id), keys::jobs(&head.id)];
    let preimages = slots_and_jobs.map(|prefix| keys::preimage(&prefix));
    Ok(newest
        .chain(Axis::ALL.map(|axis| indexes::index_key(head, axis)))
        .chain(state.slots.keys().map(|language| keys::slot(&head.id, language)))
        .chain(state.jobs.keys().map(|key| keys::job(&head.id, key)))
        .chain(head.aliases.iter().map(keys::alias))
        .chain(indexes::timer_key(head))
        .chain([keys::head(&head.id), keys::preimage(&keys::head(&head.id))])
        .chain([keys::segment_history(&head.id)])
        .chain(keys_under(core, &preimages, usize::MAX)?)
        .collect())
}

/// The keys of the other records of an article: superseded versions, replaced jobs, deltas and their rows. As many as `limit`
/// and one more, because a version goes with its place.
fn history(core: &Shared, article: &ArticleId, limit: usize) -> Result<Vec<Vec<u8>>> {
    // Rows are last: as long as there is a delta, its rows may be derived again.
    let prefixes = [
        keys::superseded_of(article),
        keys::replaced_jobs(article),
        keys::deltas(article),
        keys::rows(article),
    ];
    keys_under(core, &prefixes, limit)
}

/// The first keys of these prefixes, and with each place of a version the version's.
pub(super) fn keys_under(core: &Shared, prefixes: &[Vec<u8>], limit: usize) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for prefix in prefixes {
        if found.len() >= limit {
            break;
        }
        core.engine.scan(
            prefix.as_slice()..=&keys::above(prefix),
            Direction::Forward,
            &mut |key, _| {
                let superseded = keys::superseded_version(key);
                found.extend(superseded.map(|(seq, version)| keys::body(seq, &version)));
                found.push(key.to_vec());
                if found.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
    }
    Ok(found)
}

/// The articles whose purge is not finished.
pub(super) fn unfinished(core: &Shared) -> Result<HashSet<ArticleId>> {
    let mut articles = HashSet::new();
    let (from, to) = (keys::purging_prefix(), keys::above(&keys::purging_prefix()));
    core.scan(&from, &to, Direction::Forward, |key, _, _| {
        let article = keys::purging_of(key)
            .ok_or_else(|| corrupt(key)(codec::Malformed("its key cannot be read".into())))?;
        articles.insert(article);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(articles)
}

/// The keys of everything of an article in a store that is being filled; `state` is the article if there is one.
pub(super) fn all(core: &Shared, article: &ArticleId, state: Option<&ArticleState>) -> Result<Vec<Vec<u8>>> {
    let mut keys = history(core, article, usize::MAX)?;
    keys.extend(keys_under(
        core,
        &[keys::slots(article), keys::jobs(article)],
        usize::MAX,
    )?);
    if let Some(state) = state {
        keys.extend(visible(core, state)?);
    }
    Ok(keys)
}

/// The next removals of a purge that is not finished, with the commit that must be durable before; none when all are.
pub(super) fn step(core: &Shared) -> Result<(Vec<Write>, Seq)> {
    let (from, to) = (keys::purging_prefix(), keys::above(&keys::purging_prefix()));
    let mut next = None;
    core.scan(&from, &to, Direction::Forward, |key, stamp, _| {
        next = keys::purging_of(key).map(|article| (article, stamp.seq));
        Ok(ControlFlow::Break(()))
    })?;
    let Some((article, seq)) = next else {
        return Ok((Vec::new(), 0));
    };
    let mut keys = history(core, &article, AT_ONCE)?;
    if keys.len() < AT_ONCE {
        keys.push(keys::purging(&article));
    }
    Ok((keys.into_iter().map(Write::Remove).collect(), seq))
}

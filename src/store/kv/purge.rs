//! Purging: everything that is stored of an article, found and removed. What is left is a tombstone.
//!
//! Change log and request records stay: they hold ids, hashes and the values that filters look at, and no text.

use std::ops::ControlFlow;

use super::engine::Direction;
use super::shared::Shared;
use super::{indexes, keys};
use crate::domain::query::Axis;
use crate::domain::version::VersionKey;
use crate::store::ArticleState;
use crate::store::error::Result;

/// The keys of all that is stored of an article, but for what is derived from its slots and jobs.
pub(super) fn keys_of(core: &Shared, state: &ArticleState) -> Result<Vec<Vec<u8>>> {
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
    let mut found: Vec<_> = newest
        .chain(Axis::ALL.map(|axis| indexes::index_key(head, axis)))
        .chain(state.slots.keys().map(|language| keys::slot(&head.id, language)))
        .chain(state.jobs.keys().map(|key| keys::job(&head.id, key)))
        .chain(head.aliases.iter().map(keys::alias))
        .chain(indexes::timer_key(head))
        .chain([keys::head(&head.id), keys::segment_history(&head.id)])
        .collect();
    for prefix in [
        keys::superseded_of(&head.id),
        keys::replaced_jobs(&head.id),
        keys::deltas(&head.id),
        keys::rows(&head.id),
    ] {
        core.engine.scan(
            prefix.as_slice()..=&keys::above(&prefix),
            Direction::Forward,
            &mut |key, _| {
                let superseded = keys::superseded_version(key);
                found.extend(superseded.map(|(seq, version)| keys::body(seq, &version)));
                found.push(key.to_vec());
                ControlFlow::Continue(())
            },
        )?;
    }
    Ok(found)
}

//! Preimages: records as they were at the moment of a dump, which the writer copies when it overwrites them (copy-on-write).
//! The engine has no snapshots; this is one for the few kinds of records that are overwritten.
//!
//! What a dump leaves of them, or a crash, is removed before the next dump, and by housekeeping.

use std::collections::BTreeSet;

use crate::store::error::Result;
use crate::store::kv::engine::Write;
use crate::store::kv::shared::Shared;
use crate::store::kv::{envelope, keys, purge};

/// The prefixes of records that are overwritten: heads, slots and jobs.
pub(super) const OVERWRITTEN: &[u8; 3] = b"hsj";

/// Preimages that are removed at once, at most.
const REMOVED: usize = 1_000;

/// The preimages that belong into the batch of these writes; none while no dump reads what they overwrite. An article that
/// is purged leaves none.
pub(in crate::store::kv) fn of(core: &Shared, writes: &[Write]) -> Result<Vec<Write>> {
    let Some(moment) = core.dump.lock().as_ref().and_then(|dump| dump.moment) else {
        return Ok(Vec::new());
    };
    let mut overwritten = BTreeSet::new();
    for write in writes {
        let key = write.key();
        if key.first().is_some_and(|prefix| OVERWRITTEN.contains(prefix)) {
            match write {
                Write::Put(..) => overwritten.insert(key),
                Write::Remove(_) => overwritten.remove(key),
            };
        }
    }
    let mut preimages = Vec::new();
    for key in overwritten {
        if let Some(record) = core.engine.get(key)?
            && envelope::seq(&record).is_none_or(|seq| seq <= moment)
        {
            preimages.push(Write::Put(keys::preimage(key), record));
        }
    }
    Ok(preimages)
}

/// Removals of preimages, a bounded number; none when there are none.
pub(in crate::store::kv) fn leftover(core: &Shared) -> Result<Vec<Write>> {
    let keys = purge::keys_under(core, &[keys::preimage(&[])], REMOVED)?;
    Ok(keys.into_iter().map(Write::Remove).collect())
}

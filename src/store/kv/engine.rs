//! The ordered key-value engine under the kv store: small, synchronous, without rules.
//!
//! An engine knows bytes only. It gives four promises that the kv store builds on:
//! 1. `apply` is atomic: after a crash all of a batch is there or nothing of it.
//! 2. What was applied before `flush` + `sync` returned survives power loss.
//! 3. Batches survive in order: if a later one is there, so are all earlier ones.
//! 4. `get` and `scan` see whole batches that were applied, durable or not.
//!
//! One writer calls `apply` and `flush`; `sync` may run in another thread beside them; readers are many.

use std::ops::{ControlFlow, RangeInclusive};

use crate::store::error::Result;
use crate::store::{Progress, Sizes};

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a value, replacing the one that is there.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; a missing one is no error.
    Remove(Vec<u8>),
}

impl Write {
    /// The key that it changes.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put(key, _) | Self::Remove(key) => key,
        }
    }
}

/// The order in which a scan visits keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// Callback of a scan, called with key and value of each entry. It may call the engine.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Result of a compaction step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compacting {
    /// There is more to do.
    Going(Progress),
    /// The next `reopen` finishes it.
    Ready,
    /// There is nothing to gain for this engine.
    Needless,
}

/// An ordered map of byte strings with atomic, durable batches.
///
/// Keys are 1 to 512 bytes and never start with `0xFF` (reserved for the engine). Values are at most 64 MiB.
pub trait Engine: Send + Sync + 'static {
    /// The engine's name, such as `sled`.
    fn name(&self) -> &'static str;

    /// Where the engine keeps its data, for the operator.
    fn location(&self) -> String;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Visits the entries whose keys lie in `range` until `visit` breaks.
    ///
    /// A scan is no snapshot: each entry is one that was there during the scan, but batches may be applied
    /// between two of them.
    fn scan(&self, range: RangeInclusive<&[u8]>, direction: Direction, visit: &mut Visitor<'_>)
    -> Result<()>;

    /// Whether there is room to write now: `Full` when the volume is below the floor.
    fn admit(&self) -> Result<()>;

    /// Applies all writes or none, the last one of a key counting. They are visible at once, and durable after
    /// the next `flush` and `sync`. On `OutcomeUnknown` they may survive or not; on any other error nothing was
    /// applied. `Corrupt` names a key of the batch whose old value cannot be read; other keys can be written.
    ///
    /// Unflushed writes take memory: flush at least every 8 MB of a bulk load.
    fn apply(&self, batch: Vec<Write>) -> Result<()>;

    /// Hands everything applied so far to the operating system. Called by the writer only.
    /// After an error of `apply`, `flush` or `sync`, all three fail until `reopen`.
    fn flush(&self) -> Result<()>;

    /// Makes everything flushed so far survive power loss. May run beside `apply` and `flush`.
    fn sync(&self) -> Result<()>;

    /// Whether the writer should call `reopen` when it is next idle or between two groups.
    fn wants_reopen(&self) -> bool;

    /// Begins a compaction, or takes it a step further: some milliseconds of work, by the thread that applies. `Full`
    /// where the volume has no room for it. After an error there is none, and nothing has changed.
    fn compact(&self) -> Result<Compacting>;

    /// Gives up a compaction, if there is one.
    fn stop_compacting(&self);

    /// Closes and opens the engine again: after an error, from time to time to bound recovery, and to finish a
    /// compaction that is ready.
    /// Readers wait meanwhile. Everything that was synced is there afterwards; of what was not, some may be.
    ///
    /// No group may be between its `apply` and the return of its `sync`: after an error its `sync` could succeed
    /// on the reopened engine and acknowledge what is gone. If reopening fails, everything is `Unavailable`
    /// until it is tried again with success. An `Open` error is for the operator: it names paths.
    fn reopen(&self) -> Result<()>;

    /// Sizes for status and metrics.
    fn sizes(&self) -> Result<Sizes>;

    /// Flushes, syncs and closes; every later call fails with `Closed`. Closing twice is no error.
    fn close(&self) -> Result<()>;
}

/// Writes a part of much, by the only thread that writes. The engine is reopened in time, so that the next open reads no
/// more log than after any other writes.
pub(super) fn write_part(engine: &dyn Engine, part: Vec<Write>) -> Result<()> {
    engine.apply(part)?;
    engine.flush()?;
    if engine.wants_reopen() {
        engine.sync()?;
        engine.reopen()?;
    }
    Ok(())
}

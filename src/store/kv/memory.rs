//! An engine in memory: for tests, and as the model that property tests compare other engines with.
//!
//! Nothing survives the process, so it must not be offered as a store for real articles. A failure can be
//! ordered (`fail_next_sync`), because the rules for a failed engine are hard to meet on a healthy disk.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::store::Sizes;
use crate::store::error::{Result, StoreError};
use crate::store::kv::engine::{Compacting, Direction, Engine, Visitor, Write};

/// Entries that a scan copies at once.
const PIECE: usize = 64;

/// A `BTreeMap` behind the engine's promises; "durable" means "in the map".
#[derive(Debug)]
pub struct MemoryEngine {
    /// `None` once closed.
    entries: RwLock<Option<BTreeMap<Vec<u8>, Vec<u8>>>>,
    sync_fails: AtomicBool,
    failed: AtomicBool,
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self {
            entries: RwLock::new(Some(BTreeMap::new())),
            sync_fails: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Lets the next `sync` fail as a full or broken disk would: writes are refused until `reopen`.
    pub fn fail_next_sync(&self) {
        self.sync_fails.store(true, Ordering::Release);
    }

    fn read<T>(&self, call: impl FnOnce(&BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> Result<T> {
        self.entries.read().as_ref().map(call).ok_or(StoreError::Closed)
    }

    fn check_writable(&self, refusal: StoreError) -> Result<()> {
        self.read(|_| ())?;
        if self.failed.load(Ordering::Acquire) {
            Err(refusal)
        } else {
            Ok(())
        }
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemoryEngine {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn location(&self) -> String {
        "memory".into()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(|entries| entries.get(key).cloned())
    }

    fn scan(
        &self,
        range: RangeInclusive<&[u8]>,
        direction: Direction,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        if range.start() > range.end() {
            return self.read(|_| ());
        }
        let mut bounds = (
            Bound::Included(range.start().to_vec()),
            Bound::Included(range.end().to_vec()),
        );
        loop {
            // Copied out first, so that `visit` may call the engine; in pieces, as most visitors break early.
            let piece: Vec<_> = self.read(|entries| {
                let entries = entries.range(bounds.clone()).map(|(k, v)| (k.clone(), v.clone()));
                match direction {
                    Direction::Forward => entries.take(PIECE).collect(),
                    Direction::Backward => entries.rev().take(PIECE).collect(),
                }
            })?;
            if piece.iter().any(|(key, value)| visit(key, value).is_break()) {
                return Ok(());
            }
            match piece.into_iter().nth(PIECE - 1) {
                None => return Ok(()),
                Some((last, _)) if direction == Direction::Forward => bounds.0 = Bound::Excluded(last),
                Some((last, _)) => bounds.1 = Bound::Excluded(last),
            }
        }
    }

    fn admit(&self) -> Result<()> {
        self.read(|_| ())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<()> {
        let mut entries = self.entries.write();
        let entries = entries.as_mut().ok_or(StoreError::Closed)?;
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable {
                reason: "a sync failed".to_owned(),
            });
        }
        for write in batch {
            match write {
                Write::Put(key, value) => entries.insert(key, value),
                Write::Remove(key) => entries.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.check_writable(StoreError::OutcomeUnknown)
    }

    fn sync(&self) -> Result<()> {
        if self.sync_fails.swap(false, Ordering::AcqRel) {
            self.failed.store(true, Ordering::Release);
        }
        self.check_writable(StoreError::OutcomeUnknown)
    }

    fn wants_reopen(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn compact(&self) -> Result<Compacting> {
        self.read(|_| Compacting::Needless)
    }

    fn stop_compacting(&self) {}

    fn reopen(&self) -> Result<()> {
        self.read(|_| self.failed.store(false, Ordering::Release))
    }

    fn sizes(&self) -> Result<Sizes> {
        self.read(|entries| Sizes {
            live_bytes: entries
                .iter()
                .map(|(key, value)| (key.len() + value.len()) as u64)
                .sum(),
            disk_bytes: 0,
            available_bytes: u64::MAX,
            floor_bytes: 0,
        })
    }

    fn close(&self) -> Result<()> {
        *self.entries.write() = None;
        Ok(())
    }
}

//! A disk that fails, hangs and loses what was not synced, as the tests tell it.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use article_store::clock::SystemClock;
use article_store::store::Sizes;
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Compacting, Direction, Engine, Visitor, Write};
use article_store::store::kv::memory::MemoryEngine;
use article_store::store::{Result, StoreError};
use parking_lot::{Condvar, Mutex};

/// The memory engine as a disk that forgets, when it is reopened after a failure, what was not synced. Syncs can be held
/// up, and reopening can be refused.
#[derive(Clone, Default)]
pub(crate) struct Disk(pub(super) Arc<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) memory: MemoryEngine,
    /// What takes back the writes that are not synced, oldest first.
    undo: Mutex<Vec<Write>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    /// Syncs that may go on all the same.
    passes: usize,
    waiting: usize,
    reads: usize,
    broken: bool,
    down: bool,
    reopened: usize,
    /// After this number of calls.
    apply_panics: Option<usize>,
    sync_panics: bool,
}

impl Disk {
    /// Holds up syncs from now on.
    pub(crate) fn hold(&self) {
        self.0.state.lock().held = true;
    }

    /// Lets them go on.
    pub(crate) fn release(&self) {
        self.0.state.lock().held = false;
        self.0.changed.notify_all();
    }

    /// Lets the one that is held up go on; the next one is held up again.
    pub(crate) fn release_one(&self) {
        self.0.state.lock().passes += 1;
        self.0.changed.notify_all();
    }

    /// Whether a sync is held up.
    pub(crate) fn is_syncing(&self) -> bool {
        let state = self.0.state.lock();
        state.waiting > state.passes
    }

    /// Whether nothing can be read or opened. It takes a reopening to go on afterwards.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.0.state.lock().broken = broken;
    }

    /// How often something was read.
    pub(crate) fn reads(&self) -> usize {
        self.0.state.lock().reads
    }

    /// Log records, one a group.
    pub(crate) fn groups(&self) -> usize {
        let mut groups = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            groups += 1;
            ControlFlow::Continue(())
        };
        self.scan(b"l"..=b"m", Direction::Forward, &mut count).unwrap();
        groups
    }

    pub(crate) fn reopened(&self) -> usize {
        self.0.state.lock().reopened
    }

    pub(crate) fn fail_next_sync(&self) {
        self.0.memory.fail_next_sync();
    }

    /// Lets the next `apply` panic, as code of ours above it could.
    pub(crate) fn panic_in_apply(&self) {
        self.panic_in_apply_after(0);
    }

    /// The same after this number of successful calls.
    pub(crate) fn panic_in_apply_after(&self, calls: usize) {
        self.0.state.lock().apply_panics = Some(calls);
    }

    /// Whether the panic is still to come.
    pub(crate) fn is_to_panic(&self) -> bool {
        self.0.state.lock().apply_panics.is_some()
    }

    /// Lets the next `sync` panic.
    pub(crate) fn panic_in_sync(&self) {
        self.0.state.lock().sync_panics = true;
    }

    pub(crate) fn store(&self) -> Arc<KvStore> {
        Arc::new(KvStore::open(self.clone(), Arc::new(SystemClock), 1 << 20).unwrap())
    }

    fn read<T>(&self, read: impl FnOnce(&MemoryEngine) -> Result<T>) -> Result<T> {
        {
            let mut state = self.0.state.lock();
            state.down |= state.broken;
            if state.down {
                return Err(gone());
            }
        }
        let result = read(&self.0.memory);
        self.0.state.lock().reads += 1;
        result
    }
}

pub(super) fn gone() -> StoreError {
    StoreError::Unavailable {
        reason: "the disk is gone".into(),
    }
}

impl Engine for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }
    fn location(&self) -> String {
        "disk".into()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(|memory| memory.get(key))
    }
    fn scan(
        &self,
        range: RangeInclusive<&[u8]>,
        direction: Direction,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.read(|memory| memory.scan(range, direction, visit))
    }
    fn admit(&self) -> Result<()> {
        self.0.memory.admit()
    }
    fn apply(&self, batch: Vec<Write>) -> Result<()> {
        let left = self.0.state.lock().apply_panics.take();
        assert!(left != Some(0), "it was to panic");
        self.0.state.lock().apply_panics = left.map(|left| left - 1);
        let mut undo = Vec::new();
        for write in &batch {
            let (Write::Put(key, _) | Write::Remove(key)) = write;
            undo.push(match self.0.memory.get(key)? {
                Some(old) => Write::Put(key.clone(), old),
                None => Write::Remove(key.clone()),
            });
        }
        self.0.memory.apply(batch)?;
        self.0.undo.lock().extend(undo);
        Ok(())
    }
    fn flush(&self) -> Result<()> {
        self.0.memory.flush()
    }
    fn sync(&self) -> Result<()> {
        let synced = self.0.undo.lock().len();
        let mut state = self.0.state.lock();
        state.waiting += 1;
        self.0
            .changed
            .wait_while(&mut state, |state| state.held && state.passes == 0);
        state.waiting -= 1;
        state.passes = state.passes.saturating_sub(1);
        let panics = std::mem::take(&mut state.sync_panics);
        drop(state);
        assert!(!panics, "it was to panic");
        self.0.memory.sync()?;
        self.0.undo.lock().drain(..synced);
        Ok(())
    }
    fn wants_reopen(&self) -> bool {
        self.0.memory.wants_reopen() || self.0.state.lock().down
    }
    fn compact(&self) -> Result<Compacting> {
        self.0.memory.compact()
    }
    fn stop_compacting(&self) {
        self.0.memory.stop_compacting();
    }
    fn reopen(&self) -> Result<()> {
        {
            let mut state = self.0.state.lock();
            state.reopened += 1;
            state.down = state.broken;
            if state.down {
                return Err(gone());
            }
        }
        self.0.memory.reopen()?;
        let lost: Vec<Write> = self.0.undo.lock().drain(..).rev().collect();
        self.0.memory.apply(lost)
    }
    fn sizes(&self) -> Result<Sizes> {
        self.0.memory.sizes()
    }
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

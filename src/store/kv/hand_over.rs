//! Hand-over of applied groups from the writer to the syncer: a queue of one place, which knows whether the syncer is idle
//! and whether one of its syncs has failed.
//!
//! The writer must not reopen the engine while a sync runs, and must learn of each failed sync before it acknowledges
//! anything later. All of the protocol is under one lock with one condition variable, and nothing here depends on what a
//! group is, so that a model checker can run it in all orders. A syncer that ends, even by a panic, counts as failed and
//! leaves nobody waiting.

use super::sync::{Condvar, Mutex};

/// The hand-over; shared by the two threads.
pub(crate) struct HandOver<G> {
    state: Mutex<State<G>>,
    changed: Condvar,
}

struct State<G> {
    waiting: Option<G>,
    is_syncing: bool,
    /// Whether a sync failed since the writer asked.
    has_failed: bool,
    /// No more groups come, or none is taken any more.
    is_closed: bool,
}

impl<G> HandOver<G> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: None,
                is_syncing: false,
                has_failed: false,
                is_closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Hands a group to the syncer, as soon as the one before it is being synced. Returns it if there is no syncer.
    pub(crate) fn put(&self, group: G) -> Result<(), G> {
        let mut state = self.state.lock();
        while state.waiting.is_some() && !state.is_closed {
            self.changed.wait(&mut state);
        }
        if state.is_closed {
            return Err(group);
        }
        state.waiting = Some(group);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether no group waits or is being synced.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().is_idle()
    }

    /// Waits until all groups that were handed over are finished, and tells whether a sync has failed since this was last
    /// asked.
    pub(crate) fn settle(&self) -> bool {
        let mut state = self.state.lock();
        while !state.is_idle() {
            self.changed.wait(&mut state);
        }
        std::mem::take(&mut state.has_failed)
    }

    /// Ends the hand-over: the syncer finishes what it has, and ends.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Runs the syncer until the hand-over is closed. `finish` syncs a group and answers its callers, and tells whether
    /// that succeeded.
    pub(crate) fn sync_each(&self, mut finish: impl FnMut(G) -> bool) {
        let end = Ended(self);
        while let Some(group) = self.take() {
            let done = finish(group);
            let mut state = self.state.lock();
            state.is_syncing = false;
            state.has_failed |= !done;
            self.changed.notify_all();
        }
        drop(end);
    }

    fn take(&self) -> Option<G> {
        let mut state = self.state.lock();
        while state.waiting.is_none() && !state.is_closed {
            self.changed.wait(&mut state);
        }
        let group = state.waiting.take()?;
        state.is_syncing = true;
        self.changed.notify_all();
        Some(group)
    }
}

impl<G> State<G> {
    fn is_idle(&self) -> bool {
        self.waiting.is_none() && !self.is_syncing
    }
}

/// Closes the hand-over when the syncer ends. A group that it was syncing is in doubt.
struct Ended<'a, G>(&'a HandOver<G>);

impl<G> Drop for Ended<'_, G> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.has_failed |= !state.is_idle();
        state.is_syncing = false;
        state.is_closed = true;
        // Its callers learn that there is no answer.
        let unsynced = state.waiting.take();
        drop(state);
        drop(unsynced);
        self.0.changed.notify_all();
    }
}

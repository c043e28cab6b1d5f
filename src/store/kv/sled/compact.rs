//! Compaction: sled's file never shrinks, so all entries are copied into a new database, which then takes the place of
//! the old one.
//!
//! The copy is made in small steps by the thread that writes, between two groups: what was copied is kept equal by
//! mirroring every batch into it, what was not yet is met by a later step. So the copy needs no lock and no second look
//! at what changed. When all is copied, it is compared entry by entry in the same way, and then the next reopening of
//! the engine takes it up. On its way the copy is closed and opened whenever that much of its log was written, so that this
//! reopening, which everything waits for, reads as little log as any other. Until then the old database is the only one that counts: whatever fails here, and a process
//! that ends, costs nothing but the copy.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use ::sled::{Db, IVec};

use super::fault::{Fault, Outcome, contain};
use super::large_values::{self, Staged};
use super::lost_wakeup::Waker;
use super::open::{Cached, Opened};
use super::{Phase as EnginePhase, SledConfig, SledEngine, open, swap_directory};
use crate::store::Progress;
use crate::store::error::{Result, StoreError};
use crate::store::kv::engine::Direction;

/// Bytes that a step copies, and entries that it copies or compares: a few milliseconds for the writes that wait.
const STEP_BYTES: usize = 512 << 10;
const STEP_ENTRIES: usize = 2_000;
/// Bytes after which the copy is flushed, because sled keeps in memory what is not.
const FLUSH_BYTES: usize = 8 << 20;

/// A copy that is being made.
pub(super) struct Compaction {
    /// Dropped before the database, which it holds open.
    waker: Waker,
    db: Db,
    phase: Phase,
    /// The last key that was copied, or compared; before all if there is none.
    cursor: Bound<IVec>,
    unflushed_bytes: usize,
    /// Where its log ended when it was opened.
    opened_at: u64,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Copying,
    Comparing,
    /// Equal, and kept so; to be taken up by the next reopening.
    Ready,
}

impl Compaction {
    /// Begins a copy of a database with so many bytes alive.
    pub(super) fn begin(config: &SledConfig, live_bytes: u64) -> Outcome<Self> {
        swap_directory::discard(&config.directory)?;
        fs::create_dir(swap_directory::place(&config.directory))?;
        let db = open_copy(config)?;
        Ok(Self {
            waker: Waker::start(&db)?,
            opened_at: open::written_bytes(&db),
            db,
            phase: Phase::Copying,
            cursor: Bound::Unbounded,
            unflushed_bytes: 0,
            progress: Progress {
                done_bytes: 0,
                // It is copied and then compared.
                total_bytes: 2 * live_bytes,
            },
        })
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Bytes of the copy's log that whoever opens it next has to read.
    pub(super) fn log_bytes(&self) -> u64 {
        open::written_bytes(&self.db).saturating_sub(self.opened_at)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Closes and opens the copy if enough of its log was written since it was opened.
    pub(super) fn reopened_in_time(self, config: &SledConfig) -> Outcome<Self> {
        if self.log_bytes() < config.reopen_after_bytes {
            return Ok(self);
        }
        contain(|| self.db.flush())?;
        drop(self.waker);
        contain::<_, Fault>(|| {
            drop(self.db);
            Ok(())
        })?;
        open::wait_until_released(&File::open(log_of_copy(&config.directory))?)?;
        let db = open_copy(config)?;
        Ok(Self {
            waker: Waker::start(&db)?,
            opened_at: open::written_bytes(&db),
            db,
            unflushed_bytes: 0,
            ..self
        })
    }

    /// Copies or compares the next entries of the database.
    pub(super) fn step(&mut self, db: &Db) -> Outcome<()> {
        let rest = match &self.cursor {
            Bound::Included(key) | Bound::Excluded(key) => Bound::Excluded(key.clone()),
            Bound::Unbounded => Bound::Unbounded,
        };
        let page = contain(|| {
            let bounds = (rest.clone(), Bound::Unbounded);
            large_values::page_of(db, &bounds, Direction::Forward, STEP_ENTRIES, STEP_BYTES)
        })?;
        let bytes: usize = page
            .entries
            .iter()
            .map(|(key, stored)| key.len() + stored.len())
            .sum();
        match self.phase {
            Phase::Copying => {
                let mut copied = Staged::default();
                for (key, stored) in &page.entries {
                    copied.put(key, stored.clone());
                }
                self.apply(&copied)?;
            }
            Phase::Comparing => self.compare(rest, &page)?,
            Phase::Ready => return Ok(()),
        }
        self.progress.done_bytes = (self.progress.done_bytes + bytes as u64).min(self.progress.total_bytes);
        if let Some((last, _)) = page.entries.last() {
            self.cursor = Bound::Included(last.clone());
        }
        if page.complete {
            self.cursor = Bound::Unbounded;
            self.phase = match self.phase {
                Phase::Copying => Phase::Comparing,
                _ => Phase::Ready,
            };
        }
        Ok(())
    }

    /// Keeps equal what was copied already, given what was just applied to the database.
    pub(super) fn mirror(&mut self, staged: &Staged) -> Outcome<()> {
        let everything = self.phase != Phase::Copying;
        let cursor = match &self.cursor {
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        };
        let copied = |key: &IVec| everything || cursor.is_some_and(|cursor| key <= cursor);
        let entries: Vec<_> = staged
            .entries
            .iter()
            .filter(|(key, _)| copied(key))
            .cloned()
            .collect();
        self.apply(&Staged { entries })
    }

    /// Makes all of the copy durable and closes it.
    pub(super) fn close(self, directory: &Path) -> Outcome<()> {
        contain(|| self.db.flush())?;
        drop(self.waker);
        contain::<_, Fault>(|| {
            drop(self.db);
            Ok(())
        })?;
        Ok(File::open(log_of_copy(directory))?.sync_all()?)
    }

    fn apply(&mut self, staged: &Staged) -> Outcome<()> {
        if staged.entries.is_empty() {
            return Ok(());
        }
        contain(|| self.db.apply_batch(staged.batch()))?;
        self.unflushed_bytes += staged.bytes();
        if self.unflushed_bytes >= FLUSH_BYTES {
            contain(|| self.db.flush())?;
            self.unflushed_bytes = 0;
        }
        Ok(())
    }

    /// The copy must have exactly these entries between the cursor and the last of them, or to its end.
    fn compare(&self, rest: Bound<IVec>, page: &large_values::Page) -> Outcome<()> {
        let end = match page.entries.last() {
            Some((last, _)) if !page.complete => Bound::Included(last.clone()),
            _ => Bound::Unbounded,
        };
        let copy = contain(|| {
            let limit = page.entries.len() + 1;
            large_values::page_of(&self.db, &(rest, end), Direction::Forward, limit, usize::MAX)
        })?;
        if copy.entries == page.entries {
            Ok(())
        } else {
            Err(Fault::Damaged("the copy does not equal the database".to_owned()))
        }
    }
}

fn open_copy(config: &SledConfig) -> Outcome<Db> {
    let directory = swap_directory::place(&config.directory).join("db");
    contain(|| open::config(&directory, config.cache_bytes).open())
}

fn log_of_copy(directory: &Path) -> PathBuf {
    swap_directory::place(directory).join("db").join("db")
}

/// What the engine does with a copy.
impl SledEngine {
    pub(super) fn compaction_step(&self, compaction: Compaction) -> Outcome<Compaction> {
        let mut compaction = compaction.reopened_in_time(&self.config)?;
        match &*self.phase.read() {
            EnginePhase::Open(opened) if !self.failed() => compaction.step(&opened.db)?,
            _ => return Err(Fault::Io(io::Error::other("the database failed meanwhile"))),
        }
        Ok(compaction)
    }

    pub(super) fn mirror(&self, staged: &Staged) {
        let mut compaction = self.compaction.lock();
        if let Some(going) = compaction.as_mut()
            && let Err(fault) = going.mirror(staged)
        {
            *compaction = None;
            self.give_up_compaction(&fault);
        }
    }

    pub(super) fn give_up_compaction(&self, fault: &Fault) {
        tracing::error!(error = %fault, "the compaction failed; the store is as it was");
        self.discard_copy();
    }

    pub(super) fn discard_copy(&self) {
        if let Err(error) = swap_directory::discard(&self.config.directory) {
            tracing::warn!(%error, "cannot remove the copy of a compaction; the next start does");
        }
    }

    /// Whether there is a copy to go on with, closed and durable. One that may not equal the database is given up.
    pub(super) fn copy_to_take_up(&self) -> bool {
        let mut compaction = self.compaction.lock();
        let failed = self.failed();
        match compaction.take() {
            Some(copy) if copy.is_ready() && !failed => {
                let closed = copy.close(&self.config.directory);
                closed.map_err(|fault| self.give_up_compaction(&fault)).is_ok()
            }
            Some(going) if !failed => {
                *compaction = Some(going);
                false
            }
            Some(going) => {
                drop(going);
                self.discard_copy();
                false
            }
            None => false,
        }
    }

    /// Opens the copy in the place of the database, or the database if that cannot be.
    pub(super) fn open_copy(&self, cached: Cached) -> Result<Opened> {
        let directory = &self.config.directory;
        if let Err(error) = swap_directory::switch(directory) {
            tracing::error!(%error, "the compacted database cannot be put in its place");
            swap_directory::settle(directory)
                .map_err(|error| StoreError::Open(open::refused(directory, &error)))?;
            return self.open_again(cached);
        }
        match self.open_again(Cached::Disk) {
            Ok(opened) => {
                self.discard_copy();
                Ok(opened)
            }
            Err(error) => {
                tracing::error!(%error, "the compacted database cannot be opened; going on with the old one");
                swap_directory::switch_back(directory)
                    .map_err(|error| StoreError::Open(open::refused(directory, &error)))?;
                self.discard_copy();
                self.open_again(cached)
            }
        }
    }
}

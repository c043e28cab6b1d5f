//! The engine on sled 0.34.7: everything that keeps its faults away from users.
//!
//! sled alone loses acknowledged writes at power loss, breaks on a full disk, and panics on damage. This
//! adapter holds what was measured to prevent that: `open` opens and shuts the database, `large_values` keeps values
//! out of sled's unsynced blob files, `space` stops writes before the disk is full, `fault` turns errors and
//! panics into values, `lost_wakeup` ends calls of sled that nothing would wake. It knows bytes only, never calls
//! `flush_async` (it can deadlock), and no text of sled or path leaves it except in an `OpenError`.
//!
//! After an error of sled nothing is written until `reopen`, which is also what sled needs: its errors stick.

mod compact;
#[cfg(test)]
mod crash_tests;
mod fault;
mod free_space;
mod large_values;
mod log_end_marker;
mod lost_wakeup;
mod open;
mod stats_record;
mod swap_directory;
#[cfg(test)]
mod tests;
mod torn_tail;

use std::fs::{self, File};
use std::io;
use std::ops::{Bound, ControlFlow, RangeInclusive};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ::sled::{Db, IVec};
use parking_lot::{Mutex, RwLock};

use crate::store::Sizes;
use crate::store::error::{OpenError, Result, StoreError};
use crate::store::kv::engine::{Compacting, Direction, Engine, Visitor, Write};
use crate::store::kv::keys;
use compact::Compaction;
use fault::{Fault, Outcome, contain};
use free_space::Space;
use large_values::Staged;
use open::{Cached, Opened};
use stats_record::Ledger;

pub use swap_directory::Replacement;

/// Entries of the first page of a scan: about as many as a leaf of sled holds.
const FIRST_SCAN_PAGE: usize = 16;
/// Entries of the longest page of a scan; pages double until here, so that short lists stay cheap.
const LONGEST_SCAN_PAGE: usize = 512;

/// Size of a fresh database on the volume, as a multiple of its live bytes; 2 to 2.9 was measured.
const COPY_FACTOR: u64 = 3;

/// Where a database lies, and its limits.
#[derive(Debug, Clone)]
pub struct SledConfig {
    /// The store directory; it is created if it is missing.
    pub directory: PathBuf,
    /// Cache capacity of sled, in bytes. It is no bound: 3 to 10 times as much memory was measured.
    pub cache_bytes: u64,
    /// Free bytes of the volume below which writes are refused; `None` is 1 GiB or a tenth of the database,
    /// whichever is more.
    pub min_free_bytes: Option<u64>,
    /// The size of the file that is given up when sled has to be reopened on a full volume; 0 for none.
    pub reserve_bytes: u64,
    /// Bytes of sled's log after which the engine wants to be reopened. The next open reads that log, at 0.5 s
    /// per GB from memory, 1 s while the cores are busy, and some 2 s from disk. All calls wait for it, and also for what
    /// an open costs in any case, which grows with the pages: 0.1 s at 265 MiB alive, 0.9 s on busy cores at 2.6 GiB.
    /// The log is 3.1 to 3.7 times what is written (two keys of 1.2 KB and 0.4 KB per write, groups of 64), so the
    /// default of 512 MiB comes after some 90,000 such writes.
    pub reopen_after_bytes: u64,
}

impl SledConfig {
    /// The defaults for a store in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cache_bytes: 64 << 20,
            min_free_bytes: None,
            reserve_bytes: 64 << 20,
            reopen_after_bytes: 512 << 20,
        }
    }
}

/// A sled database behind the engine's promises.
pub struct SledEngine {
    config: SledConfig,
    space: Space,
    /// Held locked until `close`.
    lock: File,
    phase: RwLock<Phase>,
    /// As it is after the last batch that was applied.
    ledger: Mutex<Ledger>,
    compaction: Mutex<Option<Compaction>>,
    /// Set by the first error of sled, cleared by `reopen`. Writes are refused in between.
    failed: AtomicBool,
}

enum Phase {
    Open(Opened),
    /// The last `reopen` failed.
    Down,
    Closed,
}

impl SledEngine {
    /// Opens the database, creating it if there is none.
    ///
    /// Fails with `OpenError::InUse` if another engine has the directory, and with `OpenError::Damaged` if sled
    /// cannot read its files. Damage inside a page that opening does not need shows when that page is read.
    pub fn open(config: SledConfig) -> Result<Self> {
        let directory = &config.directory;
        let lock = open::lock(directory).map_err(StoreError::Open)?;
        swap_directory::settle(directory)
            .map_err(|error| StoreError::Open(open::refused(directory, &error)))?;
        let space = Space::probe(directory)
            .and_then(|probe| Space::new(directory, probe, config.min_free_bytes, config.reserve_bytes))
            .map_err(|error| StoreError::Open(open::refused(directory, &error)))?;
        space.release_reserve_if_full();
        let opened = open::open_or_create(directory, config.cache_bytes).map_err(StoreError::Open)?;
        Ok(Self {
            config,
            space,
            lock,
            ledger: Mutex::new(opened.ledger),
            compaction: Mutex::new(None),
            phase: RwLock::new(Phase::Open(opened)),
            failed: AtomicBool::new(false),
        })
    }

    /// The same for a directory that must hold a database.
    pub fn open_existing(config: SledConfig) -> Result<Self> {
        let directory = &config.directory;
        let found = swap_directory::holds_database(directory)
            .map_err(|error| StoreError::Open(open::refused(directory, &error)))?;
        if !found {
            return Err(StoreError::Open(OpenError::Missing {
                location: directory.display().to_string(),
            }));
        }
        Self::open(config)
    }

    /// Runs a read. Damage is the record's alone: reopening cannot mend it, so the engine does not fail.
    fn read<T>(&self, record: &[u8], call: impl FnOnce(&Db) -> Outcome<T>) -> Result<T> {
        let phase = self.phase.read();
        let opened = phase.opened()?;
        contain(|| call(&opened.db)).map_err(|fault| match &fault {
            Fault::Io(_) => {
                self.fail("read", &fault);
                unavailable()
            }
            Fault::Damaged(_) => {
                let record = keys::readable(record);
                tracing::error!(record, error = %fault, "a stored record is damaged");
                StoreError::Corrupt {
                    record,
                    detail: "it cannot be read from the file db/db".to_owned(),
                }
            }
        })
    }

    /// Runs a step of a write that was begun; `step` names it in the log.
    fn finish<T>(&self, step: &str, call: impl FnOnce(&Opened) -> Outcome<T>) -> Result<T> {
        let phase = self.phase.read();
        let opened = match &*phase {
            Phase::Open(opened) if !self.failed() => opened,
            Phase::Closed => return Err(StoreError::Closed),
            _ => return Err(StoreError::OutcomeUnknown),
        };
        contain(|| call(opened)).map_err(|fault| {
            self.fail(step, &fault);
            StoreError::OutcomeUnknown
        })
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Refuses writes from now on, and logs the first error only: the later ones follow from it.
    fn fail(&self, step: &str, fault: &Fault) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            tracing::error!(step, error = %fault, "sled failed; no write is accepted until it was reopened");
        }
    }

    fn log_len(&self) -> Result<u64> {
        let log = match &*self.phase.read() {
            Phase::Open(opened) => opened.log.metadata().map(|log| log.len()),
            Phase::Down => return Err(unavailable()),
            Phase::Closed => return Err(StoreError::Closed),
        };
        log.map_err(|error| volume_error(&error))
    }

    fn open_again(&self, cached: Cached) -> Result<Opened> {
        open::open(&self.config.directory, self.config.cache_bytes, cached).map_err(StoreError::Open)
    }

    fn is_closed(&self) -> bool {
        matches!(&*self.phase.read(), Phase::Closed)
    }
}

impl Engine for SledEngine {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn location(&self) -> String {
        self.config.directory.display().to_string()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(key, |db| large_values::value(db, key, db.get(key)?))
    }

    fn scan(
        &self,
        range: RangeInclusive<&[u8]>,
        direction: Direction,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        let mut rest = bounds(&range);
        let mut limit = FIRST_SCAN_PAGE;
        // sled is left between pages, so that `visit` may take its time or call the engine, and holds up no reopen.
        loop {
            let page = self.read(position(&rest, direction), |db| {
                large_values::page(db, &rest, direction, limit)
            })?;
            for (key, stored) in &page.entries {
                let visited = match large_values::inline(stored) {
                    Some(value) => visit(key, value),
                    None => match self.read(key, |db| large_values::value(db, key, Some(stored.clone())))? {
                        Some(value) => visit(key, &value),
                        None => ControlFlow::Continue(()),
                    },
                };
                if visited.is_break() {
                    return Ok(());
                }
            }
            match page.entries.last() {
                Some((last, _)) if !page.complete => match direction {
                    Direction::Forward => rest.0 = Bound::Excluded(last.clone()),
                    Direction::Backward => rest.1 = Bound::Excluded(last.clone()),
                },
                _ => return Ok(()),
            }
            limit = (limit * 2).min(LONGEST_SCAN_PAGE);
        }
    }

    fn admit(&self) -> Result<()> {
        let database_bytes = self.log_len()?;
        self.space
            .admit(database_bytes)
            .map_err(|error| volume_error(&error))?
    }

    fn apply(&self, batch: Vec<Write>) -> Result<()> {
        if self.failed() && !self.is_closed() {
            return Err(unavailable());
        }
        let mut staged = Staged::default();
        let mut ledger = *self.ledger.lock();
        for (key, value) in large_values::last_writes(batch) {
            self.read(&key, |db| staged.stage(db, &mut ledger, &key, value.as_deref()))?;
        }
        staged.put(&stats_record::KEY, ledger.encode());
        self.finish("sync", Opened::sync_earlier_segments)?;
        *self.ledger.lock() = ledger;
        self.finish("apply", |opened| Ok(opened.db.apply_batch(staged.batch())?))?;
        self.mirror(&staged);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.finish("flush", |opened| Ok(opened.db.flush().map(drop)?))
    }

    fn sync(&self) -> Result<()> {
        self.finish("sync", Opened::sync)
    }

    fn wants_reopen(&self) -> bool {
        match &*self.phase.read() {
            Phase::Open(opened) => {
                let ready = || self.compaction.lock().as_ref().is_some_and(Compaction::is_ready);
                self.failed() || opened.log_bytes() >= self.config.reopen_after_bytes || ready()
            }
            Phase::Down => true,
            Phase::Closed => false,
        }
    }

    fn compact(&self) -> Result<Compacting> {
        self.admit()?;
        let mut compaction = self.compaction.lock();
        let stepped = match compaction.take() {
            Some(going) => self.compaction_step(going),
            None => {
                let live_bytes = self.ledger.lock().live_bytes;
                self.space
                    .admit_more(self.log_len()?, live_bytes.saturating_mul(COPY_FACTOR))
                    .map_err(|error| volume_error(&error))??;
                Compaction::begin(&self.config, live_bytes)
            }
        };
        match stepped {
            Ok(going) if going.is_ready() => {
                *compaction = Some(going);
                Ok(Compacting::Ready)
            }
            Ok(going) => {
                let progress = going.progress();
                *compaction = Some(going);
                Ok(Compacting::Going(progress))
            }
            Err(fault) => {
                self.give_up_compaction(&fault);
                Err(StoreError::Unavailable {
                    reason: "the compaction failed; the store is as it was".to_owned(),
                })
            }
        }
    }

    fn stop_compacting(&self) {
        if let Some(compaction) = self.compaction.lock().take() {
            drop(contain::<_, Fault>(|| {
                drop(compaction);
                Ok(())
            }));
            self.discard_copy();
        }
    }

    fn reopen(&self) -> Result<()> {
        if !self.failed() {
            // A failure here costs nothing that was promised, and is mended below.
            let _ = self.flush().and_then(|()| self.sync());
        }
        let copy = self.copy_to_take_up();
        let mut phase = self.phase.write();
        let cached = match std::mem::replace(&mut *phase, Phase::Down) {
            Phase::Open(opened) => match shut(opened) {
                Ok(()) if !self.failed() => Cached::Disk,
                _ => Cached::Unknown,
            },
            Phase::Down => Cached::Unknown,
            Phase::Closed => {
                *phase = Phase::Closed;
                return Err(StoreError::Closed);
            }
        };
        self.space.release_reserve_if_full();
        let opened = if copy {
            self.open_copy(cached)
        } else {
            self.open_again(cached)
        }?;
        {
            let mut ledger = self.ledger.lock();
            let earlier = std::mem::replace(&mut *ledger, opened.ledger);
            ledger.outrun(earlier);
        }
        *phase = Phase::Open(opened);
        self.failed.store(false, Ordering::Release);
        Ok(())
    }

    fn sizes(&self) -> Result<Sizes> {
        if self.is_closed() {
            return Err(StoreError::Closed);
        }
        let measure = || {
            let db = self.config.directory.join("db");
            Ok(Sizes {
                live_bytes: self.ledger.lock().live_bytes,
                disk_bytes: tree_bytes(&db)?,
                available_bytes: self.space.available_bytes()?,
                floor_bytes: self.space.floor_bytes(fs::metadata(db.join("db"))?.len()),
            })
        };
        measure().map_err(|error| volume_error(&error))
    }

    fn close(&self) -> Result<()> {
        self.stop_compacting();
        let written = match &*self.phase.read() {
            Phase::Open(_) if !self.failed() => true,
            Phase::Open(_) | Phase::Down => false,
            Phase::Closed => return Ok(()),
        };
        // What was acknowledged is durable already. So a volume that takes nothing any more is no reason to call a stop
        // failed; the step that fails is in the log.
        let finished = written && self.flush().and_then(|()| self.sync()).is_ok();
        let mut phase = self.phase.write();
        if let Phase::Open(opened) = std::mem::replace(&mut *phase, Phase::Closed) {
            if finished && let Err(error) = opened.note_end() {
                tracing::warn!(%error, "cannot note where the log ends; the next open cannot tell whether all of it is there");
            }
            let _ = shut(opened);
        }
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "cannot unlock the store directory; the end of the process does");
        }
        Ok(())
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        // What fails here is logged by the step that fails, and was not promised to anyone.
        let _ = self.close();
    }
}

impl Phase {
    fn opened(&self) -> Result<&Opened> {
        match self {
            Self::Open(opened) => Ok(opened),
            Self::Down => Err(unavailable()),
            Self::Closed => Err(StoreError::Closed),
        }
    }
}

/// Acknowledged writes were synced before, so a failure to shut is only logged.
fn shut(opened: Opened) -> Outcome<()> {
    opened
        .shut()
        .inspect_err(|fault| tracing::warn!(error = %fault, "sled did not shut cleanly"))
}

/// The range, cut where the keys of chunks begin.
fn bounds(range: &RangeInclusive<&[u8]>) -> large_values::Bounds {
    let chunk_keys: &[u8] = &[stats_record::RESERVED];
    let end = if *range.end() < chunk_keys {
        Bound::Included(IVec::from(*range.end()))
    } else {
        Bound::Excluded(IVec::from(chunk_keys))
    };
    (Bound::Included(IVec::from(*range.start())), end)
}

/// Where a scan stands: the best name there is for a record that it cannot read.
fn position(rest: &large_values::Bounds, direction: Direction) -> &[u8] {
    let bound = match direction {
        Direction::Forward => &rest.0,
        Direction::Backward => &rest.1,
    };
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => &[],
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable {
        reason: "the database failed and is being reopened".to_owned(),
    }
}

fn volume_error(error: &io::Error) -> StoreError {
    tracing::error!(%error, "cannot ask the store's volume");
    StoreError::Unavailable {
        reason: "the volume of the store does not answer".to_owned(),
    }
}

/// Bytes that a directory and all below it take on the volume. A file that sled removes meanwhile counts nothing.
fn tree_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => tree_bytes(&entry.path())?,
            Ok(metadata) => metadata.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}

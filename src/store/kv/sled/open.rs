//! Opening and shutting sled: the order of steps that makes a crash at any point harmless.
//!
//! Files of a store directory:
//!
//! | path | what it is |
//! |---|---|
//! | `lock` | held locked by the process that uses the directory, also while sled is reopened |
//! | `db/` | sled's files; it appears complete and synced, or not at all |
//! | `db/end` | ours: where sled's log ended when it was closed |
//! | `db.creating/` | a database that is being created; without meaning after a crash |
//! | `new/`, `db.old/` | see `replace` |
//! | `reserve` | space to give up before a reopen on a full volume |
//!
//! Nothing here waits without a limit, and no panic of sled passes through.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::store::error::OpenError;
use crate::store::kv::sled::fault::{Fault, Outcome, contain};
use crate::store::kv::sled::large_values;
pub(super) use crate::store::kv::sled::log_end_marker::End;
use crate::store::kv::sled::lost_wakeup::Waker;
use crate::store::kv::sled::stats_record::Ledger;
use crate::store::kv::sled::torn_tail::{self, SEGMENT_BYTES};

/// How long sled's I/O threads may take to let go of the files after the database was dropped.
const RELEASE_LIMIT: Duration = Duration::from_secs(30);
const RELEASE_CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// An open database.
pub(super) struct Opened {
    /// Dropped before the database, which it holds open.
    waker: Waker,
    pub(super) db: ::sled::Db,
    /// Our own descriptor of sled's log, because sled never syncs it when asked to flush.
    pub(super) log: File,
    /// The ledger as it was found.
    pub(super) ledger: Ledger,
    blobs: PathBuf,
    end: End,
    recovered_bytes: u64,
    /// The position up to which the log was synced, at least.
    synced_bytes: AtomicU64,
}

impl Opened {
    /// Bytes written to the log since it was opened, which is what the next open has to read.
    pub(super) fn log_bytes(&self) -> u64 {
        written_bytes(&self.db).saturating_sub(self.recovered_bytes)
    }

    /// The position up to which the log was synced, at least.
    pub(super) fn synced_bytes(&self) -> u64 {
        self.synced_bytes.load(Ordering::Acquire)
    }

    /// Syncs the log if what was flushed and not synced reaches into another segment. Called before each batch: a power loss
    /// may take earlier pages and leave later ones, and recovery searches for such a gap only from the segment on in which
    /// the log was flushed when the batch began.
    pub(super) fn sync_earlier_segments(&self) -> Outcome<()> {
        let segment = |position: u64| position / SEGMENT_BYTES as u64;
        if segment(self.synced_bytes()) == segment(written_bytes(&self.db)) {
            return Ok(());
        }
        self.sync()
    }

    /// Makes everything flushed so far survive power loss.
    pub(super) fn sync(&self) -> Outcome<()> {
        let written = written_bytes(&self.db);
        // Chunking keeps this directory empty. Should sled put a file there all the same, only `syncfs` reaches it.
        if fs::read_dir(&self.blobs)?.next().is_some() {
            rustix::fs::syncfs(&self.log).map_err(io::Error::from)?;
        }
        self.log.sync_data()?;
        self.synced_bytes.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }

    /// Notes that what was synced is all there is; asked for before a database that is sound and synced is closed.
    pub(super) fn note_end(&self) -> io::Result<()> {
        self.end.note(written_bytes(&self.db))
    }

    /// Closes the database. An error means that the page cache may hold what the disk does not have.
    pub(super) fn shut(self) -> Outcome<()> {
        // Closing flushes too; it finds nothing to wait for without the waker.
        let flushed = contain(|| self.db.flush());
        drop(self.waker);
        contain::<_, Fault>(|| {
            drop(self.db);
            Ok(())
        })?;
        flushed.map(drop)
    }
}

/// Makes the store directory if it is missing, and takes it for this process.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let make = || {
        fs::create_dir_all(directory)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
    };
    let lock = make().map_err(|error| refused(directory, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            location: directory.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(refused(directory, &error)),
    }
}

/// What the page cache may hold of a database that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cached {
    /// What the disk has or will have: every sync since it was read has succeeded.
    Disk,
    /// Perhaps more. A failed sync, maybe of an earlier process, leaves pages that are never written again.
    Unknown,
}

/// Opens the database of the locked `directory`, creating it if there is none.
pub(super) fn open_or_create(directory: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
    let create_if_missing = || {
        let exists = directory.join("db").try_exists()?;
        if exists {
            Ok(())
        } else {
            create(directory, cache_bytes)
        }
    };
    create_if_missing().map_err(|fault| open_error(directory, fault))?;
    open(directory, cache_bytes, Cached::Unknown)
}

/// Opens the database of the locked `directory`. A missing one is an error: it was there before.
pub(super) fn open(directory: &Path, cache_bytes: u64, cached: Cached) -> Result<Opened, OpenError> {
    recover(&directory.join("db"), cache_bytes, cached).map_err(|fault| open_error(directory, fault))
}

/// Creates the database beside its place, makes every file of it survive power loss, and renames it. Opening it makes the
/// name survive.
///
/// sled itself syncs neither its `conf` file nor any directory; a database without them does not open again.
fn create(directory: &Path, cache_bytes: u64) -> Outcome<()> {
    let creating = directory.join("db.creating");
    if creating.try_exists()? {
        fs::remove_dir_all(&creating)?;
    }
    contain(|| {
        let db = config(&creating, cache_bytes).open()?;
        db.flush()
    })?;
    sync_tree(&creating)?;
    Ok(fs::rename(&creating, directory.join("db"))?)
}

fn recover(db_directory: &Path, cache_bytes: u64, cached: Cached) -> Outcome<Opened> {
    remove_unfinished_snapshots(db_directory)?;
    for name in ["conf", "db"] {
        check_present(&db_directory.join(name))?;
    }
    let log = File::open(db_directory.join("db"))?;
    wait_until_released(&log)?;
    if cached == Cached::Unknown {
        // Recovery must not build on what the disk does not have, or a power loss takes it from under later acknowledged
        // writes. Without its clean pages in the cache, it reads the disk.
        fadvise(&log, 0, None, Advice::DontNeed).map_err(io::Error::from)?;
    }
    let started = Instant::now();
    let snapshot_bytes = newest_snapshot(db_directory)?;
    let end = End::of(db_directory);
    let noted_end = end.noted()?;
    torn_tail::repair(
        &db_directory.join("db"),
        snapshot_bytes,
        noted_end.max(snapshot_bytes),
    )?;
    let db = contain(|| {
        let db = config(db_directory, cache_bytes).open()?;
        // Both ends of the tree come from disk here, where damage is still an error of opening.
        db.first()?;
        db.last()?;
        Ok::<_, ::sled::Error>(db)
    })
    .map_err(|fault| match fault {
        Fault::Damaged(text) => Fault::Damaged(format!(
            "sled cannot read its files in {}: {text}",
            db_directory.display()
        )),
        refused => refused,
    })?;
    let waker = Waker::start(&db)?;
    if !db.was_recovered() {
        // sled takes an unreadable start of the log for a new database.
        return Err(Fault::Damaged(format!(
            "{} holds no database any more",
            db_directory.join("db").display()
        )));
    }
    let recovered_bytes = written_bytes(&db);
    tracing::info!(
        log_bytes = recovered_bytes.saturating_sub(snapshot_bytes),
        seconds = started.elapsed().as_secs_f64(),
        "sled has read the end of its log"
    );
    end.check(noted_end, recovered_bytes)?;
    // Opening replaces the snapshot file, by a rename that sled does not sync. The database itself may be new, or made by
    // a process that was killed before it could do this.
    sync_upwards(db_directory)?;
    let ledger = contain(|| large_values::ledger(&db))?;
    Ok(Opened {
        waker,
        db,
        log,
        ledger,
        blobs: db_directory.join("blobs"),
        end,
        recovered_bytes,
        synced_bytes: AtomicU64::new(snapshot_bytes),
    })
}

pub(super) fn config(db_directory: &Path, cache_bytes: u64) -> ::sled::Config {
    ::sled::Config::new()
        .path(db_directory)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        .use_compression(false)
        // No thread of sled flushes on its own: what is durable is decided by `flush` and `sync` alone.
        .flush_every_ms(None)
}

/// A position in sled's log that only grows; sled numbers the bytes that it wrote, from -1.
pub(super) fn written_bytes(db: &::sled::Db) -> u64 {
    u64::try_from(db.context.pagecache.log.stable_offset()).unwrap_or(0)
}

/// A process that is killed while it opens leaves a snapshot cut off, which sled takes for the newest one.
fn remove_unfinished_snapshots(db_directory: &Path) -> Outcome<()> {
    for entry in fs::read_dir(db_directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The position in sled's log that the newest snapshot is of, which its name says; 0 without one. Opening reads the log
/// from there on.
pub(super) fn newest_snapshot(db_directory: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for entry in fs::read_dir(db_directory)? {
        let name = entry?.file_name();
        let position = name.to_str().and_then(|name| name.strip_prefix("snap."));
        let position = position.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        newest = newest.max(position.unwrap_or_default());
    }
    Ok(newest)
}

/// sled would create a missing file, and start empty.
fn check_present(file: &Path) -> Outcome<()> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > 0 => Ok(()),
        Ok(_) => Err(Fault::Damaged(format!("{} is empty", file.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Fault::Damaged(format!("{} is missing", file.display())))
        }
        Err(error) => Err(error.into()),
    }
}

/// The directory is ours, so a lock on sled's log is the previous instance's: its I/O threads may hold the file
/// for a moment after the database was dropped.
pub(super) fn wait_until_released(log: &File) -> Outcome<()> {
    let deadline = Instant::now() + RELEASE_LIMIT;
    loop {
        match log.try_lock() {
            Ok(()) => return Ok(log.unlock()?),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::park_timeout(RELEASE_CHECK_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Fault::Io(io::Error::other(
                    "sled has not let go of its files; restart the process",
                )));
            }
        }
    }
}

/// Syncs a directory and all below it.
pub(super) fn sync_tree(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
    }
    sync(path)
}

/// Syncs a directory and those above it on its volume, any of which may be new. One that may not be read was made by
/// others.
pub(super) fn sync_upwards(directory: &Path) -> io::Result<()> {
    let directory = directory.canonicalize()?;
    let volume = fs::metadata(&directory)?.dev();
    for above in directory.ancestors() {
        let above = match File::open(above) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            above => above?,
        };
        if above.metadata()?.dev() != volume {
            break;
        }
        above.sync_all()?;
    }
    Ok(())
}

pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn open_error(directory: &Path, fault: Fault) -> OpenError {
    match fault {
        Fault::Io(error) => refused(directory, &error),
        Fault::Damaged(detail) => OpenError::Damaged {
            location: directory.display().to_string(),
            detail,
        },
    }
}

pub(super) fn refused(directory: &Path, error: &io::Error) -> OpenError {
    OpenError::Io {
        location: directory.display().to_string(),
        detail: error.to_string(),
    }
}

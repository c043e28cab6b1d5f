//! Free space: the floor below which writes are refused, and the reserve file that lets a full store reopen.
//!
//! A full disk breaks sled, reads included, until it is reopened, and opening writes. So writes stop before that point, and
//! a reserve file is kept that can be deleted when another program fills the volume. Nothing here knows sled.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use crate::store::error::StoreError;

/// The lower limit of the default floor; the floor grows with the database, as what sled writes at once does.
const DEFAULT_FLOOR_BYTES: u64 = 1 << 30;

/// Tells the free bytes of the volume; tests bring their own.
pub(super) type Probe = Box<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// The rules about free space for one directory.
pub(super) struct Space {
    probe: Probe,
    min_free_bytes: Option<u64>,
    reserve: PathBuf,
    reserve_bytes: u64,
    /// Whether the reserve was given up, or never made.
    reserve_wanted: AtomicBool,
}

impl Space {
    /// Rules for `directory`; the reserve is made when space was found for it.
    pub(super) fn new(
        directory: &Path,
        probe: Probe,
        min_free_bytes: Option<u64>,
        reserve_bytes: u64,
    ) -> io::Result<Self> {
        let reserve = directory.join("reserve");
        let present_bytes = if reserve.try_exists()? {
            fs::metadata(&reserve)?.len()
        } else {
            0
        };
        let reserve_wanted = AtomicBool::new(present_bytes != reserve_bytes);
        Ok(Self {
            probe,
            min_free_bytes,
            reserve,
            reserve_bytes,
            reserve_wanted,
        })
    }

    /// Bytes that the service may still use on the volume of `directory`.
    pub(super) fn probe(directory: &Path) -> io::Result<Probe> {
        let directory = File::open(directory)?;
        Ok(Box::new(move || {
            let volume = fstatvfs(&directory)?;
            Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
        }))
    }

    pub(super) fn available_bytes(&self) -> io::Result<u64> {
        (self.probe)()
    }

    /// Refuses below the floor. Two system calls at most, so it may be asked for every group of writes.
    pub(super) fn admit(&self, database_bytes: u64) -> io::Result<Result<(), StoreError>> {
        let available_bytes = self.available_bytes()?;
        let floor_bytes = self.floor_bytes(database_bytes);
        if available_bytes < floor_bytes {
            return Ok(Err(StoreError::Full {
                available_bytes,
                floor_bytes,
            }));
        }
        if available_bytes - floor_bytes >= self.reserve_bytes
            && self.reserve_wanted.swap(false, Ordering::AcqRel)
        {
            self.hold_reserve();
        }
        Ok(Ok(()))
    }

    /// Refuses if so many more bytes would take the volume below the floor.
    pub(super) fn admit_more(
        &self,
        database_bytes: u64,
        more_bytes: u64,
    ) -> io::Result<Result<(), StoreError>> {
        let available_bytes = self.available_bytes()?;
        let floor_bytes = self.floor_bytes(database_bytes).saturating_add(more_bytes);
        Ok(if available_bytes < floor_bytes {
            Err(StoreError::Full {
                available_bytes,
                floor_bytes,
            })
        } else {
            Ok(())
        })
    }

    /// Free bytes below which writes are refused, for a database of this size.
    pub(super) fn floor_bytes(&self, database_bytes: u64) -> u64 {
        self.min_free_bytes
            .unwrap_or(DEFAULT_FLOOR_BYTES.max(database_bytes / 10))
    }

    /// Gives up the reserve if the volume has not even that much left; asked before sled is opened.
    pub(super) fn release_reserve_if_full(&self) {
        match self.available_bytes() {
            Ok(available_bytes) if available_bytes < self.reserve_bytes => {}
            _ => return,
        }
        if self.reserve_wanted.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::warn!(
            bytes = self.reserve_bytes,
            "the volume is full: giving up the reserve file to open sled"
        );
        if let Err(error) = fs::remove_file(&self.reserve) {
            tracing::warn!(%error, "cannot give up the reserve file");
        }
    }

    /// A failure is no reason to refuse writes; it is tried again after the next start or release.
    fn hold_reserve(&self) {
        let made = File::create(&self.reserve)
            .and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, self.reserve_bytes)?));
        if let Err(error) = made {
            tracing::warn!(%error, "cannot make the reserve file; a full volume may need space freed by hand");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn space(directory: &Path, available: &Arc<AtomicU64>, min_free_bytes: Option<u64>) -> Space {
        let available = Arc::clone(available);
        let probe = Box::new(move || Ok(available.load(Ordering::Relaxed)));
        Space::new(directory, probe, min_free_bytes, 4096).unwrap()
    }

    #[test]
    fn writes_are_refused_below_the_floor_and_accepted_again_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let available = Arc::new(AtomicU64::new(999));
        let space = space(directory.path(), &available, Some(1000));
        let refusal = StoreError::Full {
            available_bytes: 999,
            floor_bytes: 1000,
        };
        assert_eq!(space.admit(0).unwrap(), Err(refusal));
        available.store(1000, Ordering::Relaxed);
        assert_eq!(space.admit(0).unwrap(), Ok(()));
    }

    #[test]
    fn the_default_floor_is_a_gibibyte_or_a_tenth_of_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let available = Arc::new(AtomicU64::new(DEFAULT_FLOOR_BYTES));
        let space = space(directory.path(), &available, None);
        assert_eq!(space.admit(10 * DEFAULT_FLOOR_BYTES).unwrap(), Ok(()));
        let refusal = StoreError::Full {
            available_bytes: DEFAULT_FLOOR_BYTES,
            floor_bytes: DEFAULT_FLOOR_BYTES + 1,
        };
        assert_eq!(space.admit(10 * DEFAULT_FLOOR_BYTES + 10).unwrap(), Err(refusal));
    }

    #[test]
    fn the_reserve_is_given_up_on_a_full_volume_and_made_again_when_space_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = directory.path().join("reserve");
        let available = Arc::new(AtomicU64::new(1_000_000));
        let space = space(directory.path(), &available, Some(1000));
        space.admit(0).unwrap().unwrap();
        assert_eq!(fs::metadata(&reserve).unwrap().len(), 4096);

        space.release_reserve_if_full();
        assert!(reserve.exists(), "the volume is not full");
        available.store(4095, Ordering::Relaxed);
        space.release_reserve_if_full();
        assert!(!reserve.exists());
        space.admit(0).unwrap().unwrap();
        assert!(
            !reserve.exists(),
            "making it would take the volume below the floor"
        );
        available.store(1000 + 4096, Ordering::Relaxed);
        space.admit(0).unwrap().unwrap();
        assert!(reserve.exists());
    }
}

//! Reloads files when they change: tokens, keys and certificates are replaced without a restart.
//!
//! They are polled by modification time, size and inode. Replace a file by renaming a new one over it, so that it is never
//! read half-written. Files that cannot be read or parsed leave the previous value.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

/// Reads and parses the files.
type Load<T, E> = Box<dyn Fn() -> Result<T, E> + Send + Sync>;

/// Files and the value parsed from them.
pub(super) struct Watched<T, E> {
    files: Vec<PathBuf>,
    load: Load<T, E>,
    seen: Mutex<Vec<Option<Stamp>>>,
    value: RwLock<Arc<T>>,
}

/// The identity of a state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl<T, E> Watched<T, E> {
    /// Reads files for the first time; they must be right.
    pub(super) fn open(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Before they are read: a write in between is seen as a change.
        let seen = stamps(&files);
        Ok(Self {
            value: RwLock::new(Arc::new(load()?)),
            load: Box::new(load),
            seen: Mutex::new(seen),
            files,
        })
    }

    /// The current value.
    pub(super) fn get(&self) -> Arc<T> {
        self.value.read().clone()
    }

    /// Reads them again if one of them changed; `None` if none did. Reads the disk.
    pub(super) fn look(&self) -> Option<Result<(), E>> {
        let mut seen = self.seen.lock();
        let now = stamps(&self.files);
        if now == *seen {
            return None;
        }
        *seen = now;
        Some((self.load)().map(|value| *self.value.write() = Arc::new(value)))
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| Stamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let file = path.clone();
        let load = move || {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            text.trim().parse::<u32>().map_err(|error| error.to_string())
        };
        let open = || Watched::open(vec![path.clone()], load.clone());
        assert!(open().is_err());
        fs::write(&path, "1").unwrap();
        let watched = open().unwrap();
        let after = |text: Option<&str>| {
            match text {
                // As another file, so that it is another one even in the same tick of the clock.
                Some(text) => {
                    let new = directory.path().join("new");
                    fs::write(&new, text).unwrap();
                    fs::rename(&new, &path).unwrap();
                }
                None => fs::remove_file(&path).unwrap(),
            }
            (watched.look().unwrap().is_ok(), *watched.get())
        };
        assert_eq!(after(Some("2")), (true, 2));
        assert_eq!(after(Some("x")), (false, 2));
        assert_eq!(after(None), (false, 2));
        assert_eq!(after(Some("3")), (true, 3));
        assert!(watched.look().is_none());
        // Written in place.
        fs::write(&path, "40").unwrap();
        assert_eq!(watched.look(), Some(Ok(())));
        assert_eq!(*watched.get(), 40);
    }
}

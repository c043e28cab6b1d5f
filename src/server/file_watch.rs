//! A file that is read again when it changes: tokens and keys come and go without a restart.
//!
//! It is looked at, not waited for: modification time, size and inode tell whether it is another one. Put a new file in its
//! place by renaming it, and nobody reads half of it. A file that cannot be read or is wrong leaves what was read before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

/// Reads what a file says, or says what is wrong with it.
type Parse<T> = Box<dyn Fn(&str) -> Result<T, String> + Send + Sync>;

/// A file and what it says.
pub(super) struct Watched<T> {
    path: PathBuf,
    /// What it is called in the log.
    what: &'static str,
    parse: Parse<T>,
    seen: Mutex<Option<Stamp>>,
    value: RwLock<Arc<T>>,
}

/// What tells one state of a file from another.
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

impl<T> Watched<T> {
    /// Reads a file for the first time; it must be right.
    pub(super) fn open(
        path: &Path,
        what: &'static str,
        parse: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Before it is read: what is written meanwhile makes another one.
        let seen = Stamp::of(path);
        let value = read(path, &parse).map_err(|problem| format!("{what} {}: {problem}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            what,
            parse: Box::new(parse),
            seen: Mutex::new(seen),
            value: RwLock::new(Arc::new(value)),
        })
    }

    /// What it says.
    pub(super) fn get(&self) -> Arc<T> {
        self.value.read().clone()
    }

    /// Reads it again if it is another one. Reads the disk.
    pub(super) fn look(&self) {
        let mut seen = self.seen.lock();
        let now = Stamp::of(&self.path);
        if now == *seen {
            return;
        }
        *seen = now;
        let path = self.path.display();
        match read(&self.path, &self.parse) {
            Ok(value) => {
                *self.value.write() = Arc::new(value);
                tracing::info!(%path, "{} was read again", self.what);
            }
            Err(problem) => {
                tracing::error!(%path, problem, "{} is wrong; what was read before still holds", self.what);
            }
        }
    }
}

fn read<T>(path: &Path, parse: &dyn Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let parse = |text: &str| text.trim().parse::<u32>().map_err(|error| error.to_string());
        let open = || Watched::open(&path, "the number", parse);
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
            watched.look();
            *watched.get()
        };
        assert_eq!(after(Some("2")), 2);
        assert_eq!(after(Some("x")), 2);
        assert_eq!(after(None), 2);
        assert_eq!(after(Some("3")), 3);
        // Written in place.
        fs::write(&path, "40").unwrap();
        watched.look();
        assert_eq!(*watched.get(), 40);
    }
}

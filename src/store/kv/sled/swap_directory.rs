//! Replaces the database directory after a restore or a compaction, crash-safe.
//!
//! The new database is built as `new/db` below the store directory and made durable. Then `db` is renamed to `db.old` and
//! `new/db` to `db`. If the process is killed between the two renames, there is no `db`: the next open renames `db.old`
//! back. That open also removes leftovers.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::SledConfig;
use super::open::{self, sync, sync_tree, sync_upwards};
use crate::store::error::{OpenError, Result, StoreError};

const NEW: &str = "new";
const OLD: &str = "db.old";

/// Ends a replacement that was broken off. The directory is locked, and no database of it is open.
pub(super) fn settle(directory: &Path) -> io::Result<()> {
    let (db, old) = (directory.join("db"), directory.join(OLD));
    if old.try_exists()? && !db.try_exists()? {
        tracing::warn!("the database was being replaced when the process ended; the old one stays");
        fs::rename(&old, &db)?;
        sync(directory)?;
    }
    discard(directory)
}

/// Whether a directory holds a database, or one that [`settle`] takes back.
pub(super) fn holds_database(directory: &Path) -> io::Result<bool> {
    Ok(directory.join("db").try_exists()? || directory.join(OLD).try_exists()?)
}

/// Removes what a replacement leaves.
pub(super) fn discard(directory: &Path) -> io::Result<()> {
    for name in [NEW, OLD] {
        let path = directory.join(name);
        if path.try_exists()? {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// The directory that the new database is built in.
pub(super) fn place(directory: &Path) -> std::path::PathBuf {
    directory.join(NEW)
}

/// Puts the closed new database in the place of the closed old one, if there is one.
pub(super) fn switch(directory: &Path) -> io::Result<()> {
    let (db, old) = (directory.join("db"), directory.join(OLD));
    let new = place(directory).join("db");
    sync_tree(&new)?;
    if db.try_exists()? {
        fs::rename(&db, &old)?;
    }
    fs::rename(&new, &db)?;
    // Nothing may be acknowledged by the new one, and nothing of the old one removed, before it is sure to be found.
    sync_names(directory)
}

/// Takes the switch back: the new database cannot be opened.
pub(super) fn switch_back(directory: &Path) -> io::Result<()> {
    let (db, old) = (directory.join("db"), directory.join(OLD));
    fs::rename(&db, place(directory).join("db"))?;
    fs::rename(&old, &db)?;
    sync_names(directory)
}

/// Makes the renames durable. Both directories are synced: that one is enough for a name that moves between them is only
/// what some file systems do.
fn sync_names(directory: &Path) -> io::Result<()> {
    sync(&place(directory))?;
    sync(directory)
}

/// A store directory that is held while a database is built for it from outside. One that was not put in its place is
/// removed in the end.
pub struct Replacement {
    config: SledConfig,
    _lock: File,
}

impl Replacement {
    /// Takes the directory. Without `replace` it must hold no store.
    pub fn begin(config: &SledConfig, replace: bool) -> Result<Self> {
        let directory = &config.directory;
        let lock = open::lock(directory).map_err(StoreError::Open)?;
        let refused = |error: io::Error| StoreError::Open(open::refused(directory, &error));
        settle(directory).map_err(refused)?;
        if !replace && holds_database(directory).map_err(refused)? {
            return Err(StoreError::Open(OpenError::NotEmpty {
                location: directory.display().to_string(),
            }));
        }
        Ok(Self {
            config: config.clone(),
            _lock: lock,
        })
    }

    /// How to open the engine that is built.
    pub fn config(&self) -> SledConfig {
        SledConfig {
            directory: place(&self.config.directory),
            reserve_bytes: 0,
            ..self.config.clone()
        }
    }

    /// Puts the database that was built, and is closed, in its place.
    pub fn put_in_place(self) -> Result<()> {
        let directory = &self.config.directory;
        switch(directory)
            .and_then(|()| sync_upwards(directory))
            .map_err(|error| StoreError::Open(open::refused(directory, &error)))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Err(error) = settle(&self.config.directory) {
            tracing::warn!(%error, "cannot remove what a replacement left; the next start does");
        }
    }
}

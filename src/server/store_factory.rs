//! Opens stores by their location, `sled:PATH` or `memory`; restores and copies stores whose server is stopped.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::kv::KvStore;
use crate::store::kv::backup::KvImport;
use crate::store::kv::memory::MemoryEngine;
use crate::store::kv::sled::{SledConfig, SledEngine};
use crate::store::transfer::{self, BackupError, Import, Progress, Restored};
use crate::store::{Result, Store, StoreStatus};

/// A store by its kind and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// On sled in this directory.
    Sled(PathBuf),
    /// In memory; gone when the process ends.
    Memory,
}

impl FromStr for StoreLocation {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            Some(("sled", path)) if !path.is_empty() => Ok(Self::Sled(path.into())),
            None if text == "memory" => Ok(Self::Memory),
            _ => Err(format!("{text:?} is not a store; give sled:PATH or memory")),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sled(path) => write!(f, "sled:{}", path.display()),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// What an operator can set of a store.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreOptions {
    /// Memory for decoded articles and texts, in bytes.
    pub cache_bytes: u64,
    /// Free bytes of the volume below which writes are refused; `None`: 1 GiB or a tenth of the database.
    pub min_free_bytes: Option<u64>,
}

impl StoreOptions {
    fn sled(self, directory: &Path) -> SledConfig {
        SledConfig {
            min_free_bytes: self.min_free_bytes,
            ..SledConfig::new(directory)
        }
    }
}

impl StoreLocation {
    /// Opens the store, or makes it. May read the disk for a while.
    pub fn open(&self, options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
        Ok(match self {
            Self::Sled(directory) => Arc::new(KvStore::open(
                SledEngine::open(options.sled(directory))?,
                clock,
                options.cache_bytes,
            )?),
            Self::Memory => Arc::new(KvStore::open(
                MemoryEngine::default(),
                clock,
                options.cache_bytes,
            )?),
        })
    }
}

/// Opens the store in a directory, which must hold one.
pub fn open_existing(
    directory: &Path,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>> {
    let engine = SledEngine::open_existing(options.sled(directory))?;
    Ok(Arc::new(KvStore::open(engine, clock, options.cache_bytes)?))
}

/// Makes the store of a backup in a directory; see [`transfer::restore`]. With `replace` there
/// may be a store, which is removed.
pub async fn restore(
    file: &Path,
    directory: &Path,
    options: StoreOptions,
    replace: bool,
    clock: Arc<dyn Clock>,
    progress: Progress,
) -> std::result::Result<Restored, BackupError> {
    let config = options.sled(directory);
    let begin =
        move || KvImport::sled(&config, replace, clock).map(|import| Box::new(import) as Box<dyn Import>);
    transfer::restore(file, begin, progress).await
}

/// Makes a copy of the store in one directory in another one, which must hold none; see [`transfer::copy`].
pub async fn copy(
    from: &Path,
    to: &Path,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
    progress: Progress,
) -> std::result::Result<StoreStatus, BackupError> {
    let source = open_existing(from, options, clock.clone())?;
    let name = from.display().to_string();
    let copied = match KvImport::sled(&options.sled(to), false, clock) {
        Ok(import) => transfer::copy(&*source, name, Box::new(import), progress).await,
        Err(error) => Err(error.into()),
    };
    source.close().await?;
    copied
}

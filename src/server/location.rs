//! Where a store is: `sled:PATH` or `memory`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::kv::KvStore;
use crate::store::kv::memory::MemoryEngine;
use crate::store::kv::sled::{SledConfig, SledEngine};
use crate::store::{Result, Store};

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

impl StoreLocation {
    /// Opens the store, or makes it. May read the disk for a while.
    pub fn open(&self, options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
        Ok(match self {
            Self::Sled(directory) => {
                let config = SledConfig {
                    min_free_bytes: options.min_free_bytes,
                    ..SledConfig::new(directory.clone())
                };
                Arc::new(KvStore::open(
                    SledEngine::open(config)?,
                    clock,
                    options.cache_bytes,
                )?)
            }
            Self::Memory => Arc::new(KvStore::open(
                MemoryEngine::default(),
                clock,
                options.cache_bytes,
            )?),
        })
    }
}

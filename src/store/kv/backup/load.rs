//! Building a store of entities: for a restore, a copy.
//!
//! Everything goes into an empty engine. What is derived is made when all entities are there, and the record that makes
//! the engine a store is written last, so that a load which was broken off is no store.

use std::path::Path;
use std::sync::Arc;

use super::{BackupError, BackupFile, Entity, Malformed};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::error::{OpenError, Result, StoreError};
use crate::store::kv::core::Core;
use crate::store::kv::engine::{Engine, Write};
use crate::store::kv::recovery::{self, Identity};
use crate::store::kv::sled::{Replacement, SledConfig, SledEngine};
use crate::store::kv::{KvStore, keys};

/// Bytes that are applied at once; the engine keeps in memory what is not flushed.
const BATCH_BYTES: usize = 8 << 20;

/// Fills an empty engine.
pub struct Loader {
    core: Core,
    writes: Vec<Write>,
    bytes: usize,
}

impl Loader {
    /// A loader for an engine that holds no store yet; `cache_bytes` are for the store that it becomes.
    pub fn new(engine: impl Engine, clock: Arc<dyn Clock>, cache_bytes: u64) -> Result<Self> {
        if engine.get(keys::META)?.is_some() {
            return Err(StoreError::Open(OpenError::NotEmpty {
                directory: engine.location(),
            }));
        }
        Ok(Self {
            core: Core::new(Box::new(engine), clock, cache_bytes, 0),
            writes: Vec::new(),
            bytes: 0,
        })
    }

    /// Adds an entity, or replaces the one that was added before. The inner error says why it is none.
    pub fn add(&mut self, entity: &Entity) -> Result<std::result::Result<(), String>> {
        let (key, record) = match entity.record() {
            Ok(record) => record,
            Err(Malformed(detail)) => return Ok(Err(detail)),
        };
        self.bytes += key.len() + record.len();
        self.writes.push(Write::Put(key, record));
        if self.bytes >= BATCH_BYTES {
            self.apply()?;
        }
        Ok(Ok(()))
    }

    fn apply(&mut self) -> Result<()> {
        self.core.engine.admit()?;
        self.core.engine.apply(std::mem::take(&mut self.writes))?;
        self.bytes = 0;
        self.core.engine.flush()
    }

    /// Derives what is derived, and makes a store of it. `epoch`: `None` for one whose past is its own.
    pub fn finish(mut self, epoch: Option<[u8; 16]>) -> Result<KvStore> {
        self.apply()?;
        recovery::derive(&self.core)?;
        let identity = Identity::new(epoch, self.core.clock.now());
        identity.adopt(&self.core)?;
        KvStore::start(self.core, &identity)
    }
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub manifest: super::Manifest,
    /// The new store's epoch.
    pub epoch: [u8; 16],
}

/// How far a restore is: what it does, and how much of it is done.
pub type Progress<'a> = dyn FnMut(&'static str, u64, u64) + 'a;

/// Builds the store of a backup beside the one of `config`, checks it, and puts it in that one's place.
///
/// Until then nothing is touched; interrupted, it leaves the old store in its place. With `replace` there may be a store,
/// which is removed; without, there must be none. The new store has a new epoch: its past is another one.
///
/// The calling thread reads and writes the disk for as long as it takes.
pub async fn restore(
    file: &Path,
    config: &SledConfig,
    replace: bool,
    clock: Arc<dyn Clock>,
    progress: &mut Progress<'_>,
) -> std::result::Result<Restored, BackupError> {
    progress("verifying the backup", 0, 0);
    let backup = BackupFile::verify(file)?;
    let replacement = Replacement::begin(config, replace)?;
    let engine = SledEngine::open(replacement.config())?;
    let mut loader = Loader::new(engine, clock, config.cache_bytes)?;
    for (done, entity) in (0..).zip(backup.entities()?) {
        let (line, entity) = entity?;
        if done % 1024 == 0 {
            progress("restoring", done, backup.entities);
        }
        loader.add(&entity)?.map_err(|detail| BackupError::Altered {
            file: backup.name(),
            detail: format!("line {line}: {detail}"),
        })?;
    }
    progress("restoring", backup.entities, backup.entities);
    let store = loader.finish(None)?;
    progress("checking", 0, 0);
    let findings = store.check().await?;
    let status = store.status().await?;
    store.close().await?;
    if let Some(first) = findings.first() {
        return Err(BackupError::Unsound {
            file: backup.name(),
            record: first.record.clone(),
            problem: first.problem.clone(),
            findings: findings.len(),
        });
    }
    if status.seq != backup.manifest.seq {
        return Err(BackupError::Altered {
            file: backup.name(),
            detail: format!(
                "its log ends at commit {}, and its manifest says {}",
                status.seq, backup.manifest.seq
            ),
        });
    }
    replacement.put_in_place()?;
    Ok(Restored {
        manifest: backup.manifest,
        epoch: status.epoch,
    })
}

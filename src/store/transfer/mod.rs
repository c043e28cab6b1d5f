//! Backup, restore and copy: a store as a stream of entities, for any engine.
//!
//! [`Store::export`] is the source. [`Import`] is the sink: a store that is filled beside its place, checked, and only
//! then published, so that an interrupted import leaves the old store in place.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::thread::available_parallelism;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::error::{Result, StoreError};
use super::model::codec::Malformed;
use super::model::entity::{Decoded, Entity};
use super::{Store, StoreStatus};
use crate::domain::time::{Seq, Timestamp};

mod backup_file;

pub use backup_file::{BackupFile, BackupWriter};

/// Entities between two reports of the progress.
const REPORT_EVERY: u64 = 1024;
/// Chunks of entities that a backup or a copy reads ahead of what it writes.
const CHUNKS_AHEAD: usize = 4;
/// Bytes of a chunk of a backup.
const CHUNK_BYTES: usize = 1 << 20;

/// A progress callback: the name of the step, the units done, and the total, 0 if it is not known.
pub type Progress = Box<dyn FnMut(&'static str, u64, u64) + Send>;

/// The content of a backup or copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The last commit.
    pub seq: Seq,
    /// That commit's time.
    pub time: Timestamp,
    /// Lines by kind of entity.
    pub counts: BTreeMap<String, u64>,
}

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// The new store.
    pub status: StoreStatus,
}

/// An empty store that is filled with entities. It is visible after [`Import::publish`]; dropping it before leaves the old
/// store in place.
#[async_trait]
pub trait Import: Send {
    /// Adds entities. A later one of the same key replaces an earlier one.
    async fn put(&mut self, entities: Vec<Decoded>) -> Result<()>;

    /// Builds the store from the added entities, with this epoch or a new one. Articles that were purged from the store that it
    /// replaces stay purged: their tombstones are added, and their entities removed.
    async fn finish(&mut self, epoch: Option<[u8; 16]>) -> Result<Box<dyn Store>>;

    /// Puts the finished store, which must be closed, in its place.
    async fn publish(self: Box<Self>) -> Result<()>;
}

/// Writes a backup of a store, beside writes, as the chunks of a file.
pub async fn back_up(source: &dyn Store, now: Timestamp, to: mpsc::Sender<Vec<u8>>) -> Result<Manifest> {
    let mut writer = BackupWriter::new(source.epoch(), now).map_err(unwritable)?;
    let (chunks, mut entities) = mpsc::channel::<Vec<Entity>>(CHUNKS_AHEAD);
    let write = async {
        while let Some(chunk) = entities.recv().await {
            let compressed = spawn_blocking(move || {
                chunk.into_iter().try_for_each(|entity| writer.entity(entity))?;
                Ok((writer.take(), writer))
            });
            let bytes;
            (bytes, writer) = compressed
                .await
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
                .map_err(unwritable)?;
            send(&to, &bytes).await?;
        }
        Ok(writer)
    };
    // The first failure ends the other.
    let (last, writer) = futures::try_join!(source.export(chunks), write)?;
    let (rest, manifest) = spawn_blocking(move || writer.end(last))
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(unwritable)?;
    send(&to, &rest).await?;
    Ok(manifest)
}

async fn send(to: &mpsc::Sender<Vec<u8>>, bytes: &[u8]) -> Result<()> {
    for chunk in bytes.chunks(CHUNK_BYTES) {
        to.send(chunk.to_vec())
            .await
            .map_err(|_| unavailable("the reader of the backup went away"))?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the last use")]
fn unwritable(error: io::Error) -> StoreError {
    tracing::error!(%error, "a backup cannot be written");
    unavailable("the backup cannot be written")
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        reason: reason.to_owned(),
    }
}

/// Builds the store of a backup and publishes it. It gets a new epoch, because its history may differ from the old store's.
pub async fn restore(
    file: &Path,
    begin: impl FnOnce() -> Result<Box<dyn Import>>,
    mut progress: Progress,
) -> std::result::Result<Restored, BackupError> {
    progress("verifying the backup", 0, 0);
    let backup = BackupFile::verify(file)?;
    let mut building = Building::begin(backup.name(), begin()?, progress);
    let cores = available_parallelism().map_or(1, usize::from);
    // Lines are parsed on all cores, ahead of what is written; they arrive in order.
    let mut chunks = stream::iter(backup.chunks()?)
        .map(|chunk| spawn_blocking(move || chunk?.entities()))
        .buffered(2 * cores);
    while let Some(entities) = chunks.next().await {
        let entities = entities.map_err(|_| lost(&backup.name()))??;
        building.put("restoring", entities, backup.entities).await?;
    }
    let status = building.finish(None, |status| {
        (status.seq != backup.manifest.seq).then(|| BackupError::Altered {
            file: backup.name(),
            detail: format!(
                "its log ends at commit {}, and its manifest says {}",
                status.seq, backup.manifest.seq
            ),
        })
    });
    Ok(Restored {
        status: status.await?,
        manifest: backup.manifest,
    })
}

/// Builds a copy of a store, with its epoch, log and requests, and publishes it. `name` is that of the source. Returns the
/// copy's status.
pub async fn copy(
    source: &dyn Store,
    name: String,
    import: Box<dyn Import>,
    progress: Progress,
) -> std::result::Result<StoreStatus, BackupError> {
    let mut building = Building::begin(name.clone(), import, progress);
    let (chunks, exported) = mpsc::channel::<Vec<Entity>>(CHUNKS_AHEAD);
    // The receiver is dropped at the first error, which ends the export.
    let take = async {
        let mut exported = exported;
        while let Some(entities) = exported.recv().await {
            let decode = |entity: &Entity| {
                entity.decode().map_err(|Malformed(detail)| BackupError::Altered {
                    file: name.clone(),
                    detail: format!("{}: {detail}", entity.kind()),
                })
            };
            let decoded: std::result::Result<_, _> = entities.iter().map(decode).collect();
            building.put("copying", decoded?, 0).await?;
        }
        Ok::<_, BackupError>(())
    };
    let (last, taken) = futures::join!(source.export(chunks), take);
    // The error of the copy says more than that its reader was dropped.
    taken?;
    let last = last?;
    let status = source.status().await?;
    let differs = |what: &str| BackupError::Differs {
        name: name.clone(),
        detail: what.to_owned(),
    };
    building
        .finish(Some(status.epoch), |copied| {
            if (copied.seq, copied.epoch) != (last.seq, status.epoch) {
                return Some(differs("it ends at another commit"));
            }
            let is_same = copied.counts == status.counts;
            (!is_same).then(|| differs("it does not hold as many articles and translations"))
        })
        .await
}

fn lost(name: &str) -> BackupError {
    BackupError::Differs {
        name: name.to_owned(),
        detail: "it did not come to its end".to_owned(),
    }
}

/// A store under construction.
struct Building {
    /// The name of the source.
    source: String,
    import: Box<dyn Import>,
    added: u64,
    progress: Progress,
}

impl Building {
    fn begin(source: String, import: Box<dyn Import>, progress: Progress) -> Self {
        Self {
            source,
            import,
            added: 0,
            progress,
        }
    }

    async fn put(
        &mut self,
        doing: &'static str,
        entities: Vec<Decoded>,
        total: u64,
    ) -> std::result::Result<(), BackupError> {
        let before = self.added / REPORT_EVERY;
        self.added += entities.len() as u64;
        if self.added / REPORT_EVERY > before {
            (self.progress)(doing, self.added, total);
        }
        Ok(self.import.put(entities).await?)
    }

    /// Builds the store, checks it and publishes it, unless `objection` returns an error.
    async fn finish(
        mut self,
        epoch: Option<[u8; 16]>,
        objection: impl FnOnce(&StoreStatus) -> Option<BackupError>,
    ) -> std::result::Result<StoreStatus, BackupError> {
        (self.progress)("deriving the indexes", 0, 0);
        let store = self.import.finish(epoch).await?;
        (self.progress)("checking", 0, 0);
        let findings = store.check().await?;
        let status = store.status().await?;
        store.close().await?;
        if let Some(first) = findings.first() {
            return Err(BackupError::Unsound {
                file: self.source,
                record: first.record.clone(),
                problem: first.problem.clone(),
                findings: findings.len(),
            });
        }
        if let Some(objection) = objection(&status) {
            return Err(objection);
        }
        drop(store);
        self.import.publish().await?;
        Ok(status)
    }
}
/// Why a backup cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read.
    #[error("cannot read {file}: {detail}")]
    Io {
        /// The file.
        file: String,
        /// What the operating system said.
        detail: String,
    },
    /// The file is no backup.
    #[error("{file} is not a backup of an article store: {detail}")]
    Foreign {
        /// The file.
        file: String,
        /// Its first bytes, or the missing part.
        detail: String,
    },
    /// A newer version wrote it.
    #[error("{file} has backup format {found}, and this version reads formats up to {supported}")]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        supported: u32,
    },
    /// Its end is missing.
    #[error("{file} is cut off after {lines} lines: its manifest is missing")]
    CutOff {
        /// The file.
        file: String,
        /// Lines that could be read.
        lines: u64,
    },
    /// The content differs from the written one.
    #[error("{file} was altered: {detail}")]
    Altered {
        /// The file.
        file: String,
        /// The difference, with the line.
        detail: String,
    },
    /// The store that it holds does not pass the check.
    #[error("{file} does not hold a sound store: {record}: {problem} ({findings} findings)")]
    Unsound {
        /// The file.
        file: String,
        /// The first record that is wrong.
        record: String,
        /// What is wrong with it.
        problem: String,
        /// The number of findings.
        findings: usize,
    },
    /// The copy differs from its source.
    #[error("the copy of {name} is not the same: {detail}")]
    Differs {
        /// The store that was copied.
        name: String,
        /// The difference.
        detail: String,
    },
    /// The target store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

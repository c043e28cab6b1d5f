//! Restores and copies: a store is built beside its place, checked, and only then put there.
//!
//! Until then nothing is touched; a process that ends in the middle leaves what there was. What both do alike is
//! [`Building`]; they differ in where the entities come from and in whose past the new store continues.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use futures::stream::{self, StreamExt};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{BackupError, BackupFile, Entity, Loader, Malformed, Manifest, Record, dump};
use crate::clock::Clock;
use crate::domain::time::Stamp;
use crate::store::kv::engine::Engine;
use crate::store::kv::sled::{Replacement, SledConfig, SledEngine};
use crate::store::{EntitySink, OpenError, Store, StoreError, StoreStatus};

/// Entities between two reports of the progress.
const REPORT_EVERY: u64 = 1024;

/// Told how far it is: what is being done, how much of it is done, and how much there is, 0 where that is not known.
pub type Progress = Box<dyn FnMut(&'static str, u64, u64) + Send>;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// The new store.
    pub status: StoreStatus,
}

/// Builds the store of a backup and puts it in the place of the one of `config`.
///
/// With `replace` there may be a store, which is removed; without, there must be none. What was purged from it does not
/// come back, though the backup is older: its tombstones go along. The new store has a new epoch: its past is another
/// one. The calling thread reads and writes the disk for as long as it takes.
pub async fn restore(
    file: &Path,
    config: &SledConfig,
    replace: bool,
    clock: Arc<dyn Clock>,
    mut progress: Progress,
) -> Result<Restored, BackupError> {
    progress("verifying the backup", 0, 0);
    let backup = BackupFile::verify(file)?;
    let purged = if replace { tombstones(config)? } else { Vec::new() };
    let mut building = Building::begin(backup.name(), config, replace, clock, progress)?;
    let cores = available_parallelism().map_or(1, usize::from);
    // What is read and made ready ahead of what is written; the lines come in order.
    let mut lots = stream::iter(backup.lots()?)
        .map(|lot| spawn_blocking(move || lot?.records()))
        .buffered(2 * cores);
    while let Some(records) = lots.next().await {
        let records = records.map_err(|_| lost(&backup.name()))??;
        building.put("restoring", records, backup.entities)?;
    }
    for tombstone in purged {
        building.loader.bury(tombstone, backup.manifest.seq)?;
    }
    let built = building.finish(None).await?;
    if built.status.seq != backup.manifest.seq {
        return Err(BackupError::Altered {
            file: backup.name(),
            detail: format!(
                "its log ends at commit {}, and its manifest says {}",
                built.status.seq, backup.manifest.seq
            ),
        });
    }
    built.replacement.put_in_place()?;
    Ok(Restored {
        manifest: backup.manifest,
        status: built.status,
    })
}

/// Builds a copy of a store, which keeps its epoch, log and requests, in the place of `config`, where there must be none.
/// `name` is what the source is called. Answers the copy's status.
pub async fn copy(
    source: &dyn Store,
    name: String,
    config: &SledConfig,
    clock: Arc<dyn Clock>,
    progress: Progress,
) -> Result<StoreStatus, BackupError> {
    let building = Building::begin(name.clone(), config, false, clock, progress)?;
    let (done, copied) = oneshot::channel();
    let sink = Copying(Some((building, done)));
    let dumped = source.dump(Box::new(sink)).await;
    // What the copy failed of says more than that its reader went away.
    let building = match copied.await {
        Ok(copied) => copied?,
        Err(_) => return Err(dumped.err().map_or_else(|| lost(&name), BackupError::Store)),
    };
    let last = dumped?;
    let status = source.status().await?;
    let built = building.finish(Some(status.epoch)).await?;
    let differs = |what: &str| BackupError::Differs {
        name: name.clone(),
        detail: what.to_owned(),
    };
    if (built.status.seq, built.status.epoch) != (last.seq, status.epoch) {
        return Err(differs("it ends at another commit"));
    }
    if built.status.counts != status.counts {
        return Err(differs("it does not hold as many articles and translations"));
    }
    built.replacement.put_in_place()?;
    Ok(built.status)
}

/// The tombstones of the store that is to be replaced, if it can still be read.
fn tombstones(config: &SledConfig) -> Result<Vec<Entity>, BackupError> {
    let read = SledEngine::open_existing(config.clone()).and_then(|engine| {
        let found = dump::read_all(&engine, b'x')?;
        engine.close()?;
        Ok(found)
    });
    match read {
        Ok(found) => Ok(found),
        Err(StoreError::Open(OpenError::Missing { .. })) => Ok(Vec::new()),
        Err(error @ StoreError::Open(OpenError::InUse { .. } | OpenError::Io { .. })) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "the old store cannot be read: what was purged from it may come back with the backup");
            Ok(Vec::new())
        }
    }
}

fn lost(name: &str) -> BackupError {
    BackupError::Differs {
        name: name.to_owned(),
        detail: "it did not come to its end".to_owned(),
    }
}

/// A store that is being built.
struct Building {
    /// What it is made from.
    source: String,
    // Dropped before the place that it is in.
    loader: Loader,
    replacement: Replacement,
    added: u64,
    progress: Progress,
}

/// One that was built and passed its check.
struct Built {
    replacement: Replacement,
    status: StoreStatus,
}

impl Building {
    fn begin(
        source: String,
        config: &SledConfig,
        replace: bool,
        clock: Arc<dyn Clock>,
        progress: Progress,
    ) -> Result<Self, BackupError> {
        let replacement = Replacement::begin(config, replace)?;
        let engine = SledEngine::open(replacement.config())?;
        Ok(Self {
            source,
            replacement,
            loader: Loader::new(engine, clock, config.cache_bytes)?,
            added: 0,
            progress,
        })
    }

    fn put(&mut self, doing: &'static str, records: Vec<Record>, total: u64) -> Result<(), BackupError> {
        for record in records {
            if self.added.is_multiple_of(REPORT_EVERY) {
                (self.progress)(doing, self.added, total);
            }
            self.added += 1;
            self.loader.put(record)?;
        }
        Ok(())
    }

    /// Makes a store of what was added, and checks it.
    async fn finish(mut self, epoch: Option<[u8; 16]>) -> Result<Built, BackupError> {
        (self.progress)("deriving the indexes", 0, 0);
        let store = self.loader.finish(epoch)?;
        (self.progress)("checking", 0, 0);
        let findings = store.check_on_all_cores().await?;
        let status = store.status().await?;
        store.close().await?;
        match findings.first() {
            Some(first) => Err(BackupError::Unsound {
                file: self.source,
                record: first.record.clone(),
                problem: first.problem.clone(),
                findings: findings.len(),
            }),
            None => Ok(Built {
                replacement: self.replacement,
                status,
            }),
        }
    }
}

type Done = oneshot::Sender<Result<Building, BackupError>>;

/// Takes the entities of a dump, and says at its end what became of them.
struct Copying(Option<(Building, Done)>);

impl EntitySink for Copying {
    fn entity(&mut self, entity: Entity) -> io::Result<()> {
        let Some((mut building, done)) = self.0.take() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let record = entity.record().map_err(|Malformed(detail)| BackupError::Altered {
            file: building.source.clone(),
            detail: format!("{}: {detail}", entity.kind()),
        });
        match record.and_then(|record| building.put("copying", vec![record], 0)) {
            Ok(()) => {
                self.0 = Some((building, done));
                Ok(())
            }
            Err(error) => {
                let said = io::Error::other(error.to_string());
                // Whoever waits for the copy is gone only with the process.
                drop(done.send(Err(error)));
                Err(said)
            }
        }
    }

    fn end(&mut self, _: Stamp) -> io::Result<()> {
        let (building, done) = self.0.take().ok_or(io::ErrorKind::BrokenPipe)?;
        done.send(Ok(building))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

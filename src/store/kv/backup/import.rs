//! A kv store that is filled from entities: records are encoded on all cores, and written in order.

use std::sync::Arc;
use std::thread::available_parallelism;

use async_trait::async_trait;
use futures::stream::{FuturesOrdered, StreamExt};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Loader, Record, dump, records_of};
use crate::clock::Clock;
use crate::store::error::{OpenError, Result, StoreError};
use crate::store::kv::engine::Engine;
use crate::store::kv::memory::MemoryEngine;
use crate::store::kv::sled::{Replacement, SledConfig, SledEngine};
use crate::store::kv::unavailable;
use crate::store::model::entity::{Decoded, Entity};
use crate::store::transfer::Import;
use crate::store::{Store, StoreError::Open};

/// A kv store that is being filled. The thread that puts entities writes the disk.
pub struct KvImport {
    /// `None` when it is finished.
    loader: Option<Loader>,
    /// The tombstones of the store whose place it takes.
    buried: Vec<Entity>,
    encoding: FuturesOrdered<JoinHandle<Vec<Record>>>,
    /// Where it is put. Dropped after the loader.
    place: Option<Replacement>,
}

impl KvImport {
    /// Begins a store on sled in this directory. Without `replace` there must be none.
    pub fn sled(config: &SledConfig, replace: bool, clock: Arc<dyn Clock>) -> Result<Self> {
        let buried = if replace { tombstones(config)? } else { Vec::new() };
        let place = Replacement::begin(config, replace)?;
        let engine = SledEngine::open(place.config())?;
        Ok(Self {
            loader: Some(Loader::new(engine, clock, config.cache_bytes)?),
            buried,
            encoding: FuturesOrdered::new(),
            place: Some(place),
        })
    }

    /// Begins a store in memory.
    pub fn memory(clock: Arc<dyn Clock>, cache_bytes: u64) -> Result<Self> {
        Ok(Self {
            loader: Some(Loader::new(MemoryEngine::new(), clock, cache_bytes)?),
            buried: Vec::new(),
            encoding: FuturesOrdered::new(),
            place: None,
        })
    }

    /// Writes encoded chunks until `left` are left.
    async fn write(&mut self, left: usize) -> Result<()> {
        while self.encoding.len() > left {
            let Some(records) = self.encoding.next().await else {
                break;
            };
            let records = records.map_err(|_| unavailable("a record could not be encoded"))?;
            let loader = self.loader.as_mut().ok_or(StoreError::Closed)?;
            records.into_iter().try_for_each(|record| loader.put(record))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Import for KvImport {
    async fn put(&mut self, entities: Vec<Decoded>) -> Result<()> {
        let encode = move || entities.into_iter().flat_map(records_of).collect();
        self.encoding.push_back(spawn_blocking(encode));
        self.write(2 * available_parallelism().map_or(1, usize::from))
            .await
    }

    async fn finish(&mut self, epoch: Option<[u8; 16]>) -> Result<Box<dyn Store>> {
        self.write(0).await?;
        let mut loader = self.loader.take().ok_or(StoreError::Closed)?;
        for tombstone in &self.buried {
            loader.bury(tombstone)?;
        }
        Ok(Box::new(loader.finish(epoch)?))
    }

    async fn publish(self: Box<Self>) -> Result<()> {
        self.place.map_or(Ok(()), Replacement::put_in_place)
    }
}

/// The tombstones of the store that is to be replaced, if it can still be read.
fn tombstones(config: &SledConfig) -> Result<Vec<Entity>> {
    let read = SledEngine::open_existing(config.clone()).and_then(|engine| {
        let found = dump::read_all(&engine, b'x')?;
        engine.close()?;
        Ok(found)
    });
    match read {
        Ok(found) => Ok(found),
        Err(Open(OpenError::Missing { .. })) => Ok(Vec::new()),
        Err(error @ Open(OpenError::InUse { .. } | OpenError::Io { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the old store cannot be read: what was purged from it may come back with the backup");
            Ok(Vec::new())
        }
    }
}

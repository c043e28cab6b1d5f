//! Filling an empty engine with entities.
//!
//! Derived records are made when all entities are there, and the record that makes the engine a store is written last, so
//! that an interrupted load is no store.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Record, entity_of, records_of};
use crate::clock::Clock;
use crate::store::error::{OpenError, Result, StoreError};
use crate::store::kv::engine::{Direction, Engine, Write, write_part};
use crate::store::kv::recovery::{self, Identity};
use crate::store::kv::shared::{Shared, corrupt};
use crate::store::kv::{KvStore, keys, purge, trim, upgrade};
use crate::store::model::codec::Malformed;
use crate::store::model::entity::{Content, Entity};

/// Bytes that are applied at once; the engine keeps unflushed writes in memory.
const BATCH_BYTES: usize = 8 << 20;

/// Fills an empty engine.
pub(in crate::store::kv) struct Loader {
    core: Shared,
    writes: Vec<Write>,
    bytes: usize,
}

impl Loader {
    /// A loader for an engine that holds no store yet; `cache_bytes` are for the store that it becomes.
    pub(super) fn new(engine: impl Engine, clock: Arc<dyn Clock>, cache_bytes: u64) -> Result<Self> {
        if engine.get(keys::META)?.is_some() {
            return Err(StoreError::Open(OpenError::NotEmpty {
                location: engine.location(),
            }));
        }
        Ok(Self {
            core: Shared::new(Box::new(engine), clock, cache_bytes, 0),
            writes: Vec::new(),
            bytes: 0,
        })
    }

    /// Adds the record of an entity.
    pub(super) fn put(&mut self, (key, record): Record) -> Result<()> {
        self.bytes += key.len() + record.len();
        self.writes.push(Write::Put(key, record));
        if self.bytes >= BATCH_BYTES {
            self.apply()?;
        }
        Ok(())
    }

    /// Takes in the tombstone of an article that was purged after the last commit that was added: nothing of the article may
    /// come back. All of its entities must have been added.
    pub(super) fn bury(&mut self, tombstone: &Entity) -> Result<()> {
        self.key_versions()?;
        let mut tombstone = tombstone.decode().map_err(corrupt(b"x"))?;
        // Nothing may name a commit that the new store does not have.
        tombstone.stamp.seq = tombstone.stamp.seq.min(recovery::last_commit(&self.core)?.seq);
        let article = match &tombstone.content {
            Content::Tombstone(tombstone) => tombstone.article.clone(),
            _ => return Err(corrupt(b"x")(Malformed("it is no tombstone".into()))),
        };
        let state = self.core.load(&article)?;
        let removed = purge::all(&self.core, &article, state.as_deref())?;
        let mut writes: Vec<_> = removed.into_iter().map(Write::Remove).collect();
        self.core.articles.remove(&article);
        writes.extend(records_of(tombstone).map(|(key, record)| Write::Put(key, record)));
        self.core.engine.apply(writes)?;
        self.core.engine.flush()
    }

    fn apply(&mut self) -> Result<()> {
        self.core.engine.admit()?;
        self.bytes = 0;
        write_part(&*self.core.engine, std::mem::take(&mut self.writes))
    }

    /// Applies pending writes, and gives versions of an older format their keys.
    fn key_versions(&mut self) -> Result<()> {
        self.apply()?;
        if upgrade::is_needed(&self.core)? {
            upgrade::copy(&self.core)?;
            upgrade::remove_copied(&self.core)?;
        }
        Ok(())
    }

    /// The tombstones of articles that were purged after the last commit that was added; see [`super::dump`].
    fn later_tombstones(&self) -> Result<Vec<Entity>> {
        let last = recovery::last_commit(&self.core)?.seq;
        let mut later = Vec::new();
        self.core.scan(
            b"x",
            &keys::above(b"x"),
            Direction::Forward,
            |key, stamp, payload| {
                if stamp.seq > last {
                    later.push(entity_of(key, stamp, &payload).map_err(corrupt(key))?);
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(later)
    }

    /// Makes the derived records, and a store of them all. `epoch`: `None` for a new one.
    pub(super) fn finish(mut self, epoch: Option<[u8; 16]>) -> Result<KvStore> {
        self.key_versions()?;
        for tombstone in self.later_tombstones()? {
            self.bury(&tombstone)?;
        }
        recovery::derive(&self.core)?;
        // The log may have been trimmed where it comes from.
        if let Some(floor) = trim::floor_of_log(&self.core)? {
            self.writes.push(floor);
            self.apply()?;
        }
        let identity = Identity::new(epoch, self.core.clock.now());
        identity.adopt(&self.core)?;
        KvStore::start(self.core, &identity)
    }
}

//! Reading versions. The newest of a series is named by the article's state, with the commit that wrote it; of each earlier
//! one the commit is a record of its own, written when the version was superseded.

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;

use super::engine::Direction;
use super::shared::{Shared, corrupt};
use super::{codec, keys};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::VersionKey;
use crate::store::Body;
use crate::store::error::{Result, StoreError};

fn missing(version: &VersionKey) -> StoreError {
    StoreError::Corrupt {
        record: version.to_string(),
        detail: "it is missing".into(),
    }
}

impl Shared {
    /// A version from the cache or the engine; may read the disk.
    pub(super) fn version(&self, key: &VersionKey) -> Result<Arc<Body>> {
        // Under the lock of the article nothing becomes superseded between the two places to look at.
        let _guard = self.stripe(&key.article).map(RwLock::read);
        if let Some(body) = self.bodies.get(key) {
            self.metrics.bodies.hits.inc();
            return Ok(body);
        }
        self.metrics.bodies.misses.inc();
        let written = self.written(key)?;
        let stored = Arc::new(self.stored_version(written.seq, key)?);
        self.bodies.insert(key.clone(), stored.clone());
        Ok(stored)
    }

    /// Of the versions of a series up to this one, the newest that was written at a time or before.
    pub(super) fn version_at(&self, newest: &VersionKey, time: Timestamp) -> Result<Option<Arc<Body>>> {
        let number_at = || {
            let _guard = self.stripe(&newest.article).map(RwLock::read);
            let numbered = |number| VersionKey {
                number,
                ..newest.clone()
            };
            // The versions up to `known` were written by then, those from `later` on were not.
            let (mut known, mut later) = (0, newest.number + 1);
            let mut next = newest.number;
            while known + 1 < later {
                if self.written(&numbered(next))?.time <= time {
                    known = next;
                } else {
                    later = next;
                }
                next = known + (later - known) / 2;
            }
            Ok((known > 0).then(|| numbered(known)))
        };
        number_at()?.map(|key| self.version(&key)).transpose()
    }

    /// The commit that wrote a version.
    pub(super) fn written_at(&self, key: &VersionKey) -> Result<Stamp> {
        let _guard = self.stripe(&key.article).map(RwLock::read);
        self.written(key)
    }

    /// The same under the lock of the article.
    fn written(&self, key: &VersionKey) -> Result<Stamp> {
        let cached = self.articles.get(&key.article);
        let state = match cached {
            Some(state) => Some(state),
            None => self.load(&key.article)?,
        };
        let newest = state.and_then(|state| state.newest(&key.series));
        if let Some(newest) = newest.filter(|newest| newest.number == key.number) {
            return Ok(newest.stamp);
        }
        let prefix = keys::superseded(key);
        let mut found = None;
        self.scan(
            &prefix,
            &keys::above(&prefix),
            Direction::Forward,
            |_, stamp, _| {
                found = Some(stamp);
                Ok(ControlFlow::Break(()))
            },
        )?;
        found.ok_or_else(|| missing(key))
    }

    /// A version from the engine.
    pub(super) fn stored_version(&self, seq: Seq, version: &VersionKey) -> Result<Body> {
        let key = keys::body(seq, version);
        let (stamp, payload) = self.get(&key)?.ok_or_else(|| missing(version))?;
        codec::decode_body(&payload, stamp).map_err(corrupt(&key))
    }

    /// Forgets versions that are others now.
    pub(super) fn forget_versions(&self, versions: &[VersionKey]) {
        for version in versions {
            // A reader that has read the old one caches it before it lets go of this.
            let _guard = self.stripe(&version.article).map(RwLock::write);
            self.bodies.remove(version);
        }
    }
}

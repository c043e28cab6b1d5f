//! State shared by readers and the writer: the engine, the caches and the durable watermark.
//!
//! Locks: an article's head, slots and jobs are read and cached under the read lock of its stripe; the writer applies a
//! group under the write locks of its stripes. So a read of one article sees one moment, and the cache never holds what the
//! engine no longer has. Locks are held for memory work and page reads, never for a sync.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::backup::Dumping;
use super::codec::{self, Malformed};
use super::engine::{Direction, Engine};
use super::{envelope, keys};
use crate::clock::{Clock, StoreClock};
use crate::domain::article::{ArticleId, Tombstone};
use crate::domain::job::Jobs;
use crate::domain::language::Language;
use crate::domain::time::{Seq, Stamp};
use crate::domain::version::VersionKey;
use crate::store::error::{Result, StoreError};
use crate::store::{ArticleState, Body, Counts, Durable, LogHolds, Metrics, Policies, Progress};

/// Enough that two articles seldom share one, few enough that clearing all is quick.
const STRIPES: usize = 1024;

/// The finding for a record whose key is not the one of its content.
pub(super) const MISPLACED: &str = "it is stored in another place than it says";

/// Estimated memory of a cache entry, in bytes.
#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<ArticleId, Arc<ArticleState>> for Weight {
    fn weight(&self, _: &ArticleId, state: &Arc<ArticleState>) -> u64 {
        state.bytes() as u64
    }
}

impl Weighter<VersionKey, Arc<Body>> for Weight {
    fn weight(&self, _: &VersionKey, body: &Arc<Body>) -> u64 {
        let bytes = match &**body {
            Body::Article(_) => 1024,
            Body::Revision(revision) => {
                512 + revision.content.text_bytes() + 128 * revision.content.body.len()
            }
            Body::Translation(version) => {
                1024 + version
                    .texts
                    .iter()
                    .map(|text| 192 + text.text().len())
                    .sum::<usize>()
            }
            Body::Selection(_) | Body::Dropped(_) => 512,
        };
        bytes as u64
    }
}

/// The state that readers and the writer share.
pub(super) struct Shared {
    pub(super) engine: Box<dyn Engine>,
    pub(super) clock: StoreClock,
    pub(super) articles: Cache<ArticleId, Arc<ArticleState>, Weight>,
    pub(super) bodies: Cache<VersionKey, Arc<Body>, Weight>,
    stripes: Vec<RwLock<()>>,
    hasher: RandomState,
    /// How much there is by language, as far as it was applied.
    pub(super) counts: Mutex<BTreeMap<Language, Counts>>,
    /// All policies as far as they were applied, or why they cannot be read.
    pub(super) policies: Mutex<Result<Policies>>,
    /// The dump that is being made.
    pub(super) dump: Mutex<Option<Dumping>>,
    /// How far a compaction is, if there is one.
    pub(super) compaction: Mutex<Option<Progress>>,
    /// The holds on the log.
    pub(super) holds: LogHolds,
    /// The number of engine failures: state that was read before one and was not durable may be lost.
    pub(super) failures: AtomicU64,
    /// The newest commit that was applied, durable or not.
    pub(super) applied: AtomicU64,
    /// The newest purge that was applied, durable or not: a record may be absent because of it.
    purged: AtomicU64,
    pub(super) durable: watch::Sender<Durable>,
    pub(super) metrics: Metrics,
    pub(super) closed: AtomicBool,
}

/// Adds the record's name to a decoding error.
pub(super) fn corrupt(key: &[u8]) -> impl FnOnce(Malformed) -> StoreError + '_ {
    |malformed| StoreError::Corrupt {
        record: keys::readable(key),
        detail: malformed.0,
    }
}

impl Shared {
    pub(super) fn new(engine: Box<dyn Engine>, clock: Arc<dyn Clock>, cache_bytes: u64, seq: Seq) -> Self {
        let cache =
            |share: u64, item: u64| (usize::try_from(share / item).unwrap_or(usize::MAX).max(16), share);
        // Slots and heads are asked for by every call, texts only by some.
        let (articles, bodies) = (cache(cache_bytes / 2, 4096), cache(cache_bytes / 2, 8192));
        Self {
            engine,
            clock: StoreClock::new(clock),
            articles: Cache::with_weighter(articles.0, articles.1, Weight),
            bodies: Cache::with_weighter(bodies.0, bodies.1, Weight),
            stripes: (0..STRIPES).map(|_| RwLock::new(())).collect(),
            hasher: RandomState::new(),
            counts: Mutex::default(),
            policies: Mutex::new(Ok(Policies::default())),
            dump: Mutex::default(),
            compaction: Mutex::default(),
            holds: LogHolds::default(),
            failures: AtomicU64::new(0),
            applied: AtomicU64::new(seq),
            purged: AtomicU64::new(0),
            durable: watch::Sender::new(Durable { seq, generation: 0 }),
            metrics: Metrics::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    fn stripe_number(&self, article: &ArticleId) -> usize {
        usize::try_from(self.hasher.hash_one(article)).unwrap_or_default() % STRIPES
    }

    pub(super) fn stripe(&self, article: &ArticleId) -> Option<&RwLock<()>> {
        self.stripes.get(self.stripe_number(article))
    }

    /// Locks the articles of a group against readers, always in the same order, so that no deadlock is possible.
    pub(super) fn lock<'a>(&self, ids: impl Iterator<Item = &'a ArticleId>) -> Vec<RwLockWriteGuard<'_, ()>> {
        let mut numbers: Vec<usize> = ids.map(|id| self.stripe_number(id)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
            .into_iter()
            .filter_map(|number| self.stripes.get(number))
            .map(RwLock::write)
            .collect()
    }

    /// Notes that a group with these commits is about to be seen.
    pub(super) fn show(&self, last: Seq, purged: Option<Seq>) {
        self.applied.store(last, Ordering::Release);
        if let Some(purged) = purged {
            self.purged.store(purged, Ordering::Release);
        }
    }

    /// Notes that commits after this one did not come to be.
    pub(super) fn roll_back(&self, last: Seq) {
        self.applied.store(last, Ordering::Release);
        self.purged.fetch_min(last, Ordering::AcqRel);
    }

    /// The newest commit that an answer shows, if something is absent from it.
    pub(super) fn absence(&self, is_absent: bool) -> Seq {
        if is_absent {
            self.purged.load(Ordering::Acquire)
        } else {
            0
        }
    }

    /// Empties the caches: their content may not have survived a reopening.
    pub(super) fn forget(&self) {
        let _all: Vec<_> = self.stripes.iter().map(RwLock::write).collect();
        self.articles.clear();
        self.bodies.clear();
    }

    /// Drops from the caches all that is not durable, for the time in which the engine cannot be read.
    pub(super) fn forget_what_is_in_doubt(&self) {
        let _all: Vec<_> = self.stripes.iter().map(RwLock::write).collect();
        let durable = self.durable.borrow().seq;
        self.articles.retain(|_, state| state.seq() <= durable);
        self.bodies.retain(|_, body| body.version().stamp.seq <= durable);
        let mut policies = self.policies.lock();
        if policies.as_ref().is_ok_and(|policies| policies.seq > durable) {
            *policies = Err(StoreError::Unavailable {
                reason: "the storage engine failed and could not be reopened yet".into(),
            });
        }
    }

    /// An article from the cache, without waiting for anything.
    pub(super) fn cached(&self, id: &ArticleId) -> Option<Arc<ArticleState>> {
        let _guard = self.stripe(id)?.try_read()?;
        self.articles.get(id)
    }

    /// An article from the cache or the engine; may read the disk.
    pub(super) fn read(&self, id: &ArticleId) -> Result<Option<Arc<ArticleState>>> {
        let _guard = self.stripe(id).map(RwLock::read);
        self.load(id)
    }

    /// The same for the writer, which needs no lock because no other thread writes.
    pub(super) fn load(&self, id: &ArticleId) -> Result<Option<Arc<ArticleState>>> {
        if let Some(state) = self.articles.get(id) {
            self.metrics.articles.hits.inc();
            return Ok(Some(state));
        }
        self.metrics.articles.misses.inc();
        let Some(state) = self.stored(id)?.map(Arc::new) else {
            return Ok(None);
        };
        self.articles.insert(id.clone(), state.clone());
        Ok(Some(state))
    }

    /// An article from the engine.
    pub(super) fn stored(&self, id: &ArticleId) -> Result<Option<ArticleState>> {
        let in_place = |key: &[u8], place: Vec<u8>| {
            let misplaced = || corrupt(key)(Malformed(MISPLACED.into()));
            (place == key).then_some(()).ok_or_else(misplaced)
        };
        let key = keys::head(id);
        let Some((stamp, payload)) = self.get(&key)? else {
            return Ok(None);
        };
        let head = codec::decode_head(&payload, stamp).map_err(corrupt(&key))?;
        in_place(&key, keys::head(&head.id))?;
        let (mut slots, mut jobs) = (BTreeMap::new(), Jobs::new());
        let from = keys::slots(id);
        let to = keys::above(&from);
        self.scan(&from, &to, Direction::Forward, |key, stamp, payload| {
            let slot = codec::decode_slot(&payload, stamp).map_err(corrupt(key))?;
            in_place(key, keys::slot(&slot.article, &slot.language))?;
            slots.insert(slot.language.clone(), Arc::new(slot));
            Ok(ControlFlow::Continue(()))
        })?;
        let from = keys::jobs(id);
        let to = keys::above(&from);
        self.scan(&from, &to, Direction::Forward, |key, stamp, payload| {
            let job = codec::decode_job(&payload, stamp).map_err(corrupt(key))?;
            in_place(key, keys::job(&job.id.article, &job.id.key))?;
            jobs.insert(job.id.key.clone(), Arc::new(job));
            Ok(ControlFlow::Continue(()))
        })?;
        let head = Arc::new(head);
        Ok(Some(ArticleState { head, slots, jobs }))
    }

    /// The tombstone of an article that was purged.
    pub(super) fn tombstone(&self, id: &ArticleId) -> Result<Option<Tombstone>> {
        let key = keys::tombstone(id);
        let decode = |(stamp, payload): (_, Vec<u8>)| codec::decode_tombstone(&payload, stamp);
        self.get(&key)?.map(decode).transpose().map_err(corrupt(&key))
    }

    /// The result of a read of an article in several steps, if the article was not purged before the last of them.
    pub(super) fn unless_purged<T>(&self, id: &ArticleId, read: Result<T>) -> Result<T> {
        match self.tombstone(id)? {
            Some(tombstone) => Err(StoreError::Purged(Box::new(tombstone))),
            None => read,
        }
    }

    /// The ids of the articles after one, in their order.
    pub(super) fn ids_after(&self, after: Option<&ArticleId>, limit: usize) -> Result<Vec<ArticleId>> {
        // An id's successor in byte order is the id with a zero byte behind it.
        let from = after.map_or_else(|| b"h".to_vec(), |id| [keys::head(id).as_slice(), &[0]].concat());
        let mut ids = Vec::new();
        self.engine.scan(
            from.as_slice()..=&keys::above(b"h"),
            Direction::Forward,
            &mut |key, _| {
                ids.extend(keys::head_id(key));
                if ids.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        Ok(ids)
    }

    /// A record's stamp and payload.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<(Stamp, Vec<u8>)>> {
        let record = self.engine.get(key)?;
        record
            .map(|record| envelope::open(&record, || keys::readable(key)))
            .transpose()
    }

    /// Visits opened records until `visit` breaks or fails.
    pub(super) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        direction: Direction,
        mut visit: impl FnMut(&[u8], Stamp, Vec<u8>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if from > to {
            return Ok(());
        }
        let mut failed = None;
        self.engine.scan(from..=to, direction, &mut |key, record| {
            let opened = envelope::open(record, || keys::readable(key));
            match opened.and_then(|(stamp, payload)| visit(key, stamp, payload)) {
                Ok(flow) => flow,
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}

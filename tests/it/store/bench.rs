//! A store under test, with the engine under it and a clock that the test moves.

use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use article_store::clock::{Clock, ManualClock};
use article_store::domain::article::ArticleId;
use article_store::domain::time::Timestamp;
use article_store::store::Sizes;
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Compacting, Direction, Engine, Visitor, Write};
use article_store::store::kv::memory::MemoryEngine;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use article_store::store::reference::ReferenceStore;
use article_store::store::{ArticleState, Result, Store};
use tempfile::TempDir;

/// More than any test takes; a test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// A cache that holds all that a test writes.
const CACHE: u64 = 8 << 20;

/// A store to test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The reference store.
    Reference,
    /// The kv store over memory.
    Memory,
    /// The kv store over sled.
    Sled,
}

/// An engine that the test can reach beside the store. It outlives the store if it has no files to come back from.
#[derive(Clone)]
pub(crate) struct Shared {
    engine: Arc<dyn Engine>,
    outlives: bool,
}

impl Engine for Shared {
    fn name(&self) -> &'static str {
        self.engine.name()
    }
    fn location(&self) -> String {
        self.engine.location()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.engine.get(key)
    }
    fn scan(
        &self,
        range: RangeInclusive<&[u8]>,
        direction: Direction,
        visit: &mut Visitor<'_>,
    ) -> Result<()> {
        self.engine.scan(range, direction, visit)
    }
    fn admit(&self) -> Result<()> {
        self.engine.admit()
    }
    fn apply(&self, batch: Vec<Write>) -> Result<()> {
        self.engine.apply(batch)
    }
    fn flush(&self) -> Result<()> {
        self.engine.flush()
    }
    fn sync(&self) -> Result<()> {
        self.engine.sync()
    }
    fn wants_reopen(&self) -> bool {
        self.engine.wants_reopen()
    }
    fn compact(&self) -> Result<Compacting> {
        self.engine.compact()
    }
    fn stop_compacting(&self) {
        self.engine.stop_compacting();
    }
    fn reopen(&self) -> Result<()> {
        self.engine.reopen()
    }
    fn sizes(&self) -> Result<Sizes> {
        self.engine.sizes()
    }
    fn close(&self) -> Result<()> {
        if self.outlives {
            self.engine.sync()
        } else {
            self.engine.close()
        }
    }
}

/// A store under test.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    pub(crate) store: Arc<dyn Store>,
    reference: Option<Arc<ReferenceStore>>,
    /// The engine under a kv store.
    engine: Option<Shared>,
    pub(crate) clock: ManualClock,
    pub(crate) directory: TempDir,
}

impl Bench {
    pub(crate) fn new(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(at("2022-05-10T22:45:00Z"));
        let engine = open_engine(kind, directory.path());
        let clock_of_store = Arc::new(clock.clone());
        let (store, reference): (Arc<dyn Store>, _) = match &engine {
            Some(engine) => {
                let store = KvStore::open(engine.clone(), clock_of_store, CACHE).unwrap();
                (Arc::new(store), None)
            }
            None => {
                let store = Arc::new(ReferenceStore::new(clock_of_store));
                (store.clone(), Some(store))
            }
        };
        Self {
            kind,
            store,
            reference,
            engine,
            clock,
            directory,
        }
    }

    /// The engine under a kv store.
    pub(crate) fn engine(&self) -> &Shared {
        self.engine.as_ref().unwrap()
    }

    /// The engine of a kv store that was closed, opened again.
    pub(crate) fn engine_again(&mut self) -> Shared {
        if self.kind == Kind::Sled {
            self.engine = open_engine(self.kind, self.directory.path());
        }
        self.engine().clone()
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopen(&mut self) {
        self.reopen_with_cache(CACHE).await;
    }

    /// The same with a cache of this size in bytes.
    pub(crate) async fn reopen_with_cache(&mut self, bytes: u64) {
        self.store.close().await.unwrap();
        let clock = Arc::new(self.clock.clone());
        self.open_again(clock, bytes).unwrap();
    }

    /// Opens the store, which was closed, with a clock and so many bytes of cache.
    pub(crate) fn open_again(&mut self, clock: Arc<dyn Clock>, bytes: u64) -> Result<()> {
        if let Some(reference) = &self.reference {
            let again = Arc::new(reference.reopened(clock)?);
            self.reference = Some(again.clone());
            self.store = again;
        } else {
            let engine = self.engine_again();
            let opened = KvStore::open(engine.clone(), clock, bytes);
            self.store = Arc::new(opened.inspect_err(|_| engine.close().unwrap())?);
        }
        Ok(())
    }

    pub(crate) async fn article(&self, id: &ArticleId) -> Option<Arc<ArticleState>> {
        article(&*self.store, id).await
    }

    /// All entries of the engine whose keys begin with this.
    pub(crate) fn records(&self, prefix: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut records = Vec::new();
        let mut visit = |key: &[u8], record: &[u8]| {
            records.push((key.to_vec(), record.to_vec()));
            ControlFlow::Continue(())
        };
        self.engine()
            .scan(&[prefix]..=&[prefix + 1], Direction::Forward, &mut visit)
            .unwrap();
        records
    }
}

/// An article of a store, which must answer.
pub(crate) async fn article(store: &dyn Store, id: &ArticleId) -> Option<Arc<ArticleState>> {
    store
        .articles(std::slice::from_ref(id))
        .await
        .unwrap()
        .pop()
        .unwrap()
}

fn open_engine(kind: Kind, directory: &Path) -> Option<Shared> {
    match kind {
        Kind::Reference => None,
        Kind::Memory => Some(Shared {
            engine: Arc::new(MemoryEngine::new()),
            outlives: true,
        }),
        Kind::Sled => Some(Shared {
            engine: Arc::new(SledEngine::open(sled_config(directory)).unwrap()),
            outlives: false,
        }),
    }
}

/// A small sled that needs no free space.
pub(crate) fn sled_config(directory: &Path) -> SledConfig {
    SledConfig {
        cache_bytes: 1 << 20,
        min_free_bytes: Some(0),
        reserve_bytes: 4096,
        ..SledConfig::new(directory)
    }
}

/// An instant as RFC 3339.
pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond()).unwrap()
}

/// Runs a test on a new store, which must be sound afterwards.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(&mut Bench)) {
    within_limit(async {
        let mut bench = Bench::new(kind);
        test(&mut bench).await;
        assert_eq!(
            bench.store.check().await.unwrap(),
            [],
            "the check found something"
        );
        bench.store.close().await.unwrap();
    });
}

/// Runs a future on threads of its own; one that hangs fails instead of holding up everything.
pub(crate) fn within_limit<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async { tokio::time::timeout(LIMIT, test).await });
    runtime.shutdown_background();
    result.unwrap_or_else(|_| panic!("the test hangs"))
}

/// Tries until there is a value.
pub(crate) async fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "a condition does not come true");
        tokio::task::yield_now().await;
    }
}

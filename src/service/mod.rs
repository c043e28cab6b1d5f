//! The rules that need the store: read what a decision needs, ask `domain`, commit the decision as data.
//!
//! One file per API area, with the API's verbs as methods of [`Service`]. When a commit meets a precondition that no
//! longer holds, the decision is made again on what is stored now. Nothing here knows gRPC.

use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::clock::Clock;
use crate::domain::access::Principal;
use crate::domain::article::ArticleId;
use crate::domain::capacity::Capacity;
use crate::domain::ids::RequestId;
use crate::domain::workflow::SelfReview;
use crate::store::Store;

pub mod admin;
pub mod answers;
mod article_commits;
mod article_writes;
pub mod articles;
pub mod attach;
mod authorization;
pub mod byte_budget;
pub mod changes;
mod commits;
pub mod complete_job;
pub mod coverage;
mod cpu;
pub mod diff;
pub mod error;
pub mod export;
mod fair_lock;
pub mod import;
mod job_notify;
pub mod jobs;
mod past;
mod policies;
pub mod provenance;
pub mod publication;
pub mod purge;
pub mod quality;
pub mod request_jobs;
mod requests;
pub mod snapshot;
mod transact;
pub mod translations;
pub mod view;
pub mod worker_jobs;
pub mod workflow;

pub use error::{Error, Result};

use byte_budget::ByteBudget;
use cpu::CpuWork;
use fair_lock::FairLocks;
use job_notify::{Drain, JobNotifier};

/// The most bytes that all exports hold at a time, by default.
pub const EXPORT_BYTES: usize = 128 << 20;
/// The most bytes that all imports hold at a time, by default.
pub const IMPORT_BYTES: usize = 256 << 20;
/// Exports that read at the same time.
const EXPORT_READS: usize = 4;

/// The target of spans that show in traces what takes a call its time.
pub(crate) const TRACES: &str = "article_store::trace";

/// The caller, and the request id that makes a retry safe.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The caller; by default without any right.
    pub caller: Arc<Principal>,
    /// The request id, if the caller gave one.
    pub request: Option<Request>,
}

/// A request id with the digest of the request that it stands for.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The id.
    pub id: RequestId,
    /// SHA-256 over the decoded request without its id.
    pub digest: [u8; 32],
}

/// The service, shared by all calls.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    self_review: SelfReview,
    capacity: Capacity,
    slot_locks: Arc<FairLocks>,
    checks: Arc<admin::Checks>,
    job_notifier: Arc<JobNotifier>,
    drain: Drain,
    cpu: CpuWork,
    feed: Arc<changes::ChangeFanout>,
    streams: Arc<StreamBudgets>,
}

/// What streams may hold at a time.
#[derive(Debug)]
struct StreamBudgets {
    exports: ByteBudget,
    imports: ByteBudget,
    /// Reads of exports that are under way: each may hold more than its stream may keep, for as long as it takes.
    export_reads: Semaphore,
}

impl StreamBudgets {
    fn new(export_bytes: usize, import_bytes: usize) -> Self {
        Self {
            exports: ByteBudget::new(export_bytes),
            imports: ByteBudget::new(import_bytes),
            export_reads: Semaphore::new(EXPORT_READS),
        }
    }
}

impl Service {
    /// A service over a store, with self-review refused.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            feed: Arc::new(changes::ChangeFanout::new(store.clone())),
            store,
            clock,
            self_review: SelfReview::Refused,
            capacity: Capacity::default(),
            slot_locks: Arc::default(),
            checks: Arc::default(),
            job_notifier: Arc::default(),
            drain: Drain::default(),
            cpu: CpuWork::default(),
            streams: Arc::new(StreamBudgets::new(EXPORT_BYTES, IMPORT_BYTES)),
        }
    }

    /// The same under another policy of reviews.
    #[must_use]
    pub fn with_self_review(self, self_review: SelfReview) -> Self {
        Self { self_review, ..self }
    }

    /// The same with other limits of what an article may hold.
    #[must_use]
    pub fn with_capacity(self, capacity: Capacity) -> Self {
        Self { capacity, ..self }
    }

    /// The same with other limits of the bytes that all exports, and all imports, hold at a time.
    #[must_use]
    pub fn with_stream_bytes(self, export_bytes: usize, import_bytes: usize) -> Self {
        Self {
            streams: Arc::new(StreamBudgets::new(export_bytes, import_bytes)),
            ..self
        }
    }

    /// Bytes that exports, and imports, hold now.
    pub fn stream_bytes(&self) -> (usize, usize) {
        (self.streams.exports.held(), self.streams.imports.held())
    }

    /// Ends waiting claims and all watches, and those that begin later: the server stops.
    pub fn begin_drain(&self) {
        self.drain.begin();
        self.feed.stop();
    }

    /// The store, for what is no business rule: health, status, closing.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// An id for an article that came without one: a UUIDv7, so that ids made together lie together.
    fn new_article_id(&self) -> Result<ArticleId> {
        let (seconds, nanos) = self.clock.now().to_seconds();
        let time = uuid::Timestamp::from_unix(
            uuid::NoContext,
            u64::try_from(seconds).unwrap_or_default(),
            u32::try_from(nanos).unwrap_or_default(),
        );
        ArticleId::parse(&Uuid::new_v7(time).to_string()).map_err(|error| Error::internal(&error.0))
    }
}

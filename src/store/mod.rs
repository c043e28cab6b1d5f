//! The storage interface: one trait of whole atomic operations, and the types of its calls.
//!
//! The contract, which `tests/it/store` runs against every engine:
//! 1. [`Store::commit`] applies a batch as a whole or not at all; when it returns, the batch survives power loss.
//! 2. Commits are numbered 1, 2, 3… without gaps, and their times are strictly increasing.
//! 3. Preconditions are checked against every earlier commit, those of the same group too; a failed one
//!    names what was found.
//! 4. No answer holds state that is not yet durable: a read of such state waits.
//! 5. A read of an article is consistent: its head, slots and jobs are of one commit. Later reads of its history return the
//!    same versions, or [`StoreError::Purged`].
//! 6. A version never changes, and stays until its article is purged; a revision whose content is dropped is a
//!    [`Body::Dropped`] from then on. The versions of a series are numbered 1, 2, 3… without gaps up to the one that the
//!    article's state names.
//! 7. A purge removes everything that is stored of an article but the log, recorded requests and a tombstone, frees its
//!    aliases, and keeps its id from being given again.
//! 8. A change of a policy is a commit too. A batch that was decided on other policies is refused.
//! 9. After [`Store::close`] every call answers [`StoreError::Closed`].
//!
//! Engines keep indexes from the entities; they know no rules. A new engine implements this trait and [`transfer::Import`]
//! and joins the conformance suite. `model` holds what all engines share; [`mod@reference`] is the contract in its plainest
//! form.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use crate::clock::StoreClock;
use crate::domain::article::{Alias, ArticleId, Tombstone};
use crate::domain::change::Commit;
use crate::domain::departures::{Departures, Lookup};
use crate::domain::job::{ClaimQuery, Job, JobKey};
use crate::domain::language::Language;
use crate::domain::query::{IndexRow, Position, Query, Standing};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::version::VersionKey;

mod article;
mod batch;
pub mod error;
pub mod kv;
pub mod metrics;
mod model;
pub mod reference;
mod retention_holds;
mod status;
pub mod transfer;

pub use article::{ArticleState, Body};
pub use batch::{Batch, Claim, ClaimRule, Claimed, Committed, Expect, Policies, PolicyChange};
pub use error::{Conflict, OpenError, Result, StoreError};
pub use metrics::Metrics;
pub use model::entity::Entity;
pub use retention_holds::{LogHold, LogHolds};
pub use status::{Checked, Counts, Finding, Progress, Sizes, StoreStatus};

/// How far a list or scan may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most articles to return.
    pub articles: usize,
    /// The most index rows to look at.
    pub rows: usize,
    /// Approximate bytes of articles after which the list ends.
    pub bytes: usize,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The matching articles, each with its position in the list.
    pub articles: Vec<(Position, Arc<ArticleState>)>,
    /// The position of the next page; `None` at the end.
    pub next: Option<Position>,
}

/// A page of a list with the standings of translations, from indexes alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standings {
    /// The matching index rows, each with the standings of the active translations into the requested languages.
    pub rows: Vec<(IndexRow, Vec<Option<Standing>>)>,
    /// The position of the next page; `None` at the end.
    pub next: Option<Position>,
}

/// A part of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The commits after the requested number, in order. Empty if that is below `floor`: some of them were trimmed.
    pub commits: Vec<Commit>,
    /// The newest commit that was trimmed; 0 if none was.
    pub floor: Seq,
    /// The newest durable commit.
    pub head: Seq,
}

/// The progress of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// The next step continues.
    Going,
    /// The sweep is complete; the next step starts over.
    Done,
    /// Nothing was done, because an export is running.
    Postponed,
}

/// The durable watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    /// The newest durable commit.
    pub seq: Seq,
    /// Incremented when the engine is reopened: state of another generation that was not durable may be gone.
    pub generation: u64,
}

/// A store of articles and their translations. The contract is in the module's documentation.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Articles with their slots, in the order of the ids.
    async fn articles(&self, ids: &[ArticleId]) -> Result<Vec<Option<Arc<ArticleState>>>>;

    /// Versions, in the order of the keys. A missing one is [`StoreError::Corrupt`]. Like the other reads of an article's history
    /// this fails with [`StoreError::Purged`] if the article was purged after the caller read it.
    async fn versions(&self, keys: &[VersionKey]) -> Result<Vec<Arc<Body>>>;

    /// The newest version of a series, up to the given one, that was written at `time` or before; `None` if there was none.
    async fn version_at(&self, newest: &VersionKey, time: Timestamp) -> Result<Option<Arc<Body>>>;

    /// Answers a lookup from the revision deltas of an article, before a revision that a read returned. The cost does not
    /// grow with the number of revisions.
    async fn departures(&self, id: &ArticleId, lookup: &Lookup) -> Result<Departures>;

    /// A recorded request.
    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>>;

    /// The holders of aliases, in the order of the aliases.
    async fn lookup(&self, aliases: &[Alias]) -> Result<Vec<Option<ArticleId>>>;

    /// Articles by date, after a position.
    async fn list(&self, query: &Query, after: Option<&Position>, budget: Budget) -> Result<Page>;

    /// The standings of articles' active translations into some languages, by date, after a position; reads at most `rows`
    /// index rows. Ignores the query's filter by translation.
    async fn standings(
        &self,
        query: &Query,
        languages: &[Language],
        after: Option<&Position>,
        rows: usize,
    ) -> Result<Standings>;

    /// Articles in the order of their ids, after an id.
    async fn scan(&self, after: Option<&ArticleId>, limit: usize) -> Result<Vec<Arc<ArticleState>>>;

    /// Articles whose embargo ended at `now` or before and is not lifted yet, by the end of the embargo.
    async fn due_embargoes(&self, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>>;

    /// The tombstone of a purged article.
    async fn tombstone(&self, id: &ArticleId) -> Result<Option<Tombstone>>;

    /// Applies a batch.
    async fn commit(&self, batch: Batch) -> Result<Committed>;

    /// Durable commits after a number, in order.
    async fn changes(&self, after: Seq, limit: usize) -> Result<Changes>;

    /// A watch of the durable watermark.
    fn durable(&self) -> watch::Receiver<Durable>;

    /// Removes requests that were recorded, and ended jobs that were replaced, before a time, and the remains of purges: a
    /// bounded number. Returns whether there may be more.
    async fn expire_requests(&self, before: Timestamp) -> Result<bool>;

    /// Drops the content of old revisions: one step over a bounded number of articles and revisions, which continues where
    /// the last one stopped. A translation that is attached to such a revision at the same time stays bound to it.
    async fn drop_revisions(&self, retention: Retention) -> Result<Sweep>;

    /// Leases jobs: offers those that may be claimed by the store's clock to the rule of the claim, in the order of their
    /// queues, and writes what it makes of them. All of it is one commit, and two claims never get the same job. A claim looks
    /// at a bounded number of jobs.
    async fn claim(&self, claim: Claim) -> Result<Claimed>;

    /// The time from which the next job that matches a query may be claimed: in the past if one may be claimed now, `None` if
    /// there is none.
    async fn next_claimable(&self, query: &ClaimQuery) -> Result<Option<Timestamp>>;

    /// The newest job of each key in the order of article, language and kind, after a key; at most `limit`.
    async fn jobs(&self, after: Option<&(ArticleId, JobKey)>, limit: usize) -> Result<Vec<Arc<Job>>>;

    /// The ended jobs of an article that newer ones of their keys have replaced, in the order of language, kind and number.
    /// They are kept as long as requests.
    async fn replaced_jobs(&self, article: &ArticleId) -> Result<Vec<Arc<Job>>>;

    /// All policies. Cheap: every change of an article asks for them.
    async fn policies(&self) -> Result<Policies>;

    /// Changes a policy, in a commit without events.
    async fn change_policy(&self, change: PolicyChange) -> Result<Stamp>;

    /// Trims the change log: one step over a bounded number of its oldest commits. The newest commit and the commits of a hold
    /// stay.
    async fn trim(&self, retention: LogRetention) -> Result<Sweep>;

    /// Keeps the log after a commit from being trimmed until the hold is dropped, for an hour at most.
    fn hold(&self, after: Seq) -> LogHold;

    /// A random id; a store that is restored from a backup gets a new one.
    fn epoch(&self) -> [u8; 16];

    /// The clock of the store. Writes are refused while it has jumped.
    fn clock(&self) -> &StoreClock;

    /// Whether only a restart of the process makes writes possible again.
    fn needs_restart(&self) -> bool {
        false
    }

    /// Sizes and counts. Fails if the store cannot be read, so it is the readiness probe.
    async fn status(&self) -> Result<StoreStatus>;

    /// Metrics of group commit and caches, of an engine that has them.
    fn metrics(&self) -> Option<&Metrics> {
        None
    }

    /// Consistency check: reads every record and reports contradictions, beside reads and writes. A contradiction that a
    /// concurrent write may have caused is checked again. Ends early when the receiver is dropped.
    async fn check_and_report(&self, report: mpsc::Sender<Checked>) -> Result<()>;

    /// Runs the check and returns all findings.
    async fn check(&self) -> Result<Vec<Finding>> {
        let (report, reports) = mpsc::channel(64);
        let (checked, findings) = futures::join!(self.check_and_report(report), findings(reports));
        checked.map(|()| findings)
    }

    /// Exports all entities as they are after the newest commit, in chunks, beside writes, and returns that commit. A later
    /// entity of the same key replaces an earlier one. The tombstone of a later commit is of an article that was purged
    /// meanwhile: an import removes the article's entities. One export runs at a time.
    ///
    /// Fails with [`StoreError::Unavailable`] if the receiver is dropped or the store fails: then no exported entity may be
    /// kept.
    async fn export(&self, chunks: mpsc::Sender<Vec<Entity>>) -> Result<Stamp>;

    /// Compaction: reclaims the space that the store takes beyond its records, beside reads and writes, and returns when it is
    /// done. Writes are slower meanwhile, and every call waits briefly at the end. One compaction runs at a time. An engine
    /// that reclaims space by itself does nothing.
    async fn compact(&self) -> Result<()> {
        Ok(())
    }

    /// Makes all commits durable and closes the store. Closing twice is no error.
    async fn close(&self) -> Result<()>;
}

/// Collects the findings of a check.
async fn findings(mut reports: mpsc::Receiver<Checked>) -> Vec<Finding> {
    let mut findings = Vec::new();
    while let Some(checked) = reports.recv().await {
        if let Checked::Found(finding) = checked {
            findings.push(finding);
        }
    }
    findings
}

//! The seam between the rules and the storage: one trait, whole atomic operations.
//!
//! The contract, which `tests/it/store` runs against every engine:
//! 1. [`Store::commit`] applies a batch as a whole or not at all; when it returns, the batch survives power loss.
//! 2. Commits are numbered 1, 2, 3… without gaps, and their times are strictly increasing.
//! 3. Preconditions are checked against every earlier commit, those of the same group too; a failed one says what was
//!    found.
//! 4. No answer holds state that is not yet durable: a read that meets it waits.
//! 5. What is read of one article is consistent: its head and all its slots are of one moment.
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

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use crate::clock::StoreClock;
use crate::domain::article::{Alias, ArticleId, ArticleVersion, DroppedRevision, Head, Revision, Tombstone};
use crate::domain::capacity;
use crate::domain::change::{Commit, Event};
use crate::domain::departures::{Departures, Lookup, RevisionDelta};
use crate::domain::freshness::Overall;
use crate::domain::job::{self, ClaimQuery, Grant, Job, JobKey, JobKind, Jobs};
use crate::domain::language::Language;
use crate::domain::policy::{PolicyId, TranslationPolicy};
use crate::domain::query::{IndexRow, Position, Query, Standing};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::retention::{LogRetention, Retention};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::translation::{Selection, Slot, TranslationVersion};
use crate::domain::version::{Series, Version, VersionKey};

pub mod error;
pub mod kv;
pub mod metrics;
mod model;
pub mod reference;
mod retention_holds;
pub mod transfer;

pub use error::{Conflict, OpenError, Result, StoreError};
pub use metrics::Metrics;
pub use model::entity::Entity;
pub use retention_holds::{LogHold, LogHolds};

/// An article with all its slots, of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleState {
    /// The newest state of the article.
    pub head: Arc<Head>,
    /// Its translations by language.
    pub slots: BTreeMap<Language, Arc<Slot>>,
    /// The newest of its translation jobs by language and kind.
    pub jobs: Jobs,
}

impl ArticleState {
    /// About what it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let segments = self.head.manifest.0.len();
        let texts = self.head.title.content.text().len() + self.head.lead.content.text().len();
        2_048 + texts + 48 * segments + capacity::state_bytes(segments, &self.slots, &self.jobs)
    }

    /// The newest version of a series; `None` if there is no such series.
    pub fn newest(&self, series: &Series) -> Option<Version> {
        match series {
            Series::Metadata => Some(Version {
                number: self.head.current.number,
                stamp: self.head.current.stamp,
            }),
            Series::Content => Some(self.head.current.revision),
            Series::Selection(language) => Some(self.slots.get(language)?.selection),
            Series::Translation(language, id) => Some(self.slots.get(language)?.translation(*id)?.version),
        }
    }

    /// All series with their newest versions.
    pub fn series(&self) -> impl Iterator<Item = (Series, Version)> {
        let slots = self.slots.values().flat_map(|slot| {
            let translations = slot.translations.iter().map(|translation| {
                (
                    Series::Translation(slot.language.clone(), translation.id),
                    translation.version,
                )
            });
            let selection = (Series::Selection(slot.language.clone()), slot.selection);
            std::iter::once(selection).chain(translations)
        });
        let of_article = [Series::Metadata, Series::Content].into_iter();
        let of_article = of_article.filter_map(|series| Some((series.clone(), self.newest(&series)?)));
        of_article.chain(slots)
    }

    /// The newest commit that any part of this was written by.
    pub fn seq(&self) -> Seq {
        let slots = self
            .slots
            .values()
            .map(|slot| slot.stamp.seq)
            .max()
            .unwrap_or_default();
        let jobs = self
            .jobs
            .values()
            .map(|job| job.changed.seq)
            .max()
            .unwrap_or_default();
        self.head.current.stamp.seq.max(slots).max(jobs)
    }
}

/// An immutable version of something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a batch has a few, and everybody else shares them behind an Arc"
)]
pub enum Body {
    /// Of an article's metadata and visibility.
    Article(ArticleVersion),
    /// Of an article's content.
    Revision(Revision),
    /// Of a translation.
    Translation(TranslationVersion),
    /// Of a slot's selection.
    Selection(Selection),
    /// What is left of a revision whose content was dropped.
    Dropped(DroppedRevision),
}

impl Body {
    /// Its number, and the commit that wrote it.
    pub fn version(&self) -> Version {
        let (number, stamp) = match self {
            Self::Article(version) => (version.number, version.stamp),
            Self::Revision(revision) => (revision.number, revision.stamp),
            Self::Translation(version) => (version.head.version.number, version.head.version.stamp),
            Self::Selection(selection) => (selection.number, selection.stamp),
            Self::Dropped(dropped) => (dropped.number, dropped.stamp),
        };
        Version { number, stamp }
    }

    /// What it is a version of; the language counts where the series has one.
    pub fn series(&self, language: Language) -> Series {
        match self {
            Self::Article(_) => Series::Metadata,
            Self::Revision(_) | Self::Dropped(_) => Series::Content,
            Self::Translation(version) => Series::Translation(language, version.head.id),
            Self::Selection(_) => Series::Selection(language),
        }
    }

    /// Puts the stamp of the commit that writes this body where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        match self {
            Self::Article(version) => version.resolve(stamp),
            Self::Revision(revision) => revision.resolve(stamp),
            Self::Translation(version) => version.resolve(stamp),
            Self::Selection(selection) => selection.resolve(stamp),
            // It was written before.
            Self::Dropped(_) => {}
        }
    }
}

/// What must hold for a batch to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The article has this version; `None`: there is no such article.
    Head(Option<u32>),
    /// The slot has this version; `None`: there is no such slot.
    Slot(Language, Option<u32>),
    /// The article has exactly these slots in these versions.
    Slots(Vec<(Language, u32)>),
    /// The newest job of this key has this version; `None`: there was never one.
    Job(JobKey, Option<u32>),
    /// The policies are those of this [`Policies::seq`].
    Policies(Seq),
}

/// All translation policies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// A commit since which no policy has changed.
    pub seq: Seq,
    /// The policies by id.
    pub all: Arc<[TranslationPolicy]>,
}

impl Policies {
    /// The policies after the commit of a change.
    fn after(&self, change: PolicyChange, seq: Seq) -> Self {
        let others = self.all.iter().filter(|policy| policy.id != change.id).cloned();
        let mut all: Vec<_> = others.chain(change.policy).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let all = all.into();
        Self { seq, all }
    }
}

/// The change of one policy.
#[derive(Debug, Clone)]
pub struct PolicyChange {
    /// The id of the policy.
    pub id: PolicyId,
    /// The policy that is stored under the id; `None` removes the one that is there.
    pub policy: Option<TranslationPolicy>,
    /// The [`Policies::seq`] of the policies that the decision was made on. Limits hold for all policies together.
    pub expect: Seq,
    /// The authenticated principal of the call, for the change log; empty if there is none.
    pub principal: String,
}

/// The writes of one decision about one article, with their preconditions.
///
/// More preconditions are implied: aliases of `head` that the stored head does not hold must be free, the id of a new
/// article must not be that of a purged one, and `request` must not be recorded yet. Stamps in the entities are pending; the commit puts its own.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The article that all of it is about.
    pub article: ArticleId,
    /// What must hold.
    pub expect: Vec<Expect>,
    /// The article's new head.
    pub head: Option<Head>,
    /// New states of slots.
    pub slots: Vec<Arc<Slot>>,
    /// New states of jobs, in order: one that ends may be followed by the next of its key.
    pub jobs: Vec<Job>,
    /// New versions, one of a series at most and the next of it.
    pub bodies: Vec<(Series, Body)>,
    /// What a new revision replaces; not for a first one.
    pub delta: Option<RevisionDelta>,
    /// Removes the article with all that belongs to it and leaves this. It goes together with a request and events only.
    pub purge: Option<Tombstone>,
    /// The request to record.
    pub request: Option<RequestRecord>,
    /// What changed, for the change log.
    pub events: Vec<Event>,
    /// The authenticated principal that changes it, for the change log; empty if there is none.
    pub principal: String,
}

impl Batch {
    /// A batch that writes nothing yet.
    pub fn new(article: ArticleId) -> Self {
        Self {
            article,
            expect: Vec::new(),
            head: None,
            slots: Vec::new(),
            jobs: Vec::new(),
            bodies: Vec::new(),
            delta: None,
            purge: None,
            request: None,
            events: Vec::new(),
            principal: String::new(),
        }
    }
}

/// What a commit made of its article. It is in hand, so that no answer has to read it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The commit.
    pub stamp: Stamp,
    /// The article right after the commit; `None` if there is none.
    pub state: Option<Arc<ArticleState>>,
    /// The bodies of the batch, with their stamps.
    pub bodies: Vec<Arc<Body>>,
}

/// How far a list or scan may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most articles to return.
    pub articles: usize,
    /// The most index rows to look at.
    pub rows: usize,
    /// Bytes of articles, about, after which the list ends.
    pub bytes: usize,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The articles that match, each with its place in the list.
    pub articles: Vec<(Position, Arc<ArticleState>)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// A part of a list that says how translations stand, and reads no article.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standings {
    /// The index rows that match, each with how the active translations into the asked languages stand.
    pub rows: Vec<(IndexRow, Vec<Option<Standing>>)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// A part of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The commits after the asked one, in order. Empty if that one lies before `floor`: what followed it is gone.
    pub commits: Vec<Commit>,
    /// The newest commit that is no longer in the log; 0 while all are.
    pub floor: Seq,
    /// The newest durable commit.
    pub head: Seq,
}

/// What a claim makes of a job that is offered a lease, with the event about that; `None`: the job stays as it is.
pub type ClaimRule = fn(&job::Article<'_>, &Job, &Grant, Timestamp) -> Option<(Job, Event)>;

/// Jobs to lease to a worker.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which jobs.
    pub query: ClaimQuery,
    /// A lease for each job that may be given, at most.
    pub grants: Vec<Grant>,
    /// What becomes of each job, such as [`crate::domain::change::claim`].
    pub rule: ClaimRule,
    /// The authenticated principal that claims, for the change log; empty if there is none.
    pub principal: String,
    /// The request to record with the jobs that are given, and its digest. Nothing is recorded where none is given.
    pub request: Option<(RequestKey, [u8; 32])>,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claimed {
    /// The jobs that were leased, the most urgent first.
    pub jobs: Vec<Arc<Job>>,
    /// Whether the claim looked at as many jobs as it may without finding enough, so that asking again may find more.
    pub is_partial: bool,
}

/// How much there is in a language, and to do for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Articles that were written in it and are not deleted.
    pub articles: u64,
    /// Deleted ones.
    pub deleted: u64,
    /// Revisions of all of these.
    pub revisions: u64,
    /// Translations into it that are not withdrawn.
    pub translations: u64,
    /// Open jobs for translations into it, leased or not, of articles that may be worked on: by source language and kind.
    pub open_jobs: BTreeMap<(Language, JobKind), u64>,
    /// Active translations into it that do not hold, by the way in which.
    pub not_current: BTreeMap<Overall, u64>,
}

/// What an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The engine, such as `sled`.
    pub engine: &'static str,
    /// Random; a store that was restored from a backup has another.
    pub epoch: [u8; 16],
    /// The newest durable commit.
    pub seq: Seq,
    /// How much there is, by language.
    pub counts: BTreeMap<Language, Counts>,
    /// Sizes, of an engine that knows them.
    pub sizes: Option<Sizes>,
    /// How far a compaction is, if one runs.
    pub compaction: Option<Progress>,
}

/// Sizes of a store in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Bytes of all records.
    pub live_bytes: u64,
    /// Bytes that the store's files take on their volume; 0 without files.
    pub disk_bytes: u64,
    /// Bytes that the volume has free; `u64::MAX` without files.
    pub available_bytes: u64,
    /// Free bytes below which writes are refused.
    pub floor_bytes: u64,
}

/// Progress of a long operation in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that are done.
    pub done_bytes: u64,
    /// Bytes in all, estimated.
    pub total_bytes: u64,
}

/// How many times the bytes of its records a store may take before it should be compacted.
const BLOATED: u64 = 4;
/// Below this no store is bloated: files have a least size.
const BLOATED_BYTES: u64 = 256 << 20;

impl Sizes {
    /// Whether the store takes so much more than its records that it should be compacted.
    pub fn is_bloated(&self) -> bool {
        self.disk_bytes > BLOATED_BYTES && self.disk_bytes > BLOATED * self.live_bytes
    }

    /// Whether the volume has less free space than writes need.
    pub fn is_full(&self) -> bool {
        self.available_bytes < self.floor_bytes
    }
}

/// Something that [`Store::check`] found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The record in a readable form.
    pub record: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a check says on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// So many records were read since the last time.
    Records(u64),
    /// Something is wrong.
    Found(Finding),
}

/// How far a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// There is more to look at.
    Going,
    /// Everything was looked at; the next step begins anew.
    Done,
    /// Nothing was done, because a dump is being made.
    Postponed,
}

/// How far the durable state goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    /// The newest durable commit.
    pub seq: Seq,
    /// Counts the engine's reopenings: what was read under another count and was not durable may be gone.
    pub generation: u64,
}

/// A place for articles and their translations. See the module's page for the contract.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Articles with their slots, in the order of the ids.
    async fn articles(&self, ids: &[ArticleId]) -> Result<Vec<Option<Arc<ArticleState>>>>;

    /// Versions, in the order of the keys. A missing one is [`StoreError::Corrupt`]. This and the other reads of what an article
    /// had before answer [`StoreError::Purged`] if the article was purged since the caller read it.
    async fn versions(&self, keys: &[VersionKey]) -> Result<Vec<Arc<Body>>>;

    /// Of the versions of a series up to this one, the newest that was written at a time or before; `None`: there was none
    /// yet.
    async fn version_at(&self, newest: &VersionKey, time: Timestamp) -> Result<Option<Arc<Body>>>;

    /// What the deltas of an article say to a lookup before a revision that a read returned. The cost does not grow with the number of revisions.
    async fn departures(&self, id: &ArticleId, lookup: &Lookup) -> Result<Departures>;

    /// A recorded request.
    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>>;

    /// The holders of aliases, in the order of the aliases.
    async fn lookup(&self, aliases: &[Alias]) -> Result<Vec<Option<ArticleId>>>;

    /// Articles by date, after a position.
    async fn list(&self, query: &Query, after: Option<&Position>, budget: Budget) -> Result<Page>;

    /// How the active translations of articles into some languages stand, by date, after a position; looks at so many
    /// articles at most. The query's filter by translation does not count.
    async fn standings(
        &self,
        query: &Query,
        languages: &[Language],
        after: Option<&Position>,
        rows: usize,
    ) -> Result<Standings>;

    /// Articles in the order of their ids, after an id.
    async fn scan(&self, after: Option<&ArticleId>, limit: usize) -> Result<Vec<Arc<ArticleState>>>;

    /// Articles whose embargo has ended at a time and was not lifted yet, those that ended first coming first.
    async fn due_embargoes(&self, now: Timestamp, limit: usize) -> Result<Vec<ArticleId>>;

    /// What is left of an article that was purged.
    async fn tombstone(&self, id: &ArticleId) -> Result<Option<Tombstone>>;

    /// Applies a batch.
    async fn commit(&self, batch: Batch) -> Result<Committed>;

    /// Durable commits after a number, in order.
    async fn changes(&self, after: Seq, limit: usize) -> Result<Changes>;

    /// Follows the durable state.
    fn durable(&self) -> watch::Receiver<Durable>;

    /// Removes requests that were recorded, and ended jobs that were replaced, before a time, and what purges have left, a
    /// bounded number at a time. Returns whether there may be more.
    async fn expire_requests(&self, before: Timestamp) -> Result<bool>;

    /// Drops the content of old revisions: one step over a bounded number of articles and revisions, which goes on where
    /// the last one stopped. A translation that is attached at that moment to a revision that is dropped stays bound to it.
    async fn drop_revisions(&self, retention: Retention) -> Result<Sweep>;

    /// Leases jobs: offers those that may be claimed by the store's clock to the rule of the claim, in the order of their
    /// queues, and writes what it makes of them. All of it is one commit, and two claims never get the same job. A claim looks
    /// at a bounded number of jobs.
    async fn claim(&self, claim: Claim) -> Result<Claimed>;

    /// When the next job that a query asks for may be claimed: a time that has come if there is one now, `None` if there is
    /// none at all.
    async fn next_claimable(&self, query: &ClaimQuery) -> Result<Option<Timestamp>>;

    /// The newest job of each key in the order of article, language and kind, after a place; so many at most.
    async fn jobs(&self, after: Option<&(ArticleId, JobKey)>, limit: usize) -> Result<Vec<Arc<Job>>>;

    /// Ended jobs that a newer one of their key has replaced, for as long as requests are remembered: of one article in the
    /// order of language, kind and number.
    async fn replaced_jobs(&self, article: &ArticleId) -> Result<Vec<Arc<Job>>>;

    /// All policies. Cheap: every change of an article asks for them.
    async fn policies(&self) -> Result<Policies>;

    /// Changes a policy, in a commit without events.
    async fn change_policy(&self, change: PolicyChange) -> Result<Stamp>;

    /// Removes the beginning of the log that is not to be kept: one step over a bounded number of commits. It leaves the
    /// newest commit and what a hold keeps.
    async fn trim(&self, retention: LogRetention) -> Result<Sweep>;

    /// Keeps the log behind a commit for as long as the pin is held, an hour at most.
    fn hold(&self, after: Seq) -> LogHold;

    /// Random; a store that was restored from a backup has another.
    fn epoch(&self) -> [u8; 16];

    /// The time of what is stored. Writes are refused while its clock has jumped.
    fn clock(&self) -> &StoreClock;

    /// Whether the store can write again only after the process was started anew.
    fn needs_restart(&self) -> bool {
        false
    }

    /// Sizes and numbers; also the readiness probe.
    async fn status(&self) -> Result<StoreStatus>;

    /// Metrics of group commit and caches, of an engine that has them.
    fn metrics(&self) -> Option<&Metrics> {
        None
    }

    /// Reads everything and reports what does not agree, while reads and writes go on: what was only seen because
    /// something was being written is looked at again. Ends early when nobody receives the reports any more.
    async fn check_and_report(&self, report: mpsc::Sender<Checked>) -> Result<()>;

    /// The same, at once.
    async fn check(&self) -> Result<Vec<Finding>> {
        let (report, reports) = mpsc::channel(64);
        let (checked, findings) = futures::join!(self.check_and_report(report), findings(reports));
        checked.map(|()| findings)
    }

    /// Sends everything as it is after the newest commit, in chunks, while writes continue, and returns that commit. A later
    /// entity of the same thing replaces an earlier one. The tombstone of a later commit is of an article that was purged
    /// meanwhile: an import removes what came of it. Only one export may be made at a time.
    ///
    /// Unavailable if the receiver is dropped or the store fails: nothing that was sent must be kept then.
    async fn export(&self, chunks: mpsc::Sender<Vec<Entity>>) -> Result<Stamp>;

    /// Compaction: gives back the space that the store takes beyond its records, while reads and writes go on, and answers
    /// when that is done. Writes are slower meanwhile, and every call waits a moment at the end. One compaction runs at a
    /// time. An engine that reclaims space by itself has nothing to do.
    async fn compact(&self) -> Result<()> {
        Ok(())
    }

    /// Makes everything durable and closes. Closing twice is no error.
    async fn close(&self) -> Result<()>;
}

/// Everything that a check finds.
async fn findings(mut reports: mpsc::Receiver<Checked>) -> Vec<Finding> {
    let mut findings = Vec::new();
    while let Some(checked) = reports.recv().await {
        if let Checked::Found(finding) = checked {
            findings.push(finding);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_bloated_above_four_times_its_records() {
        let is_bloated = |live_bytes, disk_bytes| {
            let sizes = Sizes {
                live_bytes,
                disk_bytes,
                ..Sizes::default()
            };
            sizes.is_bloated()
        };
        let gib = 1 << 30;
        assert!(!is_bloated(gib, 4 * gib));
        assert!(is_bloated(gib, 4 * gib + 1));
        assert!(!is_bloated(1, BLOATED_BYTES), "it is as small as a store can be");
        assert!(is_bloated(1, BLOATED_BYTES + 1));
    }
}

//! What is written as one commit: a batch about an article, a change of a policy, and a claim of jobs.

use std::sync::Arc;

use super::article::{ArticleState, Body};
use crate::domain::article::{ArticleId, Head, Tombstone};
use crate::domain::change::Event;
use crate::domain::departures::RevisionDelta;
use crate::domain::job::{self, ClaimQuery, Grant, Job, JobKey};
use crate::domain::language::Language;
use crate::domain::policy::{PolicyId, TranslationPolicy};
use crate::domain::request::{RequestKey, RequestRecord};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::domain::translation::Slot;
use crate::domain::version::Series;

/// A precondition of a batch.
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
    pub(super) fn after(&self, change: PolicyChange, seq: Seq) -> Self {
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
/// Further preconditions are implied: new aliases of `head` must be free, the id of a new article must not be that of a
/// purged one, and `request` must not be recorded yet. Stamps in the entities are pending; the commit sets its own.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The article.
    pub article: ArticleId,
    /// The preconditions.
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
    /// Removes the article with all its records and leaves this tombstone. Only with a request and events.
    pub purge: Option<Tombstone>,
    /// The request to record.
    pub request: Option<RequestRecord>,
    /// What changed, for the change log.
    pub events: Vec<Event>,
    /// The authenticated principal of the call, for the change log; empty if there is none.
    pub principal: String,
}

impl Batch {
    /// An empty batch.
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

/// The result of a commit, so that the caller need not read the article again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The commit.
    pub stamp: Stamp,
    /// The article after the commit; `None` if there is none.
    pub state: Option<Arc<ArticleState>>,
    /// The bodies of the batch, with their stamps.
    pub bodies: Vec<Arc<Body>>,
}

/// What a claim makes of a job that is offered a lease, with the event about that; `None`: the job stays as it is.
pub type ClaimRule = fn(&job::Article<'_>, &Job, &Grant, Timestamp) -> Option<(Job, Event)>;

/// Jobs to lease to a worker.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The jobs that may be leased.
    pub query: ClaimQuery,
    /// The leases, one for each job at most.
    pub grants: Vec<Grant>,
    /// The rule that decides on each job: [`crate::domain::change::claim`].
    pub rule: ClaimRule,
    /// The authenticated principal of the call, for the change log; empty if there is none.
    pub principal: String,
    /// The request to record with the leased jobs, and its digest. Not recorded if no job is leased.
    pub request: Option<(RequestKey, [u8; 32])>,
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claimed {
    /// The jobs that were leased, the most urgent first.
    pub jobs: Vec<Arc<Job>>,
    /// Whether the claim stopped at its limit of jobs to look at, so that another claim may find more.
    pub is_partial: bool,
}

//! Translation jobs: work that is wanted, and the leases under which tools do it.
//!
//! A [`Job`] asks for the work of one kind on the translation of one article into one language, at one source revision.
//! It names what it wants by segment and hash and holds no text; while it is pending that is derived from the article, so that
//! a change of the article writes no job. At most one job of an article, language and kind is
//! open. Every call of a worker is fenced: it names the job and the token of its lease, and the job decides whether that
//! token still counts. [`wanted`] says what work there is, [`Article::follow`] what a change of the article does to its
//! jobs.
//!
//! Only the server's clock counts; it and randomness arrive as arguments.

use std::collections::HashSet;
use std::fmt;

use super::Invalid;
use super::ids::{ArticleId, PolicyId, SegmentId, TranslationId};
use super::request::Outcome;
use super::segment::TextHash;
use super::time::{Stamp, Timestamp};
use super::translation::{Disposition, Slot};

mod claim;
mod follow;
pub(super) mod id;
mod life;
#[cfg(test)]
mod tests;
mod wanted;

pub use claim::{ClaimQuery, Pair};
pub use follow::{Article, Jobs};
pub use id::{JobId, JobKey, JobKind, LeaseToken};
pub use wanted::wanted;

/// How often a job is tried unless it says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 5;
/// How often a job may be tried at most.
pub const MAX_ATTEMPTS: u32 = 100;
/// The longest lease.
pub const MAX_LEASE_MICROS: i64 = 12 * HOUR;
/// How long before its deadline a job goes before all that has none.
const DEADLINE_LEAD: i64 = 10 * MINUTE;
/// The most wanted texts that are remembered as given up; the oldest are forgotten first.
const MAX_GIVEN_UP: usize = 20_000;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// How urgent a job is, 1 (at once) to 4 (when there is time).
///
/// A priority is a head start, not a rank: each lower one waits so much longer before it goes first, so that none ever
/// starves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// The one of jobs that name none.
    pub const DEFAULT: Self = Self(3);

    /// Takes 1 to 4.
    pub fn new(number: u32) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(number @ 1..=4) => Ok(Self(number)),
            _ => Err(Invalid::new(format!(
                "{number} is not a priority; 1 is the most urgent and 4 the least"
            ))),
        }
    }

    /// The number, 1 to 4.
    pub fn number(self) -> u8 {
        self.0
    }

    /// How long a job of this priority lets a new one of priority 1 go first, in microseconds.
    fn head_start(self) -> i64 {
        match self.0 {
            1 => 0,
            2 => 5 * MINUTE,
            3 => HOUR,
            _ => 6 * HOUR,
        }
    }
}

/// A text that a job wants worked on: a segment, and the hash of its source text, or of its target text for reviews and
/// scores.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wanted {
    /// The segment.
    pub segment: SegmentId,
    /// The hash.
    pub hash: TextHash,
}

/// How far a job is, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobState {
    /// It waits for a worker.
    Pending,
    /// A worker has it until its lease ends.
    Leased,
    /// Its result was taken.
    Done,
    /// All its attempts failed, or a worker said that no other will succeed.
    Dead,
    /// It was canceled, or its article disappeared.
    Canceled,
    /// What it wanted is there by other means.
    Superseded,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Leased,
        Self::Done,
        Self::Dead,
        Self::Canceled,
        Self::Superseded,
    ];

    /// Whether there is still work to do.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Leased)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "PENDING",
            Self::Leased => "LEASED",
            Self::Done => "DONE",
            Self::Dead => "DEAD",
            Self::Canceled => "CANCELED",
            Self::Superseded => "SUPERSEDED",
        })
    }
}

/// A worker's right to a job for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What proves it.
    pub token: LeaseToken,
    /// The worker's own name for itself.
    pub worker: String,
    /// The commit that gave it.
    pub claimed: Stamp,
    /// When it ends.
    pub until: Timestamp,
}

/// How a worker ended its lease. Kept so that a retry of that very call gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The lease's token.
    pub token: LeaseToken,
    /// SHA-256 over the decoded call.
    pub digest: [u8; 32],
    /// The result of the call, where it wrote a translation.
    pub result: Option<JobResult>,
}

/// The stored result of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobResult {
    /// The translation that it went to.
    pub translation: TranslationId,
    /// What became of it there.
    pub outcome: Outcome,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the worker said; may be empty.
    pub message: String,
    /// Which worker.
    pub worker: String,
    /// When.
    pub time: Timestamp,
}

/// A job. Its texts are those of the revision that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Moved by every write to the job; what preconditions compare.
    pub version: u32,
    /// How far it is.
    pub state: JobState,
    /// The source revision that it was given out at. A pending job is done from the newest one: see [`Article::assigned`].
    pub source_revision: u32,
    /// The texts that it was given out for, in reading order. A pending job wants what is wanted of the article: see
    /// [`Article::assigned`].
    pub wanted: Vec<Wanted>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it may be claimed again, after a failure or as requested.
    pub not_before: Option<Timestamp>,
    /// When it should be done.
    pub deadline: Option<Timestamp>,
    /// How often it was claimed.
    pub attempts: u32,
    /// How often it may be.
    pub max_attempts: u32,
    /// The lease, while it is leased.
    pub lease: Option<Lease>,
    /// How the last lease was ended by its worker, if it was.
    pub settled: Option<Settled>,
    /// Why the last attempt failed, if one did.
    pub last_failure: Option<Failure>,
    /// The policy that opened it; `None` for one that was requested.
    pub policy: Option<PolicyId>,
    /// The principal that requested it; empty for an anonymous caller and for policies.
    pub principal: String,
    /// Whether it was canceled because its article was hidden or deleted: then it is asked for again when that is shown.
    pub hidden: bool,
    /// What this job and those before it were not able or not allowed to bring: policies do not ask for that again.
    pub given_up: Vec<Wanted>,
    /// The commit that opened it.
    pub opened: Stamp,
    /// The commit that wrote it last.
    pub changed: Stamp,
}

/// The options of a new job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// How urgent it is.
    pub priority: Priority,
    /// When it may be claimed first.
    pub not_before: Option<Timestamp>,
    /// When it should be done.
    pub deadline: Option<Timestamp>,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// The policy that asks.
    pub policy: Option<PolicyId>,
    /// The principal that asks.
    pub principal: String,
}

/// A lease that is offered to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its token.
    pub token: LeaseToken,
    /// The principal that asks.
    pub worker: String,
    /// How long it is to last, in microseconds.
    pub lease_micros: i64,
}

/// Where a job stands in the queue of its language pair and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// It may be claimed; those with the earliest instant first.
    Ready(Timestamp),
    /// It may be claimed from this instant on.
    Waiting(Timestamp),
}

/// Why a call about a job is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobRefusal {
    /// The token is not that of the job's present lease.
    LeaseLost,
    /// The job is not in a state that allows it.
    State(JobState),
}

impl Job {
    /// A job that is about to be opened, the next of its key after `last`.
    pub fn open(article: &ArticleId, key: JobKey, last: Option<&Self>, revision: u32, order: Order) -> Self {
        Self {
            id: JobId {
                article: article.clone(),
                key,
                number: last.map_or(1, |last| last.id.number + 1),
            },
            version: last.map_or(1, |last| last.version + 1),
            state: JobState::Pending,
            source_revision: revision,
            wanted: Vec::new(),
            priority: order.priority,
            not_before: order.not_before,
            deadline: order.deadline,
            attempts: 0,
            max_attempts: order.max_attempts,
            lease: None,
            settled: None,
            last_failure: None,
            policy: order.policy,
            principal: order.principal,
            hidden: false,
            given_up: last.map(Self::given_up_by_now).unwrap_or_default(),
            opened: Stamp::PENDING,
            changed: Stamp::PENDING,
        }
    }

    /// What is asked of the job that takes over what this one leaves undone.
    pub fn order(&self) -> Order {
        Order {
            priority: self.priority,
            not_before: None,
            deadline: self.deadline,
            max_attempts: self.max_attempts,
            policy: self.policy.clone(),
            principal: self.principal.clone(),
        }
    }

    /// How far it is at a time: a lease that has ended no longer holds it.
    pub fn state_at(&self, now: Timestamp) -> JobState {
        match &self.lease {
            Some(lease) if self.state == JobState::Leased && lease.until <= now => {
                if self.attempts >= self.max_attempts {
                    JobState::Dead
                } else {
                    JobState::Pending
                }
            }
            _ => self.state,
        }
    }

    /// Where it stands in the queue, while it is open.
    pub fn place(&self) -> Option<Place> {
        match (self.state, &self.lease) {
            (JobState::Pending, _) => Some(match self.not_before {
                Some(time) => Place::Waiting(time),
                None => Place::Ready(self.rank()),
            }),
            (JobState::Leased, Some(lease)) => Some(Place::Waiting(lease.until)),
            _ => None,
        }
    }

    /// What orders jobs that may be claimed, earliest first.
    pub fn rank(&self) -> Timestamp {
        let rank = self.opened.time.saturating_add_micros(self.priority.head_start());
        let due = self
            .deadline
            .map(|deadline| deadline.saturating_add_micros(-DEADLINE_LEAD));
        due.map_or(rank, |due| due.min(rank))
    }

    /// The token of the lease, while it is leased.
    pub fn claim(&self) -> Option<LeaseToken> {
        self.lease.as_ref().map(|lease| lease.token)
    }

    /// Whether it may be claimed at a time, as far as it knows itself.
    pub fn is_claimable(&self, now: Timestamp) -> bool {
        match self.state_at(now) {
            JobState::Pending => {
                self.state == JobState::Leased || self.not_before.is_none_or(|time| time <= now)
            }
            _ => false,
        }
    }

    /// Whether a policy is not to ask for this: each text was asked for before, by this job or one that was given up, or
    /// what an agent of this kind made of it was turned down. Others brought what a superseded job asked for, and a
    /// result may have been detached since: those jobs count for nothing.
    pub fn has_asked_for(&self, wanted: &[Wanted], slot: Option<&Slot>) -> bool {
        let is_superseded = self.state == JobState::Superseded;
        let is_own = !self.hidden && !is_superseded && !self.result_is_detached(slot);
        let own = self.wanted.iter().filter(|_| is_own);
        let asked = own.chain(&self.given_up).map(|text| (&text.segment, text.hash));
        let kind = self.id.key.kind;
        let turned_down = slot
            .into_iter()
            .flat_map(|slot| &slot.translations)
            .filter(|translation| translation.disposition == Disposition::Rejected)
            .flat_map(|translation| &translation.bindings)
            .filter(|binding| kind.is_done_by(binding.writer))
            .map(|binding| (&binding.id, binding.source_hash));
        let known: HashSet<_> = asked.chain(turned_down).collect();
        wanted
            .iter()
            .all(|text| known.contains(&(&text.segment, text.hash)))
    }

    /// Whether the translation that the result went to was detached.
    fn result_is_detached(&self, slot: Option<&Slot>) -> bool {
        let result = self.settled.as_ref().and_then(|settled| settled.result);
        let translation = result.and_then(|result| slot?.translation(result.translation));
        translation.is_some_and(|translation| translation.disposition == Disposition::Withdrawn)
    }

    /// What was given up by the end of this job.
    fn given_up_by_now(&self) -> Vec<Wanted> {
        let mut given_up = self.given_up.clone();
        let is_given_up = match self.state {
            JobState::Dead => true,
            JobState::Canceled => !self.hidden,
            JobState::Pending | JobState::Leased | JobState::Done | JobState::Superseded => false,
        };
        if is_given_up {
            let new = self
                .wanted
                .iter()
                .filter(|wanted| !self.given_up.contains(wanted));
            given_up.extend(new.cloned());
            let excess = given_up.len().saturating_sub(MAX_GIVEN_UP);
            given_up.drain(..excess);
        }
        given_up
    }

    /// The job as the next version.
    fn next(&self) -> Self {
        Self {
            version: self.version + 1,
            changed: Stamp::PENDING,
            ..self.clone()
        }
    }

    /// Puts the stamp of the commit that writes this job where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.opened.resolve(stamp);
        self.changed.resolve(stamp);
        if let Some(lease) = &mut self.lease {
            lease.claimed.resolve(stamp);
        }
    }
}

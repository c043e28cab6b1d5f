//! Translation jobs: work that is wanted, and the leases under which tools do it.
//!
//! A [`Job`] asks for the work of one kind on the translation of one article into one language, at one source revision.
//! It names what it wants by segment and hash and holds no text. At most one job of an article, language and kind is
//! open. Every call of a worker is fenced: it names the job and the token of its lease, and the job decides whether that
//! token still counts. [`wanted`] says what work there is, [`Article::follow`] what a change of the article does to its
//! jobs.
//!
//! Only the server's clock counts; it and randomness arrive as arguments.

use std::collections::HashSet;
use std::fmt;

use super::Invalid;
use super::ids::{ArticleId, SegmentId, TranslationId};
use super::language::Language;
use super::policy::PolicyId;
use super::provenance::AgentKind;
use super::request::Outcome;
use super::segment::TextHash;
use super::time::{Stamp, Timestamp};
use super::translation::{Disposition, Slot};

mod follow;
#[cfg(test)]
mod tests;
mod wanted;

pub use follow::{Article, Jobs};
pub use wanted::wanted;

/// How often a job is tried unless it says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 5;
/// How often a job may be tried at most.
pub const MAX_ATTEMPTS: u32 = 100;
/// The longest lease.
pub const MAX_LEASE_MICROS: i64 = 12 * HOUR;
/// The wait after the first failure; it doubles with every further one.
const FIRST_BACK_OFF: i64 = 30 * SECOND;
/// The longest wait after a failure.
const MAX_BACK_OFF: i64 = HOUR;
/// How long before its deadline a job goes before all that has none.
const DEADLINE_LEAD: i64 = 10 * MINUTE;
/// The most wanted texts that are remembered as given up; the oldest are forgotten first.
const MAX_GIVEN_UP: usize = 20_000;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// What kind of work a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    /// A translation by an engine.
    Mt,
    /// A translation by a large language model.
    Llm,
    /// A translation by a person.
    Human,
    /// A review of what is translated.
    Review,
    /// Quality scores of what is translated.
    Score,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Mt, Self::Llm, Self::Human, Self::Review, Self::Score];

    /// The name in job ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mt => "mt",
            Self::Llm => "llm",
            Self::Human => "human",
            Self::Review => "review",
            Self::Score => "score",
        }
    }

    /// Whether an agent of this kind does such work.
    pub fn is_done_by(self, agent: AgentKind) -> bool {
        match self {
            Self::Mt => matches!(agent, AgentKind::Mt | AgentKind::Tm | AgentKind::Rule),
            Self::Llm => agent == AgentKind::Llm,
            Self::Human => agent == AgentKind::Human,
            Self::Review | Self::Score => true,
        }
    }

    /// Whether the work is a text.
    pub fn translates(self) -> bool {
        matches!(self, Self::Mt | Self::Llm | Self::Human)
    }
}

/// Names the jobs of an article of which at most one is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    /// The target language.
    pub language: Language,
    /// The kind.
    pub kind: JobKind,
}

/// The id of a job, printed as `a1/fr/mt/3`: the third job of kind MT for `a1` into French.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId {
    /// The article.
    pub article: ArticleId,
    /// Language and kind.
    pub key: JobKey,
    /// 1, 2, 3… among the jobs of this article, language and kind.
    pub number: u32,
}

impl JobId {
    /// Reads an id in the form that [`fmt::Display`] prints.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = || {
            let shown: String = text.chars().take(160).collect();
            Invalid::new(format!(
                "{shown:?} is not a job id; the store makes them, such as \"a1/fr/mt/1\""
            ))
        };
        let mut parts = text.split('/');
        let (Some(article), Some(language), Some(kind), Some(number), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(refuse());
        };
        let kind = JobKind::ALL.into_iter().find(|known| known.name() == kind);
        let id = Self {
            article: ArticleId::parse(article).map_err(|_| refuse())?,
            key: JobKey {
                language: Language::parse(language).map_err(|_| refuse())?,
                kind: kind.ok_or_else(refuse)?,
            },
            number: number.parse().map_err(|_| refuse())?,
        };
        // One spelling only: tokens and logs are compared as texts.
        if id.number == 0 || id.to_string() != text {
            return Err(refuse());
        }
        Ok(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JobKey { language, kind } = &self.key;
        write!(f, "{}/{language}/{}/{}", self.article, kind.name(), self.number)
    }
}

/// What a lease is proven with: 128 random bits, printed as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub [u8; 16]);

impl LeaseToken {
    /// Reads a token in the form that [`fmt::Display`] prints.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_token = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_token
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(|token| Self(token.to_be_bytes()))
            .ok_or_else(|| Invalid::new("is not a lease token; ClaimJobs gives one of 32 hexadecimal digits"))
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

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
    /// Somebody gave it up, or its article disappeared.
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
    /// Who has it, as it calls itself.
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
    /// What the call came to, where it brought a result that went anywhere.
    pub result: Option<JobResult>,
}

/// What the result of a job came to.
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
    /// The source revision that it is to be done from.
    pub source_revision: u32,
    /// The texts that it wants, in reading order.
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
    /// Who requested it; empty for an anonymous caller and for policies.
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

/// What is asked of a new job.
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
    /// Who asks.
    pub principal: String,
}

/// A lease that is offered to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its token.
    pub token: LeaseToken,
    /// Who asks.
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
    pub fn open(
        article: &ArticleId,
        key: JobKey,
        last: Option<&Self>,
        revision: u32,
        wanted: Vec<Wanted>,
        order: Order,
    ) -> Self {
        Self {
            id: JobId {
                article: article.clone(),
                key,
                number: last.map_or(1, |last| last.id.number + 1),
            },
            version: last.map_or(1, |last| last.version + 1),
            state: JobState::Pending,
            source_revision: revision,
            wanted,
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

    /// Gives it to a worker. Its caller has seen that it [`is_claimable`](Self::is_claimable).
    #[must_use]
    pub fn leased(&self, grant: Grant, now: Timestamp) -> Self {
        Self {
            state: JobState::Leased,
            not_before: None,
            attempts: self.attempts + 1,
            lease: Some(Lease {
                token: grant.token,
                worker: grant.worker,
                claimed: Stamp::PENDING,
                until: now.saturating_add_micros(grant.lease_micros),
            }),
            settled: None,
            ..self.next()
        }
    }

    /// The lease, if this is its token: one that has ended counts until another worker has the job, so that no result is
    /// lost for being late.
    pub fn fenced(&self, token: LeaseToken) -> Result<&Lease, JobRefusal> {
        match (self.state, &self.lease) {
            (JobState::Leased, Some(lease)) if lease.token == token => Ok(lease),
            _ => Err(JobRefusal::LeaseLost),
        }
    }

    /// How an earlier call with this token ended the lease, if one did.
    pub fn settled_by(&self, token: LeaseToken) -> Option<&Settled> {
        self.settled.as_ref().filter(|settled| settled.token == token)
    }

    /// Its lease lasts so much longer from now on.
    #[must_use]
    pub fn prolonged(&self, lease: &Lease, now: Timestamp, lease_micros: i64) -> Self {
        Self {
            lease: Some(Lease {
                until: now.saturating_add_micros(lease_micros),
                ..lease.clone()
            }),
            ..self.next()
        }
    }

    /// It is done.
    #[must_use]
    pub fn done(&self, settled: Settled) -> Self {
        Self {
            state: JobState::Done,
            lease: None,
            settled: Some(settled),
            ..self.next()
        }
    }

    /// An attempt failed: it waits, or is dead. `jitter` is random, 0 to 1, and `wait_micros` what the worker asks for
    /// instead of the usual wait.
    #[must_use]
    pub fn failed(
        &self,
        settled: Settled,
        failure: Failure,
        is_permanent: bool,
        wait_micros: Option<i64>,
        jitter: f64,
    ) -> Self {
        let is_dead = is_permanent || self.attempts >= self.max_attempts;
        let wait = wait_micros.unwrap_or_else(|| back_off(self.attempts, jitter));
        Self {
            state: if is_dead {
                JobState::Dead
            } else {
                JobState::Pending
            },
            not_before: (!is_dead).then(|| failure.time.saturating_add_micros(wait)),
            lease: None,
            settled: Some(settled),
            last_failure: Some(failure),
            ..self.next()
        }
    }

    /// Its last lease ended without a word from the worker.
    #[must_use]
    pub fn expired(&self) -> Self {
        let failure = self.lease.as_ref().map(|lease| Failure {
            message: "the lease ended".into(),
            worker: lease.worker.clone(),
            time: lease.until,
        });
        Self {
            state: JobState::Dead,
            lease: None,
            last_failure: failure,
            ..self.next()
        }
    }

    /// The worker gives it back undone; the attempt does not count.
    #[must_use]
    pub fn released(&self, settled: Option<Settled>) -> Self {
        Self {
            state: JobState::Pending,
            attempts: self.attempts.saturating_sub(1),
            lease: None,
            settled,
            ..self.next()
        }
    }

    /// It is given up; `hidden`: because its article was hidden or deleted.
    #[must_use]
    pub fn canceled(&self, hidden: bool) -> Self {
        Self {
            state: JobState::Canceled,
            lease: None,
            hidden,
            ..self.next()
        }
    }

    /// Nothing of it is wanted any more.
    #[must_use]
    pub fn superseded(&self) -> Self {
        Self {
            state: JobState::Superseded,
            lease: None,
            ..self.next()
        }
    }

    /// It is to be done from another revision, or wants something else.
    #[must_use]
    pub fn retargeted(&self, revision: u32, wanted: Vec<Wanted>) -> Self {
        Self {
            source_revision: revision,
            wanted,
            ..self.next()
        }
    }

    /// It is as urgent as this order at least; `None` where it is already.
    pub fn hastened(&self, order: &Order) -> Option<Self> {
        let sooner = |new: Timestamp| self.deadline.is_none_or(|old| new < old);
        let deadline = order.deadline.filter(|new| sooner(*new));
        let is_urgent = order.priority < self.priority;
        (is_urgent || deadline.is_some()).then(|| Self {
            priority: self.priority.min(order.priority),
            deadline: deadline.or(self.deadline),
            ..self.next()
        })
    }

    /// It may be tried again from now on, though it was given up.
    #[must_use]
    pub fn retried(&self, revision: u32, wanted: Vec<Wanted>) -> Self {
        Self {
            state: JobState::Pending,
            source_revision: revision,
            wanted,
            not_before: None,
            attempts: 0,
            lease: None,
            hidden: false,
            given_up: Vec::new(),
            ..self.next()
        }
    }

    /// Whether a policy is not to ask for this: each text was asked for before, by this job or one that was given up, or
    /// what an agent of this kind made of it was turned down. Others brought what a superseded job asked for, and a result
    /// may have been detached since: those jobs count for nothing.
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

/// The wait after so many attempts, half of it left to chance, so that jobs that failed together do not come back
/// together.
fn back_off(attempts: u32, jitter: f64) -> i64 {
    let doubled = FIRST_BACK_OFF.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    let wait = doubled.min(MAX_BACK_OFF);
    let half = wait / 2;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a share of at most an hour"
    )]
    let chance = (half as f64 * jitter.clamp(0.0, 1.0)) as i64;
    half + chance
}

/// Which jobs a worker takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimQuery {
    /// Pairs of source and target language; empty: any.
    pub pairs: Vec<Pair>,
    /// Kinds; empty: any.
    pub kinds: Vec<JobKind>,
    /// Only these jobs; empty: any.
    pub ids: Vec<JobId>,
    /// Whether those of embargoed articles too.
    pub embargoed: bool,
}

/// A source and a target language.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The source language; `None`: any.
    pub source: Option<Language>,
    /// The target language; `None`: any.
    pub target: Option<Language>,
}

impl ClaimQuery {
    /// Whether a job of this source language, key and visibility is one of them, leaving the ids aside.
    pub fn matches(&self, source: &Language, key: &JobKey) -> bool {
        let pair = |pair: &Pair| {
            pair.source.as_ref().is_none_or(|language| language == source)
                && pair
                    .target
                    .as_ref()
                    .is_none_or(|language| *language == key.language)
        };
        (self.kinds.is_empty() || self.kinds.contains(&key.kind))
            && (self.pairs.is_empty() || self.pairs.iter().any(pair))
    }
}

/// What a claim finds when it looks at a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The job, leased.
    Leased(Job),
    /// The job, which has no work left or no attempt.
    Ended(Job),
    /// It cannot be claimed now.
    NotNow,
}

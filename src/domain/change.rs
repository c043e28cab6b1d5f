//! Changes of a commit for followers of the feed: ids and facts, never texts.

use super::article::{ArticleId, Head, Metadata};
use super::etag::Etag;
use super::freshness::Overall;
use super::ids::TranslationId;
use super::job::{Article, Grant, Job, JobKind, JobState};
use super::language::Language;
use super::time::{Stamp, Timestamp};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The article is new.
    ArticleCreated,
    /// The article has a new revision of its content.
    ArticleRevised,
    /// Only the metadata changed.
    ArticleMetadataChanged,
    /// The article was deleted.
    ArticleDeleted,
    /// The article was undeleted.
    ArticleUndeleted,
    /// The publication status of the article, or what was said about it, changed.
    PublicationStatusChanged,
    /// The embargo of the article ended.
    EmbargoLifted,
    /// The article was purged.
    ArticlePurged,
    /// A translation was written.
    TranslationAttached(TranslationId),
    /// Another translation of the slot is served, or none.
    TranslationSelected(Option<TranslationId>),
    /// A translation was detached.
    TranslationDetached(TranslationId),
    /// Scores or issues were added to a translation.
    TranslationScored(TranslationId),
    /// Segments of a translation were brought to another state.
    TranslationReviewed(TranslationId),
    /// A translation was turned down.
    TranslationRejected(TranslationId),
    /// Targets of a translation were declared to hold for another source text.
    TranslationAcknowledged(TranslationId),
    /// A source revision changed whether, or in which segments, the served translation still holds.
    TranslationFreshnessChanged {
        /// The freshness before.
        from: Overall,
        /// The freshness now.
        to: Overall,
    },
    /// A translation job was opened or changed its state; the event's language is its target language.
    Job {
        /// What happened to it.
        step: JobStep,
        /// Its kind.
        kind: JobKind,
        /// Its number.
        number: u32,
    },
}

/// What happened to a translation job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobStep {
    /// It was opened.
    Opened,
    /// A worker claimed it.
    Claimed,
    /// It is pending, and to be done from a new revision. The job itself does not change.
    Retargeted,
    /// It is pending again: it was released, an attempt failed, or it is retried.
    Returned,
    /// It is done.
    Done,
    /// It is dead.
    Dead,
    /// It was canceled.
    Canceled,
    /// It was superseded.
    Superseded,
}

/// The values of an article that filters look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The source language.
    pub language: Language,
    /// The section.
    pub section: String,
    /// The publisher.
    pub publisher: String,
}

impl From<&Metadata> for Scope {
    fn from(metadata: &Metadata) -> Self {
        Self {
            language: metadata.language.clone(),
            section: metadata.section.clone(),
            publisher: metadata.publisher.clone(),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The article.
    pub article: ArticleId,
    /// The article's revision after it.
    pub revision: u32,
    /// The target language, for changes of translations.
    pub language: Option<Language>,
    /// The etag after it: of the article, or of the translation.
    pub etag: Option<Etag>,
    /// The article's values after it.
    pub scope: Scope,
    /// The article's values before it, where they differ: a filter matches either.
    pub previous: Option<Scope>,
}

impl Event {
    /// An event about an article as it is after a change; `old` is how it was, where that may matter to filters.
    pub fn about(head: &Head, kind: Kind, old: Option<&Head>) -> Self {
        let scope = Scope::from(&head.current.metadata);
        let previous = old
            .map(|old| Scope::from(&old.current.metadata))
            .filter(|previous| *previous != scope);
        Self {
            kind,
            article: head.id.clone(),
            revision: head.revision(),
            language: None,
            etag: Some(head.current.etag),
            scope,
            previous,
        }
    }

    /// What happened to a job of an article; it has no etag.
    pub fn about_job(head: &Head, job: &Job, step: JobStep) -> Self {
        let kind = Kind::Job {
            step,
            kind: job.id.key.kind,
            number: job.id.number,
        };
        Self {
            language: Some(job.id.key.language.clone()),
            etag: None,
            ..Self::about(head, kind, None)
        }
    }
}

impl JobStep {
    /// What happened to a job between two of its states, where that is news: a lease that was prolonged is none. `before`
    /// may be the job before it.
    pub fn between(before: Option<&Job>, after: &Job) -> Option<Self> {
        let Some(before) = before.filter(|before| before.id == after.id) else {
            return Some(Self::Opened);
        };
        match (before.state, after.state) {
            (JobState::Leased, JobState::Leased) if before.claim() == after.claim() => None,
            (_, JobState::Leased) => Some(Self::Claimed),
            (JobState::Pending, JobState::Pending) => None,
            (_, JobState::Pending) => Some(Self::Returned),
            (_, JobState::Done) => Some(Self::Done),
            (_, JobState::Dead) => Some(Self::Dead),
            (_, JobState::Canceled) => Some(Self::Canceled),
            (_, JobState::Superseded) => Some(Self::Superseded),
        }
    }
}

/// The rule of a claim: [`Article::claim`] with the event about it.
pub fn claim(article: &Article<'_>, job: &Job, grant: &Grant, now: Timestamp) -> Option<(Job, Event)> {
    let after = article.claim(job, grant, now)?;
    let step = match after.state {
        JobState::Leased => JobStep::Claimed,
        JobState::Dead => JobStep::Dead,
        _ => JobStep::Superseded,
    };
    let event = Event::about_job(article.head, &after, step);
    Some((after, event))
}

/// What one commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The commit.
    pub stamp: Stamp,
    /// Its events in order; empty for a commit that only recorded a request.
    pub events: Vec<Event>,
    /// The authenticated principal that made it; empty for callers without credentials and for the server itself.
    pub principal: String,
}

//! What a commit changed, for everyone who follows: ids and facts, never texts.

use super::article::{ArticleId, Metadata};
use super::etag::Etag;
use super::freshness::Overall;
use super::ids::TranslationId;
use super::job::JobKind;
use super::language::Language;
use super::time::Stamp;

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
    /// A translation job came to be, or came further; the event's language is its target language.
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
    /// It is to be done from another revision, or wants something else.
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

/// What one commit changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The commit.
    pub stamp: Stamp,
    /// Its events in order; empty for a commit that only recorded a request.
    pub events: Vec<Event>,
}

//! What the service answers instead of a result: in the terms of the domain, for the API to map to statuses.

use super::changes::FeedToken;
use super::view::Moment;
use crate::domain::Violation;
use crate::domain::access::Denied;
use crate::domain::article::{ArticleId, Tombstone};
use crate::domain::capacity::{Exceeded, Resource};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::ids::{RequestId, SegmentId, TranslationId};
use crate::domain::job::{JobId, JobState};
use crate::domain::language::Language;
use crate::domain::policy::PolicyId;
use crate::domain::time::Seq;
use crate::store::StoreError;

/// The result of every service call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fields are wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<Violation>),
    /// The article or translation is too large.
    #[error("{what} of {size_bytes} bytes is larger than {limit_bytes}")]
    TooLarge {
        /// `an article` or `a translation`.
        what: &'static str,
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The request id was used for another request.
    #[error("request_id {0} was used for a request with another body")]
    RequestIdReused(RequestId),
    /// There is no such article.
    #[error("there is no article \"{0}\"")]
    ArticleNotFound(ArticleId),
    /// The article was purged.
    #[error("article \"{}\" was purged at {}", .0.article, .0.stamp.time)]
    ArticlePurged(Box<Tombstone>),
    /// The id to create an article under is that of a purged one.
    #[error("article \"{0}\" was purged, and its id is not given again")]
    IdPurged(ArticleId),
    /// No article holds the alias.
    #[error("no article has {0}")]
    AliasNotFound(String),
    /// The article has no such revision, or did not exist at that time.
    #[error("article \"{id}\" has no {wanted}; its newest revision is {head}")]
    RevisionNotFound {
        /// The article.
        id: ArticleId,
        /// What was asked for.
        wanted: Moment,
        /// The newest revision.
        head: u32,
    },
    /// The revision's text is no longer kept.
    #[error("the text of revision {revision} of article \"{id}\" is no longer kept")]
    RevisionNotRetained {
        /// The article.
        id: ArticleId,
        /// The revision.
        revision: u32,
    },
    /// There is no such translation.
    #[error("article \"{id}\" has no {}translation into {language}{}", .translation.map_or("active ", |_| ""), .translation.map_or(String::new(), |t| format!(" with the id \"{t}\"")))]
    TranslationNotFound {
        /// The article.
        id: ArticleId,
        /// The language.
        language: Language,
        /// The translation; `None`: the active one.
        translation: Option<TranslationId>,
    },
    /// The id is taken.
    #[error("article \"{0}\" exists already")]
    ArticleExists(ArticleId),
    /// Another article holds the alias.
    #[error("{alias} belongs to {}", article(.holder.as_ref()))]
    AliasTaken {
        /// The alias.
        alias: String,
        /// The article that holds it, if the caller may read it.
        holder: Option<ArticleId>,
    },
    /// The aliases of an import name two articles.
    #[error("the guid belongs to {} and the url to {}", article(.first.as_ref()), article(.second.as_ref()))]
    AliasesDisagree {
        /// The holder of the guid, if the caller may read it.
        first: Option<ArticleId>,
        /// The holder of the URL, if the caller may read it.
        second: Option<ArticleId>,
    },
    /// The article is deleted.
    #[error("article \"{0}\" is deleted; undelete it first")]
    ArticleDeleted(ArticleId),
    /// The caller may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The article is withheld or cancelled, so nothing can be done about its translations.
    #[error("article \"{0}\" is withheld; its translations cannot be changed")]
    SourceWithheld(ArticleId),
    /// The etag is not the current one.
    #[error("{what} has {}, not \"{}\"", etag(*.current), .expected.as_str())]
    EtagMismatch {
        /// What has the etag, such as `article "a1"`.
        what: String,
        /// The etag that was sent.
        expected: ExpectedEtag,
        /// The etag that it has, if the caller may read it.
        current: Option<Etag>,
    },
    /// Other writers kept changing the same things.
    #[error("article \"{0}\" is being changed by many writers at once; retry")]
    Contention(ArticleId),
    /// A state or disposition may not be set this way.
    #[error("{}: {problem}", step(.id, .language, *.translation, .segments))]
    IllegalTransition {
        /// The article.
        id: ArticleId,
        /// The language.
        language: Language,
        /// The translation; `None`: a new one.
        translation: Option<TranslationId>,
        /// The segments that stand in the way; empty: the translation as a whole.
        segments: Vec<SegmentId>,
        /// Why not.
        problem: String,
    },
    /// A machine may not undo or decide this.
    #[error(
        "{}: only a person may say this of what a person wrote or reviewed",
        step(.id, .language, Some(*.translation), .segments)
    )]
    PersonRequired {
        /// The article.
        id: ArticleId,
        /// The language.
        language: Language,
        /// The translation.
        translation: TranslationId,
        /// The segments; empty: the translation as a whole.
        segments: Vec<SegmentId>,
    },
    /// The slot is full.
    #[error(
        "article \"{id}\" has no room for another translation into {language}: a language takes {limit} translations and {segment_limit} segments"
    )]
    TooManyCandidates {
        /// The article.
        id: ArticleId,
        /// The language.
        language: Language,
        /// The most translations.
        limit: usize,
        /// The most segments of all of them.
        segment_limit: usize,
    },
    /// The article has no room for another language or job, or for more text in its translations.
    #[error("article \"{id}\" would have {} {}; its limit is {}", .exceeded.count, resource(.exceeded.resource), .exceeded.limit)]
    ArticleFull {
        /// The article.
        id: ArticleId,
        /// What there would be too much of.
        exceeded: Exceeded,
    },
    /// A translation would carry more evidence than it can.
    #[error(
        "translation \"{translation}\" of article \"{id}\" into {language} would carry {size_bytes} bytes of scores and issues; it takes {limit_bytes}"
    )]
    TooMuchEvidence {
        /// The article.
        id: ArticleId,
        /// The language.
        language: Language,
        /// The translation.
        translation: TranslationId,
        /// What it would carry.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The translation is only an address.
    #[error(
        "the text of translation \"{translation}\" of article \"{id}\" into {language} is kept elsewhere"
    )]
    TranslationWithoutText {
        /// The article.
        id: ArticleId,
        /// The language.
        language: Language,
        /// The translation.
        translation: TranslationId,
    },
    /// The texts are too long to be measured.
    #[error("targets, sources and references of {code_points} code points are more than {limit}")]
    TooLargeToMeasure {
        /// What was asked for.
        code_points: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no such job, or it was replaced too long ago.
    #[error("there is no job \"{0}\"")]
    JobNotFound(JobId),
    /// The token is not that of the job's present lease.
    #[error("the lease of job \"{id}\" is lost: {}", lost(*.state))]
    LeaseLost {
        /// The job.
        id: JobId,
        /// How the job ended, or that it waits again; `None`: another worker has it.
        state: Option<JobState>,
    },
    /// The job has ended in a way that the call cannot change.
    #[error("job \"{id}\" is not open: it is {state}")]
    JobNotOpen {
        /// The job.
        id: JobId,
        /// How it ended.
        state: JobState,
    },
    /// No text is wanted of the job.
    #[error("nothing is wanted of job \"{0}\" any more")]
    NothingWanted(JobId),
    /// There is no such policy.
    #[error("there is no policy \"{0}\"")]
    PolicyNotFound(PolicyId),
    /// The store holds as many policies as it can.
    #[error("the store holds {0} policies, and takes no more")]
    TooManyPolicies(usize),
    /// All policies together would ask for too much of one article.
    #[error("the policies together would ask for {} {} of one article; the limit is {}", .0.count, resource(.0.resource), .0.limit)]
    PolicyDemand(Exceeded),
    /// All policies together would list too many languages and kinds.
    #[error(
        "the policies together would list {count} pairs of target language and kind; the limit is {limit}"
    )]
    TooManyPolicyPairs {
        /// What they would list.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The server stops.
    #[error("the server is being stopped")]
    Draining,
    /// What followed a place in the changes is no longer kept.
    #[error("the changes after commit {seq} are no longer kept, only those after {}; begin again with a snapshot", .oldest.place.seq())]
    ChangesTrimmed {
        /// The commit of the token.
        seq: Seq,
        /// The token that continues with the oldest change that is kept.
        oldest: FeedToken,
    },
    /// A place in the changes is not one of this store.
    #[error(
        "the token is of commit {seq} of another store, or of this one before it was restored; begin again with a snapshot"
    )]
    ForeignToken {
        /// The commit of the token.
        seq: Seq,
        /// The newest commit of this store.
        head: Seq,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Purged(tombstone) => Self::ArticlePurged(tombstone),
            error => Self::Store(error),
        }
    }
}

impl Error {
    /// A single wrong field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, description)])
    }

    /// A bug.
    pub(crate) fn internal(what: &str) -> Self {
        Self::Internal(what.to_owned())
    }
}

/// What a refused step was about: `translation "t1" of article "a1" into fr, segments s1, s3`.
fn step(
    id: &ArticleId,
    language: &Language,
    translation: Option<TranslationId>,
    segments: &[SegmentId],
) -> String {
    const NAMED: usize = 20;
    let which = translation.map_or_else(
        || "a new translation".to_owned(),
        |t| format!("translation \"{t}\""),
    );
    let named: Vec<_> = segments.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match segments.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let segments = match named.as_slice() {
        [] => String::new(),
        named => format!(", segments {}{more}", named.join(", ")),
    };
    format!("{which} of article \"{id}\" into {language}{segments}")
}

/// The holder of an alias.
fn article(id: Option<&ArticleId>) -> String {
    id.map_or_else(|| "another article".to_owned(), |id| format!("article \"{id}\""))
}

fn etag(current: Option<Etag>) -> String {
    current.map_or_else(
        || "another etag".to_owned(),
        |current| format!("the etag \"{current}\""),
    )
}

/// What an article has too much of, as a noun.
fn resource(resource: Resource) -> &'static str {
    match resource {
        Resource::Languages => "languages",
        Resource::OpenJobs => "open jobs",
        Resource::StateBytes => "bytes of translations and jobs",
    }
}

/// Why a lease is lost.
fn lost(state: Option<JobState>) -> String {
    match state {
        None => "another worker has the job".to_owned(),
        Some(state) => format!("the job is {state}"),
    }
}

fn list(violations: &[Violation]) -> String {
    let all: Vec<_> = violations
        .iter()
        .take(10)
        .map(|v| format!("{}: {}", v.field, v.description))
        .collect();
    let rest = violations.len().saturating_sub(10);
    let more = if rest > 0 {
        format!("; and {rest} more")
    } else {
        String::new()
    };
    format!("{}{more}", all.join("; "))
}

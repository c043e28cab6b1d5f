//! What the service answers instead of a result: in the terms of the domain, for the API to map to statuses.

use super::articles::Moment;
use crate::domain::Violation;
use crate::domain::article::ArticleId;
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::ids::{RequestId, TranslationId};
use crate::domain::language::Language;
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
    #[error("{alias} belongs to article \"{holder}\"")]
    AliasTaken {
        /// The alias.
        alias: String,
        /// The article that holds it.
        holder: ArticleId,
    },
    /// The aliases of an import name two articles.
    #[error("the guid belongs to article \"{first}\" and the url to article \"{second}\"")]
    AliasesDisagree {
        /// The holder of the guid.
        first: ArticleId,
        /// The holder of the URL.
        second: ArticleId,
    },
    /// The article is deleted.
    #[error("article \"{0}\" is deleted; undelete it first")]
    ArticleDeleted(ArticleId),
    /// The etag is not the current one.
    #[error("{what} has the etag \"{current}\", not \"{}\"", .expected.as_str())]
    EtagMismatch {
        /// What has the etag, such as `article "a1"`.
        what: String,
        /// The etag that was sent.
        expected: ExpectedEtag,
        /// The etag that it has.
        current: Etag,
    },
    /// Other writers kept changing the same things.
    #[error("article \"{0}\" is being changed by many writers at once; retry")]
    Contention(ArticleId),
    /// A state or disposition may not be set this way.
    #[error("{0}")]
    IllegalTransition(String),
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
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
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

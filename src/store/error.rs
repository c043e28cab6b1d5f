//! Errors of a store. They hold no gRPC code, which the API maps in one place, and no text of an engine's library, which is
//! logged where the error happened.

use std::fmt;

use crate::clock::ClockJump;
use crate::domain::article::Tombstone;
use crate::domain::ids::ArticleId;
use crate::domain::job::JobKey;

/// The result of every store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A precondition of the batch does not hold; nothing was written. Re-read and decide again.
    #[error("a precondition failed: {0}")]
    Conflict(Conflict),
    /// The free space of the volume is below the floor, so writes are refused before the engine fails.
    /// Reads work, and writes are accepted again as soon as space returns.
    #[error("the store's volume has {available_bytes} bytes free, and writes need {floor_bytes}")]
    Full {
        /// Bytes that the volume has free now.
        available_bytes: u64,
        /// The floor below which writes are refused.
        floor_bytes: u64,
    },
    /// A record is larger than the limit for records that can be read back; nothing was written.
    #[error(
        "the {record}{} would take {size_bytes} bytes, and a record has at most {limit_bytes}", of_article(article.as_ref())
    )]
    TooLarge {
        /// The article; a policy has none.
        article: Option<ArticleId>,
        /// The kind of the record.
        record: &'static str,
        /// The size of the record.
        size_bytes: u64,
        /// The largest size of a record.
        limit_bytes: u64,
    },
    /// The article was purged after the caller read it.
    #[error("article \"{}\" was purged at {}", .0.article, .0.stamp.time)]
    Purged(Box<Tombstone>),
    /// A stored record is missing, does not match its checksum, or cannot be decoded.
    #[error("record {record} is damaged: {detail}")]
    Corrupt {
        /// The record's key in a readable form.
        record: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The engine failed during this write, which may or may not survive.
    /// Retrying with the same `request_id` is safe.
    #[error("the store failed while the write was under way; whether it survives is not known")]
    OutcomeUnknown,
    /// The engine failed before anything of this operation was applied, or is being reopened.
    #[error("the store is not available now: {reason}")]
    Unavailable {
        /// A sentence for the log and the caller, without paths.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The store could not be opened.
    #[error("{0}")]
    Open(OpenError),
}

fn of_article(article: Option<&ArticleId>) -> String {
    article.map_or_else(String::new, |id| format!(" of article \"{id}\""))
}

impl StoreError {
    /// A write is refused while the clock has jumped.
    pub(in crate::store) fn clock_jump(jump: ClockJump) -> Self {
        Self::Unavailable {
            reason: jump.to_string(),
        }
    }

    /// Whether a retry of the failed write could apply it a second time.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown)
    }
}

/// The precondition that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The article's head, or its set of slots, is not the one that the decision was made on.
    Article(ArticleId),
    /// The slot `(article, language)` is not the one that the decision was made on.
    Slot(ArticleId, String),
    /// The newest job of a key is not the one that the decision was made on.
    Job(ArticleId, JobKey),
    /// The policies are not those that the decision was made on.
    Policies,
    /// A new alias already has a holder.
    Alias {
        /// The alias in readable form (a URL, or publisher and guid).
        alias: String,
        /// The article that holds it.
        holder: ArticleId,
    },
    /// The id of the article to create is that of a purged one.
    Purged(ArticleId),
    /// The request is recorded already, by a concurrent call with the same id.
    Request,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Article(id) => write!(f, "article \"{id}\" has changed"),
            Self::Slot(id, language) => {
                write!(f, "the {language} translations of article \"{id}\" have changed")
            }
            Self::Job(id, key) => write!(
                f,
                "the {} job of article \"{id}\" into {} has changed",
                key.kind.name(),
                key.language
            ),
            Self::Policies => write!(f, "the translation policies have changed"),
            Self::Alias { alias, holder } => write!(f, "{alias} belongs to article \"{holder}\""),
            Self::Purged(id) => write!(f, "article \"{id}\" was purged"),
            Self::Request => write!(f, "the request was recorded meanwhile"),
        }
    }
}

/// Why a store could not be opened. The text is for the operator: it names the place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has the store open.
    #[error(
        "the store directory {location} is in use by another process; stop that process or choose another directory"
    )]
    InUse {
        /// Where the store is, such as its directory.
        location: String,
    },
    /// There is no store where one was to be opened.
    #[error(
        "there is no store in {location}; name the directory that `article-store serve` has as its --store"
    )]
    Missing {
        /// Where the store is, such as its directory.
        location: String,
    },
    /// There is a store where a new one was to be made.
    #[error("{location} holds a store already")]
    NotEmpty {
        /// Where the store is, such as its directory.
        location: String,
    },
    /// The records were written by a newer version.
    #[error(
        "the store in {location} has format {found}, and this version reads formats up to {supported}; run the version that wrote it"
    )]
    UnsupportedFormat {
        /// Where the store is, such as its directory.
        location: String,
        /// The format number found.
        found: u32,
        /// The newest format number that this version reads.
        supported: u32,
    },
    /// A file is damaged.
    #[error(
        "the store in {location} is damaged: {detail}; restore a backup, or move the directory away to start empty"
    )]
    Damaged {
        /// Where the store is, such as its directory.
        location: String,
        /// What is wrong, naming the file or record.
        detail: String,
    },
    /// The clock is too far ahead of the last commit to be right.
    #[error("{0}")]
    ClockJump(ClockJump),
    /// The operating system refused.
    #[error("cannot open the store in {location}: {detail}")]
    Io {
        /// Where the store is, such as its directory.
        location: String,
        /// What the operating system said.
        detail: String,
    },
}

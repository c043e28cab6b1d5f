//! Recorded requests: what makes a retry give the first answer.

use super::ids::{ArticleId, RequestId, TranslationId};
use super::job::id::JobId;
use super::language::Language;
use super::time::Stamp;

/// Names a request: the same id from another principal or for another RPC is another request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The principal; empty for an anonymous caller.
    pub principal: String,
    /// The RPC, such as `CreateArticle`.
    pub rpc: String,
    /// The id.
    pub id: RequestId,
}

/// A request that was carried out, with references to its result and never a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Which request.
    pub key: RequestKey,
    /// SHA-256 over the decoded request: the same id with another digest is another request under a used id.
    pub digest: [u8; 32],
    /// The commit that recorded it. The first answer shows the store as it was right after this commit.
    pub stamp: Stamp,
    /// The article that it concerned.
    pub article: ArticleId,
    /// The translation that it concerned.
    pub translation: Option<(Language, TranslationId)>,
    /// The jobs that it claimed.
    pub jobs: Vec<JobId>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Something new was created.
    Created,
    /// Something was changed.
    Changed,
    /// Nothing differed, so nothing was written.
    Unchanged,
    /// A machine's text went to a candidate, because a person's stands in its way.
    Diverted,
}

//! What a worker asks for when it claims jobs.

use super::{JobId, JobKey, JobKind};
use crate::domain::language::Language;

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

//! Translation policies: which articles are to be translated into which languages, and by whom.
//!
//! A policy opens jobs by itself when an article that it selects arrives, becomes visible or changes, or when its
//! translation is found wanting. The rules are in [`super::job::Article::follow`].

use std::collections::HashSet;

use super::article::Metadata;
use super::etag::Etag;
pub use super::ids::{MAX_POLICY_ID, PolicyId};
use super::job::{JobKind, Order, Priority};
use super::language::{Language, MAX_TAG};
use super::time::Timestamp;

/// The most policies of a store. They are held in memory and looked at by every write.
pub const MAX_POLICIES: usize = 1_000;
/// The most pairs of target language and kind of all policies, counted in each. Every write looks at them.
pub const MAX_POLICY_PAIRS: usize = 20_000;
/// The most entries of each list of a policy.
pub const MAX_POLICY_LIST: usize = 100;

/// What a policy asks for, and of which articles. An empty list of the selector means any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyRule {
    /// Articles in these source languages.
    pub source_languages: Vec<Language>,
    /// Articles of these sections.
    pub sections: Vec<String>,
    /// Articles of these publishers.
    pub publishers: Vec<String>,
    /// The languages to translate into.
    pub target_languages: Vec<Language>,
    /// The kinds of work.
    pub kinds: Vec<JobKind>,
    /// How urgent the jobs are.
    pub priority: Priority,
    /// How often each may be tried.
    pub max_attempts: u32,
    /// Whether it rests: it opens nothing.
    pub paused: bool,
}

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslationPolicy {
    /// Its id.
    pub id: PolicyId,
    /// The etag of the rule.
    pub etag: Etag,
    /// What it asks for.
    pub rule: PolicyRule,
    /// When it was put first.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl TranslationPolicy {
    /// What it asks of the jobs that it opens.
    pub fn order(&self) -> Order {
        Order {
            priority: self.rule.priority,
            not_before: None,
            deadline: None,
            max_attempts: self.rule.max_attempts,
            policy: Some(self.id.clone()),
            principal: String::new(),
        }
    }
}

/// What policies may ask for together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Target languages.
    pub languages: usize,
    /// Pairs of target language and kind: the most jobs of one article.
    pub jobs: usize,
    /// Such pairs, counted in each policy.
    pub pairs: usize,
}

impl Demand {
    /// That of these rules, whatever articles they select.
    pub fn of<'a>(rules: impl Iterator<Item = &'a PolicyRule>) -> Self {
        let (mut languages, mut jobs, mut pairs) = (HashSet::new(), HashSet::new(), 0);
        for rule in rules {
            languages.extend(&rule.target_languages);
            jobs.extend(rule.pairs());
            pairs += rule.target_languages.len() * rule.kinds.len();
        }
        Self {
            languages: languages.len(),
            jobs: jobs.len(),
            pairs,
        }
    }
}

impl PolicyRule {
    /// The languages and kinds of its jobs.
    pub fn pairs(&self) -> impl Iterator<Item = (&Language, JobKind)> {
        let of = |language| self.kinds.iter().map(move |kind| (language, *kind));
        self.target_languages.iter().flat_map(of)
    }

    /// About the most that it takes in an answer, in bytes.
    pub fn max_bytes(&self) -> usize {
        const FIXED_BYTES: usize = 256;
        const LANGUAGE_BYTES: usize = MAX_TAG + 2;
        let languages = self.source_languages.len() + self.target_languages.len();
        let texts = self.sections.iter().chain(&self.publishers);
        FIXED_BYTES + LANGUAGE_BYTES * languages + texts.map(|text| text.len() + 3).sum::<usize>()
    }

    /// Whether it is about an article with this metadata.
    pub fn selects(&self, metadata: &Metadata) -> bool {
        let any = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        !self.paused
            && (self.source_languages.is_empty() || self.source_languages.contains(&metadata.language))
            && any(&self.sections, &metadata.section)
            && any(&self.publishers, &metadata.publisher)
    }
}

//! What jobs are called: their kinds, their ids, and the tokens of their leases.

use std::fmt;

use crate::domain::Invalid;
use crate::domain::ids::ArticleId;
use crate::domain::language::Language;
use crate::domain::provenance::AgentKind;

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

//! Immutable versions: what has them, and how one is named.

use super::ids::{ArticleId, TranslationId};
use super::language::Language;
use super::time::Stamp;

/// The number of a version in its series, and the commit that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// 1, 2, 3…
    pub number: u32,
    /// The commit that wrote it.
    pub stamp: Stamp,
}

impl Version {
    /// The first version, which is about to be written.
    pub const FIRST: Self = Self {
        number: 1,
        stamp: Stamp::PENDING,
    };

    /// The version after this one, which is about to be written.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            number: self.number + 1,
            stamp: Stamp::PENDING,
        }
    }
}

/// What an article has versions of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Series {
    /// Its metadata and visibility.
    Metadata,
    /// Its content: the revisions.
    Content,
    /// Which translation into a language is served.
    Selection(Language),
    /// A translation.
    Translation(Language, TranslationId),
}

/// Names an immutable version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionKey {
    /// The article.
    pub article: ArticleId,
    /// What it is a version of.
    pub series: Series,
    /// The number of the version.
    pub number: u32,
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Metadata => f.write_str("metadata"),
            Self::Content => f.write_str("revision"),
            Self::Selection(language) => write!(f, "selection {language}"),
            Self::Translation(language, id) => write!(f, "translation {language} {}", id.0),
        }
    }
}

impl std::fmt::Display for VersionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {} {} {}", self.article, self.series, self.number)
    }
}

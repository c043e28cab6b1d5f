//! Canonical URLs: one spelling for all that name the same article.

/// A canonical URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalUrl(String);

impl CanonicalUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a URL that was made canonical earlier, from a record of this store.
    pub fn from_canonical(url: String) -> Self {
        Self(url)
    }
}

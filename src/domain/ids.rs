//! Identifiers: of articles, segments, translations and requests.

use std::fmt;
use std::sync::Arc;

use super::Invalid;

/// The longest article id, in characters.
pub const MAX_ARTICLE_ID: usize = 128;
/// The longest policy id, in characters.
pub const MAX_POLICY_ID: usize = 64;

/// An article's id: 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`, case matters. Chosen by the caller or made by the
/// server, and never reused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArticleId(Arc<str>);

impl ArticleId {
    /// Checks and takes an id.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("an article id is required"));
        }
        if let Some(bad) = text
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "._~-".contains(*c)))
        {
            return Err(Invalid::new(format!(
                "{bad:?} is not allowed in an article id; it takes A-Z a-z 0-9 . _ ~ -"
            )));
        }
        if text.len() > MAX_ARTICLE_ID {
            return Err(Invalid::new(format!(
                "an article id of {} characters is longer than {MAX_ARTICLE_ID}",
                text.len()
            )));
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArticleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ArticleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The id of a segment, unique and never reused within its article: `title`, `lead`, or `s1`, `s2`… assigned by the
/// store. It is an XML `NMTOKEN`, so that it can stand in XLIFF as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SegmentId {
    /// The headline.
    Title,
    /// The lead (standfirst).
    Lead,
    /// The n-th body segment that the store ever numbered in this article.
    Body(u32),
}

impl SegmentId {
    /// Reads an id in the form that [`fmt::Display`] prints.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "title" => Ok(Self::Title),
            "lead" => Ok(Self::Lead),
            _ => text
                .strip_prefix('s')
                .filter(|digits| digits.starts_with(|c: char| ('1'..='9').contains(&c)))
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .map(Self::Body)
                .ok_or_else(|| {
                    Invalid::new(format!(
                        "{text:?} is not a segment id; the store assigns them as \"title\", \"lead\", \"s1\", \"s2\" and so on"
                    ))
                }),
        }
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Title => f.write_str("title"),
            Self::Lead => f.write_str("lead"),
            Self::Body(number) => write!(f, "s{number}"),
        }
    }
}

/// The id of a translation within its slot `(article, language)`: `t1`, `t2`… in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TranslationId(pub u32);

impl TranslationId {
    /// Reads an id in the form that [`fmt::Display`] prints.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        text.strip_prefix('t')
            .filter(|digits| digits.starts_with(|c: char| ('1'..='9').contains(&c)))
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                Invalid::new(format!(
                    "{text:?} is not a translation id; the store assigns them as \"t1\", \"t2\" and so on"
                ))
            })
    }
}

impl fmt::Display for TranslationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// The id that makes a retry of a mutation safe: a UUID chosen by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Reads a UUID in any of its usual spellings; the nil UUID is refused, because it is what an unset variable gives.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match uuid::Uuid::parse_str(text) {
            Ok(id) if !id.is_nil() => Ok(Self(id.into_bytes())),
            Ok(_) => Err(Invalid::new(
                "the nil UUID does not tell one request from another",
            )),
            Err(_) => Err(Invalid::new(format!(
                "{:?} is not a UUID",
                text.chars().take(64).collect::<String>()
            ))),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

/// A policy's id: 1 to 64 characters of `A-Z a-z 0-9 . _ ~ -`, chosen by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(Arc<str>);

impl PolicyId {
    /// Checks and takes an id.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("a policy id is required"));
        }
        if let Some(bad) = text
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "._~-".contains(*c)))
        {
            return Err(Invalid::new(format!(
                "{bad:?} is not allowed in a policy id; it takes A-Z a-z 0-9 . _ ~ -"
            )));
        }
        if text.len() > MAX_POLICY_ID {
            return Err(Invalid::new(format!(
                "a policy id of {} characters is longer than {MAX_POLICY_ID}",
                text.len()
            )));
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn article_ids_have_a_small_alphabet_and_a_limit() {
        assert_eq!(
            ArticleId::parse("JA-local.1_~2").unwrap().as_str(),
            "JA-local.1_~2"
        );
        assert!(ArticleId::parse("").unwrap_err().0.contains("required"));
        assert!(ArticleId::parse("a/b").unwrap_err().0.contains("'/'"));
        assert!(ArticleId::parse("خبر").is_err());
        assert!(ArticleId::parse(&"x".repeat(128)).is_ok());
        assert!(ArticleId::parse(&"x".repeat(129)).unwrap_err().0.contains("129"));
    }

    #[test]
    fn segment_ids_round_trip_and_nothing_else_parses() {
        for id in [
            SegmentId::Title,
            SegmentId::Lead,
            SegmentId::Body(1),
            SegmentId::Body(u32::MAX),
        ] {
            assert_eq!(SegmentId::parse(&id.to_string()).unwrap(), id);
        }
        for text in [
            "",
            "s",
            "s0",
            "s01",
            "s-1",
            "s+1",
            "s4294967296",
            "S1",
            "Title",
            "x1",
        ] {
            assert!(SegmentId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn request_ids_are_uuids_but_not_nil() {
        let id = RequestId::parse("0192d3c4-0000-7000-8000-00000000002a").unwrap();
        assert_eq!(id.to_string(), "0192d3c4-0000-7000-8000-00000000002a");
        assert!(RequestId::parse("00000000-0000-0000-0000-000000000000").is_err());
        assert!(RequestId::parse("abc").is_err());
    }
}

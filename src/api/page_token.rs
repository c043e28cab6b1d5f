//! Page and resume tokens: opaque to callers, bound to the query that they came from.
//!
//! A token is the URL-safe base64 of a version byte, eight bytes of a digest of the query, the place, and a checksum: a
//! token that was cut could lead to another place of the same list.

use std::hash::Hash;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Status;

use super::error::bad_token;
use crate::domain::article::ArticleId;
use crate::domain::etag;
use crate::domain::ids::TranslationId;
use crate::domain::job::JobId;
use crate::domain::language::Language;
use crate::domain::policy::PolicyId;
use crate::domain::query::Position;
use crate::domain::time::Timestamp;
use crate::service::export::ExportPosition;

const VERSION: u8 = 1;
/// No token that was issued is longer.
const MAX_TOKEN: usize = 1_024;

/// What a token leads to.
pub(super) trait Place: Sized {
    /// The place as text.
    fn write(&self) -> String;
    /// The place that a text names.
    fn read(text: &str) -> Option<Self>;
}

/// A token for a place in the answer to a query.
pub(super) fn encode(query: &impl Hash, place: &impl Place) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(digest(query));
    bytes.extend(place.write().into_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that a token leads to; `None` for the empty token.
pub(super) fn decode<P: Place>(field: &str, token: &str, query: &impl Hash) -> Result<Option<P>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let damaged = || bad_token(field, "is not a token of this server");
    if token.len() > MAX_TOKEN {
        return Err(damaged());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| damaged())?;
    let (bytes, checksum) = bytes.split_last_chunk().ok_or_else(damaged)?;
    if u32::from_be_bytes(*checksum) != crc32c::crc32c(bytes) {
        return Err(damaged());
    }
    let (version, rest) = bytes.split_first().ok_or_else(damaged)?;
    let (of, place) = rest.split_at_checked(8).ok_or_else(damaged)?;
    if *version != VERSION {
        return Err(bad_token(
            field,
            "was made by another version of the server; start again without it",
        ));
    }
    if of != digest(query) {
        return Err(bad_token(
            field,
            "belongs to another query; all fields but the page size must stay the same",
        ));
    }
    let place = std::str::from_utf8(place)
        .ok()
        .and_then(P::read)
        .ok_or_else(damaged)?;
    Ok(Some(place))
}

/// Eight bytes that tell one query from another.
fn digest(query: &impl Hash) -> [u8; 8] {
    etag::digest(query).to_be_bytes()
}

impl Place for Position {
    fn write(&self) -> String {
        let instant = self
            .instant
            .map(|instant| instant.as_micros().to_string())
            .unwrap_or_default();
        format!("{instant}/{}", self.id)
    }

    fn read(text: &str) -> Option<Self> {
        let (instant, id) = text.split_once('/')?;
        let instant = match instant {
            "" => None,
            micros => Some(Timestamp::from_micros(micros.parse().ok()?).ok()?),
        };
        Some(Self {
            instant,
            id: ArticleId::parse(id).ok()?,
        })
    }
}

impl Place for PolicyId {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl Place for JobId {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl Place for u32 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A moment, where at most one entry of a list is of any.
impl Place for Timestamp {
    fn write(&self) -> String {
        self.as_micros().to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Timestamp::from_micros(text.parse().ok()?).ok()
    }
}

/// A translation in the list of an article's translations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TranslationPlace(pub(super) Language, pub(super) TranslationId);

impl Place for TranslationPlace {
    fn write(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (language, id) = text.split_once('/')?;
        Some(Self(
            Language::parse(language).ok()?,
            TranslationId::parse(id).ok()?,
        ))
    }
}

/// A paragraph in the comparison with a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiffPlace {
    /// The revision that is compared with.
    pub(super) to: u32,
    /// The paragraph's place in the answer.
    pub(super) segment: usize,
}

impl Place for DiffPlace {
    fn write(&self) -> String {
        format!("{}/{}", self.to, self.segment)
    }

    fn read(text: &str) -> Option<Self> {
        let (to, segment) = text.split_once('/')?;
        Some(Self {
            to: to.parse().ok()?,
            segment: segment.parse().ok()?,
        })
    }
}

impl Place for ExportPosition {
    fn write(&self) -> String {
        match &self.translation {
            Some((language, id)) => format!("{}/{language}/{id}", self.article),
            None => self.article.to_string(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (article, translation) = match text.split_once('/') {
            Some((article, place)) => (article, Some(TranslationPlace::read(place)?)),
            None => (text, None),
        };
        Some(Self {
            article: ArticleId::parse(article).ok()?,
            translation: translation.map(|TranslationPlace(language, id)| (language, id)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_lead_back_to_their_place_and_fit_one_query_only() {
        let place = Position {
            instant: Some(Timestamp::from_micros(-7).unwrap()),
            id: ArticleId::parse("a.1~x").unwrap(),
        };
        let token = encode(&("query", 1), &place);
        assert_eq!(decode("page_token", &token, &("query", 1)).unwrap(), Some(place));
        let error = decode::<Position>("page_token", &token, &("query", 2)).unwrap_err();
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
        assert!(error.message().contains("another query"), "{}", error.message());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert_eq!(decode::<u32>("page_token", "", &1).unwrap(), None);
        for token in ["x", "%%%", "AQ", &"A".repeat(4_000), &encode(&1, &7u32)[1..]] {
            assert!(decode::<u32>("page_token", token, &1).is_err(), "{token:.20}");
        }
    }

    #[test]
    fn export_places_round_trip() {
        for text in ["a1", "a1/zh-Hans-CN/t3"] {
            assert_eq!(ExportPosition::read(text).unwrap().write(), text);
        }
        assert_eq!(ExportPosition::read("a1/fr"), None);
    }
}

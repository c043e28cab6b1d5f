//! Page and resume tokens: opaque to callers, bound to their query.
//!
//! A token is the URL-safe base64 of a version byte, eight bytes of a digest of the query, the place, and a checksum: a
//! token that was cut could lead to another place of the same list. Tokens outlive the process that made them, so the bytes
//! below are a format: the tests pin them.

use std::mem;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::domain::article::ArticleId;
use crate::domain::ids::TranslationId;
use crate::domain::job::JobId;
use crate::domain::language::Language;
use crate::domain::policy::PolicyId;
use crate::domain::query::Position;
use crate::domain::time::Timestamp;
use crate::pb;
use crate::service::coverage::CoveragePlace;
use crate::service::export::ExportPosition;
use crate::service::translations::TranslationPlace;

const VERSION: u8 = 2;
/// No token that was issued is longer.
const MAX_TOKEN: usize = 1_024;

/// A token that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadToken {
    /// The field of the request.
    pub(super) field: &'static str,
    /// Why.
    pub(super) description: &'static str,
}

/// What a token leads to.
pub(super) trait Place: Sized {
    /// The place as text.
    fn write(&self) -> String;
    /// The place that a text names.
    fn read(text: &str) -> Option<Self>;
}

/// The query that tokens belong to: eight bytes of SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoundQuery([u8; 8]);

impl BoundQuery {
    /// The query of these parts. Each is hashed behind its length, so that what is moved from one to the next is another query.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self([a, b, c, d, e, f, g, h])
    }

    /// The first eight bytes as a number.
    pub(super) fn number(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// A token for a place in the answer.
    pub(super) fn token(self, place: &impl Place) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.0);
        bytes.extend(place.write().into_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token leads to; `None` for the empty token.
    pub(super) fn place<P: Place>(self, field: &'static str, token: &str) -> Result<Option<P>, BadToken> {
        if token.is_empty() {
            return Ok(None);
        }
        let bad = |description| BadToken { field, description };
        let damaged = || bad("is not a token of this server");
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
            return Err(bad(
                "was made by another version of the server; start again without it",
            ));
        }
        if of != self.0 {
            return Err(bad(
                "belongs to another query; all fields but the page size must stay the same",
            ));
        }
        let place = std::str::from_utf8(place).ok().and_then(P::read);
        place.map(Some).ok_or_else(damaged)
    }
}

/// The page that a request asks for.
#[derive(Debug, Clone)]
pub(super) struct Page {
    field: &'static str,
    token: String,
    /// The query of the request.
    pub(super) query: BoundQuery,
}

impl Page {
    /// Takes the token out of a request. The request's protobuf encoding without token and page size is the query; it is the
    /// same for every build, because prost writes fields in the order of their numbers and no request has a map.
    pub(super) fn of<R: Paged>(request: &R) -> Self {
        let mut rest = request.clone();
        let token = rest.take_token();
        Self {
            field: R::FIELD,
            token,
            query: BoundQuery::of([R::NAME.as_bytes(), &rest.encode_to_vec()]),
        }
    }

    /// Whether this is the first page.
    pub(super) fn is_first(&self) -> bool {
        self.token.is_empty()
    }

    /// The place after which the page begins; `None` for the first.
    pub(super) fn place<P: Place>(&self) -> Result<Option<P>, BadToken> {
        self.query.place(self.field, &self.token)
    }

    /// The token of the next page; empty if there is none.
    pub(super) fn next(&self, place: Option<&impl Place>) -> String {
        place.map(|place| self.query.token(place)).unwrap_or_default()
    }
}

/// A request whose answer is continued by a token.
pub(super) trait Paged: Message + Clone {
    /// The name of the message.
    const NAME: &'static str;
    /// The field that holds the token.
    const FIELD: &'static str;
    /// Clears the token, which is answered, and what may change from page to page.
    fn take_token(&mut self) -> String;
}

macro_rules! paged {
    ($($request:ident: $token:ident $(, $other:ident)*;)*) => {
        $(impl Paged for pb::$request {
            const NAME: &'static str = stringify!($request);
            const FIELD: &'static str = stringify!($token);

            fn take_token(&mut self) -> String {
                $(mem::take(&mut self.$other);)*
                mem::take(&mut self.$token)
            }
        })*
    };
}

paged! {
    DiffRevisionsRequest: page_token;
    ExportArticlesRequest: resume_token;
    GetCoverageRequest: page_token;
    ListArticlesRequest: page_token, page_size;
    ListJobsRequest: page_token, page_size;
    ListProvenanceRequest: page_token, page_size;
    ListRevisionsRequest: page_token, page_size;
    ListTranslationPoliciesRequest: page_token, page_size;
    ListTranslationsRequest: page_token, page_size;
    RequestTranslationsRequest: page_token;
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

impl Place for CoveragePlace {
    fn write(&self) -> String {
        let first = self.first.as_ref().map_or("", Language::as_str);
        let position = self.position.as_ref().map(Place::write).unwrap_or_default();
        format!("{first}:{position}")
    }

    fn read(text: &str) -> Option<Self> {
        let (first, position) = text.split_once(':')?;
        let first = (!first.is_empty()).then(|| Language::parse(first).ok());
        let position = (!position.is_empty()).then(|| Position::read(position));
        Some(Self {
            first: first.map_or(Some(None), |first| first.map(Some))?,
            position: position.map_or(Some(None), |position| position.map(Some))?,
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

impl Place for TranslationPlace {
    fn write(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (language, id) = text.split_once('/')?;
        Some((Language::parse(language).ok()?, TranslationId::parse(id).ok()?))
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
            translation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(section: &str) -> pb::ListArticlesRequest {
        pb::ListArticlesRequest {
            section: section.to_owned(),
            ..pb::ListArticlesRequest::default()
        }
    }

    fn position() -> Position {
        Position {
            instant: Some(Timestamp::from_micros(-7).unwrap()),
            id: ArticleId::parse("a.1~x").unwrap(),
        }
    }

    #[test]
    fn tokens_lead_back_to_their_place_and_fit_one_query_only() {
        let mut request = list("sport");
        request.page_token = Page::of(&request).next(Some(&position()));
        request.page_size = 7;
        assert_eq!(Page::of(&request).place(), Ok(Some(position())));
        request.section.push('s');
        let error = Page::of(&request).place::<Position>().unwrap_err();
        assert_eq!(error.field, "page_token");
        assert!(error.description.contains("another query"), "{error:?}");
        let other_list = pb::ListTranslationPoliciesRequest {
            page_token: Page::of(&pb::ListJobsRequest::default()).next(Some(&7_u32)),
            ..pb::ListTranslationPoliciesRequest::default()
        };
        assert!(Page::of(&other_list).place::<u32>().is_err());
    }

    #[test]
    fn tokens_are_the_same_in_every_build() {
        let tokens = [
            Page::of(&list("sport")).next(Some(&position())),
            Page::of(&pb::ExportArticlesRequest {
                include_translations: true,
                ..pb::ExportArticlesRequest::default()
            })
            .next(Some(&ExportPosition::read("a1/fr/t3").unwrap())),
        ];
        assert_eq!(
            tokens,
            ["ApdIPnH6DhPiLTcvYS4xfni49zIN", "AnHivUj0yWEUYTEvZnIvdDO1ABWr"]
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let query = BoundQuery::of([]);
        let place = |token: &str| query.place::<u32>("page_token", token);
        assert_eq!(place(""), Ok(None));
        for token in ["x", "%%%", "AQ", &"A".repeat(4_000), &query.token(&7_u32)[1..]] {
            assert!(place(token).is_err(), "{token:.20}");
        }
    }

    #[test]
    fn places_of_coverage_round_trip() {
        for text in [":", "fr:", ":-7/a1", "zh-Hant:12/a~1", "fr:/a1"] {
            assert_eq!(CoveragePlace::read(text).unwrap().write(), text);
        }
        for text in ["", "fr", "f r:", "fr:x"] {
            assert_eq!(CoveragePlace::read(text), None, "{text}");
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

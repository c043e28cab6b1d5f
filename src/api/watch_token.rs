//! Tokens of the change feed: the store, and the place in its changes.
//!
//! The form is that of page tokens. One inside a snapshot holds a digest of the filter too: with another filter, articles
//! that the token has passed would be missing.

use super::page_token::{BadToken, BoundQuery, Place};
use crate::domain::article::ArticleId;
use crate::domain::feed;
use crate::service::Service;
use crate::service::changes::FeedToken;

/// What tells these tokens from those of pages.
const FEED: &[u8] = b"WatchChanges";
const FIELD: &str = "resume_token";

/// A token of the feed, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    token: FeedToken,
    /// The digest of the filter, inside a snapshot.
    filter: u64,
}

/// A place as a token. The digest of the filter counts inside a snapshot.
pub(super) fn encode(token: &FeedToken, filter: u64) -> String {
    let filter = match &token.place {
        feed::Place::Snapshot(..) => filter,
        feed::Place::Commit(_) | feed::Place::Change(..) => 0,
    };
    let token = token.clone();
    BoundQuery::of([FEED]).token(&Written { token, filter })
}

/// The place of a token; `None` for the empty one.
pub(super) fn decode(token: &str, filter: u64) -> Result<Option<FeedToken>, BadToken> {
    let Some(Written { token, filter: of }) = BoundQuery::of([FEED]).place(FIELD, token)? else {
        return Ok(None);
    };
    if matches!(token.place, feed::Place::Snapshot(..)) && of != filter {
        return Err(BadToken {
            field: FIELD,
            description: "belongs to a snapshot with other filters; they must stay the same until it is complete",
        });
    }
    Ok(Some(token))
}

/// What follows from now on: a page of a list that is read after this shows at least what went before.
pub(super) fn now(service: &Service) -> String {
    encode(&service.feed_now(), 0)
}

impl Place for Written {
    fn write(&self) -> String {
        let epoch = u128::from_be_bytes(self.token.epoch);
        match &self.token.place {
            feed::Place::Commit(seq) => format!("{epoch:032x}/{seq}"),
            feed::Place::Change(seq, ordinal) => format!("{epoch:032x}/{seq}/{ordinal}"),
            feed::Place::Snapshot(seq, after) => {
                let after = after.as_ref().map(ArticleId::as_str).unwrap_or_default();
                format!("{epoch:032x}/{seq}/s/{:016x}/{after}", self.filter)
            }
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let epoch = u128::from_str_radix(parts.next()?, 16).ok()?.to_be_bytes();
        let seq = parts.next()?.parse().ok()?;
        let (place, filter) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => (feed::Place::Commit(seq), 0),
            (Some(ordinal), None, _) => (feed::Place::Change(seq, ordinal.parse().ok()?), 0),
            (Some("s"), Some(filter), Some("")) => (
                feed::Place::Snapshot(seq, None),
                u64::from_str_radix(filter, 16).ok()?,
            ),
            (Some("s"), Some(filter), Some(after)) => {
                let after = ArticleId::parse(after).ok()?;
                let filter = u64::from_str_radix(filter, 16).ok()?;
                (feed::Place::Snapshot(seq, Some(after)), filter)
            }
            _ => return None,
        };
        let token = FeedToken { epoch, place };
        parts.next().is_none().then_some(Self { token, filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(place: feed::Place) -> FeedToken {
        FeedToken {
            epoch: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255],
            place,
        }
    }

    #[test]
    fn tokens_lead_back_to_their_place() {
        let id = |id| ArticleId::parse(id).unwrap();
        for (place, is_bound) in [
            (feed::Place::Commit(0), false),
            (feed::Place::Commit(u64::MAX), false),
            (feed::Place::Change(7, 3), false),
            (feed::Place::Snapshot(7, None), true),
            (feed::Place::Snapshot(7, Some(id("a.1~x"))), true),
        ] {
            let token = token(place);
            let text = encode(&token, 7);
            assert_eq!(decode(&text, 7), Ok(Some(token.clone())));
            assert_eq!(decode(&text, 8).is_err(), is_bound);
        }
        assert_eq!(decode("", 7), Ok(None));
    }

    #[test]
    fn tokens_are_the_same_in_every_build() {
        let written =
            "AoSQSc8DwLNGMDAwMTAyMDMwNDA1MDYwNzA4MDkwYTBiMGMwZDBlZmYvNy9zLzAwMDAwMDAwMDAwMDAwMDkv3JRL0Q";
        assert_eq!(encode(&token(feed::Place::Snapshot(7, None)), 9), written);
    }

    #[test]
    fn what_is_no_token_of_the_feed_is_refused() {
        let whole = encode(&token(feed::Place::Change(7, 3)), 0);
        let page = BoundQuery::of([]).token(&7_u32);
        for text in [&whole[1..], &whole[..whole.len() - 2], &page, "x", "%"] {
            assert!(decode(text, 0).is_err(), "{text}");
        }
    }
}

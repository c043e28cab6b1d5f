//! Keys of revision deltas and of the rows that find departures in them.
//!
//! A row ends with its revision, complemented, so that the newest one up to any revision is the next one from there.

use super::{id_of, key};
use crate::domain::article::ArticleId;
use crate::domain::segment::TextHash;

const TEXTS: u8 = 0;
const CONTENTS: u8 = 1;
const LEVELS: u8 = 2;

/// The prefix of the deltas of an article.
pub(in crate::store::kv) fn deltas(id: &ArticleId) -> Vec<u8> {
    key(b'd', &[id.as_str().as_bytes(), &[0]])
}

/// What a revision replaced.
pub(in crate::store::kv) fn delta(id: &ArticleId, revision: u32) -> Vec<u8> {
    key(b'd', &[id.as_str().as_bytes(), &[0], &revision.to_be_bytes()])
}

/// The article and the revision of a delta's key.
pub(in crate::store::kv) fn delta_of(key: &[u8]) -> Option<(ArticleId, u32)> {
    let (rest, revision) = key.strip_prefix(b"d")?.split_last_chunk()?;
    Some((id_of(rest.strip_suffix(&[0])?)?, u32::from_be_bytes(*revision)))
}

/// The prefix of the rows of an article.
pub(in crate::store::kv) fn rows(id: &ArticleId) -> Vec<u8> {
    key(b'f', &[id.as_str().as_bytes(), &[0]])
}

/// The prefix of the departures of a text.
pub(in crate::store::kv) fn departures(id: &ArticleId, text: TextHash) -> Vec<u8> {
    key(b'f', &[id.as_str().as_bytes(), &[0, TEXTS], &text.0])
}

/// The departure of a text from a segment.
pub(in crate::store::kv) fn departed(
    id: &ArticleId,
    text: TextHash,
    segment: [u8; 4],
    revision: u32,
) -> Vec<u8> {
    newest(&departures(id, text), &segment, revision)
}

/// The prefix of the revisions that replaced a content.
pub(in crate::store::kv) fn contents(id: &ArticleId, content: TextHash) -> Vec<u8> {
    key(b'f', &[id.as_str().as_bytes(), &[0, CONTENTS], &content.0])
}

/// A revision that replaced a content.
pub(in crate::store::kv) fn replaced_content(id: &ArticleId, content: TextHash, revision: u32) -> Vec<u8> {
    newest(&contents(id, content), &[], revision)
}

/// The prefix of the revisions of a significance.
pub(in crate::store::kv) fn levels(id: &ArticleId, level: u8) -> Vec<u8> {
    key(b'f', &[id.as_str().as_bytes(), &[0, LEVELS, level]])
}

/// A revision of a significance.
pub(in crate::store::kv) fn revision_of_level(id: &ArticleId, level: u8, revision: u32) -> Vec<u8> {
    newest(&levels(id, level), &[], revision)
}

/// Where the rows of a prefix, and of a segment where there are any, begin that are of revisions up to one.
pub(in crate::store::kv) fn newest(prefix: &[u8], segment: &[u8], revision: u32) -> Vec<u8> {
    [prefix, segment, &(!revision).to_be_bytes()].concat()
}

/// The segment and the revision of a departure of a text.
pub(in crate::store::kv) fn departed_of(prefix: &[u8], key: &[u8]) -> Option<([u8; 4], u32)> {
    let (segment, revision) = key.strip_prefix(prefix)?.split_first_chunk()?;
    Some((*segment, !u32::from_be_bytes(revision.try_into().ok()?)))
}

/// The revision of a row under a prefix.
pub(in crate::store::kv) fn revision_in(prefix: &[u8], key: &[u8]) -> Option<u32> {
    let revision = key.strip_prefix(prefix)?.try_into().ok()?;
    Some(!u32::from_be_bytes(revision))
}

/// The article and the revision of any row.
pub(in crate::store::kv) fn row_of(key: &[u8]) -> Option<(ArticleId, u32)> {
    let rest = key.strip_prefix(b"f")?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (id, rest) = rest.split_at_checked(end)?;
    let revision = rest.last_chunk()?;
    Some((id_of(id)?, !u32::from_be_bytes(*revision)))
}

/// The record that held all deltas of an article in formats 1 and 2.
pub(in crate::store::kv) fn segment_history(id: &ArticleId) -> Vec<u8> {
    key(b'p', &[id.as_str().as_bytes()])
}

/// The article of the record that held all deltas of an article in formats 1 and 2.
pub(in crate::store::kv) fn segment_history_of(key: &[u8]) -> Option<ArticleId> {
    id_of(key.strip_prefix(b"p")?)
}

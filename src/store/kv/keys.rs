//! The layout: which key each record has. Byte order is list order.
//!
//! ```text
//! a  sha-256(alias)[..16]                              the holder of an alias
//! c  language                                          the counts of a language
//! d  article-id 00 revision:4                           what a revision replaced
//! e  instant:8 article-id                              the timer of an embargo that ends at the instant
//! f  article-id 00 0 text-hash:16 segment:4 !revision:4    a text that the revision took from the segment
//! f  article-id 00 1 content-hash:16 !revision:4       a content that the revision replaced
//! f  article-id 00 2 significance:1 !revision:4        a revision of that significance
//! h  article-id                                        the head of an article
//! i  axis:1 marker:1 [instant:8] article-id            an index row; marker 0 dated, 1 undated
//! j  article-id 00 language 00 kind:1                  the newest translation job of its key
//! k  article-id 00 language 00 kind:1 number:4         an ended job that a newer one has replaced
//! l  first-seq:8                                       the change log, one record a group
//! m  name                                              what is known of the store itself
//! n  policy-id                                         a translation policy
//! o  article-id 00 series number:4 seq:8               which commit wrote a version that is no longer the newest; the newest
//!                                                      is named by the head or the slot
//! q  embargoed:1 kind:1 source 00 target 00 class:1 [from:8] rank:8 article-id    an open job to claim, class 0
//!                                                      at any time, class 1 from an instant on
//! r  sha-256(principal, rpc)[..8] request-id:16        a recorded request
//! s  article-id 00 language                            a slot
//! t  language 00 article-id                            how the active translation stands at the head
//! u  article-id                                        the marker of a purge that has still to remove records
//! v  seq:8 article-id 00 series number:4               an immutable version, in the order of writing
//! w  language 00 overall:1 axis:1 marker:1 [instant:8] article-id    an active translation that does not hold
//! x  article-id                                        the tombstone of a purged article
//! y  instant:8 key                                     a request or a replaced job that ages from the instant on
//! z  key                                               the record as it was at the moment of a dump
//! ```
//! A series is kind:1 [language 00 [translation:4]]. Format 2 had versions under `b  seq:8 part:2`, and what the
//! revisions of an article replaced under `p  article-id`.
//!
//! Article ids and languages are ASCII without control characters, so 00 ends them. What is written together is new and
//! at the end of its range (i, l, v, y) or belongs to the one article (d, h, j, k, o, s, t), because the engine's cost is by the leaf
//! touched. Translations that hold, which is what is mostly written, have no entry under w.

use sha2::{Digest, Sha256};

use crate::domain::article::{Alias, ArticleId};
use crate::domain::freshness::Overall;
use crate::domain::language::Language;
use crate::domain::query::{Axis, Position};
use crate::domain::time::{Seq, Timestamp};

mod departures;
mod jobs;
mod versions;

pub(super) use crate::store::model::codec::request_key as request;

pub(super) use departures::{
    contents, delta, delta_of, deltas, departed, departed_of, departures, levels, newest, replaced_content,
    revision_in, revision_of_level, row_of, rows, segment_history, segment_history_of,
};
pub(super) use jobs::{
    Queued, due, job, jobs, policy, queue, queued, queued_of, queues, ready, replaced_job, replaced_jobs,
    waiting,
};
pub(super) use versions::{
    bodies_up_to, body, body_of, superseded, superseded_at, superseded_of, superseded_version,
};

/// A key that is greater than all of a prefix: no key holds 0xFF after its prefix but in binary parts, which are shorter.
const ABOVE: [u8; 64] = [0xFF; 64];

pub(super) const META: &[u8] = b"mstore";
/// Where format 2 kept how far requests were forgotten.
pub(super) const REQUEST_CURSOR: &[u8] = b"mrequests";
pub(super) const LOG_FLOOR: &[u8] = b"mfloor";
pub(super) const RETENTION_CURSOR: &[u8] = b"mretention";
/// There while versions of an older format are to be removed.
pub(super) const UPGRADING: &[u8] = b"mupgrading";

fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(prefix);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The greatest key that a scan of this prefix needs.
pub(super) fn above(prefix: &[u8]) -> Vec<u8> {
    [prefix, &ABOVE].concat()
}

pub(super) fn head(id: &ArticleId) -> Vec<u8> {
    key(b'h', &[id.as_str().as_bytes()])
}

/// The article of a head's key.
pub(super) fn head_id(key: &[u8]) -> Option<ArticleId> {
    id_of(key.strip_prefix(b"h")?)
}

pub(super) fn slots(id: &ArticleId) -> Vec<u8> {
    key(b's', &[id.as_str().as_bytes(), &[0]])
}

pub(super) fn slot(id: &ArticleId, language: &Language) -> Vec<u8> {
    key(
        b's',
        &[id.as_str().as_bytes(), &[0], language.as_str().as_bytes()],
    )
}

pub(super) fn tombstone(id: &ArticleId) -> Vec<u8> {
    key(b'x', &[id.as_str().as_bytes()])
}

/// The prefix of the markers of purges that are not finished.
pub(super) fn purging_prefix() -> Vec<u8> {
    key(b'u', &[])
}

/// The marker of an article's purge that is not finished.
pub(super) fn purging(id: &ArticleId) -> Vec<u8> {
    key(b'u', &[id.as_str().as_bytes()])
}

/// The article of such a marker.
pub(super) fn purging_of(key: &[u8]) -> Option<ArticleId> {
    id_of(key.strip_prefix(b"u")?)
}

/// The preimage of a record.
pub(super) fn preimage(record: &[u8]) -> Vec<u8> {
    key(b'z', &[record])
}

/// The record's key of a preimage.
pub(super) fn preimage_of(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(b"z")
}

/// A version in formats 1 and 2: the commit that wrote it, and which of the commit's versions it is.
pub(super) fn unkeyed(seq: Seq, part: u32) -> Vec<u8> {
    let [_, _, part @ ..] = part.to_be_bytes();
    key(b'b', &[&seq.to_be_bytes(), &part])
}

pub(super) fn log(first: Seq) -> Vec<u8> {
    key(b'l', &[&first.to_be_bytes()])
}

/// The first seq of a log record's key.
pub(super) fn log_seq(key: &[u8]) -> Option<Seq> {
    Some(Seq::from_be_bytes(key.strip_prefix(b"l")?.try_into().ok()?))
}

pub(super) fn alias(alias: &Alias) -> Vec<u8> {
    let mut hasher = Sha256::new();
    match alias {
        Alias::Url(url) => {
            hasher.update([0]);
            hasher.update(url.as_str());
        }
        Alias::Guid { publisher, guid } => {
            hasher.update([1]);
            hasher.update((publisher.len() as u64).to_be_bytes());
            hasher.update(publisher);
            hasher.update(guid);
        }
    }
    let digest: [u8; 32] = hasher.finalize().into();
    key(b'a', &[digest.split_at(16).0])
}

fn axis_code(axis: Axis) -> u8 {
    match axis {
        Axis::Published => 0,
        Axis::Updated => 1,
        Axis::Ingested => 2,
        Axis::Revised => 3,
    }
}

fn overall_code(overall: Overall) -> u8 {
    match overall {
        Overall::Current => 0,
        Overall::Moved => 1,
        Overall::Orphaned => 2,
        Overall::Stale => 3,
        Overall::Incomplete => 4,
    }
}

/// Signed numbers in byte order.
fn ordered(time: Timestamp) -> [u8; 8] {
    (time.as_micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The time that [`ordered`] wrote.
fn instant(bytes: &[u8]) -> Option<Timestamp> {
    let micros = u64::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 63);
    Timestamp::from_micros(micros.cast_signed()).ok()
}

/// The prefix of an index, whose keys go on with a place in it.
pub(super) fn index(axis: Axis) -> Vec<u8> {
    key(b'i', &[&[axis_code(axis)]])
}

/// The prefix of the active translations into a language that do not hold in this way.
pub(super) fn work(language: &Language, overall: Overall, axis: Axis) -> Vec<u8> {
    let codes = [0, overall_code(overall), axis_code(axis)];
    key(b'w', &[language.as_str().as_bytes(), &codes])
}

/// The key of a place under such a prefix.
pub(super) fn place(prefix: &[u8], instant: Option<Timestamp>, id: &str) -> Vec<u8> {
    let mut key = prefix.to_vec();
    match instant {
        Some(instant) => {
            key.push(0);
            key.extend_from_slice(&ordered(instant));
        }
        None => key.push(1),
    }
    key.extend_from_slice(id.as_bytes());
    key
}

/// The place that a key names under such a prefix.
pub(super) fn position(prefix: &[u8], key: &[u8]) -> Option<Position> {
    match key.strip_prefix(prefix)?.split_first()? {
        (0, rest) => {
            let (instant, id) = rest.split_at_checked(8)?;
            Some(Position {
                instant: Some(self::instant(instant)?),
                id: id_of(id)?,
            })
        }
        (1, id) => Some(Position {
            instant: None,
            id: id_of(id)?,
        }),
        _ => None,
    }
}

/// The axis and place of an index row's key.
pub(super) fn index_position(key: &[u8]) -> Option<(Axis, Position)> {
    let (prefix, _) = key.split_at_checked(2)?;
    let axis = Axis::ALL.into_iter().find(|axis| index(*axis) == prefix)?;
    Some((axis, position(prefix, key)?))
}

/// The language and the article of an entry about a translation that does not hold.
pub(super) fn work_of(key: &[u8]) -> Option<(Language, ArticleId)> {
    let (language, rest) = split_at_zero(key.strip_prefix(b"w")?)?;
    let (prefix, _) = rest.split_at_checked(2)?;
    Some((language, position(prefix, rest)?.id))
}

/// What such an entry is about, and what its key and its neighbours' have in common.
pub(super) fn work_group_of(key: &[u8]) -> Option<(Vec<u8>, Language, Overall, Axis)> {
    let (language, rest) = split_at_zero(key.strip_prefix(b"w")?)?;
    let &[overall, axis, ..] = rest else {
        return None;
    };
    let known = [
        Overall::Moved,
        Overall::Orphaned,
        Overall::Stale,
        Overall::Incomplete,
    ];
    let overall = known.into_iter().find(|known| overall_code(*known) == overall)?;
    let axis = Axis::ALL.into_iter().find(|known| axis_code(*known) == axis)?;
    Some((work(&language, overall, axis), language, overall, axis))
}

/// How the active translation of an article into a language stands.
pub(super) fn standing(language: &Language, id: &ArticleId) -> Vec<u8> {
    key(
        b't',
        &[language.as_str().as_bytes(), &[0], id.as_str().as_bytes()],
    )
}

/// The language and the article of such a key.
pub(super) fn standing_of(key: &[u8]) -> Option<(Language, ArticleId)> {
    let (language, id) = split_at_zero(key.strip_prefix(b"t")?)?;
    Some((language, id_of(id)?))
}

/// The counts of a language.
pub(super) fn counts(language: &Language) -> Vec<u8> {
    key(b'c', &[language.as_str().as_bytes()])
}

/// The language of such a key.
pub(super) fn counts_of(key: &[u8]) -> Option<Language> {
    let language = std::str::from_utf8(key.strip_prefix(b"c")?).ok()?;
    Some(Language::from_canonical(language))
}

fn split_at_zero(bytes: &[u8]) -> Option<(Language, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (language, rest) = bytes.split_at_checked(end)?;
    let language = Language::from_canonical(std::str::from_utf8(language).ok()?);
    Some((language, rest.get(1..)?))
}

/// The key of an embargo's timer.
pub(super) fn embargo(end: Timestamp, id: &str) -> Vec<u8> {
    key(b'e', &[&ordered(end), id.as_bytes()])
}

/// The end and the article of an embargo's timer.
pub(super) fn embargo_of(key: &[u8]) -> Option<(Timestamp, ArticleId)> {
    let (end, id) = key.strip_prefix(b"e")?.split_at_checked(8)?;
    Some((instant(end)?, id_of(id)?))
}

/// The article that a record is about, where its key names it.
pub(super) fn article_of(key: &[u8]) -> Option<ArticleId> {
    let (prefix, rest) = key.split_first()?;
    match prefix {
        b'e' => Some(embargo_of(key)?.1),
        b'h' => id_of(rest),
        b'i' => Some(index_position(key)?.1.id),
        b'd' | b'f' | b'j' | b'k' | b'o' | b's' => id_of(rest.split(|byte| *byte == 0).next()?),
        b'q' => Some(queued_of(key)?.article),
        b't' => Some(standing_of(key)?.1),
        b'v' => Some(body_of(key)?.1.article),
        b'w' => Some(work_of(key)?.1),
        _ => None,
    }
}

fn id_of(bytes: &[u8]) -> Option<ArticleId> {
    ArticleId::parse(std::str::from_utf8(bytes).ok()?).ok()
}

/// The entry of a record that ages from a time on.
pub(super) fn expiry(from: Timestamp, record: &[u8]) -> Vec<u8> {
    key(b'y', &[&ordered(from), record])
}

/// The time and the key in such an entry.
pub(super) fn aging(key: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (from, record) = key.strip_prefix(b"y")?.split_at_checked(8)?;
    Some((instant(from)?, record))
}

/// A key as a person can read it, for errors and findings.
pub(super) fn readable(key: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ");
    match key.split_first() {
        Some((b'h', id)) => format!("head {}", text(id)),
        Some((b's', rest)) => format!("slot {}", text(rest)),
        Some((b'x', id)) => format!("tombstone {}", text(id)),
        Some((b'u', id)) => format!("purge of {}", text(id)),
        Some((b'd', _)) => match delta_of(key) {
            Some((id, revision)) => format!("delta {id} {revision}"),
            None => format!("delta {}", hex(key)),
        },
        Some((b'f', _)) => match row_of(key) {
            Some((id, revision)) => format!("departure {id} {revision}"),
            None => format!("departure {}", hex(key)),
        },
        Some((b'p', id)) => format!("segment history {}", text(id)),
        Some((b'm', name)) => format!("store record {}", text(name)),
        Some((b'v' | b'o', _)) => versions::readable(key).unwrap_or_else(|| format!("version {}", hex(key))),
        Some((b'b', rest)) => match rest.split_at_checked(8) {
            Some((seq, part)) => format!("version {}/{} of an older format", decimal(seq), decimal(part)),
            None => format!("record {}", hex(key)),
        },
        Some((b'l', seq)) => format!("log group {}", decimal(seq)),
        Some((b'i', _)) => match index_position(key) {
            Some((axis, position)) => format!("index row {axis:?} {:?}", position.id),
            None => format!("index row {}", hex(key)),
        },
        Some((b'y', _)) => match aging(key) {
            Some((_, record)) if !record.starts_with(b"y") => format!("expiry of {}", readable(record)),
            _ => format!("expiry {}", hex(key)),
        },
        Some((b'e', _)) => match embargo_of(key) {
            Some((_, id)) => format!("embargo timer {id:?}"),
            None => format!("embargo timer {}", hex(key)),
        },
        Some((b't', rest)) => format!("standing {}", text(rest)),
        Some((b'c', language)) => format!("counts {}", text(language)),
        Some((b'w', _)) => match work_of(key) {
            Some((language, id)) => format!("work {language} {id}"),
            None => format!("work {}", hex(key)),
        },
        Some((b'j' | b'k' | b'n' | b'q', _)) => jobs::readable(key),
        Some((b'a', digest)) => format!("alias {}", hex(digest)),
        Some((b'r', request)) => match request.split_at_checked(8) {
            Some((caller, id)) => format!("request {}/{}", hex(caller), hex(id)),
            None => format!("request {}", hex(request)),
        },
        _ => format!("record {}", hex(key)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decimal(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = ArticleId> {
        "[A-Za-z0-9._~-]{1,12}".prop_map(|id| ArticleId::parse(&id).unwrap())
    }

    fn instant() -> impl Strategy<Value = Option<Timestamp>> {
        prop_oneof![
            1 => Just(None),
            4 => (-5i64..5).prop_map(|t| Some(Timestamp::from_micros(t).unwrap())),
            4 => (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros())
                .prop_map(|t| Some(Timestamp::from_micros(t).unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn byte_order_is_list_order(a in (instant(), id()), b in (instant(), id())) {
            // Undated after dated, then by instant, then by id.
            let order = |p: &(Option<Timestamp>, ArticleId)| (p.0.is_none(), p.0, p.1.clone());
            let key = |p: &(Option<Timestamp>, ArticleId)| place(&index(Axis::Published), p.0, p.1.as_str());
            prop_assert_eq!(order(&a).cmp(&order(&b)), key(&a).cmp(&key(&b)));
            prop_assert_eq!(index_position(&key(&a)), Some((Axis::Published, Position { instant: a.0, id: a.1 })));
        }

        #[test]
        fn slots_of_an_article_are_together_and_of_no_other(a in id(), b in id()) {
            let french = Language::parse("fr").unwrap();
            let range = slots(&a)..=above(&slots(&a));
            prop_assert!(range.contains(&slot(&a, &french)));
            prop_assert_eq!(range.contains(&slot(&b, &french)), a == b);
            prop_assert_eq!(head(&a).cmp(&head(&b)), a.cmp(&b));
        }

        #[test]
        fn timers_are_in_the_order_of_their_ends(a in (instant(), id()), b in (instant(), id())) {
            if let (Some(x), Some(y)) = (a.0, b.0) {
                let key = |end, id: &ArticleId| embargo(end, id.as_str());
                prop_assert_eq!((x, &a.1).cmp(&(y, &b.1)), key(x, &a.1).cmp(&key(y, &b.1)));
                prop_assert_eq!(embargo_of(&key(x, &a.1)), Some((x, a.1)));
            }
        }

        #[test]
        fn translations_are_found_by_language_and_place(a in (instant(), id()), axis in 0usize..4) {
            let french = Language::parse("fr").unwrap();
            let prefix = work(&french, Overall::Stale, Axis::ALL[axis]);
            let key = place(&prefix, a.0, a.1.as_str());
            prop_assert_eq!(work_of(&key), Some((french.clone(), a.1.clone())));
            prop_assert_eq!(position(&prefix, &key), Some(Position { instant: a.0, id: a.1.clone() }));
            prop_assert_eq!(standing_of(&standing(&french, &a.1)), Some((french.clone(), a.1)));
            prop_assert_eq!(counts_of(&counts(&french)), Some(french));
        }

        #[test]
        fn the_log_is_in_the_order_of_writing(a in any::<u64>(), b in any::<u64>()) {
            prop_assert_eq!(log(a).cmp(&log(b)), a.cmp(&b));
            prop_assert_eq!(log_seq(&log(a)), Some(a));
        }
    }
}

//! Revision deltas as records, and the records that held all deltas of an article in formats 1 and 2.

use prost::Message;

use super::{
    Result, article_id, hash, malformed, maybe_significance, message, rec, segment_id, segment_number,
    significance, significance_code,
};
use crate::domain::article::{ArticleId, Significance};
use crate::domain::departures::RevisionDelta;
use crate::domain::ids::SegmentId;
use crate::domain::segment::TextHash;

pub(in crate::store) fn encode_delta(article: &ArticleId, delta: &RevisionDelta) -> Vec<u8> {
    let (numbers, hashes): (Vec<_>, Vec<_>) = delta
        .departed
        .iter()
        .map(|(id, hash)| (segment_number(id), hash.0))
        .unzip();
    rec::RevisionDelta {
        article: article.as_str().to_owned(),
        revision: delta.revision,
        significance: delta.significance.map_or(0, significance_code),
        content: delta.content.0.to_vec(),
        numbers,
        hashes: hashes.concat(),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_delta(payload: &[u8]) -> Result<(ArticleId, RevisionDelta)> {
    let record: rec::RevisionDelta = message(payload)?;
    let (hashes, rest) = record.hashes.as_chunks::<16>();
    if record.revision < 2 || hashes.len() != record.numbers.len() || !rest.is_empty() {
        return Err(malformed("revision or list of texts"));
    }
    let ids = record.numbers.into_iter().map(segment_id);
    let delta = RevisionDelta {
        revision: record.revision,
        significance: maybe_significance(record.significance)?,
        content: hash(&record.content)?,
        departed: ids.zip(hashes.iter().copied().map(TextHash)).collect(),
    };
    Ok((article_id(&record.article)?, delta))
}

/// The deltas in the one record of an article in formats 1 and 2.
pub(in crate::store) fn split_history(payload: &[u8]) -> Result<Vec<RevisionDelta>> {
    let record: rec::SegmentHistory = message(payload)?;
    let contents = (2..).zip(record.contents.chunks(16));
    let mut deltas = contents
        .map(|(revision, content)| {
            Ok(RevisionDelta {
                revision,
                significance: None,
                content: hash(content)?,
                departed: Vec::new(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let place = |revision: u32| usize::try_from(revision).ok()?.checked_sub(2);
    let unknown = || malformed("list of revisions");
    for departed in record.departed {
        let text = (segment_id(departed.number), hash(&departed.hash)?);
        let next = departed.last_revision.checked_add(1).and_then(place);
        let delta = next.and_then(|place| deltas.get_mut(place));
        delta.ok_or_else(unknown)?.departed.push(text);
    }
    for of in record.significance {
        let delta = place(of.revision).and_then(|place| deltas.get_mut(place));
        delta.ok_or_else(unknown)?.significance = Some(significance(of.significance)?);
    }
    Ok(deltas)
}

/// A significance in keys.
pub(in crate::store) fn level_code(level: Significance) -> u8 {
    u8::try_from(significance_code(level)).unwrap_or(u8::MAX)
}

/// A segment in keys.
pub(in crate::store) fn segment_code(id: &SegmentId) -> [u8; 4] {
    segment_number(id).to_be_bytes()
}

/// The segment that [`segment_code`] wrote.
pub(in crate::store) fn segment_of(code: [u8; 4]) -> SegmentId {
    segment_id(u32::from_be_bytes(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::entity::Entity;
    use proptest::prelude::*;

    fn deltas() -> impl Strategy<Value = Vec<RevisionDelta>> {
        let id = prop_oneof![
            Just(SegmentId::Title),
            Just(SegmentId::Lead),
            (1u32..9).prop_map(SegmentId::Body)
        ];
        let departed = prop::collection::vec((id, any::<[u8; 16]>().prop_map(TextHash)), 0..4);
        let level = prop::option::of(prop::sample::select(&Significance::ALL[..]));
        prop::collection::vec((level, any::<[u8; 16]>(), departed), 0..6).prop_map(|deltas| {
            let delta = |(revision, (significance, content, departed))| RevisionDelta {
                revision,
                significance,
                content: TextHash(content),
                departed,
            };
            (2..).zip(deltas).map(delta).collect()
        })
    }

    /// As formats 1 and 2 held them.
    fn history(deltas: &[RevisionDelta]) -> rec::SegmentHistory {
        let departed = deltas.iter().flat_map(|delta| {
            delta.departed.iter().map(|(id, hash)| rec::Departed {
                number: segment_number(id),
                hash: hash.0.to_vec(),
                last_revision: delta.revision - 1,
            })
        });
        let significance = deltas.iter().filter_map(|delta| {
            Some(rec::RevisionSignificance {
                revision: delta.revision,
                significance: significance_code(delta.significance?),
            })
        });
        rec::SegmentHistory {
            departed: departed.collect(),
            significance: significance.collect(),
            contents: deltas.iter().flat_map(|delta| delta.content.0).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_older_formats_held_is_split(deltas in deltas()) {
            let article = ArticleId::parse("a").unwrap();
            let history = history(&deltas);
            prop_assert_eq!(split_history(&history.encode_to_vec()).unwrap(), deltas.clone());
            let entity = rec::entity::Entity::SegmentHistory(rec::SegmentHistoryOf {
                article: article.to_string(),
                history: Some(history),
            });
            let entity = Entity(rec::Entity {
                stamp: Some(rec::Stamp { seq: 3, time: 5 }),
                entity: Some(entity),
            });
            let split = entity.upgraded().unwrap();
            prop_assert!(split.iter().all(|entity| entity.decode().unwrap().stamp.seq == 3));
            let decoded = split.iter().map(|entity| decode_delta(&entity.decode().unwrap().payload).unwrap());
            let expected = deltas.into_iter().map(|delta| (article.clone(), delta));
            prop_assert_eq!(decoded.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }
}

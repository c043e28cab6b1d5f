//! The rules of alignment as their definitions say, without regard to cost.

use crate::domain::ids::SegmentId;
use crate::domain::segment::{DraftSegment, Segment, TextHash};

/// The longest common subsequence by the full table, of all longest ones the least in old indexes.
pub(in crate::domain) fn naive_common<T: Eq>(old: &[T], new: &[T]) -> Vec<(usize, usize)> {
    let mut length = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            length[i][j] = if old[i] == new[j] {
                length[i + 1][j + 1] + 1
            } else {
                length[i + 1][j].max(length[i][j + 1])
            };
        }
    }
    let mut pairs = Vec::new();
    let mut from = 0;
    for i in 0..old.len() {
        let first = (from..new.len()).find(|j| new[*j] == old[i]);
        if let Some(j) = first.filter(|j| length[i + 1][j + 1] + 1 == length[i][from]) {
            pairs.push((i, j));
            from = j + 1;
        }
    }
    assert_eq!(pairs.len(), length[0][0]);
    pairs
}

pub(super) fn naive_dice(a: &str, b: &str) -> f64 {
    let trigrams = |text: &str| {
        let padded: Vec<char> = format!(" {text} ").chars().collect();
        padded.windows(3).map(<[char]>::to_vec).collect::<Vec<_>>()
    };
    let (a, mut b) = (trigrams(a), trigrams(b));
    let all = a.len() + b.len();
    let common = a
        .iter()
        .filter(|gram| {
            b.iter()
                .position(|other| other == *gram)
                .map(|at| b.remove(at))
                .is_some()
        })
        .count();
    2.0 * common as f64 / all as f64
}

fn draft_hash(segment: &DraftSegment) -> TextHash {
    TextHash::of_source(segment.role, &segment.content)
}

/// The rules of `align`, one after the other, with all earlier bodies at hand.
pub(super) fn naive_align(
    head: &[Segment],
    past: &[Vec<Segment>],
    next: u32,
    draft: &[DraftSegment],
) -> Vec<SegmentId> {
    let mut ids: Vec<Option<SegmentId>> = draft.iter().map(|s| s.id.clone()).collect();
    let used = |ids: &[Option<SegmentId>], id: &SegmentId| ids.contains(&Some(id.clone()));

    let old: Vec<usize> = (0..head.len()).filter(|i| !used(&ids, &head[*i].id)).collect();
    let new: Vec<usize> = (0..draft.len()).filter(|j| ids[*j].is_none()).collect();
    let old_hashes: Vec<_> = old.iter().map(|i| head[*i].source_hash()).collect();
    let new_hashes: Vec<_> = new.iter().map(|j| draft_hash(&draft[*j])).collect();
    let mut anchors = Vec::new();
    for (i, j) in naive_common(&old_hashes, &new_hashes) {
        anchors.push((old[i], new[j]));
        ids[new[j]] = Some(head[old[i]].id.clone());
    }
    for body in std::iter::once(head).chain(past.iter().rev().map(Vec::as_slice)) {
        for j in 0..draft.len() {
            if ids[j].is_none() {
                ids[j] = body
                    .iter()
                    .find(|s| s.source_hash() == draft_hash(&draft[j]) && !used(&ids, &s.id))
                    .map(|s| s.id.clone());
            }
        }
    }
    for j in 0..draft.len() {
        if ids[j].is_some() {
            continue;
        }
        let after = anchors
            .iter()
            .filter(|(_, new)| *new < j)
            .map(|(old, _)| old + 1)
            .max();
        let before = anchors
            .iter()
            .filter(|(_, new)| *new > j)
            .map(|(old, _)| *old)
            .min();
        let mut best: Option<(f64, &Segment)> = None;
        for segment in &head[after.unwrap_or(0)..before.unwrap_or(head.len())] {
            let dice = naive_dice(segment.content.text(), draft[j].content.text());
            if dice >= 0.6 && !used(&ids, &segment.id) && best.is_none_or(|(most, _)| dice > most) {
                best = Some((dice, segment));
            }
        }
        ids[j] = best.map(|(_, segment)| segment.id.clone());
    }
    let mut fresh = (next..).map(SegmentId::Body);
    ids.into_iter()
        .map(|id| id.unwrap_or_else(|| fresh.next().unwrap()))
        .collect()
}

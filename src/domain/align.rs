//! Which paragraph of a new revision is which of the old ones.
//!
//! An id is the promise that its translations may follow the text, so the rules run from proof to likelihood: what the
//! caller says, equal texts in the same order, equal texts elsewhere or from earlier revisions, similar texts in the
//! same place. Everything is decided by the texts alone and the same input always gives the same ids.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Range;

use super::departures::Departures;
use super::ids::SegmentId;
use super::segment::{DraftSegment, Segment, TextHash};

mod subsequence;

/// The least similarity (Dice coefficient of character trigrams) at which a text counts as an edited one.
const SIMILAR: f64 = 0.6;

/// The most texts that are compared in one revision; keeps a rewritten body of 10,000 segments affordable.
const MAX_COMPARISONS: usize = 10_000;

/// A body with its ids assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned {
    /// The body.
    pub body: Vec<Segment>,
    /// The number that the next new segment gets.
    pub next_segment: u32,
}

/// An id in a draft that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {index} of the body cannot have the id \"{id}\": {reason}")]
pub struct UnknownSegment {
    /// Where in the draft's body, from 0.
    pub index: usize,
    /// The id.
    pub id: SegmentId,
    /// What is wrong with it.
    pub reason: Refusal,
}

/// Why an id in a draft cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `title` and `lead` stand outside the body.
    #[error("it is not an id of the body")]
    NotBody,
    /// The store never assigned it in this article.
    #[error("no segment of this article ever had it")]
    NeverAssigned,
    /// Another segment of the same draft has it.
    #[error("segment {0} has it already")]
    Repeated(usize),
}

/// Gives every segment of a new revision's body its id.
///
/// `head` is the body of the newest revision, or of the last earlier one with the new content: going back to a revision
/// then gives exactly its ids, whatever duplicates came and went in between. `departures` answers for the texts that
/// [`wanted_texts`] names.
///
/// 1. An id in the draft is kept. It must have been assigned in this article before; all that cannot be kept are
///    reported together.
/// 2. Equal texts in the same order keep their ids: the longest common subsequence of source hashes, among equally
///    long ones the one that keeps the earliest old segments.
/// 3. An equal text elsewhere in `head` gives its id (a move); after all moves, an equal text of an earlier revision
///    does, newest first, so that a revert heals.
/// 4. Between two neighbours of step 2, in order, a text takes the id of the most similar unused old one. A revision
///    with more than 10,000 pairs to compare looks only at the old ones nearest to the same relative place.
/// 5. The others get new ids, never used before in this article.
pub fn align(
    head: &[Segment],
    departures: &Departures,
    next_segment: u32,
    draft: Vec<DraftSegment>,
) -> Result<Aligned, Vec<UnknownSegment>> {
    check_ids(&draft, next_segment)?;
    let mut alignment = Alignment::new(head, &draft);
    let anchors = alignment.keep_common();
    alignment.keep_moved();
    alignment.keep_returned(departures);
    alignment.keep_similar(&anchors);

    let ids = alignment.ids;
    let mut next_segment = next_segment;
    let mut assign = || {
        next_segment += 1;
        SegmentId::Body(next_segment - 1)
    };
    let body = draft
        .into_iter()
        .zip(ids)
        .map(|(segment, id)| segment.with_id(id.unwrap_or_else(&mut assign)))
        .collect();
    Ok(Aligned { body, next_segment })
}

/// The hashes of the texts of a draft that step 3 looks for in earlier revisions: those that occur more often among its
/// segments without an id than in what is left of `head`.
pub fn wanted_texts(head: &[Segment], draft: &[DraftSegment]) -> BTreeSet<TextHash> {
    let given: HashSet<_> = draft.iter().filter_map(|s| s.id.as_ref()).collect();
    let mut left: HashMap<_, usize> = HashMap::new();
    for segment in head.iter().filter(|s| !given.contains(&s.id)) {
        *left.entry(segment.source_hash()).or_default() += 1;
    }
    let new = draft.iter().filter(|s| s.id.is_none());
    new.map(|s| TextHash::of_source(s.role, &s.content))
        .filter(|hash| match left.get_mut(hash) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .collect()
}

/// Every number below the counter was assigned once, to a segment of the head or to one that is gone.
fn check_ids(draft: &[DraftSegment], next_segment: u32) -> Result<(), Vec<UnknownSegment>> {
    let mut first = HashMap::new();
    let mut refused = Vec::new();
    for (index, segment) in draft.iter().enumerate() {
        let Some(id) = &segment.id else { continue };
        let reason = match id {
            SegmentId::Title | SegmentId::Lead => Some(Refusal::NotBody),
            SegmentId::Body(number) if !(1..next_segment).contains(number) => Some(Refusal::NeverAssigned),
            SegmentId::Body(_) => match *first.entry(id).or_insert(index) {
                earlier if earlier < index => Some(Refusal::Repeated(earlier)),
                _ => None,
            },
        };
        if let Some(reason) = reason {
            let id = id.clone();
            refused.push(UnknownSegment { index, id, reason });
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// An alignment at work. Old and new segments are named by their index.
struct Alignment<'a> {
    old: Vec<(&'a Segment, TextHash)>,
    new: Vec<(&'a DraftSegment, TextHash)>,
    /// The ids of the new segments, as far as they are known.
    ids: Vec<Option<SegmentId>>,
    used: HashSet<SegmentId>,
}

#[expect(
    clippy::indexing_slicing,
    reason = "old and new indexes come from enumerating the very vectors that they index"
)]
impl<'a> Alignment<'a> {
    fn new(head: &'a [Segment], draft: &'a [DraftSegment]) -> Self {
        Self {
            old: head.iter().map(|s| (s, s.source_hash())).collect(),
            new: draft
                .iter()
                .map(|s| (s, TextHash::of_source(s.role, &s.content)))
                .collect(),
            ids: draft.iter().map(|s| s.id.clone()).collect(),
            used: draft.iter().filter_map(|s| s.id.clone()).collect(),
        }
    }

    fn keep(&mut self, new: usize, id: SegmentId) {
        self.used.insert(id.clone());
        self.ids[new] = Some(id);
    }

    /// The old segments whose ids are unused.
    fn free_old(&self, range: Range<usize>) -> Vec<usize> {
        range
            .filter(|i| !self.used.contains(&self.old[*i].0.id))
            .collect()
    }

    /// The new segments without an id.
    fn free_new(&self, range: Range<usize>) -> Vec<usize> {
        range.filter(|i| self.ids[*i].is_none()).collect()
    }

    /// Equal texts in the same order; gives the pairs, between which the gaps are.
    fn keep_common(&mut self) -> Vec<(usize, usize)> {
        let old = self.free_old(0..self.old.len());
        let new = self.free_new(0..self.new.len());
        let old_hashes: Vec<_> = old.iter().map(|i| self.old[*i].1).collect();
        let new_hashes: Vec<_> = new.iter().map(|i| self.new[*i].1).collect();
        let common = subsequence::longest_common(&old_hashes, &new_hashes);
        let anchors: Vec<_> = common.into_iter().map(|(i, j)| (old[i], new[j])).collect();
        for (old, new) in &anchors {
            self.keep(*new, self.old[*old].0.id.clone());
        }
        anchors
    }

    /// Equal texts elsewhere in the head, in reading order.
    fn keep_moved(&mut self) {
        let mut unused: HashMap<TextHash, VecDeque<usize>> = HashMap::new();
        for old in self.free_old(0..self.old.len()) {
            unused.entry(self.old[old].1).or_default().push_back(old);
        }
        for new in self.free_new(0..self.new.len()) {
            let old = unused.get_mut(&self.new[new].1).and_then(VecDeque::pop_front);
            if let Some(old) = old {
                self.keep(new, self.old[old].0.id.clone());
            }
        }
    }

    /// Equal texts of earlier revisions, newest departure first and in reading order within one: where two texts want
    /// one id, it goes to the one that it had last.
    fn keep_returned(&mut self, departures: &Departures) {
        let mut wanting: HashMap<TextHash, VecDeque<usize>> = HashMap::new();
        for new in self.free_new(0..self.new.len()) {
            wanting.entry(self.new[new].1).or_default().push_back(new);
        }
        // A title or lead that was also a paragraph has the same hash, but its id belongs to its place.
        let mut departed: Vec<_> = departures
            .texts
            .iter()
            .filter(|((hash, id), _)| matches!(id, SegmentId::Body(_)) && wanting.contains_key(hash))
            .collect();
        departed.sort_by_key(|(_, departed)| (Reverse(departed.last_revision), departed.place));
        for ((hash, id), _) in departed {
            if self.used.contains(id) {
                continue;
            }
            if let Some(new) = wanting.get_mut(hash).and_then(VecDeque::pop_front) {
                self.keep(new, id.clone());
            }
        }
    }

    /// The most similar texts inside each gap, in order.
    fn keep_similar(&mut self, anchors: &[(usize, usize)]) {
        let ends = (self.old.len(), self.new.len());
        let mut start = (0, 0);
        let mut gaps = Vec::new();
        for &(old, new) in anchors.iter().chain([&ends]) {
            gaps.push((self.free_old(start.0..old), self.free_new(start.1..new)));
            start = (old + 1, new + 1);
        }
        gaps.retain(|(old, new)| !old.is_empty() && !new.is_empty());
        let pairs: usize = gaps.iter().map(|(old, new)| old.len() * new.len()).sum();
        let news: usize = gaps.iter().map(|(_, new)| new.len()).sum();
        let window = if pairs <= MAX_COMPARISONS {
            usize::MAX
        } else {
            MAX_COMPARISONS / news
        };
        for (old, new) in gaps {
            self.keep_similar_in(&old, &new, window);
        }
    }

    fn keep_similar_in(&mut self, old: &[usize], new: &[usize], window: usize) {
        let candidates: Vec<_> = old
            .iter()
            .map(|old| (&self.old[*old].0.id, trigrams(self.old[*old].0.content.text())))
            .collect();
        for (place, new_index) in new.iter().enumerate() {
            let text = trigrams(self.new[*new_index].0.content.text());
            let same_place = (2 * place + 1) * old.len() / (2 * new.len());
            let first = same_place
                .saturating_sub(window / 2)
                .min(old.len().saturating_sub(window));
            let mut best = None;
            for (id, candidate) in candidates.iter().skip(first).take(window) {
                if self.used.contains(id) {
                    continue;
                }
                let similarity = dice(&text, candidate);
                if similarity >= SIMILAR && best.is_none_or(|(_, most)| similarity > most) {
                    best = Some((*id, similarity));
                }
            }
            if let Some((id, _)) = best {
                self.keep(*new_index, id.clone());
            }
        }
    }
}

/// The trigrams of the text with every run of white space as one space and one at each end, sorted, repeats kept.
fn trigrams(text: &str) -> Vec<u64> {
    const THREE_CHARS: u64 = (1 << 63) - 1;
    let mut last = 0;
    let mut all: Vec<u64> = text
        .split_whitespace()
        .flat_map(|word| std::iter::once(' ').chain(word.chars()))
        .chain([' '])
        .map(|c| {
            last = (last << 21 | u64::from(u32::from(c))) & THREE_CHARS;
            last
        })
        .skip(2)
        .collect();
    all.sort_unstable();
    all
}

/// Twice what two sorted lists have in common over what they have in all.
fn dice(a: &[u64], b: &[u64]) -> f64 {
    let all = (a.len() + b.len()) as f64;
    if 2.0 * (a.len().min(b.len()) as f64) < SIMILAR * all {
        return 0.0;
    }
    let (mut i, mut j, mut common) = (0, 0, 0);
    // Without branches on the order, which no processor predicts.
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        common += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(x >= y);
    }
    2.0 * common as f64 / all
}

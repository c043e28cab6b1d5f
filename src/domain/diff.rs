//! What differs between two revisions of an article: which paragraphs, and which words of them.
//!
//! Paragraphs are the same where their ids are; words are those of Unicode (UAX #29), and white space between them does
//! not count, as it does not count for a translation. The work is bounded: what is too different to be compared word by
//! word is reported as changed in one piece.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};
use unicode_segmentation::UnicodeSegmentation;

use super::article::Content;
use super::freshness::out_of_order;
use super::segment::Segment;

/// The most words of a paragraph, without those that both ends have in common, that are compared one by one.
const MAX_WORDS: usize = 2_000;
/// The words that may still be compared one by one. All of them take half a second at worst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(50_000)
    }
}

/// What became of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It says the same in the same place.
    Unchanged,
    /// It says the same in another place.
    Moved,
    /// Its text, its marks, its role or whether it is to be translated differs; it may stand elsewhere, too.
    Changed,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
}

/// Words that differ, as a range of code points on each side. One of the two may be empty: its place is then where the
/// words of the other side are missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextChange {
    /// In the old text.
    pub old: Range<u32>,
    /// In the new text.
    pub new: Range<u32>,
}

/// A paragraph of either revision, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentDiff<'a> {
    /// What became of it.
    pub fate: Fate,
    /// Whether it stands elsewhere among those that both revisions have.
    pub moved: bool,
    /// The paragraph in the old revision.
    pub old: Option<&'a Segment>,
    /// The paragraph in the new revision.
    pub new: Option<&'a Segment>,
}

/// Compares two revisions. Paragraphs are in the order of the new one, each one that is gone before the one that it
/// stood before.
pub fn compare<'a>(old: &'a Content, new: &'a Content) -> Vec<SegmentDiff<'a>> {
    let mut places: HashMap<_, _> = old
        .segments()
        .enumerate()
        .map(|(place, segment)| (&segment.id, (place, segment)))
        .collect();
    let pairs: Vec<_> = new
        .segments()
        .map(|segment| (segment, places.remove(&segment.id)))
        .collect();
    let kept: Vec<_> = pairs
        .iter()
        .filter_map(|(new, old)| Some((old.as_ref()?.0, &new.id)))
        .collect();
    let moved: HashSet<_> = out_of_order(&kept).into_iter().collect();
    let mut removed = old
        .segments()
        .enumerate()
        .filter(|(_, segment)| places.contains_key(&segment.id))
        .peekable();
    let mut diffs = Vec::with_capacity(pairs.len() + places.len());
    for (new, old) in pairs {
        let is_moved = moved.contains(&new.id);
        if let Some((place, _)) = old.filter(|_| !is_moved) {
            while let Some((_, gone)) = removed.next_if(|(gone, _)| *gone < place) {
                diffs.push(SegmentDiff::removed(gone));
            }
        }
        diffs.push(SegmentDiff::of(old.map(|(_, old)| old), new, is_moved));
    }
    diffs.extend(removed.map(|(_, gone)| SegmentDiff::removed(gone)));
    diffs
}

impl<'a> SegmentDiff<'a> {
    fn removed(old: &'a Segment) -> Self {
        Self {
            fate: Fate::Removed,
            moved: false,
            old: Some(old),
            new: None,
        }
    }

    fn of(old: Option<&'a Segment>, new: &'a Segment, moved: bool) -> Self {
        let is_same =
            |old: &Segment| old.source_hash() == new.source_hash() && old.translate == new.translate;
        let fate = match old {
            None => Fate::Added,
            Some(old) if !is_same(old) => Fate::Changed,
            Some(_) if moved => Fate::Moved,
            Some(_) => Fate::Unchanged,
        };
        Self {
            fate,
            moved,
            old,
            new: Some(new),
        }
    }

    /// The words that differ, of a changed paragraph. None do where only its role, its marks or its translate flag differ.
    pub fn changes(&self, budget: &mut Budget) -> Vec<TextChange> {
        match (self.fate, self.old, self.new) {
            (Fate::Changed, Some(old), Some(new)) => {
                changed_words(old.content.text(), new.content.text(), budget)
            }
            _ => Vec::new(),
        }
    }
}

/// A word with its place in the text, in code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word<'a> {
    text: &'a str,
    start: u32,
    end: u32,
}

/// The words of a text, punctuation marks among them, without white space.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut end = 0;
    let placed = text.split_word_bounds().map(|text| {
        let start = end;
        end += u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Word { text, start, end }
    });
    placed.filter(|word| !word.text.trim().is_empty()).collect()
}

fn changed_words(old: &str, new: &str, budget: &mut Budget) -> Vec<TextChange> {
    let (old, new) = (words(old), words(new));
    runs(&texts(&old), &texts(&new), budget)
        .into_iter()
        .map(|(olds, news)| TextChange {
            old: span(&old, olds),
            new: span(&new, news),
        })
        .collect()
}

/// The runs of words that differ, in order and none beside another. Words that are compared one by one are taken from the
/// budget; more than it has, or than one text may take, are one run.
pub(super) fn runs(old: &[&str], new: &[&str], budget: &mut Budget) -> Vec<(Range<usize>, Range<usize>)> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (_, old) = old.split_at(start);
    let (_, new) = new.split_at(start);
    let ends = old.iter().rev().zip(new.iter().rev());
    let end = ends.take_while(|(a, b)| a == b).count();
    let (old, _) = old.split_at(old.len() - end);
    let (new, _) = new.split_at(new.len() - end);
    let run = |olds: Range<usize>, news: Range<usize>| {
        (
            start + olds.start..start + olds.end,
            start + news.start..start + news.end,
        )
    };
    let compared = old.len() + new.len();
    if compared == 0 {
        return Vec::new();
    }
    if old.len().max(new.len()) > MAX_WORDS || compared > budget.0 {
        return vec![run(0..old.len(), 0..new.len())];
    }
    budget.0 -= compared;
    capture_diff_slices(Algorithm::Histogram, old, new)
        .chunk_by(|a, b| !is_equal(a) && !is_equal(b))
        .filter_map(|operations| Some((operations.first()?, operations.last()?)))
        .filter(|(first, _)| !is_equal(first))
        .map(|(first, last)| {
            let (olds, news) = (first.old_range().start, first.new_range().start);
            run(olds..last.old_range().end, news..last.new_range().end)
        })
        .collect()
}

fn texts<'a>(words: &[Word<'a>]) -> Vec<&'a str> {
    words.iter().map(|word| word.text).collect()
}

fn is_equal(operation: &DiffOp) -> bool {
    matches!(operation, DiffOp::Equal { .. })
}

/// The code points from the first to the last of some words; of none, the place after the word before them.
fn span(words: &[Word<'_>], range: Range<usize>) -> Range<u32> {
    match words.get(range.clone()) {
        Some([first, .., last]) => first.start..last.end,
        Some([only]) => only.start..only.end,
        _ => {
            let before = range.start.checked_sub(1).and_then(|before| words.get(before));
            let place = before.map_or(0, |before| before.end);
            place..place
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SegmentId;
    use crate::domain::segment::{DraftSegment, Role};
    use proptest::prelude::*;

    fn segment(number: u32, text: &str) -> Segment {
        let draft = DraftSegment::paragraph(text.into()).unwrap();
        draft.with_id(SegmentId::Body(number))
    }

    fn content(title: &str, body: &[(u32, &str)]) -> Content {
        let heading = |id, text: &str| DraftSegment::paragraph(text.into()).unwrap().with_id(id);
        Content {
            title: heading(SegmentId::Title, title),
            lead: heading(SegmentId::Lead, ""),
            body: body.iter().map(|(number, text)| segment(*number, text)).collect(),
        }
    }

    fn cut(text: &str, range: &Range<u32>) -> String {
        let length = (range.end - range.start) as usize;
        text.chars().skip(range.start as usize).take(length).collect()
    }

    fn marked(old: &str, new: &str) -> Vec<(String, String)> {
        changed_words(old, new, &mut Budget(1_000))
            .iter()
            .map(|change| (cut(old, &change.old), cut(new, &change.new)))
            .collect()
    }

    fn pair(old: &str, new: &str) -> (String, String) {
        (old.into(), new.into())
    }

    #[test]
    fn paragraphs_are_unchanged_changed_added_removed_or_moved() {
        let old = content(
            "t",
            &[(1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five")],
        );
        let new = content(
            "t",
            &[(4, "four"), (1, "one "), (6, "six"), (3, "3"), (5, "five")],
        );
        let diffs = compare(&old, &new);
        let said: Vec<_> = diffs
            .iter()
            .map(|diff| {
                let segment = diff.new.or(diff.old).unwrap();
                (segment.id.to_string(), diff.fate, diff.moved)
            })
            .collect();
        let expected = [
            ("title", Fate::Unchanged, false),
            ("s4", Fate::Moved, true),
            ("s1", Fate::Unchanged, false),
            ("s6", Fate::Added, false),
            ("s2", Fate::Removed, false),
            ("s3", Fate::Changed, false),
            ("s5", Fate::Unchanged, false),
        ];
        assert_eq!(
            said,
            expected.map(|(id, fate, moved)| (id.to_owned(), fate, moved))
        );
    }

    #[test]
    fn a_heading_comes_and_goes_like_any_paragraph() {
        let (with, without) = (content("t", &[(1, "one")]), content("", &[(1, "one")]));
        let fates = |a, b| compare(a, b).iter().map(|diff| diff.fate).collect::<Vec<_>>();
        assert_eq!(fates(&with, &without), [Fate::Removed, Fate::Unchanged]);
        assert_eq!(fates(&without, &with), [Fate::Added, Fate::Unchanged]);
    }

    #[test]
    fn a_role_or_a_flag_is_a_change_without_words() {
        let old = content("", &[(1, "one"), (2, "two")]);
        let mut new = old.clone();
        new.body[0].role = Role::Quote;
        new.body[1].translate = false;
        for diff in compare(&old, &new) {
            let changes = diff.changes(&mut Budget::default());
            assert_eq!((diff.fate, changes.len()), (Fate::Changed, 0));
        }
    }

    #[test]
    fn words_are_those_of_unicode_in_any_script() {
        assert_eq!(
            marked(
                "The rate rose to 3.5 per cent.",
                "The rate fell to 3.25 per cent!"
            ),
            [pair("rose", "fell"), pair("3.5", "3.25"), pair(".", "!")]
        );
        assert_eq!(
            marked("قال وزيرُ الخارجية اليوم", "قال رئيس الوزراء أمس اليوم"),
            [pair("وزيرُ الخارجية", "رئيس الوزراء أمس")]
        );
        assert_eq!(marked("don't stop", "don't  stop\n"), []);
        assert_eq!(marked("a 👩‍👩‍👧 b", "a 👨‍👩‍👧 b"), [pair("👩‍👩‍👧", "👨‍👩‍👧")]);
    }

    #[test]
    fn what_is_missing_on_one_side_has_a_place_there() {
        let change = |old, new| {
            let changes = changed_words(old, new, &mut Budget(100));
            assert_eq!(changes.len(), 1);
            changes[0].clone()
        };
        assert_eq!(change("é b", "é a b"), TextChange { old: 1..1, new: 2..3 });
        assert_eq!(change("b", "a b"), TextChange { old: 0..0, new: 0..1 });
        assert_eq!(change("a b c", "a b"), TextChange { old: 4..5, new: 3..3 });
    }

    #[test]
    fn too_many_words_are_one_change_between_the_common_ends() {
        let many = |word: &str| format!("start {}end", format!("{word} ").repeat(MAX_WORDS + 1));
        let (old, new) = (many("old"), many("new"));
        let changes = changed_words(&old, &new, &mut Budget::default());
        assert_eq!(changes.len(), 1);
        assert!(cut(&old, &changes[0].old).starts_with("old old"));
        assert!(cut(&new, &changes[0].new).ends_with("new new"));
        let mut budget = Budget(3);
        assert_eq!(changed_words("a b c d", "x b y d", &mut budget).len(), 1);
        assert_eq!(budget, Budget(3));
        assert_eq!(changed_words("a b", "x b", &mut budget).len(), 1);
        assert_eq!(budget, Budget(1));
    }

    fn text() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "a",
            "b",
            "c",
            "don't",
            "3.5",
            "كتاب",
            "كِتاب",
            "،",
            ".",
            "«",
            "»",
            "你好",
            "\u{200f}",
            "é",
        ]);
        let space = prop::sample::select(vec![" ", "", "  ", "\n"]);
        prop::collection::vec((word, space), 0..40).prop_map(|pieces| {
            pieces
                .into_iter()
                .map(|(word, space)| [word, space].concat())
                .collect()
        })
    }

    proptest! {
        #[test]
        fn without_the_changes_both_texts_have_the_same_words(old in text(), new in text(), budget in 0usize..90) {
            let changes = changed_words(&old, &new, &mut Budget(budget));
            let mut rests = [Vec::new(), Vec::new()];
            for (rest, (text, side)) in rests.iter_mut().zip([
                (&old, (|change: &TextChange| change.old.clone()) as fn(&TextChange) -> Range<u32>),
                (&new, |change| change.new.clone()),
            ]) {
                let length = text.chars().count() as u32;
                let mut at = 0;
                for range in changes.iter().map(side) {
                    prop_assert!(at <= range.start && range.start <= range.end && range.end <= length);
                    at = range.end;
                }
                let all = words(text);
                let kept = all.iter().filter(|word| {
                    !changes.iter().map(side).any(|range| range.start <= word.start && word.end <= range.end)
                });
                rest.extend(kept.map(|word| word.text));
            }
            prop_assert_eq!(&rests[0], &rests[1]);
            for change in &changes {
                prop_assert!(!change.old.is_empty() || !change.new.is_empty());
            }
            let same_words = words(&old).iter().map(|w| w.text).eq(words(&new).iter().map(|w| w.text));
            prop_assert_eq!(changes.is_empty(), same_words);
        }
    }
}

//! Everything that the store measures of a translation, segment by segment and as a whole.
//!
//! A target is compared with the source text that it was made from, and with the segment of a reference only where that
//! one was made from the same source text. Segments that are not to be translated are left out.

use std::collections::{BTreeSet, HashMap};

use unicode_normalization::UnicodeNormalization;

use super::chrf::Overlap;
use super::placeholders::Parts;
use super::{Differences, numbers, placeholders};
use crate::domain::article::{Manifest, Revision};
use crate::domain::ids::SegmentId;
use crate::domain::segment::Segment;
use crate::domain::translation::{Binding, SegmentOrigin, TranslationVersion};

/// The most code points of targets, sources and references that are measured at once. It bounds the work of a call, and
/// its answer too.
pub const MAX_CODE_POINTS: usize = 500_000;
/// The most revisions before the newest whose texts are read.
pub const MAX_EARLIER_REVISIONS: usize = 16;

/// The source texts that targets were made from.
#[derive(Debug, Default)]
pub struct Sources<'a>(Vec<(u32, HashMap<&'a SegmentId, &'a Segment>)>);

impl<'a> Sources<'a> {
    /// The texts of these revisions; where several have a text, the first one counts.
    pub fn new(revisions: impl IntoIterator<Item = &'a Revision>) -> Self {
        let segments = |revision: &'a Revision| revision.content.segments().map(|s| (&s.id, s)).collect();
        let revisions = revisions.into_iter();
        Self(revisions.map(|r| (r.number, segments(r))).collect())
    }

    /// The source of a target, and the revision that it is read from; `None` if no revision here has it.
    pub fn find(&self, binding: &Binding) -> Option<(u32, &'a Segment)> {
        let is_source = |segment: &&Segment| segment.source_hash() == binding.source_hash;
        self.0.iter().find_map(|(revision, segments)| {
            let segment = segments.get(&binding.id).copied().filter(is_source)?;
            Some((*revision, segment))
        })
    }
}

/// The revisions beside the newest one that targets were made from, the newest [`MAX_EARLIER_REVISIONS`] of them, newest
/// first. A target whose source did not change since needs none.
pub fn earlier_revisions<'a>(bindings: impl IntoIterator<Item = &'a Binding>, newest: &Manifest) -> Vec<u32> {
    let hashes: HashMap<_, _> = newest.0.iter().map(|entry| (&entry.id, entry.hash)).collect();
    let moved_on = |binding: &&Binding| hashes.get(&binding.id) != Some(&binding.source_hash);
    let revisions: BTreeSet<_> = bindings
        .into_iter()
        .filter(moved_on)
        .map(|binding| binding.source_revision)
        .collect();
    revisions.into_iter().rev().take(MAX_EARLIER_REVISIONS).collect()
}

/// How much text something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Segments.
    pub segments: usize,
    /// Code points of their target texts, white space included.
    pub code_points: usize,
}

/// Where the text of a translation comes from, and how much of it is machine output as it came.
///
/// A segment is unmodified machine output if a machine (MT, LLM, TM or a rule) wrote the very text that stands there. A
/// review that left it as it was does not change that; a change by a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MachineShare {
    /// Everything that was measured.
    pub all: Amount,
    /// Unmodified machine output.
    pub unmodified: Amount,
    /// Of that, what a person reviewed.
    pub reviewed: Amount,
    /// Imported text of unknown author. It does not count as machine output.
    pub unknown: Amount,
}

/// What is measured of a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentMeasures {
    /// The segment.
    pub id: SegmentId,
    /// The revision whose text it was compared with; `None` where that text was not read, and then nothing is said
    /// about it.
    pub source_revision: Option<u32>,
    /// The length of the target.
    pub code_points: usize,
    /// Whether it is unmodified machine output.
    pub unmodified_machine: bool,
    /// Whether a person reviewed this very text.
    pub reviewed: bool,
    /// chrF++ against the reference, if that has the segment.
    pub chrf: Option<f64>,
    /// Whether target and source are the same text, in NFC and with single spaces.
    pub equals_source: bool,
    /// Numbers that only one of them has.
    pub numbers: Differences,
    /// Placeholders that only one of them has.
    pub placeholders: Differences,
}

/// What is measured of a translation.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// Segment by segment, in the order of the translation.
    pub segments: Vec<SegmentMeasures>,
    /// How much of it is machine output.
    pub machine: MachineShare,
    /// chrF++ over all segments that have a reference, from their summed counts; `None` if none has.
    pub chrf: Option<f64>,
}

/// More text than [`MAX_CODE_POINTS`]: its number of code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge(pub usize);

/// Measures a translation.
pub fn measure(
    version: &TranslationVersion,
    sources: &Sources<'_>,
    reference: Option<&TranslationVersion>,
) -> Result<Measures, TooLarge> {
    let subjects = subjects(version, sources, reference);
    let code_points = subjects.iter().map(Subject::code_points).sum();
    if code_points > MAX_CODE_POINTS {
        return Err(TooLarge(code_points));
    }
    let mut machine = MachineShare::default();
    let mut compared: Option<Overlap> = None;
    let segments = subjects
        .iter()
        .map(|subject| {
            let overlap = subject
                .reference
                .map(|reference| Overlap::of(subject.text, reference));
            if let Some(overlap) = &overlap {
                *compared.get_or_insert_default() += overlap;
            }
            let measures = subject.measures(overlap.as_ref());
            machine.count(subject.binding, &measures);
            measures
        })
        .collect();
    Ok(Measures {
        segments,
        machine,
        chrf: compared.map(|overlap| overlap.score()),
    })
}

/// A target with what it is compared with.
struct Subject<'a> {
    binding: &'a Binding,
    text: &'a str,
    source: Option<(u32, &'a str)>,
    reference: Option<&'a str>,
}

fn subjects<'a>(
    version: &'a TranslationVersion,
    sources: &Sources<'a>,
    reference: Option<&'a TranslationVersion>,
) -> Vec<Subject<'a>> {
    let references: HashMap<_, _> = reference
        .into_iter()
        .flat_map(|reference| reference.head.bindings.iter().zip(&reference.texts))
        .map(|(binding, text)| ((&binding.id, binding.source_hash), text.text()))
        .collect();
    let targets = version.head.bindings.iter().zip(&version.texts);
    targets
        .filter_map(|(binding, text)| {
            let source = sources.find(binding);
            let is_translated = source.is_none_or(|(_, segment)| segment.translate);
            is_translated.then(|| Subject {
                binding,
                text: text.text(),
                source: source.map(|(revision, segment)| (revision, segment.content.text())),
                reference: references.get(&(&binding.id, binding.source_hash)).copied(),
            })
        })
        .collect()
}

impl Subject<'_> {
    fn code_points(&self) -> usize {
        let texts = [Some(self.text), self.source.map(|(_, text)| text), self.reference];
        texts.into_iter().flatten().map(|text| text.chars().count()).sum()
    }

    fn measures(&self, overlap: Option<&Overlap>) -> SegmentMeasures {
        let target = Parts::of(self.text);
        let source = self.source.map(|(_, text)| Parts::of(text));
        let source = source.as_ref();
        SegmentMeasures {
            id: self.binding.id.clone(),
            source_revision: self.source.map(|(revision, _)| revision),
            code_points: self.text.chars().count(),
            unmodified_machine: self.binding.origin == SegmentOrigin::Machine,
            reviewed: self.binding.reviewed,
            chrf: overlap.map(Overlap::score),
            equals_source: self.source.is_some_and(|(_, source)| is_same(source, self.text)),
            numbers: source
                .map(|source| numbers::differences(source, &target))
                .unwrap_or_default(),
            placeholders: source
                .map(|source| placeholders::differences(source, &target))
                .unwrap_or_default(),
        }
    }
}

/// Whether two texts are the same in NFC with every run of white space as one space.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other): (String, String) = (one.nfc().collect(), other.nfc().collect());
    one.split_whitespace().eq(other.split_whitespace())
}

impl MachineShare {
    /// The share of unmodified machine output among all segments, 0 to 1; 0 of nothing.
    pub fn segment_ratio(&self) -> f64 {
        ratio(self.unmodified.segments, self.all.segments)
    }

    /// The same among all code points.
    pub fn code_point_ratio(&self) -> f64 {
        ratio(self.unmodified.code_points, self.all.code_points)
    }

    fn count(&mut self, binding: &Binding, measures: &SegmentMeasures) {
        self.all.add(measures);
        match binding.origin {
            SegmentOrigin::Machine => {
                self.unmodified.add(measures);
                if binding.reviewed {
                    self.reviewed.add(measures);
                }
            }
            SegmentOrigin::Imported => self.unknown.add(measures),
            SegmentOrigin::Human | SegmentOrigin::Postedited => {}
        }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl Amount {
    fn add(&mut self, measures: &SegmentMeasures) {
        self.segments += 1;
        self.code_points += measures.code_points;
    }
}

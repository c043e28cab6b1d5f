//! Evidence: scores and MQM issues of exact texts.
//!
//! A piece of evidence is bound to the hashes of the target text and of the source text that it speaks of. When either
//! moves on, it reads as outdated; when a text comes back, it holds again. Adding evidence makes a version of the
//! translation, so that any moment can be read back, and a provenance record that names who judged. It changes no text,
//! state or disposition and leaves the translation's etag and time of change alone: whoever has read the text has read
//! what an etag of it names.

use std::collections::{HashMap, HashSet};

pub use super::issue::{QualityIssue, Severity, Side};
use super::measure::Sources;
use crate::domain::Violation;
use crate::domain::freshness::{Freshness, Overall};
use crate::domain::ids::SegmentId;
use crate::domain::provenance::Provenance;
use crate::domain::segment::TextHash;
use crate::domain::time::Stamp;
use crate::domain::translation::{QualityScore, TranslationHead, TranslationVersion};

/// The most bytes that the evidence of a translation takes. It is read together with the texts, which the server limits
/// to 2 MiB, and default clients take 4 MiB.
pub const MAX_EVIDENCE_BYTES: usize = 1 << 20;
/// What a piece takes beside its texts: numbers, hashes, a stamp.
const PIECE_BYTES: usize = 128;

/// What scores and issues have in common.
pub trait Evidence: Clone + PartialEq {
    /// The segment that it speaks of; `None`: the whole translation.
    fn segment(&self) -> Option<&SegmentId>;
    /// The hashes of the target and source texts that it speaks of.
    fn hashes(&self) -> (TextHash, TextHash);
    /// The commit that stored it.
    fn stamp(&self) -> Stamp;
    /// Puts the texts that it speaks of and the commit that stores it.
    fn bind(&mut self, hashes: (TextHash, TextHash), stamp: Stamp);
    /// An estimate of what it takes.
    fn bytes(&self) -> usize;
}

/// Evidence to add. Hashes and stamps are filled in.
#[derive(Debug, Clone)]
pub struct Addition<'a> {
    /// Scores.
    pub scores: &'a [QualityScore],
    /// Issues.
    pub issues: &'a [QualityIssue],
    /// The judge, and the principal of the call.
    pub provenance: &'a Provenance,
}

/// Why evidence is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It does not fit the texts.
    Invalid(Vec<Violation>),
    /// The translation would carry this many bytes of it.
    TooMuch(usize),
}

/// Adds evidence to the newest version of a translation, whose texts and sources are given. `None` if all of it is
/// there already.
pub fn add(
    head: &TranslationHead,
    version: &TranslationVersion,
    addition: &Addition<'_>,
    sources: &Sources<'_>,
) -> Result<Option<TranslationVersion>, Refusal> {
    let violations = misfits(head, version, addition, sources);
    if !violations.is_empty() {
        return Err(Refusal::Invalid(violations));
    }
    let texts = Hashes::of(head);
    let (mut scores, mut issues) = (version.quality_scores.clone(), version.quality_issues.clone());
    let added = texts.append(&mut scores, addition.scores) + texts.append(&mut issues, addition.issues);
    if added == 0 {
        return Ok(None);
    }
    let mut version = TranslationVersion {
        head: TranslationHead {
            scored: true,
            version: head.version.next(),
            ..head.clone()
        },
        texts: version.texts.clone(),
        provenance: Provenance {
            segments: Vec::new(),
            source_revision: head.source_revision,
            ..addition.provenance.clone()
        },
        quality_scores: scores,
        quality_issues: issues,
    };
    make_room(&mut version);
    match bytes(&version) {
        bytes if bytes > MAX_EVIDENCE_BYTES => Err(Refusal::TooMuch(bytes)),
        _ => Ok(Some(version)),
    }
}

/// What the evidence of a version takes.
pub fn bytes(version: &TranslationVersion) -> usize {
    let scores: usize = version.quality_scores.iter().map(Evidence::bytes).sum();
    scores + version.quality_issues.iter().map(Evidence::bytes).sum::<usize>()
}

/// Where a new version would carry too much, leaves out the evidence on target texts that are gone. Earlier versions
/// keep it.
pub fn make_room(version: &mut TranslationVersion) {
    if bytes(version) > MAX_EVIDENCE_BYTES {
        let texts = Hashes::of(&version.head);
        version.quality_scores.retain(|score| texts.hold(score));
        version.quality_issues.retain(|issue| texts.hold(issue));
    }
}

/// Tells evidence that still holds from evidence that is outdated.
#[derive(Debug)]
pub struct Standing<'a> {
    texts: Hashes<'a>,
    stale: HashSet<&'a SegmentId>,
    is_current: bool,
}

impl<'a> Standing<'a> {
    /// Of a translation that stands to its source like this.
    pub fn of(head: &'a TranslationHead, freshness: &'a Freshness) -> Self {
        Self {
            texts: Hashes::of(head),
            stale: freshness.stale.iter().collect(),
            is_current: matches!(freshness.overall, Overall::Current | Overall::Moved),
        }
    }

    /// Whether the text that the evidence speaks of, or its source, moved on since.
    pub fn is_outdated(&self, evidence: &impl Evidence) -> bool {
        let source_moved_on = match evidence.segment() {
            Some(id) => self.stale.contains(id),
            None => !self.is_current,
        };
        source_moved_on || !self.texts.hold(evidence)
    }
}

/// The hashes of the texts of a translation, of target and source.
#[derive(Debug)]
struct Hashes<'a> {
    segments: HashMap<&'a SegmentId, (TextHash, TextHash)>,
    whole: (TextHash, TextHash),
}

impl<'a> Hashes<'a> {
    fn of(head: &'a TranslationHead) -> Self {
        let segments = head.bindings.iter();
        Self {
            segments: segments
                .map(|binding| (&binding.id, (binding.target_hash, binding.source_hash)))
                .collect(),
            whole: head.scored_hashes(None),
        }
    }

    fn get(&self, segment: Option<&SegmentId>) -> Option<(TextHash, TextHash)> {
        match segment {
            Some(id) => self.segments.get(id).copied(),
            None => Some(self.whole),
        }
    }

    fn hold(&self, evidence: &impl Evidence) -> bool {
        self.get(evidence.segment()) == Some(evidence.hashes())
    }

    /// Binds new pieces to these texts and appends those that are not there yet; says how many.
    fn append<E: Evidence>(&self, pieces: &mut Vec<E>, new: &[E]) -> usize {
        let before = pieces.len();
        for piece in new {
            let Some(hashes) = self.get(piece.segment()) else {
                continue;
            };
            let mut piece = piece.clone();
            let is_there = pieces.iter().any(|other| {
                piece.bind(hashes, other.stamp());
                piece == *other
            });
            if !is_there {
                piece.bind(hashes, Stamp::PENDING);
                pieces.push(piece);
            }
        }
        pieces.len() - before
    }
}

/// Segments that the translation does not have, and ranges outside their text.
fn misfits(
    head: &TranslationHead,
    version: &TranslationVersion,
    addition: &Addition<'_>,
    sources: &Sources<'_>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let bindings = head.bindings.iter().zip(&version.texts);
    let bindings: HashMap<_, _> = bindings
        .map(|(binding, text)| (&binding.id, (binding, text)))
        .collect();
    let absent = |id: &SegmentId| format!("translation \"{}\" has no segment \"{id}\"", head.id);
    for (index, score) in addition.scores.iter().enumerate() {
        if let Some(id) = score.segment.as_ref().filter(|id| !bindings.contains_key(id)) {
            let field = format!("quality_scores[{index}].segment_id");
            violations.push(Violation::new(field, absent(id)));
        }
    }
    for (index, issue) in addition.issues.iter().enumerate() {
        let Some(id) = &issue.segment else { continue };
        let mut wrong = |field: &str, description: String| {
            violations.push(Violation::new(
                format!("quality_issues[{index}].{field}"),
                description,
            ));
        };
        let Some((binding, target)) = bindings.get(id) else {
            wrong("segment_id", absent(id));
            continue;
        };
        let Some(range) = &issue.range else { continue };
        let (side, text) = match issue.side {
            Side::Target => ("target", Some(target.text())),
            Side::Source => (
                "source",
                sources.find(binding).map(|(_, segment)| segment.content.text()),
            ),
        };
        match text.map(|text| text.chars().count()) {
            Some(length) if range.end as usize > length => {
                wrong(
                    "end",
                    format!(
                        "{} is beyond the {length} code points of the {side} text",
                        range.end
                    ),
                );
            }
            Some(_) => {}
            None => wrong(
                "segment_id",
                format!(
                    "the source text of \"{id}\" is too old: too many earlier revisions are named in one call"
                ),
            ),
        }
    }
    violations
}

impl Evidence for QualityScore {
    fn segment(&self) -> Option<&SegmentId> {
        self.segment.as_ref()
    }

    fn hashes(&self) -> (TextHash, TextHash) {
        (self.target_hash, self.source_hash)
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn bind(&mut self, hashes: (TextHash, TextHash), stamp: Stamp) {
        (self.target_hash, self.source_hash) = hashes;
        self.stamp = stamp;
    }

    fn bytes(&self) -> usize {
        let texts = [
            &self.metric,
            &self.metric_version,
            &self.model,
            &self.reference_kind,
            &self.scorer,
        ];
        PIECE_BYTES + texts.into_iter().map(String::len).sum::<usize>()
    }
}

impl Evidence for QualityIssue {
    fn segment(&self) -> Option<&SegmentId> {
        self.segment.as_ref()
    }

    fn hashes(&self) -> (TextHash, TextHash) {
        (self.target_hash, self.source_hash)
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn bind(&mut self, hashes: (TextHash, TextHash), stamp: Stamp) {
        (self.target_hash, self.source_hash) = hashes;
        self.stamp = stamp;
    }

    fn bytes(&self) -> usize {
        let texts = [&self.dimension, &self.subtype, &self.comment, &self.annotator];
        PIECE_BYTES + texts.into_iter().map(String::len).sum::<usize>()
    }
}

//! What the revisions before one had: enough to give a returning text its segment id back, and to say since when a
//! translation is stale.
//!
//! Each revision leaves an immutable [`RevisionDelta`]. A rule never reads all of them: it asks a [`Lookup`] for the
//! hashes at hand, and what the deltas say about these are the [`Departures`]. So the cost of a rule does not grow with
//! the number of revisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::article::{Manifest, Significance};
use super::ids::SegmentId;
use super::segment::TextHash;

/// What a revision replaced of the revision before it. The first revision has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionDelta {
    /// The number of the revision.
    pub revision: u32,
    /// The significance of the revision, where it has one.
    pub significance: Option<Significance>,
    /// The content hash of the revision before it.
    pub content: TextHash,
    /// The texts of the revision before it that their segments lost, in reading order.
    pub departed: Vec<(SegmentId, TextHash)>,
}

/// A question about the revisions before one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The revision.
    pub revision: u32,
    /// Hashes of texts whose departures are wanted.
    pub texts: BTreeSet<TextHash>,
    /// Content hashes whose last revision is wanted.
    pub contents: BTreeSet<TextHash>,
}

/// When a text last left a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departed {
    /// The last revision that had it.
    pub last_revision: u32,
    /// The place among the departures of that revision, in reading order.
    pub place: u32,
}

/// The answer to a [`Lookup`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Departures {
    /// Of each text that was asked for and each segment that lost it before the revision, the last time.
    pub texts: BTreeMap<(TextHash, SegmentId), Departed>,
    /// Of each content that was asked for, the last revision before the revision that had it.
    pub contents: BTreeMap<TextHash, u32>,
    /// The last revision of each significance, up to the revision itself.
    pub significance: BTreeMap<Significance, u32>,
}

impl RevisionDelta {
    /// The delta of the revision after `old`, which has this manifest.
    pub fn between(
        old: &Manifest,
        new: &Manifest,
        revision: u32,
        significance: Option<Significance>,
    ) -> Self {
        let kept: HashMap<_, _> = new.0.iter().map(|entry| (&entry.id, entry.hash)).collect();
        let departed = old
            .0
            .iter()
            .filter(|entry| kept.get(&entry.id) != Some(&entry.hash))
            .map(|entry| (entry.id.clone(), entry.hash));
        Self {
            revision,
            significance,
            content: old.content_hash(),
            departed: departed.collect(),
        }
    }
}

impl Lookup {
    /// A question about the revisions before this one that asks for no hash yet.
    pub fn before(revision: u32) -> Self {
        Self {
            revision,
            texts: BTreeSet::new(),
            contents: BTreeSet::new(),
        }
    }

    /// Whether it asks for no hash.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.contents.is_empty()
    }
}

impl Departures {
    /// The answer from all deltas of an article, in the order of the revisions.
    pub fn of<'a>(deltas: impl IntoIterator<Item = &'a RevisionDelta>, lookup: &Lookup) -> Self {
        let mut departures = Self::default();
        for delta in deltas
            .into_iter()
            .filter(|delta| delta.revision <= lookup.revision)
        {
            let last_revision = delta.revision - 1;
            for (place, (id, hash)) in (0..).zip(&delta.departed) {
                if lookup.texts.contains(hash) {
                    let departed = Departed { last_revision, place };
                    departures.texts.insert((*hash, id.clone()), departed);
                }
            }
            if lookup.contents.contains(&delta.content) {
                departures.contents.insert(delta.content, last_revision);
            }
            let significance = delta.significance.map(|level| (level, delta.revision));
            departures.significance.extend(significance);
        }
        departures
    }

    /// The last revision that had the text in the segment.
    pub fn last_with(&self, text: TextHash, id: &SegmentId) -> Option<u32> {
        let departed = self.texts.get(&(text, id.clone()))?;
        Some(departed.last_revision)
    }

    /// The greatest significance of the revisions from this one on, and the last of them that has it.
    pub fn greatest_since(&self, revision: u32) -> Option<(Significance, u32)> {
        let since = |(_, last): &(&Significance, &u32)| **last >= revision;
        let (level, last) = self.significance.iter().rev().find(since)?;
        Some((*level, *last))
    }
}

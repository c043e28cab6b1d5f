//! Whether a translation still matches its source, derived from hashes and nothing else: no clock, no flag, so a source
//! that is reverted heals its translations by itself.

use std::collections::{HashMap, HashSet};

use super::article::{Manifest, Significance};
use super::departures::{Departures, Lookup};
use super::ids::SegmentId;
use super::translation::{Binding, TranslationHead};

/// The freshness of a whole translation: the worst that is true of it, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overall {
    /// Every source segment has a target made from the same text.
    Current,
    /// The same, in another order.
    Moved,
    /// A target's source segment is gone.
    Orphaned,
    /// A target was made from another text.
    Stale,
    /// A source segment has no target.
    Incomplete,
}

/// How each target stands to a source revision. Every list is in reading order: of the source, and for orphans of the
/// translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The worst of all.
    pub overall: Overall,
    /// How many source segments have a current target, or need none.
    pub current: usize,
    /// Made from another text.
    pub stale: Vec<SegmentId>,
    /// Source segments without a target.
    pub missing: Vec<SegmentId>,
    /// Targets whose source segment is gone.
    pub orphaned: Vec<SegmentId>,
    /// Current targets that stand elsewhere in the source now: the fewest whose moving explains the new order.
    pub moved: Vec<SegmentId>,
}

/// Since when a translation is stale, and how much that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleSince {
    /// The first revision after the last one that the text was true of.
    pub revision: u32,
    /// The greatest significance since, where any of these revisions has one.
    pub significance: Option<Significance>,
}

impl Freshness {
    /// How targets stand to a source revision. Segments that are not to be translated are always current: they need
    /// no target, and where they have one, neither their text nor their place counts.
    pub fn of(bindings: &[Binding], source: &Manifest) -> Self {
        let mut freshness = Self::current(0);
        if in_step(bindings, source) {
            freshness.current = source.0.len();
            return freshness;
        }
        let mut targets: HashMap<_, _> = bindings
            .iter()
            .enumerate()
            .map(|(place, binding)| (&binding.id, (place, binding.source_hash)))
            .collect();
        let mut translated = Vec::new();
        for entry in &source.0 {
            match targets.remove(&entry.id) {
                _ if !entry.translate => freshness.current += 1,
                None => freshness.missing.push(entry.id.clone()),
                Some((place, hash)) if hash == entry.hash => translated.push((place, &entry.id)),
                Some(_) => freshness.stale.push(entry.id.clone()),
            }
        }
        freshness.current += translated.len();
        freshness.moved = out_of_order(&translated);
        if !targets.is_empty() {
            let orphans = bindings.iter().filter(|b| targets.contains_key(&b.id));
            freshness.orphaned = orphans.map(|b| b.id.clone()).collect();
        }
        freshness.overall = freshness.worst();
        freshness
    }

    /// How a translation stands to a source revision. One that is only an address is as a whole current or stale.
    pub fn of_translation(translation: &TranslationHead, source: &Manifest) -> Self {
        if !translation.is_address() {
            return Self::of(&translation.bindings, source);
        }
        if source.content_hash() == translation.source_content_hash {
            return Self::current(source.0.len());
        }
        Self {
            overall: Overall::Stale,
            ..Self::current(0)
        }
    }

    /// Adds what [`Self::stale_since`] needs to know of the revisions before the one that this is the freshness at.
    pub fn ask(&self, translation: &TranslationHead, lookup: &mut Lookup) {
        if translation.is_address() && self.overall == Overall::Stale {
            lookup.contents.insert(translation.source_content_hash);
        }
        let stale = self.stale_bindings(&translation.bindings);
        lookup.texts.extend(stale.map(|binding| binding.source_hash));
    }

    /// Since when the translation has been stale at `revision`, for the freshness that it has there; `None` where
    /// nothing is stale, or where no revision up to this one ever had the text that a target was made from.
    ///
    /// `departures` answers a lookup before that very revision; later returns of a text do not count.
    pub fn stale_since(
        &self,
        translation: &TranslationHead,
        revision: u32,
        departures: &Departures,
    ) -> Option<StaleSince> {
        let known = |source: u32| (source <= revision).then_some(source);
        let last_true = if translation.is_address() && self.overall == Overall::Stale {
            let departed = departures.contents.get(&translation.source_content_hash);
            known(translation.source_revision).max(departed.copied())
        } else {
            // The least of the last revisions that had the text of a stale segment.
            self.stale_bindings(&translation.bindings)
                .filter_map(|binding| {
                    let departed = departures.last_with(binding.source_hash, &binding.id);
                    known(binding.source_revision).max(departed)
                })
                .min()
        };
        let revision = last_true? + 1;
        Some(StaleSince {
            revision,
            significance: departures.greatest_since(revision).map(|(level, _)| level),
        })
    }

    fn stale_bindings<'a>(&self, bindings: &'a [Binding]) -> impl Iterator<Item = &'a Binding> {
        let stale: HashSet<_> = self.stale.iter().collect();
        bindings.iter().filter(move |binding| stale.contains(&binding.id))
    }

    /// Whether both find the same segments wrong in the same way; how many are right does not count.
    pub fn blames_the_same(&self, other: &Self) -> bool {
        let blamed = |freshness: &Self| Self {
            current: 0,
            ..freshness.clone()
        };
        blamed(self) == blamed(other)
    }

    fn current(segments: usize) -> Self {
        Self {
            overall: Overall::Current,
            current: segments,
            stale: Vec::new(),
            missing: Vec::new(),
            orphaned: Vec::new(),
            moved: Vec::new(),
        }
    }

    fn worst(&self) -> Overall {
        let found = [
            (&self.missing, Overall::Incomplete),
            (&self.stale, Overall::Stale),
            (&self.orphaned, Overall::Orphaned),
            (&self.moved, Overall::Moved),
        ];
        let worst = found.into_iter().find(|(segments, _)| !segments.is_empty());
        worst.map_or(Overall::Current, |(_, overall)| overall)
    }
}

/// Whether everything is current and in order, seen in one pass without allocating: what nearly every read finds.
fn in_step(bindings: &[Binding], source: &Manifest) -> bool {
    let mut bindings = bindings.iter().peekable();
    for entry in &source.0 {
        match bindings.next_if(|binding| binding.id == entry.id) {
            Some(binding) if binding.source_hash == entry.hash || !entry.translate => {}
            None if !entry.translate => {}
            _ => return false,
        }
    }
    bindings.next().is_none()
}

/// The targets outside a longest increasing run of places, given in the order of the source.
pub(super) fn out_of_order(targets: &[(usize, &SegmentId)]) -> Vec<SegmentId> {
    if targets.is_sorted_by_key(|(place, _)| place) {
        return Vec::new();
    }
    // For every length the run that ends least: its last place and that one's index.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before = Vec::with_capacity(targets.len());
    for (index, (place, _)) in targets.iter().enumerate() {
        let length = ends.partition_point(|(end, _)| end < place);
        let shorter = length.checked_sub(1).and_then(|shorter| ends.get(shorter));
        before.push(shorter.map(|(_, index)| *index));
        match ends.get_mut(length) {
            Some(end) => *end = (*place, index),
            None => ends.push((*place, index)),
        }
    }
    let mut last = ends.last().map(|(_, index)| *index);
    let mut moved: Vec<_> = std::iter::zip(targets, before)
        .enumerate()
        .rev()
        .filter(|(index, (_, before))| {
            let in_run = last == Some(*index);
            if in_run {
                last = *before;
            }
            !in_run
        })
        .map(|(_, ((_, id), _))| (*id).clone())
        .collect();
    moved.reverse();
    moved
}

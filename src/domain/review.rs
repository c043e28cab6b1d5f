//! Steps that leave every text as it is: reviewing segments, and acknowledging that targets hold for another source.
//!
//! The order is: [`review`] or [`acknowledge`] what is there, load the translation's newest version if anything changes,
//! [`Revised::write`]. A review moves states only, an acknowledgement bindings only.

use std::collections::{BTreeMap, BTreeSet};

use super::article::Manifest;
use super::ids::{SegmentId, TranslationId};
use super::provenance::Provenance;
use super::time::Stamp;
use super::translation::{Binding, Slot, State, TranslationHead, TranslationVersion};
use super::workflow::{Obstacle, Obstacles, Refusal, SelfReview, Transition};

/// A review.
#[derive(Debug, Clone, Copy)]
pub struct Review<'a> {
    /// The segments; empty: all that have a target.
    pub segments: &'a [SegmentId],
    /// The state to bring them to.
    pub to: State,
    /// Whether the reviewer may be their author.
    pub self_review: SelfReview,
    /// The reviewer, and the reason. Stamp, state, segments and revision are filled in.
    pub provenance: &'a Provenance,
}

/// The declaration that targets hold for the source at another revision.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledgement<'a> {
    /// The segments; empty: all that have a target.
    pub segments: &'a [SegmentId],
    /// The source revision.
    pub source_revision: u32,
    /// The segments of that revision.
    pub source: &'a Manifest,
    /// The agent that declares it, and the reason. Stamp, segments and revision are filled in.
    pub provenance: &'a Provenance,
}

/// A translation after a step, for which its newest version is needed to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised {
    /// The translation as it is stored.
    before: TranslationHead,
    /// The translation after the step.
    after: TranslationHead,
    provenance: Provenance,
}

/// What a review makes of a translation; `None` where every segment is as far already.
pub fn review(slot: &Slot, id: TranslationId, review: &Review<'_>) -> Result<Option<Revised>, Refusal> {
    let before = open(slot, id)?;
    let Provenance { agent, reason, .. } = review.provenance;
    let transition = Transition::new(review.to, agent, review.self_review, reason);
    let named = named(before, review.segments)?;
    let mut after = before.clone();
    if before.is_address() {
        let text = before.external_standing();
        let taken = transition
            .take(text)
            .map_err(|obstacle| Refusal::Obstacle(Some(id), obstacle, Vec::new()))?;
        (after.external_state, after.external_reviewed) = (taken.state, taken.reviewed);
    }
    let mut obstacles = Obstacles::default();
    for binding in &mut after.bindings {
        if named.as_ref().is_none_or(|named| named.contains(&binding.id)) {
            match transition.take(binding.standing()) {
                Ok(taken) => {
                    let moved = taken != binding.standing();
                    *binding = Binding {
                        copied: binding.copied && !moved,
                        ..binding.clone().with(taken)
                    };
                }
                Err(obstacle) => obstacles.add(obstacle, &binding.id),
            }
        }
    }
    obstacles
        .none()
        .map_err(|obstacles| obstacles.refusal(Some(id)))?;
    Ok(revised(before, after, |after| Provenance {
        state: Some(review.to),
        source_revision: after.source_revision,
        ..review.provenance.clone()
    }))
}

/// What an acknowledgement makes of a translation; `None` where it says nothing new. Targets whose source is not in the
/// revision are dropped, and the others stand in its order, as after any write made at it.
pub fn acknowledge(
    slot: &Slot,
    id: TranslationId,
    acknowledgement: &Acknowledgement<'_>,
) -> Result<Option<Revised>, Refusal> {
    let Acknowledgement {
        segments,
        source_revision,
        source,
        provenance,
    } = *acknowledgement;
    let before = open(slot, id)?;
    let named = named(before, segments)?;
    check_in_source(segments, source)?;
    let latest = before.bindings.iter().map(|binding| binding.source_revision);
    if let Some(latest) = latest
        .chain([before.source_revision])
        .max()
        .filter(|latest| *latest > source_revision)
    {
        return Err(Refusal::Outrun(id, latest));
    }
    let by_machine = provenance.agent.kind.is_machine();
    if before.is_address()
        && by_machine
        && before.external_standing().is_protected()
        && before.source_content_hash != source.content_hash()
    {
        return Err(Refusal::Obstacle(Some(id), Obstacle::NeedsPerson, Vec::new()));
    }
    let mut standing: BTreeMap<_, _> = before.bindings.iter().map(|b| (&b.id, b)).collect();
    let mut obstacles = Obstacles::default();
    let mut bindings = Vec::with_capacity(before.bindings.len());
    for entry in &source.0 {
        let Some(binding) = standing.remove(&entry.id) else {
            continue;
        };
        if named.as_ref().is_some_and(|named| !named.contains(&entry.id)) {
            bindings.push(binding.clone());
            continue;
        }
        if by_machine && binding.standing().is_protected() && binding.source_hash != entry.hash {
            obstacles.add(Obstacle::NeedsPerson, &entry.id);
        }
        bindings.push(Binding {
            source_revision,
            source_hash: entry.hash,
            translate: entry.translate,
            ..binding.clone()
        });
    }
    obstacles
        .none()
        .map_err(|obstacles| obstacles.refusal(Some(id)))?;
    let after = TranslationHead {
        source_revision,
        source_content_hash: source.content_hash(),
        bindings,
        ..before.clone()
    };
    Ok(revised(before, after, |_| Provenance {
        source_revision,
        ..provenance.clone()
    }))
}

impl Revised {
    /// The translation whose newest version [`Revised::write`] needs.
    pub fn needs(&self) -> &TranslationHead {
        &self.before
    }

    /// The slot and the translation's new version.
    pub fn write(self, slot: &Slot, newest: &TranslationVersion) -> (Slot, TranslationVersion) {
        let Self {
            before,
            mut after,
            provenance,
        } = self;
        after.version = before.version.next();
        after.etag = after.etag_of(after.version.number);
        after.updated = Stamp::PENDING;
        let ids = newest.head.bindings.iter().map(|binding| &binding.id);
        let texts: BTreeMap<_, _> = ids.zip(&newest.texts).collect();
        let version = TranslationVersion {
            texts: after
                .bindings
                .iter()
                .filter_map(|binding| texts.get(&binding.id).map(|text| (*text).clone()))
                .collect(),
            provenance: Provenance {
                segments: after.changed_since(Some(&before)),
                ..provenance
            },
            quality_scores: newest.quality_scores.clone(),
            quality_issues: newest.quality_issues.clone(),
            head: after.clone(),
        };
        let mut slot = Slot {
            version: slot.version + 1,
            stamp: Stamp::PENDING,
            ..slot.clone()
        };
        for translation in &mut slot.translations {
            if translation.id == after.id {
                *translation = after.clone();
            }
        }
        (slot, version)
    }
}

/// A translation that is still in use.
fn open(slot: &Slot, id: TranslationId) -> Result<&TranslationHead, Refusal> {
    let translation = slot.translation(id).ok_or(Refusal::NoSuchTranslation(id))?;
    if translation.is_closed() {
        return Err(Refusal::Closed(id, translation.disposition));
    }
    Ok(translation)
}

/// The segments that are meant; `None`: all. All that are named must have a target.
fn named<'a>(
    translation: &TranslationHead,
    segments: &'a [SegmentId],
) -> Result<Option<BTreeSet<&'a SegmentId>>, Refusal> {
    if segments.is_empty() {
        return Ok(None);
    }
    let targets: BTreeSet<_> = translation.bindings.iter().map(|binding| &binding.id).collect();
    let without: Vec<_> = segments
        .iter()
        .filter(|id| !targets.contains(id))
        .cloned()
        .collect();
    if without.is_empty() {
        Ok(Some(segments.iter().collect()))
    } else {
        Err(Refusal::NoTarget(without))
    }
}

fn check_in_source(segments: &[SegmentId], source: &Manifest) -> Result<(), Refusal> {
    let known: BTreeSet<_> = source.0.iter().map(|entry| &entry.id).collect();
    let unknown: Vec<_> = segments
        .iter()
        .filter(|id| !known.contains(id))
        .cloned()
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Refusal::NotInRevision(unknown))
    }
}

fn revised(
    before: &TranslationHead,
    after: TranslationHead,
    provenance: impl FnOnce(&TranslationHead) -> Provenance,
) -> Option<Revised> {
    (after != *before).then(|| Revised {
        before: before.clone(),
        provenance: provenance(&after),
        after,
    })
}

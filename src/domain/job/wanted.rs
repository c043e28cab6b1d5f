//! What work there is on the translation of an article into a language.

use std::collections::HashMap;

use super::{JobKind, Wanted};
use crate::domain::article::Manifest;
use crate::domain::freshness::Freshness;
use crate::domain::ids::SegmentId;
use crate::domain::translation::{Disposition, Slot, State, TranslationHead};

/// The texts that work of a kind is wanted on, in reading order.
///
/// Of translating work these are the segments that the active translation lacks or has from another text, but for those
/// that a candidate of the same kind has already. Of a review they are the current targets without a review, of
/// scoring all current targets; what is kept elsewhere is neither reviewed nor scored by segments.
pub fn wanted<'a>(
    kind: JobKind,
    source: &'a Manifest,
    slot: Option<&'a Slot>,
) -> Box<dyn Iterator<Item = Wanted> + 'a> {
    let active = slot.and_then(Slot::active);
    match kind {
        JobKind::Mt | JobKind::Llm | JobKind::Human => Box::new(untranslated(kind, source, slot, active)),
        JobKind::Review => Box::new(targets(source, active, |state| state == State::Translated)),
        JobKind::Score => Box::new(targets(source, active, |state| state >= State::Translated)),
    }
}

fn untranslated<'a>(
    kind: JobKind,
    source: &'a Manifest,
    slot: Option<&'a Slot>,
    active: Option<&'a TranslationHead>,
) -> impl Iterator<Item = Wanted> + 'a {
    let is_current = active.filter(|active| active.is_address()).is_some_and(|active| {
        Freshness::of_translation(active, source).stale.is_empty() && {
            active.source_content_hash == source.content_hash()
        }
    });
    let mut there: HashMap<&SegmentId, Vec<_>> = HashMap::new();
    for binding in active.into_iter().flat_map(|active| &active.bindings) {
        there.entry(&binding.id).or_default().push(binding.source_hash);
    }
    let candidates = slot
        .into_iter()
        .flat_map(|slot| &slot.translations)
        .filter(|translation| translation.disposition == Disposition::Candidate);
    for binding in candidates.flat_map(|candidate| &candidate.bindings) {
        if kind.is_done_by(binding.writer) {
            there.entry(&binding.id).or_default().push(binding.source_hash);
        }
    }
    source
        .0
        .iter()
        .filter(move |entry| {
            let hashes = there.get(&entry.id);
            !is_current && entry.translate && hashes.is_none_or(|hashes| !hashes.contains(&entry.hash))
        })
        .map(|entry| Wanted {
            segment: entry.id.clone(),
            hash: entry.hash,
        })
}

/// The current targets of the active translation in a state.
fn targets<'a>(
    source: &'a Manifest,
    active: Option<&'a TranslationHead>,
    is_meant: impl Fn(State) -> bool + 'a,
) -> impl Iterator<Item = Wanted> + 'a {
    let bindings = active
        .map(|active| active.bindings.as_slice())
        .unwrap_or_default();
    let bindings: HashMap<_, _> = bindings.iter().map(|binding| (&binding.id, binding)).collect();
    source
        .0
        .iter()
        .filter(|entry| entry.translate)
        .filter_map(move |entry| {
            let binding = bindings.get(&entry.id)?;
            (binding.source_hash == entry.hash && is_meant(binding.state)).then(|| Wanted {
                segment: entry.id.clone(),
                hash: binding.target_hash,
            })
        })
}

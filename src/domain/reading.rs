//! Reading in a language: selects the text of an article for a list of wanted languages and conditions.
//!
//! The rule is fixed: equal requests get equal texts. It selects and changes nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::article::{Head, Significance};
use super::departures::{Departures, Lookup};
use super::freshness::{Freshness, Overall};
use super::language::Language;
use super::provenance::AgentKind;
use super::translation::{Disposition, SegmentOrigin, Slot, State, TranslationHead};

/// The languages that one reader may ask for.
pub const MAX_LANGUAGES: usize = 50;

/// The languages and conditions of a reader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The languages, best first.
    pub languages: Vec<Language>,
    /// The least state of a translation.
    pub min_state: Option<State>,
    /// The worst freshness of a translation.
    pub max_freshness: Option<Overall>,
    /// A translation that is only stale, by revisions of lesser significance than this, passes as a current one. A
    /// revision whose significance is not known never passes.
    pub ignore_below: Option<Significance>,
    /// No translation with a text of a machine that no person has reviewed or changed.
    pub exclude_machine: bool,
}

/// The text that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served<'a> {
    /// The article's own.
    Source,
    /// A translation.
    Translation(&'a Arc<Slot>, &'a TranslationHead),
}

/// What a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The text.
    pub served: Served<'a>,
    /// Whether its language is neither the first one that was asked for nor a variety of it.
    pub is_fallback: bool,
}

impl Reading {
    /// What [`Self::choose`] needs to know of earlier revisions.
    pub fn ask(&self, head: &Head, slots: &BTreeMap<Language, Arc<Slot>>) -> Lookup {
        let mut lookup = Lookup::before(head.revision());
        if self.ignore_below.is_some() {
            for translation in slots.values().flat_map(|slot| &slot.translations) {
                Freshness::of_translation(translation, &head.manifest).ask(translation, &mut lookup);
            }
        }
        lookup
    }

    /// Chooses among an article and its translations.
    ///
    /// The languages are tried in their order, each as RFC 4647 looks it up (`pt-BR`, then `pt`), then its varieties in
    /// the order of their tags (`pt` finds `pt-BR`). The article's own language counts like any other, and its text
    /// passes every condition. If nothing is found, the article's own text is served.
    pub fn choose<'a>(
        &self,
        head: &Head,
        slots: &'a BTreeMap<Language, Arc<Slot>>,
        departures: &Departures,
    ) -> Choice<'a> {
        let source = &head.current.metadata.language;
        for (rank, wanted) in self.languages.iter().enumerate() {
            let available = slots.keys().chain([source]);
            let mut varieties: Vec<_> = available.filter(|tag| tag.is_variety_of(wanted)).collect();
            varieties.sort_unstable();
            for tag in wanted.lookup_range().iter().chain(varieties) {
                let is_fallback = rank > 0 || !(tag == wanted || tag.is_variety_of(wanted));
                if tag == source {
                    return Choice {
                        served: Served::Source,
                        is_fallback,
                    };
                }
                let found = slots
                    .get(tag)
                    .and_then(|slot| Some((slot, self.best(head, slot, departures)?)));
                if let Some((slot, translation)) = found {
                    return Choice {
                        served: Served::Translation(slot, translation),
                        is_fallback,
                    };
                }
            }
        }
        Choice {
            served: Served::Source,
            is_fallback: !self.languages.is_empty(),
        }
    }

    /// The active translation if it passes, else of those that do the one in the highest state, with the most current
    /// segments, the newest. Rejected and withdrawn ones are never served.
    fn best<'a>(&self, head: &Head, slot: &'a Slot, departures: &Departures) -> Option<&'a TranslationHead> {
        let may_be_served =
            |t: &&TranslationHead| !matches!(t.disposition, Disposition::Rejected | Disposition::Withdrawn);
        slot.translations
            .iter()
            .filter(may_be_served)
            .filter_map(|translation| {
                let freshness = Freshness::of_translation(translation, &head.manifest);
                self.passes(translation, &freshness, head.revision(), departures)
                    .then_some((translation, freshness))
            })
            .max_by_key(|(translation, freshness)| {
                (
                    translation.disposition == Disposition::Active,
                    translation.state(),
                    freshness.current,
                    translation.updated.seq,
                    Reverse(translation.id),
                )
            })
            .map(|(translation, _)| translation)
    }

    fn passes(
        &self,
        translation: &TranslationHead,
        freshness: &Freshness,
        revision: u32,
        departures: &Departures,
    ) -> bool {
        let is_negligible = || {
            let since = freshness.stale_since(translation, revision, departures);
            let significance = since.and_then(|since| since.significance);
            freshness.overall == Overall::Stale
                && self
                    .ignore_below
                    .zip(significance)
                    .is_some_and(|(least, significance)| significance < least)
        };
        self.min_state.is_none_or(|least| translation.state() >= least)
            && !(self.exclude_machine && has_raw_machine_text(translation))
            && self
                .max_freshness
                .is_none_or(|worst| freshness.overall <= worst || is_negligible())
    }
}

/// Whether a machine wrote some of it that no person has reviewed or changed. For a mere address its agent speaks.
fn has_raw_machine_text(translation: &TranslationHead) -> bool {
    if translation.bindings.is_empty() {
        return !matches!(translation.agent.kind, AgentKind::Human | AgentKind::Import);
    }
    translation
        .bindings
        .iter()
        .any(|binding| binding.origin == SegmentOrigin::Machine && !binding.reviewed)
}

//! Which translation of a slot is served: selecting, rejecting and withdrawing, and the record of each. Nothing here
//! writes a text or a state.

use super::etag::Etag;
use super::ids::{RequestId, TranslationId};
use super::provenance::{Actor, Agent, Choice, Step};
use super::time::Stamp;
use super::translation::{Disposition, Selection, Slot, TranslationHead};
use super::version::Version;
use super::workflow::Refusal;

/// The author of a selection, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// The agent, if the caller declared one.
    pub agent: Option<Agent>,
    /// The principal of the call.
    pub actor: Actor,
    /// Why, where the caller said so.
    pub reason: String,
    /// The call's request id, if it has one.
    pub request_id: Option<RequestId>,
}

impl Slot {
    /// The slot with this translation served; the one that was served until then is superseded, and can be selected
    /// again. `None` if it is served already.
    pub fn select(&self, id: TranslationId, decided: Decided) -> Result<Option<(Slot, Selection)>, Refusal> {
        let translation = self.translation(id).ok_or(Refusal::NoSuchTranslation(id))?;
        if translation.is_closed() {
            return Err(Refusal::Closed(id, translation.disposition));
        }
        Ok(self.dispose(id, Disposition::Active, Step::Selected, decided))
    }

    /// The slot with this translation turned down for good; if it was served, none is. `None` if it is rejected
    /// already.
    pub fn reject(&self, id: TranslationId, decided: Decided) -> Result<Option<(Slot, Selection)>, Refusal> {
        let translation = self.translation(id).ok_or(Refusal::NoSuchTranslation(id))?;
        if translation.disposition == Disposition::Withdrawn {
            return Err(Refusal::Closed(id, translation.disposition));
        }
        Ok(self.dispose(id, Disposition::Rejected, Step::Rejected, decided))
    }

    /// The slot with this translation neither served nor listed, for good. `None` if it is withdrawn already.
    pub fn detach(&self, id: TranslationId, decided: Decided) -> Result<Option<(Slot, Selection)>, Refusal> {
        self.translation(id).ok_or(Refusal::NoSuchTranslation(id))?;
        Ok(self.dispose(id, Disposition::Withdrawn, Step::Detached, decided))
    }

    fn dispose(
        &self,
        id: TranslationId,
        to: Disposition,
        step: Step,
        decided: Decided,
    ) -> Option<(Slot, Selection)> {
        let mut slot = Slot {
            version: self.version + 1,
            stamp: Stamp::PENDING,
            ..self.clone()
        };
        let was_served = self.active().map(|active| active.id);
        let replaced = was_served.filter(|_| to == Disposition::Active);
        for translation in &mut slot.translations {
            if translation.id == id {
                if translation.disposition == to {
                    return None;
                }
                translation.disposition = to;
            } else if Some(translation.id) == replaced {
                translation.disposition = Disposition::Superseded;
            }
        }
        let choice = Choice {
            step,
            translation: Some(id),
            replaced,
            agent: decided.agent,
            reason: decided.reason,
            request_id: decided.request_id,
        };
        let selection = slot.record(self.selection.next(), was_served, choice, decided.actor);
        Some((slot, selection))
    }

    /// The selection with a translation that joins, by its write.
    pub(super) fn join(
        &mut self,
        translation: TranslationHead,
        next: Version,
        agent: &Agent,
        actor: &Actor,
    ) -> Selection {
        let was_served = self.active().map(|active| active.id);
        let choice = Choice {
            step: Step::Attached,
            translation: Some(translation.id),
            replaced: None,
            agent: Some(agent.clone()),
            reason: String::new(),
            request_id: None,
        };
        self.translations.push(translation);
        self.record(next, was_served, choice, actor.clone())
    }

    /// Records the dispositions of all translations as the slot's newest selection. The etag moves when another
    /// translation is served, or none, and not when a candidate joins or leaves.
    fn record(
        &mut self,
        next: Version,
        was_served: Option<TranslationId>,
        choice: Choice,
        actor: Actor,
    ) -> Selection {
        let active = self.active().map(|active| active.id);
        if active != was_served {
            self.etag = Etag::of(next.number, &active);
        }
        self.selection = next;
        Selection {
            stamp: Stamp::PENDING,
            etag: self.etag,
            dispositions: self.translations.iter().map(|t| (t.id, t.disposition)).collect(),
            choice,
            actor,
            number: next.number,
        }
    }
}

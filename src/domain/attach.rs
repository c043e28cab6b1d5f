//! Attaching a translation: which texts belong to which segments, whose text may replace whose, and what the slot is
//! afterwards.
//!
//! The order is: [`fit`] the texts to the source revision, [`plan`] which translation is written, load what the plan
//! copies from, [`Plan::write`]. Nothing is ever overwritten in place: every write makes a version.

use std::collections::BTreeMap;

use super::article::{ArticleId, Manifest, ManifestEntry};
use super::ids::{RequestId, SegmentId, TranslationId};
use super::language::Language;
use super::provenance::{Actor, Agent, Provenance, Step};
use super::request::Outcome;
use super::segment::{MarkedText, TextHash};
use super::translation::{
    Binding, Disposition, MAX_CANDIDATES, MAX_SLOT_SEGMENTS, QualityScore, Selection, Slot, State,
    TranslationHead, TranslationVersion,
};
use super::workflow::{self, SelfReview};

mod bind;
mod fit;
#[cfg(test)]
mod tests;
mod write;

pub use fit::fit;

/// A translated text as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetText {
    /// The text with its marks.
    pub content: MarkedText,
    /// A refinement of the state, `prefix:value`; may be empty.
    pub sub_state: String,
}

/// The texts of a body as they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyTexts {
    /// One per body segment of the source revision, in order.
    InOrder(Vec<TargetText>),
    /// For these segments.
    ById(Vec<(SegmentId, TargetText)>),
}

/// The texts of a translation as they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTexts {
    /// The headline; `None` or blank: not sent.
    pub title: Option<TargetText>,
    /// The lead; `None` or blank: not sent.
    pub lead: Option<TargetText>,
    /// The body.
    pub body: BodyTexts,
}

/// Texts that fit a source revision: one entry a segment, none of them blank.
pub type Fitted<'a> = BTreeMap<SegmentId, &'a TargetText>;

/// What is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material<'a> {
    /// Texts.
    Texts(Fitted<'a>),
    /// The address of a text that is kept elsewhere.
    External(&'a str),
}

/// Which translation a write is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one that is served, or a new one if there is none.
    Active,
    /// This one.
    Existing(TranslationId),
    /// Another candidate.
    NewCandidate,
}

/// A write to a slot.
#[derive(Debug, Clone)]
pub struct Attach<'a> {
    /// The article.
    pub article: &'a ArticleId,
    /// The language.
    pub language: &'a Language,
    /// The slot, if there is one.
    pub slot: Option<&'a Slot>,
    /// The source revision that the translation was made from.
    pub source_revision: u32,
    /// The segments of that revision.
    pub source: &'a Manifest,
    /// Segments whose text was made from an earlier revision, and the hash that they had there: they are bound to that.
    pub made_from: &'a BTreeMap<SegmentId, (u32, TextHash)>,
    /// The texts or their address.
    pub material: &'a Material<'a>,
    /// Which translation is meant.
    pub target: Target,
    /// How far the work got.
    pub state: State,
    /// Whether that may be above `Translated` where the agent is the text's author.
    pub self_review: SelfReview,
    /// Whether a machine may replace a person's text.
    pub overwrite_human: bool,
    /// The author of the text, the principal of the call, and the effort. Stamp and segments are filled in by the write.
    pub provenance: &'a Provenance,
    /// Scores of the texts that are sent; hashes and stamp are filled in by the write.
    pub scores: &'a [QualityScore],
}

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The translation is not there or not open, or the state may not be set.
    Step(workflow::Refusal),
    /// The slot is full.
    TooManyCandidates,
}

/// Which translation is written, and which versions it takes texts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The translation that is edited; `None`: a new one.
    edits: Option<TranslationId>,
    /// The translations that segments which are not sent are taken from, best first.
    bases: Vec<TranslationId>,
    outcome: Outcome,
}

/// What a write does to the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing differs.
    Unchanged(TranslationId),
    /// A new version.
    Write(Box<Written>),
}

/// A slot after a write, with the bodies that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The translation that was written.
    pub id: TranslationId,
    /// The slot.
    pub slot: Slot,
    /// The translation's new version.
    pub version: TranslationVersion,
    /// The slot's new selection, if a translation was added.
    pub selection: Option<Selection>,
    /// What became of the call.
    pub outcome: Outcome,
}

/// Decides which translation a write goes to.
pub fn plan(attach: &Attach<'_>) -> Result<Plan, Refusal> {
    let meant = match attach.target {
        Target::Existing(id) => {
            let found = attach
                .slot
                .and_then(|slot| slot.translation(id))
                .ok_or(Refusal::Step(workflow::Refusal::NoSuchTranslation(id)))?;
            if found.is_closed() {
                let closed = workflow::Refusal::Closed(id, found.disposition);
                return Err(Refusal::Step(closed));
            }
            Some(found)
        }
        Target::Active => attach.slot.and_then(Slot::active),
        Target::NewCandidate => None,
    };
    let Some(meant) = meant else {
        return create(attach, Vec::new(), Outcome::Created);
    };
    if !attach.would_replace_a_person(meant, |_| true) {
        return Ok(Plan {
            edits: Some(meant.id),
            bases: vec![meant.id],
            outcome: Outcome::Changed,
        });
    }
    // The agent's one candidate; what is not sent comes from it, then from the translation that was meant. Copies may
    // be replaced there; what was reviewed there may not, and then it is no longer the machine's own.
    let agent = attach.provenance.agent.declared_identity();
    let own = attach
        .slot
        .into_iter()
        .flat_map(|slot| &slot.translations)
        .find(|translation| {
            translation.disposition == Disposition::Candidate
                && translation.id != meant.id
                && translation.agent.declared_identity() == agent
                && !attach.would_replace_a_person(translation, |binding| !binding.copied)
        });
    match own {
        Some(own) => Ok(Plan {
            edits: Some(own.id),
            bases: vec![own.id, meant.id],
            outcome: Outcome::Diverted,
        }),
        None => create(attach, vec![meant.id], Outcome::Diverted),
    }
}

fn create(attach: &Attach<'_>, bases: Vec<TranslationId>, outcome: Outcome) -> Result<Plan, Refusal> {
    let existing = attach
        .slot
        .map(|slot| slot.translations.as_slice())
        .unwrap_or_default();
    let segments = existing.iter().map(|t| t.bindings.len()).sum::<usize>() + attach.source.0.len();
    if existing.len() >= MAX_CANDIDATES || segments > MAX_SLOT_SEGMENTS {
        return Err(Refusal::TooManyCandidates);
    }
    Ok(Plan {
        edits: None,
        bases,
        outcome,
    })
}

impl Attach<'_> {
    /// Whether a machine would change a text that a person wrote last, or that is reviewed, among the segments that
    /// count; or would drop one, because a late result of a machine knows an older source than the person did.
    fn would_replace_a_person(&self, existing: &TranslationHead, counts: impl Fn(&Binding) -> bool) -> bool {
        if !self.provenance.agent.kind.is_machine() || self.overwrite_human {
            return false;
        }
        let mut protected = existing
            .bindings
            .iter()
            .filter(|binding| counts(binding) && binding.standing().is_protected());
        let protected_address = existing.is_address() && existing.external_standing().is_protected();
        match self.material {
            Material::External(uri) => {
                let is_another = existing.external_uri != *uri
                    || existing.source_content_hash != self.source.content_hash();
                protected_address && is_another || protected.next().is_some()
            }
            Material::Texts(_) if protected_address => true,
            Material::Texts(texts) => protected.any(|binding| {
                let source = self.source.0.iter().find(|entry| entry.id == binding.id);
                match (texts.get(&binding.id), source) {
                    (Some(text), source) => {
                        TextHash::of_target(&text.content) != binding.target_hash
                            || source.is_some_and(|source| self.source_of(source).1 != binding.source_hash)
                    }
                    (None, Some(_)) => false,
                    (None, None) => binding.source_revision > self.source_revision,
                }
            }),
        }
    }

    /// The revision and the hash that the text sent for a segment was made from.
    fn source_of(&self, entry: &ManifestEntry) -> (u32, TextHash) {
        let earlier = self.made_from.get(&entry.id).copied();
        earlier.unwrap_or((self.source_revision, entry.hash))
    }

    /// Whether a write takes anything from the version of a base: a text that is not sent, or evidence to keep.
    fn copies_from(&self, base: &TranslationHead) -> bool {
        let sent = |id: &SegmentId| matches!(self.material, Material::Texts(texts) if texts.contains_key(id));
        let copied = |binding: &Binding| !sent(&binding.id) && matches!(self.material, Material::Texts(_));
        base.scored || base.bindings.iter().any(copied)
    }
}

/// The provenance of a call before it is known what it changes.
pub fn provenance(
    agent: Agent,
    actor: Actor,
    source_revision: u32,
    request_id: Option<RequestId>,
) -> Provenance {
    Provenance {
        source_revision,
        request_id,
        ..Provenance::of(Step::Attached, agent, actor)
    }
}

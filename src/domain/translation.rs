//! Translations: candidate texts in a slot `(article, language)`, bound segment by segment to the source.
//!
//! A [`Slot`] holds what a decision needs of all its translations, without texts. The texts are in immutable
//! [`TranslationVersion`]s. Three axes are independent: state, freshness (derived, never stored) and disposition.

use std::collections::{BTreeMap, BTreeSet};

use super::etag::Etag;
use super::ids::{ArticleId, SegmentId, TranslationId};
use super::language::Language;
use super::provenance::{Actor, Agent, AgentIdentity, AgentKind, Choice, OriginClass, Provenance};
use super::quality::issue::QualityIssue;
use super::segment::{MarkedText, TextHash};
pub use super::state::State;
use super::time::Stamp;
use super::version::{Series, Version, VersionKey};

/// The most translations in a slot.
pub const MAX_CANDIDATES: usize = 64;
/// The most target segments of all translations in a slot. A slot is one record that is rewritten whole, about 110 bytes
/// a segment.
pub const MAX_SLOT_SEGMENTS: usize = 100_000;

/// Which of a slot's texts is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Waiting to be selected.
    Candidate,
    /// The one that is served; at most one in a slot.
    Active,
    /// Turned down, for good.
    Rejected,
    /// Was active until another was selected.
    Superseded,
    /// Detached, for good.
    Withdrawn,
}

/// What a segment's text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentOrigin {
    /// A machine wrote it.
    Machine,
    /// A machine wrote it and a person changed it.
    Postedited,
    /// A person wrote it.
    Human,
    /// It was imported, and its origin is unknown.
    Imported,
}

/// A target segment without its text: its binding, its state, and its last author.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The source segment.
    pub id: SegmentId,
    /// The source revision that the target was made from, or acknowledged at.
    pub source_revision: u32,
    /// The hash of the source text in that revision.
    pub source_hash: TextHash,
    /// Whether the source was to be translated in that revision. If not, the state does not count in that of the whole.
    pub translate: bool,
    /// The hash of the target text.
    pub target_hash: TextHash,
    /// How far the work got.
    pub state: State,
    /// A refinement of the state, `prefix:value` (XLIFF `subState`); may be empty.
    pub sub_state: String,
    /// What kind of agent wrote the text last.
    pub writer: AgentKind,
    /// The last author of the text; `None` if it was not recorded yet.
    pub author: Option<AgentIdentity>,
    /// What the text comes from.
    pub origin: SegmentOrigin,
    /// Whether a person reviewed this very text.
    pub reviewed: bool,
    /// Whether it stands here only as a copy from another translation, where the work on it was done.
    pub copied: bool,
}

/// One translation of a slot, without texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslationHead {
    /// Its id in the slot.
    pub id: TranslationId,
    /// Its etag; moves with every change of text, binding or state, and not with evidence.
    pub etag: Etag,
    /// Whether it is served. Kept in the slot's selection, not in the translation's versions.
    pub disposition: Disposition,
    /// The agent that wrote last.
    pub agent: Agent,
    /// The source revision that was last written at.
    pub source_revision: u32,
    /// The content hash of that revision; decides the freshness of a translation that is only an address.
    pub source_content_hash: TextHash,
    /// Where the text is, for a translation whose text is kept elsewhere; empty otherwise.
    pub external_uri: String,
    /// How far the work on a text that is kept elsewhere got.
    pub external_state: State,
    /// Whether a person reviewed the text that is kept elsewhere.
    pub external_reviewed: bool,
    /// The segments in the source order of the revision last written at.
    pub bindings: Vec<Binding>,
    /// Whether its versions carry quality scores or issues.
    pub scored: bool,
    /// When it was created.
    pub created: Stamp,
    /// When it last changed.
    pub updated: Stamp,
    /// Its newest version.
    pub version: Version,
}

impl TranslationHead {
    /// The least state of its segments that are to be translated, of all if none is; an address has one of its own.
    pub fn state(&self) -> State {
        let translatable = self.bindings.iter().filter(|binding| binding.translate);
        let least = translatable.map(|binding| binding.state).min();
        let states = || self.bindings.iter().map(|binding| binding.state);
        least.or_else(|| states().min()).unwrap_or(self.external_state)
    }

    /// Whether it is only an address.
    pub fn is_address(&self) -> bool {
        self.bindings.is_empty() && !self.external_uri.is_empty()
    }

    /// Whether it is out of use for good: it is neither edited nor reviewed nor served again.
    pub fn is_closed(&self) -> bool {
        matches!(self.disposition, Disposition::Rejected | Disposition::Withdrawn)
    }

    /// What its text comes from. Copies of untranslatable segments count like any other text.
    pub fn origin_class(&self) -> OriginClass {
        let class = |binding: &Binding| match (binding.origin, binding.reviewed) {
            (SegmentOrigin::Machine, false) => OriginClass::MachineUnreviewed,
            (SegmentOrigin::Machine, true) => OriginClass::MachineReviewed,
            (SegmentOrigin::Postedited, _) => OriginClass::MachinePostedited,
            (SegmentOrigin::Human, _) => OriginClass::Human,
            (SegmentOrigin::Imported, _) => OriginClass::Unknown,
        };
        let mut classes = self.bindings.iter().map(class);
        match classes.next() {
            None => match self.agent.kind {
                AgentKind::Human => OriginClass::Human,
                AgentKind::Import => OriginClass::Unknown,
                _ if self.external_reviewed => OriginClass::MachineReviewed,
                _ => OriginClass::MachineUnreviewed,
            },
            Some(first) if classes.all(|class| class == first) => first,
            Some(_) => OriginClass::Mixed,
        }
    }

    /// The etag of this state as the version with this number.
    pub fn etag_of(&self, version: u32) -> Etag {
        let text = (
            self.source_revision,
            &self.bindings,
            &self.external_uri,
            &self.agent,
        );
        Etag::of(version, &(text, self.external_state, self.external_reviewed))
    }

    /// The segments that differ from what stood before, in source order, those that were dropped last. What joined as a
    /// mere copy does not count: no work went into it.
    pub fn changed_since(&self, before: Option<&Self>) -> Vec<SegmentId> {
        let before: BTreeMap<_, _> = before
            .into_iter()
            .flat_map(|before| &before.bindings)
            .map(|b| (&b.id, b))
            .collect();
        let now: BTreeSet<_> = self.bindings.iter().map(|binding| &binding.id).collect();
        let written = self
            .bindings
            .iter()
            .filter(|binding| match before.get(&binding.id) {
                Some(old) => old != binding,
                None => !binding.copied,
            })
            .map(|b| &b.id);
        let dropped = before.keys().copied().filter(|id| !now.contains(id));
        written.chain(dropped).cloned().collect()
    }

    /// Puts the stamp of the commit that writes this translation where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.created.resolve(stamp);
        self.updated.resolve(stamp);
        self.version.stamp.resolve(stamp);
    }
}

/// An immutable version of a translation: everything of it at one commit, texts and provenance included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslationVersion {
    /// The translation at this version. Its disposition is not part of the version.
    pub head: TranslationHead,
    /// The target texts, one for each of `head.bindings`.
    pub texts: Vec<MarkedText>,
    /// The write that made this version.
    pub provenance: Provenance,
    /// Quality scores known when this version was written.
    pub quality_scores: Vec<QualityScore>,
    /// MQM issues known when this version was written.
    pub quality_issues: Vec<QualityIssue>,
}

impl TranslationVersion {
    /// Puts the stamp of the commit that writes this version where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.head.resolve(stamp);
        self.provenance.stamp.resolve(stamp);
        self.quality_scores
            .iter_mut()
            .for_each(|score| score.stamp.resolve(stamp));
        self.quality_issues
            .iter_mut()
            .for_each(|issue| issue.stamp.resolve(stamp));
    }
}

/// Evidence about the quality of an exact text.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityScore {
    /// The metric, such as `COMET` or `chrF++`.
    pub metric: String,
    /// Its version or signature.
    pub metric_version: String,
    /// The model that computed it, if any.
    pub model: String,
    /// The score.
    pub value: f64,
    /// The least possible score.
    pub min: f64,
    /// The greatest possible score.
    pub max: f64,
    /// Whether a greater score is a better one.
    pub higher_is_better: bool,
    /// The segment; `None` for the whole translation.
    pub segment: Option<SegmentId>,
    /// The hash of the target text that was scored.
    pub target_hash: TextHash,
    /// The hash of the source text that it was scored against.
    pub source_hash: TextHash,
    /// What it was compared with, such as `REFERENCE` or `NONE`.
    pub reference_kind: String,
    /// The person or tool that computed it.
    pub scorer: String,
    /// The commit that stored it.
    pub stamp: Stamp,
}

/// Scores hold finite numbers only (checked on the way in), so equality is total.
impl Eq for QualityScore {}

/// An immutable version of a slot's selection: which translation was served, and how the others stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The commit that wrote it.
    pub stamp: Stamp,
    /// The slot's etag in this version.
    pub etag: Etag,
    /// The disposition of every translation.
    pub dispositions: Vec<(TranslationId, Disposition)>,
    /// Its cause and its agent.
    pub choice: Choice,
    /// The principal of the call.
    pub actor: Actor,
    /// 1, 2, 3…
    pub number: u32,
}

impl Selection {
    /// Puts the stamp of the commit that writes this selection where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.stamp.resolve(stamp);
    }
}

/// All translations of an article into a language, without texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The article.
    pub article: ArticleId,
    /// The language.
    pub language: Language,
    /// Moved by every write to the slot; what preconditions compare.
    pub version: u32,
    /// The commit that wrote it last.
    pub stamp: Stamp,
    /// The etag of the selection.
    pub etag: Etag,
    /// The translations in the order of their creation.
    pub translations: Vec<TranslationHead>,
    /// The newest selection.
    pub selection: Version,
}

impl Slot {
    /// The translation that is served.
    pub fn active(&self) -> Option<&TranslationHead> {
        self.translations
            .iter()
            .find(|translation| translation.disposition == Disposition::Active)
    }

    /// Names the newest version of one of its translations.
    pub fn version_key(&self, translation: &TranslationHead) -> VersionKey {
        VersionKey {
            article: self.article.clone(),
            series: Series::Translation(self.language.clone(), translation.id),
            number: translation.version.number,
        }
    }

    /// Names the newest selection.
    pub fn selection_key(&self) -> VersionKey {
        VersionKey {
            article: self.article.clone(),
            series: Series::Selection(self.language.clone()),
            number: self.selection.number,
        }
    }

    /// A translation by id.
    pub fn translation(&self, id: TranslationId) -> Option<&TranslationHead> {
        self.translations.iter().find(|translation| translation.id == id)
    }

    /// Puts the stamp of the commit that writes this slot where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.stamp.resolve(stamp);
        self.selection.stamp.resolve(stamp);
        self.translations
            .iter_mut()
            .for_each(|translation| translation.resolve(stamp));
    }
}

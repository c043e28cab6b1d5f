//! Attaching a translation: which texts belong to which segments, whose text may replace whose, and what the slot is
//! afterwards.
//!
//! The order is: [`fit`] the texts to the source revision, [`plan`] which translation is written, load what the plan
//! copies from, [`Plan::write`]. Nothing is ever overwritten in place: every write makes a version.

use std::collections::{BTreeMap, BTreeSet};

use super::article::{ArticleId, Manifest, ManifestEntry};
use super::etag::Etag;
use super::history::History;
use super::ids::{RequestId, SegmentId, TranslationId};
use super::language::Language;
use super::provenance::{Actor, Agent, AgentKind, Provenance};
use super::quality::evidence;
use super::request::Outcome;
use super::segment::{MarkedText, TextHash};
use super::time::Stamp;
use super::translation::{
    Binding, Disposition, MAX_CANDIDATES, MAX_SLOT_SEGMENTS, QualityScore, SegmentOrigin, Selection, Slot,
    State, TranslationHead, TranslationVersion,
};

mod fit;
#[cfg(test)]
mod tests;

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
    /// One for every body segment of the source revision, in order.
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
    /// The texts or their address.
    pub material: &'a Material<'a>,
    /// Which translation is meant.
    pub target: Target,
    /// How far the work got.
    pub state: State,
    /// Whether a machine may replace a person's text.
    pub overwrite_human: bool,
    /// Who wrote the text, made the call, and what it took. Its stamp and segments are filled in by the write.
    pub provenance: &'a Provenance,
    /// Scores of the texts that are sent; hashes and stamp are filled in by the write.
    pub scores: &'a [QualityScore],
}

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The slot has no such translation.
    NoSuchTranslation(TranslationId),
    /// The translation was detached.
    Withdrawn(TranslationId),
    /// The state is above what an author can say of its own text.
    OwnReview(State),
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
    /// The translation's new version, the commit's first body.
    pub version: TranslationVersion,
    /// The slot's new selection, the commit's second body, if a translation was added.
    pub selection: Option<Selection>,
    /// What became of the call.
    pub outcome: Outcome,
}

/// Decides which translation a write goes to.
pub fn plan(attach: &Attach<'_>) -> Result<Plan, Refusal> {
    if attach.state > State::Translated {
        return Err(Refusal::OwnReview(attach.state));
    }
    let meant = match attach.target {
        Target::Existing(id) => {
            let found = attach
                .slot
                .and_then(|slot| slot.translation(id))
                .ok_or(Refusal::NoSuchTranslation(id))?;
            if found.disposition == Disposition::Withdrawn {
                return Err(Refusal::Withdrawn(id));
            }
            Some(found)
        }
        Target::Active => attach.slot.and_then(Slot::active),
        Target::NewCandidate => None,
    };
    let Some(meant) = meant else {
        return create(attach, Vec::new(), Outcome::Created);
    };
    if !attach.would_replace_a_person(meant) {
        return Ok(Plan {
            edits: Some(meant.id),
            bases: vec![meant.id],
            outcome: Outcome::Changed,
        });
    }
    // The agent's one candidate; what is not sent comes from it, then from the translation that was meant.
    let agent = &attach.provenance.agent;
    let own = attach
        .slot
        .into_iter()
        .flat_map(|slot| &slot.translations)
        .find(|translation| {
            translation.disposition == Disposition::Candidate
                && translation.id != meant.id
                && translation.agent.is_same_agent(agent)
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
    /// Whether a machine would change a text that a person wrote last, or that is reviewed.
    fn would_replace_a_person(&self, existing: &TranslationHead) -> bool {
        if !self.provenance.agent.kind.is_machine() || self.overwrite_human {
            return false;
        }
        let protected =
            |binding: &Binding| binding.writer == AgentKind::Human || binding.state >= State::Reviewed;
        match self.material {
            Material::External(uri) => {
                let of_a_person = existing.agent.kind == AgentKind::Human && existing.external_uri != *uri;
                of_a_person || existing.bindings.iter().any(protected)
            }
            Material::Texts(_) if !existing.external_uri.is_empty() => {
                existing.agent.kind == AgentKind::Human
            }
            Material::Texts(texts) => {
                existing
                    .bindings
                    .iter()
                    .filter(|binding| protected(binding))
                    .any(|binding| {
                        texts.get(&binding.id).is_some_and(|text| {
                            let source = self.source.0.iter().find(|entry| entry.id == binding.id);
                            TextHash::of_target(&text.content) != binding.target_hash
                                || source.is_some_and(|source| source.hash != binding.source_hash)
                        })
                    })
            }
        }
    }

    /// The binding of a sent text, given what stood there before.
    fn bind(&self, entry: &ManifestEntry, text: &TargetText, old: Option<&Binding>) -> Binding {
        let target_hash = TextHash::of_target(&text.content);
        let kind = self.provenance.agent.kind;
        let fresh = Binding {
            id: entry.id.clone(),
            source_revision: self.source_revision,
            source_hash: entry.hash,
            target_hash,
            state: self.state,
            sub_state: text.sub_state.clone(),
            writer: kind,
            origin: match kind {
                AgentKind::Human => SegmentOrigin::Human,
                AgentKind::Import => SegmentOrigin::Imported,
                _ => SegmentOrigin::Machine,
            },
            reviewed: false,
        };
        match old {
            // The same text for the same source: only the revision and a risen state can be new.
            Some(old) if old.target_hash == target_hash && old.source_hash == entry.hash => Binding {
                source_revision: self.source_revision,
                state: old.state.max(self.state),
                sub_state: text.sub_state.clone(),
                ..old.clone()
            },
            // The same text, confirmed for another source: it still comes from where it came from.
            Some(old) if old.target_hash == target_hash => Binding {
                origin: old.origin,
                ..fresh
            },
            Some(old)
                if kind == AgentKind::Human
                    && matches!(old.origin, SegmentOrigin::Machine | SegmentOrigin::Postedited) =>
            {
                Binding {
                    origin: SegmentOrigin::Postedited,
                    ..fresh
                }
            }
            _ => fresh,
        }
    }

    /// Bindings and texts in source order; segments that are not sent are copied, and those that left the source dropped.
    fn merge(&self, texts: &Fitted<'_>, standing: &[Standing<'_>]) -> (Vec<Binding>, Vec<MarkedText>) {
        let of = |id: &SegmentId| standing.iter().find_map(|base| base.get(id).copied());
        let entries = self.source.0.iter();
        entries
            .filter_map(|entry| match (texts.get(&entry.id), of(&entry.id)) {
                (Some(text), old) => {
                    let old = old.map(|(binding, _)| binding);
                    Some((self.bind(entry, text, old), text.content.clone()))
                }
                (None, Some((binding, Some(text)))) => Some((binding.clone(), text.clone())),
                (None, _) => None,
            })
            .unzip()
    }

    /// Whether a write takes anything from the version of a base: a text that is not sent, or evidence to keep.
    fn copies_from(&self, base: &TranslationHead) -> bool {
        let sent = |id: &SegmentId| matches!(self.material, Material::Texts(texts) if texts.contains_key(id));
        let copied = |binding: &Binding| !sent(&binding.id) && matches!(self.material, Material::Texts(_));
        base.scored || base.bindings.iter().any(copied)
    }
}

/// The segments of a base by id, with their texts where the base's version was needed.
type Standing<'a> = BTreeMap<&'a SegmentId, (&'a Binding, Option<&'a MarkedText>)>;

impl Plan {
    /// The translations whose newest versions [`Plan::write`] needs; none where everything is sent.
    pub fn needs<'a>(&self, attach: &Attach<'a>) -> impl Iterator<Item = &'a TranslationHead> {
        let bases = self.bases.iter().filter_map(|id| attach.slot?.translation(*id));
        bases.filter(|base| attach.copies_from(base))
    }

    /// The bases in their order, with the texts of those versions that were needed.
    fn standing<'a>(&self, attach: &Attach<'a>, versions: &[&'a TranslationVersion]) -> Vec<Standing<'a>> {
        let bases = self.bases.iter().filter_map(|id| attach.slot?.translation(*id));
        let texts = |base: &TranslationHead| versions.iter().find(|version| version.head.id == base.id);
        bases
            .map(|base| {
                let texts = texts(base)
                    .map(|version| version.texts.as_slice())
                    .unwrap_or_default();
                let texts = texts.iter().map(Some).chain(std::iter::repeat(None));
                base.bindings
                    .iter()
                    .zip(texts)
                    .map(|(binding, text)| (&binding.id, (binding, text)))
                    .collect()
            })
            .collect()
    }

    /// Carries the plan out, given the versions that it [`needs`](Self::needs).
    pub fn write(&self, attach: &Attach<'_>, versions: &[&TranslationVersion]) -> Decision {
        let edited = self.edits.and_then(|id| attach.slot?.translation(id));
        let ((bindings, texts), external_uri) = match attach.material {
            Material::Texts(texts) => (
                attach.merge(texts, &self.standing(attach, versions)),
                String::new(),
            ),
            Material::External(uri) => ((Vec::new(), Vec::new()), (*uri).to_owned()),
        };
        let agent = attach.provenance.agent.clone();
        if let Some(edited) = edited
            && edited.bindings == bindings
            && edited.external_uri == external_uri
            && edited.source_revision == attach.source_revision
            && edited.agent == agent
            && attach.scores.is_empty()
        {
            return Decision::Unchanged(edited.id);
        }
        let history = edited.map_or_else(|| History::first(0), |edited| edited.history.next(0));
        let next_id = attach.slot.map_or(1, |slot| slot.translations.len() + 1);
        let id = edited.map_or(
            TranslationId(u32::try_from(next_id).unwrap_or(u32::MAX)),
            |edited| edited.id,
        );
        let digest = (attach.source_revision, &bindings, &external_uri, &agent);
        let head = TranslationHead {
            id,
            etag: Etag::of(history.newest.number, &digest),
            disposition: edited.map_or_else(|| self.disposition_of_new(attach), |edited| edited.disposition),
            agent,
            source_revision: attach.source_revision,
            source_content_hash: attach.source.content_hash(),
            external_uri,
            bindings,
            scored: !attach.scores.is_empty() || edited.is_some_and(|edited| edited.scored),
            created: edited.map_or(Stamp::PENDING, |edited| edited.created),
            updated: Stamp::PENDING,
            history,
        };
        let mut version = TranslationVersion {
            provenance: Provenance {
                segments: changed(&head, edited),
                ..attach.provenance.clone()
            },
            quality_scores: self.scores(attach, &head, versions),
            quality_issues: self
                .edited(versions)
                .map(|base| base.quality_issues.clone())
                .unwrap_or_default(),
            texts,
            head,
        };
        evidence::make_room(&mut version);
        self.written(attach, version)
    }

    /// The first translation of a slot is served, and so is a plain one where none is.
    fn disposition_of_new(&self, attach: &Attach<'_>) -> Disposition {
        let any = attach.slot.is_some_and(|slot| !slot.translations.is_empty());
        let none_active = attach.slot.and_then(Slot::active).is_none();
        if !any || none_active && attach.target == Target::Active {
            Disposition::Active
        } else {
            Disposition::Candidate
        }
    }

    fn written(&self, attach: &Attach<'_>, version: TranslationVersion) -> Decision {
        let head = version.head.clone();
        let id = head.id;
        let mut slot = match attach.slot {
            Some(slot) => Slot {
                version: slot.version + 1,
                stamp: Stamp::PENDING,
                ..slot.clone()
            },
            None => Slot {
                article: attach.article.clone(),
                language: attach.language.clone(),
                version: 1,
                stamp: Stamp::PENDING,
                etag: Etag {
                    version: 0,
                    digest: 0,
                },
                translations: Vec::new(),
                selections: History::first(1),
            },
        };
        let selection = match slot
            .translations
            .iter_mut()
            .find(|translation| translation.id == id)
        {
            Some(place) => {
                *place = head;
                None
            }
            None => {
                slot.translations.push(head);
                let history = attach
                    .slot
                    .map_or_else(|| History::first(1), |slot| slot.selections.next(1));
                let served = attach.slot.and_then(Slot::active).map(|active| active.id);
                Some(slot.select(history, served, attach.provenance.actor.clone()))
            }
        };
        Decision::Write(Box::new(Written {
            id,
            slot,
            version,
            selection,
            outcome: self.outcome,
        }))
    }

    /// The version of the base that is edited, if it is needed.
    fn edited<'a>(&self, versions: &[&'a TranslationVersion]) -> Option<&'a TranslationVersion> {
        let id = self.edits?;
        versions.iter().find(|base| base.head.id == id).copied()
    }

    /// The scores of the base that is edited, and the new ones bound to the texts that they speak of.
    fn scores(
        &self,
        attach: &Attach<'_>,
        head: &TranslationHead,
        versions: &[&TranslationVersion],
    ) -> Vec<QualityScore> {
        let kept = self.edited(versions);
        let mut scores = kept.map(|base| base.quality_scores.clone()).unwrap_or_default();
        scores.extend(attach.scores.iter().map(|score| {
            let (target_hash, source_hash) = head.scored_hashes(score.segment.as_ref());
            QualityScore {
                target_hash,
                source_hash,
                stamp: Stamp::PENDING,
                ..score.clone()
            }
        }));
        scores
    }
}

impl Slot {
    /// Records the dispositions of all translations as the slot's newest selection. The etag moves when another
    /// translation is served, or none, and not when a candidate joins.
    fn select(&mut self, history: History, served: Option<TranslationId>, actor: Actor) -> Selection {
        let active = self.active().map(|active| active.id);
        if active != served {
            self.etag = Etag::of(history.newest.number, &active);
        }
        self.selections = history.clone();
        Selection {
            stamp: Stamp::PENDING,
            etag: self.etag,
            dispositions: self.translations.iter().map(|t| (t.id, t.disposition)).collect(),
            actor,
            history,
        }
    }

    /// The slot without a translation being served or listed; its selection is the commit's first body. `None` if it is
    /// withdrawn already.
    pub fn detach(&self, id: TranslationId, actor: Actor) -> Option<(Slot, Selection)> {
        let mut slot = Slot {
            version: self.version + 1,
            stamp: Stamp::PENDING,
            ..self.clone()
        };
        let translation = slot
            .translations
            .iter_mut()
            .find(|translation| translation.id == id)?;
        if translation.disposition == Disposition::Withdrawn {
            return None;
        }
        translation.disposition = Disposition::Withdrawn;
        let served = self.active().map(|active| active.id);
        let selection = slot.select(self.selections.next(0), served, actor);
        Some((slot, selection))
    }
}

impl TranslationHead {
    /// The hashes of target and source that a score of a segment, or of the whole, is bound to.
    pub fn scored_hashes(&self, segment: Option<&SegmentId>) -> (TextHash, TextHash) {
        match segment.and_then(|id| self.bindings.iter().find(|binding| binding.id == *id)) {
            Some(binding) => (binding.target_hash, binding.source_hash),
            None => {
                use sha2::{Digest, Sha256};
                let mut target = Sha256::new();
                self.bindings
                    .iter()
                    .for_each(|binding| target.update(binding.target_hash.0));
                target.update(&self.external_uri);
                (TextHash::finish(target), self.source_content_hash)
            }
        }
    }
}

/// The segments that differ from what stood before, in source order, those that were dropped last.
fn changed(head: &TranslationHead, old: Option<&TranslationHead>) -> Vec<SegmentId> {
    let before: BTreeMap<_, _> = old
        .into_iter()
        .flat_map(|old| &old.bindings)
        .map(|b| (&b.id, b))
        .collect();
    let now: BTreeSet<_> = head.bindings.iter().map(|binding| &binding.id).collect();
    let written = head
        .bindings
        .iter()
        .filter(|binding| before.get(&binding.id) != Some(binding))
        .map(|b| &b.id);
    let dropped = before.keys().copied().filter(|id| !now.contains(id));
    written.chain(dropped).cloned().collect()
}

/// The provenance of a call before it is known what it changes.
pub fn provenance(
    agent: Agent,
    actor: Actor,
    source_revision: u32,
    request_id: Option<RequestId>,
) -> Provenance {
    Provenance {
        stamp: Stamp::PENDING,
        agent,
        actor,
        segments: Vec::new(),
        source_revision,
        request_id,
        job_id: String::new(),
        pivot: String::new(),
        characters: 0,
        cost_micros: 0,
        currency: String::new(),
        duration_ms: 0,
        match_quality: None,
    }
}

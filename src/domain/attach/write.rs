//! Carrying a plan out: the translation's new version, and the slot and selection that go with it.

use super::bind::Base;
use super::{Attach, Decision, Material, Plan, Refusal, Target, Written};
use crate::domain::etag::Etag;
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::provenance::Provenance;
use crate::domain::quality::evidence;
use crate::domain::segment::TextHash;
use crate::domain::time::Stamp;
use crate::domain::translation::{
    Disposition, QualityScore, Slot, State, TranslationHead, TranslationVersion,
};
use crate::domain::version::{Version, VersionKey};
use crate::domain::workflow::Obstacles;

impl Plan {
    /// The newest versions of translations that [`Plan::write`] needs; none where everything is sent.
    pub fn needs(&self, attach: &Attach<'_>) -> impl Iterator<Item = VersionKey> {
        let bases = self.bases.iter().filter_map(|id| {
            let slot = attach.slot?;
            Some((slot, slot.translation(*id)?))
        });
        let copied = bases.filter(|(_, base)| attach.copies_from(base));
        copied.map(|(slot, base)| slot.version_key(base))
    }

    /// The bases in their order, with the texts of those versions that were needed.
    fn bases<'a>(&self, attach: &Attach<'a>, versions: &[&'a TranslationVersion]) -> Vec<Base<'a>> {
        let bases = self.bases.iter().filter_map(|id| attach.slot?.translation(*id));
        let texts = |base: &TranslationHead| versions.iter().find(|version| version.head.id == base.id);
        bases
            .map(|base| {
                let texts = texts(base)
                    .map(|version| version.texts.as_slice())
                    .unwrap_or_default();
                let texts = texts.iter().map(Some).chain(std::iter::repeat(None));
                let segments = base.bindings.iter().zip(texts);
                Base {
                    is_another: self.edits != Some(base.id),
                    segments: segments
                        .map(|(binding, text)| (&binding.id, (binding, text)))
                        .collect(),
                }
            })
            .collect()
    }

    /// Carries the plan out, given the versions that it [`needs`](Self::needs).
    pub fn write(&self, attach: &Attach<'_>, versions: &[&TranslationVersion]) -> Result<Decision, Refusal> {
        let edited = self.edits.and_then(|id| attach.slot?.translation(id));
        let refusal = |obstacles: Obstacles| Refusal::Step(obstacles.refusal(edited.map(|edited| edited.id)));
        let number = edited.map_or(Version::FIRST, |edited| edited.version.next());
        let mut head = TranslationHead {
            id: edited.map_or_else(|| next_id(attach.slot), |edited| edited.id),
            etag: NO_ETAG,
            disposition: edited.map_or_else(|| self.disposition_of_new(attach), |edited| edited.disposition),
            agent: attach.provenance.agent.clone(),
            source_revision: attach.source_revision,
            source_content_hash: attach.source.content_hash(),
            external_uri: String::new(),
            external_state: State::Translated,
            external_reviewed: false,
            bindings: Vec::new(),
            scored: !attach.scores.is_empty() || edited.is_some_and(|edited| edited.scored),
            created: edited.map_or(Stamp::PENDING, |edited| edited.created),
            updated: Stamp::PENDING,
            version: number,
        };
        let mut texts = Vec::new();
        match attach.material {
            Material::Texts(sent) => {
                let merged = attach.merge(sent, &self.bases(attach, versions));
                (head.bindings, texts) = merged.map_err(refusal)?;
            }
            Material::External(uri) => {
                let standing = attach.external(uri, edited).map_err(refusal)?;
                head.external_uri = (*uri).to_owned();
                (head.external_state, head.external_reviewed) = (standing.state, standing.reviewed);
            }
        }
        if let Some(edited) = edited
            && head.says_the_same(edited)
            && attach.scores.is_empty()
        {
            return Ok(Decision::Unchanged(edited.id));
        }
        head.etag = head.etag_of(head.version.number);
        let mut version = TranslationVersion {
            provenance: Provenance {
                segments: head.changed_since(edited),
                state: Some(attach.state),
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
        Ok(self.written(attach, version))
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
                etag: NO_ETAG,
                translations: Vec::new(),
                selection: Version::FIRST,
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
                let next = attach.slot.map_or(Version::FIRST, |slot| slot.selection.next());
                let Provenance { agent, actor, .. } = attach.provenance;
                Some(slot.join(head, next, agent, actor))
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

/// Translations are numbered in the order of their creation and never leave their slot.
fn next_id(slot: Option<&Slot>) -> TranslationId {
    let next = slot.map_or(1, |slot| slot.translations.len() + 1);
    TranslationId(u32::try_from(next).unwrap_or(u32::MAX))
}

/// Stands where an etag is still to come.
const NO_ETAG: Etag = Etag {
    version: 0,
    digest: 0,
};

impl TranslationHead {
    /// Whether a write by the same agent, made from the same revision, left everything as it stood.
    fn says_the_same(&self, before: &Self) -> bool {
        let what = |head: &Self| (head.external_state, head.external_reviewed, head.source_revision);
        self.bindings == before.bindings
            && self.external_uri == before.external_uri
            && what(self) == what(before)
            && self.agent == before.agent
    }

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

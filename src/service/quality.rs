//! Quality: evidence that others bring, and what the store measures by itself.

use std::sync::Arc;

use super::answers::Written;
use super::snapshot::TranslationSnapshot;
use super::transact::Decision;
use super::translations::{TranslationMutation, TranslationName, named};
use super::workflow::check_etag;
use super::{Call, Error, Result, Service};
use crate::domain::access::Shown;
use crate::domain::article::{ArticleId, Head};
use crate::domain::change::{Event, Kind};
use crate::domain::etag::ExpectedEtag;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::provenance::Provenance;
use crate::domain::quality::evidence::{self, Addition, MAX_EVIDENCE_BYTES, QualityIssue, Refusal, Side};
use crate::domain::quality::measure::{
    MAX_CODE_POINTS, Measures, Sources, TooLarge, earlier_revisions, measure,
};
use crate::domain::request::Outcome;
use crate::domain::time::Stamp;
use crate::domain::translation::{Binding, QualityScore, Slot, TranslationHead, TranslationVersion};
use crate::domain::version::Series;
use crate::store::{ArticleState, Batch, Body};

/// Scores and issues to add.
#[derive(Debug, Clone)]
pub struct NewEvidence {
    /// The translation that they speak of.
    pub name: TranslationName,
    /// Scores.
    pub scores: Vec<QualityScore>,
    /// Issues.
    pub issues: Vec<QualityIssue>,
    /// The agent that judged.
    pub provenance: Provenance,
    /// The etag that the translation must have.
    pub etag: Option<ExpectedEtag>,
}

/// A translation with what was measured of it.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The translation.
    pub translation: TranslationSnapshot,
    /// The reference that it was compared with.
    pub reference: Option<TranslationSnapshot>,
    /// What was measured.
    pub measures: Measures,
}

impl TranslationMutation for NewEvidence {
    fn rpc(&self) -> &'static str {
        "AddQualityScores"
    }

    fn article(&self) -> &ArticleId {
        &self.name.article
    }

    fn language(&self) -> &Language {
        &self.name.language
    }

    async fn decide(&self, service: &Service, _: &Call, state: &Arc<ArticleState>) -> Result<Decision> {
        if state.head.current.deleted.is_some() {
            return Err(Error::ArticleDeleted(self.name.article.clone()));
        }
        let (slot, translation) = named(state, &self.name)?;
        check_etag(translation, &slot.language, self.etag.as_ref())?;
        let version = service.decide_add(&state.head, slot, translation, self).await?;
        let changed = |version| Decision::write(scored(state, slot, translation, version), Outcome::Changed);
        Ok(version
            .map_or_else(Decision::unchanged, changed)
            .about(translation.id))
    }
}

impl Service {
    /// Adds scores and issues to a translation.
    pub async fn add_quality_scores(
        &self,
        call: &Call,
        evidence: &NewEvidence,
    ) -> Result<(Written<TranslationSnapshot>, Outcome)> {
        call.may_score(&evidence.name.language)?;
        self.transact(call, evidence).await
    }

    pub(super) async fn decide_add(
        &self,
        head: &Head,
        slot: &Slot,
        translation: &TranslationHead,
        evidence: &NewEvidence,
    ) -> Result<Option<TranslationVersion>> {
        let in_source = |issue: &&QualityIssue| issue.side == Side::Source && issue.range.is_some();
        let marked: Vec<_> = evidence
            .issues
            .iter()
            .filter(in_source)
            .map(|issue| &issue.segment)
            .collect();
        let bindings = translation.bindings.iter();
        let bindings: Vec<_> = bindings
            .filter(|binding| marked.iter().any(|id| id.as_ref() == Some(&binding.id)))
            .collect();
        let bodies = self.source_bodies(head, &bindings).await?;
        let version = self.translation_version(&slot.version_key(translation)).await?;
        let addition = Addition {
            scores: &evidence.scores,
            issues: &evidence.issues,
            provenance: &evidence.provenance,
        };
        let added = evidence::add(translation, &version, &addition, &sources(&bodies));
        added.map_err(|refusal| match refusal {
            Refusal::Invalid(violations) => Error::Invalid(violations),
            Refusal::TooMuch(bytes) => too_much(
                &evidence.name.article,
                &evidence.name.language,
                translation.id,
                bytes,
            ),
        })
    }

    /// Measures a translation against its source, and against another translation if one is named.
    pub async fn measure_translation(
        &self,
        name: &TranslationName,
        reference: Option<TranslationId>,
        shown: Shown,
    ) -> Result<Measured> {
        let state = self.visible(&name.article, shown).await?;
        let (slot, translation) = named(&state, name)?;
        if reference == Some(translation.id) {
            let description = format!("\"{}\" is the translation itself", translation.id);
            return Err(Error::invalid("reference_translation_id", description));
        }
        let reference = reference.map(|id| {
            let id = Some(id);
            named(&state, &TranslationName { id, ..name.clone() }).map(|(_, reference)| reference)
        });
        let reference = reference.transpose()?;
        for head in reference.into_iter().chain([translation]) {
            if head.bindings.is_empty() {
                return Err(Error::TranslationWithoutText {
                    id: name.article.clone(),
                    language: name.language.clone(),
                    translation: head.id,
                });
            }
        }
        let bindings: Vec<_> = translation.bindings.iter().collect();
        let bodies = self.source_bodies(&state.head, &bindings).await?;
        let version = self.translation_version(&slot.version_key(translation)).await?;
        let compared = match reference {
            Some(reference) => Some(self.translation_version(&slot.version_key(reference)).await?),
            None => None,
        };
        // Texts at the limit take some 0.3 s, which must not hold up other calls.
        let measuring = move || measure(&version, &sources(&bodies), compared.as_ref());
        let measures = self.cpu.run(measuring).await?;
        Ok(Measured {
            translation: self.summary(&state, slot, translation.id).await?,
            reference: match reference {
                Some(reference) => Some(self.summary(&state, slot, reference.id).await?),
                None => None,
            },
            measures: measures.map_err(|TooLarge(code_points)| Error::TooLargeToMeasure {
                code_points,
                limit: MAX_CODE_POINTS,
            })?,
        })
    }

    /// The revisions that hold the sources of these targets, as far as they are read: the newest first.
    async fn source_bodies(&self, head: &Head, bindings: &[&Binding]) -> Result<Vec<Arc<Body>>> {
        if bindings.is_empty() {
            return Ok(Vec::new());
        }
        let mut bodies = vec![self.revision_body(head, head.revision()).await?];
        for number in earlier_revisions(bindings.iter().copied(), &head.manifest) {
            bodies.push(self.revision_body(head, number).await?);
        }
        Ok(bodies)
    }
}

/// Refuses a new version that carries more evidence than can be read with it.
pub(super) fn check_room(
    article: &ArticleId,
    language: &Language,
    version: &TranslationVersion,
) -> Result<()> {
    match evidence::bytes(version) {
        bytes if bytes > MAX_EVIDENCE_BYTES => Err(too_much(article, language, version.head.id, bytes)),
        _ => Ok(()),
    }
}

fn too_much(
    article: &ArticleId,
    language: &Language,
    translation: TranslationId,
    size_bytes: usize,
) -> Error {
    Error::TooMuchEvidence {
        id: article.clone(),
        language: language.clone(),
        translation,
        size_bytes,
        limit_bytes: MAX_EVIDENCE_BYTES,
    }
}

fn sources(bodies: &[Arc<Body>]) -> Sources<'_> {
    Sources::new(bodies.iter().filter_map(|body| match &**body {
        Body::Revision(revision) => Some(revision),
        _ => None,
    }))
}

/// The commit that adds evidence to a translation.
pub(super) fn scored(
    state: &ArticleState,
    slot: &Slot,
    translation: &TranslationHead,
    version: TranslationVersion,
) -> Batch {
    let event = Event {
        language: Some(slot.language.clone()),
        etag: Some(translation.etag),
        ..Event::about(&state.head, Kind::TranslationScored(translation.id), None)
    };
    let after = slot.with(&version.head);
    let series = Series::Translation(slot.language.clone(), translation.id);
    let bodies = vec![(series, Body::Translation(version))];
    Batch::of_slot(state, after, bodies, vec![event])
}

impl Slot {
    /// The slot with another state of one of its translations.
    fn with(&self, head: &TranslationHead) -> Self {
        let mut slot = Self {
            version: self.version + 1,
            stamp: Stamp::PENDING,
            ..self.clone()
        };
        for translation in slot.translations.iter_mut().filter(|t| t.id == head.id) {
            *translation = head.clone();
        }
        slot
    }
}

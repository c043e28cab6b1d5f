//! Attaching translations: the texts or the address of one, as a whole or in part.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answers;
use super::quality::check_room;
use super::snapshot::TranslationSnapshot;
use super::transact::Decision;
use super::translations::TranslationMutation;
use super::workflow::{check, check_etag, check_slot_etag, refused};
use super::{Call, Error, Result, Service};
use crate::domain::Violation;
use crate::domain::article::ArticleId;
use crate::domain::attach::{self, Attach, Material, Refusal, Target, TargetTexts, Written};
use crate::domain::capacity::Usage;
use crate::domain::change::{Event, Kind};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::language::Language;
use crate::domain::provenance::Provenance;
use crate::domain::request::Outcome;
use crate::domain::translation::{
    Disposition, MAX_CANDIDATES, MAX_SLOT_SEGMENTS, QualityScore, Slot, State, TranslationVersion,
};
use crate::domain::version::Series;
use crate::store::{ArticleState, Batch, Body};

/// What is attached, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Texts.
    Texts(TargetTexts),
    /// The address of a text that is kept elsewhere.
    External(String),
}

/// A translation to attach.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The article.
    pub article: ArticleId,
    /// The language of the translation.
    pub language: Language,
    /// The source revision that it was made from.
    pub source_revision: u32,
    /// The texts or their address.
    pub sent: Sent,
    /// Which translation is meant.
    pub target: Target,
    /// How far the work got.
    pub state: State,
    /// The author of the text, and the effort.
    pub provenance: Provenance,
    /// Scores of the texts.
    pub scores: Vec<QualityScore>,
    /// The etag that the edited translation must have.
    pub etag: Option<ExpectedEtag>,
    /// The etag that the slot's selection must have.
    pub slot_etag: Option<ExpectedEtag>,
    /// Whether a machine may replace a person's text.
    pub overwrite_human: bool,
}

impl TranslationMutation for Attachment {
    fn rpc(&self) -> &'static str {
        "AttachTranslation"
    }

    fn article(&self) -> &ArticleId {
        &self.article
    }

    fn language(&self) -> &Language {
        &self.language
    }

    async fn decide(&self, service: &Service, _: &Call, state: &Arc<ArticleState>) -> Result<Decision> {
        let slot = state.slots.get(&self.language).map(|slot| &**slot);
        Ok(match service.decide_attach(self, state, slot).await? {
            attach::Decision::Unchanged(id) => Decision::unchanged().about(id),
            attach::Decision::Write(written) => {
                let (id, outcome) = (written.id, written.outcome);
                Decision::write(attaching(state, *written), outcome).about(id)
            }
        })
    }
}

impl Service {
    /// Writes a translation of a named source revision, or a part of one.
    pub async fn attach_translation(
        &self,
        call: &Call,
        attachment: &Attachment,
    ) -> Result<(answers::Written<TranslationSnapshot>, Outcome)> {
        call.may_attach(attachment)?;
        self.transact(call, attachment).await
    }

    async fn decide_attach(
        &self,
        attachment: &Attachment,
        state: &ArticleState,
        slot: Option<&Slot>,
    ) -> Result<attach::Decision> {
        let head = &state.head;
        if head.current.deleted.is_some() {
            return Err(Error::ArticleDeleted(head.id.clone()));
        }
        let revision = attachment.source_revision;
        let mut violations = Vec::new();
        if attachment.language == head.current.metadata.language {
            let description = format!(
                "\"{}\" is the language of the article itself",
                attachment.language
            );
            violations.push(Violation::new("language", description));
        }
        let earlier;
        let source = if revision == head.revision() {
            &head.manifest
        } else {
            earlier = self.manifest(head, revision).await?;
            &earlier
        };
        let material = match &attachment.sent {
            Sent::External(uri) => Material::External(uri),
            Sent::Texts(texts) => match attach::fit(texts, source, revision) {
                Ok(fitted) => Material::Texts(fitted),
                Err(mut misfits) => {
                    violations.append(&mut misfits);
                    return Err(Error::Invalid(violations));
                }
            },
        };
        check_scores(&attachment.scores, &material, &mut violations);
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        check_etags(attachment, slot)?;
        let attach = Attach {
            article: &attachment.article,
            language: &attachment.language,
            slot,
            source_revision: revision,
            source,
            made_from: &BTreeMap::new(),
            material: &material,
            target: attachment.target,
            state: attachment.state,
            self_review: self.self_review,
            overwrite_human: attachment.overwrite_human,
            provenance: &attachment.provenance,
            scores: &attachment.scores,
        };
        let decision = self.plan_and_write(&attach).await?;
        self.fitting(state, decision, &attachment.language)
    }

    /// A decision that leaves the article within its limits.
    pub(super) fn fitting(
        &self,
        state: &ArticleState,
        decision: std::result::Result<attach::Decision, Refusal>,
        language: &Language,
    ) -> Result<attach::Decision> {
        let id = &state.head.id;
        let decision = decision.map_err(|refusal| refuse_attach(refusal, id, language))?;
        if let attach::Decision::Write(written) = &decision {
            let before = usage(state);
            let slot = state.slots.get(language).map(Arc::as_ref);
            let after = before.clone().with_slot(slot, &written.slot);
            let checked = self.capacity.check(&before, &after);
            checked.map_err(|exceeded| Error::ArticleFull {
                id: id.clone(),
                exceeded,
            })?;
        }
        Ok(decision)
    }

    /// What a write makes of a slot. The inner error says why it may not be.
    pub(super) async fn plan_and_write(
        &self,
        attach: &Attach<'_>,
    ) -> Result<std::result::Result<attach::Decision, Refusal>> {
        let plan = match attach::plan(attach) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut versions: Vec<TranslationVersion> = Vec::new();
        for base in plan.needs(attach) {
            versions.push(self.translation_version(&base).await?);
        }
        let decision = plan.write(attach, &versions.iter().collect::<Vec<_>>());
        if let Ok(attach::Decision::Write(written)) = &decision {
            check_room(attach.article, attach.language, &written.version)?;
        }
        Ok(decision)
    }
}

/// What an article takes of its limits.
pub(super) fn usage(state: &ArticleState) -> Usage<'_> {
    Usage::of(state.head.manifest.0.len(), &state.slots, &state.jobs)
}

/// A refused write in the words of the service.
fn refuse_attach(refusal: Refusal, article: &ArticleId, language: &Language) -> Error {
    let (id, language) = (article.clone(), language.clone());
    match refusal {
        Refusal::Step(refusal) => refused(refusal, &id, &language, &[]),
        Refusal::TooManyCandidates => Error::TooManyCandidates {
            id,
            language,
            limit: MAX_CANDIDATES,
            segment_limit: MAX_SLOT_SEGMENTS,
        },
    }
}

/// Scores must speak of texts that are sent.
fn check_scores(scores: &[QualityScore], material: &Material, violations: &mut Vec<Violation>) {
    for (index, score) in scores.iter().enumerate() {
        let Some(id) = &score.segment else { continue };
        if !matches!(material, Material::Texts(texts) if texts.contains_key(id)) {
            let field = format!("quality_scores[{index}].segment_id");
            violations.push(Violation::new(
                field,
                format!("no text is sent for segment \"{id}\""),
            ));
        }
    }
}

/// Whether the caller's etags are those of what it means to edit, which is what it has read, wherever the write goes.
fn check_etags(attachment: &Attachment, slot: Option<&Slot>) -> Result<()> {
    let absent = Etag {
        version: 0,
        digest: 0,
    };
    let meant = slot.and_then(|slot| match attachment.target {
        Target::Existing(id) => slot.translation(id),
        Target::Active => slot.active(),
        Target::NewCandidate => None,
    });
    match meant {
        Some(meant) => check_etag(meant, &attachment.language, attachment.etag.as_ref())?,
        None => check(
            attachment.etag.as_ref(),
            absent,
            format_args!(
                "the active translation into {}, of which there is none,",
                attachment.language
            ),
        )?,
    }
    let current = slot.map_or(absent, |slot| slot.etag);
    check_slot_etag(current, &attachment.language, attachment.slot_etag.as_ref())
}

/// The commit that attaches a translation.
pub(super) fn attaching(state: &ArticleState, written: Written) -> Batch {
    let Written {
        id,
        slot,
        version,
        selection,
        outcome: _,
    } = written;
    let about = |kind| Event {
        language: Some(slot.language.clone()),
        etag: Some(version.head.etag),
        ..Event::about(&state.head, kind, None)
    };
    let written = Series::Translation(slot.language.clone(), id);
    let selections = Series::Selection(slot.language.clone());
    let mut events = vec![about(Kind::TranslationAttached(id))];
    if selection.is_some() && version.head.disposition == Disposition::Active {
        events.push(about(Kind::TranslationSelected(Some(id))));
    }
    let bodies = std::iter::once((written, Body::Translation(version)))
        .chain(selection.map(|selection| (selections, Body::Selection(selection))));
    Batch::of_slot(state, slot, bodies.collect(), events)
}

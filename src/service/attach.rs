//! Attaching translations: the texts or the address of one, as a whole or in part.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answers;
use super::quality::check_room;
use super::snapshot::TranslationSnapshot;
use super::workflow::{check, check_etag, check_slot_etag, refused};
use super::{ATTEMPTS, Call, Error, Result, Service};
use crate::domain::Violation;
use crate::domain::article::{ArticleId, Head};
use crate::domain::attach::{self, Attach, Decision, Material, Refusal, Target, TargetTexts, Written};
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
use crate::store::{ArticleState, Batch, Body, Conflict, Expect, StoreError};

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
    /// Who wrote the text and what it took.
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

const ATTACH: &str = "AttachTranslation";

impl Service {
    /// Writes a translation of a named source revision, or a part of one.
    pub async fn attach_translation(
        &self,
        call: &Call,
        attachment: &Attachment,
    ) -> Result<(answers::Written<TranslationSnapshot>, Outcome)> {
        call.may_attach(attachment)?;
        let (translation, outcome) = match self.try_attach(call, attachment).await {
            Err(error) => match self.carried_out(call, ATTACH).await {
                Some(record) => (self.attached_before(&record).await, record.outcome),
                None => (
                    self.unless_purged(&attachment.article, Err(error)).await,
                    Outcome::Unchanged,
                ),
            },
            Ok((translation, outcome)) => (Ok(translation), outcome),
        };
        Ok((call.written_translation(translation)?, outcome))
    }

    async fn try_attach(
        &self,
        call: &Call,
        attachment: &Attachment,
    ) -> Result<(TranslationSnapshot, Outcome)> {
        let id = &attachment.article;
        let mut turn = self.slot_locks.join(id, &attachment.language).await;
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.earlier(call, ATTACH).await? {
                return Ok((self.attached_before(&record).await?, record.outcome));
            }
            let state = self.translatable(call, id).await?;
            let slot = state.slots.get(&attachment.language);
            let decision = self
                .decide_attach(attachment, &state, slot.map(Arc::as_ref))
                .await?;
            let (batch, slot, written, outcome) = match (decision, slot) {
                (Decision::Unchanged(written), Some(slot)) => {
                    if call.request.is_none() {
                        return Ok((self.summary(&state, slot, written).await?, Outcome::Unchanged));
                    }
                    let expect = vec![
                        Expect::Head(Some(state.head.version())),
                        Expect::Slot(slot.language.clone(), Some(slot.version)),
                    ];
                    let batch = Batch {
                        expect,
                        ..Batch::new(id.clone())
                    };
                    (batch, (**slot).clone(), written, Outcome::Unchanged)
                }
                (Decision::Unchanged(_), None) => {
                    return Err(Error::internal("an absent slot was found unchanged"));
                }
                (Decision::Write(written), slot) => {
                    let after = written.slot.clone();
                    let (id, outcome) = (written.id, written.outcome);
                    (
                        attaching(&state.head, slot.map(Arc::as_ref), *written),
                        after,
                        id,
                        outcome,
                    )
                }
            };
            let translation = Some((attachment.language.clone(), written));
            let batch = Batch {
                request: call.record(ATTACH, id, translation, outcome),
                ..batch
            };
            match self.commit(call, Some(&state), batch).await {
                Ok(stamp) => {
                    let mut slot = slot;
                    slot.resolve(stamp);
                    return Ok((self.summary(&state, &Arc::new(slot), written).await?, outcome));
                }
                Err(StoreError::Conflict(Conflict::Article(_) | Conflict::Slot(..) | Conflict::Request)) => {
                    if turn.is_none() {
                        turn = Some(self.slot_locks.take(id, &attachment.language).await);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contention(id.clone()))
    }

    async fn decide_attach(
        &self,
        attachment: &Attachment,
        state: &ArticleState,
        slot: Option<&Slot>,
    ) -> Result<Decision> {
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
        decision: std::result::Result<Decision, Refusal>,
        language: &Language,
    ) -> Result<Decision> {
        let id = &state.head.id;
        let decision = decision.map_err(|refusal| refuse_attach(refusal, id, language))?;
        if let Decision::Write(written) = &decision {
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
    ) -> Result<std::result::Result<Decision, Refusal>> {
        let plan = match attach::plan(attach) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut versions: Vec<TranslationVersion> = Vec::new();
        for base in plan.needs(attach) {
            versions.push(self.translation_version(&base).await?);
        }
        let decision = plan.write(attach, &versions.iter().collect::<Vec<_>>());
        if let Ok(Decision::Write(written)) = &decision {
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
pub(super) fn attaching(head: &Head, slot: Option<&Slot>, written: Written) -> Batch {
    let Written {
        id,
        slot: after,
        version,
        selection,
        outcome: _,
    } = written;
    let about = |kind| Event {
        language: Some(after.language.clone()),
        etag: Some(version.head.etag),
        ..Event::about(head, kind, None)
    };
    let written = Series::Translation(after.language.clone(), id);
    let selections = Series::Selection(after.language.clone());
    let mut events = vec![about(Kind::TranslationAttached(id))];
    if selection.is_some() && version.head.disposition == Disposition::Active {
        events.push(about(Kind::TranslationSelected(Some(id))));
    }
    Batch {
        expect: vec![
            Expect::Head(Some(head.version())),
            Expect::Slot(after.language.clone(), slot.map(|slot| slot.version)),
        ],
        events,
        bodies: std::iter::once((written, Body::Translation(version)))
            .chain(selection.map(|selection| (selections, Body::Selection(selection))))
            .collect(),
        slots: vec![after],
        ..Batch::new(head.id.clone())
    }
}

//! Translations: attached, read, listed, detached.

use std::sync::Arc;

use super::articles::Moment;
use super::batches::event;
use super::quality::check_room;
use super::snapshot::TranslationSnapshot;
use super::{ATTEMPTS, Call, Error, Result, Service};
use crate::domain::Violation;
use crate::domain::access::{Shown, Visibility};
use crate::domain::article::{ArticleId, Head, Manifest};
use crate::domain::attach::{self, Attach, Decision, Material, Refusal, Target, TargetTexts, Written};
use crate::domain::change::{Event, Kind};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::history::At;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::provenance::Provenance;
use crate::domain::request::{Outcome, RequestRecord};
use crate::domain::time::Timestamp;
use crate::domain::translation::{
    Disposition, MAX_CANDIDATES, MAX_SLOT_SEGMENTS, QualityScore, Slot, State, TranslationHead,
    TranslationVersion,
};
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

/// Names a translation.
#[derive(Debug, Clone)]
pub struct TranslationName {
    /// The article.
    pub article: ArticleId,
    /// The language.
    pub language: Language,
    /// The translation; `None`: the active one.
    pub id: Option<TranslationId>,
}

const ATTACH: &str = "AttachTranslation";
const DETACH: &str = "DetachTranslation";

impl Service {
    /// Writes a translation of a named source revision, or a part of one.
    pub async fn attach_translation(
        &self,
        call: &Call,
        attachment: &Attachment,
    ) -> Result<(TranslationSnapshot, Outcome)> {
        match self.try_attach(call, attachment).await {
            Err(error) => match self.carried_out(call, ATTACH).await {
                Some(record) => Ok((self.attached_before(&record).await?, record.outcome)),
                None => self.unless_purged(&attachment.article, Err(error)).await,
            },
            attached => attached,
        }
    }

    async fn try_attach(
        &self,
        call: &Call,
        attachment: &Attachment,
    ) -> Result<(TranslationSnapshot, Outcome)> {
        let id = &attachment.article;
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
                    check_etags(attachment, slot.map(Arc::as_ref))?;
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
            match self.store.commit(batch).await {
                Ok(stamp) => {
                    let mut slot = slot;
                    slot.resolve(stamp);
                    return Ok((self.summary(&state, &Arc::new(slot), written).await?, outcome));
                }
                Err(StoreError::Conflict(Conflict::Article(_) | Conflict::Slot(..) | Conflict::Request)) => {}
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
        let attach = Attach {
            article: &attachment.article,
            language: &attachment.language,
            slot,
            source_revision: revision,
            source,
            material: &material,
            target: attachment.target,
            state: attachment.state,
            overwrite_human: attachment.overwrite_human,
            provenance: &attachment.provenance,
            scores: &attachment.scores,
        };
        let plan = attach::plan(&attach).map_err(|refusal| refused(&refusal, attachment))?;
        let mut versions: Vec<TranslationVersion> = Vec::new();
        for base in plan.needs(&attach) {
            versions.push(self.translation_version(&base.history.newest).await?);
        }
        let decision = plan.write(&attach, &versions.iter().collect::<Vec<_>>());
        if let Decision::Write(written) = &decision {
            check_room(&attachment.article, &attachment.language, &written.version)?;
        }
        Ok(decision)
    }

    /// An article whose translations the caller may change, deleted or not.
    pub(super) async fn translatable(&self, call: &Call, id: &ArticleId) -> Result<Arc<ArticleState>> {
        let state = self.existing(id).await?;
        match state.head.current.visibility {
            Visibility::Embargoed if !call.scopes.embargoed => Err(Error::ArticleNotFound(id.clone())),
            Visibility::Withheld | Visibility::Canceled => Err(Error::SourceWithheld(id.clone())),
            Visibility::Public | Visibility::Embargoed => Ok(state),
        }
    }

    /// The segments of an earlier revision.
    async fn manifest(&self, head: &Head, revision: u32) -> Result<Manifest> {
        let missing = || Error::RevisionNotFound {
            id: head.id.clone(),
            wanted: Moment::Revision(revision),
            head: head.revision(),
        };
        let version = self
            .find(&head.revisions, At::Number(revision))
            .await?
            .ok_or_else(missing)?;
        Ok(self.revision(&version).await?.content.manifest())
    }

    /// Reads a translation with its texts: the newest against the newest source, against a revision of it, or both as
    /// they were.
    pub async fn get_translation(
        &self,
        name: &TranslationName,
        moment: Moment,
        shown: Shown,
    ) -> Result<TranslationSnapshot> {
        let present = self.visible(&name.article, shown).await?;
        let read = self.translation_at(name, moment, present).await;
        self.unless_purged(&name.article, read).await
    }

    async fn translation_at(
        &self,
        name: &TranslationName,
        moment: Moment,
        present: Arc<ArticleState>,
    ) -> Result<TranslationSnapshot> {
        let state = match moment {
            Moment::Now | Moment::Time(_) => self.at(&present, moment).await?,
            Moment::Revision(number) if number == present.head.revision() => present,
            Moment::Revision(_) => {
                let then = self.at(&present, moment).await?;
                Arc::new(ArticleState {
                    head: then.head.clone(),
                    slots: present.slots.clone(),
                })
            }
        };
        let missing = || Error::TranslationNotFound {
            id: name.article.clone(),
            language: name.language.clone(),
            translation: name.id,
        };
        let slot = state.slots.get(&name.language).ok_or_else(missing)?;
        let found = match name.id {
            Some(id) => slot.translation(id),
            None => slot.active(),
        };
        let head = found.ok_or_else(missing)?;
        let mut snapshot = self.translation_snapshot(&state, slot, head).await?;
        snapshot.version = Some(self.body(&head.history.newest).await?);
        Ok(snapshot)
    }

    /// Lists the translations of an article without texts, by language and id.
    pub async fn list_translations(
        &self,
        article: &ArticleId,
        language: Option<&Language>,
        show_withdrawn: bool,
        as_of: Option<Timestamp>,
        shown: Shown,
    ) -> Result<Vec<TranslationSnapshot>> {
        let state = self.visible(article, shown).await?;
        let state = self.at(&state, as_of.map_or(Moment::Now, Moment::Time)).await;
        let state = self.unless_purged(article, state).await?;
        let mut listed = Vec::new();
        for slot in state
            .slots
            .values()
            .filter(|slot| language.is_none_or(|language| slot.language == *language))
        {
            for head in &slot.translations {
                if show_withdrawn || head.disposition != Disposition::Withdrawn {
                    listed.push(self.translation_snapshot(&state, slot, head).await?);
                }
            }
        }
        Ok(listed)
    }

    /// Withdraws a translation.
    pub async fn detach_translation(
        &self,
        call: &Call,
        name: &TranslationName,
        expected: Option<&ExpectedEtag>,
    ) -> Result<TranslationSnapshot> {
        match self.try_detach(call, name, expected).await {
            Err(error) => match self.carried_out(call, DETACH).await {
                Some(record) => self.attached_before(&record).await,
                None => Err(error),
            },
            detached => detached,
        }
    }

    async fn try_detach(
        &self,
        call: &Call,
        name: &TranslationName,
        expected: Option<&ExpectedEtag>,
    ) -> Result<TranslationSnapshot> {
        let missing = || Error::TranslationNotFound {
            id: name.article.clone(),
            language: name.language.clone(),
            translation: name.id,
        };
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.earlier(call, DETACH).await? {
                return self.attached_before(&record).await;
            }
            let state = self.translatable(call, &name.article).await?;
            if state.head.current.deleted.is_some() {
                return Err(Error::ArticleNotFound(name.article.clone()));
            }
            let slot = state.slots.get(&name.language).ok_or_else(missing)?;
            let id = name
                .id
                .or_else(|| slot.active().map(|active| active.id))
                .ok_or_else(missing)?;
            let translation = slot.translation(id).ok_or_else(missing)?;
            let mut batch = Batch {
                expect: vec![
                    Expect::Head(Some(state.head.version())),
                    Expect::Slot(slot.language.clone(), Some(slot.version)),
                ],
                ..Batch::new(name.article.clone())
            };
            let mut after = (**slot).clone();
            let mut outcome = Outcome::Unchanged;
            if let Some((detached, selection)) = slot.detach(id, call.actor.clone()) {
                check_etag(translation, &slot.language, expected)?;
                batch.events = detach_events(&state.head, slot, translation);
                batch.bodies = vec![Body::Selection(selection)];
                batch.slots = vec![detached.clone()];
                (after, outcome) = (detached, Outcome::Changed);
            } else if call.request.is_none() {
                return self.summary(&state, slot, id).await;
            }
            batch.request = call.record(DETACH, &name.article, Some((name.language.clone(), id)), outcome);
            match self.store.commit(batch).await {
                Ok(stamp) => {
                    after.resolve(stamp);
                    return self.summary(&state, &Arc::new(after), id).await;
                }
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contention(name.article.clone()))
    }

    /// A translation of a slot without its texts.
    pub(super) async fn summary(
        &self,
        state: &ArticleState,
        slot: &Arc<Slot>,
        id: TranslationId,
    ) -> Result<TranslationSnapshot> {
        let head = slot
            .translation(id)
            .ok_or_else(|| Error::internal("a translation that was written is missing"))?;
        self.translation_snapshot(state, slot, head).await
    }

    /// What was answered first.
    pub(super) async fn attached_before(&self, record: &RequestRecord) -> Result<TranslationSnapshot> {
        let state = self.existing(&record.article).await?;
        let state = self.at(&state, Moment::Time(record.stamp.time)).await?;
        let lost = || Error::internal("a recorded request names no translation");
        let (language, id) = record.translation.as_ref().ok_or_else(lost)?;
        self.summary(&state, state.slots.get(language).ok_or_else(lost)?, *id)
            .await
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

fn refused(refusal: &Refusal, attachment: &Attachment) -> Error {
    let (id, language) = (attachment.article.clone(), attachment.language.clone());
    match *refusal {
        Refusal::NoSuchTranslation(translation) => Error::TranslationNotFound {
            id,
            language,
            translation: Some(translation),
        },
        Refusal::Withdrawn(translation) => Error::IllegalTransition(format!(
            "translation \"{translation}\" of article \"{id}\" into {language} is withdrawn; attach a new one"
        )),
        Refusal::OwnReview(state) => Error::IllegalTransition(format!(
            "an author cannot attach a text as {state:?}: a state above Translated needs another person"
        )),
        Refusal::TooManyCandidates => Error::TooManyCandidates {
            id,
            language,
            limit: MAX_CANDIDATES,
            segment_limit: MAX_SLOT_SEGMENTS,
        },
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
    let current = meant.map_or(absent, |meant| meant.etag);
    if let Some(expected) = attachment.etag.as_ref().filter(|etag| !etag.matches(current)) {
        let what = match meant {
            Some(meant) => format!("translation \"{}\" into {}", meant.id, attachment.language),
            None => format!(
                "the active translation into {}, of which there is none,",
                attachment.language
            ),
        };
        return Err(Error::EtagMismatch {
            what,
            expected: expected.clone(),
            current,
        });
    }
    let current = slot.map_or(absent, |slot| slot.etag);
    match &attachment.slot_etag {
        Some(expected) if !expected.matches(current) => Err(Error::EtagMismatch {
            what: format!("the selection of translations into {}", attachment.language),
            expected: expected.clone(),
            current,
        }),
        _ => Ok(()),
    }
}

pub(super) fn check_etag(
    translation: &TranslationHead,
    language: &Language,
    expected: Option<&ExpectedEtag>,
) -> Result<()> {
    match expected {
        Some(expected) if !expected.matches(translation.etag) => Err(Error::EtagMismatch {
            what: format!("translation \"{}\" into {language}", translation.id),
            expected: expected.clone(),
            current: translation.etag,
        }),
        _ => Ok(()),
    }
}

/// The commit that attaches a translation.
fn attaching(head: &Head, slot: Option<&Slot>, written: Written) -> Batch {
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
        ..event(head, kind, None)
    };
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
        bodies: std::iter::once(Body::Translation(version))
            .chain(selection.map(Body::Selection))
            .collect(),
        slots: vec![after],
        ..Batch::new(head.id.clone())
    }
}

fn detach_events(head: &Head, slot: &Slot, translation: &TranslationHead) -> Vec<Event> {
    let about = |kind| Event {
        language: Some(slot.language.clone()),
        etag: Some(translation.etag),
        ..event(head, kind, None)
    };
    let mut events = vec![about(Kind::TranslationDetached(translation.id))];
    if translation.disposition == Disposition::Active {
        events.push(about(Kind::TranslationSelected(None)));
    }
    events
}

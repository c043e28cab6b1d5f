//! Steps of the workflow: reviews, acknowledgements, and the selection of the translation that is served.
//!
//! The etag is compared first, then whether anything differs, and only then whether the step is allowed, because a caller
//! that has not read what is there cannot know why the step is refused.

use std::fmt;
use std::sync::Arc;

use super::answers::Written;
use super::snapshot::TranslationSnapshot;
use super::transact::Decision;
use super::translations::{TranslationMutation, TranslationName, named};
use super::{Call, Error, Result, Service};
use crate::domain::Violation;
use crate::domain::access::Right;
use crate::domain::article::ArticleId;
use crate::domain::change::{Event, Kind};
use crate::domain::etag::{Etag, ExpectedEtag};
use crate::domain::ids::SegmentId;
use crate::domain::language::Language;
use crate::domain::provenance::Provenance;
use crate::domain::request::Outcome;
use crate::domain::review;
use crate::domain::selection::Decided;
use crate::domain::translation::{Disposition, Selection, Slot, State, TranslationHead};
use crate::domain::version::Series;
use crate::domain::workflow::{Obstacle, Refusal};
use crate::store::{ArticleState, Batch, Body};

/// A review of a translation.
#[derive(Debug, Clone)]
pub struct Review {
    /// The translation.
    pub name: TranslationName,
    /// The segments; empty: all that have a target.
    pub segments: Vec<SegmentId>,
    /// The state to bring them to.
    pub to: State,
    /// The reviewer, and the reason.
    pub provenance: Provenance,
    /// The etag of the text that was read.
    pub etag: ExpectedEtag,
}

/// The declaration that targets hold for another source text.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    /// The translation.
    pub name: TranslationName,
    /// The segments; empty: all that have a target.
    pub segments: Vec<SegmentId>,
    /// The source revision.
    pub source_revision: u32,
    /// The agent that declares it, and the reason.
    pub provenance: Provenance,
    /// The etag of the text that was read.
    pub etag: ExpectedEtag,
}

/// A decision on which translation is served.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The translation.
    pub name: TranslationName,
    /// The agent that decides, and the reason.
    pub decided: Decided,
    /// The etag that must hold: of the slot for a selection, else of the translation.
    pub etag: Option<ExpectedEtag>,
}

/// A step.
#[derive(Clone, Copy)]
enum Change<'a> {
    Review(&'a Review),
    Acknowledge(&'a Acknowledgement),
    Select(&'a Choice),
    Reject(&'a Choice),
    Detach(&'a Choice),
}

impl Service {
    /// Brings segments of a translation to a state.
    pub async fn review_translation(
        &self,
        call: &Call,
        review: &Review,
    ) -> Result<Written<TranslationSnapshot>> {
        call.may_review(review)?;
        self.take_step(call, &Change::Review(review)).await
    }

    /// Declares that targets hold for the source at another revision.
    pub async fn acknowledge_source(
        &self,
        call: &Call,
        acknowledgement: &Acknowledgement,
    ) -> Result<Written<TranslationSnapshot>> {
        call.may(Right::Translate, Some(&acknowledgement.name.language))?;
        self.take_step(call, &Change::Acknowledge(acknowledgement)).await
    }

    /// Chooses the translation that is served.
    pub async fn select_translation(
        &self,
        call: &Call,
        choice: &Choice,
    ) -> Result<Written<TranslationSnapshot>> {
        call.may(Right::Publish, Some(&choice.name.language))?;
        self.take_step(call, &Change::Select(choice)).await
    }

    /// FairLocks a translation down.
    pub async fn reject_translation(
        &self,
        call: &Call,
        choice: &Choice,
    ) -> Result<Written<TranslationSnapshot>> {
        call.may(Right::Review, Some(&choice.name.language))?;
        self.take_step(call, &Change::Reject(choice)).await
    }

    /// Withdraws a translation.
    pub async fn detach_translation(
        &self,
        call: &Call,
        choice: &Choice,
    ) -> Result<Written<TranslationSnapshot>> {
        call.may(Right::Review, Some(&choice.name.language))?;
        self.take_step(call, &Change::Detach(choice)).await
    }

    /// What a step makes of a translation; `None` if nothing differs.
    async fn decide_step(
        &self,
        change: Change<'_>,
        state: &ArticleState,
        slot: &Slot,
        translation: &TranslationHead,
    ) -> Result<Option<Batch>> {
        let id = translation.id;
        let refused = |refusal| refused(refusal, &slot.article, &slot.language, change.segments());
        let revised = match change {
            Change::Review(review) => {
                let review = review::Review {
                    segments: &review.segments,
                    to: review.to,
                    self_review: self.self_review,
                    provenance: &review.provenance,
                };
                review::review(slot, id, &review).map_err(refused)?
            }
            Change::Acknowledge(acknowledgement) => {
                let revision = acknowledgement.source_revision;
                let acknowledgement = review::Acknowledgement {
                    segments: &acknowledgement.segments,
                    source_revision: revision,
                    source: &self.manifest(&state.head, revision).await?,
                    provenance: &acknowledgement.provenance,
                };
                review::acknowledge(slot, id, &acknowledgement).map_err(refused)?
            }
            Change::Select(choice) => {
                let selected = slot.select(id, choice.decided.clone()).map_err(refused)?;
                return Ok(selected.map(|selected| change.selected(state, translation, selected)));
            }
            Change::Reject(choice) => {
                let rejected = slot.reject(id, choice.decided.clone()).map_err(refused)?;
                return Ok(rejected.map(|rejected| change.selected(state, translation, rejected)));
            }
            Change::Detach(choice) => {
                let detached = slot.detach(id, choice.decided.clone()).map_err(refused)?;
                return Ok(detached.map(|detached| change.selected(state, translation, detached)));
            }
        };
        let Some(revised) = revised else { return Ok(None) };
        let newest = self
            .translation_version(&slot.version_key(revised.needs()))
            .await?;
        let (slot, version) = revised.write(slot, &newest);
        let events = vec![Event {
            language: Some(slot.language.clone()),
            etag: Some(version.head.etag),
            ..Event::about(&state.head, change.kind(translation), None)
        }];
        let series = Series::Translation(slot.language.clone(), translation.id);
        Ok(Some(Batch::of_slot(
            state,
            slot,
            vec![(series, Body::Translation(version))],
            events,
        )))
    }

    async fn take_step(&self, call: &Call, change: &Change<'_>) -> Result<Written<TranslationSnapshot>> {
        let (written, _) = self.transact(call, change).await?;
        Ok(written)
    }
}

impl TranslationMutation for Change<'_> {
    fn rpc(&self) -> &'static str {
        match self {
            Self::Review(_) => "ReviewTranslation",
            Self::Acknowledge(_) => "AcknowledgeSource",
            Self::Select(_) => "SelectTranslation",
            Self::Reject(_) => "RejectTranslation",
            Self::Detach(_) => "DetachTranslation",
        }
    }

    fn article(&self) -> &ArticleId {
        &self.name().article
    }

    fn language(&self) -> &Language {
        &self.name().language
    }

    async fn decide(&self, service: &Service, _: &Call, state: &Arc<ArticleState>) -> Result<Decision> {
        let name = self.name();
        if state.head.current.deleted.is_some() {
            return Err(Error::ArticleNotFound(name.article.clone()));
        }
        let (slot, translation) = named(state, name)?;
        self.check_etag(slot, translation)?;
        let batch = service.decide_step(*self, state, slot, translation).await?;
        let changed = |batch| Decision::write(batch, Outcome::Changed);
        Ok(batch
            .map_or_else(Decision::unchanged, changed)
            .about(translation.id))
    }
}

impl Change<'_> {
    fn name(&self) -> &TranslationName {
        match self {
            Self::Review(review) => &review.name,
            Self::Acknowledge(acknowledgement) => &acknowledgement.name,
            Self::Select(choice) | Self::Reject(choice) | Self::Detach(choice) => &choice.name,
        }
    }

    /// The segments that the caller named.
    fn segments(&self) -> &[SegmentId] {
        match self {
            Self::Review(review) => &review.segments,
            Self::Acknowledge(acknowledgement) => &acknowledgement.segments,
            Self::Select(_) | Self::Reject(_) | Self::Detach(_) => &[],
        }
    }

    fn check_etag(&self, slot: &Slot, translation: &TranslationHead) -> Result<()> {
        match self {
            Self::Review(Review { etag, .. }) | Self::Acknowledge(Acknowledgement { etag, .. }) => {
                check_etag(translation, &slot.language, Some(etag))
            }
            Self::Select(choice) => check_slot_etag(slot.etag, &slot.language, choice.etag.as_ref()),
            Self::Reject(choice) | Self::Detach(choice) => {
                check_etag(translation, &slot.language, choice.etag.as_ref())
            }
        }
    }

    fn kind(&self, translation: &TranslationHead) -> Kind {
        match self {
            Self::Review(_) => Kind::TranslationReviewed(translation.id),
            Self::Acknowledge(_) => Kind::TranslationAcknowledged(translation.id),
            Self::Select(_) => Kind::TranslationSelected(Some(translation.id)),
            Self::Reject(_) => Kind::TranslationRejected(translation.id),
            Self::Detach(_) => Kind::TranslationDetached(translation.id),
        }
    }

    /// A new selection. Where the translation that was served is served no longer, that is an event of its own.
    fn selected(
        &self,
        state: &ArticleState,
        translation: &TranslationHead,
        (slot, selection): (Slot, Selection),
    ) -> Batch {
        let about = |kind| Event {
            language: Some(slot.language.clone()),
            etag: Some(translation.etag),
            ..Event::about(&state.head, kind, None)
        };
        let mut events = vec![about(self.kind(translation))];
        if translation.disposition == Disposition::Active {
            events.push(about(Kind::TranslationSelected(None)));
        }
        let series = Series::Selection(slot.language.clone());
        let bodies = vec![(series, Body::Selection(selection))];
        Batch::of_slot(state, slot, bodies, events)
    }
}

/// A refusal in the words of the service. `segments` are those that the caller named.
pub(super) fn refused(
    refusal: Refusal,
    article: &ArticleId,
    language: &Language,
    segments: &[SegmentId],
) -> Error {
    let (id, language) = (article.clone(), language.clone());
    let illegal = |translation, segments, problem| Error::IllegalTransition {
        id: id.clone(),
        language: language.clone(),
        translation,
        segments,
        problem,
    };
    let wrong = |ids: &[SegmentId], problem: &str| {
        let named = segments.iter().enumerate().filter(|(_, id)| ids.contains(id));
        Error::Invalid(
            named
                .map(|(index, id)| {
                    Violation::new(
                        format!("segment_ids[{index}]"),
                        format!("segment \"{id}\" {problem}"),
                    )
                })
                .collect(),
        )
    };
    match refusal {
        Refusal::NoSuchTranslation(translation) => Error::TranslationNotFound {
            id,
            language,
            translation: Some(translation),
        },
        Refusal::Closed(translation, disposition) => {
            let how = match disposition {
                Disposition::Withdrawn => "withdrawn",
                _ => "rejected",
            };
            let problem = format!("it is {how} for good; attach a new one");
            illegal(Some(translation), Vec::new(), problem)
        }
        Refusal::Obstacle(translation, Obstacle::OwnText, segments) => illegal(
            translation,
            segments,
            "a state above TRANSLATED needs another person or tool than the one that wrote the text"
                .to_owned(),
        ),
        Refusal::Obstacle(Some(translation), Obstacle::NeedsPerson, segments) => Error::PersonRequired {
            id,
            language,
            translation,
            segments,
        },
        Refusal::Obstacle(translation, Obstacle::NeedsPerson, segments) => {
            illegal(translation, segments, "only a person may say this".to_owned())
        }
        Refusal::Obstacle(_, Obstacle::NeedsReason, _) => {
            Error::invalid("reason", "is required where a state is lowered")
        }
        Refusal::NoTarget(ids) => wrong(&ids, "has no target in this translation"),
        Refusal::NotInRevision(ids) => wrong(&ids, "is not in this revision of the source"),
        Refusal::Outrun(translation, revision) => {
            let problem =
                format!("it is bound to revision {revision} already; acknowledge that one or a later one");
            illegal(Some(translation), Vec::new(), problem)
        }
    }
}

/// Whether the caller's etag is that of a translation.
pub(super) fn check_etag(
    translation: &TranslationHead,
    language: &Language,
    expected: Option<&ExpectedEtag>,
) -> Result<()> {
    let what = format_args!("translation \"{}\" into {language}", translation.id);
    check(expected, translation.etag, what)
}

/// Whether the caller's etag is that of a slot's selection.
pub(super) fn check_slot_etag(
    current: Etag,
    language: &Language,
    expected: Option<&ExpectedEtag>,
) -> Result<()> {
    let what = format_args!("the selection of translations into {language}");
    check(expected, current, what)
}

/// Whether an etag is the current one of something.
pub(super) fn check(expected: Option<&ExpectedEtag>, current: Etag, what: fmt::Arguments<'_>) -> Result<()> {
    match expected {
        Some(expected) if !expected.matches(current) => Err(Error::EtagMismatch {
            what: what.to_string(),
            expected: expected.clone(),
            current: Some(current),
        }),
        _ => Ok(()),
    }
}

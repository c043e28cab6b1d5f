//! Translations: read and listed.

use std::sync::Arc;

use super::answers::Written;
use super::snapshot::TranslationSnapshot;
use super::transact::{Decision, Effect, Mutation};
use super::view::{Moment, PAGE_BYTES};
use super::{Call, Error, Result, Service};
use crate::domain::access::{Shown, Visibility};
use crate::domain::article::ArticleId;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::request::Outcome;
use crate::domain::time::Timestamp;
use crate::domain::translation::{Disposition, Slot, TranslationHead};
use crate::store::ArticleState;

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

/// What of a translation is answered beside its summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Texts, scores and issues.
    All,
    /// The texts.
    Texts,
    /// Scores and issues.
    Evidence,
}

/// A translation as it is answered.
#[derive(Debug, Clone)]
pub struct ReadTranslation {
    /// The translation.
    pub translation: TranslationSnapshot,
    /// What of it is answered.
    pub parts: Parts,
}

/// The place of a translation in a list.
pub type TranslationPlace = (Language, TranslationId);

/// Which translations of an article are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFilter {
    /// Those into this language; `None`: all.
    pub language: Option<Language>,
    /// Withdrawn ones too.
    pub show_withdrawn: bool,
    /// As they were at this time; `None`: as they are.
    pub as_of: Option<Timestamp>,
    /// Those of hidden articles too.
    pub shown: Shown,
}

impl ListFilter {
    fn of<'a>(&self, state: &'a ArticleState) -> impl Iterator<Item = (&'a Arc<Slot>, &'a TranslationHead)> {
        let language = |slot: &&Arc<Slot>| self.language.as_ref().is_none_or(|tag| slot.language == *tag);
        let slots = state.slots.values().filter(language);
        let all = slots.flat_map(|slot| slot.translations.iter().map(move |head| (slot, head)));
        all.filter(|(_, head)| self.show_withdrawn || head.disposition != Disposition::Withdrawn)
    }
}

impl TranslationName {
    /// That there is none.
    pub(super) fn missing(&self) -> Error {
        Error::TranslationNotFound {
            id: self.article.clone(),
            language: self.language.clone(),
            translation: self.id,
        }
    }
}

/// The translation that is named, with its slot.
pub(super) fn named<'a>(
    state: &'a ArticleState,
    name: &TranslationName,
) -> Result<(&'a Arc<Slot>, &'a TranslationHead)> {
    let slot = state.slots.get(&name.language).ok_or_else(|| name.missing())?;
    let found = match name.id {
        Some(id) => slot.translation(id),
        None => slot.active(),
    };
    Ok((slot, found.ok_or_else(|| name.missing())?))
}

/// A change of one translation, or of which one is served.
pub(super) trait TranslationMutation: Sync {
    /// The name that its requests are recorded under.
    fn rpc(&self) -> &'static str;

    /// The article.
    fn article(&self) -> &ArticleId;

    /// The language of the translation.
    fn language(&self) -> &Language;

    /// Decides on an article whose translations the caller may change. It may be deleted.
    fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: &Arc<ArticleState>,
    ) -> impl Future<Output = Result<Decision>> + Send;
}

impl<M: TranslationMutation> Mutation for M {
    type Detail = ();
    type Answer = (Written<TranslationSnapshot>, Outcome);

    fn rpc(&self) -> Option<&'static str> {
        Some(TranslationMutation::rpc(self))
    }

    fn article(&self) -> &ArticleId {
        TranslationMutation::article(self)
    }

    fn language(&self) -> Option<&Language> {
        Some(TranslationMutation::language(self))
    }

    async fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> Result<Decision> {
        let id = TranslationMutation::article(self);
        let state = service.translatable(call, id, state).await?;
        TranslationMutation::decide(self, service, call, state).await
    }

    async fn answer(&self, service: &Service, call: &Call, effect: Effect) -> Result<Self::Answer> {
        let (state, visibility) = effect.state(service).await?;
        let slot = state.slots.get(TranslationMutation::language(self));
        let (slot, id) = slot
            .zip(effect.translation)
            .ok_or_else(|| Error::internal("a write concerned no translation"))?;
        let after = TranslationSnapshot {
            visibility,
            ..service.summary(&state, slot, id).await?
        };
        Ok((call.written(after, visibility), effect.outcome))
    }
}

impl Service {
    /// Reads a translation: the newest against the newest source, against a revision of it, or both as they were. Scores and
    /// issues that do not fit into an answer beside the texts are left out.
    pub async fn get_translation(
        &self,
        name: &TranslationName,
        moment: Moment,
        shown: Shown,
        wanted: Parts,
    ) -> Result<ReadTranslation> {
        let present = self.visible(&name.article, shown).await?;
        let translation = self.translation_at(name, moment, present).await?;
        let parts = match wanted {
            Parts::All if translation.max_bytes() > PAGE_BYTES => Parts::Texts,
            wanted => wanted,
        };
        Ok(ReadTranslation { translation, parts })
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
                    jobs: present.jobs.clone(),
                })
            }
        };
        let (slot, head) = named(&state, name)?;
        let mut snapshot = self.translation_snapshot(&state, slot, head).await?;
        snapshot.version = Some(self.version(&slot.version_key(head)).await?);
        Ok(snapshot)
    }

    /// Lists the translations of an article without texts, by language and id, after a place, and says where the next page
    /// begins.
    pub async fn list_translations(
        &self,
        article: &ArticleId,
        filter: &ListFilter,
        after: Option<&TranslationPlace>,
        page_size: usize,
    ) -> Result<(Vec<TranslationSnapshot>, Option<TranslationPlace>)> {
        let state = self.visible(article, filter.shown).await?;
        let moment = filter.as_of.map_or(Moment::Now, Moment::Time);
        let state = self.at(&state, moment).await?;
        let is_next = |slot: &Slot, head: &TranslationHead| {
            after.is_none_or(|(language, id)| (&slot.language, head.id) > (language, *id))
        };
        let wanted = filter.of(&state).filter(|(slot, head)| is_next(slot, head));
        // One more than the page, to know whether there is more.
        let wanted: Vec<_> = wanted.take(page_size.saturating_add(1)).collect();
        let (mut listed, mut bytes, mut last) = (Vec::new(), 0, None);
        for snapshot in self.translation_snapshots(&state, &wanted).await? {
            bytes += snapshot.summary_bytes();
            if listed.len() == page_size || bytes > PAGE_BYTES && !listed.is_empty() {
                return Ok((listed, last));
            }
            last = Some((snapshot.slot.language.clone(), snapshot.head.id));
            listed.push(snapshot);
        }
        Ok((listed, None))
    }

    /// An article as it was read, if the caller may change its translations. It may be deleted.
    pub(super) async fn translatable<'a>(
        &self,
        call: &Call,
        id: &ArticleId,
        state: Option<&'a Arc<ArticleState>>,
    ) -> Result<&'a Arc<ArticleState>> {
        let Some(state) = state else {
            return Err(self.absent(id).await);
        };
        match state.head.current.visibility {
            hidden if !call.caller.reach.covers(hidden) => Err(Error::ArticleNotFound(id.clone())),
            Visibility::Embargoed if !call.caller.reach.embargoed => Err(Error::ArticleNotFound(id.clone())),
            Visibility::Withheld | Visibility::Canceled => Err(Error::SourceWithheld(id.clone())),
            Visibility::Public | Visibility::Embargoed => Ok(state),
        }
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

    /// An id, if the caller may read the article.
    pub(super) async fn readable_id(&self, call: &Call, id: ArticleId) -> Result<Option<ArticleId>> {
        let state = self.state(&id).await?;
        let is_readable = state.is_some_and(|state| call.reads(state.head.current.visibility));
        Ok(is_readable.then_some(id))
    }
}

//! The write path: optimistic concurrency control for every change of one article.
//!
//! A mutation is decided on the state that was read, committed as data with preconditions, and decided again if a
//! precondition no longer holds. To callers the order is: a recorded request gives its first answer, then etags are
//! compared, and only then is looked whether anything differs. The record of a request is read only where it can matter:
//! when a commit meets it, and before a call fails, because what stands in the way may be that very request's effect.

use std::sync::Arc;

use super::{Call, Error, Result, Service};
use crate::domain::access::{Visibility, visibility_again};
use crate::domain::article::ArticleId;
use crate::domain::change::Event;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::request::{Outcome, RequestRecord};
use crate::domain::translation::Slot;
use crate::domain::version::Series;
use crate::store::{ArticleState, Batch, Body, Conflict, Expect, StoreError};

/// How often a decision is made again before the call gives up with [`Error::Contention`].
pub(super) const ATTEMPTS: usize = 16;

/// A change of one article.
pub(super) trait Mutation: Sync {
    /// What the answer needs of the decision, beside the state after it.
    type Detail: Default + Send;
    /// The answer.
    type Answer: Send;

    /// The name that its requests are recorded under; `None`: a retry is recognized otherwise.
    fn rpc(&self) -> Option<&'static str> {
        None
    }

    /// The article.
    fn article(&self) -> &ArticleId;

    /// The translations that it writes. Calls that write the same ones retry in the order of their arrival.
    fn language(&self) -> Option<&Language> {
        None
    }

    /// Whether an alias that is taken leads to the article to change. Else it is an error.
    fn follows_aliases(&self) -> bool {
        false
    }

    /// Reads the article.
    fn read(
        &self,
        service: &Service,
        _: &Call,
    ) -> impl Future<Output = Result<Option<Arc<ArticleState>>>> + Send {
        service.state(self.article())
    }

    /// Decides what the mutation makes of a state: etags first, then whether anything differs.
    fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> impl Future<Output = Result<Decision<Self::Detail>>> + Send;

    /// The answer, now or to a retry.
    fn answer(
        &self,
        service: &Service,
        call: &Call,
        effect: Effect<Self::Detail>,
    ) -> impl Future<Output = Result<Self::Answer>> + Send;
}

/// What a mutation makes of the state that it was decided on.
pub(super) struct Decision<D = ()> {
    /// What to commit; `None`: nothing differs.
    pub(super) batch: Option<Batch>,
    /// What becomes of it.
    pub(super) outcome: Outcome,
    /// The translation that it concerns.
    pub(super) translation: Option<TranslationId>,
    /// What the answer needs beside the state.
    pub(super) detail: D,
}

impl<D: Default> Decision<D> {
    /// That nothing differs.
    pub(super) fn unchanged() -> Self {
        Self {
            batch: None,
            outcome: Outcome::Unchanged,
            translation: None,
            detail: D::default(),
        }
    }

    /// That something is to be written.
    pub(super) fn write(batch: Batch, outcome: Outcome) -> Self {
        Self {
            batch: Some(batch),
            outcome,
            ..Self::unchanged()
        }
    }

    /// The same about a translation.
    pub(super) fn about(self, translation: TranslationId) -> Self {
        Self {
            translation: Some(translation),
            ..self
        }
    }
}

/// What a mutation came to, now or when its request was carried out.
pub(super) struct Effect<D = ()> {
    article: ArticleId,
    /// The article right after it, with the stricter of its visibilities then and now; `None` if it is gone.
    state: Option<(Arc<ArticleState>, Visibility)>,
    /// The bodies that it wrote just now.
    pub(super) bodies: Vec<Arc<Body>>,
    /// What became of it.
    pub(super) outcome: Outcome,
    /// The translation that it concerns.
    pub(super) translation: Option<TranslationId>,
    /// What the answer needs beside the state.
    pub(super) detail: D,
}

impl<D> Effect<D> {
    /// The article right after it, with the stricter of its visibilities then and now.
    pub(super) async fn state(&self, service: &Service) -> Result<(Arc<ArticleState>, Visibility)> {
        match &self.state {
            Some((state, visibility)) => Ok((state.clone(), *visibility)),
            None => Err(service.absent(&self.article).await),
        }
    }
}

impl Batch {
    /// A batch on the article as it was read, and on its translations into a language if one is named.
    pub(super) fn on(state: &ArticleState, language: Option<&Language>) -> Self {
        let head = Expect::Head(Some(state.head.version()));
        let slot = language.map(|language| state.expect_slot(language));
        Self {
            expect: std::iter::once(head).chain(slot).collect(),
            ..Self::new(state.head.id.clone())
        }
    }

    /// A batch on there being no such article.
    fn absent(article: &ArticleId) -> Self {
        Self {
            expect: vec![Expect::Head(None)],
            ..Self::new(article.clone())
        }
    }

    /// The batch that writes a slot together with new versions of its parts.
    pub(super) fn of_slot(
        state: &ArticleState,
        slot: Slot,
        bodies: Vec<(Series, Body)>,
        events: Vec<Event>,
    ) -> Self {
        let on = Self::on(state, Some(&slot.language));
        Self {
            slots: vec![Arc::new(slot)],
            bodies,
            events,
            ..on
        }
    }
}

impl ArticleState {
    /// That the translations into a language are as they were read.
    pub(super) fn expect_slot(&self, language: &Language) -> Expect {
        let slot = self.slots.get(language);
        Expect::Slot(language.clone(), slot.map(|slot| slot.version))
    }
}

impl Service {
    /// Carries out a mutation.
    pub(super) async fn transact<M: Mutation>(&self, call: &Call, mutation: &M) -> Result<M::Answer> {
        match self.attempt(call, mutation).await {
            Err(error) => match self.recorded(call, mutation).await? {
                Some(record) => self.answer_again(call, mutation, record).await,
                None => Err(call.conceal(error)),
            },
            done => done,
        }
    }

    async fn attempt<M: Mutation>(&self, call: &Call, mutation: &M) -> Result<M::Answer> {
        let (article, language) = (mutation.article(), mutation.language());
        let mut lock = match language {
            Some(language) => self.slot_locks.join(article, language).await,
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let state = mutation.read(self, call).await?;
            let article = state.as_ref().map_or(article, |state| &state.head.id).clone();
            let decision = mutation.decide(self, call, state.as_ref()).await?;
            let (outcome, translation) = (decision.outcome, decision.translation);
            let record = |rpc| call.record(rpc, &article, language.cloned().zip(translation), outcome);
            let request = mutation.rpc().and_then(record);
            let (state, bodies) = if decision.batch.is_none() && request.is_none() {
                (state, Vec::new())
            } else {
                let batch = decision.batch.unwrap_or_else(|| match &state {
                    Some(state) => Batch::on(state, language),
                    None => Batch::absent(&article),
                });
                let batch = Batch { request, ..batch };
                match self.commit(call, state.as_deref(), batch).await {
                    Ok(committed) => (committed.state, committed.bodies),
                    Err(StoreError::Conflict(conflict)) => {
                        if let Some(answer) = self.resolve(call, mutation, conflict).await? {
                            return Ok(answer);
                        }
                        if let (None, Some(language)) = (&lock, language) {
                            lock = Some(self.slot_locks.take(&article, language).await);
                        }
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            let effect = Effect {
                state: state.map(|state| {
                    let visibility = state.head.current.visibility;
                    (state, visibility)
                }),
                article,
                bodies,
                outcome,
                translation,
                detail: decision.detail,
            };
            return mutation.answer(self, call, effect).await;
        }
        Err(Error::Contention(article.clone()))
    }

    /// What a failed precondition comes to: the answer of the same request, an error, or `None` to decide again.
    async fn resolve<M: Mutation>(
        &self,
        call: &Call,
        mutation: &M,
        conflict: Conflict,
    ) -> Result<Option<M::Answer>> {
        match conflict {
            Conflict::Request => match self.recorded(call, mutation).await? {
                Some(record) => Ok(Some(self.answer_again(call, mutation, record).await?)),
                None => Ok(None),
            },
            Conflict::Purged(id) => Err(Error::IdPurged(id)),
            Conflict::Alias { alias, holder } if !mutation.follows_aliases() => {
                let holder = self.readable_id(call, holder).await?;
                Err(Error::AliasTaken { alias, holder })
            }
            Conflict::Alias { .. }
            | Conflict::Article(_)
            | Conflict::Slot(..)
            | Conflict::Job(..)
            | Conflict::Policies => Ok(None),
        }
    }

    /// The first answer to a recorded request. Visibility is judged as of now, too.
    async fn answer_again<M: Mutation>(
        &self,
        call: &Call,
        mutation: &M,
        record: RequestRecord,
    ) -> Result<M::Answer> {
        let state = match self.state(&record.article).await? {
            Some(now) => {
                let then = self.as_committed(&now, record.stamp).await?;
                let visibility = visibility_again(then.head.current.visibility, now.head.current.visibility);
                Some((then, visibility))
            }
            None => None,
        };
        let effect = Effect {
            state,
            bodies: Vec::new(),
            outcome: record.outcome,
            translation: record.translation.map(|(_, translation)| translation),
            detail: M::Detail::default(),
            article: record.article,
        };
        mutation.answer(self, call, effect).await
    }

    /// The record of this request, if it was carried out.
    async fn recorded<M: Mutation>(&self, call: &Call, mutation: &M) -> Result<Option<RequestRecord>> {
        match mutation.rpc() {
            Some(rpc) => self.earlier(call, rpc).await,
            None => Ok(None),
        }
    }
}

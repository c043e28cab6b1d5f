//! Purging: an article disappears from the store with everything that belongs to it, for good.

use std::sync::Arc;

use super::article_writes::check_etag;
use super::transact::{Decision, Effect, Mutation};
use super::{Call, Error, Result, Service};
use crate::domain::article::{ArticleId, Tombstone};
use crate::domain::change::{Event, Kind};
use crate::domain::etag::ExpectedEtag;
use crate::domain::request::Outcome;
use crate::domain::time::Stamp;
use crate::store::{ArticleState, Batch};

/// That an article is to be erased.
struct Purge<'a> {
    id: &'a ArticleId,
    reason: &'a str,
    expected: Option<&'a ExpectedEtag>,
}

impl Mutation for Purge<'_> {
    type Detail = ();
    type Answer = Tombstone;

    fn rpc(&self) -> Option<&'static str> {
        Some("PurgeArticle")
    }

    fn article(&self) -> &ArticleId {
        self.id
    }

    async fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> Result<Decision> {
        let Some(state) = state else {
            return service.tombstone(self.id).await.map(|_| Decision::unchanged());
        };
        check_etag(call, state, self.expected)?;
        let purged = Event {
            etag: None,
            ..Event::about(&state.head, Kind::ArticlePurged, None)
        };
        let batch = Batch {
            events: vec![purged],
            purge: Some(Tombstone {
                article: self.id.clone(),
                stamp: Stamp::PENDING,
                reason: self.reason.to_owned(),
                actor: call.actor().clone(),
            }),
            ..Batch::on(state, None)
        };
        Ok(Decision::write(batch, Outcome::Changed))
    }

    async fn answer(&self, service: &Service, _: &Call, _: Effect) -> Result<Tombstone> {
        service.tombstone(self.id).await
    }
}

impl Service {
    /// Erases an article with all its versions and translations. Purging a purged article changes nothing.
    pub async fn purge_article(
        &self,
        call: &Call,
        id: &ArticleId,
        reason: &str,
        expected: Option<&ExpectedEtag>,
    ) -> Result<Tombstone> {
        let purge = Purge { id, reason, expected };
        self.transact(call, &purge).await
    }

    /// What is left of an article that was purged.
    async fn tombstone(&self, id: &ArticleId) -> Result<Tombstone> {
        let tombstone = self.store.tombstone(id).await?;
        tombstone.ok_or_else(|| Error::ArticleNotFound(id.clone()))
    }

    /// Why there is no article with this id.
    pub(super) async fn absent(&self, id: &ArticleId) -> Error {
        match self.store.tombstone(id).await {
            Ok(Some(tombstone)) => Error::ArticlePurged(Box::new(tombstone)),
            Ok(None) => Error::ArticleNotFound(id.clone()),
            Err(error) => error.into(),
        }
    }
}

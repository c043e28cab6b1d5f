//! Purging: an article disappears from the store with everything that belongs to it, for good.

use super::article_writes::check_etag;
use super::{ATTEMPTS, Call, Error, Result, Service};
use crate::domain::article::{ArticleId, Tombstone};
use crate::domain::change::{Event, Kind};
use crate::domain::etag::ExpectedEtag;
use crate::domain::request::Outcome;
use crate::domain::time::Stamp;
use crate::store::{ArticleState, Batch, Conflict, Expect, StoreError};

const PURGE: &str = "PurgeArticle";

impl Service {
    /// Erases an article with all its versions and translations. Purging a purged article changes nothing.
    pub async fn purge_article(
        &self,
        call: &Call,
        id: &ArticleId,
        reason: &str,
        expected: Option<&ExpectedEtag>,
    ) -> Result<Tombstone> {
        match self.try_purge(call, id, reason, expected).await {
            Err(error) => match self.carried_out(call, PURGE).await {
                Some(record) => self.tombstone(&record.article).await,
                None => Err(error),
            },
            purged => purged,
        }
    }

    async fn try_purge(
        &self,
        call: &Call,
        id: &ArticleId,
        reason: &str,
        expected: Option<&ExpectedEtag>,
    ) -> Result<Tombstone> {
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.earlier(call, PURGE).await? {
                return self.tombstone(&record.article).await;
            }
            let (batch, outcome, mut tombstone) = match self.state(id).await? {
                Some(state) => {
                    check_etag(call, &state, expected)?;
                    let tombstone = Tombstone {
                        article: id.clone(),
                        stamp: Stamp::PENDING,
                        reason: reason.to_owned(),
                        actor: call.actor().clone(),
                    };
                    (purging(&state, tombstone.clone()), Outcome::Changed, tombstone)
                }
                None => {
                    let tombstone = self.tombstone(id).await?;
                    if call.request.is_none() {
                        return Ok(tombstone);
                    }
                    (Batch::new(id.clone()), Outcome::Unchanged, tombstone)
                }
            };
            let batch = Batch {
                principal: call.actor().principal.clone(),
                request: call.record(PURGE, id, None, outcome),
                ..batch
            };
            match self.store.commit(batch).await {
                Ok(stamp) => {
                    tombstone.stamp.resolve(stamp);
                    return Ok(tombstone);
                }
                Err(StoreError::Conflict(Conflict::Article(_) | Conflict::Slot(..) | Conflict::Request)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contention(id.clone()))
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

    /// The result of a call about an article that may have been purged on the way: a text that is gone by that is no
    /// damage.
    pub(super) async fn unless_purged<T>(&self, id: &ArticleId, done: Result<T>) -> Result<T> {
        match done {
            Err(Error::Store(StoreError::Corrupt { record, detail })) => match self.absent(id).await {
                purged @ Error::ArticlePurged(_) => Err(purged),
                _ => Err(Error::Store(StoreError::Corrupt { record, detail })),
            },
            done => done,
        }
    }
}

/// The commit that purges an article.
fn purging(state: &ArticleState, tombstone: Tombstone) -> Batch {
    let head = &state.head;
    let purged = Event {
        etag: None,
        ..Event::about(head, Kind::ArticlePurged, None)
    };
    Batch {
        expect: vec![Expect::Head(Some(head.version()))],
        events: vec![purged],
        purge: Some(tombstone),
        ..Batch::new(head.id.clone())
    }
}

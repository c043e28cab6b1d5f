//! Publication: articles are withheld and released, and embargoes end.

use futures::StreamExt;
use futures::stream;

use super::edits::Edit;
use super::snapshot::{Snapshot, View};
use super::{Call, Result, Service};
use crate::domain::article::ArticleId;
use crate::domain::draft::StatusChange;
use crate::domain::etag::ExpectedEtag;
use crate::domain::request::Outcome;

/// Embargoes that are lifted in one go.
const LIFTED_AT_ONCE: usize = 1_000;
/// Embargoes that are lifted side by side, so that the store can group their commits.
const SIDE_BY_SIDE: usize = 64;

impl Service {
    /// Says whether an article may be published; it is hidden or shown with all its translations by one commit.
    pub async fn set_publication_status(
        &self,
        call: &Call,
        id: &ArticleId,
        change: &StatusChange,
        expected: Option<&ExpectedEtag>,
    ) -> Result<Snapshot> {
        let edit = Edit::SetStatus { change, expected };
        let (snapshot, _) = self
            .change(call, "SetPublicationStatus", id, View::Basic, edit)
            .await?;
        Ok(snapshot)
    }

    /// Shows articles whose embargo has ended, and answers whether there may be more. An article that cannot be changed
    /// holds up no other; the next call tries it again.
    pub async fn lift_embargoes(&self) -> Result<bool> {
        let due = self.store.due_embargoes(self.clock.now(), LIFTED_AT_ONCE).await?;
        let is_full = due.len() == LIFTED_AT_ONCE;
        let lifted = stream::iter(due)
            .map(|id| async move { self.lift_embargo(&id).await })
            .buffer_unordered(SIDE_BY_SIDE)
            .filter(|lifted| std::future::ready(*lifted))
            .count()
            .await;
        Ok(is_full && lifted > 0)
    }

    async fn lift_embargo(&self, id: &ArticleId) -> bool {
        let lifted = self
            .change(
                &Call::default(),
                "LiftEmbargo",
                id,
                View::Basic,
                Edit::LiftEmbargo,
            )
            .await;
        match lifted {
            Ok((_, outcome)) => outcome == Outcome::Changed,
            Err(error) => {
                tracing::warn!(%id, %error, "an embargo has ended and could not be lifted yet");
                false
            }
        }
    }
}

//! Publication: articles are withheld and released, and embargoes end.

use std::collections::HashSet;

use futures::StreamExt;
use futures::stream;

use super::answers::Written;
use super::article_writes::{ArticleEdit, Edit};
use super::snapshot::Snapshot;
use super::view::View;
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
    ) -> Result<Written<Snapshot>> {
        let edit = Edit::SetStatus { change, expected };
        self.write(call, "SetPublicationStatus", id, View::Basic, edit)
            .await
    }

    /// Shows articles whose embargo has ended, and answers whether there may be more. An article that cannot be changed joins
    /// `failed`, and those in it are passed over, so that they hold up no later ones: it is emptied to try them again.
    pub async fn lift_embargoes(&self, failed: &mut HashSet<ArticleId>) -> Result<bool> {
        let limit = LIFTED_AT_ONCE + failed.len();
        // An article that is published cannot be taken back: not by a clock that has jumped.
        let Ok(now) = self.store.clock().wall() else {
            return Ok(false);
        };
        let due = self.store.due_embargoes(now, limit).await?;
        let is_full = due.len() == limit;
        let due = due
            .into_iter()
            .filter(|id| !failed.contains(id))
            .collect::<Vec<_>>();
        let lifted: Vec<_> = stream::iter(due)
            .map(|id| async move {
                let done = self.lift_embargo(&id).await;
                (id, done)
            })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await;
        let is_progress = !lifted.is_empty();
        failed.extend(lifted.into_iter().filter(|(_, done)| !done).map(|(id, _)| id));
        Ok(is_full && is_progress)
    }

    /// Whether it was lifted.
    async fn lift_embargo(&self, id: &ArticleId) -> bool {
        let lift = ArticleEdit {
            rpc: "LiftEmbargo",
            id,
            view: View::Basic,
            edit: Edit::LiftEmbargo,
        };
        let lifted = self.transact(&Call::default(), &lift).await;
        lifted
            .inspect_err(
                |error| tracing::warn!(%id, %error, "an embargo has ended and could not be lifted yet"),
            )
            .is_ok_and(|(_, outcome)| outcome == Outcome::Changed)
    }
}

//! Imports: an article that may be there already, found by its id or by its aliases.

use std::sync::Arc;

use super::article_writes::{ArticleEdit, Edit};
use super::byte_budget::HeldBytes;
use super::snapshot::Snapshot;
use super::view::View;
use super::{Call, Error, Result, Service};
use crate::domain::article::{Alias, ArticleId, Significance};
use crate::domain::draft::ArticleDraft;
use crate::domain::request::Outcome;
use crate::store::ArticleState;

/// What an item of an import takes in memory while it is written, in bytes of its message: draft, patch, content, batch,
/// and what is encoded and compressed of them.
const ITEM_FACTOR: usize = 6;

impl Service {
    /// Takes the bytes of an item from the budget if there is room for them now.
    pub fn try_take_import(&self, call: &Call, bytes: usize) -> Option<HeldBytes> {
        self.streams
            .imports
            .try_take(&call.actor().principal, ITEM_FACTOR * bytes)
    }

    /// Takes them when there is room.
    pub async fn take_import(&self, call: &Call, bytes: usize) -> Option<HeldBytes> {
        let bytes = ITEM_FACTOR * bytes;
        self.streams.imports.take(&call.actor().principal, bytes).await
    }

    /// Creates the article, or replaces the one that has its id, guid or URL.
    pub async fn import_article(
        &self,
        call: &Call,
        draft: &ArticleDraft,
        significance: Option<Significance>,
    ) -> Result<(Snapshot, Outcome)> {
        let id = match &draft.id {
            Some(id) => id.clone(),
            None => self.new_article_id()?,
        };
        let import = ArticleEdit {
            rpc: "ImportArticles",
            id: &id,
            view: View::Basic,
            edit: Edit::Import { draft, significance },
        };
        self.transact(call, &import).await
    }

    /// The articles that hold these aliases, in their order.
    pub async fn holders(&self, aliases: &[Alias]) -> Result<Vec<ArticleId>> {
        if aliases.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.lookup(aliases).await?.into_iter().flatten().collect())
    }

    /// The article that holds the aliases of a draft.
    pub(super) async fn holder(
        &self,
        call: &Call,
        draft: &ArticleDraft,
    ) -> Result<Option<Arc<ArticleState>>> {
        let mut holders = self.holders(&draft.metadata.aliases()).await?.into_iter();
        match (holders.next(), holders.next()) {
            (Some(first), Some(second)) if first != second => Err(Error::AliasesDisagree {
                first: self.readable_id(call, first).await?,
                second: self.readable_id(call, second).await?,
            }),
            (Some(holder), _) => self.state(&holder).await,
            (None, _) => Ok(None),
        }
    }
}

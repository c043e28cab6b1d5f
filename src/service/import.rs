//! Imports: an article that may be there already, found by its id or by its aliases.

use super::article_writes::Edit;
use super::snapshot::Snapshot;
use super::view::View;
use super::{ATTEMPTS, Call, Error, Result, Service};
use crate::domain::article::{Alias, ArticleId, Significance};
use crate::domain::draft::{ArticleDraft, ArticlePatch};
use crate::domain::request::Outcome;

impl Service {
    /// Creates the article, or replaces the one that has its id, guid or URL.
    pub async fn import_article(
        &self,
        call: &Call,
        draft: &ArticleDraft,
        significance: Option<Significance>,
    ) -> Result<(Snapshot, Outcome)> {
        let patch = ArticlePatch::from(draft.clone());
        for _ in 0..ATTEMPTS {
            let id = self.identify(call, draft).await?;
            let edit = Edit::Update {
                patch: &patch,
                missing: Some(draft),
                expected: None,
                significance,
            };
            let imported = self.change(call, "ImportArticles", &id, View::Basic, edit).await;
            match imported {
                // Somebody else created an article with these aliases meanwhile: it is the one to revise.
                Err(Error::AliasTaken { .. }) if draft.id.is_none() => {}
                imported => return imported,
            }
        }
        Err(Error::Contention(self.identify(call, draft).await?))
    }

    /// The articles that hold these aliases, in their order.
    pub async fn holders(&self, aliases: &[Alias]) -> Result<Vec<ArticleId>> {
        if aliases.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.store.lookup(aliases).await?.into_iter().flatten().collect())
    }

    /// The id of the article that a draft is about; a new one if there is none.
    async fn identify(&self, call: &Call, draft: &ArticleDraft) -> Result<ArticleId> {
        if let Some(id) = &draft.id {
            return Ok(id.clone());
        }
        let mut holders = self.holders(&draft.metadata.aliases()).await?.into_iter();
        match (holders.next(), holders.next()) {
            (Some(first), Some(second)) if first != second => Err(Error::AliasesDisagree {
                first: self.readable_id(call, first).await?,
                second: self.readable_id(call, second).await?,
            }),
            (Some(holder), _) => Ok(holder),
            (None, _) => self.new_article_id(),
        }
    }
}

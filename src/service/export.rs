//! Exports: everything in a stable order, from where the last stream ended.

use std::sync::Arc;

use super::snapshot::{Snapshot, TranslationSnapshot};
use super::view::View;
use super::{Result, Service};
use crate::domain::access::Shown;
use crate::domain::article::ArticleId;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::translation::Disposition;
use crate::store::ArticleState;

/// Articles that are read at once.
const STEP: usize = 16;

/// What to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExportOptions {
    /// Translations too, each after its article.
    pub translations: bool,
    /// Which deleted and hidden articles too.
    pub shown: Shown,
}

/// An item of an export.
#[derive(Debug, Clone)]
pub enum ExportItem {
    /// An article with its content.
    Article(Snapshot),
    /// A translation of the article before it, with its texts.
    Translation(Box<TranslationSnapshot>),
}

/// The place of an item: articles by id, each followed by its translations by language and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPosition {
    /// The article.
    pub article: ArticleId,
    /// The translation; `None` for the article itself.
    pub translation: Option<(Language, TranslationId)>,
}

impl Service {
    /// The next items after a position, and the position of each; empty at the end.
    pub async fn export_articles(
        &self,
        options: ExportOptions,
        after: Option<&ExportPosition>,
    ) -> Result<Vec<(ExportItem, ExportPosition)>> {
        let mut items = Vec::new();
        if let Some(after) = after.filter(|_| options.translations) {
            self.export_translations(options, after, &mut items).await?;
        }
        let mut last = after.map(|after| after.article.clone());
        // Articles that are not shown may fill whole steps.
        while items.is_empty() {
            let states = self.store.scan(last.as_ref(), STEP).await?;
            let Some(end) = states.last() else { break };
            last = Some(end.head.id.clone());
            let shown = |state: &Arc<ArticleState>| options.shown.shows_version(&state.head.current);
            let states = states.into_iter().filter(shown).collect();
            for snapshot in self.snapshots(states, View::Full).await? {
                let position = ExportPosition {
                    article: snapshot.state.head.id.clone(),
                    translation: None,
                };
                items.push((ExportItem::Article(snapshot), position.clone()));
                if options.translations {
                    self.export_translations(options, &position, &mut items).await?;
                }
            }
        }
        Ok(items)
    }

    /// The translations of an article after a position.
    async fn export_translations(
        &self,
        options: ExportOptions,
        after: &ExportPosition,
        items: &mut Vec<(ExportItem, ExportPosition)>,
    ) -> Result<()> {
        let Some(state) = self.state(&after.article).await? else {
            return Ok(());
        };
        if !options.shown.shows_version(&state.head.current) {
            return Ok(());
        }
        for slot in state.slots.values() {
            for head in slot
                .translations
                .iter()
                .filter(|head| head.disposition != Disposition::Withdrawn)
            {
                let place = (slot.language.clone(), head.id);
                if after.translation.as_ref().is_some_and(|after| *after >= place) {
                    continue;
                }
                let mut snapshot = self.translation_snapshot(&state, slot, head).await?;
                snapshot.version = Some(self.version(&slot.version_key(head)).await?);
                let position = ExportPosition {
                    article: after.article.clone(),
                    translation: Some(place),
                };
                items.push((ExportItem::Translation(Box::new(snapshot)), position));
            }
        }
        Ok(())
    }
}

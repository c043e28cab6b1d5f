//! Exports: everything in a stable order, from where the last stream ended.

use std::collections::VecDeque;
use std::sync::Arc;

use super::byte_budget::HeldBytes;
use super::snapshot::{Snapshot, TranslationSnapshot};
use super::view::View;
use super::{Call, Error, Result, Service};
use crate::domain::access::Shown;
use crate::domain::article::ArticleId;
use crate::domain::ids::TranslationId;
use crate::domain::language::Language;
use crate::domain::translation::{Disposition, Slot, TranslationHead};
use crate::store::ArticleState;

/// Articles that are read at once, at most.
const MAX_ARTICLES: usize = 16;
/// Bytes of items after which a step ends.
const STEP_BYTES: usize = 256 << 10;

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

/// An export under way. It reads some items ahead, no more than its share of the budget of all exports, and keeps the bytes of
/// those for as long as the last of them may be waiting to be sent.
pub struct Export {
    service: Service,
    caller: String,
    options: ExportOptions,
    /// Behind the last item that was read.
    position: Option<ExportPosition>,
    items: VecDeque<(ExportItem, ExportPosition)>,
    held: Option<HeldBytes>,
    /// Articles that the next step reads at once: more while they are small.
    articles: usize,
}

/// What a step of an export has read.
#[derive(Default)]
struct Step {
    items: VecDeque<(ExportItem, ExportPosition)>,
    bytes: usize,
}

impl Step {
    fn push(&mut self, item: ExportItem, position: ExportPosition) {
        self.bytes += match &item {
            ExportItem::Article(snapshot) => snapshot.max_bytes(),
            ExportItem::Translation(snapshot) => snapshot.max_bytes(),
        };
        self.items.push_back((item, position));
    }
}

impl Export {
    /// The next item with its position; `None` at the end. The bytes of the item before it are given back.
    pub async fn next(&mut self) -> Result<Option<(ExportItem, ExportPosition)>> {
        if self.items.is_empty() {
            self.held = None;
            self.fill().await?;
        }
        Ok(self.items.pop_front())
    }

    /// Reads the next items. Where there is no room for them they are let go, and the first one is read again when there is
    /// room for it: a stream that waits holds nothing.
    async fn fill(&mut self) -> Result<()> {
        let streams = self.service.streams.clone();
        let closed = || Error::internal("a budget was closed");
        let mut reserved: Option<HeldBytes> = None;
        loop {
            let reading = streams.export_reads.acquire().await.map_err(|_| closed())?;
            let (articles, max_bytes) = match reserved {
                None => (self.articles, STEP_BYTES),
                Some(_) => (1, 0),
            };
            let after = self.position.as_ref();
            let step = self
                .service
                .export_step(self.options, after, articles, max_bytes)
                .await?;
            let Some((first, _)) = step.items.front() else {
                return Ok(());
            };
            let enough = reserved
                .take()
                .filter(|held| streams.exports.covers(held, step.bytes));
            let held = enough.or_else(|| streams.exports.try_take(&self.caller, step.bytes));
            if held.is_some() {
                self.articles = match step.bytes {
                    0..STEP_BYTES => (self.articles * 2).min(MAX_ARTICLES),
                    _ => 1,
                };
                self.position = step.items.back().map(|(_, position)| position.clone());
                (self.items, self.held) = (step.items, held);
                return Ok(());
            }
            let first_bytes = match first {
                ExportItem::Article(snapshot) => snapshot.max_bytes(),
                ExportItem::Translation(snapshot) => snapshot.max_bytes(),
            };
            drop((step, reading));
            reserved = Some(
                streams
                    .exports
                    .take(&self.caller, first_bytes)
                    .await
                    .ok_or_else(closed)?,
            );
        }
    }
}

impl Service {
    /// An export of everything after a position.
    pub fn export_articles(
        &self,
        call: &Call,
        options: ExportOptions,
        after: Option<ExportPosition>,
    ) -> Export {
        Export {
            service: self.clone(),
            caller: call.actor().principal.clone(),
            options,
            position: after,
            items: VecDeque::new(),
            held: None,
            articles: 1,
        }
    }

    /// The next items after a position: those of at most `articles` articles, until they take more than `max_bytes`. None at the
    /// end.
    async fn export_step(
        &self,
        options: ExportOptions,
        after: Option<&ExportPosition>,
        mut articles: usize,
        max_bytes: usize,
    ) -> Result<Step> {
        let mut step = Step::default();
        if let Some(after) = after.filter(|_| options.translations) {
            self.export_translations(options, after, max_bytes, &mut step)
                .await?;
        }
        let mut last = after.map(|after| after.article.clone());
        // Articles that are not shown may fill whole reads.
        while step.items.is_empty() {
            let states = self.store.scan(last.as_ref(), articles).await?;
            let Some(end) = states.last() else { break };
            last = Some(end.head.id.clone());
            articles = (articles * 2).min(MAX_ARTICLES);
            let shown = |state: &Arc<ArticleState>| options.shown.shows_version(&state.head.current);
            let states = states.into_iter().filter(shown).collect();
            for snapshot in self.snapshots(states, View::Full).await? {
                let position = ExportPosition {
                    article: snapshot.state.head.id.clone(),
                    translation: None,
                };
                step.push(ExportItem::Article(snapshot), position.clone());
                if options.translations && step.bytes <= max_bytes {
                    self.export_translations(options, &position, max_bytes, &mut step)
                        .await?;
                }
                if step.bytes > max_bytes {
                    return Ok(step);
                }
            }
        }
        Ok(step)
    }

    /// The translations of an article after a position, until the step takes more than `max_bytes`.
    async fn export_translations(
        &self,
        options: ExportOptions,
        after: &ExportPosition,
        max_bytes: usize,
        step: &mut Step,
    ) -> Result<()> {
        let Some(state) = self.state(&after.article).await? else {
            return Ok(());
        };
        if !options.shown.shows_version(&state.head.current) {
            return Ok(());
        }
        let place = |(slot, head): &(&Arc<Slot>, &TranslationHead)| (slot.language.clone(), head.id);
        let slots = state.slots.values();
        let translations: Vec<_> = slots
            .flat_map(|slot| slot.translations.iter().map(move |head| (slot, head)))
            .filter(|(_, head)| head.disposition != Disposition::Withdrawn)
            .filter(|found| {
                after
                    .translation
                    .as_ref()
                    .is_none_or(|after| *after < place(found))
            })
            .collect();
        for mut snapshot in self.translation_snapshots(&state, &translations).await? {
            let key = snapshot.slot.version_key(&snapshot.head);
            snapshot.version = Some(self.version(&key).await?);
            let position = ExportPosition {
                article: after.article.clone(),
                translation: Some(place(&(&snapshot.slot, &snapshot.head))),
            };
            step.push(ExportItem::Translation(Box::new(snapshot)), position);
            if step.bytes > max_bytes {
                return Ok(());
            }
        }
        Ok(())
    }
}

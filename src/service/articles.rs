//! Articles: created, read, changed, deleted, listed.

use std::sync::Arc;

use super::answers::Written;
use super::article_writes::{ArticleEdit, Edit};
use super::snapshot::{RevisionFacts, Snapshot, TranslationSnapshot};
use super::view::{HELD_BYTES, Moment, PAGE_BYTES, View};
use super::{Call, Error, Result, Service};
use crate::domain::access::Shown;
use crate::domain::article::{Alias, ArticleId, Significance};
use crate::domain::draft::{ArticleDraft, ArticlePatch};
use crate::domain::etag::ExpectedEtag;
use crate::domain::query::{Position, Query};
use crate::domain::reading::{Reading, Served};
use crate::store::{ArticleState, Budget};

/// Index rows that a page looks at.
const PAGE_ROWS: usize = 2_000;

/// Articles that are read at once, first and at most: in steps, so that little is read that no longer fits into an answer.
const FIRST_STEP: usize = 4;
const MAX_STEP: usize = 32;
/// Bytes of a step after which the next one is of one article, so that large articles are not held side by side.
const STEP_BYTES: usize = 1 << 20;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The articles.
    pub articles: Vec<Snapshot>,
    /// Where the next page begins.
    pub next: Option<Position>,
}

/// An article in the language that is served to a reader.
#[derive(Debug, Clone)]
pub struct ReadArticle {
    /// The article.
    pub article: Snapshot,
    /// The translation that is served, with its texts; `None`: the article's own text.
    pub translation: Option<TranslationSnapshot>,
    /// Whether that is neither in the first language that was asked for nor in a variety of it.
    pub is_fallback: bool,
    /// Whether the article's own body is left out because both do not fit into an answer.
    pub is_body_omitted: bool,
    /// Whether the scores and issues of the translation are left out, because they do not fit in beside the texts.
    pub is_evidence_omitted: bool,
}

/// The answer to a batch of reads.
#[derive(Debug, Clone, Default)]
pub struct Batched {
    /// The articles that there are.
    pub articles: Vec<Snapshot>,
    /// Ids that no article has.
    pub missing: Vec<ArticleId>,
    /// Ids that did not fit into the answer.
    pub unprocessed: Vec<ArticleId>,
}

impl Service {
    /// Creates an article.
    pub async fn create_article(&self, call: &Call, draft: ArticleDraft) -> Result<Written<Snapshot>> {
        const RPC: &str = "CreateArticle";
        let id = match &draft.id {
            Some(id) => id.clone(),
            None => self.new_article_id()?,
        };
        self.write(call, RPC, &id, View::Full, Edit::Create(&draft)).await
    }

    /// Reads an article, in the language that the reader wants.
    pub async fn get_article(
        &self,
        id: &ArticleId,
        view: View,
        moment: Moment,
        shown: Shown,
        reading: &Reading,
    ) -> Result<ReadArticle> {
        let state = self.visible(id, shown).await?;
        self.read_article(&state, view, moment, reading).await
    }

    async fn read_article(
        &self,
        state: &Arc<ArticleState>,
        view: View,
        moment: Moment,
        reading: &Reading,
    ) -> Result<ReadArticle> {
        let state = self.at(state, moment).await?;
        let lookup = reading.ask(&state.head, &state.slots);
        let departures = self.departures(&state.head.id, &lookup).await?;
        let choice = reading.choose(&state.head, &state.slots, &departures);
        let translation = match choice.served {
            Served::Source => None,
            Served::Translation(slot, head) => {
                let mut translation = self.translation_snapshot(&state, slot, head).await?;
                translation.version = Some(self.version(&slot.version_key(head)).await?);
                Some(translation)
            }
        };
        let is_fallback = choice.is_fallback;
        let mut article = self.snapshot(state, view).await?;
        let bytes = translation.as_ref().map_or(0, |served| served.text_bytes());
        let is_body_omitted = bytes > 0 && bytes + article.max_bytes() > PAGE_BYTES;
        if is_body_omitted {
            article.revision = None;
        }
        let bytes = translation.as_ref().map_or(0, |served| served.max_bytes());
        let is_evidence_omitted = bytes > 0 && bytes + article.max_bytes() > PAGE_BYTES;
        Ok(ReadArticle {
            is_evidence_omitted,
            article,
            translation,
            is_fallback,
            is_body_omitted,
        })
    }

    /// Reads many articles.
    pub async fn batch_get_articles(&self, ids: &[ArticleId], view: View, shown: Shown) -> Result<Batched> {
        let mut answer = Batched::default();
        let (mut bytes, mut rest, mut length) = (0, ids, FIRST_STEP);
        while !rest.is_empty() && bytes <= PAGE_BYTES {
            let (step, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            let mut found = Vec::with_capacity(step.len());
            for (id, state) in step.iter().zip(self.store.articles(step).await?) {
                match state.filter(|state| shown.shows_version(&state.head.current)) {
                    Some(state) => found.push(state),
                    None => answer.missing.push(id.clone()),
                }
            }
            let ids: Vec<_> = found.iter().map(|state| state.head.id.clone()).collect();
            let held: usize = found.iter().map(|state| state.bytes()).sum();
            let snapshots = self.snapshots(found, view).await?;
            length = next_step(
                length,
                held + snapshots.iter().map(Snapshot::max_bytes).sum::<usize>(),
            );
            answer.missing.extend(
                ids.into_iter()
                    .filter(|id| !snapshots.iter().any(|snapshot| snapshot.state.head.id == *id)),
            );
            for snapshot in snapshots {
                bytes += snapshot.max_bytes();
                if bytes > PAGE_BYTES && !answer.articles.is_empty() {
                    answer.unprocessed.push(snapshot.state.head.id.clone());
                } else {
                    answer.articles.push(snapshot);
                }
            }
        }
        answer.unprocessed.extend(rest.iter().cloned());
        Ok(answer)
    }

    /// Finds an article by an alias.
    pub async fn lookup_article(&self, alias: &Alias, view: View, shown: Shown) -> Result<Snapshot> {
        let holder = self
            .store
            .lookup(std::slice::from_ref(alias))
            .await?
            .pop()
            .flatten();
        let not_found = || Error::AliasNotFound(alias.to_string());
        let state = self.existing(&holder.ok_or_else(not_found)?).await?;
        if !shown.shows_version(&state.head.current) {
            return Err(not_found());
        }
        self.snapshot(state, view).await
    }

    /// Changes fields of an article, or creates it if there is none and `missing` has what to create.
    pub async fn update_article(
        &self,
        call: &Call,
        id: &ArticleId,
        patch: &ArticlePatch,
        missing: Option<ArticleDraft>,
        expected: Option<&ExpectedEtag>,
        significance: Option<Significance>,
    ) -> Result<Written<Snapshot>> {
        const RPC: &str = "UpdateArticle";
        let edit = Edit::Update {
            patch,
            missing: missing.as_ref(),
            expected,
            significance,
        };
        self.write(call, RPC, id, View::Full, edit).await
    }

    /// Deletes an article.
    pub async fn delete_article(
        &self,
        call: &Call,
        id: &ArticleId,
        expected: Option<&ExpectedEtag>,
    ) -> Result<Written<Snapshot>> {
        let edit = Edit::SetDeleted {
            deleted: true,
            expected,
        };
        self.write(call, "DeleteArticle", id, View::Basic, edit).await
    }

    /// Brings a deleted article back.
    pub async fn undelete_article(
        &self,
        call: &Call,
        id: &ArticleId,
        expected: Option<&ExpectedEtag>,
    ) -> Result<Written<Snapshot>> {
        let edit = Edit::SetDeleted {
            deleted: false,
            expected,
        };
        self.write(call, "UndeleteArticle", id, View::Basic, edit).await
    }

    /// Carries out an edit for a caller.
    pub(super) async fn write(
        &self,
        call: &Call,
        rpc: &'static str,
        id: &ArticleId,
        view: View,
        edit: Edit<'_>,
    ) -> Result<Written<Snapshot>> {
        let edit = ArticleEdit { rpc, id, edit, view };
        let (after, _) = self.transact(call, &edit).await?;
        let visibility = after.visibility;
        Ok(call.written(after, visibility))
    }

    /// Lists articles by date.
    pub async fn list_articles(
        &self,
        query: &Query,
        after: Option<&Position>,
        page_size: usize,
        view: View,
    ) -> Result<Listed> {
        let budget = Budget {
            articles: page_size,
            rows: PAGE_ROWS,
            bytes: HELD_BYTES,
        };
        let query = &query.at(self.clock.now());
        let page = self.store.list(query, after, budget).await?;
        let mut listed = Listed {
            articles: Vec::with_capacity(page.articles.len()),
            next: page.next,
        };
        let mut bytes = 0;
        let mut last = after.cloned();
        let (mut rest, mut length) = (page.articles.as_slice(), FIRST_STEP);
        while !rest.is_empty() {
            let (step, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            let states = step.iter().map(|(_, state)| state.clone()).collect();
            let snapshots = self.snapshots(states, view).await?;
            length = next_step(length, snapshots.iter().map(Snapshot::max_bytes).sum());
            for (position, mut snapshot) in in_places(step, snapshots) {
                snapshot.asked = query.translation.as_ref().map(|filter| filter.language.clone());
                bytes += snapshot.max_bytes();
                if bytes > PAGE_BYTES && !listed.articles.is_empty() {
                    listed.next = last;
                    return Ok(listed);
                }
                listed.articles.push(snapshot);
                last = Some(position.clone());
            }
        }
        Ok(listed)
    }

    /// Lists the revisions of an article before a number, newest first, and the number before which the next page begins.
    pub async fn list_revisions(
        &self,
        id: &ArticleId,
        shown: Shown,
        before: Option<u32>,
        page_size: usize,
    ) -> Result<(Vec<RevisionFacts>, Option<u32>)> {
        let state = self.visible(id, shown).await?;
        self.revisions(&state, before, page_size).await
    }

    async fn revisions(
        &self,
        state: &ArticleState,
        before: Option<u32>,
        page_size: usize,
    ) -> Result<(Vec<RevisionFacts>, Option<u32>)> {
        let newest = before.map_or(state.head.revision(), |before| {
            before.saturating_sub(1).min(state.head.revision())
        });
        let (mut revisions, mut bytes) = (Vec::new(), 0);
        for number in (1..=newest).rev() {
            if revisions.len() == page_size {
                return Ok((revisions, Some(number + 1)));
            }
            let facts = self.revision_facts(&state.head, number).await?;
            bytes += facts.max_bytes();
            if bytes > PAGE_BYTES && !revisions.is_empty() {
                return Ok((revisions, Some(number + 1)));
            }
            revisions.push(facts);
        }
        Ok((revisions, None))
    }

    /// An article that may be shown.
    pub(super) async fn visible(&self, id: &ArticleId, shown: Shown) -> Result<Arc<ArticleState>> {
        let state = self.existing(id).await?;
        if shown.shows_version(&state.head.current) {
            Ok(state)
        } else {
            Err(Error::ArticleNotFound(id.clone()))
        }
    }
}

/// The length of the step after one of this length and number of bytes.
fn next_step(length: usize, held: usize) -> usize {
    if held <= STEP_BYTES {
        (2 * length).min(MAX_STEP)
    } else {
        1
    }
}

/// Articles with their places in a list; one that was purged since the list was read has none.
fn in_places(
    listed: &[(Position, Arc<ArticleState>)],
    snapshots: Vec<Snapshot>,
) -> impl Iterator<Item = (&Position, Snapshot)> {
    let mut places = listed.iter().map(|(position, _)| position);
    snapshots.into_iter().filter_map(move |snapshot| {
        let place = places.find(|position| position.id == snapshot.state.head.id)?;
        Some((place, snapshot))
    })
}

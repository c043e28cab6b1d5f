//! What differs between two revisions of an article.

use std::sync::Arc;

use super::view::{Moment, PAGE_BYTES};
use super::{Error, Result, Service};
use crate::domain::access::Shown;
use crate::domain::article::{ArticleId, Head, Revision, Significance};
use crate::domain::departures::Lookup;
use crate::domain::diff::{Budget, Fate, SegmentDiff, TextChange, compare};
use crate::domain::segment::Segment;
use crate::domain::significance::propose;
use crate::store::{ArticleState, Body};

/// Bytes of a paragraph's two texts over which they are left out, so that every answer has room for one.
const MAX_TEXTS: usize = 1 << 20;

/// Two revisions of an article.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// How much the article changed between them, and whether that was proposed; `None` between a revision and itself.
    pub significance: Option<(Significance, bool)>,
    from: Arc<Body>,
    to: Arc<Body>,
}

/// A paragraph in an answer.
#[derive(Debug, Clone)]
pub struct ComparedSegment<'a> {
    /// What became of it.
    pub diff: SegmentDiff<'a>,
    /// The words that differ.
    pub changes: Vec<TextChange>,
    /// Whether its texts are too long to be answered with it.
    pub is_too_long: bool,
}

impl Comparison {
    /// The older side, as it was asked for.
    pub fn from(&self) -> Option<&Revision> {
        revision(&self.from)
    }

    /// The newer side.
    pub fn to(&self) -> Option<&Revision> {
        revision(&self.to)
    }

    /// The paragraphs from a place on that fit into an answer, and the place of the next one if there are more.
    pub fn page(&self, start: usize) -> (Vec<ComparedSegment<'_>>, Option<usize>) {
        let (Some(from), Some(to)) = (self.from(), self.to()) else {
            return (Vec::new(), None);
        };
        let mut page = Vec::new();
        let mut bytes = 0;
        let mut budget = Budget::default();
        for (place, diff) in compare(&from.content, &to.content)
            .into_iter()
            .enumerate()
            .skip(start)
        {
            let length = |segment: Option<&Segment>| segment.map_or(0, |s| s.content.text().len());
            let texts = length(diff.old) + length(diff.new);
            let has_texts = diff.fate != Fate::Unchanged;
            let is_too_long = has_texts && texts > MAX_TEXTS;
            let changes = diff.changes(&mut budget);
            bytes += 64 + changes.len() * 32;
            if has_texts && !is_too_long {
                bytes += texts;
            }
            if bytes > PAGE_BYTES && !page.is_empty() {
                return (page, Some(place));
            }
            page.push(ComparedSegment {
                diff,
                changes,
                is_too_long,
            });
        }
        (page, None)
    }
}

fn revision(body: &Body) -> Option<&Revision> {
    match body {
        Body::Revision(revision) => Some(revision),
        _ => None,
    }
}

impl Service {
    /// Compares two revisions of an article; `None` is the newest.
    pub async fn diff_revisions(
        &self,
        id: &ArticleId,
        from: u32,
        to: Option<u32>,
        shown: Shown,
    ) -> Result<Comparison> {
        let state = self.visible(id, shown).await?;
        self.comparison(&state, from, to).await
    }

    async fn comparison(&self, state: &ArticleState, from: u32, to: Option<u32>) -> Result<Comparison> {
        let head = &state.head;
        let to = to.unwrap_or(head.revision());
        let mut comparison = Comparison {
            significance: None,
            from: self.numbered(head, from).await?,
            to: self.numbered(head, to).await?,
        };
        comparison.significance = self.significance_between(head, from, to, &comparison).await?;
        Ok(comparison)
    }

    /// The body of a revision by its number.
    async fn numbered(&self, head: &Head, number: u32) -> Result<Arc<Body>> {
        if !(1..=head.revision()).contains(&number) {
            return Err(Error::RevisionNotFound {
                id: head.id.clone(),
                wanted: Moment::Revision(number),
                head: head.revision(),
            });
        }
        self.revision_body(head, number).await
    }

    /// The greatest significance of the revisions after the older one up to the newer one. One that was written before
    /// there were proposals may have none.
    async fn significance_between(
        &self,
        head: &Head,
        from: u32,
        to: u32,
        comparison: &Comparison,
    ) -> Result<Option<(Significance, bool)>> {
        let lookup = Lookup::before(from.max(to));
        let departures = self.store.departures(&head.id, &lookup).await?;
        if let Some((significance, number)) = departures.greatest_since(from.min(to) + 1) {
            let body = self.numbered(head, number).await?;
            let is_proposed = revision(&body).is_some_and(|revision| revision.is_proposed);
            return Ok(Some((significance, is_proposed)));
        }
        let (Some(from), Some(to)) = (comparison.from(), comparison.to()) else {
            return Ok(None);
        };
        let differs = from.number != to.number;
        Ok(differs.then(|| (propose(&from.content, &to.content), true)))
    }
}

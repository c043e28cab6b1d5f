//! Articles as callers send them, and what a change makes of one: pure decisions about content and metadata.

use super::Violation;
use super::align::{Aligned, align};
use super::article::{ArticleId, Content, DraftContent, Metadata, PublicationStatus};
use super::date::ArticleDate;
use super::departures::Departures;
use super::ids::SegmentId;
use super::language::Language;
use super::segment::{DraftSegment, Segment};
use super::time::Timestamp;
use super::url::CanonicalUrl;

/// A whole article as a caller sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleDraft {
    /// The id, if the caller chose one.
    pub id: Option<ArticleId>,
    /// The metadata.
    pub metadata: Metadata,
    /// The content.
    pub content: DraftContent,
}

/// New values for some fields of an article; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields are those of `Metadata` and `Content`")]
pub struct ArticlePatch {
    pub language: Option<Language>,
    pub section: Option<String>,
    pub publisher: Option<String>,
    pub canonical_url: Option<Option<CanonicalUrl>>,
    pub guid: Option<String>,
    pub located: Option<String>,
    pub dateline: Option<String>,
    pub info_sources: Option<Vec<String>>,
    pub authors: Option<Vec<String>>,
    pub keywords: Option<Vec<String>>,
    pub labels: Option<std::collections::BTreeMap<String, String>>,
    pub published: Option<Option<ArticleDate>>,
    pub updated: Option<Option<ArticleDate>>,
    pub embargo_time: Option<Option<Timestamp>>,
    pub title: Option<DraftSegment>,
    pub lead: Option<DraftSegment>,
    pub body: Option<Vec<DraftSegment>>,
}

impl ArticlePatch {
    /// Replaces the fields that `has` names.
    pub fn of(draft: &ArticleDraft, has: impl Fn(&str) -> bool) -> Self {
        let ArticleDraft {
            metadata, content, ..
        } = draft;
        macro_rules! taken {
            ($from:ident: $($field:ident),*) => { Self { $($field: has(stringify!($field)).then(|| $from.$field.clone()),)* ..Self::default() } };
        }
        Self {
            title: has("title").then(|| content.title.clone()),
            lead: has("lead").then(|| content.lead.clone()),
            body: has("body").then(|| content.body.clone()),
            ..taken!(metadata: language, section, publisher, canonical_url, guid, located, dateline, info_sources, authors,
                keywords, labels, published, updated, embargo_time)
        }
    }

    /// Replaces everything that a caller can set; but an embargo is not lifted by not naming it.
    pub fn replacing(draft: &ArticleDraft) -> Self {
        Self::of(draft, |field| {
            field != "embargo_time" || draft.metadata.embargo_time.is_some()
        })
    }

    /// Whether the content is touched at all.
    pub fn touches_content(&self) -> bool {
        self.title.is_some() || self.lead.is_some() || self.body.is_some()
    }

    /// The metadata after the change.
    pub fn metadata(&self, old: &Metadata) -> Metadata {
        fn pick<T: Clone>(new: &Option<T>, old: &T) -> T {
            new.as_ref().unwrap_or(old).clone()
        }
        Metadata {
            language: pick(&self.language, &old.language),
            section: pick(&self.section, &old.section),
            publisher: pick(&self.publisher, &old.publisher),
            canonical_url: pick(&self.canonical_url, &old.canonical_url),
            guid: pick(&self.guid, &old.guid),
            located: pick(&self.located, &old.located),
            dateline: pick(&self.dateline, &old.dateline),
            info_sources: pick(&self.info_sources, &old.info_sources),
            authors: pick(&self.authors, &old.authors),
            keywords: pick(&self.keywords, &old.keywords),
            labels: pick(&self.labels, &old.labels),
            published: pick(&self.published, &old.published),
            updated: pick(&self.updated, &old.updated),
            publication_status: old.publication_status,
            status_reason: old.status_reason.clone(),
            embargo_time: pick(&self.embargo_time, &old.embargo_time),
        }
    }

    /// The content after the change, as a draft: what is not touched keeps its ids.
    pub fn content(&self, old: &Content) -> DraftContent {
        let kept = |segment: &Segment| DraftSegment {
            id: Some(segment.id.clone()),
            role: segment.role,
            content: segment.content.clone(),
            translate: segment.translate,
        };
        DraftContent {
            title: self.title.clone().unwrap_or_else(|| kept(&old.title)),
            lead: self.lead.clone().unwrap_or_else(|| kept(&old.lead)),
            body: self
                .body
                .clone()
                .unwrap_or_else(|| old.body.iter().map(kept).collect()),
        }
    }
}

/// What is said about the publication of an article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// Whether it may be published.
    pub status: PublicationStatus,
    /// The end of its embargo, or that there is none; `None` leaves it as it is.
    pub embargo: Option<Option<Timestamp>>,
    /// Why; may be empty.
    pub reason: String,
}

impl StatusChange {
    /// The metadata after the change. Without a new reason what does not change keeps the old one.
    pub fn metadata(&self, old: &Metadata) -> Metadata {
        let mut new = Metadata {
            publication_status: self.status,
            embargo_time: self.embargo.unwrap_or(old.embargo_time),
            ..old.clone()
        };
        if new != *old || !self.reason.is_empty() {
            new.status_reason.clone_from(&self.reason);
        }
        new
    }
}

/// A content with its ids assigned, and the number that the next new segment gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The content.
    pub content: Content,
    /// The number.
    pub next_segment: u32,
}

/// Gives every segment of a draft its id. `base` is the body to align with: of the newest revision, or of the earlier one
/// that had the same content; empty for a new article.
pub fn assign(
    draft: DraftContent,
    base: &[Segment],
    departures: &Departures,
    next_segment: u32,
) -> Result<Assigned, Vec<Violation>> {
    let aligned = align(base, departures, next_segment, draft.body).map_err(|unknown| {
        unknown
            .into_iter()
            .map(|segment| {
                Violation::new(
                    format!("article.body[{}].segment_id", segment.index),
                    segment.to_string(),
                )
            })
            .collect::<Vec<_>>()
    });
    let mut violations = Vec::new();
    for (field, id, segment) in [
        ("article.title", SegmentId::Title, &draft.title),
        ("article.lead", SegmentId::Lead, &draft.lead),
    ] {
        if segment.id.as_ref().is_some_and(|given| *given != id) {
            violations.push(Violation::new(
                format!("{field}.segment_id"),
                format!("must be \"{id}\" or empty"),
            ));
        }
    }
    match aligned {
        Ok(Aligned { body, next_segment }) if violations.is_empty() => Ok(Assigned {
            content: Content {
                title: draft.title.with_id(SegmentId::Title),
                lead: draft.lead.with_id(SegmentId::Lead),
                body,
            },
            next_segment,
        }),
        Ok(_) => Err(violations),
        Err(mut unknown) => {
            violations.append(&mut unknown);
            Err(violations)
        }
    }
}

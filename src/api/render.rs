//! Domain values to answers.

use prost_types::Timestamp as PbTimestamp;

use super::page_token::{DiffPlace, Page};
use crate::domain::article::{PublicationStatus, Revision, Significance, Tombstone};
use crate::domain::date::{ArticleDate, Precision};
use crate::domain::diff::{Fate, TextChange};
use crate::domain::ids::SegmentId;
use crate::domain::language::Direction;
use crate::domain::request::Outcome;
use crate::domain::segment::{Mark, MarkedText, Role, Segment};
use crate::domain::time::Timestamp;
use crate::pb;
use crate::service::answers::Written;
use crate::service::diff::{ComparedSegment, Comparison};
use crate::service::snapshot::{RevisionFacts, Snapshot};
use crate::service::view::SUMMARY_IDS;

mod admin;
mod changes;
pub(super) mod job;
mod provenance;
mod quality;
mod translation;

pub(super) use admin::{backup_part, check_step, compact_step, coverage_bucket, status};
pub(super) use changes::{TOPICS, feed_message, filter_digest};
pub(super) use provenance::provenance;
pub(super) use quality::measured;
use translation::{agent, disposition, origin_class, overall, state, summary_of, target_segments};
pub(super) use translation::{served, summary, translation, translation_in_part, written_summary};

/// An instant.
pub(super) fn time(time: Timestamp) -> Option<PbTimestamp> {
    let (seconds, nanos) = time.to_seconds();
    Some(PbTimestamp { seconds, nanos })
}

/// An article after a write.
pub(super) fn written_article(written: &Written<Snapshot>) -> pb::Article {
    if written.is_readable {
        return article(&written.after);
    }
    let head = &written.after.state.head;
    pb::Article {
        article_id: head.id.to_string(),
        revision: head.revision(),
        etag: head.current.etag.to_string(),
        ..Default::default()
    }
}

/// An article.
pub(super) fn article(snapshot: &Snapshot) -> pb::Article {
    let head = &snapshot.state.head;
    let current = &head.current;
    let metadata = &current.metadata;
    let (summaries, count) = snapshot.summaries();
    pb::Article {
        article_id: head.id.to_string(),
        language: metadata.language.to_string(),
        direction: match metadata.language.direction() {
            Direction::Ltr => pb::Direction::Ltr.into(),
            Direction::Rtl => pb::Direction::Rtl.into(),
        },
        title: heading(&head.title),
        lead: heading(&head.lead),
        body: snapshot
            .revision()
            .map(|r| r.content.body.iter().map(segment).collect())
            .unwrap_or_default(),
        section: metadata.section.clone(),
        publisher: metadata.publisher.clone(),
        canonical_url: metadata
            .canonical_url
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        guid: metadata.guid.clone(),
        located: metadata.located.clone(),
        dateline: metadata.dateline.clone(),
        info_sources: metadata.info_sources.clone(),
        authors: metadata.authors.clone(),
        keywords: metadata.keywords.clone(),
        labels: metadata.labels.clone(),
        published: metadata.published.as_ref().map(date),
        updated: metadata.updated.as_ref().map(date),
        revision: head.revision(),
        etag: current.etag.to_string(),
        create_time: time(current.created.time),
        update_time: time(current.stamp.time),
        revise_time: time(current.revision.stamp.time),
        delete_time: current.deleted.and_then(|deleted| time(deleted.time)),
        translations: summaries
            .into_iter()
            .map(|(slot, head, freshness)| summary_of(slot, head, &freshness, SUMMARY_IDS))
            .collect(),
        translation_count: u32::try_from(count).unwrap_or(u32::MAX),
        publication_status: match metadata.publication_status {
            PublicationStatus::Usable => pb::PublicationStatus::Usable,
            PublicationStatus::Withheld => pb::PublicationStatus::Withheld,
            PublicationStatus::Canceled => pb::PublicationStatus::Canceled,
        }
        .into(),
        embargo_time: metadata.embargo_time.and_then(time),
        status_reason: metadata.status_reason.clone(),
    }
}

fn heading(segment: &Segment) -> Option<pb::Segment> {
    (!segment.content.text().is_empty()).then(|| self::segment(segment))
}

fn segment(segment: &Segment) -> pb::Segment {
    let role = match (&segment.id, segment.role) {
        (SegmentId::Title | SegmentId::Lead, _) => pb::SegmentRole::Unspecified,
        (_, Role::Paragraph) => pb::SegmentRole::Paragraph,
        (_, Role::Subhead) => pb::SegmentRole::Subhead,
        (_, Role::Quote) => pb::SegmentRole::Quote,
        (_, Role::ListItem) => pb::SegmentRole::ListItem,
        (_, Role::Caption) => pb::SegmentRole::Caption,
        (_, Role::Note) => pb::SegmentRole::Note,
    };
    pb::Segment {
        segment_id: segment.id.to_string(),
        role: role.into(),
        text: segment.content.text().to_owned(),
        spans: spans(&segment.content),
        translate: (!segment.translate).then_some(false),
    }
}

fn spans(text: &MarkedText) -> Vec<pb::Span> {
    let span = |span: &crate::domain::segment::Span| {
        let (mark, href) = match &span.mark {
            Mark::Bold => (pb::SpanMark::Bold, ""),
            Mark::Italic => (pb::SpanMark::Italic, ""),
            Mark::Link(href) => (pb::SpanMark::Link, href.as_str()),
            Mark::Code => (pb::SpanMark::Code, ""),
            Mark::Other => (pb::SpanMark::Other, ""),
        };
        pb::Span {
            start: span.start,
            end: span.end,
            mark: mark.into(),
            href: href.to_owned(),
        }
    };
    text.spans().iter().map(span).collect()
}

/// A date.
pub(crate) fn date(date: &ArticleDate) -> pb::ArticleDate {
    let precision = match date.precision {
        Precision::Day => pb::DatePrecision::Day,
        Precision::Minute => pb::DatePrecision::Minute,
        Precision::Second => pb::DatePrecision::Second,
    };
    pb::ArticleDate {
        instant: date.instant.and_then(time),
        original: date.original.clone(),
        utc_offset_minutes: i32::from(date.utc_offset_minutes),
        precision: precision.into(),
        zone_assumed: date.zone_assumed,
    }
}

/// What is left of a purged article.
pub(super) fn tombstone(tombstone: Tombstone) -> pb::PurgeArticleResponse {
    pb::PurgeArticleResponse {
        article_id: tombstone.article.to_string(),
        purge_time: time(tombstone.stamp.time),
        reason: tombstone.reason,
        principal: tombstone.actor.principal,
    }
}

/// A revision without its text.
pub(super) fn revision(revision: &RevisionFacts) -> pb::ArticleRevision {
    let (title, segments) = revision.outline.clone().unwrap_or_default();
    pb::ArticleRevision {
        revision: revision.number,
        create_time: time(revision.stamp.time),
        significance: significance(revision.significance).into(),
        title,
        segment_count: u32::try_from(segments).unwrap_or(u32::MAX),
        principal: revision.actor.principal.clone(),
        significance_proposed: revision.is_proposed,
        text_dropped: revision.outline.is_none(),
    }
}

fn significance(significance: Option<Significance>) -> pb::Significance {
    match significance {
        None => pb::Significance::Unspecified,
        Some(Significance::Typo) => pb::Significance::Typo,
        Some(Significance::Minor) => pb::Significance::Minor,
        Some(Significance::Major) => pb::Significance::Major,
        Some(Significance::Correction) => pb::Significance::Correction,
        Some(Significance::Retraction) => pb::Significance::Retraction,
    }
}

/// A page of the comparison of two revisions.
pub(super) fn comparison(comparison: &Comparison, start: usize, page: &Page) -> pb::DiffRevisionsResponse {
    let number = |revision: Option<&Revision>| revision.map_or(0, |r| r.number);
    let (from, to) = (number(comparison.from()), number(comparison.to()));
    let (segments, next) = comparison.page(start);
    let next = next.map(|segment| DiffPlace { to, segment });
    pb::DiffRevisionsResponse {
        from_revision: from,
        to_revision: to,
        significance: significance(comparison.significance.map(|(significance, _)| significance)).into(),
        significance_proposed: comparison.significance.is_some_and(|(_, proposed)| proposed),
        segments: segments.iter().map(segment_diff).collect(),
        next_page_token: page.next(next.as_ref()),
    }
}

fn segment_diff(segment: &ComparedSegment<'_>) -> pb::SegmentDiff {
    let diff = &segment.diff;
    let text = |segment: Option<&Segment>| segment.map(|s| s.content.text().to_owned());
    let has_texts = diff.fate != Fate::Unchanged && !segment.is_too_long;
    let shown = |side: Option<&Segment>| text(side.filter(|_| has_texts)).unwrap_or_default();
    let range = |change: &TextChange| pb::TextChange {
        old_start: change.old.start,
        old_end: change.old.end,
        new_start: change.new.start,
        new_end: change.new.end,
    };
    pb::SegmentDiff {
        segment_id: diff
            .new
            .or(diff.old)
            .map(|s| s.id.to_string())
            .unwrap_or_default(),
        change: match diff.fate {
            Fate::Unchanged => pb::SegmentChange::Unchanged,
            Fate::Moved => pb::SegmentChange::Moved,
            Fate::Changed => pb::SegmentChange::Changed,
            Fate::Added => pb::SegmentChange::Added,
            Fate::Removed => pb::SegmentChange::Removed,
        }
        .into(),
        moved: diff.moved,
        old_text: shown(diff.old),
        new_text: shown(diff.new),
        text_changes: segment.changes.iter().map(range).collect(),
        texts_omitted: segment.is_too_long,
    }
}

/// What became of an imported item.
pub(super) fn import_result(outcome: Outcome) -> pb::ImportResult {
    match outcome {
        Outcome::Created => pb::ImportResult::Created,
        Outcome::Changed | Outcome::Diverted => pb::ImportResult::Revised,
        Outcome::Unchanged => pb::ImportResult::Unchanged,
    }
}

/// What became of an attached translation.
pub(super) fn attach_outcome(outcome: Outcome) -> pb::AttachOutcome {
    match outcome {
        Outcome::Created => pb::AttachOutcome::Created,
        Outcome::Changed => pb::AttachOutcome::Updated,
        Outcome::Unchanged => pb::AttachOutcome::Unchanged,
        Outcome::Diverted => pb::AttachOutcome::Diverted,
    }
}

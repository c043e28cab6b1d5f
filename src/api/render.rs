//! Domain values to answers.

use std::collections::BTreeMap;

use prost_types::Timestamp as PbTimestamp;

use super::page_token::{DiffPlace, Page};
use crate::domain::article::{PublicationStatus, Revision, Significance, Tombstone};
use crate::domain::date::{ArticleDate, Precision};
use crate::domain::diff::{Fate, TextChange};
use crate::domain::freshness::{Freshness, Overall};
use crate::domain::ids::SegmentId;
use crate::domain::language::Direction;
use crate::domain::provenance::{Agent, AgentKind, OriginClass};
use crate::domain::quality::evidence::Standing;
use crate::domain::request::Outcome;
use crate::domain::segment::{Mark, MarkedText, Role, Segment};
use crate::domain::time::Timestamp;
use crate::domain::translation::{Binding, Disposition, QualityScore, Slot, State, TranslationHead};
use crate::pb;
use crate::service::answers::Written;
use crate::service::articles::ReadArticle;
use crate::service::diff::{ComparedSegment, Comparison};
use crate::service::snapshot::{RevisionFacts, Snapshot, TranslationSnapshot};
use crate::service::translations::Parts;
use crate::service::view::SUMMARY_IDS;

mod admin;
mod changes;
pub(super) mod job;
mod provenance;
mod quality;

pub(super) use admin::{backup_part, check_step, compact_step, coverage_bucket, status};
pub(super) use changes::{TOPICS, feed_message, filter_digest};
pub(super) use provenance::provenance;
pub(super) use quality::measured;

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

/// A translation after a write, without its texts.
pub(super) fn written_summary(written: &Written<TranslationSnapshot>) -> pb::TranslationSummary {
    if written.is_readable {
        return summary(&written.after);
    }
    let TranslationSnapshot { slot, head, .. } = &written.after;
    pb::TranslationSummary {
        language: slot.language.to_string(),
        translation_id: head.id.to_string(),
        source_revision: head.source_revision,
        etag: head.etag.to_string(),
        slot_etag: slot.etag.to_string(),
        ..Default::default()
    }
}

/// A translation without its texts.
pub(super) fn summary(snapshot: &TranslationSnapshot) -> pb::TranslationSummary {
    let since = snapshot.stale_since;
    pb::TranslationSummary {
        stale_since_revision: since.map(|since| since.revision).unwrap_or_default(),
        stale_significance: significance(since.and_then(|since| since.significance)).into(),
        ..summary_of(&snapshot.slot, &snapshot.head, &snapshot.freshness, usize::MAX)
    }
}

/// A summary that names so many segments of each kind.
fn summary_of(
    slot: &Slot,
    head: &TranslationHead,
    freshness: &Freshness,
    max_ids: usize,
) -> pb::TranslationSummary {
    let ids = |ids: &[SegmentId]| ids.iter().take(max_ids).map(ToString::to_string).collect();
    let count = |ids: &[SegmentId]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
    pb::TranslationSummary {
        language: slot.language.to_string(),
        translation_id: head.id.to_string(),
        source_revision: head.source_revision,
        state: state(head.state()).into(),
        freshness: overall(freshness.overall).into(),
        current_segments: u32::try_from(freshness.current).unwrap_or(u32::MAX),
        stale_segment_ids: ids(&freshness.stale),
        missing_segment_ids: ids(&freshness.missing),
        orphaned_segment_ids: ids(&freshness.orphaned),
        moved_segment_ids: ids(&freshness.moved),
        stale_segments: count(&freshness.stale),
        missing_segments: count(&freshness.missing),
        orphaned_segments: count(&freshness.orphaned),
        moved_segments: count(&freshness.moved),
        stale_since_revision: 0,
        stale_significance: pb::Significance::Unspecified.into(),
        disposition: disposition(head.disposition).into(),
        origin_class: origin_class(head.origin_class()).into(),
        external_uri: head.external_uri.clone(),
        etag: head.etag.to_string(),
        slot_etag: slot.etag.to_string(),
        create_time: time(head.created.time),
        update_time: time(head.updated.time),
    }
}

fn disposition(disposition: Disposition) -> pb::Disposition {
    match disposition {
        Disposition::Candidate => pb::Disposition::Candidate,
        Disposition::Active => pb::Disposition::Active,
        Disposition::Rejected => pb::Disposition::Rejected,
        Disposition::Superseded => pb::Disposition::Superseded,
        Disposition::Withdrawn => pb::Disposition::Withdrawn,
    }
}

fn state(state: State) -> pb::TranslationState {
    match state {
        State::Initial => pb::TranslationState::Initial,
        State::Translated => pb::TranslationState::Translated,
        State::Reviewed => pb::TranslationState::Reviewed,
        State::Final => pb::TranslationState::Final,
    }
}

fn origin_class(class: OriginClass) -> pb::OriginClass {
    match class {
        OriginClass::MachineUnreviewed => pb::OriginClass::MachineUnreviewed,
        OriginClass::MachineReviewed => pb::OriginClass::MachineReviewed,
        OriginClass::MachinePostedited => pb::OriginClass::MachinePostedited,
        OriginClass::Human => pb::OriginClass::Human,
        OriginClass::Mixed => pb::OriginClass::Mixed,
        OriginClass::Unknown => pb::OriginClass::Unknown,
    }
}

fn overall(overall: Overall) -> pb::Freshness {
    match overall {
        Overall::Current => pb::Freshness::Current,
        Overall::Moved => pb::Freshness::Moved,
        Overall::Orphaned => pb::Freshness::Orphaned,
        Overall::Stale => pb::Freshness::Stale,
        Overall::Incomplete => pb::Freshness::Incomplete,
    }
}

fn kind(kind: AgentKind) -> pb::AgentKind {
    match kind {
        AgentKind::Human => pb::AgentKind::Human,
        AgentKind::Mt => pb::AgentKind::Mt,
        AgentKind::Llm => pb::AgentKind::Llm,
        AgentKind::Tm => pb::AgentKind::Tm,
        AgentKind::Import => pb::AgentKind::Import,
        AgentKind::Rule => pb::AgentKind::Rule,
    }
}

/// A translation with its texts.
pub(super) fn translation(snapshot: &TranslationSnapshot) -> pb::Translation {
    let mut segments = target_segments(snapshot);
    let body = snapshot
        .head
        .bindings
        .iter()
        .filter(|binding| matches!(binding.id, SegmentId::Body(_)))
        .filter_map(|binding| segments.remove(&binding.id))
        .collect();
    let version = snapshot.version();
    let scores = version.map(|version| version.quality_scores.as_slice());
    let issues = version.map(|version| version.quality_issues.as_slice());
    let standing = Standing::of(&snapshot.head, &snapshot.freshness);
    pb::Translation {
        article_id: snapshot.article.to_string(),
        language: snapshot.slot.language.to_string(),
        translation_id: snapshot.head.id.to_string(),
        source_revision: snapshot.head.source_revision,
        title: segments.remove(&SegmentId::Title),
        lead: segments.remove(&SegmentId::Lead),
        body,
        external_uri: snapshot.head.external_uri.clone(),
        summary: Some(summary(snapshot)),
        agent: Some(agent(&snapshot.head.agent)),
        quality_scores: scores
            .unwrap_or_default()
            .iter()
            .map(|score| quality_score(score, standing.is_outdated(score)))
            .collect(),
        quality_issues: issues
            .unwrap_or_default()
            .iter()
            .map(|issue| quality::issue(issue, standing.is_outdated(issue)))
            .collect(),
    }
}

/// The same without the texts, or without the scores and issues.
pub(super) fn translation_in_part(snapshot: &TranslationSnapshot, parts: Parts) -> pb::Translation {
    let all = translation(snapshot);
    match parts {
        Parts::All => all,
        Parts::Texts => pb::Translation {
            quality_scores: Vec::new(),
            quality_issues: Vec::new(),
            ..all
        },
        Parts::Evidence => pb::Translation {
            title: None,
            lead: None,
            body: Vec::new(),
            ..all
        },
    }
}

/// Which text a reader gets.
pub(super) fn served(read: &ReadArticle) -> pb::ServedText {
    let Some(snapshot) = &read.translation else {
        let language = &read.article.state.head.current.metadata.language;
        return pb::ServedText {
            served_language: language.to_string(),
            is_fallback: read.is_fallback,
            freshness: pb::Freshness::Current.into(),
            ..pb::ServedText::default()
        };
    };
    let summary = summary(snapshot);
    pb::ServedText {
        served_language: summary.language,
        is_fallback: read.is_fallback,
        translation_id: summary.translation_id,
        state: summary.state,
        freshness: summary.freshness,
        origin_class: summary.origin_class,
        stale_segment_ids: summary.stale_segment_ids,
        stale_since_revision: summary.stale_since_revision,
        stale_significance: summary.stale_significance,
    }
}

/// The texts of a translation by segment; none where they were not read.
fn target_segments(snapshot: &TranslationSnapshot) -> BTreeMap<SegmentId, pb::TargetSegment> {
    let texts = snapshot
        .version()
        .map(|version| version.texts.as_slice())
        .unwrap_or_default();
    let segments = snapshot.head.bindings.iter().zip(texts);
    segments
        .map(|(binding, text)| (binding.id.clone(), target_segment(snapshot, binding, text)))
        .collect()
}

fn target_segment(snapshot: &TranslationSnapshot, binding: &Binding, text: &MarkedText) -> pb::TargetSegment {
    let freshness = &snapshot.freshness;
    let of = |ids: &[SegmentId]| ids.contains(&binding.id);
    let freshness = if of(&freshness.stale) {
        pb::Freshness::Stale
    } else if of(&freshness.orphaned) {
        pb::Freshness::Orphaned
    } else if of(&freshness.moved) {
        pb::Freshness::Moved
    } else {
        pb::Freshness::Current
    };
    pb::TargetSegment {
        segment_id: binding.id.to_string(),
        text: text.text().to_owned(),
        spans: spans(text),
        state: state(binding.state).into(),
        source_revision: binding.source_revision,
        freshness: freshness.into(),
        writer: kind(binding.writer).into(),
        sub_state: binding.sub_state.clone(),
    }
}

fn agent(agent: &Agent) -> pb::Agent {
    pb::Agent {
        kind: kind(agent.kind).into(),
        person: agent.person.clone(),
        organization: agent.organization.clone(),
        tool: agent.tool.clone(),
        engine: agent.engine.clone(),
        model: agent.model.clone(),
        model_version: agent.model_version.clone(),
        rev_person: agent.rev_person.clone(),
        rev_organization: agent.rev_organization.clone(),
        rev_tool: agent.rev_tool.clone(),
        prompt_id: agent.prompt_id.clone(),
        glossary_id: agent.glossary_id.clone(),
        memory_id: agent.memory_id.clone(),
    }
}

fn quality_score(score: &QualityScore, outdated: bool) -> pb::QualityScore {
    pb::QualityScore {
        metric: score.metric.clone(),
        metric_version: score.metric_version.clone(),
        model: score.model.clone(),
        value: score.value,
        min: score.min,
        max: score.max,
        higher_is_better: score.higher_is_better,
        segment_id: score
            .segment
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        reference_kind: score.reference_kind.clone(),
        scorer: score.scorer.clone(),
        create_time: time(score.stamp.time),
        outdated,
    }
}

//! Translations and what is served of them.

use std::collections::BTreeMap;

use super::{quality, significance, spans, time};
use crate::domain::freshness::{Freshness, Overall};
use crate::domain::ids::SegmentId;
use crate::domain::provenance::{Agent, AgentKind, OriginClass};
use crate::domain::quality::evidence::Standing;
use crate::domain::segment::MarkedText;
use crate::domain::translation::{Binding, Disposition, QualityScore, Slot, State, TranslationHead};
use crate::pb;
use crate::service::answers::Written;
use crate::service::articles::ReadArticle;
use crate::service::snapshot::TranslationSnapshot;
use crate::service::translations::Parts;

/// A translation after a write, without its texts.
pub(in crate::api) fn written_summary(written: &Written<TranslationSnapshot>) -> pb::TranslationSummary {
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
pub(in crate::api) fn summary(snapshot: &TranslationSnapshot) -> pb::TranslationSummary {
    let since = snapshot.stale_since;
    pb::TranslationSummary {
        stale_since_revision: since.map(|since| since.revision).unwrap_or_default(),
        stale_significance: significance(since.and_then(|since| since.significance)).into(),
        ..summary_of(&snapshot.slot, &snapshot.head, &snapshot.freshness, usize::MAX)
    }
}

/// A summary that names at most `max_ids` segments of each kind.
pub(in crate::api) fn summary_of(
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

pub(in crate::api) fn disposition(disposition: Disposition) -> pb::Disposition {
    match disposition {
        Disposition::Candidate => pb::Disposition::Candidate,
        Disposition::Active => pb::Disposition::Active,
        Disposition::Rejected => pb::Disposition::Rejected,
        Disposition::Superseded => pb::Disposition::Superseded,
        Disposition::Withdrawn => pb::Disposition::Withdrawn,
    }
}

pub(in crate::api) fn state(state: State) -> pb::TranslationState {
    match state {
        State::Initial => pb::TranslationState::Initial,
        State::Translated => pb::TranslationState::Translated,
        State::Reviewed => pb::TranslationState::Reviewed,
        State::Final => pb::TranslationState::Final,
    }
}

pub(in crate::api) fn origin_class(class: OriginClass) -> pb::OriginClass {
    match class {
        OriginClass::MachineUnreviewed => pb::OriginClass::MachineUnreviewed,
        OriginClass::MachineReviewed => pb::OriginClass::MachineReviewed,
        OriginClass::MachinePostedited => pb::OriginClass::MachinePostedited,
        OriginClass::Human => pb::OriginClass::Human,
        OriginClass::Mixed => pb::OriginClass::Mixed,
        OriginClass::Unknown => pb::OriginClass::Unknown,
    }
}

pub(in crate::api) fn overall(overall: Overall) -> pb::Freshness {
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
pub(in crate::api) fn translation(snapshot: &TranslationSnapshot) -> pb::Translation {
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
pub(in crate::api) fn translation_in_part(snapshot: &TranslationSnapshot, parts: Parts) -> pb::Translation {
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
pub(in crate::api) fn served(read: &ReadArticle) -> pb::ServedText {
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
pub(in crate::api) fn target_segments(
    snapshot: &TranslationSnapshot,
) -> BTreeMap<SegmentId, pb::TargetSegment> {
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

pub(in crate::api) fn agent(agent: &Agent) -> pb::Agent {
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

//! Translations and what comes with them.

use std::fmt::Display;

use super::Fields;
use crate::api::Limits;
use crate::domain::Invalid;
use crate::domain::article::MAX_URL;
use crate::domain::attach::{BodyTexts, TargetText, TargetTexts};
use crate::domain::ids::SegmentId;
use crate::domain::provenance::{Agent, AgentKind, Provenance};
use crate::domain::segment::{TextHash, check_text};
use crate::domain::time::Stamp;
use crate::domain::translation::{QualityScore, State};
use crate::pb;
use crate::service::Call;

/// The texts of a translation.
pub(in crate::api) fn target_texts(
    text: pb::TargetText,
    limits: &Limits,
    fields: &mut Fields,
) -> Option<TargetTexts> {
    let heading = |fields: &mut Fields, name: &str, segment: Option<pb::TargetSegment>| {
        let segment = segment?;
        if !segment.segment_id.is_empty() && segment.segment_id != name {
            fields.wrong(
                format!("text.{name}.segment_id"),
                format!("must be {name:?} or empty"),
            );
        }
        target_text(format_args!("text.{name}"), segment, fields)
    };
    let title = heading(fields, "title", text.title);
    let lead = heading(fields, "lead", text.lead);
    if !fields.limited("text.body", text.body.len(), limits.segments) {
        return None;
    }
    let with_id = text
        .body
        .iter()
        .filter(|segment| !segment.segment_id.is_empty())
        .count();
    if with_id != 0 && with_id != text.body.len() {
        let count = text.body.len();
        fields.wrong(
            "text.body",
            format!("{with_id} of {count} segments have an id; give it to all or to none"),
        );
        return None;
    }
    let mut texts = Vec::with_capacity(text.body.len());
    for (index, mut segment) in text.body.into_iter().enumerate() {
        let field = format_args!("text.body[{index}]");
        let id = std::mem::take(&mut segment.segment_id);
        if let Some(text) = target_text(field, segment, fields) {
            texts.push((index, id, text));
        }
    }
    let body = if with_id == 0 {
        BodyTexts::InOrder(texts.into_iter().map(|(_, _, text)| text).collect())
    } else {
        let mut by_id = Vec::with_capacity(texts.len());
        for (index, id, text) in texts {
            if let Some(id) = fields.check(
                format_args!("text.body[{index}].segment_id"),
                SegmentId::parse(&id),
            ) {
                by_id.push((id, text));
            }
        }
        BodyTexts::ById(by_id)
    };
    Some(TargetTexts { title, lead, body })
}

/// The longest `subState` of XLIFF that anybody needs.
const MAX_SUB_STATE: usize = 64;

fn target_text(field: impl Display, segment: pb::TargetSegment, fields: &mut Fields) -> Option<TargetText> {
    let sub_state = segment.sub_state;
    let well_formed = sub_state
        .split_once(':')
        .is_some_and(|(prefix, value)| !prefix.is_empty() && !value.is_empty());
    if !sub_state.is_empty() && (!well_formed || sub_state.len() > MAX_SUB_STATE) {
        let description = format!("{sub_state:.80?} is not prefix:value of at most {MAX_SUB_STATE} bytes");
        fields.wrong(format_args!("{field}.sub_state"), description);
    } else {
        fields.check(format_args!("{field}.sub_state"), check_text(&sub_state));
    }
    let content = fields.marked_text(field, segment.text, segment.spans)?;
    Some(TargetText { content, sub_state })
}

/// An absolute URI that the store only keeps.
pub(in crate::api) fn external_uri(uri: String, fields: &mut Fields) -> Option<String> {
    let checked = match url::Url::parse(&uri) {
        _ if uri.len() > MAX_URL => Err(Invalid::new(format!(
            "{} bytes are more than {MAX_URL}",
            uri.len()
        ))),
        Ok(_) => check_text(&uri),
        Err(_) => Err(Invalid::new(format!("{uri:.100?} is not an absolute URI"))),
    };
    fields.check("external_uri", checked).map(|()| uri)
}

/// The state of a text that is attached.
pub(in crate::api) fn attached_state(number: i32, fields: &mut Fields) -> Option<State> {
    Some(
        match fields.choice("state", number, pb::TranslationState::try_from)? {
            pb::TranslationState::Initial => State::Initial,
            pb::TranslationState::Unspecified | pb::TranslationState::Translated => State::Translated,
            pb::TranslationState::Reviewed => State::Reviewed,
            pb::TranslationState::Final => State::Final,
        },
    )
}

/// The agent, as far as the caller may declare it.
pub(in crate::api) fn agent(agent: Option<pb::Agent>, call: &Call, fields: &mut Fields) -> Option<Agent> {
    let Some(agent) = agent else {
        fields.wrong("agent", "is required: who or what did the work");
        return None;
    };
    let kind = match fields.choice("agent.kind", agent.kind, pb::AgentKind::try_from) {
        Some(pb::AgentKind::Human) => Some(AgentKind::Human),
        Some(pb::AgentKind::Mt) => Some(AgentKind::Mt),
        Some(pb::AgentKind::Llm) => Some(AgentKind::Llm),
        Some(pb::AgentKind::Tm) => Some(AgentKind::Tm),
        Some(pb::AgentKind::Import) => Some(AgentKind::Import),
        Some(pb::AgentKind::Rule) => Some(AgentKind::Rule),
        Some(pb::AgentKind::Unspecified) => {
            fields.wrong("agent.kind", "is required: HUMAN, MT, LLM, TM, IMPORT or RULE");
            None
        }
        None => None,
    };
    let mut text = |field, value| fields.text(format_args!("agent.{field}"), value);
    let declared = Agent {
        // One without a kind is refused for that.
        kind: kind.unwrap_or(AgentKind::Import),
        person: text("person", agent.person),
        organization: text("organization", agent.organization),
        tool: text("tool", agent.tool),
        engine: text("engine", agent.engine),
        model: text("model", agent.model),
        model_version: text("model_version", agent.model_version),
        rev_person: text("rev_person", agent.rev_person),
        rev_organization: text("rev_organization", agent.rev_organization),
        rev_tool: text("rev_tool", agent.rev_tool),
        prompt_id: text("prompt_id", agent.prompt_id),
        glossary_id: text("glossary_id", agent.glossary_id),
        memory_id: text("memory_id", agent.memory_id),
        principal: String::new(),
    };
    match kind {
        Some(_) => fields.permitted(call.admit(declared)),
        None => Some(declared),
    }
}

/// What a write took.
pub(in crate::api) fn effort(
    effort: Option<pb::Effort>,
    provenance: Provenance,
    fields: &mut Fields,
) -> Provenance {
    let Some(effort) = effort else { return provenance };
    let is_currency = effort.currency.len() == 3 && effort.currency.bytes().all(|b| b.is_ascii_uppercase());
    if (effort.cost_micros > 0 || !effort.currency.is_empty()) && !is_currency {
        fields.wrong(
            "effort.currency",
            format!("{:.16?} is not an ISO 4217 code such as \"EUR\"", effort.currency),
        );
    }
    if effort.match_quality.is_some_and(|quality| quality > 100) {
        fields.wrong("effort.match_quality", "is more than 100 per cent");
    }
    Provenance {
        pivot: fields.text("effort.pivot", effort.pivot),
        characters: effort.characters,
        cost_micros: effort.cost_micros,
        currency: effort.currency,
        duration_ms: effort.duration_ms,
        match_quality: effort.match_quality,
        ..provenance
    }
}

/// The most scores of one write.
const MAX_SCORES: usize = 1_000;

/// Scores of the texts that are sent.
pub(in crate::api) fn quality_scores(
    scores: Vec<pb::QualityScore>,
    fields: &mut Fields,
) -> Vec<QualityScore> {
    if scores.len() > MAX_SCORES {
        fields.wrong(
            "quality_scores",
            format!("{} scores are more than {MAX_SCORES}", scores.len()),
        );
        return Vec::new();
    }
    let mut converted = Vec::with_capacity(scores.len());
    for (index, score) in scores.into_iter().enumerate() {
        let field = |name: &str| format!("quality_scores[{index}].{name}");
        if score.metric.is_empty() {
            fields.wrong(field("metric"), "is required");
        }
        if !(score.min.is_finite() && score.max.is_finite() && score.min < score.max) {
            fields.wrong(
                field("max"),
                format!("{} to {} is not a range of scores", score.min, score.max),
            );
        } else if !(score.min..=score.max).contains(&score.value) {
            fields.wrong(
                field("value"),
                format!("{} is not within {} to {}", score.value, score.min, score.max),
            );
        }
        let segment = match score.segment_id.as_str() {
            "" => None,
            id => fields.check(field("segment_id"), SegmentId::parse(id)),
        };
        converted.push(QualityScore {
            metric: fields.text(field("metric"), score.metric),
            metric_version: fields.text(field("metric_version"), score.metric_version),
            model: fields.text(field("model"), score.model),
            value: score.value,
            min: score.min,
            max: score.max,
            higher_is_better: score.higher_is_better,
            segment,
            target_hash: TextHash([0; 16]),
            source_hash: TextHash([0; 16]),
            reference_kind: fields.text(field("reference_kind"), score.reference_kind),
            scorer: fields.text(field("scorer"), score.scorer),
            stamp: Stamp::PENDING,
        });
    }
    converted
}

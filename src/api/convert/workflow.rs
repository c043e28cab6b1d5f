//! Steps of the workflow: reviews, acknowledgements, and decisions on what is served.

use super::translation::{agent, effort};
use super::{Fields, MAX_SEGMENTS};
use crate::domain::ids::SegmentId;
use crate::domain::provenance::{Agent, Provenance, Step};
use crate::domain::selection::Decided;
use crate::domain::translation::State;
use crate::pb;
use crate::service::translations::TranslationName;
use crate::service::workflow::{Acknowledgement, Choice, Review};
use crate::service::{Call, Result};

/// Names a translation; an empty id is the active one.
pub(in crate::api) fn name(
    article: &str,
    language: &str,
    id: &str,
    fields: &mut Fields,
) -> Option<TranslationName> {
    let article = fields.article_id("article_id", article);
    let language = fields.language("language", language);
    let id = fields.translation_id("translation_id", id);
    Some(TranslationName {
        article: article?,
        language: language?,
        id,
    })
}

/// A review.
pub(in crate::api) fn review(
    request: pb::ReviewTranslationRequest,
    call: &Call,
    mut fields: Fields,
) -> Result<Review> {
    let fields = &mut fields;
    let name = translation_name!(request, fields);
    let etag = required_etag(&request.etag, fields);
    let segments = segments(&request.segment_ids, fields);
    let to = match fields.choice("state", request.state, pb::TranslationState::try_from) {
        Some(pb::TranslationState::Initial) => Some(State::Initial),
        Some(pb::TranslationState::Translated) => Some(State::Translated),
        Some(pb::TranslationState::Reviewed) => Some(State::Reviewed),
        Some(pb::TranslationState::Final) => Some(State::Final),
        Some(pb::TranslationState::Unspecified) => {
            fields.wrong("state", "is required: INITIAL, TRANSLATED, REVIEWED or FINAL");
            None
        }
        None => None,
    };
    let provenance = provenance(Step::Reviewed, request.agent, request.reason, call, fields);
    let provenance = provenance.map(|provenance| effort(request.effort, provenance, fields));
    let parts = name.zip(to).zip(provenance).zip(etag);
    let review = parts.map(|(((name, to), provenance), etag)| Review {
        name,
        segments,
        to,
        provenance,
        etag,
    });
    std::mem::take(fields).finish(review)
}

/// An acknowledgement.
pub(in crate::api) fn acknowledgement(
    request: pb::AcknowledgeSourceRequest,
    call: &Call,
    mut fields: Fields,
) -> Result<Acknowledgement> {
    let fields = &mut fields;
    let name = translation_name!(request, fields);
    let etag = required_etag(&request.etag, fields);
    let segments = segments(&request.segment_ids, fields);
    if request.source_revision == 0 {
        fields.wrong(
            "source_revision",
            "is required: the revision of the article that the targets hold for",
        );
    }
    required_reason(&request.reason, fields);
    let provenance = provenance(Step::Acknowledged, request.agent, request.reason, call, fields);
    let parts = name.zip(provenance).zip(etag);
    let acknowledgement = parts.map(|((name, provenance), etag)| Acknowledgement {
        name,
        segments,
        source_revision: request.source_revision,
        provenance,
        etag,
    });
    std::mem::take(fields).finish(acknowledgement)
}

/// The selection of a translation.
pub(in crate::api) fn selection(
    request: pb::SelectTranslationRequest,
    call: &Call,
    mut fields: Fields,
) -> Result<Choice> {
    let name = certain_name(
        &request.article_id,
        &request.language,
        &request.translation_id,
        &mut fields,
    );
    let etag = fields.etag("slot_etag", &request.slot_etag);
    let decided = decided(request.agent, request.reason, call, &mut fields);
    fields.finish(name.map(|name| Choice { name, decided, etag }))
}

/// The rejection of a translation.
pub(in crate::api) fn rejection(
    request: pb::RejectTranslationRequest,
    call: &Call,
    mut fields: Fields,
) -> Result<Choice> {
    let name = certain_name(
        &request.article_id,
        &request.language,
        &request.translation_id,
        &mut fields,
    );
    let etag = fields.etag("etag", &request.etag);
    required_reason(&request.reason, &mut fields);
    let decided = decided(request.agent, request.reason, call, &mut fields);
    fields.finish(name.map(|name| Choice { name, decided, etag }))
}

/// The withdrawal of a translation.
pub(in crate::api) fn withdrawal(
    request: pb::DetachTranslationRequest,
    call: &Call,
    mut fields: Fields,
) -> Result<Choice> {
    let name = certain_name(
        &request.article_id,
        &request.language,
        &request.translation_id,
        &mut fields,
    );
    let etag = fields.etag("etag", &request.etag);
    let decided = decided(request.agent, request.reason, call, &mut fields);
    fields.finish(name.map(|name| Choice { name, decided, etag }))
}

/// Names a certain translation, not whichever is active.
fn certain_name(article: &str, language: &str, id: &str, fields: &mut Fields) -> Option<TranslationName> {
    if id.is_empty() {
        fields.wrong("translation_id", "is required");
    }
    name(article, language, id, fields)
}

fn required_etag(etag: &str, fields: &mut Fields) -> Option<crate::domain::etag::ExpectedEtag> {
    if etag.is_empty() {
        fields.wrong("etag", "is required: the etag of the translation that was read");
    }
    fields.etag("etag", etag)
}

fn required_reason(reason: &str, fields: &mut Fields) {
    if reason.trim().is_empty() {
        fields.wrong("reason", "is required");
    }
}

fn segments(ids: &[String], fields: &mut Fields) -> Vec<SegmentId> {
    if !fields.limited("segment_ids", ids.len(), MAX_SEGMENTS) {
        return Vec::new();
    }
    let ids = ids.iter().enumerate();
    ids.filter_map(|(index, id)| fields.check(format_args!("segment_ids[{index}]"), SegmentId::parse(id)))
        .collect()
}

fn provenance(
    step: Step,
    agent: Option<pb::Agent>,
    reason: String,
    call: &Call,
    fields: &mut Fields,
) -> Option<Provenance> {
    let agent = self::agent(agent, call, fields);
    let reason = fields.text("reason", reason);
    Some(Provenance {
        reason,
        request_id: call.request.map(|request| request.id),
        ..Provenance::of(step, agent?, call.actor().clone())
    })
}

fn decided(agent: Option<pb::Agent>, reason: String, call: &Call, fields: &mut Fields) -> Decided {
    let agent: Option<Agent> = agent.and_then(|agent| self::agent(Some(agent), call, fields));
    Decided {
        agent,
        actor: call.actor().clone(),
        reason: fields.text("reason", reason),
        request_id: call.request.map(|request| request.id),
    }
}

//! Records of provenance to answers.

use super::{agent, state, time};
use crate::domain::ids::RequestId;
use crate::domain::provenance::{Choice, Provenance, Step};
use crate::domain::translation::{Selection, TranslationVersion};
use crate::pb;
use crate::service::provenance::{Record, Recorded};

/// A step of the work on a translation.
pub(in crate::api) fn provenance(recorded: &Recorded) -> pb::ProvenanceRecord {
    match recorded.record() {
        Some(Record::Version(version)) => written(version),
        Some(Record::Selection(selection)) => chosen(selection),
        None => pb::ProvenanceRecord::default(),
    }
}

fn written(version: &TranslationVersion) -> pb::ProvenanceRecord {
    let (head, provenance) = (&version.head, &version.provenance);
    pb::ProvenanceRecord {
        step: step(provenance.step).into(),
        translation_id: head.id.to_string(),
        replaced_translation_id: String::new(),
        time: time(provenance.stamp.time),
        version: head.version.number,
        etag: head.etag.to_string(),
        agent: Some(agent(&provenance.agent)),
        segment_ids: provenance.segments.iter().map(ToString::to_string).collect(),
        source_revision: provenance.source_revision,
        state: provenance.state.map(|set| state(set).into()).unwrap_or_default(),
        reason: provenance.reason.clone(),
        effort: effort(provenance),
        job_id: provenance.job_id.clone(),
        request_id: request_id(provenance.request_id),
        principal: provenance.actor.principal.clone(),
        verified: provenance.actor.verified,
    }
}

fn chosen(selection: &Selection) -> pb::ProvenanceRecord {
    let Choice {
        step: taken,
        translation,
        replaced,
        agent: decider,
        reason,
        request_id: request,
    } = &selection.choice;
    pb::ProvenanceRecord {
        step: step(*taken).into(),
        translation_id: translation.map(|id| id.to_string()).unwrap_or_default(),
        replaced_translation_id: replaced.map(|id| id.to_string()).unwrap_or_default(),
        time: time(selection.stamp.time),
        etag: selection.etag.to_string(),
        agent: decider.as_ref().map(agent),
        reason: reason.clone(),
        request_id: request_id(*request),
        principal: selection.actor.principal.clone(),
        verified: selection.actor.verified,
        ..pb::ProvenanceRecord::default()
    }
}

fn step(step: Step) -> pb::ProvenanceStep {
    match step {
        Step::Attached => pb::ProvenanceStep::Attached,
        Step::Reviewed => pb::ProvenanceStep::Reviewed,
        Step::Acknowledged => pb::ProvenanceStep::Acknowledged,
        Step::Selected => pb::ProvenanceStep::Selected,
        Step::Rejected => pb::ProvenanceStep::Rejected,
        Step::Detached => pb::ProvenanceStep::Detached,
        Step::Scored => pb::ProvenanceStep::Scored,
    }
}

/// What a step took; unset where the caller said nothing.
fn effort(provenance: &Provenance) -> Option<pb::Effort> {
    let effort = pb::Effort {
        characters: provenance.characters,
        cost_micros: provenance.cost_micros,
        currency: provenance.currency.clone(),
        duration_ms: provenance.duration_ms,
        match_quality: provenance.match_quality,
        pivot: provenance.pivot.clone(),
    };
    (effort != pb::Effort::default()).then_some(effort)
}

fn request_id(id: Option<RequestId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

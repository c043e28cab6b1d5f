//! The calls of `TranslationService` about quality, and how their answers are rendered.

use tonic::{Request, Response, Status};

use super::convert::{self, Fields};
use super::{Caller, error, render};
use crate::domain::provenance::{Provenance, Step};
use crate::domain::quality::Differences;
use crate::domain::quality::chrf;
use crate::domain::quality::evidence::{QualityIssue, Severity, Side};
use crate::domain::quality::measure::{Amount, MachineShare, SegmentMeasures};
use crate::domain::request::Outcome;
use crate::pb;
use crate::service::Service;
use crate::service::quality::NewEvidence;

pub(super) async fn add_quality_scores(
    service: &Service,
    request: Request<pb::AddQualityScoresRequest>,
) -> Result<Response<pb::AddQualityScoresResponse>, Status> {
    let (caller, mut request) = Caller::of(request);
    let request_id = std::mem::take(&mut request.request_id);
    let mut fields = Fields::default();
    let call = caller.repeatable(&request_id, &request, &mut fields);
    if request.translation_id.is_empty() {
        fields.wrong("translation_id", "is required");
    }
    let name = convert::name(
        &request.article_id,
        &request.language,
        &request.translation_id,
        &mut fields,
    );
    if request.quality_scores.is_empty() && request.quality_issues.is_empty() {
        fields.wrong("quality_scores", "a score or an issue is required");
    }
    let scores = convert::quality_scores(request.quality_scores, &mut fields);
    let issues = convert::quality_issues(request.quality_issues, &mut fields);
    let agent = convert::agent(request.agent, &call, &mut fields);
    let etag = fields.etag("etag", &request.etag);
    let evidence = name.zip(agent).map(|(name, agent)| NewEvidence {
        name,
        scores,
        issues,
        // The revision is that of the translation; the service knows it.
        provenance: Provenance {
            request_id: call.request.map(|request| request.id),
            ..Provenance::of(Step::Scored, agent, call.actor().clone())
        },
        etag,
    });
    let evidence = fields.status(evidence)?;
    let (translation, outcome) = service
        .add_quality_scores(&call, &evidence)
        .await
        .map_err(error::status)?;
    Ok(Response::new(pb::AddQualityScoresResponse {
        translation: Some(render::written_summary(&translation)),
        added: outcome != Outcome::Unchanged,
    }))
}

pub(super) async fn measure_translation(
    service: &Service,
    request: Request<pb::MeasureTranslationRequest>,
) -> Result<Response<pb::MeasureTranslationResponse>, Status> {
    let (caller, request) = Caller::of(request);
    let mut fields = Fields::default();
    let shown = caller.shown(false, request.show_hidden)?;
    let name = convert::name(
        &request.article_id,
        &request.language,
        &request.translation_id,
        &mut fields,
    );
    let reference = fields.translation_id("reference_translation_id", &request.reference_translation_id);
    let name = fields.status(name)?;
    let measured = service
        .measure_translation(&name, reference, shown)
        .await
        .map_err(error::status)?;
    let measures = &measured.measures;
    Ok(Response::new(pb::MeasureTranslationResponse {
        translation: Some(render::summary(&measured.translation)),
        reference: measured.reference.as_ref().map(render::summary),
        segments: measures.segments.iter().map(segment).collect(),
        chrf: measures.chrf,
        chrf_signature: measures
            .chrf
            .map(|_| chrf::SIGNATURE.to_owned())
            .unwrap_or_default(),
        machine_share: Some(machine_share(&measures.machine)),
    }))
}

/// An issue of a translation.
pub(super) fn issue(issue: &QualityIssue, outdated: bool) -> pb::QualityIssue {
    let severity = match issue.severity {
        Severity::Neutral => pb::IssueSeverity::Neutral,
        Severity::Minor => pb::IssueSeverity::Minor,
        Severity::Major => pb::IssueSeverity::Major,
        Severity::Critical => pb::IssueSeverity::Critical,
    };
    let side = match issue.side {
        Side::Source => pb::IssueSide::Source,
        Side::Target => pb::IssueSide::Target,
    };
    pb::QualityIssue {
        dimension: issue.dimension.clone(),
        subtype: issue.subtype.clone(),
        severity: severity.into(),
        side: side.into(),
        segment_id: issue
            .segment
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        start: issue.range.as_ref().map(|range| range.start),
        end: issue.range.as_ref().map(|range| range.end),
        comment: issue.comment.clone(),
        annotator: issue.annotator.clone(),
        create_time: render::time(issue.stamp.time),
        outdated,
    }
}

fn segment(segment: &SegmentMeasures) -> pb::SegmentMeasures {
    pb::SegmentMeasures {
        segment_id: segment.id.to_string(),
        source_revision: segment.source_revision.unwrap_or_default(),
        code_points: count(segment.code_points),
        unmodified_machine: segment.unmodified_machine,
        reviewed: segment.reviewed,
        chrf: segment.chrf,
        equals_source: segment.equals_source,
        numbers: differences(&segment.numbers),
        placeholders: differences(&segment.placeholders),
    }
}

fn differences(differences: &Differences) -> Option<pb::Differences> {
    (!differences.is_empty()).then(|| pb::Differences {
        missing: differences.missing.clone(),
        added: differences.added.clone(),
    })
}

fn machine_share(share: &MachineShare) -> pb::MachineShare {
    pb::MachineShare {
        all: Some(amount(share.all)),
        unmodified: Some(amount(share.unmodified)),
        reviewed: Some(amount(share.reviewed)),
        unknown: Some(amount(share.unknown)),
        segment_ratio: share.segment_ratio(),
        code_point_ratio: share.code_point_ratio(),
    }
}

fn amount(amount: Amount) -> pb::TextAmount {
    pb::TextAmount {
        segments: count(amount.segments),
        code_points: count(amount.code_points),
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

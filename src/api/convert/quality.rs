//! Evidence about the quality of translations.

use std::ops::Range;

use super::Fields;
use crate::domain::ids::SegmentId;
use crate::domain::provenance::{Provenance, Step};
use crate::domain::quality::evidence::{QualityIssue, Severity, Side};
use crate::domain::segment::TextHash;
use crate::domain::time::Stamp;
use crate::pb;
use crate::service::Call;
use crate::service::quality::NewEvidence;

/// The most issues of one call.
const MAX_ISSUES: usize = 1_000;

/// Issues; whether they fit the texts, the service decides.
pub(super) fn quality_issues(issues: Vec<pb::QualityIssue>, fields: &mut Fields) -> Vec<QualityIssue> {
    if issues.len() > MAX_ISSUES {
        fields.wrong(
            "quality_issues",
            format!("{} issues are more than {MAX_ISSUES}", issues.len()),
        );
        return Vec::new();
    }
    let issues = issues.into_iter().enumerate();
    issues
        .filter_map(|(index, issue)| quality_issue(&format!("quality_issues[{index}]"), issue, fields))
        .collect()
}

fn quality_issue(field: &str, issue: pb::QualityIssue, fields: &mut Fields) -> Option<QualityIssue> {
    if issue.dimension.is_empty() {
        fields.wrong(format_args!("{field}.dimension"), "is required");
    }
    let severity = severity(&format!("{field}.severity"), issue.severity, fields);
    let side = match fields.choice(format_args!("{field}.side"), issue.side, pb::IssueSide::try_from) {
        Some(pb::IssueSide::Source) => Some(Side::Source),
        Some(pb::IssueSide::Target | pb::IssueSide::Unspecified) => Some(Side::Target),
        None => None,
    };
    let segment = match issue.segment_id.as_str() {
        "" => None,
        id => fields.check(format_args!("{field}.segment_id"), SegmentId::parse(id)),
    };
    let range = range(field, &issue, fields);
    let mut text = |name, value| fields.text(format_args!("{field}.{name}"), value);
    let (dimension, subtype) = (text("dimension", issue.dimension), text("subtype", issue.subtype));
    let (comment, annotator) = (text("comment", issue.comment), text("annotator", issue.annotator));
    Some(QualityIssue {
        dimension,
        subtype,
        severity: severity?,
        side: side?,
        segment,
        range,
        comment,
        annotator,
        target_hash: TextHash([0; 16]),
        source_hash: TextHash([0; 16]),
        stamp: Stamp::PENDING,
    })
}

fn severity(field: &str, number: i32, fields: &mut Fields) -> Option<Severity> {
    match fields.choice(field, number, pb::IssueSeverity::try_from)? {
        pb::IssueSeverity::Neutral => Some(Severity::Neutral),
        pb::IssueSeverity::Minor => Some(Severity::Minor),
        pb::IssueSeverity::Major => Some(Severity::Major),
        pb::IssueSeverity::Critical => Some(Severity::Critical),
        pb::IssueSeverity::Unspecified => {
            fields.wrong(field, "is required: NEUTRAL, MINOR, MAJOR or CRITICAL");
            None
        }
    }
}

fn range(field: &str, issue: &pb::QualityIssue, fields: &mut Fields) -> Option<Range<u32>> {
    match (issue.start, issue.end) {
        (None, None) => None,
        (Some(_), None) => {
            fields.wrong(format_args!("{field}.end"), "is required with start");
            None
        }
        (None, Some(_)) => {
            fields.wrong(format_args!("{field}.start"), "is required with end");
            None
        }
        (Some(_), Some(_)) if issue.segment_id.is_empty() => {
            fields.wrong(
                format_args!("{field}.segment_id"),
                "is required with start and end",
            );
            None
        }
        (Some(start), Some(end)) if start > end => {
            fields.wrong(
                format!("{field}.end"),
                format!("{end} is before the start, {start}"),
            );
            None
        }
        (Some(start), Some(end)) => Some(start..end),
    }
}

/// Evidence to add to a translation.
pub(in crate::api) fn evidence(
    request: pb::AddQualityScoresRequest,
    call: &Call,
    fields: &mut Fields,
) -> Option<NewEvidence> {
    if request.translation_id.is_empty() {
        fields.wrong("translation_id", "is required");
    }
    let name = translation_name!(request, fields);
    if request.quality_scores.is_empty() && request.quality_issues.is_empty() {
        fields.wrong("quality_scores", "a score or an issue is required");
    }
    let scores = super::quality_scores(request.quality_scores, fields);
    let issues = super::quality_issues(request.quality_issues, fields);
    let agent = super::agent(request.agent, call, fields);
    let etag = fields.etag("etag", &request.etag);
    name.zip(agent).map(|(name, agent)| NewEvidence {
        name,
        scores,
        issues,
        // The revision is that of the translation; the service knows it.
        provenance: Provenance {
            request_id: call.request.map(|request| request.id),
            ..Provenance::of(Step::Scored, agent, call.actor().clone())
        },
        etag,
    })
}

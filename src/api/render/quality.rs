//! Issues and measures of translations.

use crate::domain::quality::evidence::{QualityIssue, Severity, Side};
use crate::domain::quality::measure::{Amount, MachineShare, SegmentMeasures};
use crate::domain::quality::{Differences, chrf};
use crate::pb;
use crate::service::quality::Measured;

/// What was measured of a translation.
pub(in crate::api) fn measured(measured: &Measured) -> pb::MeasureTranslationResponse {
    let measures = &measured.measures;
    let signature = measures.chrf.map(|_| chrf::SIGNATURE.to_owned());
    pb::MeasureTranslationResponse {
        translation: Some(super::summary(&measured.translation)),
        reference: measured.reference.as_ref().map(super::summary),
        segments: measures.segments.iter().map(segment).collect(),
        chrf: measures.chrf,
        chrf_signature: signature.unwrap_or_default(),
        machine_share: Some(machine_share(&measures.machine)),
    }
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
        create_time: super::time(issue.stamp.time),
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

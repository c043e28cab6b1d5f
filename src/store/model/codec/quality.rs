//! MQM issues.

use super::*;
use crate::domain::quality::evidence::QualityIssue;

pub(in crate::store) fn issue_record(issue: &QualityIssue) -> rec::QualityIssue {
    rec::QualityIssue {
        dimension: issue.dimension.clone(),
        subtype: issue.subtype.clone(),
        severity: severity_code(issue.severity),
        side: side_code(issue.side),
        segment: issue.segment.as_ref().map(segment_number),
        start: issue.range.as_ref().map(|range| range.start),
        end: issue.range.as_ref().map(|range| range.end),
        comment: issue.comment.clone(),
        annotator: issue.annotator.clone(),
        target_hash: issue.target_hash.0.to_vec(),
        source_hash: issue.source_hash.0.to_vec(),
        stamp: stamp_record(issue.stamp),
    }
}

pub(in crate::store) fn issue(record: rec::QualityIssue, own: Stamp) -> Result<QualityIssue> {
    Ok(QualityIssue {
        dimension: record.dimension,
        subtype: record.subtype,
        severity: severity(record.severity)?,
        side: side(record.side)?,
        segment: record.segment.map(segment_id),
        range: record.start.zip(record.end).map(|(start, end)| start..end),
        comment: record.comment,
        annotator: record.annotator,
        target_hash: hash(&record.target_hash)?,
        source_hash: hash(&record.source_hash)?,
        stamp: stamp(record.stamp, own)?,
    })
}

//! Which sent text belongs to which source segment.

use std::collections::BTreeSet;

use super::{BodyTexts, Fitted, TargetTexts};
use crate::domain::Violation;
use crate::domain::article::{Manifest, ManifestEntry};
use crate::domain::ids::SegmentId;

/// Puts texts to the segments of a source revision, or says of each one why it does not fit.
pub fn fit<'a>(
    texts: &'a TargetTexts,
    source: &Manifest,
    revision: u32,
) -> Result<Fitted<'a>, Vec<Violation>> {
    let mut fitted = Fitted::new();
    let mut violations = Vec::new();
    for (name, id, text) in [
        ("title", SegmentId::Title, &texts.title),
        ("lead", SegmentId::Lead, &texts.lead),
    ] {
        let Some(text) = text.as_ref().filter(|text| !text.content.is_blank()) else {
            continue;
        };
        if source.0.iter().any(|entry| entry.id == id) {
            fitted.insert(id, text);
        } else {
            let description = format!("the source has no {name} in revision {revision}");
            violations.push(Violation::new(format!("text.{name}"), description));
        }
    }
    let body: Vec<_> = source
        .0
        .iter()
        .filter(|entry| matches!(entry.id, SegmentId::Body(_)))
        .collect();
    match &texts.body {
        BodyTexts::InOrder(texts) if !texts.is_empty() && texts.len() != body.len() => {
            violations.push(Violation::new(
                "text.body",
                count_mismatch(texts.len(), &body, revision),
            ));
        }
        BodyTexts::InOrder(texts) => {
            for (index, (text, entry)) in texts.iter().zip(&body).enumerate() {
                if !text.content.is_blank() {
                    fitted.insert(entry.id.clone(), text);
                } else if entry.translate {
                    violations.push(Violation::new(
                        format!("text.body[{index}].text"),
                        format!("is empty, and segment \"{}\" is to be translated", entry.id),
                    ));
                }
            }
        }
        BodyTexts::ById(texts) => {
            let known: BTreeSet<_> = body.iter().map(|entry| &entry.id).collect();
            for (index, (id, text)) in texts.iter().enumerate() {
                let field = format!("text.body[{index}]");
                if !known.contains(&id) {
                    let description = format!("revision {revision} has no body segment \"{id}\"");
                    violations.push(Violation::new(format!("{field}.segment_id"), description));
                } else if text.content.is_blank() {
                    violations.push(Violation::new(format!("{field}.text"), "is empty"));
                } else if fitted.insert(id.clone(), text).is_some() {
                    violations.push(Violation::new(
                        format!("{field}.segment_id"),
                        format!("segment \"{id}\" is sent twice"),
                    ));
                }
            }
        }
    }
    if fitted.is_empty() && violations.is_empty() {
        violations.push(Violation::new("text", "holds no text"));
    }
    if violations.is_empty() {
        Ok(fitted)
    } else {
        Err(violations)
    }
}

/// Segments that an error names one by one; the rest is counted.
const NAMED_SEGMENTS: usize = 50;

fn count_mismatch(count: usize, body: &[&ManifestEntry], revision: u32) -> String {
    let ids: Vec<_> = body
        .iter()
        .take(NAMED_SEGMENTS)
        .map(|entry| entry.id.to_string())
        .collect();
    let rest = body.len().saturating_sub(NAMED_SEGMENTS);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!(
        "{count} texts without segment_id do not fit the {} body segments of revision {revision}: {}{more}",
        body.len(),
        ids.join(", ")
    )
}

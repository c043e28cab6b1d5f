//! Requests of the change feed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Fields;
use crate::api::render;
use crate::domain::feed::{Filter, Topic};
use crate::domain::language::Language;
use crate::pb;
use crate::service::changes::Start;

/// The most values of a filter.
const MAX_VALUES: usize = 100;
/// How long a stream may be silent: the least, the most, and what it is if nothing is said.
const INTERVALS: (Duration, Duration, Duration) = (
    Duration::from_secs(1),
    Duration::from_secs(300),
    Duration::from_secs(15),
);

/// Which changes are wanted.
pub(in crate::api) fn change_filter(
    request: &pb::WatchChangesRequest,
    fields: &mut Fields,
) -> Option<Filter> {
    let topics = kinds(&request.kinds, fields);
    let source_languages = languages("source_languages", &request.source_languages, fields);
    let target_languages = languages("target_languages", &request.target_languages, fields);
    let sections = values("sections", &request.sections, fields, |fields, field, section| {
        Some(fields.text(field, section.clone()))
    });
    Some(Filter {
        topics: topics?,
        source_languages: source_languages?,
        target_languages: target_languages?,
        sections: sections?,
    })
}

fn kinds(numbers: &[i32], fields: &mut Fields) -> Option<BTreeSet<Topic>> {
    values("kinds", numbers, fields, |fields, field, number| {
        let kind = fields.choice(field, *number, pb::ChangeKind::try_from)?;
        let topic = render::TOPICS.into_iter().find(|(_, of)| *of == kind);
        if topic.is_none() {
            fields.wrong(field, "names no kind of change");
        }
        topic.map(|(topic, _)| topic)
    })
}

fn languages(field: &str, tags: &[String], fields: &mut Fields) -> Option<BTreeSet<Language>> {
    values(field, tags, fields, |fields, field, tag| {
        fields.language(field, tag)
    })
}

/// The values of a filter, if there are not too many and each is right.
fn values<V, T: Ord>(
    field: &str,
    values: &[V],
    fields: &mut Fields,
    mut convert: impl FnMut(&mut Fields, &str, &V) -> Option<T>,
) -> Option<BTreeSet<T>> {
    if values.len() > MAX_VALUES {
        let description = format!("{} values are more than {MAX_VALUES}", values.len());
        fields.wrong(field, description);
        return None;
    }
    let each = values.iter().enumerate();
    // All of them, so that all that are wrong are said.
    let converted: Vec<_> = each
        .map(|(index, value)| convert(fields, &format!("{field}[{index}]"), value))
        .collect();
    converted.into_iter().collect()
}

/// Where a stream without a token begins.
pub(in crate::api) fn watch_start(start: i32, fields: &mut Fields) -> Option<Start> {
    Some(match fields.choice("start", start, pb::WatchStart::try_from)? {
        pb::WatchStart::Unspecified | pb::WatchStart::Now => Start::Now,
        pb::WatchStart::Oldest => Start::Oldest,
        pb::WatchStart::Snapshot => Start::Snapshot,
    })
}

/// How long a stream may be silent.
pub(in crate::api) fn checkpoint_interval(
    interval: Option<&prost_types::Duration>,
    fields: &mut Fields,
) -> Option<Duration> {
    let (least, most, default) = INTERVALS;
    let Some(interval) = interval else {
        return Some(default);
    };
    let interval = Duration::try_from(*interval).ok();
    let allowed = interval.filter(|interval| (least..=most).contains(interval));
    if allowed.is_none() {
        fields.wrong("checkpoint_interval", "is not between 1 s and 5 min");
    }
    allowed
}

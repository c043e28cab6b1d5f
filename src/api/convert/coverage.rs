//! Requests of coverage.

use jiff::tz::TimeZone;

use super::{Fields, query};
use crate::domain::access::Shown;
use crate::domain::coverage::Period;
use crate::domain::reading::MAX_LANGUAGES;
use crate::pb;
use crate::service::coverage::CoverageQuery;

/// What to count. The articles are those of a list by the same fields.
pub(in crate::api) fn coverage(
    request: pb::GetCoverageRequest,
    shown: Shown,
    fields: &mut Fields,
) -> Option<CoverageQuery> {
    use pb::list_articles_request::Range;
    let period = fields.choice("period", request.period, pb::CoveragePeriod::try_from);
    if request.languages.len() > MAX_LANGUAGES {
        let count = request.languages.len();
        fields.wrong("languages", format!("{count} are more than {MAX_LANGUAGES}"));
    }
    let languages = request.languages.iter().take(MAX_LANGUAGES).enumerate();
    let languages =
        languages.filter_map(|(index, tag)| fields.language(format_args!("languages[{index}]"), tag));
    let languages = languages.collect();
    // A name that is wrong is found with the range.
    let zone = request
        .civil_range
        .as_ref()
        .and_then(|range| TimeZone::get(&range.zone).ok());
    let list = pb::ListArticlesRequest {
        axis: request.axis,
        range: request.civil_range.map(Range::CivilRange),
        order: pb::ListOrder::OldestFirst.into(),
        language: request.language,
        section: request.section,
        publisher: request.publisher,
        ..pb::ListArticlesRequest::default()
    };
    Some(CoverageQuery {
        articles: query(&list, shown, fields)?,
        languages,
        period: match period? {
            pb::CoveragePeriod::Unspecified | pb::CoveragePeriod::Day => Period::Day,
            pb::CoveragePeriod::Month => Period::Month,
        },
        zone: zone.unwrap_or(TimeZone::UTC),
    })
}

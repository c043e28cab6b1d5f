//! Requests of lists.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Fields;
use super::reading::translation_filter;
use crate::domain::Invalid;
use crate::domain::access::Shown;
use crate::domain::query::{Axis, Order, Query, Range};
use crate::pb;

/// A list by date.
pub(in crate::api) fn query(
    request: &pb::ListArticlesRequest,
    shown: Shown,
    fields: &mut Fields,
) -> Option<Query> {
    let axis = fields.choice("axis", request.axis, pb::DateAxis::try_from);
    let order = fields.choice("order", request.order, pb::ListOrder::try_from);
    let bounds = range(request.range.as_ref(), fields);
    let dating = fields.choice("dating", request.dating, pb::Dating::try_from);
    let language = (!request.language.is_empty())
        .then(|| fields.language("language", &request.language))
        .flatten();
    let translation = translation_filter(request.translation.as_ref(), fields);
    let range = match (dating?, bounds?) {
        (pb::Dating::Unspecified, bounds) => bounds,
        (pb::Dating::Undated, Range::All) => Range::Undated,
        (pb::Dating::Future, Range::All) => Range::Future,
        (_, _) => {
            fields.wrong("dating", "UNDATED and FUTURE do not go together with a range");
            return None;
        }
    };
    let filter = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(Query {
        axis: match axis? {
            pb::DateAxis::Unspecified | pb::DateAxis::Published => Axis::Published,
            pb::DateAxis::Updated => Axis::Updated,
            pb::DateAxis::Ingested => Axis::Ingested,
            pb::DateAxis::Revised => Axis::Revised,
        },
        range,
        order: match order? {
            pb::ListOrder::Unspecified | pb::ListOrder::NewestFirst => Order::NewestFirst,
            pb::ListOrder::OldestFirst => Order::OldestFirst,
        },
        language,
        section: filter(&request.section),
        publisher: filter(&request.publisher),
        shown,
        translation,
    })
}

fn range(range: Option<&pb::list_articles_request::Range>, fields: &mut Fields) -> Option<Range> {
    use pb::list_articles_request::Range as Pb;
    match range {
        None => Some(Range::All),
        Some(Pb::TimeRange(pb::TimeRange { start_time, end_time })) => {
            let start = start_time
                .as_ref()
                .map(|time| fields.time("time_range.start_time", time));
            let end = end_time
                .as_ref()
                .map(|time| fields.time("time_range.end_time", time));
            let range = Range::instants(flatten(start)?, flatten(end)?);
            fields.check("time_range", range)
        }
        Some(Pb::CivilRange(pb::CivilRange {
            start_date,
            end_date,
            zone,
        })) => {
            let first = day("civil_range.start_date", start_date, fields);
            let last = day("civil_range.end_date", end_date, fields);
            let zone = match zone.as_str() {
                "" => Some(TimeZone::UTC),
                name => fields.check(
                    "civil_range.zone",
                    TimeZone::get(name).map_err(|_| {
                        Invalid::new(format!(
                            "{name:.64?} is not an IANA time zone such as \"Africa/Casablanca\""
                        ))
                    }),
                ),
            };
            let range = Range::days(first?, last?, &zone?);
            fields.check("civil_range", range)
        }
    }
}

/// Turns "absent, wrong or right" into "wrong, or absent or right".
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the value is usable"
)]
fn flatten<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// A calendar day; the empty text is none.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the value is usable"
)]
fn day(field: &str, text: &str, fields: &mut Fields) -> Option<Option<Date>> {
    if text.is_empty() {
        return Some(None);
    }
    let strict = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let day = text.parse::<Date>().ok().filter(|day| strict && day.year() >= 1);
    fields
        .check(
            field,
            day.ok_or_else(|| Invalid::new(format!("{text:.40?} is not a day such as \"2022-05-10\""))),
        )
        .map(Some)
}

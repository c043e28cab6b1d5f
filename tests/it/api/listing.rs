//! Lists by date: bounds, calendar days in zones, undated and future articles, filters, pages and their tokens.

use article_store::pb;
use pb::list_articles_request::Range;
use prost_types::Timestamp;

use super::{article, create, date, update};
use crate::harness::Server;

mod pages;

fn at(text: &str) -> Timestamp {
    let instant: jiff::Timestamp = text.parse().unwrap();
    let micros = instant.as_microsecond();
    super::time(article_store::domain::time::Timestamp::from_micros(micros).unwrap())
}

fn dated(id: &str, instant: &str, precision: pb::DatePrecision, offset: i32) -> pb::Article {
    let published = pb::ArticleDate {
        instant: Some(at(instant)),
        precision: precision.into(),
        utc_offset_minutes: offset,
        ..Default::default()
    };
    pb::Article {
        published: Some(published),
        ..article(id, &["نص"])
    }
}

fn instants(start: &str, end: &str) -> Option<Range> {
    let bound = |text: &str| (!text.is_empty()).then(|| at(text));
    Some(Range::TimeRange(pb::TimeRange {
        start_time: bound(start),
        end_time: bound(end),
    }))
}

fn days(start: &str, end: &str, zone: &str) -> Option<Range> {
    Some(Range::CivilRange(pb::CivilRange {
        start_date: start.into(),
        end_date: end.into(),
        zone: zone.into(),
    }))
}

/// All pages of a list.
async fn list(server: &Server, request: pb::ListArticlesRequest) -> Vec<pb::Article> {
    let mut client = server.articles();
    let mut request = request;
    let mut listed = Vec::new();
    loop {
        let page = client.list_articles(request.clone()).await.unwrap().into_inner();
        let size = match request.page_size {
            0 => 50,
            size => usize::try_from(size).unwrap().min(500),
        };
        assert!(page.articles.len() <= size);
        listed.extend(page.articles);
        if page.next_page_token.is_empty() {
            return listed;
        }
        request.page_token = page.next_page_token;
    }
}

async fn listed(server: &Server, request: pb::ListArticlesRequest) -> Vec<String> {
    list(server, request)
        .await
        .into_iter()
        .map(|article| article.article_id)
        .collect()
}

fn ranged(range: Option<Range>) -> pb::ListArticlesRequest {
    pb::ListArticlesRequest {
        range,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_half_open_and_days_are_those_of_the_zone() {
    use pb::DatePrecision::{Day, Second};
    let server = Server::sled().await;
    for article in [
        dated("a-2245z", "2022-05-10T22:45:00Z", Second, 60),
        dated("b-2300z", "2022-05-10T23:00:00Z", Second, 60),
        dated("c-day10", "2022-05-09T23:00:00Z", Day, 60),
        dated("d-day11-east", "2022-05-10T10:00:00Z", Day, 14 * 60),
        dated("e-0000z", "2022-05-11T00:00:00.000001Z", Second, 0),
        dated("f-far", "9999-12-30T21:59:59.999999Z", Second, 0),
        dated("g-first", "0001-01-01T00:00:00Z", Second, 0),
        dated("h-before-1970", "1969-12-31T23:59:59.500Z", Second, 0),
    ] {
        create(&server, article).await;
    }
    create(&server, article("u-undated", &["نص"])).await;
    let mut unread = article("v-unread", &["نص"]);
    unread.published = Some(pb::ArticleDate {
        original: "2017-01-25T143600".into(),
        ..Default::default()
    });
    create(&server, unread).await;
    let expectations: [(Option<Range>, &[&str]); 15] = [
        (
            None,
            &[
                "f-far",
                "e-0000z",
                "b-2300z",
                "a-2245z",
                "d-day11-east",
                "c-day10",
                "h-before-1970",
                "g-first",
                "v-unread",
                "u-undated",
            ],
        ),
        (
            instants("2022-05-10T22:45:00Z", "2022-05-11T00:00:00.000001Z"),
            &["b-2300z", "a-2245z"],
        ),
        (
            instants("2022-05-10T22:45:00.000001Z", "2022-05-11T00:00:00.000002Z"),
            &["e-0000z", "b-2300z"],
        ),
        (instants("2022-05-11T00:00:00Z", ""), &["f-far", "e-0000z"]),
        (
            instants("", "1970-01-01T00:00:00Z"),
            &["h-before-1970", "g-first"],
        ),
        // Casablanca is at +01:00: 22:45Z is the 10th, 23:00Z the 11th.
        (
            days("2022-05-10", "2022-05-11", "Africa/Casablanca"),
            &["a-2245z", "c-day10"],
        ),
        (
            days("2022-05-11", "2022-05-12", "Africa/Casablanca"),
            &["e-0000z", "b-2300z", "d-day11-east"],
        ),
        (
            days("2022-05-10", "2022-05-11", ""),
            &["b-2300z", "a-2245z", "c-day10"],
        ),
        // A date of day precision is its own calendar day in every zone.
        (
            days("2022-05-10", "2022-05-11", "America/Los_Angeles"),
            &["e-0000z", "b-2300z", "a-2245z", "c-day10"],
        ),
        (
            days("2022-05-11", "2022-05-12", "Pacific/Kiritimati"),
            &["e-0000z", "b-2300z", "a-2245z", "d-day11-east"],
        ),
        (days("2022-05-09", "2022-05-10", "Africa/Casablanca"), &[]),
        (days("", "1970-01-01", "UTC"), &["h-before-1970", "g-first"]),
        (days("2022-05-12", "", "UTC"), &["f-far"]),
        (days("9999-12-30", "", "UTC"), &["f-far"]),
        (days("0001-01-01", "0001-01-02", "UTC"), &["g-first"]),
    ];
    for (range, expected) in expectations {
        let mut expected = expected.to_vec();
        assert_eq!(
            listed(&server, ranged(range.clone())).await,
            expected,
            "{range:?}"
        );
        // Oldest first is the reverse, but undated ones stay last.
        let undated = expected
            .iter()
            .position(|id| id.starts_with(['u', 'v']))
            .unwrap_or(expected.len());
        expected[..undated].reverse();
        expected[undated..].reverse();
        for page_size in [0, 1, 2, 3, 1_000] {
            let oldest = pb::ListArticlesRequest {
                order: pb::ListOrder::OldestFirst.into(),
                page_size,
                ..ranged(range.clone())
            };
            assert_eq!(
                listed(&server, oldest).await,
                expected,
                "{range:?} by {page_size}"
            );
        }
    }
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_as_long_as_their_zone_makes_them() {
    let server = Server::memory().await;
    let seconds = pb::DatePrecision::Second;
    // New York skips an hour on 2024-03-10 and repeats one on 2024-11-03; Sao Paulo skipped midnight on 2018-11-04;
    // Apia skipped the whole 2011-12-30.
    for (id, instant) in [
        ("ny-a", "2024-03-10T04:59:59Z"),
        ("ny-b", "2024-03-10T05:00:00Z"),
        ("ny-c", "2024-03-11T03:59:59Z"),
        ("ny-d", "2024-03-11T04:00:00Z"),
        ("ny-e", "2024-11-03T04:00:00Z"),
        ("ny-f", "2024-11-04T04:59:59Z"),
        ("ny-g", "2024-11-04T05:00:00Z"),
        ("sp-a", "2018-11-04T02:59:59Z"),
        ("sp-b", "2018-11-04T03:00:00Z"),
        ("ap-a", "2011-12-30T09:59:59Z"),
        ("ap-b", "2011-12-30T10:00:00Z"),
    ] {
        create(&server, dated(id, instant, seconds, 0)).await;
    }
    for (start, end, zone, expected) in [
        (
            "2024-03-10",
            "2024-03-11",
            "America/New_York",
            &["ny-b", "ny-c"][..],
        ),
        ("2024-11-03", "2024-11-04", "America/New_York", &["ny-e", "ny-f"]),
        ("2018-11-04", "2018-11-05", "America/Sao_Paulo", &["sp-b"]),
        ("2018-11-03", "2018-11-04", "America/Sao_Paulo", &["sp-a"]),
        ("2011-12-29", "2011-12-30", "Pacific/Apia", &["ap-a"]),
        ("2011-12-30", "2011-12-31", "Pacific/Apia", &[]),
        ("2011-12-31", "2012-01-01", "Pacific/Apia", &["ap-b"]),
    ] {
        let request = pb::ListArticlesRequest {
            order: pb::ListOrder::OldestFirst.into(),
            ..ranged(days(start, end, zone))
        };
        assert_eq!(listed(&server, request).await, expected, "{start} {zone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_sorts_at_its_start_whatever_instant_it_came_with() {
    let server = Server::memory().await;
    create(
        &server,
        dated("morning", "2022-05-10T06:00:00Z", pb::DatePrecision::Second, 60),
    )
    .await;
    let day = create(
        &server,
        dated("day", "2022-05-10T12:34:56Z", pb::DatePrecision::Day, 60),
    )
    .await;
    assert_eq!(day.published.unwrap().instant, Some(at("2022-05-09T23:00:00Z")));
    let list = listed(&server, ranged(days("2022-05-10", "2022-05-11", "UTC"))).await;
    assert_eq!(list, ["morning", "day"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn undated_future_filters_axes_and_views() {
    let server = Server::memory().await;
    let mut first = dated("first", "2022-05-10T00:00:00Z", pb::DatePrecision::Second, 0);
    first.section = "أخبار".into();
    first.publisher = "إرم".into();
    first.updated = Some(date(1_700_000_000, 0, ""));
    let first = create(&server, first).await;
    let mut second = dated("second", "2022-05-11T00:00:00Z", pb::DatePrecision::Second, 0);
    second.language = "fr".into();
    second.updated = Some(date(1_600_000_000, 0, ""));
    create(&server, second).await;
    create(
        &server,
        dated("future", "2200-01-01T00:00:00Z", pb::DatePrecision::Second, 0),
    )
    .await;
    create(&server, article("undated", &["نص"])).await;
    let dating = |dating: pb::Dating| pb::ListArticlesRequest {
        dating: dating.into(),
        ..Default::default()
    };
    assert_eq!(listed(&server, dating(pb::Dating::Undated)).await, ["undated"]);
    assert_eq!(listed(&server, dating(pb::Dating::Future)).await, ["future"]);
    let filter = |language: &str, section: &str, publisher: &str| pb::ListArticlesRequest {
        language: language.into(),
        section: section.into(),
        publisher: publisher.into(),
        page_size: 1,
        ..Default::default()
    };
    for (request, expected) in [
        (filter("FR", "", ""), &["second"][..]),
        (filter("ar", "", ""), &["future", "first", "undated"]),
        (filter("", "أخبار", ""), &["first"]),
        (filter("", "", "إرم"), &["first"]),
        (filter("fr", "أخبار", ""), &[]),
        (filter("de", "", ""), &[]),
    ] {
        assert_eq!(listed(&server, request.clone()).await, expected, "{request:?}");
    }
    let axis = |axis: pb::DateAxis| pb::ListArticlesRequest {
        axis: axis.into(),
        ..Default::default()
    };
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        listed(&server, axis(pb::DateAxis::Updated)).await,
        texts(&["first", "second", "undated", "future"])
    );
    assert_eq!(
        listed(&server, axis(pb::DateAxis::Ingested)).await,
        texts(&["undated", "future", "second", "first"])
    );
    let revised = pb::Article {
        article_id: "second".into(),
        body: super::body(&["texte"]),
        ..Default::default()
    };
    update(&server, revised, &[]).await;
    assert_eq!(
        listed(&server, axis(pb::DateAxis::Revised)).await,
        texts(&["second", "undated", "future", "first"])
    );
    // The row follows a date that moves, and a deleted article is only listed when asked for.
    let moved = pb::Article {
        article_id: "second".into(),
        published: Some(date(0, 0, "")),
        ..Default::default()
    };
    update(&server, moved, &[]).await;
    assert_eq!(
        listed(&server, ranged(instants("", "1970-01-02T00:00:00Z"))).await,
        texts(&["second"])
    );
    let delete = pb::DeleteArticleRequest {
        article_id: "first".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    assert_eq!(listed(&server, filter("ar", "", "")).await, ["future", "undated"]);
    let deleted = pb::ListArticlesRequest {
        show_deleted: true,
        ..filter("ar", "", "")
    };
    assert_eq!(
        listed(&server, deleted.clone()).await,
        ["future", "first", "undated"]
    );
    // The view: BASIC unless asked.
    let basic = list(&server, deleted.clone()).await;
    assert!(
        basic
            .iter()
            .all(|article| article.body.is_empty() && article.title.is_some())
    );
    let full = pb::ListArticlesRequest {
        view: pb::ArticleView::Full.into(),
        ..deleted
    };
    let full = list(&server, full).await;
    assert_eq!(full[1].body, first.body);
}

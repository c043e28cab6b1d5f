//! Lists by date: bounds, calendar days in zones, undated and future articles, filters, pages and their tokens.

use article_store::pb;
use pb::list_articles_request::Range;
use prost_types::Timestamp;
use tonic::Code;

use super::{article, create, date, update};
use crate::harness::{Server, fails};

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

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_repeat_nor_hide_while_others_write() {
    let server = Server::memory().await;
    let mut expected = Vec::new();
    // Many of one instant: the id decides.
    for number in 0..23 {
        let id = format!("old-{number:02}");
        let hour = number / 5;
        create(
            &server,
            dated(
                &id,
                &format!("2022-05-10T{hour:02}:00:00Z"),
                pb::DatePrecision::Second,
                0,
            ),
        )
        .await;
        expected.push(id);
    }
    expected.reverse();
    for order in [pb::ListOrder::NewestFirst, pb::ListOrder::OldestFirst] {
        let mut request = pb::ListArticlesRequest {
            order: order.into(),
            page_size: 4,
            ..Default::default()
        };
        let mut seen = Vec::new();
        let mut client = server.articles();
        for page_number in 0.. {
            let page = client.list_articles(request.clone()).await.unwrap().into_inner();
            seen.extend(page.articles.into_iter().map(|article| article.article_id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            request.page_size = 2 + page_number % 5;
            for (name, hour) in [("front", 23), ("mid", 2), ("back", 0)] {
                let id = format!("new-{order:?}-{name}-{page_number}");
                let instant = format!("2022-05-10T{hour:02}:00:00Z");
                create(&server, dated(&id, &instant, pb::DatePrecision::Second, 0)).await;
            }
        }
        let old: Vec<_> = seen.iter().filter(|id| id.starts_with("old")).cloned().collect();
        assert_eq!(old, expected, "{order:?}");
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), seen.len(), "{order:?}");
        expected.reverse();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_belongs_to_one_query() {
    let server = Server::memory().await;
    for number in 0..4 {
        create(
            &server,
            dated(
                &format!("d{number}"),
                "2022-05-10T00:00:00Z",
                pb::DatePrecision::Second,
                0,
            ),
        )
        .await;
        create(&server, article(&format!("u{number}"), &["نص"])).await;
        create(
            &server,
            dated(
                &format!("f{number}"),
                "2200-05-10T00:00:00Z",
                pb::DatePrecision::Second,
                0,
            ),
        )
        .await;
    }
    let bases = [
        pb::ListArticlesRequest::default(),
        ranged(instants("2022-01-01T00:00:00Z", "2023-01-01T00:00:00Z")),
        ranged(days("2022-01-01", "2023-01-01", "")),
        pb::ListArticlesRequest {
            dating: pb::Dating::Undated.into(),
            ..Default::default()
        },
        pb::ListArticlesRequest {
            dating: pb::Dating::Future.into(),
            ..Default::default()
        },
    ];
    let mut client = server.articles();
    for base in bases {
        let first = pb::ListArticlesRequest {
            page_size: 2,
            ..base.clone()
        };
        let token = client
            .list_articles(first)
            .await
            .unwrap()
            .into_inner()
            .next_page_token;
        assert!(!token.is_empty(), "{base:?}");
        let next = pb::ListArticlesRequest {
            page_token: token.clone(),
            page_size: 1,
            ..base.clone()
        };
        client.list_articles(next.clone()).await.unwrap();
        let others = [
            pb::ListArticlesRequest {
                language: "ar".into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                section: "x".into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                publisher: "x".into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                show_deleted: true,
                ..next.clone()
            },
            pb::ListArticlesRequest {
                order: pb::ListOrder::OldestFirst.into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                axis: pb::DateAxis::Updated.into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                view: pb::ArticleView::Full.into(),
                ..next.clone()
            },
            pb::ListArticlesRequest {
                dating: 0,
                range: days("2022-01-01", "2022-12-31", ""),
                ..next.clone()
            },
        ];
        for other in others {
            let refused = fails(
                client.list_articles(other.clone()).await,
                Code::InvalidArgument,
                "BAD_TOKEN",
            );
            assert_eq!(refused.paths(), ["page_token"], "{other:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_looks_at_a_bounded_number_of_articles() {
    let server = Server::memory().await;
    let items = (0..2_100).map(|number| {
        let mut item = dated(
            &format!("n{number:04}"),
            "2022-05-10T00:00:00Z",
            pb::DatePrecision::Second,
            0,
        );
        item.section = if number == 0 { "rare" } else { "" }.into();
        pb_item(number, &item)
    });
    let items: Vec<_> = items.collect();
    let mut answers = server
        .articles()
        .import_articles(futures::stream::iter(items))
        .await
        .unwrap()
        .into_inner();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.result(), pb::ImportResult::Created);
    }
    let rare = pb::ListArticlesRequest {
        section: "rare".into(),
        ..Default::default()
    };
    let page = server
        .articles()
        .list_articles(rare.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(page.articles.is_empty() && !page.next_page_token.is_empty());
    assert_eq!(listed(&server, rare).await, ["n0000"]);
    let all = pb::ListArticlesRequest {
        page_size: i32::MAX,
        order: pb::ListOrder::OldestFirst.into(),
        ..Default::default()
    };
    let all = listed(&server, all).await;
    assert_eq!(all.len(), 2_100);
    assert!(all.is_sorted());
}

fn pb_item(item: u64, article: &pb::Article) -> article_store::api::codec::ImportArticlesRequest {
    article_store::api::codec::ImportArticlesRequest {
        item,
        article: Some(prost::Message::encode_to_vec(article).into()),
        significance: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_batches_fit_into_the_messages_of_default_clients() {
    let server = Server::memory().await;
    let megabyte = "ن".repeat(450_000);
    let ids: Vec<_> = (0..7).map(|number| format!("big{number}")).collect();
    for id in &ids {
        create(&server, article(id, &[&megabyte])).await;
    }
    let full = pb::ListArticlesRequest {
        view: pb::ArticleView::Full.into(),
        ..Default::default()
    };
    let mut expected = ids.clone();
    expected.reverse();
    let mut all = listed(&server, full).await;
    all.sort_by(|a, b| b.cmp(a));
    assert_eq!(all, expected);
    let mut left = ids.clone();
    let mut read = Vec::new();
    let mut rounds = 0;
    while !left.is_empty() {
        let request = pb::BatchGetArticlesRequest {
            article_ids: left,
            view: pb::ArticleView::Full.into(),
            ..Default::default()
        };
        let answer = server
            .articles()
            .batch_get_articles(request)
            .await
            .unwrap()
            .into_inner();
        assert!(!answer.articles.is_empty());
        read.extend(answer.articles.into_iter().map(|article| article.article_id));
        left = answer.unprocessed_ids;
        rounds += 1;
    }
    assert_eq!(read, ids);
    assert!(rounds > 1);
}

//! Lists by date: order, bounds, filters, pages and budgets, by example and against a model.

use article_store::domain::article::Metadata;
use article_store::domain::date::{ArticleDate, Precision};
use article_store::domain::query::{Axis, Order, Query, Range};
use article_store::domain::time::Timestamp;
use article_store::store::Budget;
use futures::future::join_all;
use jiff::tz::TimeZone;

use super::bench::{Bench, at};
use super::fixtures::*;

mod model;

on_every_store! {
    a_page_ends_when_its_articles_take_many_bytes,
    newest_first_then_undated,
    bounds_are_half_open,
    days_follow_the_zone_and_its_clock_changes,
    a_date_of_a_day_belongs_to_its_own_day,
    the_distant_past_and_future_have_their_place,
    filters_select,
    changed_dates_move_the_article,
    the_store_dates_what_it_received_and_what_changed,
    a_budget_of_rows_ends_a_page_without_losing_anything,
}

/// All of an axis, newest first.
fn query(axis: Axis, range: Range) -> Query {
    Query {
        axis,
        range,
        order: Order::NewestFirst,
        language: None,
        section: None,
        publisher: None,
        shown: shown(false),
        translation: None,
    }
}

fn published(range: Range) -> Query {
    query(Axis::Published, range)
}

const PLENTY: Budget = Budget {
    articles: 1000,
    rows: 100_000,
    bytes: usize::MAX,
};

async fn names(bench: &Bench, query: &Query) -> Vec<String> {
    let page = bench.store.list(query, None, PLENTY).await.unwrap();
    assert_eq!(page.next, None);
    page.articles
        .iter()
        .map(|(position, state)| {
            assert_eq!(position.id, state.head.id);
            position.id.to_string()
        })
        .collect()
}

/// An article that was published then; `None`: nobody knows when.
async fn publish(bench: &Bench, name: &str, instant: Option<&str>) {
    publish_dated(bench, name, instant.map(|instant| date(at(instant)))).await;
}

async fn publish_dated(bench: &Bench, name: &str, published: Option<ArticleDate>) {
    let metadata = Metadata {
        published,
        ..metadata()
    };
    bench
        .store
        .commit(create(&id(name), metadata, content(name, &["p"])))
        .await
        .unwrap();
}

fn day(text: &str) -> jiff::civil::Date {
    text.parse().unwrap()
}

fn days(first: &str, last: &str, zone: &str) -> Range {
    let zone = TimeZone::get(zone).unwrap();
    Range::days(Some(day(first)), Some(day(last)), &zone).unwrap()
}

async fn newest_first_then_undated(bench: &mut Bench) {
    publish(bench, "old", Some("2021-01-01T00:00:00Z")).await;
    publish(bench, "undated-a", None).await;
    publish(bench, "new", Some("2022-05-10T21:45:00Z")).await;
    publish(bench, "tie-b", Some("2022-01-01T00:00:00Z")).await;
    publish(bench, "tie-a", Some("2022-01-01T00:00:00Z")).await;
    let unreadable = ArticleDate {
        original: "أمس".into(),
        ..ArticleDate::default()
    };
    publish_dated(bench, "undated-b", Some(unreadable)).await;
    let mut all = published(Range::All);
    let newest = ["new", "tie-b", "tie-a", "old", "undated-b", "undated-a"];
    assert_eq!(names(bench, &all).await, newest);
    all.order = Order::OldestFirst;
    let oldest = ["old", "tie-a", "tie-b", "new", "undated-a", "undated-b"];
    assert_eq!(names(bench, &all).await, oldest);
    all.range = Range::Undated;
    assert_eq!(names(bench, &all).await, ["undated-a", "undated-b"]);
    all.range = Range::instants(Some(at("2000-01-01T00:00:00Z")), None).unwrap();
    assert_eq!(names(bench, &all).await, &oldest[..4]);
}

async fn bounds_are_half_open(bench: &mut Bench) {
    for (name, instant) in [
        ("before", "2022-05-09T23:59:59.999999Z"),
        ("start", "2022-05-10T00:00:00Z"),
        ("last", "2022-05-10T23:59:59.999999Z"),
        ("end", "2022-05-11T00:00:00Z"),
    ] {
        publish(bench, name, Some(instant)).await;
    }
    let (start, end) = (Some(at("2022-05-10T00:00:00Z")), Some(at("2022-05-11T00:00:00Z")));
    let range = |start, end| published(Range::instants(start, end).unwrap());
    assert_eq!(names(bench, &range(start, end)).await, ["last", "start"]);
    assert_eq!(names(bench, &range(start, None)).await, ["end", "last", "start"]);
    assert_eq!(names(bench, &range(None, end)).await, ["last", "start", "before"]);
    let utc = published(days("2022-05-10", "2022-05-11", "UTC"));
    assert_eq!(names(bench, &utc).await, ["last", "start"]);
}

async fn days_follow_the_zone_and_its_clock_changes(bench: &mut Bench) {
    // In Amman the clocks went from 24:00 to 01:00, so that 2022-02-25 began at 01:00 (+03); in Paris they went back on
    // 2022-10-30, so that this day had 25 hours.
    for (name, instant) in [
        ("amman-24-last", "2022-02-24T23:59:59+02:00"),
        ("amman-25-first", "2022-02-25T01:00:00+03:00"),
        ("amman-25-last", "2022-02-25T23:59:59+03:00"),
        ("paris-30-first", "2022-10-30T00:00:00+02:00"),
        ("paris-30-last", "2022-10-30T23:59:59+01:00"),
        ("paris-31-first", "2022-10-31T00:00:00+01:00"),
    ] {
        publish(bench, name, Some(instant)).await;
    }
    for (first, last, zone, expected) in [
        ("2022-02-24", "2022-02-25", "Asia/Amman", &["amman-24-last"][..]),
        (
            "2022-02-25",
            "2022-02-26",
            "Asia/Amman",
            &["amman-25-last", "amman-25-first"],
        ),
        (
            "2022-10-30",
            "2022-10-31",
            "Europe/Paris",
            &["paris-30-last", "paris-30-first"],
        ),
        ("2022-10-31", "2022-11-01", "Europe/Paris", &["paris-31-first"]),
    ] {
        assert_eq!(
            names(bench, &published(days(first, last, zone))).await,
            expected,
            "{first} {zone}"
        );
    }
}

async fn a_date_of_a_day_belongs_to_its_own_day(bench: &mut Bench) {
    // "10 May 2022" in Tokyo begins on 9 May in Paris and UTC, and is 10 May for everybody all the same.
    let of_day = |instant, offset_hours: i16| ArticleDate {
        instant: Some(at(instant)),
        precision: Precision::Day,
        utc_offset_minutes: offset_hours * 60,
        ..ArticleDate::default()
    };
    publish_dated(bench, "tokyo", Some(of_day("2022-05-10T00:00:00+09:00", 9))).await;
    publish_dated(bench, "hawaii", Some(of_day("2022-05-10T00:00:00-10:00", -10))).await;
    publish(bench, "exact", Some("2022-05-10T00:00:00+09:00")).await;
    for zone in ["Pacific/Honolulu", "Pacific/Pago_Pago"] {
        let query = published(days("2022-05-10", "2022-05-11", zone));
        let found = names(bench, &query).await;
        assert_eq!(found, ["hawaii", "tokyo"], "{zone}");
    }
    let on = |first, last| published(days(first, last, "Europe/Paris"));
    assert_eq!(
        names(bench, &on("2022-05-10", "2022-05-11")).await,
        ["hawaii", "tokyo"]
    );
    assert_eq!(names(bench, &on("2022-05-09", "2022-05-10")).await, ["exact"]);
    assert_eq!(names(bench, &on("2022-05-11", "2022-05-12")).await, [""; 0]);
}

async fn the_distant_past_and_future_have_their_place(bench: &mut Bench) {
    let dated = |instant| Some(date(instant));
    publish_dated(bench, "first", dated(Timestamp::MIN)).await;
    publish_dated(bench, "last", dated(Timestamp::MAX)).await;
    publish(bench, "1969", Some("1969-12-31T23:59:59.5Z")).await;
    publish(bench, "1970", Some("1970-01-01T00:00:00Z")).await;
    publish(bench, "2100", Some("2100-01-01T00:00:00Z")).await;
    let all = ["last", "2100", "1970", "1969", "first"];
    assert_eq!(names(bench, &published(Range::All)).await, all);
    let open = |first, last| Range::days(first, last, &TimeZone::UTC).unwrap();
    let since = published(open(Some(day("1970-01-01")), None));
    assert_eq!(names(bench, &since).await, &all[..3]);
    let until = published(open(None, Some(day("1970-01-01"))));
    assert_eq!(names(bench, &until).await, &all[3..]);
}

async fn filters_select(bench: &mut Bench) {
    for (name, tag, section, publisher) in [
        ("a", "ar", "world", "erem"),
        ("b", "ar", "sport", "erem"),
        ("c", "en", "world", "erem"),
        ("d", "ar", "world", "afp"),
    ] {
        let metadata = Metadata {
            language: language(tag),
            section: section.into(),
            publisher: publisher.into(),
            ..metadata()
        };
        let new = create(&id(name), metadata, content(name, &["p"]));
        bench.store.commit(new).await.unwrap();
    }
    let all = published(Range::All);
    let ar = Some(language("ar"));
    for (tag, section, publisher, expected) in [
        (None, None, None, &["d", "c", "b", "a"][..]),
        (ar.clone(), None, None, &["d", "b", "a"]),
        (None, Some("world"), None, &["d", "c", "a"]),
        (None, None, Some("afp"), &["d"]),
        (ar, Some("sport"), None, &["b"]),
    ] {
        let filtered = Query {
            language: tag,
            section: section.map(Into::into),
            publisher: publisher.map(Into::into),
            ..all.clone()
        };
        assert_eq!(names(bench, &filtered).await, expected);
    }
    let state = bench.article(&id("d")).await.unwrap();
    bench.store.commit(delete(&state)).await.unwrap();
    assert_eq!(names(bench, &all).await, ["c", "b", "a"]);
    let with_deleted = Query {
        shown: shown(true),
        ..all
    };
    assert_eq!(names(bench, &with_deleted).await, ["d", "c", "b", "a"]);
}

async fn changed_dates_move_the_article(bench: &mut Bench) {
    publish(bench, "a", Some("2022-01-01T00:00:00Z")).await;
    publish(bench, "b", Some("2022-01-02T00:00:00Z")).await;
    let all = published(Range::All);
    for (instant, expected) in [
        (Some("2022-01-03T00:00:00Z"), ["a", "b"]),
        (None, ["b", "a"]),
        (Some("2022-01-03T00:00:00Z"), ["a", "b"]),
        (Some("2021-01-03T00:00:00Z"), ["b", "a"]),
    ] {
        let state = bench.article(&id("a")).await.unwrap();
        let moved = edit(&state, |m| m.published = instant.map(|instant| date(at(instant))));
        bench.store.commit(moved).await.unwrap();
        assert_eq!(names(bench, &all).await, expected);
    }
}

async fn the_store_dates_what_it_received_and_what_changed(bench: &mut Bench) {
    for (name, time) in [("a", "2022-01-01T00:00:00Z"), ("b", "2022-01-02T00:00:00Z")] {
        bench.clock.set(at(time));
        publish(bench, name, None).await;
    }
    bench.clock.set(at("2022-01-03T00:00:00Z"));
    let state = bench.article(&id("a")).await.unwrap();
    let new = revise(&state, content("new", &["q"]));
    bench.store.commit(new).await.unwrap();
    // A change of the metadata is no change of the text.
    bench.clock.set(at("2022-01-04T00:00:00Z"));
    let state = bench.article(&id("b")).await.unwrap();
    bench
        .store
        .commit(edit(&state, |m| m.section = "x".into()))
        .await
        .unwrap();
    assert_eq!(names(bench, &query(Axis::Ingested, Range::All)).await, ["b", "a"]);
    assert_eq!(names(bench, &query(Axis::Revised, Range::All)).await, ["a", "b"]);
    let on_the_third = days("2022-01-03", "2022-01-04", "UTC");
    assert_eq!(names(bench, &query(Axis::Revised, on_the_third)).await, ["a"]);
}

async fn a_budget_of_rows_ends_a_page_without_losing_anything(bench: &mut Bench) {
    let batches = (0..60).map(|number| {
        let metadata = Metadata {
            section: if number % 20 == 7 { "rare" } else { "usual" }.into(),
            published: Some(date(at("2022-01-01T00:00:00Z").saturating_add_micros(number / 2))),
            ..metadata()
        };
        create(&id(&format!("a{number:02}")), metadata, content("t", &["p"]))
    });
    join_all(batches.map(|batch| bench.store.commit(batch))).await;
    let query = Query {
        section: Some("rare".into()),
        ..published(Range::All)
    };
    let budget = Budget {
        articles: 10,
        rows: 9,
        bytes: usize::MAX,
    };
    let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = bench.store.list(&query, after.as_ref(), budget).await.unwrap();
        pages += 1;
        found.extend(
            page.articles
                .into_iter()
                .map(|(position, _)| position.id.to_string()),
        );
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["a47", "a27", "a07"]);
    assert_eq!(pages, 7, "60 rows are 6 pages of 9 and a rest");
}

async fn a_page_ends_when_its_articles_take_many_bytes(bench: &mut Bench) {
    let batches = (0..12).map(|number| {
        let metadata = Metadata {
            published: Some(date(at("2022-01-01T00:00:00Z").saturating_add_micros(number / 2))),
            ..metadata()
        };
        let long = content("t", &vec!["p"; if number == 5 { 400 } else { 1 }]);
        create(&id(&format!("a{number:02}")), metadata, long)
    });
    join_all(batches.map(|batch| bench.store.commit(batch))).await;
    let all = published(Range::All);
    let expected = names(bench, &all).await;
    let one = bench.article(&id("a00")).await.unwrap().bytes();
    for (bytes, pages) in [(1, 12), (2 * one, 6), (16 * one, 1)] {
        let budget = Budget { bytes, ..PLENTY };
        let (mut found, mut lengths, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = bench.store.list(&all, after.as_ref(), budget).await.unwrap();
            lengths.push(page.articles.len());
            found.extend(page.articles.iter().map(|(position, _)| position.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected);
        assert!(lengths.len() >= pages, "{bytes}: {lengths:?}");
    }
}

// The model: everything, filtered, sorted and cut.

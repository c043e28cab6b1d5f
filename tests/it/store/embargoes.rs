//! Embargoes in the store: the order of their ends, and lists that show hidden articles only to callers that may see them.

use article_store::domain::access::{Reach, Shown, Visibility};
use article_store::domain::change::Kind;
use article_store::domain::query::{Axis, Order, Query, Range};
use article_store::domain::time::Timestamp;
use article_store::store::{Batch, Budget};

use super::bench::{Bench, at};
use super::fixtures::*;

on_every_store!(
    embargoes_end_in_order_until_they_are_lifted,
    a_moved_or_withheld_embargo_does_not_end,
    lists_leave_out_what_is_hidden,
);

pub(super) fn embargoed(name: &str, end: Timestamp) -> Batch {
    let mut metadata = metadata();
    metadata.embargo_time = Some(end);
    let mut batch = create(&id(name), metadata, content("t", &["p"]));
    let head = batch.head.as_mut().unwrap();
    head.current.visibility = Visibility::Embargoed;
    batch.bodies[0].1 = article_store::store::Body::Article(head.current.clone());
    batch
}

async fn set(bench: &Bench, name: &str, visibility: Visibility, end: Option<Timestamp>) {
    let state = bench.article(&id(name)).await.unwrap();
    let batch = change(&state, Kind::PublicationStatusChanged, |version| {
        version.visibility = visibility;
        version.metadata.embargo_time = end;
    });
    bench.store.commit(batch).await.unwrap();
}

async fn due(bench: &Bench, now: &str, limit: usize) -> Vec<String> {
    let due = bench.store.due_embargoes(at(now), limit).await.unwrap();
    due.iter().map(ToString::to_string).collect()
}

async fn embargoes_end_in_order_until_they_are_lifted(bench: &mut Bench) {
    for (name, end) in [
        ("late", "2022-05-11T00:00:02Z"),
        ("early", "2022-05-11T00:00:00Z"),
        ("middle", "2022-05-11T00:00:01Z"),
        ("long-ago", "1969-12-31T23:59:59Z"),
    ] {
        bench.store.commit(embargoed(name, at(end))).await.unwrap();
    }
    bench.store.commit(simple(&id("public"))).await.unwrap();
    assert_eq!(due(bench, "1969-12-31T23:59:58Z", 9).await, Vec::<String>::new());
    assert_eq!(due(bench, "2022-05-10T23:59:59.999999Z", 9).await, ["long-ago"]);
    // At the very instant it has ended.
    assert_eq!(due(bench, "2022-05-11T00:00:00Z", 9).await, ["long-ago", "early"]);
    assert_eq!(
        due(bench, "2022-05-11T00:01:00Z", 3).await,
        ["long-ago", "early", "middle"]
    );
    bench.reopen().await;
    set(
        bench,
        "early",
        Visibility::Public,
        Some(at("2022-05-11T00:00:00Z")),
    )
    .await;
    assert_eq!(
        due(bench, "2022-05-11T00:01:00Z", 9).await,
        ["long-ago", "middle", "late"]
    );
}

async fn a_moved_or_withheld_embargo_does_not_end(bench: &mut Bench) {
    let end = at("2022-05-11T00:00:00Z");
    for name in ["moved", "withheld"] {
        bench.store.commit(embargoed(name, end)).await.unwrap();
    }
    let later = end.saturating_add_micros(1_000_000);
    set(bench, "moved", Visibility::Embargoed, Some(later)).await;
    set(bench, "withheld", Visibility::Withheld, Some(end)).await;
    assert_eq!(due(bench, "2022-05-11T00:00:00Z", 9).await, Vec::<String>::new());
    assert_eq!(bench.store.check().await.unwrap(), []);
    set(bench, "withheld", Visibility::Embargoed, Some(end)).await;
    assert_eq!(due(bench, "2022-05-11T00:00:01Z", 9).await, ["withheld", "moved"]);
}

async fn lists_leave_out_what_is_hidden(bench: &mut Bench) {
    let end = at("2022-05-11T00:00:00Z");
    bench.store.commit(simple(&id("public"))).await.unwrap();
    bench.store.commit(embargoed("embargoed", end)).await.unwrap();
    for (name, visibility) in [
        ("withheld", Visibility::Withheld),
        ("canceled", Visibility::Canceled),
    ] {
        bench.store.commit(simple(&id(name))).await.unwrap();
        set(bench, name, visibility, None).await;
    }
    let list = async |hidden| {
        let query = Query {
            axis: Axis::Ingested,
            range: Range::All,
            order: Order::OldestFirst,
            language: None,
            section: None,
            publisher: None,
            shown: Shown {
                deleted: false,
                hidden,
            },
            translation: None,
        };
        let budget = Budget {
            articles: 10,
            rows: 100,
            bytes: usize::MAX,
        };
        let page = bench.store.list(&query, None, budget).await.unwrap();
        let ids = page.articles.iter().map(|(position, _)| position.id.to_string());
        ids.collect::<Vec<_>>()
    };
    let none = Reach::default();
    assert_eq!(list(none).await, ["public"]);
    let embargoed = Reach {
        embargoed: true,
        ..none
    };
    assert_eq!(list(embargoed).await, ["public", "embargoed"]);
    let editorial = Reach {
        editorial: true,
        ..none
    };
    assert_eq!(
        list(editorial).await,
        ["public", "embargoed", "withheld", "canceled"]
    );
}

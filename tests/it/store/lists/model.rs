//! Random lists against a model: pages are the model's list, cut.

use std::cmp::Ordering;
use std::sync::Arc;

use article_store::domain::article::{ArticleId, Metadata};
use article_store::domain::date::{ArticleDate, Precision};
use article_store::domain::provenance::OriginClass;
use article_store::domain::query::{
    Axis, IndexRow, Order, Position, Presence, Query, Range, Standing, TranslationFilter,
};
use article_store::domain::time::Timestamp;
use article_store::domain::translation::State;
use article_store::store::{ArticleState, Budget};
use futures::future::join_all;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::store::bench::{Bench, Kind, at, within_limit};
use crate::store::fixtures::*;

fn instants() -> impl Strategy<Value = Timestamp> {
    // Around a clock change in Paris, in steps that make ties and days that differ by zone.
    (-60i64..60).prop_map(|step| at("2022-03-27T00:00:00Z").saturating_add_micros(step * 1_800_000_000))
}

fn dates() -> impl Strategy<Value = Option<ArticleDate>> {
    let precision = prop_oneof![Just(Precision::Second), Just(Precision::Day)];
    let offset = prop_oneof![Just(0), Just(60), Just(540), Just(-600)];
    let dated = (proptest::option::weighted(0.8, instants()), precision, offset);
    proptest::option::weighted(
        0.9,
        dated.prop_map(|(instant, precision, utc_offset_minutes)| ArticleDate {
            instant,
            precision,
            utc_offset_minutes,
            ..ArticleDate::default()
        }),
    )
}

fn articles() -> impl Strategy<Value = Vec<(Metadata, Fate)>> {
    let tag = prop_oneof![Just("ar"), Just("en")];
    let fate = prop::sample::select(vec![
        Fate::Alone,
        Fate::Deleted,
        Fate::Translated,
        Fate::Revised,
        Fate::Extended,
        Fate::Reverted,
    ]);
    let article = (dates(), dates(), tag, any::<bool>(), any::<bool>(), fate);
    let article = article.prop_map(|(published, updated, tag, sport, afp, fate)| {
        let metadata = Metadata {
            language: language(tag),
            section: if sport { "sport" } else { "world" }.into(),
            publisher: if afp { "afp" } else { "erem" }.into(),
            published,
            updated,
            ..metadata()
        };
        (metadata, fate)
    });
    vec(article, 0..25)
}

fn ranges() -> impl Strategy<Value = Range> {
    let bound = || proptest::option::of(instants());
    let zone = prop_oneof![
        Just("UTC"),
        Just("Europe/Paris"),
        Just("Asia/Tokyo"),
        Just("Pacific/Honolulu")
    ];
    let days = (25i8..=29, 1i8..4, zone).prop_map(|(first, count, zone)| {
        let first = jiff::civil::date(2022, 3, first);
        let last = first.checked_add(jiff::Span::new().days(count)).unwrap();
        Range::days(Some(first), Some(last), &TimeZone::get(zone).unwrap()).unwrap()
    });
    prop_oneof![
        Just(Range::All),
        Just(Range::Undated),
        (bound(), bound()).prop_filter_map("an end after the start", |(start, end)| Range::instants(
            start, end
        )
        .ok()),
        days,
    ]
}

fn queries() -> impl Strategy<Value = Query> {
    let axis = prop::sample::select(Axis::ALL.to_vec());
    let order = prop_oneof![Just(Order::NewestFirst), Just(Order::OldestFirst)];
    let filter = |value: &'static str| proptest::option::weighted(0.3, Just(value));
    let filters = (filter("ar"), filter("sport"), filter("afp"), any::<bool>());
    let translation = proptest::option::of(translation_filters());
    (axis, ranges(), order, filters, translation).prop_map(
        |(axis, range, order, (tag, section, publisher, show_deleted), translation)| Query {
            axis,
            range,
            order,
            language: tag.map(language),
            section: section.map(Into::into),
            publisher: publisher.map(Into::into),
            shown: shown(show_deleted),
            translation,
        },
    )
}

fn translation_filters() -> impl Strategy<Value = TranslationFilter> {
    let presence = prop::sample::select(vec![
        Presence::Any,
        Presence::Absent,
        Presence::Incomplete,
        Presence::Stale,
        Presence::Current,
        Presence::NotCurrent,
    ]);
    let state = proptest::option::weighted(0.2, Just(State::Translated));
    let origin = prop::sample::select(vec![OriginClass::MachineUnreviewed, OriginClass::Human]);
    let origin = proptest::option::weighted(0.2, origin);
    let language = prop::sample::select(vec!["fr", "ar"]).prop_map(language);
    (language, presence, state, origin).prop_map(|(language, presence, min_state, origin_class)| {
        TranslationFilter {
            language,
            presence,
            min_state,
            origin_class,
        }
    })
}

/// What becomes of an article after it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Alone,
    Deleted,
    Translated,
    /// A translated paragraph got another text.
    Revised,
    /// A paragraph was added after the translation.
    Extended,
    /// The text came back to what was translated, and the date moved.
    Reverted,
}

async fn suffer(bench: &Bench, article: &ArticleId, fate: Fate) {
    let state = || async { bench.article(article).await.unwrap() };
    let commit = |batch| async { bench.store.commit(batch).await.unwrap() };
    let revised = |texts: &'static [&'static str]| async move {
        commit(revise(&*state().await, content("t", texts))).await;
    };
    if fate == Fate::Alone {
        return;
    }
    if fate == Fate::Deleted {
        commit(delete(&*state().await)).await;
        return;
    }
    let french = language("fr");
    let translation = attach(&*bench.store, &*state().await, &french, &texts("x", 1)).await;
    commit(translation.unwrap()).await;
    match fate {
        Fate::Revised => revised(&["other"]).await,
        Fate::Extended => revised(&["p", "more"]).await,
        Fate::Reverted => {
            revised(&["other"]).await;
            revised(&["p"]).await;
            let dated = edit(&*state().await, |m| {
                m.published = Some(date(at("2022-01-01T00:00:00Z")));
            });
            commit(dated).await;
        }
        _ => {}
    }
}

fn model(all: &[Arc<ArticleState>], query: &Query) -> Vec<Position> {
    let mut found: Vec<Position> = all
        .iter()
        .filter(|state| {
            let row = IndexRow::of(&state.head, query.axis);
            let standing = |filter: &TranslationFilter| {
                let slot = state.slots.get(&filter.language)?;
                Standing::of(&state.head, slot)
            };
            let translation = query.translation.as_ref();
            query.matches(&row)
                && translation.is_none_or(|filter| filter.matches(&row.language, standing(filter).as_ref()))
        })
        .map(|state| (IndexRow::of(&state.head, query.axis), state.head.id.clone()))
        .map(|(row, id)| Position {
            instant: row.date.instant,
            id,
        })
        .collect();
    let in_order =
        |a: &(Option<Timestamp>, &ArticleId), b: &(Option<Timestamp>, &ArticleId)| match query.order {
            Order::NewestFirst => b.cmp(a),
            Order::OldestFirst => a.cmp(b),
        };
    found.sort_by(|a, b| match (a.instant, b.instant) {
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        _ => in_order(&(a.instant, &a.id), &(b.instant, &b.id)),
    });
    found
}

async fn compare_with_the_model(kind: Kind, articles: &[(Metadata, Fate)], queries: &[(Query, Budget)]) {
    let bench = Bench::new(kind);
    join_all((0..).zip(articles).map(|(number, (metadata, fate))| {
        let bench = &bench;
        async move {
            let article = id(&format!("a{number}"));
            let new = create(&article, metadata.clone(), content("t", &["p"]));
            bench.store.commit(new).await.unwrap();
            suffer(bench, &article, *fate).await;
        }
    }))
    .await;
    let all = bench.store.scan(None, 1000).await.unwrap();
    assert_eq!(all.len(), articles.len());
    for (query, budget) in queries {
        let (mut found, mut after): (Vec<Position>, _) = (Vec::new(), None);
        loop {
            let page = bench.store.list(query, after.as_ref(), *budget).await.unwrap();
            assert!(page.articles.len() <= budget.articles);
            found.extend(page.articles.into_iter().map(|(position, _)| position));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, model(&all, query), "{query:?} {budget:?}");
    }
    assert_eq!(bench.store.check().await.unwrap(), []);
    bench.store.close().await.unwrap();
}

fn pages_are_the_model_cut(kind: Kind, cases: u32) {
    let budget = (1usize..6, 1usize..9).prop_map(|(articles, rows)| Budget {
        articles,
        rows,
        bytes: usize::MAX,
    });
    let case = (articles(), vec((queries(), budget), 30));
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&case, |(articles, queries)| {
            within_limit(compare_with_the_model(kind, &articles, &queries));
            Ok(())
        })
        .unwrap();
}

#[test]
fn pages_are_the_model_cut_in_memory() {
    pages_are_the_model_cut(Kind::Memory, 64);
}

#[test]
fn pages_are_the_model_cut_on_sled() {
    pages_are_the_model_cut(Kind::Sled, 12);
}

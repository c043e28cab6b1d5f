//! Stores that earlier versions wrote: opening brings them to the present format and loses nothing.
//!
//! A file in `formats/` is the `db` directory of a store, written by the last commit that had that format. It holds the
//! two pages of `examples/pages`, the English one with a revision, their translations, and two small articles.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use article_store::clock::SystemClock;
use article_store::domain::query::{Axis, Order, Presence, Query, Range, TranslationFilter};
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use article_store::store::{Budget, Counts, Store};

use super::bench::within_limit;
use super::fixtures::*;

fn open(directory: &Path) -> KvStore {
    let config = SledConfig {
        min_free_bytes: Some(0),
        reserve_bytes: 0,
        ..SledConfig::new(directory)
    };
    KvStore::open(SledEngine::open(config).unwrap(), Arc::new(SystemClock), 8 << 20).unwrap()
}

fn query(presence: Presence) -> Query {
    Query {
        axis: Axis::Published,
        range: Range::All,
        order: Order::NewestFirst,
        language: None,
        section: None,
        publisher: None,
        shown: shown(false),
        translation: Some(TranslationFilter {
            language: language("fr"),
            presence,
            min_state: None,
            origin_class: None,
        }),
    }
}

async fn list(store: &dyn Store, presence: Presence) -> Vec<String> {
    let budget = Budget {
        articles: 10,
        rows: 100,
    };
    let page = store.list(&query(presence), None, budget).await.unwrap();
    page.articles
        .iter()
        .map(|(position, _)| position.id.to_string())
        .collect()
}

async fn is_whole(store: &dyn Store) {
    assert_eq!(store.check().await.unwrap(), []);
    let status = store.status().await.unwrap();
    let counts = |articles, revisions, translations| Counts {
        articles,
        deleted: 0,
        revisions,
        translations,
    };
    let expected = [
        ("ar", counts(1, 1, 1)),
        ("en", counts(3, 4, 1)),
        ("fr", counts(0, 0, 1)),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(tag, counts)| (language(tag), counts)).into();
    assert_eq!(status.counts, expected);
    assert_eq!(list(store, Presence::Incomplete).await, ["makers-ar"]);
    assert_eq!(
        list(store, Presence::Absent).await,
        ["ferry-en", "day-1", "undated-1"]
    );
    let ferry = store
        .articles(&[id("ferry-en")])
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    let title = "Harbour town brings back its night ferry after twelve years";
    assert_eq!(ferry.head.title.content.text(), title);
    assert_eq!(ferry.head.revision(), 2);
}

#[test]
fn a_store_of_format_1_is_brought_to_the_present_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/store/formats/store-format-1.tar.xz");
    let unpacked = Command::new("tar")
        .arg("-xJf")
        .arg(file)
        .arg("-C")
        .arg(directory.path())
        .status();
    assert!(unpacked.unwrap().success());
    within_limit(async {
        let store = open(directory.path());
        is_whole(&store).await;
        let epoch = store.status().await.unwrap().epoch;
        store.commit(simple(&id("new"))).await.unwrap();
        store.close().await.unwrap();
        let store = open(directory.path());
        assert_eq!(store.status().await.unwrap().epoch, epoch);
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

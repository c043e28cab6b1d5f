//! Stores that earlier versions wrote: opening brings them to the present format and loses nothing.
//!
//! A file in `formats/` is the `db` directory of a store, written by the last commit that had that format. It holds the
//! two pages of `examples/pages`, the English one with a revision, their translations, and two small articles. That of
//! format 2 has more, see [`is_format_2`], and so does a backup of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use article_store::clock::TrustedClock;
use article_store::domain::query::{Axis, Order, Presence, Query, Range, TranslationFilter};
use article_store::domain::version::VersionKey;
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Direction, Engine, Write};
use article_store::store::kv::sled::{SledConfig, SledEngine};
use article_store::store::{Body, Budget, Store};
use tempfile::TempDir;

use super::backup::restore;
use super::bench::{article, within_limit};
use super::disk::Disk;
use super::fixtures::*;
use super::purge::purge;
use crate::process::{PROGRAM, serve};

fn open(directory: &Path) -> KvStore {
    let config = SledConfig {
        min_free_bytes: Some(0),
        reserve_bytes: 0,
        ..SledConfig::new(directory)
    };
    KvStore::open(SledEngine::open(config).unwrap(), Arc::new(TrustedClock), 8 << 20).unwrap()
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
        bytes: usize::MAX,
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
    let counts = |articles: u64, revisions: u64, translations: u64| (articles, revisions, translations);
    let expected = [
        ("ar", counts(1, 1, 1)),
        ("en", counts(3, 4, 1)),
        ("fr", counts(0, 0, 1)),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(tag, counts)| (language(tag), counts)).into();
    let found = status.counts.into_iter();
    let found = found.map(|(tag, of)| (tag, counts(of.articles, of.revisions, of.translations)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
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
    let replaced = departures(store, &ferry).await;
    assert_eq!(replaced.contents.into_values().collect::<Vec<_>>(), [1]);
    assert!(
        replaced
            .texts
            .values()
            .all(|departed| departed.last_revision == 1)
    );
    assert!(!replaced.texts.is_empty());
}

/// The directory of a store that is in a file.
fn unpacked(file: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("-xJf")
        .arg(formats().join(file))
        .arg("-C")
        .arg(directory.path())
        .status();
    assert!(unpacked.unwrap().success());
    directory
}

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/store/formats")
}

#[test]
fn a_store_of_format_1_is_brought_to_the_present_one() {
    let directory = unpacked("store-format-1.tar.xz");
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

/// What the store of format 2, and the backup of it, hold: the articles of format 1, of which one was purged and one was
/// revised to revision 14 and translated into German in six steps, and four jobs one after the other.
async fn is_format_2(store: &dyn Store) {
    assert_eq!(store.check().await.unwrap(), []);
    let ferry = article(store, &id("ferry-en")).await.unwrap();
    assert_eq!(ferry.head.revision(), 14);
    let german = &ferry.slots[&language("de")];
    assert_eq!(german.translations[0].version.number, 6);
    for state in store.scan(None, 10).await.unwrap() {
        let keys = all_versions(&state);
        for (key, body) in keys.iter().zip(store.versions(&keys).await.unwrap()) {
            assert_eq!(body.version().number, key.number);
            let newest = state.newest(&key.series).unwrap();
            let newest = VersionKey {
                number: newest.number,
                ..key.clone()
            };
            let time = body.version().stamp.time;
            let then = store.version_at(&newest, time).await.unwrap();
            assert_eq!(then.as_ref(), Some(&body), "{key}");
            let before = store
                .version_at(&newest, time.saturating_add_micros(-1))
                .await
                .unwrap();
            let before = before.map_or(0, |before| before.version().number);
            assert_eq!(before, key.number - 1, "{key}");
        }
    }
    let revision = |number| ferry.head.revision_key(number);
    let keys: Vec<_> = (3..=14).map(revision).collect();
    for (years, body) in (1..).zip(store.versions(&keys).await.unwrap()) {
        let Body::Revision(revision) = &*body else {
            panic!("{body:?}");
        };
        let title = format!("Harbour town brings back its night ferry after {years} years");
        assert_eq!(revision.content.title.content.text(), title);
    }
    assert_eq!(store.replaced_jobs(&id("ferry-en")).await.unwrap().len(), 3);
    assert!(store.tombstone(&id("undated-1")).await.unwrap().is_some());
    assert_eq!(article(store, &id("undated-1")).await, None);
}

/// The store takes writes, and a purge finds everything.
async fn goes_on(store: &dyn Store) {
    let ferry = article(store, &id("ferry-en")).await.unwrap();
    let revised = revise(&ferry, content("new", &["p"]));
    store.commit(revised).await.unwrap();
    assert_eq!(store.check().await.unwrap(), []);
    let version = ferry.head.version() + 1;
    store.commit(purge(&id("ferry-en"), version)).await.unwrap();
    assert_eq!(store.check().await.unwrap(), []);
}

#[test]
fn a_store_of_format_2_is_brought_to_the_present_one() {
    let directory = unpacked("store-format-2.tar.xz");
    within_limit(async {
        for _ in 0..2 {
            let store = open(directory.path());
            is_format_2(&store).await;
            store.close().await.unwrap();
        }
        let store = open(directory.path());
        goes_on(&store).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_backup_of_format_1_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    within_limit(async {
        let config = SledConfig {
            min_free_bytes: Some(0),
            reserve_bytes: 0,
            ..SledConfig::new(directory.path())
        };
        restore(&formats().join("backup-format-1.zst"), &config, false)
            .await
            .unwrap();
        let store = open(directory.path());
        is_format_2(&store).await;
        goes_on(&store).await;
        store.close().await.unwrap();
    });
}

/// The records of the store of format 2.
fn records_of_format_2() -> Vec<Write> {
    let directory = unpacked("store-format-2.tar.xz");
    let engine = SledEngine::open(SledConfig {
        min_free_bytes: Some(0),
        reserve_bytes: 0,
        ..SledConfig::new(directory.path())
    })
    .unwrap();
    let mut records = Vec::new();
    let mut visit = |key: &[u8], record: &[u8]| {
        records.push(Write::Put(key.to_vec(), record.to_vec()));
        ControlFlow::Continue(())
    };
    engine
        .scan(&[0]..=&[0xFE], Direction::Forward, &mut visit)
        .unwrap();
    records
}

/// What its revisions replaced is lost of the one article, which can be purged.
#[test]
fn a_damaged_record_does_not_stop_the_upgrade() {
    let mut records = records_of_format_2();
    for write in &mut records {
        if let Write::Put(key, record) = write
            && key == b"pferry-en"
        {
            *record.last_mut().unwrap() ^= 1;
        }
    }
    let disk = Disk::default();
    disk.apply(records).unwrap();
    within_limit(async {
        let store = disk.store();
        let findings = store.check().await.unwrap();
        let found: Vec<_> = findings.iter().map(|finding| finding.record.as_str()).collect();
        assert_eq!(found, ["delta ferry-en 14", "segment history ferry-en"]);
        let ferry = article(&*store, &id("ferry-en")).await.unwrap();
        let version = ferry.head.version();
        store.commit(purge(&id("ferry-en"), version)).await.unwrap();
        assert_eq!(store.check().await.unwrap(), []);
    });
}

/// The disk stops at each of the writes of the upgrade, and forgets what was not synced.
#[test]
fn an_upgrade_that_is_broken_off_goes_on_at_the_next_open() {
    let records = records_of_format_2();
    for writes in 0.. {
        let disk = Disk::default();
        disk.apply(records.clone()).unwrap();
        disk.sync().unwrap();
        disk.panic_in_apply_after(writes);
        let opened = catch_unwind(AssertUnwindSafe(|| disk.store()));
        if disk.is_to_panic() {
            assert!(writes > 3, "{writes} writes");
            break;
        }
        assert!(opened.is_err());
        disk.reopen().unwrap();
        within_limit(async { is_format_2(&*disk.store()).await });
        assert_eq!(old_records(&disk), 0);
    }
}

/// Records under keys that only format 2 had.
fn old_records(engine: &dyn Engine) -> usize {
    let mut found = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        found += 1;
        ControlFlow::Continue(())
    };
    engine.scan(b"b"..=b"c", Direction::Forward, &mut visit).unwrap();
    engine.scan(b"p"..=b"q", Direction::Forward, &mut visit).unwrap();
    found
}

#[test]
fn an_upgrade_survives_kills() {
    for line in ["to a newer format", "has the newer format"] {
        let directory = unpacked("store-format-2.tar.xz");
        let mut command = Command::new(PROGRAM);
        serve(&mut command, "127.0.0.1:0", directory.path(), 0);
        let mut child = command
            .args(["--log", "info"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|said| said.unwrap().contains(line)), "{line}");
        child.kill().unwrap();
        child.wait().unwrap();
        within_limit(async {
            let store = open(directory.path());
            is_format_2(&store).await;
            store.close().await.unwrap();
        });
    }
}

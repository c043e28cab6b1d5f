//! Backups: everything is in them, consistent while writes go on; what is not one, or no longer is, is refused by name
//! and touches nothing.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use article_store::clock::{Clock, TrustedClock};
use article_store::domain::article::ArticleId;
use article_store::domain::change::JobStep;
use article_store::domain::job::{ClaimQuery, Job, JobKind};
use article_store::domain::time::Seq;
use article_store::store::kv::KvStore;
use article_store::store::kv::backup::KvImport;
use article_store::store::kv::sled::{SledConfig, SledEngine};
use article_store::store::reference::ReferenceImport;
use article_store::store::transfer::{self, BackupError, BackupFile, Import, Restored, back_up};
use article_store::store::{ArticleState, Changes, OpenError, Store, StoreError};
use futures::future::join_all;
use tokio::sync::mpsc;

use super::bench::{Bench, Kind, at, within_limit};
use super::claims::claim;
use super::fixtures::*;
use super::purge::purge;
use crate::harness::noise;

mod files;

on_every_store! {
    a_backup_restores_to_the_same_store,
    a_backup_under_writes_is_the_store_after_one_commit,
    a_copy_is_the_same_store_with_its_epoch,
    a_copy_through_the_reference_store_is_the_same_to_the_byte,
    a_reader_that_goes_away_ends_the_backup_alone,
}

/// What a writer beside a backup writes at most, where the machine lets it be faster than the backup.
const MOST_ROUNDS: u64 = 100;

fn config(directory: &Path) -> SledConfig {
    SledConfig {
        min_free_bytes: Some(0),
        reserve_bytes: 0,
        ..SledConfig::new(directory)
    }
}

/// Articles with revisions, translations into two languages, requests and long texts.
pub(super) async fn fill(bench: &Bench) {
    let long = "سطر طويل ".repeat(20_000);
    join_all((0..40).map(|number| {
        let long = &long;
        async move {
            let article = id(&format!("a{number}"));
            let text = if number == 7 { long } else { "p" };
            let new = create(
                &article,
                metadata_at(&format!("https://e.test/{number}")),
                content("t", &[text]),
            );
            bench.store.commit(with_request(new, number)).await.unwrap();
            for tag in ["fr", "en"] {
                let state = bench.article(&article).await.unwrap();
                let slot = attach(&*bench.store, &state, &language(tag), &texts("x", 1)).await;
                bench.store.commit(slot.unwrap()).await.unwrap();
            }
            if number % 3 == 0 {
                revise_once(bench, number, "q").await;
            }
            for tag in ["fr", "de", "fr"] {
                open_next(bench, &article, tag).await;
            }
        }
    }))
    .await;
    for name in ["news", "sport", "gone"] {
        put_policy(&*bench.store, &policy(name, &["fr", "de"])).await;
    }
    delete_policy(&*bench.store, "gone").await;
    let leased = bench.store.claim(claim(&ClaimQuery::default(), 5, 3_600)).await;
    assert_eq!(leased.unwrap().jobs.len(), 5);
}

/// Opens a job, or ends the one that is open and opens the next.
pub(super) async fn open_next(bench: &Bench, article: &ArticleId, tag: &str) {
    let state = bench.article(article).await.unwrap();
    let key = key(tag, JobKind::Mt);
    let last = state.jobs.get(&key).map(|last| last.canceled(false));
    let next = Job::open(article, key.clone(), last.as_ref(), 1, order());
    let steps = last.map(|last| (last, JobStep::Canceled));
    let steps = steps.into_iter().chain([(next, JobStep::Opened)]);
    let mut batch = put_jobs(&state, steps.collect());
    // The next one stands on the last one of this very batch.
    batch.expect.truncate(1);
    bench.store.commit(batch).await.unwrap();
}

pub(super) async fn revise_once(bench: &Bench, number: u64, text: &str) {
    let article = id(&format!("a{number}"));
    let state = bench.article(&article).await.unwrap();
    let revised = revise(&state, content("t", &[text]));
    bench.store.commit(revised).await.unwrap();
}

/// Writes a backup of a store into a file.
pub(super) async fn back_up_to(store: &dyn Store, file: &Path) -> Seq {
    let (to, mut bytes) = mpsc::channel(4);
    let write = async {
        let mut all = Vec::new();
        while let Some(chunk) = bytes.recv().await {
            all.extend(chunk);
        }
        fs::write(file, all).unwrap();
    };
    let (manifest, ()) = futures::join!(back_up(store, at("2022-05-11T00:00:00Z"), to), write);
    manifest.unwrap().seq
}

/// Makes the store of a backup on sled.
pub(super) async fn restore(
    file: &Path,
    config: &SledConfig,
    replace: bool,
) -> Result<Restored, BackupError> {
    let begin = || Ok(sled_import(config, replace)? as Box<dyn Import>);
    transfer::restore(file, begin, Box::new(|_, _, _| {})).await
}

pub(super) fn sled_import(config: &SledConfig, replace: bool) -> article_store::store::Result<Box<KvImport>> {
    KvImport::sled(config, replace, Arc::new(TrustedClock)).map(Box::new)
}

pub(super) async fn restored(file: &Path, directory: &Path) -> KvStore {
    restore(file, &config(directory), false).await.unwrap();
    open(directory)
}

fn open(directory: &Path) -> KvStore {
    KvStore::open(
        SledEngine::open(config(directory)).unwrap(),
        Arc::new(TrustedClock),
        8 << 20,
    )
    .unwrap()
}

pub(super) async fn states(store: &dyn Store) -> Vec<Arc<ArticleState>> {
    store.scan(None, 10_000).await.unwrap()
}

async fn log(store: &dyn Store) -> Changes {
    store.changes(0, 1_000_000).await.unwrap()
}

pub(super) async fn is_the_same(store: &dyn Store, other: &dyn Store) {
    assert_eq!(other.check().await.unwrap(), []);
    let all = states(store).await;
    assert_eq!(states(other).await, all);
    assert_eq!(log(other).await, log(store).await);
    let (status, other_status) = (store.status().await.unwrap(), other.status().await.unwrap());
    assert_eq!(other_status.counts, status.counts);
    for state in &all {
        let keys = all_versions(state);
        assert_eq!(
            other.versions(&keys).await.unwrap(),
            store.versions(&keys).await.unwrap()
        );
        let id = &state.head.id;
        assert_eq!(departures(other, state).await, departures(store, state).await);
        let replaced = store.replaced_jobs(id).await.unwrap();
        assert_eq!(other.replaced_jobs(id).await.unwrap(), replaced);
        let aliases = &state.head.aliases;
        assert_eq!(
            other.lookup(aliases).await.unwrap(),
            store.lookup(aliases).await.unwrap()
        );
    }
    let jobs = store.jobs(None, 1_000).await.unwrap();
    assert_eq!(other.jobs(None, 1_000).await.unwrap(), jobs);
    let policies = (other.policies().await.unwrap(), store.policies().await.unwrap());
    assert_eq!(policies.0.all, policies.1.all);
    let all = ClaimQuery::default();
    assert_eq!(
        other.next_claimable(&all).await.unwrap(),
        store.next_claimable(&all).await.unwrap()
    );
    for number in 0..40 {
        let key = request_key(number);
        assert_eq!(
            other.request(&key).await.unwrap(),
            store.request(&key).await.unwrap()
        );
    }
}

async fn a_backup_restores_to_the_same_store(bench: &mut Bench) {
    fill(bench).await;
    let (file, target) = (
        bench.directory.path().join("backup"),
        tempfile::tempdir().unwrap(),
    );
    let last = back_up_to(&*bench.store, &file).await;
    let backup = BackupFile::verify(&file).unwrap();
    assert_eq!(backup.manifest.seq, last);
    let counts = ["articles", "jobs", "replaced_jobs", "policies"].map(|kind| backup.manifest.counts[kind]);
    assert_eq!(counts, [40, 80, 40, 2]);
    let other = restored(&file, target.path()).await;
    is_the_same(&*bench.store, &other).await;
    let (status, other_status) = (bench.store.status().await.unwrap(), other.status().await.unwrap());
    assert_ne!(other_status.epoch, status.epoch, "its future is another one");
    // Its queues are those of the store, whose leases have ended by then.
    bench.clock.set(TrustedClock.now());
    let mut claims = Vec::new();
    for store in [&*bench.store, &other] {
        let claimed = store.claim(claim(&ClaimQuery::default(), 100, 60)).await.unwrap();
        let names: Vec<_> = claimed.jobs.iter().map(|job| job.id.clone()).collect();
        claims.push(names);
    }
    // All that are wanted: into German, and into French where the article was revised.
    assert_eq!((claims[0].len(), &claims[0]), (54, &claims[1]));
    let last = other.status().await.unwrap();
    // It goes on where the backup ended.
    let stamp = other.commit(simple(&id("new"))).await.unwrap().stamp;
    assert_eq!(stamp.seq, last.seq + 1);
    assert_eq!(other.check().await.unwrap(), []);
    other.close().await.unwrap();
}

async fn a_backup_under_writes_is_the_store_after_one_commit(bench: &mut Bench) {
    fill(bench).await;
    let (file, target) = (
        bench.directory.path().join("backup"),
        tempfile::tempdir().unwrap(),
    );
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let bench = &*bench;
    let writers = join_all((0..8_u64).map(|writer| {
        let (done, written) = (&done, &written);
        async move {
            for round in 0..MOST_ROUNDS {
                if done.load(Ordering::Acquire) {
                    break;
                }
                revise_once(bench, writer * 5, &format!("{writer} {round}")).await;
                let new = simple(&id(&format!("w{writer}-{round}")));
                bench
                    .store
                    .commit(with_request(new, 1_000 + writer * 1_000_000 + round))
                    .await
                    .unwrap();
                open_next(bench, &id(&format!("a{}", writer * 5)), "de").await;
                let name = format!("p{writer}");
                match round % 2 {
                    0 => put_policy(&*bench.store, &policy(&name, &["fr"])).await,
                    _ => delete_policy(&*bench.store, &name).await,
                };
                written.fetch_add(4, Ordering::Relaxed);
            }
        }
    }));
    let backups = async {
        for _ in 0..3 {
            back_up_to(&*bench.store, &file).await;
        }
        let last = back_up_to(&*bench.store, &file).await;
        done.store(true, Ordering::Release);
        last
    };
    let (last, _) = futures::join!(backups, writers);
    assert!(
        written.load(Ordering::Relaxed) > 16,
        "nothing was written meanwhile"
    );
    let other = restored(&file, target.path()).await;
    assert_eq!(other.check().await.unwrap(), []);
    let all = log(&*bench.store).await;
    let (before, after): (Vec<_>, Vec<_>) = all.commits.into_iter().partition(|c| c.stamp.seq <= last);
    assert_eq!(log(&other).await.commits, before);
    let later: HashSet<_> = after
        .iter()
        .flat_map(|c| c.events.iter().map(|e| &e.article))
        .collect();
    let untouched = |states: Vec<Arc<ArticleState>>| {
        let mut states = states;
        states.retain(|state| !later.contains(&state.head.id));
        states
    };
    let same = untouched(states(&*bench.store).await);
    assert!(same.len() >= 32);
    assert_eq!(untouched(states(&other).await), same);
    other.close().await.unwrap();
}

async fn a_copy_is_the_same_store_with_its_epoch(bench: &mut Bench) {
    fill(bench).await;
    let target = tempfile::tempdir().unwrap();
    let import = sled_import(&config(target.path()), false).unwrap();
    transfer::copy(&*bench.store, "it".to_owned(), import, Box::new(|_, _, _| {}))
        .await
        .unwrap();
    let copy = open(target.path());
    is_the_same(&*bench.store, &copy).await;
    assert_eq!(copy.epoch(), bench.store.epoch());
    copy.close().await.unwrap();
}

/// The bytes of a backup of a store.
async fn bytes_of(store: &dyn Store, file: &Path) -> Vec<u8> {
    back_up_to(store, file).await;
    fs::read(file).unwrap()
}

/// A store may be copied to one of another kind and back.
async fn a_copy_through_the_reference_store_is_the_same_to_the_byte(bench: &mut Bench) {
    fill(bench).await;
    let clock = Arc::new(bench.clock.clone());
    let nothing = || Box::new(|_: &'static str, _: u64, _: u64| {});
    let (there, published) = ReferenceImport::new(clock);
    transfer::copy(&*bench.store, "it".to_owned(), Box::new(there), nothing())
        .await
        .unwrap();
    let reference = published.get().unwrap();
    is_the_same(&*bench.store, reference).await;
    let target = tempfile::tempdir().unwrap();
    let back = sled_import(&config(target.path()), false).unwrap();
    transfer::copy(reference, "the copy".to_owned(), back, nothing())
        .await
        .unwrap();
    let again = open(target.path());
    let file = bench.directory.path().join("backup");
    assert!(bytes_of(&again, &file).await == bytes_of(&*bench.store, &file).await);
    again.close().await.unwrap();
}

async fn a_reader_that_goes_away_ends_the_backup_alone(bench: &mut Bench) {
    fill(bench).await;
    let (to, bytes) = mpsc::channel(1);
    drop(bytes);
    let broken = back_up(&*bench.store, at("2022-05-11T00:00:00Z"), to).await;
    assert!(
        matches!(broken, Err(StoreError::Unavailable { .. })),
        "{broken:?}"
    );
    let file = bench.directory.path().join("backup");
    back_up_to(&*bench.store, &file).await;
    BackupFile::verify(&file).unwrap();
}

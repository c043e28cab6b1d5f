//! Disk failures: acknowledged writes stay, others are never visible, and the service recovers.

use super::disk::Disk;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use article_store::clock::SystemClock;
use article_store::domain::departures::Lookup;
use article_store::domain::query::{Axis, Order, Query, Range};
use article_store::domain::time::Timestamp;
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Direction, Engine, Write};
use article_store::store::{Budget, Store, StoreError};
use futures::future::join_all;

use super::bench::{article, eventually, within_limit};
use super::fixtures::*;
use super::purge::purge;

fn all() -> Query {
    Query {
        axis: Axis::Ingested,
        range: Range::All,
        order: Order::NewestFirst,
        language: None,
        section: None,
        publisher: None,
        shown: shown(true),
        translation: None,
    }
}

const BUDGET: Budget = Budget {
    articles: 100,
    rows: 1000,
    bytes: usize::MAX,
};

#[test]
fn a_write_whose_sync_failed_is_in_doubt_and_then_gone() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        store.commit(simple(&id("kept"))).await.unwrap();
        disk.fail_next_sync();
        let lost = store
            .commit(with_request(simple(&id("lost")), 1))
            .await
            .unwrap_err();
        assert!(lost.outcome_unknown(), "{lost}");
        assert_eq!(article(&*store, &id("lost")).await, None);
        assert_eq!(store.request(&request_key(1)).await.unwrap(), None);
        assert!(article(&*store, &id("kept")).await.is_some());
        // The service goes on by itself, and a retry is a new write with the number that was lost.
        let again = store.commit(with_request(simple(&id("lost")), 1)).await.unwrap();
        assert_eq!(again.stamp.seq, 2);
        assert_eq!(store.durable().borrow().generation, 1);
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

#[test]
fn nobody_is_shown_what_a_failed_sync_takes_back() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        store.commit(simple(&id("a"))).await.unwrap();
        let before = article(&*store, &id("a")).await.unwrap();
        let (list_before, scan_before) = (
            store.list(&all(), None, BUDGET).await.unwrap(),
            store.scan(None, 10).await.unwrap(),
        );

        disk.hold();
        let change = edit(&before, |m| *m = metadata_at("https://e.test/a"));
        let writer = tokio::spawn({
            let store = store.clone();
            async move { store.commit(with_request(change, 1)).await }
        });
        eventually(|| disk.is_syncing().then_some(())).await;
        let (ids, aliases) = ([id("a"), id("b")], [url("https://e.test/a")]);
        let key = request_key(1);
        let mut articles = store.articles(&ids);
        let mut aliases = store.lookup(&aliases);
        let mut request = store.request(&key);
        let query = all();
        let mut list = store.list(&query, None, BUDGET);
        let mut scan = store.scan(None, 10);
        // Each reads before the failure. The article is in the cache, the others ask the engine.
        let reads = disk.reads();
        assert!(futures::poll!(&mut articles).is_pending());
        assert!(futures::poll!(&mut aliases).is_pending());
        assert!(futures::poll!(&mut request).is_pending());
        assert!(futures::poll!(&mut list).is_pending());
        assert!(futures::poll!(&mut scan).is_pending());
        eventually(|| (disk.reads() >= reads + 4).then_some(())).await;
        assert_eq!(store.changes(0, 10).await.unwrap().commits.len(), 1);

        disk.fail_next_sync();
        disk.release();
        assert!(writer.await.unwrap().unwrap_err().outcome_unknown());
        assert_eq!(articles.await.unwrap(), [Some(before), None]);
        assert_eq!(aliases.await.unwrap(), [None]);
        assert_eq!(request.await.unwrap(), None);
        assert_eq!(list.await.unwrap(), list_before);
        assert_eq!(scan.await.unwrap(), scan_before);
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

/// A read of what an article had learns of a purge when that is durable, and finds everything if it comes to nothing.
#[test]
fn a_purge_in_doubt_is_not_told() {
    within_limit(async {
        for fails in [true, false] {
            let disk = Disk::default();
            let store = disk.store();
            store.commit(simple(&id("a"))).await.unwrap();
            let state = article(&*store, &id("a")).await.unwrap();
            let keys = [newest_revision(&state)];
            let lookup = Lookup::before(1);
            let before = store.versions(&keys).await.unwrap();
            disk.hold();
            let writer = tokio::spawn({
                let (store, batch) = (store.clone(), purge(&id("a"), state.head.version()));
                async move { store.commit(batch).await }
            });
            eventually(|| disk.is_syncing().then_some(())).await;
            let reads = disk.reads();
            let mut versions = store.versions(&keys);
            let mut version_at = store.version_at(&keys[0], Timestamp::MAX);
            let article = id("a");
            let mut departures = store.departures(&article, &lookup);
            assert!(futures::poll!(&mut versions).is_pending());
            assert!(futures::poll!(&mut version_at).is_pending());
            assert!(futures::poll!(&mut departures).is_pending());
            // Each looks for the tombstone.
            eventually(|| (disk.reads() >= reads + 3).then_some(())).await;
            if fails {
                disk.fail_next_sync();
            }
            disk.release();
            let purged = writer.await.unwrap();
            if fails {
                assert!(purged.unwrap_err().outcome_unknown());
                assert_eq!(versions.await.unwrap(), before);
                assert_eq!(version_at.await.unwrap(), before.first().cloned());
                departures.await.unwrap();
            } else {
                purged.unwrap();
                let tombstone = store.tombstone(&article).await.unwrap().unwrap();
                let purged = StoreError::Purged(Box::new(tombstone));
                assert_eq!(versions.await, Err(purged.clone()));
                assert_eq!(version_at.await, Err(purged.clone()));
                assert_eq!(departures.await, Err(purged));
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_answer_waits_until_what_it_holds_is_durable() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        disk.hold();
        let writer = tokio::spawn({
            let store = store.clone();
            async move { store.commit(simple(&id("a"))).await }
        });
        eventually(|| disk.is_syncing().then_some(())).await;
        let ids = [id("a")];
        let mut read = store.articles(&ids);
        assert!(futures::poll!(&mut read).is_pending());
        assert_eq!(store.changes(0, 10).await.unwrap().commits, []);
        assert_eq!(store.status().await.unwrap().seq, 0);
        disk.release();
        let seen = read.await.unwrap().remove(0).unwrap();
        assert_eq!(seen.seq(), store.durable().borrow().seq);
        assert_eq!(writer.await.unwrap().unwrap().stamp.seq, 1);
        store.close().await.unwrap();
    });
}

#[test]
fn who_waits_for_what_a_broken_disk_took_is_told_before_it_is_mended() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        disk.hold();
        let writer = tokio::spawn({
            let store = store.clone();
            async move { store.commit(simple(&id("a"))).await }
        });
        eventually(|| disk.is_syncing().then_some(())).await;
        let ids = [id("a")];
        let mut read = store.articles(&ids);
        assert!(futures::poll!(&mut read).is_pending());
        disk.fail_next_sync();
        disk.set_broken(true);
        disk.release();
        assert_eq!(writer.await.unwrap(), Err(StoreError::OutcomeUnknown));
        let told = tokio::time::timeout(Duration::from_secs(10), read).await;
        let told = told.expect("it is told");
        assert!(matches!(told, Err(StoreError::Unavailable { .. })), "{told:?}");
        disk.set_broken(false);
        store.close().await.unwrap();
    });
}

/// A disk that lost what it had synced is not believed: what comes next would take the place of what is gone.
#[test]
fn nothing_is_written_over_what_was_durable_and_is_gone() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        for name in ["a", "b", "c"] {
            store.commit(simple(&id(name))).await.unwrap();
        }
        let mut newest = Vec::new();
        let mut keep = |key: &[u8], _: &[u8]| {
            newest = key.to_vec();
            ControlFlow::Break(())
        };
        disk.scan(b"l"..=b"m", Direction::Backward, &mut keep).unwrap();
        disk.0.memory.apply(vec![Write::Remove(newest)]).unwrap();
        disk.fail_next_sync();
        let lost = store.commit(simple(&id("d"))).await.unwrap_err();
        assert!(lost.outcome_unknown(), "{lost}");
        let refused = store.commit(simple(&id("e"))).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
        assert_eq!(store.durable().borrow().seq, 3);
        store.close().await.unwrap();
    });
}

#[test]
fn under_load_no_write_is_acknowledged_and_lost() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        let writers = (0..16).map(|task| {
            let (store, disk) = (store.clone(), disk.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..60 {
                    if task == 0 && number % 6 == 5 {
                        disk.fail_next_sync();
                    }
                    let name = id(&format!("a{task}-{number}"));
                    match store.commit(simple(&name)).await {
                        Ok(stamp) => acknowledged.push((name, stamp)),
                        Err(StoreError::OutcomeUnknown | StoreError::Unavailable { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                acknowledged
            })
        });
        let acknowledged: Vec<_> = join_all(writers.collect::<Vec<_>>())
            .await
            .into_iter()
            .flat_map(|writer| writer.unwrap())
            .collect();
        assert!(disk.reopened() >= 5, "{} reopenings", disk.reopened());
        for (name, committed) in &acknowledged {
            let state = article(&*store, name)
                .await
                .expect("an acknowledged write is lost");
            assert_eq!(state.head.current.stamp, committed.stamp);
        }
        let changes = store.changes(0, 10_000).await.unwrap();
        assert!(
            changes
                .commits
                .iter()
                .map(|commit| commit.stamp.seq)
                .eq(1..=changes.head)
        );
        assert!(acknowledged.len() as u64 <= changes.head);
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

/// Reads alone must trigger the recovery of the store; there may be no writes.
#[test]
fn a_store_that_only_reads_comes_back_when_the_disk_does() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        store.commit(with_request(simple(&id("a")), 1)).await.unwrap();
        disk.set_broken(true);
        let broken = store.request(&request_key(1)).await;
        assert!(
            matches!(broken, Err(StoreError::Unavailable { .. })),
            "{broken:?}"
        );
        let ready = store.status().await;
        assert!(matches!(ready, Err(StoreError::Unavailable { .. })), "{ready:?}");
        let write = store.commit(simple(&id("b"))).await;
        assert!(matches!(write, Err(StoreError::Unavailable { .. })), "{write:?}");
        disk.set_broken(false);
        let found = loop {
            match store.request(&request_key(1)).await {
                Ok(found) => break found,
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert!(found.is_some());
        store.status().await.unwrap();
        assert_eq!(article(&*store, &id("b")).await, None);
        store.close().await.unwrap();
    });
}

/// What waits while a sync is held up becomes one group: each batch must be checked against those before it.
#[test]
fn batches_of_one_group_see_each_other() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        disk.hold();
        let first = tokio::spawn({
            let store = store.clone();
            async move { store.commit(simple(&id("first"))).await }
        });
        eventually(|| disk.is_syncing().then_some(())).await;
        let text = || content("t", &["p"]);
        let batches = [
            simple(&id("a")),
            simple(&id("a")),
            create(&id("b"), metadata_at("https://e.test/one"), text()),
            create(&id("c"), metadata_at("https://e.test/one"), text()),
            with_request(simple(&id("d")), 1),
            with_request(simple(&id("e")), 1),
        ];
        let mut commits: Vec<_> = batches.into_iter().map(|batch| store.commit(batch)).collect();
        for commit in &mut commits {
            assert!(futures::poll!(commit).is_pending());
        }
        disk.release();
        assert_eq!(first.await.unwrap().unwrap().stamp.seq, 1);
        let results: Vec<_> = join_all(commits)
            .await
            .into_iter()
            .map(|result| {
                result
                    .map(|committed| committed.stamp.seq)
                    .map_err(|error| error.to_string())
            })
            .collect();
        let refused = |text: &str| Err(format!("a precondition failed: {text}"));
        let expected = [
            Ok(2),
            refused("article \"a\" has changed"),
            Ok(3),
            refused("url \"https://e.test/one\" belongs to article \"b\""),
            Ok(4),
            refused("the request was recorded meanwhile"),
        ];
        assert_eq!(results, expected);
        assert_eq!(disk.groups(), 2, "the batches were not one group");
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

/// Opening reads each article at the end of the log once, and of it the head alone, though it may be in no cache.
#[test]
fn opening_costs_no_more_for_an_article_that_the_log_names_often() {
    within_limit(async {
        let mut opened = Vec::new();
        for commits in [2, 60] {
            let disk = Disk::default();
            let store = disk.store();
            store.commit(simple(&id("a"))).await.unwrap();
            for number in 1..commits {
                let before = article(&*store, &id("a")).await.unwrap();
                let url = format!("https://e.test/{number}");
                let change = edit(&before, |m| *m = metadata_at(&url));
                store.commit(change).await.unwrap();
            }
            assert_eq!(disk.groups(), commits);
            store.close().await.unwrap();
            let reads = disk.reads();
            let store = KvStore::open(disk.clone(), Arc::new(SystemClock), 0).unwrap();
            opened.push(disk.reads() - reads);
            store.close().await.unwrap();
        }
        assert_eq!(opened[0], opened[1], "reads of the engine while it is opened");
    });
}

/// A volume that finishes nothing holds up no caller indefinitely, and no stop.
#[test]
fn every_wait_for_a_volume_that_hangs_ends() {
    within_limit(async {
        let disk = Disk::default();
        let store = KvStore::open(disk.clone(), Arc::new(SystemClock), 1 << 20).unwrap();
        let store = store.answering_within(Duration::from_millis(50));
        disk.hold();
        let write = store.commit(simple(&id("a"))).await;
        assert_eq!(write, Err(StoreError::OutcomeUnknown));
        let closed = store.close().await;
        assert!(
            matches!(closed, Err(StoreError::Unavailable { .. })),
            "{closed:?}"
        );
        disk.release();
    });
}

/// A panic of the thread that writes, or of the one that syncs, costs the calls of its group, and nothing later.
#[test]
fn a_panic_of_the_writer_or_the_syncer_is_contained() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        store.commit(simple(&id("kept"))).await.unwrap();
        disk.panic_in_apply();
        let lost = store.commit(simple(&id("lost"))).await;
        assert_eq!(lost, Err(StoreError::OutcomeUnknown));
        assert_eq!(article(&*store, &id("lost")).await, None);
        assert_eq!(store.commit(simple(&id("next"))).await.unwrap().stamp.seq, 2);

        // A full group that more waits behind is synced by the other thread.
        disk.hold();
        let commit = |name: &str| {
            let (store, batch) = (store.clone(), simple(&id(name)));
            async move { store.commit(batch).await }
        };
        let first = tokio::spawn(commit("first"));
        eventually(|| disk.is_syncing().then_some(())).await;
        let second = (0..512).map(|number| commit(&format!("second{number}")));
        let mut second = tokio::task::unconstrained(join_all(second));
        let mut third = Box::pin(commit("third"));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        disk.release_one();
        assert_eq!(first.await.unwrap().unwrap().stamp.seq, 3);
        eventually(|| disk.is_syncing().then_some(())).await;
        disk.panic_in_sync();
        disk.release();
        let second = second.await;
        assert_eq!(second.first(), Some(&Err(StoreError::OutcomeUnknown)));
        third.await.unwrap();
        store.status().await.unwrap();
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

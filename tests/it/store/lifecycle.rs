//! Status, closing (promise 7) and opening again.

use std::sync::Arc;

use article_store::domain::departures::Lookup;
use article_store::domain::job::ClaimQuery;
use article_store::domain::query::{Axis, Order, Query, Range};
use article_store::domain::time::Timestamp;
use article_store::store::kv::KvStore;
use article_store::store::kv::sled::SledEngine;
use article_store::store::{Batch, Budget, OpenError, PolicyChange, Store, StoreError};
use futures::future::join_all;

use super::bench::{Bench, Kind, eventually, run, sled_config};
use super::claims::claim;
use super::fixtures::*;

on_every_store! {
    the_status_tells_engine_and_progress,
    reopening_gives_the_same_answers,
    a_closed_store_refuses_everything,
    closing_finishes_what_was_begun,
}

async fn the_status_tells_engine_and_progress(bench: &mut Bench) {
    let empty = bench.store.status().await.unwrap();
    assert_eq!(empty.seq, 0);
    assert_eq!(
        empty.engine,
        match bench.kind {
            Kind::Reference => "reference",
            Kind::Memory => "memory",
            Kind::Sled => "sled",
        }
    );
    assert!(empty.sizes.is_none_or(|sizes| sizes.available_bytes > 0));
    bench.store.commit(simple(&id("a"))).await.unwrap();
    let status = bench.store.status().await.unwrap();
    assert_eq!((status.seq, status.epoch), (1, empty.epoch));
    assert_ne!(
        Bench::new(bench.kind).store.status().await.unwrap().epoch,
        empty.epoch
    );
}

async fn reopening_gives_the_same_answers(bench: &mut Bench) {
    for number in 0..20 {
        let article = id(&format!("a{number}"));
        let new = create(
            &article,
            metadata_at(&format!("https://e.test/{number}")),
            content("t", &["p"]),
        );
        bench.store.commit(with_request(new, number)).await.unwrap();
        let state = bench.article(&article).await.unwrap();
        let slot = attach(&*bench.store, &state, &language("fr"), &texts("x", 1))
            .await
            .unwrap();
        bench.store.commit(slot).await.unwrap();
    }
    let answers = async |bench: &Bench| {
        let query = Query {
            axis: Axis::Ingested,
            range: Range::All,
            order: Order::NewestFirst,
            language: None,
            section: None,
            publisher: None,
            shown: shown(true),
            translation: None,
        };
        let budget = Budget {
            articles: 100,
            rows: 1000,
            bytes: usize::MAX,
        };
        let status = bench.store.status().await.unwrap();
        (
            bench.store.scan(None, 100).await.unwrap(),
            bench.store.list(&query, None, budget).await.unwrap(),
            bench.store.changes(0, 100).await.unwrap(),
            bench.store.request(&request_key(7)).await.unwrap(),
            (status.epoch, status.seq),
        )
    };
    let before = answers(bench).await;
    bench.reopen().await;
    assert_eq!(answers(bench).await, before);
    assert_eq!(
        bench.store.commit(simple(&id("next"))).await.unwrap().stamp.seq,
        41
    );
}

async fn a_closed_store_refuses_everything(bench: &mut Bench) {
    bench.store.commit(simple(&id("a"))).await.unwrap();
    let state = bench.article(&id("a")).await.unwrap();
    let store = bench.store.clone();
    store.close().await.unwrap();
    store.close().await.unwrap();
    let query = Query {
        axis: Axis::Ingested,
        range: Range::All,
        order: Order::NewestFirst,
        language: None,
        section: None,
        publisher: None,
        shown: shown(true),
        translation: None,
    };
    let budget = Budget {
        articles: 1,
        rows: 1,
        bytes: usize::MAX,
    };
    let change = PolicyChange {
        id: policy("p", &[]).id,
        policy: None,
        expect: 0,
        principal: String::new(),
    };
    let refusals = [
        ("articles", store.articles(&[id("a")]).await.map(drop)),
        ("articles", store.articles(&[id("b")]).await.map(drop)),
        (
            "versions",
            store.versions(&[newest_revision(&state)]).await.map(drop),
        ),
        ("versions", store.versions(&[]).await.map(drop)),
        (
            "version_at",
            store
                .version_at(&newest_revision(&state), Timestamp::MAX)
                .await
                .map(drop),
        ),
        (
            "departures",
            store.departures(&id("a"), &Lookup::before(1)).await.map(drop),
        ),
        ("request", store.request(&request_key(1)).await.map(drop)),
        ("lookup", store.lookup(&[url("https://e.test/")]).await.map(drop)),
        ("list", store.list(&query, None, budget).await.map(drop)),
        ("scan", store.scan(None, 1).await.map(drop)),
        ("commit", store.commit(Batch::new(id("a"))).await.map(drop)),
        ("changes", store.changes(0, 1).await.map(drop)),
        (
            "expire_requests",
            store.expire_requests(Timestamp::MAX).await.map(drop),
        ),
        (
            "claim",
            store.claim(claim(&ClaimQuery::default(), 1, 60)).await.map(drop),
        ),
        (
            "next_claimable",
            store.next_claimable(&ClaimQuery::default()).await.map(drop),
        ),
        ("jobs", store.jobs(None, 1).await.map(drop)),
        ("replaced_jobs", store.replaced_jobs(&id("a")).await.map(drop)),
        ("policies", store.policies().await.map(drop)),
        ("change_policy", store.change_policy(change).await.map(drop)),
        ("status", store.status().await.map(drop)),
        ("check", store.check().await.map(drop)),
    ];
    for (call, refusal) in refusals {
        assert_eq!(refusal, Err(StoreError::Closed), "{call}");
    }
    bench.reopen().await;
}

/// Commits that race with the closing are either acknowledged and there, or refused as closed and not there.
async fn closing_finishes_what_was_begun(bench: &mut Bench) {
    for round in 0..10 {
        let ids: Vec<_> = (0..200).map(|number| id(&format!("a{round}-{number}"))).collect();
        let commits = ids.iter().cloned().map(|id| {
            let store = bench.store.clone();
            tokio::spawn(async move { (store.commit(simple(&id)).await, id) })
        });
        let commits: Vec<_> = commits.collect();
        let closes = [bench.store.clone(), bench.store.clone()]
            .map(|store| tokio::spawn(async move { store.close().await }));
        for close in closes {
            close.await.unwrap().unwrap();
        }
        let results: Vec<_> = join_all(commits)
            .await
            .into_iter()
            .map(|task| task.unwrap())
            .collect();
        bench.reopen().await;
        for (result, id) in results {
            match result {
                Ok(committed) => assert_eq!(bench.article(&id).await, committed.state),
                Err(StoreError::Closed) => assert_eq!(bench.article(&id).await, None),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A store that is dropped without `close` gives up its directory, with everything that was acknowledged in it.
#[test]
fn a_dropped_store_lets_go_of_its_directory() {
    run(Kind::Sled, async |bench: &mut Bench| {
        bench.store.commit(simple(&id("a"))).await.unwrap();
        let open = |directory: &std::path::Path| {
            let engine = SledEngine::open(sled_config(directory))?;
            KvStore::open(engine, Arc::new(bench.clock.clone()), 1 << 20)
        };
        let directory = bench.directory.path().to_owned();
        let in_use = open(&directory).map(drop);
        assert!(
            matches!(in_use, Err(StoreError::Open(OpenError::InUse { .. }))),
            "{in_use:?}"
        );

        let other = tempfile::tempdir().unwrap();
        let dropped = open(other.path()).unwrap();
        dropped.commit(simple(&id("b"))).await.unwrap();
        let unfinished = dropped.commit(simple(&id("c")));
        drop(futures::poll!(unfinished));
        drop(dropped);
        let again = eventually(|| open(other.path()).ok()).await;
        assert_eq!(
            again.articles(&[id("b")]).await.unwrap().iter().flatten().count(),
            1
        );
        assert_eq!(again.check().await.unwrap(), []);
        again.close().await.unwrap();
        open(other.path()).unwrap().close().await.unwrap();
    });
}

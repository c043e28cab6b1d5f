//! The change log and the recorded requests.

use article_store::domain::time::Timestamp;
use futures::future::join_all;

use super::bench::{Bench, at};
use super::fixtures::*;

on_every_store! {
    changes_are_complete_from_any_commit_on,
    a_follower_misses_nothing_while_others_write,
    a_request_is_found_with_its_commit,
    old_requests_are_forgotten_and_new_ones_kept,
    a_forgotten_request_can_come_again,
}

on_every_engine! {
    forgetting_goes_on_where_it_stopped,
}

async fn changes_are_complete_from_any_commit_on(bench: &mut Bench) {
    assert_eq!(bench.store.changes(0, 10).await.unwrap().commits, []);
    // Some alone, some together: groups of different lengths.
    for group in 0..10u64 {
        let ids: Vec<_> = (0..=group)
            .map(|number| id(&format!("a{group}-{number}")))
            .collect();
        join_all(ids.iter().map(|id| bench.store.commit(simple(id)))).await;
    }
    let all = bench.store.changes(0, 1000).await.unwrap();
    assert_eq!(all.head, 55);
    assert!(all.commits.iter().map(|commit| commit.stamp.seq).eq(1..=55));
    for after in 0..=56 {
        for limit in [0, 1, 7, 1000] {
            let part = bench.store.changes(after, limit).await.unwrap();
            let expected = all.commits.iter().skip(after as usize).take(limit);
            assert!(part.commits.iter().eq(expected), "{limit} after {after}");
            assert_eq!(part.head, 55);
        }
    }
    assert_eq!(bench.store.changes(u64::MAX, 10).await.unwrap().commits, []);
    bench.reopen().await;
    assert_eq!(bench.store.changes(0, 1000).await.unwrap(), all);
}

async fn a_follower_misses_nothing_while_others_write(bench: &mut Bench) {
    const WRITES: u64 = 400;
    let store = bench.store.clone();
    let follower = tokio::spawn(async move {
        let (mut seen, mut durable) = (0, store.durable());
        while seen < WRITES {
            let head = durable.wait_for(|durable| durable.seq > seen).await.unwrap().seq;
            let part = store.changes(seen, 50).await.unwrap();
            assert!(part.head >= head && !part.commits.is_empty());
            for commit in part.commits {
                seen += 1;
                assert_eq!(commit.stamp.seq, seen);
                assert!(seen <= part.head && commit.events.len() == 1);
            }
        }
    });
    let writers = (0..8).map(|task| {
        let store = bench.store.clone();
        tokio::spawn(async move {
            for number in 0..WRITES / 8 {
                store
                    .commit(simple(&id(&format!("a{task}-{number}"))))
                    .await
                    .unwrap();
            }
        })
    });
    join_all(writers)
        .await
        .into_iter()
        .for_each(|writer| writer.unwrap());
    follower.await.unwrap();
}

async fn a_request_is_found_with_its_commit(bench: &mut Bench) {
    bench
        .store
        .commit(with_request(simple(&id("a")), 1))
        .await
        .unwrap();
    let stamp = bench
        .store
        .commit(with_request(simple(&id("b")), 2))
        .await
        .unwrap()
        .stamp;
    for _ in 0..2 {
        let found = bench.store.request(&request_key(2)).await.unwrap().unwrap();
        assert_eq!((found.stamp, found.article), (stamp, id("b")));
        assert_eq!(found.key, request_key(2));
        for other in ["principal", "rpc", "id"] {
            let mut key = request_key(2);
            match other {
                "principal" => key.principal = "other".into(),
                "rpc" => key.rpc = "UpdateArticle".into(),
                _ => key.id = request_key(3).id,
            }
            assert_eq!(bench.store.request(&key).await.unwrap(), None, "another {other}");
        }
        bench.reopen().await;
    }
}

/// Records requests `from..to`, all at the same time, of articles that are new.
async fn record(bench: &Bench, from: u64, to: u64) {
    let batches = (from..to).map(|number| with_request(simple(&id(&format!("a{number}"))), number));
    let results = join_all(batches.map(|batch| bench.store.commit(batch))).await;
    assert!(results.iter().all(Result::is_ok));
}

async fn recorded(bench: &Bench, from: u64, to: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for number in from..to {
        if bench.store.request(&request_key(number)).await.unwrap().is_some() {
            found.push(number);
        }
    }
    found
}

async fn expire_all(bench: &Bench, before: Timestamp) -> usize {
    let mut calls = 1;
    while bench.store.expire_requests(before).await.unwrap() {
        calls += 1;
    }
    calls
}

async fn old_requests_are_forgotten_and_new_ones_kept(bench: &mut Bench) {
    assert!(!bench.store.expire_requests(Timestamp::MAX).await.unwrap());
    record(bench, 0, 10).await;
    bench.clock.set(at("2022-05-11T00:00:00Z"));
    record(bench, 10, 20).await;
    expire_all(bench, at("2022-05-11T00:00:00Z")).await;
    assert_eq!(recorded(bench, 0, 20).await, (10..20).collect::<Vec<_>>());
    bench.reopen().await;
    assert_eq!(recorded(bench, 0, 20).await, (10..20).collect::<Vec<_>>());
    // Forgetting is no commit.
    assert_eq!(bench.store.status().await.unwrap().seq, 20);
    assert_eq!(bench.store.changes(0, 100).await.unwrap().commits.len(), 20);
}

async fn forgetting_goes_on_where_it_stopped(bench: &mut Bench) {
    for group in 0..21 {
        record(bench, group * 100, group * 100 + 100).await;
    }
    bench.clock.set(at("2022-05-12T00:00:00Z"));
    let now = at("2022-05-11T00:00:00Z");
    assert!(bench.store.expire_requests(now).await.unwrap());
    assert_eq!(bench.records(b'r').len(), 100);
    bench.reopen().await;
    assert!(expire_all(bench, now).await <= 2);
    assert_eq!(bench.records(b'r').len(), 0);
    record(bench, 3000, 3001).await;
    expire_all(bench, at("2022-05-13T00:00:00Z")).await;
    assert_eq!(bench.records(b'r').len(), 0);
}

async fn a_forgotten_request_can_come_again(bench: &mut Bench) {
    record(bench, 1, 2).await;
    bench.clock.set(at("2022-05-12T00:00:00Z"));
    expire_all(bench, at("2022-05-12T00:00:00Z")).await;
    bench
        .store
        .commit(with_request(simple(&id("again")), 1))
        .await
        .unwrap();
    expire_all(bench, at("2022-05-12T00:00:00Z")).await;
    let found = bench.store.request(&request_key(1)).await.unwrap().unwrap();
    assert_eq!(found.article, id("again"));
}

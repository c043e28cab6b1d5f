//! Compaction: it gives the space back, loses nothing that is written meanwhile, and may be broken off at any time.

use std::sync::atomic::{AtomicBool, Ordering};

use article_store::store::{Progress, StoreError};
use futures::future::join_all;

use super::bench::{Bench, Kind, eventually, run};
use super::fixtures::*;

on_every_engine! {
    what_is_written_meanwhile_is_there_afterwards,
    one_at_a_time,
    everything_is_there_afterwards,
}

/// Overwrites the metadata of some articles, with long and short ones among them.
async fn churn(bench: &Bench, writer: u64, rounds: u64) {
    for round in 0..rounds {
        let article = id(&format!("a{writer}-{}", round % 5));
        match bench.article(&article).await {
            None => drop(bench.store.commit(simple(&article)).await.unwrap()),
            Some(state) => {
                let words = if round % 7 == 3 { 10_000 } else { 3 };
                // Hardly to be compressed.
                let number = |word: u64| (word + 7 * round + 77 * writer).wrapping_pow(7);
                let keywords = (0..words)
                    .map(|word| format!("{:x}", number(word) >> 9))
                    .collect();
                let edited = edit(&state, |metadata| metadata.keywords = keywords);
                bench.store.commit(edited).await.unwrap();
            }
        }
    }
}

async fn everything(bench: &Bench) -> (Vec<(Vec<u8>, Vec<u8>)>, u64) {
    let prefixes = b"abchilmprstw";
    let all = prefixes
        .iter()
        .flat_map(|prefix| bench.records(*prefix))
        .collect();
    (all, bench.store.status().await.unwrap().sizes.unwrap().live_bytes)
}

async fn everything_is_there_afterwards(bench: &mut Bench) {
    join_all((0..4).map(|writer| churn(bench, writer, 60))).await;
    let before = everything(bench).await;
    bench.store.compact().await.unwrap();
    assert!(everything(bench).await == before, "a record differs");
    assert_eq!(bench.store.check().await.unwrap(), []);
    bench.reopen().await;
    assert!(
        everything(bench).await == before,
        "a record differs after a restart"
    );
    churn(bench, 9, 10).await;
    bench.store.compact().await.unwrap();
}

async fn what_is_written_meanwhile_is_there_afterwards(bench: &mut Bench) {
    churn(bench, 0, 60).await;
    let done = AtomicBool::new(false);
    let shared = &*bench;
    let writers = join_all((1..5).map(|writer| {
        let done = &done;
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Acquire) {
                rounds += 10;
                churn(shared, writer, 10).await;
            }
            rounds
        }
    }));
    let compactions = async {
        for _ in 0..3 {
            shared.store.compact().await.unwrap();
            assert_eq!(shared.store.status().await.unwrap().compaction, None);
        }
        done.store(true, Ordering::Release);
    };
    let (rounds, ()) = futures::join!(writers, compactions);
    assert!(
        rounds.iter().all(|rounds| *rounds > 0),
        "nothing was written meanwhile"
    );
    let before = everything(bench).await;
    assert_eq!(bench.store.check().await.unwrap(), []);
    let seq = bench.store.status().await.unwrap().seq;
    assert_eq!(seq, 60 + rounds.into_iter().sum::<u64>(), "a commit is missing");
    bench.reopen().await;
    assert!(
        everything(bench).await == before,
        "a record differs after a restart"
    );
}

async fn one_at_a_time(bench: &mut Bench) {
    churn(bench, 0, 60).await;
    let (first, second) = futures::join!(bench.store.compact(), bench.store.compact());
    first.unwrap();
    assert!(
        matches!(second, Ok(()) | Err(StoreError::Unavailable { .. })),
        "{second:?}"
    );
    bench.store.compact().await.unwrap();
}

#[test]
fn it_gives_the_space_back() {
    run(Kind::Sled, async |bench: &mut Bench| {
        join_all((0..8).map(|writer| churn(bench, writer, 100))).await;
        let before = bench.store.status().await.unwrap().sizes.unwrap();
        bench.store.compact().await.unwrap();
        let after = bench.store.status().await.unwrap().sizes.unwrap();
        assert_eq!(after.live_bytes, before.live_bytes);
        assert!(after.disk_bytes < before.disk_bytes, "{before:?} {after:?}");
    });
}

#[test]
fn closing_breaks_it_off() {
    run(Kind::Sled, async |bench: &mut Bench| {
        join_all((0..8).map(|writer| churn(bench, writer, 60))).await;
        let before = everything(bench).await;
        let store = bench.store.clone();
        let compacting = tokio::spawn(async move { store.compact().await });
        eventually(|| {
            let new = bench.directory.path().join("new");
            (new.exists() || compacting.is_finished()).then_some(())
        })
        .await;
        bench.reopen().await;
        let broken_off = compacting.await.unwrap();
        assert!(
            matches!(broken_off, Ok(()) | Err(StoreError::Closed)),
            "{broken_off:?}"
        );
        assert!(!bench.directory.path().join("new").exists());
        assert!(everything(bench).await == before, "a record differs");
        assert_eq!(bench.store.status().await.unwrap().compaction, None::<Progress>);
    });
}

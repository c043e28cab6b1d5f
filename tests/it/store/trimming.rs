//! Trimming of the change log: whole groups by age, never what a hold keeps, and a reader can tell that the beginning is
//! gone.

use std::sync::Arc;

use article_store::clock::TrustedClock;
use article_store::domain::retention::LogRetention;
use article_store::domain::time::{Seq, Timestamp};
use article_store::store::kv::KvStore;
use article_store::store::kv::engine::{Engine, Write};
use article_store::store::kv::sled::SledEngine;
use article_store::store::{Changes, Store, Sweep, transfer};
use futures::future::join_all;

use super::backup::{back_up_to, restore, sled_import};
use super::bench::{Bench, at, sled_config};
use super::fixtures::*;
use super::retention::Stalled;

on_every_store! {
    what_is_pinned_stays_for_an_hour,
    a_follower_misses_nothing_that_it_is_not_told,
}

on_every_engine! {
    what_is_old_goes_in_whole_groups,
    a_step_is_bounded,
    trimming_waits_for_a_dump,
    what_is_too_much_goes,
    requests_outlive_the_log,
    a_log_that_lost_its_beginning_is_found,
    backups_and_copies_begin_where_the_log_does,
}

const NOTHING: LogRetention = LogRetention {
    since: Timestamp::MAX,
    bytes: 0,
};

/// Everything that was committed so far is older than what is to be kept.
pub(super) async fn trim_all(bench: &Bench) {
    trim(&*bench.store, NOTHING).await;
}

/// Trims to the end, and answers how many steps that took.
async fn trim(store: &dyn Store, retention: LogRetention) -> usize {
    for steps in 1.. {
        if store.trim(retention).await.unwrap() == Sweep::Done {
            return steps;
        }
    }
    unreachable!()
}

async fn floor(bench: &Bench) -> Seq {
    bench.store.changes(0, 0).await.unwrap().floor
}

/// So many commits, of which these many are together in groups where the engine is slow enough.
async fn commits(bench: &Bench, from: u64, to: u64) {
    let batches: Vec<_> = (from..to)
        .map(|number| simple(&id(&format!("a{number}"))))
        .collect();
    for result in join_all(batches.into_iter().map(|batch| bench.store.commit(batch))).await {
        result.unwrap();
    }
}

/// The numbers of the first commits of all groups.
fn groups(bench: &Bench) -> Vec<Seq> {
    let records = bench.records(b'l');
    let first = |(key, _): &(Vec<u8>, Vec<u8>)| Seq::from_be_bytes(key[1..].try_into().unwrap());
    records.iter().map(first).collect()
}

async fn what_is_old_goes_in_whole_groups(bench: &mut Bench) {
    let days = [
        "2022-05-10T00:00:00Z",
        "2022-05-11T00:00:00Z",
        "2022-05-12T00:00:00Z",
    ];
    for (day, number) in days.into_iter().zip(0..) {
        bench.clock.set(at(day));
        commits(bench, number * 20, number * 20 + 20).await;
    }
    let all = bench.store.changes(0, 1000).await.unwrap();
    let first_of_groups = groups(bench);
    for (since, oldest) in [
        (days[0], 1),
        (days[1], 21),
        (days[2], 41),
        ("2022-06-01T00:00:00Z", 60),
    ] {
        let retention = LogRetention {
            since: at(since),
            bytes: u64::MAX,
        };
        trim(&*bench.store, retention).await;
        let floor = floor(bench).await;
        // The group that the oldest commit to keep is in begins at it or before it.
        let begins = first_of_groups.iter().rev().find(|first| **first <= oldest);
        assert_eq!(floor + 1, *begins.unwrap(), "{since}");
        for _ in 0..2 {
            for after in 0..=60 {
                let part = bench.store.changes(after, 7).await.unwrap();
                let commits = if after < floor {
                    Vec::new()
                } else {
                    all.commits.iter().skip(after as usize).take(7).cloned().collect()
                };
                let head = 60;
                assert_eq!(part, Changes { commits, floor, head }, "after {after}");
            }
            assert_eq!(bench.store.check().await.unwrap(), []);
            bench.reopen().await;
        }
    }
    assert_eq!(groups(bench).len(), 1, "the last group stays");
    commits(bench, 60, 70).await;
    let part = bench.store.changes(60, 100).await.unwrap();
    assert!(part.commits.iter().map(|commit| commit.stamp.seq).eq(61..=70));
}

async fn what_is_too_much_goes(bench: &mut Bench) {
    for round in 0..30 {
        commits(bench, round * 3, round * 3 + 3).await;
    }
    let bytes = |bench: &Bench| -> u64 {
        let records = bench.records(b'l');
        records
            .iter()
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum()
    };
    let all = bytes(bench);
    for keep in [all, all * 2 / 3, all / 3] {
        let before = groups(bench);
        let retention = LogRetention {
            since: Timestamp::MIN,
            bytes: keep,
        };
        trim(&*bench.store, retention).await;
        let (left, kept) = (groups(bench), bytes(bench));
        assert!(kept <= keep && before.ends_with(&left), "{kept} of {keep}");
        if keep == all {
            assert_eq!(before, left);
        } else {
            // One group more would be too much.
            assert!(kept + all / 10 > keep, "{kept} of {keep}");
        }
        bench.reopen().await;
    }
    // What came meanwhile counts too.
    let left = groups(bench);
    trim(
        &*bench.store,
        LogRetention {
            since: Timestamp::MIN,
            bytes: all / 3,
        },
    )
    .await;
    assert_eq!(groups(bench), left);
    commits(bench, 100, 130).await;
    trim(
        &*bench.store,
        LogRetention {
            since: Timestamp::MIN,
            bytes: all / 3,
        },
    )
    .await;
    assert!(bytes(bench) <= all / 3 && groups(bench) != left);
}

async fn requests_outlive_the_log(bench: &mut Bench) {
    for number in 0..10 {
        let batch = with_request(simple(&id(&format!("a{number}"))), number);
        bench.store.commit(batch).await.unwrap();
        bench.clock.set(at(&format!("2022-05-11T{number:02}:00:00Z")));
    }
    trim(&*bench.store, NOTHING).await;
    assert_eq!(floor(bench).await, 9);
    let recorded = async |bench: &Bench| {
        let mut found = 0;
        for number in 0..10 {
            let request = bench.store.request(&request_key(number)).await.unwrap();
            found += usize::from(request.is_some());
        }
        found
    };
    assert_eq!(recorded(bench).await, 10);
    bench.reopen().await;
    let before = at("2022-05-11T04:30:00Z");
    while bench.store.expire_requests(before).await.unwrap() {}
    assert_eq!(recorded(bench).await, 4);
    assert_eq!(bench.store.check().await.unwrap(), []);
}

async fn what_is_pinned_stays_for_an_hour(bench: &mut Bench) {
    for number in 0..10 {
        commits(bench, number, number + 1).await;
    }
    let holds = [bench.store.hold(4), bench.store.hold(6)];
    trim_all(bench).await;
    assert_eq!(floor(bench).await, 4);
    let [first, second] = holds;
    drop(first);
    trim_all(bench).await;
    assert_eq!(floor(bench).await, 6);
    bench.clock.set(at("2022-05-10T23:44:59Z"));
    trim_all(bench).await;
    assert_eq!(floor(bench).await, 6);
    bench.clock.set(at("2022-05-10T23:45:00Z"));
    trim_all(bench).await;
    assert_eq!(floor(bench).await, 9);
    drop(second);
}

async fn a_step_is_bounded(bench: &mut Bench) {
    for number in 0..2_100 {
        commits(bench, number, number + 1).await;
    }
    let mut floors = Vec::new();
    for sweep in [Sweep::Going, Sweep::Going, Sweep::Done] {
        assert_eq!(bench.store.trim(NOTHING).await, Ok(sweep));
        floors.push(floor(bench).await);
        bench.reopen().await;
    }
    assert_eq!(floors, [1_000, 2_000, 2_099]);
}

async fn trimming_waits_for_a_dump(bench: &mut Bench) {
    for number in 0..5 {
        commits(bench, number, number + 1).await;
    }
    let export = Stalled::begin(bench).await;
    assert_eq!(bench.store.trim(NOTHING).await, Ok(Sweep::Postponed));
    assert_eq!(floor(bench).await, 0);
    export.end().await;
    trim(&*bench.store, NOTHING).await;
    assert_eq!(floor(bench).await, 4);
}

async fn a_log_that_lost_its_beginning_is_found(bench: &mut Bench) {
    for number in 0..9 {
        commits(bench, number, number + 1).await;
    }
    let hold = bench.store.hold(4);
    trim(&*bench.store, NOTHING).await;
    drop(hold);
    assert_eq!(bench.store.check().await.unwrap(), []);
    for lost in [4usize, 2, 0] {
        let (key, record) = bench.records(b'l').remove(lost);
        bench.engine().apply(vec![Write::Remove(key.clone())]).unwrap();
        let findings = bench.store.check().await.unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        let number = 5 + lost;
        let problem = match lost {
            4 => "it ends at 8, before the last durable commit".to_owned(),
            _ => format!("commits {number} to {number} are missing"),
        };
        assert_eq!(findings[0].problem, problem);
        bench.engine().apply(vec![Write::Put(key, record)]).unwrap();
    }
    // The record that says where it begins is as good as the log.
    let (key, record) = bench
        .records(b'm')
        .into_iter()
        .find(|(key, _)| key == b"mfloor")
        .unwrap();
    bench.engine().apply(vec![Write::Remove(key.clone())]).unwrap();
    let findings = bench.store.check().await.unwrap();
    assert_eq!(findings[0].problem, "commits 1 to 4 are missing");
    let rotten = Write::Put(key.clone(), b"rot".to_vec());
    bench.engine().apply(vec![rotten]).unwrap();
    let findings = bench.store.check().await.unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].record, "store record floor");
    bench.engine().apply(vec![Write::Put(key, record)]).unwrap();
}

async fn a_follower_misses_nothing_that_it_is_not_told(bench: &mut Bench) {
    const WRITES: u64 = 300;
    let store = bench.store.clone();
    let follower = tokio::spawn(async move {
        let mut seen = 0;
        while seen < WRITES {
            let part = store.changes(seen, 20).await.unwrap();
            if part.floor > seen {
                assert_eq!(part.commits, []);
                seen = part.floor;
            }
            for commit in part.commits {
                seen += 1;
                assert_eq!(commit.stamp.seq, seen);
            }
        }
    });
    for round in 0..WRITES / 10 {
        commits(bench, round * 10, round * 10 + 10).await;
        trim_all(bench).await;
    }
    follower.await.unwrap();
}

async fn backups_and_copies_begin_where_the_log_does(bench: &mut Bench) {
    for number in 0..12 {
        commits(bench, number, number + 1).await;
    }
    let hold = bench.store.hold(5);
    trim_all(bench).await;
    drop(hold);
    let (kept, places) = (
        bench.store.changes(5, 100).await.unwrap(),
        [(); 2].map(|()| tempfile::tempdir().unwrap()),
    );
    let file = bench.directory.path().join("backup");
    back_up_to(&*bench.store, &file).await;
    let configs = places.each_ref().map(|place| sled_config(place.path()));
    restore(&file, &configs[0], false).await.unwrap();
    let import = sled_import(&configs[1], false).unwrap();
    transfer::copy(&*bench.store, "it".to_owned(), import, Box::new(|_, _, _| {}))
        .await
        .unwrap();
    for (config, is_same) in configs.into_iter().zip([false, true]) {
        let made = KvStore::open(SledEngine::open(config).unwrap(), Arc::new(TrustedClock), 1 << 20).unwrap();
        assert_eq!(made.epoch() == bench.store.epoch(), is_same);
        assert_eq!(made.changes(5, 100).await.unwrap(), kept);
        assert_eq!(made.changes(4, 100).await.unwrap().commits, []);
        assert_eq!(made.check().await.unwrap(), []);
        // It goes on from there.
        trim(&made, NOTHING).await;
        assert_eq!(made.changes(0, 0).await.unwrap().floor, 11);
        assert_eq!(made.check().await.unwrap(), []);
        made.close().await.unwrap();
    }
}

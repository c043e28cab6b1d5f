//! Claims that run at once, and claims beside other commits of their group.

use std::collections::HashMap;
use std::sync::Arc;

use article_store::domain::change::JobStep;
use article_store::domain::job::{ClaimQuery, Job, JobId, JobKind, LeaseToken};
use article_store::store::{Claim, Store};
use futures::future::join_all;
use parking_lot::Mutex;

use super::{claim, named, open, take};
use crate::store::bench::{Bench, article, eventually, within_limit};
use crate::store::disk::Disk;
use crate::store::fixtures::*;

/// Workers take, finish, lose and give back jobs while more are opened: nobody gets what another has, and all are done
/// once.
pub(super) async fn of_claims_at_once_each_gets_other_jobs(bench: &mut Bench) {
    const ARTICLES: usize = 30;
    const WORKERS: u128 = 16;
    let kinds = [JobKind::Mt, JobKind::Llm];
    let held: Arc<Mutex<HashMap<JobId, LeaseToken>>> = Arc::default();
    let done: Arc<Mutex<HashMap<JobId, u32>>> = Arc::default();
    let opening = {
        let store = bench.store.clone();
        tokio::spawn(async move {
            for number in 0..ARTICLES {
                let name = id(&format!("a{number}"));
                store.commit(simple(&name)).await.unwrap();
                let state = article(&*store, &name).await.unwrap();
                let jobs = kinds.map(|kind| (opened(&state, &key("fr", kind), order()), JobStep::Opened));
                store.commit(put_jobs(&state, jobs.to_vec())).await.unwrap();
            }
        })
    };
    let workers = (0..WORKERS).map(|worker| {
        let (store, held, done) = (bench.store.clone(), held.clone(), done.clone());
        tokio::spawn(async move {
            let all = ClaimQuery::default();
            for round in 0.. {
                if done.lock().len() == ARTICLES * kinds.len() {
                    break;
                }
                let token = |n: u128| grant((worker << 64) | (round << 8) | n, 3_600);
                let claim = Claim {
                    grants: (0..1 + (worker + round) % 3).map(token).collect(),
                    ..claim(&all, 0, 0)
                };
                for job in store.claim(claim).await.unwrap().jobs {
                    let token = job.lease.as_ref().unwrap().token;
                    let other = held.lock().insert(job.id.clone(), token);
                    assert_eq!(other, None, "{} was leased twice", job.id);
                    let state = article(&*store, &job.id.article).await.unwrap();
                    let seen = &state.jobs[&job.id.key];
                    assert_eq!(*seen, job, "a lease is not what is stored");
                    assert_eq!(held.lock().remove(&job.id), Some(token));
                    if token.0[15] % 2 == 0 {
                        *done.lock().entry(job.id.clone()).or_default() += 1;
                        finish(&*store, &job, JobStep::Done).await;
                    } else {
                        finish(&*store, &job, JobStep::Returned).await;
                    }
                }
                tokio::task::yield_now().await;
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    opening.await.unwrap();
    let done = done.lock();
    assert!(done.len() == ARTICLES * kinds.len() && done.values().all(|times| *times == 1));
    assert_eq!(bench.records(b'q'), []);
}

/// Ends a lease as its worker; other jobs of the article may change meanwhile, this one may not.
async fn finish(store: &dyn Store, job: &Job, step: JobStep) {
    let state = article(store, &job.id.article).await.unwrap();
    let next = match step {
        JobStep::Done => job.canceled(false),
        _ => job.released(None),
    };
    store.commit(put_jobs(&state, vec![(next, step)])).await.unwrap();
}

/// What waits while a sync is held up becomes one group: each claim must see what those before it left.
#[test]
fn claims_of_one_group_see_each_other_and_the_commits_between_them() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        let fr = key("fr", JobKind::Mt);
        let mut opening = Vec::new();
        for name in ["a", "b", "c", "d"] {
            store.commit(simple(&id(name))).await.unwrap();
            let state = article(&*store, &id(name)).await.unwrap();
            opening.push(put_jobs(
                &state,
                vec![(opened(&state, &fr, order()), JobStep::Opened)],
            ));
        }
        let [a, b, c, d] = <[_; 4]>::try_from(opening).unwrap();
        store.commit(a).await.unwrap();
        store.commit(b).await.unwrap();
        let groups = disk.groups();
        disk.hold();
        let first = tokio::spawn({
            let store = store.clone();
            async move { store.commit(simple(&id("first"))).await }
        });
        eventually(|| disk.is_syncing().then_some(())).await;
        let all = ClaimQuery::default();
        let one = || store.claim(claim(&all, 1, 60));
        let mut asked = [one(), one(), one(), one(), one()];
        let mut opened = [store.commit(c), store.commit(d)];
        let [first_claim, second_claim, too_early, third_claim, fourth_claim] = &mut asked;
        assert!(futures::poll!(first_claim).is_pending());
        assert!(futures::poll!(second_claim).is_pending());
        assert!(futures::poll!(too_early).is_pending());
        assert!(futures::poll!(&mut opened[0]).is_pending());
        assert!(futures::poll!(third_claim).is_pending());
        assert!(futures::poll!(&mut opened[1]).is_pending());
        assert!(futures::poll!(fourth_claim).is_pending());
        disk.release();
        first.await.unwrap().unwrap();
        let claimed = join_all(asked).await.into_iter();
        let names: Vec<_> = claimed.map(|claimed| named(&claimed.unwrap()).concat()).collect();
        assert_eq!(names, ["a/fr/mt/1", "b/fr/mt/1", "", "c/fr/mt/1", "d/fr/mt/1"]);
        assert!(join_all(opened).await.iter().all(Result::is_ok));
        assert_eq!(disk.groups(), groups + 2, "they were not one group");
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

#[test]
fn a_lease_that_a_failed_sync_takes_back_is_not_given() {
    within_limit(async {
        let disk = Disk::default();
        let store = disk.store();
        store.commit(simple(&id("a"))).await.unwrap();
        let state = article(&*store, &id("a")).await.unwrap();
        let job = opened(&state, &key("fr", JobKind::Mt), order());
        store
            .commit(put_jobs(&state, vec![(job, JobStep::Opened)]))
            .await
            .unwrap();
        let all = ClaimQuery::default();
        disk.hold();
        let first = tokio::spawn({
            let store = store.clone();
            async move { store.commit(simple(&id("first"))).await }
        });
        eventually(|| disk.is_syncing().then_some(())).await;
        let mut lost = store.claim(claim(&all, 1, 3_600));
        let mut second = store.claim(claim(&all, 1, 60));
        assert!(futures::poll!(&mut lost).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        disk.release_one();
        first.await.unwrap().unwrap();
        // The writer has decided both, and syncs.
        eventually(|| disk.is_syncing().then_some(())).await;
        // The job is taken, but not for good: whoever comes second waits for what becomes of the first.
        let mut next = store.next_claimable(&all);
        assert!(futures::poll!(&mut next).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        disk.fail_next_sync();
        disk.release();
        assert!(lost.await.unwrap_err().outcome_unknown());
        let second = second.await.unwrap();
        assert_eq!(named(&second), ["a/fr/mt/1"]);
        assert_eq!(second.jobs[0].attempts, 1);
        let until = second.jobs[0].lease.as_ref().unwrap().until;
        assert!(next.await.unwrap().is_some_and(|time| time <= until));
        assert_eq!(store.check().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

pub(super) async fn a_damaged_article_does_not_hold_up_the_others(bench: &mut Bench) {
    use article_store::store::kv::engine::{Engine, Write};
    for name in ["a", "b", "c"] {
        open(bench, name, "fr", JobKind::Mt, order()).await;
    }
    let (key, sound) = bench.records(b'h').remove(0);
    assert_eq!(key, b"ha");
    let mut record = sound.clone();
    *record.last_mut().unwrap() ^= 1;
    bench
        .engine()
        .apply(vec![Write::Put(key.clone(), record)])
        .unwrap();
    bench.reopen_with_cache(0).await;
    let all = ClaimQuery::default();
    assert_eq!(take(bench, &all, 1).await, ["b/fr/mt/1"]);
    let named = ClaimQuery {
        ids: ["a", "c"].map(|name| job_id(name, "fr", JobKind::Mt, 1)).to_vec(),
        ..ClaimQuery::default()
    };
    assert_eq!(take(bench, &named, 9).await, ["c/fr/mt/1"]);
    bench.engine().apply(vec![Write::Put(key, sound)]).unwrap();
    assert_eq!(take(bench, &all, 9).await, ["a/fr/mt/1"]);
}

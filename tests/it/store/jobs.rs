//! Jobs as the store keeps them: with their article, in their queue, and for a while after a newer one has replaced them.

use std::sync::Arc;

use article_store::domain::access::Visibility;
use article_store::domain::change::{JobStep, Kind};
use article_store::domain::ids::TranslationId;
use article_store::domain::job::{
    Failure, Job, JobKey, JobKind, JobResult, JobState, LeaseToken, Order, Priority, Settled,
};
use article_store::domain::policy::PolicyId;
use article_store::domain::request::Outcome;
use article_store::domain::time::{Stamp, Timestamp};
use article_store::store::{ArticleState, Batch, Conflict, Expect, Store, StoreError};

use super::bench::{Bench, at};
use super::fixtures::*;

on_every_engine! {
    a_job_comes_back_as_it_was_stored,
    a_job_that_ends_may_be_followed_by_the_next_in_one_commit,
    a_precondition_on_a_job_names_its_slot,
    a_job_is_in_a_queue_while_it_may_be_claimed,
}

async fn article(bench: &Bench, name: &str) -> Arc<ArticleState> {
    bench.store.commit(simple(&id(name))).await.unwrap();
    bench.article(&id(name)).await.unwrap()
}

async fn newest(bench: &Bench, name: &str, key: &JobKey) -> Arc<Job> {
    bench.article(&id(name)).await.unwrap().jobs[key].clone()
}

async fn put(bench: &Bench, name: &str, job: Job, step: JobStep) -> Stamp {
    let state = bench.article(&id(name)).await.unwrap();
    bench
        .store
        .commit(put_jobs(&state, vec![(job, step)]))
        .await
        .unwrap()
}

fn settled(number: u128) -> Settled {
    Settled {
        token: LeaseToken(number.to_be_bytes()),
        digest: [9; 32],
        result: Some(JobResult {
            translation: TranslationId(7),
            outcome: Outcome::Diverted,
        }),
    }
}

fn failure(bench_time: &str) -> Failure {
    Failure {
        message: "Überlastet".into(),
        worker: "worker 1".into(),
        time: at(bench_time),
    }
}

/// A job with every field, and what its commits were.
async fn full_job(bench: &Bench) -> Arc<Job> {
    let state = article(bench, "a").await;
    let key = key("fr", JobKind::Llm);
    let dead = Order {
        priority: Priority::new(1).unwrap(),
        not_before: Some(at("2022-05-10T23:00:00Z")),
        deadline: Some(at("2022-05-11T00:00:00Z")),
        max_attempts: 1,
        policy: Some(PolicyId::parse("news.fr").unwrap()),
        principal: String::new(),
    };
    let job = opened(&state, &key, dead.clone());
    put(bench, "a", job, JobStep::Opened).await;
    let job = newest(bench, "a", &key)
        .await
        .leased(grant(1, 60), at("2022-05-10T23:00:00Z"));
    put(bench, "a", job, JobStep::Claimed).await;
    let job = newest(bench, "a", &key).await;
    let failed = job.failed(settled(1), failure("2022-05-10T23:00:30Z"), false, None, 0.5);
    assert_eq!(failed.state, JobState::Dead);
    put(bench, "a", failed, JobStep::Dead).await;
    let state = bench.article(&id("a")).await.unwrap();
    let next = opened(&state, &key, dead);
    assert_eq!(next.given_up.len(), 3);
    put(bench, "a", next, JobStep::Opened).await;
    let job = newest(bench, "a", &key).await;
    let job = Job {
        settled: Some(settled(2)),
        last_failure: Some(failure("2022-05-10T23:10:00Z")),
        hidden: true,
        ..job.leased(grant(3, 60), at("2022-05-10T23:00:00Z"))
    };
    put(bench, "a", job, JobStep::Claimed).await;
    newest(bench, "a", &key).await
}

async fn a_job_comes_back_as_it_was_stored(bench: &mut Bench) {
    let job = full_job(bench).await;
    let head = bench.store.changes(0, 10).await.unwrap();
    let stamps: Vec<_> = head.commits.iter().map(|commit| commit.stamp).collect();
    assert_eq!((job.opened, job.changed), (stamps[4], stamps[5]));
    assert_eq!(job.lease.as_ref().unwrap().claimed, stamps[5]);
    assert_eq!((job.id.number, job.version), (2, 5));
    let step = |place: usize| head.commits[place].events[0].kind.clone();
    let event = |step, number| Kind::Job {
        step,
        kind: JobKind::Llm,
        number,
    };
    assert_eq!(step(3), event(JobStep::Dead, 1));
    assert_eq!(step(5), event(JobStep::Claimed, 2));
    assert_eq!(head.commits[5].events[0].language, Some(language("fr")));
    bench.reopen().await;
    assert_eq!(newest(bench, "a", &key("fr", JobKind::Llm)).await, job);
    let state = bench.article(&id("a")).await.unwrap();
    assert_eq!(state.seq(), stamps[5].seq);
}

async fn a_job_that_ends_may_be_followed_by_the_next_in_one_commit(bench: &mut Bench) {
    let state = article(bench, "a").await;
    let key = key("fr", JobKind::Mt);
    put(bench, "a", opened(&state, &key, order()), JobStep::Opened).await;
    let state = bench.article(&id("a")).await.unwrap();
    let done = state.jobs[&key].done(settled(1));
    let next = Job::open(
        &id("a"),
        key.clone(),
        Some(&done),
        1,
        done.wanted.clone(),
        order(),
    );
    let other = opened(&state, &self::key("de", JobKind::Mt), order());
    let batch = put_jobs(
        &state,
        vec![
            (done, JobStep::Done),
            (other, JobStep::Opened),
            (next, JobStep::Opened),
        ],
    );
    let batch = Batch {
        // The second one of the key stands on the first.
        expect: batch.expect[..2].to_vec(),
        ..batch
    };
    let stamp = bench.store.commit(batch).await.unwrap();
    for _ in 0..2 {
        let job = newest(bench, "a", &key).await;
        assert_eq!((job.id.number, job.version, job.state), (2, 3, JobState::Pending));
        assert_eq!((job.opened, job.changed), (stamp, stamp));
        let records = bench.records(b'k');
        assert_eq!(records.len(), 1);
        bench.reopen().await;
    }
}

async fn a_precondition_on_a_job_names_its_slot(bench: &mut Bench) {
    let state = article(bench, "a").await;
    let (fr, de) = (key("fr", JobKind::Mt), key("de", JobKind::Mt));
    put(bench, "a", opened(&state, &fr, order()), JobStep::Opened).await;
    let slot = |tag: &str| StoreError::Conflict(Conflict::Slot(id("a"), tag.into()));
    let cases = [
        (Expect::Job(fr.clone(), Some(1)), None),
        (Expect::Job(fr.clone(), Some(2)), Some(slot("fr"))),
        (Expect::Job(fr.clone(), None), Some(slot("fr"))),
        (Expect::Job(key("fr", JobKind::Llm), None), None),
        (Expect::Job(de.clone(), None), None),
        (Expect::Job(de.clone(), Some(1)), Some(slot("de"))),
    ];
    for (expect, refusal) in cases {
        let batch = Batch {
            expect: vec![expect.clone()],
            ..Batch::new(id("a"))
        };
        assert_eq!(bench.store.commit(batch).await.err(), refusal, "{expect:?}");
    }
    let nobody = Batch {
        expect: vec![Expect::Job(de, None)],
        ..Batch::new(id("none"))
    };
    bench.store.commit(nobody).await.unwrap();
}

/// How many jobs there are in queues.
fn queued(bench: &Bench) -> usize {
    bench.records(b'q').len()
}

async fn a_job_is_in_a_queue_while_it_may_be_claimed(bench: &mut Bench) {
    let state = article(bench, "a").await;
    let key = key("fr", JobKind::Mt);
    put(bench, "a", opened(&state, &key, order()), JobStep::Opened).await;
    assert_eq!(queued(bench), 1);
    let ready = bench.records(b'q');
    let leased = newest(bench, "a", &key)
        .await
        .leased(grant(1, 60), Timestamp::default());
    put(bench, "a", leased, JobStep::Claimed).await;
    assert_eq!(queued(bench), 1);
    assert_ne!(bench.records(b'q')[0].0, ready[0].0);
    let released = newest(bench, "a", &key).await.released(None);
    put(bench, "a", released, JobStep::Returned).await;
    assert_eq!(bench.records(b'q')[0].0, ready[0].0);
    // The job follows its article: hidden, shown to some, in another language, deleted and undeleted.
    let show = async |bench: &Bench, visibility| {
        let state = bench.article(&id("a")).await.unwrap();
        let batch = change(&state, Kind::PublicationStatusChanged, |version| {
            version.visibility = visibility
        });
        bench.store.commit(batch).await.unwrap();
    };
    show(bench, Visibility::Withheld).await;
    assert_eq!(queued(bench), 0);
    show(bench, Visibility::Embargoed).await;
    let embargoed = bench.records(b'q');
    assert_eq!(embargoed.len(), 1);
    assert!(embargoed[0].0 > ready[0].0);
    show(bench, Visibility::Public).await;
    assert_eq!(bench.records(b'q')[0].0, ready[0].0);
    let state = bench.article(&id("a")).await.unwrap();
    let moved = edit(&state, |metadata| metadata.language = language("fa"));
    bench.store.commit(moved).await.unwrap();
    assert_eq!(queued(bench), 1);
    assert_ne!(bench.records(b'q')[0].0, ready[0].0);
    let state = bench.article(&id("a")).await.unwrap();
    bench.store.commit(delete(&state)).await.unwrap();
    assert_eq!(queued(bench), 0);
    let state = bench.article(&id("a")).await.unwrap();
    let undeleted = change(&state, Kind::ArticleUndeleted, |version| version.deleted = None);
    bench.store.commit(undeleted).await.unwrap();
    assert_eq!(queued(bench), 1);
    let canceled = newest(bench, "a", &key).await.canceled(false);
    put(bench, "a", canceled, JobStep::Canceled).await;
    assert_eq!(queued(bench), 0);
}

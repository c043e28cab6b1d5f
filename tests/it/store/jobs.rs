//! Jobs as the store keeps them: with their article, in their queue, and for a while after a newer one has replaced them.

use std::sync::Arc;

use article_store::domain::access::Visibility;
use article_store::domain::change::{JobStep, Kind};
use article_store::domain::ids::TranslationId;
use article_store::domain::job::{
    ClaimQuery, Failure, Job, JobKey, JobKind, JobResult, JobState, LeaseToken, Order, Priority, Settled,
};
use article_store::domain::policy::PolicyId;
use article_store::domain::request::Outcome;
use article_store::domain::time::{Stamp, Timestamp};
use article_store::store::{
    ArticleState, Batch, Claimed, Conflict, Expect, Policies, PolicyChange, StoreError,
};
use futures::future::join_all;

use super::bench::{Bench, at};
use super::claims::claim;
use super::fixtures::*;
use super::purge::purge;

on_every_store! {
    a_job_comes_back_as_it_was_stored,
    a_precondition_on_a_job_names_it,
    jobs_are_listed_by_article_language_and_kind,
    policies_are_kept_by_id,
    what_was_decided_on_other_policies_is_refused,
    a_policy_that_is_put_by_many_is_whole,
    a_batch_with_a_job_of_a_purged_article_is_refused,
}

on_every_engine! {
    a_job_that_ends_may_be_followed_by_the_next_in_one_commit,
    a_job_is_in_a_queue_while_it_may_be_claimed,
    replaced_jobs_are_kept_as_long_as_requests,
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
        .stamp
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
    let job = Job {
        wanted: work(&state).wanted(&key),
        ..newest(bench, "a", &key)
            .await
            .leased(grant(1, 60), at("2022-05-10T23:00:00Z"))
    };
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
    let next = Job::open(&id("a"), key.clone(), Some(&done), 1, order());
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
    let stamp = bench.store.commit(batch).await.unwrap().stamp;
    for _ in 0..2 {
        let job = newest(bench, "a", &key).await;
        assert_eq!((job.id.number, job.version, job.state), (2, 3, JobState::Pending));
        assert_eq!((job.opened, job.changed), (stamp, stamp));
        let records = bench.records(b'k');
        assert_eq!(records.len(), 1);
        bench.reopen().await;
    }
}

async fn a_precondition_on_a_job_names_it(bench: &mut Bench) {
    let state = article(bench, "a").await;
    let (fr, de) = (key("fr", JobKind::Mt), key("de", JobKind::Mt));
    put(bench, "a", opened(&state, &fr, order()), JobStep::Opened).await;
    let changed = |key: &JobKey| Some(StoreError::Conflict(Conflict::Job(id("a"), key.clone())));
    let cases = [
        (Expect::Job(fr.clone(), Some(1)), None),
        (Expect::Job(fr.clone(), Some(2)), changed(&fr)),
        (Expect::Job(fr.clone(), None), changed(&fr)),
        (Expect::Job(key("fr", JobKind::Llm), None), None),
        (Expect::Job(de.clone(), None), None),
        (Expect::Job(de.clone(), Some(1)), changed(&de)),
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
            version.visibility = visibility;
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

async fn jobs_are_listed_by_article_language_and_kind(bench: &mut Bench) {
    assert_eq!(bench.store.jobs(None, 9).await.unwrap(), []);
    let kinds = [JobKind::Score, JobKind::Mt];
    // Names and tags that begin with each other, or differ in case.
    for name in ["b", "a.", "a", "B"] {
        let state = article(bench, name).await;
        let keys = ["fr-CA", "de", "fr"].map(|tag| kinds.map(|kind| key(tag, kind)));
        let jobs = keys.concat().into_iter().map(|key| opened(&state, &key, order()));
        let batch = put_jobs(&state, jobs.map(|job| (job, JobStep::Opened)).collect());
        bench.store.commit(batch).await.unwrap();
    }
    let all = bench.store.jobs(None, 99).await.unwrap();
    let names: Vec<_> = all.iter().map(|job| job.id.to_string()).collect();
    let of = |name: &str| {
        [
            "de/mt/1",
            "de/score/1",
            "fr/mt/1",
            "fr/score/1",
            "fr-CA/mt/1",
            "fr-CA/score/1",
        ]
        .map(|rest| format!("{name}/{rest}"))
    };
    assert_eq!(names, ["B", "a", "a.", "b"].map(of).concat());
    for job in &all {
        let state = bench.article(&job.id.article).await.unwrap();
        assert_eq!(state.jobs[&job.id.key], *job);
    }
    // In pages of any size, from any place.
    for limit in [1, 5, 24] {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = bench.store.jobs(after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some((last.id.article.clone(), last.id.key.clone()));
            pages.extend(page);
        }
        assert_eq!(pages, all);
    }
    let between = Some((id("a"), key("fr", JobKind::Human)));
    let next = bench.store.jobs(between.as_ref(), 1).await.unwrap();
    assert_eq!(next[0].id.to_string(), "a/fr/score/1");
    assert_eq!(bench.store.jobs(None, 0).await.unwrap(), []);
}

async fn expire(bench: &Bench, before: Timestamp) {
    while bench.store.expire_requests(before).await.unwrap() {}
}

async fn replaced(bench: &Bench) -> Vec<String> {
    let jobs = bench.store.replaced_jobs(&id("a")).await.unwrap();
    jobs.iter().map(|job| job.id.to_string()).collect()
}

async fn replaced_jobs_are_kept_as_long_as_requests(bench: &mut Bench) {
    article(bench, "a").await;
    article(bench, "a.").await;
    let mut ended = Vec::new();
    for hour in 0..3 {
        bench.clock.set(at(&format!("2022-05-11T0{hour}:00:00Z")));
        for (name, tag) in [("a", "fr"), ("a", "de"), ("a.", "fr")] {
            let key = key(tag, JobKind::Mt);
            let state = bench.article(&id(name)).await.unwrap();
            put(bench, name, opened(&state, &key, order()), JobStep::Opened).await;
            let canceled = newest(bench, name, &key).await.canceled(false);
            put(bench, name, canceled, JobStep::Canceled).await;
            ended.push(newest(bench, name, &key).await);
        }
    }
    let all = ["a/de/mt/1", "a/de/mt/2", "a/fr/mt/1", "a/fr/mt/2"];
    assert_eq!(replaced(bench).await, all);
    for job in bench.store.replaced_jobs(&id("a")).await.unwrap() {
        assert!(ended.contains(&job), "{job:?} is not as it ended");
    }
    let seq = bench.store.status().await.unwrap().seq;
    expire(bench, at("2022-05-11T01:00:00Z")).await;
    assert_eq!(replaced(bench).await, all);
    // The first of each key was replaced at 01:00, a few microseconds after.
    expire(bench, at("2022-05-11T01:30:00Z")).await;
    assert_eq!(replaced(bench).await, ["a/de/mt/2", "a/fr/mt/2"]);
    bench.reopen().await;
    assert_eq!(replaced(bench).await, ["a/de/mt/2", "a/fr/mt/2"]);
    expire(bench, Timestamp::MAX).await;
    assert_eq!(bench.records(b'k'), []);
    assert_eq!(bench.store.status().await.unwrap().seq, seq);
    assert_eq!(bench.store.jobs(None, 9).await.unwrap().len(), 3);
}

async fn policies_are_kept_by_id(bench: &mut Bench) {
    assert_eq!(bench.store.policies().await.unwrap(), Policies::default());
    let (a, b) = (policy("a", &["fr"]), policy("B.2", &["de", "fr-CA"]));
    put_policy(&*bench.store, &a).await;
    let last = put_policy(&*bench.store, &b).await;
    let known = bench.store.policies().await.unwrap();
    assert_eq!(
        (&*known.all, known.seq),
        ([b.clone(), a.clone()].as_slice(), last.seq)
    );
    let mut paused = policy("a", &["en"]);
    paused.rule.paused = true;
    paused.updated = at("2022-05-12T00:00:00Z");
    put_policy(&*bench.store, &paused).await;
    bench.reopen().await;
    assert_eq!(*bench.store.policies().await.unwrap().all, [b.clone(), paused]);
    for _ in 0..2 {
        delete_policy(&*bench.store, "a").await;
        let left = bench.store.policies().await.unwrap();
        assert_eq!(*left.all, *std::slice::from_ref(&b));
    }
    bench.reopen().await;
    assert_eq!(*bench.store.policies().await.unwrap().all, [b]);
    // Each change is a commit of its principal, without events.
    let log = bench.store.changes(0, 9).await.unwrap();
    let facts = log
        .commits
        .iter()
        .map(|c| (c.stamp.seq, c.events.len(), &*c.principal));
    let expected: Vec<_> = (1..=5).map(|seq| (seq, 0, "desk")).collect();
    assert_eq!((facts.collect::<Vec<_>>(), log.head), (expected, 5));
    assert_eq!(bench.store.check().await.unwrap(), []);
}

/// A change of a policy, and one of an article, that were decided on other policies are refused and leave nothing.
async fn what_was_decided_on_other_policies_is_refused(bench: &mut Bench) {
    let refused = StoreError::Conflict(Conflict::Policies);
    let change = |name: &str, policy, expect| PolicyChange {
        id: PolicyId::parse(name).unwrap(),
        policy,
        expect,
        principal: String::new(),
    };
    let on = |name: &str, seq| {
        let mut batch = simple(&id(name));
        batch.expect.push(Expect::Policies(seq));
        batch
    };
    let before = bench.store.policies().await.unwrap();
    let first = put_policy(&*bench.store, &policy("first", &["fr"])).await;
    let second = policy("second", &["de"]);
    let late = change("second", Some(second.clone()), before.seq);
    assert_eq!(bench.store.change_policy(late).await, Err(refused.clone()));
    let late = change("first", None, before.seq);
    assert_eq!(bench.store.change_policy(late).await, Err(refused.clone()));
    let late = bench.store.commit(on("a", before.seq)).await;
    assert_eq!(late.unwrap_err(), refused);
    assert_eq!(bench.store.policies().await.unwrap().all.len(), 1);
    assert_eq!(bench.store.status().await.unwrap().seq, first.seq);

    let known = bench.store.policies().await.unwrap();
    let stamp = bench.store.commit(on("a", known.seq)).await.unwrap().stamp;
    assert_eq!(
        bench.store.policies().await.unwrap(),
        known,
        "no policy has changed"
    );
    // Of what is written at once, what comes behind a change is refused too.
    let (changed, batch) = (change("second", Some(second), known.seq), on("b", known.seq));
    let (changed, batch) = futures::join!(bench.store.change_policy(changed), bench.store.commit(batch));
    assert_eq!(changed.unwrap().seq, stamp.seq + 1);
    assert_eq!(batch.unwrap_err(), refused);

    // A restart forgets no change, not even that a policy was removed.
    let known = bench.store.policies().await.unwrap();
    delete_policy(&*bench.store, "second").await;
    bench.reopen().await;
    assert_eq!(bench.store.commit(on("b", known.seq)).await.unwrap_err(), refused);
    let known = bench.store.policies().await.unwrap();
    bench.store.commit(on("b", known.seq)).await.unwrap();
    assert_eq!(bench.store.check().await.unwrap(), []);
}

async fn a_policy_that_is_put_by_many_is_whole(bench: &mut Bench) {
    let tags = ["fr", "de", "en", "es"];
    let calls = (0..40).map(|number| {
        let store = bench.store.clone();
        tokio::spawn(async move {
            let tag = tags[number % tags.len()];
            let name = format!("p{number}");
            put_policy(&*store, &policy("one", &[tag, tag])).await;
            put_policy(&*store, &policy(&name, &[tag])).await;
            if number % 2 == 0 {
                delete_policy(&*store, &name).await;
            }
            let seen = store.policies().await.unwrap().all;
            assert_eq!(
                seen.iter().any(|policy| policy.id.as_str() == name),
                number % 2 == 1
            );
            let one = seen.iter().find(|policy| policy.id.as_str() == "one").unwrap();
            assert_eq!(one.rule.target_languages[0], one.rule.target_languages[1]);
        })
    });
    for call in join_all(calls).await {
        call.unwrap();
    }
    let policies = bench.store.policies().await.unwrap();
    assert_eq!((policies.all.len(), policies.seq), (21, 100));
}

async fn a_batch_with_a_job_of_a_purged_article_is_refused(bench: &mut Bench) {
    let state = article(bench, "a").await;
    let fr = key("fr", JobKind::Mt);
    put(bench, "a", opened(&state, &fr, order()), JobStep::Opened).await;
    let state = bench.article(&id("a")).await.unwrap();
    let late = put_jobs(&state, vec![(state.jobs[&fr].canceled(false), JobStep::Canceled)]);
    bench.store.commit(purge(&id("a"), 1)).await.unwrap();
    let conflict = StoreError::Conflict(Conflict::Job(id("a"), fr));
    assert_eq!(bench.store.commit(late).await, Err(conflict));
    assert_eq!(bench.store.jobs(None, 9).await.unwrap(), []);
    let named = ClaimQuery {
        ids: vec![job_id("a", "fr", JobKind::Mt, 1)],
        ..ClaimQuery::default()
    };
    for query in [named, ClaimQuery::default()] {
        let nothing = bench.store.claim(claim(&query, 1, 60)).await.unwrap();
        assert_eq!(nothing, Claimed::default());
        assert_eq!(bench.store.next_claimable(&query).await.unwrap(), None);
    }
}

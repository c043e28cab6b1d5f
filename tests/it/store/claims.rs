//! Claims: the most urgent job first, each to one worker only, and nothing that is not durable.

use std::collections::HashMap;
use std::sync::Arc;

use article_store::domain::access::Visibility;
use article_store::domain::change::{JobStep, Kind};
use article_store::domain::job::{
    ClaimQuery, Job, JobId, JobKind, JobState, LeaseToken, Order, Pair, Priority,
};
use article_store::domain::time::Timestamp;
use article_store::store::{Claim, Claimed, Conflict, Store, StoreError};
use futures::future::join_all;
use parking_lot::Mutex;

use super::bench::{Bench, article, at, eventually, within_limit};
use super::failure::Disk;
use super::fixtures::*;

on_every_store! {
    the_most_urgent_jobs_are_claimed_first,
    of_those_with_one_deadline_the_order_is_that_of_their_ids,
    a_claim_takes_only_what_it_asks_for,
    what_is_hidden_is_not_claimed,
    jobs_without_work_or_attempts_are_ended_on_the_way,
    an_expired_lease_is_claimable_at_once,
    a_claim_that_finds_nothing_is_no_commit,
    a_claim_is_recorded_with_its_request,
    a_claim_looks_at_a_bounded_number_of_jobs,
    many_that_had_to_wait_are_all_claimed,
    the_next_claimable_job_is_known,
}

on_every_engine! {
    a_damaged_article_does_not_hold_up_the_others,
    of_claims_at_once_each_gets_other_jobs,
}

/// The time at which a test begins.
fn start() -> Timestamp {
    at("2022-05-10T22:45:00Z")
}

fn minutes(number: i64) -> Timestamp {
    start().saturating_add_micros(number * 60_000_000)
}

pub(crate) fn claim(query: &ClaimQuery, leases: u128, seconds: i64) -> Claim {
    Claim {
        principal: String::new(),
        query: query.clone(),
        grants: (1..=leases).map(|number| grant(number, seconds)).collect(),
        request: None,
    }
}

fn named(claimed: &Claimed) -> Vec<String> {
    claimed.jobs.iter().map(|job| job.id.to_string()).collect()
}

/// Claims so many jobs for an hour.
async fn take(bench: &Bench, query: &ClaimQuery, leases: u128) -> Vec<String> {
    named(&bench.store.claim(claim(query, leases, 3_600)).await.unwrap())
}

fn with_priority(number: u32) -> Order {
    Order {
        priority: Priority::new(number).unwrap(),
        ..order()
    }
}

async fn open(bench: &Bench, name: &str, tag: &str, kind: JobKind, order: Order) {
    if bench.article(&id(name)).await.is_none() {
        bench.store.commit(simple(&id(name))).await.unwrap();
    }
    let state = bench.article(&id(name)).await.unwrap();
    let job = opened(&state, &key(tag, kind), order);
    let batch = put_jobs(&state, vec![(job, JobStep::Opened)]);
    bench.store.commit(batch).await.unwrap();
}

async fn change_job(store: &dyn Store, id: &JobId, step: JobStep, change: impl FnOnce(&Job) -> Job) {
    let state = article(store, &id.article).await.unwrap();
    let job = change(&state.jobs[&id.key]);
    store.commit(put_jobs(&state, vec![(job, step)])).await.unwrap();
}

async fn the_most_urgent_jobs_are_claimed_first(bench: &mut Bench) {
    let waiting = |order: Order, minute| Order {
        not_before: Some(minutes(minute)),
        ..order
    };
    let due = Order {
        deadline: Some(minutes(5)),
        ..with_priority(4)
    };
    open(bench, "hour", "fr", JobKind::Mt, with_priority(3)).await;
    open(bench, "deadline", "fr", JobKind::Mt, due).await;
    open(bench, "five", "de", JobKind::Llm, with_priority(2)).await;
    open(bench, "waited", "fr", JobKind::Mt, waiting(with_priority(3), 19)).await;
    open(
        bench,
        "waited-urgent",
        "de",
        JobKind::Mt,
        waiting(with_priority(1), 20),
    )
    .await;
    open(bench, "waits", "fr", JobKind::Mt, waiting(with_priority(1), 21)).await;
    bench.clock.set(minutes(10));
    open(bench, "ten", "fr", JobKind::Mt, with_priority(1)).await;
    bench.clock.set(minutes(20));
    let all = ClaimQuery::default();
    let first = take(bench, &all, 3).await;
    assert_eq!(
        first,
        ["deadline/fr/mt/1", "waited-urgent/de/mt/1", "five/de/llm/1"]
    );
    bench.reopen().await;
    let rest = take(bench, &all, 9).await;
    assert_eq!(rest, ["ten/fr/mt/1", "hour/fr/mt/1", "waited/fr/mt/1"]);
    bench.clock.set(minutes(21));
    assert_eq!(take(bench, &all, 9).await, ["waits/fr/mt/1"]);
}

async fn of_those_with_one_deadline_the_order_is_that_of_their_ids(bench: &mut Bench) {
    let due = |waits: Option<i64>| Order {
        deadline: Some(minutes(1)),
        not_before: waits.map(minutes),
        ..order()
    };
    for (name, waits) in [
        ("b", Some(9)),
        ("d", None),
        ("c", Some(3)),
        ("a", Some(10)),
        ("e", Some(1)),
    ] {
        open(bench, name, "fr", JobKind::Mt, due(waits)).await;
    }
    bench.clock.set(minutes(10));
    let expected = ["a", "b", "c", "d", "e"].map(|name| format!("{name}/fr/mt/1"));
    assert_eq!(take(bench, &ClaimQuery::default(), 9).await, expected);
}

async fn a_claim_takes_only_what_it_asks_for(bench: &mut Bench) {
    for name in ["a", "b"] {
        for tag in ["de", "fr", "fr-CA"] {
            for kind in [JobKind::Mt, JobKind::Review] {
                open(bench, name, tag, kind, order()).await;
            }
        }
    }
    let state = bench.article(&id("b")).await.unwrap();
    bench
        .store
        .commit(edit(&state, |metadata| metadata.language = language("fa")))
        .await
        .unwrap();
    let pair = |source: Option<&str>, target: Option<&str>| Pair {
        source: source.map(language),
        target: target.map(language),
    };
    let pairs = |pairs: &[Pair]| ClaimQuery {
        pairs: pairs.to_vec(),
        kinds: vec![JobKind::Mt],
        ..ClaimQuery::default()
    };
    let ids = |names: &[&str]| ClaimQuery {
        ids: names.iter().map(|name| JobId::parse(name).unwrap()).collect(),
        ..ClaimQuery::default()
    };
    let cases: [(ClaimQuery, &[&str]); 9] = [
        (pairs(&[pair(Some("ar"), Some("fr"))]), &["a/fr/mt/1"]),
        (pairs(&[pair(None, Some("fr"))]), &["a/fr/mt/1", "b/fr/mt/1"]),
        (
            pairs(&[pair(Some("fa"), None)]),
            &["b/de/mt/1", "b/fr/mt/1", "b/fr-CA/mt/1"],
        ),
        (
            pairs(&[
                pair(Some("fa"), Some("de")),
                pair(None, Some("de")),
                pair(Some("fr"), None),
            ]),
            &["a/de/mt/1", "b/de/mt/1"],
        ),
        (
            pairs(&[pair(Some("ar"), Some("de")), pair(Some("fa"), Some("fr"))]),
            &["a/de/mt/1", "b/fr/mt/1"],
        ),
        (pairs(&[pair(Some("en"), Some("de"))]), &[]),
        (
            ids(&["b/fr/mt/1", "a/fr/mt/1", "a/fr/mt/2", "c/fr/mt/1"]),
            &["a/fr/mt/1", "b/fr/mt/1"],
        ),
        (
            ClaimQuery {
                pairs: vec![pair(Some("fa"), None)],
                ..ids(&["b/fr/mt/1", "a/fr/mt/1"])
            },
            &["b/fr/mt/1"],
        ),
        (
            ClaimQuery {
                kinds: vec![JobKind::Score],
                ..ids(&["b/fr/mt/1"])
            },
            &[],
        ),
    ];
    for (query, expected) in cases {
        let claimed = bench.store.claim(claim(&query, 9, 3_600)).await.unwrap();
        assert_eq!(named(&claimed), expected, "{query:?}");
        for job in &claimed.jobs {
            change_job(&*bench.store, &job.id, JobStep::Returned, |job| {
                job.released(None)
            })
            .await;
        }
    }
}

async fn what_is_hidden_is_not_claimed(bench: &mut Bench) {
    let show = async |bench: &Bench, name: &str, visibility| {
        open(bench, name, "fr", JobKind::Mt, order()).await;
        let state = bench.article(&id(name)).await.unwrap();
        let batch = change(&state, Kind::PublicationStatusChanged, |version| {
            version.visibility = visibility;
        });
        bench.store.commit(batch).await.unwrap();
    };
    show(bench, "withheld", Visibility::Withheld).await;
    show(bench, "canceled", Visibility::Canceled).await;
    show(bench, "embargoed", Visibility::Embargoed).await;
    open(bench, "deleted", "fr", JobKind::Mt, order()).await;
    let state = bench.article(&id("deleted")).await.unwrap();
    bench.store.commit(delete(&state)).await.unwrap();
    let ids = ["withheld", "canceled", "embargoed", "deleted"];
    let ids = ids.map(|name| job_id(name, "fr", JobKind::Mt, 1)).to_vec();
    for ids in [Vec::new(), ids] {
        for embargoed in [false, true] {
            let query = ClaimQuery {
                ids: ids.clone(),
                embargoed,
                ..ClaimQuery::default()
            };
            let next = bench.store.next_claimable(&query).await.unwrap();
            assert_eq!(next.is_some(), embargoed);
            let claimed = bench.store.claim(claim(&query, 9, 3_600)).await.unwrap();
            let expected: &[&str] = if embargoed { &["embargoed/fr/mt/1"] } else { &[] };
            assert_eq!(named(&claimed), expected);
            for job in &claimed.jobs {
                change_job(&*bench.store, &job.id, JobStep::Returned, |job| {
                    job.released(None)
                })
                .await;
            }
        }
    }
}

async fn jobs_without_work_or_attempts_are_ended_on_the_way(bench: &mut Bench) {
    let all = ClaimQuery::default();
    let once = Order {
        max_attempts: 1,
        ..order()
    };
    open(bench, "dead", "fr", JobKind::Mt, once).await;
    assert_eq!(take(bench, &all, 1).await, ["dead/fr/mt/1"]);
    open(bench, "translated", "fr", JobKind::Mt, with_priority(1)).await;
    open(bench, "wanted", "fr", JobKind::Mt, with_priority(4)).await;
    let state = bench.article(&id("translated")).await.unwrap();
    let slot = attach(&*bench.store, &state, &language("fr"), &texts("x", 2)).await;
    bench.store.commit(slot.unwrap()).await.unwrap();
    let seq = bench.store.status().await.unwrap().seq;
    bench.clock.set(minutes(60));
    let claimed = bench.store.claim(claim(&all, 1, 60)).await.unwrap();
    assert_eq!(named(&claimed), ["wanted/fr/mt/1"]);
    let log = bench.store.changes(seq, 9).await.unwrap();
    let [commit] = &log.commits[..] else {
        panic!("{log:?}");
    };
    let said: Vec<_> = commit
        .events
        .iter()
        .map(|event| (event.article.as_str(), event.kind.clone()))
        .collect();
    let event = |step| Kind::Job {
        step,
        kind: JobKind::Mt,
        number: 1,
    };
    // In the order in which they were found: the lease ended, and the others go by their ranks.
    let expected = [
        ("translated", event(JobStep::Superseded)),
        ("dead", event(JobStep::Dead)),
        ("wanted", event(JobStep::Claimed)),
    ];
    assert_eq!(said, expected);
    for name in ["translated", "dead", "wanted"] {
        let state = bench.article(&id(name)).await.unwrap();
        assert_eq!(
            state.jobs[&key("fr", JobKind::Mt)].changed,
            commit.stamp,
            "{name}"
        );
    }
    assert_eq!(claimed.jobs[0].lease.as_ref().unwrap().claimed, commit.stamp);
    assert_eq!(claimed.jobs[0].lease.as_ref().unwrap().until, minutes(61));
    let dead = bench.article(&id("dead")).await.unwrap();
    assert_eq!(dead.jobs[&key("fr", JobKind::Mt)].state, JobState::Dead);
}

async fn an_expired_lease_is_claimable_at_once(bench: &mut Bench) {
    open(bench, "a", "fr", JobKind::Mt, order()).await;
    let all = ClaimQuery::default();
    for attempt in 1..=3 {
        let claimed = bench.store.claim(claim(&all, 1, 60)).await.unwrap();
        assert_eq!(claimed.jobs[0].attempts, attempt);
        let just_before = minutes(i64::from(attempt)).saturating_add_micros(-1);
        bench.clock.set(just_before);
        assert_eq!(take(bench, &all, 1).await, Vec::<String>::new());
        bench.clock.set(minutes(i64::from(attempt)));
        bench.reopen().await;
    }
    // The third was the last attempt.
    assert_eq!(take(bench, &all, 1).await, Vec::<String>::new());
    let state = bench.article(&id("a")).await.unwrap();
    assert_eq!(state.jobs[&key("fr", JobKind::Mt)].state, JobState::Dead);
    assert_eq!(bench.store.next_claimable(&all).await.unwrap(), None);
}

async fn a_claim_that_finds_nothing_is_no_commit(bench: &mut Bench) {
    open(bench, "a", "fr", JobKind::Mt, order()).await;
    let seq = bench.store.status().await.unwrap().seq;
    let other = ClaimQuery {
        kinds: vec![JobKind::Llm],
        ..ClaimQuery::default()
    };
    let no_lease = claim(&ClaimQuery::default(), 0, 60);
    let mut asked = claim(&other, 1, 60);
    asked.request = Some((request_key(1), [7; 32]));
    for claim in [asked, claim(&other, 5, 60), no_lease] {
        assert_eq!(bench.store.claim(claim).await.unwrap(), Claimed::default());
    }
    assert_eq!(bench.store.status().await.unwrap().seq, seq);
    assert_eq!(bench.store.request(&request_key(1)).await.unwrap(), None);
}

async fn a_claim_is_recorded_with_its_request(bench: &mut Bench) {
    for name in ["a", "b", "c"] {
        open(bench, name, "fr", JobKind::Mt, order()).await;
    }
    let mut two = claim(&ClaimQuery::default(), 2, 60);
    two.request = Some((request_key(1), [7; 32]));
    let claimed = bench.store.claim(two.clone()).await.unwrap();
    assert_eq!(named(&claimed), ["a/fr/mt/1", "b/fr/mt/1"]);
    for _ in 0..2 {
        let recorded = bench.store.request(&request_key(1)).await.unwrap().unwrap();
        assert_eq!(recorded.stamp, claimed.jobs[1].changed);
        assert_eq!(recorded.article, id("a"));
        let ids: Vec<_> = claimed.jobs.iter().map(|job| job.id.clone()).collect();
        assert_eq!(recorded.jobs, ids);
        let again = bench.store.claim(two.clone()).await;
        assert_eq!(again, Err(StoreError::Conflict(Conflict::Request)));
        bench.reopen().await;
    }
    let left = take(bench, &ClaimQuery::default(), 9).await;
    assert_eq!(left, ["c/fr/mt/1"]);
    bench.clock.set(minutes(600));
    while bench.store.expire_requests(minutes(599)).await.unwrap() {}
    assert_eq!(bench.store.request(&request_key(1)).await.unwrap(), None);
}

/// Opens reviews, for which there is nothing to do.
async fn open_idle(bench: &Bench, articles: usize, tags: &[&str], order: &Order) {
    for number in 0..articles {
        let article = id(&format!("idle{number}"));
        bench.store.commit(simple(&article)).await.unwrap();
        let state = bench.article(&article).await.unwrap();
        let jobs = tags.iter().map(|tag| {
            (
                opened(&state, &key(tag, JobKind::Review), order.clone()),
                JobStep::Opened,
            )
        });
        bench
            .store
            .commit(put_jobs(&state, jobs.collect()))
            .await
            .unwrap();
    }
}

const TAGS: [&str; 21] = [
    "en", "fr", "de", "es", "it", "pt", "nl", "sv", "da", "fi", "pl", "cs", "sk", "hu", "ro", "bg", "el",
    "tr", "fa", "he", "ja",
];

async fn a_claim_looks_at_a_bounded_number_of_jobs(bench: &mut Bench) {
    open_idle(bench, 100, &TAGS, &with_priority(1)).await;
    open(bench, "wanted", "fr", JobKind::Review, with_priority(4)).await;
    let state = bench.article(&id("wanted")).await.unwrap();
    let slot = attach(&*bench.store, &state, &language("fr"), &texts("x", 2)).await;
    bench.store.commit(slot.unwrap()).await.unwrap();
    let all = ClaimQuery::default();
    let first = bench.store.claim(claim(&all, 1, 60)).await.unwrap();
    assert_eq!((first.jobs.len(), first.is_partial), (0, true));
    let second = bench.store.claim(claim(&all, 1, 60)).await.unwrap();
    assert_eq!(
        (named(&second), second.is_partial),
        (vec!["wanted/fr/review/1".into()], false)
    );
    let third = bench.store.claim(claim(&all, 1, 60)).await.unwrap();
    assert_eq!(third, Claimed::default());
}

/// More than are put in order at once.
async fn many_that_had_to_wait_are_all_claimed(bench: &mut Bench) {
    let waiting = Order {
        not_before: Some(minutes(1)),
        ..order()
    };
    let fr = key("fr", JobKind::Mt);
    for number in 0..600 {
        let article = id(&format!("a{number:03}"));
        bench.store.commit(simple(&article)).await.unwrap();
        let state = bench.article(&article).await.unwrap();
        let job = opened(&state, &fr, waiting.clone());
        bench
            .store
            .commit(put_jobs(&state, vec![(job, JobStep::Opened)]))
            .await
            .unwrap();
    }
    bench.clock.set(minutes(1));
    let query = ClaimQuery::default();
    let claimed = take(bench, &query, 599).await;
    // All waited to the same minute, and came in this order.
    let expected: Vec<_> = (0..599).map(|number| format!("a{number:03}/fr/mt/1")).collect();
    assert_eq!(claimed, expected);
    assert_eq!(take(bench, &query, 2).await, ["a599/fr/mt/1"]);
}

async fn the_next_claimable_job_is_known(bench: &mut Bench) {
    let all = ClaimQuery::default();
    let next = async |bench: &Bench, query: &ClaimQuery| bench.store.next_claimable(query).await.unwrap();
    assert_eq!(next(bench, &all).await, None);
    let waiting = |minute| Order {
        not_before: Some(minutes(minute)),
        ..order()
    };
    open(bench, "a", "fr", JobKind::Mt, waiting(30)).await;
    open(bench, "b", "de", JobKind::Mt, waiting(20)).await;
    assert_eq!(next(bench, &all).await, Some(minutes(20)));
    let only = ClaimQuery {
        ids: vec![job_id("a", "fr", JobKind::Mt, 1)],
        ..ClaimQuery::default()
    };
    assert_eq!(next(bench, &only).await, Some(minutes(30)));
    let french = ClaimQuery {
        pairs: vec![Pair {
            source: None,
            target: Some(language("fr")),
        }],
        ..ClaimQuery::default()
    };
    assert_eq!(next(bench, &french).await, Some(minutes(30)));
    open(bench, "c", "de", JobKind::Mt, order()).await;
    assert!(next(bench, &all).await.is_some_and(|time| time <= start()));
    let claimed = bench.store.claim(claim(&all, 1, 600)).await.unwrap();
    assert_eq!(named(&claimed), ["c/de/mt/1"]);
    // When the lease ends.
    assert_eq!(next(bench, &all).await, Some(minutes(10)));
    change_job(&*bench.store, &claimed.jobs[0].id, JobStep::Canceled, |job| {
        job.canceled(false)
    })
    .await;
    assert_eq!(next(bench, &all).await, Some(minutes(20)));
}

async fn a_damaged_article_does_not_hold_up_the_others(bench: &mut Bench) {
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

/// Workers take, finish, lose and give back jobs while more are opened: nobody gets what another has, and all are done
/// once.
async fn of_claims_at_once_each_gets_other_jobs(bench: &mut Bench) {
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

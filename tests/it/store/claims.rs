//! Claims: the most urgent job first, each to one worker only, and nothing that is not durable.

use article_store::domain::access::Visibility;
use article_store::domain::change::{self, JobStep, Kind};
use article_store::domain::job::{ClaimQuery, Job, JobId, JobKind, JobState, Order, Pair, Priority};
use article_store::domain::time::Timestamp;
use article_store::store::{Claim, Claimed, Conflict, Store, StoreError};

use super::bench::{Bench, article, at};
use super::fixtures::*;

mod races;

use self::races::{a_damaged_article_does_not_hold_up_the_others, of_claims_at_once_each_gets_other_jobs};

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
        rule: change::claim,
        request: None,
    }
}

fn named(claimed: &Claimed) -> Vec<String> {
    claimed.jobs.iter().map(|job| job.id.to_string()).collect()
}

/// Claims up to this many jobs for an hour.
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

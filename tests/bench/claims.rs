//! Claims as the store makes them, without the service: each is durable before it is answered.

use std::sync::Arc;
use std::time::Instant;

use article_store::domain::change::{self, Event, JobStep};
use article_store::domain::job::{
    ClaimQuery, Grant, Job, JobKey, JobKind, LeaseToken, Order, Pair, Priority, Settled,
};
use article_store::domain::language::Language;
use article_store::store::{Batch, Claim, Expect, Store};

use super::import;
use super::place::{Place, Times, each, processor};
use super::texts::{Texts, french, id};

/// Languages of the jobs where there are many queues.
const TAGS: [&str; 50] = [
    "af", "az", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de", "el", "en", "es", "et", "eu", "fa",
    "fi", "ga", "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "km", "ko",
    "lt", "lv", "mk", "ml", "mn", "mr", "ms", "nb", "ne", "nl", "pa", "pl", "pt", "ro", "ru", "sk",
];
const MINUTE: i64 = 60_000_000;

async fn open(store: &Arc<dyn Store>, articles: usize, tags: usize) -> Times {
    let store = store.clone();
    each(super::TASKS, 0..articles, move |number| {
        let store = store.clone();
        async move {
            let state = store.articles(&[id(number)]).await.unwrap().remove(0).unwrap();
            let mut batch = Batch::new(id(number));
            let language = match tags {
                1 => french(),
                _ => Language::parse(TAGS[number % tags]).unwrap(),
            };
            let key = JobKey {
                language,
                kind: JobKind::Mt,
            };
            let order = Order {
                priority: Priority::DEFAULT,
                not_before: None,
                deadline: None,
                max_attempts: 1_000,
                policy: None,
                principal: String::new(),
            };
            let last = state.jobs.get(&key).map(|job| &**job);
            let revision = state.head.revision();
            let job = Job::open(&state.head.id, key.clone(), last, revision, order);
            batch.expect = vec![Expect::Job(key, last.map(|job| job.version))];
            batch.events = vec![Event::about_job(&state.head, &job, JobStep::Opened)];
            batch.jobs = vec![job];
            store.commit(batch).await.unwrap();
        }
    })
    .await
}

fn claim(query: &ClaimQuery, number: usize, jobs: usize, lease_micros: i64) -> Claim {
    let grant = |place: usize| Grant {
        token: LeaseToken(((number as u128) << 32 | place as u128).to_be_bytes()),
        worker: "bench".into(),
        lease_micros,
    };
    Claim {
        principal: String::new(),
        query: query.clone(),
        grants: (0..jobs).map(grant).collect(),
        rule: change::claim,
        request: None,
    }
}

async fn done(store: &Arc<dyn Store>, job: &Job) {
    let article = &job.id.article;
    let state = store.articles(std::slice::from_ref(article)).await.unwrap();
    let state = state[0].clone().unwrap();
    let job = job.done(Settled {
        token: job.lease.as_ref().unwrap().token,
        digest: [7; 32],
        result: None,
    });
    let mut batch = Batch::new(article.clone());
    batch.expect = vec![Expect::Job(job.id.key.clone(), Some(job.version - 1))];
    batch.events = vec![Event::about_job(&state.head, &job, JobStep::Done)];
    batch.jobs = vec![job];
    store.commit(batch).await.unwrap();
}

/// Tasks claim jobs in batches of this size until each was leased once, and complete them if asked to.
async fn work(
    store: &Arc<dyn Store>,
    query: &ClaimQuery,
    jobs: usize,
    (tasks, at_a_time): (usize, usize),
    lease_micros: i64,
    ends: bool,
) {
    let (begin, before) = (Instant::now(), processor());
    let workers = (0..tasks).map(|task| {
        let (store, query) = (store.clone(), query.clone());
        tokio::spawn(async move {
            let (mut claims, mut ends_of_them, mut leased) = (Times::new(), Times::new(), 0);
            for round in 0.. {
                let number = round * tasks + task;
                if number * at_a_time >= jobs {
                    break;
                }
                let claim = claim(&query, number, at_a_time, lease_micros);
                let claimed = claims.take(store.claim(claim)).await.unwrap();
                leased += claimed.jobs.len();
                for job in claimed.jobs.iter().filter(|_| ends) {
                    ends_of_them.take(done(&store, job)).await;
                }
            }
            (claims, ends_of_them, leased)
        })
    });
    let (mut claims, mut ended, mut leased) = (Vec::new(), Vec::new(), 0);
    for worker in workers.collect::<Vec<_>>() {
        let (of_claims, of_ends, count) = worker.await.unwrap();
        claims.push(of_claims);
        ended.push(of_ends);
        leased += count;
    }
    let (elapsed, spent) = (begin.elapsed(), processor() - before);
    let (claims, ended) = (Times::together(claims, elapsed), Times::together(ended, elapsed));
    let seconds = elapsed.as_secs_f64();
    println!(
        "jobs: {tasks} tasks, {at_a_time} at a time: {leased} leased{} in {seconds:.2} s, {:.0}/s, {:.0} µs of a processor each; a claim {claims}{}",
        if ends { " and ended" } else { "" },
        leased as f64 / seconds,
        spent * 1e6 / leased as f64,
        if ends {
            format!("; an end {ended}")
        } else {
            String::new()
        },
    );
}

/// Jobs of one queue, of fifty, and of leases that ended.
pub(crate) async fn claims(texts: &Arc<Texts>, jobs: usize) {
    let place = Place::new();
    let store = place.store();
    import(&place.service(), texts, 0..jobs, super::WHOLE).await;
    let one = ClaimQuery {
        pairs: vec![Pair {
            source: None,
            target: Some(french()),
        }],
        kinds: vec![JobKind::Mt],
        ..ClaimQuery::default()
    };
    for (tasks, at_a_time) in [(16, 1), (16, 10), (1, 1)] {
        let opened = open(&store, jobs, 1).await;
        println!("jobs: {jobs} opened, {opened}; {}", place.sizes().await);
        work(&store, &one, jobs, (tasks, at_a_time), 10 * MINUTE, true).await;
    }
    open(&store, jobs, TAGS.len()).await;
    println!("jobs: {jobs} in {} queues", TAGS.len());
    work(&store, &ClaimQuery::default(), jobs, (16, 1), 10 * MINUTE, true).await;
    open(&store, jobs, TAGS.len()).await;
    println!("jobs: the same, with leases that end at once");
    work(&store, &ClaimQuery::default(), jobs, (16, 1), 1, false).await;
    println!("jobs: the same, whose leases have ended");
    work(&store, &ClaimQuery::default(), jobs, (16, 1), 10 * MINUTE, true).await;
    place.end().await;
}

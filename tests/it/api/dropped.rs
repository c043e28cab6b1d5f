//! Calls that are dropped on their way: every mutation is polled n times and then dropped, for every n until it completes.
//! Whatever was stored then is all of it or nothing, and the same call again ends where one
//! that was never dropped does.
//!
//! `ARTICLE_STORE_TEST_DROP_ROUNDS` is the number of random histories of the article to repeat it over (default: 1).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use article_store::api::articles::Articles;
use article_store::api::jobs::Jobs;
use article_store::api::translations::Translations;
use article_store::api::{Caller, Limits};
use article_store::clock::ManualClock;
use article_store::domain::access::{Principal, Scope};
use article_store::domain::change;
use article_store::domain::job::ClaimQuery;
use article_store::pb;
use article_store::service::Service;
use article_store::store::kv::KvStore;
use article_store::store::kv::memory::MemoryEngine;
use article_store::store::{Claim, Store};
use pb::article_service_server::ArticleService;
use pb::translation_job_service_server::TranslationJobService;
use pb::translation_service_server::TranslationService;
use pb::{AgentKind, JobKind};
use prost::Message;
use tokio::sync::Notify;
use tonic::{Request, Status};

use super::{agent, article, by_id, small_form, target_of};
use crate::harness::{LIMIT, within};
use crate::random::Random;

/// Calls a handler; the answer is its bytes.
macro_rules! call {
    ($handler:expr, $method:ident, $message:expr) => {{
        let message = $message;
        Box::pin(async move {
            let answer = $handler.$method(everything(message)).await?;
            Ok(answer.into_inner().encode_to_vec())
        })
    }};
}

mod mutations;

use mutations::{MUTATIONS, claim, jobs_into, policy};

/// More polls than any mutation needs.
const MOST_POLLS: usize = 200;

type Call<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Status>> + Send + 'a>>;

/// The handlers over a store in memory, without a network between.
pub(super) struct World {
    store: Arc<dyn Store>,
    pub(super) articles: Articles,
    translations: Translations,
    pub(super) jobs: Jobs,
}

/// What a mutation has to know of the world that was set up.
#[derive(Default)]
struct Known {
    /// Of the translation that is served, and of the slot.
    etag: String,
    slot_etag: String,
    /// Of the job that is leased.
    token: String,
    revision: u32,
}

pub(super) fn everything<T>(message: T) -> Request<T> {
    let scopes = Scope::parse("*").into_iter().collect();
    let mut request = Request::new(message);
    request
        .extensions_mut()
        .insert(Caller(Arc::new(Principal::anonymous(scopes))));
    request
}

impl World {
    pub(super) fn over(store: Arc<dyn Store>) -> Self {
        let service = Service::new(store.clone(), Arc::new(clock()));
        let limits = Limits::default();
        Self {
            store,
            articles: Articles::new(service.clone(), limits),
            translations: Translations::new(service.clone(), limits),
            jobs: Jobs::new(service, limits),
        }
    }

    /// A world with articles, translations, jobs and a policy, after a history that the seed says.
    async fn new(seed: u64) -> (Self, Known) {
        let store = KvStore::open(MemoryEngine::new(), Arc::new(clock()), 8 << 20).unwrap();
        let world = Self::over(Arc::new(store));
        for id in ["a", "gone"] {
            let request = pb::CreateArticleRequest {
                article: Some(article(id, &["الأولى", "الثانية"])),
                ..Default::default()
            };
            world.articles.create_article(everything(request)).await.unwrap();
        }
        let request = pb::DeleteArticleRequest {
            article_id: "gone".into(),
            ..Default::default()
        };
        world.articles.delete_article(everything(request)).await.unwrap();
        let attach = async |request| {
            let answer = world.translations.attach_translation(everything(request)).await;
            answer.unwrap().into_inner().translation.unwrap()
        };
        let mut active = attach(small_form("a", "en", 1, &["one", "two"])).await;
        let second = attach(pb::AttachTranslationRequest {
            new_candidate: true,
            ..small_form("a", "en", 1, &["ONE", "TWO"])
        })
        .await;
        let mut revision = 1;
        let mut random = Random::new(seed);
        // The last step revises, so that there is something to acknowledge.
        let steps = random.below(6_usize);
        for step in 0..=steps {
            match if step == steps { 0 } else { random.below(3_u32) } {
                0 => {
                    let request = pb::UpdateArticleRequest {
                        article: Some(article("a", &["الأولى", &format!("الثانية {step}")])),
                        ..Default::default()
                    };
                    let answer = world.articles.update_article(everything(request)).await.unwrap();
                    revision = answer.into_inner().article.unwrap().revision;
                }
                1 => active = attach(by_id("a", "en", 1, &[("s1", &format!("one {step}"))])).await,
                _ => drop(attach(by_id("a", "sv", revision, &[("s1", &format!("ett {step}"))])).await),
            }
        }
        for language in ["fr", "es", "de"] {
            let request = jobs_into(language);
            world
                .jobs
                .request_translations(everything(request))
                .await
                .unwrap();
        }
        let claimed = world.jobs.claim_jobs(everything(claim("fr"))).await.unwrap();
        let token = claimed.into_inner().jobs[0].lease_token.clone();
        let request = pb::CancelJobRequest {
            job_id: "a/de/mt/1".into(),
        };
        world.jobs.cancel_job(everything(request)).await.unwrap();
        world
            .jobs
            .put_translation_policy(everything(policy("p")))
            .await
            .unwrap();
        let known = Known {
            etag: active.etag,
            slot_etag: second.slot_etag,
            token,
            revision,
        };
        (world, known)
    }

    /// The stored state at one moment, without random parts. It includes everything that was handed to the writer. A dropped
    /// claim continues in its own task and may commit during the read.
    async fn stored(&self) -> BTreeMap<String, String> {
        loop {
            let begun = self.store.status().await.unwrap().seq;
            let stored = self.read().await;
            if self.store.status().await.unwrap().seq == begun {
                return stored;
            }
        }
    }

    async fn read(&self) -> BTreeMap<String, String> {
        // A claim of nothing goes the way of a write.
        let nothing = Claim {
            query: ClaimQuery::default(),
            grants: Vec::new(),
            rule: change::claim,
            principal: String::new(),
            request: None,
        };
        self.store.claim(nothing).await.unwrap();
        let mut stored = BTreeMap::new();
        for state in self.store.scan(None, 100).await.unwrap() {
            let id = &state.head.id;
            stored.insert(format!("head {id}"), format!("{:?}", state.head));
            stored.insert(format!("slots {id}"), format!("{:?}", state.slots));
            for job in state.jobs.values() {
                let lease = job.lease.as_ref().map(|lease| lease.until);
                let facts = (job.state, job.attempts, lease, &job.wanted, &job.last_failure);
                stored.insert(format!("job {}", job.id), format!("{facts:?}"));
            }
        }
        for policy in &*self.store.policies().await.unwrap().all {
            stored.insert(format!("policy {}", policy.id), format!("{policy:?}"));
        }
        let log = self.store.changes(0, 1_000).await.unwrap().commits;
        let events: Vec<_> = log.into_iter().flat_map(|commit| commit.events).collect();
        stored.insert("events".into(), format!("{events:#?}"));
        stored
    }
}

/// Stands still, so that equal histories have equal times.
fn clock() -> ManualClock {
    super::jobs::noon()
}

#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a call this many times, each after a wake-up, and drops it. Returns its answer if there is one by then.
async fn drive(mut call: Call<'_>, polls: usize) -> Option<Result<Vec<u8>, Status>> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    for poll in 0..polls {
        if poll > 0 {
            woken.0.notified().await;
        }
        if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(answer);
        }
    }
    None
}

async fn is_all_or_nothing(name: &str, mutation: for<'a> fn(&'a World, &Known) -> Call<'a>, seed: u64) {
    let (world, known) = World::new(seed).await;
    let before = world.stored().await;
    mutation(&world, &known).await.unwrap();
    let done = world.stored().await;
    assert_ne!(before, done, "{name} does nothing");
    for polls in 0..MOST_POLLS {
        let (world, known) = World::new(seed).await;
        let ended = drive(mutation(&world, &known), polls).await.is_some();
        let stored = world.stored().await;
        assert!(
            stored == before || stored == done,
            "{name}, seed {seed}, dropped after {polls} polls: {stored:#?}"
        );
        mutation(&world, &known).await.unwrap();
        assert_eq!(
            world.stored().await,
            done,
            "{name}, seed {seed}, again after {polls} polls"
        );
        assert_eq!(world.store.check().await.unwrap(), []);
        if ended {
            return;
        }
    }
    panic!("{name} is not done after {MOST_POLLS} polls");
}

/// Without a request id nobody learns the tokens of the leases; another worker need not wait until they end.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_dropped_gives_its_jobs_back() {
    for polls in 0..MOST_POLLS {
        let (world, _) = &World::new(0).await;
        let dropped: Call<'_> = call!(world.jobs, claim_jobs, claim("es"));
        if drive(dropped, polls).await.is_some() {
            return;
        }
        let waiting = pb::ClaimJobsRequest {
            wait: super::jobs::seconds(20),
            ..claim("es")
        };
        let claimed = within(world.jobs.claim_jobs(everything(waiting))).await.unwrap();
        let jobs = claimed.into_inner().jobs;
        assert_eq!(jobs.len(), 1, "dropped after {polls} polls");
        let job = jobs[0].job.as_ref().unwrap();
        assert_eq!(job.attempts, 1, "dropped after {polls} polls");
    }
    panic!("a claim is not done after {MOST_POLLS} polls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_leaves_all_of_it_or_nothing() {
    let rounds = std::env::var("ARTICLE_STORE_TEST_DROP_ROUNDS");
    let rounds = rounds.map_or(1, |rounds| rounds.parse().unwrap());
    for seed in 0..rounds {
        for (name, mutation) in MUTATIONS {
            let ended = tokio::time::timeout(LIMIT, is_all_or_nothing(name, *mutation, seed)).await;
            assert!(ended.is_ok(), "{name}, seed {seed}, does not end");
        }
    }
}

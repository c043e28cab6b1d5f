//! Claims against a model: of all jobs that there are, those that may be claimed, sorted. Histories are random.

use std::collections::BTreeMap;
use std::sync::Arc;

use article_store::domain::access::Visibility;
use article_store::domain::change::{self, JobStep, Kind as Change};
use article_store::domain::job::{
    ClaimQuery, Failure, Grant, Job, JobId, JobKey, JobKind, JobState, Lease, LeaseToken, Order, Pair, Place,
    Priority, Settled,
};
use article_store::domain::time::Timestamp;
use article_store::store::{ArticleState, Claim};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::bench::{Bench, Kind, run};
use super::fixtures::*;

const ARTICLES: [&str; 4] = ["a", "a.", "b", "c"];
const TAGS: [&str; 3] = ["fr", "fr-CA", "de"];
const KINDS: [JobKind; 3] = [JobKind::Mt, JobKind::Llm, JobKind::Review];
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

/// A job of one of the articles.
#[derive(Debug, Clone, Copy)]
struct Pick {
    article: usize,
    tag: usize,
    kind: usize,
}

impl Pick {
    fn key(self) -> JobKey {
        key(TAGS[self.tag], KINDS[self.kind])
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Opens a job, if none of its key is open.
    Open {
        pick: Pick,
        priority: u32,
        wait_minutes: Option<i64>,
        deadline_minutes: Option<i64>,
        max_attempts: u32,
    },
    /// Claims jobs; an index names a pair or kind to ask for, and past the end any.
    Claim {
        pairs: Vec<(usize, usize)>,
        kinds: Vec<usize>,
        picks: Vec<Pick>,
        embargoed: bool,
        leases: usize,
        minutes: i64,
    },
    Tick {
        seconds: i64,
    },
    /// The worker of a leased job ends or prolongs its lease.
    End {
        pick: Pick,
        how: usize,
    },
    Cancel(Pick),
    Show {
        article: usize,
        visibility: usize,
    },
    Delete {
        article: usize,
        deleted: bool,
    },
    Speak {
        article: usize,
        tag: usize,
    },
    Translate(Pick),
    Reopen,
}

fn pick() -> impl Strategy<Value = Pick> {
    (0..ARTICLES.len(), 0..TAGS.len(), 0..KINDS.len()).prop_map(|(article, tag, kind)| Pick {
        article,
        tag,
        kind,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let open = (
        pick(),
        1u32..5,
        proptest::option::of(-5i64..30),
        proptest::option::of(0i64..30),
        1u32..4,
    );
    let claim = (
        vec((0..3usize, 0..=TAGS.len()), 0..3),
        vec(0..KINDS.len(), 0..3),
        prop_oneof![4 => Just(Vec::new()), 1 => vec(pick(), 1..6)],
        any::<bool>(),
        0..5usize,
        1i64..30,
    );
    prop_oneof![
        8 => open.prop_map(|(pick, priority, wait_minutes, deadline_minutes, max_attempts)| Step::Open {
            pick, priority, wait_minutes, deadline_minutes, max_attempts,
        }),
        8 => claim.prop_map(|(pairs, kinds, picks, embargoed, leases, minutes)| Step::Claim {
            pairs, kinds, picks, embargoed, leases, minutes,
        }),
        4 => (0i64..1_200).prop_map(|seconds| Step::Tick { seconds }),
        4 => (pick(), 0..4usize).prop_map(|(pick, how)| Step::End { pick, how }),
        1 => pick().prop_map(Step::Cancel),
        1 => (0..ARTICLES.len(), 0..4usize).prop_map(|(article, visibility)| Step::Show { article, visibility }),
        1 => (0..ARTICLES.len(), any::<bool>()).prop_map(|(article, deleted)| Step::Delete { article, deleted }),
        1 => (0..ARTICLES.len(), 0..2usize).prop_map(|(article, tag)| Step::Speak { article, tag }),
        1 => pick().prop_map(Step::Translate),
        1 => Just(Step::Reopen),
    ]
}

/// What the languages of the articles are.
const SOURCES: [&str; 2] = ["ar", "fa"];

struct World<'a> {
    bench: &'a mut Bench,
    now: Timestamp,
    tokens: u128,
    /// The leases that were given and not ended by their workers.
    leases: BTreeMap<JobId, Lease>,
}

impl World<'_> {
    async fn state(&self, article: usize) -> Arc<ArticleState> {
        self.bench.article(&id(ARTICLES[article])).await.unwrap()
    }

    async fn put(&self, state: &ArticleState, job: Job, step: JobStep) {
        let batch = put_jobs(state, vec![(job, step)]);
        self.bench.store.commit(batch).await.unwrap();
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Open { .. } => self.open(step).await,
            Step::Claim { .. } => self.claim(step).await,
            Step::Tick { seconds } => {
                self.now = self.now.saturating_add_micros(seconds * SECOND);
                self.bench.clock.set(self.now);
            }
            Step::End { pick, how } => self.end(*pick, *how).await,
            Step::Cancel(pick) => {
                let state = self.state(pick.article).await;
                if let Some(job) = state.jobs.get(&pick.key()).filter(|job| job.state.is_open()) {
                    self.leases.remove(&job.id);
                    self.put(&state, job.canceled(false), JobStep::Canceled).await;
                }
            }
            Step::Translate(pick) => {
                let state = self.state(pick.article).await;
                let texts = texts(&format!("{}", state.seq()), 2);
                let slot = attach(&*self.bench.store, &state, &language(TAGS[pick.tag]), &texts).await;
                self.bench.store.commit(slot.unwrap()).await.unwrap();
            }
            Step::Reopen => self.bench.reopen().await,
            Step::Show { article, .. } | Step::Delete { article, .. } | Step::Speak { article, .. } => {
                let state = self.state(*article).await;
                let batch = change(&state, Change::ArticleMetadataChanged, |version| match step {
                    Step::Show { visibility, .. } => {
                        version.visibility = [
                            Visibility::Public,
                            Visibility::Embargoed,
                            Visibility::Withheld,
                            Visibility::Public,
                        ][*visibility];
                    }
                    Step::Speak { tag, .. } => version.metadata.language = language(SOURCES[*tag]),
                    Step::Delete { deleted, .. } => version.deleted = deleted.then_some(version.stamp),
                    _ => {}
                });
                self.bench.store.commit(batch).await.unwrap();
            }
        }
    }

    async fn open(&self, step: &Step) {
        let Step::Open {
            pick,
            priority,
            wait_minutes,
            deadline_minutes,
            max_attempts,
        } = step
        else {
            return;
        };
        let state = self.state(pick.article).await;
        if state.jobs.get(&pick.key()).is_some_and(|job| job.state.is_open()) {
            return;
        }
        let at =
            |minutes: &Option<i64>| minutes.map(|minutes| self.now.saturating_add_micros(minutes * MINUTE));
        let order = Order {
            priority: Priority::new(*priority).unwrap(),
            not_before: at(wait_minutes),
            deadline: at(deadline_minutes),
            max_attempts: *max_attempts,
            ..order()
        };
        self.put(&state, opened(&state, &pick.key(), order), JobStep::Opened)
            .await;
    }

    async fn end(&mut self, pick: Pick, how: usize) {
        let state = self.state(pick.article).await;
        let Some(job) = state.jobs.get(&pick.key()) else {
            return;
        };
        let Some(lease) = self.leases.get(&job.id).cloned() else {
            return;
        };
        // It is the lease that was given, if nobody else has claimed the job since.
        assert_eq!(job.fenced(lease.token), Ok(&lease));
        let settled = Settled {
            token: lease.token,
            digest: [0; 32],
            result: None,
        };
        let failure = Failure {
            message: String::new(),
            worker: lease.worker.clone(),
            time: self.now,
        };
        let (next, step) = match how {
            0 => (job.done(settled), JobStep::Done),
            1 => (job.released(Some(settled)), JobStep::Returned),
            2 => (job.failed(settled, failure, false, None, 0.5), JobStep::Returned),
            _ => {
                let longer = job.prolonged(&lease, self.now, 20 * MINUTE);
                self.leases.insert(job.id.clone(), longer.lease.clone().unwrap());
                return self.put(&state, longer, JobStep::Claimed).await;
            }
        };
        self.leases.remove(&job.id);
        self.put(&state, next, step).await;
    }

    /// The jobs that a query asks for with their articles, the most urgent first, and when each may be claimed.
    async fn model(&self, query: &ClaimQuery) -> Vec<(Option<Timestamp>, Arc<ArticleState>, Arc<Job>)> {
        let mut found = Vec::new();
        for article in 0..ARTICLES.len() {
            let state = self.state(article).await;
            let current = &state.head.current;
            let is_shown = match current.visibility {
                Visibility::Public => true,
                Visibility::Embargoed => query.embargoed,
                Visibility::Withheld | Visibility::Canceled => false,
            };
            if !is_shown || current.deleted.is_some() {
                continue;
            }
            for job in state.jobs.values() {
                let is_meant = query.ids.is_empty() || query.ids.contains(&job.id);
                if !is_meant || !query.matches(&current.metadata.language, &job.id.key) {
                    continue;
                }
                let from = match job.place() {
                    Some(Place::Ready(_)) => None,
                    Some(Place::Waiting(from)) => Some(from),
                    None => continue,
                };
                found.push((from, state.clone(), job.clone()));
            }
        }
        found.sort_by_key(|(_, _, job)| (job.rank(), job.id.clone()));
        found
    }

    async fn claim(&mut self, step: &Step) {
        let Step::Claim {
            pairs,
            kinds,
            picks,
            embargoed,
            leases,
            minutes,
        } = step
        else {
            return;
        };
        let pair = |(source, target): &(usize, usize)| Pair {
            source: SOURCES.get(*source).map(|tag| language(tag)),
            target: TAGS.get(*target).map(|tag| language(tag)),
        };
        let mut query = ClaimQuery {
            pairs: pairs.iter().map(pair).collect(),
            kinds: kinds.iter().map(|kind| KINDS[*kind]).collect(),
            ids: Vec::new(),
            embargoed: *embargoed,
        };
        for pick in picks {
            // The newest, or one that never was.
            let newest = self.state(pick.article).await;
            let number = newest.jobs.get(&pick.key()).map_or(1, |job| job.id.number);
            query.ids.push(job_id(
                ARTICLES[pick.article],
                TAGS[pick.tag],
                KINDS[pick.kind],
                number,
            ));
        }
        let model = self.model(&query).await;
        let next = self.bench.store.next_claimable(&query).await.unwrap();
        let expected = model
            .iter()
            .map(|(from, ..)| from.unwrap_or(Timestamp::MIN).max(self.now))
            .min();
        assert_eq!(next.map(|next| next.max(self.now)), expected, "{query:?}");

        let grants: Vec<Grant> = (0..*leases as u128)
            .map(|number| Grant {
                lease_micros: minutes * MINUTE,
                ..grant(self.tokens + number, 0)
            })
            .collect();
        self.tokens += grants.len() as u128;
        let claim = Claim {
            principal: String::new(),
            query: query.clone(),
            grants: grants.clone(),
            rule: change::claim,
            request: None,
        };
        let claimed = self.bench.store.claim(claim).await.unwrap();
        assert!(!claimed.is_partial);
        let mut jobs = claimed.jobs.iter();
        let mut grants = grants.iter();
        let mut grant = grants.next();
        for (from, state, job) in &model {
            let Some(offered) = grant else { break };
            if from.is_some_and(|from| from > self.now) {
                continue;
            }
            let Some(expected) = work(state).claim(job, offered, self.now) else {
                panic!("{job:?} is in a queue and cannot be claimed")
            };
            if expected.state == JobState::Leased {
                grant = grants.next();
                self.check_lease(&expected, offered.token);
            } else {
                self.leases.remove(&expected.id);
            }
            let stored = self.bench.article(&job.id.article).await.unwrap().jobs[&job.id.key].clone();
            let mut resolved = expected;
            resolved.resolve(stored.changed);
            assert_eq!(*stored, resolved);
            if resolved.state == JobState::Leased {
                assert_eq!(jobs.next(), Some(&stored));
                self.leases
                    .insert(stored.id.clone(), stored.lease.clone().unwrap());
            }
        }
        assert_eq!(jobs.next(), None, "more was leased than the model has");
    }

    /// Nobody else may have the job.
    fn check_lease(&self, job: &Job, token: LeaseToken) {
        assert_eq!(job.lease.as_ref().unwrap().token, token);
        if let Some(other) = self.leases.get(&job.id) {
            assert!(
                other.until <= self.now,
                "{} is leased to {}",
                job.id,
                other.worker
            );
        }
    }
}

fn claims_are_those_of_the_model(kind: Kind, cases: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&vec(step(), 1..60), |steps| {
            run(kind, async |bench: &mut Bench| {
                for name in ARTICLES {
                    bench.store.commit(simple(&id(name))).await.unwrap();
                }
                let now = super::bench::at("2022-05-10T22:45:00Z");
                let mut world = World {
                    bench,
                    now,
                    tokens: 1,
                    leases: BTreeMap::new(),
                };
                for step in &steps {
                    world.step(step).await;
                }
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn claims_are_those_of_the_model_in_memory() {
    claims_are_those_of_the_model(Kind::Memory, 200);
}

#[test]
fn claims_are_those_of_the_model_on_sled() {
    claims_are_those_of_the_model(Kind::Sled, 16);
}

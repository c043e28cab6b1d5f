//! Random histories of articles under a policy: people correct, withhold, translate and turn down, machines bring, fail and
//! come late, and no job is ever opened by the policy for texts that all were asked for before.
//!
//! `ARTICLE_STORE_TEST_HISTORIES` is the number of histories, 60 unless it says otherwise. No text of a source comes back
//! once it was replaced: then it would rightly be asked for again where another translation stands in its place. It rightly is,
//! too, where what somebody else brought stood instead of a result, and was turned down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use article_store::domain::article::ArticleId;
use article_store::domain::job::{Article, Job, JobId, JobKey, JobState as State, Wanted};
use article_store::domain::translation::Disposition;
use article_store::store::ArticleState;
use futures::StreamExt;

use super::policies::{policy, put};
use super::*;
use crate::api::workflow::by_person;
use crate::api::{get, update};
use crate::harness::Random;

const STEPS: usize = 24;
const KINDS: [JobKind; 2] = [JobKind::Mt, JobKind::Llm];

fn histories() -> usize {
    let number = std::env::var("ARTICLE_STORE_TEST_HISTORIES").ok();
    number.map_or(60, |number| number.parse().unwrap())
}

/// One article and what is known of its jobs.
struct History<'a> {
    server: &'a Server,
    id: String,
    random: Random,
    texts: usize,
    /// What was asked for by each job in the end, and what of it others brought when it was done.
    asked: BTreeMap<JobId, (BTreeSet<Wanted>, BTreeSet<Wanted>)>,
    /// The newest job of each key.
    newest: BTreeMap<JobKey, u32>,
    /// Claims that were not ended.
    held: Vec<pb::ClaimedJob>,
    counts: BTreeMap<&'static str, usize>,
}

impl History<'_> {
    fn text(&mut self) -> String {
        self.texts += 1;
        format!("{} {}", TEXTS[self.texts % 3], self.texts)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    async fn state(&self) -> Arc<ArticleState> {
        let ids = [ArticleId::parse(&self.id).unwrap()];
        let states = self.server.store.articles(&ids).await.unwrap();
        states.into_iter().next().unwrap().unwrap()
    }

    async fn step(&mut self) {
        match self.random.below(16) {
            0..3 => self.correct().await,
            3 => self.cut().await,
            4 | 5 => self.by_a_person().await,
            6..10 => self.claim(false).await,
            10 => self.claim(true).await,
            11 => self.come_late().await,
            12 => self.cancel().await,
            13 => self.rename().await,
            14 => self.turn_down().await,
            _ => self.withhold().await,
        }
    }

    /// Another text in a paragraph, or one more paragraph.
    async fn correct(&mut self) {
        let mut there = get(self.server, &self.id).await;
        let text = self.text();
        let place = self.random.below(4);
        match there.body.get_mut(place) {
            Some(segment) => segment.text = text,
            None => there.body.push(super::super::segment(&text)),
        }
        update(self.server, there, &["body"]).await;
        self.count("corrections");
    }

    /// A paragraph is gone, and leaves its targets orphaned.
    async fn cut(&mut self) {
        let mut there = get(self.server, &self.id).await;
        if there.body.len() > 1 {
            there.body.remove(self.random.below(there.body.len()));
            update(self.server, there, &["body"]).await;
            self.count("cuts");
        }
    }

    async fn by_a_person(&mut self) {
        let there = get(self.server, &self.id).await;
        let segment = &there.body[self.random.below(there.body.len())].segment_id;
        let text = self.text();
        let request = by_id(&self.id, "fr", there.revision, &[(segment, &text)]);
        attach(self.server, by_person("ليلى", request)).await;
        self.count("texts by people");
    }

    async fn open_jobs(&self) -> Vec<String> {
        let state = self.state().await;
        let open = state.jobs.values().filter(|job| job.state.is_open());
        open.map(|job| job.id.to_string()).collect()
    }

    async fn claim(&mut self, fails: bool) {
        let job_ids = self.open_jobs().await;
        if job_ids.is_empty() {
            return;
        }
        let request = pb::ClaimJobsRequest {
            job_ids,
            max_jobs: 1,
            lease: seconds(43_200),
            ..Default::default()
        };
        for job in claim(self.server, request).await {
            if fails {
                fail(self.server, &job, true).await.unwrap();
                self.count("dead");
            } else if self.random.below(4) == 0 {
                self.held.push(job);
            } else {
                complete(self.server, self.result(&job)).await;
                self.count("done");
            }
        }
    }

    fn result(&self, job: &pb::ClaimedJob) -> pb::CompleteJobRequest {
        let kind = match job.job.as_ref().unwrap().kind() {
            JobKind::Llm => AgentKind::Llm,
            _ => AgentKind::Mt,
        };
        pb::CompleteJobRequest {
            agent: agent(kind, "engine"),
            ..result(job, "fr:")
        }
    }

    async fn come_late(&mut self) {
        if let Some(job) = self.held.pop() {
            match self.server.jobs().complete_job(self.result(&job)).await {
                Ok(_) => self.count("done late"),
                Err(status) => {
                    // Of an article that was withheld meanwhile, a lost lease is no longer told.
                    let reason = crate::harness::failure(&status).reason;
                    assert!(
                        ["LEASE_LOST", "JOB_NOT_FOUND"].contains(&reason.as_str()),
                        "{reason}"
                    );
                    self.count("lost");
                }
            }
        }
    }

    async fn cancel(&mut self) {
        if let Some(job_id) = self.open_jobs().await.pop() {
            let request = pb::CancelJobRequest { job_id };
            self.server.jobs().cancel_job(request).await.unwrap();
            self.count("canceled");
        }
    }

    async fn rename(&mut self) {
        let renamed = pb::Article {
            article_id: self.id.clone(),
            section: self.text(),
            ..Default::default()
        };
        update(self.server, renamed, &["section"]).await;
    }

    /// A candidate or what is served is rejected.
    async fn turn_down(&mut self) {
        let state = self.state().await;
        let mut of_machines =
            state
                .slots
                .values()
                .flat_map(|slot| &slot.translations)
                .filter(|translation| match translation.disposition {
                    Disposition::Candidate => true,
                    Disposition::Active => translation.bindings.iter().all(|b| b.writer.is_machine()),
                    _ => false,
                });
        if let Some(translation) = of_machines.next_back() {
            let request = pb::RejectTranslationRequest {
                article_id: self.id.clone(),
                language: "fr".into(),
                translation_id: translation.id.to_string(),
                reason: "not what we say".into(),
                ..Default::default()
            };
            self.server
                .translations()
                .reject_translation(request)
                .await
                .unwrap();
            self.count("rejected");
        }
    }

    async fn withhold(&mut self) {
        use pb::PublicationStatus::{Usable, Withheld};
        withhold(self.server, &self.id, Withheld).await;
        self.look().await;
        assert!(self.open_jobs().await.is_empty());
        withhold(self.server, &self.id, Usable).await;
        self.count("withheld");
    }

    /// What the policy opened must want a text that no earlier job of its key wanted, apart from those that were canceled with
    /// their article or superseded by what others brought.
    async fn look(&mut self) {
        let state = self.state().await;
        let replaced = self.server.store.replaced_jobs(&state.head.id).await.unwrap();
        for job in &replaced {
            assert!(!job.state.is_open(), "{} is open and was replaced", job.id);
            self.note(job, &state);
        }
        let article = Article {
            head: &state.head,
            slots: &state.slots,
            jobs: &state.jobs,
        };
        for (key, job) in &state.jobs {
            let job = &article.assigned(job.clone());
            let newest = self.newest.insert(key.clone(), job.id.number);
            let expected = newest.unwrap_or(0)..=newest.unwrap_or(0) + 1;
            assert!(expected.contains(&job.id.number), "{}", job.id);
            if newest != Some(job.id.number) {
                self.count("opened");
                let earlier = self.asked.iter().filter(|(id, _)| id.key == *key);
                let known: BTreeSet<_> = earlier
                    .flat_map(|(_, (asked, replaced))| asked.difference(replaced))
                    .collect();
                assert!(
                    job.wanted.iter().any(|text| !known.contains(text)),
                    "{} asks for what was asked for: {:?} of {:?}",
                    job.id,
                    job.wanted,
                    self.asked
                );
            }
            self.note(job, &state);
        }
    }

    fn note(&mut self, job: &Job, state: &ArticleState) {
        if job.hidden || job.state == State::Superseded {
            self.asked.remove(&job.id);
            return;
        }
        let (asked, replaced) = self.asked.entry(job.id.clone()).or_default();
        // What others brought before it was claimed is not asked for any more.
        *asked = job.wanted.iter().cloned().collect();
        if job.state == State::Done {
            replaced.extend(
                asked
                    .iter()
                    .filter(|text| is_from_others(&job.id.key, text, state))
                    .cloned(),
            );
        }
    }
}

/// Whether others than those of a job have the text in a translation that was not turned down, and they have it nowhere.
fn is_from_others(key: &JobKey, text: &Wanted, state: &ArticleState) -> bool {
    let translations = state
        .slots
        .get(&key.language)
        .into_iter()
        .flat_map(|slot| &slot.translations);
    let writers = translations.flat_map(|translation| {
        let stands = matches!(
            translation.disposition,
            Disposition::Active | Disposition::Candidate
        );
        let bindings = translation.bindings.iter();
        bindings
            .filter(|binding| (&binding.id, binding.source_hash) == (&text.segment, text.hash))
            .map(move |binding| (stands, key.kind.is_done_by(binding.writer)))
    });
    let writers: Vec<_> = writers.collect();
    writers.contains(&(true, false)) && writers.iter().all(|(_, is_own)| !is_own)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_do_not_ask_twice() {
    let number = histories();
    let server = Server::memory().await;
    put(&server, policy("all", &KINDS)).await;
    let counts = futures::stream::iter(0..number)
        .map(|number| {
            let server = &server;
            async move {
                let mut history = History {
                    server,
                    id: format!("a{number}"),
                    random: Random::new(number as u64),
                    texts: 0,
                    asked: BTreeMap::new(),
                    newest: BTreeMap::new(),
                    held: Vec::new(),
                    counts: BTreeMap::new(),
                };
                create(server, article(&history.id, &TEXTS)).await;
                history.look().await;
                for _ in 0..STEPS {
                    history.step().await;
                    history.look().await;
                }
                history.counts
            }
        })
        .buffer_unordered(16)
        .fold(BTreeMap::<_, usize>::new(), |mut all, counts| async move {
            for (what, count) in counts {
                *all.entry(what).or_default() += count;
            }
            all
        })
        .await;
    eprintln!("{number} histories: {counts:?}");
    // All that is said to happen did.
    assert_eq!(counts.len(), 11, "{counts:?}");
    server.stop().await;
}

//! Sixteen workers that die at any moment, come late, say everything twice and use tokens that are not theirs any more,
//! while editors change the articles and people translate beside them: every job is done exactly once, no result is lost
//! or applied twice, and nothing that a person wrote is overwritten.
//!
//! `ARTICLE_STORE_TEST_JOBS` is the number of articles, 200 unless it says otherwise. A worker dies by being dropped with
//! its connection, wherever it stands. Workers' clocks play no part: no call takes a time from them, and they notice the
//! end of a lease only by being refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use article_store::domain::change::{JobStep, Kind};
use futures::StreamExt;
use parking_lot::Mutex;
use pb::translation_job_service_client::TranslationJobServiceClient;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::api::update;
use crate::api::workflow::by_person;
use crate::harness::{Random, failure};

const WORKERS: usize = 16;
const LEASE: PbDuration = PbDuration {
    seconds: 0,
    nanos: 250_000_000,
};

fn articles() -> usize {
    let number = std::env::var("ARTICLE_STORE_TEST_JOBS").ok();
    number.map_or(200, |number| number.parse().unwrap())
}

/// The time of a commit: seconds and nanoseconds.
type Moment = (i64, i32);

/// What is known of the jobs by what was asked and answered.
#[derive(Default)]
struct Model {
    /// Every token that was ever given, with its job and when it was given.
    tokens: HashMap<String, (String, Moment)>,
    /// The tokens of each job in the order in which they were given, which is not that in which the answers arrive.
    of_job: HashMap<String, BTreeMap<Moment, String>>,
    /// Results that were sent, acknowledged or not, by job.
    sent: HashMap<String, HashSet<String>>,
    /// Jobs that are known to be done, by whose token, with the answer.
    done: HashMap<String, (String, pb::CompleteJobResponse)>,
    /// What was refused, and why.
    refused: BTreeMap<String, usize>,
}

impl Model {
    fn claimed(&mut self, job: &pb::ClaimedJob) {
        let of = job.job.as_ref().unwrap();
        assert_eq!(of.state(), JobState::Leased, "{of:?}");
        // An answer may arrive after another worker has claimed the job, too, and done it.
        let time = of.update_time.as_ref().unwrap();
        let given = (time.seconds, time.nanos);
        if let Some((by, _)) = self.done.get(&of.job_id) {
            let (_, done) = &self.tokens[by];
            assert!(given < *done, "{} is done and was claimed", of.job_id);
        }
        let token = job.lease_token.clone();
        let twice = self.tokens.insert(token.clone(), (of.job_id.clone(), given));
        assert!(twice.is_none(), "a token was given twice");
        self.of_job
            .entry(of.job_id.clone())
            .or_default()
            .insert(given, token);
    }

    fn sent(&mut self, id: &str, token: &str) {
        let sent = self.sent.entry(id.to_owned()).or_default();
        sent.insert(token.to_owned());
    }

    fn completed(&mut self, token: &str, answer: pb::CompleteJobResponse) {
        let id = answer.job.as_ref().unwrap().job_id.clone();
        assert_eq!(answer.job.as_ref().unwrap().state(), JobState::Done);
        match self.done.get(&id) {
            None => drop(self.done.insert(id, (token.to_owned(), answer))),
            Some((by, first)) => {
                assert_eq!(by, token, "job {id} was done twice");
                let parts = |answer: &pb::CompleteJobResponse| {
                    (answer.outcome, answer.job.clone(), answer.next_job_id.clone())
                };
                assert_eq!(
                    parts(first),
                    parts(&answer),
                    "a retry of job {id} was answered otherwise"
                );
            }
        }
    }

    fn refused(&mut self, what: &str, status: &Status) {
        let failure = failure(status);
        assert_eq!(failure.code, Code::FailedPrecondition, "{failure:?}");
        assert_eq!(failure.reason, "LEASE_LOST", "{failure:?}");
        *self.refused.entry(what.to_owned()).or_default() += 1;
    }
}

struct Worker {
    client: TranslationJobServiceClient<Channel>,
    model: Arc<Mutex<Model>>,
    random: Random,
    /// Jobs that it keeps until long after their leases have ended.
    late: Vec<pb::ClaimedJob>,
    idle: Arc<AtomicUsize>,
}

impl Worker {
    async fn work(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let request = pb::ClaimJobsRequest {
                max_jobs: u32::try_from(1 + self.random.below(4)).unwrap(),
                lease: Some(LEASE),
                wait: Some(PbDuration {
                    seconds: 0,
                    nanos: 100_000_000,
                }),
                ..claim_all()
            };
            let jobs = self.client.claim_jobs(request).await.unwrap().into_inner().jobs;
            jobs.iter().for_each(|job| self.model.lock().claimed(job));
            match jobs.is_empty() {
                true => self.idle.fetch_add(1, Ordering::Relaxed),
                false => self.idle.swap(0, Ordering::Relaxed),
            };
            for job in jobs {
                self.act(job).await;
            }
            // Too late for those that another worker has; the others are still its own.
            let lost = self.late.iter().position(|job| self.is_fenced_off(job));
            if let Some(place) = lost.or((self.late.len() > 8).then_some(0)) {
                let job = self.late.swap_remove(place);
                self.complete(&job, "late").await;
            }
        }
    }

    async fn act(&mut self, job: pb::ClaimedJob) {
        let (job_id, lease_token) = fence(&job);
        match self.random.below(24) {
            0..3 => self.late.push(job),
            8..11 => {
                let mut request = pb::FailJobRequest {
                    job_id,
                    lease_token,
                    retry_after: seconds(0),
                    ..Default::default()
                };
                request.message = "unlucky".into();
                let failed = self.client.fail_job(request).await;
                self.note("fail", failed.err());
            }
            11..13 => {
                let released = self
                    .client
                    .release_job(pb::ReleaseJobRequest { job_id, lease_token })
                    .await;
                self.note("release", released.err());
            }
            3 => {
                // With the token of an earlier lease of the same job.
                let earlier = self.model.lock().of_job[&job_id]
                    .values()
                    .next()
                    .cloned()
                    .unwrap();
                if earlier != lease_token {
                    let old = pb::ClaimedJob {
                        lease_token: earlier,
                        ..job.clone()
                    };
                    self.complete(&old, "earlier token").await;
                }
                self.complete(&job, "complete").await;
            }
            4 => {
                let beat = pb::HeartbeatJobRequest {
                    job_id,
                    lease_token,
                    lease: Some(LEASE),
                };
                let beat = self.client.heartbeat_job(beat).await;
                self.note("heartbeat", beat.err());
                self.complete(&job, "complete").await;
            }
            5..8 => {
                self.complete(&job, "complete").await;
                self.complete(&job, "complete again").await;
            }
            _ => self.complete(&job, "complete").await,
        }
    }

    async fn complete(&mut self, job: &pb::ClaimedJob, what: &str) {
        let token = &job.lease_token;
        let request = result(job, &format!("{token} "));
        let is_fenced_off = self.is_fenced_off(job);
        self.model.lock().sent(&request.job_id, token);
        match self.client.complete_job(request).await {
            Ok(answer) => {
                assert!(!is_fenced_off, "an earlier token was taken: {answer:?}");
                self.model.lock().completed(token, answer.into_inner());
            }
            Err(status) => self.note(what, Some(status)),
        }
    }

    /// Whether another worker is known to have the job.
    fn is_fenced_off(&self, job: &pb::ClaimedJob) -> bool {
        let (id, token) = fence(job);
        self.model.lock().of_job[&id].values().next_back() != Some(&token)
    }

    fn note(&self, what: &str, status: Option<Status>) {
        if let Some(status) = status {
            self.model.lock().refused(what, &status);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_is_done_exactly_once() {
    let number = articles();
    let server = Server::sled().await;
    let policy = pb::TranslationPolicy {
        policy_id: "all".into(),
        target_languages: vec!["fr".into()],
        kinds: vec![JobKind::Mt.into()],
        max_attempts: 100,
        ..Default::default()
    };
    let put = pb::PutTranslationPolicyRequest {
        policy: Some(policy),
        ..Default::default()
    };
    server.jobs().put_translation_policy(put).await.unwrap();
    futures::stream::iter(0..number)
        .for_each_concurrent(32, |n| {
            let server = &server;
            async move { drop(create(server, article(&format!("a{n}"), &TEXTS)).await) }
        })
        .await;

    let model = Arc::new(Mutex::new(Model::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let idle = Arc::new(AtomicUsize::new(0));
    let start = |seed: u64| -> JoinHandle<()> {
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        let worker = Worker {
            client: TranslationJobServiceClient::new(endpoint.connect_lazy()),
            model: model.clone(),
            random: Random::new(seed),
            late: Vec::new(),
            idle: idle.clone(),
        };
        tokio::spawn(worker.work(stop.clone()))
    };
    let mut workers: Vec<_> = (0..WORKERS as u64).map(&start).collect();

    // Editors and people, while the workers work.
    let mut random = Random::new(7);
    let mut people: HashMap<(String, String), String> = HashMap::new();
    let mut deaths = 0_u64;
    for turn in 0..number {
        let id = format!("a{}", random.below(number));
        let mut there = crate::api::get(&server, &id).await;
        if random.below(2) == 0 {
            // Named segments stay what they are, so that no translation of theirs is dropped with them.
            there.body[random.below(3)].text = format!("{} وفق بيان {turn}", TEXTS[random.below(3)]);
            update(&server, there, &["body"]).await;
        } else {
            let segment = there.body[random.below(3)].segment_id.clone();
            let text = format!("par une personne {turn}");
            let request = by_person("ليلى", by_id(&id, "fr", there.revision, &[(&segment, &text)]));
            attach(&server, request).await;
            people.insert((id, segment), text);
        }
        if random.below(4) == 0 {
            let victim = random.below(WORKERS);
            deaths += 1;
            workers[victim].abort();
            workers[victim] = start(1_000 + deaths);
        }
    }
    // Done when nobody gets any more for longer than any lease and wait.
    let open = pb::ListJobsRequest {
        states: vec![JobState::Pending.into(), JobState::Leased.into()],
        ..Default::default()
    };
    let limit = std::time::Instant::now() + LIMIT.max(Duration::from_millis(20 * number as u64));
    loop {
        let mut request = open.clone();
        let mut left = 0;
        loop {
            let page = server
                .jobs()
                .list_jobs(request.clone())
                .await
                .unwrap()
                .into_inner();
            left += page.jobs.len();
            if page.next_page_token.is_empty() || left > 0 {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if left == 0 {
            break;
        }
        assert!(std::time::Instant::now() < limit, "{left} jobs are never done");
        assert!(
            workers.iter().all(|worker| !worker.is_finished()),
            "a worker saw what must not be"
        );
        // An answer to a claim is something to wait for.
        let seen = idle.load(Ordering::Relaxed);
        while idle.load(Ordering::Relaxed) == seen && std::time::Instant::now() < limit {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }

    // Each job was done once, and nothing happened to it afterwards.
    let mut jobs: BTreeMap<String, Vec<JobStep>> = BTreeMap::new();
    for event in server.events_after(0).await {
        if let Kind::Job { step, kind, number } = event.kind {
            let id = format!(
                "{}/{}/{}/{number}",
                event.article,
                event.language.unwrap(),
                kind.name()
            );
            jobs.entry(id).or_default().push(step);
        }
    }
    let model = std::mem::take(&mut *model.lock());
    assert!(jobs.len() >= number);
    for (id, steps) in &jobs {
        assert_eq!(steps[0], JobStep::Opened, "{id}: {steps:?}");
        let ends = steps
            .iter()
            .filter(|step| matches!(step, JobStep::Done | JobStep::Superseded))
            .count();
        assert_eq!(ends, 1, "{id}: {steps:?}");
        assert!(
            matches!(steps.last(), Some(JobStep::Done | JobStep::Superseded)),
            "{id}: {steps:?}"
        );
        let is_done = steps.last() == Some(&JobStep::Done);
        assert!(
            is_done || !model.done.contains_key(id),
            "{id} was acknowledged: {steps:?}"
        );
        // An answer may have been lost with its worker, but not the result.
        assert!(!is_done || model.sent.contains_key(id), "nobody did {id}");
    }
    for (id, (token, _)) in &model.done {
        assert_eq!(jobs[id].last(), Some(&JobStep::Done), "{id}");
        assert_eq!(model.tokens[token].0, *id);
    }

    let mut written = 0;
    for n in 0..number {
        let id = format!("a{n}");
        let asked = open_one(&server, &id).await;
        assert_eq!(asked, RequestOutcome::NothingWanted, "{id}");
        // Every job stands in the provenance at most once, and every acknowledged one that wrote something does.
        let request = pb::ListProvenanceRequest {
            article_id: id.clone(),
            language: "fr".into(),
            page_size: 500,
            ..Default::default()
        };
        let records = server
            .translations()
            .list_provenance(request)
            .await
            .unwrap()
            .into_inner()
            .records;
        let mut by_job: HashMap<String, usize> = HashMap::new();
        for record in records.iter().filter(|record| !record.job_id.is_empty()) {
            if record.step() == pb::ProvenanceStep::Attached {
                *by_job.entry(record.job_id.clone()).or_default() += 1;
            }
        }
        assert!(by_job.values().all(|times| *times == 1), "{id}: {by_job:?}");
        written += by_job.len();
        let active = translation(&server, &id, "fr", "").await;
        for segment in active.title.iter().chain(&active.body) {
            if segment.writer() != AgentKind::Mt {
                continue;
            }
            // The text of the one who did the job.
            let (token, _) = segment.text.split_once(' ').unwrap();
            let (job, _) = &model.tokens[token];
            assert!(
                model.done.get(job).is_none_or(|(by, _)| by == token),
                "{id} {segment:?}"
            );
            assert!(by_job.contains_key(job), "{id} {segment:?}");
        }
        for segment in &active.body {
            if let Some(text) = people.get(&(id.clone(), segment.segment_id.clone())) {
                assert_eq!(&segment.text, text, "{id}: what a person wrote was overwritten");
            }
        }
    }
    eprintln!(
        "{} jobs, {} claims, {} acknowledged, {written} in the provenance, {deaths} workers died, refused: {:?}",
        jobs.len(),
        model.tokens.len(),
        model.done.len(),
        model.refused
    );
    server.check().await;
    server.stop().await;
}

async fn open_one(server: &Server, id: &str) -> RequestOutcome {
    open(server, request(&[id])).await[0].outcome()
}

//! Translation jobs: requested, claimed under leases, completed, failed, and opened by policies.

use std::time::Duration;

use article_store::clock::ManualClock;
use article_store::domain::access::Right;
use article_store::domain::time::Timestamp;
use article_store::pb;
use pb::{AgentKind, AttachOutcome, JobKind, JobState, RequestOutcome};
use prost_types::Duration as PbDuration;
use tonic::{Code, Response, Status};

use super::{agent, article, attach, by_id, create, rewrite, small_form, target_of, time, translation};
use crate::harness::{LIMIT, Server, Setup, blames, fails};

mod claims;
mod completions;
mod damage;
mod input;
mod listing;
mod pages;
mod policies;
mod policy_histories;
mod workers;

const TEXTS: [&str; 3] = ["الفقرة الأولى", "الفقرة الثانية", "الفقرة الثالثة"];

/// 2022-05-10T12:00:00Z, where clocks that stand still begin.
const NOON: i64 = 1_652_184_000_000_000;

pub(super) fn noon() -> ManualClock {
    ManualClock::at(Timestamp::from_micros(NOON).unwrap())
}

/// Sets a clock to seconds after noon.
fn set(clock: &ManualClock, seconds: i64) {
    clock.set(Timestamp::from_micros(NOON + seconds * 1_000_000).unwrap());
}

pub(super) fn seconds(seconds: i64) -> Option<PbDuration> {
    Some(PbDuration { seconds, nanos: 0 })
}

/// A request of MT into French.
pub(super) fn request(ids: &[&str]) -> pb::RequestTranslationsRequest {
    use pb::request_translations_request::Selection;
    let article_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    pb::RequestTranslationsRequest {
        languages: vec!["fr".into()],
        kinds: vec![JobKind::Mt.into()],
        selection: Some(Selection::Articles(pb::ArticleSelection { article_ids })),
        ..Default::default()
    }
}

pub(super) async fn open(server: &Server, request: pb::RequestTranslationsRequest) -> Vec<pb::RequestedJob> {
    let answer = server.jobs().request_translations(request).await;
    answer.unwrap().into_inner().jobs
}

/// A claim of all that there is.
pub(super) fn claim_all() -> pb::ClaimJobsRequest {
    pb::ClaimJobsRequest {
        max_jobs: 100,
        worker: "w1".into(),
        ..Default::default()
    }
}

async fn claim(server: &Server, request: pb::ClaimJobsRequest) -> Vec<pb::ClaimedJob> {
    server.jobs().claim_jobs(request).await.unwrap().into_inner().jobs
}

/// The one job that there is to claim.
pub(super) async fn claim_one(server: &Server) -> pb::ClaimedJob {
    let mut jobs = claim(server, claim_all()).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

fn claimed_ids(jobs: &[pb::ClaimedJob]) -> Vec<&str> {
    jobs.iter()
        .map(|job| job.job.as_ref().unwrap().job_id.as_str())
        .collect()
}

/// The wanted segments of a claimed job.
fn wanted(job: &pb::ClaimedJob) -> Vec<&pb::Segment> {
    let wanted = job.segments.iter().filter(|segment| segment.wanted);
    wanted.map(|segment| segment.source.as_ref().unwrap()).collect()
}

/// What an engine makes of a claimed job: each text with a mark before it.
pub(super) fn result(job: &pb::ClaimedJob, mark: &str) -> pb::CompleteJobRequest {
    let mut text = pb::TargetText::default();
    for source in wanted(job) {
        let target = target_of(&source.segment_id, &format!("{mark}{}", source.text));
        match source.segment_id.as_str() {
            "title" => text.title = Some(target),
            "lead" => text.lead = Some(target),
            _ => text.body.push(target),
        }
    }
    pb::CompleteJobRequest {
        job_id: job.job.as_ref().unwrap().job_id.clone(),
        lease_token: job.lease_token.clone(),
        agent: agent(AgentKind::Mt, "engine"),
        result: Some(pb::complete_job_request::Result::Text(text)),
        ..Default::default()
    }
}

pub(super) async fn complete(server: &Server, request: pb::CompleteJobRequest) -> pb::CompleteJobResponse {
    server.jobs().complete_job(request).await.unwrap().into_inner()
}

async fn job(server: &Server, id: &str) -> pb::TranslationJob {
    let request = pb::GetJobRequest { job_id: id.into() };
    let answer = server.jobs().get_job(request).await.unwrap();
    answer.into_inner().job.unwrap()
}

async fn state(server: &Server, id: &str) -> JobState {
    job(server, id).await.state()
}

pub(super) fn fence(job: &pb::ClaimedJob) -> (String, String) {
    (job.job.as_ref().unwrap().job_id.clone(), job.lease_token.clone())
}

pub(super) async fn release(
    server: &Server,
    of: &pb::ClaimedJob,
) -> Result<Response<pb::ReleaseJobResponse>, Status> {
    let (job_id, lease_token) = fence(of);
    let request = pb::ReleaseJobRequest { job_id, lease_token };
    server.jobs().release_job(request).await
}

async fn fail(
    server: &Server,
    of: &pb::ClaimedJob,
    permanent: bool,
) -> Result<Response<pb::FailJobResponse>, Status> {
    let (job_id, lease_token) = fence(of);
    let request = pb::FailJobRequest {
        job_id,
        lease_token,
        message: "the engine is out of memory".into(),
        permanent,
        retry_after: None,
    };
    server.jobs().fail_job(request).await
}

async fn heartbeat(
    server: &Server,
    of: &pb::ClaimedJob,
    lease: i64,
) -> Result<Response<pb::HeartbeatJobResponse>, Status> {
    let (job_id, lease_token) = fence(of);
    let request = pb::HeartbeatJobRequest {
        job_id,
        lease_token,
        lease: seconds(lease),
    };
    server.jobs().heartbeat_job(request).await
}

pub(super) async fn withhold(server: &Server, id: &str, status: pb::PublicationStatus) {
    let request = pb::SetPublicationStatusRequest {
        article_id: id.into(),
        publication_status: status.into(),
        ..Default::default()
    };
    server.articles().set_publication_status(request).await.unwrap();
}

#[tokio::test]
async fn a_job_goes_from_request_to_translation() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    let opened = open(&server, request(&["a"])).await;
    assert_eq!(
        opened,
        [pb::RequestedJob {
            article_id: "a".into(),
            language: "fr".into(),
            kind: JobKind::Mt.into(),
            outcome: RequestOutcome::Opened.into(),
            job_id: "a/fr/mt/1".into(),
            refusal: String::new(),
        }]
    );
    let pending = job(&server, "a/fr/mt/1").await;
    assert_eq!(pending.state(), JobState::Pending);
    assert_eq!(
        (pending.source_revision, pending.priority, pending.max_attempts),
        (1, 3, 5)
    );
    assert_eq!(pending.segment_ids, ["title", "s1", "s2", "s3"]);

    let claimed = claim_one(&server).await;
    let leased = claimed.job.clone().unwrap();
    assert_eq!(
        (leased.state(), leased.attempts, leased.worker.as_str()),
        (JobState::Leased, 1, "w1")
    );
    assert!(leased.lease_expire_time.is_some());
    assert_eq!(claimed.lease_token.len(), 32);
    let source = claimed.article.clone().unwrap();
    assert_eq!(
        (source.article_id.as_str(), source.body.len(), source.revision),
        ("a", 0, 1)
    );
    let texts: Vec<_> = claimed
        .segments
        .iter()
        .map(|s| s.source.clone().unwrap().text)
        .collect();
    assert_eq!(texts, ["عنوان", TEXTS[0], TEXTS[1], TEXTS[2]]);
    assert!(
        claimed
            .segments
            .iter()
            .all(|segment| segment.wanted && segment.target.is_none())
    );
    assert_eq!(claim(&server, claim_all()).await, []);

    let completion = pb::CompleteJobRequest {
        effort: Some(pb::Effort {
            characters: 45,
            ..Default::default()
        }),
        ..result(&claimed, "fr:")
    };
    let done = complete(&server, completion.clone()).await;
    assert_eq!(done.job.clone().unwrap().state(), JobState::Done);
    assert_eq!(
        (done.outcome(), done.next_job_id.as_str()),
        (AttachOutcome::Created, "")
    );
    assert_eq!(
        done.translation.clone().unwrap().freshness(),
        pb::Freshness::Current
    );
    let there = translation(&server, "a", "fr", "").await;
    assert_eq!(there.body[2].text, format!("fr:{}", TEXTS[2]));
    assert_eq!(there.title.unwrap().text, "fr:عنوان");

    let request_provenance = pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "fr".into(),
        ..Default::default()
    };
    let listed = server
        .translations()
        .list_provenance(request_provenance.clone())
        .await;
    let record = listed.unwrap().into_inner().records.remove(0);
    assert_eq!(
        (record.job_id.as_str(), record.effort.unwrap().characters),
        ("a/fr/mt/1", 45)
    );
    assert_eq!(record.agent, agent(AgentKind::Mt, "engine"));

    // The same again is answered the same, also after a restart, and writes nothing.
    let seq = server.seq().await;
    assert_eq!(complete(&server, completion.clone()).await, done);
    let server = server.restart().await;
    assert_eq!(complete(&server, completion).await, done);
    assert_eq!(server.seq().await, seq);
    let again = open(&server, request(&["a"])).await;
    assert_eq!(again[0].outcome(), RequestOutcome::NothingWanted);
    server.check().await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_says_what_became_of_each_article() {
    let server = Setup::sled().scopes(&[Right::Editorial]).start().await;
    for id in ["a", "b", "c", "d"] {
        create(&server, article(id, &TEXTS)).await;
    }
    let all = ["title", "s1", "s2", "s3"].map(|_| "x");
    attach(&server, small_form("b", "fr", 1, &all[1..])).await;
    withhold(&server, "c", pb::PublicationStatus::Withheld).await;
    let delete = pb::DeleteArticleRequest {
        article_id: "d".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    let asked = pb::RequestTranslationsRequest {
        languages: vec!["fr".into(), "ar".into(), "FR".into()],
        ..request(&["a", "b", "c", "d", "e", "a"])
    };
    let outcomes = |jobs: &[pb::RequestedJob]| -> Vec<(String, String, RequestOutcome)> {
        let parts = jobs
            .iter()
            .map(|job| (job.article_id.clone(), job.language.clone(), job.outcome()));
        parts.collect()
    };
    let expected = |first: RequestOutcome| {
        use RequestOutcome::{ArticleNotFound, NothingWanted, SourceWithheld};
        let of = |id: &str, fr: RequestOutcome, ar: RequestOutcome| {
            [
                (id.to_owned(), "fr".to_owned(), fr),
                (id.to_owned(), "ar".to_owned(), ar),
            ]
        };
        [
            of("a", first, NothingWanted),
            of("b", NothingWanted, NothingWanted),
            of("c", SourceWithheld, SourceWithheld),
            of("d", ArticleNotFound, ArticleNotFound),
            of("e", ArticleNotFound, ArticleNotFound),
        ]
        .concat()
    };
    assert_eq!(
        outcomes(&open(&server, asked.clone()).await),
        expected(RequestOutcome::Opened)
    );
    let seq = server.seq().await;
    assert_eq!(
        outcomes(&open(&server, asked.clone()).await),
        expected(RequestOutcome::AlreadyOpen)
    );
    assert_eq!(server.seq().await, seq);
    // A request that is more urgent hastens the open job, one that is less changes nothing.
    let deadline = time(Timestamp::from_micros(NOON).unwrap());
    for (priority, expected) in [(2, 2), (4, 2), (1, 1)] {
        let options = pb::JobOptions {
            priority,
            deadline: Some(deadline),
            ..Default::default()
        };
        let urgent = pb::RequestTranslationsRequest {
            options: Some(options),
            ..request(&["a"])
        };
        assert_eq!(
            open(&server, urgent).await[0].outcome(),
            RequestOutcome::AlreadyOpen
        );
        let hastened = job(&server, "a/fr/mt/1").await;
        assert_eq!((hastened.priority, hastened.deadline), (expected, Some(deadline)));
    }
    server.check().await;
    server.stop().await;
}

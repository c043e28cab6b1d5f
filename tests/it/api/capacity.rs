//! Capacity limits of one article: languages, open jobs and the size of its state.

use article_store::api::Limits;
use article_store::domain::capacity::Capacity;
use article_store::domain::change::{Event, JobStep, Kind};
use article_store::domain::job::Job;
use article_store::pb;
use pb::{JobKind, RequestOutcome};
use tonic::Code;

use super::jobs::{claim_all, claim_one, complete, open, request, result};
use super::{article, attach, create, rewrite, small_form};
use crate::harness::{Failure, Server, Setup, fails};

const TEXTS: [&str; 3] = ["1", "2", "3"];

fn limits(capacity: Capacity) -> Limits {
    Limits {
        capacity,
        ..Limits::default()
    }
}

fn languages(languages: usize) -> Limits {
    limits(Capacity {
        languages,
        ..Capacity::default()
    })
}

async fn refused(server: &Server, request: pb::AttachTranslationRequest) -> Failure {
    let answer = server.translations().attach_translation(request).await;
    let full = fails(answer, Code::ResourceExhausted, "ARTICLE_FULL");
    assert!(!full.retry, "waiting does not help");
    full
}

fn requests(languages: &[&str], kinds: &[JobKind]) -> pb::RequestTranslationsRequest {
    pb::RequestTranslationsRequest {
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        ..request(&["a"])
    }
}

fn outcomes(jobs: &[pb::RequestedJob]) -> Vec<(&str, JobKind, RequestOutcome)> {
    jobs.iter()
        .map(|job| (job.language.as_str(), job.kind(), job.outcome()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_has_so_many_languages_at_most() {
    let server = Setup::sled().limits(languages(3)).start().await;
    create(&server, article("a", &TEXTS)).await;
    for language in ["de", "en", "es"] {
        attach(&server, small_form("a", language, 1, &TEXTS)).await;
    }
    let before = server.export().await;
    let full = refused(&server, small_form("a", "fr", 1, &TEXTS)).await;
    assert_eq!(
        full.message,
        "article \"a\" would have 4 languages; its limit is 3 (serve --max-languages-per-article)"
    );
    assert_eq!(full.metadata["article_id"], "a");
    assert_eq!(
        (full.metadata["count"].as_str(), full.metadata["limit"].as_str()),
        ("4", "3")
    );
    assert_eq!(full.metadata["flag"], "--max-languages-per-article");
    // A job is for a language, too.
    let jobs = open(&server, requests(&["fr"], &[JobKind::Mt])).await;
    assert_eq!(
        outcomes(&jobs),
        [("fr", JobKind::Mt, RequestOutcome::ArticleFull)]
    );
    assert_eq!(jobs[0].refusal, full.message);
    assert_eq!(server.export().await, before);
    // Other articles and the languages that are there are not concerned.
    attach(&server, small_form("a", "en", 1, &["one", "two", "three"])).await;
    create(&server, article("b", &TEXTS)).await;
    attach(&server, small_form("b", "fr", 1, &TEXTS)).await;
    // Under a lower limit the article stays as it is, and nothing joins.
    let server = server.restart_with(|setup| setup.limits(languages(1))).await;
    attach(&server, small_form("a", "en", 1, &["uno", "dos", "tres"])).await;
    let full = refused(&server, small_form("a", "fr", 1, &TEXTS)).await;
    assert_eq!(
        (full.metadata["count"].as_str(), full.metadata["limit"].as_str()),
        ("4", "1")
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_opened_can_be_completed() {
    let server = Setup::memory().limits(languages(1)).start().await;
    create(&server, article("a", &TEXTS)).await;
    let jobs = open(&server, requests(&["fr", "de"], &[JobKind::Mt, JobKind::Llm])).await;
    assert_eq!(
        outcomes(&jobs),
        [
            ("fr", JobKind::Mt, RequestOutcome::Opened),
            ("fr", JobKind::Llm, RequestOutcome::Opened),
            ("de", JobKind::Mt, RequestOutcome::ArticleFull),
            ("de", JobKind::Llm, RequestOutcome::ArticleFull),
        ]
    );
    refused(&server, small_form("a", "de", 1, &TEXTS)).await;
    let claim = pb::ClaimJobsRequest {
        max_jobs: 1,
        kinds: vec![JobKind::Mt.into()],
        ..claim_all()
    };
    let claimed = server.jobs().claim_jobs(claim).await.unwrap().into_inner();
    let job = &claimed.jobs[0];
    let done = complete(&server, result(job, "fr ")).await;
    assert_eq!(done.translation.unwrap().language, "fr");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_has_so_many_open_jobs_at_most() {
    let capacity = Capacity {
        open_jobs: 3,
        ..Capacity::default()
    };
    let server = Setup::memory().limits(limits(capacity)).start().await;
    create(&server, article("a", &TEXTS)).await;
    let kinds = [JobKind::Mt, JobKind::Llm];
    let jobs = open(&server, requests(&["fr", "de"], &kinds)).await;
    assert_eq!(outcomes(&jobs)[3].2, RequestOutcome::ArticleFull);
    assert_eq!(
        jobs[3].refusal,
        "article \"a\" would have 4 open jobs; its limit is 3 (serve --max-open-jobs-per-article)"
    );
    // One that ends makes room, and is not opened again when the room is gone.
    let job_id = jobs[0].job_id.clone();
    let cancel = pb::CancelJobRequest {
        job_id: job_id.clone(),
    };
    server.jobs().cancel_job(cancel).await.unwrap();
    let jobs = open(&server, requests(&["de"], &kinds)).await;
    assert_eq!(outcomes(&jobs)[1].2, RequestOutcome::Opened);
    let retry = pb::RetryJobRequest { job_id };
    fails(
        server.jobs().retry_job(retry).await,
        Code::ResourceExhausted,
        "ARTICLE_FULL",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_an_article_has_a_limit() {
    // Three segments and a title: about a kilobyte for a translation.
    let capacity = Capacity {
        state_bytes: 2_500,
        ..Capacity::default()
    };
    let server = Setup::memory().limits(limits(capacity)).start().await;
    create(&server, article("a", &TEXTS)).await;
    open(&server, request(&["a"])).await;
    let job = claim_one(&server).await;
    attach(&server, small_form("a", "de", 1, &TEXTS)).await;
    let full = refused(&server, small_form("a", "en", 1, &TEXTS)).await;
    assert_eq!(full.metadata["flag"], "--max-article-state-bytes");
    assert!(
        full.message.contains("bytes of translations and jobs"),
        "{full:?}"
    );
    let answer = server.jobs().complete_job(result(&job, "fr ")).await;
    let refused = fails(answer, Code::ResourceExhausted, "ARTICLE_FULL");
    assert_eq!(refused.metadata["limit"], "2500");
    // What is there can be written again.
    attach(&server, small_form("a", "de", 1, &["eins", "zwei", "drei"])).await;
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_ask_for_no_more_of_an_article_than_callers_may() {
    let capacity = Capacity {
        languages: 3,
        open_jobs: 4,
        ..Capacity::default()
    };
    let server = Setup::memory().limits(limits(capacity)).start().await;
    let put = async |id: &str, languages: &[&str], kinds: &[JobKind]| {
        let policy = pb::TranslationPolicy {
            policy_id: id.into(),
            target_languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
            kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
            ..Default::default()
        };
        let request = pb::PutTranslationPolicyRequest {
            policy: Some(policy),
            ..Default::default()
        };
        server.jobs().put_translation_policy(request).await
    };
    let refused = |answer| fails(answer, Code::ResourceExhausted, "TOO_MANY_POLICIES");
    put("one", &["de", "fr"], &[JobKind::Mt, JobKind::Llm])
        .await
        .unwrap();
    // The same once more costs nothing.
    put("two", &["fr"], &[JobKind::Mt]).await.unwrap();
    let full = refused(put("two", &["fr"], &[JobKind::Mt, JobKind::Review]).await);
    assert_eq!(
        full.message,
        "the policies together would ask for 5 open jobs of one article; the limit is 4 (serve --max-open-jobs-per-article)"
    );
    assert_eq!(
        (full.metadata["count"].as_str(), full.metadata["limit"].as_str()),
        ("5", "4")
    );
    put("one", &["de"], &[JobKind::Mt]).await.unwrap();
    let full = refused(put("two", &["es", "fr", "it"], &[JobKind::Mt]).await);
    assert_eq!(full.metadata["flag"], "--max-languages-per-article");
    put("two", &["fr", "it"], &[JobKind::Mt]).await.unwrap();
    create(&server, article("a", &TEXTS)).await;
    let request = pb::ListJobsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let listed = server.jobs().list_jobs(request).await.unwrap().into_inner();
    assert_eq!(listed.jobs.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_policies_together_list_so_many_pairs() {
    let server = Server::memory().await;
    let tags: Vec<String> = (0..100).map(|number| format!("fr-x-{number:03}")).collect();
    let put = async |number: usize| {
        let policy = pb::TranslationPolicy {
            policy_id: format!("p{number}"),
            target_languages: tags.clone(),
            kinds: (1..=5).map(|kind| kind * 10).collect(),
            ..Default::default()
        };
        let request = pb::PutTranslationPolicyRequest {
            policy: Some(policy),
            ..Default::default()
        };
        server.jobs().put_translation_policy(request).await
    };
    for number in 0..40 {
        put(number).await.unwrap();
    }
    let full = fails(put(40).await, Code::ResourceExhausted, "TOO_MANY_POLICIES");
    assert_eq!(
        (full.metadata["count"].as_str(), full.metadata["limit"].as_str()),
        ("20500", "20000")
    );
}

/// A change of the article writes none of its pending jobs: what they want is derived when it is read or claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_revision_writes_no_pending_job() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    let kinds = [JobKind::Mt, JobKind::Llm, JobKind::Human];
    open(&server, requests(&["de", "en", "fr"], &kinds)).await;
    let before = jobs_of(&server).await;
    rewrite(&server, "a", &["1", "2", "3", "4"]).await;
    assert_eq!(jobs_of(&server).await, before);
    let seq = server.seq().await;
    let events = server.events_after(seq - 1).await;
    let moved = |event: &&Event| {
        matches!(
            event.kind,
            Kind::Job {
                step: JobStep::Retargeted,
                ..
            }
        )
    };
    assert_eq!(events.iter().filter(moved).count(), 9);
    let job = claim_one_of(&server, "a/en/llm/1").await;
    let given = job.job.as_ref().unwrap();
    assert_eq!((given.source_revision, given.segment_ids.len()), (2, 5));
    server.check().await;
}

/// The jobs of the article as they are stored.
async fn jobs_of(server: &Server) -> Vec<Job> {
    let jobs = server.store.jobs(None, 100).await.unwrap();
    assert!(jobs.iter().all(|job| job.wanted.is_empty()));
    jobs.iter().map(|job| (**job).clone()).collect()
}

async fn claim_one_of(server: &Server, id: &str) -> pb::ClaimedJob {
    let claim = pb::ClaimJobsRequest {
        job_ids: vec![id.into()],
        ..claim_all()
    };
    let claimed = server.jobs().claim_jobs(claim).await.unwrap().into_inner();
    claimed.jobs.into_iter().next().unwrap()
}

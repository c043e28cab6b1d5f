//! Capacity limits of one article: languages, open jobs and the size of its state.

use article_store::api::Limits;
use article_store::domain::capacity::Capacity;
use article_store::pb;
use pb::{JobKind, RequestOutcome};
use tonic::Code;

use super::jobs::{claim_all, claim_one, complete, open, request, result};
use super::{article, attach, create, small_form};
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

//! Scopes by language, and the scopes that show hidden articles.

use article_store::pb;
use article_store::pb::{AgentKind, JobKind, TranslationState};
use tonic::{Code, Response, Status};

use super::{Desk, line};
use crate::api::{agent, article, small_form};
use crate::harness::{Failure, fails};

/// A principal with all rights, and others with one right each for Portuguese.
async fn desk() -> Desk {
    let lines = [
        line("all", &["*"], &["HUMAN", "MT"]),
        line("other", &["*"], &["HUMAN"]),
        line("translator", &["read", "translate:pt"], &["HUMAN", "MT"]),
        line("reviewer", &["review:pt"], &["HUMAN"]),
        line("publisher", &["publish:pt"], &["HUMAN"]),
        line("both", &["translate:pt", "review:pt", "publish:pt"], &["HUMAN"]),
        line("reader", &["read"], &[]),
        line("early", &["read", "embargoed"], &[]),
        line("editor", &["read", "editorial"], &[]),
    ];
    let desk = Desk::with(&lines).await;
    desk.create("all", article("a", &["نص"])).await;
    desk
}

#[track_caller]
fn lacks<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, scope: &str) {
    let Failure {
        metadata, message, ..
    } = fails(answer, Code::PermissionDenied, "MISSING_SCOPE");
    assert_eq!(metadata["scope"], scope);
    assert!(message.contains(scope.split(',').next().unwrap()), "{message}");
}

fn text(language: &str) -> pb::AttachTranslationRequest {
    pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, ""),
        ..small_form("a", language, 1, &["um"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_translation_is_written_by_whom_its_language_is_given() {
    let desk = desk().await;
    let attach = async |name: &str, request| desk.translations(name).attach_translation(request).await;
    assert!(attach("translator", text("pt-BR")).await.is_ok());
    assert!(attach("translator", text("PT")).await.is_ok());
    lacks(attach("translator", text("fr")).await, "translate:fr");
    // Whether there is such an article is not said to whom may not write it.
    let elsewhere = pb::AttachTranslationRequest {
        article_id: "missing".into(),
        ..text("fr")
    };
    lacks(attach("translator", elsewhere).await, "translate:fr");
    let stated = |state: TranslationState| pb::AttachTranslationRequest {
        state: state.into(),
        new_candidate: true,
        ..text("pt")
    };
    assert!(
        attach("translator", stated(TranslationState::Initial))
            .await
            .is_ok()
    );
    lacks(
        attach("translator", stated(TranslationState::Reviewed)).await,
        "review:pt",
    );
    lacks(
        attach("translator", stated(TranslationState::Final)).await,
        "publish:pt",
    );
    // Who may say so still is the author.
    let own = attach("both", stated(TranslationState::Final)).await;
    fails(own, Code::FailedPrecondition, "ILLEGAL_TRANSITION");
    let overwriting = pb::AttachTranslationRequest {
        agent: agent(AgentKind::Mt, "engine"),
        overwrite_human: true,
        slot_etag: "1-1".into(),
        ..text("pt")
    };
    lacks(attach("translator", overwriting).await, "review:pt");
    lacks(attach("reviewer", text("pt")).await, "translate:<language>");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_translation_is_judged_and_published_by_whom_its_language_is_given() {
    let desk = desk().await;
    for language in ["pt", "fr"] {
        desk.translations("all")
            .attach_translation(text(language))
            .await
            .unwrap();
    }
    let current = async |language: &str| {
        let request = pb::GetTranslationRequest {
            article_id: "a".into(),
            language: language.into(),
            ..Default::default()
        };
        let answer = desk.translations("all").get_translation(request).await.unwrap();
        answer.into_inner().translation.unwrap().summary.unwrap()
    };
    let review = async |name: &str, language: &str, state: TranslationState| {
        let request = pb::ReviewTranslationRequest {
            article_id: "a".into(),
            language: language.into(),
            etag: current(language).await.etag,
            state: state.into(),
            reason: "because".into(),
            agent: agent(AgentKind::Human, ""),
            ..Default::default()
        };
        desk.translations(name).review_translation(request).await
    };
    use TranslationState::{Final, Reviewed, Translated};
    lacks(
        review("translator", "pt", Reviewed).await,
        "review:<language>,publish:<language>",
    );
    lacks(review("reviewer", "fr", Reviewed).await, "review:fr");
    lacks(review("publisher", "pt", Reviewed).await, "review:pt");
    lacks(review("reviewer", "pt", Final).await, "publish:pt");
    assert!(review("reviewer", "pt", Reviewed).await.is_ok());
    assert!(review("publisher", "pt", Final).await.is_ok());
    lacks(review("publisher", "pt", Translated).await, "review:pt");
    assert!(review("reviewer", "pt", Translated).await.is_ok());
    let acknowledgement = async |language: &str| pb::AcknowledgeSourceRequest {
        article_id: "a".into(),
        language: language.into(),
        etag: current(language).await.etag,
        source_revision: 1,
        reason: "the same".into(),
        agent: agent(AgentKind::Human, ""),
        ..Default::default()
    };
    let mut translator = desk.translations("translator");
    assert!(
        translator
            .acknowledge_source(acknowledgement("pt").await)
            .await
            .is_ok()
    );
    lacks(
        translator.acknowledge_source(acknowledgement("fr").await).await,
        "translate:fr",
    );
    let scores = |language: &str| pb::AddQualityScoresRequest {
        article_id: "a".into(),
        language: language.into(),
        translation_id: "t1".into(),
        agent: agent(AgentKind::Human, ""),
        quality_scores: vec![pb::QualityScore {
            metric: "x".into(),
            value: 1.0,
            max: 1.0,
            ..Default::default()
        }],
        ..Default::default()
    };
    for name in ["translator", "reviewer"] {
        let mut client = desk.translations(name);
        client.add_quality_scores(scores("pt")).await.unwrap();
        lacks(
            desk.translations(name).add_quality_scores(scores("fr")).await,
            "translate:fr,review:fr",
        );
    }
    let select = |language: &str| pb::SelectTranslationRequest {
        article_id: "a".into(),
        language: language.into(),
        translation_id: "t1".into(),
        ..Default::default()
    };
    assert!(
        desk.translations("publisher")
            .select_translation(select("pt"))
            .await
            .is_ok()
    );
    lacks(
        desk.translations("publisher")
            .select_translation(select("fr"))
            .await,
        "publish:fr",
    );
    let reject = |language: &str| pb::RejectTranslationRequest {
        article_id: "a".into(),
        language: language.into(),
        translation_id: "t1".into(),
        reason: "wrong".into(),
        ..Default::default()
    };
    lacks(
        desk.translations("reviewer")
            .reject_translation(reject("fr"))
            .await,
        "review:fr",
    );
    assert!(
        desk.translations("reviewer")
            .reject_translation(reject("pt"))
            .await
            .is_ok()
    );
    let detach = |language: &str| pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: language.into(),
        translation_id: "t1".into(),
        ..Default::default()
    };
    lacks(
        desk.translations("reviewer")
            .detach_translation(detach("fr"))
            .await,
        "review:fr",
    );
    assert!(
        desk.translations("reviewer")
            .detach_translation(detach("pt"))
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_ordered_and_done_by_whom_their_language_is_given() {
    let desk = desk().await;
    let order = |languages: &[&str], kind: JobKind| pb::RequestTranslationsRequest {
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        kinds: vec![kind.into()],
        selection: Some(pb::request_translations_request::Selection::Articles(
            pb::ArticleSelection {
                article_ids: vec!["a".into()],
            },
        )),
        ..Default::default()
    };
    let (mut translator, mut reviewer) = (desk.jobs("translator"), desk.jobs("reviewer"));
    lacks(
        translator
            .request_translations(order(&["pt", "fr"], JobKind::Mt))
            .await,
        "translate:fr",
    );
    lacks(
        translator
            .request_translations(order(&["pt"], JobKind::Review))
            .await,
        "review:pt",
    );
    lacks(
        reviewer.request_translations(order(&["pt"], JobKind::Mt)).await,
        "translate:pt",
    );
    assert!(
        translator
            .request_translations(order(&["pt"], JobKind::Mt))
            .await
            .is_ok()
    );
    assert!(
        reviewer
            .request_translations(order(&["pt"], JobKind::Review))
            .await
            .is_ok()
    );
    desk.jobs("all")
        .request_translations(order(&["fr"], JobKind::Mt))
        .await
        .unwrap();
    let into = |language: &str, kinds: &[JobKind]| pb::ClaimJobsRequest {
        pairs: vec![pb::LanguagePair {
            target_language: language.into(),
            ..Default::default()
        }],
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        max_jobs: 9,
        ..Default::default()
    };
    lacks(translator.claim_jobs(into("fr", &[])).await, "translate:fr");
    lacks(translator.claim_jobs(into("", &[])).await, "translate:*");
    lacks(
        translator.claim_jobs(pb::ClaimJobsRequest::default()).await,
        "translate:*",
    );
    lacks(
        translator
            .claim_jobs(into("pt", &[JobKind::Mt, JobKind::Score]))
            .await,
        "review:pt",
    );
    let by_id = |id: &str| pb::ClaimJobsRequest {
        job_ids: vec![id.into()],
        ..Default::default()
    };
    lacks(translator.claim_jobs(by_id("a/fr/mt/1")).await, "translate:fr");
    // Of kinds that it does not name it gets those that it may do: not the review.
    let claimed = translator
        .claim_jobs(into("pt", &[]))
        .await
        .unwrap()
        .into_inner()
        .jobs;
    let ids: Vec<_> = claimed
        .iter()
        .map(|job| job.job.as_ref().unwrap().job_id.as_str())
        .collect();
    assert_eq!(ids, ["a/pt/mt/1"]);
    let token = claimed[0].lease_token.clone();
    // What a lease allows it allows nobody who may not do the work.
    let beat = |id: &str| pb::HeartbeatJobRequest {
        job_id: id.into(),
        lease_token: token.clone(),
        lease: None,
    };
    lacks(reviewer.heartbeat_job(beat("a/pt/mt/1")).await, "translate:pt");
    assert!(translator.heartbeat_job(beat("a/pt/mt/1")).await.is_ok());
    let failed = pb::FailJobRequest {
        job_id: "a/pt/mt/1".into(),
        lease_token: token.clone(),
        message: "out of memory".into(),
        ..Default::default()
    };
    lacks(reviewer.fail_job(failed).await, "translate:pt");
    let released = pb::ReleaseJobRequest {
        job_id: "a/pt/mt/1".into(),
        lease_token: token.clone(),
    };
    lacks(reviewer.release_job(released).await, "translate:pt");
    let done = |kind| pb::CompleteJobRequest {
        job_id: "a/pt/mt/1".into(),
        lease_token: token.clone(),
        agent: agent(kind, ""),
        result: Some(pb::complete_job_request::Result::Text(pb::TargetText {
            title: Some(crate::api::target("título")),
            body: vec![crate::api::target_of("s1", "um")],
            ..Default::default()
        })),
        ..Default::default()
    };
    lacks(
        reviewer.complete_job(done(AgentKind::Human)).await,
        "translate:pt",
    );
    let denied = translator.complete_job(done(AgentKind::Llm)).await;
    fails(denied, Code::PermissionDenied, "AGENT_KIND_DENIED");
    let completed = translator
        .complete_job(done(AgentKind::Mt))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(completed.job.unwrap().state(), pb::JobState::Done);
    let cancel = |id: &str| pb::CancelJobRequest { job_id: id.into() };
    lacks(translator.cancel_job(cancel("a/fr/mt/1")).await, "translate:fr");
    lacks(
        translator
            .retry_job(pb::RetryJobRequest {
                job_id: "a/fr/mt/1".into(),
            })
            .await,
        "translate:fr",
    );
    reviewer
        .request_translations(order(&["pt"], JobKind::Review))
        .await
        .unwrap();
    reviewer.cancel_job(cancel("a/pt/review/1")).await.unwrap();
    desk.server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_articles_are_shown_to_whom_they_are_given() {
    let desk = desk().await;
    for (id, status) in [
        ("w", pb::PublicationStatus::Withheld),
        ("e", pb::PublicationStatus::Usable),
    ] {
        let hidden = pb::Article {
            embargo_time: (id == "e").then_some(prost_types::Timestamp {
                seconds: 32_503_680_000,
                nanos: 0,
            }),
            ..article(id, &["نص"])
        };
        desk.create("all", hidden).await;
        let request = pb::SetPublicationStatusRequest {
            article_id: id.into(),
            publication_status: status.into(),
            ..Default::default()
        };
        desk.articles("all")
            .set_publication_status(request)
            .await
            .unwrap();
    }
    let get = async |name: &str, id: &str| {
        let request = pb::GetArticleRequest {
            article_id: id.into(),
            show_hidden: true,
            ..Default::default()
        };
        desk.articles(name).get_article(request).await
    };
    lacks(get("reader", "a").await, "embargoed,editorial");
    assert!(get("early", "e").await.is_ok());
    fails(get("early", "w").await, Code::NotFound, "ARTICLE_NOT_FOUND");
    assert!(get("editor", "w").await.is_ok() && get("editor", "e").await.is_ok());
    // An editor decides about an article without the right to write it.
    let release = pb::SetPublicationStatusRequest {
        article_id: "w".into(),
        publication_status: pb::PublicationStatus::Usable.into(),
        ..Default::default()
    };
    assert!(
        desk.articles("editor")
            .set_publication_status(release)
            .await
            .is_ok()
    );
}

//! Whose step it is: principals, those that they act for, and the agents that they may declare.

use article_store::pb;
use article_store::pb::{AgentKind, AttachOutcome, TranslationState};
use article_store::server::auth::Config;
use tonic::Code;

use super::{Desk, line};
use crate::api::workflow::by_person;
use crate::api::{agent, article, by_id, small_form};
use crate::harness::fails;

const EVERYTHING: [&str; 5] = ["read", "ingest", "translate:*", "review:*", "publish:*"];

/// People with a token each, a desk that acts for people, and two machines.
async fn newsroom() -> Desk {
    let people = ["nora", "idris"].map(|name| line(name, &EVERYTHING, &["HUMAN", "LLM"]));
    let acting = [&EVERYTHING[..], &["act_as"]].concat();
    let machines = ["mt-1", "mt-2"].map(|name| line(name, &["translate:*", "review:*"], &["MT"]));
    let desk = line("desk", &acting, &["HUMAN", "MT"]);
    let desk = Desk::with(&[people.to_vec(), machines.to_vec(), vec![desk]].concat()).await;
    desk.create("desk", article("a", &["نص", "آخر"])).await;
    desk
}

fn text(who: &str, texts: &[&str; 2]) -> pb::AttachTranslationRequest {
    by_person(who, small_form("a", "fr", 1, texts))
}

async fn attach(
    desk: &Desk,
    name: &str,
    request: pb::AttachTranslationRequest,
) -> pb::AttachTranslationResponse {
    let answer = desk.translations(name).attach_translation(request).await;
    answer.unwrap().into_inner()
}

fn review(
    translation: &pb::AttachTranslationResponse,
    agent: Option<pb::Agent>,
) -> pb::ReviewTranslationRequest {
    let translation = translation.translation.as_ref().unwrap();
    pb::ReviewTranslationRequest {
        article_id: "a".into(),
        language: "fr".into(),
        translation_id: translation.translation_id.clone(),
        etag: translation.etag.clone(),
        state: TranslationState::Reviewed.into(),
        agent,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reviews_a_text_of_its_own_under_another_name() {
    let desk = newsroom().await;
    let written = attach(&desk, "nora", text("", &["un", "deux"])).await;
    let mut nora = desk.translations("nora");
    let denied = nora
        .review_translation(review(&written, agent(AgentKind::Human, "Idris")))
        .await;
    let denied = fails(denied, Code::PermissionDenied, "MISSING_SCOPE");
    assert_eq!(
        (
            denied.metadata["scope"].as_str(),
            denied.metadata["person"].as_str()
        ),
        ("act_as", "Idris")
    );
    // Neither another kind, nor another organisation, nor her name spelled out make another of her.
    let elsewhere = pb::Agent {
        organization: "another".into(),
        tool: "another".into(),
        ..agent(AgentKind::Human, "nora").unwrap()
    };
    for own in [
        agent(AgentKind::Human, ""),
        agent(AgentKind::Llm, "judge"),
        Some(elsewhere),
    ] {
        let refused = nora.review_translation(review(&written, own)).await;
        fails(refused, Code::FailedPrecondition, "ILLEGAL_TRANSITION");
    }
    // Nor does the desk help, where it names her.
    let refused = desk
        .translations("desk")
        .review_translation(review(&written, agent(AgentKind::Human, "nora")))
        .await;
    fails(refused, Code::FailedPrecondition, "ILLEGAL_TRANSITION");
    let idris = agent(AgentKind::Human, "");
    let reviewed = desk
        .translations("idris")
        .review_translation(review(&written, idris))
        .await
        .unwrap();
    assert_eq!(
        reviewed.into_inner().translation.unwrap().state(),
        TranslationState::Reviewed
    );
    // The same for a text that is kept elsewhere.
    let elsewhere = pb::AttachTranslationRequest {
        language: "es".into(),
        content: Some(pb::attach_translation_request::Content::ExternalUri(
            "https://example.com/es".into(),
        )),
        ..text("", &["", ""])
    };
    let written = attach(&desk, "nora", elsewhere).await;
    let in_spanish = |agent| pb::ReviewTranslationRequest {
        language: "es".into(),
        ..review(&written, agent)
    };
    let refused = nora
        .review_translation(in_spanish(agent(AgentKind::Llm, "judge")))
        .await;
    fails(refused, Code::FailedPrecondition, "ILLEGAL_TRANSITION");
    assert!(
        desk.translations("idris")
            .review_translation(in_spanish(agent(AgentKind::Human, "")))
            .await
            .is_ok()
    );
    desk.server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_act_for_others_is_whom_it_names() {
    let desk = newsroom().await;
    let mut client = desk.translations("desk");
    let written = attach(&desk, "desk", text("Nora", &["un", "deux"])).await;
    let refused = client
        .review_translation(review(&written, agent(AgentKind::Human, " Nora")))
        .await;
    fails(refused, Code::FailedPrecondition, "ILLEGAL_TRANSITION");
    let reviewed = client
        .review_translation(review(&written, agent(AgentKind::Human, "Idris")))
        .await;
    assert!(reviewed.is_ok());
    let request = pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "fr".into(),
        ..Default::default()
    };
    let records = client
        .list_provenance(request)
        .await
        .unwrap()
        .into_inner()
        .records;
    let named: Vec<_> = records
        .iter()
        .map(|record| {
            (
                record.principal.as_str(),
                record.verified,
                record.agent.as_ref().unwrap().person.as_str(),
            )
        })
        .collect();
    assert_eq!(named, [("desk", true, "Nora"), ("desk", true, "Idris")]);
    // Where it names nobody it is itself.
    let own = pb::AttachTranslationRequest {
        language: "es".into(),
        ..text("", &["uno", "dos"])
    };
    let own = attach(&desk, "desk", own).await;
    let in_spanish = pb::ReviewTranslationRequest {
        language: "es".into(),
        ..review(&own, agent(AgentKind::Mt, "judge"))
    };
    fails(
        client.review_translation(in_spanish).await,
        Code::FailedPrecondition,
        "ILLEGAL_TRANSITION",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_speaks_for_no_person() {
    let desk = newsroom().await;
    let mut worker = desk.translations("mt-1");
    let refused = worker.attach_translation(text("", &["un", "deux"])).await;
    let refused = fails(refused, Code::PermissionDenied, "AGENT_KIND_DENIED");
    assert_eq!(
        (
            refused.metadata["agent_kind"].as_str(),
            refused.metadata["allowed_kinds"].as_str()
        ),
        ("HUMAN", "MT")
    );
    assert!(
        refused
            .message
            .contains("\"mt-1\" may not declare an agent of the kind HUMAN")
    );
    let written = attach(&desk, "nora", text("", &["un", "deux"])).await;
    let kind = |agent| review(&written, agent);
    let denied = worker.review_translation(kind(agent(AgentKind::Human, ""))).await;
    fails(denied, Code::PermissionDenied, "AGENT_KIND_DENIED");
    let etag = written.translation.as_ref().unwrap().etag.clone();
    let acknowledgement = pb::AcknowledgeSourceRequest {
        article_id: "a".into(),
        language: "fr".into(),
        etag,
        source_revision: 1,
        reason: "spelling".into(),
        agent: agent(AgentKind::Human, ""),
        ..Default::default()
    };
    fails(
        worker.acknowledge_source(acknowledgement).await,
        Code::PermissionDenied,
        "AGENT_KIND_DENIED",
    );
    let rejection = pb::RejectTranslationRequest {
        article_id: "a".into(),
        language: "fr".into(),
        translation_id: "t1".into(),
        reason: "wrong".into(),
        agent: agent(AgentKind::Human, ""),
        ..Default::default()
    };
    fails(
        worker.reject_translation(rejection).await,
        Code::PermissionDenied,
        "AGENT_KIND_DENIED",
    );
    let scores = pb::AddQualityScoresRequest {
        article_id: "a".into(),
        language: "fr".into(),
        translation_id: "t1".into(),
        agent: agent(AgentKind::Human, ""),
        quality_scores: vec![pb::QualityScore {
            metric: "x".into(),
            value: 1.0,
            ..Default::default()
        }],
        ..Default::default()
    };
    fails(
        worker.add_quality_scores(scores).await,
        Code::PermissionDenied,
        "AGENT_KIND_DENIED",
    );
    // What it may not say goes before what is wrong with it, and a kind that is none is only wrong.
    let both = pb::AttachTranslationRequest {
        source_revision: 0,
        ..text("", &["un", "deux"])
    };
    fails(
        worker.attach_translation(both).await,
        Code::PermissionDenied,
        "AGENT_KIND_DENIED",
    );
    let no_kind = pb::AttachTranslationRequest {
        agent: Some(pb::Agent::default()),
        ..text("", &["un", "deux"])
    };
    let wrong = fails(
        worker.attach_translation(no_kind).await,
        Code::InvalidArgument,
        "BAD_FIELD",
    );
    assert_eq!(wrong.paths(), ["agent.kind"]);
    // As a machine it works beside her text.
    let machine = pb::AttachTranslationRequest {
        agent: agent(AgentKind::Mt, "engine"),
        ..text("", &["one", "two"])
    };
    assert_eq!(
        attach(&desk, "mt-1", machine).await.outcome(),
        AttachOutcome::Diverted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_has_one_candidate_whichever_principal_runs_it() {
    let desk = newsroom().await;
    attach(&desk, "nora", text("", &["un", "deux"])).await;
    let by = |engine: &str, text: &str| pb::AttachTranslationRequest {
        agent: agent(AgentKind::Mt, engine),
        ..by_id("a", "fr", 1, &[("s1", text)])
    };
    let mut went = Vec::new();
    for (principal, engine, text) in [
        ("mt-1", "apertium", "one"),
        ("mt-1", "marian", "two"),
        ("mt-2", "apertium", "three"),
        ("mt-1", "marian", "four"),
    ] {
        let answer = attach(&desk, principal, by(engine, text)).await;
        assert_eq!(answer.outcome(), AttachOutcome::Diverted);
        went.push(answer.translation.unwrap().translation_id);
    }
    assert_eq!(went, ["t2", "t3", "t2", "t3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_each_principals_own_and_every_record_names_who_did_it() {
    let desk = newsroom().await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let create = |id: &str| pb::CreateArticleRequest {
        article: Some(article(id, &["نص"])),
        request_id: request_id.clone(),
    };
    let mut created = Vec::new();
    for (name, id) in [("nora", "n"), ("idris", "i"), ("nora", "n")] {
        let answer = desk.articles(name).create_article(create(id)).await.unwrap();
        created.push(answer.into_inner().article.unwrap());
    }
    assert_eq!(created[0], created[2]);
    assert_eq!(created[1].article_id, "i");
    let reused = desk.articles("nora").create_article(create("i")).await;
    fails(reused, Code::InvalidArgument, "REQUEST_ID_REUSED");
    let order = pb::RequestTranslationsRequest {
        languages: vec!["fr".into()],
        kinds: vec![pb::JobKind::Mt.into()],
        selection: Some(pb::request_translations_request::Selection::Articles(
            pb::ArticleSelection {
                article_ids: vec!["n".into()],
            },
        )),
        ..Default::default()
    };
    desk.jobs("idris").request_translations(order).await.unwrap();
    let claim = pb::ClaimJobsRequest {
        max_jobs: 9,
        ..Default::default()
    };
    let claimed = desk
        .jobs("mt-2")
        .claim_jobs(claim)
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(claimed[0].job.as_ref().unwrap().principal, "idris");
    let item = article_store::api::codec::ImportArticlesRequest {
        item: 1,
        article: Some(prost::Message::encode_to_vec(&article("m", &["نص"])).into()),
        significance: 0,
    };
    let imported = desk
        .articles("desk")
        .import_articles(futures::stream::iter([item]))
        .await;
    let mut imported = imported.unwrap().into_inner();
    assert!(imported.message().await.unwrap().unwrap().error.is_none());
    // The change feed says so too.
    let request = pb::WatchChangesRequest {
        start: pb::WatchStart::Oldest.into(),
        ..Default::default()
    };
    let mut watch = pb::change_service_client::ChangeServiceClient::new(desk.with_token("nora-token"));
    let mut changes = watch.watch_changes(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < 6 {
        let message = changes.message().await.unwrap().unwrap().message;
        if let Some(pb::watch_changes_response::Message::Change(change)) = message {
            told.push((change.article_id.clone(), change.principal.clone(), change.kind()));
        }
    }
    use pb::ChangeKind::{ArticleCreated, JobClaimed, JobOpened};
    let expected = [
        ("a", "desk", ArticleCreated),
        ("n", "nora", ArticleCreated),
        ("i", "idris", ArticleCreated),
        ("n", "idris", JobOpened),
        ("n", "mt-2", JobClaimed),
        ("m", "desk", ArticleCreated),
    ];
    assert_eq!(
        told,
        expected.map(|(id, who, kind)| (id.to_owned(), who.to_owned(), kind))
    );
    // After a restart too: it is stored.
    let commits = desk.server.store.changes(0, 100).await.unwrap().commits;
    assert!(commits.iter().any(|commit| commit.principal == "mt-2"));
    desk.server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_the_word_of_the_caller_counts_and_is_marked() {
    let desk = newsroom().await;
    let Desk { server, directory } = desk;
    let server = server.restart_with(|setup| setup.auth(Config::default())).await;
    let desk = Desk { server, directory };
    let mut client = desk.server.translations();
    let written = client
        .attach_translation(text("Nora", &["un", "deux"]))
        .await
        .unwrap()
        .into_inner();
    assert!(
        client
            .review_translation(review(&written, agent(AgentKind::Human, "Idris")))
            .await
            .is_ok()
    );
    let request = pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "fr".into(),
        ..Default::default()
    };
    let records = client
        .list_provenance(request)
        .await
        .unwrap()
        .into_inner()
        .records;
    assert!(
        records
            .iter()
            .all(|record| record.principal.is_empty() && !record.verified)
    );
}

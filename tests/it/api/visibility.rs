//! Withheld, cancelled and embargoed articles: absent from every read with all their translations, shown on request to
//! callers with the scope, and unchanged when they are published again.

use article_store::clock::ManualClock;
use article_store::domain::access::Right;
use article_store::domain::change::Kind;
use article_store::domain::time::Timestamp;
use article_store::pb;
use article_store::service::Service;
use futures::stream;
use tonic::{Code, Status};

use super::workflow::{acknowledge, person, reject, review, select};
use super::*;
use crate::harness::{LIMIT, Setup, blames, fails, failure};

mod reads;

use reads::{absent, present, refused_without_scope};

fn status_request(id: &str, status: pb::PublicationStatus) -> pb::SetPublicationStatusRequest {
    pb::SetPublicationStatusRequest {
        article_id: id.into(),
        publication_status: status.into(),
        ..Default::default()
    }
}

async fn set_status(server: &Server, request: pb::SetPublicationStatusRequest) -> pb::Article {
    let answer = server.articles().set_publication_status(request).await;
    answer.unwrap().into_inner().article.unwrap()
}

/// An article with every field, two revisions and translations into two languages.
async fn story(server: &Server, id: &str) {
    let created = create(server, full_article(id)).await;
    assert_eq!(created.publication_status(), pb::PublicationStatus::Usable);
    for language in ["fr", "en"] {
        attach(server, small_form(id, language, 1, &["one", "two", ""])).await;
    }
    rewrite(server, id, &["نص جديد", "وقال المتحدث"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_article_disappears_with_all_its_translations_and_comes_back_as_it_was() {
    let server = Server::sled().await;
    story(&server, "a").await;
    create(&server, article("other", &["نص"])).await;
    let before = present(&server, "a", false).await;
    let as_it_was = get(&server, "a").await;
    for status in [pb::PublicationStatus::Withheld, pb::PublicationStatus::Canceled] {
        let seq = server.seq().await;
        let request = pb::SetPublicationStatusRequest {
            reason: "a source asked".into(),
            ..status_request("a", status)
        };
        let withheld = set_status(&server, request.clone()).await;
        assert_ne!(withheld.etag, as_it_was.etag);
        // The caller may not read it any more: it gets the id, the revision and the etag.
        let receipt = pb::Article {
            article_id: "a".into(),
            revision: 2,
            etag: withheld.etag.clone(),
            ..Default::default()
        };
        assert_eq!(withheld, receipt);
        // One commit; setting it again makes none.
        assert_eq!(server.seq().await, seq + 1);
        assert_eq!(set_status(&server, request).await, withheld);
        assert_eq!(server.seq().await, seq + 1);
        let events = server.events_after(seq).await;
        assert_eq!(
            events.iter().map(|event| &event.kind).collect::<Vec<_>>(),
            [&Kind::PublicationStatusChanged]
        );
        absent(&server, "a", false).await;
        refused_without_scope(&server, "a").await;
        server.check().await;
    }
    // Others are not touched.
    get(&server, "other").await;
    let server = server
        .restart_with(|setup| setup.scopes(&[Right::Embargoed]))
        .await;
    absent(&server, "a", true).await;
    let server = server
        .restart_with(|setup| setup.scopes(&[Right::Editorial]))
        .await;
    absent(&server, "a", false).await;
    present(&server, "a", true).await;
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    absent(&server, "a", false).await;
    let released = set_status(&server, status_request("a", pb::PublicationStatus::Usable)).await;
    assert_eq!(released.status_reason, "");
    let after = present(&server, "a", false).await;
    assert_eq!(after.len(), before.len());
    let back = get(&server, "a").await;
    assert_eq!(
        pb::Article {
            etag: as_it_was.etag.clone(),
            update_time: as_it_was.update_time,
            ..back
        },
        as_it_was
    );
    server.check().await;
}

/// Asserts that no call changes the translations of an article.
async fn every_step_fails(server: &Server, id: &str, code: Code, reason: &str) {
    let mut client = server.translations();
    let (article_id, language, translation_id) = (id.to_owned(), "en".to_owned(), "t1".to_owned());
    let check = |status: Status| {
        let failure = failure(&status);
        assert_eq!((failure.code, failure.reason.as_str()), (code, reason));
        assert_eq!(failure.metadata["article_id"], id);
    };
    let attach = small_form(id, "de", 1, &["one", "two", ""]);
    check(client.attach_translation(attach).await.unwrap_err());
    let review = pb::ReviewTranslationRequest {
        article_id: article_id.clone(),
        ..review("Omar", "1-0")
    };
    check(client.review_translation(review).await.unwrap_err());
    let select = pb::SelectTranslationRequest {
        article_id: article_id.clone(),
        ..select("t1", "")
    };
    check(client.select_translation(select).await.unwrap_err());
    let reject = pb::RejectTranslationRequest {
        article_id: article_id.clone(),
        ..reject("t1", "no")
    };
    check(client.reject_translation(reject).await.unwrap_err());
    let acknowledge = pb::AcknowledgeSourceRequest {
        article_id: article_id.clone(),
        ..acknowledge("Omar", "1-0", 1)
    };
    check(client.acknowledge_source(acknowledge).await.unwrap_err());
    let issue = pb::QualityIssue {
        dimension: "Style".into(),
        severity: pb::IssueSeverity::Minor.into(),
        ..Default::default()
    };
    let scores = pb::AddQualityScoresRequest {
        article_id: article_id.clone(),
        language: language.clone(),
        translation_id: translation_id.clone(),
        quality_issues: vec![issue],
        agent: person("Omar"),
        ..Default::default()
    };
    check(client.add_quality_scores(scores).await.unwrap_err());
    let detach = pb::DetachTranslationRequest {
        article_id,
        language,
        translation_id,
        ..Default::default()
    };
    check(client.detach_translation(detach).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_articles_take_writes_and_stay_hidden() {
    let server = Setup::memory().scopes(&[Right::Editorial]).start().await;
    story(&server, "a").await;
    set_status(&server, status_request("a", pb::PublicationStatus::Withheld)).await;
    let updated = rewrite(&server, "a", &["نص آخر"]).await;
    assert_eq!(updated.revision, 3);
    assert_eq!(updated.publication_status(), pb::PublicationStatus::Withheld);
    let item = article_store::api::codec::ImportArticlesRequest {
        item: 1,
        article: Some(
            prost::Message::encode_to_vec(&pb::Article {
                article_id: String::new(),
                publication_status: pb::PublicationStatus::Usable.into(),
                ..full_article("a")
            })
            .into(),
        ),
        significance: 0,
    };
    let mut answers = server
        .articles()
        .import_articles(stream::iter([item]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(
        (answer.result(), answer.article_id.as_str(), answer.revision),
        (pb::ImportResult::Revised, "a", 4),
        "{answer:?}"
    );
    absent(&server, "a", false).await;
    every_step_fails(&server, "a", Code::FailedPrecondition, "SOURCE_WITHHELD").await;
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    // A deleted article can be released; it stays deleted.
    let released = set_status(&server, status_request("a", pb::PublicationStatus::Usable)).await;
    assert!(released.delete_time.is_some());
    absent(&server, "a", false).await;
    let undelete = pb::UndeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().undelete_article(undelete).await.unwrap();
    get(&server, "a").await;
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_status_checks_its_fields_its_etag_and_its_request() {
    let server = Server::memory().await;
    let created = create(&server, article("a", &["نص"])).await;
    let mut client = server.articles();
    let wrong = pb::SetPublicationStatusRequest {
        article_id: "a/".into(),
        embargo_time: Some(time(Timestamp::MAX)),
        lift_embargo: true,
        reason: "x".repeat(1_025),
        etag: "x".repeat(65),
        request_id: "x".into(),
        ..Default::default()
    };
    blames(
        client.set_publication_status(wrong).await,
        &[
            "request_id",
            "etag",
            "article_id",
            "lift_embargo",
            "reason",
            "publication_status",
        ],
    );
    let withhold = status_request("a", pb::PublicationStatus::Withheld);
    fails(
        client
            .set_publication_status(status_request("none", pb::PublicationStatus::Withheld))
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let stale = pb::SetPublicationStatusRequest {
        etag: "7-x".into(),
        ..withhold.clone()
    };
    fails(
        client.set_publication_status(stale.clone()).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let once = pb::SetPublicationStatusRequest {
        etag: created.etag.clone(),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..withhold
    };
    let first = set_status(&server, once.clone()).await;
    set_status(&server, status_request("a", pb::PublicationStatus::Usable)).await;
    let seq = server.seq().await;
    assert_eq!(set_status(&server, once).await, first);
    assert_eq!(server.seq().await, seq);
    // An etag is compared also where nothing would change.
    let usable = pb::SetPublicationStatusRequest {
        etag: "7-x".into(),
        ..status_request("a", pb::PublicationStatus::Usable)
    };
    fails(
        client.set_publication_status(usable).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(server.seq().await, seq);
}

fn micros(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000).unwrap()
}

/// Waits until everybody can read an article.
async fn appears(server: &Server, id: &str) -> pb::Article {
    let request = pb::GetArticleRequest {
        article_id: id.into(),
        ..Default::default()
    };
    let read = async {
        loop {
            if let Ok(answer) = server.articles().get_article(request.clone()).await {
                return answer.into_inner().article.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .expect("it appears in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embargo_ends_by_itself_also_while_no_server_runs() {
    const START: i64 = 1_652_000_000;
    let clock = ManualClock::at(micros(START));
    let server = Setup::sled()
        .clock(clock.clone())
        .scopes(&[Right::Embargoed])
        .start()
        .await;
    let mut created = Vec::new();
    for (id, end) in [("a", 60), ("b", 120), ("c", 120)] {
        let embargoed = pb::Article {
            embargo_time: Some(time(micros(START + end))),
            ..full_article(id)
        };
        created.push(create(&server, embargoed).await);
        absent(&server, id, false).await;
        // Translated ahead.
        attach(&server, small_form(id, "fr", 1, &["one", "two", ""])).await;
        present(&server, id, true).await;
    }
    server.check().await;
    let seq = server.seq().await;
    // A clock that is days ahead ends no embargo, and nothing is written.
    clock.jump(micros(START + 86_400 + 60));
    let service = Service::new(server.store.clone(), std::sync::Arc::new(clock.clone()));
    assert!(
        !service
            .lift_embargoes(&mut std::collections::HashSet::new())
            .await
            .unwrap()
    );
    let withheld = status_request("a", pb::PublicationStatus::Withheld);
    let refused = server.articles().set_publication_status(withheld).await;
    assert_eq!(failure(&refused.unwrap_err()).reason, "STORE_UNAVAILABLE");
    absent(&server, "a", false).await;
    clock.jump(micros(START));
    clock.set(micros(START + 60));
    let shown = appears(&server, "a").await;
    assert_eq!(shown.embargo_time, Some(time(micros(START + 60))));
    // Text and metadata are the same, so the etag is.
    assert_eq!(shown.etag, created[0].etag);
    present(&server, "a", false).await;
    absent(&server, "b", false).await;
    let events = server.events_after(seq).await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0].kind, events[0].article.as_str()),
        (&Kind::EmbargoLifted, "a")
    );
    // Who is not in the know cannot attach, and does not learn that there is something.
    let server = server
        .restart_with(|setup| setup.scopes(&[Right::Editorial]))
        .await;
    every_step_fails(&server, "b", Code::NotFound, "ARTICLE_NOT_FOUND").await;
    // Withheld meanwhile, it does not appear; released after its end, it does at once.
    set_status(&server, status_request("c", pb::PublicationStatus::Withheld)).await;
    server.check().await;
    let server = server
        .restart_with(|setup| {
            clock.set(micros(START + 7_200));
            setup.scopes(&[])
        })
        .await;
    appears(&server, "b").await;
    present(&server, "b", false).await;
    absent(&server, "c", false).await;
    set_status(&server, status_request("c", pb::PublicationStatus::Usable)).await;
    present(&server, "c", false).await;
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embargoes_are_moved_and_lifted_by_name_and_survive_an_import() {
    const START: i64 = 1_652_000_000;
    let clock = ManualClock::at(micros(START));
    let server = Setup::sled()
        .clock(clock.clone())
        .scopes(&[Right::Embargoed])
        .start()
        .await;
    let embargoed = pb::Article {
        embargo_time: Some(time(micros(START + 60))),
        ..article("a", &["نص"])
    };
    create(&server, embargoed).await;
    // The whole article is replaced, and does not appear by that.
    let replaced = update(&server, article("a", &["نص آخر"]), &["*"]).await;
    assert_eq!(replaced.embargo_time, Some(time(micros(START + 60))));
    let later = pb::SetPublicationStatusRequest {
        embargo_time: Some(time(micros(START + 120))),
        ..status_request("a", pb::PublicationStatus::Usable)
    };
    set_status(&server, later).await;
    server.check().await;
    clock.set(micros(START + 90));
    // Something else that is due shows that the keeper was there.
    let other = pb::Article {
        embargo_time: Some(time(micros(START + 91))),
        ..article("b", &["نص"])
    };
    create(&server, other).await;
    clock.set(micros(START + 91));
    appears(&server, "b").await;
    fails(
        server
            .articles()
            .get_article(pb::GetArticleRequest {
                article_id: "a".into(),
                ..Default::default()
            })
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let seq = server.seq().await;
    let lifted = update(&server, article("a", &[]), &["embargo_time"]).await;
    assert_eq!(lifted.embargo_time, None);
    get(&server, "a").await;
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds, [Kind::ArticleMetadataChanged, Kind::EmbargoLifted]);
    server.check().await;
}

//! The standard services beside the API: health follows the server, reflection knows every service.

use futures::stream;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use article_store::pb;
use tonic::Code;

use super::{article, create};
use crate::harness::{Failure, LIMIT, Server, failure, refused};

const SERVICES: [&str; 2] = [
    "articlestore.v1.ArticleService",
    "articlestore.v1.TranslationService",
];

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_serves_until_the_server_stops() {
    let server = Server::sled().await;
    let mut client = HealthClient::new(server.channel());
    for service in ["", SERVICES[0], SERVICES[1]] {
        let answer = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = client
        .check(of("articlestore.v2.ArticleService"))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let mut watch = client.watch(of(SERVICES[0])).await.unwrap().into_inner();
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::Serving);
    // Who watches hears of the stop before the connection ends.
    let (stopped, heard) = futures::join!(server.stop(), async {
        let heard = tokio::time::timeout(LIMIT, watch.message()).await;
        heard.expect("in time")
    });
    let () = stopped;
    let heard: HealthCheckResponse = heard.unwrap().unwrap();
    assert_eq!(heard.status(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_store_the_server_says_so_and_is_not_healthy() {
    let server = Server::memory().await;
    create(&server, article("a", &["نص"])).await;
    let mut watch = HealthClient::new(server.channel())
        .watch(of(""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    server.store.close().await.unwrap();
    let mut articles = server.articles();
    let mut translations = server.translations();
    let id = || "a".to_owned();
    let unavailable = |failure: Failure| {
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::Unavailable, "STORE_UNAVAILABLE")
        );
        assert!(failure.retry, "{failure:?}");
    };
    let create = pb::CreateArticleRequest {
        article: Some(article("b", &["نص"])),
        ..Default::default()
    };
    unavailable(refused(articles.create_article(create.clone()).await));
    let create = pb::CreateArticleRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..create
    };
    unavailable(refused(articles.create_article(create).await));
    let get = pb::GetArticleRequest {
        article_id: id(),
        ..Default::default()
    };
    unavailable(refused(articles.get_article(get).await));
    let batch = pb::BatchGetArticlesRequest {
        article_ids: vec![id()],
        ..Default::default()
    };
    unavailable(refused(articles.batch_get_articles(batch).await));
    let lookup = pb::LookupArticleRequest {
        alias: Some(pb::lookup_article_request::Alias::CanonicalUrl(
            "https://example.com/".into(),
        )),
        ..Default::default()
    };
    unavailable(refused(articles.lookup_article(lookup).await));
    let update = super::update_request(article("a", &["آخر"]), &["body"]);
    unavailable(refused(articles.update_article(update).await));
    let delete = pb::DeleteArticleRequest {
        article_id: id(),
        ..Default::default()
    };
    unavailable(refused(articles.delete_article(delete).await));
    let undelete = pb::UndeleteArticleRequest {
        article_id: id(),
        ..Default::default()
    };
    unavailable(refused(articles.undelete_article(undelete).await));
    unavailable(refused(
        articles.list_articles(pb::ListArticlesRequest::default()).await,
    ));
    let revisions = pb::ListRevisionsRequest {
        article_id: id(),
        ..Default::default()
    };
    unavailable(refused(articles.list_revisions(revisions).await));
    let status = pb::SetPublicationStatusRequest {
        article_id: id(),
        publication_status: pb::PublicationStatus::Withheld.into(),
        ..Default::default()
    };
    unavailable(refused(articles.set_publication_status(status).await));
    let purge = pb::PurgeArticleRequest {
        article_id: id(),
        reason: "order".into(),
        ..Default::default()
    };
    unavailable(refused(articles.purge_article(purge).await));
    let diff = pb::DiffRevisionsRequest {
        article_id: id(),
        from_revision: 1,
        ..Default::default()
    };
    unavailable(refused(articles.diff_revisions(diff).await));
    let mut export = articles
        .export_articles(pb::ExportArticlesRequest::default())
        .await
        .unwrap()
        .into_inner();
    unavailable(failure(&export.message().await.unwrap_err()));
    let item = article_store::api::codec::ImportArticlesRequest {
        item: 7,
        article: Some(prost::Message::encode_to_vec(&article("b", &["نص"])).into()),
        significance: 0,
    };
    let mut import = articles
        .import_articles(stream::iter([item]))
        .await
        .unwrap()
        .into_inner();
    let answer = import.message().await.unwrap().unwrap();
    assert_eq!(answer.error.unwrap().reason(), pb::ErrorReason::StoreUnavailable);
    let attach = super::small_form("a", "en", 1, &["text"]);
    unavailable(refused(translations.attach_translation(attach).await));
    let get = pb::GetTranslationRequest {
        article_id: id(),
        language: "en".into(),
        ..Default::default()
    };
    unavailable(refused(translations.get_translation(get).await));
    let list = pb::ListTranslationsRequest {
        article_id: id(),
        ..Default::default()
    };
    unavailable(refused(translations.list_translations(list).await));
    let detach = pb::DetachTranslationRequest {
        article_id: id(),
        language: "en".into(),
        translation_id: "t1".into(),
        ..Default::default()
    };
    unavailable(refused(translations.detach_translation(detach).await));
    use super::workflow::{acknowledge, reject, review, select};
    unavailable(refused(
        translations.review_translation(review("Leïla", "1-0")).await,
    ));
    unavailable(refused(translations.select_translation(select("t1", "")).await));
    unavailable(refused(translations.reject_translation(reject("t1", "x")).await));
    let acknowledgement = acknowledge("Leïla", "1-0", 1);
    unavailable(refused(translations.acknowledge_source(acknowledgement).await));
    let list = pb::ListProvenanceRequest {
        article_id: id(),
        language: "en".into(),
        ..Default::default()
    };
    unavailable(refused(translations.list_provenance(list).await));
    let heard = tokio::time::timeout(LIMIT, watch.message()).await.unwrap();
    assert_eq!(heard.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_and_describes_every_service() {
    use tonic_reflection::pb::{v1, v1alpha};
    let server = Server::memory().await;
    let mut expected = vec!["grpc.health.v1.Health".to_owned()];
    expected.extend(SERVICES.map(str::to_owned));

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(server.channel());
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let ask = |request| v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(SERVICES[0].into())),
        ask(MessageRequest::FileContainingSymbol(
            "google.protobuf.Timestamp".into(),
        )),
        ask(MessageRequest::FileContainingSymbol(
            "articlestore.v1.ErrorReason".into(),
        )),
        ask(MessageRequest::FileContainingSymbol(
            "google.rpc.ErrorInfo".into(),
        )),
    ];
    let mut answers = client
        .server_reflection_info(stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let listed = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in &expected {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    for _ in 0..4 {
        let described = answers
            .message()
            .await
            .unwrap()
            .unwrap()
            .message_response
            .unwrap();
        assert!(
            matches!(described, MessageResponse::FileDescriptorResponse(_)),
            "{described:?}"
        );
    }

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    use v1alpha::server_reflection_response::MessageResponse as Alpha;
    let listed = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let Alpha::ListServicesResponse(listed) = listed else {
        panic!("{listed:?}")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in &expected {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}

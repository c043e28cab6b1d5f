//! A purged article is gone for every read, its id is never given again, and its URLs are free.

use article_store::domain::access::Right;
use article_store::domain::change::Kind;
use article_store::pb;
use futures::stream;
use tonic::Code;

use super::*;
use crate::harness::{Setup, blames, fails};

pub(super) fn purge_request(id: &str) -> pb::PurgeArticleRequest {
    pb::PurgeArticleRequest {
        article_id: id.into(),
        reason: "court order 17".into(),
        ..Default::default()
    }
}

pub(super) async fn purge(server: &Server, request: pb::PurgeArticleRequest) -> pb::PurgeArticleResponse {
    server
        .articles()
        .purge_article(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_article_is_gone_and_says_so() {
    let server = Setup::sled().scopes(&[Right::Editorial]).start().await;
    let create_request = pb::CreateArticleRequest {
        article: Some(full_article("a")),
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let mut client = server.articles();
    client.create_article(create_request.clone()).await.unwrap();
    rewrite(&server, "a", &["نص جديد"]).await;
    attach(&server, small_form("a", "fr", 2, &["one"])).await;
    let seq = server.seq().await;
    let purged = purge(&server, purge_request("a")).await;
    assert_eq!(
        (purged.article_id.as_str(), purged.reason.as_str()),
        ("a", "court order 17")
    );
    assert_eq!(purged.purge_time, Some(time(server.newest_commit().await)));
    assert_eq!(server.seq().await, seq + 1);
    let events = server.events_after(seq).await;
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0].kind, events[0].etag), (&Kind::ArticlePurged, None));
    // Once more changes nothing, whatever is said now.
    let again = pb::PurgeArticleRequest {
        reason: "another".into(),
        etag: "9-x".into(),
        ..purge_request("a")
    };
    assert_eq!(purge(&server, again).await, purged);
    assert_eq!(server.seq().await, seq + 1);
    server.check().await;

    let server = server.restart().await;
    let (mut client, mut translations) = (server.articles(), server.translations());
    let get = pb::GetArticleRequest {
        article_id: "a".into(),
        show_deleted: true,
        show_hidden: true,
        ..Default::default()
    };
    for at in [None, Some(pb::get_article_request::At::Revision(1))] {
        let request = pb::GetArticleRequest { at, ..get.clone() };
        let gone = fails(
            client.get_article(request).await,
            Code::NotFound,
            "ARTICLE_PURGED",
        );
        assert_eq!(gone.metadata["article_id"], "a");
        // The reason is for callers with the scope `admin`: PurgeArticle answers it again.
        assert!(!format!("{gone:?}").contains("court order"), "{gone:?}");
        assert!(gone.metadata["purge_time"].ends_with('Z'), "{gone:?}");
    }
    let revisions = pb::ListRevisionsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    fails(
        client.list_revisions(revisions).await,
        Code::NotFound,
        "ARTICLE_PURGED",
    );
    let translation = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "fr".into(),
        ..Default::default()
    };
    fails(
        translations.get_translation(translation).await,
        Code::NotFound,
        "ARTICLE_PURGED",
    );
    let list = pb::ListTranslationsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    fails(
        translations.list_translations(list).await,
        Code::NotFound,
        "ARTICLE_PURGED",
    );
    let lookup = pb::LookupArticleRequest {
        alias: Some(pb::lookup_article_request::Alias::CanonicalUrl(
            "https://example.com/a".into(),
        )),
        ..Default::default()
    };
    fails(
        client.lookup_article(lookup).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let batch = pb::BatchGetArticlesRequest {
        article_ids: vec!["a".into()],
        show_deleted: true,
        ..Default::default()
    };
    let answer = client.batch_get_articles(batch).await.unwrap().into_inner();
    assert_eq!(answer.missing_ids, ["a"]);
    let list = pb::ListArticlesRequest {
        show_deleted: true,
        show_hidden: true,
        ..Default::default()
    };
    assert_eq!(
        client.list_articles(list).await.unwrap().into_inner().articles,
        []
    );
    assert_eq!(server.export().await, []);

    // Writes fail by name, and the request that made it is not carried out again.
    fails(
        client
            .update_article(update_request(article("a", &["نص"]), &["body"]))
            .await,
        Code::NotFound,
        "ARTICLE_PURGED",
    );
    fails(
        translations
            .attach_translation(small_form("a", "fr", 2, &["one"]))
            .await,
        Code::NotFound,
        "ARTICLE_PURGED",
    );
    fails(
        client.create_article(create_request).await,
        Code::NotFound,
        "ARTICLE_PURGED",
    );
    let create = pb::CreateArticleRequest {
        article: Some(article("a", &["نص"])),
        ..Default::default()
    };
    fails(
        client.create_article(create).await,
        Code::AlreadyExists,
        "ID_PURGED",
    );
    let upsert = pb::UpdateArticleRequest {
        allow_missing: true,
        ..update_request(article("a", &["نص"]), &["*"])
    };
    fails(
        client.update_article(upsert).await,
        Code::AlreadyExists,
        "ID_PURGED",
    );
    let import = |id: &str, item| article_store::api::codec::ImportArticlesRequest {
        item,
        article: Some(
            prost::Message::encode_to_vec(&pb::Article {
                article_id: id.into(),
                ..full_article("a")
            })
            .into(),
        ),
        significance: 0,
    };
    let items = stream::iter([import("a", 1), import("", 2)]);
    let mut answers = client.import_articles(items).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.error.unwrap().reason(), pb::ErrorReason::IdPurged);
    // Its URL and guid are free for another.
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.result(), pb::ImportResult::Created, "{answer:?}");
    assert_ne!(answer.article_id, "a");
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_checks_its_fields_its_etag_and_its_request() {
    let server = Server::memory().await;
    let mut client = server.articles();
    let wrong = pb::PurgeArticleRequest {
        article_id: "a/".into(),
        reason: " ".into(),
        etag: "x".repeat(65),
        request_id: "x".into(),
    };
    blames(
        client.purge_article(wrong).await,
        &["request_id", "etag", "article_id", "reason"],
    );
    fails(
        client.purge_article(purge_request("a")).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let created = create(&server, article("a", &["نص"])).await;
    let stale = pb::PurgeArticleRequest {
        etag: "9-x".into(),
        ..purge_request("a")
    };
    fails(client.purge_article(stale).await, Code::Aborted, "ETAG_MISMATCH");
    get(&server, "a").await;
    // Deleted and withheld articles can be purged too, and a retry gives the first answer.
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        etag: created.etag,
        ..Default::default()
    };
    client.delete_article(delete).await.unwrap();
    let once = pb::PurgeArticleRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..purge_request("a")
    };
    let purged = purge(&server, once.clone()).await;
    let seq = server.seq().await;
    assert_eq!(purge(&server, once).await, purged);
    assert_eq!(server.seq().await, seq);
    let recorded = pb::PurgeArticleRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..purge_request("a")
    };
    assert_eq!(purge(&server, recorded.clone()).await, purged);
    let other = pb::PurgeArticleRequest {
        reason: "another".into(),
        ..recorded
    };
    fails(
        client.purge_article(other).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_beside_a_purge_find_the_article_or_learn_that_it_was_purged() {
    let server = Server::sled().await;
    for round in 0..20 {
        let id = format!("a{round}");
        create(&server, full_article(&id)).await;
        for text in ["أول", "ثان", "ثالث"] {
            rewrite(&server, &id, &[text]).await;
        }
        let reading = async {
            let mut reads = 0;
            loop {
                let request = pb::GetArticleRequest {
                    article_id: id.clone(),
                    at: Some(pb::get_article_request::At::Revision(2)),
                    ..Default::default()
                };
                let list = pb::ListArticlesRequest {
                    view: pb::ArticleView::Full.into(),
                    ..Default::default()
                };
                server.articles().list_articles(list).await.unwrap();
                match server.articles().get_article(request).await {
                    Ok(_) => reads += 1,
                    gone => {
                        fails(gone, Code::NotFound, "ARTICLE_PURGED");
                        return reads;
                    }
                }
            }
        };
        futures::join!(reading, purge(&server, purge_request(&id)));
    }
    server.check().await;
}

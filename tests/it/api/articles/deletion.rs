//! Deleting, undeleting, and the events of changes.

use article_store::domain::change::Kind;
use article_store::pb;
use tonic::Code;

use super::other_article;
use crate::api::{article, create, full_article, get, ids, rewrite, settable, update, update_request};
use crate::harness::{Server, fails};

#[tokio::test(flavor = "multi_thread")]
async fn delete_hides_and_undelete_brings_back_as_it_was() {
    let server = Server::sled().await;
    let mut client = server.articles();
    let created = create(&server, full_article("a")).await;
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let deleted = client.delete_article(delete.clone()).await.unwrap().into_inner();
    let deleted = deleted.article.unwrap();
    assert!(deleted.delete_time.is_some() && deleted.body.is_empty());
    // Deleting it again changes nothing.
    let seq = server.seq().await;
    let again = client.delete_article(delete.clone()).await.unwrap().into_inner();
    assert_eq!(again.article.as_ref(), Some(&deleted));
    assert_eq!(server.seq().await, seq);

    let server = server.restart().await;
    let mut client = server.articles();
    let get_request = |show_deleted| pb::GetArticleRequest {
        article_id: "a".into(),
        show_deleted,
        ..Default::default()
    };
    let lookup = |show_deleted| pb::LookupArticleRequest {
        alias: Some(pb::lookup_article_request::Alias::CanonicalUrl(
            created.canonical_url.clone(),
        )),
        show_deleted,
        ..Default::default()
    };
    let batch = |show_deleted| pb::BatchGetArticlesRequest {
        article_ids: vec!["a".into()],
        show_deleted,
        ..Default::default()
    };
    fails(
        client.get_article(get_request(false)).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    for moment in [
        pb::get_article_request::At::Revision(1),
        pb::get_article_request::At::AsOfTime(created.create_time.unwrap()),
    ] {
        let request = pb::GetArticleRequest {
            at: Some(moment),
            ..get_request(false)
        };
        fails(
            client.get_article(request).await,
            Code::NotFound,
            "ARTICLE_NOT_FOUND",
        );
    }
    fails(
        client.lookup_article(lookup(false)).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let answer = client
        .batch_get_articles(batch(false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.articles.len(), answer.missing_ids.len()), (0, 1));
    let shown = client.get_article(get_request(true)).await.unwrap().into_inner();
    let shown = shown.article.unwrap();
    assert_eq!(shown.delete_time, deleted.delete_time);
    assert_eq!(settable(&shown), settable(&created));
    let found = client.lookup_article(lookup(true)).await.unwrap().into_inner();
    assert_eq!(found.article.as_ref(), Some(&shown));
    let answer = client.batch_get_articles(batch(true)).await.unwrap().into_inner();
    assert_eq!(answer.articles, std::slice::from_ref(&deleted));
    // It keeps its id and aliases, and takes no writes.
    let request = pb::CreateArticleRequest {
        article: Some(article("a", &["نص"])),
        ..Default::default()
    };
    fails(
        client.create_article(request).await,
        Code::AlreadyExists,
        "ARTICLE_EXISTS",
    );
    let mut thief = full_article("b");
    thief.guid = String::new();
    thief.canonical_url = created.canonical_url.clone();
    let request = pb::CreateArticleRequest {
        article: Some(thief),
        ..Default::default()
    };
    let taken = fails(
        client.create_article(request).await,
        Code::AlreadyExists,
        "ALIAS_TAKEN",
    );
    assert_eq!(taken.metadata["holder_article_id"], "a");
    fails(
        client
            .update_article(update_request(other_article("a"), &["*"]))
            .await,
        Code::FailedPrecondition,
        "ARTICLE_DELETED",
    );
    let undelete = pb::UndeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    client.undelete_article(undelete.clone()).await.unwrap();
    let back = get(&server, "a").await;
    assert_eq!(settable(&back), settable(&created));
    assert_eq!((back.revision, back.delete_time), (1, None));
    assert_eq!(ids(&back), ids(&created));
    let seq = server.seq().await;
    client.undelete_article(undelete).await.unwrap();
    assert_eq!(server.seq().await, seq);
    let missing = pb::DeleteArticleRequest {
        article_id: "none".into(),
        ..Default::default()
    };
    fails(
        client.delete_article(missing).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_changes_and_of_nothing_else() {
    let server = Server::memory().await;
    create(&server, full_article("a")).await;
    create(&server, full_article("a2")).await;
    rewrite(&server, "a", &["نص"]).await;
    rewrite(&server, "a", &["نص"]).await;
    let section = pb::Article {
        article_id: "a".into(),
        section: "Sport".into(),
        ..Default::default()
    };
    update(&server, section.clone(), &[]).await;
    update(&server, section, &[]).await;
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..Default::default()
    };
    server.articles().delete_article(delete.clone()).await.unwrap();
    server.articles().delete_article(delete).await.unwrap();
    let kinds: Vec<_> = server
        .events_after(0)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            Kind::ArticleCreated,
            Kind::ArticleCreated,
            Kind::ArticleRevised,
            Kind::ArticleMetadataChanged,
            Kind::ArticleDeleted,
        ]
    );
}

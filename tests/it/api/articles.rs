//! Articles: created, read, changed field by field, deleted and brought back; ids, etags and aliases.

use article_store::pb;
use tonic::Code;

use super::{
    article, body, create, full_article, get, ids, rewrite, segment, settable, update, update_request,
};
use crate::harness::{Server, blames, fails};

mod deletion;
mod identity;

/// What `UpdateArticle` can set.
const FIELDS: [&str; 16] = [
    "language",
    "title",
    "lead",
    "body",
    "section",
    "publisher",
    "canonical_url",
    "guid",
    "located",
    "dateline",
    "info_sources",
    "authors",
    "keywords",
    "labels",
    "published",
    "updated",
];

fn copy_field(field: &str, from: &pb::Article, to: &mut pb::Article) {
    let from = from.clone();
    match field {
        "language" => to.language = from.language,
        "title" => to.title = from.title,
        "lead" => to.lead = from.lead,
        "body" => to.body = from.body,
        "section" => to.section = from.section,
        "publisher" => to.publisher = from.publisher,
        "canonical_url" => to.canonical_url = from.canonical_url,
        "guid" => to.guid = from.guid,
        "located" => to.located = from.located,
        "dateline" => to.dateline = from.dateline,
        "info_sources" => to.info_sources = from.info_sources,
        "authors" => to.authors = from.authors,
        "keywords" => to.keywords = from.keywords,
        "labels" => to.labels = from.labels,
        "published" => to.published = from.published,
        "updated" => to.updated = from.updated,
        _ => panic!("{field}"),
    }
}

/// Differs from `full_article` in every settable field.
fn other_article(id: &str) -> pb::Article {
    pb::Article {
        article_id: id.into(),
        language: "fr".into(),
        title: Some(segment("Titre")),
        lead: Some(segment("Chapeau")),
        body: body(&["Un paragraphe", "Un autre"]),
        section: "Monde".into(),
        publisher: "Le Journal".into(),
        canonical_url: format!("https://example.org/autre/{id}"),
        guid: format!("autre-{id}"),
        located: "Rabat".into(),
        dateline: "RABAT —".into(),
        info_sources: vec!["MAP".into()],
        authors: vec!["Leïla".into()],
        keywords: vec!["paix".into()],
        labels: [("a".into(), "b".into())].into(),
        published: Some(super::date(1_000_000_000, 0, "9 septembre 2001")),
        updated: None,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_created_is_read_back_by_every_way() {
    let server = Server::sled().await;
    let sent = full_article("JA-local.1_~2");
    let created = create(&server, sent.clone()).await;
    assert_eq!(settable(&created), settable(&sent));
    assert_eq!(created.direction(), pb::Direction::Rtl);
    assert_eq!(created.revision, 1);
    assert_eq!(ids(&created), ["s1", "s2", "s3"]);
    assert_eq!(created.title.as_ref().unwrap().segment_id, "title");
    assert_eq!(created.lead.as_ref().unwrap().segment_id, "lead");
    assert_eq!(created.create_time, created.update_time);
    assert_eq!(created.create_time, created.revise_time);
    assert_eq!(created.delete_time, None);
    assert_eq!(get(&server, &sent.article_id).await, created);

    let basic = pb::Article {
        body: vec![],
        ..created.clone()
    };
    let mut client = server.articles();
    for (view, expected) in [
        (pb::ArticleView::Unspecified, &created),
        (pb::ArticleView::Full, &created),
        (pb::ArticleView::Basic, &basic),
    ] {
        let request = pb::GetArticleRequest {
            article_id: sent.article_id.clone(),
            view: view.into(),
            ..Default::default()
        };
        let answer = client.get_article(request).await.unwrap().into_inner();
        assert_eq!(answer.article.as_ref(), Some(expected), "{view:?}");
    }
    let request = pb::BatchGetArticlesRequest {
        article_ids: vec!["none".into(), sent.article_id.clone(), "neither".into()],
        ..Default::default()
    };
    let answer = client.batch_get_articles(request).await.unwrap().into_inner();
    assert_eq!(answer.articles, [basic]);
    assert_eq!(answer.missing_ids, ["none", "neither"]);
    assert_eq!(answer.unprocessed_ids, Vec::<String>::new());
    use pb::lookup_article_request::Alias;
    for alias in [
        Alias::CanonicalUrl("HTTPS://EXAMPLE.COM:443/JA-local.1_~2?utm_source=x#top".into()),
        Alias::Guid(pb::Guid {
            publisher: "إرم نيوز".into(),
            guid: "guid-JA-local.1_~2".into(),
        }),
    ] {
        let request = pb::LookupArticleRequest {
            alias: Some(alias),
            ..Default::default()
        };
        let answer = client.lookup_article(request).await.unwrap().into_inner();
        assert_eq!(answer.article.as_ref(), Some(&created));
    }
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_makes_ids_and_canonical_tags() {
    let server = Server::memory().await;
    let sent = pb::Article {
        language: "iw".into(),
        ..article("", &["שלום"])
    };
    let first = create(&server, sent.clone()).await;
    let second = create(&server, sent).await;
    assert_ne!(first.article_id, second.article_id);
    let id = uuid::Uuid::parse_str(&first.article_id).unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(first.language, "he");
    assert_eq!(first.direction(), pb::Direction::Rtl);
    let request = pb::CreateArticleRequest {
        article: Some(article(&first.article_id, &["آخر"])),
        ..Default::default()
    };
    let taken = fails(
        server.articles().create_article(request).await,
        Code::AlreadyExists,
        "ARTICLE_EXISTS",
    );
    assert_eq!(taken.metadata["article_id"], first.article_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn bidi_controls_tatweel_and_normal_forms_are_kept_as_they_are() {
    let server = Server::memory().await;
    let texts = [
        "\u{202E}gnirts\u{202C} \u{2066}x\u{2069} \u{200F}\u{200E}\u{061C}",
        "ســـلام",
        "e\u{301} é \u{FEFF}\u{200B}",
        "  two  spaces\tand\r\nbreaks  ",
        "👩‍👩‍👧 \u{10FFFD}",
    ];
    let created = create(&server, article("bidi", &texts)).await;
    let read: Vec<_> = created.body.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(read, texts);
    let spans = vec![pb::Span {
        start: 0,
        end: 1,
        mark: pb::SpanMark::Bold.into(),
        href: String::new(),
    }];
    let marked = pb::Article {
        article_id: "bidi".into(),
        body: vec![pb::Segment {
            spans: spans.clone(),
            ..segment("👩‍👩‍👧")
        }],
        ..Default::default()
    };
    assert_eq!(update(&server, marked, &[]).await.body[0].spans, spans);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_changes_its_field_and_nothing_else() {
    let server = Server::memory().await;
    let other = other_article("a");
    create(&server, full_article("a")).await;
    for field in FIELDS {
        let before = get(&server, "a").await;
        let answer = update(&server, other.clone(), &[field]).await;
        let mut expected = settable(&before);
        copy_field(field, &settable(&other), &mut expected);
        assert_eq!(settable(&answer), expected, "{field}");
        assert_eq!(get(&server, "a").await, answer, "{field}");
        assert_ne!(answer.etag, before.etag, "{field}");
        assert_ne!(answer.update_time, before.update_time, "{field}");
        let is_content = matches!(field, "title" | "lead" | "body");
        assert_eq!(
            answer.revision,
            before.revision + u32::from(is_content),
            "{field}"
        );
        assert_eq!(answer.revise_time != before.revise_time, is_content, "{field}");

        // Again: nothing differs, so nothing is written.
        let seq = server.seq().await;
        assert_eq!(update(&server, other.clone(), &[field]).await, answer, "{field}");
        assert_eq!(server.seq().await, seq, "{field}");
    }
    assert_eq!(settable(&get(&server, "a").await), settable(&other));
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_star_empty_and_clearing() {
    let server = Server::memory().await;
    let created = create(&server, full_article("a")).await;
    // What was read can be sent back as it is, under every kind of mask.
    let seq = server.seq().await;
    for mask in [&["*"][..], &[], &FIELDS] {
        assert_eq!(update(&server, created.clone(), mask).await, created, "{mask:?}");
    }
    assert_eq!(server.seq().await, seq);

    let answer = update(&server, other_article("a"), &["*"]).await;
    assert_eq!(settable(&answer), settable(&other_article("a")));
    // An empty mask changes what is set.
    let few = pb::Article {
        article_id: "a".into(),
        section: "Sport".into(),
        lead: Some(segment("Nouveau chapeau")),
        ..Default::default()
    };
    let answer = update(&server, few, &[]).await;
    let expected = pb::Article {
        section: "Sport".into(),
        lead: Some(segment("Nouveau chapeau")),
        ..other_article("a")
    };
    assert_eq!(settable(&answer), settable(&expected));
    // A named field that is not set is cleared.
    let nothing = pb::Article {
        article_id: "a".into(),
        ..Default::default()
    };
    let clearable: Vec<_> = FIELDS
        .into_iter()
        .filter(|f| !["language", "body"].contains(f))
        .collect();
    let answer = update(&server, nothing.clone(), &clearable).await;
    let expected = pb::Article {
        article_id: "a".into(),
        language: "fr".into(),
        body: body(&["Un paragraphe", "Un autre"]),
        ..Default::default()
    };
    assert_eq!(settable(&answer), settable(&expected));
    // Not the last text, and not the language.
    let mut client = server.articles();
    let seq = server.seq().await;
    blames(
        client
            .update_article(update_request(nothing.clone(), &["body"]))
            .await,
        &["article.title"],
    );
    blames(
        client
            .update_article(update_request(nothing.clone(), &["language"]))
            .await,
        &["article.language"],
    );
    blames(
        client
            .update_article(update_request(nothing.clone(), &["*"]))
            .await,
        &["article.body", "article.language"],
    );
    for (mask, path) in [
        (&["title", "titel"][..], "update_mask.paths[1]"),
        (&["revision"], "update_mask.paths[0]"),
        (&["etag"], "update_mask.paths[0]"),
        (&["article_id"], "update_mask.paths[0]"),
        (&["title.text"], "update_mask.paths[0]"),
        (&[""], "update_mask.paths[0]"),
        (&["Title"], "update_mask.paths[0]"),
    ] {
        blames(
            client
                .update_article(update_request(other_article("a"), mask))
                .await,
            &[path],
        );
    }
    blames(
        client
            .update_article(update_request(other_article("a"), &["*", "title"]))
            .await,
        &["update_mask"],
    );
    assert_eq!(server.seq().await, seq);
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_guard_every_mutation() {
    let server = Server::memory().await;
    let mut client = server.articles();
    let first = create(&server, article("a", &["واحد"])).await;
    let second = rewrite(&server, "a", &["اثنان"]).await;
    let text = |text: &str, etag: &str| pb::UpdateArticleRequest {
        etag: etag.into(),
        ..update_request(article("a", &[text]), &["body"])
    };
    let seq = server.seq().await;
    for stale in [first.etag.as_str(), "x", "\"quoted\"", "2-0000000000000000"] {
        let refused = fails(
            client.update_article(text("ثلاثة", stale)).await,
            Code::Aborted,
            "ETAG_MISMATCH",
        );
        assert_eq!(refused.metadata["etag"], stale);
        assert_eq!(refused.metadata["current_etag"], second.etag);
        assert!(refused.message.contains(&second.etag), "{}", refused.message);
        let request = pb::DeleteArticleRequest {
            article_id: "a".into(),
            etag: stale.into(),
            ..Default::default()
        };
        let refused = fails(
            client.delete_article(request).await,
            Code::Aborted,
            "ETAG_MISMATCH",
        );
        assert_eq!(refused.metadata["current_etag"], second.etag);
    }
    // An etag is a compare-and-swap, also for a write that would change nothing.
    fails(
        client.update_article(text("اثنان", &first.etag)).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let answer = client.update_article(text("اثنان", &second.etag)).await.unwrap();
    assert_eq!(answer.into_inner().article.unwrap(), second);
    assert_eq!(server.seq().await, seq);
    blames(
        client.update_article(text("ثلاثة", &"x".repeat(65))).await,
        &["etag"],
    );

    let third = client.update_article(text("ثلاثة", &second.etag)).await.unwrap();
    let third = third.into_inner().article.unwrap();
    let request = pb::DeleteArticleRequest {
        article_id: "a".into(),
        etag: third.etag,
        ..Default::default()
    };
    let deleted = client
        .delete_article(request)
        .await
        .unwrap()
        .into_inner()
        .article
        .unwrap();
    let undelete = |etag: &str| pb::UndeleteArticleRequest {
        article_id: "a".into(),
        etag: etag.into(),
        ..Default::default()
    };
    let refused = fails(
        client.undelete_article(undelete(&second.etag)).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(refused.metadata["current_etag"], deleted.etag);
    client.undelete_article(undelete(&deleted.etag)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn allow_missing_creates_once_and_then_updates() {
    let server = Server::memory().await;
    let mut client = server.articles();
    let request = |article| pb::UpdateArticleRequest {
        allow_missing: true,
        ..update_request(article, &["section"])
    };
    fails(
        client
            .update_article(update_request(full_article("a"), &["section"]))
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let mut guarded = request(full_article("a"));
    guarded.etag = "1-0".into();
    fails(
        client.update_article(guarded).await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let answer = client.update_article(request(full_article("a"))).await.unwrap();
    let created = answer.into_inner().article.unwrap();
    assert_eq!(settable(&created), settable(&full_article("a")));
    let answer = client.update_article(request(other_article("a"))).await.unwrap();
    let expected = pb::Article {
        section: "Monde".into(),
        ..full_article("a")
    };
    assert_eq!(
        settable(&answer.into_inner().article.unwrap()),
        settable(&expected)
    );
    // Ids of segments cannot be known before the article is.
    let mut with_ids = article("b", &["نص"]);
    with_ids.body[0].segment_id = "s1".into();
    blames(
        client.update_article(request(with_ids.clone())).await,
        &["article.body[0].segment_id"],
    );
    let create = pb::CreateArticleRequest {
        article: Some(with_ids),
        ..Default::default()
    };
    blames(
        client.create_article(create).await,
        &["article.body[0].segment_id"],
    );
}

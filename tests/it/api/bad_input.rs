//! Bad input: a precise error each, naming every field to blame, and a store that is as it was.

use article_store::pb;
use prost::Message;
use prost_types::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Status};

use super::{article, attach, body, by_id, create, full_article, segment, small_form, update_request};
use crate::harness::{ARTICLE_BYTES, Server, blames, fails, failure};

mod limits;
mod messages;
mod queries;

const ARTICLES: &str = "/articlestore.v1.ArticleService";
const TRANSLATIONS: &str = "/articlestore.v1.TranslationService";
const UNARY: [&str; 18] = [
    "/articlestore.v1.ArticleService/CreateArticle",
    "/articlestore.v1.ArticleService/GetArticle",
    "/articlestore.v1.ArticleService/BatchGetArticles",
    "/articlestore.v1.ArticleService/LookupArticle",
    "/articlestore.v1.ArticleService/UpdateArticle",
    "/articlestore.v1.ArticleService/DeleteArticle",
    "/articlestore.v1.ArticleService/UndeleteArticle",
    "/articlestore.v1.ArticleService/ListArticles",
    "/articlestore.v1.ArticleService/ListRevisions",
    "/articlestore.v1.TranslationService/AttachTranslation",
    "/articlestore.v1.TranslationService/GetTranslation",
    "/articlestore.v1.TranslationService/ListTranslations",
    "/articlestore.v1.TranslationService/ReviewTranslation",
    "/articlestore.v1.TranslationService/SelectTranslation",
    "/articlestore.v1.TranslationService/RejectTranslation",
    "/articlestore.v1.TranslationService/AcknowledgeSource",
    "/articlestore.v1.TranslationService/ListProvenance",
    "/articlestore.v1.TranslationService/DetachTranslation",
];
const YEAR_44798: Timestamp = Timestamp {
    seconds: 1_351_545_600_000,
    nanos: 0,
};

/// A server with something in it, and what it exports.
async fn furnished() -> (Server, Vec<pb::ExportArticlesResponse>) {
    let server = Server::memory().await;
    create(&server, full_article("a")).await;
    attach(&server, small_form("a", "en", 1, &["one", "two", "three"])).await;
    let export = server.export().await;
    (server, export)
}

fn create_request(article: pb::Article) -> pb::CreateArticleRequest {
    pb::CreateArticleRequest {
        article: Some(article),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_an_article_is_named_at_once() {
    let (server, before) = furnished().await;
    let span = |start, end, mark: i32, href: &str| pb::Span {
        start,
        end,
        mark,
        href: href.into(),
    };
    let marked = |text: &str, spans: Vec<pb::Span>| pb::Segment {
        spans,
        ..segment(text)
    };
    let bold = pb::SpanMark::Bold.into();
    let bad = pb::Article {
        article_id: "a/b".into(),
        language: "x-".into(),
        title: Some(segment("NUL \u{0}")),
        lead: Some(pb::Segment {
            role: pb::SegmentRole::Quote.into(),
            ..segment("ok")
        }),
        body: vec![
            segment("fine"),
            segment(" \n\t"),
            segment("escape \u{1b}[31m"),
            marked("four", vec![span(0, 5, bold, "")]),
            marked("four", vec![span(2, 2, bold, "")]),
            marked("four", vec![span(3, 1, bold, "")]),
            marked("four", vec![span(0, 1, 99, "")]),
            marked("four", vec![span(0, 1, bold, ""), span(0, 1, 0, "")]),
            marked("four", vec![span(0, 1, pb::SpanMark::Link.into(), "")]),
            pb::Segment {
                role: 77,
                ..segment("role")
            },
            pb::Segment {
                segment_id: "x1".into(),
                ..segment("id")
            },
        ],
        section: "x".repeat(1_025),
        publisher: "\u{7f}".into(),
        canonical_url: "ftp://example.com".into(),
        guid: "\u{85}".into(),
        located: "\u{0}".into(),
        dateline: "x\u{8}".into(),
        info_sources: vec!["x".into(); 257],
        authors: vec!["ok".into(), String::new()],
        keywords: vec!["\u{1}".into()],
        labels: [(String::new(), String::new()), ("k".into(), "\u{2}".into())].into(),
        published: Some(pb::ArticleDate {
            instant: Some(YEAR_44798),
            ..Default::default()
        }),
        updated: Some(pb::ArticleDate {
            instant: Some(Timestamp { seconds: 0, nanos: 0 }),
            precision: 77,
            ..Default::default()
        }),
        ..Default::default()
    };
    let all = [
        "article.article_id",
        "article.language",
        "article.title.text",
        "article.lead.role",
        "article.body[1].text",
        "article.body[2].text",
        "article.body[3].spans",
        "article.body[4].spans",
        "article.body[5].spans",
        "article.body[6].spans[0].mark",
        "article.body[7].spans[1].mark",
        "article.body[8].spans[0].href",
        "article.body[9].role",
        "article.body[10].segment_id",
        "article.labels",
        "article.labels[k]",
        "article.canonical_url",
        "article.section",
        "article.publisher",
        "article.guid",
        "article.located",
        "article.dateline",
        "article.info_sources",
        "article.authors[1]",
        "article.keywords[0]",
        "article.published.instant",
        "article.updated.precision",
    ];
    let mut client = server.articles();
    let mut all = all.to_vec();
    blames_in_any_order(client.create_article(create_request(bad.clone())).await, &all);
    let known = pb::Article {
        article_id: "a".into(),
        ..bad
    };
    all.remove(0);
    let answer = client.update_article(update_request(known.clone(), &["*"])).await;
    let refused = blames_in_any_order(answer, &all);
    let of = |path: &str| &refused.fields.iter().find(|(field, _)| field == path).unwrap().1;
    assert!(
        of("article.title.text").contains("U+0000 at code point 4"),
        "{refused:?}"
    );
    assert!(of("article.section").contains("1025") && of("article.section").contains("1024"));
    assert!(of("article.language").contains("x-"));
    assert!(of("article.published.instant").contains("1351545600000"));
    let missing = pb::UpdateArticleRequest {
        allow_missing: true,
        ..update_request(
            pb::Article {
                article_id: "new".into(),
                ..known
            },
            &[],
        )
    };
    blames_in_any_order(client.update_article(missing).await, &all);
    assert_eq!(server.export().await, before);
}

fn blames_in_any_order<T: std::fmt::Debug>(
    answer: Result<tonic::Response<T>, Status>,
    paths: &[&str],
) -> crate::harness::Failure {
    let refused = crate::harness::refused(answer);
    let mut named = refused.paths();
    let mut paths = paths.to_vec();
    named.sort_unstable();
    paths.sort_unstable();
    assert_eq!(named, paths);
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::InvalidArgument, "BAD_FIELD")
    );
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_names_and_tags_at_their_limits() {
    let (server, _) = furnished().await;
    let mut client = server.articles();
    let dated = |published| {
        create_request(pb::Article {
            published: Some(published),
            ..article("d", &["نص"])
        })
    };
    let seconds = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for (date, path, value) in [
        (pb::ArticleDate::default(), "article.published", "instant"),
        (
            pb::ArticleDate {
                instant: seconds(253_402_300_800, 0),
                ..Default::default()
            },
            "article.published.instant",
            "253402300800",
        ),
        (
            pb::ArticleDate {
                instant: seconds(0, -1),
                ..Default::default()
            },
            "article.published.instant",
            "-1",
        ),
        (
            pb::ArticleDate {
                instant: seconds(i64::MIN, i32::MAX),
                ..Default::default()
            },
            "article.published.instant",
            "2147483647",
        ),
        (
            pb::ArticleDate {
                instant: seconds(0, 0),
                utc_offset_minutes: 1_081,
                ..Default::default()
            },
            "article.published",
            "1081",
        ),
        (
            pb::ArticleDate {
                instant: seconds(0, 0),
                utc_offset_minutes: -70_000,
                ..Default::default()
            },
            "article.published",
            "-70000",
        ),
        (
            pb::ArticleDate {
                original: "x".repeat(257),
                ..Default::default()
            },
            "article.published",
            "257",
        ),
        (
            pb::ArticleDate {
                original: "\u{0}".into(),
                ..Default::default()
            },
            "article.published",
            "U+0000",
        ),
    ] {
        let refused = blames(client.create_article(dated(date)).await, &[path]);
        assert!(refused.fields[0].1.contains(value), "{refused:?}");
    }
    let long = "x".repeat(129);
    for id in ["a/b", "a b", "عربي", "a\u{0}", "a%2F", "\u{202E}a", &long] {
        blames(
            client.create_article(create_request(article(id, &["نص"]))).await,
            &["article.article_id"],
        );
        let request = pb::GetArticleRequest {
            article_id: id.into(),
            ..Default::default()
        };
        blames(client.get_article(request).await, &["article_id"]);
    }
    create(&server, article(&"x".repeat(128), &["نص"])).await;
    for tag in [
        "",
        "x-",
        "x",
        "ar_EG",
        "english",
        "ar-",
        "und",
        "\u{202E}ar",
        &"a".repeat(65),
    ] {
        let bad = pb::Article {
            language: tag.into(),
            ..article("t", &["نص"])
        };
        blames(
            client.create_article(create_request(bad)).await,
            &["article.language"],
        );
    }
    let no_text = pb::Article {
        title: Some(segment("  ")),
        ..article("t", &[])
    };
    blames(
        client.create_article(create_request(no_text)).await,
        &["article.title"],
    );
    blames(
        client.create_article(pb::CreateArticleRequest::default()).await,
        &["article"],
    );
    blames(
        client.update_article(pb::UpdateArticleRequest::default()).await,
        &["article"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_names_its_size_and_the_limit() {
    let (server, before) = furnished().await;
    let mut client = server.articles();
    let large = article("large", &["ن".repeat(2_621_440).as_str()]);
    let size = large.encoded_len();
    let too_large = |failure: crate::harness::Failure| {
        assert_eq!(failure.metadata["size_bytes"], size.to_string());
        assert_eq!(failure.metadata["limit_bytes"], ARTICLE_BYTES.to_string());
        assert!(failure.message.contains(&size.to_string()), "{}", failure.message);
    };
    let answer = client.create_article(create_request(large.clone())).await;
    too_large(fails(answer, Code::InvalidArgument, "TOO_LARGE"));
    let mut known = large.clone();
    known.article_id = "large".into();
    let answer = client.update_article(update_request(known, &["body"])).await;
    too_large(fails(answer, Code::InvalidArgument, "TOO_LARGE"));
    let text = "x".repeat(5 << 20);
    let answer = server
        .translations()
        .attach_translation(small_form("a", "en", 1, &[text.as_str(), "2", "3"]))
        .await;
    fails(answer, Code::InvalidArgument, "TOO_LARGE");
    // 10,001 segments; 10,000 are fine.
    let texts = vec!["ن"; 10_001];
    let refused = blames(
        client
            .create_article(create_request(article("many", &texts)))
            .await,
        &["article.body"],
    );
    assert!(refused.fields[0].1.contains("10001") && refused.fields[0].1.contains("10000"));
    let answer = server
        .translations()
        .attach_translation(small_form("a", "en", 1, &texts))
        .await;
    blames(answer, &["text.body"]);
    assert_eq!(server.export().await, before);
    let many = create(&server, article("many", &texts[1..])).await;
    assert_eq!(many.body.len(), 10_000);
    // Nearly the largest article goes in and comes out.
    let room = ARTICLE_BYTES - article("fits", &[""]).encoded_len() - 8;
    create(&server, article("fits", &["x".repeat(room).as_str()])).await;
    assert_eq!(super::get(&server, "fits").await.body[0].text.len(), room);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_stay_small_however_much_is_wrong() {
    let (server, before) = furnished().await;
    let mut client = server.articles();
    // `failure` asserts that each of these fits into the metadata that clients take.
    let refused = failure(
        &client
            .create_article(create_request(article("many", &vec![" "; 5_000])))
            .await
            .unwrap_err(),
    );
    assert_eq!(refused.reason, "BAD_FIELD");
    assert_eq!(refused.fields[0].0, "article.body[0].text");
    let last = refused.fields.last().unwrap();
    assert!(last.1.contains("more"), "the rest is counted: {last:?}");
    let long = "خبر".repeat(100_000);
    let guid = pb::lookup_article_request::Alias::Guid(pb::Guid {
        publisher: "\u{202E}".repeat(300),
        guid: "\u{202E}".repeat(300),
    });
    let url = format!("https://example.com/{}", "خ".repeat(330));
    for alias in [guid, pb::lookup_article_request::Alias::CanonicalUrl(url.clone())] {
        let request = pb::LookupArticleRequest {
            alias: Some(alias),
            ..Default::default()
        };
        fails(
            client.lookup_article(request).await,
            Code::NotFound,
            "ARTICLE_NOT_FOUND",
        );
    }
    let lookup = |publisher: &str, guid: &str| pb::LookupArticleRequest {
        alias: Some(pb::lookup_article_request::Alias::Guid(pb::Guid {
            publisher: publisher.into(),
            guid: guid.into(),
        })),
        ..Default::default()
    };
    blames(client.lookup_article(lookup("", &long)).await, &["guid.guid"]);
    blames(
        client.lookup_article(lookup(&long, "\u{0}")).await,
        &["guid.publisher", "guid.guid"],
    );
    blames(client.lookup_article(lookup("x", "")).await, &["guid.guid"]);
    blames(
        client.lookup_article(pb::LookupArticleRequest::default()).await,
        &["alias"],
    );
    let get = pb::GetArticleRequest {
        article_id: long.clone(),
        ..Default::default()
    };
    blames(client.get_article(get).await, &["article_id"]);
    let batch = pb::BatchGetArticlesRequest {
        article_ids: vec!["/".into(); 1_000],
        ..Default::default()
    };
    let refused = failure(&client.batch_get_articles(batch).await.unwrap_err());
    assert_eq!(refused.fields[0].0, "article_ids[0]");
    let mut labels = article("l", &["نص"]);
    labels.labels = (0..300)
        .map(|n| (format!("{n}{long}"), "\u{0}".into()))
        .take(1)
        .collect();
    failure(&client.create_article(create_request(labels)).await.unwrap_err());
    let paths: Vec<String> = (0..2_000).map(|n| format!("{n} ورق \u{202E}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    failure(
        &client
            .update_article(update_request(article("a", &["نص"]), &paths))
            .await
            .unwrap_err(),
    );
    failure(
        &client
            .update_article(update_request(article("a", &["نص"]), &[&long]))
            .await
            .unwrap_err(),
    );
    let ids: Vec<String> = (1_000..4_000).map(|n| format!("s{n}")).collect();
    let texts: Vec<_> = ids.iter().map(|id| (id.as_str(), "x")).collect();
    failure(
        &server
            .translations()
            .attach_translation(by_id("a", "en", 1, &texts))
            .await
            .unwrap_err(),
    );
    // The alias of a conflict, at its greatest length.
    let mut holder = article("holder", &["نص"]);
    holder.canonical_url = url;
    create(&server, holder.clone()).await;
    holder.article_id = "thief".into();
    fails(
        client.create_article(create_request(holder)).await,
        Code::AlreadyExists,
        "ALIAS_TAKEN",
    );
    assert_eq!(server.export().await[..before.len()], before);
}

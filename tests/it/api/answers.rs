//! Unary answers keep to 3 MiB, whatever an article or a store has, and go on by token.

use article_store::api::Limits;
use article_store::domain::capacity::Capacity;
use article_store::pb;
use prost::Message;

use super::{article, attach, by_id, create, small_form, update};
use crate::harness::{Server, Setup};

/// What an answer may take: 3 MiB and its last entry, which may be a large one.
const MAX_BYTES: usize = 3 << 20;
const TEXTS: [&str; 3] = ["1", "2", "3"];

/// A server with an article of this many segments and its stale translations into this many languages.
async fn with_languages(segments: usize, languages: usize) -> Server {
    let limits = Limits {
        capacity: Capacity {
            languages,
            ..Capacity::default()
        },
        ..Limits::default()
    };
    let server = Setup::memory().limits(limits).start().await;
    let texts: Vec<String> = (0..segments).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    create(&server, article("a", &texts)).await;
    for number in 0..languages {
        // One segment of many: the others are missing.
        attach(
            &server,
            by_id("a", &format!("fr-x-{number:04}"), 1, &[("s1", "one")]),
        )
        .await;
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_says_how_many_translations_it_has_and_a_list_lists_them() {
    const LANGUAGES: usize = 150;
    const SEGMENTS: usize = 2_000;
    let server = with_languages(SEGMENTS, LANGUAGES).await;
    let read = pb::GetArticleRequest {
        article_id: "a".into(),
        view: pb::ArticleView::Basic.into(),
        ..Default::default()
    };
    let answer = server.articles().get_article(read).await.unwrap().into_inner();
    let bytes = answer.encoded_len();
    assert!(bytes <= (128 << 10) + 4_096, "{bytes} bytes");
    let basic = answer.article.unwrap();
    assert_eq!(basic.translation_count as usize, LANGUAGES);
    let listed = basic.translations.len();
    assert!((10..LANGUAGES).contains(&listed), "{listed}");
    for summary in &basic.translations {
        assert_eq!(summary.missing_segments as usize, SEGMENTS);
        assert_eq!(summary.missing_segment_ids.len(), 100);
    }
    // A list by a language has that language.
    let list = pb::ListArticlesRequest {
        translation: Some(pb::TranslationFilter {
            language: "fr-x-0149".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = server.articles().list_articles(list).await.unwrap().into_inner();
    let last = answer.articles[0].translations.last().unwrap();
    assert_eq!(last.language, "fr-x-0149");
    // All of them, in full, page by page.
    let mut request = pb::ListTranslationsRequest {
        article_id: "a".into(),
        page_size: 500,
        ..Default::default()
    };
    let (mut languages, mut pages) = (Vec::new(), 0);
    loop {
        let mut client = server.translations();
        let page = client.list_translations(request.clone()).await;
        let page = page.unwrap().into_inner();
        assert!(page.encoded_len() <= MAX_BYTES, "{}", page.encoded_len());
        for summary in &page.translations {
            assert_eq!(summary.missing_segment_ids.len(), SEGMENTS);
            languages.push(summary.language.clone());
        }
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = (0..LANGUAGES).map(|number| format!("fr-x-{number:04}")).collect();
    assert_eq!(languages, expected);
    assert!(pages > 1, "it is more than one answer takes");
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_long_titles_take_several_pages() {
    let server = Server::memory().await;
    create(&server, article("a", &TEXTS)).await;
    for number in 0..8 {
        let title = format!("{number}{}", "x".repeat(1 << 20));
        let changed = pb::Article {
            title: Some(super::segment(&title)),
            ..article("a", &TEXTS)
        };
        update(&server, changed, &["title"]).await;
    }
    let mut request = pb::ListRevisionsRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    let mut numbers = Vec::new();
    loop {
        let mut client = server.articles();
        let page = client.list_revisions(request.clone()).await;
        let page = page.unwrap().into_inner();
        assert!(page.encoded_len() <= MAX_BYTES, "{}", page.encoded_len());
        numbers.extend(page.revisions.iter().map(|revision| revision.revision));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(numbers, (1..=9).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_of_many_languages_takes_several_pages() {
    const LANGUAGES: usize = 120;
    const ARTICLES: usize = 3;
    let server = Server::memory().await;
    for number in 0..ARTICLES {
        create(&server, article(&format!("a{number}"), &TEXTS)).await;
    }
    for number in 0..LANGUAGES {
        attach(&server, small_form("a1", &format!("fr-x-{number:04}"), 1, &TEXTS)).await;
    }
    let mut request = pb::GetCoverageRequest::default();
    let (mut counted, mut pages) = (Vec::new(), 0);
    loop {
        let page = server
            .admin()
            .get_coverage(request.clone())
            .await
            .unwrap()
            .into_inner();
        for bucket in page.buckets {
            assert_eq!((bucket.articles, bucket.missing, bucket.current), (3, 2, 1));
            counted.push(bucket.language);
        }
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = (0..LANGUAGES).map(|number| format!("fr-x-{number:04}")).collect();
    assert_eq!((counted, pages), (expected, 3));
}

/// A text and its translation that together are more than an answer takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_translation_is_answered_without_the_body_of_its_source() {
    let server = Server::memory().await;
    let long = "x".repeat(1_700_000);
    create(&server, article("a", &[&long])).await;
    attach(&server, small_form("a", "fr", 1, &[&long])).await;
    let read = |languages: &[&str]| pb::GetArticleRequest {
        article_id: "a".into(),
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        ..Default::default()
    };
    let answer = server
        .articles()
        .get_article(read(&["fr"]))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.encoded_len() <= MAX_BYTES, "{}", answer.encoded_len());
    assert!(answer.body_omitted);
    assert_eq!(answer.article.unwrap().body.len(), 0);
    assert_eq!(answer.translation.unwrap().body[0].text, long);
    let answer = server
        .articles()
        .get_article(read(&[]))
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.body_omitted);
    assert_eq!(answer.article.unwrap().body[0].text, long);
}

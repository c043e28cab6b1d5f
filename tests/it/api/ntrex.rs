//! The main job on real news: 123 documents with 16 human translations each (NTREX-128), bound to their exact text.

use std::collections::BTreeMap;

use article_store::pb;
use futures::stream::{self, StreamExt, TryStreamExt};
use pb::attach_translation_request::Content;
use pb::{AgentKind, Freshness};

use super::{agent, body, rewrite, segment, target};
use crate::harness::{Server, shared_lines};

pub(super) struct Document {
    id: String,
    pub(super) segments: Vec<String>,
    pub(super) translations: BTreeMap<String, Vec<String>>,
}

pub(super) fn documents() -> Option<Vec<Document>> {
    let lines = shared_lines("ntrex-news.jsonl.xz")?;
    let texts = |value: &serde_json::Value| -> Vec<String> {
        let texts = value.as_array().unwrap().iter();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let documents = lines.iter().map(|line| {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        let translations = document["translations"].as_object().unwrap().iter();
        Document {
            id: document["id"].as_str().unwrap().to_owned(),
            segments: texts(&document["segments"]),
            translations: translations
                .map(|(tag, value)| (tag.clone(), texts(value)))
                .collect(),
        }
    });
    Some(documents.collect())
}

async fn store(server: &Server, documents: &[Document]) {
    let creates = documents.iter().map(|document| {
        let article = pb::Article {
            article_id: document.id.clone(),
            language: "en".into(),
            title: Some(segment(&document.segments[0])),
            body: body(&document.segments[1..]),
            ..Default::default()
        };
        let mut client = server.articles();
        async move {
            let request = pb::CreateArticleRequest {
                article: Some(article),
                ..Default::default()
            };
            client.create_article(request).await
        }
    });
    stream::iter(creates)
        .buffer_unordered(64)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let attaches = documents.iter().flat_map(|document| {
        document.translations.iter().map(|(language, texts)| {
            let text = pb::TargetText {
                title: Some(target(&texts[0])),
                lead: None,
                body: texts[1..].iter().map(|text| target(text)).collect(),
            };
            let request = pb::AttachTranslationRequest {
                article_id: document.id.clone(),
                language: language.clone(),
                source_revision: 1,
                content: Some(Content::Text(text)),
                agent: agent(AgentKind::Human, "NTREX"),
                ..Default::default()
            };
            let mut client = server.translations();
            async move { client.attach_translation(request).await }
        })
    });
    let answers = stream::iter(attaches)
        .buffer_unordered(64)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(answers.len(), 1_968);
    for answer in answers {
        let answer = answer.into_inner();
        assert_eq!(answer.outcome(), pb::AttachOutcome::Created);
        assert_eq!(answer.translation.unwrap().freshness(), Freshness::Current);
    }
}

/// Reads everything back and compares it with the documents, text by text.
async fn assert_equal(server: &Server, documents: &[Document]) {
    let items = server.export().await;
    assert_eq!(items.len(), 123 + 1_968);
    let (mut articles, mut translations) = (BTreeMap::new(), BTreeMap::new());
    for item in items {
        match item.item.unwrap() {
            pb::export_articles_response::Item::Article(article) => {
                articles.insert(article.article_id.clone(), article);
            }
            pb::export_articles_response::Item::Translation(translation) => {
                let key = (translation.article_id.clone(), translation.language.clone());
                translations.insert(key, translation);
            }
        }
    }
    for document in documents {
        let article = &articles[&document.id];
        let title = article.title.iter().map(|segment| &segment.text);
        let texts: Vec<_> = title.chain(article.body.iter().map(|s| &s.text)).collect();
        assert!(texts.into_iter().eq(&document.segments), "{}", document.id);
        assert_eq!(article.translations.len(), 16);
        for (language, expected) in &document.translations {
            let translation = &translations[&(document.id.clone(), language.clone())];
            let title = translation.title.iter().map(|segment| &segment.text);
            let texts: Vec<_> = title.chain(translation.body.iter().map(|s| &s.text)).collect();
            assert!(texts.into_iter().eq(expected), "{} {language}", document.id);
        }
    }
}

/// What is not current, by article and language.
async fn wrong(server: &Server) -> BTreeMap<(String, String), (Freshness, [Vec<String>; 4])> {
    let request = pb::ListArticlesRequest {
        page_size: 500,
        ..Default::default()
    };
    let mut wrong = BTreeMap::new();
    let mut request = request;
    let mut seen = 0;
    loop {
        let page = server
            .articles()
            .list_articles(request.clone())
            .await
            .unwrap()
            .into_inner();
        for article in page.articles {
            for translation in article.translations {
                seen += 1;
                if translation.freshness() != Freshness::Current {
                    let key = (article.article_id.clone(), translation.language.clone());
                    let freshness = translation.freshness();
                    let ids = [
                        translation.stale_segment_ids,
                        translation.missing_segment_ids,
                        translation.orphaned_segment_ids,
                        translation.moved_segment_ids,
                    ];
                    wrong.insert(key, (freshness, ids));
                }
            }
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            assert_eq!(seen, 1_968);
            return wrong;
        }
    }
}

/// Asserts that exactly the translations of one article are wrong, all in the same way.
async fn assert_wrong(server: &Server, document: &Document, freshness: Freshness, ids: [&[&str]; 4]) {
    let ids = ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    let expected: BTreeMap<_, _> = document
        .translations
        .keys()
        .map(|language| ((document.id.clone(), language.clone()), (freshness, ids.clone())))
        .collect();
    assert_eq!(expected.len(), 16);
    assert_eq!(wrong(server).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_news_go_stale_by_the_paragraph_and_heal() {
    let Some(documents) = documents() else { return };
    assert_eq!(documents.len(), 123);
    let server = Server::sled().await;
    store(&server, &documents).await;
    assert_equal(&server, &documents).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());

    let document = documents
        .iter()
        .max_by_key(|document| document.segments.len())
        .unwrap();
    let original = &document.segments[1..];
    // One paragraph edited, and restored after a restart.
    let mut edited = original.to_vec();
    edited[6].push_str(" This was added later.");
    rewrite(&server, &document.id, &edited).await;
    assert_wrong(&server, document, Freshness::Stale, [&["s7"], &[], &[], &[]]).await;
    let server = server.restart().await;
    assert_wrong(&server, document, Freshness::Stale, [&["s7"], &[], &[], &[]]).await;
    restore(&server, &document.id, original).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());

    // Removed and put back.
    let mut removed = original.to_vec();
    removed.remove(3);
    rewrite(&server, &document.id, &removed).await;
    assert_wrong(&server, document, Freshness::Orphaned, [&[], &[], &["s4"], &[]]).await;
    // While it is gone another one is edited, and it comes back into a text that never was before.
    removed[5].push_str(" And this.");
    rewrite(&server, &document.id, &removed).await;
    let mut back = removed;
    back.insert(3, original[3].clone());
    rewrite(&server, &document.id, &back).await;
    assert_wrong(&server, document, Freshness::Stale, [&["s7"], &[], &[], &[]]).await;
    restore(&server, &document.id, original).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());

    // Moved and moved back.
    let mut moved = original.to_vec();
    let first = moved.remove(0);
    moved.insert(5, first);
    rewrite(&server, &document.id, &moved).await;
    assert_wrong(&server, document, Freshness::Moved, [&[], &[], &[], &["s1"]]).await;
    restore(&server, &document.id, original).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());

    // Rewritten beyond recognition and restored: the new text is another segment, the old one comes back.
    let mut rewritten = original.to_vec();
    rewritten[1] = "Something else entirely happened here.".into();
    let revised = rewrite(&server, &document.id, &rewritten).await;
    let new = revised.body[1].segment_id.clone();
    assert_wrong(
        &server,
        document,
        Freshness::Incomplete,
        [&[], &[&new], &["s2"], &[]],
    )
    .await;
    let server = server.restart().await;
    assert_wrong(
        &server,
        document,
        Freshness::Incomplete,
        [&[], &[&new], &["s2"], &[]],
    )
    .await;
    restore(&server, &document.id, original).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());

    // Two at once, of which one comes back while the other still differs.
    let mut both = edited.clone();
    both[1] = "Something else entirely happened here.".into();
    rewrite(&server, &document.id, &both).await;
    assert_wrong(
        &server,
        document,
        Freshness::Incomplete,
        [&["s7"], &[&new], &["s2"], &[]],
    )
    .await;
    rewrite(&server, &document.id, &edited).await;
    assert_wrong(&server, document, Freshness::Stale, [&["s7"], &[], &[], &[]]).await;
    let mut other = both;
    other[1].clone_from(&original[1]);
    other[8] = "This was never here before.".into();
    let revised = rewrite(&server, &document.id, &other).await;
    let never = revised.body[8].segment_id.clone();
    assert_wrong(
        &server,
        document,
        Freshness::Incomplete,
        [&["s7"], &[&never], &["s9"], &[]],
    )
    .await;
    restore(&server, &document.id, original).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());

    // The headline too.
    let headline = pb::Article {
        article_id: document.id.clone(),
        title: Some(segment("Another headline")),
        ..Default::default()
    };
    super::update(&server, headline.clone(), &[]).await;
    assert_wrong(&server, document, Freshness::Stale, [&["title"], &[], &[], &[]]).await;
    let restored = pb::Article {
        title: Some(segment(&document.segments[0])),
        ..headline
    };
    super::update(&server, restored, &[]).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());
    let server = server.restart().await;
    assert_equal(&server, &documents).await;
    assert_eq!(wrong(&server).await, BTreeMap::new());
    server.check().await;
}

/// The body as it was, under the ids that it had.
async fn restore(server: &Server, id: &str, texts: &[String]) {
    let expected: Vec<_> = (1..=texts.len()).map(|number| format!("s{number}")).collect();
    let restored = rewrite(server, id, texts).await;
    assert_eq!(super::ids(&restored), expected);
}

//! The streams: an answer for every imported item, whatever becomes of it, and exports that go on where they ended.

use std::time::Duration;

use article_store::pb;
use article_store::pb::article_service_client::ArticleServiceClient;
use futures::channel::mpsc;
use futures::stream::{self, StreamExt};
use pb::ImportResult;
use pb::export_articles_response::Item;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;

use super::{article, attach, body, create, full_article, get, segment, settable, small_form};
use crate::harness::{LIMIT, Server, failure, frame, shared_lines};

pub(super) fn item(number: u64, article: &pb::Article) -> article_store::api::codec::ImportArticlesRequest {
    article_store::api::codec::ImportArticlesRequest {
        item: number,
        article: Some(Bytes::from(article.encode_to_vec())),
        significance: 0,
    }
}

pub(super) type Items = Vec<article_store::api::codec::ImportArticlesRequest>;

pub(super) async fn import(server: &Server, items: Items) -> Vec<pb::ImportArticlesResponse> {
    let expected: Vec<_> = items.iter().map(|item| item.item).collect();
    let answers = server
        .articles()
        .import_articles(stream::iter(items))
        .await
        .unwrap()
        .into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    let numbers: Vec<_> = answers.iter().map(|answer| answer.item).collect();
    assert_eq!(numbers, expected, "one answer an item, in order");
    answers
}

fn reason(answer: &pb::ImportArticlesResponse) -> pb::ErrorReason {
    assert_eq!(answer.result(), ImportResult::Failed, "{answer:?}");
    let error = answer.error.as_ref().unwrap();
    assert!(!error.message.is_empty() && error.code != 0);
    error.reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_items_are_answered_and_the_stream_goes_on() {
    let server = Server::sled().await;
    create(&server, full_article("old")).await;
    create(&server, article("gone", &["نص"])).await;
    let delete = pb::DeleteArticleRequest {
        article_id: "gone".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    let mut two = article("two", &["نص"]);
    two.canonical_url = "https://example.com/two".into();
    create(&server, two.clone()).await;

    let broken = |bytes: &'static [u8]| article_store::api::codec::ImportArticlesRequest {
        item: 0,
        article: Some(Bytes::from_static(bytes)),
        significance: 0,
    };
    let mut disagree = full_article("");
    disagree.guid = "guid-old".into();
    disagree.canonical_url = two.canonical_url.clone();
    let mut thief = article("thief", &["نص"]);
    thief.canonical_url = two.canonical_url.clone();
    let mut by_guid = full_article("");
    by_guid.guid = "guid-old".into();
    by_guid.canonical_url = String::new();
    by_guid.section = "رياضة".into();
    let mut items = vec![
        item(0, &article("new", &["نص"])),
        broken(&[0xFF, 0xFF, 0xFF]),
        broken(&[0x0A, 2, 0xC3, 0x28]),
        broken(&[0x0A, 100]),
        broken(&[]),
        article_store::api::codec::ImportArticlesRequest {
            item: 0,
            article: None,
            significance: 0,
        },
        item(0, &article("a/b", &["نص"])),
        item(
            0,
            &pb::Article {
                language: "x-".into(),
                ..article("x", &["\u{0}"])
            },
        ),
        item(0, &article("large", &["x".repeat(3 << 20).as_str()])),
        item(0, &article("gone", &["نص"])),
        item(0, &disagree),
        item(0, &thief),
        article_store::api::codec::ImportArticlesRequest {
            significance: 99,
            ..item(0, &article("new", &["آخر"]))
        },
        item(0, &full_article("old")),
        item(0, &by_guid),
        item(0, &article("last", &["نص"])),
        item(0, &article("empty", &[])),
    ];
    items[16].article = Some(Bytes::from(
        pb::Article {
            article_id: "empty".into(),
            language: "ar".into(),
            ..Default::default()
        }
        .encode_to_vec(),
    ));
    for (number, item) in (7..).zip(&mut items) {
        item.item = number * 3;
    }
    let answers = import(&server, items).await;
    use pb::ErrorReason as Reason;
    assert_eq!(answers[0].result(), ImportResult::Created);
    assert_eq!((answers[0].article_id.as_str(), answers[0].revision), ("new", 1));
    for index in [1, 2, 3] {
        assert_eq!(reason(&answers[index]), Reason::MalformedMessage, "{index}");
        assert_eq!(
            answers[index].error.as_ref().unwrap().code,
            i32::from(Code::InvalidArgument)
        );
    }
    for index in [4, 5, 6, 7, 12, 16] {
        assert_eq!(reason(&answers[index]), Reason::BadField, "{index}");
    }
    let fields = |index: usize| -> Vec<&str> {
        let error = answers[index].error.as_ref().unwrap();
        error.field_violations.iter().map(|v| v.field.as_str()).collect()
    };
    assert_eq!(fields(5), ["article"]);
    assert_eq!(fields(6), ["article.article_id"]);
    assert_eq!(fields(7), ["article.language", "article.body[0].text"]);
    assert_eq!(fields(12), ["significance"]);
    assert_eq!(fields(16), ["article.title"]);
    assert_eq!(reason(&answers[8]), Reason::TooLarge);
    assert_eq!(reason(&answers[9]), Reason::ArticleDeleted);
    assert_eq!(answers[9].article_id, "gone");
    assert_eq!(reason(&answers[10]), Reason::AliasesDisagree);
    let metadata = &answers[10].error.as_ref().unwrap().metadata;
    assert_eq!(
        (&*metadata["first_article_id"], &*metadata["second_article_id"]),
        ("old", "two")
    );
    assert_eq!(reason(&answers[11]), Reason::AliasTaken);
    assert_eq!(
        answers[11].error.as_ref().unwrap().metadata["holder_article_id"],
        "two"
    );
    assert_eq!(answers[13].result(), ImportResult::Unchanged);
    assert_eq!(answers[14].result(), ImportResult::Revised);
    assert_eq!(answers[14].article_id, "old");
    let old = get(&server, "old").await;
    assert_eq!((old.section.as_str(), old.revision), ("رياضة", 1));
    assert_eq!(answers[14].etag, old.etag);
    assert_eq!(answers[15].result(), ImportResult::Created);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_article_twice_in_a_stream_the_later_stays() {
    let server = Server::sled().await;
    let mut known = article("known", &["نص"]);
    known.canonical_url = "https://example.com/known".into();
    known.guid = "g".into();
    create(&server, known.clone()).await;
    for round in 0..20 {
        let mut items = Vec::new();
        for version in 0..40 {
            let text = format!("نسخة {round}-{version}");
            // By its id, by its URL alone, by its guid alone: the same article each time.
            let mut known = known.clone();
            match version % 3 {
                0 => (known.canonical_url, known.guid) = (String::new(), String::new()),
                1 => (known.article_id, known.guid) = (String::new(), String::new()),
                _ => (known.article_id, known.canonical_url) = (String::new(), String::new()),
            }
            known.body = body(&[&text]);
            items.push(item(items.len() as u64, &known));
            let mut new = article("", &[&text]);
            new.canonical_url = format!("https://example.com/new/{round}");
            items.push(item(items.len() as u64, &new));
            items.push(item(
                items.len() as u64,
                &article(&format!("id-{round}"), &[&text]),
            ));
        }
        let answers = import(&server, items).await;
        let last = format!("نسخة {round}-39");
        for id in ["known", &answers[1].article_id, &format!("id-{round}")] {
            assert_eq!(get(&server, id).await.body[0].text, last, "{id}");
        }
        let of_new: Vec<_> = answers.iter().skip(1).step_by(3).collect();
        assert_eq!(of_new[0].result(), ImportResult::Created);
        assert!(of_new[1..].iter().all(|a| a.result() == ImportResult::Revised));
        let revisions: Vec<_> = of_new.iter().map(|a| a.revision).collect();
        assert!(revisions.into_iter().eq(1..=40));
    }
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_inside_a_stream_end_it_with_the_callers_fault() {
    let server = Server::memory().await;
    let path = "/articlestore.v1.ArticleService/ImportArticles";
    let good = frame(&item(1, &article("good", &["نص"])).encode_to_vec());
    for (rest, reason) in [
        (frame(&[0x0F, 0xFF]), "MALFORMED_MESSAGE"),
        (frame(&[0x0A; 40])[..20].to_vec(), "MALFORMED_MESSAGE"),
        (vec![0, 0, 0], "MALFORMED_MESSAGE"),
        (vec![7, 0, 0, 0, 0], "MALFORMED_MESSAGE"),
        (vec![0, 255, 255, 255, 255, 1], "MESSAGE_TOO_LARGE"),
        (frame(&vec![0; 17 << 20]), "MESSAGE_TOO_LARGE"),
    ] {
        for before in [good.clone(), vec![]] {
            let status = server
                .raw(path, [before, rest.clone()].concat())
                .await
                .unwrap_err();
            let failure = failure(&status);
            assert_eq!(failure.reason, reason, "{failure:?}");
        }
    }
    assert_eq!(
        get(&server, "good").await.revision,
        1,
        "what came before the broken frame is stored"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_read_from() {
    let server = Server::memory().await;
    let (mut sender, items) = mpsc::channel(0);
    let mut client = ArticleServiceClient::new(server.narrow_channel(64 << 10));
    let call = tokio::spawn(async move { client.import_articles(items).await });
    // Bad items: their answers are some kilobytes each, and nobody reads them.
    let bad = article("bad", &[" "; 100]);
    let mut sent = 0_u64;
    let limit = 5_000;
    while sent < limit {
        let next = futures::SinkExt::send(&mut sender, item(sent, &bad));
        match tokio::time::timeout(Duration::from_secs(1), next).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(
        sent < limit,
        "the server took {sent} items without an answer being read"
    );
    // Others are served meanwhile, and reading sets it going again.
    create(&server, article("other", &["نص"])).await;
    let mut answers = call.await.unwrap().unwrap().into_inner();
    let more = async {
        for number in 0..limit {
            futures::SinkExt::send(&mut sender, item(sent + number, &bad))
                .await
                .unwrap();
        }
        drop(sender);
    };
    let read = async {
        let mut read = 0;
        while let Some(answer) = answers.message().await.unwrap() {
            assert_eq!(reason(&answer), pb::ErrorReason::BadField);
            read += 1;
        }
        read
    };
    let ((), read) = tokio::time::timeout(LIMIT, async { futures::join!(more, read) })
        .await
        .unwrap();
    // The item whose sending was given up may have been taken.
    assert!(
        (sent + limit..=sent + limit + 1).contains(&read),
        "{read} of {}",
        sent + limit
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_whole_articles() {
    let server = Server::sled().await;
    for round in 0..5 {
        let (mut sender, items) = mpsc::channel(16);
        let mut client = server.articles();
        let mut answers = {
            let first = item(0, &full_article(&format!("v{round}-0")));
            futures::SinkExt::send(&mut sender, first).await.unwrap();
            client.import_articles(items).await.unwrap().into_inner()
        };
        for number in 1..40 {
            let next = item(number, &full_article(&format!("v{round}-{number}")));
            futures::SinkExt::send(&mut sender, next).await.unwrap();
        }
        answers.message().await.unwrap().unwrap();
        drop((answers, sender));
    }
    // What was answered is there, and what is there is whole.
    for round in 0..5 {
        get(&server, &format!("v{round}-0")).await;
    }
    for exported in server.export().await {
        let Some(Item::Article(article)) = exported.item else {
            panic!("no translations were attached")
        };
        assert_eq!(settable(&article), settable(&full_article(&article.article_id)));
    }
    let server = server.restart().await;
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_from_every_token() {
    let server = Server::sled().await;
    // More than the server reads at once, written in another order than that of the ids.
    for number in (0..40).rev() {
        let id = format!("a{}", number * 7 % 40);
        create(&server, full_article(&id)).await;
        for language in ["en", "fr", "de"].iter().take(number % 4) {
            attach(&server, small_form(&id, language, 1, &["one", "two", "three"])).await;
        }
        if number % 5 == 0 {
            let mut candidate = small_form(&id, "en", 1, &["1", "2", "3"]);
            candidate.new_candidate = true;
            attach(&server, candidate).await;
        }
        if number % 9 == 0 {
            let delete = pb::DeleteArticleRequest {
                article_id: id,
                ..Default::default()
            };
            server.articles().delete_article(delete).await.unwrap();
        }
    }
    for (include_translations, show_deleted) in [(true, true), (true, false), (false, true), (false, false)] {
        let export = |resume_token: String| {
            let mut client = server.articles();
            async move {
                let request = pb::ExportArticlesRequest {
                    show_hidden: false,
                    resume_token,
                    include_translations,
                    show_deleted,
                };
                let items = client.export_articles(request).await.unwrap().into_inner();
                items.map(Result::unwrap).collect::<Vec<_>>().await
            }
        };
        let all = export(String::new()).await;
        let mut keys = Vec::new();
        for exported in &all {
            match exported.item.as_ref().unwrap() {
                Item::Article(article) => {
                    assert_eq!(article.body.len(), 3);
                    assert!(show_deleted || article.delete_time.is_none());
                    keys.push((article.article_id.clone(), String::new(), String::new()));
                }
                Item::Translation(translation) => {
                    assert_eq!(translation.body.len(), 3);
                    keys.push((
                        translation.article_id.clone(),
                        translation.language.clone(),
                        translation.translation_id.clone(),
                    ));
                }
            }
        }
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        let articles = keys.iter().filter(|key| key.1.is_empty()).count();
        assert_eq!(articles, if show_deleted { 40 } else { 35 });
        assert_eq!(keys.len() > articles, include_translations);
        for (index, exported) in all.iter().enumerate() {
            let rest = export(exported.resume_token.clone()).await;
            assert_eq!(rest, all[index + 1..], "after {index}");
        }
        // A token of the other kind of export is refused.
        let request = pb::ExportArticlesRequest {
            show_hidden: false,
            resume_token: all[3].resume_token.clone(),
            include_translations: !include_translations,
            show_deleted,
        };
        let Err(status) = server.articles().export_articles(request).await else {
            panic!("a token of another export is taken")
        };
        assert_eq!(failure(&status).reason, "BAD_TOKEN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_urls_of_the_arabic_corpus_have_one_holder_each() {
    let Some(lines) = shared_lines("ant-news-ar.jsonl.xz") else {
        return;
    };
    let mut holders = std::collections::HashMap::<String, Vec<u64>>::new();
    let mut documents = Vec::new();
    for (number, line) in (0..).zip(&lines) {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        let Ok(url) = article_store::domain::url::CanonicalUrl::parse(&text("url")) else {
            continue;
        };
        holders.entry(url.as_str().to_owned()).or_default().push(number);
        documents.push((number, url, text("docno"), text("title"), text("text")));
    }
    holders.retain(|_, numbers| numbers.len() > 1);
    assert!(holders.len() >= 20, "{} shared URLs", holders.len());
    eprintln!(
        "{} URLs are shared by {} documents",
        holders.len(),
        holders.values().map(Vec::len).sum::<usize>()
    );
    let items: Items = documents
        .into_iter()
        .filter(|(_, url, ..)| holders.contains_key(url.as_str()))
        .map(|(number, url, docno, title, text)| {
            let id: String = docno
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || "._~-".contains(*c))
                .collect();
            let article = pb::Article {
                title: Some(segment(if title.trim().is_empty() {
                    "بلا عنوان"
                } else {
                    &title
                })),
                body: if text.trim().is_empty() {
                    vec![]
                } else {
                    body(&[&text])
                },
                canonical_url: url.as_str().to_owned(),
                ..article(&format!("{id}-{number}"), &[])
            };
            item(number, &article)
        })
        .collect();
    let server = Server::sled().await;
    let answers = import(&server, items).await;
    for (url, numbers) in &holders {
        let of_url: Vec<_> = answers.iter().filter(|a| numbers.contains(&a.item)).collect();
        let (first, others) = of_url.split_first().unwrap();
        assert_eq!(first.result(), ImportResult::Created, "{url}");
        for other in others {
            assert_eq!(reason(other), pb::ErrorReason::AliasTaken, "{url}");
            assert_eq!(
                other.error.as_ref().unwrap().metadata["holder_article_id"],
                first.article_id
            );
        }
    }
    server.check().await;
}

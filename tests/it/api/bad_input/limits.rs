//! Limits that an operator sets: each call keeps to them, and says so.

use article_store::api::Limits;
use article_store::pb;
use tonic::Code;

use super::super::jobs::{claim_one, open, request, result};
use super::super::streams::{import, item};
use super::super::{article, attach, create, small_form, target_of, update_request};
use super::create_request;
use crate::harness::{Failure, Setup, blames, fails};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_as_little_as_it_is_told() {
    let limits = Limits {
        message_bytes: 8_192,
        article_bytes: 4_096,
        segments: 3,
        batch: 2,
        ..Limits::default()
    };
    let server = Setup::memory().limits(limits).start().await;
    for id in ["a", "b"] {
        create(&server, article(id, &["1", "2", "3"])).await;
    }
    attach(&server, small_form("a", "en", 1, &["1", "2", "3"])).await;
    let before = server.export().await;
    let (mut articles, mut translations) = (server.articles(), server.translations());
    let four = ["1", "2", "3", "4"];
    let more_than = |failure: Failure, said: &str| {
        assert!(failure.fields[0].1.contains(said), "{failure:?}");
    };
    let answer = articles.create_article(create_request(article("c", &four))).await;
    more_than(blames(answer, &["article.body"]), "4 entries are more than 3");
    let answer = articles
        .update_article(update_request(article("a", &four), &["body"]))
        .await;
    more_than(blames(answer, &["article.body"]), "4 entries are more than 3");
    let answer = translations
        .attach_translation(small_form("a", "fr", 1, &four))
        .await;
    more_than(blames(answer, &["text.body"]), "4 entries are more than 3");
    let article_ids: Vec<String> = ["a", "b", "c"].map(Into::into).to_vec();
    let batch = pb::BatchGetArticlesRequest {
        article_ids: article_ids.clone(),
        ..Default::default()
    };
    let answer = articles.batch_get_articles(batch).await;
    more_than(blames(answer, &["article_ids"]), "3 entries are more than 2");
    let request = request(&["a", "b", "c"]);
    let answer = server.jobs().request_translations(request).await;
    more_than(
        blames(answer, &["articles.article_ids"]),
        "3 entries are more than 2",
    );
    let large = create_request(article("c", &["x".repeat(5_000).as_str()]));
    let failure = fails(
        articles.create_article(large).await,
        Code::InvalidArgument,
        "TOO_LARGE",
    );
    assert_eq!(failure.metadata["limit_bytes"], "4096");
    let giant = create_request(article("c", &["x".repeat(9_000).as_str()]));
    let refused = fails(
        articles.create_article(giant).await,
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
    );
    assert!(refused.message.contains("8192"), "{}", refused.message);
    // Every service keeps to it.
    let watch = pb::WatchChangesRequest {
        resume_token: "x".repeat(9_000),
        ..Default::default()
    };
    let answer = server.changes().watch_changes(watch).await;
    fails(answer, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert_eq!(server.export().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_and_a_job_keep_to_the_limits_of_a_call() {
    let limits = Limits {
        segments: 3,
        ..Limits::default()
    };
    let server = Setup::memory().limits(limits).start().await;
    create(&server, article("a", &["1", "2", "3"])).await;
    open(&server, request(&["a"])).await;
    let job = claim_one(&server).await;
    let before = server.export().await;
    let items = vec![
        item(1, &article("b", &["1", "2", "3", "4"])),
        item(2, &article("a", &["1", "2", "3", "4"])),
        item(3, &article("a", &["1", "2", "3"])),
    ];
    let answers = import(&server, items).await;
    for answer in &answers[..2] {
        let error = answer.error.as_ref().unwrap();
        assert_eq!(error.code, Code::InvalidArgument as i32, "{error:?}");
        let violation = &error.field_violations[0];
        assert_eq!(violation.field, "article.body");
        assert!(
            violation.description.contains("4 entries are more than 3"),
            "{violation:?}"
        );
    }
    assert_eq!(answers[2].result(), pb::ImportResult::Unchanged);
    let mut done = result(&job, "fr ");
    let Some(pb::complete_job_request::Result::Text(text)) = &mut done.result else {
        panic!("{done:?}");
    };
    text.body.push(target_of("s4", "one too many"));
    let failure = blames(server.jobs().complete_job(done).await, &["text.body"]);
    assert!(
        failure.fields[0].1.contains("4 entries are more than 3"),
        "{failure:?}"
    );
    assert_eq!(server.export().await, before);
}

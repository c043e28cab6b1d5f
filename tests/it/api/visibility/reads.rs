//! All reads that there are, and what they answer about one article.

use std::collections::BTreeMap;

use article_store::pb;
use tonic::{Code, Status};

use crate::api::time;
use crate::harness::{Server, failure};

/// What every read answers about an article with a translation into French, by the name of the read.
async fn reads(server: &Server, id: &str, show_hidden: bool) -> BTreeMap<String, Result<String, Status>> {
    let mut all = BTreeMap::new();
    let (mut articles, mut translations) = (server.articles(), server.translations());
    let mut say = |name: &str, answer: Result<String, Status>| drop(all.insert(name.to_owned(), answer));
    let get = || pb::GetArticleRequest {
        article_id: id.into(),
        show_hidden,
        ..Default::default()
    };
    let as_of = time(server.newest_commit().await);
    for (name, at) in [
        ("get", None),
        ("get revision", Some(pb::get_article_request::At::Revision(1))),
        ("get as of", Some(pb::get_article_request::At::AsOfTime(as_of))),
    ] {
        let answer = articles.get_article(pb::GetArticleRequest { at, ..get() }).await;
        say(name, answer.map(|answer| format!("{:?}", answer.into_inner())));
    }
    let in_french = pb::GetArticleRequest {
        languages: vec!["fr".into()],
        ..get()
    };
    let answer = articles.get_article(in_french).await;
    say(
        "get in French",
        answer.map(|answer| format!("{:?}", answer.into_inner())),
    );
    let batch = pb::BatchGetArticlesRequest {
        article_ids: vec![id.into()],
        show_hidden,
        ..Default::default()
    };
    let answer = articles.batch_get_articles(batch).await;
    say(
        "batch",
        answer.and_then(|answer| one_of(&answer.into_inner().articles)),
    );
    let lookup = pb::LookupArticleRequest {
        alias: Some(pb::lookup_article_request::Alias::CanonicalUrl(format!(
            "https://example.com/{id}"
        ))),
        show_hidden,
        ..Default::default()
    };
    let answer = articles.lookup_article(lookup).await;
    say(
        "lookup",
        answer.map(|answer| format!("{:?}", answer.into_inner())),
    );
    for axis in [
        pb::DateAxis::Published,
        pb::DateAxis::Updated,
        pb::DateAxis::Ingested,
        pb::DateAxis::Revised,
    ] {
        let list = pb::ListArticlesRequest {
            axis: axis.into(),
            show_hidden,
            ..Default::default()
        };
        let answer = articles.list_articles(list).await;
        let of_it = answer.and_then(|answer| {
            let mut found = answer.into_inner().articles;
            found.retain(|article| article.article_id == id);
            one_of(&found)
        });
        say(&format!("list {axis:?}"), of_it);
    }
    for (language, presence) in [
        ("fr", pb::TranslationPresence::Any),
        ("sw", pb::TranslationPresence::Absent),
        ("sw", pb::TranslationPresence::NotCurrent),
    ] {
        let list = pb::ListArticlesRequest {
            translation: Some(pb::TranslationFilter {
                language: language.into(),
                presence: presence.into(),
                ..Default::default()
            }),
            show_hidden,
            ..Default::default()
        };
        let answer = articles.list_articles(list).await;
        let of_it = answer.and_then(|answer| {
            let mut found = answer.into_inner().articles;
            found.retain(|article| article.article_id == id);
            one_of(&found)
        });
        say(&format!("list {presence:?} {language}"), of_it);
    }
    let diff = pb::DiffRevisionsRequest {
        article_id: id.into(),
        from_revision: 1,
        show_hidden,
        ..Default::default()
    };
    let answer = articles.diff_revisions(diff).await;
    say("diff", answer.map(|answer| format!("{:?}", answer.into_inner())));
    let revisions = pb::ListRevisionsRequest {
        article_id: id.into(),
        show_hidden,
        ..Default::default()
    };
    let answer = articles.list_revisions(revisions).await;
    say(
        "revisions",
        answer.map(|answer| format!("{:?}", answer.into_inner())),
    );
    let export = pb::ExportArticlesRequest {
        include_translations: true,
        show_hidden,
        ..Default::default()
    };
    let answer = match articles.export_articles(export).await {
        Ok(answer) => {
            let mut items: Vec<_> = futures::TryStreamExt::try_collect(answer.into_inner())
                .await
                .unwrap();
            items.retain(|item| is_about(item, id));
            one_of(&items)
        }
        Err(status) => Err(status),
    };
    say("export", answer);
    for (name, at) in [
        ("translation", None),
        (
            "translation at",
            Some(pb::get_translation_request::At::Revision(1)),
        ),
        (
            "translation as of",
            Some(pb::get_translation_request::At::AsOfTime(as_of)),
        ),
    ] {
        let request = pb::GetTranslationRequest {
            article_id: id.into(),
            language: "fr".into(),
            translation_id: String::new(),
            show_hidden,
            at,
            evidence_only: false,
        };
        let answer = translations.get_translation(request).await;
        say(name, answer.map(|answer| format!("{:?}", answer.into_inner())));
    }
    let request = pb::ListTranslationsRequest {
        article_id: id.into(),
        show_hidden,
        ..Default::default()
    };
    let answer = translations.list_translations(request).await;
    say(
        "translations",
        answer.map(|answer| format!("{:?}", answer.into_inner())),
    );
    let request = pb::ListProvenanceRequest {
        article_id: id.into(),
        language: "fr".into(),
        show_hidden,
        ..Default::default()
    };
    let answer = translations.list_provenance(request).await;
    say(
        "provenance",
        answer.map(|answer| format!("{:?}", answer.into_inner())),
    );
    let request = pb::MeasureTranslationRequest {
        article_id: id.into(),
        language: "fr".into(),
        show_hidden,
        ..Default::default()
    };
    let answer = translations.measure_translation(request).await;
    say(
        "measure",
        answer.map(|answer| format!("{:?}", answer.into_inner())),
    );
    all
}

fn is_about(item: &pb::ExportArticlesResponse, id: &str) -> bool {
    use pb::export_articles_response::Item;
    match item.item.as_ref().unwrap() {
        Item::Article(article) => article.article_id == id,
        Item::Translation(translation) => translation.article_id == id,
    }
}

/// What a read of many answers about one; nothing is absence.
fn one_of<T: std::fmt::Debug>(found: &[T]) -> Result<String, Status> {
    if found.is_empty() {
        Err(Status::not_found(""))
    } else {
        Ok(format!("{found:?}"))
    }
}

/// Asserts that every read finds the article, and answers what they say.
pub(super) async fn present(server: &Server, id: &str, show_hidden: bool) -> Vec<String> {
    let reads = reads(server, id, show_hidden).await;
    assert_eq!(reads.len(), 22);
    let mut said = Vec::new();
    for (name, read) in reads {
        said.push(read.unwrap_or_else(|status| panic!("{name}: {status}")));
    }
    said
}

/// Asserts that no read finds the article.
pub(super) async fn absent(server: &Server, id: &str, show_hidden: bool) {
    for (name, read) in reads(server, id, show_hidden).await {
        let status = read.expect_err(&name);
        assert_eq!(status.code(), Code::NotFound, "{name}: {status}");
        if !status.message().is_empty() {
            assert_eq!(failure(&status).reason, "ARTICLE_NOT_FOUND", "{name}");
        }
    }
}

pub(super) async fn refused_without_scope(server: &Server, id: &str) {
    for (name, read) in reads(server, id, true).await {
        let status = read.expect_err(&name);
        let failure = failure(&status);
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::PermissionDenied, "MISSING_SCOPE"),
            "{name}"
        );
        assert_eq!(failure.metadata["scope"], "embargoed,editorial");
        assert!(failure.message.contains("embargoed"), "{}", failure.message);
    }
}

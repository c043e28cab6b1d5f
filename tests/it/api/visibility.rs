//! Withheld, cancelled and embargoed articles: absent from every read with all their translations, shown to those who hold
//! the scope and ask, and back as they were.

use std::collections::BTreeMap;

use article_store::clock::ManualClock;
use article_store::domain::access::Scope;
use article_store::domain::change::Kind;
use article_store::domain::time::Timestamp;
use article_store::pb;
use futures::stream;
use tonic::{Code, Status};

use super::*;
use crate::harness::{LIMIT, blames, fails, failure};

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
async fn present(server: &Server, id: &str, show_hidden: bool) -> Vec<String> {
    let reads = reads(server, id, show_hidden).await;
    assert_eq!(reads.len(), 22);
    let mut said = Vec::new();
    for (name, read) in reads {
        said.push(read.unwrap_or_else(|status| panic!("{name}: {status}")));
    }
    said
}

/// Asserts that no read finds the article.
async fn absent(server: &Server, id: &str, show_hidden: bool) {
    for (name, read) in reads(server, id, show_hidden).await {
        let status = read.expect_err(&name);
        assert_eq!(status.code(), Code::NotFound, "{name}: {status}");
        if !status.message().is_empty() {
            assert_eq!(failure(&status).reason, "ARTICLE_NOT_FOUND", "{name}");
        }
    }
}

async fn refused_without_scope(server: &Server, id: &str) {
    for (name, read) in reads(server, id, true).await {
        let status = read.expect_err(&name);
        let failure = failure(&status);
        assert_eq!(
            (failure.code, failure.reason.as_str()),
            (Code::PermissionDenied, "MISSING_SCOPE"),
            "{name}"
        );
        assert_eq!(failure.metadata["scopes"], "embargoed,editorial");
        assert!(failure.message.contains("embargoed"), "{}", failure.message);
    }
}

fn status_request(id: &str, status: pb::PublicationStatus) -> pb::SetPublicationStatusRequest {
    pb::SetPublicationStatusRequest {
        article_id: id.into(),
        publication_status: status.into(),
        ..Default::default()
    }
}

async fn set_status(server: &Server, request: pb::SetPublicationStatusRequest) -> pb::Article {
    let answer = server.articles().set_publication_status(request).await;
    answer.unwrap().into_inner().article.unwrap()
}

/// An article with every field, two revisions and translations into two languages.
async fn story(server: &Server, id: &str) {
    let created = create(server, full_article(id)).await;
    assert_eq!(created.publication_status(), pb::PublicationStatus::Usable);
    for language in ["fr", "en"] {
        attach(server, small_form(id, language, 1, &["one", "two", ""])).await;
    }
    rewrite(server, id, &["نص جديد", "وقال المتحدث"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_article_disappears_with_all_its_translations_and_comes_back_as_it_was() {
    let server = Server::sled().await;
    story(&server, "a").await;
    create(&server, article("other", &["نص"])).await;
    let before = present(&server, "a", false).await;
    let as_it_was = get(&server, "a").await;
    for status in [pb::PublicationStatus::Withheld, pb::PublicationStatus::Canceled] {
        let seq = server.seq().await;
        let request = pb::SetPublicationStatusRequest {
            reason: "a source asked".into(),
            ..status_request("a", status)
        };
        let withheld = set_status(&server, request.clone()).await;
        assert_eq!(withheld.publication_status(), status);
        assert_eq!(withheld.status_reason, "a source asked");
        assert_ne!(withheld.etag, as_it_was.etag);
        assert_eq!(withheld.revision, 2);
        // One commit; setting it again makes none.
        assert_eq!(server.seq().await, seq + 1);
        assert_eq!(set_status(&server, request).await, withheld);
        assert_eq!(server.seq().await, seq + 1);
        let events = server.events_after(seq).await;
        assert_eq!(
            events.iter().map(|event| &event.kind).collect::<Vec<_>>(),
            [&Kind::PublicationStatusChanged]
        );
        absent(&server, "a", false).await;
        refused_without_scope(&server, "a").await;
        server.check().await;
    }
    // Others are not touched.
    get(&server, "other").await;
    let server = server
        .restart_with(|setup| setup.scopes(&[Scope::Embargoed]))
        .await;
    absent(&server, "a", true).await;
    let server = server
        .restart_with(|setup| setup.scopes(&[Scope::Editorial]))
        .await;
    absent(&server, "a", false).await;
    present(&server, "a", true).await;
    let server = server.restart_with(|setup| setup.scopes(&[])).await;
    absent(&server, "a", false).await;
    let released = set_status(&server, status_request("a", pb::PublicationStatus::Usable)).await;
    assert_eq!(released.status_reason, "");
    let after = present(&server, "a", false).await;
    assert_eq!(after.len(), before.len());
    let back = get(&server, "a").await;
    assert_eq!(
        pb::Article {
            etag: as_it_was.etag.clone(),
            update_time: as_it_was.update_time,
            ..back
        },
        as_it_was
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_articles_take_writes_and_stay_hidden() {
    let server = Server::memory().await;
    story(&server, "a").await;
    set_status(&server, status_request("a", pb::PublicationStatus::Withheld)).await;
    let updated = rewrite(&server, "a", &["نص آخر"]).await;
    assert_eq!(updated.revision, 3);
    assert_eq!(updated.publication_status(), pb::PublicationStatus::Withheld);
    let item = article_store::api::codec::ImportArticlesRequest {
        item: 1,
        article: Some(
            prost::Message::encode_to_vec(&pb::Article {
                article_id: String::new(),
                publication_status: pb::PublicationStatus::Usable.into(),
                ..full_article("a")
            })
            .into(),
        ),
        significance: 0,
    };
    let mut answers = server
        .articles()
        .import_articles(stream::iter([item]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(
        (answer.result(), answer.article_id.as_str(), answer.revision),
        (pb::ImportResult::Revised, "a", 4),
        "{answer:?}"
    );
    absent(&server, "a", false).await;
    let attach = small_form("a", "de", 4, &["one", "two", ""]);
    let refusal = fails(
        server.translations().attach_translation(attach).await,
        Code::FailedPrecondition,
        "SOURCE_WITHHELD",
    );
    assert_eq!(refusal.metadata["article_id"], "a");
    let detach = pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "fr".into(),
        translation_id: "t1".into(),
        ..Default::default()
    };
    fails(
        server.translations().detach_translation(detach).await,
        Code::FailedPrecondition,
        "SOURCE_WITHHELD",
    );
    let delete = pb::DeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().delete_article(delete).await.unwrap();
    // A deleted article can be released; it stays deleted.
    let released = set_status(&server, status_request("a", pb::PublicationStatus::Usable)).await;
    assert!(released.delete_time.is_some());
    absent(&server, "a", false).await;
    let undelete = pb::UndeleteArticleRequest {
        article_id: "a".into(),
        ..Default::default()
    };
    server.articles().undelete_article(undelete).await.unwrap();
    get(&server, "a").await;
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_status_checks_its_fields_its_etag_and_its_request() {
    let server = Server::memory().await;
    let created = create(&server, article("a", &["نص"])).await;
    let mut client = server.articles();
    let wrong = pb::SetPublicationStatusRequest {
        article_id: "a/".into(),
        embargo_time: Some(time(Timestamp::MAX)),
        lift_embargo: true,
        reason: "x".repeat(1_025),
        etag: "x".repeat(65),
        request_id: "x".into(),
        ..Default::default()
    };
    blames(
        client.set_publication_status(wrong).await,
        &[
            "request_id",
            "etag",
            "article_id",
            "lift_embargo",
            "reason",
            "publication_status",
        ],
    );
    let withhold = status_request("a", pb::PublicationStatus::Withheld);
    fails(
        client
            .set_publication_status(status_request("none", pb::PublicationStatus::Withheld))
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let stale = pb::SetPublicationStatusRequest {
        etag: "7-x".into(),
        ..withhold.clone()
    };
    fails(
        client.set_publication_status(stale.clone()).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let once = pb::SetPublicationStatusRequest {
        etag: created.etag.clone(),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..withhold
    };
    let first = set_status(&server, once.clone()).await;
    set_status(&server, status_request("a", pb::PublicationStatus::Usable)).await;
    let seq = server.seq().await;
    assert_eq!(set_status(&server, once).await, first);
    assert_eq!(server.seq().await, seq);
    // A no-op is answered whatever the etag.
    let usable = pb::SetPublicationStatusRequest {
        etag: "7-x".into(),
        ..status_request("a", pb::PublicationStatus::Usable)
    };
    set_status(&server, usable).await;
    assert_eq!(server.seq().await, seq);
}

fn micros(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000).unwrap()
}

/// Waits until everybody can read an article.
async fn appears(server: &Server, id: &str) -> pb::Article {
    let request = pb::GetArticleRequest {
        article_id: id.into(),
        ..Default::default()
    };
    let read = async {
        loop {
            if let Ok(answer) = server.articles().get_article(request.clone()).await {
                return answer.into_inner().article.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .expect("it appears in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embargo_ends_by_itself_also_while_no_server_runs() {
    const START: i64 = 1_652_000_000;
    let clock = ManualClock::at(micros(START));
    let server = Server::sled_with(|setup| setup.clock(clock.clone()).scopes(&[Scope::Embargoed])).await;
    let mut created = Vec::new();
    for (id, end) in [("a", 60), ("b", 120), ("c", 120)] {
        let embargoed = pb::Article {
            embargo_time: Some(time(micros(START + end))),
            ..full_article(id)
        };
        created.push(create(&server, embargoed).await);
        absent(&server, id, false).await;
        // Translated ahead.
        attach(&server, small_form(id, "fr", 1, &["one", "two", ""])).await;
        present(&server, id, true).await;
    }
    server.check().await;
    let seq = server.seq().await;
    clock.set(micros(START + 60));
    let shown = appears(&server, "a").await;
    assert_eq!(shown.embargo_time, Some(time(micros(START + 60))));
    // Text and metadata are the same, so the etag is.
    assert_eq!(shown.etag, created[0].etag);
    present(&server, "a", false).await;
    absent(&server, "b", false).await;
    let events = server.events_after(seq).await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0].kind, events[0].article.as_str()),
        (&Kind::EmbargoLifted, "a")
    );
    // Who is not in the know cannot attach, and does not learn that there is something.
    let server = server
        .restart_with(|setup| setup.scopes(&[Scope::Editorial]))
        .await;
    fails(
        server
            .translations()
            .attach_translation(small_form("b", "en", 1, &["one", "two", ""]))
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    // Withheld meanwhile, it does not appear; released after its end, it does at once.
    set_status(&server, status_request("c", pb::PublicationStatus::Withheld)).await;
    server.check().await;
    let server = server
        .restart_with(|setup| {
            clock.set(micros(START + 7_200));
            setup.scopes(&[])
        })
        .await;
    appears(&server, "b").await;
    present(&server, "b", false).await;
    absent(&server, "c", false).await;
    set_status(&server, status_request("c", pb::PublicationStatus::Usable)).await;
    present(&server, "c", false).await;
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embargoes_are_moved_and_lifted_by_name_and_survive_an_import() {
    const START: i64 = 1_652_000_000;
    let clock = ManualClock::at(micros(START));
    let server = Server::sled_with(|setup| setup.clock(clock.clone())).await;
    let embargoed = pb::Article {
        embargo_time: Some(time(micros(START + 60))),
        ..article("a", &["نص"])
    };
    create(&server, embargoed).await;
    // The whole article is replaced, and does not appear by that.
    let replaced = update(&server, article("a", &["نص آخر"]), &["*"]).await;
    assert_eq!(replaced.embargo_time, Some(time(micros(START + 60))));
    let later = pb::SetPublicationStatusRequest {
        embargo_time: Some(time(micros(START + 120))),
        ..status_request("a", pb::PublicationStatus::Usable)
    };
    set_status(&server, later).await;
    server.check().await;
    clock.set(micros(START + 90));
    // Something else that is due shows that the keeper was there.
    let other = pb::Article {
        embargo_time: Some(time(micros(START + 91))),
        ..article("b", &["نص"])
    };
    create(&server, other).await;
    clock.set(micros(START + 91));
    appears(&server, "b").await;
    fails(
        server
            .articles()
            .get_article(pb::GetArticleRequest {
                article_id: "a".into(),
                ..Default::default()
            })
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    let seq = server.seq().await;
    let lifted = update(&server, article("a", &[]), &["embargo_time"]).await;
    assert_eq!(lifted.embargo_time, None);
    get(&server, "a").await;
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds, [Kind::ArticleMetadataChanged, Kind::EmbargoLifted]);
    server.check().await;
}

//! Reads of the past: every state that ever was is read back exactly, translations included.

use std::collections::BTreeMap;

use article_store::clock::ManualClock;
use article_store::domain::time::Timestamp;
use article_store::pb;
use tonic::Code;

use super::{
    agent, article, attach, body, by_id, create, full_article, rewrite, segment, small_form, time, update,
};
use crate::harness::{Server, Setup, fails};

/// All that the API says of article `a`, now or at a moment.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    article: pb::Article,
    summaries: Vec<pb::TranslationSummary>,
    translations: BTreeMap<(String, String), pb::Translation>,
}

async fn see(server: &Server, at: Option<Timestamp>) -> Seen {
    let request = pb::GetArticleRequest {
        article_id: "a".into(),
        at: at.map(|at| pb::get_article_request::At::AsOfTime(time(at))),
        ..Default::default()
    };
    let article = server.articles().get_article(request).await.unwrap().into_inner();
    let request = pb::ListTranslationsRequest {
        article_id: "a".into(),
        show_withdrawn: true,
        as_of_time: at.map(time),
        ..Default::default()
    };
    let listed = server.translations().list_translations(request).await.unwrap();
    let summaries = listed.into_inner().translations;
    let mut translations = BTreeMap::new();
    for summary in &summaries {
        let request = pb::GetTranslationRequest {
            show_hidden: false,
            article_id: "a".into(),
            language: summary.language.clone(),
            translation_id: summary.translation_id.clone(),
            at: at.map(|at| pb::get_translation_request::At::AsOfTime(time(at))),
            evidence_only: false,
        };
        let read = server.translations().get_translation(request).await.unwrap();
        let read = read.into_inner().translation.unwrap();
        assert_eq!(read.summary.as_ref(), Some(summary));
        translations.insert((summary.language.clone(), summary.translation_id.clone()), read);
    }
    Seen {
        article: article.article.unwrap(),
        summaries,
        translations,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_read_back_by_time_and_by_revision() {
    let server = Server::sled().await;
    let mut states: Vec<(Timestamp, Seen)> = Vec::new();
    create(&server, full_article("a")).await;
    states.push((server.newest_commit().await, see(&server, None).await));
    for step in 0..24 {
        let text = format!("فقرة في الخطوة رقم {step}");
        match step % 8 {
            0 => drop(attach(&server, small_form_3("en", 1, &text)).await),
            1 => drop(rewrite(&server, "a", &["أعلنت وزارة الخارجية", &text]).await),
            2 => {
                let mut request = small_form_3("fr", 1, &text);
                request.agent = agent(pb::AgentKind::Human, "Omar");
                drop(attach(&server, request).await);
            }
            3 => {
                let metadata = pb::Article {
                    article_id: "a".into(),
                    section: text,
                    ..Default::default()
                };
                drop(update(&server, metadata, &[]).await);
            }
            4 => {
                let mut request = small_form_3("en", 1, &text);
                request.new_candidate = true;
                drop(attach(&server, request).await);
            }
            5 => drop(attach(&server, by_id("a", "en", 1, &[("s1", &text)])).await),
            6 => {
                let title = pb::Article {
                    article_id: "a".into(),
                    title: Some(segment(&text)),
                    ..Default::default()
                };
                drop(update(&server, title, &[]).await);
            }
            _ => {
                let listed = states.last().unwrap().1.summaries.clone();
                let active = listed
                    .iter()
                    .find(|t| t.disposition() == pb::Disposition::Active)
                    .unwrap();
                let request = pb::DetachTranslationRequest {
                    article_id: "a".into(),
                    language: active.language.clone(),
                    translation_id: active.translation_id.clone(),
                    ..Default::default()
                };
                server.translations().detach_translation(request).await.unwrap();
            }
        }
        states.push((server.newest_commit().await, see(&server, None).await));
    }
    let times: Vec<_> = states.iter().map(|(time, _)| *time).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "commit times increase strictly");
    let server = server.restart().await;
    for (index, (time, state)) in states.iter().enumerate() {
        assert_eq!(see(&server, Some(*time)).await, *state, "at commit {index}");
        if let Some((next, _)) = states.get(index + 1) {
            let before = next.saturating_add_micros(-1);
            assert_eq!(
                see(&server, Some(before)).await,
                *state,
                "before commit {}",
                index + 1
            );
        }
    }
    let (_, newest) = states.last().unwrap();
    assert_eq!(see(&server, Some(Timestamp::MAX)).await, *newest);
    // A revision is read in its newest state; its translations too.
    let head = newest.article.revision;
    assert!(head >= 6);
    for revision in 1..=head {
        let request = pb::GetArticleRequest {
            article_id: "a".into(),
            at: Some(pb::get_article_request::At::Revision(revision)),
            ..Default::default()
        };
        let read = server.articles().get_article(request).await.unwrap().into_inner();
        let (_, last) = states
            .iter()
            .rfind(|(_, s)| s.article.revision == revision)
            .unwrap();
        assert_eq!(read.article.as_ref(), Some(&last.article), "revision {revision}");
    }
    server.check().await;
}

fn small_form_3(language: &str, revision: u32, text: &str) -> pb::AttachTranslationRequest {
    small_form("a", language, revision, &[text, "said", "photo"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_translation_is_judged_by_any_revision() {
    let server = Server::memory().await;
    create(&server, article("a", &["واحد", "اثنان"])).await;
    attach(&server, small_form("a", "en", 1, &["one", "two"])).await;
    rewrite(&server, "a", &["واحد", "شيء آخر تماما"]).await;
    rewrite(&server, "a", &["اثنان", "واحد"]).await;
    let judged = |revision| {
        let mut client = server.translations();
        async move {
            let request = pb::GetTranslationRequest {
                article_id: "a".into(),
                language: "en".into(),
                at: Some(pb::get_translation_request::At::Revision(revision)),
                ..Default::default()
            };
            let read = client.get_translation(request).await.unwrap().into_inner();
            let translation = read.translation.unwrap();
            let texts: Vec<_> = translation.body.iter().map(|s| s.text.clone()).collect();
            assert_eq!(texts, ["one", "two"]);
            translation.summary.unwrap()
        }
    };
    assert_eq!(judged(1).await.freshness(), pb::Freshness::Current);
    assert_eq!(judged(2).await.freshness(), pb::Freshness::Incomplete);
    assert_eq!(judged(3).await.freshness(), pb::Freshness::Moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_was_is_not_found() {
    let server = Server::memory().await;
    let created = create(&server, article("a", &["واحد"])).await;
    rewrite(&server, "a", &["اثنان"]).await;
    let mut early = created.create_time.unwrap();
    early.seconds -= 1;
    let mut client = server.articles();
    use pb::get_article_request::At;
    for at in [
        At::Revision(0),
        At::Revision(3),
        At::Revision(u32::MAX),
        At::AsOfTime(early),
    ] {
        let request = pb::GetArticleRequest {
            article_id: "a".into(),
            at: Some(at),
            ..Default::default()
        };
        let missing = fails(
            client.get_article(request).await,
            Code::NotFound,
            "REVISION_NOT_FOUND",
        );
        assert_eq!(missing.metadata["article_id"], "a");
        assert_eq!(missing.metadata["head_revision"], "2");
        assert!(missing.message.contains('2'), "{}", missing.message);
    }
    let request = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        at: Some(pb::get_translation_request::At::Revision(9)),
        ..Default::default()
    };
    let mut translations = server.translations();
    fails(
        translations.get_translation(request).await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
    let request = pb::ListTranslationsRequest {
        article_id: "a".into(),
        as_of_time: Some(early),
        ..Default::default()
    };
    fails(
        translations.list_translations(request).await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
    let empty = pb::Article {
        article_id: "a".into(),
        body: body(&["ثلاثة"]),
        ..Default::default()
    };
    assert_eq!(update(&server, empty, &[]).await.revision, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn now_is_the_newest_state_over_a_clock_that_goes_back() {
    const START: i64 = 1_652_000_000_000_000;
    const HOUR: i64 = 3_600_000_000;
    let at = |micros: i64| Timestamp::from_micros(START + micros).unwrap();
    let clock = ManualClock::at(at(0));
    let server = Setup::sled().clock(clock.clone()).start().await;
    create(&server, full_article("a")).await;
    let first = see(&server, None).await;
    clock.jump(at(-HOUR));
    let server = server.restart().await;
    assert_eq!(see(&server, Some(at(-HOUR))).await, first);
    clock.set(at(-HOUR + 32_000_000));
    rewrite(&server, "a", &["second"]).await;
    let (second, committed) = (see(&server, None).await, server.newest_commit().await);
    assert_eq!(committed, at(30_000_000));
    clock.set(at(-HOUR + 48_000_000));
    assert_eq!(see(&server, Some(at(-HOUR + 48_000_000))).await, second);
    // Commit times name what they named.
    assert_eq!(see(&server, Some(committed)).await, second);
    assert_eq!(see(&server, Some(at(29_999_999))).await, first);
    server.check().await;
}

//! Reads in a language, and lists by how a translation stands: what is served, and what the answer says of it.

use std::collections::BTreeSet;

use article_store::pb;
use pb::{AgentKind, Freshness, OriginClass, TranslationPresence, TranslationState};

use super::{agent, article, attach, by_id, create, rewrite, small_form, update_request};
use crate::harness::{Server, blames};

/// The served text, in short: language, translation, fallback or not, freshness.
async fn read(server: &Server, request: pb::GetArticleRequest) -> (String, String, bool, Freshness) {
    let answer = server.articles().get_article(request).await.unwrap().into_inner();
    let served = answer.served.unwrap();
    let id = answer.translation.map(|t| t.translation_id).unwrap_or_default();
    assert_eq!(id, served.translation_id);
    assert_eq!(answer.article.unwrap().article_id, "a");
    (
        served.served_language.clone(),
        served.translation_id.clone(),
        served.is_fallback,
        served.freshness(),
    )
}

fn wanted(languages: &[&str]) -> pb::GetArticleRequest {
    pb::GetArticleRequest {
        article_id: "a".into(),
        languages: languages.iter().map(|&tag| tag.to_owned()).collect(),
        ..pb::GetArticleRequest::default()
    }
}

fn served(
    language: &str,
    id: &str,
    is_fallback: bool,
    freshness: Freshness,
) -> (String, String, bool, Freshness) {
    (language.into(), id.into(), is_fallback, freshness)
}

fn human(request: pb::AttachTranslationRequest) -> pb::AttachTranslationRequest {
    pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, "Leïla"),
        ..request
    }
}

const CURRENT: Freshness = Freshness::Current;

#[tokio::test(flavor = "multi_thread")]
async fn languages_are_looked_up_and_the_answer_says_what_is_served() {
    let server = Server::memory().await;
    create(&server, article("a", &["الأولى", "الثانية"])).await;
    for tag in ["fr", "pt-BR", "zh-Hant"] {
        attach(&server, small_form("a", tag, 1, &["1", "2"])).await;
    }
    for (languages, expected) in [
        (&[][..], served("ar", "", false, CURRENT)),
        (&["fr"], served("fr", "t1", false, CURRENT)),
        (&["fr-CA"], served("fr", "t1", true, CURRENT)),
        (&["pt"], served("pt-BR", "t1", false, CURRENT)),
        (&["pt-PT"], served("ar", "", true, CURRENT)),
        (&["pt-PT", "pt"], served("pt-BR", "t1", true, CURRENT)),
        (&["zh-Hant-TW"], served("zh-Hant", "t1", true, CURRENT)),
        (&["de", "ar", "fr"], served("ar", "", true, CURRENT)),
        (&["ar-EG", "fr"], served("ar", "", true, CURRENT)),
        (&["ar"], served("ar", "", false, CURRENT)),
        (&["de"], served("ar", "", true, CURRENT)),
        (&["FR"], served("fr", "t1", false, CURRENT)),
    ] {
        assert_eq!(read(&server, wanted(languages)).await, expected, "{languages:?}");
    }
    let full = server
        .articles()
        .get_article(wanted(&["fr"]))
        .await
        .unwrap()
        .into_inner();
    let translation = full.translation.unwrap();
    assert_eq!(translation.body.len(), 2);
    assert_eq!(translation.title.unwrap().text, "title");
    assert_eq!(full.article.unwrap().body.len(), 2);
    let basic = pb::GetArticleRequest {
        view: pb::ArticleView::Basic.into(),
        ..wanted(&["fr"])
    };
    let basic = server.articles().get_article(basic).await.unwrap().into_inner();
    let translation = basic.translation.unwrap();
    assert!(translation.body.is_empty() && translation.title.is_some());
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_kept_and_what_passes_is_chosen_by_rank() {
    let server = Server::memory().await;
    create(&server, article("a", &["one", "the second paragraph"])).await;
    attach(&server, small_form("a", "fr", 1, &["un", "deux"])).await;
    attach(&server, human(small_form("a", "en", 1, &["eins", "zwei"]))).await;
    let candidate = pb::AttachTranslationRequest {
        new_candidate: true,
        ..human(by_id("a", "fr", 1, &[("s1", "une")]))
    };
    attach(&server, candidate).await;
    let only = |change: fn(&mut pb::GetArticleRequest)| {
        let mut request = wanted(&["fr", "en"]);
        change(&mut request);
        request
    };
    assert_eq!(
        read(&server, only(|_| ())).await,
        served("fr", "t1", false, CURRENT)
    );
    let no_machine = only(|request| request.exclude_machine = true);
    assert_eq!(
        read(&server, no_machine.clone()).await,
        served("fr", "t2", false, Freshness::Incomplete)
    );
    let whole = pb::GetArticleRequest {
        max_freshness: CURRENT.into(),
        ..no_machine
    };
    assert_eq!(
        read(&server, whole.clone()).await,
        served("en", "t1", true, CURRENT)
    );
    let reviewed = only(|request| request.min_state = TranslationState::Reviewed.into());
    assert_eq!(read(&server, reviewed).await, served("ar", "", true, CURRENT));
    // A stale text passes when all that changed since is negligible, and the answer still says that it is stale.
    let changed = pb::UpdateArticleRequest {
        significance: pb::Significance::Minor.into(),
        ..update_request(article("a", &["one", "the second paragraph!"]), &["body"])
    };
    server.articles().update_article(changed).await.unwrap();
    let fresh = only(|request| request.max_freshness = CURRENT.into());
    assert_eq!(
        read(&server, fresh.clone()).await,
        served("ar", "", true, CURRENT)
    );
    for (least, expected) in [
        (pb::Significance::Minor, served("ar", "", true, CURRENT)),
        (
            pb::Significance::Major,
            served("fr", "t1", false, Freshness::Stale),
        ),
    ] {
        let tolerant = pb::GetArticleRequest {
            ignore_below: least.into(),
            ..fresh.clone()
        };
        assert_eq!(read(&server, tolerant).await, expected, "{least:?}");
    }
    let answer = server
        .articles()
        .get_article(wanted(&["fr"]))
        .await
        .unwrap()
        .into_inner();
    let said = answer.served.unwrap();
    assert_eq!(said.stale_segment_ids, ["s2"]);
    assert_eq!(said.stale_since_revision, 2);
    assert_eq!(said.stale_significance(), pb::Significance::Minor);
    assert_eq!(said.origin_class(), OriginClass::MachineUnreviewed);
    assert_eq!(said.state(), TranslationState::Translated);
    // The first revision is read with the translations of then.
    let then = pb::GetArticleRequest {
        at: Some(pb::get_article_request::At::Revision(1)),
        ..fresh
    };
    assert_eq!(read(&server, then).await, served("fr", "t1", false, CURRENT));
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_wishes_are_named() {
    let server = Server::memory().await;
    create(&server, article("a", &["one"])).await;
    let request = pb::GetArticleRequest {
        languages: vec!["fr".into(), "x-".into()],
        min_state: 11,
        max_freshness: -1,
        ignore_below: 5,
        ..wanted(&[])
    };
    let fields = ["languages[1]", "min_state", "max_freshness", "ignore_below"];
    blames(server.articles().get_article(request).await, &fields);
    let many = wanted(&["fr"; 51]);
    blames(server.articles().get_article(many).await, &["languages"]);
    let filter = pb::TranslationFilter {
        language: String::new(),
        presence: TranslationPresence::Absent.into(),
        min_state: TranslationState::Final.into(),
        origin_class: OriginClass::Human.into(),
    };
    let fields = [
        "translation.language",
        "translation.min_state",
        "translation.origin_class",
    ];
    blames(server.articles().list_articles(listing(filter)).await, &fields);
}

fn listing(filter: pb::TranslationFilter) -> pb::ListArticlesRequest {
    pb::ListArticlesRequest {
        translation: Some(filter),
        page_size: 2,
        ..pb::ListArticlesRequest::default()
    }
}

async fn listed(server: &Server, filter: pb::TranslationFilter) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut request = listing(filter);
    loop {
        let page = server
            .articles()
            .list_articles(request.clone())
            .await
            .unwrap()
            .into_inner();
        for article in page.articles {
            assert!(found.insert(article.article_id), "listed twice");
        }
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_find_what_is_missing_stale_or_done() {
    let server = Server::sled().await;
    for id in ["none", "done", "part", "stale", "healed", "person"] {
        create(&server, article(id, &["one", "the second paragraph"])).await;
    }
    create(
        &server,
        pb::Article {
            language: "fr".into(),
            ..article("french", &["un"])
        },
    )
    .await;
    for id in ["done", "stale", "healed"] {
        attach(&server, small_form(id, "fr", 1, &["un", "deux"])).await;
    }
    attach(&server, by_id("part", "fr", 1, &[("s1", "un")])).await;
    attach(&server, human(small_form("person", "fr", 1, &["un", "deux"]))).await;
    for id in ["stale", "healed"] {
        rewrite(&server, id, &["one", "the other paragraph"]).await;
    }
    rewrite(&server, "healed", &["one", "the second paragraph"]).await;
    let server = server.restart().await;
    let filter = |presence: TranslationPresence| pb::TranslationFilter {
        language: "fr".into(),
        presence: presence.into(),
        ..pb::TranslationFilter::default()
    };
    use TranslationPresence as Presence;
    for (presence, expected) in [
        (
            Presence::Unspecified,
            &["done", "part", "stale", "healed", "person"][..],
        ),
        (Presence::Any, &["done", "part", "stale", "healed", "person"]),
        (Presence::Absent, &["none"]),
        (Presence::Incomplete, &["part"]),
        (Presence::Stale, &["stale"]),
        (Presence::Current, &["done", "healed", "person"]),
        (Presence::NotCurrent, &["none", "part", "stale"]),
    ] {
        let expected: BTreeSet<_> = expected.iter().map(|&id| id.to_owned()).collect();
        assert_eq!(listed(&server, filter(presence)).await, expected, "{presence:?}");
    }
    let by_person = pb::TranslationFilter {
        origin_class: OriginClass::Human.into(),
        ..filter(Presence::Any)
    };
    assert_eq!(
        listed(&server, by_person).await,
        BTreeSet::from(["person".to_owned()])
    );
    let reviewed = pb::TranslationFilter {
        min_state: TranslationState::Reviewed.into(),
        ..filter(Presence::Any)
    };
    assert_eq!(listed(&server, reviewed).await, BTreeSet::new());
    server.check().await;
}

//! Translations: attached in every form, whose text may replace whose, and how they stand to their source.

use article_store::domain::change::Kind;
use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{AgentKind, AttachOutcome, Disposition, Freshness, OriginClass, TranslationState};
use tonic::Code;

use super::workflow::{review, reviewed};
use super::{
    agent, article, attach, body, by_id, create, rewrite, segment, small_form, target, target_of,
    translation, update, update_request,
};
use crate::harness::{Server, blames, fails};

fn texts(translation: &pb::Translation) -> Vec<&str> {
    translation
        .body
        .iter()
        .map(|segment| segment.text.as_str())
        .collect()
}

fn human(request: pb::AttachTranslationRequest) -> pb::AttachTranslationRequest {
    pb::AttachTranslationRequest {
        agent: agent(AgentKind::Human, "Leïla"),
        ..request
    }
}

async fn three(server: &Server) -> pb::Article {
    create(
        server,
        article("a", &["الفقرة الأولى", "ثم الثانية", "وأخيرا الثالثة"]),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_form_becomes_the_active_translation() {
    let server = Server::sled().await;
    three(&server).await;
    let request = small_form("a", "EN-gb", 1, &["one", "two", "three"]);
    let (summary, outcome) = attach(&server, request.clone()).await;
    assert_eq!(outcome, AttachOutcome::Created);
    assert_eq!(
        (summary.language.as_str(), summary.translation_id.as_str()),
        ("en-GB", "t1")
    );
    assert_eq!(summary.source_revision, 1);
    assert_eq!(summary.state(), TranslationState::Translated);
    assert_eq!(summary.freshness(), Freshness::Current);
    assert_eq!(summary.current_segments, 4);
    assert_eq!(summary.disposition(), Disposition::Active);
    assert_eq!(summary.origin_class(), OriginClass::MachineUnreviewed);
    let read = translation(&server, "a", "en-GB", "").await;
    assert_eq!(read.summary.as_ref(), Some(&summary));
    assert_eq!(texts(&read), ["one", "two", "three"]);
    assert_eq!(read.title.as_ref().unwrap().text, "title");
    assert_eq!(read.lead, None);
    assert_eq!(read.agent, request.agent);
    let ids: Vec<_> = read.body.iter().map(|s| s.segment_id.as_str()).collect();
    assert_eq!(ids, ["s1", "s2", "s3"]);
    for segment in &read.body {
        assert_eq!(segment.writer(), AgentKind::Mt);
        assert_eq!(segment.freshness(), Freshness::Current);
        assert_eq!(segment.state(), TranslationState::Translated);
        assert_eq!(segment.source_revision, 1);
    }
    // The article's etag and revision stand still; its summary is the translation's.
    let article = super::get(&server, "a").await;
    assert_eq!(article.revision, 1);
    assert_eq!(article.translations, std::slice::from_ref(&summary));
    // The same again is no write.
    let seq = server.seq().await;
    assert_eq!(
        attach(&server, request.clone()).await,
        (summary.clone(), AttachOutcome::Unchanged)
    );
    assert_eq!(server.seq().await, seq);
    // The same machine edits its translation.
    let (edited, outcome) = attach(&server, small_form("a", "en-GB", 1, &["one", "2", "three"])).await;
    assert_eq!(outcome, AttachOutcome::Updated);
    assert_eq!(edited.translation_id, "t1");
    assert_ne!(edited.etag, summary.etag);
    assert_eq!(edited.slot_etag, summary.slot_etag);
    assert_eq!(edited.create_time, summary.create_time);
    assert_ne!(edited.update_time, summary.update_time);
    assert_eq!(
        texts(&translation(&server, "a", "en-GB", "t1").await),
        ["one", "2", "three"]
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_id_writes_a_part_and_marks_are_kept() {
    let server = Server::memory().await;
    three(&server).await;
    let (partial, _) = attach(&server, by_id("a", "fr", 1, &[("s3", "trois"), ("s1", "un")])).await;
    assert_eq!(partial.freshness(), Freshness::Incomplete);
    assert_eq!(partial.missing_segment_ids, ["title", "s2"]);
    assert_eq!(partial.current_segments, 2);
    // The rest, with marks and a sub-state, and the title.
    let marked = pb::TargetSegment {
        spans: vec![pb::Span {
            start: 0,
            end: 4,
            mark: pb::SpanMark::Italic.into(),
            href: String::new(),
        }],
        sub_state: "x:checked".into(),
        ..target_of("s2", "deux")
    };
    let text = pb::TargetText {
        title: Some(target_of("title", "Titre")),
        lead: None,
        body: vec![marked.clone()],
    };
    let request = pb::AttachTranslationRequest {
        content: Some(Content::Text(text)),
        ..by_id("a", "fr", 1, &[])
    };
    let (whole, outcome) = attach(&server, request).await;
    assert_eq!(
        (whole.freshness(), outcome),
        (Freshness::Current, AttachOutcome::Updated)
    );
    let read = translation(&server, "a", "fr", "").await;
    assert_eq!(texts(&read), ["un", "deux", "trois"]);
    assert_eq!(read.body[1].spans, marked.spans);
    assert_eq!(read.body[1].sub_state, "x:checked");
    assert_eq!(read.title.unwrap().text, "Titre");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_revision_is_listed() {
    let server = Server::memory().await;
    three(&server).await;
    rewrite(&server, "a", &["الفقرة الأولى", "ثم الثانية"]).await;
    let before = server.export().await;
    let mut client = server.translations();
    let few = blames(
        client
            .attach_translation(small_form("a", "en", 1, &["one", "two"]))
            .await,
        &["text.body"],
    );
    for id in ["s1", "s2", "s3"] {
        assert!(few.fields[0].1.contains(id), "{few:?}");
    }
    blames(
        client
            .attach_translation(small_form("a", "en", 2, &["one", "two", "three"]))
            .await,
        &["text.body"],
    );
    blames(
        client
            .attach_translation(small_form("a", "en", 2, &["", " \n"]))
            .await,
        &["text.body[0].text", "text.body[1].text"],
    );
    blames(
        client
            .attach_translation(by_id(
                "a",
                "en",
                2,
                &[("s1", "one"), ("s3", "three"), ("s9", "nine"), ("s1", "1")],
            ))
            .await,
        &[
            "text.body[1].segment_id",
            "text.body[2].segment_id",
            "text.body[3].segment_id",
        ],
    );
    blames(
        client
            .attach_translation(by_id("a", "en", 2, &[("s1", "one"), ("", "two")]))
            .await,
        &["text.body"],
    );
    let with_lead = pb::TargetText {
        lead: Some(target("lead")),
        ..Default::default()
    };
    let request = pb::AttachTranslationRequest {
        content: Some(Content::Text(with_lead)),
        ..by_id("a", "en", 2, &[])
    };
    blames(client.attach_translation(request).await, &["text.lead"]);
    blames(
        client.attach_translation(by_id("a", "en", 2, &[])).await,
        &["text"],
    );
    // An unknown revision names the newest.
    let unknown = fails(
        client
            .attach_translation(small_form("a", "en", 7, &["one"]))
            .await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
    assert_eq!(unknown.metadata["head_revision"], "2");
    assert_eq!(unknown.metadata["revision"], "7");
    // No revision is no guess.
    let guess = blames(
        client
            .attach_translation(small_form("a", "en", 0, &["one", "two"]))
            .await,
        &["source_revision"],
    );
    assert!(guess.fields[0].1.contains("required"), "{guess:?}");
    blames(
        client
            .attach_translation(small_form("a", "ar", 2, &["one", "two"]))
            .await,
        &["language"],
    );
    fails(
        client
            .attach_translation(small_form("b", "en", 1, &["one"]))
            .await,
        Code::NotFound,
        "ARTICLE_NOT_FOUND",
    );
    assert_eq!(server.export().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_an_attach_is_named_at_once() {
    let server = Server::memory().await;
    three(&server).await;
    let mut client = server.translations();
    let request = pb::AttachTranslationRequest {
        article_id: "a/b".into(),
        language: "x-".into(),
        source_revision: 0,
        content: None,
        translation_id: "7".into(),
        new_candidate: true,
        agent: None,
        state: 99,
        quality_scores: vec![pb::QualityScore {
            value: f64::NAN,
            min: 0.0,
            max: 1.0,
            ..Default::default()
        }],
        etag: "x".repeat(65),
        overwrite_human: true,
        slot_etag: String::new(),
        effort: Some(pb::Effort {
            cost_micros: 1,
            currency: "euro".into(),
            match_quality: Some(101),
            ..Default::default()
        }),
        request_id: String::new(),
    };
    let refused = blames(
        client.attach_translation(request.clone()).await,
        &[
            "article_id",
            "language",
            "source_revision",
            "content",
            "translation_id",
            "agent",
            "state",
            "quality_scores[0].metric",
            "quality_scores[0].value",
            "etag",
            "slot_etag",
        ],
    );
    assert!(refused.message.contains("article_id"), "{}", refused.message);
    let effort = pb::AttachTranslationRequest {
        effort: request.effort,
        ..small_form("a", "en", 1, &["1", "2", "3"])
    };
    blames(
        client.attach_translation(effort).await,
        &["effort.currency", "effort.match_quality"],
    );
    for (kind, field) in [(0, "agent.kind"), (99, "agent.kind")] {
        let mut request = small_form("a", "en", 1, &["1", "2", "3"]);
        request.agent.as_mut().unwrap().kind = kind;
        blames(client.attach_translation(request).await, &[field]);
    }
    for uri in [
        "",
        "no uri",
        "/relative",
        &format!("https://h/{}", "x".repeat(2_048)),
        "x:\u{0}",
    ] {
        let request = pb::AttachTranslationRequest {
            content: Some(Content::ExternalUri(uri.into())),
            ..small_form("a", "en", 1, &[""])
        };
        blames(client.attach_translation(request).await, &["external_uri"]);
    }
    let both = pb::AttachTranslationRequest {
        translation_id: "t1".into(),
        new_candidate: true,
        ..small_form("a", "en", 1, &["1", "2", "3"])
    };
    blames(client.attach_translation(both).await, &["new_candidate"]);
    let etag_of_none = pb::AttachTranslationRequest {
        etag: "1-0".into(),
        new_candidate: true,
        ..small_form("a", "en", 1, &["1", "2", "3"])
    };
    blames(client.attach_translation(etag_of_none).await, &["etag"]);
    let stray = pb::AttachTranslationRequest {
        quality_scores: vec![pb::QualityScore {
            metric: "COMET".into(),
            value: 0.5,
            max: 1.0,
            segment_id: "s2".into(),
            ..Default::default()
        }],
        ..by_id("a", "en", 1, &[("s1", "one")])
    };
    blames(
        client.attach_translation(stray).await,
        &["quality_scores[0].segment_id"],
    );
    assert_eq!(server.seq().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_never_replaces_a_person() {
    let server = Server::sled().await;
    three(&server).await;
    attach(&server, small_form("a", "en", 1, &["one", "two", "three"])).await;
    // A person corrects one segment.
    let (edited, outcome) = attach(&server, human(by_id("a", "en", 1, &[("s2", "Second")]))).await;
    assert_eq!(outcome, AttachOutcome::Updated);
    assert_eq!(edited.origin_class(), OriginClass::Mixed);
    let read = translation(&server, "a", "en", "").await;
    let writers: Vec<_> = read.body.iter().map(|s| s.writer()).collect();
    assert_eq!(writers, [AgentKind::Mt, AgentKind::Human, AgentKind::Mt]);
    // Around the person's segment the machine goes on, with the very same text for it too.
    let (_, outcome) = attach(&server, small_form("a", "en", 1, &["uno", "Second", "three"])).await;
    assert_eq!(outcome, AttachOutcome::Updated);
    let served = translation(&server, "a", "en", "").await;
    assert_eq!(served.body[1].writer(), AgentKind::Human);
    // A write that would change it goes to the machine's candidate as a whole; what is not sent is copied.
    let (candidate, outcome) = attach(&server, by_id("a", "en", 1, &[("s1", "eins"), ("s2", "zwei")])).await;
    assert_eq!(outcome, AttachOutcome::Diverted);
    assert_eq!(candidate.translation_id, "t2");
    assert_eq!(candidate.disposition(), Disposition::Candidate);
    assert_eq!(
        texts(&translation(&server, "a", "en", "t2").await),
        ["eins", "zwei", "three"]
    );
    // A candidate that joins changes nothing of what is served, the selection's etag included.
    assert_eq!(translation(&server, "a", "en", "").await, served);
    // Once more, under the etag of what it has read: the same one candidate. Another machine has its own.
    let mut guarded = by_id("a", "en", 1, &[("s2", "dos")]);
    guarded.etag = served.summary.as_ref().unwrap().etag.clone();
    let (again, outcome) = attach(&server, guarded).await;
    assert_eq!(
        (again.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Diverted)
    );
    assert_eq!(
        texts(&translation(&server, "a", "en", "t2").await),
        ["eins", "dos", "three"]
    );
    let mut other = by_id("a", "en", 1, &[("s2", "deux")]);
    other.agent = agent(AgentKind::Llm, "another");
    let (third, outcome) = attach(&server, other).await;
    assert_eq!(
        (third.translation_id.as_str(), outcome),
        ("t3", AttachOutcome::Diverted)
    );
    // The override needs the slot's etag, and the right one.
    let mut client = server.translations();
    let forced = pb::AttachTranslationRequest {
        overwrite_human: true,
        ..by_id("a", "en", 1, &[("s2", "machine")])
    };
    blames(client.attach_translation(forced.clone()).await, &["slot_etag"]);
    let wrong = pb::AttachTranslationRequest {
        slot_etag: "1-0".into(),
        ..forced.clone()
    };
    let refused = fails(
        client.attach_translation(wrong).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(refused.metadata["current_etag"], third.slot_etag);
    let right = pb::AttachTranslationRequest {
        slot_etag: third.slot_etag,
        ..forced
    };
    let (overwritten, outcome) = attach(&server, right).await;
    assert_eq!(
        (overwritten.translation_id.as_str(), outcome),
        ("t1", AttachOutcome::Updated)
    );
    assert_eq!(translation(&server, "a", "en", "").await.body[1].text, "machine");
    // All of it survives a restart.
    let before = server.export().await;
    let server = server.restart().await;
    assert_eq!(server.export().await, before);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_candidates_may_wait_and_detach_withdraws() {
    let server = Server::memory().await;
    three(&server).await;
    let candidate = |text: &str| pb::AttachTranslationRequest {
        new_candidate: true,
        ..small_form("a", "en", 1, &[text, "two", "three"])
    };
    let (first, _) = attach(&server, candidate("one")).await;
    assert_eq!(first.disposition(), Disposition::Active, "the first is served");
    let (second, _) = attach(&server, candidate("one")).await;
    assert_eq!(second.disposition(), Disposition::Candidate);
    assert_eq!(second.translation_id, "t2");
    let edit = pb::AttachTranslationRequest {
        translation_id: "t2".into(),
        etag: second.etag.clone(),
        ..by_id("a", "en", 1, &[("s1", "ONE")])
    };
    let mut client = server.translations();
    let (edited, outcome) = attach(&server, edit.clone()).await;
    assert_eq!(
        (edited.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Updated)
    );
    let stale = pb::AttachTranslationRequest {
        etag: second.etag.clone(),
        translation_id: "t2".into(),
        ..by_id("a", "en", 1, &[("s1", "Un")])
    };
    let refused = fails(
        client.attach_translation(stale).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(refused.metadata["current_etag"], edited.etag);
    let none = pb::AttachTranslationRequest {
        translation_id: "t9".into(),
        ..candidate("x")
    };
    let none = pb::AttachTranslationRequest {
        new_candidate: false,
        ..none
    };
    let missing = fails(
        client.attach_translation(none).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    assert_eq!(missing.metadata["translation_id"], "t9");
    // Detaching the served one: nothing is served, the other still waits.
    let detach = |id: &str, etag: &str| pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        etag: etag.into(),
        ..Default::default()
    };
    fails(
        client.detach_translation(detach("t1", "1-0")).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    blames(
        client.detach_translation(detach("", "")).await,
        &["translation_id"],
    );
    let seq = server.seq().await;
    let gone = client
        .detach_translation(detach("t1", &first.etag))
        .await
        .unwrap()
        .into_inner();
    let gone = gone.translation.unwrap();
    assert_eq!(gone.disposition(), Disposition::Withdrawn);
    let events: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert!(matches!(
        events[..],
        [Kind::TranslationDetached(_), Kind::TranslationSelected(None)]
    ));
    let seq = server.seq().await;
    let again = client
        .detach_translation(detach("t1", "1-0"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.translation, Some(gone.clone()));
    assert_eq!(server.seq().await, seq);
    fails(
        client.detach_translation(detach("t9", "")).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    let active = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        ..Default::default()
    };
    fails(
        client.get_translation(active).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    let list = |show_withdrawn| pb::ListTranslationsRequest {
        article_id: "a".into(),
        show_withdrawn,
        ..Default::default()
    };
    let listed = client.list_translations(list(false)).await.unwrap().into_inner();
    assert_eq!(
        listed
            .translations
            .iter()
            .map(|t| &t.translation_id)
            .collect::<Vec<_>>(),
        ["t2"]
    );
    let listed = client.list_translations(list(true)).await.unwrap().into_inner();
    assert_eq!(listed.translations[0], gone);
    let edit_gone = pb::AttachTranslationRequest {
        translation_id: "t1".into(),
        ..by_id("a", "en", 1, &[("s1", "Un")])
    };
    fails(
        client.attach_translation(edit_gone).await,
        Code::FailedPrecondition,
        "ILLEGAL_TRANSITION",
    );
    // A plain attach where nothing is served is served.
    let (new, outcome) = attach(&server, small_form("a", "en", 1, &["1", "2", "3"])).await;
    assert_eq!(
        (new.translation_id.as_str(), outcome),
        ("t3", AttachOutcome::Created)
    );
    assert_eq!(new.disposition(), Disposition::Active);
    // An etag names what was read: it cannot hold of a translation that is to be created.
    let mut read = small_form("a", "de", 1, &["1", "2", "3"]);
    read.etag = new.etag;
    fails(
        client.attach_translation(read).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_holds_64_translations() {
    let server = Server::memory().await;
    three(&server).await;
    let candidate = pb::AttachTranslationRequest {
        new_candidate: true,
        ..small_form("a", "en", 1, &["one", "two", "three"])
    };
    for _ in 0..64 {
        attach(&server, candidate.clone()).await;
    }
    let full = fails(
        server.translations().attach_translation(candidate).await,
        Code::ResourceExhausted,
        "TOO_MANY_CANDIDATES",
    );
    assert_eq!(full.metadata["limit"], "64");
    assert!(!full.retry, "waiting does not help");
    let mut listed = Vec::new();
    let mut token = String::new();
    for language in ["fr", "de"] {
        attach(&server, small_form("a", language, 1, &["one", "two", "three"])).await;
    }
    loop {
        let request = pb::ListTranslationsRequest {
            article_id: "a".into(),
            page_size: 10,
            page_token: token.clone(),
            ..Default::default()
        };
        let page = server
            .translations()
            .list_translations(request.clone())
            .await
            .unwrap()
            .into_inner();
        listed.extend(
            page.translations
                .iter()
                .map(|t| (t.language.clone(), t.translation_id.clone())),
        );
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let other = pb::ListTranslationsRequest {
            show_withdrawn: true,
            page_token: token.clone(),
            ..request
        };
        fails(
            server.translations().list_translations(other).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
    }
    let mut expected = vec![("de".to_owned(), "t1".to_owned())];
    expected.extend((1..=64).map(|number| ("en".to_owned(), format!("t{number}"))));
    expected.push(("fr".to_owned(), "t1".to_owned()));
    assert_eq!(listed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_of_an_author_end_at_translated_and_those_of_a_reviewer_do_not() {
    let server = Server::memory().await;
    three(&server).await;
    let with = |state: TranslationState, text: &str| pb::AttachTranslationRequest {
        state: state.into(),
        ..small_form("a", "en", 1, &[text, "two", "three"])
    };
    let (initial, _) = attach(&server, with(TranslationState::Initial, "one")).await;
    assert_eq!(initial.state(), TranslationState::Initial);
    let (risen, outcome) = attach(&server, with(TranslationState::Translated, "one")).await;
    assert_eq!(
        (risen.state(), outcome),
        (TranslationState::Translated, AttachOutcome::Updated)
    );
    // The same text again does not lower it; another text is where it is said to be.
    let (same, outcome) = attach(&server, with(TranslationState::Initial, "one")).await;
    assert_eq!(
        (same.state(), outcome),
        (TranslationState::Translated, AttachOutcome::Unchanged)
    );
    for state in [TranslationState::Reviewed, TranslationState::Final] {
        // The author, and another who changes the text on the way.
        for request in [with(state, "one"), human(with(state, "One"))] {
            let refused = fails(
                server.translations().attach_translation(request).await,
                Code::FailedPrecondition,
                "ILLEGAL_TRANSITION",
            );
            assert!(refused.message.contains("another person"), "{}", refused.message);
            assert_eq!(refused.metadata["translation_id"], "t1");
            assert!(refused.metadata["segment_ids"].contains("s1"), "{refused:?}");
        }
    }
    // Another who sends the very text is a reviewer.
    let (reviewed, outcome) = attach(&server, human(with(TranslationState::Reviewed, "one"))).await;
    assert_eq!(
        (reviewed.state(), reviewed.origin_class(), outcome),
        (
            TranslationState::Reviewed,
            OriginClass::MachineReviewed,
            AttachOutcome::Updated
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_as_current_as_the_whole_source() {
    let server = Server::memory().await;
    three(&server).await;
    let uri = pb::AttachTranslationRequest {
        content: Some(Content::ExternalUri("https://tms.example.com/job/7".into())),
        ..human(small_form("a", "en", 1, &[""]))
    };
    let (summary, outcome) = attach(&server, uri.clone()).await;
    assert_eq!(outcome, AttachOutcome::Created);
    assert_eq!(summary.external_uri, "https://tms.example.com/job/7");
    assert_eq!(summary.freshness(), Freshness::Current);
    assert_eq!(summary.origin_class(), OriginClass::Human);
    assert_eq!(attach(&server, uri).await.1, AttachOutcome::Unchanged);
    rewrite(&server, "a", &["الفقرة الأولى", "ثم الثانية"]).await;
    let stale = translation(&server, "a", "en", "").await;
    assert_eq!(stale.summary.as_ref().unwrap().freshness(), Freshness::Stale);
    assert_eq!(stale.summary.unwrap().stale_since_revision, 2);
    assert_eq!(stale.external_uri, "https://tms.example.com/job/7");
    let section = pb::Article {
        article_id: "a".into(),
        section: "x".into(),
        ..Default::default()
    };
    update(&server, section, &[]).await;
    rewrite(&server, "a", &["الفقرة الأولى", "ثم الثانية", "وأخيرا الثالثة"]).await;
    let healed = translation(&server, "a", "en", "").await.summary.unwrap();
    assert_eq!(healed.freshness(), Freshness::Current);
    // A machine's text does not replace a person's translation that is kept elsewhere.
    let (machine, outcome) = attach(&server, small_form("a", "en", 1, &["one", "two", "three"])).await;
    assert_eq!(
        (machine.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Diverted)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn freshness_follows_the_source_segment_by_segment() {
    let server = Server::memory().await;
    let [one, two, three] = [
        "أعلنت وزارة الخارجية الأمريكية أن الوزير لن يحضر المؤتمر",
        "وقال المتحدث باسم الوزارة إن الفحص جاء إيجابيا يوم الأربعاء",
        "ويشارك في المؤتمر وزراء من أكثر من ثمانين دولة",
    ];
    let mut source = article("a", &[one, two, three]);
    source.lead = Some(segment("المقدمة"));
    create(&server, source).await;
    let mut request = small_form("a", "en", 1, &["one", "two", "three"]);
    if let Some(Content::Text(text)) = &mut request.content {
        text.lead = Some(target("lead"));
    }
    attach(&server, request).await;
    let edited = two.replace("الأربعاء", "الخميس");
    let significant = pb::UpdateArticleRequest {
        significance: pb::Significance::Major.into(),
        ..super::update_request(
            pb::Article {
                article_id: "a".into(),
                body: body(&[one, &edited, three]),
                ..Default::default()
            },
            &["body"],
        )
    };
    let seq = server.seq().await;
    server.articles().update_article(significant).await.unwrap();
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert!(
        matches!(
            kinds[..],
            [Kind::ArticleRevised, Kind::TranslationFreshnessChanged { .. }]
        ),
        "{kinds:?}"
    );
    let read = translation(&server, "a", "en", "").await;
    let summary = read.summary.clone().unwrap();
    assert_eq!(summary.freshness(), Freshness::Stale);
    assert_eq!(summary.stale_segment_ids, ["s2"]);
    assert_eq!(summary.current_segments, 4);
    assert_eq!(summary.stale_since_revision, 2);
    assert_eq!(summary.stale_significance(), pb::Significance::Major);
    let of_segments: Vec<_> = read.body.iter().map(|s| s.freshness()).collect();
    assert_eq!(
        of_segments,
        [Freshness::Current, Freshness::Stale, Freshness::Current]
    );
    assert_eq!(
        texts(&read),
        ["one", "two", "three"],
        "the old text stays readable"
    );
    let freshness = || async { translation(&server, "a", "en", "").await.summary.unwrap() };
    rewrite(&server, "a", &[one, three]).await;
    let orphaned = freshness().await;
    assert_eq!(
        (orphaned.freshness(), orphaned.orphaned_segment_ids),
        (Freshness::Orphaned, vec!["s2".into()])
    );
    rewrite(&server, "a", &[three, one, two]).await;
    let moved = freshness().await;
    assert_eq!(
        (moved.freshness(), moved.moved_segment_ids),
        (Freshness::Moved, vec!["s3".into()])
    );
    rewrite(&server, "a", &[one, two, three, "خبر جديد"]).await;
    let missing = freshness().await;
    assert_eq!(
        (missing.freshness(), missing.missing_segment_ids),
        (Freshness::Incomplete, vec!["s4".into()])
    );
    // White space and normal form are no change for a translator; marks and bidi controls are.
    rewrite(&server, "a", &[&one.replace(' ', "  "), two, three]).await;
    assert_eq!(freshness().await.freshness(), Freshness::Current);
    rewrite(&server, "a", &[&format!("\u{200F}{one}"), two, three]).await;
    assert_eq!(freshness().await.stale_segment_ids, ["s1"]);
    rewrite(&server, "a", &[one, two, three]).await;
    assert_eq!(freshness().await.freshness(), Freshness::Current);
    // An attach at the new revision binds to it and drops what is gone.
    rewrite(&server, "a", &[one, "خبر جديد"]).await;
    let head = super::get(&server, "a").await.revision;
    let (part, _) = attach(&server, by_id("a", "en", head, &[("s4", "news")])).await;
    assert_eq!(part.freshness(), Freshness::Current);
    assert_eq!(part.source_revision, head);
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(texts(&read), ["one", "news"]);
    assert_eq!(read.body[0].source_revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_for_a_new_source_is_current_again() {
    let server = Server::memory().await;
    let [old, new] = [
        "ويشارك في المؤتمر وزراء من أكثر من ثمانين دولة",
        "ويشارك في المؤتمر وزراء من أكثر من تسعين دولة",
    ];
    create(&server, article("a", &[old])).await;
    attach(&server, human(small_form("a", "en", 1, &["many countries"]))).await;
    rewrite(&server, "a", &[new]).await;
    let stale = translation(&server, "a", "en", "").await;
    assert_eq!(stale.summary.unwrap().stale_segment_ids, ["s1"]);
    // A machine cannot confirm it in the person's place.
    let (machine, outcome) = attach(&server, by_id("a", "en", 2, &[("s1", "many countries")])).await;
    assert_eq!(
        (machine.translation_id.as_str(), outcome),
        ("t2", AttachOutcome::Diverted)
    );
    let (confirmed, outcome) = attach(&server, human(by_id("a", "en", 2, &[("s1", "many countries")]))).await;
    assert_eq!(
        (confirmed.translation_id.as_str(), outcome),
        ("t1", AttachOutcome::Updated)
    );
    assert_eq!(confirmed.freshness(), Freshness::Current);
    assert_eq!(confirmed.origin_class(), OriginClass::Human);
    // And the old source makes it stale.
    rewrite(&server, "a", &[old]).await;
    let back = translation(&server, "a", "en", "").await;
    assert_eq!(back.summary.unwrap().stale_segment_ids, ["s1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn untranslatable_segments_need_no_target() {
    let server = Server::memory().await;
    let mut source = article("a", &["نص", "1234"]);
    source.body[1].translate = Some(false);
    create(&server, source).await;
    let (summary, _) = attach(&server, small_form("a", "en", 1, &["text", ""])).await;
    assert_eq!(summary.freshness(), Freshness::Current);
    let mut source = article("a", &["نص", "5678"]);
    source.body[1].translate = Some(false);
    update(&server, source, &["body"]).await;
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(texts(&read), ["text"]);
    assert_eq!(read.summary.unwrap().freshness(), Freshness::Current);
}

#[tokio::test(flavor = "multi_thread")]
async fn untranslatable_segments_do_not_hold_back_the_state() {
    let server = Server::sled().await;
    let mut source = article("a", &["نص", "1234"]);
    source.body[1].translate = Some(false);
    create(&server, source).await;
    let (attached, _) = attach(&server, small_form("a", "en", 1, &["text", "1234"])).await;
    let what_is_to_be_read = pb::ReviewTranslationRequest {
        segment_ids: vec!["title".into(), "s1".into()],
        ..review("Omar", &attached.etag)
    };
    let reviewed = reviewed(&server, what_is_to_be_read).await;
    assert_eq!(reviewed.state(), TranslationState::Reviewed);
    let server = server.restart().await;
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(read.body[1].state(), TranslationState::Translated);
    assert_eq!(read.summary.unwrap().state(), TranslationState::Reviewed);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_agents_scores_and_provenance_are_kept() {
    let server = Server::sled().await;
    three(&server).await;
    let full_agent = pb::Agent {
        kind: AgentKind::Llm.into(),
        person: "p".into(),
        organization: "o".into(),
        tool: "t".into(),
        engine: "e".into(),
        model: "m".into(),
        model_version: "v".into(),
        rev_person: "rp".into(),
        rev_organization: "ro".into(),
        rev_tool: "rt".into(),
        prompt_id: "pi".into(),
        glossary_id: "gi".into(),
        memory_id: "mi".into(),
    };
    let score = |segment: &str, value| pb::QualityScore {
        metric: "COMET".into(),
        metric_version: "22".into(),
        model: "wmt22".into(),
        value,
        min: 0.0,
        max: 1.0,
        higher_is_better: true,
        segment_id: segment.into(),
        reference_kind: "NONE".into(),
        scorer: "s".into(),
        ..Default::default()
    };
    let request = pb::AttachTranslationRequest {
        agent: Some(full_agent.clone()),
        quality_scores: vec![score("", 0.9), score("s2", 0.5)],
        effort: Some(pb::Effort {
            characters: 7,
            cost_micros: 8,
            currency: "EUR".into(),
            duration_ms: 9,
            match_quality: Some(100),
            pivot: "fr/t1".into(),
        }),
        ..small_form("a", "en", 1, &["one", "two", "three"])
    };
    attach(&server, request).await;
    let read = translation(&server, "a", "en", "").await;
    assert_eq!(read.agent.as_ref(), Some(&full_agent));
    assert_eq!(read.quality_scores.len(), 2);
    assert!(
        read.quality_scores
            .iter()
            .all(|s| !s.outdated && s.create_time.is_some())
    );
    // A person who confirms the text word for word does not become its author.
    let (confirmed, _) = attach(&server, human(small_form("a", "en", 1, &["one", "two", "three"]))).await;
    assert_eq!(confirmed.origin_class(), OriginClass::MachineUnreviewed);
    let (edited, _) = attach(
        &server,
        human(by_id("a", "en", 1, &[("s1", "The first"), ("s2", "The second")])),
    )
    .await;
    assert_eq!(edited.origin_class(), OriginClass::Mixed);
    let read = translation(&server, "a", "en", "").await;
    let outdated: Vec<_> = read.quality_scores.iter().map(|s| s.outdated).collect();
    assert_eq!(outdated, [true, true], "the texts that were scored are gone");
    let all = pb::AttachTranslationRequest {
        content: Some(Content::Text(pb::TargetText {
            title: Some(target("A title")),
            lead: None,
            body: vec![target("1"), target("2"), target("3")],
        })),
        ..human(small_form("a", "en", 1, &[""]))
    };
    assert_eq!(
        attach(&server, all).await.0.origin_class(),
        OriginClass::MachinePostedited
    );
    let server = server.restart().await;
    assert_eq!(
        translation(&server, "a", "en", "")
            .await
            .summary
            .unwrap()
            .origin_class(),
        OriginClass::MachinePostedited
    );
    let mut imported = small_form("a", "fr", 1, &["un", "deux", "trois"]);
    imported.agent = agent(AgentKind::Import, "");
    assert_eq!(
        attach(&server, imported).await.0.origin_class(),
        OriginClass::Unknown
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_does_not_take_the_language_of_its_translation() {
    let server = Server::memory().await;
    create(&server, article("a", &["one"])).await;
    attach(&server, small_form("a", "en", 1, &["eins"])).await;
    let mut english = article("a", &["one"]);
    english.language = "en".into();
    blames(
        server
            .articles()
            .update_article(update_request(english, &["language"]))
            .await,
        &["article.language"],
    );
}

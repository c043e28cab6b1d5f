//! Several candidates of one language: which text may replace which.

use super::*;

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
    fails(
        client.detach_translation(detach("t1", "1-0")).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let again = client
        .detach_translation(detach("t1", ""))
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

//! Which of several texts is served: selection, rejection and acknowledgement.

use article_store::pb::Disposition;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn selection_supersedes_and_rejection_is_for_good() {
    let server = Server::sled().await;
    let first = translated(&server).await;
    let mut other = small_form("a", "en", 1, &["1", "2", "3"]);
    other.new_candidate = true;
    attach(&server, other.clone()).await;
    attach(&server, other).await;
    let mut client = server.translations();
    let seq = server.seq().await;
    let second = selected(&server, select("t2", &first.slot_etag)).await;
    assert_eq!(second.disposition(), Disposition::Active);
    assert_ne!(second.slot_etag, first.slot_etag);
    let superseded = current(&server, "t1").await;
    assert_eq!(superseded.disposition(), Disposition::Superseded);
    assert_eq!(superseded.etag, first.etag, "its own etag is of its text");
    assert_eq!(current(&server, "").await.translation_id, "t2");
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [Kind::TranslationSelected(Some(TranslationId(2)))]);
    // The served one again: nothing to do. Under a used-up etag: refused, whichever is meant.
    let seq = server.seq().await;
    assert_eq!(selected(&server, select("t2", &second.slot_etag)).await, second);
    fails(
        client.select_translation(select("t2", &first.slot_etag)).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(server.seq().await, seq);
    let lost = fails(
        client.select_translation(select("t3", &first.slot_etag)).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert_eq!(lost.metadata["current_etag"], second.slot_etag);
    // Superseded ones are edited and selected again.
    let edit = pb::AttachTranslationRequest {
        translation_id: "t1".into(),
        ..by_id("a", "en", 1, &[("s1", "ONE")])
    };
    assert_eq!(attach(&server, edit.clone()).await.1, AttachOutcome::Updated);
    let back = selected(&server, select("t1", "")).await;
    assert_eq!(back.disposition(), Disposition::Active);
    assert_eq!(translation(&server, "a", "en", "").await.body[0].text, "ONE");
    // A candidate is turned down: what is served stays, and so does the etag of the selection.
    let turned_down = rejected(&server, reject("t3", "not our style")).await;
    assert_eq!(turned_down.disposition(), Disposition::Rejected);
    assert_eq!(turned_down.slot_etag, back.slot_etag);
    let seq = server.seq().await;
    assert_eq!(rejected(&server, reject("t3", "again")).await, turned_down);
    assert_eq!(server.seq().await, seq);
    // Then the served one, seen by its etag.
    let stale = pb::RejectTranslationRequest {
        etag: first.etag.clone(),
        ..reject("t1", "wrong")
    };
    fails(
        client.reject_translation(stale).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    let right = pb::RejectTranslationRequest {
        etag: back.etag.clone(),
        ..reject("t1", "wrong")
    };
    let gone = rejected(&server, right).await;
    assert_ne!(gone.slot_etag, back.slot_etag);
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    let expected = [
        Kind::TranslationRejected(TranslationId(1)),
        Kind::TranslationSelected(None),
    ];
    assert_eq!(kinds, expected);
    let none = pb::GetTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        ..Default::default()
    };
    fails(
        client.get_translation(none).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    // It is listed and readable, and takes no step any more but the withdrawal.
    assert_eq!(translation(&server, "a", "en", "t1").await.body[0].text, "ONE");
    let seq = server.seq().await;
    let refused = illegal(client.select_translation(select("t1", "")).await);
    assert!(
        refused.message.contains("rejected for good"),
        "{}",
        refused.message
    );
    illegal(client.review_translation(review("Leïla", &gone.etag)).await);
    illegal(
        client
            .acknowledge_source(acknowledge("Leïla", &gone.etag, 1))
            .await,
    );
    illegal(client.attach_translation(edit).await);
    assert_eq!(server.seq().await, seq);
    let detach = |reason: &str| pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t1".into(),
        reason: reason.into(),
        ..Default::default()
    };
    client.detach_translation(detach("cleaning up")).await.unwrap();
    illegal(client.reject_translation(reject("t1", "x")).await);
    illegal(client.select_translation(select("t1", "")).await);
    // A superseded one can still be served, and the same text be attached anew.
    assert_eq!(
        selected(&server, select("t2", "")).await.disposition(),
        Disposition::Active
    );
    fails(
        client.select_translation(select("t9", "")).await,
        Code::NotFound,
        "TRANSLATION_NOT_FOUND",
    );
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_holds_until_the_source_changes_again() {
    let server = Server::sled().await;
    translated(&server).await;
    let (by_leila, _) = attach(
        &server,
        by_person("Leïla", by_id("a", "en", 1, &[("s2", "Second")])),
    )
    .await;
    let mut client = server.translations();
    let texts = |two: &str, three: &str| [TEXTS[0].to_owned(), two.to_owned(), three.to_owned()];
    let (two, three) = (
        TEXTS[1].replace("الأربعاء", "الاربعاء"),
        TEXTS[2].replace("ثمانين", "تسعين"),
    );
    rewrite(&server, "a", &texts(&two, &three)).await;
    let stale = current(&server, "").await;
    assert_eq!(stale.stale_segment_ids, ["s2", "s3"]);
    let part = |name: &str| pb::AcknowledgeSourceRequest {
        segment_ids: vec!["s2".into()],
        ..acknowledge(name, &by_leila.etag, 2)
    };
    // No machine says so of a person's text; it may of its own.
    let machine = pb::AcknowledgeSourceRequest {
        agent: agent(AgentKind::Rule, "spelling"),
        ..part("")
    };
    let refused = fails(
        client.acknowledge_source(machine).await,
        Code::FailedPrecondition,
        "PERSON_REQUIRED",
    );
    assert_eq!(refused.metadata["segment_ids"], "s2");
    let seq = server.seq().await;
    let before = translation(&server, "a", "en", "").await;
    let held = acknowledged(&server, part("Omar")).await;
    assert_eq!(held.stale_segment_ids, ["s3"]);
    assert_eq!((held.state, held.disposition), (stale.state, stale.disposition));
    assert_eq!(held.origin_class, stale.origin_class);
    assert_eq!(held.source_revision, 2);
    let read = translation(&server, "a", "en", "").await;
    let words = |t: &pb::Translation| {
        let body = t.body.iter();
        body.map(|s| (s.text.clone(), s.state, s.writer))
            .collect::<Vec<_>>()
    };
    assert_eq!((words(&read), &read.agent), (words(&before), &before.agent));
    let revisions: Vec<_> = read.body.iter().map(|s| s.source_revision).collect();
    assert_eq!(revisions, [1, 2, 1]);
    let kinds: Vec<_> = server
        .events_after(seq)
        .await
        .into_iter()
        .map(|e| e.kind)
        .collect();
    assert_eq!(kinds, [Kind::TranslationAcknowledged(TranslationId(1))]);
    // Again it says nothing new.
    let seq = server.seq().await;
    let again = pb::AcknowledgeSourceRequest {
        etag: held.etag.clone(),
        ..part("Omar")
    };
    assert_eq!(acknowledged(&server, again).await, held);
    assert_eq!(server.seq().await, seq);
    let rule = pb::AcknowledgeSourceRequest {
        agent: agent(AgentKind::Rule, "spelling"),
        segment_ids: vec!["s3".into()],
        ..acknowledge("", &held.etag, 2)
    };
    assert_eq!(acknowledged(&server, rule).await.freshness(), Freshness::Current);
    // The next change makes it stale again, and going back to the first text too: that is not what was acknowledged.
    rewrite(&server, "a", &texts(&format!("{two} مساء"), &three)).await;
    assert_eq!(current(&server, "").await.stale_segment_ids, ["s2"]);
    rewrite(&server, "a", &texts(&two, &three)).await;
    assert_eq!(current(&server, "").await.freshness(), Freshness::Current);
    rewrite(&server, "a", &TEXTS).await;
    assert_eq!(current(&server, "").await.stale_segment_ids, ["s2", "s3"]);
    // What has left the source goes with the acknowledgement.
    let shorter = rewrite(&server, "a", &TEXTS[..2]).await.revision;
    let etag = current(&server, "").await.etag;
    let named = pb::AcknowledgeSourceRequest {
        segment_ids: vec!["s3".into(), "s9".into(), "s1".into()],
        ..acknowledge("Omar", &etag, shorter)
    };
    let unknown = blames(
        client.acknowledge_source(named.clone()).await,
        &["segment_ids[1]"],
    );
    assert!(unknown.fields[0].1.contains("no target"), "{unknown:?}");
    let gone = pb::AcknowledgeSourceRequest {
        segment_ids: vec!["s3".into()],
        ..named
    };
    blames(client.acknowledge_source(gone).await, &["segment_ids[0]"]);
    let all = acknowledged(&server, acknowledge("Omar", &etag, shorter)).await;
    assert_eq!(all.freshness(), Freshness::Current);
    assert_eq!(translation(&server, "a", "en", "").await.body.len(), 2);
    // It goes forward only, and to revisions that exist.
    let back = illegal(client.acknowledge_source(acknowledge("Omar", &all.etag, 2)).await);
    assert!(
        back.message.contains(&format!("revision {shorter}")),
        "{}",
        back.message
    );
    let missing = fails(
        client
            .acknowledge_source(acknowledge("Omar", &all.etag, 99))
            .await,
        Code::NotFound,
        "REVISION_NOT_FOUND",
    );
    assert_eq!(missing.metadata["head_revision"], shorter.to_string());
    fails(
        client
            .acknowledge_source(acknowledge("Omar", "1-0", shorter - 1))
            .await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    server.check().await;
}

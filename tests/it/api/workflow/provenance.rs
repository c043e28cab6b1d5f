//! What provenance has of every step.

use article_store::pb::ProvenanceStep;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn provenance_has_every_field_of_every_step_and_comes_in_pages() {
    let server = Server::sled().await;
    create(&server, article("a", &TEXTS)).await;
    let uuid = |last: u8| format!("0192d3c4-0000-7000-8000-0000000000{last:02x}");
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
    let effort = pb::Effort {
        characters: 7,
        cost_micros: 8,
        currency: "EUR".into(),
        duration_ms: 9,
        match_quality: Some(100),
        pivot: "fr/t1".into(),
    };
    let first = pb::AttachTranslationRequest {
        agent: Some(full_agent.clone()),
        effort: Some(effort.clone()),
        request_id: uuid(1),
        ..small_form("a", "en", 1, &["one", "two", "three"])
    };
    let (created, _) = attach(&server, first).await;
    let part = pb::ReviewTranslationRequest {
        segment_ids: vec!["s2".into()],
        reason: "checked twice".into(),
        effort: Some(effort.clone()),
        request_id: uuid(2),
        ..review("Leïla", &created.etag)
    };
    let partly = reviewed(&server, part).await;
    let mut another = by_person("Omar", small_form("a", "en", 1, &["1", "2", "3"]));
    another.new_candidate = true;
    let (candidate, _) = attach(&server, another).await;
    let choice = pb::SelectTranslationRequest {
        agent: person("Nora"),
        reason: "reads better".into(),
        request_id: uuid(3),
        ..select("t2", "")
    };
    let chosen = selected(&server, choice).await;
    rewrite(&server, "a", &TEXTS[..2]).await;
    let claim = pb::AcknowledgeSourceRequest {
        request_id: uuid(4),
        ..acknowledge("Leïla", &partly.etag, 2)
    };
    let held = acknowledged(&server, claim).await;
    let refusal = pb::RejectTranslationRequest {
        agent: person("Nora"),
        request_id: uuid(5),
        ..reject("t2", "a libel")
    };
    let turned_down = rejected(&server, refusal).await;
    let gone = pb::DetachTranslationRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: "t2".into(),
        agent: person("Nora"),
        reason: "legal asked for it".into(),
        request_id: uuid(6),
        ..Default::default()
    };
    let answer = server.translations().detach_translation(gone).await.unwrap();
    let withdrawn = answer.into_inner().translation.unwrap();

    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let (set, translated) = (TranslationState::Reviewed, TranslationState::Translated);
    let expected = [
        pb::ProvenanceRecord {
            step: ProvenanceStep::Attached.into(),
            translation_id: "t1".into(),
            version: 1,
            etag: created.etag,
            agent: Some(full_agent),
            segment_ids: ids(&["title", "s1", "s2", "s3"]),
            source_revision: 1,
            state: translated.into(),
            effort: Some(effort.clone()),
            request_id: uuid(1),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Reviewed.into(),
            translation_id: "t1".into(),
            version: 2,
            etag: partly.etag,
            agent: person("Leïla"),
            segment_ids: ids(&["s2"]),
            source_revision: 1,
            state: set.into(),
            reason: "checked twice".into(),
            effort: Some(effort),
            request_id: uuid(2),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Attached.into(),
            translation_id: "t2".into(),
            version: 1,
            etag: candidate.etag,
            agent: person("Omar"),
            segment_ids: ids(&["title", "s1", "s2", "s3"]),
            source_revision: 1,
            state: translated.into(),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Selected.into(),
            translation_id: "t2".into(),
            replaced_translation_id: "t1".into(),
            etag: chosen.slot_etag,
            agent: person("Nora"),
            reason: "reads better".into(),
            request_id: uuid(3),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Acknowledged.into(),
            translation_id: "t1".into(),
            version: 3,
            etag: held.etag,
            agent: person("Leïla"),
            segment_ids: ids(&["title", "s1", "s2", "s3"]),
            source_revision: 2,
            reason: "only spelling".into(),
            request_id: uuid(4),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Rejected.into(),
            translation_id: "t2".into(),
            etag: turned_down.slot_etag,
            agent: person("Nora"),
            reason: "a libel".into(),
            request_id: uuid(5),
            ..Default::default()
        },
        pb::ProvenanceRecord {
            step: ProvenanceStep::Detached.into(),
            translation_id: "t2".into(),
            etag: withdrawn.slot_etag,
            agent: person("Nora"),
            reason: "legal asked for it".into(),
            request_id: uuid(6),
            ..Default::default()
        },
    ];
    let all = provenance(&server, "", 0).await;
    let timeless: Vec<_> = all
        .iter()
        .map(|record| pb::ProvenanceRecord {
            time: None,
            ..record.clone()
        })
        .collect();
    assert_eq!(timeless, expected);
    let times: Vec<_> = all
        .iter()
        .map(|r| r.time.map(|t| (t.seconds, t.nanos)).unwrap())
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    for size in 1..9 {
        assert_eq!(provenance(&server, "", size).await, all, "pages of {size}");
    }
    // Of one translation: what was done to it, and what replaced it.
    let of = |id: &str| {
        let concerns = |r: &&pb::ProvenanceRecord| r.translation_id == id || r.replaced_translation_id == id;
        all.iter().filter(concerns).cloned().collect::<Vec<_>>()
    };
    assert_eq!((of("t1").len(), of("t2").len()), (4, 4));
    for id in ["t1", "t2"] {
        assert_eq!(provenance(&server, id, 2).await, of(id));
    }
    let mut client = server.translations();
    let list = |id: &str, token: &str| pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "en".into(),
        translation_id: id.into(),
        page_size: 1,
        page_token: token.into(),
        show_hidden: false,
    };
    let token = client
        .list_provenance(list("", ""))
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    for (id, token) in [("t1", token.as_str()), ("", "x"), ("", &token[1..])] {
        fails(
            client.list_provenance(list(id, token)).await,
            Code::InvalidArgument,
            "BAD_TOKEN",
        );
    }
    for request in [
        list("t9", ""),
        pb::ListProvenanceRequest {
            language: "fr".into(),
            ..list("", "")
        },
    ] {
        fails(
            client.list_provenance(request).await,
            Code::NotFound,
            "TRANSLATION_NOT_FOUND",
        );
    }
    let server = server.restart().await;
    assert_eq!(provenance(&server, "", 3).await, all);
    server.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_provenance_is_no_larger_than_clients_take() {
    let server = Server::memory().await;
    let texts: Vec<_> = (0..9_000).map(|number| format!("نص {number}")).collect();
    let mut long = article("a", &[]);
    long.body = super::super::body(&texts);
    create(&server, long).await;
    let whole = |version: u32| {
        let body = (0..9_000)
            .map(|number| target(&format!("{version} {number}")))
            .collect();
        let text = pb::TargetText {
            title: Some(target("title")),
            lead: None,
            body,
        };
        pb::AttachTranslationRequest {
            content: Some(Content::Text(text)),
            ..small_form("a", "en", 1, &[""])
        }
    };
    for version in 1..=26 {
        attach(&server, whole(version)).await;
    }
    let request = pb::ListProvenanceRequest {
        article_id: "a".into(),
        language: "en".into(),
        page_size: 500,
        ..Default::default()
    };
    let page = server
        .translations()
        .list_provenance(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!page.next_page_token.is_empty());
    assert!(page.encoded_len() < 4 << 20, "{} bytes", page.encoded_len());
    let versions: Vec<_> = provenance(&server, "", 500)
        .await
        .into_iter()
        .map(|r| r.version)
        .collect();
    assert_eq!(versions, (1..=26).collect::<Vec<_>>());
}

//! The story that the store is for, from beginning to end: an Arabic page, its English translation by a machine, a
//! person's review, a correction of the source, and what everybody is told at each step.

use article_store::pb;
use pb::attach_translation_request::Content;
use pb::{
    AgentKind, AttachOutcome, Disposition, Freshness, OriginClass, ProvenanceStep, Significance,
    TranslationState,
};

use super::workflow::{by_person, person, provenance, rejected, review, reviewed};
use super::{agent, attach, body, by_id, create, segment, target, translation, update_request};
use crate::harness::Server;

const BODY: [&str; 4] = [
    "وقال المتحدث باسم الوزارة نيد برايس، إن الفحص الذي أجراه الوزير جاء إيجابيا",
    "وأضاف أن الوزير تلقى اللقاح ويعاني من أعراض خفيفة، وسيعمل من منزله",
    "ويشارك في المؤتمر وزراء من 79 دولة، إضافة إلى منظمات دولية",
    "ومن المقرر أن يبحث المؤتمر سبل مواجهة التنظيم في أفريقيا",
];

fn machine_translation() -> pb::AttachTranslationRequest {
    let texts = [
        "Ministry spokesman Ned Price said that the minister had tested positive.",
        "He added that the minister is vaccinated, has mild symptoms and will work from home.",
        "Ministers from 79 countries take part in the conference, and international organisations.",
        "The conference is to discuss how to face the group in Africa.",
    ];
    pb::AttachTranslationRequest {
        content: Some(Content::Text(pb::TargetText {
            title: Some(target(
                "Covid keeps Blinken from the coalition's conference in Marrakesh",
            )),
            lead: Some(target(
                "The US secretary of state tested positive on Tuesday evening.",
            )),
            body: texts.into_iter().map(target).collect(),
        })),
        agent: Some(pb::Agent {
            model: "ar-en".into(),
            model_version: "2022-05".into(),
            ..agent(AgentKind::Mt, "opus").unwrap()
        }),
        effort: Some(pb::Effort {
            characters: 412,
            duration_ms: 380,
            ..Default::default()
        }),
        ..by_id("a", "en", 1, &[])
    }
}

async fn served(server: &Server) -> (pb::Translation, pb::TranslationSummary) {
    let read = translation(server, "a", "en", "").await;
    let summary = read.summary.clone().unwrap();
    (read, summary)
}

/// The description of the served text in an answer to a request for English.
async fn reader_is_told(server: &Server) -> pb::ServedText {
    let request = pb::GetArticleRequest {
        article_id: "a".into(),
        languages: vec!["en".into()],
        ..Default::default()
    };
    let answer = server.articles().get_article(request).await.unwrap();
    answer.into_inner().served.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_translated_page_goes_stale_and_is_mended() {
    let server = Server::sled().await;
    let page = pb::Article {
        article_id: "a".into(),
        language: "ar".into(),
        title: Some(segment("كورونا يُغيب بلينكن عن مؤتمر التحالف ضد داعش في مراكش")),
        lead: Some(segment(
            "أعلن وزير الخارجية الأمريكي أنتوني بلينكن، مساء الثلاثاء، إصابته",
        )),
        body: body(&BODY),
        ..Default::default()
    };
    create(&server, page).await;
    let (mt, outcome) = attach(&server, machine_translation()).await;
    assert_eq!(outcome, AttachOutcome::Created);
    assert_eq!(mt.origin_class(), OriginClass::MachineUnreviewed);
    let approved = reviewed(&server, review("Rana Haddad", &mt.etag)).await;
    assert_eq!(approved.state(), TranslationState::Reviewed);
    assert_eq!(approved.origin_class(), OriginClass::MachineReviewed);

    // The number of countries was wrong.
    let corrected = BODY[2].replace("79", "85");
    let revision = pb::UpdateArticleRequest {
        significance: Significance::Correction.into(),
        ..update_request(
            pb::Article {
                article_id: "a".into(),
                body: body(&[BODY[0], BODY[1], &corrected, BODY[3]]),
                ..Default::default()
            },
            &["body"],
        )
    };
    server.articles().update_article(revision).await.unwrap();
    let (read, stale) = served(&server).await;
    assert_eq!(stale.freshness(), Freshness::Stale);
    assert_eq!(stale.stale_segment_ids, ["s3"]);
    assert_eq!(stale.stale_since_revision, 2);
    assert_eq!(stale.stale_significance(), Significance::Correction);
    assert_eq!(stale.origin_class(), OriginClass::MachineReviewed);
    assert_eq!(stale.state(), TranslationState::Reviewed);
    assert_eq!(stale.etag, approved.etag);
    assert!(read.body[2].text.contains("79"), "the old text stays readable");
    assert_eq!(
        reader_is_told(&server).await,
        pb::ServedText {
            served_language: "en".into(),
            is_fallback: false,
            translation_id: "t1".into(),
            state: TranslationState::Reviewed.into(),
            freshness: Freshness::Stale.into(),
            origin_class: OriginClass::MachineReviewed.into(),
            stale_segment_ids: vec!["s3".into()],
            stale_since_revision: 2,
            stale_significance: Significance::Correction.into(),
        }
    );

    // The machine translates the paragraph again, and what was approved stays.
    let again = "Ministers from 85 countries take part in the conference.";
    let request = pb::AttachTranslationRequest {
        agent: machine_translation().agent,
        ..by_id("a", "en", 2, &[("s3", again)])
    };
    let (candidate, outcome) = attach(&server, request).await;
    assert_eq!(outcome, AttachOutcome::Diverted);
    assert_eq!(candidate.translation_id, "t2");
    assert_eq!(candidate.disposition(), Disposition::Candidate);
    assert_eq!(candidate.freshness(), Freshness::Current);
    assert_eq!(served(&server).await, (read, stale));
    let server = server.restart().await;

    // A person mends the paragraph; only that one has to be reviewed again, and not by her.
    let mended = by_person(
        "Rana Haddad",
        by_id("a", "en", 2, &[("s3", "Ministers from 85 countries attend.")]),
    );
    let (current, outcome) = attach(&server, mended).await;
    assert_eq!(outcome, AttachOutcome::Updated);
    assert_eq!(current.freshness(), Freshness::Current);
    assert_eq!(current.disposition(), Disposition::Active);
    assert_eq!(current.state(), TranslationState::Translated);
    let (read, _) = served(&server).await;
    let waiting = read
        .body
        .iter()
        .filter(|s| s.state() < TranslationState::Reviewed);
    assert_eq!(waiting.map(|s| s.segment_id.as_str()).collect::<Vec<_>>(), ["s3"]);
    let published = pb::ReviewTranslationRequest {
        state: TranslationState::Final.into(),
        ..review("Omar", &current.etag)
    };
    let published = reviewed(&server, published).await;
    assert_eq!(published.state(), TranslationState::Final);
    assert_eq!(published.origin_class(), OriginClass::Mixed);
    let refusal = pb::RejectTranslationRequest {
        agent: person("Omar"),
        ..super::workflow::reject("t2", "we have a better one")
    };
    rejected(&server, refusal).await;

    let records = provenance(&server, "", 0).await;
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let agent = record.agent.as_ref().unwrap();
            let who = match agent.kind() {
                AgentKind::Human => agent.person.as_str(),
                _ => agent.engine.as_str(),
            };
            (
                record.step(),
                record.translation_id.as_str(),
                who,
                record.source_revision,
                record.state(),
            )
        })
        .collect();
    let (done, set, end) = (
        TranslationState::Translated,
        TranslationState::Reviewed,
        TranslationState::Final,
    );
    let none = TranslationState::Unspecified;
    let expected = [
        (ProvenanceStep::Attached, "t1", "opus", 1, done),
        (ProvenanceStep::Reviewed, "t1", "Rana Haddad", 1, set),
        (ProvenanceStep::Attached, "t2", "opus", 2, done),
        (ProvenanceStep::Attached, "t1", "Rana Haddad", 2, done),
        (ProvenanceStep::Reviewed, "t1", "Omar", 2, end),
        (ProvenanceStep::Rejected, "t2", "Omar", 0, none),
    ];
    assert_eq!(told, expected);
    let segments: Vec<_> = records
        .iter()
        .map(|record| record.segment_ids.join(" "))
        .collect();
    let all = "title lead s1 s2 s3 s4";
    // The candidate is a whole translation, of which the machine wrote one paragraph.
    assert_eq!(segments, [all, all, "s3", "s3", all, ""]);
    assert_eq!(records[0].effort, machine_translation().effort);
    assert_eq!(records[0].agent, machine_translation().agent);
    let server = server.restart().await;
    assert_eq!(provenance(&server, "", 2).await, records);
    assert_eq!(served(&server).await.1, published);
    let told = reader_is_told(&server).await;
    assert_eq!(
        (told.freshness(), told.state()),
        (Freshness::Current, TranslationState::Final)
    );
    assert_eq!(told.origin_class(), OriginClass::Mixed);
    server.check().await;
}

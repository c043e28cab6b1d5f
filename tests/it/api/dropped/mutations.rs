//! Every mutation of the API as a call that a test can poll and drop.

use super::*;

/// A mutation by its name.
pub(super) type Mutation = (&'static str, for<'a> fn(&'a World, &Known) -> Call<'a>);

fn id() -> String {
    "6f0e9a52-8a55-4bd6-9d2a-2f5dbd2c7d11".into()
}

pub(super) const MUTATIONS: &[Mutation] = &[
    ("CreateArticle", |world, _| {
        call!(
            world.articles,
            create_article,
            pb::CreateArticleRequest {
                article: Some(article("new", &["نص"])),
                request_id: id(),
            }
        )
    }),
    ("UpdateArticle", |world, _| {
        call!(
            world.articles,
            update_article,
            pb::UpdateArticleRequest {
                article: Some(article("a", &["الأولى", "الثالثة"])),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("DeleteArticle", |world, _| {
        call!(
            world.articles,
            delete_article,
            pb::DeleteArticleRequest {
                article_id: "a".into(),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("UndeleteArticle", |world, _| {
        call!(
            world.articles,
            undelete_article,
            pb::UndeleteArticleRequest {
                article_id: "gone".into(),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("SetPublicationStatus", |world, _| {
        call!(
            world.articles,
            set_publication_status,
            pb::SetPublicationStatusRequest {
                article_id: "a".into(),
                publication_status: pb::PublicationStatus::Withheld.into(),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("PurgeArticle", |world, _| {
        call!(
            world.articles,
            purge_article,
            pb::PurgeArticleRequest {
                article_id: "a".into(),
                reason: "a court".into(),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("AttachTranslation", |world, known| {
        let new = small_form("a", "pt", known.revision, &["um", "dois"]);
        call!(
            world.translations,
            attach_translation,
            pb::AttachTranslationRequest {
                request_id: id(),
                ..new
            }
        )
    }),
    ("ReviewTranslation", |world, known| {
        call!(
            world.translations,
            review_translation,
            pb::ReviewTranslationRequest {
                article_id: "a".into(),
                language: "en".into(),
                etag: known.etag.clone(),
                state: pb::TranslationState::Reviewed.into(),
                reason: "it is so".into(),
                agent: agent(AgentKind::Human, "Omar"),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("AcknowledgeSource", |world, known| {
        call!(
            world.translations,
            acknowledge_source,
            pb::AcknowledgeSourceRequest {
                article_id: "a".into(),
                language: "en".into(),
                etag: known.etag.clone(),
                source_revision: known.revision,
                reason: "it is so".into(),
                agent: agent(AgentKind::Human, "Omar"),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("SelectTranslation", |world, known| {
        call!(
            world.translations,
            select_translation,
            pb::SelectTranslationRequest {
                article_id: "a".into(),
                language: "en".into(),
                translation_id: "t2".into(),
                slot_etag: known.slot_etag.clone(),
                reason: "it is so".into(),
                agent: agent(AgentKind::Human, "Omar"),
                request_id: id(),
            }
        )
    }),
    ("RejectTranslation", |world, _| {
        call!(
            world.translations,
            reject_translation,
            pb::RejectTranslationRequest {
                article_id: "a".into(),
                language: "en".into(),
                translation_id: "t2".into(),
                reason: "it is wrong".into(),
                agent: agent(AgentKind::Human, "Omar"),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("DetachTranslation", |world, _| {
        call!(
            world.translations,
            detach_translation,
            pb::DetachTranslationRequest {
                article_id: "a".into(),
                language: "en".into(),
                translation_id: "t2".into(),
                reason: "it is so".into(),
                agent: agent(AgentKind::Human, "Omar"),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("AddQualityScores", |world, _| {
        call!(
            world.translations,
            add_quality_scores,
            pb::AddQualityScoresRequest {
                article_id: "a".into(),
                language: "en".into(),
                translation_id: "t1".into(),
                quality_scores: vec![pb::QualityScore {
                    metric: "chrF".into(),
                    value: 0.5,
                    max: 1.0,
                    segment_id: "s1".into(),
                    ..Default::default()
                }],
                agent: agent(AgentKind::Rule, "scorer"),
                request_id: id(),
                ..Default::default()
            }
        )
    }),
    ("RequestTranslations", |world, _| {
        call!(world.jobs, request_translations, jobs_into("it"))
    }),
    ("ClaimJobs", |world, _| {
        call!(
            world.jobs,
            claim_jobs,
            pb::ClaimJobsRequest {
                request_id: id(),
                ..claim("es")
            }
        )
    }),
    ("HeartbeatJob", |world, known| {
        call!(
            world.jobs,
            heartbeat_job,
            pb::HeartbeatJobRequest {
                job_id: "a/fr/mt/1".into(),
                lease_token: known.token.clone(),
                lease: super::super::jobs::seconds(3_600),
            }
        )
    }),
    ("CompleteJob", |world, known| {
        call!(
            world.jobs,
            complete_job,
            pb::CompleteJobRequest {
                job_id: "a/fr/mt/1".into(),
                lease_token: known.token.clone(),
                result: Some(pb::complete_job_request::Result::Text(pb::TargetText {
                    title: Some(target_of("title", "titre")),
                    body: vec![target_of("s1", "un"), target_of("s2", "deux")],
                    ..Default::default()
                })),
                agent: agent(AgentKind::Mt, "engine"),
                ..Default::default()
            }
        )
    }),
    ("FailJob", |world, known| {
        call!(
            world.jobs,
            fail_job,
            pb::FailJobRequest {
                job_id: "a/fr/mt/1".into(),
                lease_token: known.token.clone(),
                message: "out of memory".into(),
                ..Default::default()
            }
        )
    }),
    ("ReleaseJob", |world, known| {
        call!(
            world.jobs,
            release_job,
            pb::ReleaseJobRequest {
                job_id: "a/fr/mt/1".into(),
                lease_token: known.token.clone(),
            }
        )
    }),
    ("CancelJob", |world, _| {
        call!(
            world.jobs,
            cancel_job,
            pb::CancelJobRequest {
                job_id: "a/es/mt/1".into()
            }
        )
    }),
    ("RetryJob", |world, _| {
        call!(
            world.jobs,
            retry_job,
            pb::RetryJobRequest {
                job_id: "a/de/mt/1".into()
            }
        )
    }),
    ("PutTranslationPolicy", |world, _| {
        call!(world.jobs, put_translation_policy, policy("q"))
    }),
    ("DeleteTranslationPolicy", |world, _| {
        call!(
            world.jobs,
            delete_translation_policy,
            pb::DeleteTranslationPolicyRequest {
                policy_id: "p".into(),
                allow_missing: true,
                ..Default::default()
            }
        )
    }),
];

pub(super) fn jobs_into(language: &str) -> pb::RequestTranslationsRequest {
    use pb::request_translations_request::Selection;
    pb::RequestTranslationsRequest {
        languages: vec![language.into()],
        kinds: vec![JobKind::Mt.into()],
        selection: Some(Selection::Articles(pb::ArticleSelection {
            article_ids: vec!["a".into()],
        })),
        ..Default::default()
    }
}

pub(super) fn claim(language: &str) -> pb::ClaimJobsRequest {
    pb::ClaimJobsRequest {
        pairs: vec![pb::LanguagePair {
            target_language: language.into(),
            ..Default::default()
        }],
        max_jobs: 1,
        worker: "w".into(),
        ..Default::default()
    }
}

pub(super) fn policy(id: &str) -> pb::PutTranslationPolicyRequest {
    pb::PutTranslationPolicyRequest {
        policy: Some(pb::TranslationPolicy {
            policy_id: id.into(),
            sections: vec!["nowhere".into()],
            target_languages: vec!["fr".into()],
            kinds: vec![JobKind::Mt.into()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

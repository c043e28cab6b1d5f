//! Jobs and policies as callers see them.

use std::collections::HashSet;

use super::{article, time, written_summary};
use crate::api::error;
use crate::domain::job::{Job, JobId, JobKind, JobState};
use crate::domain::language::Language;
use crate::domain::policy::TranslationPolicy;
use crate::pb;
use crate::service::complete_job::Completed;
use crate::service::jobs::JobSnapshot;
use crate::service::request_jobs::{RequestOutcome, Requested};
use crate::service::worker_jobs::ClaimedWork;

/// A job.
pub(in crate::api) fn job(snapshot: &JobSnapshot) -> pb::TranslationJob {
    let Job { id, lease, .. } = &*snapshot.job;
    let job = &snapshot.job;
    // A lease that has ended holds nothing.
    let lease = lease.as_ref().filter(|_| snapshot.state == JobState::Leased);
    let result = job.settled.as_ref().and_then(|settled| settled.result);
    pb::TranslationJob {
        job_id: id.to_string(),
        article_id: id.article.to_string(),
        language: id.key.language.to_string(),
        kind: kind(id.key.kind).into(),
        state: state(snapshot.state).into(),
        source_revision: job.source_revision,
        segment_ids: job
            .wanted
            .iter()
            .map(|wanted| wanted.segment.to_string())
            .collect(),
        priority: job.priority.number().into(),
        not_before: job.not_before.and_then(time),
        deadline: job.deadline.and_then(time),
        attempts: job.attempts,
        max_attempts: job.max_attempts,
        worker: lease.map(|lease| lease.worker.clone()).unwrap_or_default(),
        lease_expire_time: lease.and_then(|lease| time(lease.until)),
        last_failure: job.last_failure.as_ref().map(|failure| pb::JobFailure {
            message: failure.message.clone(),
            worker: failure.worker.clone(),
            time: time(failure.time),
        }),
        translation_id: result
            .map(|result| result.translation.to_string())
            .unwrap_or_default(),
        policy_id: job.policy.as_ref().map(ToString::to_string).unwrap_or_default(),
        principal: job.principal.clone(),
        create_time: time(job.opened.time),
        update_time: time(job.changed.time),
    }
}

/// A claimed job with its texts.
pub(in crate::api) fn claimed(claimed: &ClaimedWork) -> pb::ClaimedJob {
    let mut head = article(&claimed.article);
    head.body = Vec::new();
    let wanted: HashSet<_> = claimed
        .job
        .job
        .wanted
        .iter()
        .map(|wanted| &wanted.segment)
        .collect();
    let targets = claimed.translation.as_ref();
    let mut there = targets.map(super::target_segments).unwrap_or_default();
    let content = claimed.article.revision().map(|revision| &revision.content);
    let segments = content.into_iter().flat_map(|content| content.segments());
    pb::ClaimedJob {
        job: Some(job(&claimed.job)),
        lease_token: claimed.lease.token.to_string(),
        article: Some(head),
        segments: segments
            .map(|segment| pb::JobSegment {
                source: Some(super::segment(segment)),
                wanted: wanted.contains(&segment.id),
                target: there.remove(&segment.id),
            })
            .collect(),
        translation_id: targets
            .map(|targets| targets.head.id.to_string())
            .unwrap_or_default(),
        targets_omitted: targets.is_some_and(|targets| targets.version.is_none()),
    }
}

/// What became of a request.
pub(in crate::api) fn requested(requested: &Requested) -> pb::RequestedJob {
    use pb::RequestOutcome as Pb;
    let (outcome, id) = match &requested.outcome {
        RequestOutcome::Opened(id) => (Pb::Opened, Some(id)),
        RequestOutcome::AlreadyOpen(id) => (Pb::AlreadyOpen, Some(id)),
        RequestOutcome::NothingWanted => (Pb::NothingWanted, None),
        RequestOutcome::NoArticle => (Pb::ArticleNotFound, None),
        RequestOutcome::Withheld => (Pb::SourceWithheld, None),
        RequestOutcome::Full(_) => (Pb::ArticleFull, None),
    };
    let refusal = match &requested.outcome {
        RequestOutcome::Full(exceeded) => error::article_full(&requested.article, *exceeded),
        _ => String::new(),
    };
    pb::RequestedJob {
        article_id: requested.article.to_string(),
        language: requested.key.language.to_string(),
        kind: kind(requested.key.kind).into(),
        outcome: outcome.into(),
        job_id: id.map(JobId::to_string).unwrap_or_default(),
        refusal,
    }
}

/// The answer to a completion.
pub(in crate::api) fn completed(completed: &Completed) -> pb::CompleteJobResponse {
    pb::CompleteJobResponse {
        job: Some(job(&completed.job)),
        translation: completed.translation.as_ref().map(written_summary),
        outcome: super::attach_outcome(completed.outcome).into(),
        next_job_id: completed.next.as_ref().map(JobId::to_string).unwrap_or_default(),
    }
}

/// A policy.
pub(in crate::api) fn policy(policy: &TranslationPolicy) -> pb::TranslationPolicy {
    let rule = &policy.rule;
    let tags = |languages: &[Language]| languages.iter().map(ToString::to_string).collect();
    pb::TranslationPolicy {
        policy_id: policy.id.to_string(),
        source_languages: tags(&rule.source_languages),
        sections: rule.sections.clone(),
        publishers: rule.publishers.clone(),
        target_languages: tags(&rule.target_languages),
        kinds: rule.kinds.iter().map(|of| kind(*of).into()).collect(),
        priority: rule.priority.number().into(),
        max_attempts: rule.max_attempts,
        paused: rule.paused,
        etag: policy.etag.to_string(),
        create_time: time(policy.created),
        update_time: time(policy.updated),
    }
}

/// A kind of job.
pub(in crate::api) fn kind(kind: JobKind) -> pb::JobKind {
    match kind {
        JobKind::Mt => pb::JobKind::Mt,
        JobKind::Llm => pb::JobKind::Llm,
        JobKind::Human => pb::JobKind::Human,
        JobKind::Review => pb::JobKind::Review,
        JobKind::Score => pb::JobKind::Score,
    }
}

fn state(state: JobState) -> pb::JobState {
    match state {
        JobState::Pending => pb::JobState::Pending,
        JobState::Leased => pb::JobState::Leased,
        JobState::Done => pb::JobState::Done,
        JobState::Dead => pb::JobState::Dead,
        JobState::Canceled => pb::JobState::Canceled,
        JobState::Superseded => pb::JobState::Superseded,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::domain::article::ArticleId;
    use crate::domain::capacity::{Exceeded, Resource};
    use crate::domain::job::JobKey;
    use crate::domain::language::MAX_TAG;
    use crate::service::request_jobs::ANSWERS_A_CALL;
    use crate::service::view::PAGE_BYTES;

    #[test]
    fn the_longest_answers_of_a_request_fit_into_a_page() {
        let article = ArticleId::parse(&"a".repeat(128)).unwrap();
        let language =
            Language::parse("en-x-abcdefgh-abcdefgh-abcdefgh-abcdefgh-abcdefgh-abcdefgh-abcde").unwrap();
        assert_eq!(language.as_str().len(), MAX_TAG);
        let kinds = [
            JobKind::Mt,
            JobKind::Llm,
            JobKind::Human,
            JobKind::Review,
            JobKind::Score,
        ];
        let full = |resource| {
            RequestOutcome::Full(Exceeded {
                resource,
                count: usize::MAX,
                limit: usize::MAX,
            })
        };
        for kind in kinds {
            let key = JobKey {
                language: language.clone(),
                kind,
            };
            let id = JobId {
                article: article.clone(),
                key: key.clone(),
                number: u32::MAX,
            };
            for outcome in [
                RequestOutcome::AlreadyOpen(id),
                full(Resource::Languages),
                full(Resource::OpenJobs),
                full(Resource::StateBytes),
            ] {
                let answer = requested(&Requested {
                    article: article.clone(),
                    key: key.clone(),
                    outcome,
                });
                let answers = pb::RequestTranslationsResponse {
                    jobs: vec![answer; ANSWERS_A_CALL],
                    next_page_token: "x".repeat(1_024),
                };
                let bytes = answers.encoded_len();
                assert!(bytes <= PAGE_BYTES, "{bytes}");
            }
        }
    }
}

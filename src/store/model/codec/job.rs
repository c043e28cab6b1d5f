//! Jobs and policies.

use super::*;
use crate::domain::job::{
    Failure, Job, JobKey, JobResult, JobState, Lease, LeaseToken, Priority, Settled, Wanted,
};
use crate::domain::policy::{PolicyId, PolicyRule, TranslationPolicy};

fn wanted_record(wanted: &Wanted) -> rec::Wanted {
    rec::Wanted {
        number: segment_number(&wanted.segment),
        hash: wanted.hash.0.to_vec(),
    }
}

fn wanted(record: &rec::Wanted) -> Result<Wanted> {
    Ok(Wanted {
        segment: segment_id(record.number),
        hash: hash(&record.hash)?,
    })
}

fn token(bytes: &[u8]) -> Result<LeaseToken> {
    bytes.try_into().map(LeaseToken).map_err(|_| malformed("token"))
}

fn lease_record(lease: &Lease) -> rec::Lease {
    rec::Lease {
        token: lease.token.0.to_vec(),
        worker: lease.worker.clone(),
        claimed: stamp_record(lease.claimed),
        until: lease.until.as_micros(),
    }
}

fn lease(record: rec::Lease, own: Stamp) -> Result<Lease> {
    Ok(Lease {
        token: token(&record.token)?,
        worker: record.worker,
        claimed: stamp(record.claimed, own)?,
        until: time(record.until)?,
    })
}

fn settled_record(settled: &Settled) -> rec::Settled {
    rec::Settled {
        token: settled.token.0.to_vec(),
        digest: settled.digest.to_vec(),
        result: settled.result.map(|result| rec::JobResult {
            translation: result.translation.0,
            outcome: outcome_code(result.outcome),
        }),
    }
}

fn settled(record: rec::Settled) -> Result<Settled> {
    let result = |result: rec::JobResult| {
        Ok(JobResult {
            translation: TranslationId(result.translation),
            outcome: outcome(result.outcome)?,
        })
    };
    Ok(Settled {
        token: token(&record.token)?,
        digest: record.digest.try_into().map_err(|_| malformed("digest"))?,
        result: record.result.map(result).transpose()?,
    })
}

fn failure_record(failure: &Failure) -> rec::Failure {
    rec::Failure {
        message: failure.message.clone(),
        worker: failure.worker.clone(),
        time: failure.time.as_micros(),
    }
}

fn failure(record: rec::Failure) -> Result<Failure> {
    Ok(Failure {
        message: record.message,
        worker: record.worker,
        time: time(record.time)?,
    })
}

fn priority(number: u32) -> Result<Priority> {
    Priority::new(number).map_err(|e| Malformed(e.0))
}

fn policy_id(id: &str) -> Result<PolicyId> {
    PolicyId::parse(id).map_err(|e| Malformed(e.0))
}

pub(in crate::store) fn encode_job(job: &Job) -> Vec<u8> {
    rec::Job {
        article: job.id.article.as_str().to_owned(),
        language: job.id.key.language.as_str().to_owned(),
        kind: job_kind_code(job.id.key.kind),
        number: job.id.number,
        version: job.version,
        state: job_state_code(job.state),
        source_revision: job.source_revision,
        wanted: job.wanted.iter().map(wanted_record).collect(),
        priority: u32::from(job.priority.number()),
        not_before: job.not_before.map(Timestamp::as_micros),
        deadline: job.deadline.map(Timestamp::as_micros),
        attempts: job.attempts,
        max_attempts: job.max_attempts,
        lease: job.lease.as_ref().map(lease_record),
        settled: job.settled.as_ref().map(settled_record),
        last_failure: job.last_failure.as_ref().map(failure_record),
        policy: job
            .policy
            .as_ref()
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default(),
        principal: job.principal.clone(),
        hidden: job.hidden,
        given_up: job.given_up.iter().map(wanted_record).collect(),
        opened: stamp_record(job.opened),
        changed: stamp_record(job.changed),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_job(payload: &[u8], own: Stamp) -> Result<Job> {
    let mut record: rec::Job = message(payload)?;
    if job_state(record.state)? == JobState::Pending {
        // Older records hold what the job wanted when it was written; it is derived now.
        record.wanted.clear();
    }
    let all_wanted = |records: &[rec::Wanted]| records.iter().map(wanted).collect::<Result<_>>();
    Ok(Job {
        id: JobId {
            article: article_id(&record.article)?,
            key: JobKey {
                language: Language::from_canonical(&record.language),
                kind: job_kind(record.kind)?,
            },
            number: record.number,
        },
        version: record.version,
        state: job_state(record.state)?,
        source_revision: record.source_revision,
        wanted: all_wanted(&record.wanted)?,
        priority: priority(record.priority)?,
        not_before: record.not_before.map(time).transpose()?,
        deadline: record.deadline.map(time).transpose()?,
        attempts: record.attempts,
        max_attempts: record.max_attempts,
        lease: record.lease.map(|record| lease(record, own)).transpose()?,
        settled: record.settled.map(settled).transpose()?,
        last_failure: record.last_failure.map(failure).transpose()?,
        policy: (!record.policy.is_empty())
            .then(|| policy_id(&record.policy))
            .transpose()?,
        principal: record.principal,
        hidden: record.hidden,
        given_up: all_wanted(&record.given_up)?,
        opened: stamp(record.opened, own)?,
        changed: stamp(record.changed, own)?,
    })
}

pub(in crate::store) fn encode_policy(policy: &TranslationPolicy) -> Vec<u8> {
    let tags = |languages: &[Language]| {
        let tag = |language: &Language| language.as_str().to_owned();
        languages.iter().map(tag).collect()
    };
    let rule = &policy.rule;
    rec::TranslationPolicy {
        id: policy.id.as_str().to_owned(),
        etag: etag_record(policy.etag),
        source_languages: tags(&rule.source_languages),
        sections: rule.sections.clone(),
        publishers: rule.publishers.clone(),
        target_languages: tags(&rule.target_languages),
        kinds: rule.kinds.iter().copied().map(job_kind_code).collect(),
        priority: u32::from(rule.priority.number()),
        max_attempts: rule.max_attempts,
        paused: rule.paused,
        created: policy.created.as_micros(),
        updated: policy.updated.as_micros(),
    }
    .encode_to_vec()
}

pub(in crate::store) fn decode_policy(payload: &[u8]) -> Result<TranslationPolicy> {
    let record: rec::TranslationPolicy = message(payload)?;
    let languages = |tags: Vec<String>| tags.iter().map(|tag| Language::from_canonical(tag)).collect();
    Ok(TranslationPolicy {
        id: policy_id(&record.id)?,
        etag: etag(record.etag)?,
        rule: PolicyRule {
            source_languages: languages(record.source_languages),
            sections: record.sections,
            publishers: record.publishers,
            target_languages: languages(record.target_languages),
            kinds: record.kinds.into_iter().map(job_kind).collect::<Result<_>>()?,
            priority: priority(record.priority)?,
            max_attempts: record.max_attempts,
            paused: record.paused,
        },
        created: time(record.created)?,
        updated: time(record.updated)?,
    })
}

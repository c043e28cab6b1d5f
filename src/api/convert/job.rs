//! Jobs, leases and policies.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use prost_types::Duration as PbDuration;

use super::Fields;
use crate::api::Limits;
use crate::domain::article::{ArticleId, MAX_FIELD};
use crate::domain::ids::SegmentId;
use crate::domain::job::{
    ClaimQuery, DEFAULT_ATTEMPTS, JobId, JobKey, JobKind, JobState, LeaseToken, MAX_ATTEMPTS,
    MAX_LEASE_MICROS, Order, Pair, Priority,
};
use crate::domain::language::Language;
use crate::domain::policy::{MAX_POLICY_LIST, PolicyId, PolicyRule};
use crate::domain::provenance::{Actor, Agent, Provenance, Step};
use crate::domain::segment::check_text;
use crate::pb;
use crate::service::complete_job::Work;
use crate::service::request_jobs::{ANSWERS_A_CALL, JobRequest};
use crate::service::worker_jobs::JobClaim;

/// The most languages of a request.
const MAX_LANGUAGES: usize = 50;
/// The most pairs, ids and jobs of a claim.
const MAX_CLAIM: usize = 100;
/// The longest name of a worker, in bytes.
const MAX_WORKER: usize = 256;
/// The longest wait of a claim, in microseconds.
const MAX_WAIT_MICROS: i64 = 60_000_000;
/// The longest wait that a worker may ask for after a failure, in microseconds.
const MAX_RETRY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// The lease of a worker that names none, in microseconds.
const DEFAULT_LEASE_MICROS: i64 = 300_000_000;

impl Fields {
    pub(in crate::api) fn job_id(&mut self, field: impl Display, id: &str) -> Option<JobId> {
        if id.is_empty() {
            self.wrong(field, "is required");
            return None;
        }
        self.check(field, JobId::parse(id))
    }

    pub(in crate::api) fn lease_token(&mut self, token: &str) -> Option<LeaseToken> {
        if token.is_empty() {
            self.wrong("lease_token", "is required");
            return None;
        }
        self.check("lease_token", LeaseToken::parse(token))
    }

    pub(in crate::api) fn policy_id(&mut self, field: &str, id: &str) -> Option<PolicyId> {
        self.check(field, PolicyId::parse(id))
    }

    /// A kind of job that has to be named.
    fn job_kind(&mut self, field: &str, number: i32) -> Option<JobKind> {
        let kind = self.any_job_kind(field, number)?;
        if kind.is_none() {
            self.wrong(field, "is required: MT, LLM, HUMAN, REVIEW or SCORE");
        }
        kind
    }

    /// A kind of job; unspecified is any.
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether the value is usable"
    )]
    pub(in crate::api) fn any_job_kind(&mut self, field: &str, number: i32) -> Option<Option<JobKind>> {
        Some(match self.choice(field, number, pb::JobKind::try_from)? {
            pb::JobKind::Unspecified => None,
            pb::JobKind::Mt => Some(JobKind::Mt),
            pb::JobKind::Llm => Some(JobKind::Llm),
            pb::JobKind::Human => Some(JobKind::Human),
            pb::JobKind::Review => Some(JobKind::Review),
            pb::JobKind::Score => Some(JobKind::Score),
        })
    }

    fn job_kinds(&mut self, field: &str, kinds: &[i32]) -> Vec<JobKind> {
        let named = kinds.iter().enumerate();
        let mut kinds: Vec<_> = named
            .filter_map(|(index, kind)| self.job_kind(&format!("{field}[{index}]"), *kind))
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// States of jobs; a filter.
    pub(in crate::api) fn job_states(&mut self, states: &[i32]) -> Vec<JobState> {
        let mut converted = Vec::with_capacity(states.len());
        for (index, number) in states.iter().enumerate() {
            let field = format_args!("states[{index}]");
            converted.extend(match self.choice(field, *number, pb::JobState::try_from) {
                None | Some(pb::JobState::Unspecified) => None,
                Some(pb::JobState::Pending) => Some(JobState::Pending),
                Some(pb::JobState::Leased) => Some(JobState::Leased),
                Some(pb::JobState::Done) => Some(JobState::Done),
                Some(pb::JobState::Dead) => Some(JobState::Dead),
                Some(pb::JobState::Canceled) => Some(JobState::Canceled),
                Some(pb::JobState::Superseded) => Some(JobState::Superseded),
            });
        }
        converted
    }

    fn languages(&mut self, field: &str, tags: &[String], limit: usize) -> Vec<Language> {
        self.limited(field, tags.len(), limit);
        let named = tags.iter().take(limit).enumerate();
        let mut languages: Vec<Language> = Vec::with_capacity(tags.len().min(limit));
        for (index, tag) in named {
            let language = self.language(format_args!("{field}[{index}]"), tag);
            // One that is named twice counts once.
            languages.extend(language.filter(|language| !languages.contains(language)));
        }
        languages
    }

    /// A span of time in microseconds within bounds; unset is the default.
    pub(in crate::api) fn duration(
        &mut self,
        field: &str,
        duration: Option<&PbDuration>,
        (least, most, default): (i64, i64, i64),
    ) -> i64 {
        let Some(duration) = duration else { return default };
        let micros = duration
            .seconds
            .checked_mul(1_000_000)
            .and_then(|micros| micros.checked_add(i64::from(duration.nanos / 1_000)));
        match micros {
            Some(micros) if (least..=most).contains(&micros) => micros,
            _ => {
                let seconds = |micros: i64| Duration::from_micros(micros.unsigned_abs());
                let description = format!(
                    "{}.{:09}s is outside {:?} to {:?}",
                    duration.seconds,
                    duration.nanos.unsigned_abs(),
                    seconds(least),
                    seconds(most)
                );
                self.wrong(field, description);
                default
            }
        }
    }

    /// How long a lease is to last, in microseconds.
    pub(in crate::api) fn lease(&mut self, lease: Option<&PbDuration>, shortest_micros: i64) -> i64 {
        let default = DEFAULT_LEASE_MICROS.max(shortest_micros);
        self.duration("lease", lease, (shortest_micros, MAX_LEASE_MICROS, default))
    }

    fn priority(&mut self, field: &str, number: u32) -> Option<Priority> {
        match number {
            0 => Some(Priority::DEFAULT),
            number => self.check(field, Priority::new(number)),
        }
    }

    fn attempts(&mut self, field: &str, number: u32) -> u32 {
        match number {
            0 => DEFAULT_ATTEMPTS,
            number if number <= MAX_ATTEMPTS => number,
            number => {
                self.wrong(field, format!("{number} is more than {MAX_ATTEMPTS}"));
                number
            }
        }
    }
}

/// What is asked of each article.
pub(in crate::api) fn job_request(
    languages: &[String],
    kinds: &[i32],
    options: Option<pb::JobOptions>,
    principal: &str,
    fields: &mut Fields,
) -> Option<JobRequest> {
    if languages.is_empty() {
        fields.wrong("languages", "is required");
    }
    if kinds.is_empty() {
        fields.wrong("kinds", "is required");
    }
    let languages = fields.languages("languages", languages, MAX_LANGUAGES);
    let kinds = fields.job_kinds("kinds", kinds);
    let options = options.unwrap_or_default();
    let not_before = options
        .not_before
        .as_ref()
        .and_then(|time| fields.time("options.not_before", time));
    let deadline = options
        .deadline
        .as_ref()
        .and_then(|time| fields.time("options.deadline", time));
    let priority = fields.priority("options.priority", options.priority);
    let max_attempts = fields.attempts("options.max_attempts", options.max_attempts);
    let key = |language: &Language, kind: &JobKind| JobKey {
        language: language.clone(),
        kind: *kind,
    };
    Some(JobRequest {
        keys: languages
            .iter()
            .flat_map(|language| kinds.iter().map(move |kind| key(language, kind)))
            .collect(),
        order: Order {
            priority: priority?,
            not_before,
            deadline,
            max_attempts,
            policy: None,
            principal: principal.to_owned(),
        },
    })
}

/// The articles of a request by their ids, each once; `keys` is how many jobs each is asked for.
pub(in crate::api) fn article_ids(
    selection: &pb::ArticleSelection,
    keys: usize,
    limits: &Limits,
    fields: &mut Fields,
) -> Vec<ArticleId> {
    let ids = &selection.article_ids;
    if ids.is_empty() {
        fields.wrong("articles.article_ids", "is required");
    }
    fields.limited("articles.article_ids", ids.len(), limits.batch);
    let mut seen = HashSet::new();
    let named = ids.iter().take(limits.batch).enumerate();
    let ids: Vec<_> = named
        .filter(|(_, id)| seen.insert(id.as_str()))
        .filter_map(|(index, id)| fields.article_id(format_args!("articles.article_ids[{index}]"), id))
        .collect();
    let answers = ids.len() * keys;
    if answers > ANSWERS_A_CALL {
        let description = format!(
            "{} articles by {keys} languages and kinds are {answers} jobs, more than {ANSWERS_A_CALL} a call",
            ids.len()
        );
        fields.wrong("articles.article_ids", description);
    }
    ids
}

/// A claim.
pub(in crate::api) fn claim(
    request: &pb::ClaimJobsRequest,
    embargoed: bool,
    shortest_lease: i64,
    fields: &mut Fields,
) -> JobClaim {
    fields.limited("pairs", request.pairs.len(), MAX_CLAIM);
    fields.limited("job_ids", request.job_ids.len(), MAX_CLAIM);
    let names_others = !request.pairs.is_empty() || !request.kinds.is_empty();
    if !request.job_ids.is_empty() && names_others {
        fields.wrong("job_ids", "does not go together with pairs or kinds");
    }
    let max = match usize::try_from(request.max_jobs) {
        Ok(0) => 1,
        Ok(max) if max <= MAX_CLAIM => max,
        _ => {
            fields.wrong(
                "max_jobs",
                format!("{} is more than {MAX_CLAIM}", request.max_jobs),
            );
            1
        }
    };
    let mut language = |field: std::fmt::Arguments<'_>, tag: &str| {
        (!tag.is_empty()).then(|| fields.language(field, tag)).flatten()
    };
    let pairs = request
        .pairs
        .iter()
        .take(MAX_CLAIM)
        .enumerate()
        .map(|(index, pair)| Pair {
            source: language(
                format_args!("pairs[{index}].source_language"),
                &pair.source_language,
            ),
            target: language(
                format_args!("pairs[{index}].target_language"),
                &pair.target_language,
            ),
        });
    let pairs = pairs.collect();
    let ids = request.job_ids.iter().take(MAX_CLAIM).enumerate();
    let ids = ids
        .filter_map(|(index, id)| fields.job_id(format_args!("job_ids[{index}]"), id))
        .collect();
    let wait = fields.duration("wait", request.wait.as_ref(), (0, MAX_WAIT_MICROS, 0));
    JobClaim {
        query: ClaimQuery {
            pairs,
            kinds: fields.job_kinds("kinds", &request.kinds),
            ids,
            embargoed,
        },
        max,
        lease_micros: fields.lease(request.lease.as_ref(), shortest_lease),
        wait: Duration::from_micros(wait.unsigned_abs()),
        worker: short_text("worker", &request.worker, MAX_WORKER, fields),
    }
}

/// A text of limited length, without control characters.
fn short_text(field: &str, text: &str, limit: usize, fields: &mut Fields) -> String {
    if text.len() > limit {
        fields.wrong(field, format!("{} bytes are more than {limit}", text.len()));
    } else {
        fields.check(field, check_text(text));
    }
    text.to_owned()
}

/// What a worker says of a failed attempt.
pub(in crate::api) fn failure_message(message: &str, fields: &mut Fields) -> String {
    short_text("message", message, MAX_FIELD, fields)
}

/// How long a worker wants to wait after a failure, in microseconds.
pub(in crate::api) fn retry_after(after: Option<&PbDuration>, fields: &mut Fields) -> Option<i64> {
    let after = after?;
    Some(fields.duration("retry_after", Some(after), (0, MAX_RETRY_MICROS, 0)))
}

/// The result of a job.
pub(in crate::api) fn work(
    result: Option<pb::complete_job_request::Result>,
    limits: &Limits,
    fields: &mut Fields,
) -> Option<(Work, String)> {
    use pb::complete_job_request::Result as Pb;
    match result {
        None => {
            fields.wrong("result", "is required: text, review or scores");
            None
        }
        Some(Pb::Text(text)) => {
            super::target_texts(text, limits, fields).map(|texts| (Work::Texts(texts), String::new()))
        }
        Some(Pb::Review(review)) => {
            let ids = review.segment_ids.iter().enumerate();
            let ids = ids.filter_map(|(index, id)| {
                fields.check(format_args!("review.segment_ids[{index}]"), SegmentId::parse(id))
            });
            let ids = ids.collect();
            let limit = MAX_FIELD;
            let comment = short_text("review.comment", &review.comment, limit, fields);
            Some((Work::Reviewed(ids), comment))
        }
        Some(Pb::Scores(scores)) => Some((
            Work::Judged {
                scores: super::quality_scores(scores.quality_scores, fields),
                issues: super::quality_issues(scores.quality_issues, fields),
            },
            String::new(),
        )),
    }
}

/// The provenance of a result before it is known what it changes.
pub(in crate::api) fn work_provenance(work: &Work, comment: String, agent: Agent) -> Provenance {
    let step = match work {
        Work::Texts(_) => Step::Attached,
        Work::Reviewed(_) => Step::Reviewed,
        Work::Judged { .. } => Step::Scored,
    };
    Provenance {
        reason: comment,
        ..Provenance::of(step, agent, Actor::default())
    }
}

/// A policy.
pub(in crate::api) fn policy(
    policy: Option<pb::TranslationPolicy>,
    fields: &mut Fields,
) -> Option<(PolicyId, PolicyRule)> {
    let Some(policy) = policy else {
        fields.wrong("policy", "is required");
        return None;
    };
    if policy.target_languages.is_empty() {
        fields.wrong("policy.target_languages", "is required");
    }
    if policy.kinds.is_empty() {
        fields.wrong("policy.kinds", "is required");
    }
    let mut texts = |field: &str, texts: Vec<String>| {
        fields.limited(field, texts.len(), MAX_POLICY_LIST);
        fields.texts(field, texts.into_iter().take(MAX_POLICY_LIST).collect())
    };
    let sections = texts("policy.sections", policy.sections);
    let publishers = texts("policy.publishers", policy.publishers);
    let id = fields.policy_id("policy.policy_id", &policy.policy_id);
    let priority = fields.priority("policy.priority", policy.priority);
    let max_attempts = fields.attempts("policy.max_attempts", policy.max_attempts);
    let mut tags = |field: &str, tags: &[String]| fields.languages(field, tags, MAX_POLICY_LIST);
    let source_languages = tags("policy.source_languages", &policy.source_languages);
    let target_languages = tags("policy.target_languages", &policy.target_languages);
    let kinds = fields.job_kinds("policy.kinds", &policy.kinds);
    let rule = PolicyRule {
        source_languages,
        sections,
        publishers,
        target_languages,
        kinds,
        priority: priority?,
        max_attempts,
        paused: policy.paused,
    };
    id.map(|id| (id, rule))
}

/// A list query without what belongs to its pages.
pub(in crate::api) fn no_page(query: &pb::ListArticlesRequest, fields: &mut Fields) {
    let set = [
        ("view", query.view != 0),
        ("page_size", query.page_size != 0),
        ("page_token", !query.page_token.is_empty()),
    ];
    for (field, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        fields.wrong(format_args!("query.{field}"), "must not be set here");
    }
}

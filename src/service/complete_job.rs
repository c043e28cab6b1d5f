//! Completes a job: attaches its result in the commit that ends it, and opens the next job if a text is still wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::answers;
use super::attach::attaching;
use super::jobs::JobSnapshot;
use super::quality::{NewEvidence, scored};
use super::snapshot::TranslationSnapshot;
use super::transact::{Decision, Effect, Mutation};
use super::translations::TranslationName;
use super::worker_jobs::{Fence, is_settled, lost};
use super::workflow::refused;
use super::{Call, Error, Result, Service};
use crate::domain::Violation;
use crate::domain::article::ArticleId;
use crate::domain::attach::{self, Attach, BodyTexts, Fitted, Material, Target, TargetText, TargetTexts};
use crate::domain::change::{Event, Kind};
use crate::domain::ids::{SegmentId, TranslationId};
use crate::domain::job::{Article, Job, JobId, JobKind, JobResult, Jobs, Settled, Wanted};
use crate::domain::language::Language;
use crate::domain::provenance::Provenance;
use crate::domain::quality::evidence::QualityIssue;
use crate::domain::request::Outcome;
use crate::domain::review;
use crate::domain::segment::TextHash;
use crate::domain::translation::{QualityScore, Slot, State, TranslationHead};
use crate::domain::version::Series;
use crate::store::{ArticleState, Batch, Body};

/// The result of a job.
#[derive(Debug, Clone)]
pub enum Work {
    /// Texts of the wanted segments.
    Texts(TargetTexts),
    /// That segments are reviewed; empty: all that are wanted.
    Reviewed(Vec<SegmentId>),
    /// Scores and issues.
    Judged {
        /// Scores.
        scores: Vec<QualityScore>,
        /// Issues.
        issues: Vec<QualityIssue>,
    },
}

/// A result and the worker that sends it.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The job.
    pub id: JobId,
    /// The lease that it was done under.
    pub fence: Fence,
    /// The result.
    pub work: Work,
    /// The agent and its effort.
    pub provenance: Provenance,
}

/// The result of a completion.
#[derive(Debug, Clone)]
pub struct Completed {
    /// The job.
    pub job: JobSnapshot,
    /// The translation that the result went to; `None` if it went nowhere, because the source has moved on from all of it.
    pub translation: Option<answers::Written<TranslationSnapshot>>,
    /// What became of it there.
    pub outcome: Outcome,
    /// The job for what is still wanted.
    pub next: Option<JobId>,
}

/// What a result makes of a slot: the commit, and what became of the result; `None` where nothing was left of it.
type Taken = (Batch, Option<JobResult>);

impl Mutation for Completion {
    type Detail = ();
    type Answer = Completed;

    fn article(&self) -> &ArticleId {
        &self.id.article
    }

    fn language(&self) -> Option<&Language> {
        Some(&self.id.key.language)
    }

    async fn decide(
        &self,
        service: &Service,
        call: &Call,
        state: Option<&Arc<ArticleState>>,
    ) -> Result<Decision> {
        let token = self.fence.token;
        let (state, job) = service.leased(call, &self.id, token, state).await?;
        if is_settled(&job, self.fence)? {
            return Ok(Decision::unchanged());
        }
        job.fenced(token).map_err(|_| lost(&self.id, &job))?;
        let (mut batch, result) = service.take(call, state, &job, self).await?;
        let done = job.done(Settled {
            token,
            digest: self.fence.digest,
            result,
        });
        let next = next_job(state, batch.slots.first(), &done);
        for job in std::iter::once(done).chain(next) {
            batch.add_job(&state.head, Some(state), job);
        }
        Ok(Decision::write(batch, Outcome::Changed))
    }

    async fn answer(&self, service: &Service, call: &Call, effect: Effect) -> Result<Completed> {
        let (state, visibility) = effect.state(service).await?;
        let job = service.find_job(&state, &self.id).await?;
        let result = job.settled.as_ref().and_then(|settled| settled.result);
        let slot = state.slots.get(&self.id.key.language);
        let translation = match slot.zip(result) {
            Some((slot, result)) => {
                let summary = service.summary(&state, slot, result.translation).await?;
                Some(call.written(summary, visibility))
            }
            None => None,
        };
        let newest = state.jobs.get(&self.id.key);
        let next = newest.filter(|newest| newest.id.number == self.id.number + 1);
        Ok(Completed {
            job: service.job_snapshot(&state, job),
            translation,
            outcome: result.map_or(Outcome::Unchanged, |result| result.outcome),
            next: next.map(|next| next.id.clone()),
        })
    }
}

impl Service {
    /// Takes the result of a job.
    pub async fn complete_job(&self, call: &Call, completion: &Completion) -> Result<Completed> {
        call.may_work_on(&completion.id.key)?;
        self.transact(call, completion).await
    }

    async fn take(
        &self,
        call: &Call,
        state: &ArticleState,
        job: &Job,
        completion: &Completion,
    ) -> Result<Taken> {
        let kind = job.id.key.kind;
        let agent = completion.provenance.agent.kind;
        if !kind.is_done_by(agent) {
            let description = format!("an agent of this kind does no {} jobs", kind.name());
            return Err(Error::invalid("agent.kind", description));
        }
        let provenance = Provenance {
            source_revision: job.source_revision,
            job_id: job.id.to_string(),
            actor: call.actor().clone(),
            ..completion.provenance.clone()
        };
        match (&completion.work, kind) {
            (Work::Texts(texts), kind) if kind.translates() => {
                self.take_texts(state, job, texts, &provenance).await
            }
            (Work::Reviewed(segments), JobKind::Review) => {
                self.take_review(state, job, segments, &provenance).await
            }
            (Work::Judged { scores, issues }, JobKind::Score) => {
                self.take_scores(state, job, scores, issues, provenance).await
            }
            (_, kind) => {
                let field = match kind {
                    JobKind::Review => "review",
                    JobKind::Score => "scores",
                    JobKind::Mt | JobKind::Llm | JobKind::Human => "text",
                };
                let description = format!("is required for {} jobs, and no other result", kind.name());
                Err(Error::invalid(field, description))
            }
        }
    }

    async fn take_texts(
        &self,
        state: &ArticleState,
        job: &Job,
        texts: &TargetTexts,
        provenance: &Provenance,
    ) -> Result<Taken> {
        let sent = fit(texts, job).map_err(Error::Invalid)?;
        let head = &state.head;
        let slot = state.slots.get(&job.id.key.language).map(|slot| &**slot);
        let (fitted, made_from) = still_useful(sent, job, state, slot);
        if fitted.is_empty() {
            return Ok(nothing(state, job));
        }
        let material = Material::Texts(fitted);
        let attach = Attach {
            article: &head.id,
            language: &job.id.key.language,
            slot,
            source_revision: head.revision(),
            source: &head.manifest,
            made_from: &made_from,
            material: &material,
            target: Target::Active,
            state: State::Translated,
            self_review: self.self_review,
            overwrite_human: false,
            provenance,
            scores: &[],
        };
        let decision = self.plan_and_write(&attach).await?;
        let decision = self.fitting(state, decision, &job.id.key.language)?;
        Ok(match decision {
            attach::Decision::Unchanged(translation) => unchanged(state, job, translation),
            attach::Decision::Write(written) => {
                let result = JobResult {
                    translation: written.id,
                    outcome: written.outcome,
                };
                (attaching(state, *written), Some(result))
            }
        })
    }

    async fn take_review(
        &self,
        state: &ArticleState,
        job: &Job,
        segments: &[SegmentId],
        provenance: &Provenance,
    ) -> Result<Taken> {
        check_wanted(segments.iter().enumerate(), "review.segment_ids", job)?;
        let slot = state.slots.get(&job.id.key.language).map(|slot| &**slot);
        let Some((slot, active)) = slot.and_then(|slot| Some((slot, slot.active()?))) else {
            return Ok(nothing(state, job));
        };
        let meant = |wanted: &&Wanted| segments.is_empty() || segments.contains(&wanted.segment);
        let same = same_texts(job.wanted.iter().filter(meant), active);
        if same.is_empty() {
            return Ok(nothing(state, job));
        }
        let review = review::Review {
            segments: &same,
            to: State::Reviewed,
            self_review: self.self_review,
            provenance,
        };
        let reviewed = review::review(slot, active.id, &review)
            .map_err(|refusal| refused(refusal, &slot.article, &slot.language, &same))?;
        let Some(reviewed) = reviewed else {
            return Ok(unchanged(state, job, active.id));
        };
        let newest = self
            .translation_version(&slot.version_key(reviewed.needs()))
            .await?;
        let (after, version) = reviewed.write(slot, &newest);
        let event = Event {
            language: Some(slot.language.clone()),
            etag: Some(version.head.etag),
            ..Event::about(&state.head, Kind::TranslationReviewed(active.id), None)
        };
        let series = Series::Translation(slot.language.clone(), active.id);
        let bodies = vec![(series, Body::Translation(version))];
        let batch = Batch::of_slot(state, after, bodies, vec![event]);
        Ok((batch, changed(active.id)))
    }

    async fn take_scores(
        &self,
        state: &ArticleState,
        job: &Job,
        scores: &[QualityScore],
        issues: &[QualityIssue],
        provenance: Provenance,
    ) -> Result<Taken> {
        let slot = state.slots.get(&job.id.key.language).map(|slot| &**slot);
        if scores.is_empty() && issues.is_empty() {
            return Err(Error::invalid("scores", "a score or an issue is required"));
        }
        let Some((slot, active)) = slot.and_then(|slot| Some((slot, slot.active()?))) else {
            return Ok(nothing(state, job));
        };
        let same = same_texts(job.wanted.iter(), active);
        let is_whole = same.len() == job.wanted.len();
        let speaks_of_now = |segment: &Option<SegmentId>| match segment {
            Some(segment) => same.contains(segment),
            None => is_whole,
        };
        let evidence = NewEvidence {
            name: TranslationName {
                article: job.id.article.clone(),
                language: job.id.key.language.clone(),
                id: Some(active.id),
            },
            scores: scores
                .iter()
                .filter(|score| speaks_of_now(&score.segment))
                .cloned()
                .collect(),
            issues: issues
                .iter()
                .filter(|issue| speaks_of_now(&issue.segment))
                .cloned()
                .collect(),
            provenance,
            etag: None,
        };
        if evidence.scores.is_empty() && evidence.issues.is_empty() {
            return Ok(nothing(state, job));
        }
        Ok(
            match self.decide_add(&state.head, slot, active, &evidence).await? {
                Some(version) => (scored(state, slot, active, version), changed(active.id)),
                None => unchanged(state, job, active.id),
            },
        )
    }
}

/// The job for what is still wanted after a result, where that was not asked for by the job that is done.
fn next_job(state: &ArticleState, slot: Option<&Arc<Slot>>, done: &Job) -> Option<Job> {
    let mut slots = state.slots.clone();
    slots.extend(slot.map(|slot| (slot.language.clone(), slot.clone())));
    let after = Article {
        head: &state.head,
        slots: &slots,
        jobs: &Jobs::new(),
    };
    after.next_job(&done.id.key, Some(done), done.order())
}

/// A result of which nothing is left to write: the batch only ends the job, on the state that it was judged on.
fn nothing(state: &ArticleState, job: &Job) -> Taken {
    (Batch::on(state, Some(&job.id.key.language)), None)
}

/// A result that the translation has already.
fn unchanged(state: &ArticleState, job: &Job, translation: TranslationId) -> Taken {
    let result = JobResult {
        translation,
        outcome: Outcome::Unchanged,
    };
    (nothing(state, job).0, Some(result))
}

fn changed(translation: TranslationId) -> Option<JobResult> {
    Some(JobResult {
        translation,
        outcome: Outcome::Changed,
    })
}

/// Puts texts to the wanted segments of a job, or says of each one why it does not fit.
fn fit<'a>(texts: &'a TargetTexts, job: &Job) -> std::result::Result<Fitted<'a>, Vec<Violation>> {
    let mut fitted = Fitted::new();
    let mut violations = Vec::new();
    let mut put = |field: String, id: SegmentId, text: &'a TargetText| {
        let description = if !job.wanted.iter().any(|wanted| wanted.segment == id) {
            format!("segment \"{id}\" is not wanted")
        } else if text.content.is_blank() {
            format!("the text of segment \"{id}\" is empty")
        } else if fitted.insert(id.clone(), text).is_some() {
            format!("segment \"{id}\" is sent twice")
        } else {
            return;
        };
        violations.push(Violation::new(field, description));
    };
    let heads = [
        ("text.title", SegmentId::Title, &texts.title),
        ("text.lead", SegmentId::Lead, &texts.lead),
    ];
    for (field, id, text) in heads {
        // An empty title or lead is one that is not sent.
        if let Some(text) = text.as_ref().filter(|text| !text.content.is_blank()) {
            put(field.to_owned(), id, text);
        }
    }
    match &texts.body {
        BodyTexts::ById(body) => {
            for (index, (id, text)) in body.iter().enumerate() {
                put(format!("text.body[{index}]"), id.clone(), text);
            }
        }
        BodyTexts::InOrder(body) if body.is_empty() => {}
        BodyTexts::InOrder(_) => {
            let description = "segment_id is required in the result of a job";
            violations.push(Violation::new("text.body", description));
        }
    }
    let absent = job
        .wanted
        .iter()
        .filter(|wanted| !fitted.contains_key(&wanted.segment));
    let absent: Vec<_> = absent.map(|wanted| format!("\"{}\"", wanted.segment)).collect();
    if !absent.is_empty() && violations.is_empty() {
        let description = format!("lacks wanted segments: {}", shorten(&absent));
        violations.push(Violation::new("text", description));
    }
    if violations.is_empty() {
        Ok(fitted)
    } else {
        Err(violations)
    }
}

/// The first of many names.
fn shorten(names: &[String]) -> String {
    const NAMED: usize = 50;
    let shown = names
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What is left of a result after the source has moved on: texts whose source stayed as it was, and those that are nearer to
/// the source than what a machine left there. Of these it says what they were made from.
fn still_useful<'a>(
    sent: Fitted<'a>,
    job: &Job,
    state: &ArticleState,
    slot: Option<&Slot>,
) -> (Fitted<'a>, BTreeMap<SegmentId, (u32, TextHash)>) {
    let now: BTreeMap<_, _> = state
        .head
        .manifest
        .0
        .iter()
        .map(|entry| (&entry.id, entry.hash))
        .collect();
    let then: BTreeMap<_, _> = job
        .wanted
        .iter()
        .map(|wanted| (&wanted.segment, wanted.hash))
        .collect();
    let active = slot.and_then(Slot::active);
    let mut made_from = BTreeMap::new();
    let useful = sent.into_iter().filter(|(id, _)| {
        let (Some(now), Some(then)) = (now.get(id), then.get(id)) else {
            return false;
        };
        let there = active.and_then(|active| active.bindings.iter().find(|binding| binding.id == *id));
        if now == then {
            // Somebody may have brought it meanwhile.
            return there.is_none_or(|there| there.source_hash != *now || there.writer.is_machine());
        }
        let is_nearer = there.is_none_or(|there| {
            there.writer.is_machine()
                && there.source_hash != *now
                && there.source_revision < job.source_revision
        });
        if is_nearer {
            made_from.insert(id.clone(), (job.source_revision, *then));
        }
        is_nearer
    });
    let useful = useful.collect();
    (useful, made_from)
}

/// The wanted segments whose target is the one that the job was claimed for.
fn same_texts<'a>(wanted: impl Iterator<Item = &'a Wanted>, active: &TranslationHead) -> Vec<SegmentId> {
    let targets: BTreeMap<_, _> = active.bindings.iter().map(|b| (&b.id, b.target_hash)).collect();
    let same = wanted.filter(|wanted| targets.get(&wanted.segment) == Some(&wanted.hash));
    same.map(|wanted| wanted.segment.clone()).collect()
}

/// Named segments must be wanted ones.
fn check_wanted<'a>(
    named: impl Iterator<Item = (usize, &'a SegmentId)>,
    field: &str,
    job: &Job,
) -> Result<()> {
    let wanted: BTreeSet<_> = job.wanted.iter().map(|wanted| &wanted.segment).collect();
    let violations: Vec<_> = named
        .filter(|(_, id)| !wanted.contains(id))
        .map(|(index, id)| {
            Violation::new(
                format!("{field}[{index}]"),
                format!("segment \"{id}\" is not wanted"),
            )
        })
        .collect();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(violations))
    }
}

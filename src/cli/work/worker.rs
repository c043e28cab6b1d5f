//! The worker of `work`: its lanes claim, translate and complete jobs. Heartbeats keep their leases meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::{interval_at, timeout};
use uuid::Uuid;

use super::calls::{ANSWER_LIMIT, Calls, Client, Pauses, is_lost};
use super::program::{Program, Trouble};
use crate::cli::client::{explain, without_content};
use crate::cli::output::{Output, Printer};
use crate::cli::{Failure, attach, format, jobs, terminal, warn};
use crate::pb;
use crate::pb::complete_job_request::Result as JobResult;

/// How often in a lease it is prolonged.
const BEATS: u32 = 3;
/// How long releasing all jobs may take at the end.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// The waits between jobs that fail one after the other: it may be the program, and others could do them.
const MISS_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// The longest message of a failed job, in bytes.
const MAX_MESSAGE: usize = 1_024;

/// The state that all lanes share.
pub(super) struct Worker {
    pub(super) calls: Calls,
    pub(super) claim: pb::ClaimJobsRequest,
    pub(super) lanes: u16,
    pub(super) lease: Duration,
    pub(super) wait: Duration,
    pub(super) once: bool,
    pub(super) agent: pb::Agent,
    pub(super) program: Program,
    pub(super) output: Output,
    pub(super) printer: RefCell<Printer>,
    /// The tokens of the leases that are held, by job.
    pub(super) held: RefCell<BTreeMap<String, String>>,
    /// Whether a job has failed.
    pub(super) failed: Cell<bool>,
}

/// A job that a lane has.
struct Claimed {
    job_id: String,
    lease_token: String,
    article_id: String,
    source_language: String,
    target_language: String,
    segments: Vec<pb::JobSegment>,
}

/// The result of a job.
struct Translated {
    text: pb::TargetText,
    effort: pb::Effort,
}

/// The end of a job for this worker.
enum Ended {
    Done(Box<pb::CompleteJobResponse>),
    Failed(Box<pb::TranslationJob>, String),
    /// Another worker has it, or it was canceled.
    Lost,
}

impl Claimed {
    /// The environment variables of the program.
    fn variables(&self, source: &pb::Segment) -> [(&'static str, String); 6] {
        let role = match source.segment_id.as_str() {
            id @ ("title" | "lead") => id.to_owned(),
            _ => role(source.role()),
        };
        [
            ("SOURCE_LANGUAGE", self.source_language.clone()),
            ("TARGET_LANGUAGE", self.target_language.clone()),
            ("ARTICLE_ID", self.article_id.clone()),
            ("SEGMENT_ID", source.segment_id.clone()),
            ("ROLE", role),
            ("JOB_ID", self.job_id.clone()),
        ]
    }
}

impl Worker {
    /// Claims, translates and completes one job after the other.
    pub(super) async fn lane(&self) -> Result<(), Failure> {
        let [first, longest] = MISS_PAUSES;
        let mut pauses = Pauses::new(first, longest);
        let mut missed = false;
        loop {
            let Some(claimed) = self.claim().await? else {
                if self.once {
                    return Ok(());
                }
                continue;
            };
            let translated = tokio::select! {
                translated = self.translate(&claimed) => Some(translated?),
                () = self.keep(&claimed) => None,
            };
            let ended = match translated {
                Some(Ok(result)) => self.complete(&claimed, result).await?,
                Some(Err(message)) => self.fail(&claimed, message).await?,
                None => Ended::Lost,
            };
            self.held.borrow_mut().remove(&claimed.job_id);
            self.report(&claimed, &ended)?;
            let misses = matches!(ended, Ended::Failed(..));
            if misses && missed {
                pauses.pause().await;
            } else if !misses {
                pauses.reset();
            }
            missed = misses;
        }
    }

    async fn claim(&self) -> Result<Option<Claimed>, Failure> {
        // The same id with every retry: a lease whose answer was lost is found again.
        let request = pb::ClaimJobsRequest {
            request_id: Uuid::new_v4().to_string(),
            ..self.claim.clone()
        };
        let limit = self.wait + ANSWER_LIMIT;
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.claim_jobs(request).await }
        };
        let answer = self.calls.insist(limit, call).await?;
        let Some(claimed) = answer.jobs.into_iter().next() else {
            return Ok(None);
        };
        let job = claimed.job.ok_or_else(without_content)?;
        let mut held = self.held.borrow_mut();
        held.insert(job.job_id.clone(), claimed.lease_token.clone());
        Ok(Some(Claimed {
            job_id: job.job_id,
            lease_token: claimed.lease_token,
            article_id: job.article_id,
            source_language: claimed.article.ok_or_else(without_content)?.language,
            target_language: job.language,
            segments: claimed.segments,
        }))
    }

    /// Keeps a lease alive, and returns when it is lost.
    async fn keep(&self, claimed: &Claimed) {
        let period = self.lease / BEATS;
        let mut beats = interval_at(tokio::time::Instant::now() + period, period);
        loop {
            beats.tick().await;
            let request = pb::HeartbeatJobRequest {
                job_id: claimed.job_id.clone(),
                lease_token: claimed.lease_token.clone(),
                lease: self.claim.lease,
            };
            let call = |mut client: Client| async move { client.heartbeat_job(request).await };
            // A beat that does not get through is followed by the next one.
            if let Err(status) = self.calls.once(period, call).await
                && is_lost(&status)
            {
                return;
            }
        }
    }

    /// Translates the segments that a job wants. The inner error is the message of a text that the program failed on.
    async fn translate(&self, claimed: &Claimed) -> Result<Result<Translated, String>, Failure> {
        let started = Instant::now();
        let mut text = pb::TargetText::default();
        let mut characters = 0;
        let wanted = claimed.segments.iter().filter(|segment| segment.wanted);
        for source in wanted.filter_map(|segment| segment.source.as_ref()) {
            let id = &source.segment_id;
            match self.program.run(&source.text, &claimed.variables(source)).await {
                Ok(translated) => attach::put(&mut text, id.clone(), translated),
                Err(Trouble::Text(message)) => return Ok(Err(format!("{id}: {message}"))),
                Err(Trouble::Program(message)) => return Err(Failure::Failed(message)),
            }
            characters += source.text.chars().count() as u64;
        }
        let effort = pb::Effort {
            characters,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..pb::Effort::default()
        };
        Ok(Ok(Translated { text, effort }))
    }

    /// Sends the result. An expired lease stays valid until the job is claimed again, so no heartbeat is needed here.
    async fn complete(&self, claimed: &Claimed, result: Translated) -> Result<Ended, Failure> {
        let request = pb::CompleteJobRequest {
            job_id: claimed.job_id.clone(),
            lease_token: claimed.lease_token.clone(),
            result: Some(JobResult::Text(result.text)),
            agent: Some(self.agent.clone()),
            effort: Some(result.effort),
        };
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.complete_job(request).await }
        };
        match self.calls.insist(ANSWER_LIMIT, call).await {
            Ok(answer) => Ok(Ended::Done(Box::new(answer))),
            Err(status) if is_lost(&status) => Ok(Ended::Lost),
            Err(status) => self.fail(claimed, explain(&status)).await,
        }
    }

    /// Reports a failed attempt to the server.
    async fn fail(&self, claimed: &Claimed, mut message: String) -> Result<Ended, Failure> {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        let call = |mut client: Client| {
            let request = pb::FailJobRequest {
                job_id: claimed.job_id.clone(),
                lease_token: claimed.lease_token.clone(),
                message: message.clone(),
                ..pb::FailJobRequest::default()
            };
            async move { client.fail_job(request).await }
        };
        match self.calls.insist(ANSWER_LIMIT, call).await {
            Ok(answer) => {
                let job = answer.job.ok_or_else(without_content)?;
                Ok(Ended::Failed(Box::new(job), message))
            }
            Err(status) if is_lost(&status) => Ok(Ended::Lost),
            Err(status) => Err(status.into()),
        }
    }

    /// Releases the held jobs.
    pub(super) async fn release(&self) {
        let held = self.held.take();
        let all = async {
            for (job_id, lease_token) in &held {
                let request = pb::ReleaseJobRequest {
                    job_id: job_id.clone(),
                    lease_token: lease_token.clone(),
                };
                let call = |mut client: Client| async move { client.release_job(request).await };
                match self.calls.once(RELEASE_LIMIT, call).await {
                    Ok(_) => warn(&format!("released {job_id}")),
                    // The job was just completed, or another worker has it.
                    Err(status) if is_lost(&status) => {}
                    Err(status) => warn(&format!(
                        "{job_id} is not given back, and comes again when its lease ends: {}",
                        explain(&status)
                    )),
                }
            }
        };
        if timeout(RELEASE_LIMIT, all).await.is_err() {
            warn("not all jobs are given back; they come again when their leases end");
        }
    }

    fn report(&self, claimed: &Claimed, ended: &Ended) -> Result<(), Failure> {
        let mut printer = self.printer.borrow_mut();
        let job = match ended {
            Ended::Done(answer) => {
                if self.output == Output::Table {
                    printer.line(&terminal::line(&done(&claimed.job_id, answer)))?;
                }
                answer.job.as_ref()
            }
            Ended::Failed(job, message) => {
                self.failed.set(true);
                let state = jobs::state(job);
                warn(&format!("failed {}, now {state}: {message}", claimed.job_id));
                Some(&**job)
            }
            Ended::Lost => {
                warn(&format!("dropped {}: its lease was lost", claimed.job_id));
                None
            }
        };
        if let (Output::Json, Some(job)) = (self.output, job) {
            printer.message(job)?;
        }
        printer.flush()
    }
}

fn done(job_id: &str, answer: &pb::CompleteJobResponse) -> String {
    let next = match answer.next_job_id.as_str() {
        "" => String::new(),
        next => format!("; more is wanted: {next}"),
    };
    let outcome = format::word(answer.outcome().as_str_name(), "ATTACH_OUTCOME_");
    let result = match &answer.translation {
        Some(translation) => format!("{outcome} {}", format::translation(translation)),
        None => "nothing of it was wanted any more".to_owned(),
    };
    format!("done {job_id}: {result}{next}")
}

/// The name of a role for programs: `SEGMENT_ROLE_LIST_ITEM` is `list_item`.
fn role(role: pb::SegmentRole) -> String {
    let role = match role {
        pb::SegmentRole::Unspecified => pb::SegmentRole::Paragraph,
        role => role,
    };
    format::word(role.as_str_name(), "SEGMENT_ROLE_").replace(' ', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_words_for_programs() {
        assert_eq!(role(pb::SegmentRole::Unspecified), "paragraph");
        assert_eq!(role(pb::SegmentRole::ListItem), "list_item");
    }
}

//! `jobs`: requests translations, and lists, shows, cancels and retries jobs.

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;

use super::choices::{self, JobKind, JobState};
use super::client::{self, without_content};
use super::common_args::CommonArgs;
use super::output::{LimitArgs, Output, Printer};
use super::page::Page;
use super::{Failure, format, terminal, warn};
use crate::pb;

mod request;

#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// Request translations of articles.
    Request(Box<request::Request>),
    /// List jobs by article, language and kind.
    List(List),
    /// Show a job.
    Show(Show),
    /// Cancel jobs.
    Cancel(Step),
    /// Open dead or canceled jobs again.
    Retry(Step),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The newest job of each article, language and kind; of one article, earlier ones too as long as they are kept.

Examples:
  article-store jobs list --state dead
  article-store jobs list --article harbour --into fr
  article-store jobs list --state dead --all --output json | jq -r .jobId | xargs article-store jobs retry")]
pub(crate) struct List {
    #[command(flatten)]
    common: CommonArgs,
    /// Only jobs of this article.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    article: String,
    /// Only jobs into this language.
    #[arg(long, value_name = "TAG", default_value = "", hide_default_value = true)]
    into: String,
    /// Only jobs of this kind.
    #[arg(long, value_enum)]
    kind: Option<JobKind>,
    /// Only jobs in these states.
    #[arg(long, value_enum, value_name = "STATE,…", value_delimiter = ',')]
    state: Vec<JobState>,
    #[command(flatten)]
    limit: LimitArgs,
    /// The zone to show times in: an IANA name or an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = format::zone)]
    zone: TimeZone,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  article-store jobs show harbour/fr/mt/1")]
pub(crate) struct Show {
    /// The job's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The zone to show times in: an IANA name or an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = format::zone)]
    zone: TimeZone,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A canceled job's lease ends at once, and policies do not ask for the same texts again until `retry` does.

Examples:
  article-store jobs cancel harbour/fr/mt/1
  article-store jobs retry harbour/fr/mt/1 quay/fr/mt/2")]
pub(crate) struct Step {
    /// The ids of the jobs.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

impl Jobs {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Request(request) => request.run().await,
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Cancel(step) => step.run(Change::Cancel).await,
            Self::Retry(step) => step.run(Change::Retry).await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        /// How many jobs to ask for at a time.
        const PAGE_SIZE: i32 = 500;
        let mut client = self.common.server.jobs().await?;
        let request = pb::ListJobsRequest {
            article_id: self.article,
            language: self.into,
            kind: choices::number(self.kind),
            states: choices::numbers(&self.state),
            ..pb::ListJobsRequest::default()
        };
        let header = ["JOB", "STATE", "REV", "SEGMENTS", "PRIORITY", "TRIES", "NOTE"];
        let limit = self.limit.of_pages(PAGE_SIZE);
        let row = |job: &_| row(job, &self.zone);
        let list = self
            .common
            .output
            .list(limit, header, row, async |page_token, page_size| {
                let request = pb::ListJobsRequest {
                    page_token,
                    page_size,
                    ..request.clone()
                };
                let page = client.list_jobs(request).await?.into_inner();
                Ok((page.jobs, page.next_page_token))
            });
        list.await
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let mut client = self.common.server.jobs().await?;
        let answer = client.get_job(pb::GetJobRequest { job_id: self.id }).await?;
        let job = answer.into_inner().job.ok_or_else(without_content)?;
        self.common.output.page(&job, || page(&job, &self.zone))
    }
}

/// A change of the state of single jobs.
#[derive(Debug, Clone, Copy)]
enum Change {
    Cancel,
    Retry,
}

impl Step {
    async fn run(self, change: Change) -> Result<(), Failure> {
        let mut client = self.common.server.jobs().await?;
        let mut printer = Printer::new();
        let mut failed = false;
        for id in self.ids {
            let job_id = id.clone();
            let answer = match change {
                Change::Cancel => client
                    .cancel_job(pb::CancelJobRequest { job_id })
                    .await
                    .map(|answer| answer.into_inner().job),
                Change::Retry => client
                    .retry_job(pb::RetryJobRequest { job_id })
                    .await
                    .map(|answer| answer.into_inner().job),
            };
            match answer {
                Ok(job) => {
                    let job = job.ok_or_else(without_content)?;
                    match self.common.output.output {
                        Output::Json => printer.message(&job)?,
                        Output::Table => {
                            printer.line(&terminal::line(&format!("{} {}", state(&job), job.job_id)))?;
                        }
                    }
                }
                Err(status) => {
                    failed = true;
                    warn(&format!("{id}: {}", client::explain(&status)));
                }
            }
        }
        printer.flush()?;
        if failed { Err(Failure::Reported) } else { Ok(()) }
    }
}

/// The state of a job in a word.
pub(crate) fn state(job: &pb::TranslationJob) -> String {
    format::word(job.state().as_str_name(), "JOB_STATE_")
}

/// A kind of work in a word.
pub(crate) fn kind(kind: pb::JobKind) -> String {
    format::word(kind.as_str_name(), "JOB_KIND_")
}

fn row(job: &pb::TranslationJob, zone: &TimeZone) -> [String; 7] {
    [
        job.job_id.clone(),
        state(job),
        job.source_revision.to_string(),
        job.segment_ids.len().to_string(),
        job.priority.to_string(),
        format!("{}/{}", job.attempts, job.max_attempts),
        note(job, zone),
    ]
}

/// The note of a job: the time it waits for, its worker, or its result.
fn note(job: &pb::TranslationJob, zone: &TimeZone) -> String {
    let at = |time| format::timestamp_in(time, zone);
    let mut notes = Vec::new();
    match job.state() {
        pb::JobState::Leased => notes.push(format!(
            "{} until {}",
            job.worker,
            at(job.lease_expire_time.as_ref())
        )),
        pb::JobState::Pending if job.not_before.is_some() => {
            notes.push(format!("not before {}", at(job.not_before.as_ref())));
        }
        pb::JobState::Done => notes.push(format!("{}/{}", job.language, job.translation_id)),
        _ => {}
    }
    if let (pb::JobState::Pending | pb::JobState::Leased, Some(deadline)) = (job.state(), &job.deadline) {
        notes.push(format!("due {}", at(Some(deadline))));
    }
    if let (pb::JobState::Pending | pb::JobState::Dead, Some(failure)) = (job.state(), &job.last_failure) {
        notes.push(format!("failed: {}", failure.message));
    }
    notes.join("; ")
}

fn page(job: &pb::TranslationJob, zone: &TimeZone) -> String {
    let at = |time| format::timestamp_in(time, zone);
    let mut page = Page::new();
    page.labelled("job", &job.job_id);
    page.labelled("state", &state(job));
    page.labelled(
        "article",
        &format!("{}, revision {}", job.article_id, job.source_revision),
    );
    page.labelled("into", &job.language);
    page.labelled("kind", &kind(job.kind()));
    page.labelled("segments", &job.segment_ids.join(" "));
    page.labelled("priority", &job.priority.to_string());
    page.labelled("tries", &format!("{} of {}", job.attempts, job.max_attempts));
    page.labelled("not before", &at(job.not_before.as_ref()));
    page.labelled("deadline", &at(job.deadline.as_ref()));
    if job.state() == pb::JobState::Leased {
        let until = at(job.lease_expire_time.as_ref());
        page.labelled("worker", &format!("{}, until {until}", job.worker));
    }
    if let Some(failure) = &job.last_failure {
        page.labelled("failed", &failure.message);
        let time = at(failure.time.as_ref());
        page.labelled("", &format!("{}, {time}", failure.worker));
    }
    if !job.translation_id.is_empty() {
        page.labelled("result", &format!("{}/{}", job.language, job.translation_id));
    }
    page.labelled("policy", &job.policy_id);
    page.labelled("asked by", &job.principal);
    page.labelled("opened", &at(job.create_time.as_ref()));
    page.labelled("changed", &at(job.update_time.as_ref()));
    page.text
}

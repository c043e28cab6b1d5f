//! `work`: claims jobs and has any program translate their segments.
//!
//! A lane works on one job at a time: claim, translate, complete. While it does, a heartbeat keeps its lease. Whatever
//! ends the command, jobs that are still held are released.

mod calls;
mod program;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use futures::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval_at, timeout};
use uuid::Uuid;

use self::calls::{ANSWER_LIMIT, Calls, Client, Pauses, is_lost};
use self::program::{Program, Trouble};
use super::choices::AgentKind;
use super::client::{explain, without_content};
use super::common_args::CommonArgs;
use super::duration::duration;
use super::jobs;
use super::output::{Output, Printer};
use super::step_args::AgentArgs;
use super::{Failure, format, terminal, warn};
use crate::pb;
use crate::pb::complete_job_request::Result as JobResult;

/// The default wait for a job; the server's limit is a minute.
const WAIT: Duration = Duration::from_secs(30);
/// The shortest wait of a worker that runs on when there is no job: without it the worker would poll continuously.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// How often in a lease it is prolonged.
const BEATS: u32 = 3;
/// How long releasing all jobs may take at the end.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// The waits between jobs that fail one after the other: it may be the program, and others could do them.
const MISS_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// What a message of a failed job may have, in bytes.
const MAX_MESSAGE: usize = 1_024;

/// The arguments of `work`.
#[derive(Debug, Args)]
#[command(mut_arg("agent", |arg| arg.help("What does the work [default: that of --kind]")), after_help = "\
The program is run by `sh -c` for every paragraph that is wanted: the text comes on standard input, its translation is \
read from standard output. It finds SOURCE_LANGUAGE, TARGET_LANGUAGE, ARTICLE_ID, SEGMENT_ID (`title`, `lead`, `s1`…), \
ROLE (`title`, `paragraph`, `quote`…) and JOB_ID in its environment. Marks such as links are not part of the text. When \
it fails or writes nothing, the job fails with the last line of its standard error, and is tried again later.

A server that goes away is waited for. A signal (ctrl-c) gives back the jobs that are not done.

Five lines connect an engine:
  article-store serve &
  article-store import page.txt --id harbour --language en
  article-store jobs request harbour --into es --kind mt
  article-store work --from en --into es --command 'apertium -u eng-spa' --once
  article-store get harbour --translation es

Examples:
  article-store work --from en --into es --command 'apertium -u eng-spa' --engine apertium --model eng-spa
  article-store work --kind llm --into fr --command ./translate.sh --model small-7b --lease 20m --max 4
  article-store policy put spanish --from en --into es --kind mt       and there is always something to do")]
pub(crate) struct Work {
    #[command(flatten)]
    common: CommonArgs,
    /// The program, a command line of the shell.
    #[arg(long, value_name = "COMMAND")]
    command: String,
    /// Only jobs from these languages.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    from: Vec<String>,
    /// Only jobs into these languages.
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    into: Vec<String>,
    /// What kind of work the program does.
    #[arg(long, value_enum, default_value_t = Kind::Mt)]
    kind: Kind,
    /// How many jobs to work on at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    max: u16,
    /// Stop when there is no job left. The exit code is 1 when one has failed.
    #[arg(long)]
    once: bool,
    /// The longest time of the program for a paragraph.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    limit: Duration,
    /// The lease of a job; heartbeats prolong it while the program runs.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    lease: Duration,
    /// How long to wait for a job at a time, up to 1m [default: 30s; not at all with --once].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// The name of this worker, shown with the job [default: the machine and the process].
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

/// The kinds of work that a program can do.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A translation by an engine.
    Mt,
    /// A translation by a large language model.
    Llm,
}

impl Work {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let worker = self.worker().await?;
        let lanes = try_join_all((0..worker.lanes).map(|_| worker.lane()));
        let ended = tokio::select! {
            ended = lanes => ended.map(drop),
            stopped = stopped() => stopped,
        };
        // The lanes are gone, and their programs with them.
        worker.release().await;
        ended?;
        if worker.once && worker.failed.get() {
            return Err(Failure::Reported);
        }
        Ok(())
    }

    async fn worker(self) -> Result<Worker, Failure> {
        let (job_kind, agent_kind) = match self.kind {
            Kind::Mt => (pb::JobKind::Mt, AgentKind::Mt),
            Kind::Llm => (pb::JobKind::Llm, AgentKind::Llm),
        };
        let wait = match (self.wait, self.once) {
            (None, true) => Duration::ZERO,
            (None, false) => WAIT,
            (Some(wait), true) => wait,
            (Some(wait), false) => wait.max(SHORTEST_WAIT),
        };
        // A claim may wait for its answer as long as it waits for a job.
        let mut server = self.common.server;
        server.timeout += wait;
        let mut agent = self.agent.message_or(agent_kind);
        if agent.tool.is_empty() {
            agent.tool = "article-store work".into();
        }
        Ok(Worker {
            calls: Calls::new(server.jobs().await?),
            claim: pb::ClaimJobsRequest {
                pairs: pairs(&self.from, &self.into),
                kinds: vec![job_kind.into()],
                max_jobs: 1,
                lease: Some(message(self.lease)?),
                wait: Some(message(wait)?),
                worker: self.worker.unwrap_or_else(this_process),
                ..pb::ClaimJobsRequest::default()
            },
            lanes: self.max,
            lease: self.lease,
            wait,
            once: self.once,
            agent,
            program: Program {
                command: self.command,
                limit: self.limit,
            },
            output: self.common.output.output,
            printer: RefCell::new(Printer::new()),
            held: RefCell::default(),
            failed: Cell::new(false),
        })
    }
}

/// All pairs of some languages, any where there are none.
fn pairs(from: &[String], into: &[String]) -> Vec<pb::LanguagePair> {
    let any = [String::new()];
    let side = |languages| {
        if <[String]>::is_empty(languages) {
            &any[..]
        } else {
            languages
        }
    };
    if from.is_empty() && into.is_empty() {
        return Vec::new();
    }
    let pair = |source: &String, target: &String| pb::LanguagePair {
        source_language: source.clone(),
        target_language: target.clone(),
    };
    side(from)
        .iter()
        .flat_map(|source| side(into).iter().map(move |target| pair(source, target)))
        .collect()
}

fn message(duration: Duration) -> Result<prost_types::Duration, Failure> {
    prost_types::Duration::try_from(duration).map_err(|error| Failure::Usage(error.to_string()))
}

/// The machine and the process, such as `mill-2/4711`.
fn this_process() -> String {
    let system = rustix::system::uname();
    format!("{}/{}", system.nodename().to_string_lossy(), std::process::id())
}

/// Returns at the first signal to stop.
async fn stopped() -> Result<(), Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be received: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What all lanes share.
struct Worker {
    calls: Calls,
    claim: pb::ClaimJobsRequest,
    lanes: u16,
    lease: Duration,
    wait: Duration,
    once: bool,
    agent: pb::Agent,
    program: Program,
    output: Output,
    printer: RefCell<Printer>,
    /// The tokens of the leases that are held, by job.
    held: RefCell<BTreeMap<String, String>>,
    /// Whether a job has failed.
    failed: Cell<bool>,
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

/// What a job is completed with.
struct Translated {
    text: pb::TargetText,
    effort: pb::Effort,
}

/// How a job ended for this worker.
enum Ended {
    Done(Box<pb::CompleteJobResponse>),
    Failed(Box<pb::TranslationJob>, String),
    /// Another worker has it, or it was canceled.
    Lost,
}

impl Claimed {
    /// What the program finds in its environment.
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
    /// Works on job after job.
    async fn lane(&self) -> Result<(), Failure> {
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

    /// Translates what a job wants; answers what went wrong with a text if it did.
    async fn translate(&self, claimed: &Claimed) -> Result<Result<Translated, String>, Failure> {
        let started = Instant::now();
        let mut text = pb::TargetText::default();
        let mut characters = 0;
        let wanted = claimed.segments.iter().filter(|segment| segment.wanted);
        for source in wanted.filter_map(|segment| segment.source.as_ref()) {
            let id = &source.segment_id;
            match self.program.run(&source.text, &claimed.variables(source)).await {
                Ok(translated) => put(&mut text, id, translated),
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

    /// Says that the attempt failed.
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
    async fn release(&self) {
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
                    // The work was just taken, or went to another.
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

fn put(target: &mut pb::TargetText, id: &str, text: String) {
    let segment = pb::TargetSegment {
        text,
        ..pb::TargetSegment::default()
    };
    match id {
        "title" => target.title = Some(segment),
        "lead" => target.lead = Some(segment),
        _ => target.body.push(pb::TargetSegment {
            segment_id: id.to_owned(),
            ..segment
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_make_all_pairs() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let named = |from: &[&str], into: &[&str]| {
            let pairs = pairs(&tags(from), &tags(into)).into_iter();
            pairs
                .map(|pair| format!("{}>{}", pair.source_language, pair.target_language))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            named(&["en", "ar"], &["es", "fr"]),
            ["en>es", "en>fr", "ar>es", "ar>fr"]
        );
        assert_eq!(named(&["en"], &[]), ["en>"]);
        assert_eq!(named(&[], &["es"]), [">es"]);
        assert!(named(&[], &[]).is_empty());
    }

    #[test]
    fn roles_are_words_for_programs() {
        assert_eq!(role(pb::SegmentRole::Unspecified), "paragraph");
        assert_eq!(role(pb::SegmentRole::ListItem), "list_item");
    }
}

//! `work`: claims jobs and has any program translate their segments.
//!
//! A lane works on one job at a time: claim, translate, complete. While it does, a heartbeat keeps its lease. Whatever
//! ends the command, jobs that are still held are released.

mod calls;
mod program;
mod worker;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::future::try_join_all;
use tokio::signal::unix::{SignalKind, signal};

use self::calls::Calls;
use self::program::Program;
use self::worker::Worker;
use super::Failure;
use super::choices::AgentKind;
use super::common_args::CommonArgs;
use super::duration::duration;
use super::output::Printer;
use super::step_args::AgentArgs;
use crate::pb;

/// The default wait for a job; the server's limit is a minute.
const WAIT: Duration = Duration::from_secs(30);
/// The shortest wait of a worker that runs on when there is no job: without it the worker would poll continuously.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

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

/// The kinds of work of a program.
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
}

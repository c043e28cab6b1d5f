//! The command line: one file per subcommand, and shared modules. Commands call a server over gRPC, run one, or work on a
//! store whose server is stopped.
//!
//! Exit codes: 0 done, 1 failed, 2 usage. Results go to standard output, everything else to standard error.

mod attach;
mod backup;
mod check;
mod choices;
mod client;
mod common_args;
mod compact;
mod copy;
mod coverage;
mod credentials;
mod diff;
mod duration;
mod environment;
mod export;
mod format;
mod get;
mod health;
mod import;
mod jobs;
mod json;
mod list;
mod output;
mod page;
mod policy;
mod provenance;
mod publication;
mod purge;
mod reading;
mod restore;
mod scores;
mod serve;
mod status;
mod step;
mod step_args;
mod store_target;
mod terminal;
mod token;
mod watch;
mod work;

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

/// Stores news articles, lists them by date, and binds every translation to the exact source text it was made from.
#[derive(Debug, Parser)]
#[command(version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

const HELP: &str = "\
Examples:
  article-store serve
  article-store import page.txt --id harbour
  article-store list --from 2022-05-10 --to 2022-05-11 --zone Africa/Casablanca
  article-store get harbour
  article-store attach harbour --language en --revision 1 --file en.txt --agent human
  article-store scores harbour --language en --measure
  article-store jobs request --missing es --into es --kind mt
  article-store work --from en --into es --command 'apertium -u eng-spa'
  article-store backup articles.backup

Every option can be set in the environment too: --server is ARTICLE_STORE_SERVER, --output is ARTICLE_STORE_OUTPUT, \
--token-file is ARTICLE_STORE_TOKEN_FILE (and the token itself can be in ARTICLE_STORE_TOKEN), options of serve follow the same rule, and those of other commands name the command (`list --zone` is \
ARTICLE_STORE_LIST_ZONE, `jobs request --into` is ARTICLE_STORE_JOBS_REQUEST_INTO).

Exit codes: 0 done, 1 failed, 2 usage.";

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run the server.
    Serve(serve::Serve),
    /// Create or revise articles from files.
    Import(import::Import),
    /// Read an article, or a translation of it.
    Get(get::Get),
    /// Show what changed between two revisions of an article.
    Diff(diff::Diff),
    /// List articles by date.
    List(list::List),
    /// Count translated and missing articles, by day or month.
    Coverage(coverage::Coverage),
    /// Attach a translation to an article.
    Attach(attach::Attach),
    /// Withhold an article, release it, or set its embargo.
    Publication(publication::Publication),
    /// Erase an article for good.
    Purge(purge::Purge),
    /// List, add or measure the quality of a translation.
    Scores(scores::Scores),
    /// Bring a translation, or paragraphs of it, to a state.
    Review(step::Review),
    /// Choose the translation that is served in a language.
    Select(step::Select),
    /// Reject a translation for good.
    Reject(step::Reject),
    /// Declare that a translation is still true although the source changed.
    Ack(step::Ack),
    /// List every step that was taken on the translations into a language.
    Provenance(provenance::Provenance),
    /// Request translations, and list, show, cancel or retry jobs.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Manage the policies that open jobs automatically.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Run a translation program as a worker of jobs.
    Work(work::Work),
    /// Stream all articles as JSON, one object a line.
    Export(export::Export),
    /// Follow the change feed, one line a change.
    Watch(watch::Watch),
    /// Ask whether the server is serving.
    Health(health::Health),
    /// Show amounts, sizes, and what should be done.
    Status(status::Status),
    /// Check every record, and report damage and contradictions.
    Check(check::Check),
    /// Write a backup file, while the server serves.
    Backup(backup::Backup),
    /// Make a store from a backup.
    Restore(restore::Restore),
    /// Compact the store: give back unused space.
    Compact(compact::Compact),
    /// Copy a store to another directory.
    Copy(copy::Copy),
    /// Create a token for a caller.
    Token(token::Token),
}

/// The failure of a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong in a way that its grammar does not show.
    Usage(String),
    /// The reason. Any text: it is made safe for the terminal when it is printed.
    Failed(String),
    /// The reason is already printed.
    Reported,
    /// The reader of the output closed the pipe. This is no error.
    Unread,
}

impl Failure {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    pub(crate) fn from_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::failed(format!("the output cannot be written: {error}")),
        }
    }

    fn exit(&self) -> ExitCode {
        match self {
            Self::Usage(text) => {
                warn(&format!("error: {text}\n\nFor more information, try '--help'."));
                ExitCode::from(2)
            }
            Self::Failed(text) => {
                warn(&format!("error: {text}"));
                ExitCode::FAILURE
            }
            Self::Reported => ExitCode::FAILURE,
            Self::Unread => ExitCode::SUCCESS,
        }
    }
}

/// Prints lines on standard error, made safe for terminals. A failure to print is ignored.
pub(crate) fn warn(text: &str) {
    for line in text.split('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        drop(writeln!(io::stderr(), "{:indent$}{}", "", terminal::line(line)));
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let command = command();
    let matches = command.clone().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    if let Err(failure) = environment::check(&command, names) {
        return failure.exit();
    }
    let done = match cli.command {
        Sub::Serve(serve) => serve.run(&configuration(&command, &matches)),
        Sub::Import(import) => client(import.run()),
        Sub::Get(get) => client(get.run()),
        Sub::Diff(diff) => client(diff.run()),
        Sub::List(list) => client(list.run()),
        Sub::Coverage(coverage) => client(coverage.run()),
        Sub::Attach(attach) => client(attach.run()),
        Sub::Publication(publication) => client(publication.run()),
        Sub::Purge(purge) => client(purge.run()),
        Sub::Scores(scores) => client(scores.run()),
        Sub::Review(review) => client(review.run()),
        Sub::Select(select) => client(select.run()),
        Sub::Reject(reject) => client(reject.run()),
        Sub::Ack(ack) => client(ack.run()),
        Sub::Provenance(provenance) => client(provenance.run()),
        Sub::Jobs(jobs) => client(jobs.run()),
        Sub::Policy(policy) => client(policy.run()),
        Sub::Work(work) => client(work.run()),
        Sub::Export(export) => client(export.run()),
        Sub::Watch(watch) => client(watch.run()),
        Sub::Health(health) => client(health.run()),
        Sub::Status(status) => client(status.run()),
        Sub::Check(check) => client(check.run()),
        Sub::Backup(backup) => client(backup.run()),
        Sub::Restore(restore) => client(restore.run()),
        Sub::Compact(compact) => client(compact.run()),
        Sub::Copy(copy) => client(copy.run()),
        Sub::Token(token) => token.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

/// The options of `serve`, each with its source.
fn configuration(command: &Command, matches: &ArgMatches) -> serve::Configuration {
    let serve = command
        .find_subcommand("serve")
        .zip(matches.subcommand_matches("serve"));
    serve
        .map(|(command, matches)| serve::Configuration::of(command, matches))
        .unwrap_or_default()
}

/// Runs a client command on this thread.
fn client(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the client cannot start: {error}")))?;
    let done = runtime.block_on(command);
    // A blocked read of the terminal would keep the process alive.
    runtime.shutdown_background();
    done
}

fn command() -> Command {
    Cli::command().mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        with_variables(&name, command)
    })
}

/// Gives all options of a command and its subcommands their environment variables.
fn with_variables(name: &str, command: Command) -> Command {
    let command = command.mut_args(|arg| with_variable(name, arg));
    command.mut_subcommands(|sub| {
        let name = format!("{name}_{}", sub.get_name());
        with_variables(&name, sub)
    })
}

/// Gives an option its environment variable.
fn with_variable(command: &str, arg: Arg) -> Arg {
    let Some(long) = arg.get_long().filter(|_| !arg.is_hide_set()) else {
        return arg;
    };
    let common = command == "serve" || arg.get_help_heading() == Some(client::HEADING);
    let name = if common {
        long.to_owned()
    } else {
        format!("{command}_{long}")
    };
    let variable = format!("{}{}", environment::PREFIX, name.replace('-', "_").to_uppercase());
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
        _ => arg,
    };
    arg.env(variable).hide_env(!common).hide_env_values(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound_and_every_option_has_a_variable_of_its_own() {
        let mut command = command();
        command.build();
        command.clone().debug_assert();
        let subs = command.get_subcommands().flat_map(|sub| {
            let under: Vec<_> = sub.get_subcommands().collect();
            if under.is_empty() { vec![sub] } else { under }
        });
        for sub in subs.filter(|sub| sub.get_name() != "help") {
            let mut variables: Vec<_> = sub
                .get_arguments()
                .filter(|arg| arg.get_long().is_some_and(|long| long != "help") && !arg.is_hide_set())
                .map(|arg| arg.get_env().expect("a variable").to_owned())
                .collect();
            let all = variables.len();
            variables.sort_unstable();
            variables.dedup();
            assert_eq!(variables.len(), all, "{}", sub.get_name());
        }
    }
}

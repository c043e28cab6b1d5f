//! `jobs request`: opens jobs for articles, by their ids or by what `list` selects.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use prost_types::Timestamp;

use crate::api::ANSWERS_A_CALL;
use crate::cli::choices::{self, JobKind};
use crate::cli::common_args::CommonArgs;
use crate::cli::list::QueryArgs;
use crate::cli::output::{Output, Printer, each_page};
use crate::cli::terminal::{Table, terminal_width};
use crate::cli::{Failure, format, warn};
use crate::pb;
use crate::pb::request_translations_request::Selection;

/// The limit of ids in a call.
const MAX_IDS: usize = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "\
The articles are given by their ids, or by the options of `list`; --all alone means every article. What is wanted already \
has its job, and what is there needs none: asking again is safe. With --output json, a line is the RequestedJob of an \
article, language and kind.

Examples:
  article-store jobs request harbour quay --into fr,es --kind mt
  article-store jobs request --todo es --into es --kind mt --priority 4
  article-store jobs request --section economy --from 2022-05-10 --into en --kind human --deadline 2022-05-12T06:00:00Z")]
pub(crate) struct Request {
    /// The ids of the articles.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// The languages to translate into. An article's own language is passed over.
    #[arg(long, required = true, value_name = "TAG,…", value_delimiter = ',')]
    into: Vec<String>,
    /// The kinds of work.
    #[arg(
        long,
        required = true,
        value_enum,
        value_name = "KIND,…",
        value_delimiter = ','
    )]
    kind: Vec<JobKind>,
    #[command(flatten)]
    options: JobOptionsArgs,
    #[command(flatten)]
    query: QueryArgs,
    /// All articles that the other options leave.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct JobOptionsArgs {
    /// How urgent they are, from 1 (at once) to 4 (when there is time).
    #[arg(long, value_name = "1-4", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=4))]
    priority: u32,
    /// When they should be done.
    #[arg(long, value_name = "TIME", value_parser = format::instant)]
    deadline: Option<Timestamp>,
    /// When they may be worked on first.
    #[arg(long, value_name = "TIME", value_parser = format::instant)]
    not_before: Option<Timestamp>,
    /// How often each may be tried.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    max_attempts: u32,
}

impl Request {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match (self.ids.is_empty(), self.all || self.query.narrows()) {
            (true, false) => {
                return Err(Failure::Usage(
                    "name the articles by their ids or by options of `list`, or take --all of them".into(),
                ));
            }
            (false, true) => {
                return Err(Failure::Usage(
                    "articles are named by their ids or by options of `list`, not by both".into(),
                ));
            }
            _ => {}
        }
        let mut client = self.common.server.jobs().await?;
        let request = pb::RequestTranslationsRequest {
            languages: self.into,
            kinds: choices::numbers(&self.kind),
            options: Some(pb::JobOptions {
                priority: self.options.priority,
                not_before: self.options.not_before,
                deadline: self.options.deadline,
                max_attempts: self.options.max_attempts,
            }),
            ..pb::RequestTranslationsRequest::default()
        };
        let selections = if self.ids.is_empty() {
            vec![Selection::Query(self.query.message()?)]
        } else {
            let keys = request.languages.len() * request.kinds.len();
            let at_once = (ANSWERS_A_CALL / keys.max(1)).clamp(1, MAX_IDS);
            let ids = self.ids.chunks(at_once).map(<[String]>::to_vec);
            ids.map(|article_ids| Selection::Articles(pb::ArticleSelection { article_ids }))
                .collect()
        };
        let mut report = Report::new(self.common.output.output);
        for selection in selections {
            each_page(async |page_token| {
                let request = pb::RequestTranslationsRequest {
                    selection: Some(selection.clone()),
                    page_token,
                    ..request.clone()
                };
                let page = client.request_translations(request).await?.into_inner();
                report.add(&page.jobs)?;
                Ok(page.next_page_token)
            })
            .await?;
        }
        report.finish(!self.ids.is_empty())
    }
}

/// Prints the outcomes of a request: each answer, or the number of each outcome.
struct Report {
    output: Output,
    printer: Printer,
    counts: BTreeMap<(String, pb::JobKind), [u64; 6]>,
    /// The articles that are not there.
    missing: BTreeSet<String>,
    /// How many jobs a full article could not take, and the first refusal.
    refused: u64,
    refusal: String,
}

/// The outcomes in the order of [`Report::counts`].
const OUTCOMES: [pb::RequestOutcome; 6] = [
    pb::RequestOutcome::Opened,
    pb::RequestOutcome::AlreadyOpen,
    pb::RequestOutcome::NothingWanted,
    pb::RequestOutcome::SourceWithheld,
    pb::RequestOutcome::ArticleNotFound,
    pb::RequestOutcome::ArticleFull,
];

impl Report {
    fn new(output: Output) -> Self {
        Self {
            output,
            printer: Printer::new(),
            counts: BTreeMap::new(),
            missing: BTreeSet::new(),
            refused: 0,
            refusal: String::new(),
        }
    }

    fn add(&mut self, jobs: &[pb::RequestedJob]) -> Result<(), Failure> {
        for job in jobs {
            let counts = self.counts.entry((job.language.clone(), job.kind())).or_default();
            let outcomes = OUTCOMES.iter().zip(counts);
            for (_, count) in outcomes.filter(|(outcome, _)| **outcome == job.outcome()) {
                *count += 1;
            }
            if job.outcome() == pb::RequestOutcome::ArticleNotFound {
                self.missing.insert(job.article_id.clone());
            }
            if job.outcome() == pb::RequestOutcome::ArticleFull {
                self.refused += 1;
                if self.refusal.is_empty() {
                    self.refusal.clone_from(&job.refusal);
                }
            }
            if self.output == Output::Json {
                self.printer.message(job)?;
            }
        }
        self.printer.flush()
    }

    /// Ends the report. Articles that were named and are not there, or that are full, make the command fail.
    fn finish(mut self, named: bool) -> Result<(), Failure> {
        let mut table = Table::new(&[
            "INTO",
            "KIND",
            "OPENED",
            "ALREADY OPEN",
            "NOTHING WANTED",
            "WITHHELD",
            "NOT FOUND",
            "FULL",
        ]);
        for ((language, kind), counts) in &self.counts {
            let cells = [language.clone(), super::kind(*kind)].into_iter();
            table.row(cells.chain(counts.iter().map(u64::to_string)));
        }
        if self.output == Output::Table {
            self.printer.text(&table.take(terminal_width()))?;
        }
        self.printer.flush()?;
        if named && !self.missing.is_empty() {
            let missing: Vec<_> = self.missing.into_iter().collect();
            warn(&format!("there is no article {}", missing.join(", ")));
            return Err(Failure::Reported);
        }
        if self.refused > 0 {
            warn(&format!(
                "{} jobs were not opened: {}",
                self.refused, self.refusal
            ));
            return Err(Failure::Reported);
        }
        Ok(())
    }
}

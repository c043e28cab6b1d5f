//! `import`: articles from files, with a result for each.
//!
//! A thread reads and encodes; its channels are bounded, so the files are read no faster than the store writes.
//! Results are printed in the order of the input, those of items that were never sent among them.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use prost::Message;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use self::source::{Format, Item, Reading};
use super::common_args::CommonArgs;
use super::output::{Output, Printer};
use super::{Failure, format, json, terminal, warn};
use crate::api::MESSAGE_BYTES;
use crate::api::codec::ImportArticlesRequest;
use crate::api::render;
use crate::api::status::code_name;
use crate::domain::language::Language;
use crate::exchange::jsonl::FieldMap;
use crate::exchange::{Defaults, Document};
use crate::pb;
use crate::pb::ImportResult;

mod source;

/// Items that are read ahead of the connection.
const READ_AHEAD: usize = 64;
/// Items whose results are still to be printed. More than server and network hold, so that it never is the limit.
const UNANSWERED: usize = 16_384;
/// The most bytes that an item's number and tags take in its message.
const FRAME_OVERHEAD: usize = 64;
/// How often results appear on a terminal beside the progress bar.
const SHOW_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(after_help = "\
An article that is there already is revised: it is found by its id, then by guid, then by URL. Lines of JSON name them \
with --map; a page has none of its own, so give it one with --id or --id-from-name to import it again later.

With --output json, a line is the ImportArticlesResponse of an item, with its `place` in the input and `notes` beside \
the message's own fields.

Fields of --map: id, title, lead, body, section, publisher, canonical_url, guid, published, updated, language, authors.

Examples:
  article-store import page.txt --id harbour
  article-store import pages/*.txt --id-from-name --publisher 'Harbour Post' --zone Africa/Casablanca
  article-store import news.jsonl --map id=docno,title=title,body=text,published=time
  xz -dc news.jsonl.xz | article-store import - --language ar --output json > results.jsonl")]
pub(crate) struct Import {
    /// Files to read; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// The format of the files [default: detected for each file].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which key of a line holds which field; without it, each field has the key of its own name.
    #[arg(long, value_name = "FIELD=KEY,…")]
    map: Option<FieldMap>,
    /// The language of articles that do not name theirs [default: detected].
    #[arg(long, value_name = "TAG", value_parser = Language::parse)]
    language: Option<Language>,
    /// The publisher of articles that do not name theirs.
    #[arg(long, default_value = "", hide_default_value = true)]
    publisher: String,
    /// The zone of dates that name no offset.
    #[arg(long, default_value = "UTC", value_parser = format::zone)]
    zone: TimeZone,
    /// The id of the article; for a single page.
    #[arg(long, conflicts_with = "id_from_name")]
    id: Option<String>,
    /// Use the names of the files, without extension, as ids of their pages.
    #[arg(long)]
    id_from_name: bool,
}

/// The report of an item that waits for its answer.
struct Pending {
    place: String,
    notes: Vec<String>,
    /// The answer of an item that was not sent.
    answer: Option<pb::ImportArticlesResponse>,
}

impl Import {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let started = Instant::now();
        let reading = self.reading()?;
        let mut client = self.common.server.articles().await?;
        let bar = progress_bar(&self.paths);
        let (items, sent) = mpsc::channel(READ_AHEAD);
        let (pending, mut unanswered) = mpsc::channel(UNANSWERED);
        let (paths, read_bar) = (self.paths, bar.clone());
        tokio::task::spawn_blocking(move || read_all(&paths, &reading, &read_bar, &pending, &items));
        let mut answers = client
            .import_articles(ReceiverStream::new(sent))
            .await?
            .into_inner();

        let mut report = Report::new(self.common.output.output, bar);
        while let Some(item) = unanswered.recv().await {
            let answer = match item.answer.clone() {
                Some(answer) => answer,
                None => match answers.message().await {
                    Ok(Some(answer)) => answer,
                    broken => {
                        report.finish(started)?;
                        warn(&format!(
                            "no answer to {} and what follows it: import it again",
                            item.place
                        ));
                        let end = || Failure::failed("the server ended the stream");
                        return Err(broken.err().map_or_else(end, Failure::from));
                    }
                },
            };
            report.add(&item, &answer)?;
        }
        report.finish(started)
    }

    fn reading(&self) -> Result<Reading, Failure> {
        if self.id.is_some() && (self.paths.len() > 1 || self.format == Some(Format::Jsonl)) {
            return Err(Failure::Usage(
                "--id names a single page; use --id-from-name, or --map id=KEY".into(),
            ));
        }
        Ok(Reading {
            format: self.format.or(self.id.as_ref().map(|_| Format::Page)),
            map: self.map.clone().unwrap_or_default(),
            defaults: Defaults {
                publisher: self.publisher.clone(),
                language: self.language.clone(),
                zone: self.zone.clone(),
            },
            id: self.id.clone(),
            id_from_name: self.id_from_name,
        })
    }
}

/// Reads all inputs, until the receiver is gone.
fn read_all(
    paths: &[PathBuf],
    reading: &Reading,
    bar: &ProgressBar,
    pending: &mpsc::Sender<Pending>,
    items: &mpsc::Sender<ImportArticlesRequest>,
) {
    let mut each = |item| {
        let (item, request) = encode(item);
        // The item is announced before it is sent, so that every answer finds its item.
        let told = pending.blocking_send(item).is_ok();
        if told && request.is_none_or(|request| items.blocking_send(request).is_ok()) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    for path in paths {
        let counted = |input| -> Box<dyn io::Read> { Box::new(bar.wrap_read(input)) };
        if source::read(path, reading, counted, &mut each).is_break() {
            return;
        }
    }
}

/// The request for an item, or its answer if it cannot be sent.
fn encode(item: Item) -> (Pending, Option<ImportArticlesRequest>) {
    let mut pending = Pending {
        place: item.place,
        notes: Vec::new(),
        answer: None,
    };
    let article = item.document.and_then(|mut document| {
        pending.notes = std::mem::take(&mut document.notes);
        let encoded = article(document).encode_to_vec();
        if encoded.len() + FRAME_OVERHEAD > MESSAGE_BYTES {
            return Err(format!(
                "an article of {} bytes is larger than the {MESSAGE_BYTES} that can be sent",
                encoded.len()
            ));
        }
        Ok(encoded)
    });
    match article {
        Ok(article) => {
            let request = ImportArticlesRequest {
                item: item.number,
                article: Some(article.into()),
                significance: pb::Significance::Unspecified.into(),
            };
            (pending, Some(request))
        }
        Err(message) => {
            let error = pb::ItemError {
                code: Code::InvalidArgument.into(),
                message,
                ..pb::ItemError::default()
            };
            pending.answer = Some(pb::ImportArticlesResponse {
                item: item.number,
                result: ImportResult::Failed.into(),
                error: Some(error),
                ..pb::ImportArticlesResponse::default()
            });
            (pending, None)
        }
    }
}

fn article(document: Document) -> pb::Article {
    let segment = |text: String| pb::Segment {
        text,
        ..pb::Segment::default()
    };
    let named = |text: String| (!text.is_empty()).then(|| segment(text));
    pb::Article {
        article_id: document.id,
        language: document.language.to_string(),
        title: named(document.title),
        lead: named(document.lead),
        body: document.body.into_iter().map(segment).collect(),
        section: document.section,
        publisher: document.publisher,
        canonical_url: document.canonical_url,
        guid: document.guid,
        located: document.located,
        info_sources: document.info_sources,
        authors: document.authors,
        published: document.published.as_ref().map(render::date),
        updated: document.updated.as_ref().map(render::date),
        ..pb::Article::default()
    }
}

/// Prints results, and counts them.
struct Report {
    output: Output,
    printer: Printer,
    bar: ProgressBar,
    shown: Instant,
    counts: [u64; 4],
    notes: u64,
}

/// The results in the order of [`Report::counts`].
const RESULTS: [ImportResult; 4] = [
    ImportResult::Created,
    ImportResult::Revised,
    ImportResult::Unchanged,
    ImportResult::Failed,
];

impl Report {
    fn new(output: Output, bar: ProgressBar) -> Self {
        Self {
            output,
            printer: Printer::new(),
            bar,
            shown: Instant::now(),
            counts: [0; 4],
            notes: 0,
        }
    }

    fn add(&mut self, item: &Pending, answer: &pb::ImportArticlesResponse) -> Result<(), Failure> {
        for (count, result) in self.counts.iter_mut().zip(RESULTS) {
            *count += u64::from(answer.result() == result);
        }
        self.notes += item.notes.len() as u64;
        match self.output {
            Output::Json => self.printer.json(&with_place(json::value(answer)?, item))?,
            Output::Table => self.printer.text(&lines(item, answer))?,
        }
        // The bar is hidden while results are printed to the same terminal; not for every line, for that flickers.
        if !self.bar.is_hidden() && self.shown.elapsed() >= SHOW_EVERY {
            self.show()?;
        }
        Ok(())
    }

    fn show(&mut self) -> Result<(), Failure> {
        self.bar.set_message(self.summary());
        self.shown = Instant::now();
        let printer = &mut self.printer;
        if io::stdout().is_terminal() {
            self.bar.suspend(|| printer.flush())
        } else {
            Ok(())
        }
    }

    fn finish(&mut self, started: Instant) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.printer.flush()?;
        let [.., failed] = self.counts;
        let notes = match self.notes {
            0 => String::new(),
            1 => ", 1 note".to_owned(),
            notes => format!(", {notes} notes"),
        };
        warn(&format!(
            "{}{notes}, {:.1} s",
            self.summary(),
            started.elapsed().as_secs_f64()
        ));
        if failed == 0 {
            Ok(())
        } else {
            Err(Failure::Reported)
        }
    }

    fn summary(&self) -> String {
        let counts = self.counts.iter().zip(RESULTS);
        let words: Vec<_> = counts
            .map(|(count, result)| format!("{count} {}", word(result)))
            .collect();
        words.join(", ")
    }
}

fn word(result: ImportResult) -> String {
    format::word(result.as_str_name(), "IMPORT_RESULT_")
}

/// The answer in JSON, with the place and the notes of its item.
fn with_place(mut answer: Value, item: &Pending) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("place".to_owned(), json!(item.place));
        if !item.notes.is_empty() {
            fields.insert("notes".to_owned(), json!(item.notes));
        }
    }
    answer
}

/// The answer for people: a line, and one for each wrong field and note.
fn lines(item: &Pending, answer: &pb::ImportArticlesResponse) -> String {
    let mut lines = String::new();
    let mut line = |indent: &str, text: &str| {
        lines.push_str(indent);
        lines.push_str(&terminal::line(text));
        lines.push('\n');
    };
    let result = word(answer.result());
    match &answer.error {
        None => line(
            "",
            &format!(
                "{result:<10}{} revision {}  {}",
                answer.article_id, answer.revision, item.place
            ),
        ),
        Some(error) => {
            let reason = match error.reason() {
                pb::ErrorReason::Unspecified => String::new(),
                reason => format!(
                    " ({}, {})",
                    reason.as_str_name().trim_start_matches("ERROR_REASON_"),
                    code_name(Code::from_i32(error.code))
                ),
            };
            line(
                "",
                &format!("{result:<10}{}  {}{reason}", item.place, error.message),
            );
            for violation in &error.field_violations {
                let text = format!("{}: {}", violation.field, violation.description);
                if text != error.message {
                    line("          ", &text);
                }
            }
        }
    }
    for note in &item.notes {
        line("          ", &format!("note: {note}"));
    }
    lines
}

/// The progress through the files; hidden where standard error is no terminal.
fn progress_bar(paths: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let size = |path: &PathBuf| {
        let metadata = path.metadata().ok()?;
        metadata.is_file().then_some(metadata.len())
    };
    let total: Option<u64> = paths.iter().map(size).sum();
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {percent:>3} %  {msg}, {eta} left",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {bytes} read, {elapsed}  {msg}",
        ),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

//! Output of the client commands: one object or text, or a list page by page, as JSON lines or for people.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use prost::Name;
use serde_json::Value;
use tonic::Status;

use super::client::HEADING;
use super::terminal::{Table, line, terminal_width};
use super::{Failure, json, warn};

/// How to print answers.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// The form of the output: a table for people, or one JSON object a line (the proto3 JSON mapping).
    #[arg(long, help_heading = HEADING, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// See [`OutputArgs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl OutputArgs {
    /// Prints a message as JSON, or a text of lines that is safe for terminals.
    pub(crate) fn page<M: Name>(self, message: &M, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let mut printer = Printer::new();
        match self.output {
            Output::Json => printer.message(message)?,
            Output::Table => printer.text(&text())?,
        }
        printer.flush()
    }

    /// Prints a message as JSON, or any text on a line.
    pub(crate) fn line<M: Name>(self, message: &M, text: impl FnOnce() -> String) -> Result<(), Failure> {
        self.page(message, || line(&text()) + "\n")
    }

    /// Prints a list page by page: a message a line as JSON, or a table with this header. `page` takes the token and the
    /// size of a page, and returns its items with the token of the next page.
    pub(crate) async fn list<M: Name, const N: usize>(
        self,
        limit: Limit,
        header: [&str; N],
        row: impl Fn(&M) -> [String; N],
        mut page: impl AsyncFnMut(String, i32) -> Result<(Vec<M>, String), Status>,
    ) -> Result<(), Failure> {
        let (mut printer, mut table) = (Printer::new(), Table::new(&header));
        let (mut left, mut token) = (limit.items, String::new());
        loop {
            let size = i32::try_from(left).map_or(limit.page_size, |left| left.min(limit.page_size));
            let (items, next) = page(token, size).await?;
            for item in &items {
                match self.output {
                    Output::Json => printer.message(item)?,
                    Output::Table => table.row(row(item)),
                }
            }
            if self.output == Output::Table {
                printer.text(&table.take(terminal_width()))?;
            }
            printer.flush()?;
            left = left.saturating_sub(items.len() as u64);
            if next.is_empty() {
                return Ok(());
            }
            if left == 0 {
                warn("there may be more; list them with --limit or --all");
                return Ok(());
            }
            token = next;
        }
    }
}

/// How many items of a list are printed, and how many are on a page at most; 0 is the server's choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) items: u64,
    pub(crate) page_size: i32,
}

impl Limit {
    pub(crate) const NONE: Self = Self {
        items: u64::MAX,
        page_size: 0,
    };
}

/// How many items to list.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LimitArgs {
    /// How many to list at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// List all of them.
    #[arg(long)]
    all: bool,
}

impl LimitArgs {
    pub(crate) fn of_pages(self, page_size: i32) -> Limit {
        let items = if self.all { u64::MAX } else { self.limit };
        Limit { items, page_size }
    }
}

/// Calls for one page after the other: `page` takes the token of a page and returns that of the next one.
pub(crate) async fn each_page(
    mut page: impl AsyncFnMut(String) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut token = String::new();
    loop {
        token = page(token).await?;
        if token.is_empty() {
            return Ok(());
        }
    }
}

/// Standard output, buffered. A reader that closes the pipe ends the command without an error.
pub(crate) struct Printer(BufWriter<io::Stdout>);

impl Printer {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Prints a text that is safe for terminals.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.0
            .write_all(text.as_bytes())
            .map_err(|error| Failure::from_output(&error))
    }

    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(line)?;
        self.text("\n")
    }

    pub(crate) fn message<M: Name>(&mut self, message: &M) -> Result<(), Failure> {
        self.json(&json::value(message)?)
    }

    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&json::line(value))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::from_output(&error))
    }
}

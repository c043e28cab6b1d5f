//! Output of the client commands: one object or text, or a list page by page, as JSON lines or for people.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use prost::Message;
use serde_json::Value;

use super::client::HEADING;
use super::terminal::{Table, line, terminal_width};
use super::{Failure, json};

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
    pub(crate) fn page(
        self,
        name: &str,
        message: &impl Message,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut printer = Printer::new();
        match self.output {
            Output::Json => printer.message(name, message)?,
            Output::Table => printer.text(&text())?,
        }
        printer.flush()
    }

    /// Prints a message as JSON, or any text on a line.
    pub(crate) fn line(
        self,
        name: &str,
        message: &impl Message,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        self.page(name, message, || line(&text()) + "\n")
    }
}

/// A list that is printed page by page.
pub(crate) struct Rows {
    output: Output,
    printer: Printer,
    table: Table,
}

impl Rows {
    pub(crate) fn new(output: OutputArgs, header: &[&str]) -> Self {
        Self {
            output: output.output,
            printer: Printer::new(),
            table: Table::new(header),
        }
    }

    /// Adds a row: a message of JSON, or the cells of a table.
    pub(crate) fn add<const N: usize>(
        &mut self,
        name: &str,
        message: &impl Message,
        cells: impl FnOnce() -> [String; N],
    ) -> Result<(), Failure> {
        match self.output {
            Output::Json => self.printer.message(name, message)?,
            Output::Table => self.table.row(cells()),
        }
        Ok(())
    }

    /// Prints the rows since the last call; the first call prints the header too.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.output == Output::Table {
            self.printer.text(&self.table.take(terminal_width()))?;
        }
        self.printer.flush()
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

    pub(crate) fn message(&mut self, name: &str, message: &impl Message) -> Result<(), Failure> {
        self.json(&json::value(name, message)?)
    }

    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&json::line(value))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::from_output(&error))
    }
}

//! Reads the inputs of an import into items: an article or an error, each with its place.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use clap::ValueEnum;

use crate::exchange::jsonl::{self, FieldMap};
use crate::exchange::plain_page::{self, MAX_PAGE};
use crate::exchange::{Defaults, Document};

/// The format of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// An article as saved from a news site, a paragraph a line.
    Page,
    /// An article a line, as JSON objects.
    Jsonl,
}

/// How to read inputs.
#[derive(Debug)]
pub(super) struct Reading {
    /// The format [default: detected for each input].
    pub(super) format: Option<Format>,
    pub(super) map: FieldMap,
    pub(super) defaults: Defaults,
    /// The id of the only page.
    pub(super) id: Option<String>,
    /// Whether pages are named after their files.
    pub(super) id_from_name: bool,
}

/// A piece of an input.
#[derive(Debug)]
pub(super) struct Item {
    /// The path, with the line where there are several.
    pub(super) place: String,
    /// The line; 1 for a page.
    pub(super) number: u64,
    /// The article, or the reason that there is none.
    pub(super) document: Result<Document, String>,
}

/// Reads one input; `-` is standard input. `count` wraps it so that progress can be seen.
pub(super) fn read(
    path: &Path,
    reading: &Reading,
    count: impl FnOnce(Box<dyn Read>) -> Box<dyn Read>,
    each: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let name = path.display().to_string();
    let failed = |error: io::Error| Item {
        place: name.clone(),
        number: 1,
        document: Err(format!("cannot be read: {error}")),
    };
    let mut input = match open(path) {
        Ok(input) => BufReader::with_capacity(256 << 10, count(input)),
        Err(error) => return each(failed(error)),
    };
    let format = match reading.format.map_or_else(|| tell(path, &mut input), Ok) {
        Ok(format) => format,
        Err(error) => return each(failed(error)),
    };
    match format {
        Format::Page => match page(path, input, reading) {
            Ok(document) => each(Item {
                place: name,
                number: 1,
                document,
            }),
            Err(error) => each(failed(error)),
        },
        Format::Jsonl => {
            jsonl::read(input, reading.map.clone(), reading.defaults.clone()).try_for_each(|line| {
                let (line, document) = match line {
                    Ok((line, document)) => (line, Ok(document)),
                    Err(error) => (
                        error.line,
                        Err(format!("byte {}: {}", error.column, error.reason)),
                    ),
                };
                each(Item {
                    place: format!("{name}:{line}"),
                    number: line,
                    document,
                })
            })
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path)?))
}

/// Detects the format: JSON Lines have that extension, or begin with `{`.
fn tell(path: &Path, input: &mut impl BufRead) -> io::Result<Format> {
    let named = path
        .extension()
        .is_some_and(|extension| extension == "jsonl" || extension == "ndjson");
    let start = input.fill_buf()?.trim_ascii_start();
    let jsonl = named || start.starts_with(b"{");
    Ok(if jsonl { Format::Jsonl } else { Format::Page })
}

fn page(path: &Path, input: impl Read, reading: &Reading) -> io::Result<Result<Document, String>> {
    let mut page = Vec::new();
    // One byte more than is allowed, so that the reader can say that it is too much.
    input.take(MAX_PAGE as u64 + 1).read_to_end(&mut page)?;
    let name = path.file_stem().filter(|_| reading.id_from_name);
    let id = name.map(|name| name.to_string_lossy().into_owned());
    Ok(plain_page::read(&page, &reading.defaults)
        .map(|document| Document {
            id: id.or_else(|| reading.id.clone()).unwrap_or_default(),
            ..document
        })
        .map_err(|error| error.0))
}

//! Reads JSON Lines: a JSON object a line, each an article, with the caller's names for its keys.
//!
//! Lines are read one at a time, so memory is bounded by [`MAX_LINE`] whatever the file's size. A line that cannot be
//! read is an error with its place, and the next line follows; blank lines are skipped. A date that cannot be read
//! makes an undated article that says so in its notes: that is not an error.
//!
//! | field | value |
//! |---|---|
//! | `id`, `guid` | string or integer |
//! | `title`, `lead`, `section`, `publisher`, `canonical_url`, `language` | string |
//! | `body` | string, a paragraph a line, or an array of strings, a paragraph each |
//! | `authors` | string or array of strings |
//! | `published`, `updated` | string as [`crate::domain::date::parse`] reads it; numbers are kept as undated, because nothing says what they count |
//!
//! `null`, a missing key and a blank string are the same: absent. An article needs a title or a body.

use std::io::{BufRead, Read};

use serde_json::{Map, Value};

use self::fields::Field;
pub use self::fields::FieldMap;
use super::{Defaults, Document, clean, date, detect_language, one_line};
use crate::domain::language::Language;

mod fields;
#[cfg(test)]
mod tests;

/// The longest line, in bytes, without its line break.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// Why a line is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, byte {column}: {reason}")]
pub struct LineError {
    /// The line, from 1.
    pub line: u64,
    /// The byte in the line, from 1.
    pub column: usize,
    /// The error.
    pub reason: String,
}

/// The documents of a file with their line numbers. It ends after the last line, or after the first error of the
/// input itself.
pub struct Documents<R> {
    input: R,
    map: FieldMap,
    defaults: Defaults,
    line: u64,
    buffer: Vec<u8>,
    failed: bool,
}

/// Reads the documents of a file.
pub fn read<R: BufRead>(input: R, map: FieldMap, defaults: Defaults) -> Documents<R> {
    Documents {
        input,
        map,
        defaults,
        line: 0,
        buffer: Vec::new(),
        failed: false,
    }
}

impl<R: BufRead> Iterator for Documents<R> {
    type Item = Result<(u64, Document), LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            self.line += 1;
            let line = self.line;
            let document = match self.next_line() {
                Ok(false) => return None,
                Ok(true) if self.buffer.iter().all(u8::is_ascii_whitespace) => continue,
                Ok(true) => document(&self.buffer, &self.map, &self.defaults),
                Err(problem) => Err(problem),
            };
            return Some(match document {
                Ok(document) => Ok((line, document)),
                Err(Problem { column, reason }) => Err(LineError { line, column, reason }),
            });
        }
        None
    }
}

impl<R: BufRead> Documents<R> {
    /// Fills the buffer with the next line; false at the end of the input.
    fn next_line(&mut self) -> Result<bool, Problem> {
        self.buffer.clear();
        match self.fill() {
            Ok(None) => Err(problem(
                MAX_LINE + 1,
                format!("the line is longer than {MAX_LINE} bytes"),
            )),
            Ok(Some(bytes)) => {
                if self.line == 1 && self.buffer.starts_with("\u{FEFF}".as_bytes()) {
                    self.buffer.drain(.."\u{FEFF}".len());
                }
                Ok(bytes > 0)
            }
            Err(error) => {
                self.failed = true;
                Err(problem(1, format!("the input cannot be read further: {error}")))
            }
        }
    }

    /// Reads a line and returns its bytes, or skips one that is too long.
    fn fill(&mut self) -> std::io::Result<Option<usize>> {
        let limit = MAX_LINE as u64 + 1;
        let bytes = self
            .input
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.buffer)?;
        if bytes <= MAX_LINE || self.buffer.ends_with(b"\n") {
            return Ok(Some(bytes));
        }
        self.buffer = Vec::new();
        self.input.skip_until(b'\n')?;
        Ok(None)
    }
}

/// An error, and its byte in the line.
#[derive(Debug)]
struct Problem {
    column: usize,
    reason: String,
}

fn problem(column: usize, reason: impl Into<String>) -> Problem {
    Problem {
        column,
        reason: reason.into(),
    }
}

fn document(line: &[u8], map: &FieldMap, defaults: &Defaults) -> Result<Document, Problem> {
    let text = std::str::from_utf8(line)
        .map_err(|e| problem(e.valid_up_to() + 1, "the line is not UTF-8 from here on"))?;
    let object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        Ok(other) => return Err(problem(1, format!("the line is {}, not an object", kind(&other)))),
        Err(error) => return Err(bad_json(&error)),
    };
    let mut record = Record {
        text,
        object: &object,
        map,
        notes: Vec::new(),
    };
    let (title, lead) = (record.one_line(Field::Title)?, record.one_line(Field::Lead)?);
    let body = record.body()?;
    if title.is_empty() && body.is_empty() {
        return Err(problem(1, map.missing(&[Field::Title, Field::Body])));
    }
    let tag = record.one_line(Field::Language)?;
    let language = match &defaults.language {
        _ if !tag.is_empty() => Language::parse(&tag).map_err(|e| record.wrong(Field::Language, &e.0))?,
        Some(default) => default.clone(),
        None => {
            let texts = [&title, &lead].into_iter().chain(&body).map(String::as_str);
            detect_language(texts).map_err(|e| problem(1, e.0))?
        }
    };
    let publisher = record.one_line(Field::Publisher)?;
    Ok(Document {
        id: record.one_line(Field::Id)?,
        section: record.one_line(Field::Section)?,
        publisher: if publisher.is_empty() {
            defaults.publisher.clone()
        } else {
            publisher
        },
        canonical_url: record.one_line(Field::CanonicalUrl)?,
        guid: record.one_line(Field::Guid)?,
        located: String::new(),
        info_sources: Vec::new(),
        authors: record.list(Field::Authors)?,
        published: record.date(Field::Published, defaults)?,
        updated: record.date(Field::Updated, defaults)?,
        title,
        lead,
        body,
        language,
        notes: record.notes,
    })
}

/// A line while it is read.
struct Record<'a> {
    text: &'a str,
    object: &'a Map<String, Value>,
    map: &'a FieldMap,
    notes: Vec<String>,
}

impl<'a> Record<'a> {
    fn value(&self, field: Field) -> &'a Value {
        self.map.value(field, self.object).unwrap_or(&Value::Null)
    }

    fn wrong(&self, field: Field, reason: &str) -> Problem {
        problem(
            self.map.column(field, self.text),
            format!("{}: {reason}", self.map.describe(field)),
        )
    }

    fn wrong_type(&self, field: Field, value: &Value, wanted: &str) -> Problem {
        self.wrong(field, &format!("{} where {wanted} is wanted", kind(value)))
    }

    fn clean(&mut self, field: Field, text: &str) -> String {
        let what = self.map.describe(field);
        clean(text, &what, &mut self.notes)
    }

    fn one_line(&mut self, field: Field) -> Result<String, Problem> {
        let number = matches!(field, Field::Id | Field::Guid);
        match self.value(field) {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(one_line(&self.clean(field, text))),
            Value::Number(id) if number && !id.is_f64() => Ok(id.to_string()),
            other if number => Err(self.wrong_type(field, other, "a string or an integer")),
            other => Err(self.wrong_type(field, other, "a string")),
        }
    }

    /// The strings of a string or of an array, cleaned.
    fn strings(&mut self, field: Field) -> Result<Vec<String>, Problem> {
        const WANTED: &str = "a string or an array of strings";
        match self.value(field) {
            Value::Null => Ok(Vec::new()),
            Value::String(text) => Ok(vec![self.clean(field, text)]),
            Value::Array(items) => items
                .iter()
                .map(|item| match item {
                    Value::String(text) => Ok(self.clean(field, text)),
                    other => Err(self.wrong_type(field, other, WANTED)),
                })
                .collect(),
            other => Err(self.wrong_type(field, other, WANTED)),
        }
    }

    fn list(&mut self, field: Field) -> Result<Vec<String>, Problem> {
        let strings = self.strings(field)?;
        Ok(strings
            .iter()
            .map(|text| one_line(text))
            .filter(|text| !text.is_empty())
            .collect())
    }

    /// In a string every line is a paragraph; in an array every item is, line breaks and all.
    fn body(&mut self) -> Result<Vec<String>, Problem> {
        let strings = self.strings(Field::Body)?;
        let whole = matches!(self.value(Field::Body), Value::Array(_));
        let paragraphs = strings
            .iter()
            .flat_map(|text| text.split(move |c| c == '\n' && !whole));
        Ok(paragraphs
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(String::from)
            .collect())
    }

    fn date(
        &mut self,
        field: Field,
        defaults: &Defaults,
    ) -> Result<Option<crate::domain::date::ArticleDate>, Problem> {
        let text = match self.value(field) {
            Value::Null => return Ok(None),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return Err(self.wrong_type(field, other, "a date as a string")),
        };
        Ok(date(&text, &self.map.describe(field), defaults, &mut self.notes))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The parser's words without its own place, which counts lines inside this one.
fn bad_json(error: &serde_json::Error) -> Problem {
    let words = error.to_string();
    let reason = words.split(" at line ").next().unwrap_or_default();
    problem(error.column().max(1), format!("bad JSON: {reason}"))
}

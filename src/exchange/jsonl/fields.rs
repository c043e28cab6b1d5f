//! Which key of a JSON object holds which field: `--map title=headline,published=dates.first`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::domain::Invalid;

/// A field that JSON Lines can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Title,
    Lead,
    Body,
    Section,
    Publisher,
    CanonicalUrl,
    Guid,
    Published,
    Updated,
    Language,
    Authors,
}

/// The names of the fields, in the order of [`Field`].
const NAMES: [(Field, &str); 12] = [
    (Field::Id, "id"),
    (Field::Title, "title"),
    (Field::Lead, "lead"),
    (Field::Body, "body"),
    (Field::Section, "section"),
    (Field::Publisher, "publisher"),
    (Field::CanonicalUrl, "canonical_url"),
    (Field::Guid, "guid"),
    (Field::Published, "published"),
    (Field::Updated, "updated"),
    (Field::Language, "language"),
    (Field::Authors, "authors"),
];

/// Which key holds which field, parsed from `FIELD=KEY,…`.
///
/// A field that is not named is not read. A key with dots is looked up as it is and, where there is no such key, as
/// a path through nested objects. The default reads every field from the key of its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMap(Vec<(Field, String)>);

impl Default for FieldMap {
    fn default() -> Self {
        Self(
            NAMES
                .iter()
                .map(|(field, name)| (*field, (*name).into()))
                .collect(),
        )
    }
}

impl FromStr for FieldMap {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut map = Self(Vec::new());
        for entry in text.split(',').map(str::trim) {
            let (name, key) = entry
                .split_once('=')
                .map(|(name, key)| (name.trim(), key.trim()))
                .filter(|(_, key)| key.split('.').all(|step| !step.is_empty()))
                .ok_or_else(|| {
                    Invalid::new(format!(
                        "{entry:?} is not FIELD=KEY, with FIELD one of {}",
                        allowed()
                    ))
                })?;
            let (field, _) = *NAMES.iter().find(|(_, known)| *known == name).ok_or_else(|| {
                Invalid::new(format!("{name:?} is not a field; the fields are {}", allowed()))
            })?;
            if map.key(field).is_some() {
                return Err(Invalid::new(format!(
                    "the field {name:?} is mapped twice; each of {} may be once",
                    allowed()
                )));
            }
            map.0.push((field, key.into()));
        }
        Ok(map)
    }
}

impl fmt::Display for FieldMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self
            .0
            .iter()
            .map(|(field, key)| format!("{}={key}", name(*field)))
            .collect();
        f.write_str(&entries.join(","))
    }
}

impl FieldMap {
    /// The field's value in an object.
    pub(super) fn value<'v>(&self, field: Field, object: &'v Map<String, Value>) -> Option<&'v Value> {
        let key = self.key(field)?;
        object.get(key).or_else(|| {
            let mut steps = key.split('.');
            let first = object.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.get(step))
        })
    }

    /// The field with its key, for messages.
    pub(super) fn describe(&self, field: Field) -> String {
        match self.key(field) {
            Some(key) if key != name(field) => format!("{} (key {key:?})", name(field)),
            _ => name(field).into(),
        }
    }

    /// That none of these fields has a value.
    pub(super) fn missing(&self, fields: &[Field]) -> String {
        let names: Vec<_> = fields.iter().map(|field| self.describe(*field)).collect();
        format!("the article has neither {}", names.join(" nor "))
    }

    /// The byte of the line, from 1, at which the field's value starts; 1 if it is not found. The line is valid JSON.
    pub(super) fn column(&self, field: Field, line: &str) -> usize {
        let key = self.key(field).unwrap_or_default();
        let path: Vec<_> = key.split('.').collect();
        find(line, 0, &[key])
            .or_else(|| find(line, 0, &path))
            .map_or(1, |at| at + 1)
    }

    fn key(&self, field: Field) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == field)
            .map(|(_, key)| key.as_str())
    }
}

fn name(field: Field) -> &'static str {
    NAMES
        .iter()
        .find(|(known, _)| *known == field)
        .map_or("", |(_, name)| name)
}

fn allowed() -> String {
    NAMES.map(|(_, name)| name).join(", ")
}

/// The byte at which the value at a path starts, in the object at `at`. Of equal keys the last counts, as it does for
/// the parser.
fn find(line: &str, at: usize, path: &[&str]) -> Option<usize> {
    let (step, deeper) = path.split_first()?;
    let mut at = skip(line, at, '{')?;
    let mut found = None;
    while let Some((Value::String(key), after)) = value_at(line, at) {
        let start = skip(line, after, ':')?;
        let (_, end) = value_at(line, start)?;
        if key == *step {
            found = Some(start);
        }
        match skip(line, end, ',') {
            Some(next) => at = next,
            None => break,
        }
    }
    if deeper.is_empty() {
        found
    } else {
        find(line, found?, deeper)
    }
}

/// The byte of the next token after a mark.
fn skip(line: &str, at: usize, mark: char) -> Option<usize> {
    let rest = line.get(at..)?.trim_start().strip_prefix(mark)?.trim_start();
    Some(line.len() - rest.len())
}

fn value_at(line: &str, at: usize) -> Option<(Value, usize)> {
    let mut values = serde_json::Deserializer::from_str(line.get(at..)?).into_iter::<Value>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

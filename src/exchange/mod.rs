//! Import formats of articles. Each reader turns bytes into [`Document`]s and notes what it left out or
//! could not read.
//!
//! A format knows text, not storage and not the wire: limits of the store and the spelling of ids and URLs are checked
//! where a document becomes a request.

use jiff::tz::TimeZone;

use crate::domain::Invalid;
use crate::domain::date::ArticleDate;
use crate::domain::date::parse::parse_or_keep;
use crate::domain::language::Language;

pub mod jsonl;
pub mod plain_page;

/// An article of a file. Texts are trimmed and free of control characters; an empty field was absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The article id that the file names.
    pub id: String,
    /// The headline, on one line.
    pub title: String,
    /// The lead, on one line.
    pub lead: String,
    /// The paragraphs of the body, without blank ones.
    pub body: Vec<String>,
    /// The language, as the file or the caller named it, or detected.
    pub language: Language,
    /// The section of the publication.
    pub section: String,
    /// The publisher.
    pub publisher: String,
    /// The address, as the file spells it.
    pub canonical_url: String,
    /// The publisher's own id.
    pub guid: String,
    /// The place that the article is filed from.
    pub located: String,
    /// Agencies and others that the information comes from.
    pub info_sources: Vec<String>,
    /// Bylines.
    pub authors: Vec<String>,
    /// When it was published; without an instant where the text could not be read.
    pub published: Option<ArticleDate>,
    /// When it was last changed; without an instant where the text could not be read.
    pub updated: Option<ArticleDate>,
    /// What could not be read or was left out, a sentence each.
    pub notes: Vec<String>,
}

/// The defaults of an import for fields that a document lacks.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The publisher of all of them; may be empty.
    pub publisher: String,
    /// Their language; where absent it is detected from each text.
    pub language: Option<Language>,
    /// The zone of dates that name no offset.
    pub zone: TimeZone,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            publisher: String::new(),
            language: None,
            zone: TimeZone::UTC,
        }
    }
}

/// More text than this does not change what is detected, only how long it takes.
const DETECTION_BYTES: usize = 16 * 1024;

/// The language of a text, where the detector is sure.
fn detect_language<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Language, Invalid> {
    let mut sample = String::new();
    for text in texts {
        let room = DETECTION_BYTES.saturating_sub(sample.len());
        sample.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or_default());
        sample.push('\n');
    }
    let unsure = |guess: &str| {
        Invalid::new(format!(
            "the language cannot be told from the text{guess}; name it with --language"
        ))
    };
    let found = whatlang::detect(&sample).ok_or_else(|| unsure(""))?;
    let language = Language::parse(found.lang().code())?;
    if found.is_reliable() {
        Ok(language)
    } else {
        Err(unsure(&format!(" (perhaps {language}, but not surely)")))
    }
}

/// Brings line breaks of every kind to `\n` and leaves out other control characters, which no article may hold.
/// Bidirectional controls are text and stay.
fn clean(text: &str, what: &str, notes: &mut Vec<String>) -> String {
    let mut first = None;
    let mut dropped = 0_usize;
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\t' => clean.push(c),
            _ if c.is_control() => {
                first.get_or_insert(c);
                dropped += 1;
            }
            _ => clean.push(c),
        }
    }
    if let Some(c) = first {
        let code = u32::from(c);
        notes.push(format!(
            "{what}: {dropped} control characters were left out, the first of them U+{code:04X}"
        ));
    }
    clean
}

/// A text that belongs on one line.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

/// Reads a date or keeps its text, with a note.
fn date(text: &str, what: &str, defaults: &Defaults, notes: &mut Vec<String>) -> Option<ArticleDate> {
    let (date, problem) = parse_or_keep(text, &defaults.zone)?;
    notes.extend(problem.map(|reason| format!("{what}: {reason}; the text is kept without an instant")));
    Some(date)
}

/// The path of a file of the test data: in the folder that `ARTICLE_STORE_TEST_DATA` names, else beside the package.
/// Says that the test is skipped where the file is absent.
#[cfg(test)]
fn test_data(name: &str) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("ARTICLE_STORE_TEST_DATA").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        std::path::PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {name} is in neither ARTICLE_STORE_TEST_DATA nor ../shared/data");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_that_is_detected_has_a_tag() {
        for lang in whatlang::Lang::all() {
            let tag = Language::parse(lang.code()).unwrap();
            assert!(tag.as_str().len() <= 3, "{tag}");
        }
        assert_eq!(Language::parse("ara").unwrap().as_str(), "ar");
    }

    #[test]
    fn only_the_start_of_a_long_text_is_looked_at() {
        let english = "The town closed the night line because too few people used it.";
        let (start, rest) = (
            english.repeat(DETECTION_BYTES / english.len() + 1),
            "سلام عليكم ".repeat(100_000),
        );
        assert_eq!(detect_language([start.as_str(), &rest]).unwrap().as_str(), "en");
    }
}

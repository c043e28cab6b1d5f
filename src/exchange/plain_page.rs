//! Reads a plain page: the text of an article as saved from a news site, a paragraph a line, blank lines ignored.
//!
//! The layout, every piece but the headline optional:
//!
//! ```text
//! section                                  short
//! headline
//! تاريخ النشر: … / Published: … / Publié le …      labels, in any order
//! headline again
//! lead                                     one paragraph
//! +A -A                                    page furniture
//! المصدر: place- agency / Source: … / Par …        labels
//! paragraphs of the body
//! labels
//! حمل تطبيق … / Download our app           page furniture
//! ```
//!
//! - The headline is the first line, not ending as a sentence does, that comes twice among the first `HEAD_LINES` lines of text; else the first line
//!   above the first label that is too long for a section, or the last one there; else the first line.
//! - The section is the line before the headline. What stands before it is left out.
//! - The lead is the only paragraph between the headline and a later label or piece of furniture that is followed by
//!   the body. Two paragraphs there are body; so is the first paragraph of a page without such a line.
//! - `Source:` names a place and an agency with a dash and white space between them, or agencies only.
//! - Labels count above and below the body. Inside it, they are text.
//! - What is left out, and what could not be read, is said in the notes. A page without a sure language is refused
//!   unless the caller names it; nothing is guessed.

use super::{Defaults, Document, clean, date, detect_language};
use crate::domain::Invalid;
use crate::domain::date::parse::fold::{fold, is_invisible};

mod furniture;
#[cfg(test)]
mod tests;

use furniture::{Label, ends_a_sentence, furniture, labels};

/// The largest page, in bytes.
pub const MAX_PAGE: usize = 16 * 1024 * 1024;
/// The most notes of a page.
pub const MAX_NOTES: usize = 100;
/// How many lines of text may belong to the head of a page.
const HEAD_LINES: usize = 8;
/// The longest section, in characters and words; a headline is longer, or comes twice.
const LONGEST_SECTION: (usize, usize) = (40, 4);
/// Agencies that pages name where others name the place.
const AGENCIES: [&str; 13] = [
    "رويترز",
    "أ ف ب",
    "أ.ف.ب",
    "فرانس برس",
    "د ب أ",
    "وكالات",
    "الأناضول",
    "reuters",
    "afp",
    "ap",
    "dpa",
    "efe",
    "agencies",
];

/// Reads a page. The reason names the byte, the limit or the missing piece.
pub fn read(page: &[u8], defaults: &Defaults) -> Result<Document, Invalid> {
    if page.len() > MAX_PAGE {
        return Err(Invalid::new(format!(
            "a page of {} bytes is larger than {MAX_PAGE}",
            page.len()
        )));
    }
    let text = std::str::from_utf8(page).map_err(|e| {
        Invalid::new(format!(
            "the page is not UTF-8 from byte offset {} on",
            e.valid_up_to()
        ))
    })?;
    let mut notes = Vec::new();
    let text = clean(text.trim_start_matches('\u{FEFF}'), "page", &mut notes);
    let lines: Vec<_> = lines(&text).collect();
    if lines.is_empty() {
        return Err(Invalid::new("the page is empty"));
    }
    let layout = Layout::of(&lines, &mut notes).ok_or_else(|| Invalid::new("the page has no headline"))?;
    layout.document(defaults, notes)
}

struct Line<'a> {
    number: usize,
    text: &'a str,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Text,
    Labels(Vec<(Label, &'a str)>),
    Furniture(&'static str),
}

impl Line<'_> {
    fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text)
    }

    fn left_out(&self, why: &str) -> String {
        let start: String = self.text.chars().take(60).collect();
        format!("line {}: \"{start}\" {why}; left out", self.number)
    }
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let blank = |c: char| c.is_whitespace() || is_invisible(c);
    text.lines()
        .zip(1..)
        .filter(move |(line, _)| !line.chars().all(blank))
        .map(|(line, number)| {
            let text = line.trim();
            let found = labels(text);
            let kind = match furniture(text) {
                Some(what) => Kind::Furniture(what),
                None if found.is_empty() => Kind::Text,
                None => Kind::Labels(found),
            };
            Line { number, text, kind }
        })
}

/// The place of the headline among the lines.
fn headline(lines: &[Line<'_>]) -> Option<usize> {
    let texts = || lines.iter().enumerate().filter(|(_, line)| line.is_text());
    let head: Vec<_> = texts()
        .take(HEAD_LINES)
        .map(|(at, line)| (at, line, key(line.text)))
        .collect();
    let twice = |at: usize, text: &str| head.iter().any(|(other, _, key)| *other > at && key == text);
    if let Some((at, ..)) = head
        .iter()
        .find(|(at, line, key)| !ends_a_sentence(line.text) && twice(*at, key))
    {
        return Some(*at);
    }
    let first = texts().next().map(|(at, _)| at);
    let last = texts().next_back().map(|(at, _)| at)?;
    let label = lines.iter().position(|line| matches!(line.kind, Kind::Labels(_)));
    let Some(label) = label.filter(|at| *at < last) else {
        return first;
    };
    let above: Vec<_> = texts().take_while(|(at, _)| *at < label).collect();
    if above.len() > HEAD_LINES / 2 {
        return first;
    }
    let place = match above
        .iter()
        .zip(0_usize..)
        .find(|((_, line), _)| !is_section(line.text))
    {
        // A sentence is no headline: the short line before it is.
        Some(((_, line), place)) if ends_a_sentence(line.text) => place.saturating_sub(1),
        Some((_, place)) => place,
        None => above.len().saturating_sub(1),
    };
    above.get(place).map(|(at, _)| *at).or(first)
}

fn is_section(text: &str) -> bool {
    let (characters, words) = LONGEST_SECTION;
    text.chars().count() <= characters && text.split_whitespace().count() <= words
}

/// A line for comparing: what differs only in white space, vowel marks, case and invisible characters is the same.
fn key(text: &str) -> String {
    fold(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lines of a page by what they are.
#[derive(Default)]
struct Layout<'a> {
    section: &'a str,
    title: &'a str,
    lead: &'a str,
    body: Vec<&'a str>,
    labels: Vec<(Label, &'a str)>,
}

impl<'a> Layout<'a> {
    fn of(lines: &[Line<'a>], notes: &mut Vec<String>) -> Option<Self> {
        let at = headline(lines)?;
        let (above, below) = (lines.get(..at)?, lines.get(at + 1..)?);
        let mut layout = Self {
            title: lines.get(at)?.text,
            ..Self::default()
        };
        let title = key(layout.title);
        let longest = 2 * layout.title.len();
        let repeats =
            |line: &Line<'_>| line.is_text() && line.text.len() <= longest && key(line.text) == title;
        let (below, tail) = below.split_at(below.iter().rposition(Line::is_text).map_or(0, |last| last + 1));
        let (head, body) = below.split_at(end_of_head(below, repeats));

        let section = above.iter().rposition(Line::is_text);
        for (index, line) in above.iter().enumerate() {
            if Some(index) == section && is_section(line.text) {
                layout.section = line.text;
            } else {
                layout.take(line, notes);
            }
        }
        let mut opening = Vec::new();
        for line in head {
            match line.kind {
                Kind::Text if repeats(line) => notes.push(line.left_out("repeats the headline")),
                Kind::Text => opening.push(line.text),
                _ => layout.take(line, notes),
            }
        }
        match opening.as_slice() {
            [] => {}
            [lead] => layout.lead = lead,
            more => {
                notes.push(format!(
                    "{} paragraphs stand where one would be the lead; they are body",
                    more.len()
                ));
                layout.body.extend(more);
            }
        }
        for line in body {
            match line.kind {
                Kind::Text if repeats(line) => notes.push(line.left_out("repeats the headline")),
                Kind::Text | Kind::Labels(_) => layout.body.push(line.text),
                Kind::Furniture(_) => layout.take(line, notes),
            }
        }
        for line in tail {
            layout.take(line, notes);
        }
        Some(layout)
    }

    fn take(&mut self, line: &Line<'a>, notes: &mut Vec<String>) {
        match &line.kind {
            Kind::Text => notes.push(line.left_out("stands above the section")),
            Kind::Furniture(what) => notes.push(line.left_out(what)),
            Kind::Labels(labels) => {
                for (label, value) in labels {
                    if value.is_empty() {
                        notes.push(line.left_out("has no value"));
                    } else if *label != Label::Author && self.labels.iter().any(|(said, _)| said == label) {
                        notes.push(line.left_out("says again what is said above"));
                    } else {
                        self.labels.push((*label, value));
                    }
                }
            }
        }
    }

    fn document(self, defaults: &Defaults, mut notes: Vec<String>) -> Result<Document, Invalid> {
        let texts = [self.title, self.lead]
            .into_iter()
            .chain(self.body.iter().copied());
        let language = match &defaults.language {
            Some(language) => language.clone(),
            None => detect_language(texts)?,
        };
        let value = |label| {
            self.labels
                .iter()
                .find(|(said, _)| *said == label)
                .map_or("", |(_, value)| value)
        };
        let published = date(value(Label::Published), "published", defaults, &mut notes);
        let updated = date(value(Label::Updated), "updated", defaults, &mut notes);
        if published.is_none() {
            notes.push("no publication date was found".into());
        }
        if self.body.is_empty() {
            notes.push("no paragraphs were found below the headline".into());
        }
        if notes.len() > MAX_NOTES {
            let more = notes.len() - MAX_NOTES + 1;
            notes.truncate(MAX_NOTES - 1);
            notes.push(format!("{more} more notes"));
        }
        let (located, info_sources) = source(value(Label::Source));
        let authors = self.labels.iter().filter(|(said, _)| *said == Label::Author);
        let section = if self.section.is_empty() {
            value(Label::Section)
        } else {
            self.section
        };
        Ok(Document {
            id: String::new(),
            title: self.title.into(),
            lead: self.lead.into(),
            body: self.body.iter().copied().map(String::from).collect(),
            language,
            section: section.into(),
            publisher: defaults.publisher.clone(),
            canonical_url: String::new(),
            guid: String::new(),
            located,
            info_sources,
            authors: authors.flat_map(|(_, value)| list(value)).collect(),
            published,
            updated,
            notes,
        })
    }
}

/// How many of the lines below the headline belong to the head: labels and repeats of the headline, and at most two
/// paragraphs if a label or furniture follows them.
fn end_of_head(below: &[Line<'_>], repeats: impl Fn(&Line<'_>) -> bool) -> usize {
    let (mut end, mut paragraphs, mut ended) = (0, 0, false);
    for (line, next) in below.iter().zip(1..) {
        if !line.is_text() {
            end = next;
            ended = paragraphs > 0;
        } else if repeats(line) {
            end = if paragraphs == 0 { next } else { end };
        } else if ended || paragraphs == 2 {
            break;
        } else {
            paragraphs += 1;
        }
    }
    end
}

/// Place and agencies of a source line: `الرباط- إرم نيوز`, `Reuters, AFP`.
fn source(value: &str) -> (String, Vec<String>) {
    let dash = |at: usize, mark: &str| {
        let (left, right) = (value.get(..at)?, value.get(at + mark.len()..)?);
        let apart = left.ends_with(char::is_whitespace) || right.starts_with(char::is_whitespace);
        apart.then_some((left.trim(), right.trim()))
    };
    let parts = value
        .match_indices(['-', '–', '—'])
        .find_map(|(at, mark)| dash(at, mark));
    match parts {
        Some((first, rest)) if AGENCIES.iter().any(|agency| key(agency) == key(first)) => {
            (String::new(), [list(first), list(rest)].concat())
        }
        Some((place, agencies)) => (place.into(), list(agencies)),
        None => (String::new(), list(value)),
    }
}

fn list(value: &str) -> Vec<String> {
    let entries = value
        .split([',', '،', '/'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    entries.map(String::from).collect()
}

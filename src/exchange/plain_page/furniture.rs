//! The lines of a page that are not running text, as tables: labels with their values, buttons, advertisements.
//!
//! Entries are compared after `fold`, so that one entry stands for every spelling of its hamza, accents and case.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use jiff::tz::TimeZone;

use crate::domain::date::parse::fold::fold;
use crate::domain::date::parse::parse;

/// The meaning of the value of a labelled line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Label {
    Published,
    Updated,
    Source,
    Author,
    Section,
}

/// The names of the labels, separated by `|`.
const LABELS: [(Label, &str); 7] = [
    (
        Label::Published,
        "تاريخ النشر|نشر في|نشر بتاريخ|نشر يوم|نشر|publié|publié le|date de publication",
    ),
    (
        Label::Published,
        "published|published on|published at|publication date|posted|posted on",
    ),
    (
        Label::Updated,
        "تاريخ التحديث|آخر تحديث|تحديث|تم التحديث|updated|updated on|updated at|last updated",
    ),
    (
        Label::Updated,
        "last updated on|last modified|mis à jour|mis à jour le|mise à jour|dernière mise à jour|modifié le",
    ),
    (Label::Source, "المصدر|source"),
    (Label::Author, "بقلم|الكاتب|الكاتبة|by|author|authors|par|auteur"),
    (Label::Section, "القسم|التصنيف|section|category|rubrique"),
];

/// Bylines that are printed without a colon.
const BYLINES: [&str; 3] = ["بقلم", "by", "par"];

/// Short lines only: a paragraph that happens to start with a label's word is text.
const LONGEST_VALUE: usize = 120;
const LONGEST_BYLINE: usize = 60;
/// Where a second label may start; the bound keeps lines of nothing but separators cheap.
const MOST_SEPARATORS: usize = 8;

/// The buttons around an article.
const BUTTONS: &str =
    "شارك|مشاركة|شارك المقال|طباعة|حفظ|share|share this article|print|save|partager|imprimer|enregistrer";

/// Advertisements for an app: how the line starts, and a word that it has further on.
const APP_ADVERTS: [(&str, &str); 12] = [
    ("حمل تطبيق", ""),
    ("حمل التطبيق", ""),
    ("حملوا تطبيق", ""),
    ("نزل تطبيق", ""),
    ("تحميل تطبيق", ""),
    ("download our", "app"),
    ("download the", "app"),
    ("get our", "app"),
    ("get the", "app"),
    ("téléchargez notre", "appli"),
    ("téléchargez notre", "application"),
    ("téléchargez l'application", ""),
];

const LONGEST_ADVERT: usize = 80;

/// The labels of a line with their values; a line may hold two, such as `Published: … | Updated: …`.
pub(super) fn labels(line: &str) -> Vec<(Label, &str)> {
    if line.chars().nth(2 * LONGEST_VALUE).is_some() {
        return Vec::new();
    }
    let separators = line
        .match_indices(['|', '•', '·', ',', '،', '-', '–', '—', '/'])
        .take(MOST_SEPARATORS);
    let mut pair = separators.filter_map(|(at, mark)| {
        let (left, right) = (line.get(..at)?, line.get(at + mark.len()..)?);
        let second =
            label(right.trim()).filter(|(kind, _)| matches!(kind, Label::Published | Label::Updated))?;
        Some(vec![label(left.trim())?, second])
    });
    pair.next().unwrap_or_else(|| label(line).into_iter().collect())
}

/// The kind of a line that belongs to the page and not to the article, as the end of a sentence about it.
pub(super) fn furniture(line: &str) -> Option<&'static str> {
    // Folding a table costs more than a line: pages of many lines would pay for it at each.
    static FOLDED_BUTTONS: LazyLock<HashSet<String>> =
        LazyLock::new(|| BUTTONS.split('|').map(fold).collect());
    static FOLDED_ADVERTS: LazyLock<Vec<(String, &str)>> =
        LazyLock::new(|| APP_ADVERTS.map(|(start, word)| (fold(start), word)).into());
    if line.chars().nth(LONGEST_ADVERT).is_some() {
        return None;
    }
    let folded = fold(line);
    let has = |word: &str| word.is_empty() || folded.split(|c: char| !c.is_alphabetic()).any(|w| w == word);
    if is_text_size(&folded) {
        Some("is a control for the size of the text")
    } else if FOLDED_BUTTONS.contains(&folded) {
        Some("is a button")
    } else if !ends_a_sentence(&folded)
        && FOLDED_ADVERTS
            .iter()
            .any(|(start, word)| folded.starts_with(start) && has(word))
    {
        Some("is an advertisement for an app")
    } else {
        None
    }
}

/// Whether a line ends as running text does and headlines do not.
pub(super) fn ends_a_sentence(line: &str) -> bool {
    line.trim_end_matches(['"', '”', '“', '»', ')', ' '])
        .ends_with(['.', '،', ',', ';', '؛'])
}

/// `+A -A`, `A+ A-`, `أ+ أ-`, `A A A`.
fn is_text_size(folded: &str) -> bool {
    let size_letter = |c: char| matches!(c, 'a' | 'ا' | 'ع' | 't');
    let letters = folded.chars().filter(|c| size_letter(*c)).count();
    (2..=3).contains(&letters)
        && folded
            .chars()
            .all(|c| size_letter(c) || matches!(c, '+' | '-' | '–' | ' ' | '|' | '/'))
        && folded
            .split([' ', '|', '/'])
            .all(|part| part.chars().filter(|c| size_letter(*c)).count() <= 1)
}

fn label(line: &str) -> Option<(Label, &str)> {
    static KINDS: LazyLock<HashMap<String, Label>> = LazyLock::new(|| {
        let entries = LABELS
            .iter()
            .flat_map(|(kind, names)| names.split('|').map(|name| (fold(name), *kind)));
        entries.collect()
    });
    let kind = |name: &str| {
        let name = fold(name);
        KINDS
            .get(&name.split_whitespace().collect::<Vec<_>>().join(" "))
            .copied()
    };
    if let Some((name, value)) = line.split_once([':', '：'])
        && let Some(kind) = kind(name)
    {
        let value = value.trim();
        let is_date = matches!(kind, Label::Published | Label::Updated);
        let fits = if is_date {
            value.chars().any(char::is_numeric)
        } else {
            !ends_a_sentence(value)
        };
        return (fits && value.chars().count() <= LONGEST_VALUE).then_some((kind, value));
    }
    let spaces: Vec<_> = line.match_indices(char::is_whitespace).take(4).collect();
    // The longest first: `Publié le` before `Publié`.
    let prefixes = spaces
        .iter()
        .rev()
        .filter_map(|&(at, _)| Some((line.get(..at)?, line.get(at..)?.trim())));
    let mut labelled = prefixes.filter_map(|(name, value)| Some((kind(name)?, name, value)));
    labelled
        .find(|(kind, name, value)| match kind {
            Label::Published | Label::Updated => parse(value, &TimeZone::UTC).is_ok(),
            Label::Author => {
                BYLINES.contains(&fold(name).as_str())
                    && value.chars().count() <= LONGEST_BYLINE
                    && !ends_a_sentence(value)
            }
            Label::Source | Label::Section => false,
        })
        .map(|(kind, _, value)| (kind, value))
}

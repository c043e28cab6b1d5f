//! Significance of a revision: how much it changes the meaning of an article, proposed from the difference if the caller
//! does not set it.
//!
//! The proposal decides which translations need another look, so it errs on the side of more: only what is spelling or
//! punctuation beyond doubt is proposed as a typo, and never a change of a number, a negation or a quotation. The words
//! that are known are those of Arabic, English and French; in other languages a negation is caught as any other word is,
//! by being another word.

use std::cell::LazyCell;

use super::article::{Content, Significance};
use super::date::parse::fold::{fold, is_invisible};
use super::diff::{Budget, Fate, SegmentDiff, compare, runs};
use super::segment::{Mark, Role, Segment};

mod words;

use words::{is_negation, is_number_word};

/// A revision that changes more than one word in this many changes facts, whatever the words are.
const MAJOR_SHARE: usize = 4;
/// Bytes of differing paragraphs, of both revisions, above which words are not compared: that would take longer than
/// the write.
const MAX_TEXT: usize = 256 << 10;
/// The fewest letters of a word in which one wrong letter is spelling: in a shorter one it makes another word.
const MISSPELT_FROM: usize = 5;

/// The significance of a revision that follows another one.
pub fn propose(old: &Content, new: &Content) -> Significance {
    let diffs = compare(old, new);
    let differs = |diff: &&SegmentDiff<'_>| !matches!(diff.fate, Fate::Unchanged | Fate::Moved);
    let differing = || diffs.iter().filter(differs);
    let texts = differing().flat_map(|diff| [diff.old, diff.new]).flatten();
    if texts.map(|segment| segment.content.text().len()).sum::<usize>() > MAX_TEXT {
        return Significance::Major;
    }
    let differing: Vec<_> = differing()
        .map(|diff| (diff.old.map(Facts::of), diff.new.map(Facts::of)))
        .collect();
    // Most revisions never ask for what the paragraphs say that stay as they are.
    let whole =
        LazyCell::new(|| [old, new].map(|content| content.segments().map(Facts::of).collect::<Vec<_>>()));
    let differs = |of: fn(&Facts) -> &[String]| {
        let in_one =
            |(old, new): &(Option<Facts>, Option<Facts>)| old.as_ref().map(of) != new.as_ref().map(of);
        // A paragraph that is split or joined changes nothing.
        let [old, new] = if differing.iter().any(in_one) {
            &*whole
        } else {
            return false;
        };
        !old.iter().flat_map(of).eq(new.iter().flat_map(of))
    };
    let rewritten = rewritten_words(&differing);
    let is_much = || rewritten * MAJOR_SHARE > word_count(old).max(word_count(new));
    let comes_or_goes = |(old, new): &(Option<Facts>, Option<Facts>)| match (old, new) {
        (Some(only), None) | (None, Some(only)) => !only.letters.is_empty(),
        _ => false,
    };
    if differs(|facts| &facts.numbers)
        || differs(|facts| &facts.negations)
        || differing.iter().any(comes_or_goes) && differs(|facts| &facts.letters)
        || is_much()
    {
        return Significance::Major;
    }
    let is_rearranged = |diff: &SegmentDiff<'_>| {
        diff.moved || matches!(diff.fate, Fate::Added | Fate::Removed) || is_marked_otherwise(diff)
    };
    if rewritten > 0 || diffs.iter().any(is_rearranged) || differs(|facts| &facts.quotations) {
        return Significance::Minor;
    }
    Significance::Typo
}

/// What a paragraph says, as far as a typo must not touch it.
struct Facts {
    numbers: Vec<String>,
    negations: Vec<String>,
    quotations: Vec<String>,
    /// The words by their letters.
    letters: Vec<String>,
}

impl Facts {
    fn of(segment: &Segment) -> Self {
        let folded = fold(segment.content.text());
        Self {
            numbers: numbers(&folded),
            negations: negations(&folded),
            quotations: quotations(segment),
            letters: letters_by_word(&folded),
        }
    }
}

/// How many words of paragraphs that are there before and after became other words, and not only other spellings.
fn rewritten_words(differing: &[(Option<Facts>, Option<Facts>)]) -> usize {
    let mut budget = Budget::default();
    let mut rewritten = 0;
    for facts in differing {
        let (Some(old), Some(new)) = facts else { continue };
        let (old, new) = (texts(&old.letters), texts(&new.letters));
        for (olds, news) in runs(&old, &new, &mut budget) {
            let (olds, news) = (old.get(olds), new.get(news));
            let (olds, news) = (olds.unwrap_or_default(), news.unwrap_or_default());
            if !is_spelling(olds, news) {
                rewritten += olds.len().max(news.len());
            }
        }
    }
    rewritten
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn word_count(content: &Content) -> usize {
    let texts = content.segments().map(|segment| segment.content.text());
    texts.map(|text| text.split_whitespace().count()).sum()
}

/// Whether a paragraph has another role, other links, or is translated or not otherwise than before.
fn is_marked_otherwise(diff: &SegmentDiff<'_>) -> bool {
    fn links(segment: &Segment) -> Vec<&str> {
        let spans = segment.content.spans().iter();
        let links = spans.filter_map(|span| match &span.mark {
            Mark::Link(href) => Some(href.as_str()),
            _ => None,
        });
        links.collect()
    }
    let (Some(old), Some(new)) = (diff.old, diff.new) else {
        return false;
    };
    (old.role, old.translate) != (new.role, new.translate) || links(old) != links(new)
}

/// Whether words are only written another way: with other spaces, or with one wrong letter in a long word. Other marks,
/// vowel signs, tatweel, letter case and letters of the same look are no difference by then.
fn is_spelling(old: &[&str], new: &[&str]) -> bool {
    let are_misspelt = || old.iter().zip(new).all(|(old, new)| is_misspelt(old, new));
    old.concat() == new.concat() || old.len() == new.len() && are_misspelt()
}

/// Whether two words are one with at most one wrong letter. The first letter and digits are never wrong.
fn is_misspelt(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a == b {
        return true;
    }
    let is_word = |word: &[char]| word.iter().all(|c| c.is_alphabetic());
    if a.len().max(b.len()) < MISSPELT_FROM || a.first() != b.first() || !is_word(&a) || !is_word(&b) {
        return false;
    }
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.split_at(start).1, b.split_at(start).1);
    match (a, b) {
        ([x, y, a @ ..], [v, w, b @ ..]) if x == w && y == v && a == b => true,
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([_, a @ ..], b) if a == b => true,
        (a, [_, b @ ..]) => a == b,
        _ => false,
    }
}

/// The words of a folded text by their letters, digits and signs such as `%`; what is punctuation alone is left out.
fn letters_by_word(text: &str) -> Vec<String> {
    let counts = |c: &char| c.is_alphanumeric() || is_sign(*c);
    let letters = |word: &str| word.chars().filter(counts).collect::<String>();
    let words = text.split_whitespace().map(letters);
    words.filter(|word| !word.is_empty()).collect()
}

/// Signs that say something.
fn is_sign(c: char) -> bool {
    matches!(
        c,
        '%' | '٪'
            | '‰'
            | '$'
            | '£'
            | '¥'
            | '€'
            | '¢'
            | '﷼'
            | '+'
            | '='
            | '<'
            | '>'
            | '±'
            | '×'
            | '÷'
            | '°'
            | '#'
            | '&'
    )
}

/// The numbers of a folded text in order, digits of all scripts alike, with sign and separators; then the spelt ones.
fn numbers(text: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        if c.is_numeric() {
            let mut number = String::new();
            if matches!(before, '-' | '+') {
                number.push(before);
            }
            number.push(c);
            while let Some(next) = chars.next_if(|next| next.is_numeric() || is_separator(*next)) {
                number.push(match next {
                    '٫' => '.',
                    '٬' => ',',
                    other => other,
                });
            }
            // A mark that no digit follows ends the sentence.
            number.truncate(number.trim_end_matches(|c: char| !c.is_numeric()).len());
            numbers.push(number);
        }
        before = match (before.is_alphanumeric(), c) {
            // A hyphen joins words.
            (true, '-') => ' ',
            _ => c,
        };
    }
    numbers.extend(
        words_of(text)
            .filter(|word| is_number_word(word))
            .map(str::to_owned),
    );
    numbers
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | ',' | '٫' | '٬' | '،' | ':' | '/' | '\u{2044}')
}

/// The negations of a folded text in order.
fn negations(text: &str) -> Vec<String> {
    let negations = words_of(text).filter(|word| is_negation(word));
    negations.map(str::to_owned).collect()
}

/// The words of a folded text by their letters; an apostrophe is one of them, so that `don't` is a word.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
}

/// What a segment quotes, one text for each quotation, exactly but for white space and the marks around it.
fn quotations(segment: &Segment) -> Vec<String> {
    let text = segment.content.text();
    let exact = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if segment.role == Role::Quote {
        return vec![exact(text)];
    }
    let mut quotations = Vec::new();
    let mut open: Vec<char> = Vec::new();
    let mut quoted = String::new();
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let is_apostrophe =
            before.is_alphanumeric() && chars.peek().is_some_and(|next| next.is_alphanumeric());
        match quote_family(c).filter(|family| *family != '\'' || !is_apostrophe) {
            Some(family) if open.contains(&family) => {
                while open.pop().is_some_and(|inner| inner != family) {}
                if open.is_empty() {
                    quotations.push(exact(&std::mem::take(&mut quoted)));
                }
            }
            // A single mark that closes nothing is an apostrophe.
            Some('\'') if before.is_alphanumeric() => {}
            Some(family) => open.push(family),
            None if !open.is_empty() && !is_invisible(c) => quoted.push(c),
            None => {}
        }
        before = c;
    }
    if !quoted.is_empty() {
        quotations.push(exact(&quoted));
    }
    quotations
}

/// Which quotation marks belong together. Publishers mix those of a family, and turn them round in right-to-left text.
fn quote_family(c: char) -> Option<char> {
    match c {
        '"' | '“' | '”' | '„' | '‟' | '″' | '＂' | '❝' | '❞' => Some('"'),
        '«' | '»' => Some('«'),
        '‹' | '›' => Some('‹'),
        '「' | '」' => Some('「'),
        '『' | '』' => Some('『'),
        '\'' | '‘' | '’' | '‚' => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

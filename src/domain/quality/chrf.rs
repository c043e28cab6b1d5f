//! chrF++ (Popović 2017): how many character and word n-grams a translation shares with a reference.
//!
//! The numbers are those of sacreBLEU 2 with its default settings for chrF++: case matters, white space between words
//! does not, no smoothing but the effective order, one reference. What counts as white space and punctuation is what
//! Python's `str.split` and `string.punctuation` say. The score of several segments comes from their summed counts, as
//! in sacreBLEU's `corpus_score`; it is not a mean of scores.

use std::cmp::Ordering;
use std::ops::AddAssign;

/// What the scores mean, as sacreBLEU writes it, without its version.
pub const SIGNATURE: &str = "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no";
/// The longest character n-grams.
const CHARACTER_ORDER: usize = 6;
/// All orders: characters, then words one by one, then pairs of words.
const ORDERS: usize = CHARACTER_ORDER + 2;
/// Recall counts this much more than precision (β = 2, squared).
const BETA_SQUARED: f64 = 4.0;

/// What a translation and its reference have in common. Counts of several segments add up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlap([Order; ORDERS]);

/// The n-grams of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Order {
    /// In the translation; none where the reference has none.
    hypothesis: usize,
    reference: usize,
    shared: usize,
}

impl Overlap {
    /// Compares a translation with a reference.
    pub fn of(hypothesis: &str, reference: &str) -> Self {
        let (characters, of_reference) = (characters(hypothesis), characters(reference));
        let (words, words_of_reference) = (words(hypothesis), words(reference));
        let mut overlap = Self::default();
        let mut orders = overlap.0.iter_mut();
        for (order, length) in orders.by_ref().take(CHARACTER_ORDER).zip(1..) {
            *order = Order::of(packed(&characters, length), packed(&of_reference, length));
        }
        for (order, length) in orders.zip(1..) {
            *order = Order::of(
                words.windows(length).collect(),
                words_of_reference.windows(length).collect(),
            );
        }
        overlap
    }

    /// The score, 0 to 100.
    pub fn score(&self) -> f64 {
        let (mut precision, mut recall, mut effective) = (0.0, 0.0, 0.0);
        for order in self.0.iter().filter(|o| o.hypothesis > 0 && o.reference > 0) {
            precision += order.shared as f64 / order.hypothesis as f64;
            recall += order.shared as f64 / order.reference as f64;
            effective += 1.0;
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / effective, recall / effective);
        let score = (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall);
        100.0 * score
    }
}

impl AddAssign<&Overlap> for Overlap {
    fn add_assign(&mut self, other: &Overlap) {
        for (order, other) in self.0.iter_mut().zip(&other.0) {
            order.hypothesis += other.hypothesis;
            order.reference += other.reference;
            order.shared += other.shared;
        }
    }
}

impl Order {
    /// Counts by sorting: exact, and small in memory however long the texts are.
    fn of<T: Ord>(mut hypothesis: Vec<T>, mut reference: Vec<T>) -> Self {
        hypothesis.sort_unstable();
        reference.sort_unstable();
        let mut shared = 0;
        let (mut left, mut right) = (hypothesis.iter().peekable(), reference.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match a.cmp(b) {
                Ordering::Less => {
                    left.next();
                }
                Ordering::Greater => {
                    right.next();
                }
                Ordering::Equal => {
                    shared += 1;
                    left.next();
                    right.next();
                }
            }
        }
        Self {
            hypothesis: if reference.is_empty() { 0 } else { hypothesis.len() },
            reference: reference.len(),
            shared,
        }
    }
}

/// Python's white space, which has four separators more than Unicode's.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}

fn characters(text: &str) -> Vec<char> {
    text.chars().filter(|c| !is_space(*c)).collect()
}

/// N-grams of one length as numbers: a code point has 21 bits, so that six fit into 128.
fn packed(characters: &[char], length: usize) -> Vec<u128> {
    let pack = |n_gram: &[char]| {
        n_gram
            .iter()
            .fold(0, |key, c| key << 21 | u128::from(u32::from(*c)))
    };
    characters.windows(length).map(pack).collect()
}

/// Words, with one punctuation mark set apart: at the end, else at the start.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let is_single = word.chars().nth(1).is_none();
        // Punctuation is ASCII, so that it is one byte.
        if !is_single && word.ends_with(|c: char| c.is_ascii_punctuation()) {
            let (word, mark) = word.split_at(word.len() - 1);
            words.extend([word, mark]);
        } else if !is_single && word.starts_with(|c: char| c.is_ascii_punctuation()) {
            let (mark, word) = word.split_at(1);
            words.extend([mark, word]);
        } else {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_sacrebleu_cuts_them() {
        assert_eq!(
            words("(hi) \"yes\" — no... a\u{A0}b ، !"),
            ["(hi", ")", "\"yes", "\"", "—", "no..", ".", "a", "b", "،", "!"]
        );
        assert_eq!(words("(hi \u{1C}'tis\u{1F}x"), ["(", "hi", "'", "tis", "x"]);
        assert_eq!(words(" \u{200B} "), ["\u{200B}"]);
    }

    #[test]
    fn the_same_text_scores_100_and_nothing_in_common_0() {
        assert_eq!(Overlap::of("قال الوزير", "قال  الوزير").score(), 100.0);
        assert_eq!(Overlap::of("abc", "xyz").score(), 0.0);
        assert_eq!(Overlap::of("", "xyz").score(), 0.0);
        assert_eq!(Overlap::of("abc", "").score(), 0.0);
        assert_eq!(Overlap::default().score(), 0.0);
    }

    #[test]
    fn counts_of_n_grams_are_of_multisets() {
        let overlap = Overlap::of("aab", "ab a");
        assert_eq!(
            overlap.0[0],
            Order {
                hypothesis: 3,
                reference: 3,
                shared: 3
            }
        );
        assert_eq!(
            overlap.0[1],
            Order {
                hypothesis: 2,
                reference: 2,
                shared: 1
            }
        );
        assert_eq!(overlap.0[3], Order::default());
        assert_eq!(
            overlap.0[7],
            Order {
                hypothesis: 0,
                reference: 1,
                shared: 0
            }
        );
    }
}

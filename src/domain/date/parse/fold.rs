//! One spelling for what people write in several: digits of three scripts, hamza and vowel marks, accents, letter case.
//!
//! A folded text is for comparing and for reading numbers, never for storing: it has lost what it left out.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Folds a text: compatibility forms resolved, lower case, ASCII digits, no combining marks (accents, tashkeel, the
/// hamza of `أ`), tatweel, bidirectional controls or other invisible characters; `ى` and `ة` as `ي` and `ه`, and the
/// Persian letters of the same look as the Arabic ones.
pub fn fold(text: &str) -> String {
    text.nfkd()
        .filter(|c| !is_combining_mark(*c) && *c != '\u{640}' && !is_invisible(*c))
        .map(fold_letter)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether the character only steers the layout: bidirectional controls, joiners, the byte order mark.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{AD}'
    )
}

fn fold_letter(c: char) -> char {
    match c {
        '٠'..='٩' => ascii_digit(c, '٠'),
        '۰'..='۹' => ascii_digit(c, '۰'),
        'ى' | 'ی' => 'ي',
        'ة' => 'ه',
        'ک' => 'ك',
        '−' | '‐' | '‑' => '-',
        '’' => '\'',
        other => other,
    }
}

fn ascii_digit(c: char, zero: char) -> char {
    char::from_digit(u32::from(c) - u32::from(zero), 10).unwrap_or(c)
}

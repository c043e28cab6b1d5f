//! One spelling for what people write in several: digits of three scripts, hamza and vowel marks, accents, letter case.
//!
//! A folded text is for comparing and for reading numbers, never for storing: it has lost what it left out.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Folds a text: compatibility forms resolved, lower case, ASCII digits, no combining marks (accents, tashkeel, the
/// hamza of `أ`), tatweel, bidirectional controls or other invisible characters; `ى` and `ة` as `ي` and `ه`, and the
/// Persian letters of the same look as the Arabic ones.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            folded.push(c.to_ascii_lowercase());
            continue;
        }
        // The order of combining marks, which NFKD settles too, is none of those that are left out.
        decompose_compatible(c, |c| {
            if !is_combining_mark(c) && c != '\u{640}' && !is_invisible(c) {
                folded.extend(fold_letter(c).to_lowercase());
            }
        });
    }
    folded
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    proptest! {
        #[test]
        fn it_is_nfkd_without_what_is_left_out(text in "[\\PC\u{64b}-\u{652}\u{300}-\u{330}أإآىةﷺ½²\u{640}\u{200f}]{0,40}") {
            let plain: String = text
                .nfkd()
                .filter(|c| !is_combining_mark(*c) && *c != '\u{640}' && !is_invisible(*c))
                .map(fold_letter)
                .flat_map(char::to_lowercase)
                .collect();
            prop_assert_eq!(fold(&text), plain);
        }
    }
}

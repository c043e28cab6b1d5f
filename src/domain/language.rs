//! Languages as canonical BCP-47 tags, and the direction of their script.
//!
//! Canonical means: the form that CLDR prescribes, so that `iw`, `IW` and `he` are one language. The tables come with
//! the `icu_locale` crate.

use std::fmt;
use std::sync::Arc;

use icu_locale::{Locale, LocaleCanonicalizer, LocaleDirectionality};

use super::Invalid;

/// The longest tag, in characters (BCP-47 recommends room for 35).
pub const MAX_TAG: usize = 64;

/// The direction that a language is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Left to right.
    Ltr,
    /// Right to left.
    Rtl,
}

/// A language: a canonical BCP-47 tag such as `ar`, `fr-CA`, `zh-Hans-CN` or `ckb-Arab`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language(Arc<str>);

impl Language {
    /// Checks a tag and brings it into canonical form.
    pub fn parse(tag: &str) -> Result<Self, Invalid> {
        if tag.is_empty() {
            return Err(Invalid::new(
                "a BCP-47 language tag is required, such as \"ar\" or \"fr-CA\"",
            ));
        }
        check_length(tag)?;
        let mut locale = Locale::try_from_str(tag)
            .ok()
            .filter(|_| !tag.contains('_'))
            .ok_or_else(|| not_a_tag(tag))?;
        if locale.id.language.is_unknown() {
            return Err(Invalid::new(format!(
                "{tag:?} does not name a language; use a BCP-47 tag such as \"ar\" or \"fr-CA\""
            )));
        }
        LocaleCanonicalizer::new_extended().canonicalize(&mut locale);
        let canonical = locale.to_string();
        // It can be longer: `cnr` becomes `sr-ME`. What is answered must be taken again.
        check_length(&canonical)?;
        Ok(Self(canonical.into()))
    }

    /// Takes a tag that [`Language::parse`] returned earlier, from a record of this store.
    pub fn from_canonical(tag: &str) -> Self {
        Self(tag.into())
    }

    /// The canonical tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tags that RFC 4647 looks a language up by: itself, and shorter and shorter ones.
    pub fn lookup_range(&self) -> Vec<Self> {
        let mut range = vec![self.clone()];
        let mut rest: &str = &self.0;
        while let Some((shorter, _)) = rest.rsplit_once('-') {
            // A single letter only introduces what comes after it.
            rest = match shorter.rsplit_once('-') {
                Some((before, singleton)) if singleton.len() == 1 => before,
                _ => shorter,
            };
            range.push(Self::from_canonical(rest));
        }
        range
    }

    /// Whether the tag extends another one, as `pt-BR` extends `pt`.
    pub fn is_variety_of(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(&*other.0);
        rest.is_some_and(|rest| rest.starts_with('-'))
    }

    /// The direction of the script that the tag names or implies; left to right where it is not known.
    pub fn direction(&self) -> Direction {
        match Locale::try_from_str(&self.0) {
            Ok(locale) if LocaleDirectionality::new_extended().is_right_to_left(&locale.id) => Direction::Rtl,
            _ => Direction::Ltr,
        }
    }
}

fn check_length(tag: &str) -> Result<(), Invalid> {
    match tag.len() {
        ..=MAX_TAG => Ok(()),
        length => Err(Invalid::new(format!(
            "a language tag of {length} bytes is longer than {MAX_TAG}"
        ))),
    }
}

fn not_a_tag(tag: &str) -> Invalid {
    Invalid::new(format!(
        "{tag:?} is not a BCP-47 language tag such as \"ar\", \"fr-CA\" or \"zh-Hans-CN\""
    ))
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_canonical() {
        for (given, canonical) in [
            ("iw", "he"),
            ("AR-eg", "ar-EG"),
            ("zh-hans-cn", "zh-Hans-CN"),
            ("ckb-arab", "ckb-Arab"),
            ("sh", "sr-Latn"),
            ("fr-ca", "fr-CA"),
            ("de-1996", "de-1996"),
        ] {
            assert_eq!(Language::parse(given).unwrap().as_str(), canonical, "{given}");
        }
    }

    #[test]
    fn a_tag_is_no_longer_than_the_limit_in_any_form() {
        // Found by the fuzzer: the canonical tag was longer, and was refused when it came back.
        let longest = |rest: usize| format!("cnr-x-{}", "abcdefgh-".repeat(7).split_at(rest).0);
        let fits = Language::parse(&longest(56)).unwrap();
        assert_eq!(fits.as_str().len(), MAX_TAG);
        assert_eq!(Language::parse(fits.as_str()), Ok(fits));
        let error = Language::parse(&longest(57)).unwrap_err().0;
        assert_eq!(error, "a language tag of 65 bytes is longer than 64");
    }

    #[test]
    fn what_is_no_tag_is_refused_with_its_text() {
        for tag in [
            "", "x-", "x-foo", "a", "ar_EG", "english", "ar--EG", "ar-", "-ar", "und", "ar eg", "عربي",
        ] {
            let error = Language::parse(tag).unwrap_err().0;
            assert!(
                tag.is_empty() || error.contains(&format!("{tag:?}")),
                "{tag}: {error}"
            );
        }
        assert!(Language::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_language_is_looked_up_by_shorter_and_shorter_tags() {
        let range = |tag| {
            let range = Language::parse(tag).unwrap().lookup_range();
            range.iter().map(Language::to_string).collect::<Vec<_>>()
        };
        assert_eq!(range("ar"), ["ar"]);
        assert_eq!(range("zh-Hant-TW"), ["zh-Hant-TW", "zh-Hant", "zh"]);
        // The example of RFC 4647, section 3.4.
        assert_eq!(
            range("zh-Hant-CN-x-private1-private2"),
            [
                "zh-Hant-CN-x-private1-private2",
                "zh-Hant-CN-x-private1",
                "zh-Hant-CN",
                "zh-Hant",
                "zh"
            ]
        );
        let (pt, br, other) = ("pt", "pt-BR", "pts");
        let [pt, br, other] = [pt, br, other].map(|tag| Language::parse(tag).unwrap());
        assert!(
            br.is_variety_of(&pt)
                && !pt.is_variety_of(&br)
                && !pt.is_variety_of(&pt)
                && !other.is_variety_of(&pt)
        );
    }

    #[test]
    fn the_direction_follows_the_script() {
        for (tag, direction) in [
            ("ar", Direction::Rtl),
            ("ckb-Arab", Direction::Rtl),
            ("he", Direction::Rtl),
            ("ur", Direction::Rtl),
            ("fa", Direction::Rtl),
            ("ar-Latn", Direction::Ltr),
            ("az-Arab", Direction::Rtl),
            ("en", Direction::Ltr),
            ("zh-Hans-CN", Direction::Ltr),
        ] {
            assert_eq!(Language::parse(tag).unwrap().direction(), direction, "{tag}");
        }
    }
}

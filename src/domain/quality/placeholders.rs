//! What a translation must carry over letter by letter: variables of formats, tags, web and mail addresses.
//!
//! Found are `{0}`, `{name}`, `{n, number}`, the head of `{n, plural, …}`, `{{name}}`, `${x}`, `%s`, `%1$d`, `%(name)s`, `<tag>`, addresses that begin
//! with a scheme or `www.`, and mail addresses. Two are the same when they are written the same.

use std::sync::LazyLock;

use regex::Regex;

use super::Differences;
use super::digits;

/// A text taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The placeholders in order.
    pub placeholders: Vec<&'a str>,
    /// What stands between them.
    pub texts: Vec<&'a str>,
}

/// Punctuation that ends a sentence rather than an address.
const AFTER_ADDRESS: &str = ".,;:!?'\")]*…،؛؟’”»";

#[expect(
    clippy::expect_used,
    reason = "the pattern is constant, and every test compiles it"
)]
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)
          (?P<address> (?i: https?:// | ftp:// | www\. ) [^\s<>"{}|\\^`«»“”]+ )
        | [A-Za-z0-9._%+-]{1,64} @ [A-Za-z0-9-]+ (?: \.[A-Za-z0-9-]+ )+
        | \$\{ [^{}\s]+ \}
        | \{\{ [^{}]+ \}\}
        | \{ [\w.:-]* \}
        | \{ \w+ \s*, [^{}]* \}
        | \{ \w+ \s*, \s* (?: plural | select | selectordinal ) \s*,
        | (?P<format> % (?: \(\w+\) | \d+\$ )? [-+\#0]* \d* (?: \.\d+ )? (?: hh | ll | [hlLqjzt] )?
            [sdiuoxXfFeEgGaAcCpn@] )
        | </? [A-Za-z] [\w:.-]* (?: \s [^<>]* )? /?>
        "#,
    )
    .expect("the pattern is sound")
});

impl<'a> Parts<'a> {
    /// Takes a text apart.
    pub fn of(text: &'a str) -> Self {
        let mut parts = Self {
            placeholders: Vec::new(),
            texts: Vec::new(),
        };
        let mut rest = text;
        let mut taken = 0;
        for found in PATTERN.captures_iter(text) {
            let Some(whole) = found.get(0) else { continue };
            let placeholder = if found.name("address").is_some() {
                without_punctuation(whole.as_str())
            } else {
                whole.as_str()
            };
            let (before, from) = text.split_at(whole.start());
            // "100%discount" is a sentence, not a format.
            let is_percentage = before.ends_with(|c| digits::ascii(c).is_some());
            if found.name("format").is_some() && is_percentage {
                continue;
            }
            parts.texts.push(before.get(taken..).unwrap_or_default());
            parts.placeholders.push(placeholder);
            rest = from.get(placeholder.len()..).unwrap_or_default();
            taken = whole.start() + placeholder.len();
        }
        parts.texts.push(rest);
        parts
    }
}

/// The placeholders that only one of two texts has.
pub fn differences(source: &Parts, target: &Parts) -> Differences {
    Differences::of(&source.placeholders, &target.placeholders)
}

/// The address without the punctuation of the sentence after it. A bracket stays that was opened inside.
fn without_punctuation(address: &str) -> &str {
    let (opened, mut closed) = (address.matches('(').count(), address.matches(')').count());
    let mut end = address;
    while let Some(last) = end.chars().next_back().filter(|c| AFTER_ADDRESS.contains(*c)) {
        if last == ')' {
            if closed <= opened {
                break;
            }
            closed -= 1;
        }
        end = end.strip_suffix(last).unwrap_or(end);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let parts = Parts::of(text);
        let mut whole = String::new();
        let mut placeholders = parts.placeholders.iter();
        for text in &parts.texts {
            whole.push_str(text);
            whole.push_str(placeholders.next().copied().unwrap_or_default());
        }
        assert_eq!(whole, text, "nothing gets lost");
        parts.placeholders
    }

    #[test]
    fn placeholders_of_every_kind_are_found() {
        for (text, expected) in [
            (
                "Hello {0} and {name}, {} {a.b}",
                &["{0}", "{name}", "{}", "{a.b}"][..],
            ),
            ("{{ user }} paid ${amount}", &["{{ user }}", "${amount}"]),
            ("{count, number} of {اسم}", &["{count, number}", "{اسم}"]),
            ("{n, plural, one {# file} other {# files}}", &["{n, plural,"]),
            (
                "%s %d %1$d %2$s %.2f %05d %(name)s %@",
                &["%s", "%d", "%1$d", "%2$s", "%.2f", "%05d", "%(name)s", "%@"],
            ),
            (
                "a <b>bold</b> <br/> <a href=\"x y\">",
                &["<b>", "</b>", "<br/>", "<a href=\"x y\">"],
            ),
            (
                "انظر https://example.com/a?b=1، أو (www.example.org/x).",
                &["https://example.com/a?b=1", "www.example.org/x"],
            ),
            (
                "https://en.wikipedia.org/wiki/Mole_(unit))",
                &["https://en.wikipedia.org/wiki/Mole_(unit)"],
            ),
            (
                "write to desk+ar@news.example.co.uk.",
                &["desk+ar@news.example.co.uk"],
            ),
            ("أرسل إلى info@example.com", &["info@example.com"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_texts_have_none() {
        for text in [
            "100% sure, 50%discount, ٥٠%discount, 5 % of",
            "a < b and b > c; x<3>y",
            "as said {in so many words} and $5",
            "the @handle said: see example.com",
            "نص عربي بنسبة 20% فقط",
        ] {
            assert_eq!(found(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn differences_are_of_multisets() {
        let of = |source, target| differences(&Parts::of(source), &Parts::of(target));
        assert!(of("{0} of {1}: <b>%s</b>", "%s: {1} <b>من</b> {0}").is_empty());
        let differences = of("{0} {0} %s", "{0} %d %d");
        assert_eq!(differences.missing, ["{0}", "%s"]);
        assert_eq!(differences.added, ["%d", "%d"]);
    }

    #[test]
    fn hostile_texts_take_no_time() {
        let text = format!("https://x{}", "()".repeat(200_000) + &")".repeat(200_000));
        assert_eq!(found(&text)[0].len(), "https://x".len() + 400_000);
        // Each format could begin a mail address that never ends, were its length not limited.
        assert_eq!(found(&"a%s".repeat(150_000)).len(), 150_000);
        assert_eq!(found(&"{a, <b ".repeat(70_000)).len(), 0);
    }
}

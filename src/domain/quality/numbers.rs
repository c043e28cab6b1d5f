//! Numbers that a translation lost or added, written in digits of any script.
//!
//! `1,234.5`, `1.234,5`, `1 234,5` and `١٬٢٣٤٫٥` are one number. Where a text leaves open whether a separator is for
//! decimals or thousands, as in `1.234`, it is what the other text says. A number with separators that the other text
//! does not have is compared by its parts, so that `10.30` is the same as `10:30`. Zeros that do not count are dropped.
//! Not looked at: signs, units, numbers in words, and what stands in placeholders and addresses.

use std::collections::HashMap;
use std::ops::Range;

use super::Differences;
use super::digits;
use super::placeholders::Parts;

/// A number as it is written, with what it may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number<'a> {
    written: &'a str,
    /// Its possible values in canonical form, at most two.
    values: Vec<String>,
    /// The whole numbers between its separators; empty where it has none.
    parts: Vec<String>,
    /// Whether the other text has it too.
    is_matched: bool,
}

/// The numbers that only one of two texts has.
pub fn differences(source: &Parts, target: &Parts) -> Differences {
    let (mut source, mut target) = (numbers(source), numbers(target));
    // Those with one meaning go first: an ambiguous one must not take the place of an exact one.
    let exact = |number: &Number| match number.values.as_slice() {
        [value] => vec![value.clone()],
        _ => Vec::new(),
    };
    let any = |number: &Number| number.values.clone();
    match_values(&mut source, &mut target, exact, exact);
    match_values(&mut source, &mut target, any, exact);
    match_values(&mut source, &mut target, any, any);
    match_parts(&mut source, &mut target);
    match_parts(&mut target, &mut source);
    let open = |numbers: Vec<Number>| {
        let open = numbers.into_iter().filter(|number| !number.is_matched);
        open.map(|number| number.written.to_owned()).collect()
    };
    Differences {
        missing: open(source),
        added: open(target),
    }
}

/// Open numbers by a key, the first of each key last.
type Open = HashMap<String, Vec<usize>>;

fn open_by(numbers: &[Number], keys: impl Fn(&Number) -> Vec<String>) -> Open {
    let mut open = Open::new();
    for (index, number) in numbers.iter().enumerate().rev().filter(|(_, n)| !n.is_matched) {
        for key in keys(number) {
            open.entry(key).or_default().push(index);
        }
    }
    open
}

/// Matches numbers one to one that share a value.
fn match_values(
    source: &mut [Number],
    target: &mut [Number],
    of_source: impl Fn(&Number) -> Vec<String>,
    of_target: impl Fn(&Number) -> Vec<String>,
) {
    let mut open = open_by(target, of_target);
    for number in source.iter_mut().filter(|number| !number.is_matched) {
        for value in of_source(number) {
            let Some(candidates) = open.get_mut(&value) else {
                continue;
            };
            // A candidate may have been matched by its other value.
            let free = std::iter::from_fn(|| candidates.pop())
                .find(|index| target.get(*index).is_some_and(|other| !other.is_matched));
            if let Some(other) = free.and_then(|index| target.get_mut(index)) {
                (number.is_matched, other.is_matched) = (true, true);
                break;
            }
        }
    }
}

/// Matches numbers with separators whose parts all stand in the other text as numbers of their own.
fn match_parts(composites: &mut [Number], others: &mut [Number]) {
    let single = |number: &Number| {
        let value = number.values.first().filter(|_| number.parts.is_empty());
        value.cloned().into_iter().collect()
    };
    let mut open = open_by(others, single);
    let is_open = |number: &&mut Number| !number.is_matched && !number.parts.is_empty();
    for number in composites.iter_mut().filter(is_open) {
        let mut taken = Vec::with_capacity(number.parts.len());
        for part in &number.parts {
            if let Some(index) = open.get_mut(part).and_then(Vec::pop) {
                taken.push((part, index));
            }
        }
        number.is_matched = taken.len() == number.parts.len();
        for (part, index) in taken.into_iter().rev() {
            match others.get_mut(index) {
                Some(other) if number.is_matched => other.is_matched = true,
                _ => open.entry(part.clone()).or_default().push(index),
            }
        }
    }
}

fn numbers<'a>(parts: &Parts<'a>) -> Vec<Number<'a>> {
    let mut numbers = Vec::new();
    for text in &parts.texts {
        let mut rest = *text;
        while let Some(token) = Token::first(rest) {
            rest = rest.get(token.end()..).unwrap_or_default();
            token.numbers(&mut numbers);
        }
    }
    numbers
}

/// Digits with single separators between them.
struct Token<'a> {
    text: &'a str,
    /// Runs of digits: where they stand, and in ASCII.
    groups: Vec<(Range<usize>, String)>,
    /// One between every two groups.
    separators: Vec<char>,
}

/// U+066B and U+066C are the Arabic decimal and thousands separators, U+060C the Arabic comma that stands in for them.
const DECIMAL: &str = ".,\u{66B}\u{60C}";
const THOUSANDS: &str = ".,\u{66C}\u{60C}'’";
/// The space and those that do not break lines or are narrow.
const SPACES: &str = " \u{A0}\u{202F}\u{2009}\u{2007}";

impl<'a> Token<'a> {
    fn first(text: &'a str) -> Option<Self> {
        let start = text.find(|c| digits::ascii(c).is_some())?;
        let mut token = Self {
            text,
            groups: vec![group(text, start)?],
            separators: Vec::new(),
        };
        while let Some((separator, next)) = token.next() {
            token.separators.push(separator);
            token.groups.push(next);
        }
        Some(token)
    }

    fn end(&self) -> usize {
        self.groups.last().map_or(self.text.len(), |(range, _)| range.end)
    }

    /// The separator and the digits that go on after the last ones.
    fn next(&self) -> Option<(char, (Range<usize>, String))> {
        let at = self.end();
        let separator = self.text.get(at..)?.chars().next()?;
        let next = group(self.text, at + separator.len_utf8())?;
        let continues = if SPACES.contains(separator) {
            // Only as thousands: any two numbers may stand side by side.
            let so_far = self.groups.iter().map(|(_, digits)| digits.as_str());
            next.1.len() == 3 && grouped(&so_far.collect::<Vec<_>>(), &self.separators, |c| c == separator)
        } else {
            DECIMAL.contains(separator) || THOUSANDS.contains(separator)
        };
        continues.then_some((separator, next))
    }

    /// The number that this is, or several where it can be none, like the date `10.05.2022`.
    fn numbers(&self, numbers: &mut Vec<Number<'a>>) {
        let number = |range: Range<usize>, values, parts| Number {
            written: self.text.get(range).unwrap_or_default(),
            values,
            parts,
            is_matched: false,
        };
        let values = self.values();
        let whole = |(_, digits): &(_, String)| whole(digits);
        if values.is_empty() || self.separators.is_empty() {
            let single =
                |group: &(Range<usize>, String)| number(group.0.clone(), vec![whole(group)], Vec::new());
            numbers.extend(self.groups.iter().map(single));
        } else {
            let start = self.groups.first().map_or(0, |(range, _)| range.start);
            let parts = self.groups.iter().map(whole).collect();
            numbers.push(number(start..self.end(), values, parts));
        }
    }

    /// What the number may be; nothing if its separators make none.
    fn values(&self) -> Vec<String> {
        let groups: Vec<_> = self.groups.iter().map(|(_, digits)| digits.as_str()).collect();
        let mut values = Vec::new();
        let is_thousands = |c: char| THOUSANDS.contains(c) || SPACES.contains(c);
        if grouped(&groups, &self.separators, is_thousands) {
            values.push(whole(&groups.concat()));
        }
        if let (Some((decimal, others)), Some((fraction, integer))) =
            (self.separators.split_last(), groups.split_last())
            && DECIMAL.contains(*decimal)
            && !others.contains(decimal)
            && (others.is_empty() || grouped(integer, others, is_thousands))
        {
            let integer = whole(&integer.concat());
            values.push(match fraction.trim_end_matches('0') {
                "" => integer,
                fraction => format!("{integer}.{fraction}"),
            });
        }
        values
    }
}

/// The digits that start exactly here.
fn group(text: &str, start: usize) -> Option<(Range<usize>, String)> {
    let mut end = start;
    let mut ascii = String::new();
    for (c, digit) in text
        .get(start..)?
        .chars()
        .map_while(|c| Some((c, digits::ascii(c)?)))
    {
        end += c.len_utf8();
        ascii.push(digit);
    }
    (end > start).then_some((start..end, ascii))
}

/// Whether groups of digits are thousands between separators of one kind: 1,234,567 or the Indian 12,34,567.
fn grouped(groups: &[&str], separators: &[char], is_thousands: impl Fn(char) -> bool) -> bool {
    let Some((first, rest)) = groups.split_first() else {
        return false;
    };
    let is_one_kind = separators
        .iter()
        .all(|c| is_thousands(*c) && separators.first() == Some(c));
    let western = first.len() <= 3 && rest.iter().all(|group| group.len() == 3);
    let indian = first.len() <= 2
        && rest
            .split_last()
            .is_some_and(|(last, middle)| last.len() == 3 && middle.iter().all(|group| group.len() == 2));
    // "0.500" is a decimal.
    let is_padded = first.starts_with('0') && !rest.is_empty();
    is_one_kind && !is_padded && (western || indian)
}

/// A whole number without zeros in front.
fn whole(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compare(source: &str, target: &str) -> Differences {
        differences(&Parts::of(source), &Parts::of(target))
    }

    #[track_caller]
    fn same(source: &str, target: &str) {
        let expected = Differences::default();
        assert_eq!(compare(source, target), expected, "{source} | {target}");
        assert_eq!(compare(target, source), expected, "{target} | {source}");
    }

    #[track_caller]
    fn differ(source: &str, target: &str, missing: &[&str], added: &[&str]) {
        let differences = compare(source, target);
        assert_eq!(
            (differences.missing, differences.added),
            (strings(missing), strings(added)),
            "{source} | {target}"
        );
        let reverse = compare(target, source);
        assert_eq!(
            (reverse.missing, reverse.added),
            (strings(added), strings(missing)),
            "{target} | {source}"
        );
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn digits_of_all_scripts_are_the_same() {
        same("64 of 70 workshops in 2024", "٦٤ من أصل ٧٠ ورشة عام ٢٠٢٤");
        same("64 of 70 in 2024", "۶۴ از ۷۰ در ۲۰۲۴");
        same("25", "२५");
        same("COVID-19, G20", "كوفيد-١٩ و G20");
        differ("64 of 70", "٦٦ من ٧٠", &["64"], &["٦٦"]);
    }

    #[test]
    fn separators_of_every_locale_are_the_same() {
        for written in [
            "1,234,567.5",
            "1.234.567,5",
            "1 234 567,5",
            "1\u{202F}234\u{202F}567,5",
            "1'234'567.50",
            "١٬٢٣٤٬٥٦٧٫٥",
            "12,34,567.5",
            "1234567.5",
            "01234567,500",
        ] {
            same("1234567.5", written);
        }
        same("5,100 people", "5 100 personnes");
        same("1,234", "1.234");
        same("1,234", "1234");
        same("1.234", "1,234");
        same("0.500 litres", "نصف لتر 0٫5");
        same("3.5", "٣،٥");
        differ("3.5", "35", &["3.5"], &["35"]);
        differ("0.123", "123", &["0.123"], &["123"]);
        differ("1,234", "1235", &["1,234"], &["1235"]);
    }

    #[test]
    fn what_is_ambiguous_never_takes_the_place_of_what_is_exact() {
        same("1,234 and 1234", "1234 or 1.2340");
        same("1234 and 1,234", "1.2340 or 1234");
        same("1,234 and 1.2340", "1.234 and 1234");
        differ("1.234 1.234", "1234 1235", &["1.234"], &["1235"]);
    }

    #[test]
    fn times_dates_and_lists_are_compared_by_their_parts() {
        same("at 10:30 on 10/05/2022", "10.30 am 10.5.2022");
        same("On May 5 100 people came", "في 5 مايو جاء 100 شخص");
        same("1, 2, 3 and 4", "1،2،3،4");
        same("version 1.2.3", "الإصدار ١.٢.٣");
        differ("at 10:30", "10.45", &["10", "30"], &["10.45"]);
        same("5\n100", "100 5");
    }

    #[test]
    fn numbers_are_a_multiset_and_those_of_placeholders_are_none() {
        differ("7 and 7 and 8", "8 و 7", &["7"], &[]);
        same(
            "{0} %1$d https://example.com/2022/05",
            "https://example.com/2021/04 {1} %2$d",
        );
        same("no numbers", "لا أرقام");
    }

    proptest! {
        #[test]
        fn a_number_is_found_however_it_is_written(value in 0_u64..10_000_000_000, fraction in 0_u32..1_000, arabic: bool) {
            let digits = value.to_string();
            let groups = digits.as_bytes().rchunks(3).rev().map(|chunk| std::str::from_utf8(chunk).unwrap());
            let groups: Vec<_> = groups.collect();
            let write = |thousands: &str, decimal: &str| {
                let fraction = if fraction == 0 { String::new() } else { format!("{decimal}{fraction:04}") };
                groups.join(thousands) + &fraction
            };
            let plain = write("", ".");
            for (thousands, decimal) in [(",", "."), (".", ","), ("\u{A0}", ","), ("٬", "٫"), ("’", ".")] {
                let mut written = write(thousands, decimal);
                if arabic {
                    written = written.chars().map(|c| match c.to_digit(10) {
                        Some(digit) => char::from_u32(0x660 + digit).unwrap(),
                        None => c,
                    }).collect();
                }
                prop_assert_eq!(compare(&plain, &written), Differences::default(), "{} {}", plain, written);
            }
        }

        #[test]
        fn any_text_agrees_with_itself_and_differs_both_ways_alike(source in "[0-9٠-٩ .,:٫٬'a]{0,24}", target in "[0-9٠-٩ .,:٫٬'a]{0,24}") {
            prop_assert_eq!(compare(&source, &source), Differences::default());
            let (there, back) = (compare(&source, &target), compare(&target, &source));
            prop_assert_eq!(there.missing.len(), back.added.len());
            prop_assert_eq!(there.added.len(), back.missing.len());
        }
    }
}

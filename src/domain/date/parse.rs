//! Reads one date text into an [`ArticleDate`], without guessing.
//!
//! What is understood, with digits of any of three scripts (`2022`, `٢٠٢٢`, `۲۰۲۲`) and weekdays skipped:
//!
//! - ISO 8601 and RFC 3339 in the extended form: `2022-05-10`, `2022-05-10T22:45Z`, `2022-05-10 22:45:01.5+01:00`;
//! - numbers with `/`, `-` or `.`: **day first** (`10/05/2022`), unless the year comes first (`2022/05/10`); a year
//!   has four digits;
//! - month names in Arabic (both traditions, and the Maghreb's), English and French: `10 مايو 2022 22:45 GMT`,
//!   `أيلول/سبتمبر`, `May 10, 2022`, `1er août 2022 à 22h45`;
//! - clock times with minutes; `ص`, `م`, `صباحا`, `مساء`, `am`, `pm` after them;
//! - the offsets `Z`, `GMT`, `UTC`, `بتوقيت غرينتش`, `+01:00`, `+0100`, `+01`, `GMT+1`. Without one, the caller's
//!   default zone gives it, and the date says so.
//!
//! Every part of the text must be understood, and each of year, month, day, time and offset may be said once: a word that
//! is not known (another zone's name, a Hijri month, a second day) refuses the whole text. So does a time that no
//! clock shows (hour 25, second 60): leap seconds have no instant of their own. This file knows no clock, so there
//! are no relative dates and no dates without a year.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use self::fold::fold;
use self::names::{Meaning, meaning};
use super::super::Invalid;
use super::super::segment::check_text;
use super::super::time::Timestamp;
use super::{ArticleDate, MAX_ORIGINAL, Precision};

pub mod fold;
mod names;
#[cfg(test)]
mod tests;

/// Reads a date; `zone` is where it was written if it names no offset.
///
/// A local time that the zone skips or repeats is read with the offset before the change, as RFC 5545 says, and the
/// seconds of offsets from before standard time are cut. Either way the date reads back as it was written.
pub fn parse(text: &str, zone: &TimeZone) -> Result<ArticleDate, Invalid> {
    let original = text.trim();
    check_text(original)?;
    if original.len() > MAX_ORIGINAL {
        return Err(Invalid::new(format!(
            "a date text of {} bytes is longer than {MAX_ORIGINAL}",
            original.len()
        )));
    }
    read(&fold(original))
        .and_then(|parts| parts.resolve(original, zone))
        .map_err(|reason| Invalid::new(format!("{original:?} is not a date: {reason}")))
}

/// Reads a date, or makes the undated one that keeps the text, with the reason. What no original may hold (control
/// characters, more than [`MAX_ORIGINAL`] bytes) is replaced by U+FFFD or cut. `None` for a blank text.
pub fn parse_or_keep(text: &str, zone: &TimeZone) -> Option<(ArticleDate, Option<Invalid>)> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(match parse(text, zone) {
        Ok(date) => (date, None),
        Err(reason) => {
            let clean = text.replace(char::is_control, "\u{FFFD}");
            let undated = ArticleDate {
                original: clean
                    .get(..clean.floor_char_boundary(MAX_ORIGINAL))
                    .unwrap_or_default()
                    .into(),
                ..ArticleDate::default()
            };
            (undated, Some(reason))
        }
    })
}

/// The zone of an IANA name (`Africa/Casablanca`, `UTC`) or a fixed offset (`+01:00`).
pub fn zone(name: &str) -> Result<TimeZone, Invalid> {
    if let Some((minutes, [])) = offset(&tokens(name), false)
        && OFFSETS.contains(&minutes)
        && let Ok(offset) = jiff::tz::Offset::from_seconds(i32::from(minutes) * 60)
    {
        return Ok(TimeZone::fixed(offset));
    }
    TimeZone::get(name).map_err(|_| {
        Invalid::new(format!(
            "{name:?} is neither an IANA zone such as \"Africa/Casablanca\" nor an offset such as \"+01:00\""
        ))
    })
}

/// The offsets that a date may have, in minutes.
const OFFSETS: std::ops::RangeInclusive<i16> = -18 * 60..=18 * 60;

/// What the text says so far.
#[derive(Debug, Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    clock: Option<Clock>,
    afternoon: Option<bool>,
    offset: Option<i16>,
    last: Last,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    hour: i8,
    minute: i8,
    /// Seconds and microseconds, where they were given.
    second: Option<(i8, i32)>,
}

/// What was understood last, white space and marks aside: it tells `م` for "pm" from `م` for the Common Era, and an
/// offset's minus from a dash.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    Year,
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Number(&'a str),
    Word(&'a str),
    Mark(char),
    Space,
}

use Token::{Mark, Number, Space, Word};

/// Splits a folded text. White space around `/` is dropped: pages print `10 / 05 / 2022` and `أيلول / سبتمبر`.
fn tokens(folded: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = folded;
    while let Some(first) = rest.chars().next() {
        let end = if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_ascii_digit())
        } else if first.is_alphabetic() {
            word_end(rest)
        } else if first.is_whitespace() {
            rest.find(|c: char| !c.is_whitespace())
        } else {
            Some(first.len_utf8())
        };
        let (token, tail) = rest.split_at(end.unwrap_or(rest.len()));
        match first {
            _ if first.is_ascii_digit() => tokens.push(Number(token)),
            _ if first.is_alphabetic() => tokens.push(Word(token)),
            _ if !first.is_whitespace() => {
                if first == '/' {
                    tokens.pop_if(|last| *last == Space);
                }
                tokens.push(Mark(first));
            }
            _ if tokens.last().is_some_and(|last| *last != Mark('/')) => tokens.push(Space),
            _ => {}
        }
        rest = tail;
    }
    tokens
}

/// The end of the word at the start of the text; `a.m` is one word.
fn word_end(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().peekable();
    let mut letters = 0;
    while let Some((at, c)) = chars.next() {
        let abbreviation =
            c == '.' && letters == 1 && chars.peek().is_some_and(|(_, next)| next.is_alphabetic());
        if !c.is_alphabetic() && !abbreviation {
            return Some(at);
        }
        letters = if c == '.' { 0 } else { letters + 1 };
    }
    None
}

fn read(folded: &str) -> Result<Parts, String> {
    let tokens = tokens(folded);
    let mut parts = Parts::default();
    let mut rest = tokens.as_slice();
    let mut previous = Space;
    while !rest.is_empty() {
        let next = parts.step(previous, rest)?;
        let used = rest.len() - next.len();
        previous = rest.get(used.wrapping_sub(1)).copied().unwrap_or(Space);
        rest = next;
    }
    Ok(parts)
}

impl Parts {
    /// Understands what is at the start of the tokens and returns the others.
    fn step<'t, 'a>(
        &mut self,
        previous: Token<'a>,
        tokens: &'t [Token<'a>],
    ) -> Result<&'t [Token<'a>], String> {
        if let Some((clock, rest)) = clock(tokens)? {
            once(&mut self.clock, clock, "time")?;
            self.last = Last::Time;
            return Ok(rest);
        }
        let plus = matches!(tokens, [Mark('+'), ..]);
        if (plus || self.last == Last::Time)
            && let Some((minutes, rest)) = offset(tokens, false)
        {
            self.say_offset(minutes)?;
            return Ok(rest);
        }
        match tokens {
            [
                Number(a),
                Mark(s @ ('/' | '-' | '.')),
                Number(b),
                Mark(t),
                Number(c),
                rest @ ..,
            ] if s == t => {
                let [year, month, day] = if a.len() == 4 { [a, b, c] } else { [c, b, a] };
                self.number(year, 4)?;
                self.number(day, 2)?;
                once(&mut self.month, short(month, "month")?, "month")?;
                self.last = Last::Year;
                Ok(rest)
            }
            [Number(digits), rest @ ..] => {
                self.number(digits, digits.len())?;
                Ok(rest)
            }
            [Word("t"), rest @ ..] if self.last == Last::Year && between_numbers(previous, rest) => Ok(rest),
            [Word(first), Space, Word(second), rest @ ..]
                if meaning(&format!("{first} {second}")).is_some() =>
            {
                self.word(&format!("{first} {second}"), rest)
            }
            [Word(word), rest @ ..] => self.word(word, rest),
            [Mark(mark), rest @ ..] if between_numbers(previous, rest) => Err(format!(
                "the {mark:?} between two numbers belongs to neither a date nor a time"
            )),
            [Mark(':'), rest @ ..] if matches!(rest, [Space, ..]) => Ok(rest),
            [
                Mark(',' | '،' | '-' | '–' | '—' | '/' | '.' | '|' | '·' | '•' | '(' | ')') | Space,
                rest @ ..,
            ] => Ok(rest),
            [Mark(mark), ..] => Err(format!("{mark:?} has no place in it")),
            [] => Ok(tokens),
        }
    }

    /// A year of four digits or a day of one or two; `width` is how many are expected.
    fn number(&mut self, digits: &str, width: usize) -> Result<(), String> {
        match (digits.len(), width) {
            (4, 4) => {
                let year = digits.parse().map_err(|_| format!("{digits:?} is not a year"))?;
                once(&mut self.year, year, "year")?;
                self.last = Last::Year;
            }
            (_, 4) => return Err(format!("the year {digits:?} does not have four digits")),
            (1 | 2, 1 | 2) => {
                once(&mut self.day, short(digits, "day")?, "day")?;
                self.last = Last::Other;
            }
            _ => {
                return Err(format!(
                    "{digits:?} is neither a year of four digits, a day nor a time"
                ));
            }
        }
        Ok(())
    }

    fn word<'t, 'a>(&mut self, word: &str, rest: &'t [Token<'a>]) -> Result<&'t [Token<'a>], String> {
        let last = std::mem::take(&mut self.last);
        match meaning(word) {
            Some(Meaning::Month(month)) if self.month.is_none_or(|said| said == month) => {
                self.month = Some(month);
            }
            Some(Meaning::Month(_)) => return Err(format!("{word:?} is a second month")),
            Some(Meaning::Pm) if word == "م" && last == Last::Year => {}
            Some(half @ (Meaning::Am | Meaning::Pm)) if last == Last::Time => {
                once(&mut self.afternoon, half == Meaning::Pm, "half of the day")?;
                self.last = Last::Time;
            }
            Some(Meaning::Am | Meaning::Pm) => return Err(format!("{word:?} does not follow a time")),
            Some(Meaning::Utc) => {
                let tail = rest.strip_prefix(&[Space]).unwrap_or(rest);
                let named = if word == "z" { None } else { offset(tail, true) };
                let (minutes, rest) = named.unwrap_or((0, rest));
                self.say_offset(minutes)?;
                return Ok(rest);
            }
            Some(Meaning::Filler) => self.last = last,
            Some(Meaning::HourMark) | None => return Err(format!("{word:?} is not understood")),
        }
        Ok(rest)
    }

    /// `+0000 UTC` says one thing twice; anything else is a contradiction.
    fn say_offset(&mut self, minutes: i16) -> Result<(), String> {
        self.last = Last::Other;
        if self.offset.is_some_and(|said| said != minutes) {
            return Err("it names two offsets".into());
        }
        if !OFFSETS.contains(&minutes) {
            return Err(format!(
                "an offset of {minutes} minutes is outside -18:00 to +18:00"
            ));
        }
        self.offset = Some(minutes);
        Ok(())
    }

    fn resolve(self, original: &str, zone: &TimeZone) -> Result<ArticleDate, String> {
        let (date, precision) = (self.date()?, self.precision());
        let local = DateTime::from_parts(date, self.time()?);
        let offset = match (self.offset, zone.to_ambiguous_timestamp(local).offset()) {
            (Some(minutes), _) => minutes,
            (None, AmbiguousOffset::Unambiguous { offset: before })
            | (None, AmbiguousOffset::Fold { before, .. } | AmbiguousOffset::Gap { before, .. }) => {
                minutes(before)
            }
        };
        // `jiff::Timestamp` ends a day before the year 9999 does, so the instant is counted here.
        let since_epoch = local.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
        let micros = since_epoch.as_micros() - i128::from(offset) * 60_000_000;
        let instant = i64::try_from(micros)
            .ok()
            .and_then(|micros| Timestamp::from_micros(micros).ok());
        Ok(ArticleDate {
            instant: Some(instant.ok_or("the instant is outside the years 1 to 9999")?),
            original: original.into(),
            utc_offset_minutes: offset,
            precision,
            zone_assumed: self.offset.is_none(),
        })
    }

    fn date(&self) -> Result<Date, String> {
        let year = self.year.ok_or("it names no year")?;
        let month = self.month.ok_or("it names no month")?;
        let day = self.day.ok_or("it names no day")?;
        if year < 1 {
            return Err(format!("year {year} is outside 1 to 9999"));
        }
        if !(1..=12).contains(&month) {
            return Err(format!("month {month} is outside 1 to 12"));
        }
        Date::new(year, month, day).map_err(|_| format!("{year:04}-{month:02} has no day {day}"))
    }

    fn precision(&self) -> Precision {
        match self.clock {
            None => Precision::Day,
            Some(Clock { second: None, .. }) => Precision::Minute,
            Some(_) => Precision::Second,
        }
    }

    /// The time on a 24-hour clock; a day starts at 0:00.
    fn time(&self) -> Result<Time, String> {
        let Some(Clock { hour, minute, second }) = self.clock else {
            return Ok(Time::midnight());
        };
        let (second, micros) = second.unwrap_or_default();
        let hour = match (self.afternoon, hour) {
            (Some(false), 12) => 0,
            (Some(true), 1..=11) => hour + 12,
            (Some(false), 13..=23) => return Err(format!("hour {hour} is not before noon")),
            (Some(true), 0) => return Err("hour 0 is not after noon".into()),
            _ => hour,
        };
        for (name, value, most) in [("hour", hour, 23), ("minute", minute, 59), ("second", second, 59)] {
            if value > most {
                return Err(format!("{name} {value} is outside 0 to {most}"));
            }
        }
        Time::new(hour, minute, second, micros * 1_000).map_err(|e| e.to_string())
    }
}

fn between_numbers(previous: Token<'_>, rest: &[Token<'_>]) -> bool {
    matches!((previous, rest), (Number(_), [Number(_), ..]))
}

/// A clock time at the start of the tokens: `7:02`, `22:45:01.25`, `22h45`, `22 h 45`.
fn clock<'t, 'a>(tokens: &'t [Token<'a>]) -> Result<Option<(Clock, &'t [Token<'a>])>, String> {
    let (hour, minute, rest) = match tokens {
        [Number(hour), Mark(':') | Word("h"), Number(minute), rest @ ..]
        | [Number(hour), Space, Word("h"), Space, Number(minute), rest @ ..] => (hour, minute, rest),
        [Number(hour), Word("h"), ..] | [Number(hour), Space, Word("h"), ..] => {
            return Err(format!("\"{hour}h\" has no minutes"));
        }
        _ => return Ok(None),
    };
    let (second, rest) = match rest {
        [
            Mark(':'),
            Number(second),
            Mark('.' | ','),
            Number(fraction),
            rest @ ..,
        ] => {
            let micros = format!("{fraction:0<6.6}").parse().unwrap_or_default();
            (Some((two_digits(second, "second")?, micros)), rest)
        }
        [Mark(':'), Number(second), rest @ ..] => (Some((two_digits(second, "second")?, 0)), rest),
        _ => (None, rest),
    };
    let (hour, minute) = (short(hour, "hour")?, two_digits(minute, "minute")?);
    Ok(Some((Clock { hour, minute, second }, rest)))
}

/// An offset at the start of the tokens, in minutes east: `+01:00`, `+0100`, `+01`; `+1` too where `loose`, after `GMT`.
fn offset<'t, 'a>(tokens: &'t [Token<'a>], loose: bool) -> Option<(i16, &'t [Token<'a>])> {
    let [Mark(sign @ ('+' | '-')), Number(hours), rest @ ..] = tokens else {
        return None;
    };
    let (hours, minutes, rest) = match (hours.len(), rest) {
        (2, [Mark(':'), Number(minutes), rest @ ..]) if minutes.len() == 2 => (*hours, *minutes, rest),
        (1, [Mark(':'), Number(minutes), rest @ ..]) if loose && minutes.len() == 2 => {
            (*hours, *minutes, rest)
        }
        (4, _) => {
            let (hours, minutes) = hours.split_at(2);
            (hours, minutes, rest)
        }
        (2, _) => (*hours, "0", rest),
        (1, _) if loose => (*hours, "0", rest),
        _ => return None,
    };
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60).then_some((if *sign == '-' { -total } else { total }, rest))
}

fn minutes(offset: jiff::tz::Offset) -> i16 {
    i16::try_from(offset.seconds() / 60).unwrap_or_default()
}

fn short(digits: &str, what: &str) -> Result<i8, String> {
    let value = digits.parse().ok().filter(|_| digits.len() <= 2);
    value.ok_or_else(|| format!("the {what} {digits:?} has more than two digits"))
}

fn two_digits(digits: &str, what: &str) -> Result<i8, String> {
    let value = short(digits, what)?;
    (digits.len() == 2)
        .then_some(value)
        .ok_or_else(|| format!("the {what} {digits:?} does not have two digits"))
}

fn once<T>(slot: &mut Option<T>, value: T, what: &str) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("it names more than one {what}")),
    }
}

//! The dates of an article: an instant with the text that it came from, the offset, and how precise it is.
//!
//! Reading a date out of a text is [`parse`]'s job. Nothing is guessed: a text that cannot be read stays as the
//! original of a date without an instant, and the article counts as undated on that axis.

use super::Invalid;
use super::segment::check_text;
use super::time::Timestamp;

pub mod parse;

/// The longest original text, in bytes.
pub const MAX_ORIGINAL: usize = 256;

/// How precise a date is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// A calendar day.
    Day,
    /// A minute.
    Minute,
    /// A second or finer.
    #[default]
    Second,
}

/// A date as the publisher gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ArticleDate {
    /// The instant, absent where the original could not be read. A day's instant is its start in its offset.
    pub instant: Option<Timestamp>,
    /// The text that the instant was read from; empty where there was none.
    pub original: String,
    /// The offset from UTC that the date was written in, in minutes east.
    pub utc_offset_minutes: i16,
    /// How precise it is.
    pub precision: Precision,
    /// Whether the offset was assumed because the original did not say it.
    pub zone_assumed: bool,
}

impl ArticleDate {
    /// Checks the limits of a date that a caller sent, and moves a day to its start.
    pub fn checked(self) -> Result<Self, Invalid> {
        check_text(&self.original)?;
        if self.original.len() > MAX_ORIGINAL {
            return Err(Invalid::new(format!(
                "an original date text of {} bytes is longer than {MAX_ORIGINAL}",
                self.original.len()
            )));
        }
        if !(-18 * 60..=18 * 60).contains(&self.utc_offset_minutes) {
            return Err(offset_out_of_range(self.utc_offset_minutes.into()));
        }
        if self.instant.is_none() && self.original.is_empty() {
            return Err(Invalid::new("a date needs an instant or the original text"));
        }
        Ok(match self {
            Self {
                instant: Some(instant),
                precision: Precision::Day,
                ..
            } => Self {
                instant: Some(start_of_day(instant, self.utc_offset_minutes)),
                ..self
            },
            other => other,
        })
    }

    /// The calendar day of the date in the offset that it was written in.
    pub fn civil_day(&self) -> Option<jiff::civil::Date> {
        civil_day(self.instant?, self.utc_offset_minutes)
    }
}

/// Why an offset is refused.
pub fn offset_out_of_range(minutes: i64) -> Invalid {
    Invalid::new(format!(
        "a UTC offset of {minutes} minutes is outside -1080 to 1080"
    ))
}

/// The start of an instant's calendar day at an offset in minutes east of UTC.
fn start_of_day(instant: Timestamp, utc_offset_minutes: i16) -> Timestamp {
    const DAY: i64 = 86_400_000_000;
    let local = instant.as_micros() + i64::from(utc_offset_minutes) * 60_000_000;
    instant.saturating_add_micros(-local.rem_euclid(DAY))
}

/// The calendar day of an instant at an offset in minutes east of UTC.
pub fn civil_day(instant: Timestamp, utc_offset_minutes: i16) -> Option<jiff::civil::Date> {
    let offset = jiff::tz::Offset::from_seconds(i32::from(utc_offset_minutes) * 60).ok()?;
    let instant = jiff::Timestamp::from_microsecond(instant.as_micros()).ok()?;
    Some(offset.to_datetime(instant).date())
}

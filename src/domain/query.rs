//! Lists by date: which articles, in which order, and where a page ended.

use std::hash::Hash;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Invalid;
use super::access::{Shown, Visibility};
use super::article::{ArticleId, Head};
use super::date::{ArticleDate, Precision, civil_day};
use super::freshness::{Freshness, Overall};
use super::language::Language;
use super::provenance::OriginClass;
use super::time::Timestamp;
use super::translation::{Slot, State};

/// A date that lists go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// When the publisher first published it.
    Published,
    /// When the publisher last changed it.
    Updated,
    /// When the store received it.
    Ingested,
    /// When its text last changed.
    Revised,
}

impl Axis {
    /// All axes.
    pub const ALL: [Self; 4] = [Self::Published, Self::Updated, Self::Ingested, Self::Revised];
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Newest first, then undated.
    NewestFirst,
    /// Oldest first, then undated.
    OldestFirst,
}

/// How far apart the same calendar day of two places can be, in microseconds: a date's offset is at most 18 hours, a
/// zone's less than 26, and they may be on either side of UTC.
const MAX_APART_MICROS: i64 = 44 * 3_600_000_000;

/// Which dates a list holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Range {
    /// All dates, and the undated articles.
    All,
    /// Undated articles only.
    Undated,
    /// Instants after the present, which [`Query::at`] fills in: until then none.
    Future,
    /// Instants from `start` on and before `end`.
    Instants {
        /// The first instant.
        start: Timestamp,
        /// The instant after the last.
        end: Timestamp,
    },
    /// Calendar days: instants from `start` on and before `end`, and dates of day precision by their own calendar day.
    Days {
        /// The first day's first instant in the zone.
        start: Timestamp,
        /// The first instant after the last day.
        end: Timestamp,
        /// The first day.
        first: Date,
        /// The day after the last.
        last: Date,
    },
}

impl Range {
    /// Half-open range of instants; an absent bound is none.
    pub fn instants(start: Option<Timestamp>, end: Option<Timestamp>) -> Result<Self, Invalid> {
        match (start, end) {
            (None, None) => Ok(Self::All),
            (Some(start), Some(end)) if end <= start => Err(Invalid::new(format!(
                "the end {end} is not after the start {start}"
            ))),
            (start, end) => {
                let end = end.unwrap_or(Timestamp::MAX);
                Ok(Self::Instants {
                    start: start.unwrap_or(Timestamp::MIN),
                    end,
                })
            }
        }
    }

    /// Half-open range of calendar days in a zone; an absent bound is none.
    pub fn days(first: Option<Date>, last: Option<Date>, zone: &TimeZone) -> Result<Self, Invalid> {
        match (first, last) {
            (None, None) => Ok(Self::All),
            (Some(first), Some(last)) if last <= first => Err(Invalid::new(format!(
                "the end {last} is not after the start {first}"
            ))),
            (first, last) => Ok(Self::Days {
                start: first.map_or(Ok(Timestamp::MIN), |day| start_of_day(day, zone))?,
                end: last.map_or(Ok(Timestamp::MAX), |day| start_of_day(day, zone))?,
                first: first.unwrap_or(Date::MIN),
                last: last.unwrap_or(Date::MAX),
            }),
        }
    }

    /// The instants that an index has to be read between to find all that may match, both inclusive; `None` for undated
    /// articles only.
    pub fn index_bounds(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::All => Some((Timestamp::MIN, Timestamp::MAX)),
            Self::Undated | Self::Future => None,
            Self::Instants { start, end } => Some((*start, *end)),
            Self::Days { start, end, .. } => Some((
                start.saturating_add_micros(-MAX_APART_MICROS),
                end.saturating_add_micros(MAX_APART_MICROS),
            )),
        }
    }

    /// Whether undated articles belong to the list.
    pub fn has_undated(&self) -> bool {
        matches!(self, Self::All | Self::Undated)
    }

    fn contains(&self, date: &IndexedDate) -> bool {
        let Some(instant) = date.instant else {
            return self.has_undated();
        };
        match self {
            Self::All => true,
            Self::Undated | Self::Future => false,
            Self::Instants { start, end } => within(*start, *end, instant),
            Self::Days { first, last, .. } if date.precision == Precision::Day => {
                civil_day(instant, date.utc_offset_minutes).is_some_and(|day| (*first..*last).contains(&day))
            }
            Self::Days { start, end, .. } => within(*start, *end, instant),
        }
    }
}

/// Half-open, but [`Timestamp::MAX`] as the end stands for no bound.
fn within(start: Timestamp, end: Timestamp, instant: Timestamp) -> bool {
    start <= instant && (instant < end || end == Timestamp::MAX)
}

/// The first instant of a calendar day in a zone. Where clocks skip midnight it is the first instant after the gap.
fn start_of_day(day: Date, zone: &TimeZone) -> Result<Timestamp, Invalid> {
    let outside = || Invalid::new(format!("{day} is outside the years 1 to 9999"));
    let start = day.to_zoned_datetime(zone.clone()).map_err(|_| outside())?;
    Timestamp::from_micros(start.timestamp().as_microsecond()).map_err(|_| outside())
}

/// A list by date.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    /// The date to go by.
    pub axis: Axis,
    /// The dates.
    pub range: Range,
    /// The order.
    pub order: Order,
    /// Only this source language.
    pub language: Option<Language>,
    /// Only this section.
    pub section: Option<String>,
    /// Only this publisher.
    pub publisher: Option<String>,
    /// Which deleted and hidden articles too.
    pub shown: Shown,
    /// Only articles whose translation into a language stands so.
    pub translation: Option<TranslationFilter>,
}

impl Query {
    /// The same list, asked for at a time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let mut query = self.clone();
        if query.range == Range::Future {
            query.range = Range::Instants {
                start: now,
                end: Timestamp::MAX,
            };
        }
        query
    }
}

/// How the translation of an article into a language has to stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TranslationFilter {
    /// The language. Articles that were written in it do not need the translation and never match.
    pub language: Language,
    /// Whether there is one, and whether it still holds.
    pub presence: Presence,
    /// The least state; what is absent has none.
    pub min_state: Option<State>,
    /// What its text comes from.
    pub origin_class: Option<OriginClass>,
}

/// Whether an article has an active translation, and whether that still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It has one.
    Any,
    /// It has none.
    Absent,
    /// It has one that lacks segments.
    Incomplete,
    /// It has one with all segments, of which some were made from another text.
    Stale,
    /// It has one that holds.
    Current,
    /// It has none, or one that does not hold in some way: what there is to do.
    NotCurrent,
}

impl TranslationFilter {
    /// Whether an article in `source` matches, whose active translation stands so.
    pub fn matches(&self, source: &Language, standing: Option<&Standing>) -> bool {
        let overall = standing.map(|standing| standing.overall);
        let present = match self.presence {
            Presence::Any => overall.is_some(),
            Presence::Absent => overall.is_none(),
            Presence::Incomplete => overall == Some(Overall::Incomplete),
            Presence::Stale => overall == Some(Overall::Stale),
            Presence::Current => overall == Some(Overall::Current),
            Presence::NotCurrent => overall != Some(Overall::Current),
        };
        let state = standing.map(|standing| standing.state);
        let origin = standing.map(|standing| standing.origin_class);
        present
            && *source != self.language
            && self.min_state.is_none_or(|least| state >= Some(least))
            && self.origin_class.is_none_or(|class| origin == Some(class))
    }
}

/// How the active translation into a language stands at the head: what an index keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it still holds.
    pub overall: Overall,
    /// How far the work on it got.
    pub state: State,
    /// What its text comes from.
    pub origin_class: OriginClass,
}

impl Standing {
    /// How a slot's active translation stands to the head; `None` if nothing is active.
    pub fn of(head: &Head, slot: &Slot) -> Option<Self> {
        let active = slot.active()?;
        Some(Self {
            overall: Freshness::of_translation(active, &head.manifest).overall,
            state: active.state(),
            origin_class: active.origin_class(),
        })
    }
}

/// A date as an index keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedDate {
    /// The instant; `None` for an undated article.
    pub instant: Option<Timestamp>,
    /// How precise it is.
    pub precision: Precision,
    /// The offset that it was written in.
    pub utc_offset_minutes: i16,
}

/// What an index keeps of an article beside its date, so that a list need not read those that it leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRow {
    /// The date on the index's axis.
    pub date: IndexedDate,
    /// The source language.
    pub language: Language,
    /// The section.
    pub section: String,
    /// The publisher.
    pub publisher: String,
    /// Whether the article is deleted.
    pub deleted: bool,
    /// How far it may be seen.
    pub visibility: Visibility,
}

impl IndexRow {
    /// The row of an article on an axis.
    pub fn of(head: &Head, axis: Axis) -> Self {
        let metadata = &head.current.metadata;
        let given = |date: &Option<ArticleDate>| match date {
            Some(date) => IndexedDate {
                instant: date.instant,
                precision: date.precision,
                utc_offset_minutes: date.utc_offset_minutes,
            },
            None => IndexedDate {
                instant: None,
                precision: Precision::Second,
                utc_offset_minutes: 0,
            },
        };
        let stamped = |time| IndexedDate {
            instant: Some(time),
            precision: Precision::Second,
            utc_offset_minutes: 0,
        };
        Self {
            date: match axis {
                Axis::Published => given(&metadata.published),
                Axis::Updated => given(&metadata.updated),
                Axis::Ingested => stamped(head.current.created.time),
                Axis::Revised => stamped(head.current.revision.stamp.time),
            },
            language: metadata.language.clone(),
            section: metadata.section.clone(),
            publisher: metadata.publisher.clone(),
            deleted: head.current.deleted.is_some(),
            visibility: head.current.visibility,
        }
    }
}

impl Query {
    /// Whether an article belongs to the list.
    pub fn matches(&self, row: &IndexRow) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        self.shown.shows(row.deleted, row.visibility)
            && self
                .language
                .as_ref()
                .is_none_or(|wanted| *wanted == row.language)
            && is(&self.section, &row.section)
            && is(&self.publisher, &row.publisher)
            && self.range.contains(&row.date)
    }
}

/// A place in a list: the article's instant on the axis (`None` among the undated) and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The instant.
    pub instant: Option<Timestamp>,
    /// The article.
    pub id: ArticleId,
}

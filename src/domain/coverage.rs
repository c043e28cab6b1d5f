//! Coverage: how many articles of a day or month have a translation into a language, and how these stand.
//!
//! It only counts what indexes know. Counts of two parts of a list add up to those of the whole.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::date::{Precision, civil_day};
use super::freshness::Overall;
use super::language::Language;
use super::provenance::OriginClass;
use super::query::{IndexRow, IndexedDate, Standing};
use super::translation::State;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
}

/// How articles stand to a language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Articles in other languages.
    pub articles: u64,
    /// Those without an active translation.
    pub absent: u64,
    /// Those with one, by its freshness.
    pub by_freshness: BTreeMap<Overall, u64>,
    /// Those with one, by its state.
    pub by_state: BTreeMap<State, u64>,
    /// Those with one, by what its text comes from.
    pub by_origin: BTreeMap<OriginClass, u64>,
}

impl Tally {
    fn add(&mut self, standing: Option<&Standing>) {
        self.articles += 1;
        match standing {
            None => self.absent += 1,
            Some(standing) => {
                *self.by_freshness.entry(standing.overall).or_default() += 1;
                *self.by_state.entry(standing.state).or_default() += 1;
                *self.by_origin.entry(standing.origin_class).or_default() += 1;
            }
        }
    }
}

/// Tallies by bucket and language.
#[derive(Debug, Clone)]
pub struct Coverage {
    period: Period,
    zone: TimeZone,
    languages: Vec<Language>,
    /// By the first day of the bucket (`None`: undated) and by language.
    pub tallies: BTreeMap<(Option<Date>, Language), Tally>,
}

impl Coverage {
    /// Nothing yet. Days are those of `zone`, but those of dates that are precise to the day are their own.
    pub fn new(period: Period, zone: TimeZone, languages: Vec<Language>) -> Self {
        Self {
            period,
            zone,
            languages,
            tallies: BTreeMap::new(),
        }
    }

    /// Counts an article, given how its translations into the languages stand, in their order. An article in one of the
    /// languages does not need that translation.
    pub fn add(&mut self, row: &IndexRow, standings: &[Option<Standing>]) {
        let bucket = self.bucket(&row.date);
        for (language, standing) in self.languages.iter().zip(standings) {
            if *language != row.language {
                let tally = self.tallies.entry((bucket, language.clone())).or_default();
                tally.add(standing.as_ref());
            }
        }
    }

    fn bucket(&self, date: &IndexedDate) -> Option<Date> {
        let instant = date.instant?;
        let day = match date.precision {
            Precision::Day => civil_day(instant, date.utc_offset_minutes),
            Precision::Minute | Precision::Second => {
                let instant = jiff::Timestamp::from_microsecond(instant.as_micros()).ok()?;
                Some(self.zone.to_datetime(instant).date())
            }
        }?;
        Some(match self.period {
            Period::Day => day,
            Period::Month => day.first_of_month(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn language(tag: &str) -> Language {
        Language::parse(tag).unwrap()
    }

    fn row(source: &str, instant: Option<&str>, precision: Precision, utc_offset_minutes: i16) -> IndexRow {
        let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        IndexRow {
            date: IndexedDate {
                instant: instant.map(|instant| Timestamp::from_micros(micros(instant)).unwrap()),
                precision,
                utc_offset_minutes,
            },
            language: language(source),
            section: String::new(),
            publisher: String::new(),
            deleted: false,
            visibility: crate::domain::access::Visibility::Public,
        }
    }

    #[test]
    fn articles_are_counted_by_their_day_or_month_and_by_language() {
        let stale = Standing {
            overall: Overall::Stale,
            state: State::Reviewed,
            origin_class: OriginClass::Human,
        };
        let zone = TimeZone::get("Africa/Casablanca").unwrap();
        let languages = vec![language("fr"), language("ar")];
        let mut days = Coverage::new(Period::Day, zone.clone(), languages.clone());
        let mut months = Coverage::new(Period::Month, zone, languages);
        for coverage in [&mut days, &mut months] {
            // Just before midnight UTC it is the next day in Casablanca.
            coverage.add(
                &row("ar", Some("2022-05-31T23:30:00Z"), Precision::Second, 0),
                &[Some(stale), None],
            );
            // A date of a day is that day everywhere.
            coverage.add(
                &row("en", Some("2022-05-31T19:00:00Z"), Precision::Day, 300),
                &[None, None],
            );
            coverage.add(&row("fr", None, Precision::Second, 0), &[None, Some(stale)]);
        }
        let articles = |coverage: &Coverage| {
            let count = |((day, language), tally): (&(Option<Date>, Language), &Tally)| {
                (
                    day.map(|day| day.to_string()),
                    language.to_string(),
                    tally.articles,
                    tally.absent,
                )
            };
            coverage.tallies.iter().map(count).collect::<Vec<_>>()
        };
        let june = Some("2022-06-01".to_owned());
        let expected = [
            (None, "ar".to_owned(), 1, 0),
            (june.clone(), "ar".to_owned(), 1, 1),
            (june.clone(), "fr".to_owned(), 2, 1),
        ];
        assert_eq!(articles(&days), expected);
        assert_eq!(articles(&months), expected);
        let tally = &days.tallies[&(june.map(|day| day.parse().unwrap()), language("fr"))];
        assert_eq!(tally.by_freshness, BTreeMap::from([(Overall::Stale, 1)]));
        assert_eq!(tally.by_state, BTreeMap::from([(State::Reviewed, 1)]));
        assert_eq!(tally.by_origin, BTreeMap::from([(OriginClass::Human, 1)]));
    }
}

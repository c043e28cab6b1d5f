//! Coverage: what is translated and what is still missing, counted from the indexes without reading an article.

use crate::domain::coverage::{Coverage, Period};
use crate::domain::language::Language;
use crate::domain::query::{Position, Query};
use jiff::tz::TimeZone;

use super::view::PAGE_BYTES;
use super::{Result, Service};

/// Index entries that a call looks at, at most: some tenths of a second.
const LOOKUPS: usize = 100_000;
/// Articles that are looked at together.
const STEP: usize = 2_000;
/// Languages that a call counts for, at most; the others follow on later pages.
const LANGUAGES_A_CALL: usize = 50;
/// Buckets of an answer, at most: each takes up to 250 bytes.
const BUCKETS_A_CALL: usize = PAGE_BYTES / 250;

/// The place where a count continues: some languages at a time, and all articles for each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveragePlace {
    /// The first language that is still to be counted; `None`: the first of all.
    pub first: Option<Language>,
    /// The article after which to continue; `None`: from the first one.
    pub position: Option<Position>,
}

/// What to count.
#[derive(Debug, Clone)]
pub struct CoverageQuery {
    /// Which articles, and the date to go by. Its order and filter by translation do not matter.
    pub articles: Query,
    /// The languages; none means all that there are translations into.
    pub languages: Vec<Language>,
    /// How long a bucket is.
    pub period: Period,
    /// The zone whose days are meant.
    pub zone: TimeZone,
}

impl Service {
    /// Counts a part of the articles and languages from a place on, and says where the next call continues. A bucket on the
    /// border is in both.
    pub async fn get_coverage(
        &self,
        query: &CoverageQuery,
        after: Option<&CoveragePlace>,
    ) -> Result<(Coverage, Option<CoveragePlace>)> {
        let mut languages = match query.languages.as_slice() {
            [] => {
                let counts = self.store.status().await?.counts;
                let translated = counts.into_iter().filter(|(_, counts)| counts.translations > 0);
                translated.map(|(language, _)| language).collect()
            }
            languages => languages.to_vec(),
        };
        languages.sort();
        languages.dedup();
        let first = after.and_then(|after| after.first.as_ref());
        let start = first.map_or(0, |first| languages.partition_point(|language| language < first));
        let mut languages = languages.split_off(start);
        let following = languages.get(LANGUAGES_A_CALL).cloned();
        languages.truncate(LANGUAGES_A_CALL);
        let mut coverage = Coverage::new(query.period, query.zone.clone(), languages.clone());
        let (Some(first), width) = (languages.first().cloned(), languages.len()) else {
            return Ok((coverage, None));
        };
        let mut rows = (LOOKUPS / (width + 1)).max(STEP);
        let mut next = after.and_then(|after| after.position.clone());
        let articles = query.articles.at(self.clock.now());
        while rows > 0 {
            // Each article makes a bucket for each language at most.
            let fitting = BUCKETS_A_CALL.saturating_sub(coverage.tallies.len()) / width;
            let step = rows.min(STEP).min(fitting);
            if step == 0 {
                break;
            }
            let page = self
                .store
                .standings(&articles, &languages, next.as_ref(), step)
                .await?;
            for (row, standings) in &page.rows {
                coverage.add(row, standings);
            }
            next = page.next;
            if next.is_none() {
                let place = following.map(|language| CoveragePlace {
                    first: Some(language),
                    position: None,
                });
                return Ok((coverage, place));
            }
            rows -= step;
        }
        let place = CoveragePlace {
            first: Some(first),
            position: next,
        };
        Ok((coverage, Some(place)))
    }
}

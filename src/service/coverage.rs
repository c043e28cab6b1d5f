//! Coverage: what is translated and what is still missing, counted from the indexes without reading an article.

use crate::domain::coverage::{Coverage, Period};
use crate::domain::language::Language;
use crate::domain::query::{Position, Query};
use jiff::tz::TimeZone;

use super::{Result, Service};

/// Index entries that a call looks at, at most: some tenths of a second.
const LOOKUPS: usize = 100_000;
/// Articles that are looked at together.
const STEP: usize = 2_000;

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
    /// Counts articles from a position on, and says where the next call goes on. A bucket on the border is in both.
    pub async fn get_coverage(
        &self,
        query: &CoverageQuery,
        after: Option<&Position>,
    ) -> Result<(Coverage, Option<Position>)> {
        let languages = match query.languages.as_slice() {
            [] => {
                let counts = self.store.status().await?.counts;
                let translated = counts.into_iter().filter(|(_, counts)| counts.translations > 0);
                translated.map(|(language, _)| language).collect()
            }
            languages => languages.to_vec(),
        };
        let mut rows = (LOOKUPS / (languages.len() + 1)).max(STEP);
        let mut coverage = Coverage::new(query.period, query.zone.clone(), languages.clone());
        let mut next = after.cloned();
        while rows > 0 {
            let step = rows.min(STEP);
            let page = self
                .store
                .standings(&query.articles, &languages, next.as_ref(), step)
                .await?;
            for (row, standings) in &page.rows {
                coverage.add(row, standings);
            }
            next = page.next;
            if next.is_none() {
                break;
            }
            rows -= step;
        }
        Ok((coverage, next))
    }
}

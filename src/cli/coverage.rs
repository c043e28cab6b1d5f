//! `coverage`: how many articles of a day or month have a translation into a language, and how these stand.

use std::collections::BTreeMap;

use clap::Args;

use super::choices::{CoveragePeriod, DateAxis};
use super::common_args::CommonArgs;
use super::output::{Limit, each_page};
use super::{Failure, format};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
COVERED is the share of articles whose translation is there and still matches.

Examples:
  article-store coverage --from 2022-05-01 --to 2022-06-01 --zone Africa/Casablanca
  article-store coverage --by month --languages fr,en --axis ingested
  article-store coverage --by month --output json | jq 'select(.missing != \"0\")'")]
pub(crate) struct Coverage {
    #[command(flatten)]
    common: CommonArgs,
    /// The first day.
    #[arg(long, value_name = "DAY", default_value = "")]
    from: String,
    /// The day after the last.
    #[arg(long, value_name = "DAY", default_value = "")]
    to: String,
    /// The IANA time zone whose days are meant.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// The date to go by.
    #[arg(long, value_enum, default_value_t = DateAxis::Published)]
    axis: DateAxis,
    /// How long a row is.
    #[arg(long = "by", value_enum, default_value_t = CoveragePeriod::Day)]
    period: CoveragePeriod,
    /// The languages [default: all that have translations].
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    languages: Vec<String>,
    /// Only articles in this language.
    #[arg(long, value_name = "TAG", default_value = "")]
    language: String,
    /// Only articles of this section.
    #[arg(long, default_value = "")]
    section: String,
    /// Only articles of this publisher.
    #[arg(long, default_value = "")]
    publisher: String,
    /// Embargoed, withheld and cancelled articles too, as far as the caller may see them.
    #[arg(long)]
    hidden: bool,
}

impl Coverage {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut client = self.common.server.admin().await?;
        let request = pb::GetCoverageRequest {
            axis: self.axis.into(),
            civil_range: Some(pb::CivilRange {
                start_date: self.from,
                end_date: self.to,
                zone: self.zone,
            }),
            period: self.period.into(),
            languages: self.languages,
            language: self.language,
            section: self.section,
            publisher: self.publisher,
            show_hidden: self.hidden,
            page_token: String::new(),
        };
        let mut buckets: BTreeMap<(String, String), pb::CoverageBucket> = BTreeMap::new();
        each_page(async |page_token| {
            let request = pb::GetCoverageRequest {
                page_token,
                ..request.clone()
            };
            let page = client.get_coverage(request).await?.into_inner();
            for bucket in page.buckets {
                let key = (bucket.start_date.clone(), bucket.language.clone());
                match buckets.get_mut(&key) {
                    Some(sum) => add(sum, &bucket),
                    None => drop(buckets.insert(key, bucket)),
                }
            }
            Ok(page.next_page_token)
        })
        .await?;
        let row = |bucket: &_| row(bucket, self.period);
        let list = self.common.output.list(Limit::NONE, HEADER, row, async |_, _| {
            let buckets = std::mem::take(&mut buckets);
            Ok((buckets.into_values().collect(), String::new()))
        });
        list.await
    }
}

/// Adds the rest of a bucket that a page ended in.
fn add(sum: &mut pb::CoverageBucket, more: &pb::CoverageBucket) {
    sum.articles += more.articles;
    sum.missing += more.missing;
    sum.incomplete += more.incomplete;
    sum.stale += more.stale;
    sum.orphaned += more.orphaned;
    sum.moved += more.moved;
    sum.current += more.current;
    for of in &more.by_state {
        match sum.by_state.iter_mut().find(|known| known.state == of.state) {
            Some(known) => known.articles += of.articles,
            None => sum.by_state.push(*of),
        }
    }
    for of in &more.by_origin {
        match sum
            .by_origin
            .iter_mut()
            .find(|known| known.origin_class == of.origin_class)
        {
            Some(known) => known.articles += of.articles,
            None => sum.by_origin.push(*of),
        }
    }
}

const HEADER: [&str; 11] = [
    "FROM",
    "LANG",
    "ARTICLES",
    "COVERED",
    "CURRENT",
    "MISSING",
    "INCOMPLETE",
    "STALE",
    "OTHER",
    "STATE",
    "ORIGIN",
];

fn row(bucket: &pb::CoverageBucket, period: CoveragePeriod) -> [String; 11] {
    let from = match (bucket.start_date.as_str(), period) {
        ("", _) => "undated",
        (day, CoveragePeriod::Day) => day,
        (day, CoveragePeriod::Month) => day.rsplit_once('-').map_or(day, |(month, _)| month),
    };
    // Rounded down: 100 % means that everything is covered.
    let covered = match bucket.articles {
        0 => String::new(),
        articles => format!("{} %", bucket.current * 100 / articles),
    };
    let number = |number: u64| match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    };
    let states = bucket.by_state.iter().map(|of| {
        let state = format::word(of.state().as_str_name(), "TRANSLATION_STATE_");
        format!("{} {state}", of.articles)
    });
    let origins = bucket.by_origin.iter().map(|of| {
        let origin = format::word(of.origin_class().as_str_name(), "ORIGIN_CLASS_");
        format!("{} {origin}", of.articles)
    });
    [
        from.to_owned(),
        bucket.language.clone(),
        number(bucket.articles),
        covered,
        number(bucket.current),
        number(bucket.missing),
        number(bucket.incomplete),
        number(bucket.stale),
        number(bucket.orphaned + bucket.moved),
        states.collect::<Vec<_>>().join(", "),
        origins.collect::<Vec<_>>().join(", "),
    ]
}

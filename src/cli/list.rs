//! `list`: articles by date.

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Failure;
use super::choices::{DateAxis, ListOrder};
use super::common_args::CommonArgs;
use super::format::{self, date_in, timestamp_in};
use super::output::LimitArgs;
use super::reading::TranslationFilterArgs;
use crate::pb;
use crate::pb::list_articles_request::Range;

#[derive(Debug, Args)]
#[command(after_help = "\
Days are calendar days in --zone, and --to names the day after the last one. Bounds can be instants instead.

Examples:
  article-store list --from 2022-05-10 --to 2022-05-11 --zone Africa/Casablanca
  article-store list --from 2022-05-10T12:00:00Z --order oldest
  article-store list --language ar --section economy --limit 10
  article-store list --missing fr --axis ingested       what came in and has no French text, newest first
  article-store list --stale fr --origin human --all
  article-store list --undated --all --output json")]
pub(crate) struct List {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    query: QueryArgs,
    /// Deleted articles too.
    #[arg(long)]
    deleted: bool,
    #[command(flatten)]
    limit: LimitArgs,
    /// How many articles to ask for at a time, up to 500.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=500))]
    page_size: i32,
}

/// The query of articles, for lists and for calls on all articles of a list.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The first day, or instant.
    #[arg(long, value_name = "DAY|TIME")]
    from: Option<String>,
    /// The day, or instant, after the last.
    #[arg(long, value_name = "DAY|TIME")]
    to: Option<String>,
    /// The IANA time zone whose days are meant and in which times are shown.
    #[arg(long, default_value = "UTC")]
    zone: String,
    /// The date to go by.
    #[arg(long, value_enum, default_value_t = DateAxis::Published)]
    axis: DateAxis,
    /// Which come first.
    #[arg(long, value_enum, default_value_t = ListOrder::NewestFirst)]
    order: ListOrder,
    /// Only articles in this language.
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Only articles of this section.
    #[arg(long)]
    section: Option<String>,
    /// Only articles of this publisher.
    #[arg(long)]
    publisher: Option<String>,
    #[command(flatten)]
    translation: TranslationFilterArgs,
    /// Only articles without such a date.
    #[arg(long, conflicts_with_all = ["from", "to", "future"])]
    undated: bool,
    /// Only articles whose date is still to come.
    #[arg(long)]
    future: bool,
    /// Embargoed, withheld and cancelled articles too, as far as the caller may see them.
    #[arg(long)]
    hidden: bool,
}

impl List {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let zone = format::zone(&self.query.zone).map_err(Failure::Usage)?;
        let axis = self.query.axis;
        let request = pb::ListArticlesRequest {
            show_deleted: self.deleted,
            view: pb::ArticleView::Basic.into(),
            ..self.query.message()?
        };
        let mut client = self.common.server.articles().await?;
        let title = format::word(pb::DateAxis::from(axis).as_str_name(), "DATE_AXIS_").to_uppercase();
        let header = ["ID", &title, "LANG", "REV", "TRANSLATIONS", "TITLE"];
        let limit = self.limit.of_pages(self.page_size);
        let row = |article: &_| row(axis, article, &zone);
        let list = self
            .common
            .output
            .list(limit, header, row, async |page_token, page_size| {
                let request = pb::ListArticlesRequest {
                    page_token,
                    page_size,
                    ..request.clone()
                };
                let page = client.list_articles(request).await?.into_inner();
                Ok((page.articles, page.next_page_token))
            });
        list.await
    }
}

impl QueryArgs {
    /// Whether any filter is given.
    pub(crate) fn narrows(&self) -> bool {
        let named = [
            &self.from,
            &self.to,
            &self.language,
            &self.section,
            &self.publisher,
        ];
        self.undated
            || self.future
            || self.translation.message().is_some()
            || named.into_iter().any(Option::is_some)
    }

    /// The query, of any articles but deleted ones.
    pub(crate) fn message(&self) -> Result<pb::ListArticlesRequest, Failure> {
        let dating = match (self.undated, self.future) {
            (true, _) => pb::Dating::Undated,
            (_, true) => pb::Dating::Future,
            _ => pb::Dating::Unspecified,
        };
        Ok(pb::ListArticlesRequest {
            axis: self.axis.into(),
            range: range(self.from.as_deref(), self.to.as_deref(), &self.zone)?,
            order: self.order.into(),
            dating: dating.into(),
            language: self.language.clone().unwrap_or_default(),
            section: self.section.clone().unwrap_or_default(),
            publisher: self.publisher.clone().unwrap_or_default(),
            show_hidden: self.hidden,
            translation: self.translation.message(),
            ..pb::ListArticlesRequest::default()
        })
    }
}

/// The range that two bounds mean: days if both are days, instants if both are instants.
fn range(from: Option<&str>, to: Option<&str>, zone: &str) -> Result<Option<Range>, Failure> {
    let given: Vec<_> = [from, to].into_iter().flatten().collect();
    if given.is_empty() {
        return Ok(None);
    }
    if given
        .iter()
        .all(|bound| bound.parse::<Date>().is_ok() && !bound.contains('T'))
    {
        return Ok(Some(Range::CivilRange(pb::CivilRange {
            start_date: from.unwrap_or_default().to_owned(),
            end_date: to.unwrap_or_default().to_owned(),
            zone: zone.to_owned(),
        })));
    }
    let instant = |bound: &str| {
        format::instant(bound).map_err(|_| {
            Failure::Usage(
                "--from and --to are both days such as 2022-05-10, or both times such as 2022-05-10T22:45:00Z".into(),
            )
        })
    };
    Ok(Some(Range::TimeRange(pb::TimeRange {
        start_time: from.map(instant).transpose()?,
        end_time: to.map(instant).transpose()?,
    })))
}

fn row(axis: DateAxis, article: &pb::Article, zone: &TimeZone) -> [String; 6] {
    let undated = pb::ArticleDate::default();
    let date = match axis {
        DateAxis::Published => date_in(article.published.as_ref().unwrap_or(&undated), zone),
        DateAxis::Updated => date_in(article.updated.as_ref().unwrap_or(&undated), zone),
        DateAxis::Ingested => timestamp_in(article.create_time.as_ref(), zone),
        DateAxis::Revised => timestamp_in(article.revise_time.as_ref(), zone),
    };
    let title = article.title.as_ref().or(article.lead.as_ref());
    let deleted = article.delete_time.map_or("", |_| "(deleted) ");
    let status = match article.publication_status() {
        pb::PublicationStatus::Withheld | pb::PublicationStatus::Canceled => {
            format!("({}) ", format::publication_status(article))
        }
        _ => String::new(),
    };
    [
        article.article_id.clone(),
        date,
        article.language.clone(),
        article.revision.to_string(),
        format::glance(article),
        format!("{deleted}{status}{}", title.map_or("", |segment| &segment.text)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_days_or_instants_but_not_both() {
        let days = range(Some("2022-05-10"), None, "Africa/Casablanca").unwrap();
        assert!(
            matches!(days, Some(Range::CivilRange(range)) if range.start_date == "2022-05-10" && range.end_date.is_empty())
        );
        let instants = range(None, Some("2022-05-10T12:00:00+01:00"), "UTC").unwrap();
        assert!(
            matches!(instants, Some(Range::TimeRange(range)) if range.end_time.unwrap().seconds == 1_652_180_400)
        );
        assert!(matches!(range(None, None, "UTC"), Ok(None)));
        for (from, to) in [
            ("2022-05-10", "2022-05-11T00:00:00Z"),
            ("yesterday", "2022-05-10"),
            ("2022-05-10T12:00:00", "2022-05-11"),
        ] {
            assert!(range(Some(from), Some(to), "UTC").is_err(), "{from} {to}");
        }
    }
}

//! `get`: an article as it is or as it was, or one of its translations.

use clap::Args;
use jiff::tz::TimeZone;
use prost_types::Timestamp;

use super::choices::ArticleView;
use super::client::without_content;
use super::common_args::CommonArgs;
use super::format::{self, date_as_written};
use super::output::{Output, each_page};
use super::page::Page;
use super::reading::ReadingArgs;
use super::{Failure, warn};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  article-store get harbour
  article-store get harbour --revision 1
  article-store get harbour --as-of 2022-05-10T22:45:00Z --output json
  article-store get harbour --in fr,en --max-freshness current       in French if that still matches, else in English
  article-store get harbour --translation en       the served translation into English, paragraph by paragraph
  article-store get harbour --translation en/t2    a certain one")]
pub(crate) struct Get {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// How much to read.
    #[arg(long, value_enum, default_value_t = ArticleView::Full)]
    view: ArticleView,
    /// The newest state that had this revision of the text.
    #[arg(long, value_name = "N", conflicts_with = "as_of")]
    revision: Option<u32>,
    /// The state at this time.
    #[arg(long, value_name = "TIME", value_parser = format::instant)]
    as_of: Option<Timestamp>,
    /// Read this translation instead; `LANGUAGE` is the served one, `LANGUAGE/ID` a certain one.
    #[arg(long, value_name = "LANGUAGE[/ID]", conflicts_with = "languages")]
    translation: Option<String>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Read a deleted article too.
    #[arg(long, conflicts_with = "translation")]
    deleted: bool,
    /// Read an embargoed, withheld or cancelled article too, if the caller may see it.
    #[arg(long)]
    hidden: bool,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(name) = &self.translation {
            let translation = self.translation(name).await?;
            let text = || translation_page(&translation);
            return self.common.output.page(&translation, text);
        }
        let mut answer = self.article().await?;
        if let Some(article) = answer.article.as_mut().filter(|_| self.revision.is_none()) {
            self.list_translations(article).await?;
        }
        let article = answer.article.as_ref().ok_or_else(without_content)?;
        let text = || match &answer.translation {
            Some(translation) => translation_page(translation),
            None => article_page(article),
        };
        let Some(wanted) = self.reading.languages.first() else {
            return self.common.output.page(article, text);
        };
        self.common.output.page(&answer, text)?;
        if let (Output::Table, Some(served)) = (self.common.output.output, &answer.served)
            && served.is_fallback
        {
            warn(&format!(
                "there is no such text in {wanted}; served is {}",
                served.served_language
            ));
        }
        Ok(())
    }

    async fn article(&self) -> Result<pb::GetArticleResponse, Failure> {
        use pb::get_article_request::At;
        let request = pb::GetArticleRequest {
            article_id: self.id.clone(),
            view: self.view.into(),
            show_deleted: self.deleted,
            show_hidden: self.hidden,
            at: self.revision.map(At::Revision).or(self.as_of.map(At::AsOfTime)),
            ..pb::GetArticleRequest::default()
        };
        let request = self.reading.apply(request);
        let answer = self.common.server.articles().await?.get_article(request).await?;
        Ok(answer.into_inner())
    }

    /// Puts all summaries of translations into an article that came with some of them.
    async fn list_translations(&self, article: &mut pb::Article) -> Result<(), Failure> {
        if article.translations.len() >= article.translation_count as usize {
            return Ok(());
        }
        let mut client = self.common.server.translations().await?;
        let request = pb::ListTranslationsRequest {
            article_id: self.id.clone(),
            as_of_time: self.as_of,
            show_hidden: self.hidden,
            page_size: 500,
            ..pb::ListTranslationsRequest::default()
        };
        article.translations.clear();
        each_page(async |page_token| {
            let request = pb::ListTranslationsRequest {
                page_token,
                ..request.clone()
            };
            let page = client.list_translations(request).await?.into_inner();
            article.translations.extend(page.translations);
            Ok(page.next_page_token)
        })
        .await
    }

    async fn translation(&self, name: &str) -> Result<pb::Translation, Failure> {
        use pb::get_translation_request::At;
        let (language, id) = name.split_once('/').unwrap_or((name, ""));
        let request = pb::GetTranslationRequest {
            article_id: self.id.clone(),
            language: language.to_owned(),
            translation_id: id.to_owned(),
            show_hidden: self.hidden,
            at: self.revision.map(At::Revision).or(self.as_of.map(At::AsOfTime)),
            evidence_only: false,
        };
        let answer = self
            .common
            .server
            .translations()
            .await?
            .get_translation(request)
            .await?;
        answer.into_inner().translation.ok_or_else(without_content)
    }
}

pub(crate) fn article_page(article: &pb::Article) -> String {
    let mut page = Page::new();
    // A write by a caller that may not read it answers only what follows.
    if let Some(title) = &article.title {
        page.headline(Some(title.text.as_str()));
    }
    page.labelled("id", &article.article_id);
    page.labelled(
        "revision",
        &format!("{}, etag {}", article.revision, article.etag),
    );
    if article.delete_time.is_some() {
        page.labelled(
            "deleted",
            &format::timestamp_in(article.delete_time.as_ref(), &TimeZone::UTC),
        );
    }
    use pb::PublicationStatus::{Unspecified, Usable};
    if !matches!(article.publication_status(), Usable | Unspecified) || !article.status_reason.is_empty() {
        let reason = match article.status_reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        page.labelled(
            "status",
            &format!("{}{reason}", format::publication_status(article)),
        );
    }
    if article.embargo_time.is_some() {
        page.labelled(
            "embargo",
            &format::timestamp_in(article.embargo_time.as_ref(), &TimeZone::UTC),
        );
    }
    page.labelled("language", &article.language);
    for (label, date) in [("published", &article.published), ("updated", &article.updated)] {
        if let Some(date) = date {
            page.labelled(label, &date_as_written(date));
            page.labelled("", &date.original);
        }
    }
    page.labelled("section", &article.section);
    page.labelled("publisher", &article.publisher);
    page.labelled("url", &article.canonical_url);
    page.labelled("guid", &article.guid);
    page.labelled("located", &article.located);
    page.labelled("dateline", &article.dateline);
    page.labelled("sources", &article.info_sources.join("; "));
    page.labelled("authors", &article.authors.join("; "));
    page.labelled("keywords", &article.keywords.join("; "));
    for (label, value) in &article.labels {
        page.labelled("label", &format!("{label}={value}"));
    }
    page.blank();
    let lead = article.lead.iter().map(|lead| ("lead", lead));
    let body = article
        .body
        .iter()
        .map(|segment| (segment.segment_id.as_str(), segment));
    for (id, segment) in lead.chain(body) {
        let kept = if segment.translate == Some(false) {
            " ="
        } else {
            ""
        };
        page.labelled(&format!("{id}{kept}"), &segment.text);
    }
    if !article.translations.is_empty() {
        page.blank();
        page.text.push_str("translations\n");
        for summary in &article.translations {
            page.labelled("", &format::translation(summary));
        }
        let more = (article.translation_count as usize).saturating_sub(article.translations.len());
        if more > 0 {
            page.labelled("", &format!("and {more} more"));
        }
    }
    page.text
}

fn translation_page(translation: &pb::Translation) -> String {
    let mut page = Page::new();
    page.headline(translation.title.as_ref().map(|title| title.text.as_str()));
    page.labelled("article", &translation.article_id);
    if let Some(summary) = &translation.summary {
        page.labelled("translation", &format::translation(summary));
        page.labelled(
            "etag",
            &format!("{}, selection {}", summary.etag, summary.slot_etag),
        );
    }
    if let Some(agent) = &translation.agent {
        page.labelled("writer", &format::agent(agent));
    }
    page.blank();
    let named = [("title", &translation.title), ("lead", &translation.lead)];
    let named = named
        .into_iter()
        .filter_map(|(id, segment)| Some((id, segment.as_ref()?)));
    let body = translation
        .body
        .iter()
        .map(|segment| (segment.segment_id.as_str(), segment));
    for (id, segment) in named.chain(body) {
        page.labelled(id, &segment.text);
        if segment.freshness() != pb::Freshness::Current {
            page.labelled("", &format::outdated(segment));
        }
    }
    page.text
}

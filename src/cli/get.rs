//! `get`: an article as it is or as it was, or one of its translations.

use std::fmt::Write as _;

use clap::Args;
use prost_types::Timestamp;

use super::client::{Output, OutputArgs, Printer, ServerArgs};
use super::reading::ReadingArgs;
use super::terminal::{line, terminal_width, wrap};
use super::words::{self, date_as_written, freshness};
use super::{Failure, warn};
use crate::pb;

/// Lines longer than this are hard to read, however wide the terminal is.
const LONGEST_LINE: usize = 100;
/// The columns of segment ids and labels.
pub(crate) const LABEL: usize = 12;

/// The arguments of `get`.
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
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// How much to read.
    #[arg(long, value_enum, default_value_t = View::Full)]
    view: View,
    /// The newest state that had this revision of the text.
    #[arg(long, value_name = "N", conflicts_with = "as_of")]
    revision: Option<u32>,
    /// The state at this time.
    #[arg(long, value_name = "TIME", value_parser = words::instant)]
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

/// See [`pb::ArticleView`].
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum View {
    /// Everything but the body.
    Basic,
    /// Everything.
    Full,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut printer = Printer::new();
        let width = page_width();
        if let Some(name) = &self.translation {
            let translation = self.translation(name).await?;
            match self.output.output {
                Output::Json => printer.message("Translation", &translation)?,
                Output::Table => printer.text(&translation_page(&translation, width))?,
            }
        } else {
            let answer = self.article().await?;
            let article = answer.article.as_ref().ok_or_else(without_content)?;
            match (self.output.output, &answer.translation) {
                (Output::Json, _) if !self.reading.languages.is_empty() => {
                    printer.message("GetArticleResponse", &answer)?;
                }
                (Output::Json, _) => printer.message("Article", article)?,
                (Output::Table, Some(translation)) => printer.text(&translation_page(translation, width))?,
                (Output::Table, None) => printer.text(&article_page(article, width))?,
            }
            if let (Output::Table, Some(served), [first, ..]) =
                (self.output.output, &answer.served, &*self.reading.languages)
                && served.is_fallback
            {
                warn(&format!(
                    "there is no such text in {first}; served is {}",
                    served.served_language
                ));
            }
        }
        printer.flush()
    }

    async fn article(&self) -> Result<pb::GetArticleResponse, Failure> {
        use pb::get_article_request::At;
        let view = match self.view {
            View::Basic => pb::ArticleView::Basic,
            View::Full => pb::ArticleView::Full,
        };
        let request = pb::GetArticleRequest {
            article_id: self.id.clone(),
            view: view.into(),
            show_deleted: self.deleted,
            show_hidden: self.hidden,
            at: self.revision.map(At::Revision).or(self.as_of.map(At::AsOfTime)),
            ..pb::GetArticleRequest::default()
        };
        let request = self.reading.apply(request);
        Ok(self
            .server
            .articles()
            .await?
            .get_article(request)
            .await?
            .into_inner())
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
        };
        let answer = self.server.translations().await?.get_translation(request).await?;
        answer.into_inner().translation.ok_or_else(without_content)
    }
}

/// How wide a page for a person is.
pub(crate) fn page_width() -> usize {
    terminal_width().unwrap_or(LONGEST_LINE).min(LONGEST_LINE)
}

pub(crate) fn without_content() -> Failure {
    Failure::failed("the server's answer is empty")
}

pub(crate) fn article_page(article: &pb::Article, width: usize) -> String {
    let mut page = Page::new(width);
    page.headline(article.title.as_ref().map(|title| title.text.as_str()));
    page.labelled("id", &article.article_id);
    page.labelled(
        "revision",
        &format!("{}, etag {}", article.revision, article.etag),
    );
    if article.delete_time.is_some() {
        page.labelled(
            "deleted",
            &words::timestamp_in(article.delete_time.as_ref(), &jiff::tz::TimeZone::UTC),
        );
    }
    if article.publication_status() != pb::PublicationStatus::Usable || !article.status_reason.is_empty() {
        let reason = match article.status_reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        page.labelled(
            "status",
            &format!("{}{reason}", words::publication_status(article)),
        );
    }
    if article.embargo_time.is_some() {
        page.labelled(
            "embargo",
            &words::timestamp_in(article.embargo_time.as_ref(), &jiff::tz::TimeZone::UTC),
        );
    }
    page.labelled("language", &article.language);
    page.date("published", article.published.as_ref());
    page.date("updated", article.updated.as_ref());
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
            page.labelled("", &words::translation(summary));
        }
    }
    page.text
}

fn translation_page(translation: &pb::Translation, width: usize) -> String {
    let mut page = Page::new(width);
    page.headline(translation.title.as_ref().map(|title| title.text.as_str()));
    page.labelled("article", &translation.article_id);
    if let Some(summary) = &translation.summary {
        page.labelled("translation", &words::translation(summary));
        page.labelled(
            "etag",
            &format!("{}, selection {}", summary.etag, summary.slot_etag),
        );
    }
    if let Some(agent) = &translation.agent {
        page.labelled("writer", &words::agent(agent));
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
            let text = format!(
                "^ {}: made from revision {}",
                freshness(segment.freshness()),
                segment.source_revision
            );
            page.labelled("", &text);
        }
    }
    page.text
}

/// A page of labels with text beside them.
pub(crate) struct Page {
    pub(crate) text: String,
    width: usize,
}

impl Page {
    pub(crate) fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width: width.saturating_sub(LABEL).max(20),
        }
    }

    fn headline(&mut self, title: Option<&str>) {
        for line in wrap(title.unwrap_or_default(), self.width + LABEL) {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        self.blank();
    }

    /// A text with its label; nothing if there is no text.
    pub(crate) fn labelled(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut label = line(label);
        for line in wrap(text, self.width) {
            let _ = writeln!(self.text, "{label:<width$}{line}", width = LABEL);
            label.clear();
        }
    }

    fn date(&mut self, label: &str, date: Option<&pb::ArticleDate>) {
        let Some(date) = date else { return };
        self.labelled(label, &date_as_written(date));
        if !date.original.is_empty() {
            self.labelled("", &date.original);
        }
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

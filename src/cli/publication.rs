//! `publication`: an article is withheld, cancelled or released, or its embargo moved.

use clap::Args;
use prost_types::Timestamp;

use super::choices::PublicationStatus;
use super::client::without_content;
use super::common_args::CommonArgs;
use super::get::article_page;
use super::{Failure, format};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
A withheld article disappears with all its translations from reads, lists and exports, and comes back as it was.

Examples:
  article-store publication harbour --status withheld --reason 'a source asked for it'
  article-store publication harbour --status usable
  article-store publication harbour --status usable --embargo 2022-05-11T06:00:00Z
  article-store publication harbour --status usable --lift-embargo")]
pub(crate) struct Publication {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// Whether the article may be published.
    #[arg(long, value_enum)]
    status: PublicationStatus,
    /// Set an embargo: hidden until this time, then visible automatically.
    #[arg(long, value_name = "TIME", value_parser = format::instant, conflicts_with = "lift_embargo")]
    embargo: Option<Timestamp>,
    /// End its embargo now.
    #[arg(long)]
    lift_embargo: bool,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Only if the article has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

impl Publication {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let request = pb::SetPublicationStatusRequest {
            article_id: self.id,
            publication_status: self.status.into(),
            embargo_time: self.embargo,
            lift_embargo: self.lift_embargo,
            reason: self.reason,
            etag: self.etag,
            request_id: String::new(),
        };
        let mut client = self.common.server.articles().await?;
        let answer = client.set_publication_status(request).await?.into_inner();
        let article = answer.article.ok_or_else(without_content)?;
        self.common.output.page(&article, || article_page(&article))
    }
}

//! `purge`: an article is erased for good.

use clap::Args;

use super::Failure;
use super::common_args::CommonArgs;
use super::format::timestamp_in;
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
There is no way back: the text, its history and all translations are erased. The id is never given again.

Example:
  article-store purge harbour --reason 'court order 17/2026'")]
pub(crate) struct Purge {
    /// The article's id.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// The reason. It is kept, so it must not repeat what is erased.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only if the article has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

impl Purge {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let request = pb::PurgeArticleRequest {
            article_id: self.id,
            reason: self.reason,
            etag: self.etag,
            request_id: String::new(),
        };
        let mut client = self.common.server.articles().await?;
        let purged = client.purge_article(request).await?.into_inner();
        self.common.output.line(&purged, || {
            let time = timestamp_in(purged.purge_time.as_ref(), &jiff::tz::TimeZone::UTC);
            format!("{} purged at {time} UTC: {}", purged.article_id, purged.reason)
        })
    }
}

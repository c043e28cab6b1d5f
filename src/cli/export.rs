//! `export`: all articles, and their translations if asked, as a stream that can be resumed.

use clap::Args;

use super::client::ServerArgs;
use super::output::Printer;
use super::{Failure, warn};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
Every line is an ExportArticlesResponse: `article` or `translation`, and `resumeToken`, with which an export that broke \
off goes on after that line.

Examples:
  article-store export --translations > articles.jsonl
  article-store export --resume \"$(tail -n 1 articles.jsonl | jq -r .resumeToken)\" >> articles.jsonl")]
pub(crate) struct Export {
    #[command(flatten)]
    server: ServerArgs,
    /// Stream translations too, each after its article.
    #[arg(long)]
    translations: bool,
    /// Stream deleted articles too.
    #[arg(long)]
    deleted: bool,
    /// Stream embargoed, withheld and cancelled articles too, as far as the caller may see them.
    #[arg(long)]
    hidden: bool,
    /// Go on after the line that had this token; the other options must be the same.
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
    /// There is only JSON; the option is here so that it can be given to every command.
    #[arg(long, value_parser = ["json"], default_value = "json", hide = true)]
    output: String,
}

impl Export {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut client = self.server.articles().await?;
        let request = pb::ExportArticlesRequest {
            resume_token: self.resume.unwrap_or_default(),
            include_translations: self.translations,
            show_deleted: self.deleted,
            show_hidden: self.hidden,
        };
        let mut items = client.export_articles(request).await?.into_inner();
        let mut printer = Printer::new();
        let mut token = String::new();
        loop {
            match items.message().await {
                Ok(Some(item)) => {
                    printer.message(&item)?;
                    token = item.resume_token;
                }
                Ok(None) => return printer.flush(),
                Err(status) => {
                    printer.flush()?;
                    if !token.is_empty() {
                        warn(&format!("the export broke off; go on with --resume {token}"));
                    }
                    return Err(status.into());
                }
            }
        }
    }
}

//! `reject`: turns a translation down, for good.

use clap::Args;

use super::Failure;
use super::agent::{DeciderArgs, StepArgs, print_step};
use crate::pb;

/// The arguments of `reject`.
#[derive(Debug, Args)]
#[command(after_help = "\
A rejected translation stays readable and is neither edited nor reviewed nor selected again. If it was served, nothing is \
served in its language until another one is selected or attached.

Example:
  article-store reject harbour --language en --translation-id t2 --reason 'a libel' --agent human --person Omar")]
pub(crate) struct Reject {
    #[command(flatten)]
    step: StepArgs,
    /// The translation.
    #[arg(long, value_name = "ID")]
    translation_id: String,
    /// The etag that it must have.
    #[arg(long)]
    etag: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    agent: DeciderArgs,
}

impl Reject {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let StepArgs {
            id,
            server,
            output,
            language,
            request_id,
        } = self.step;
        let request = pb::RejectTranslationRequest {
            article_id: id.clone(),
            language,
            translation_id: self.translation_id,
            etag: self.etag.unwrap_or_default(),
            reason: self.reason,
            agent: self.agent.message(),
            request_id: request_id.unwrap_or_default(),
        };
        let mut client = server.translations().await?;
        let answer = client.reject_translation(request).await?.into_inner();
        let named = ("RejectTranslationResponse", &answer);
        print_step(
            output.output,
            named,
            "rejected for",
            &id,
            answer.translation.as_ref(),
        )
    }
}

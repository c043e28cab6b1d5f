//! `select`: chooses the translation that is served in a language.

use clap::Args;

use super::Failure;
use super::agent::{DeciderArgs, StepArgs, print_step};
use crate::pb;

/// The arguments of `select`.
#[derive(Debug, Args)]
#[command(after_help = "\
The translation that was served until then is superseded and can be selected again.

Examples:
  article-store select harbour --language en --translation-id t2
  article-store select harbour --language en --translation-id t2 --slot-etag 1-0f… --reason 'reads better' --agent human")]
pub(crate) struct Select {
    #[command(flatten)]
    step: StepArgs,
    /// The translation to serve.
    #[arg(long, value_name = "ID")]
    translation_id: String,
    /// The etag that the selection of the language must have.
    #[arg(long, value_name = "ETAG")]
    slot_etag: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    agent: DeciderArgs,
}

impl Select {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let StepArgs {
            id,
            server,
            output,
            language,
            request_id,
        } = self.step;
        let request = pb::SelectTranslationRequest {
            article_id: id.clone(),
            language,
            translation_id: self.translation_id,
            slot_etag: self.slot_etag.unwrap_or_default(),
            agent: self.agent.message(),
            reason: self.reason.unwrap_or_default(),
            request_id: request_id.unwrap_or_default(),
        };
        let mut client = server.translations().await?;
        let answer = client.select_translation(request).await?.into_inner();
        let named = ("SelectTranslationResponse", &answer);
        print_step(
            output.output,
            named,
            "selected for",
            &id,
            answer.translation.as_ref(),
        )
    }
}

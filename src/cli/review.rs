//! `review`: brings a translation, or paragraphs of it, to a state.

use clap::Args;

use super::Failure;
use super::agent::{AgentArgs, StateArg, StepArgs, print_step};
use crate::pb;

/// The arguments of `review`.
#[derive(Debug, Args)]
#[command(after_help = "\
The etag is that of the text that was read: `get --translation` shows it. What has changed since is not reviewed unseen.

Examples:
  article-store review harbour --language en --etag 1-0f… --agent human --person 'Rana Haddad'
  article-store review harbour --language en --etag 2-3b… --segment s3 --segment s4 --agent human --person Omar
  article-store review harbour --language en --etag 3-9c… --state translated --reason 'misses a negation' --agent human")]
pub(crate) struct Review {
    #[command(flatten)]
    step: StepArgs,
    /// The translation; the served one if not given.
    #[arg(long, value_name = "ID")]
    translation_id: Option<String>,
    /// The etag of the translation that was read.
    #[arg(long)]
    etag: String,
    /// The state to bring it to.
    #[arg(long, value_enum, default_value_t = StateArg::Reviewed)]
    state: StateArg,
    /// Only this paragraph (`title`, `lead`, `s1`…); may be repeated.
    #[arg(long, value_name = "ID")]
    segment: Vec<String>,
    /// Why; required to lower a state.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
}

impl Review {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let StepArgs {
            id,
            server,
            output,
            language,
            request_id,
        } = self.step;
        let request = pb::ReviewTranslationRequest {
            article_id: id.clone(),
            language,
            translation_id: self.translation_id.unwrap_or_default(),
            etag: self.etag,
            segment_ids: self.segment,
            state: self.state.value().into(),
            reason: self.reason.unwrap_or_default(),
            agent: Some(self.agent.message()),
            effort: None,
            request_id: request_id.unwrap_or_default(),
        };
        let mut client = server.translations().await?;
        let answer = client.review_translation(request).await?.into_inner();
        let named = ("ReviewTranslationResponse", &answer);
        print_step(output.output, named, "reviewed", &id, answer.translation.as_ref())
    }
}

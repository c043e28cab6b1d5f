//! `ack`: declares that a translation, or paragraphs of it, are still true although the source changed.

use clap::Args;

use super::Failure;
use super::agent::{AgentArgs, StepArgs, print_step};
use crate::pb;

/// The arguments of `ack`.
#[derive(Debug, Args)]
#[command(after_help = "\
Text and state stay; the paragraphs count as made from that revision, until the source changes again.

Example:
  article-store ack harbour --language en --revision 2 --segment s3 --etag 1-0f… --reason 'only spelling' --agent human")]
pub(crate) struct Ack {
    #[command(flatten)]
    step: StepArgs,
    /// The translation; the served one if not given.
    #[arg(long, value_name = "ID")]
    translation_id: Option<String>,
    /// The etag of the translation that was read.
    #[arg(long)]
    etag: String,
    /// The revision of the source that it holds for.
    #[arg(long, value_name = "N")]
    revision: u32,
    /// Only this paragraph (`title`, `lead`, `s1`…); may be repeated.
    #[arg(long, value_name = "ID")]
    segment: Vec<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    agent: AgentArgs,
}

impl Ack {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let StepArgs {
            id,
            server,
            output,
            language,
            request_id,
        } = self.step;
        let request = pb::AcknowledgeSourceRequest {
            article_id: id.clone(),
            language,
            translation_id: self.translation_id.unwrap_or_default(),
            etag: self.etag,
            segment_ids: self.segment,
            source_revision: self.revision,
            reason: self.reason,
            agent: Some(self.agent.message()),
            request_id: request_id.unwrap_or_default(),
        };
        let mut client = server.translations().await?;
        let answer = client.acknowledge_source(request).await?.into_inner();
        let named = ("AcknowledgeSourceResponse", &answer);
        print_step(
            output.output,
            named,
            "acknowledged",
            &id,
            answer.translation.as_ref(),
        )
    }
}

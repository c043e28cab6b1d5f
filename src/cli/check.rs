//! `check`: verifies every record, and reports damage and contradictions.

use clap::Args;
use futures::stream::StreamExt;
use pb::check_store_response::Step;

use super::Failure;
use super::output::{Output, OutputArgs, Printer};
use super::status::checked;
use super::store_target::{SpaceArgs, Target, TargetArgs, count, progress};
use super::terminal::line;
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
Prints what is wrong, one finding a line, and a summary. Exits with 0 if nothing is wrong and with 1 if something is. \
The server continues to serve.

A damaged record is mended by writing the article again, or by restoring a backup.

Examples:
  article-store check
  article-store check --output json | jq -r 'select(.finding) | .finding.record'
  article-store check --store sled:/var/lib/article-store")]
pub(crate) struct Check {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Check {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut target = self.target.open(SpaceArgs::default()).await?;
        let done = self.check(&mut target).await;
        target.close(done).await
    }

    async fn check(&self, target: &mut Target) -> Result<(), Failure> {
        let mut steps = target.check_store().await?;
        let mut printer = Printer::new();
        let bar = progress();
        bar.set_message("checking");
        let mut summary = None;
        while let Some(step) = steps.next().await {
            let answer = step?;
            match (&answer.step, self.output.output) {
                (Some(Step::Progress(progress)), _) => {
                    bar.set_message(format!("checking: {} records", count(progress.records)));
                    bar.tick();
                }
                (_, Output::Json) => printer.message(&answer)?,
                (Some(Step::Finding(finding)), Output::Table) => {
                    printer.line(&line(&format!("{}: {}", finding.record, finding.problem)))?;
                }
                (Some(Step::Summary(summary)), Output::Table) => printer.line(&checked(summary))?,
                (None, Output::Table) => {}
            }
            if let Some(Step::Summary(done)) = answer.step {
                summary = Some(done);
            }
        }
        bar.finish_and_clear();
        printer.flush()?;
        match summary {
            Some(summary) if summary.findings == 0 => Ok(()),
            Some(_) => Err(Failure::Reported),
            None => Err(Failure::failed("the check broke off before its end")),
        }
    }
}

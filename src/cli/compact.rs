//! `compact`: gives back unused space of a store.

use clap::Args;
use futures::stream::StreamExt;
use pb::compact_store_response::Step;

use super::Failure;
use super::output::OutputArgs;
use super::status::compacting;
use super::store_target::{SpaceArgs, Target, TargetArgs, bytes, progress};
use crate::pb;

#[derive(Debug, Args)]
#[command(after_help = "\
The records are copied into a new database, which is compared with the old one and takes its place. The volume must have \
room for the copy. The server continues to serve: writes are slower, and everything waits a moment at the end. A compaction \
that is broken off leaves the store as it was; one that a server carries out goes on when this command is ended.

`article-store status` says when it is worth while.

Examples:
  article-store compact
  article-store compact --store sled:/var/lib/article-store")]
pub(crate) struct Compact {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    space: SpaceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Compact {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut target = self.target.open(self.space).await?;
        let compacted = compact(&mut target).await;
        let summary = target.close(compacted).await?;
        self.output.line(&summary, || {
            format!(
                "compacted: the store took {} and takes {}",
                bytes(summary.disk_bytes_before),
                bytes(summary.disk_bytes_after)
            )
        })
    }
}

async fn compact(target: &mut Target) -> Result<pb::CompactionSummary, Failure> {
    let mut steps = target.compact_store().await?;
    let bar = progress();
    bar.set_message("compacting");
    let mut summary = None;
    while let Some(step) = steps.next().await {
        match step?.step {
            Some(Step::Progress(progress)) => {
                bar.set_message(format!("compacting: {}", compacting(&progress)));
                bar.tick();
            }
            Some(Step::Summary(done)) => summary = Some(done),
            None => {}
        }
    }
    bar.finish_and_clear();
    summary.ok_or_else(|| Failure::failed("the compaction broke off before its end; the store is as it was"))
}

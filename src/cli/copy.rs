//! `copy`: a store in another directory, the same in everything. The server of the first must be stopped.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::output::{Output, OutputArgs, Printer};
use super::restore::{amounts, summary};
use super::store_target::{SpaceArgs, count, directory, progress, refused, start_log, steps, store_at};
use crate::clock::TrustedClock;
use crate::server::store_factory;

#[derive(Debug, Args)]
#[command(after_help = "\
The copy keeps the epoch, the change log and the recorded requests: a server on it continues where the first one stopped. \
It is built beside its place, checked and compared, and only then put there. Do not run servers on both, or followers and \
retries meet two stores that claim to be the same.

The server of the first directory must be stopped; the second must hold no store.

Example:
  article-store copy --from sled:/var/lib/article-store --to sled:/mnt/larger/article-store")]
pub(crate) struct Copy {
    /// The store to copy, as `sled:DIRECTORY`.
    #[arg(long, value_name = "STORE", value_parser = directory)]
    from: PathBuf,
    /// Where to put the copy, as `sled:DIRECTORY`.
    #[arg(long, value_name = "STORE", value_parser = directory)]
    to: PathBuf,
    #[command(flatten)]
    space: SpaceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Copy {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let (Ok(from), Ok(to)) = (fs::canonicalize(&self.from), fs::canonicalize(&self.to))
            && from == to
        {
            return Err(Failure::Usage("--from and --to are the same directory".into()));
        }
        start_log();
        let bar = progress();
        let copied = store_factory::copy(
            &self.from,
            &self.to,
            self.space.options(),
            Arc::new(TrustedClock),
            steps(&bar),
        )
        .await;
        bar.finish_and_clear();
        let status = copied.map_err(|error| refused(&error, "; choose another directory with --to"))?;
        let mut printer = Printer::new();
        match self.output.output {
            Output::Json => printer.json(&summary(&status))?,
            Output::Table => printer.line(&format!(
                "copied {} to {}, up to commit {}: {}",
                store_at(&self.from),
                store_at(&self.to),
                count(status.seq),
                amounts(&status)
            ))?,
        }
        printer.flush()
    }
}

//! `restore`: a store from a backup. The server of the directory must be stopped.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::tz::TimeZone;

use super::output::{Output, OutputArgs, Printer};
use super::store_target::{SpaceArgs, count, directory, many, progress, refused, start_log, steps, store_at};
use super::{Failure, format};
use crate::clock::TrustedClock;
use crate::domain::time::Timestamp;
use crate::server::store_factory;
use crate::store::StoreStatus;

#[derive(Debug, Args)]
#[command(after_help = "\
The whole backup is compared with its manifest before anything is touched. Then the store is built beside its place, \
checked, and put there; a restore that is broken off leaves what there was. The new store has a new epoch, by which \
followers notice that its past is another one.

The server of the directory must be stopped.

Examples:
  article-store restore articles.backup --store sled:/var/lib/article-store
  article-store restore articles.backup --store sled:/var/lib/article-store --replace")]
pub(crate) struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to make the store, as `sled:DIRECTORY`.
    #[arg(long, value_name = "STORE", value_parser = directory)]
    store: PathBuf,
    /// Replace the store that is there. It is removed when the new one is complete.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    space: SpaceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Restore {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        start_log();
        let bar = progress();
        let restored = store_factory::restore(
            &self.file,
            &self.store,
            self.space.options(),
            self.replace,
            Arc::new(TrustedClock),
            steps(&bar),
        )
        .await;
        bar.finish_and_clear();
        let restored = restored.map_err(|error| {
            refused(
                &error,
                "; give --replace to put the backup in its place, or another directory",
            )
        })?;
        let mut printer = Printer::new();
        match self.output.output {
            Output::Json => printer.json(&summary(&restored.status))?,
            Output::Table => {
                printer.line(&format!(
                    "restored commit {}{} into {}: {}",
                    count(restored.manifest.seq),
                    of_time(restored.manifest.seq, restored.manifest.time),
                    store_at(&self.store),
                    amounts(&restored.status)
                ))?;
                printer.line(&format!("its new epoch is {}", epoch(&restored.status)))?;
            }
        }
        printer.flush()
    }
}

/// The time of a commit, if there is one.
fn of_time(seq: u64, time: Timestamp) -> String {
    if seq == 0 {
        return String::new();
    }
    let (seconds, nanos) = time.to_seconds();
    let time = prost_types::Timestamp { seconds, nanos };
    format!(" of {} UTC", format::timestamp_in(Some(&time), &TimeZone::UTC))
}

/// The contents of a store, in words.
pub(crate) fn amounts(status: &StoreStatus) -> String {
    let [articles, deleted, revisions, translations] = sums(status);
    format!(
        "{}, {} deleted, {}, {}",
        many(articles, "article", "articles"),
        count(deleted),
        many(revisions, "revision", "revisions"),
        many(translations, "translation", "translations")
    )
}

/// The epoch in hexadecimal, as `status` shows it.
pub(crate) fn epoch(status: &StoreStatus) -> String {
    status.epoch.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new store, for programs.
pub(crate) fn summary(status: &StoreStatus) -> serde_json::Value {
    let [articles, deleted, revisions, translations] = sums(status);
    serde_json::json!({
        "seq": status.seq,
        "epoch": epoch(status),
        "articles": articles,
        "deletedArticles": deleted,
        "revisions": revisions,
        "translations": translations,
    })
}

fn sums(status: &StoreStatus) -> [u64; 4] {
    let counts = || status.counts.values();
    [
        counts().map(|counts| counts.articles).sum(),
        counts().map(|counts| counts.deleted).sum(),
        counts().map(|counts| counts.revisions).sum(),
        counts().map(|counts| counts.translations).sum(),
    ]
}

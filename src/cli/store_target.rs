//! Shared by the operator's commands: the store, at a server or in a directory, progress, and numbers for people.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use futures::stream::StreamExt;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tonic::Request;
use tracing_subscriber::filter::LevelFilter;

use super::Failure;
use super::client::{Connection, ServerArgs};
use crate::api::admin::Answers;
use crate::clock::TrustedClock;
use crate::pb;
use crate::pb::admin_service_client::AdminServiceClient;
use crate::pb::admin_service_server::AdminService;
use crate::server::offline_admin::Offline;
use crate::server::store_factory::{StoreLocation, StoreOptions};
use crate::store::StoreError;
use crate::store::error::OpenError;
use crate::store::transfer::BackupError;

/// Memory for decoded articles and texts; nothing is read twice.
const CACHE_BYTES: u64 = 16 << 20;

/// The store of a command.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// A store whose server is stopped, as `sled:DIRECTORY`, instead of a server.
    #[arg(long, value_name = "STORE", value_parser = directory)]
    store: Option<PathBuf>,
}

/// How much space must stay free on the volume of a store that is opened or made.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct SpaceArgs {
    /// Free bytes of the volume below which nothing is written; 1 GiB or a tenth of the database, whichever is more, if
    /// not given. A server has its own.
    #[arg(long, value_name = "BYTES")]
    min_free_bytes: Option<u64>,
}

impl SpaceArgs {
    pub(crate) fn options(self) -> StoreOptions {
        StoreOptions {
            cache_bytes: CACHE_BYTES,
            min_free_bytes: self.min_free_bytes,
        }
    }
}

/// A store on the command line that must be on disk.
pub(crate) fn directory(text: &str) -> Result<PathBuf, String> {
    match text.parse()? {
        StoreLocation::Sled(directory) => Ok(directory),
        StoreLocation::Memory => Err("a store in memory is gone with its server; give sled:DIRECTORY".into()),
    }
}

/// The name of a store on disk on the command line.
pub(crate) fn store_at(directory: &Path) -> StoreLocation {
    StoreLocation::Sled(directory.to_owned())
}

/// The calls of a server, or the same in this process.
pub(crate) enum Target {
    Server(Box<AdminServiceClient<Connection>>),
    Offline(Offline),
}

impl TargetArgs {
    pub(crate) async fn open(&self, space: SpaceArgs) -> Result<Target, Failure> {
        let Some(directory) = &self.store else {
            return Ok(Target::Server(Box::new(self.server.admin().await?)));
        };
        start_log();
        let opened = Offline::open(directory, space.options(), Arc::new(TrustedClock));
        opened
            .map(Target::Offline)
            .map_err(|error| Failure::failed(format!("{error}{}", hint(&error))))
    }
}

/// A hint for a store that cannot be opened, where its error has none.
fn hint(error: &StoreError) -> &'static str {
    match error {
        StoreError::Open(OpenError::InUse { .. }) => "\nor leave out --store to ask its server",
        // The operating system's text for EROFS.
        StoreError::Open(OpenError::Io { detail, .. }) if detail.contains("Read-only file system") => {
            "\nopening a store writes to it, also for a check or a backup: mount the volume for writing, or use a copy of \
             the directory"
        }
        _ => "",
    }
}

impl Target {
    pub(crate) async fn check_store(&mut self) -> Result<Answers<pb::CheckStoreResponse>, Failure> {
        let request = Request::new(pb::CheckStoreRequest {});
        Ok(match self {
            Self::Server(client) => client.check_store(request).await?.into_inner().boxed(),
            Self::Offline(store) => store.admin().check_store(request).await?.into_inner(),
        })
    }

    pub(crate) async fn backup_store(&mut self) -> Result<Answers<pb::BackupStoreResponse>, Failure> {
        let request = Request::new(pb::BackupStoreRequest {});
        Ok(match self {
            Self::Server(client) => client.backup_store(request).await?.into_inner().boxed(),
            Self::Offline(store) => store.admin().backup_store(request).await?.into_inner(),
        })
    }

    pub(crate) async fn compact_store(&mut self) -> Result<Answers<pb::CompactStoreResponse>, Failure> {
        let request = Request::new(pb::CompactStoreRequest {});
        Ok(match self {
            Self::Server(client) => client.compact_store(request).await?.into_inner().boxed(),
            Self::Offline(store) => store.admin().compact_store(request).await?.into_inner(),
        })
    }

    /// Closes an opened store. A failure of the work before comes first.
    pub(crate) async fn close<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        let closed = match self {
            Self::Server(_) => Ok(()),
            Self::Offline(store) => store.close().await,
        };
        let done = done?;
        closed.map_err(|error| Failure::failed(error.to_string()))?;
        Ok(done)
    }
}

/// The error of a restore or a copy. `instead` is the hint for a directory that already holds a store.
pub(crate) fn refused(error: &BackupError, instead: &str) -> Failure {
    let hint = match error {
        BackupError::Store(StoreError::Open(OpenError::NotEmpty { .. })) => instead,
        _ => "",
    };
    Failure::failed(format!("{error}{hint}"))
}

/// Logs warnings of a store that this process opens to standard error.
pub(crate) fn start_log() {
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // It fails only where a log is set already.
    drop(log.try_init());
}

/// A progress bar; hidden where standard error is no terminal.
pub(crate) fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    match ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The progress of a restore or a copy.
pub(crate) fn steps(bar: &ProgressBar) -> crate::store::transfer::Progress {
    let bar = bar.clone();
    Box::new(move |what, done, total| {
        bar.set_message(match (done, total) {
            (0, 0) => what.to_owned(),
            (done, 0) => format!("{what}: {} records", count(done)),
            (done, total) => format!("{what}: {} of {} records", count(done), count(total)),
        });
        bar.tick();
    })
}

pub(crate) fn bytes(bytes: u64) -> impl Display {
    HumanBytes(bytes)
}

pub(crate) fn count(count: u64) -> impl Display {
    HumanCount(count)
}

/// A number with its noun.
pub(crate) fn many(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_volume_is_told_from_other_failures() {
        let refused = |code| {
            let error = StoreError::Open(OpenError::Io {
                location: "d".into(),
                detail: io::Error::from_raw_os_error(code).to_string(),
            });
            hint(&error)
        };
        assert!(refused(rustix::io::Errno::ROFS.raw_os_error()).contains("mount the volume for writing"));
        assert_eq!(refused(rustix::io::Errno::ACCESS.raw_os_error()), "");
    }
}

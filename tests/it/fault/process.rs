//! The server as a process that is started, killed and stopped.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

use super::within_limit;
pub(super) use crate::process::PROGRAM;
use crate::process::{self, serve};

/// The largest article that the servers take. One that nearly is, and that compression makes little smaller, is more than a
/// page of sled takes.
pub(super) const ARTICLE_BYTES: u32 = 4 << 20;

/// The real program, to serve a directory.
pub(super) fn program(store: &Path, min_free_bytes: u64) -> Command {
    program_at("127.0.0.1:0", store, min_free_bytes)
}

/// The same at an address.
pub(super) fn program_at(listen: &str, store: &Path, min_free_bytes: u64) -> Command {
    let mut command = Command::new(PROGRAM);
    serve(&mut command, listen, store, min_free_bytes);
    command
        .args(["--log", "warn"])
        .args(["--max-article-bytes", &ARTICLE_BYTES.to_string()]);
    command
}

/// A server that runs.
pub(super) struct Process {
    process: process::Process,
    log: PathBuf,
}

impl Process {
    /// Starts a server that appends its log to a file.
    pub(super) fn start(mut command: Command, log: &Path) -> Self {
        let appended = File::options().create(true).append(true).open(log).unwrap();
        Self {
            process: process::Process::start(command.stderr(appended)),
            log: log.to_path_buf(),
        }
    }

    /// Where it serves, as soon as it does; `None` if it ends before.
    pub(super) async fn address(&mut self) -> Option<String> {
        let address = self.process.address();
        let address = within_limit(spawn_blocking(move || address.wait()))
            .await
            .unwrap()?;
        Some(format!("http://{address}"))
    }

    /// How it ended by itself.
    pub(super) async fn ended(mut self) -> ExitStatus {
        within_limit(spawn_blocking(move || self.process.child.wait().unwrap()))
            .await
            .unwrap()
    }

    pub(super) fn kill(mut self) {
        assert_eq!(
            self.process.child.try_wait().unwrap(),
            None,
            "the server ended by itself"
        );
        self.process.child.kill().unwrap();
        let status = self.process.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the server ended by itself: {status}");
    }

    /// Stops it as an operator does.
    pub(super) async fn stop(self) {
        kill_process(Pid::from_child(&self.process.child), Signal::TERM).unwrap();
        let log = self.log.clone();
        let status = self.ended().await;
        let log = std::fs::read_to_string(log).unwrap();
        assert!(status.success(), "the server stopped with {status}: {log}");
    }
}

//! The server as a process that is started, killed and stopped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::within_limit;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_article-store");

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
    command
        .args(["serve", "--listen", listen, "--log", "warn"])
        .args(["--max-article-bytes", &ARTICLE_BYTES.to_string()])
        .args(["--min-free-bytes", &min_free_bytes.to_string(), "--store"])
        .arg(format!("sled:{}", store.display()));
    command
}

/// A server that runs.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    address: oneshot::Receiver<String>,
}

impl Process {
    /// Starts a server that appends its log to a file.
    pub(super) fn start(mut command: Command, log: &Path) -> Self {
        let appended = File::options().create(true).append(true).open(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(appended).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, address) = oneshot::channel();
        // To the end, or the process would fail with what it says later.
        thread::spawn(move || {
            let mut say = Some(say);
            for line in lines.map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on ")
                    && let Some(say) = say.take()
                {
                    // Whoever killed it does not ask.
                    drop(say.send(format!("http://{address}")));
                }
            }
        });
        Self {
            child,
            log: log.to_path_buf(),
            address,
        }
    }

    /// Where it serves, as soon as it does; `None` if it ends before.
    pub(super) async fn address(&mut self) -> Option<String> {
        within_limit(&mut self.address).await.ok()
    }

    /// How it ended by itself.
    pub(super) async fn ended(mut self) -> ExitStatus {
        within_limit(spawn_blocking(move || self.child.wait().unwrap()))
            .await
            .unwrap()
    }

    pub(super) fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server ended by itself");
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the server ended by itself: {status}");
    }

    /// Stops it as an operator does.
    pub(super) async fn stop(self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let log = self.log.clone();
        let status = self.ended().await;
        let log = std::fs::read_to_string(log).unwrap();
        assert!(status.success(), "the server stopped with {status}: {log}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

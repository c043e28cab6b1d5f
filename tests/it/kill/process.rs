//! The server as a process that is started, killed and stopped.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::{JoinHandle, spawn_blocking};

use super::within_limit;

const PROGRAM: &str = env!("CARGO_BIN_EXE_article-store");

/// A process that serves a directory.
pub(super) struct Process {
    child: Child,
    first_line: JoinHandle<io::Result<String>>,
}

impl Process {
    pub(super) fn start(directory: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.join("log"))
            .unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--min-free-bytes", "0"])
            .args(["--log", "warn", "--store"])
            .arg(format!("sled:{}", directory.join("store").display()))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let first_line = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        Self { child, first_line }
    }

    /// Where it serves, as soon as it does.
    pub(super) async fn address(&mut self) -> String {
        let line = (&mut self.first_line).await.unwrap().unwrap();
        let address = line.trim_end().strip_prefix("listening on ");
        format!("http://{}", address.expect("the server starts"))
    }

    pub(super) fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server ended by itself");
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the server ended by itself: {status}");
    }

    /// Stops it as an operator does.
    pub(super) async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = within_limit(spawn_blocking(move || self.child.wait().unwrap())).await;
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A server as a process of its own, for tests and benches: it is read for its address, measured, and ended with its owner.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_article-store");

/// Adds the arguments that serve a directory at an address.
pub(crate) fn serve(command: &mut Command, listen: &str, store: &Path, min_free_bytes: u64) {
    command
        .args(["serve", "--listen", listen, "--min-free-bytes"])
        .arg(min_free_bytes.to_string())
        .arg("--store")
        .arg(format!("sled:{}", store.display()));
}

/// A server that runs. It is killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    address: Arc<Address>,
}

/// The address of a server, as soon as it prints it.
pub(crate) struct Address {
    printed: Mutex<Receiver<String>>,
    known: OnceLock<Option<String>>,
}

impl Process {
    /// Starts a server. What it prints is read to its end, or it would fail with what it prints later.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (print, printed) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on ") {
                    drop(print.send(address.to_owned()));
                }
            }
        });
        let address = Arc::new(Address {
            printed: Mutex::new(printed),
            known: OnceLock::new(),
        });
        Self { child, address }
    }

    /// Where it will be found.
    pub(crate) fn address(&self) -> Arc<Address> {
        self.address.clone()
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmHWM`, the most memory so far, or `VmRSS`, the memory now.
    pub(crate) fn memory_kib(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Address {
    /// Waits until the server listens; `None` if it ends before.
    pub(crate) fn wait(&self) -> Option<String> {
        let printed = || self.printed.lock().unwrap().recv().ok();
        self.known.get_or_init(printed).clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

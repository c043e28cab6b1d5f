//! The shim under a server: builds `shim.c` and has a process load it.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fault/shim.c");

/// The shim, and where it writes and reads.
pub(super) struct Shim {
    library: PathBuf,
    /// The directory whose changes are recorded; nothing is recorded while nothing is started.
    pub(super) root: PathBuf,
    /// The record.
    pub(super) record: PathBuf,
    /// Which syncs fail; see `shim.c`. Syncs and writes wait for each other only if there is a script.
    script: Option<PathBuf>,
}

impl Shim {
    /// A shim that keeps its files in `directory`, for the directory `root` in it.
    pub(super) fn new(directory: &Path, root: &str, scripted: bool) -> Self {
        let directory = directory.canonicalize().unwrap();
        let library = directory.join("shim.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o"])
            .args([&library, Path::new(SOURCE)])
            .status()
            .expect("there is a C compiler, as for the build");
        assert!(built.success());
        Self {
            library,
            root: directory.join(root),
            record: directory.join("record"),
            script: scripted.then(|| directory.join("script")),
        }
    }

    /// Has the command load it.
    pub(super) fn below(&self, mut command: Command) -> Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("ARTICLE_STORE_TEST_FAULT_ROOT", &self.root)
            .env("ARTICLE_STORE_TEST_FAULT_RECORD", &self.record);
        if let Some(script) = &self.script {
            command.env("ARTICLE_STORE_TEST_FAULT_SCRIPT", script);
        }
        command
    }

    /// Preloads the shim into a command, which is killed after this number of file operations.
    pub(super) fn kill(&self, command: Command, records: u32) -> Command {
        let mut command = self.below(command);
        command.env("ARTICLE_STORE_TEST_FAULT_KILL", records.to_string());
        command
    }

    /// Has the command load it, and wait where it opens sled's log while there is a gate.
    pub(super) fn gated(&self, command: Command) -> Command {
        let mut command = self.below(command);
        command.env("ARTICLE_STORE_TEST_FAULT_GATE", self.gate());
        command
    }

    fn gate(&self) -> PathBuf {
        self.library.with_file_name("gate")
    }

    fn met(&self) -> PathBuf {
        self.library.with_file_name("gate.met")
    }

    /// Makes a gate.
    pub(super) fn close_gate(&self) {
        let made = Command::new("mkfifo").arg(self.gate()).status().unwrap();
        assert!(made.success());
    }

    /// Whether a process waits at the gate.
    pub(super) fn is_met(&self) -> bool {
        self.met().exists()
    }

    /// Takes the gate away, and lets through the process that waits at it, if it still runs.
    pub(super) fn open_gate(&self) {
        let mut open = File::options();
        // Without a reader there is nothing to open, and nothing to let through.
        drop(
            open.write(true)
                .custom_flags(OFlags::NONBLOCK.bits() as i32)
                .open(self.gate()),
        );
        for file in [self.gate(), self.met()] {
            std::fs::remove_file(file).unwrap();
        }
    }

    /// Lets the next syncs of these names fail, in this order.
    pub(super) fn fail(&self, calls: &[&str]) {
        let script = self.script.as_ref().expect("it has a script");
        let lines: String = calls.iter().map(|call| format!("{call}\n")).collect();
        // It appears at once, or the shim could see half a line.
        let draft = script.with_extension("draft");
        std::fs::write(&draft, lines).unwrap();
        std::fs::rename(draft, script).unwrap();
    }

    /// Whether all of them have failed.
    pub(super) fn has_failed(&self) -> bool {
        !self.script.as_ref().expect("it has a script").exists()
    }
}

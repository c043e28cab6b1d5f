//! Survival of kills and of a full disk, with real processes: this test binary starts itself as the writer.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::tests::{EVERYTHING, commit};
use super::*;
use crate::store::kv::engine_tests::{bytes, open_sled, put, scan};

/// Names the directory that the test below writes to, when this binary is started as a process to be killed.
const WRITER_DIRECTORY: &str = "ARTICLE_STORE_TEST_WRITER";

/// How often to kill; 10 times by default.
const KILLS: &str = "ARTICLE_STORE_TEST_KILLS";

fn group(n: u32) -> Vec<Write> {
    let mut group: Vec<Write> = (0..8_u32)
        .map(|part| put(group_key(n, part), bytes(1200)))
        .collect();
    if n.is_multiple_of(16) {
        group.push(put(group_key(n, 8), bytes(300_000)));
    }
    // Rewritten by every group, as an index is.
    group.push(put("last", n.to_be_bytes()));
    group
}

fn group_key(n: u32, part: u32) -> [u8; 8] {
    let mut key = [0; 8];
    // Spread, so that groups share leaves.
    key[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).wrapping_add(part << 29).to_be_bytes());
    key[0] &= 0x7F;
    key[4..].copy_from_slice(&(n * 16 + part).to_be_bytes());
    key
}

fn last_group(engine: &SledEngine) -> u32 {
    engine
        .get(b"last")
        .unwrap()
        .map_or(0, |n| u32::from_be_bytes(n.try_into().unwrap()))
}

/// Not a test of its own: the process that `acknowledged_writes_survive_kills` kills.
#[test]
fn writer_to_be_killed() {
    let Some(directory) = std::env::var_os(WRITER_DIRECTORY) else {
        return;
    };
    println!("\nopening");
    let engine = open_sled(Path::new(&directory));
    for n in last_group(&engine) + 1.. {
        commit(&engine, group(n));
        println!("acknowledged {n}");
        if n.is_multiple_of(400) {
            engine.reopen().unwrap();
        }
    }
}

/// Not a test of its own: `a_full_disk_is_survived_without_a_restart` runs it under a limit of file sizes.
#[test]
fn writer_on_a_full_disk() {
    let Some(directory) = std::env::var_os(WRITER_DIRECTORY) else {
        return;
    };
    let engine = open_sled(Path::new(&directory));
    let mut acknowledged = 0;
    let refusal = loop {
        let n = acknowledged + 1;
        match engine
            .apply(group(n))
            .and_then(|()| engine.flush())
            .and_then(|()| engine.sync())
        {
            Ok(()) => acknowledged = n,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, StoreError::OutcomeUnknown);
    assert!(engine.wants_reopen());
    assert!(matches!(
        engine.apply(group(1)),
        Err(StoreError::Unavailable { .. })
    ));
    assert_eq!(engine.flush(), Err(StoreError::OutcomeUnknown));
    assert_eq!(engine.sync(), Err(StoreError::OutcomeUnknown));
    match engine.get(b"last") {
        Ok(Some(_)) | Err(StoreError::Unavailable { .. }) => {}
        other => panic!("reading on a failed engine gave {other:?}"),
    }
    let process = std::process::id().to_string();
    assert!(
        Command::new("prlimit")
            .args(["--fsize=unlimited", "--pid", &process])
            .status()
            .unwrap()
            .success()
    );
    engine.reopen().unwrap();
    assert!(!engine.wants_reopen());
    let last = last_group(&engine);
    assert!(
        (acknowledged..=acknowledged + 1).contains(&last),
        "acknowledged {acknowledged}, found {last}"
    );
    for n in last + 1..last + 20 {
        commit(&engine, group(n));
    }
    println!(
        "\nrecovered {acknowledged} {}",
        scan(&engine, EVERYTHING, Direction::Forward).len()
    );
}

/// The limit stands for a full disk: sled meets an error in the middle of writing its log. The signal that
/// comes with it is ignored by the shell, and so by the process that it becomes.
#[test]
fn a_full_disk_is_survived_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 40000; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            writer_name("writer_on_a_full_disk").as_str(),
            "--exact",
            "--nocapture",
        ])
        .env(WRITER_DIRECTORY, directory.path())
        .output()
        .unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && text.contains("recovered"),
        "{text}\n{errors}"
    );
}

fn writer_name(test: &str) -> String {
    format!("{}::{test}", module_path!().split_once("::").unwrap().1)
}

/// Starts this test binary as a writer, with the lines it prints.
fn start_writer(directory: &Path) -> (Child, mpsc::Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            writer_name("writer_to_be_killed").as_str(),
            "--exact",
            "--nocapture",
        ])
        .env(WRITER_DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        lines
            .map_while(|line| line.ok())
            .try_for_each(|line| sender.send(line))
    });
    (child, receiver)
}

#[test]
fn acknowledged_writes_survive_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut killed_while_opening = 0;
    let mut verified = 0;
    let rounds = std::env::var(KILLS).map_or(10, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let (mut child, lines) = start_writer(directory.path());
        while lines.recv().expect("the writer opens") != "opening" {}
        let mut printed: Vec<String> = Vec::new();
        // Half of the kills come while the database is being opened, which takes about 60 ms, the others once it writes,
        // however long the machine takes to get there.
        let limit = if round % 2 == 0 { 80_000 } else { 300_000 };
        if round % 2 == 1 {
            printed.push(lines.recv().expect("the writer writes"));
        }
        let deadline =
            Instant::now() + Duration::from_micros(RandomState::new().hash_one::<u32>(round) % limit);
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            printed.push(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        printed.extend(lines);
        killed_while_opening += u32::from(printed.is_empty());
        let acknowledged = printed
            .iter()
            .filter_map(|line| line.strip_prefix("acknowledged "))
            .map(|number| number.parse().unwrap())
            .max()
            .unwrap_or(verified);

        let engine = open_sled(directory.path());
        let last = last_group(&engine);
        assert!(
            last >= acknowledged,
            "group {acknowledged} was acknowledged, and {last} is the last one there"
        );
        let expected: BTreeMap<_, _> = (1..=last)
            .flat_map(group)
            .map(|write| match write {
                Write::Put(key, value) => (key, value),
                Write::Remove(_) => unreachable!("groups only put"),
            })
            .collect();
        let found = scan(&engine, EVERYTHING, Direction::Forward);
        assert!(
            found.into_iter().eq(expected),
            "after group {last} the database is not the groups up to it"
        );
        verified = last;
    }
    println!("{killed_while_opening} kills while opening, {verified} groups");
    assert!(verified > 0);
}

//! What an operator asks for: numbers, a check, a backup, a compaction. The store does the work; here its reports are put
//! in order, and what the last check came to is kept in memory.
//!
//! Long work takes a channel for what it says on its way. Whoever drops the other end has gone away.

use std::io::{self, Write};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Error, Result, Service};
use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::{
    BackupWriter, Checked, Entity, EntitySink, Finding, Manifest, Progress, StoreError, StoreStatus,
};

/// Records between two reports of a check.
const CHECK_REPORT_RECORDS: u64 = 1 << 14;
/// Bytes of a chunk of a backup.
const CHUNK_BYTES: usize = 1 << 20;
/// How long the reader of a backup may take nothing: a backup keeps others from being made.
const READER_PATIENCE: Duration = Duration::from_secs(120);
/// Time between two reports of a compaction.
const COMPACT_REPORT_EVERY: Duration = Duration::from_millis(500);

/// What is known of the checks of this process.
#[derive(Debug, Default)]
pub(super) struct Checks {
    running: tokio::sync::Mutex<()>,
    last: Mutex<Option<CheckSummary>>,
}

/// What there is to know.
#[derive(Debug, Clone)]
pub struct Status {
    /// The store.
    pub store: StoreStatus,
    /// The last check that came to its end since the process started.
    pub last_check: Option<CheckSummary>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckSummary {
    /// When it began.
    pub start: Timestamp,
    /// How long it took, in microseconds.
    pub duration_micros: u64,
    /// The newest commit when it began.
    pub seq: Seq,
    /// Records that were read.
    pub records: u64,
    /// How many findings there are.
    pub findings: u64,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckStep {
    /// So many records were read so far.
    Records(u64),
    /// Something is wrong.
    Found(Finding),
    /// It is done.
    Done(CheckSummary),
}

/// A part of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupPart {
    /// The next bytes of the file.
    Chunk(Vec<u8>),
    /// All bytes were sent.
    Complete {
        /// What they hold.
        manifest: Manifest,
        /// How many there are.
        size_bytes: u64,
    },
}

/// What a compaction says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactStep {
    /// How far it is.
    Going(Progress),
    /// It is done.
    Done {
        /// Bytes on the volume when it began.
        before_bytes: u64,
        /// Bytes on the volume now.
        after_bytes: u64,
    },
}

impl Service {
    /// Numbers and sizes.
    pub async fn status(&self) -> Result<Status> {
        Ok(Status {
            store: self.store.status().await?,
            last_check: *self.checks.last.lock(),
        })
    }

    /// Checks the store, one check at a time. One that nobody listens to any more stops and is not kept.
    pub async fn check_store(&self, steps: mpsc::Sender<CheckStep>) -> Result<()> {
        let Ok(_running) = self.checks.running.try_lock() else {
            let reason = "another check is running".to_owned();
            return Err(Error::Store(StoreError::Unavailable { reason }));
        };
        let mut summary = CheckSummary {
            start: self.clock.now(),
            duration_micros: 0,
            seq: self.store.durable().borrow().seq,
            records: 0,
            findings: 0,
        };
        let (report, reports) = mpsc::channel(64);
        let (checked, heard) = futures::join!(
            self.store.check_and_report(report),
            pass_on(reports, &steps, &mut summary)
        );
        checked?;
        if heard {
            let micros = self.clock.now().as_micros() - summary.start.as_micros();
            summary.duration_micros = u64::try_from(micros).unwrap_or_default();
            *self.checks.last.lock() = Some(summary);
            // The last words may be missed.
            drop(steps.send(CheckStep::Done(summary)).await);
        }
        Ok(())
    }

    /// Backs up the store while writes go on. Fails when nobody takes the parts any more.
    pub async fn back_up_store(&self, parts: mpsc::Sender<BackupPart>) -> Result<()> {
        let epoch = self.store.status().await?.epoch;
        let chunks = Chunks {
            parts,
            runtime: Handle::current(),
            chunk: Vec::new(),
            sent_bytes: 0,
        };
        let writer = BackupWriter::new(chunks, epoch, self.clock.now())
            .map_err(|error| Error::internal(&format!("a backup cannot begin: {error}")))?;
        self.store.dump(Box::new(Backup(writer))).await?;
        Ok(())
    }

    /// Compacts the store while reads and writes go on. It goes on when nobody listens.
    pub async fn compact_store(&self, steps: mpsc::Sender<CompactStep>) -> Result<()> {
        let before_bytes = self.store.status().await?.disk_bytes;
        let mut compaction = self.store.compact();
        let mut tick = interval(COMPACT_REPORT_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                compacted = &mut compaction => {
                    compacted?;
                    break;
                }
                _ = tick.tick() => {
                    // A store that is being reopened says nothing, and a reader that is behind misses a report.
                    if let Ok(StoreStatus { compaction: Some(progress), .. }) = self.store.status().await {
                        let _ = steps.try_send(CompactStep::Going(progress));
                    }
                }
            }
        }
        let after_bytes = self.store.status().await?.disk_bytes;
        let done = CompactStep::Done {
            before_bytes,
            after_bytes,
        };
        let _ = steps.send(done).await;
        Ok(())
    }
}

/// Hands on what a check reports. `false`: nobody listens any more, so the check is to end.
async fn pass_on(
    mut reports: mpsc::Receiver<Checked>,
    steps: &mpsc::Sender<CheckStep>,
    summary: &mut CheckSummary,
) -> bool {
    let mut told = 0;
    while let Some(checked) = reports.recv().await {
        let step = match checked {
            Checked::Records(records) => {
                summary.records += records;
                let due = summary.records - told >= CHECK_REPORT_RECORDS;
                due.then(|| {
                    told = summary.records;
                    CheckStep::Records(told)
                })
            }
            Checked::Found(finding) => {
                summary.findings += 1;
                Some(CheckStep::Found(finding))
            }
        };
        let heard = match step {
            Some(step) => steps.send(step).await.is_ok(),
            None => !steps.is_closed(),
        };
        if !heard {
            return false;
        }
    }
    true
}

/// A backup that says what it holds when it is complete.
struct Backup(BackupWriter<Chunks>);

impl EntitySink for Backup {
    fn entity(&mut self, entity: Entity) -> io::Result<()> {
        self.0.entity(entity)
    }

    fn end(&mut self, last: Stamp) -> io::Result<()> {
        self.0.end(last)?;
        let manifest = self.0.manifest().cloned();
        let chunks = self.0.get_ref();
        chunks.send(BackupPart::Complete {
            manifest: manifest.ok_or_else(|| io::Error::other("the backup has no manifest"))?,
            size_bytes: chunks.sent_bytes,
        })
    }
}

/// Sends what is written in chunks, and holds up the thread that writes while the reader is behind.
struct Chunks {
    parts: mpsc::Sender<BackupPart>,
    runtime: Handle,
    chunk: Vec<u8>,
    sent_bytes: u64,
}

impl Chunks {
    fn send(&self, part: BackupPart) -> io::Result<()> {
        let sent = self
            .runtime
            .block_on(self.parts.send_timeout(part, READER_PATIENCE));
        sent.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => io::ErrorKind::TimedOut.into(),
            mpsc::error::SendTimeoutError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
        })
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.chunk.len();
        let (taken, _) = bytes.split_at(bytes.len().min(room));
        self.chunk.extend_from_slice(taken);
        if self.chunk.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.sent_bytes += self.chunk.len() as u64;
            let chunk = std::mem::take(&mut self.chunk);
            self.send(BackupPart::Chunk(chunk))?;
        }
        Ok(())
    }
}

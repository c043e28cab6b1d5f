//! Administration: status, check, backup and compaction. The store does the work; here its reports are put in order, and the
//! result of the last check is kept in memory.
//!
//! Long work reports its progress to a channel; a receiver that is dropped means that the caller is gone.

use std::cmp::Reverse;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{Call, Error, Result, Service};
use crate::domain::language::Language;
use crate::domain::time::{Seq, Timestamp};
use crate::store::transfer::{Manifest, back_up};
use crate::store::{self, Checked, Counts, Finding, Progress, StoreError, StoreStatus};

/// Records between two reports of a check.
const CHECK_REPORT_RECORDS: u64 = 1 << 14;
/// How long the reader of a backup may take nothing: a backup keeps others from being made.
const READER_PATIENCE: Duration = Duration::from_secs(120);
/// The memory of a backup in bytes, estimated: the chunks that are read ahead and the frame that is compressed.
const BACKUP_BYTES: usize = 16 << 20;
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
    /// The last check that was completed since the process started.
    pub last_check: Option<CheckSummary>,
}

/// Languages that a status lists at most.
const LANGUAGES: usize = 1_000;

impl Status {
    /// The languages with the most articles and translations, by tag, and how many are left out. A language that is only to be
    /// translated into has nothing yet.
    pub fn languages(&self) -> (Vec<(&Language, &Counts)>, usize) {
        let size = |counts: &Counts| counts.articles + counts.deleted + counts.translations;
        let all = self.store.counts.iter();
        let mut languages: Vec<_> = all.filter(|(_, counts)| size(counts) > 0).collect();
        let omitted = languages.len().saturating_sub(LANGUAGES);
        languages.sort_by_key(|(_, counts)| Reverse(size(counts)));
        languages.truncate(LANGUAGES);
        languages.sort_by_key(|(language, _)| *language);
        (languages, omitted)
    }
}

/// The result of a check.
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

    /// Checks the store, one check at a time. It stops, and its result is not kept, when the receiver is dropped.
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

    /// Backs up the store beside writes. Fails when the receiver is dropped.
    pub async fn back_up_store(&self, call: &Call, parts: mpsc::Sender<BackupPart>) -> Result<()> {
        let budget = &self.streams.exports;
        let _held = budget.take(&call.actor().principal, BACKUP_BYTES).await;
        let (bytes, mut chunks) = mpsc::channel(1);
        let pass_on = async {
            let mut size_bytes = 0;
            while let Some(chunk) = chunks.recv().await {
                size_bytes += Vec::len(&chunk) as u64;
                send(&parts, BackupPart::Chunk(chunk)).await?;
            }
            Ok(size_bytes)
        };
        let backup = back_up(&*self.store, self.clock.now(), bytes);
        // Whichever fails first ends the other.
        let (manifest, size_bytes) = futures::try_join!(backup, pass_on)?;
        let complete = BackupPart::Complete { manifest, size_bytes };
        Ok(send(&parts, complete).await?)
    }

    /// Compacts the store beside reads and writes. It continues when the receiver is dropped.
    pub async fn compact_store(&self, steps: mpsc::Sender<CompactStep>) -> Result<()> {
        let before_bytes = self.disk_bytes().await?;
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
        let after_bytes = self.disk_bytes().await?;
        let done = CompactStep::Done {
            before_bytes,
            after_bytes,
        };
        let _ = steps.send(done).await;
        Ok(())
    }

    async fn disk_bytes(&self) -> Result<u64> {
        let sizes = self.store.status().await?.sizes;
        Ok(sizes.unwrap_or_default().disk_bytes)
    }
}

/// Forwards the reports of a check. `false`: the receiver was dropped, so the check is to end.
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

/// Sends a part of a backup to its reader.
async fn send(parts: &mpsc::Sender<BackupPart>, part: BackupPart) -> store::Result<()> {
    parts
        .send_timeout(part, READER_PATIENCE)
        .await
        .map_err(|_| StoreError::Unavailable {
            reason: "the reader of the backup went away".to_owned(),
        })
}

//! How much there is to do, counted off the queues of jobs and the index of translations that do not hold. Only where a
//! prefix begins is a key taken apart, so that a step is cheap.

use std::ops::ControlFlow;

use super::engine::Direction;
use super::keys;
use super::shared::Shared;
use crate::domain::freshness::Overall;
use crate::domain::job::JobKind;
use crate::domain::language::Language;
use crate::domain::query::Axis;
use crate::store::Backlog;
use crate::store::error::Result;

/// Entries that a prefix begins.
struct Run {
    of: Of,
    entries: usize,
    /// Where to go on.
    next: Vec<u8>,
}

enum Of {
    /// Open jobs of a queue.
    Queue((Language, Language, JobKind)),
    /// Translations into a language that do not hold in some way.
    NotCurrent((Language, Overall)),
    /// The same again, in another order, or what cannot be read, which the check reports.
    Nothing,
}

/// Counts some entries after a key, adds them, and answers where to go on; `None` at the end.
pub(super) fn step(
    core: &Shared,
    after: Option<Vec<u8>>,
    limit: usize,
    sum: &mut Backlog,
) -> Result<Option<Vec<u8>>> {
    let mut from = after.unwrap_or_else(|| b"q".to_vec());
    let mut left = limit;
    while left > 0 {
        let area: &[u8] = if from.starts_with(b"q") { b"q" } else { b"w" };
        let Some(run) = run(core, &from, &keys::above(area), left)? else {
            if area == b"w" {
                return Ok(None);
            }
            from = b"w".to_vec();
            continue;
        };
        // What is passed over costs a look, too.
        left -= run.entries.clamp(1, left);
        let entries = run.entries as u64;
        match run.of {
            Of::Queue(queue) => *sum.open_jobs.entry(queue).or_default() += entries,
            Of::NotCurrent(kind) => *sum.not_current.entry(kind).or_default() += entries,
            Of::Nothing => {}
        }
        from = run.next;
    }
    Ok(Some(from))
}

/// The entries from a key on that have the first one's prefix.
fn run(core: &Shared, from: &[u8], to: &[u8], limit: usize) -> Result<Option<Run>> {
    let mut found: Option<(Vec<u8>, Run)> = None;
    if from > to {
        return Ok(None);
    }
    core.engine.scan(from..=to, Direction::Forward, &mut |key, _| {
        let (prefix, run) = found.get_or_insert_with(|| {
            let (prefix, of) = prefix(key);
            let run = Run {
                of,
                entries: 0,
                next: keys::above(&prefix),
            };
            (prefix, run)
        });
        if !key.starts_with(prefix) || matches!(run.of, Of::Nothing) {
            return ControlFlow::Break(());
        }
        run.entries += 1;
        if run.entries < limit {
            return ControlFlow::Continue(());
        }
        run.next = [key, &[0]].concat();
        ControlFlow::Break(())
    })?;
    Ok(found.map(|(_, run)| run))
}

/// What a key and its neighbours have in common, and what they are about.
fn prefix(key: &[u8]) -> (Vec<u8>, Of) {
    if let Some(job) = keys::queued_of(key) {
        let (kind, target) = (job.key.kind, job.key.language);
        let prefix = keys::queue(job.is_embargoed, kind, &job.source, &target);
        return (prefix, Of::Queue((job.source, target, kind)));
    }
    match keys::work_group_of(key) {
        // Each entry is there once for each axis.
        Some((prefix, language, overall, Axis::Ingested)) => (prefix, Of::NotCurrent((language, overall))),
        Some((prefix, ..)) => (prefix, Of::Nothing),
        None => (key.to_vec(), Of::Nothing),
    }
}

//! Walks of the check over the records of a prefix, by one thread or several.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::thread;

use super::Check;
use crate::domain::time::Stamp;
use crate::store::error::{Result, StoreError};
use crate::store::kv::engine::Direction;
use crate::store::kv::{envelope, keys};
use crate::store::{Checked, Finding};

/// Records and bytes that a walk reads ahead at most.
pub(super) const AHEAD: (usize, usize) = (256, 4 << 20);

/// Key and value, as the engine has them.
pub(super) type Record = (Vec<u8>, Vec<u8>);

impl Check<'_> {
    /// Visits the records of a prefix. A damaged record, or one that the visitor cannot read, is a finding and ends nothing.
    pub(super) fn walk(
        &mut self,
        prefix: &[u8],
        mut visit: impl FnMut(&mut Self, &[u8], Stamp, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut from = prefix.to_vec();
        while let Some(records) = self.read_on(prefix, &mut from, AHEAD.0)? {
            self.visit(&records, &mut visit)?;
        }
        Ok(())
    }

    /// The same by several threads, for visits that do not depend on each other.
    pub(super) fn walk_shared(
        &mut self,
        prefix: &[u8],
        threads: usize,
        visit: impl Fn(&mut Self, &[u8], Stamp, &[u8]) -> Result<()> + Sync,
    ) -> Result<()> {
        let (core, report) = (self.core, self.report);
        let mut from = prefix.to_vec();
        while let Some(records) = self.read_on(prefix, &mut from, AHEAD.0 * threads)? {
            let parts = records.chunks(records.len().div_ceil(threads));
            let checked: Vec<_> = thread::scope(|scope| {
                let check = |part| {
                    let mut check = Check::new(core, report);
                    check.visit(part, &visit).map(|()| check)
                };
                let running: Vec<_> = parts.map(|part| scope.spawn(move || check(part))).collect();
                running.into_iter().map(thread::ScopedJoinHandle::join).collect()
            });
            for part in checked {
                self.take_in(part.unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            let read = std::mem::take(&mut self.read);
            self.seen(read);
        }
        Ok(())
    }

    /// The next records of a prefix; moves `from` behind them. `None`: there are none, or the receiver is gone.
    pub(super) fn read_on(
        &self,
        prefix: &[u8],
        from: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Option<Vec<Record>>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        self.core.engine.scan(
            from.as_slice()..=&keys::above(prefix),
            Direction::Forward,
            &mut |key, record| {
                records.push((key.to_vec(), record.to_vec()));
                bytes += record.len();
                if records.len() < limit && bytes < AHEAD.1 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        )?;
        let Some((last, _)) = records.last() else {
            return Ok(None);
        };
        // The next key after the last one.
        *from = [last.as_slice(), &[0]].concat();
        Ok(self.seen(records.len() as u64).then_some(records))
    }

    /// Reports the number of records read; returns whether the receiver is still there.
    pub(super) fn seen(&self, records: u64) -> bool {
        self.report.blocking_send(Checked::Records(records)).is_ok()
    }

    pub(super) fn visit(
        &mut self,
        records: &[Record],
        mut visit: impl FnMut(&mut Self, &[u8], Stamp, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for (key, record) in records {
            if self.is_being_purged(key) {
                continue;
            }
            let opened = envelope::open(record, || keys::readable(key));
            match opened.and_then(|(stamp, payload)| visit(self, key, stamp, &payload)) {
                Ok(()) => {}
                Err(StoreError::Corrupt { record, detail }) => {
                    self.countable = false;
                    self.report(record, detail);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a record belongs to an article whose purge is not finished.
    pub(super) fn is_being_purged(&self, key: &[u8]) -> bool {
        !self.purging.is_empty() && keys::article_of(key).is_some_and(|of| self.purging.contains(&of))
    }

    /// Merges the result of another thread.
    pub(super) fn take_in(&mut self, part: Self) {
        for Finding { record, problem } in part.findings {
            self.report(record, problem);
        }
        self.countable &= part.countable;
        self.tally.merge(part.tally);
        self.read += part.read;
        for (prefix, met) in part.met {
            *self.met.entry(prefix).or_default() += met;
        }
    }

    /// Whether a prefix holds as many records as were checked, so that none is a stray.
    pub(super) fn is_all(&self, prefix: u8) -> Result<bool> {
        if !self.findings.is_empty() {
            return Ok(false);
        }
        let met = self.met.get(&prefix).copied().unwrap_or_default();
        let prefix = &[prefix];
        let mut count = 0;
        self.core
            .engine
            .scan(prefix..=&keys::above(prefix), Direction::Forward, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })?;
        Ok(count == met && self.seen(count))
    }
}

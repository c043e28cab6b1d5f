//! The check of the change log: it has no gap, and the records that it names exist.

use super::Check;
use crate::domain::change::{Event, Kind};
use crate::domain::job::JobKey;
use crate::domain::time::{Seq, Stamp};
use crate::store::error::{Result, StoreError};
use crate::store::kv::codec::{self, Group};
use crate::store::kv::shared::{MISPLACED, corrupt};
use crate::store::kv::{keys, trim};

impl Check<'_> {
    /// The log must have no gap, and commit times must grow.
    pub(super) fn log(&mut self) -> Result<()> {
        let durable = self.core.durable.borrow().seq;
        let floor = match trim::floor(self.core) {
            Err(StoreError::Corrupt { record, detail }) => {
                self.report(record, detail);
                None
            }
            floor => Some(floor?),
        };
        let mut last = Stamp {
            seq: floor.unwrap_or_default(),
            ..Stamp::PENDING
        };
        let mut is_first = true;
        self.walk(b"l", |check, key, _, payload| {
            let group = Group::decode(payload).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::log_seq(key) != Some(group.first) {
                check.report(&name, MISPLACED);
            }
            // Without the floor it cannot be said where the log should begin.
            if group.first != last.seq + 1 && !(is_first && floor.is_none()) {
                let problem = format!(
                    "commits {} to {} are missing",
                    last.seq + 1,
                    group.first.saturating_sub(1)
                );
                check.report(&name, problem);
            }
            for (seq, (time, events)) in (group.first..).zip(&group.commits) {
                if !std::mem::take(&mut is_first) && last.time >= *time {
                    let problem = format!("the time of commit {seq} is not after the one before");
                    check.report(&name, problem);
                }
                last = Stamp { seq, time: *time };
                let logged = codec::decode_events(events).map_err(corrupt(key))?;
                for event in &logged.events {
                    check.event(event, seq)?;
                }
            }
            Ok(())
        })?;
        let end: Seq = last.seq;
        if end < durable {
            self.report(
                "the change log",
                format!("it ends at {end}, before the last durable commit"),
            );
        }
        Ok(())
    }

    /// The records that an event names must exist, unless the article was purged.
    fn event(&mut self, event: &Event, seq: Seq) -> Result<()> {
        let is_there = |key: &[u8]| Ok::<_, StoreError>(self.core.engine.get(key)?.is_some());
        let head = keys::head(&event.article);
        if !is_there(&head)? {
            if !is_there(&keys::tombstone(&event.article))? {
                self.lost(&head, "it", seq);
            }
            return Ok(());
        }
        match (event.language.clone(), &event.kind) {
            (Some(language), Kind::Job { kind, number, .. }) => {
                let key = JobKey {
                    language,
                    kind: *kind,
                };
                if self.newest_job(&event.article, &key)? < Some(*number) {
                    let key = keys::job(&event.article, &key);
                    self.lost(&key, &format!("its number {number}"), seq);
                }
            }
            (Some(language), _) => {
                let slot = keys::slot(&event.article, &language);
                if !is_there(&slot)? {
                    self.lost(&slot, "it", seq);
                }
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn lost(&mut self, key: &[u8], what: &str, seq: Seq) {
        let problem = format!("{what} is missing, and commit {seq} changed it");
        self.report(keys::readable(key), problem);
    }
}

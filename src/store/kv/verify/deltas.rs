//! The check of revision deltas and the rows that find departures in them.

use super::{Check, MISPLACED, walk};
use crate::domain::article::ArticleId;
use crate::store::error::Result;
use crate::store::kv::engine::Write;
use crate::store::kv::shared::corrupt;
use crate::store::kv::{codec, departures, keys};

impl Check<'_> {
    /// An article has the delta of each revision from the second to the newest, and each delta has its rows. The newest one
    /// was checked with the head.
    pub(super) fn deltas(&mut self) -> Result<()> {
        let mut last: Option<(ArticleId, u32)> = None;
        let mut newest = 0;
        self.walk(b"d", |check, key, _, payload| {
            let (article, delta) = codec::decode_delta(payload).map_err(corrupt(key))?;
            let name = keys::readable(key);
            if keys::delta(&article, delta.revision) != key {
                check.report(&name, MISPLACED);
            }
            let before = match &last {
                Some((of, revision)) if *of == article => *revision,
                _ => {
                    newest = check.newest_revision(&article)?;
                    1
                }
            };
            if delta.revision > newest {
                check.report(&name, "there is no such revision");
            }
            if delta.revision != before + 1 {
                let problem = format!("the deltas after revision {before} are missing");
                check.report(&name, problem);
            }
            for row in departures::rows(&article, &delta) {
                let Write::Put(key, value) = row else { continue };
                match check.core.engine.get(&key)? {
                    Some(stored) if stored == value => check.meet(&key),
                    Some(_) => check.report(keys::readable(&key), "it does not agree with its delta"),
                    None => check.report(keys::readable(&key), "it is missing"),
                }
            }
            last = Some((article, delta.revision));
            Ok(())
        })?;
        self.rows()
    }

    /// No row may exist without its delta. The content of rows was checked with the delta.
    fn rows(&mut self) -> Result<()> {
        if self.is_all(b'f')? {
            return Ok(());
        }
        let mut from = b"f".to_vec();
        while let Some(records) = self.read_on(b"f", &mut from, walk::AHEAD.0)? {
            for (key, _) in records {
                if !self.is_being_purged(&key) && !self.has_delta(&key)? {
                    self.report(keys::readable(&key), "it does not agree with its delta");
                }
            }
        }
        Ok(())
    }

    /// The newest revision of an article; 0 if there is none. A damaged head was found with its article.
    fn newest_revision(&self, article: &ArticleId) -> Result<u32> {
        let state = self.core.stored(article)?;
        Ok(state.map_or(0, |state| state.head.revision()))
    }

    fn has_delta(&self, row: &[u8]) -> Result<bool> {
        let Some((article, revision)) = keys::row_of(row) else {
            return Ok(false);
        };
        let key = keys::delta(&article, revision);
        let Some(record) = self.core.engine.get(&key)? else {
            return Ok(false);
        };
        // A damaged delta was found on the walk.
        let rows = departures::read(&key, &record).map(|(article, delta)| departures::rows(&article, &delta));
        Ok(rows.map_or(true, |rows| rows.iter().any(|found| found.key() == row)))
    }
}

//! The part of the check about what is derived: standings, work and counts.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::domain::article::ArticleId;
use crate::domain::language::Language;
use crate::domain::time::Stamp;
use crate::domain::translation::Slot;
use crate::store::error::Result;
use crate::store::kv::shared::corrupt;
use crate::store::kv::{codec, indexes, keys};

impl Check<'_> {
    /// What is derived from a slot must be there and say so.
    pub(super) fn derived(&mut self, entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<()> {
        for (key, expected) in entries {
            match self.core.get(key)? {
                None => self.report(keys::readable(key), "it is missing"),
                Some((_, payload)) if payload != *expected => {
                    self.report(keys::readable(key), "it does not agree with its article");
                }
                Some(_) if key.starts_with(b"t") => self.met.standings += 1,
                Some(_) => self.met.work += 1,
            }
        }
        Ok(())
    }

    /// Nothing may be derived from what is not there; [`Self::derived`] has looked at what it holds.
    pub(super) fn derived_from(&mut self, key: &[u8], of: Option<(Language, ArticleId)>) -> Result<()> {
        let stands = match of {
            Some((language, id)) => {
                let slot = self.stored_slot(&id, &language)?;
                let head = self.head(&id)?;
                slot.zip(head)
                    .is_some_and(|(slot, head)| indexes::entries(&head, &slot).contains_key(key))
            }
            None => false,
        };
        if !stands {
            self.report(keys::readable(key), "it does not agree with its article");
        }
        Ok(())
    }

    pub(super) fn stored_slot(&self, id: &ArticleId, language: &Language) -> Result<Option<Slot>> {
        let key = keys::slot(id, language);
        let decode =
            |(stamp, payload): (Stamp, Vec<u8>)| codec::decode_slot(&payload, stamp).map_err(corrupt(&key));
        self.core.get(&key)?.map(decode).transpose()
    }

    pub(super) fn standings(&mut self) -> Result<()> {
        if self.is_all(b"t", self.met.standings)? {
            return Ok(());
        }
        self.walk(b"t", |check, key, _, _| {
            check.derived_from(key, keys::standing_of(key))
        })
    }

    pub(super) fn work(&mut self) -> Result<()> {
        if self.is_all(b"w", self.met.work)? {
            return Ok(());
        }
        self.walk(b"w", |check, key, _, _| {
            check.derived_from(key, keys::work_of(key))
        })
    }

    pub(super) fn counts(&mut self) -> Result<()> {
        let countable = self.countable;
        let mut stored = BTreeMap::new();
        self.walk(b"c", |_, key, _, payload| {
            let unreadable = || corrupt(key)(codec::Malformed("its key cannot be read".into()));
            let language = keys::counts_of(key).ok_or_else(unreadable)?;
            stored.insert(language, codec::decode_counts(payload).map_err(corrupt(key))?);
            Ok(())
        })?;
        if !countable {
            return Ok(());
        }
        let counted: BTreeMap<_, _> = std::mem::take(&mut self.tally)
            .apply(&BTreeMap::new())
            .into_iter()
            .collect();
        let languages: BTreeSet<_> = counted.keys().chain(stored.keys()).collect();
        for language in languages {
            let (counted, stored) = (counted.get(language), stored.get(language));
            if counted != stored {
                let record = keys::readable(&keys::counts(language));
                let problem = format!("it says {stored:?}, and there are {counted:?}");
                self.report(record, problem);
            }
        }
        Ok(())
    }
}

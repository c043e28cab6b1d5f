//! The check: walks every record and reports what does not agree. It changes nothing and holds no locks, so a store that
//! is written meanwhile may show findings that are gone a moment later; the caller looks again at those.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::codec::{self, Group};
use super::core::Core;
use super::engine::Direction;
use super::group::holder_of;
use super::{envelope, keys};
use crate::domain::article::{ArticleId, Head};
use crate::domain::freshness::Freshness;
use crate::domain::history::{BodyRef, VersionRef};
use crate::domain::query::{Axis, IndexRow};
use crate::domain::time::{Seq, Stamp};
use crate::domain::translation::{Disposition, Slot};
use crate::store::error::{Result, StoreError};
use crate::store::{Body, Finding};

/// Everything that is wrong, in the order of the keys.
pub(super) fn check(core: &Core) -> Result<Vec<Finding>> {
    let mut check = Check {
        core,
        findings: Vec::new(),
    };
    let heads = check.heads()?;
    check.slots(&heads)?;
    check.index(&heads)?;
    check.aliases(&heads)?;
    check.bodies()?;
    check.log()?;
    Ok(check.findings)
}

struct Check<'a> {
    core: &'a Core,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn report(&mut self, record: impl Into<String>, problem: impl Into<String>) {
        self.findings.push(Finding {
            record: record.into(),
            problem: problem.into(),
        });
    }

    /// Visits the records of a prefix; one that cannot be opened or read is a finding, and the walk goes on.
    fn walk(
        &mut self,
        prefix: &[u8],
        mut visit: impl FnMut(&mut Self, &[u8], Stamp, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut from = prefix.to_vec();
        loop {
            self.core.engine.scan(
                from.as_slice()..=&keys::above(prefix),
                Direction::Forward,
                &mut |key, record| {
                    records.push((key.to_vec(), record.to_vec()));
                    if records.len() < 256 {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                },
            )?;
            let Some((last, _)) = records.last() else {
                return Ok(());
            };
            // The next key after the last one.
            from = [last.as_slice(), &[0]].concat();
            for (key, record) in records.drain(..) {
                let opened = envelope::open(&record, || keys::readable(&key));
                match opened.and_then(|(stamp, payload)| visit(self, &key, stamp, &payload)) {
                    Ok(()) => {}
                    Err(StoreError::Corrupt { record, detail }) => self.report(record, detail),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn heads(&mut self) -> Result<BTreeMap<ArticleId, Head>> {
        let mut heads = BTreeMap::new();
        self.walk(b"h", |check, key, stamp, payload| {
            let head = codec::decode_head(payload, stamp).map_err(super::core::corrupt(key))?;
            let name = keys::readable(key);
            if keys::head_id(key).as_ref() != Some(&head.id) {
                check.report(&name, "it is stored under another id");
            }
            check.version(
                &name,
                &head.current.history.newest,
                |body| matches!(body, Body::Article(v) if *v == head.current),
            );
            check.version(&name, &head.revisions.newest, |body| {
                matches!(body, Body::Revision(r) if r.content.manifest() == head.manifest
                    && r.content.title == head.title && r.content.lead == head.lead)
            });
            if head.current.revision != head.revisions.newest {
                check.report(&name, "it does not show its newest revision");
            }
            heads.insert(head.id.clone(), head);
            Ok(())
        })?;
        Ok(heads)
    }

    /// The newest version of something must be there and hold what the record says.
    fn version(&mut self, name: &str, version: &VersionRef, agrees: impl FnOnce(&Body) -> bool) {
        match self.core.body(version.body()) {
            Ok(body) if agrees(&body) => {}
            Ok(_) => self.report(
                name,
                format!("it does not agree with its version {}", version.number),
            ),
            Err(error) => self.report(name, error.to_string()),
        }
    }

    fn slots(&mut self, heads: &BTreeMap<ArticleId, Head>) -> Result<()> {
        self.walk(b"s", |check, key, stamp, payload| {
            let slot = codec::decode_slot(payload, stamp).map_err(super::core::corrupt(key))?;
            let name = keys::readable(key);
            check.slot(&name, &slot);
            match heads.get(&slot.article) {
                None => check.report(&name, "there is no such article"),
                Some(head) => {
                    // Freshness must be computable for everything that is stored.
                    let freshness = slot
                        .translations
                        .iter()
                        .map(|t| Freshness::of_translation(t, &head.manifest));
                    if freshness.into_iter().any(|f| f.current > head.manifest.0.len()) {
                        check.report(&name, "its freshness does not add up");
                    }
                }
            }
            Ok(())
        })
    }

    fn slot(&mut self, name: &str, slot: &Slot) {
        if slot
            .translations
            .iter()
            .filter(|t| t.disposition == Disposition::Active)
            .count()
            > 1
        {
            self.report(name, "more than one translation is active");
        }
        let dispositions: Vec<_> = slot.translations.iter().map(|t| (t.id, t.disposition)).collect();
        self.version(name, &slot.selections.newest, |body| {
            matches!(body, Body::Selection(s) if s.dispositions == dispositions && s.etag == slot.etag)
        });
        for translation in &slot.translations {
            self.version(name, &translation.history.newest, |body| {
                matches!(body, Body::Translation(v) if v.head.bindings == translation.bindings
                    && v.head.etag == translation.etag && v.texts.len() == translation.bindings.len())
            });
        }
    }

    fn index(&mut self, heads: &BTreeMap<ArticleId, Head>) -> Result<()> {
        let mut rows = 0;
        self.walk(b"i", |check, key, _, payload| {
            rows += 1;
            let expected = keys::index_position(key).and_then(|(axis, position)| {
                let row = IndexRow::of(heads.get(&position.id)?, axis);
                Some((position.instant, row))
            });
            let agrees = match &expected {
                Some((instant, row)) => {
                    let stored =
                        codec::decode_index_row(payload, *instant).map_err(super::core::corrupt(key))?;
                    stored == *row
                }
                None => false,
            };
            if !agrees {
                check.report(keys::readable(key), "it does not agree with its article");
            }
            Ok(())
        })?;
        if rows != heads.len() * Axis::ALL.len() {
            self.report(
                "index",
                format!("it has {rows} rows for {} articles", heads.len()),
            );
        }
        Ok(())
    }

    fn aliases(&mut self, heads: &BTreeMap<ArticleId, Head>) -> Result<()> {
        let mut stored = 0;
        self.walk(b"a", |_, _, _, _| {
            stored += 1;
            Ok(())
        })?;
        let mut held = 0;
        for (id, head) in heads {
            for alias in &head.aliases {
                held += 1;
                if holder_of(self.core, &keys::alias(alias))?
                    .map(|(_, _, holder)| holder)
                    .as_ref()
                    != Some(id)
                {
                    self.report(
                        keys::readable(&keys::head(id)),
                        format!("{alias} does not lead to it"),
                    );
                }
            }
        }
        if stored != held {
            self.report("aliases", format!("{stored} are stored and {held} are held"));
        }
        Ok(())
    }

    fn bodies(&mut self) -> Result<()> {
        self.walk(b"b", |check, key, stamp, payload| {
            let body = codec::decode_body(payload, stamp).map_err(super::core::corrupt(key))?;
            let newest = body.history().newest;
            if newest.stamp != stamp
                || keys::body(BodyRef {
                    seq: stamp.seq,
                    part: newest.part,
                }) != key
            {
                check.report(keys::readable(key), "it is stored in another place than it says");
            }
            for earlier in &body.history().earlier {
                if check.core.engine.get(&keys::body(earlier.body()))?.is_none() {
                    check.report(
                        keys::readable(key),
                        format!("its earlier version {} is missing", earlier.number),
                    );
                }
            }
            Ok(())
        })
    }

    fn log(&mut self) -> Result<()> {
        let mut last: Option<Stamp> = None;
        self.walk(b"l", |check, key, _, payload| {
            let group = Group::decode(payload).map_err(super::core::corrupt(key))?;
            let name = keys::readable(key);
            if keys::log_seq(key) != Some(group.first) {
                check.report(&name, "it is stored under another number");
            }
            if let Some(last) = last
                && last.seq + 1 != group.first
            {
                check.report(
                    &name,
                    format!("commits {} to {} are missing", last.seq + 1, group.first - 1),
                );
            }
            for (seq, (time, events)) in (group.first..).zip(&group.commits) {
                if last.is_some_and(|last| last.time >= *time) {
                    check.report(
                        &name,
                        format!("the time of commit {seq} is not after the one before"),
                    );
                }
                codec::decode_events(events).map_err(super::core::corrupt(key))?;
                last = Some(Stamp { seq, time: *time });
            }
            Ok(())
        })?;
        let end: Seq = last.map(|last| last.seq).unwrap_or_default();
        if end < self.core.durable.borrow().seq {
            self.report(
                "the change log",
                format!("it ends at {end}, before the last durable commit"),
            );
        }
        Ok(())
    }
}

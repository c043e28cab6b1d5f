//! An article as stores return it, and its versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::article::{ArticleVersion, DroppedRevision, Head, Revision};
use crate::domain::capacity;
use crate::domain::job::Jobs;
use crate::domain::language::Language;
use crate::domain::time::{Seq, Stamp};
use crate::domain::translation::{Selection, Slot, TranslationVersion};
use crate::domain::version::{Series, Version};

/// An article with all its slots and jobs, as of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleState {
    /// The newest state of the article.
    pub head: Arc<Head>,
    /// Its translations by language.
    pub slots: BTreeMap<Language, Arc<Slot>>,
    /// The newest of its translation jobs by language and kind.
    pub jobs: Jobs,
}

impl ArticleState {
    /// The approximate size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let segments = self.head.manifest.0.len();
        let texts = self.head.title.content.text().len() + self.head.lead.content.text().len();
        2_048 + texts + 48 * segments + capacity::state_bytes(segments, &self.slots, &self.jobs)
    }

    /// The newest version of a series; `None` if there is no such series.
    pub fn newest(&self, series: &Series) -> Option<Version> {
        match series {
            Series::Metadata => Some(Version {
                number: self.head.current.number,
                stamp: self.head.current.stamp,
            }),
            Series::Content => Some(self.head.current.revision),
            Series::Selection(language) => Some(self.slots.get(language)?.selection),
            Series::Translation(language, id) => Some(self.slots.get(language)?.translation(*id)?.version),
        }
    }

    /// All series with their newest versions.
    pub fn series(&self) -> impl Iterator<Item = (Series, Version)> {
        let slots = self.slots.values().flat_map(|slot| {
            let translations = slot.translations.iter().map(|translation| {
                (
                    Series::Translation(slot.language.clone(), translation.id),
                    translation.version,
                )
            });
            let selection = (Series::Selection(slot.language.clone()), slot.selection);
            std::iter::once(selection).chain(translations)
        });
        let of_article = [Series::Metadata, Series::Content].into_iter();
        let of_article = of_article.filter_map(|series| Some((series.clone(), self.newest(&series)?)));
        of_article.chain(slots)
    }

    /// The newest commit that wrote any part of it.
    pub fn seq(&self) -> Seq {
        let slots = self
            .slots
            .values()
            .map(|slot| slot.stamp.seq)
            .max()
            .unwrap_or_default();
        let jobs = self
            .jobs
            .values()
            .map(|job| job.changed.seq)
            .max()
            .unwrap_or_default();
        self.head.current.stamp.seq.max(slots).max(jobs)
    }
}

/// An immutable version of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a batch has a few; otherwise they are shared in an Arc"
)]
pub enum Body {
    /// An article's metadata and visibility.
    Article(ArticleVersion),
    /// An article's content.
    Revision(Revision),
    /// A translation.
    Translation(TranslationVersion),
    /// A slot's selection.
    Selection(Selection),
    /// A revision whose content was dropped.
    Dropped(DroppedRevision),
}

impl Body {
    /// The number and the commit of the version.
    pub fn version(&self) -> Version {
        let (number, stamp) = match self {
            Self::Article(version) => (version.number, version.stamp),
            Self::Revision(revision) => (revision.number, revision.stamp),
            Self::Translation(version) => (version.head.version.number, version.head.version.stamp),
            Self::Selection(selection) => (selection.number, selection.stamp),
            Self::Dropped(dropped) => (dropped.number, dropped.stamp),
        };
        Version { number, stamp }
    }

    /// The series of the version; `language` is that of the slot, for the series of a slot.
    pub fn series(&self, language: Language) -> Series {
        match self {
            Self::Article(_) => Series::Metadata,
            Self::Revision(_) | Self::Dropped(_) => Series::Content,
            Self::Translation(version) => Series::Translation(language, version.head.id),
            Self::Selection(_) => Series::Selection(language),
        }
    }

    /// Replaces pending stamps by that of the commit.
    pub fn resolve(&mut self, stamp: Stamp) {
        match self {
            Self::Article(version) => version.resolve(stamp),
            Self::Revision(revision) => revision.resolve(stamp),
            Self::Translation(version) => version.resolve(stamp),
            Self::Selection(selection) => selection.resolve(stamp),
            // It was written before.
            Self::Dropped(_) => {}
        }
    }
}

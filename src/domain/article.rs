//! Articles: metadata, content, and the immutable versions of both.
//!
//! An article is a [`Head`] (the newest state, small, rewritten by every change) and immutable versions: an
//! [`ArticleVersion`] for every change, a [`Revision`] for every change of the content. Limits live here.

use std::collections::BTreeMap;
use std::hash::Hash;

use sha2::{Digest, Sha256};

use super::date::ArticleDate;
use super::etag::Etag;
pub use super::ids::ArticleId;
use super::ids::SegmentId;
use super::language::Language;
use super::provenance::Actor;
use super::segment::{DraftSegment, Segment, TextHash};
use super::time::{Stamp, Timestamp};
use super::url::CanonicalUrl;
pub use super::url::MAX_URL;
use super::version::{Series, Version, VersionKey};

/// The most body segments of an article.
pub const MAX_SEGMENTS: usize = 10_000;
/// The most entries of a repeated metadata field (authors, keywords, information sources, labels).
pub const MAX_LIST: usize = 256;
/// The longest text of a metadata field, in bytes.
pub const MAX_FIELD: usize = 1_024;

/// Whether an article may be published (IPTC `pubStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PublicationStatus {
    /// Free to use.
    #[default]
    Usable,
    /// Held back.
    Withheld,
    /// Held back, and not meant to come back.
    Canceled,
}

/// What is known about an article besides its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The language of the content.
    pub language: Language,
    /// The section of the publication, as the publisher names it.
    pub section: String,
    /// The publisher; `guid` is unique within it.
    pub publisher: String,
    /// The address of the article.
    pub canonical_url: Option<CanonicalUrl>,
    /// The publisher's own id of the article.
    pub guid: String,
    /// The place that the article is filed from (ninjs `located`).
    pub located: String,
    /// The dateline as printed.
    pub dateline: String,
    /// Agencies and others that the information comes from (ninjs `infosources`).
    pub info_sources: Vec<String>,
    /// Bylines.
    pub authors: Vec<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Free labels of the caller.
    pub labels: BTreeMap<String, String>,
    /// When the publisher first published it.
    pub published: Option<ArticleDate>,
    /// When the publisher last changed it.
    pub updated: Option<ArticleDate>,
    /// Whether it may be published.
    pub publication_status: PublicationStatus,
    /// Why that was said last.
    pub status_reason: String,
    /// Until when it is, or was, embargoed.
    pub embargo_time: Option<Timestamp>,
}

/// The text of an article. A title or lead without text has an empty [`Segment`] and is not translated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Content {
    /// The headline, with the id `title`.
    pub title: Segment,
    /// The lead, with the id `lead`.
    pub lead: Segment,
    /// The body in order.
    pub body: Vec<Segment>,
}

/// The text of an article as a caller sends it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DraftContent {
    /// The headline; its id is `title`.
    pub title: DraftSegment,
    /// The lead; its id is `lead`.
    pub lead: DraftSegment,
    /// The body in order.
    pub body: Vec<DraftSegment>,
}

impl Content {
    /// Title, lead and body in reading order, leaving out a title or lead without text.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        [&self.title, &self.lead]
            .into_iter()
            .filter(|s| !s.content.text().is_empty())
            .chain(&self.body)
    }

    /// The hashes that translations are bound to.
    pub fn manifest(&self) -> Manifest {
        let entries = self
            .segments()
            .map(|s| ManifestEntry {
                id: s.id.clone(),
                hash: s.source_hash(),
                translate: s.translate,
            })
            .collect();
        Manifest(entries)
    }

    /// Bytes of text, for limits on pages.
    pub fn text_bytes(&self) -> usize {
        self.segments().map(|s| s.content.text().len()).sum()
    }
}

/// One segment of a [`Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ManifestEntry {
    /// The segment.
    pub id: SegmentId,
    /// The hash of its text.
    pub hash: TextHash,
    /// Whether it is to be translated.
    pub translate: bool,
}

/// The segments of a revision in reading order, by id and hash, without texts: all that freshness needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Manifest(pub Vec<ManifestEntry>);

impl Manifest {
    /// One hash over all segments in order; equal where no segment differs in text, place or role.
    pub fn content_hash(&self) -> TextHash {
        hash_content(
            self.0
                .iter()
                .map(|entry| (&entry.id, entry.translate, entry.hash)),
        )
    }
}

impl DraftContent {
    /// What [`Manifest::content_hash`] will be, known before the body has its ids.
    pub fn content_hash(&self) -> TextHash {
        let ends = [(&SegmentId::Title, &self.title), (&SegmentId::Lead, &self.lead)];
        let segments = ends
            .into_iter()
            .filter(|(_, s)| !s.content.text().is_empty())
            .chain(self.body.iter().map(|s| (&SegmentId::Body(0), s)));
        hash_content(segments.map(|(id, s)| (id, s.translate, TextHash::of_source(s.role, &s.content))))
    }
}

/// Of an id only the kind counts: the same text is the same content, whatever its segments are called.
fn hash_content<'a>(segments: impl Iterator<Item = (&'a SegmentId, bool, TextHash)>) -> TextHash {
    let mut hasher = Sha256::new();
    for (id, translate, hash) in segments {
        let kind = match id {
            SegmentId::Title => 0,
            SegmentId::Lead => 1,
            SegmentId::Body(_) => 2,
        };
        hasher.update([kind, u8::from(translate)]);
        hasher.update(hash.0);
    }
    TextHash::finish(hasher)
}

/// How much a revision changes what the article says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Significance {
    /// Spelling or punctuation.
    Typo,
    /// A small change of wording or fact.
    Minor,
    /// New or changed facts.
    Major,
    /// An error of fact put right.
    Correction,
    /// The article, or a part of it, is withdrawn.
    Retraction,
}

impl Significance {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [
        Self::Typo,
        Self::Minor,
        Self::Major,
        Self::Correction,
        Self::Retraction,
    ];
}

/// How far an article, with all its translations, may be seen: from everybody to the fewest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Visibility {
    /// By everybody.
    #[default]
    Public,
    /// By callers that prepare publication: with the right `Embargoed` or `Editorial`.
    Embargoed,
    /// By callers that decide about publication: with the right `Editorial`.
    Withheld,
    /// The same, and it is not meant to come back.
    Canceled,
}

impl Visibility {
    /// What metadata comes to at a time.
    pub fn at(metadata: &Metadata, now: Timestamp) -> Self {
        match metadata.publication_status {
            PublicationStatus::Withheld => Self::Withheld,
            PublicationStatus::Canceled => Self::Canceled,
            PublicationStatus::Usable if metadata.embargo_time.is_some_and(|end| end > now) => {
                Self::Embargoed
            }
            PublicationStatus::Usable => Self::Public,
        }
    }
}

/// An immutable version of an article: its metadata, which revision of the content it shows, and whether it is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleVersion {
    /// The commit that wrote it.
    pub stamp: Stamp,
    /// The etag of the article in this version.
    pub etag: Etag,
    /// The metadata.
    pub metadata: Metadata,
    /// The content.
    pub revision: Version,
    /// When the article was created.
    pub created: Stamp,
    /// When it was deleted, if it is.
    pub deleted: Option<Stamp>,
    /// How far it may be seen while this is the newest version.
    pub visibility: Visibility,
    /// The author of this version.
    pub actor: Actor,
    /// 1, 2, 3…
    pub number: u32,
}

/// An immutable revision of an article's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The commit that wrote it.
    pub stamp: Stamp,
    /// The text.
    pub content: Content,
    /// How much it changes; `None` for a first revision.
    pub significance: Option<Significance>,
    /// Whether the significance was proposed from the difference, because the caller did not set it.
    pub is_proposed: bool,
    /// The author.
    pub actor: Actor,
    /// 1, 2, 3…
    pub number: u32,
}

/// A revision whose content is no longer kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedRevision {
    /// The commit that wrote the revision.
    pub stamp: Stamp,
    /// The significance, where there is one.
    pub significance: Option<Significance>,
    /// Whether that was proposed.
    pub is_proposed: bool,
    /// The author.
    pub actor: Actor,
    /// The number of the revision.
    pub number: u32,
}

impl DroppedRevision {
    /// What is left of a revision.
    pub fn of(revision: &Revision) -> Self {
        Self {
            stamp: revision.stamp,
            significance: revision.significance,
            is_proposed: revision.is_proposed,
            actor: revision.actor.clone(),
            number: revision.number,
        }
    }
}

/// The newest state of an article, with all that a list or a decision needs and no body text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The article.
    pub id: ArticleId,
    /// The newest version.
    pub current: ArticleVersion,
    /// The headline.
    pub title: Segment,
    /// The lead.
    pub lead: Segment,
    /// The segments of the newest revision by hash.
    pub manifest: Manifest,
    /// The number that the next new body segment gets.
    pub next_segment: u32,
    /// Every alias that this article holds, former ones among them.
    pub aliases: Vec<Alias>,
}

impl Head {
    /// The version: 1, 2, 3…, moved by every change of content or metadata, by delete and undelete.
    pub fn version(&self) -> u32 {
        self.current.number
    }

    /// The number of the newest revision.
    pub fn revision(&self) -> u32 {
        self.current.revision.number
    }

    /// Names the newest version of metadata and visibility.
    pub fn version_key(&self) -> VersionKey {
        VersionKey {
            article: self.id.clone(),
            series: Series::Metadata,
            number: self.version(),
        }
    }

    /// Names a revision.
    pub fn revision_key(&self, number: u32) -> VersionKey {
        VersionKey {
            article: self.id.clone(),
            series: Series::Content,
            number,
        }
    }

    /// Puts the stamp of the commit that writes this head where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.current.resolve(stamp);
    }
}

impl ArticleVersion {
    /// Puts the stamp of the commit that writes this version where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.stamp.resolve(stamp);
        self.created.resolve(stamp);
        self.revision.stamp.resolve(stamp);
        if let Some(deleted) = &mut self.deleted {
            deleted.resolve(stamp);
        }
    }
}

impl Revision {
    /// Puts the stamp of the commit that writes this revision where it is pending.
    pub fn resolve(&mut self, stamp: Stamp) {
        self.stamp.resolve(stamp);
    }
}

/// What is left of an article that was purged. Its id is never given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The article.
    pub article: ArticleId,
    /// The commit that purged it.
    pub stamp: Stamp,
    /// Why.
    pub reason: String,
    /// The principal that purged it.
    pub actor: Actor,
}

/// Another name of an article, with one holder in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alias {
    /// A canonical URL.
    Url(CanonicalUrl),
    /// A publisher's own id.
    Guid {
        /// The publisher; may be empty.
        publisher: String,
        /// The id.
        guid: String,
    },
}

impl std::fmt::Display for Alias {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => write!(f, "url {:?}", url.as_str()),
            Self::Guid { publisher, guid } => write!(f, "guid {guid:?} of publisher {publisher:?}"),
        }
    }
}

impl Metadata {
    /// The aliases that this metadata names, guid first.
    pub fn aliases(&self) -> Vec<Alias> {
        let guid = (!self.guid.is_empty()).then(|| Alias::Guid {
            publisher: self.publisher.clone(),
            guid: self.guid.clone(),
        });
        guid.into_iter()
            .chain(self.canonical_url.clone().map(Alias::Url))
            .collect()
    }
}

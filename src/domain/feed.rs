//! Following the changes: the position of a follower, whether it can continue there, and which changes it gets.
//!
//! A hidden article is told of by its id and by what kind of change it was. Filters look at what is told and nothing
//! else, so that what passes says no more than what is told: of a hidden article only the kind of the change counts.

use std::collections::BTreeSet;

use super::article::ArticleId;
use super::change::{Event, JobStep, Kind, Scope};
use super::language::Language;
use super::time::Seq;

/// What kind of change it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are those of `Kind`")]
pub enum Topic {
    ArticleCreated,
    ArticleRevised,
    ArticleMetadataChanged,
    ArticleDeleted,
    ArticleUndeleted,
    PublicationStatusChanged,
    EmbargoLifted,
    ArticlePurged,
    TranslationAttached,
    TranslationSelected,
    TranslationDetached,
    TranslationScored,
    TranslationReviewed,
    TranslationRejected,
    TranslationAcknowledged,
    TranslationFreshnessChanged,
    Job(JobStep),
}

impl From<&Kind> for Topic {
    fn from(kind: &Kind) -> Self {
        match kind {
            Kind::ArticleCreated => Self::ArticleCreated,
            Kind::ArticleRevised => Self::ArticleRevised,
            Kind::ArticleMetadataChanged => Self::ArticleMetadataChanged,
            Kind::ArticleDeleted => Self::ArticleDeleted,
            Kind::ArticleUndeleted => Self::ArticleUndeleted,
            Kind::PublicationStatusChanged => Self::PublicationStatusChanged,
            Kind::EmbargoLifted => Self::EmbargoLifted,
            Kind::ArticlePurged => Self::ArticlePurged,
            Kind::TranslationAttached(_) => Self::TranslationAttached,
            Kind::TranslationSelected(_) => Self::TranslationSelected,
            Kind::TranslationDetached(_) => Self::TranslationDetached,
            Kind::TranslationScored(_) => Self::TranslationScored,
            Kind::TranslationReviewed(_) => Self::TranslationReviewed,
            Kind::TranslationRejected(_) => Self::TranslationRejected,
            Kind::TranslationAcknowledged(_) => Self::TranslationAcknowledged,
            Kind::TranslationFreshnessChanged { .. } => Self::TranslationFreshnessChanged,
            Kind::Job { step, .. } => Self::Job(*step),
        }
    }
}

/// Which changes a follower wants. An empty set means any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Filter {
    /// Changes of these kinds.
    pub topics: BTreeSet<Topic>,
    /// Changes of articles in these source languages, before or after the change.
    pub source_languages: BTreeSet<Language>,
    /// Changes of translations and jobs into these languages; those of articles pass.
    pub target_languages: BTreeSet<Language>,
    /// Changes of articles of these sections, before or after the change.
    pub sections: BTreeSet<String>,
}

fn any_or<T: Ord>(wanted: &BTreeSet<T>, value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

impl Filter {
    /// Whether a follower that may see the article gets the change.
    pub fn matches(&self, event: &Event) -> bool {
        self.matches_hidden(event)
            && event.language.as_ref().is_none_or(|into| self.wants_into(into))
            && std::iter::once(&event.scope)
                .chain(&event.previous)
                .any(|scope| self.wants_article(scope))
    }

    /// Whether a follower that may not see the article gets the change.
    pub fn matches_hidden(&self, event: &Event) -> bool {
        any_or(&self.topics, &Topic::from(&event.kind))
    }

    /// Whether articles with these values are wanted.
    pub fn wants_article(&self, scope: &Scope) -> bool {
        any_or(&self.source_languages, &scope.language) && any_or(&self.sections, &scope.section)
    }

    /// Whether translations into this language are wanted.
    pub fn wants_into(&self, language: &Language) -> bool {
        any_or(&self.target_languages, language)
    }
}

/// The position that a follower resumes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Behind a commit.
    Commit(Seq),
    /// Behind one of a commit's changes, counted from 0, which is not the last.
    Change(Seq, u32),
    /// In a snapshot that began behind a commit: behind an article, or at its beginning.
    Snapshot(Seq, Option<ArticleId>),
}

/// The next change to tell: that of a commit with a number, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Next {
    /// The commit, from 1 on.
    pub seq: Seq,
    /// The change.
    pub ordinal: u32,
}

impl Next {
    /// The first change behind a commit.
    pub fn after(seq: Seq) -> Self {
        Self {
            seq: seq.saturating_add(1),
            ordinal: 0,
        }
    }

    /// The position that resumes here.
    pub fn place(self) -> Place {
        match self.ordinal.checked_sub(1) {
            Some(last) => Place::Change(self.seq, last),
            None => Place::Commit(self.passed()),
        }
    }

    /// The newest commit that was sent in full.
    pub fn passed(self) -> Seq {
        self.seq.saturating_sub(1)
    }

    /// The position after a change of a commit with this number of changes.
    #[must_use]
    pub fn behind(self, ordinal: u32, changes: usize) -> Self {
        let next = ordinal.saturating_add(1);
        if (next as usize) < changes {
            Self {
                ordinal: next,
                ..self
            }
        } else {
            Self::after(self.seq)
        }
    }
}

/// The reason why a follower cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// There was no such commit, so the place is another store's.
    NeverThere,
    /// What follows is no longer in the log.
    Trimmed,
}

impl Place {
    /// The commit that it names.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Commit(seq) | Self::Change(seq, _) | Self::Snapshot(seq, _) => *seq,
        }
    }

    /// What follows it in the log.
    pub fn next(&self) -> Next {
        match *self {
            Self::Commit(seq) | Self::Snapshot(seq, _) => Next::after(seq),
            Self::Change(seq, ordinal) => Next {
                seq,
                ordinal: ordinal.saturating_add(1),
            },
        }
    }

    /// Whether a follower can continue in a log of the commits behind `floor` up to `head`.
    pub fn check(&self, floor: Seq, head: Seq) -> Result<(), Lost> {
        if self.seq() > head {
            Err(Lost::NeverThere)
        } else if self.next().passed() < floor {
            Err(Lost::Trimmed)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::TranslationId;
    use proptest::prelude::*;

    fn scope(language: &str, section: &str) -> Scope {
        Scope {
            language: Language::parse(language).unwrap(),
            section: section.into(),
            publisher: "p".into(),
        }
    }

    fn event(kind: Kind, language: Option<&str>, now: Scope, previous: Option<Scope>) -> Event {
        Event {
            kind,
            article: ArticleId::parse("a").unwrap(),
            revision: 1,
            language: language.map(|language| Language::parse(language).unwrap()),
            etag: None,
            scope: now,
            previous,
        }
    }

    fn languages(tags: &[&str]) -> BTreeSet<Language> {
        tags.iter().map(|tag| Language::parse(tag).unwrap()).collect()
    }

    #[test]
    fn an_article_that_leaves_what_is_wanted_is_told_of() {
        let filter = Filter {
            source_languages: languages(&["ar"]),
            sections: ["sport".to_owned()].into(),
            ..Filter::default()
        };
        let moved = |now, previous| event(Kind::ArticleMetadataChanged, None, now, Some(previous));
        let (wanted, other) = (scope("ar", "sport"), scope("ar", "news"));
        assert!(filter.matches(&moved(other.clone(), wanted.clone())));
        assert!(filter.matches(&moved(wanted.clone(), other.clone())));
        assert!(!filter.matches(&moved(other.clone(), scope("ar", "culture"))));
        // Each of the two has half of what is wanted.
        assert!(!filter.matches(&moved(other, scope("en", "sport"))));
        assert!(filter.matches(&event(Kind::ArticleRevised, None, wanted, None)));
    }

    #[test]
    fn target_languages_count_for_what_has_one() {
        let filter = Filter {
            target_languages: languages(&["fr", "de"]),
            ..Filter::default()
        };
        let attached = Kind::TranslationAttached(TranslationId(1));
        let into = |language| event(attached.clone(), Some(language), scope("ar", "x"), None);
        assert!(filter.matches(&into("fr")) && !filter.matches(&into("es")));
        assert!(filter.matches(&event(Kind::ArticleRevised, None, scope("ar", "x"), None)));
    }

    #[test]
    fn of_a_hidden_article_only_the_kind_counts() {
        let filter = Filter {
            topics: [Topic::TranslationAttached, Topic::Job(JobStep::Done)].into(),
            source_languages: languages(&["en"]),
            target_languages: languages(&["fr"]),
            sections: ["sport".to_owned()].into(),
        };
        let attached = Kind::TranslationAttached(TranslationId(1));
        let elsewhere = event(attached, Some("es"), scope("ar", "x"), None);
        assert!(!filter.matches(&elsewhere) && filter.matches_hidden(&elsewhere));
        let revised = event(Kind::ArticleRevised, None, scope("en", "sport"), None);
        assert!(!filter.matches(&revised) && !filter.matches_hidden(&revised));
    }

    #[test]
    fn a_place_is_good_where_what_follows_is_kept() {
        let check = |place: Place| place.check(10, 20);
        assert_eq!(check(Place::Commit(9)), Err(Lost::Trimmed));
        assert_eq!(check(Place::Commit(10)), Ok(()));
        assert_eq!(check(Place::Commit(20)), Ok(()));
        assert_eq!(check(Place::Commit(21)), Err(Lost::NeverThere));
        // Of commit 10 there is a change to tell, and it is gone.
        assert_eq!(check(Place::Change(10, 0)), Err(Lost::Trimmed));
        assert_eq!(check(Place::Change(11, 0)), Ok(()));
        assert_eq!(check(Place::Snapshot(9, None)), Err(Lost::Trimmed));
        assert_eq!(check(Place::Snapshot(10, None)), Ok(()));
        assert_eq!(check(Place::Commit(u64::MAX)), Err(Lost::NeverThere));
        assert_eq!(Place::Commit(0).check(0, 0), Ok(()));
    }

    proptest! {
        /// Whoever is cut off behind any change and goes on there meets every change once and in order.
        #[test]
        fn going_on_at_every_place_repeats_and_misses_nothing(
            sizes in proptest::collection::vec(0usize..5, 1..12),
            cuts in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let (mut next, mut told) = (Next::after(0), Vec::new());
            let mut cuts = cuts.into_iter();
            while let Some(changes) = sizes.get(next.seq as usize - 1) {
                if (next.ordinal as usize) < *changes {
                    told.push((next.seq, next.ordinal));
                    next = next.behind(next.ordinal, *changes);
                } else {
                    next = Next::after(next.seq);
                }
                if cuts.next() == Some(true) {
                    let place = next.place();
                    prop_assert_eq!(place.next(), next);
                    prop_assert_eq!(place.check(next.passed(), sizes.len() as u64), Ok(()));
                    next = place.next();
                }
            }
            let all = (1u64..).zip(&sizes).flat_map(|(seq, size)| (0..*size as u32).map(move |n| (seq, n)));
            prop_assert!(all.eq(told));
        }

        /// What a filter tells of a hidden article does not depend on what is hidden.
        #[test]
        fn filters_say_nothing_about_what_is_hidden(
            topics in proptest::collection::btree_set(prop_oneof![
                Just(Topic::ArticleRevised), Just(Topic::TranslationDetached)], 0..2),
            wanted in proptest::collection::vec("[a-c]{2}", 0..3),
            values in proptest::collection::vec("[a-c]{2}", 8),
        ) {
            let tags: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let filter = Filter {
                topics,
                source_languages: languages(&tags),
                target_languages: languages(&tags),
                sections: wanted.iter().cloned().collect(),
            };
            let detached = || Kind::TranslationDetached(TranslationId(1));
            let one = event(detached(), Some(&values[0]), scope(&values[1], &values[2]), None);
            let previous = Some(scope(&values[3], &values[4]));
            let other = event(detached(), Some(&values[5]), scope(&values[6], &values[7]), previous);
            prop_assert_eq!(filter.matches_hidden(&one), filter.matches_hidden(&other));
            // And whoever may see the article is told no more than that.
            prop_assert!(!filter.matches(&one) || filter.matches_hidden(&one));
        }
    }
}

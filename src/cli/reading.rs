//! The options that say which translations are meant: of reads in a language, and of lists.

use clap::{Args, ValueEnum};

use super::agent::StateArg;
use crate::pb;

/// Whether a translation still matches its source, best first.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Freshness {
    /// It matches.
    Current,
    /// The order has changed.
    Moved,
    /// It has segments that the source has lost.
    Orphaned,
    /// It was made from another text.
    Stale,
    /// It lacks segments.
    Incomplete,
}

/// How much a revision changes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Significance {
    /// Spelling or punctuation.
    Typo,
    /// A small change.
    Minor,
    /// New or changed facts.
    Major,
    /// An error put right.
    Correction,
    /// Something is withdrawn.
    Retraction,
}

/// What a translation's text comes from.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Origin {
    /// A machine; nobody looked at it.
    MachineUnreviewed,
    /// A machine; a person left it as it was.
    MachineReviewed,
    /// A machine; a person changed it.
    MachinePostedited,
    /// A person.
    Human,
    /// Several of these.
    Mixed,
    /// Nobody says.
    Unknown,
}

/// What a reader wants.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadingArgs {
    /// Read it in one of these languages, best first: the best translation, or the article's own text.
    #[arg(long = "in", value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) languages: Vec<String>,
    /// The least state of a translation.
    #[arg(long, value_enum, requires = "languages")]
    min_state: Option<StateArg>,
    /// The worst freshness of a translation.
    #[arg(long, value_enum, requires = "languages")]
    max_freshness: Option<Freshness>,
    /// Take a stale translation for a current one if all changes since were less than this.
    #[arg(long, value_enum, requires = "max_freshness")]
    ignore_below: Option<Significance>,
    /// No text of a machine that no person has reviewed or changed.
    #[arg(long, requires = "languages")]
    exclude_machine: bool,
}

impl ReadingArgs {
    pub(crate) fn apply(&self, request: pb::GetArticleRequest) -> pb::GetArticleRequest {
        let freshness = self
            .max_freshness
            .map_or(pb::Freshness::Unspecified, |worst| match worst {
                Freshness::Current => pb::Freshness::Current,
                Freshness::Moved => pb::Freshness::Moved,
                Freshness::Orphaned => pb::Freshness::Orphaned,
                Freshness::Stale => pb::Freshness::Stale,
                Freshness::Incomplete => pb::Freshness::Incomplete,
            });
        let significance = self
            .ignore_below
            .map_or(pb::Significance::Unspecified, |least| match least {
                Significance::Typo => pb::Significance::Typo,
                Significance::Minor => pb::Significance::Minor,
                Significance::Major => pb::Significance::Major,
                Significance::Correction => pb::Significance::Correction,
                Significance::Retraction => pb::Significance::Retraction,
            });
        pb::GetArticleRequest {
            languages: self.languages.clone(),
            min_state: state(self.min_state).into(),
            max_freshness: freshness.into(),
            ignore_below: significance.into(),
            exclude_machine: self.exclude_machine,
            ..request
        }
    }
}

/// How a translation has to stand.
#[derive(Debug, Clone, Args)]
pub(crate) struct TranslationFilterArgs {
    /// Only articles without a translation into this language.
    #[arg(long, value_name = "TAG", group = "presence")]
    missing: Option<String>,
    /// Only articles whose translation into this language lacks segments.
    #[arg(long, value_name = "TAG", group = "presence")]
    incomplete: Option<String>,
    /// Only articles whose translation into this language was made from another text.
    #[arg(long, value_name = "TAG", group = "presence")]
    stale: Option<String>,
    /// Only articles whose translation into this language still matches.
    #[arg(long, value_name = "TAG", group = "presence")]
    current: Option<String>,
    /// Only articles that have a translation into this language.
    #[arg(long, value_name = "TAG", group = "presence")]
    translated: Option<String>,
    /// Only articles that have none into this language, or one that does not match: what there is to do.
    #[arg(long, value_name = "TAG", group = "presence")]
    todo: Option<String>,
    /// The least state of that translation.
    #[arg(long, value_enum, requires = "presence", conflicts_with = "missing")]
    min_state: Option<StateArg>,
    /// What the text of that translation comes from.
    #[arg(long, value_enum, requires = "presence", conflicts_with = "missing")]
    origin: Option<Origin>,
}

impl TranslationFilterArgs {
    pub(crate) fn message(&self) -> Option<pb::TranslationFilter> {
        use pb::TranslationPresence as Presence;
        let given = [
            (&self.missing, Presence::Absent),
            (&self.incomplete, Presence::Incomplete),
            (&self.stale, Presence::Stale),
            (&self.current, Presence::Current),
            (&self.translated, Presence::Any),
            (&self.todo, Presence::NotCurrent),
        ];
        let (language, presence) = given
            .into_iter()
            .find_map(|(tag, presence)| Some((tag.clone()?, presence)))?;
        let origin = self
            .origin
            .map_or(pb::OriginClass::Unspecified, |origin| match origin {
                Origin::MachineUnreviewed => pb::OriginClass::MachineUnreviewed,
                Origin::MachineReviewed => pb::OriginClass::MachineReviewed,
                Origin::MachinePostedited => pb::OriginClass::MachinePostedited,
                Origin::Human => pb::OriginClass::Human,
                Origin::Mixed => pb::OriginClass::Mixed,
                Origin::Unknown => pb::OriginClass::Unknown,
            });
        Some(pb::TranslationFilter {
            language,
            presence: presence.into(),
            min_state: state(self.min_state).into(),
            origin_class: origin.into(),
        })
    }
}

fn state(state: Option<StateArg>) -> pb::TranslationState {
    state.map_or(pb::TranslationState::Unspecified, StateArg::value)
}

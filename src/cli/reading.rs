//! Options that filter translations: for reads in a language, and for lists.

use clap::Args;

use super::choices::{self, Freshness, OriginClass, Significance, TranslationState};
use crate::pb;

/// The languages and the least quality that a reader accepts.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReadingArgs {
    /// Read it in one of these languages, best first: the best translation, or the article's own text.
    #[arg(long = "in", value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) languages: Vec<String>,
    /// The least state of a translation.
    #[arg(long, value_enum, requires = "languages")]
    min_state: Option<TranslationState>,
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
        pb::GetArticleRequest {
            languages: self.languages.clone(),
            min_state: choices::number(self.min_state),
            max_freshness: choices::number(self.max_freshness),
            ignore_below: choices::number(self.ignore_below),
            exclude_machine: self.exclude_machine,
            ..request
        }
    }
}

/// A filter of articles by their translation into a language.
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
    min_state: Option<TranslationState>,
    /// What the text of that translation comes from.
    #[arg(long, value_enum, requires = "presence", conflicts_with = "missing")]
    origin: Option<OriginClass>,
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
        Some(pb::TranslationFilter {
            language,
            presence: presence.into(),
            min_state: choices::number(self.min_state),
            origin_class: choices::number(self.origin),
        })
    }
}

//! Enums of the command line: the values of the API's enums, each with its help text.

use clap::ValueEnum;

use crate::pb;

/// Declares enums of the command line with the names and values of those in [`pb`].
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value:meta])* $variant:ident $help:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(crate) enum $name {
            $(#[doc = $help] $(#[$value])* $variant,)*
        }

        impl From<$name> for pb::$name {
            fn from(choice: $name) -> Self {
                match choice {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }

        impl From<$name> for i32 {
            fn from(choice: $name) -> Self {
                pb::$name::from(choice).into()
            }
        }
    )*};
}

choices! {
    /// What kind of agent does something.
    AgentKind {
        Human "A person.",
        Mt "A machine translation engine.",
        Llm "A large language model.",
        Tm "A translation memory.",
        Import "An import of texts whose author is not known.",
        Rule "A rule, such as copying numbers.",
    }

    /// How much of an article is read.
    ArticleView {
        Basic "Everything but the body.",
        Full "Everything.",
    }

    /// The length of a row of `coverage`.
    CoveragePeriod {
        Day "A calendar day.",
        Month "A calendar month.",
    }

    /// The date that a list is ordered by.
    DateAxis {
        Published "When it was published.",
        Updated "When its publisher last changed it.",
        Ingested "When the store received it.",
        Revised "When its text last changed in the store.",
    }

    /// Whether a translation still matches its source, best first.
    Freshness {
        Current "It matches.",
        Moved "The order of paragraphs has changed.",
        Orphaned "It has paragraphs that the source has lost.",
        Stale "It was made from another text.",
        Incomplete "It lacks paragraphs.",
    }

    /// The kind of work of a job.
    JobKind {
        Mt "A translation by an engine.",
        Llm "A translation by a large language model.",
        Human "A translation by a person.",
        Review "A review of the active translation.",
        Score "Quality scores of the active translation.",
    }

    /// The state of a job.
    JobState {
        Pending "It waits for a worker.",
        Leased "A worker has it.",
        Done "Its result was accepted.",
        Dead "Its attempts are used up.",
        Canceled "It was canceled.",
        Superseded "What it wanted was attached by other means.",
    }

    /// The order of a list.
    ListOrder {
        #[value(name = "newest")]
        NewestFirst "The newest first.",
        #[value(name = "oldest")]
        OldestFirst "The oldest first.",
    }

    /// What a translation's text comes from.
    OriginClass {
        MachineUnreviewed "A machine; no person reviewed it.",
        MachineReviewed "A machine; a person left it as it was.",
        MachinePostedited "A machine; a person changed it.",
        Human "A person.",
        Mixed "Several of these.",
        Unknown "Not known.",
    }

    /// Whether an article may be published.
    PublicationStatus {
        Usable "Free to use.",
        Withheld "Held back.",
        Canceled "Held back, and not meant to come back.",
    }

    /// How much a revision changes.
    Significance {
        Typo "Spelling or punctuation.",
        Minor "A small change.",
        Major "New or changed facts.",
        Correction "A corrected error.",
        Retraction "A withdrawn statement.",
    }

    /// How far the work on a translation got.
    TranslationState {
        Initial "Not finished.",
        Translated "Translated.",
        Reviewed "Reviewed by another than its author.",
        Final "Ready to publish.",
    }
}

/// The number of a choice in a message; `0` (unspecified) if there is none.
pub(crate) fn number(choice: Option<impl Into<i32>>) -> i32 {
    choice.map_or(0, Into::into)
}

/// The numbers of several choices.
pub(crate) fn numbers(choices: &[impl Into<i32> + Copy]) -> Vec<i32> {
    choices.iter().map(|choice| (*choice).into()).collect()
}

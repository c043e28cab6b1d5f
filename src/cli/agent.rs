//! What the commands that work on translations share: who does it, on which translation, how far the work got.

use clap::{Args, ValueEnum};

use super::client::{Output, OutputArgs, Printer, ServerArgs};
use super::get::without_content;
use super::{Failure, terminal, words};
use crate::pb;

/// Which translation a step is about, and how to call.
#[derive(Debug, Args)]
pub(crate) struct StepArgs {
    /// The article's id.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// The language of the translation, a BCP-47 tag.
    #[arg(long, value_name = "TAG")]
    pub(crate) language: String,
    /// Makes a retry safe: a UUID.
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<String>,
}

/// Who does something, where that must be said.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Who or what does it.
    #[arg(long, value_enum, value_name = "KIND")]
    agent: Kind,
    #[command(flatten)]
    names: Names,
}

/// Who decides something, where that may be left open. A name alone does not say what it is the name of.
#[derive(Debug, Args)]
#[command(mut_group("Names", |names| names.requires("agent")))]
pub(crate) struct DeciderArgs {
    /// Who or what decides.
    #[arg(long, value_enum, value_name = "KIND")]
    agent: Option<Kind>,
    #[command(flatten)]
    names: Names,
}

/// Who does the work of jobs, which say themselves what kind of agent it takes.
#[derive(Debug, Args)]
pub(crate) struct WorkerAgentArgs {
    /// What does the work; told from --kind if not given.
    #[arg(long, value_enum, value_name = "KIND")]
    agent: Option<Kind>,
    #[command(flatten)]
    names: Names,
}

#[derive(Debug, Args)]
struct Names {
    /// The person.
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// The organisation.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// The tool, such as a CAT tool or a worker.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// The engine inside the tool.
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// The model of the engine.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The version of the model.
    #[arg(long, value_name = "VERSION")]
    model_version: Option<String>,
}

/// See [`pb::AgentKind`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// A person.
    Human,
    /// A machine translation engine.
    Mt,
    /// A large language model.
    Llm,
    /// A translation memory.
    Tm,
    /// An import of texts whose author is not known.
    Import,
    /// A rule, such as copying numbers.
    Rule,
}

/// See [`pb::TranslationState`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StateArg {
    /// Not finished.
    Initial,
    /// Translated.
    Translated,
    /// Reviewed by another than its author.
    Reviewed,
    /// Ready to publish.
    Final,
}

impl From<Kind> for pb::AgentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Human => Self::Human,
            Kind::Mt => Self::Mt,
            Kind::Llm => Self::Llm,
            Kind::Tm => Self::Tm,
            Kind::Import => Self::Import,
            Kind::Rule => Self::Rule,
        }
    }
}

impl AgentArgs {
    pub(crate) fn message(self) -> pb::Agent {
        self.names.of(self.agent)
    }
}

impl DeciderArgs {
    pub(crate) fn message(self) -> Option<pb::Agent> {
        Some(self.names.of(self.agent?))
    }
}

impl WorkerAgentArgs {
    pub(crate) fn message(self, by_default: Kind) -> pb::Agent {
        self.names.of(self.agent.unwrap_or(by_default))
    }
}

impl Names {
    fn of(self, kind: Kind) -> pb::Agent {
        pb::Agent {
            kind: pb::AgentKind::from(kind).into(),
            person: self.person.unwrap_or_default(),
            organization: self.organization.unwrap_or_default(),
            tool: self.tool.unwrap_or_default(),
            engine: self.engine.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            model_version: self.model_version.unwrap_or_default(),
            ..pb::Agent::default()
        }
    }
}

impl StateArg {
    pub(crate) fn value(self) -> pb::TranslationState {
        match self {
            Self::Initial => pb::TranslationState::Initial,
            Self::Translated => pb::TranslationState::Translated,
            Self::Reviewed => pb::TranslationState::Reviewed,
            Self::Final => pb::TranslationState::Final,
        }
    }
}

/// Prints what a step left: the answer in JSON, or a line such as `reviewed harbour: en/t1 current; …`.
pub(crate) fn print_step<M: prost::Message>(
    output: Output,
    (name, answer): (&str, &M),
    done: &str,
    article: &str,
    translation: Option<&pb::TranslationSummary>,
) -> Result<(), Failure> {
    let mut printer = Printer::new();
    match output {
        Output::Json => printer.message(name, answer)?,
        Output::Table => {
            let translation = translation.ok_or_else(without_content)?;
            let text = format!("{done} {article}: {}", words::translation(translation));
            printer.line(&terminal::line(&text))?;
        }
    }
    printer.flush()
}

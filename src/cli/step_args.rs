//! The options of an agent: the person or machine that attaches, decides or works.

use clap::Args;

use super::choices::AgentKind;
use crate::pb;

/// An agent. A command that needs one makes `agent` required.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The kind of agent that does it.
    #[arg(long, value_enum, value_name = "KIND")]
    agent: Option<AgentKind>,
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

impl AgentArgs {
    /// The agent, if its kind is given.
    pub(crate) fn message(self) -> Option<pb::Agent> {
        let kind = self.agent?;
        Some(self.message_or(kind))
    }

    /// The agent, of this kind unless another is given.
    pub(crate) fn message_or(self, kind: AgentKind) -> pb::Agent {
        pb::Agent {
            kind: self.agent.unwrap_or(kind).into(),
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

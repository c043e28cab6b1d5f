//! Who or what wrote a text: principals, agents, and the records that nothing clears.

use super::ids::{RequestId, SegmentId};
use super::time::Stamp;

/// Who makes a call, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Actor {
    /// The name of the authenticated principal; empty for an anonymous caller.
    pub principal: String,
    /// Whether the principal was authenticated; a declared actor of an anonymous caller is not verified.
    pub verified: bool,
}

/// The kind of agent that wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AgentKind {
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

impl AgentKind {
    /// Whether texts of this kind must not replace a person's. An import counts: nobody vouches for it.
    pub fn is_machine(self) -> bool {
        self != Self::Human
    }
}

/// An agent as it declares itself, in the terms of ITS 2.0 provenance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    /// What it is.
    pub kind: AgentKind,
    /// The person (ITS `person`).
    pub person: String,
    /// The organisation (ITS `org`).
    pub organization: String,
    /// The tool (ITS `tool`).
    pub tool: String,
    /// The engine inside the tool.
    pub engine: String,
    /// The model of the engine.
    pub model: String,
    /// The version of the model.
    pub model_version: String,
    /// The person that revised (ITS `revPerson`).
    pub rev_person: String,
    /// The organisation that revised (ITS `revOrg`).
    pub rev_organization: String,
    /// The tool that revised (ITS `revTool`).
    pub rev_tool: String,
    /// The prompt that was used, by the caller's id.
    pub prompt_id: String,
    /// The glossary that was used, by the caller's id.
    pub glossary_id: String,
    /// The translation memory that was used, by the caller's id.
    pub memory_id: String,
}

impl Agent {
    /// An agent of this kind that says nothing else.
    pub fn of_kind(kind: AgentKind) -> Self {
        Self {
            kind,
            person: String::new(),
            organization: String::new(),
            tool: String::new(),
            engine: String::new(),
            model: String::new(),
            model_version: String::new(),
            rev_person: String::new(),
            rev_organization: String::new(),
            rev_tool: String::new(),
            prompt_id: String::new(),
            glossary_id: String::new(),
            memory_id: String::new(),
        }
    }

    /// Whether two writes come from the same machine or person: a new model version, prompt or glossary does not make
    /// another one.
    pub fn is_same_agent(&self, other: &Self) -> bool {
        let identity = |a: &Self| {
            (
                a.kind,
                a.person.clone(),
                a.organization.clone(),
                a.tool.clone(),
                a.engine.clone(),
                a.model.clone(),
            )
        };
        identity(self) == identity(other)
    }
}

/// One write to a translation. Append-only: a record is stored with the version that it made and never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The commit.
    pub stamp: Stamp,
    /// Who or what wrote the text.
    pub agent: Agent,
    /// Who made the call.
    pub actor: Actor,
    /// The segments that the write changed; empty for one that only holds an address.
    pub segments: Vec<SegmentId>,
    /// The source revision that it was made from.
    pub source_revision: u32,
    /// The call's request id, if it had one.
    pub request_id: Option<RequestId>,
    /// The job that it completes, if any.
    pub job_id: String,
    /// The translation that it was made through, as `language/translation_id`, if any.
    pub pivot: String,
    /// Characters that were billed or processed, where the caller said so.
    pub characters: u64,
    /// What it cost in millionths of `currency`, where the caller said so.
    pub cost_micros: u64,
    /// The ISO 4217 code of the cost.
    pub currency: String,
    /// How long it took, in milliseconds, where the caller said so.
    pub duration_ms: u64,
    /// How well a translation memory matched, in per cent, where the caller said so.
    pub match_quality: Option<u32>,
}

/// What a translation's text comes from, computed from its provenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OriginClass {
    /// Machine text that no person looked at.
    MachineUnreviewed,
    /// Machine text that a person reviewed without changing it.
    MachineReviewed,
    /// Machine text that a person changed.
    MachinePostedited,
    /// A person's text.
    Human,
    /// Segments of different classes.
    Mixed,
    /// Imports only: nobody says where they come from.
    Unknown,
}

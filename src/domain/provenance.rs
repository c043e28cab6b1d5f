//! Provenance of texts: principals, agents, and records that are never deleted.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::ids::{RequestId, SegmentId, TranslationId};
use super::state::State;
use super::time::Stamp;

/// The author of a call: the principal, and the agent that it declares.
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
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Human,
        Self::Mt,
        Self::Llm,
        Self::Tm,
        Self::Import,
        Self::Rule,
    ];

    /// The name, as in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Human => "HUMAN",
            Self::Mt => "MT",
            Self::Llm => "LLM",
            Self::Tm => "TM",
            Self::Import => "IMPORT",
            Self::Rule => "RULE",
        }
    }

    /// Whether texts of this kind must not replace a person's. An import counts: its author is unknown.
    pub fn is_machine(self) -> bool {
        self != Self::Human
    }

    /// Stable: part of every [`AgentIdentity`].
    fn identity_code(self) -> u8 {
        match self {
            Self::Human => 1,
            Self::Mt => 2,
            Self::Llm => 3,
            Self::Tm => 4,
            Self::Import => 5,
            Self::Rule => 6,
        }
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
    /// The authenticated principal that it is, whatever else it says of itself. Empty where its word is all there is:
    /// that of a caller without credentials, or of one who may act for others and names somebody.
    pub principal: String,
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
            principal: String::new(),
        }
    }

    /// Bytes of all its texts, each with what a message takes around it.
    pub fn text_bytes(&self) -> usize {
        let names = [&self.person, &self.organization, &self.tool, &self.engine];
        let model = [&self.model, &self.model_version];
        let revisers = [&self.rev_person, &self.rev_organization, &self.rev_tool];
        let means = [&self.prompt_id, &self.glossary_id, &self.memory_id];
        let texts = names.into_iter().chain(model).chain(revisers).chain(means);
        texts.map(|text| text.len() + 4).sum()
    }

    /// The actor: the principal, as a person of that name, or else the declared agent.
    pub fn identity(&self) -> AgentIdentity {
        if self.principal.is_empty() {
            return self.declared_identity();
        }
        let principal = Self {
            person: self.principal.clone(),
            ..Self::of_kind(AgentKind::Human)
        };
        principal.declared_identity()
    }

    /// Which person or machine it says that it is. Of a named person the name and the organisation count, whatever tool
    /// she uses; of anything else all that tells one machine from another. A new model version, prompt or glossary does
    /// not make another agent. One principal may run several machines, and several principals the same one.
    pub fn declared_identity(&self) -> AgentIdentity {
        let named_person = self.kind == AgentKind::Human && !self.person.trim().is_empty();
        let machine =
            [&self.tool, &self.engine, &self.model].map(|name| if named_person { "" } else { name });
        let names = [self.person.as_str(), self.organization.as_str()]
            .into_iter()
            .chain(machine);
        let mut hasher = Sha256::new();
        hasher.update([IDENTITY_VERSION, self.kind.identity_code()]);
        for name in names {
            for word in name.split_whitespace() {
                word.nfc().for_each(|c| hasher.update(u32::from(c).to_be_bytes()));
                hasher.update(u32::MAX.to_be_bytes());
            }
            hasher.update([0; 4]);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        AgentIdentity(
            digest
                .iter()
                .take(8)
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    }
}

/// Whether two names are one, however they are spaced and composed.
pub fn same_name(one: &str, other: &str) -> bool {
    let words =
        |name: &str| -> Vec<String> { name.split_whitespace().map(|word| word.nfc().collect()).collect() };
    words(one) == words(other)
}

/// Identity of an agent as a comparable number: 64 bits of SHA-256 over its declaration. It is stored with every
/// segment, so its definition may only change together with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentIdentity(pub u64);

/// The version of the definition of [`AgentIdentity`]; part of every one.
const IDENTITY_VERSION: u8 = 1;

/// What a record of provenance is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A text or address was written.
    Attached,
    /// Segments were brought to a state.
    Reviewed,
    /// Targets were declared to hold for another source text.
    Acknowledged,
    /// A translation was chosen to be served.
    Selected,
    /// A translation was turned down.
    Rejected,
    /// A translation was withdrawn.
    Detached,
    /// Scores or issues were added.
    Scored,
}

/// One step of the work on a translation. Append-only: a record is stored with the version that it made and never
/// changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The commit.
    pub stamp: Stamp,
    /// What was done.
    pub step: Step,
    /// The state that a write or review set; `None` for other steps, and where it was not recorded yet.
    pub state: Option<State>,
    /// Why it was done, where the caller said so.
    pub reason: String,
    /// The agent.
    pub agent: Agent,
    /// The principal of the call.
    pub actor: Actor,
    /// The segments that the step changed; empty for a translation that is only an address.
    pub segments: Vec<SegmentId>,
    /// The source revision that it was made from, reviewed as made from, or acknowledged at.
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

impl Provenance {
    /// A step of which only the agent is known.
    pub fn of(step: Step, agent: Agent, actor: Actor) -> Self {
        Self {
            stamp: Stamp::PENDING,
            step,
            state: None,
            reason: String::new(),
            agent,
            actor,
            segments: Vec::new(),
            source_revision: 0,
            request_id: None,
            job_id: String::new(),
            pivot: String::new(),
            characters: 0,
            cost_micros: 0,
            currency: String::new(),
            duration_ms: 0,
            match_quality: None,
        }
    }
}

/// The record of a selection, a step that writes no text: its cause, its agent and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What was done.
    pub step: Step,
    /// The translation that it was done to; `None` only where it was not recorded yet.
    pub translation: Option<TranslationId>,
    /// The translation that was served until then, where another one is served instead.
    pub replaced: Option<TranslationId>,
    /// The agent that decided, if the caller declared one.
    pub agent: Option<Agent>,
    /// Why, where the caller said so.
    pub reason: String,
    /// The call's request id, if it had one.
    pub request_id: Option<RequestId>,
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
    /// Imports of unknown origin only.
    Unknown,
}

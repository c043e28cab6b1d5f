//! The state machine of the workflow of a text: the steps between states, in one place for every call that takes one,
//! and what of a person's work no machine may change. It looks at one text at a time and knows neither freshness nor
//! selection.
//!
//! | step | needs |
//! |---|---|
//! | `Initial` → `Translated` | a target that is not empty: a segment without one has no state at all |
//! | `Translated` → `Reviewed` | another agent than the one that wrote the text last, unless [`SelfReview::Allowed`] |
//! | `Reviewed` → `Final` | nothing more |
//! | to a lower state | a reason; from `Reviewed` or above a person |
//!
//! A rise over several states needs what each of its steps needs.

use std::collections::BTreeMap;

use super::ids::{SegmentId, TranslationId};
use super::provenance::{Agent, AgentIdentity, AgentKind};
use super::translation::{Binding, Disposition, State, TranslationHead};

/// Whether an agent may review what it wrote itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfReview {
    /// A review needs another agent.
    #[default]
    Refused,
    /// For desks of one person.
    Allowed,
}

/// How a text stands: its state, and what the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How far the work got.
    pub state: State,
    /// The last author of the text; `None` if it was not recorded yet.
    pub author: Option<AgentIdentity>,
    /// What kind of agent that is.
    pub writer: AgentKind,
    /// Whether a person reviewed this very text.
    pub reviewed: bool,
}

/// The wish to bring texts to a state.
#[derive(Debug, Clone, Copy)]
pub struct Transition<'a> {
    to: State,
    by: AgentIdentity,
    kind: AgentKind,
    self_review: SelfReview,
    reason: &'a str,
}

/// What stands in the way of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The agent would review its own text.
    OwnText,
    /// A machine would undo or decide what is a person's to decide.
    NeedsPerson,
    /// A state is lowered without a reason.
    NeedsReason,
}

/// Why a step of the workflow is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The slot has no such translation.
    NoSuchTranslation(TranslationId),
    /// The translation was rejected or withdrawn, for good.
    Closed(TranslationId, Disposition),
    /// There is something in the way, in these segments; none are named where the text is kept elsewhere. No translation
    /// is named where it was to be created.
    Obstacle(Option<TranslationId>, Obstacle, Vec<SegmentId>),
    /// The translation has no targets for these of the segments that were named.
    NoTarget(Vec<SegmentId>),
    /// The source revision has not these of the segments that were named.
    NotInRevision(Vec<SegmentId>),
    /// A part of the translation was made from this later revision.
    Outrun(TranslationId, u32),
}

/// What stands in the way of several segments.
#[derive(Debug, Default)]
pub(super) struct Obstacles(BTreeMap<Obstacle, Vec<SegmentId>>);

impl<'a> Transition<'a> {
    /// The wish of an agent. A reason is needed to lower a state.
    pub fn new(to: State, agent: &Agent, self_review: SelfReview, reason: &'a str) -> Self {
        Self {
            to,
            by: agent.identity(),
            kind: agent.kind,
            self_review,
            reason,
        }
    }

    /// The state that is wished for.
    pub fn to(&self) -> State {
        self.to
    }

    /// How a text stands that the agent has just written, before the wish.
    pub fn begin(&self) -> Standing {
        Standing {
            state: State::Initial,
            author: Some(self.by),
            writer: self.kind,
            reviewed: false,
        }
    }

    /// The text after the step.
    pub fn take(&self, text: Standing) -> Result<Standing, Obstacle> {
        if self.to < text.state {
            self.lower(text)
        } else {
            self.raise(text)
        }
    }

    fn lower(&self, text: Standing) -> Result<Standing, Obstacle> {
        if self.kind.is_machine() && text.state >= State::Reviewed {
            return Err(Obstacle::NeedsPerson);
        }
        if self.reason.trim().is_empty() {
            return Err(Obstacle::NeedsReason);
        }
        Ok(Standing {
            state: self.to,
            reviewed: text.reviewed && self.to >= State::Reviewed,
            ..text
        })
    }

    fn raise(&self, text: Standing) -> Result<Standing, Obstacle> {
        let is_review = self.to >= State::Reviewed;
        let may_review = self.self_review == SelfReview::Allowed || !self.wrote(&text);
        if is_review && text.state < State::Reviewed && !may_review {
            return Err(Obstacle::OwnText);
        }
        Ok(Standing {
            state: self.to,
            reviewed: text.reviewed || is_review && may_review && !self.kind.is_machine(),
            ..text
        })
    }

    /// Whether the agent wrote a text last. If the author was not recorded, any agent of that kind may have been.
    fn wrote(&self, text: &Standing) -> bool {
        match text.author {
            Some(author) => author == self.by,
            None => text.writer == self.kind,
        }
    }
}

impl Standing {
    /// Whether no machine may change the text: a person wrote it last, or it is reviewed.
    pub fn is_protected(&self) -> bool {
        !self.writer.is_machine() || self.state >= State::Reviewed
    }
}

impl Binding {
    /// How its text stands.
    pub fn standing(&self) -> Standing {
        Standing {
            state: self.state,
            author: self.author,
            writer: self.writer,
            reviewed: self.reviewed,
        }
    }

    /// The same target, standing so.
    #[must_use]
    pub fn with(self, standing: Standing) -> Self {
        Self {
            state: standing.state,
            author: standing.author,
            writer: standing.writer,
            reviewed: standing.reviewed,
            ..self
        }
    }
}

impl TranslationHead {
    /// How the text of an address stands; its author is the agent that wrote the address.
    pub fn external_standing(&self) -> Standing {
        Standing {
            state: self.external_state,
            author: Some(self.agent.identity()),
            writer: self.agent.kind,
            reviewed: self.external_reviewed,
        }
    }
}

impl Obstacles {
    /// One in the way of a text that has no segments here.
    pub(super) fn whole(obstacle: Obstacle) -> Self {
        Self(BTreeMap::from([(obstacle, Vec::new())]))
    }

    pub(super) fn add(&mut self, obstacle: Obstacle, id: &SegmentId) {
        self.0.entry(obstacle).or_default().push(id.clone());
    }

    /// Nothing, or all that is in the way.
    pub(super) fn none(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The refusal that they are: of the first kind, with all its segments.
    pub(super) fn refusal(self, id: Option<TranslationId>) -> Refusal {
        let (obstacle, segments) = self
            .0
            .into_iter()
            .next()
            .unwrap_or((Obstacle::NeedsPerson, Vec::new()));
        Refusal::Obstacle(id, obstacle, segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Initial, State::Translated, State::Reviewed, State::Final];

    fn person(name: &str) -> Agent {
        Agent {
            person: name.into(),
            ..Agent::of_kind(AgentKind::Human)
        }
    }

    fn machine(engine: &str) -> Agent {
        Agent {
            engine: engine.into(),
            ..Agent::of_kind(AgentKind::Llm)
        }
    }

    fn by(author: &Agent, state: State) -> Standing {
        Standing {
            state,
            author: Some(author.identity()),
            writer: author.kind,
            reviewed: false,
        }
    }

    fn step<'a>(to: State, agent: &Agent, reason: &'a str) -> Transition<'a> {
        Transition::new(to, agent, SelfReview::Refused, reason)
    }

    #[test]
    fn every_step_of_every_agent() {
        let (leila, omar, mt, judge) = (person("Leïla"), person("Omar"), machine("mt"), machine("judge"));
        for author in [&leila, &mt] {
            for agent in [&leila, &omar, &mt, &judge] {
                for (from, to) in STATES.into_iter().flat_map(|from| STATES.map(|to| (from, to))) {
                    let own = author.identity() == agent.identity();
                    let crosses = from < State::Reviewed && to >= State::Reviewed;
                    let expected = if crosses && own {
                        Err(Obstacle::OwnText)
                    } else if to < from && from >= State::Reviewed && agent.kind.is_machine() {
                        Err(Obstacle::NeedsPerson)
                    } else {
                        Ok(to)
                    };
                    let taken = step(to, agent, "because").take(by(author, from));
                    assert_eq!(
                        taken.map(|text| text.state),
                        expected,
                        "{author:?} {agent:?} {from:?} {to:?}"
                    );
                    let unexplained = step(to, agent, " ").take(by(author, from));
                    if to < from && expected.is_ok() {
                        assert_eq!(unexplained, Err(Obstacle::NeedsReason));
                    } else {
                        assert_eq!(unexplained, taken);
                    }
                }
            }
        }
    }

    #[test]
    fn only_a_persons_review_counts_as_one_and_lowering_takes_it_back() {
        let (leila, omar, mt, judge) = (person("Leïla"), person("Omar"), machine("mt"), machine("judge"));
        let judged = step(State::Reviewed, &judge, "")
            .take(by(&mt, State::Translated))
            .unwrap();
        assert!(!judged.reviewed);
        let read = step(State::Reviewed, &leila, "").take(judged).unwrap();
        assert!(read.reviewed);
        let published = step(State::Final, &judge, "").take(read).unwrap();
        assert!(published.reviewed);
        let back = step(State::Reviewed, &omar, "a typo").take(published).unwrap();
        assert!(back.reviewed);
        assert!(
            !step(State::Translated, &omar, "wrong")
                .take(back)
                .unwrap()
                .reviewed
        );
        // The author may publish what another reviewed, which is no review of hers.
        let of_leila = step(State::Reviewed, &judge, "")
            .take(by(&leila, State::Translated))
            .unwrap();
        assert!(!step(State::Final, &leila, "").take(of_leila).unwrap().reviewed);
    }

    #[test]
    fn a_desk_of_one_person_may_review_itself_if_it_says_so() {
        let leila = person("Leïla");
        let alone = Transition::new(State::Final, &leila, SelfReview::Allowed, "");
        let done = alone.take(by(&leila, State::Translated)).unwrap();
        assert_eq!((done.state, done.reviewed), (State::Final, true));
    }

    #[test]
    fn a_person_is_her_name_and_organisation_and_a_machine_all_that_it_says() {
        let leila = person("Leïla  B.");
        let same = Agent {
            tool: "another CAT tool".into(),
            prompt_id: "p".into(),
            ..person(" Lei\u{308}la B.")
        };
        assert_eq!(leila.identity(), same.identity());
        let elsewhere = Agent {
            organization: "Agency".into(),
            ..leila.clone()
        };
        assert_ne!(leila.identity(), elsewhere.identity());
        // Names do not run into each other, and two of whom nothing is said cannot be told apart.
        let swapped = Agent {
            organization: "B.".into(),
            ..person("Leïla")
        };
        assert_ne!(leila.identity(), swapped.identity());
        assert_eq!(person("").identity(), person(" ").identity());
        let mt = machine("mt");
        let newer = Agent {
            model_version: "2".into(),
            ..mt.clone()
        };
        let other = Agent {
            model: "large".into(),
            ..mt.clone()
        };
        assert_eq!(mt.identity(), newer.identity());
        assert_ne!(mt.identity(), other.identity());
        assert_eq!(person("Leïla").identity().0, PINNED, "it is stored");
    }

    const PINNED: u64 = 2_805_882_357_288_142_734;

    #[test]
    fn an_author_that_nobody_recorded_may_be_any_of_its_kind() {
        let unknown = Standing {
            author: None,
            ..by(&person("Leïla"), State::Translated)
        };
        let (omar, judge) = (person("Omar"), machine("judge"));
        assert_eq!(
            step(State::Reviewed, &omar, "").take(unknown),
            Err(Obstacle::OwnText)
        );
        assert!(step(State::Reviewed, &judge, "").take(unknown).is_ok());
    }
}

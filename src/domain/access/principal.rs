//! Callers: a principal with its rights and the kinds of agents that it may declare, and the rule for the actor of a
//! step.
//!
//! An authenticated principal is the actor of all that it does, whatever it declares, so that a person cannot review
//! her own text under another name. With [`Right::ActAs`] the person that it names is the actor instead. A caller
//! without credentials may declare anything, and is marked as not verified.

use super::scope::{Right, Scopes};
use super::{Reach, Visibility};
use crate::domain::Invalid;
use crate::domain::language::Language;
use crate::domain::provenance::{Actor, Agent, AgentKind, same_name};
use crate::domain::segment::check_text;

/// The longest name of a principal, in bytes.
pub const MAX_NAME: usize = 256;

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal {
    /// Its name, if it was authenticated.
    pub actor: Actor,
    /// What it may do.
    pub scopes: Scopes,
    /// The kinds of agents that it may declare.
    pub kinds: Vec<AgentKind>,
    /// Which hidden articles its scopes reach.
    pub reach: Reach,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller holds no scope that grants it.
    #[error("the call needs the scope {}", any_of(.0))]
    Scope(Vec<String>),
    /// The caller asks for hidden articles and holds no scope that reaches any.
    #[error("hidden articles are shown to callers with the scope \"embargoed\" or \"editorial\"")]
    Hidden,
    /// The caller names a person other than itself.
    #[error("\"{principal}\" may not act for the person {person:?}: that needs the scope \"act_as\"")]
    Person {
        /// The caller.
        principal: String,
        /// Whom it names.
        person: String,
    },
    /// The caller may not declare agents of this kind.
    #[error("\"{principal}\" may not declare an agent of the kind {}; it may declare {}", .kind.name(), listed(.allowed))]
    Kind {
        /// The caller.
        principal: String,
        /// What it declares.
        kind: AgentKind,
        /// What it may declare.
        allowed: Vec<AgentKind>,
    },
}

impl Denied {
    /// The scopes any of which would do.
    pub fn scopes(&self) -> Vec<String> {
        match self {
            Self::Scope(scopes) => scopes.clone(),
            Self::Hidden => [Right::Embargoed, Right::Editorial]
                .map(|right| right.name().to_owned())
                .to_vec(),
            Self::Person { .. } => vec![Right::ActAs.name().to_owned()],
            Self::Kind { .. } => Vec::new(),
        }
    }
}

impl Principal {
    /// A caller without credentials.
    pub fn anonymous(scopes: Scopes) -> Self {
        Self {
            actor: Actor::default(),
            kinds: AgentKind::ALL.to_vec(),
            reach: scopes.reach(),
            scopes,
        }
    }

    /// A principal that has proved its name.
    pub fn verified(name: &str, scopes: Scopes, kinds: Vec<AgentKind>) -> Result<Self, Invalid> {
        check_name(name)?;
        let actor = Actor {
            principal: name.to_owned(),
            verified: true,
        };
        Ok(Self {
            actor,
            kinds,
            reach: scopes.reach(),
            scopes,
        })
    }

    /// Whether it may read an article of this visibility if it asks for hidden ones.
    pub fn reads(&self, visibility: Visibility) -> bool {
        self.scopes.grant(Right::Read) && self.reach.covers(visibility)
    }

    /// Checks that it holds one of these rights, in any language.
    pub fn may_any(&self, rights: &[Right]) -> Result<(), Denied> {
        if rights.iter().any(|right| self.scopes.grant(*right)) {
            return Ok(());
        }
        let needed = rights.iter().map(|right| match right.is_by_language() {
            true => format!("{}:<language>", right.name()),
            false => right.name().to_owned(),
        });
        Err(Denied::Scope(needed.collect()))
    }

    /// Checks that it holds one of these rights in a language; `None` is every language.
    pub fn may_in(&self, rights: &[Right], language: Option<&Language>) -> Result<(), Denied> {
        if rights.iter().any(|right| self.scopes.grant_in(*right, language)) {
            return Ok(());
        }
        let range = language.map_or("*", Language::as_str);
        let needed = rights.iter().map(|right| format!("{}:{range}", right.name()));
        Err(Denied::Scope(needed.collect()))
    }

    /// The agent that it may declare, with its identity.
    pub fn admit(&self, declared: Agent) -> Result<Agent, Denied> {
        if !self.kinds.contains(&declared.kind) {
            return Err(Denied::Kind {
                principal: self.actor.principal.clone(),
                kind: declared.kind,
                allowed: self.kinds.clone(),
            });
        }
        if !self.actor.verified {
            return Ok(declared);
        }
        let own = &self.actor.principal;
        let is_another = |person: &&String| !person.trim().is_empty() && !same_name(person, own);
        if !self.scopes.grant(Right::ActAs)
            && let Some(person) = [&declared.person, &declared.rev_person]
                .into_iter()
                .find(is_another)
        {
            return Err(Denied::Person {
                principal: own.clone(),
                person: person.clone(),
            });
        }
        if is_another(&&declared.person) {
            return Ok(declared);
        }
        let person = match declared.kind {
            AgentKind::Human => own.clone(),
            _ => declared.person,
        };
        Ok(Agent {
            person,
            principal: own.clone(),
            ..declared
        })
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    if name.trim().is_empty() {
        return Err(Invalid::new("the name of a principal is empty"));
    }
    if name.len() > MAX_NAME {
        let length = name.len();
        return Err(Invalid::new(format!(
            "the name of a principal has {length} bytes, more than {MAX_NAME}"
        )));
    }
    check_text(name)?;
    match name.contains(['\t', '\n', '\r']) {
        true => Err(Invalid::new("the name of a principal has a line break or a tab")),
        false => Ok(()),
    }
}

fn any_of(scopes: &[String]) -> String {
    let quoted: Vec<_> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    quoted.join(" or ")
}

fn listed(kinds: &[AgentKind]) -> String {
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Scope;

    fn principal(name: &str, scopes: &[&str], kinds: &[AgentKind]) -> Principal {
        let scopes = scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect();
        Principal::verified(name, scopes, kinds.to_vec()).unwrap()
    }

    fn agent(kind: AgentKind, person: &str) -> Agent {
        Agent {
            person: person.into(),
            ..Agent::of_kind(kind)
        }
    }

    #[test]
    fn a_principal_is_the_actor_whatever_it_declares() {
        let nora = principal("Nora", &["translate:*"], &[AgentKind::Human, AgentKind::Mt]);
        let written = nora.admit(agent(AgentKind::Human, "")).unwrap();
        assert_eq!(
            (written.person.as_str(), written.principal.as_str()),
            ("Nora", "Nora")
        );
        // Neither another kind nor another organisation, engine or tool makes another actor.
        let declared = Agent {
            organization: "elsewhere".into(),
            engine: "judge".into(),
            ..agent(AgentKind::Mt, "")
        };
        let judged = nora.admit(declared).unwrap();
        assert_eq!(judged.identity(), written.identity());
        assert_ne!(judged.declared_identity(), written.declared_identity());
        assert!(nora.admit(agent(AgentKind::Human, " No\u{72}a ")).is_ok());
        let denied = nora.admit(agent(AgentKind::Human, "Idris")).unwrap_err();
        assert_eq!(denied.scopes(), ["act_as"]);
        assert_eq!(
            denied.to_string(),
            "\"Nora\" may not act for the person \"Idris\": that needs the scope \"act_as\""
        );
        let revised = Agent {
            rev_person: "Idris".into(),
            ..agent(AgentKind::Mt, "")
        };
        assert!(matches!(nora.admit(revised), Err(Denied::Person { .. })));
    }

    #[test]
    fn whoever_may_act_for_others_is_whom_it_names() {
        let desk = principal("desk", &["act_as"], &[AgentKind::Human, AgentKind::Mt]);
        let [nora, idris] =
            ["Nora", "Idris"].map(|person| desk.admit(agent(AgentKind::Human, person)).unwrap());
        assert_ne!(nora.identity(), idris.identity());
        assert_eq!(nora.principal, "");
        // Nora is the same, whether the desk names her or she calls herself.
        let herself = principal("Nora", &[], &[AgentKind::Human]);
        assert_eq!(
            herself.admit(agent(AgentKind::Human, "")).unwrap().identity(),
            nora.identity()
        );
        // Without a named person the principal is the actor.
        let unnamed = desk.admit(agent(AgentKind::Human, " ")).unwrap();
        assert_eq!(
            unnamed.identity(),
            desk.admit(agent(AgentKind::Mt, "desk")).unwrap().identity()
        );
    }

    #[test]
    fn kinds_that_are_not_its_own_are_refused() {
        let worker = principal("worker", &["*"], &[AgentKind::Mt, AgentKind::Tm]);
        assert!(worker.admit(agent(AgentKind::Mt, "")).is_ok());
        let denied = worker.admit(agent(AgentKind::Human, "")).unwrap_err();
        let text = "\"worker\" may not declare an agent of the kind HUMAN; it may declare MT, TM";
        assert_eq!(denied.to_string(), text);
        let reader = principal("reader", &["read"], &[]);
        let denied = reader.admit(agent(AgentKind::Mt, "")).unwrap_err();
        assert!(denied.to_string().ends_with("it may declare none"));
    }

    #[test]
    fn without_credentials_the_word_of_the_caller_counts() {
        let anyone = Principal::anonymous(Scopes::open());
        for kind in AgentKind::ALL {
            let declared = agent(kind, "Nora");
            assert_eq!(anyone.admit(declared.clone()), Ok(declared));
        }
        assert!(!anyone.actor.verified && anyone.actor.principal.is_empty());
    }

    #[test]
    fn a_missing_scope_is_named() {
        let nora = principal("Nora", &["translate:pt"], &[]);
        let french = Language::parse("fr").unwrap();
        let needs = |denied: Result<(), Denied>| denied.unwrap_err().scopes();
        assert_eq!(
            needs(nora.may_in(&[Right::Translate], Some(&french))),
            ["translate:fr"]
        );
        assert_eq!(needs(nora.may_in(&[Right::Translate], None)), ["translate:*"]);
        assert_eq!(
            needs(nora.may_any(&[Right::Ingest, Right::Review])),
            ["ingest", "review:<language>"]
        );
        let brazil = Language::parse("pt-BR").unwrap();
        assert_eq!(nora.may_in(&[Right::Translate], Some(&brazil)), Ok(()));
        assert_eq!(nora.may_any(&[Right::Translate]), Ok(()));
    }

    #[test]
    fn names_are_short_and_print_in_one_line() {
        for name in ["", " ", "a\nb", "a\u{7}", &"n".repeat(MAX_NAME + 1)] {
            assert!(
                Principal::verified(name, Scopes::default(), vec![]).is_err(),
                "{name:?}"
            );
        }
        assert!(Principal::verified("أحمد", Scopes::default(), vec![]).is_ok());
    }
}

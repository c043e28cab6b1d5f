//! What a caller may do: rights, and the scopes that grant them. Most rights are whole; those to translate, review and
//! publish are granted by language.

use std::fmt;

use super::Reach;
use crate::domain::Invalid;
use crate::domain::job::JobKind;
use crate::domain::language::Language;
use crate::domain::translation::State;

/// Something that a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// To read what is public: articles, translations, jobs, changes.
    Read,
    /// To write articles.
    Ingest,
    /// To write translations into a language up to `Translated`, and to order and do the jobs for it.
    Translate,
    /// To judge translations into a language: up to `Reviewed` and back, to reject and to withdraw them.
    Review,
    /// To put translations into a language before readers: `Final`, and which one is served.
    Publish,
    /// To purge, to back up and check the store, and to say which jobs open by themselves.
    Admin,
    /// To see embargoed articles and to attach translations to them.
    Embargoed,
    /// To see withheld, cancelled and embargoed articles.
    Editorial,
    /// To name the person that a call is made for.
    ActAs,
}

impl Right {
    /// All rights.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Ingest,
        Self::Translate,
        Self::Review,
        Self::Publish,
        Self::Admin,
        Self::Embargoed,
        Self::Editorial,
        Self::ActAs,
    ];

    /// The name, as in scopes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Translate => "translate",
            Self::Review => "review",
            Self::Publish => "publish",
            Self::Admin => "admin",
            Self::Embargoed => "embargoed",
            Self::Editorial => "editorial",
            Self::ActAs => "act_as",
        }
    }

    /// Whether it is granted by language.
    pub fn is_by_language(self) -> bool {
        matches!(self, Self::Translate | Self::Review | Self::Publish)
    }

    /// The right to bring a translation to a state.
    pub fn to_bring_to(state: State) -> Self {
        match state {
            State::Initial | State::Translated | State::Reviewed => Self::Review,
            State::Final => Self::Publish,
        }
    }

    /// The right to order and to do jobs of a kind.
    pub fn to_work_on(kind: JobKind) -> Self {
        if kind.translates() {
            Self::Translate
        } else {
            Self::Review
        }
    }
}

/// The languages that a scope is for: a basic language range of RFC 4647.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Range {
    /// All.
    Any,
    /// This one and its varieties, as `pt` is for `pt-BR`.
    Of(Language),
}

impl Range {
    /// Whether a language is in it, by basic filtering (RFC 4647, 3.3.1).
    pub fn contains(&self, language: &Language) -> bool {
        match self {
            Self::Any => true,
            Self::Of(range) => range == language || language.is_variety_of(range),
        }
    }
}

/// A scope, as `read`, `translate:pt`, `review:*` or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything.
    All,
    /// A right that no language limits.
    Whole(Right),
    /// A right in these languages.
    In(Right, Range),
}

impl Scope {
    /// Reads a scope.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (name, range) = match text.split_once(':') {
            Some((name, range)) => (name, Some(range)),
            None => (text, None),
        };
        let right = Right::ALL.into_iter().find(|right| right.name() == name);
        let right = right.ok_or_else(|| Invalid::new(format!("{text:?} is not one of {}", forms())))?;
        match (right.is_by_language(), range) {
            (true, Some("*")) => Ok(Self::In(right, Range::Any)),
            (true, Some(tag)) => Ok(Self::In(right, Range::Of(Language::parse(tag)?))),
            (true, None) => Err(Invalid::new(format!(
                "{text:?} lacks a language, as in \"{name}:fr\" or \"{name}:*\""
            ))),
            (false, None) => Ok(Self::Whole(right)),
            (false, Some(_)) => Err(Invalid::new(format!("{text:?}: \"{name}\" takes no language"))),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Whole(right) => f.write_str(right.name()),
            Self::In(right, Range::Any) => write!(f, "{}:*", right.name()),
            Self::In(right, Range::Of(language)) => write!(f, "{}:{language}", right.name()),
        }
    }
}

/// How all scopes look.
fn forms() -> String {
    let form = |right: Right| match right.is_by_language() {
        true => format!("{}:LANGUAGE", right.name()),
        false => right.name().to_owned(),
    };
    let forms: Vec<_> = Right::ALL.into_iter().map(form).collect();
    format!("{}, *", forms.join(", "))
}

/// The scopes that a caller holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// The scopes of anonymous callers on a server without credentials: everything but hidden articles.
    pub fn open() -> Self {
        let granted = |right: Right| match right.is_by_language() {
            true => Scope::In(right, Range::Any),
            false => Scope::Whole(right),
        };
        let hiding = [Right::Embargoed, Right::Editorial];
        let rights = Right::ALL.into_iter().filter(|right| !hiding.contains(right));
        rights.map(granted).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they grant a right: one that is granted by language, in some language.
    pub fn grant(&self, right: Right) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::All => true,
            Scope::Whole(granted) | Scope::In(granted, _) => *granted == right,
        })
    }

    /// Whether they grant a right in a language; `None` is every language.
    pub fn grant_in(&self, right: Right, language: Option<&Language>) -> bool {
        let reaches = |range: &Range| match language {
            Some(language) => range.contains(language),
            None => *range == Range::Any,
        };
        self.0.iter().any(|scope| match scope {
            Scope::All => true,
            Scope::Whole(granted) => *granted == right,
            Scope::In(granted, range) => *granted == right && reaches(range),
        })
    }

    /// Which hidden articles they reach.
    pub fn reach(&self) -> Reach {
        Reach {
            embargoed: self.grant(Right::Embargoed),
            editorial: self.grant(Right::Editorial),
        }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.0.iter().map(Scope::to_string).collect();
        f.write_str(&scopes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scopes(texts: &[&str]) -> Scopes {
        texts.iter().map(|text| Scope::parse(text).unwrap()).collect()
    }

    fn language(tag: &str) -> Language {
        Language::parse(tag).unwrap()
    }

    #[test]
    fn scopes_read_as_they_are_written() {
        let whole = Right::ALL.into_iter().filter(|right| !right.is_by_language());
        for text in whole
            .map(Right::name)
            .chain(["*", "translate:*", "review:pt-BR", "publish:ar"])
        {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Scope::parse("translate:IW").unwrap().to_string(), "translate:he");
        for (text, problem) in [
            ("", "is not one of read, ingest, translate:LANGUAGE"),
            ("Read", "is not one of"),
            ("write", "is not one of"),
            (" read", "is not one of"),
            ("**", "is not one of"),
            ("translate", "lacks a language"),
            ("translate:", "a BCP-47 language tag is required"),
            ("review:english", "is not a BCP-47 language tag"),
            ("read:fr", "takes no language"),
            ("*:fr", "is not one of"),
        ] {
            let error = Scope::parse(text).unwrap_err().0;
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_right_in_a_language_holds_for_its_varieties_and_no_other() {
        let held = scopes(&["translate:pt", "review:*", "read"]);
        let translates = |tag: &str| held.grant_in(Right::Translate, Some(&language(tag)));
        assert!(translates("pt") && translates("PT-br"));
        assert!(!translates("es") && !translates("ptx") && !held.grant_in(Right::Translate, None));
        assert!(held.grant_in(Right::Review, None) && held.grant(Right::Translate));
        assert!(!held.grant(Right::Publish) && !held.grant_in(Right::Publish, Some(&language("pt"))));
        assert!(held.grant_in(Right::Read, Some(&language("fr"))));
        assert_eq!(held.reach(), Reach::default());
    }

    #[test]
    fn everything_is_everything_and_open_is_all_but_what_is_hidden() {
        let (all, open) = (scopes(&["*"]), Scopes::open());
        for right in Right::ALL {
            let hides = matches!(right, Right::Embargoed | Right::Editorial);
            assert!(
                all.grant(right) && all.grant_in(right, None) && all.grant_in(right, Some(&language("fr")))
            );
            assert_eq!(
                open.grant(right) && open.grant_in(right, None),
                !hides,
                "{right:?}"
            );
            assert!(!Scopes::default().grant(right));
        }
        assert!(all.reach().editorial && all.reach().embargoed);
        assert_eq!(open.reach(), Reach::default());
    }

    proptest! {
        /// The definition of RFC 4647 on the subtags, whatever the case.
        #[test]
        fn ranges_match_by_basic_filtering(
            range in "[a-c]{2}(-[A-C]{2})?(-x-[a-b]{1,2})?",
            tag in "[a-c]{2}(-[A-C]{2})?(-x-[a-b]{1,2})?(-[a-b]{1,2})?",
            upper in any::<bool>(),
        ) {
            let written = if upper { range.to_uppercase() } else { range.to_lowercase() };
            let parsed = (Language::parse(&written), Language::parse(&tag));
            let (Ok(ranged), Ok(tagged)) = parsed else { return Ok(()) };
            let lower = [&ranged, &tagged].map(|language| language.as_str().to_lowercase());
            let [ranged_subtags, tagged_subtags] = [&lower[0], &lower[1]].map(|tag| tag.split('-').collect::<Vec<_>>());
            prop_assert_eq!(Range::Of(ranged).contains(&tagged), tagged_subtags.starts_with(&ranged_subtags));
            prop_assert!(Range::Any.contains(&tagged));
        }

        /// No text is a scope that reads back as another.
        #[test]
        fn whatever_is_read_is_stable(text in "(read|translate|review|act_as|\\*)?(:(\\*|[a-zA-Z]{2,3}(-[A-Za-z]{2,4})?))?") {
            if let Ok(scope) = Scope::parse(&text) {
                prop_assert_eq!(Scope::parse(&scope.to_string()).unwrap(), scope);
            }
        }
    }
}

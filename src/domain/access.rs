//! Who sees which articles. How far an article may be seen is stored with it and changes by commits only; what a caller
//! sees follows from its scopes and from what it asks for.
//!
//! Visibility is judged as of now: an earlier state of an article that is hidden now is hidden too.

use super::article::{ArticleVersion, Metadata, PublicationStatus};
use super::time::Timestamp;

/// How far an article, with all its translations, may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// By everybody.
    #[default]
    Public,
    /// By those who prepare what is to be published: with [`Scope::Embargoed`] or [`Scope::Editorial`].
    Embargoed,
    /// By those who decide about it: with [`Scope::Editorial`].
    Withheld,
    /// The same, and it is not meant to come back.
    Canceled,
}

impl Visibility {
    /// What metadata comes to at a time.
    pub fn at(metadata: &Metadata, now: Timestamp) -> Self {
        match metadata.publication_status {
            PublicationStatus::Withheld => Self::Withheld,
            PublicationStatus::Canceled => Self::Canceled,
            PublicationStatus::Usable if metadata.embargo_time.is_some_and(|end| end > now) => {
                Self::Embargoed
            }
            PublicationStatus::Usable => Self::Public,
        }
    }
}

/// When the embargo of an article ends by itself; `None` if it is not under one now.
pub fn embargo_end(version: &ArticleVersion) -> Option<Timestamp> {
    let is_embargoed = version.visibility == Visibility::Embargoed;
    version.metadata.embargo_time.filter(|_| is_embargoed)
}

/// A right that a caller holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// To see embargoed articles and to attach translations to them.
    Embargoed,
    /// To see withheld, cancelled and embargoed articles.
    Editorial,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 2] = [Self::Embargoed, Self::Editorial];

    /// The name, as in configurations and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embargoed => "embargoed",
            Self::Editorial => "editorial",
        }
    }
}

/// The rights that a caller holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes {
    /// [`Scope::Embargoed`].
    pub embargoed: bool,
    /// [`Scope::Editorial`].
    pub editorial: bool,
}

impl Scopes {
    /// Whether an article of this visibility is within these scopes.
    pub fn reach(self, visibility: Visibility) -> bool {
        match visibility {
            Visibility::Public => true,
            Visibility::Embargoed => self.embargoed || self.editorial,
            Visibility::Withheld | Visibility::Canceled => self.editorial,
        }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut held = Self::default();
        for scope in scopes {
            match scope {
                Scope::Embargoed => held.embargoed = true,
                Scope::Editorial => held.editorial = true,
            }
        }
        held
    }
}

/// Which articles a read shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shown {
    /// Deleted ones too.
    pub deleted: bool,
    /// Hidden ones too, as far as these scopes reach.
    pub hidden: Scopes,
}

/// A caller asks for hidden articles and holds no scope that reaches any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hidden articles are shown to callers with the scope \"embargoed\" or \"editorial\"")]
pub struct MissingScope;

impl Shown {
    /// What a caller with these scopes sees if it asks for deleted or hidden articles.
    pub fn to(scopes: Scopes, show_deleted: bool, show_hidden: bool) -> Result<Self, MissingScope> {
        if show_hidden && scopes == Scopes::default() {
            return Err(MissingScope);
        }
        Ok(Self {
            deleted: show_deleted,
            hidden: if show_hidden { scopes } else { Scopes::default() },
        })
    }

    /// Whether an article is shown that is deleted or not and may be seen so far.
    pub fn shows(self, is_deleted: bool, visibility: Visibility) -> bool {
        (self.deleted || !is_deleted) && self.hidden.reach(visibility)
    }

    /// The same of an article's newest version.
    pub fn shows_version(self, newest: &ArticleVersion) -> bool {
        self.shows(newest.deleted.is_some(), newest.visibility)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Scopes = Scopes {
        embargoed: false,
        editorial: false,
    };
    const EMBARGOED: Scopes = Scopes {
        embargoed: true,
        ..NONE
    };
    const EDITORIAL: Scopes = Scopes {
        editorial: true,
        ..NONE
    };

    #[test]
    fn hidden_articles_are_for_those_who_ask_and_hold_the_scope() {
        use Visibility::{Canceled, Embargoed, Public, Withheld};
        let seen = |shown: Shown| {
            [Public, Embargoed, Withheld, Canceled]
                .into_iter()
                .filter(|visibility| shown.shows(false, *visibility))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(Shown::default()), [Public]);
        for scopes in [NONE, EMBARGOED, EDITORIAL] {
            assert_eq!(seen(Shown::to(scopes, true, false).unwrap()), [Public]);
        }
        assert_eq!(Shown::to(NONE, true, true), Err(MissingScope));
        assert_eq!(
            seen(Shown::to(EMBARGOED, false, true).unwrap()),
            [Public, Embargoed]
        );
        assert_eq!(
            seen(Shown::to(EDITORIAL, false, true).unwrap()),
            [Public, Embargoed, Withheld, Canceled]
        );
    }

    #[test]
    fn deleted_and_hidden_are_asked_for_apart() {
        let hidden = Shown::to(EDITORIAL, false, true).unwrap();
        assert!(!hidden.shows(true, Visibility::Withheld));
        let deleted = Shown::to(EDITORIAL, true, false).unwrap();
        assert!(deleted.shows(true, Visibility::Public) && !deleted.shows(true, Visibility::Withheld));
        assert!(
            Shown::to(EDITORIAL, true, true)
                .unwrap()
                .shows(true, Visibility::Withheld)
        );
    }
}

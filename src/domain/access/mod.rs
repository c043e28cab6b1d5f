//! Access control: rights of callers and visibility of articles. The visibility is stored with the article and changes
//! by commits only; what a caller sees follows from its scopes and from what it asks for.
//!
//! Visibility is judged as of now: an earlier state of an article that is hidden now is hidden too.

use super::article::ArticleVersion;
pub use super::article::Visibility;
use super::time::Timestamp;

mod principal;
mod scope;

pub use principal::{Denied, MAX_NAME, Principal};
pub use scope::{Range, Right, Scope, Scopes};

/// When the embargo of an article ends by itself; `None` if it is not under one now.
pub fn embargo_end(version: &ArticleVersion) -> Option<Timestamp> {
    let is_embargoed = version.visibility == Visibility::Embargoed;
    version.metadata.embargo_time.filter(|_| is_embargoed)
}

/// The visibility that the first answer to a request is judged by when it is given again: the stricter of that time's and
/// today's, so that a retry is answered with no more than the first call, and with no more than a read.
pub fn visibility_again(then: Visibility, now: Visibility) -> Visibility {
    then.max(now)
}

/// Which hidden articles the scopes of a caller reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reach {
    /// Those under embargo: [`Right::Embargoed`].
    pub embargoed: bool,
    /// All of them: [`Right::Editorial`].
    pub editorial: bool,
}

impl Reach {
    /// Whether an article of this visibility is within it.
    pub fn covers(self, visibility: Visibility) -> bool {
        match visibility {
            Visibility::Public => true,
            Visibility::Embargoed => self.embargoed || self.editorial,
            Visibility::Withheld | Visibility::Canceled => self.editorial,
        }
    }
}

/// Which articles a read shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shown {
    /// Deleted ones too.
    pub deleted: bool,
    /// Hidden ones too, as far as this reaches.
    pub hidden: Reach,
}

impl Shown {
    /// What a caller that reaches so far sees if it asks for deleted or hidden articles.
    pub fn to(reach: Reach, show_deleted: bool, show_hidden: bool) -> Result<Self, Denied> {
        if show_hidden && reach == Reach::default() {
            return Err(Denied::Hidden);
        }
        Ok(Self {
            deleted: show_deleted,
            hidden: if show_hidden { reach } else { Reach::default() },
        })
    }

    /// Whether an article is shown that is deleted or not and may be seen so far.
    pub fn shows(self, is_deleted: bool, visibility: Visibility) -> bool {
        (self.deleted || !is_deleted) && self.hidden.covers(visibility)
    }

    /// The same of an article's newest version.
    pub fn shows_version(self, newest: &ArticleVersion) -> bool {
        self.shows(newest.deleted.is_some(), newest.visibility)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Reach = Reach {
        embargoed: false,
        editorial: false,
    };
    const EMBARGOED: Reach = Reach {
        embargoed: true,
        ..NONE
    };
    const EDITORIAL: Reach = Reach {
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
        for reach in [NONE, EMBARGOED, EDITORIAL] {
            assert_eq!(seen(Shown::to(reach, true, false).unwrap()), [Public]);
        }
        assert_eq!(Shown::to(NONE, true, true), Err(Denied::Hidden));
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

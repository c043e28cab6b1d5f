//! What a sent text becomes in a translation: its binding to the source, its state, and where it comes from.

use std::collections::BTreeMap;

use super::{Attach, Fitted, TargetText};
use crate::domain::article::ManifestEntry;
use crate::domain::ids::SegmentId;
use crate::domain::provenance::AgentKind;
use crate::domain::segment::{MarkedText, TextHash};
use crate::domain::translation::{Binding, SegmentOrigin, TranslationHead};
use crate::domain::workflow::{Obstacle, Obstacles, Standing, Transition};

/// A translation that segments which are not sent are taken from.
pub(super) struct Base<'a> {
    /// Whether it is another one than the one that is written.
    pub(super) is_another: bool,
    /// Its segments by id, with their texts where its version was needed.
    pub(super) segments: BTreeMap<&'a SegmentId, (&'a Binding, Option<&'a MarkedText>)>,
}

impl Attach<'_> {
    /// Bindings and texts in source order; segments that are not sent are copied, and those that left the source dropped.
    pub(super) fn merge(
        &self,
        texts: &Fitted<'_>,
        bases: &[Base<'_>],
    ) -> Result<(Vec<Binding>, Vec<MarkedText>), Obstacles> {
        let transition = self.transition();
        let mut merged = (Vec::new(), Vec::new());
        let mut obstacles = Obstacles::default();
        for entry in &self.source.0 {
            let old = bases.iter().find_map(|base| {
                let (binding, text) = base.segments.get(&entry.id)?;
                let copied = binding.copied || base.is_another;
                Some((
                    Binding {
                        copied,
                        ..(*binding).clone()
                    },
                    *text,
                ))
            });
            let (binding, text) = match (texts.get(&entry.id), old) {
                (Some(text), old) => {
                    match self.bind(&transition, entry, text, old.as_ref().map(|(binding, _)| binding)) {
                        Ok(binding) => (binding, &text.content),
                        Err(obstacle) => {
                            obstacles.add(obstacle, &entry.id);
                            continue;
                        }
                    }
                }
                (None, Some((binding, Some(text)))) => (binding, text),
                (None, _) => continue,
            };
            merged.0.push(binding);
            merged.1.push(text.clone());
        }
        obstacles.none().map(|()| merged)
    }

    /// How the text at an address stands after the write.
    pub(super) fn external(&self, uri: &str, old: Option<&TranslationHead>) -> Result<Standing, Obstacles> {
        let same = old.filter(|old| old.external_uri == *uri);
        let same_source = old.is_some_and(|old| old.source_content_hash == self.source.content_hash());
        advance(
            &self.transition(),
            same.map(TranslationHead::external_standing),
            same_source,
        )
        .map_err(Obstacles::whole)
    }

    /// The binding of a sent text, given what stood there before.
    fn bind(
        &self,
        transition: &Transition<'_>,
        entry: &ManifestEntry,
        text: &TargetText,
        old: Option<&Binding>,
    ) -> Result<Binding, Obstacle> {
        let target_hash = TextHash::of_target(&text.content);
        let same_text = old.filter(|old| old.target_hash == target_hash);
        let before = same_text.map(Binding::standing);
        let (source_revision, source_hash) = self.source_of(entry);
        let same_source = same_text.is_some_and(|old| old.source_hash == source_hash);
        let standing = advance(transition, before, same_source)?;
        let origin = match (self.provenance.agent.kind, old) {
            // The origin of a text stays, whichever agent repeats it.
            (_, Some(old)) if old.target_hash == target_hash => old.origin,
            (AgentKind::Human, Some(old))
                if matches!(old.origin, SegmentOrigin::Machine | SegmentOrigin::Postedited) =>
            {
                SegmentOrigin::Postedited
            }
            (AgentKind::Human, _) => SegmentOrigin::Human,
            (AgentKind::Import, _) => SegmentOrigin::Imported,
            _ => SegmentOrigin::Machine,
        };
        Ok(Binding {
            id: entry.id.clone(),
            source_revision,
            source_hash,
            translate: entry.translate,
            target_hash,
            state: standing.state,
            sub_state: text.sub_state.clone(),
            writer: standing.writer,
            author: standing.author,
            origin,
            reviewed: standing.reviewed,
            copied: same_text.is_some_and(|old| old.copied) && before == Some(standing),
        })
    }

    fn transition(&self) -> Transition<'_> {
        Transition::new(self.state, &self.provenance.agent, self.self_review, "")
    }
}

/// How a sent text stands, given how the very same text stood here before. It never stands lower for being sent again;
/// for another source it begins anew, and its sender answers for it from then on.
fn advance(
    transition: &Transition<'_>,
    before: Option<Standing>,
    same_source: bool,
) -> Result<Standing, Obstacle> {
    let own = transition.begin();
    match before {
        Some(before) if same_source && transition.to() < before.state => Ok(before),
        Some(before) if same_source => transition.take(before),
        Some(before) => {
            let taken = transition.take(Standing {
                state: own.state,
                reviewed: false,
                ..before
            })?;
            Ok(Standing {
                author: own.author,
                writer: own.writer,
                ..taken
            })
        }
        None => transition.take(own),
    }
}

//! Quality: what the store measures of a translation by itself, and the evidence that others bring.
//!
//! Only what is reproducible is computed here: [`chrf`] against a reference, the share of unmodified machine output, and
//! what a text must keep of its source: [`numbers`] and [`placeholders`]. [`measure`] puts them together.
//! [`evidence`] holds scores and MQM issues of exact texts. Nothing is averaged across metrics or languages, and no
//! measure moves a state or a disposition.

pub mod chrf;
mod digits;
pub mod evidence;
pub mod issue;
pub mod measure;
pub mod numbers;
pub mod placeholders;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

/// What two texts do not have in common, as multisets: a thing that one has twice and the other once is there once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// In the source and not in the target, as written there, in its order.
    pub missing: Vec<String>,
    /// In the target and not in the source, as written there, in its order.
    pub added: Vec<String>,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.added.is_empty()
    }

    /// The differences of things that are the same when they are written the same.
    fn of(source: &[&str], target: &[&str]) -> Self {
        Self {
            missing: without(source, target),
            added: without(target, source),
        }
    }
}

/// What is left of some things after taking others away, each as often as it is there.
fn without(things: &[&str], others: &[&str]) -> Vec<String> {
    let mut open: HashMap<&str, usize> = HashMap::new();
    for other in others {
        *open.entry(other).or_default() += 1;
    }
    let mut left = Vec::new();
    for thing in things {
        match open.get_mut(thing) {
            Some(count) if *count > 0 => *count -= 1,
            _ => left.push((*thing).to_owned()),
        }
    }
    left
}

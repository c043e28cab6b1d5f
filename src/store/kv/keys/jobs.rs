//! Keys of jobs, of their queues, and of policies.

use super::{above, hex, id_of, instant, key, ordered, split_at_zero};
use crate::domain::article::ArticleId;
use crate::domain::job::{JobId, JobKey, JobKind, Place};
use crate::domain::language::Language;
use crate::domain::policy::PolicyId;
use crate::domain::time::Timestamp;

fn job_kind_code(kind: JobKind) -> u8 {
    match kind {
        JobKind::Mt => 1,
        JobKind::Llm => 2,
        JobKind::Human => 3,
        JobKind::Review => 4,
        JobKind::Score => 5,
    }
}

fn job_kind(code: u8) -> Option<JobKind> {
    JobKind::ALL.into_iter().find(|kind| job_kind_code(*kind) == code)
}

fn job_key(prefix: u8, id: &ArticleId, key: &JobKey) -> Vec<u8> {
    let (language, kind) = (key.language.as_str().as_bytes(), job_kind_code(key.kind));
    self::key(prefix, &[id.as_str().as_bytes(), &[0], language, &[0, kind]])
}

/// The prefix of an article's jobs.
pub(in crate::store::kv) fn jobs(id: &ArticleId) -> Vec<u8> {
    key(b'j', &[id.as_str().as_bytes(), &[0]])
}

pub(in crate::store::kv) fn job(id: &ArticleId, key: &JobKey) -> Vec<u8> {
    job_key(b'j', id, key)
}

/// The prefix of an article's replaced jobs.
pub(in crate::store::kv) fn replaced_jobs(id: &ArticleId) -> Vec<u8> {
    key(b'k', &[id.as_str().as_bytes(), &[0]])
}

pub(in crate::store::kv) fn replaced_job(id: &JobId) -> Vec<u8> {
    let mut key = job_key(b'k', &id.article, &id.key);
    key.extend_from_slice(&id.number.to_be_bytes());
    key
}

pub(in crate::store::kv) fn policy(id: &PolicyId) -> Vec<u8> {
    key(b'n', &[id.as_str().as_bytes()])
}

/// The prefix of the queues of a kind, of embargoed articles or of public ones.
pub(in crate::store::kv) fn queues(is_embargoed: bool, kind: JobKind) -> Vec<u8> {
    key(b'q', &[&[u8::from(is_embargoed), job_kind_code(kind)]])
}

/// The prefix of the queue of a kind and a pair of source and target language.
pub(in crate::store::kv) fn queue(
    is_embargoed: bool,
    kind: JobKind,
    source: &Language,
    target: &Language,
) -> Vec<u8> {
    let mut key = queues(is_embargoed, kind);
    for language in [source, target] {
        key.extend_from_slice(language.as_str().as_bytes());
        key.push(0);
    }
    key
}

/// The prefix of a queue's jobs that may be claimed now.
pub(in crate::store::kv) fn ready(queue: &[u8]) -> Vec<u8> {
    [queue, &[0]].concat()
}

/// The prefix of a queue's jobs that may be claimed from some time on, which comes first.
pub(in crate::store::kv) fn waiting(queue: &[u8]) -> Vec<u8> {
    [queue, &[1]].concat()
}

/// The greatest key of a queue's jobs that may be claimed at a time, though not always before.
pub(in crate::store::kv) fn due(queue: &[u8], now: Timestamp) -> Vec<u8> {
    above(&[waiting(queue).as_slice(), &ordered(now)].concat())
}

/// The key of a job in its queue.
pub(in crate::store::kv) fn queued(queue: &[u8], place: Place, rank: Timestamp, id: &str) -> Vec<u8> {
    let mut key = match place {
        Place::Ready(_) => ready(queue),
        Place::Waiting(from) => [waiting(queue).as_slice(), &ordered(from)].concat(),
    };
    key.extend_from_slice(&ordered(rank));
    key.extend_from_slice(id.as_bytes());
    key
}

/// A job in a queue, as its key says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::kv) struct Queued {
    /// Whether its article is under an embargo.
    pub(in crate::store::kv) is_embargoed: bool,
    /// The article's language.
    pub(in crate::store::kv) source: Language,
    /// Which job of the article.
    pub(in crate::store::kv) key: JobKey,
    /// The article.
    pub(in crate::store::kv) article: ArticleId,
    /// Where it stands.
    pub(in crate::store::kv) place: Place,
    /// What orders it among jobs that may be claimed. Those with one deadline may have the same.
    pub(in crate::store::kv) rank: Timestamp,
}

impl Queued {
    /// Its place among jobs that may be claimed: the same whether it had to wait or not.
    pub(in crate::store::kv) fn order(&self) -> (Timestamp, &ArticleId, &JobKey) {
        (self.rank, &self.article, &self.key)
    }
}

/// The job of a queue's key.
pub(in crate::store::kv) fn queued_of(key: &[u8]) -> Option<Queued> {
    let (head, rest) = key.strip_prefix(b"q")?.split_at_checked(2)?;
    let &[is_embargoed @ (0 | 1), kind] = head else {
        return None;
    };
    let (source, rest) = split_at_zero(rest)?;
    let (target, rest) = split_at_zero(rest)?;
    let (class, rest) = rest.split_first()?;
    let (from, rest) = match class {
        0 => (None, rest),
        1 => {
            let (from, rest) = rest.split_at_checked(8)?;
            (Some(instant(from)?), rest)
        }
        _ => return None,
    };
    let (rank, id) = rest.split_at_checked(8)?;
    let rank = instant(rank)?;
    Some(Queued {
        is_embargoed: is_embargoed == 1,
        source,
        key: JobKey {
            language: target,
            kind: job_kind(kind)?,
        },
        article: id_of(id)?,
        place: from.map_or(Place::Ready(rank), Place::Waiting),
        rank,
    })
}

/// Such a key as a person can read it.
pub(super) fn readable(key: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ");
    match key.split_first() {
        Some((b'j', rest)) => match rest.split_last() {
            Some((kind, rest)) => format!("job {}{}", text(rest), kind_name(*kind)),
            None => "job".into(),
        },
        Some((b'k', rest)) => match rest.split_last_chunk::<5>() {
            Some((rest, [kind, number @ ..])) => {
                let number = u32::from_be_bytes(*number);
                format!("replaced job {}{} {number}", text(rest), kind_name(*kind))
            }
            None => format!("replaced job {}", hex(rest)),
        },
        Some((b'n', id)) => format!("policy {}", text(id)),
        Some((b'q', _)) => match queued_of(key) {
            Some(queued) => {
                let Queued { key, article, .. } = queued;
                format!("queued job {article} {} {}", key.language, key.kind.name())
            }
            None => format!("queued job {}", hex(key)),
        },
        _ => format!("record {}", hex(key)),
    }
}

fn kind_name(code: u8) -> &'static str {
    job_kind(code).map_or("unknown", JobKind::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = ArticleId> {
        "[A-Za-z0-9._~-]{1,4}".prop_map(|id| ArticleId::parse(&id).unwrap())
    }

    fn some_instant() -> impl Strategy<Value = Timestamp> {
        (-5i64..5).prop_map(|micros| Timestamp::from_micros(micros).unwrap())
    }

    fn job_key_of() -> impl Strategy<Value = JobKey> {
        (proptest::sample::select(vec!["de", "fr", "fr-CA"]), 0usize..5).prop_map(|(tag, kind)| JobKey {
            language: Language::parse(tag).unwrap(),
            kind: JobKind::ALL[kind],
        })
    }

    fn job_id() -> impl Strategy<Value = JobId> {
        (id(), job_key_of(), any::<u32>()).prop_map(|(article, key, number)| JobId { article, key, number })
    }

    fn queued_job() -> impl Strategy<Value = Queued> {
        let place = (some_instant(), proptest::option::of(some_instant()));
        (any::<bool>(), job_key_of(), id(), place).prop_map(|(is_embargoed, key, article, (rank, from))| {
            Queued {
                is_embargoed,
                source: Language::parse("ar").unwrap(),
                key,
                article,
                place: from.map_or(Place::Ready(rank), Place::Waiting),
                rank,
            }
        })
    }

    proptest! {
        #[test]
        fn jobs_of_an_article_are_together_and_in_order(a in job_id(), b in job_id()) {
            let key = |id: &JobId| job(&id.article, &id.key);
            let order = |id: &JobId| (id.article.clone(), id.key.clone());
            prop_assert_eq!(order(&a).cmp(&order(&b)), key(&a).cmp(&key(&b)));
            prop_assert_eq!(a.cmp(&b), replaced_job(&a).cmp(&replaced_job(&b)));
            let range = jobs(&a.article)..=above(&jobs(&a.article));
            prop_assert_eq!(range.contains(&key(&b)), a.article == b.article);
            let range = replaced_jobs(&a.article)..=above(&replaced_jobs(&a.article));
            prop_assert_eq!(range.contains(&replaced_job(&b)), a.article == b.article);
            prop_assert_eq!(readable(&key(&a)), format!("job {} {} {}", a.article, a.key.language, a.key.kind.name()));
            let number = a.number;
            prop_assert_eq!(readable(&replaced_job(&a)), format!("replaced {} {number}", readable(&key(&a))));
        }

        #[test]
        fn queued_jobs_are_in_the_order_of_their_places(a in queued_job(), b in queued_job(), now in some_instant()) {
            let of = |q: &Queued| queue(q.is_embargoed, q.key.kind, &q.source, &q.key.language);
            let key = |q: &Queued| queued(&of(q), q.place, q.rank, q.article.as_str());
            prop_assert_eq!(queued_of(&key(&a)), Some(a.clone()));
            let all = queues(a.is_embargoed, a.key.kind);
            prop_assert_eq!((all.clone()..=above(&all)).contains(&key(&b)),
                (a.is_embargoed, a.key.kind) == (b.is_embargoed, b.key.kind));
            // In the same queue: the ready by rank, then the waiting by their time.
            let b = Queued { article: b.article, place: b.place, rank: b.rank, ..a.clone() };
            let order = |q: &Queued| match q.place {
                Place::Ready(rank) => (None, rank, q.article.clone()),
                Place::Waiting(from) => (Some(from), q.rank, q.article.clone()),
            };
            prop_assert_eq!(order(&a).cmp(&order(&b)), key(&a).cmp(&key(&b)));
            let (ready, due) = (ready(&of(&a)), waiting(&of(&a))..=due(&of(&a), now));
            prop_assert_eq!((ready.clone()..=above(&ready)).contains(&key(&a)), matches!(a.place, Place::Ready(_)));
            prop_assert_eq!(due.contains(&key(&a)), matches!(a.place, Place::Waiting(from) if from <= now));
        }
    }
}

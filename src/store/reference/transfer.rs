//! The reference store as a source and a sink of entities.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use uuid::Uuid;

use super::ReferenceStore;
use super::state::{Place, State};
use crate::clock::Clock;
use crate::domain::article::{ArticleId, Head};
use crate::domain::job::{Job, JobId, Jobs};
use crate::domain::language::Language;
use crate::domain::policy::{PolicyId, TranslationPolicy};
use crate::domain::translation::Slot;
use crate::store::error::{Result, StoreError};
use crate::store::model::codec::{self, Malformed};
use crate::store::model::entity::{Content, Decoded, Entity, Type};
use crate::store::transfer::Import;
use crate::store::{ArticleState, Policies, Store};

fn malformed(Malformed(detail): Malformed) -> StoreError {
    StoreError::Corrupt {
        record: "an entity".into(),
        detail,
    }
}

/// All entities of a store.
pub(super) fn entities(state: &State) -> Result<Vec<Entity>> {
    let entity = |(place, (stamp, payload)): (&Place, &(_, Vec<u8>))| {
        let of = match place {
            Place::Head(_) => Type::Head,
            Place::Slot(..) => Type::Slot,
            Place::Job(..) => Type::Job,
            Place::ReplacedJob(_) => Type::ReplacedJob,
            Place::Tombstone(_) => Type::Tombstone,
            Place::Delta(..) => Type::Delta,
            Place::Request(_) => Type::Request,
            Place::Version(_, version) => Type::Version(version.article.clone(), version.series.clone()),
            Place::Log(_) => Type::Log,
            Place::Policy(_) => Type::Policy,
        };
        Entity::of(of, *stamp, payload).map_err(malformed)
    };
    state.records.iter().map(entity).collect()
}

/// The slot that receives the store when its import is published.
pub type Published = Arc<OnceLock<ReferenceStore>>;

/// A reference store under construction.
pub struct ReferenceImport {
    state: State,
    heads: BTreeMap<ArticleId, Head>,
    slots: BTreeMap<ArticleId, BTreeMap<Language, Arc<Slot>>>,
    jobs: BTreeMap<ArticleId, Jobs>,
    replaced: BTreeMap<JobId, Arc<Job>>,
    policies: BTreeMap<PolicyId, TranslationPolicy>,
    clock: Arc<dyn Clock>,
    published: Published,
}

impl ReferenceImport {
    /// Begins an empty import; the second value receives the published store.
    pub fn new(clock: Arc<dyn Clock>) -> (Self, Published) {
        let published = Published::default();
        let import = Self {
            state: State::default(),
            heads: BTreeMap::new(),
            slots: BTreeMap::new(),
            jobs: BTreeMap::new(),
            replaced: BTreeMap::new(),
            policies: BTreeMap::new(),
            clock,
            published: published.clone(),
        };
        (import, published)
    }

    fn put_one(&mut self, entity: Decoded) -> Result<()> {
        let Decoded {
            stamp,
            content,
            payload,
        } = entity;
        let place = match content {
            Content::Head(head) => {
                let id = head.id.clone();
                self.heads.insert(id.clone(), head);
                Place::Head(id)
            }
            Content::Slot(slot) => {
                let (id, language) = (slot.article.clone(), slot.language.clone());
                let slots = self.slots.entry(id.clone()).or_default();
                slots.insert(language.clone(), Arc::new(slot));
                Place::Slot(id, language)
            }
            Content::Job(job) => {
                let (id, key) = (job.id.article.clone(), job.id.key.clone());
                let jobs = self.jobs.entry(id.clone()).or_default();
                jobs.insert(key.clone(), Arc::new(job));
                Place::Job(id, key)
            }
            Content::ReplacedJob(job) => {
                let id = job.id.clone();
                self.replaced.insert(id.clone(), Arc::new(job));
                Place::ReplacedJob(id)
            }
            Content::Tombstone(tombstone) => {
                let id = tombstone.article.clone();
                self.state.tombstones.insert(id.clone(), tombstone);
                Place::Tombstone(id)
            }
            Content::Delta(id, delta) => {
                let place = Place::Delta(id.clone(), delta.revision);
                self.state.deltas.insert((id, delta.revision), delta);
                place
            }
            Content::Request(record) => {
                let name = codec::request_key(&record.key);
                self.state.requests.insert(record.key.clone(), record);
                Place::Request(name)
            }
            Content::Version(key, body) => {
                self.state.versions.insert(key.clone(), Arc::new(body));
                Place::Version(stamp.seq, key)
            }
            Content::Unkeyed { .. } => {
                let detail = "it is a version of an older format, which does not name its article";
                return Err(malformed(Malformed(detail.into())));
            }
            Content::Log(group) => {
                let first = group.first;
                self.state.log.insert(first, group);
                Place::Log(first)
            }
            Content::Policy(policy) => {
                let id = policy.id.clone();
                self.policies.insert(id.clone(), policy);
                Place::Policy(id)
            }
        };
        self.state.put(place, stamp, payload);
        Ok(())
    }
}

#[async_trait]
impl Import for ReferenceImport {
    async fn put(&mut self, entities: Vec<Decoded>) -> Result<()> {
        entities.into_iter().try_for_each(|entity| self.put_one(entity))
    }

    async fn finish(&mut self, epoch: Option<[u8; 16]>) -> Result<Box<dyn Store>> {
        for (id, head) in std::mem::take(&mut self.heads) {
            let slots = self.slots.remove(&id).unwrap_or_default();
            let aliases = head.aliases.iter().map(|alias| (alias.clone(), id.clone()));
            self.state.aliases.extend(aliases);
            let state = ArticleState {
                head: Arc::new(head),
                slots,
                jobs: self.jobs.remove(&id).unwrap_or_default(),
            };
            self.state.articles.insert(id, Arc::new(state));
        }
        // A job is replaced when the next of its key is opened.
        for (id, job) in &self.replaced {
            let number = id.number + 1;
            let next = JobId { number, ..id.clone() };
            let newest = self.state.articles.get(&id.article);
            let newest = newest
                .and_then(|state| state.jobs.get(&id.key))
                .filter(|job| job.id == next);
            let next = self.replaced.get(&next).or(newest);
            let time = next.map_or(job.changed.time, |next| next.opened.time);
            self.state.replaced.insert(id.clone(), (job.clone(), time));
        }
        let state = &mut self.state;
        state.last = state.log.last_key_value().and_then(|(_, group)| group.last());
        state.policies = Policies {
            seq: state.last().seq,
            all: std::mem::take(&mut self.policies).into_values().collect(),
        };
        // Nothing of an article that was purged after the last commit comes back.
        let last = state.last().seq;
        let later = state
            .tombstones
            .values()
            .filter(|tombstone| tombstone.stamp.seq > last);
        for mut tombstone in later.cloned().collect::<Vec<_>>() {
            tombstone.stamp.seq = last;
            let stamp = tombstone.stamp;
            state.purge(tombstone, stamp);
        }
        state.floor = state.log.first_key_value().map_or(0, |(first, _)| first - 1);
        state.epoch = epoch.unwrap_or_else(|| Uuid::new_v4().into_bytes());
        Ok(Box::new(ReferenceStore::of(state.clone(), self.clock.clone())?))
    }

    async fn publish(self: Box<Self>) -> Result<()> {
        let store = ReferenceStore::of(self.state, self.clock)?;
        self.published.set(store).map_err(|_| StoreError::Closed)
    }
}

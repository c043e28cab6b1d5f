//! The kv store as a source and a sink of entities: `dump` reads them from a live store, `load` fills an empty engine,
//! `import` publishes it. Here is the mapping of entities to keys.

mod dump;
mod import;
mod load;
pub(super) mod preimages;

use std::io;

use prost::Message;
use tokio::sync::mpsc;

use super::envelope::Sealed;
use super::keys;
use crate::domain::time::Stamp;
use crate::store::Entity;
use crate::store::model::codec::Malformed;
use crate::store::model::entity::{Content, Decoded, Type};

pub(super) use dump::{Dumping, dump};
pub use import::KvImport;
pub(super) use load::Loader;

/// An entity as the engine keeps it: key and value.
type Record = (Vec<u8>, Vec<u8>);

/// Takes the entities of a store one after the other.
pub(super) trait EntitySink: Send {
    /// Takes an entity. A later one of the same thing replaces an earlier one.
    fn entity(&mut self, entity: Entity) -> io::Result<()>;

    /// There are no more: together they show the store after this commit.
    fn end(&mut self, last: Stamp) -> io::Result<()>;
}

/// Entities and encoded bytes of a chunk.
const CHUNK: (usize, usize) = (256, 1 << 20);

/// Sends entities in chunks, and holds up the thread that reads them while the receiver is behind.
pub(super) struct Chunks {
    to: mpsc::Sender<Vec<Entity>>,
    chunk: Vec<Entity>,
    bytes: usize,
}

impl Chunks {
    pub(super) fn new(to: mpsc::Sender<Vec<Entity>>) -> Self {
        Self {
            to,
            chunk: Vec::new(),
            bytes: 0,
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.bytes = 0;
        self.to
            .blocking_send(std::mem::take(&mut self.chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl EntitySink for Chunks {
    fn entity(&mut self, entity: Entity) -> io::Result<()> {
        self.bytes += entity.0.encoded_len();
        self.chunk.push(entity);
        if self.chunk.len() >= CHUNK.0 || self.bytes >= CHUNK.1 {
            self.send()?;
        }
        Ok(())
    }

    fn end(&mut self, _: Stamp) -> io::Result<()> {
        self.send()
    }
}

/// The entity in a record of the engine.
fn entity_of(key: &[u8], stamp: Stamp, payload: &[u8]) -> Result<Entity, Malformed> {
    let unreadable = || Malformed("its key cannot be read".into());
    let of = match key.first() {
        Some(b'h') => Type::Head,
        Some(b's') => Type::Slot,
        Some(b'x') => Type::Tombstone,
        Some(b'r') => Type::Request,
        Some(b'l') => Type::Log,
        Some(b'j') => Type::Job,
        Some(b'k') => Type::ReplacedJob,
        Some(b'n') => Type::Policy,
        Some(b'v') => {
            let (_, version) = keys::body_of(key).ok_or_else(unreadable)?;
            Type::Version(version.article, version.series)
        }
        Some(b'd') => Type::Delta,
        _ => return Err(Malformed("it is no entity".into())),
    };
    Entity::of(of, stamp, payload)
}

/// The records of an entity for the engine.
fn records_of(entity: Decoded) -> impl Iterator<Item = Record> {
    let Decoded {
        stamp,
        content,
        payload,
    } = entity;
    let (key, sealed) = match &content {
        Content::Head(head) => (keys::head(&head.id), Sealed::new(&payload)),
        Content::Slot(slot) => (keys::slot(&slot.article, &slot.language), Sealed::plain(&payload)),
        Content::Version(version, _) => (keys::body(stamp.seq, version), Sealed::new(&payload)),
        Content::Unkeyed { part } => (keys::unkeyed(stamp.seq, *part), Sealed::new(&payload)),
        Content::Delta(article, delta) => (keys::delta(article, delta.revision), Sealed::new(&payload)),
        Content::Tombstone(tombstone) => (keys::tombstone(&tombstone.article), Sealed::new(&payload)),
        Content::Request(request) => (keys::request(&request.key), Sealed::new(&payload)),
        Content::Job(job) => (keys::job(&job.id.article, &job.id.key), Sealed::plain(&payload)),
        Content::ReplacedJob(job) => (keys::replaced_job(&job.id), Sealed::plain(&payload)),
        Content::Policy(policy) => (keys::policy(&policy.id), Sealed::new(&payload)),
        Content::Log(group) => (keys::log(group.first), Sealed::new(&payload)),
    };
    // Which version is the newest is known when all are there.
    let place = keys::body_of(&key).map(|(seq, version)| {
        let place = Sealed::plain(&[]).stamped(stamp);
        (keys::superseded_at(&version, seq), place)
    });
    std::iter::once((key, sealed.stamped(stamp))).chain(place)
}

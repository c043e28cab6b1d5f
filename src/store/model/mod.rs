//! The record format that all engines share: `records.proto`, the codec between its messages and the domain's entities,
//! what a commit
//! makes of an article, and the entities that backups and copies are made of. Pure: no keys, no framing, no storage.

pub(in crate::store) mod codec;
pub(in crate::store) mod commits;
pub(in crate::store) mod entity;
pub(in crate::store) mod records;

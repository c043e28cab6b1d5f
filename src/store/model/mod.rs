//! What all engines share: the record format (`records.proto` and the codec between its messages and the domain's
//! entities), what a commit and a claim make of an article, and the entities of backups and copies. Pure: no keys, no
//! framing, no storage.

pub(in crate::store) mod claims;
pub(in crate::store) mod codec;
pub(in crate::store) mod commits;
pub(in crate::store) mod entity;
pub(in crate::store) mod records;

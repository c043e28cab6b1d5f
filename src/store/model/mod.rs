//! The record format that all engines share: `records.proto`, and the codec between its messages and the domain's
//! entities. Pure: no keys, no framing, no storage.

pub(in crate::store) mod codec;
pub(in crate::store) mod records;

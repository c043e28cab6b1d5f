//! The generated messages of `records.proto`, and their JSON for backups.
#![expect(
    unreachable_pub,
    clippy::large_enum_variant,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/articlestore.records.rs"));
include!(concat!(env!("OUT_DIR"), "/articlestore.records.serde.rs"));

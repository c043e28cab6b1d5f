//! The generated messages, clients and servers of `articlestore.v1`. The proto files are their manual.
#![expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated"
)]

tonic::include_proto!("articlestore.v1");

/// The descriptors of all files, for reflection and for the JSON mapping.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/articlestore.v1.bin"));

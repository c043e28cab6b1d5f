//! The generated messages, clients and servers of `articlestore.v1`. The proto files are their manual.
#![expect(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "generated"
)]
#![expect(
    clippy::doc_markdown,
    clippy::doc_lazy_continuation,
    reason = "the comments are written for all languages"
)]

tonic::include_proto!("articlestore.v1");

/// The descriptors of all files, for reflection and for the JSON mapping.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/articlestore.v1.bin"));

//! The generated messages of `records.proto`.
#![expect(unreachable_pub, clippy::large_enum_variant, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/articlestore.records.rs"));

//! The generated messages of `records.proto`.
#![expect(unreachable_pub, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/articlestore.records.rs"));

//! The generated messages of `records.proto`.
#![expect(missing_docs, reason = "generated; the proto file has the comments")]
#![expect(unreachable_pub, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/articlestore.records.rs"));

//! What the fuzzer feeds to the codec of the store, as damage on the disk would: records, their envelopes and their keys.

use std::fmt::Debug;

use super::codec;
use super::envelope::{self, Sealed};
use super::keys;
use crate::domain::time::{Stamp, Timestamp};

/// The first byte is that of the record's key, the rest is its message; with another first byte it is what is stored. All of
/// it is taken as a key, too. Whatever can be read is written and read as the same.
pub(crate) fn record(data: &[u8]) {
    key(data);
    let Some((kind, payload)) = data.split_first() else {
        return;
    };
    let Some(time) = Timestamp::from_micros(1_700_000_000_000_000).ok() else {
        return;
    };
    let own = Stamp { seq: 7, time };
    match kind {
        b'h' => same(
            payload,
            |bytes| codec::decode_head(bytes, own),
            codec::encode_head,
        ),
        b'v' => same(
            payload,
            |bytes| codec::decode_body(bytes, own),
            codec::encode_body,
        ),
        b'd' => same(payload, codec::decode_delta, |(article, delta)| {
            codec::encode_delta(article, delta)
        }),
        b'p' => drop(codec::split_history(payload)),
        b'x' => same(
            payload,
            |bytes| codec::decode_tombstone(bytes, own),
            codec::encode_tombstone,
        ),
        b'a' => same(payload, codec::decode_alias_holder, |(alias, id)| {
            codec::encode_alias_holder(alias, id)
        }),
        b's' => same(
            payload,
            |bytes| codec::decode_slot(bytes, own),
            codec::encode_slot,
        ),
        b'j' | b'k' => same(payload, |bytes| codec::decode_job(bytes, own), codec::encode_job),
        b'n' => same(payload, codec::decode_policy, codec::encode_policy),
        b'r' => same(
            payload,
            |bytes| codec::decode_request(bytes, own),
            codec::encode_request,
        ),
        b'i' => same(
            payload,
            |bytes| codec::decode_index_row(bytes, Some(time)),
            codec::encode_index_row,
        ),
        b't' => same(payload, codec::decode_standing, codec::encode_standing),
        b'c' => same(payload, codec::decode_counts, codec::encode_counts),
        b'l' => same(payload, codec::decode_events, |logged| {
            codec::encode_events(&logged.events, &logged.principal)
        }),
        _ => enveloped(payload, own),
    }
}

fn same<T: Debug + PartialEq, E: Debug>(
    payload: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(read) = decode(payload) {
        let again = decode(&encode(&read));
        assert_eq!(again.ok().as_ref(), Some(&read));
    }
}

/// Bytes as a payload, and as a stored record, where damage is an error and no more than that.
fn enveloped(bytes: &[u8], own: Stamp) {
    let stored = Sealed::new(bytes).stamped(own);
    let opened = envelope::open(&stored, || "fuzzed".into());
    assert_eq!(opened.ok(), Some((own, bytes.to_vec())));
    let _ = envelope::open(bytes, || "fuzzed".into());
    let _ = codec::Group::decode(bytes);
}

fn key(bytes: &[u8]) {
    let _ = keys::head_id(bytes);
    let _ = keys::segment_history_of(bytes);
    let _ = keys::delta_of(bytes);
    let _ = keys::row_of(bytes);
    let _ = keys::body_of(bytes);
    let _ = keys::superseded_version(bytes);
    let _ = keys::article_of(bytes);
    let _ = keys::log_seq(bytes);
    let _ = keys::index_position(bytes);
    let _ = keys::work_of(bytes);
    let _ = keys::standing_of(bytes);
    let _ = keys::counts_of(bytes);
    let _ = keys::aging(bytes);
    let _ = keys::embargo_of(bytes);
    let _ = keys::queued_of(bytes);
    let _ = keys::readable(bytes);
}

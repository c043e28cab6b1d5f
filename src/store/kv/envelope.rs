//! The frame around every record: format, stamp, compression and checksum.
//!
//! A request task seals the payload (compresses and sums it) before the record's commit is known; the writer then only
//! fills in the stamp. Opening checks everything, so that rot is an error that names the record, never wrong data.
//!
//! ```text
//! offset  0  format, 1 byte
//!         1  encoding, 1 byte: 0 plain, 1 zstd
//!         2  CRC-32C of the payload, 4 bytes, as stored
//!         6  seq, 8 bytes
//!        14  time, 8 bytes, microseconds since 1970
//!        22  CRC-32C of bytes 0..22, 4 bytes
//!        26  payload
//! ```
//! All numbers are big-endian.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use crate::domain::time::{Seq, Stamp, Timestamp};
use crate::store::error::{Result, StoreError};
use crate::store::model::commits::MAX_RECORD;

const FORMAT: u8 = 1;
const HEADER: usize = 26;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Payloads below this are not worth the work.
const COMPRESS_FROM: usize = 256;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(1).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// A record that only lacks its stamp.
#[derive(Debug, Clone)]
pub(super) struct Sealed(Vec<u8>);

impl Sealed {
    /// Compresses the payload where that makes it smaller, and sums it.
    pub(super) fn new(payload: &[u8]) -> Self {
        let packed = (payload.len() >= COMPRESS_FROM)
            .then(|| compress(payload))
            .flatten();
        match packed {
            Some(packed) if packed.len() + 8 < payload.len() => {
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                Self::framed(ZSTD, &length.to_be_bytes(), &packed)
            }
            _ => Self::plain(payload),
        }
    }

    /// Frames the payload uncompressed: for records that are mostly hashes.
    pub(super) fn plain(payload: &[u8]) -> Self {
        Self::framed(PLAIN, &[], payload)
    }

    fn framed(encoding: u8, length: &[u8], stored: &[u8]) -> Self {
        let mut record = Vec::with_capacity(HEADER + length.len() + stored.len());
        record.extend([FORMAT, encoding, 0, 0, 0, 0]);
        record.extend([0; HEADER - 6]);
        record.extend_from_slice(length);
        record.extend_from_slice(stored);
        let sum = crc32c::crc32c(record.split_at(HEADER).1);
        put(&mut record, 2, &sum.to_be_bytes());
        Self(record)
    }

    /// Bytes that the record takes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The record as it is stored by the commit with this stamp.
    pub(super) fn stamped(mut self, stamp: Stamp) -> Vec<u8> {
        put(&mut self.0, 6, &stamp.seq.to_be_bytes());
        put(&mut self.0, 14, &stamp.time.as_micros().to_be_bytes());
        let sum = crc32c::crc32c(self.0.split_at(22).0);
        put(&mut self.0, 22, &sum.to_be_bytes());
        self.0
    }
}

fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = record.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The commit that a record names, if it is long enough to name one. Nothing is checked.
pub(super) fn seq(record: &[u8]) -> Option<Seq> {
    Some(Seq::from_be_bytes(*record.get(6..)?.first_chunk()?))
}

fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(payload).ok())
}

/// The payload of a stored record, and the commit that wrote it. `name` is the record's readable key.
pub(super) fn open(record: &[u8], name: impl Fn() -> String) -> Result<(Stamp, Vec<u8>)> {
    let damaged = |detail: &str| StoreError::Corrupt {
        record: name(),
        detail: detail.to_owned(),
    };
    let Some((header, payload)) = record.split_at_checked(HEADER) else {
        return Err(damaged("it is shorter than its header"));
    };
    let number = |from: usize, to: usize| {
        header
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    if number(22, 26) != u64::from(crc32c::crc32c(header.split_at(22).0)) {
        return Err(damaged("the checksum of its header does not match"));
    }
    if number(0, 1) != u64::from(FORMAT) {
        return Err(damaged(&format!(
            "its format {} is not known to this version",
            number(0, 1)
        )));
    }
    if number(2, 6) != u64::from(crc32c::crc32c(payload)) {
        return Err(damaged("its checksum does not match"));
    }
    let time = Timestamp::from_micros(number(14, 22).cast_signed()).map_err(|e| damaged(&e.0))?;
    let stamp = Stamp {
        seq: number(6, 14),
        time,
    };
    if number(1, 2) != u64::from(ZSTD) {
        return Ok((stamp, payload.to_vec()));
    }
    let (length, packed) = payload
        .split_at_checked(4)
        .ok_or_else(|| damaged("its length is missing"))?;
    let length = length
        .iter()
        .fold(0usize, |value, byte| value << 8 | usize::from(*byte));
    // A length beyond the limit of writes is damage.
    if length > MAX_RECORD {
        return Err(damaged("its length is beyond any record's"));
    }
    let plain = DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(packed, length).ok())
        .ok_or_else(|| damaged("it cannot be decompressed"))?;
    Ok((stamp, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp() -> Stamp {
        Stamp {
            seq: 7,
            time: Timestamp::from_micros(1_652_222_700_000_001).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(payload in proptest::collection::vec(any::<u8>(), 0..2000), repeat in 1usize..20) {
            let payload = payload.repeat(repeat);
            let record = Sealed::new(&payload).stamped(stamp());
            prop_assert_eq!(open(&record, String::new).unwrap(), (stamp(), payload));
        }

        #[test]
        fn every_flipped_bit_is_noticed(length in 0usize..600, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut record = Sealed::new(&b"paragraph ".repeat(60)[..length]).stamped(stamp());
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
            prop_assert!(open(&record, || "r".into()).is_err());
        }

        #[test]
        fn every_truncation_is_noticed(length in 1usize..600, keep in any::<prop::sample::Index>()) {
            let record = Sealed::new(&b"paragraph ".repeat(60)[..length]).stamped(stamp());
            prop_assert!(open(&record[..keep.index(record.len())], || "r".into()).is_err());
        }
    }

    #[test]
    fn the_error_names_the_record() {
        let error = open(b"short", || "head \"a1\"".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "record head \"a1\" is damaged: it is shorter than its header"
        );
    }
}

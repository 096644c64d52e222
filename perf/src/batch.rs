//! A record batch of a wanted size, built once and sent many times. `frames` wraps it into requests.

use crate::PerfError;
use bytes::Bytes;
use odradek_protocol::records::{BatchBuilder, HEADER_BYTES};

/// The size of one record in bytes, on the wire, as far as the batch's size allows.
pub const RECORD_BYTES: usize = 1024;

/// The smallest batch that can be asked for: a header and a record with an empty value.
pub const BATCH_BYTES_MIN: usize = HEADER_BYTES + 8;

/// A batch and what it holds.
#[derive(Clone, Debug)]
pub struct PreparedBatch {
    /// Header, records, CRC: what stands in the `records` field of a request.
    pub bytes: Bytes,
    /// Records in it.
    pub records: usize,
}

/// A batch of `batch_bytes` (or a byte or two less, where the length's own encoding leaves no other way), of records of 1 KiB,
/// or of a single record when it is smaller. The values are noise that no compressor shortens.
///
/// # Errors
/// [`PerfError::Options`] below [`BATCH_BYTES_MIN`] and above 1 GiB.
pub fn build(batch_bytes: usize, timestamp_ms: i64) -> Result<PreparedBatch, PerfError> {
    if !(BATCH_BYTES_MIN..=1 << 30).contains(&batch_bytes) {
        return Err(PerfError::Options(format!(
            "--batch-bytes {batch_bytes}: a batch has from {BATCH_BYTES_MIN} bytes to 1 GiB"
        )));
    }
    let records = (batch_bytes / RECORD_BYTES).max(1);
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let mut builder = BatchBuilder::new(0);
    let mut left = batch_bytes - HEADER_BYTES;
    for index in 0..records {
        let share = left / (records - index);
        let value = noise.bytes(value_bytes(share, index));
        builder.push(timestamp_ms, None, Some(&value), &[]);
        left -= share.min(record_bytes(value.len(), index));
    }
    let bytes = builder
        .build()
        .map_err(|error| PerfError::codec("building a batch", error))?;
    assert!(bytes.len() <= batch_bytes && bytes.len() + 2 >= batch_bytes);
    Ok(PreparedBatch { bytes, records })
}

/// The longest value whose record takes at most `wanted` bytes.
fn value_bytes(wanted: usize, offset_delta: usize) -> usize {
    (0..=wanted)
        .rev()
        .find(|&length| record_bytes(length, offset_delta) <= wanted)
        .unwrap_or(0)
}

/// Bytes of a record without key and headers: length, attributes, deltas of timestamp and offset, key, value, headers.
fn record_bytes(value: usize, offset_delta: usize) -> usize {
    let body = 1 + 1 + zigzag_bytes(offset_delta) + 1 + zigzag_bytes(value) + value + 1;
    zigzag_bytes(body) + body
}

/// Bytes of a zigzag varint of a number that is not negative.
fn zigzag_bytes(value: usize) -> usize {
    let bits = usize::BITS as usize - (value << 1).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

/// The same noise in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

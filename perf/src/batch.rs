//! Record batches of a wanted size, built once and sent many times: keys, compression, and where a time can be stamped.
//! `frames` wraps them into requests, `patch` changes what differs from one sending to the next.

use crate::PerfError;
use bytes::Bytes;
use odradek_protocol::records::{BatchBuilder, BatchHeader, Compression, HEADER_BYTES};

/// The size of one record in bytes, on the wire, where nothing else is asked for.
pub const RECORD_BYTES: usize = 1024;

/// The smallest batch that can be asked for: a header and a record with an empty value.
pub const BATCH_BYTES_MIN: usize = HEADER_BYTES + 8;

/// Every key is as long as every other, so that all batches are.
const KEY_BYTES: usize = 16;

/// All the batches of a run together: keys beyond that are refused.
const PREPARED_BYTES_MAX: usize = 256 << 20;

/// Bytes of the time that a value may begin with.
pub const STAMP_BYTES: usize = 8;

/// What batches should be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Bytes of a batch before compression, header included.
    pub batch_bytes: usize,
    /// Bytes of a record in it, as far as the batch's size allows.
    pub record_bytes: usize,
    /// How the records are compressed. Their values are then words, which shrink, instead of noise, which does not.
    pub compression: Compression,
    /// Distinct keys, one after another over the records of all batches; 0 for records without a key.
    pub keys: u64,
}

impl BatchShape {
    /// Plain batches of records of 1 KiB.
    pub fn of(batch_bytes: usize) -> Self {
        BatchShape {
            batch_bytes,
            record_bytes: RECORD_BYTES,
            compression: Compression::None,
            keys: 0,
        }
    }

    /// Records of a batch.
    pub fn records(&self) -> usize {
        (self.batch_bytes / self.record_bytes).max(1)
    }

    fn key_bytes(&self) -> Option<usize> {
        (self.keys > 0).then_some(KEY_BYTES)
    }
}

/// A batch and what it holds.
#[derive(Clone, Debug)]
pub struct PreparedBatch {
    /// Header, records, CRC: what stands in the `records` field of a request.
    pub bytes: Bytes,
    /// Records in it.
    pub records: usize,
    /// Where the first record's value begins, when it is not compressed and has room for [`STAMP_BYTES`].
    pub stamp_at: Option<usize>,
}

/// A plain batch of `batch_bytes` (or a byte or two less, where the length's own encoding leaves no other way), of records of
/// 1 KiB, or of a single record when it is smaller. The values are noise that no compressor shortens.
///
/// # Errors
/// [`PerfError::Options`] below [`BATCH_BYTES_MIN`] and above 1 GiB.
pub fn build(batch_bytes: usize, timestamp_ms: i64) -> Result<PreparedBatch, PerfError> {
    let shape = BatchShape::of(batch_bytes);
    check(&shape)?;
    build_one(&shape, 0, timestamp_ms)
}

/// As many batches of this shape as its keys need, to be sent in turn: one when records have no key.
///
/// # Errors
/// [`PerfError::Options`] for a size that no batch has, and for more keys than 256 MiB of batches hold.
pub fn build_all(shape: &BatchShape, timestamp_ms: i64) -> Result<Vec<PreparedBatch>, PerfError> {
    check(shape)?;
    let batches = shape.keys.div_ceil(shape.records() as u64).max(1);
    if batches.saturating_mul(shape.batch_bytes as u64) > PREPARED_BYTES_MAX as u64 {
        return Err(PerfError::Options(format!(
            "--keys {}: that takes {batches} batches of {} bytes, and {} MiB of prepared batches is the most; \
             ask for fewer keys or smaller records",
            shape.keys,
            shape.batch_bytes,
            PREPARED_BYTES_MAX >> 20
        )));
    }
    (0..batches)
        .map(|number| build_one(shape, number, timestamp_ms))
        .collect()
}

/// The offset after the last whole batch of an answer, and the time at `stamp_at` in it. None when there is no such batch.
pub fn last_stamp(records: &[u8], stamp_at: usize) -> Option<(i64, u64)> {
    let (mut rest, mut last) = (records, None);
    while let Ok(header) = BatchHeader::parse(rest) {
        if header.check_whole(rest.len()).is_err() {
            break;
        }
        let (whole, after) = rest.split_at(header.size_bytes());
        (rest, last) = (after, Some((header, whole)));
    }
    let (header, whole) = last?;
    let stamp = whole.get(stamp_at..)?.first_chunk()?;
    Some((header.next_offset(), u64::from_be_bytes(*stamp)))
}

fn check(shape: &BatchShape) -> Result<(), PerfError> {
    let least = BATCH_BYTES_MIN + shape.key_bytes().unwrap_or(0);
    if !(least..=1 << 30).contains(&shape.batch_bytes) {
        return Err(PerfError::Options(format!(
            "--batch-bytes {}: a batch like this has from {least} bytes to 1 GiB",
            shape.batch_bytes
        )));
    }
    let least = record_bytes(shape.key_bytes(), 0, shape.records());
    if shape.record_bytes < least {
        return Err(PerfError::Options(format!(
            "--record-bytes {}: a record like this has at least {least} bytes",
            shape.record_bytes
        )));
    }
    Ok(())
}

fn build_one(
    shape: &BatchShape,
    number: u64,
    timestamp_ms: i64,
) -> Result<PreparedBatch, PerfError> {
    let records = shape.records();
    let key_bytes = shape.key_bytes();
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15 ^ number.wrapping_mul(0x1000_0000_01B3));
    let mut builder = BatchBuilder::new(0).compression(shape.compression, None);
    let mut left = shape.batch_bytes - HEADER_BYTES;
    let mut stamp_at = None;
    for index in 0..records {
        let share = left / (records - index);
        let length = value_bytes(key_bytes, share, index);
        let value = match shape.compression {
            Compression::None => noise.bytes(length),
            _ => noise.words(length),
        };
        if index == 0 && length >= STAMP_BYTES && shape.compression == Compression::None {
            // What follows the first value is one byte: the number of headers.
            stamp_at = Some(HEADER_BYTES + record_bytes(key_bytes, length, 0) - length - 1);
        }
        let key = (number * records as u64 + index as u64).checked_rem(shape.keys);
        let key = key.map(|key| format!("key-{key:012}"));
        builder.push(
            timestamp_ms,
            key.as_ref().map(String::as_bytes),
            Some(&value),
            &[],
        );
        left -= share.min(record_bytes(key_bytes, length, index));
    }
    let whole = builder.size_bytes();
    assert!(whole <= shape.batch_bytes && whole + 2 >= shape.batch_bytes);
    let bytes = builder
        .build()
        .map_err(|error| PerfError::codec("building a batch", error))?;
    Ok(PreparedBatch {
        bytes,
        records,
        stamp_at,
    })
}

/// The longest value whose record takes at most `wanted` bytes.
fn value_bytes(key: Option<usize>, wanted: usize, offset_delta: usize) -> usize {
    (0..=wanted)
        .rev()
        .find(|&length| record_bytes(key, length, offset_delta) <= wanted)
        .unwrap_or(0)
}

/// Bytes of a record without headers: length, attributes, deltas of timestamp and offset, key, value, headers.
fn record_bytes(key: Option<usize>, value: usize, offset_delta: usize) -> usize {
    let key = key.map_or(1, |key| zigzag_bytes(key) + key);
    let body = 1 + 1 + zigzag_bytes(offset_delta) + key + zigzag_bytes(value) + value + 1;
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
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Text like that of a log file, which compressors make about a third of.
    fn words(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&str; 16] = [
            "order ",
            "payment ",
            "status=ok ",
            "user=",
            "region=eu-1 ",
            "latency_ms=",
            "item ",
            "shipped ",
            "cancelled ",
            "cart ",
            "price=",
            "retry ",
            "session ",
            "GET ",
            "POST ",
            "timeout ",
        ];
        let mut text = Vec::with_capacity(length + 32);
        while text.len() < length {
            let drawn = self.next();
            text.extend_from_slice(WORDS[(drawn >> 60) as usize].as_bytes());
            if drawn & 3 == 0 {
                text.extend_from_slice(format!("{} ", drawn >> 8 & 0xF_FFFF).as_bytes());
            }
        }
        text.truncate(length);
        text
    }
}

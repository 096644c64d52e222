//! A batch's header: reading it, its CRC, and the fields that a leader patches in place. The records behind it are in
//! `iteration`.

use super::*;
use bytes::Bytes;

/// The 61 bytes before the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record as it was first written.
    pub base_offset: i64,
    /// Bytes after this field: the whole batch less 12.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; -1 from producers.
    pub partition_leader_epoch: i32,
    /// Always [`MAGIC`].
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// See the `ATTRIBUTE_` constants.
    pub attributes: i16,
    /// Last offset less base offset; kept when compaction takes records away.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970, that record timestamps are relative to.
    pub base_timestamp: i64,
    /// The greatest timestamp of the records, or the append time.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 without idempotence.
    pub base_sequence: i32,
    /// Records in the batch.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; the records need not be there.
    ///
    /// Magic and length are checked, nothing else: see [`BatchHeader::check_whole`], [`verify_crc`].
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // The magic lies at the same place in all formats: an old batch is told as such even when it is short.
        match bytes.get(16) {
            Some(magic) if *magic as i8 != MAGIC => {
                return Err(BatchError::UnsupportedMagic(*magic as i8));
            }
            _ => {}
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated {
                needed: HEADER_BYTES,
                have: bytes.len(),
            });
        };
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(header, 0)),
            batch_length: i32::from_be_bytes(field(header, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(header, 12)),
            magic: header[16] as i8,
            crc: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            records_count: i32::from_be_bytes(field(header, 57)),
        };
        if header.batch_length < (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32 {
            return Err(BatchError::BadLength(header.batch_length));
        }
        Ok(header)
    }

    /// Writes the header's 61 bytes as they stand, CRC included.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        bytes[16] = self.magic as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch, header included. [`BatchHeader::parse`] saw to it that the length is not negative.
    pub fn size_bytes(&self) -> usize {
        LOG_OVERHEAD_BYTES + self.batch_length.max(0) as usize
    }

    /// Refuses when fewer than the batch's own bytes are there.
    pub fn check_whole(&self, have: usize) -> Result<(), BatchError> {
        if have < self.size_bytes() {
            return Err(BatchError::Truncated {
                needed: self.size_bytes(),
                have,
            });
        }
        Ok(())
    }

    /// Offset of the last record (as first written). Saturates on a hostile header.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(self.last_offset_delta.into())
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record, which wraps from `i32::MAX` to 0; -1 without idempotence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let code = (self.attributes & ATTRIBUTE_COMPRESSION_MASK) as u8;
        Compression::from_code(code).ok_or(BatchError::UnknownCompression(code))
    }

    /// Timestamps are the log's append time.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// The batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// The batch holds control records.
    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// The batch has a producer id.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// When tombstones of the batch may go, in milliseconds since 1970 (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & ATTRIBUTE_DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
}

/// `sequence + delta` as sequences go: after `i32::MAX` comes 0.
pub(super) fn add_sequence(sequence: i32, delta: i32) -> i32 {
    ((i64::from(sequence) + i64::from(delta)) & i64::from(i32::MAX)) as i32
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], start: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[start..start + N]);
    bytes
}

/// Checks the CRC of exactly one batch.
///
/// # Errors
/// [`BatchError::BadCrc`], or [`BatchError::Truncated`] when a header does not fit.
pub fn verify_crc(batch: &[u8]) -> Result<(), BatchError> {
    let Some(header) = batch.first_chunk::<HEADER_BYTES>() else {
        return Err(BatchError::Truncated {
            needed: HEADER_BYTES,
            have: batch.len(),
        });
    };
    let stored = u32::from_be_bytes(field(header, 17));
    let computed = crc_fast::crc32_iscsi(&batch[CRC_START..]);
    if stored != computed {
        return Err(BatchError::BadCrc { stored, computed });
    }
    Ok(())
}

/// Writes the CRC of exactly one batch into its header and returns it. `batch` holds a header at least.
pub fn recompute_crc(batch: &mut [u8]) -> u32 {
    let crc = crc_fast::crc32_iscsi(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    crc
}

/// Patches the base offset; the CRC does not cover it. `batch` holds a header at least.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
}

/// Patches the leader epoch; the CRC does not cover it. `batch` holds a header at least.
pub fn set_partition_leader_epoch(batch: &mut [u8], epoch: i32) {
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
}

/// Patches the maximum timestamp; the CRC must be recomputed after it. `batch` holds a header at least.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_ms: i64) {
    batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
}

/// Marks exactly one batch as stamped by the log at `timestamp_ms`, and recomputes its CRC.
pub fn set_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    batch[22] |= ATTRIBUTE_LOG_APPEND_TIME as u8;
    set_max_timestamp(batch, timestamp_ms);
    recompute_crc(batch);
}

/// The batches of a `records` field, one after another, each with its header and its own bytes, shared.
///
/// Ends after the first error. Bytes at the end that do not make a whole batch are an error too: a fetch answer may carry
/// them, so a client stops there without complaint, and a produce may not.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Over a whole `records` field.
    pub fn new(records: Bytes) -> Self {
        Batches { rest: records }
    }

    fn take(&mut self) -> Result<(BatchHeader, Bytes), BatchError> {
        let header = BatchHeader::parse(&self.rest)?;
        header.check_whole(self.rest.len())?;
        Ok((header, self.rest.split_to(header.size_bytes())))
    }
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.rest = Bytes::new();
        }
        Some(taken)
    }
}

const _: () = assert!(CRC_START == 8 + 4 + 4 + 1 + 4);
const _: () = assert!(HEADER_BYTES == CRC_START + 2 + 4 + 8 + 8 + 8 + 2 + 4 + 4);

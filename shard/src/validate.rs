//! What a batch must be before it is appended: Kafka's checks of produce, steps 4 and 10 to 18, and the
//! changes that a topic's configuration asks for.
//!
//! [`prepare`] is a pure function of the bytes, the configuration and the time, so that it can run on the
//! connection's core before the batch crosses to its shard. Uncompressed records are walked in place;
//! compressed ones are unpacked a piece at a time, up to a bound, and a batch beyond it is refused (Kafka
//! has no bound up to 4.3: hostile case 32). A batch that needs no change is never copied; one that is to be
//! recompressed is unpacked a second time, into the new compressor, once it is known to be good.

use bytes::Bytes;
use odradek_protocol::compression::{self, Decompressor};
use odradek_protocol::records::{
    self, ATTRIBUTE_COMPRESSION_MASK, ATTRIBUTE_LOG_APPEND_TIME, BatchError, BatchHeader,
    CRC_START, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, NO_TIMESTAMP, RecordOutlines,
};

use crate::config::{TimestampType, TopicCompression, TopicConfig};
pub use crate::refusal::{BatchRefusal, RecordFault, RecordFaultKind};

/// Bytes of a batch that a leader patches: everything before what the CRC covers.
pub const HEAD_BYTES: usize = CRC_START;

/// Record errors reported of one batch at most; the count in the message is whole.
pub const RECORD_ERRORS_MAX: usize = 1_000;

/// What the checks need besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct BatchRules<'a> {
    /// The topic's configuration.
    pub config: &'a TopicConfig,
    /// Wall time.
    pub now_ms: i64,
    /// Whether zstd is allowed (Produce v7 and later).
    pub zstd_allowed: bool,
    /// Bytes that the records of a compressed batch may unpack to.
    pub decompressed_bytes_max: usize,
    /// Whether a coordinator writes: control batches and transactions are its own affair.
    pub internal: bool,
}

/// A batch that may be appended, its bytes final but for the first [`HEAD_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedBatch {
    /// The whole batch.
    pub bytes: Bytes,
    /// CRC-32C of all after the head, which is the batch's own.
    pub body_crc: u32,
    /// The attributes.
    pub attributes: i16,
    /// Records less one.
    pub last_offset_delta: i32,
    /// Largest time stamp, or the append time.
    pub max_timestamp: i64,
    /// The producer's id, -1 for none.
    pub producer_id: i64,
    /// The producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Records.
    pub records: i32,
    /// Whether the bytes differ from what came.
    pub rebuilt: bool,
}

impl PreparedBatch {
    /// The first bytes as they are stored: base offset, length, leader epoch, magic, CRC.
    pub fn head(&self, base_offset: i64, leader_epoch: i32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[0..8].copy_from_slice(&base_offset.to_be_bytes());
        head[8..12]
            .copy_from_slice(&((self.bytes.len() - LOG_OVERHEAD_BYTES) as i32).to_be_bytes());
        head[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        head[16] = MAGIC as u8;
        head[17..21].copy_from_slice(&self.body_crc.to_be_bytes());
        head
    }
}

/// Step 4: exactly one batch of format 2, and no codec that the request's version forbids.
pub fn check_shape(
    records: Option<&[u8]>,
    zstd_allowed: bool,
) -> Result<BatchHeader, BatchRefusal> {
    let bytes = records.unwrap_or_default();
    // Shorter than a magic number: no batch at all. An impossible length is a damaged one.
    let Some(length) = bytes.get(8..12).filter(|_| bytes.len() > 16) else {
        return Err(BatchRefusal::NotOneBatch { batches: 0 });
    };
    let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    if !(0..=2).contains(&(bytes[16] as i8)) || length < 14 {
        return Err(BatchRefusal::Corrupt(BatchError::BadLength(length)));
    }
    if (length as usize).saturating_add(LOG_OVERHEAD_BYTES) > bytes.len() {
        return Err(BatchRefusal::NotOneBatch { batches: 0 });
    }
    let header = BatchHeader::parse(bytes).map_err(BatchRefusal::of_header)?;
    if header.size_bytes() != bytes.len() {
        return Err(BatchRefusal::NotOneBatch { batches: 2 });
    }
    match header.compression() {
        Ok(Compression::Zstd) if !zstd_allowed => Err(BatchRefusal::ZstdTooOld),
        _ => Ok(header),
    }
}

/// All checks that need no producer state, and the changes that the configuration asks for.
pub fn prepare(
    bytes: Option<Bytes>,
    rules: &BatchRules<'_>,
) -> Result<PreparedBatch, BatchRefusal> {
    let header = check_shape(bytes.as_deref(), rules.zstd_allowed)?;
    let bytes = bytes.unwrap_or_default();
    check_header(&header, bytes.len(), rules)?;
    records::verify_crc(&bytes).map_err(BatchRefusal::Corrupt)?;
    check_origin(&header, rules)?;
    let seen = check_records(
        records::outlines(&bytes, rules.decompressed_bytes_max).map_err(BatchRefusal::Records)?,
        rules,
    )?;
    let prepared = transform(header, bytes, seen, rules)?;
    let size = prepared.bytes.len();
    if size as i64 > i64::from(rules.config.max_message_bytes) {
        return Err(BatchRefusal::TooLarge {
            bytes: size,
            bytes_max: rules.config.max_message_bytes.max(0) as usize,
        });
    }
    if size as i64 > rules.config.segment_bytes {
        return Err(BatchRefusal::LargerThanSegment {
            bytes: size,
            segment_bytes: rules.config.segment_bytes,
        });
    }
    Ok(prepared)
}

/// Steps 10 and 11.
fn check_header(
    header: &BatchHeader,
    bytes: usize,
    rules: &BatchRules<'_>,
) -> Result<(), BatchRefusal> {
    if header.base_offset != 0 {
        return Err(BatchRefusal::BaseOffset {
            base_offset: header.base_offset,
        });
    }
    if bytes as i64 > i64::from(rules.config.max_message_bytes) && !rules.internal {
        return Err(BatchRefusal::TooLarge {
            bytes,
            bytes_max: rules.config.max_message_bytes.max(0) as usize,
        });
    }
    Ok(())
}

/// Steps 13, 14 and 17.
fn check_origin(header: &BatchHeader, rules: &BatchRules<'_>) -> Result<(), BatchRefusal> {
    let spanned = i64::from(header.last_offset_delta) + 1;
    if header.records_count <= 0 || spanned != i64::from(header.records_count) {
        return Err(BatchRefusal::Count {
            counted: header.records_count,
            spanned,
        });
    }
    if header.compression().is_err() {
        return Err(BatchRefusal::Corrupt(BatchError::UnknownCompression(
            (header.attributes & ATTRIBUTE_COMPRESSION_MASK) as u8,
        )));
    }
    if rules.internal {
        return Ok(());
    }
    if header.is_control() {
        return Err(BatchRefusal::Control);
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(BatchRefusal::NegativeSequence {
            base_sequence: header.base_sequence,
        });
    }
    if header.is_transactional() {
        return Err(BatchRefusal::Transactional);
    }
    if header.is_log_append_time() {
        return Err(BatchRefusal::ClaimsAppendTime);
    }
    Ok(())
}

/// What a walk over the records found.
#[derive(Clone, Copy)]
struct RecordsSeen {
    max_timestamp: i64,
    decompressed_bytes: usize,
}

/// Steps 13, 15 and 16 for each record.
fn check_records(
    mut records: RecordOutlines<'_>,
    rules: &BatchRules<'_>,
) -> Result<RecordsSeen, BatchRefusal> {
    let header = *records.header();
    let config = rules.config;
    let create_time = config.timestamp_type == TimestampType::CreateTime && !rules.internal;
    let earliest = rules.now_ms.saturating_sub(config.timestamp_before_max_ms);
    let latest = rules.now_ms.saturating_add(config.timestamp_after_max_ms);
    let mut max_timestamp = NO_TIMESTAMP;
    let mut faults: Vec<RecordFault> = Vec::new();
    let mut total = 0;
    for (index, outline) in (0..).zip(records.by_ref()) {
        let outline = outline.map_err(BatchRefusal::Records)?;
        let timestamp = header
            .base_timestamp
            .saturating_add(outline.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        let kind = if outline.offset_delta != index {
            Some(RecordFaultKind::OffsetDelta {
                found: outline.offset_delta,
            })
        } else if config.cleanup.compact && outline.key_bytes.is_none() {
            Some(RecordFaultKind::NoKey)
        } else if create_time
            && timestamp != NO_TIMESTAMP
            && !(earliest..=latest).contains(&timestamp)
        {
            Some(RecordFaultKind::Timestamp {
                timestamp_ms: timestamp,
                earliest_ms: earliest,
                latest_ms: latest,
            })
        } else {
            None
        };
        if let Some(kind) = kind {
            total += 1;
            if faults.len() < RECORD_ERRORS_MAX {
                faults.push(RecordFault { index, kind });
            }
        }
    }
    if faults.is_empty() {
        Ok(RecordsSeen {
            max_timestamp,
            decompressed_bytes: records.decompressed_bytes(),
        })
    } else {
        Err(BatchRefusal::Faults { faults, total })
    }
}

/// Recompresses, stamps, or corrects the largest time stamp; hands the bytes on when there is nothing to do.
fn transform(
    mut header: BatchHeader,
    bytes: Bytes,
    seen: RecordsSeen,
    rules: &BatchRules<'_>,
) -> Result<PreparedBatch, BatchRefusal> {
    let source = header.compression().map_err(BatchRefusal::Records)?;
    let target = target_compression(rules.config.compression);
    let recompress = target.filter(|(codec, _)| *codec != source && !rules.internal);
    let stamp =
        rules.config.timestamp_type == TimestampType::LogAppendTime && !header.is_log_append_time();
    if stamp {
        header.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
        header.max_timestamp = rules.now_ms;
    } else if header.max_timestamp != seen.max_timestamp {
        header.max_timestamp = seen.max_timestamp; // A wrong one would mislead every look-up by time.
    } else if recompress.is_none() {
        return Ok(PreparedBatch::of(&header, bytes, false));
    }
    let mut rebuilt;
    match recompress {
        None => {
            rebuilt = Vec::from(bytes);
        }
        Some((codec, level)) => {
            header.attributes = (header.attributes & !ATTRIBUTE_COMPRESSION_MASK) | codec as i16;
            rebuilt = vec![0; HEADER_BYTES];
            let unpacked = seen.decompressed_bytes;
            Decompressor::new(source, &bytes[HEADER_BYTES..], unpacked)
                .and_then(|mut records| {
                    compression::recompress(&mut records, unpacked, codec, level, &mut rebuilt)
                })
                .map_err(|error| BatchRefusal::Records(BatchError::Compression(error)))?;
        }
    }
    let length = rebuilt.len() - LOG_OVERHEAD_BYTES;
    header.batch_length =
        i32::try_from(length).map_err(|_| BatchRefusal::Records(BatchError::TooLong(length)))?;
    rebuilt[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    header.crc = records::recompute_crc(&mut rebuilt);
    Ok(PreparedBatch::of(&header, Bytes::from(rebuilt), true))
}

fn target_compression(configured: TopicCompression) -> Option<(Compression, Option<i32>)> {
    match configured {
        TopicCompression::Producer => None,
        TopicCompression::Uncompressed => Some((Compression::None, None)),
        TopicCompression::Gzip(level) => Some((Compression::Gzip, Some(level))),
        TopicCompression::Snappy => Some((Compression::Snappy, None)),
        TopicCompression::Lz4(level) => Some((Compression::Lz4, Some(level))),
        TopicCompression::Zstd(level) => Some((Compression::Zstd, Some(level))),
    }
}

impl PreparedBatch {
    fn of(header: &BatchHeader, bytes: Bytes, rebuilt: bool) -> Self {
        PreparedBatch {
            bytes,
            body_crc: header.crc,
            attributes: header.attributes,
            last_offset_delta: header.last_offset_delta,
            max_timestamp: header.max_timestamp,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            records: header.records_count,
            rebuilt,
        }
    }
}

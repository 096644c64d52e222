//! Building a batch record by record, for coordinators' and controllers' own records, for recompression, and for clients.
//! Reading is in `iteration`.

use super::header::add_sequence;
use super::*;
use crate::compression;
use crate::control_records::{ControlRecord, ControlRecordError};
use bytes::Bytes;

/// A header's key and value.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// A batch under construction.
///
/// Offsets count up from the base offset, unless [`BatchBuilder::push_at`] says otherwise.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    level: Option<i32>,
    log_append_time_ms: Option<i64>,
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose first record has offset `base_offset`: 0 in what a producer sends.
    pub fn new(base_offset: i64) -> Self {
        BatchBuilder {
            header: BatchHeader {
                base_offset,
                batch_length: 0,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                magic: MAGIC,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            compression: Compression::None,
            level: None,
            log_append_time_ms: None,
            body: Vec::new(),
        }
    }

    /// An empty batch that keeps `header`'s offsets, epochs, producer and attributes: for rewriting a batch's records,
    /// whose deltas then go through [`BatchBuilder::push_at`].
    pub fn like(header: &BatchHeader) -> Self {
        let mut builder = BatchBuilder::new(header.base_offset);
        builder.header = BatchHeader {
            batch_length: 0,
            crc: 0,
            records_count: 0,
            ..*header
        };
        builder.header.attributes &= !ATTRIBUTE_COMPRESSION_MASK;
        // The rows pushed say it anew, unless the log stamped the batch.
        if !header.is_log_append_time() {
            builder.header.max_timestamp = NO_TIMESTAMP;
        }
        builder.log_append_time_ms = header.is_log_append_time().then_some(header.max_timestamp);
        builder
    }

    /// Compresses the records; `level` as `compression.gzip.level` and `compression.zstd.level` have it, `None` for the
    /// default. Snappy and LZ4 know no level here.
    pub fn compression(mut self, compression: Compression, level: Option<i32>) -> Self {
        self.compression = compression;
        self.level = level;
        self
    }

    /// Names the idempotent producer.
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// The leader's epoch.
    pub fn partition_leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// Makes the batch part of a transaction.
    pub fn transactional(mut self) -> Self {
        self.header.attributes |= ATTRIBUTE_TRANSACTIONAL;
        self
    }

    /// Makes the batch one of control records.
    pub fn control(mut self) -> Self {
        self.header.attributes |= ATTRIBUTE_CONTROL;
        self
    }

    /// Stamps the whole batch with the log's time.
    pub fn log_append_time(mut self, timestamp_ms: i64) -> Self {
        self.header.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
        self.log_append_time_ms = Some(timestamp_ms);
        self
    }

    /// Records so far.
    pub fn count(&self) -> i32 {
        self.header.records_count
    }

    /// Bytes so far, header included, before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// Bytes that [`BatchBuilder::push`] would add, at most.
    pub fn record_size_bytes_max(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> usize {
        let length = |bytes: Option<&[u8]>| 5 + bytes.map_or(0, <[u8]>::len);
        let headers: usize = headers
            .iter()
            .map(|(key, value)| 5 + key.len() + length(*value))
            .sum();
        // Length, attributes, timestamp delta, offset delta, number of headers.
        5 + 1 + 10 + 5 + 5 + length(key) + length(value) + headers
    }

    /// Appends a record at the next offset. `timestamp_ms` is milliseconds since 1970.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        let offset_delta = if self.header.records_count == 0 {
            0
        } else {
            self.header.last_offset_delta + 1
        };
        self.push_at(offset_delta, timestamp_ms, key, value, headers);
    }

    /// Appends a record at `base_offset + offset_delta`, which is greater than those before it.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        if self.header.records_count == 0 && self.header.delete_horizon_ms().is_none() {
            self.header.base_timestamp = timestamp_ms;
        }
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp_ms);
        self.header.last_offset_delta = self.header.last_offset_delta.max(offset_delta);
        self.header.records_count += 1;
        let timestamp_delta = timestamp_ms.wrapping_sub(self.header.base_timestamp);
        // The length comes first and is a varint: measure, then write.
        let header_bytes: usize = headers
            .iter()
            .map(|(key, value)| sized_bytes(Some(key)) + sized_bytes(*value))
            .sum();
        let length = 1
            + varlong_bytes(timestamp_delta)
            + varlong_bytes(offset_delta.into())
            + sized_bytes(key)
            + sized_bytes(value)
            + varlong_bytes(headers.len() as i64)
            + header_bytes;
        self.body.reserve(length + 5);
        put_varlong(&mut self.body, length as i64);
        self.body.push(0);
        put_varlong(&mut self.body, timestamp_delta);
        put_varlong(&mut self.body, offset_delta.into());
        put_sized(&mut self.body, key);
        put_sized(&mut self.body, value);
        put_varlong(&mut self.body, headers.len() as i64);
        for (key, value) in headers {
            put_sized(&mut self.body, Some(key));
            put_sized(&mut self.body, *value);
        }
    }

    /// Appends a control record at the next offset.
    ///
    /// # Errors
    /// When the record's own value cannot be encoded.
    pub fn push_control(
        &mut self,
        timestamp_ms: i64,
        record: &ControlRecord,
    ) -> Result<(), ControlRecordError> {
        let (key, value) = record.encode()?;
        self.push(timestamp_ms, Some(&key), Some(&value), &[]);
        Ok(())
    }

    /// The last sequence, as the header will imply it.
    pub fn last_sequence(&self) -> i32 {
        match self.header.base_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            base => add_sequence(base, self.header.last_offset_delta),
        }
    }

    /// The batch: header, records, CRC.
    ///
    /// # Errors
    /// [`BatchError::TooLong`] from 2 GiB on, [`BatchError::Compression`] when the compressor fails.
    pub fn build(self) -> Result<Bytes, BatchError> {
        let mut header = self.header;
        header.attributes |= self.compression as i16;
        header.last_offset_delta = header.last_offset_delta.max(0);
        if let Some(timestamp_ms) = self.log_append_time_ms {
            header.max_timestamp = timestamp_ms;
        }
        let mut batch = Vec::with_capacity(HEADER_BYTES + self.body.len());
        batch.extend_from_slice(&header.to_bytes());
        match self.compression {
            Compression::None => batch.extend_from_slice(&self.body),
            compression => compression::compress(compression, self.level, &self.body, &mut batch)?,
        }
        let length = batch.len() - LOG_OVERHEAD_BYTES;
        let length = i32::try_from(length).map_err(|_| BatchError::TooLong(length))?;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        recompute_crc(&mut batch);
        Ok(Bytes::from(batch))
    }
}

fn zig_zag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn varlong_bytes(value: i64) -> usize {
    (70 - zig_zag(value).leading_zeros() as usize) / 7 + usize::from(value == 0)
}

fn put_varlong(body: &mut Vec<u8>, value: i64) {
    let mut value = zig_zag(value);
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

fn sized_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_bytes(bytes.len() as i64) + bytes.len())
}

fn put_sized(body: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(body, -1),
        Some(bytes) => {
            put_varlong(body, bytes.len() as i64);
            body.extend_from_slice(bytes);
        }
    }
}

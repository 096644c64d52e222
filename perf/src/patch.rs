//! What differs between two sendings of one batch: its timestamp, the producer's id, epoch and sequence in the header, and a time
//! at the start of the first value. Only the batch's first bytes change; the checksum follows without reading the rest again.

use crate::batch::{PreparedBatch, STAMP_BYTES};
use odradek_protocol::records::{CRC_START, HEADER_BYTES};

const CRC_AT: usize = CRC_START - 4;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

/// Who sends a batch, and its place in the order of a partition's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// From InitProducerId.
    pub producer_id: i64,
    /// From InitProducerId.
    pub producer_epoch: i16,
    /// Sequence of the batch's first record.
    pub base_sequence: i32,
}

/// The batch's first bytes, ready to be written with changes, and what its checksum needs to know of the rest.
#[derive(Debug)]
pub struct HeadPatch {
    head: Vec<u8>,
    /// When the batch was made, milliseconds since 1970.
    made_ms: i64,
    stamp_at: Option<usize>,
    rest_crc: u32,
    shift: Shift,
}

impl HeadPatch {
    /// Of a batch; with `stamped`, up to and with the time in its first value, otherwise the header alone.
    ///
    /// # Panics
    /// When a time is wanted and the batch has no place for it ([`PreparedBatch::stamp_at`]).
    pub fn of(batch: &PreparedBatch, stamped: bool) -> Self {
        let stamp_at = stamped.then(|| batch.stamp_at.expect("a batch with a place for a time"));
        let head_bytes = stamp_at.map_or(HEADER_BYTES, |at| at + STAMP_BYTES);
        let (head, rest) = batch.bytes.split_at(head_bytes);
        let made = head[BASE_TIMESTAMP_AT..].first_chunk();
        HeadPatch {
            head: head.to_vec(),
            made_ms: made.map_or(0, |made| i64::from_be_bytes(*made)),
            stamp_at,
            rest_crc: crc32c::crc32c(rest),
            shift: Shift::by(rest.len()),
        }
    }

    /// Bytes that [`HeadPatch::write`] writes: the batch goes on after them unchanged.
    pub fn head_bytes(&self) -> usize {
        self.head.len()
    }

    /// Appends the batch's first bytes with these changes and the right checksum. The time is nanoseconds of the run's clock, which began
    /// when the batch was made: its records are of that time, as a producer's are, and a value has it big end first.
    pub fn write(&self, producer: Option<ProducerState>, stamp_ns: u64, output: &mut Vec<u8>) {
        let start = output.len();
        output.extend_from_slice(&self.head);
        let head = &mut output[start..];
        let timestamp = self.made_ms.saturating_add((stamp_ns / 1_000_000) as i64);
        let timestamp = timestamp.to_be_bytes();
        head[BASE_TIMESTAMP_AT..MAX_TIMESTAMP_AT].copy_from_slice(&timestamp);
        head[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&timestamp);
        if let Some(producer) = producer {
            let id = producer.producer_id.to_be_bytes();
            head[PRODUCER_ID_AT..PRODUCER_EPOCH_AT].copy_from_slice(&id);
            let epoch = producer.producer_epoch.to_be_bytes();
            head[PRODUCER_EPOCH_AT..BASE_SEQUENCE_AT].copy_from_slice(&epoch);
            let sequence = producer.base_sequence.to_be_bytes();
            head[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&sequence);
        }
        if let Some(at) = self.stamp_at {
            head[at..at + STAMP_BYTES].copy_from_slice(&stamp_ns.to_be_bytes());
        }
        let crc = self.shift.apply(crc32c::crc32c(&head[CRC_START..])) ^ self.rest_crc;
        head[CRC_AT..CRC_START].copy_from_slice(&crc.to_be_bytes());
    }
}

/// What a CRC32C becomes when a fixed number of zero bytes follow. It is linear, so four look-ups do.
#[derive(Debug)]
struct Shift(Box<[[u32; 256]; 4]>);

impl Shift {
    fn by(bytes: usize) -> Self {
        let mut tables = Box::new([[0_u32; 256]; 4]);
        for (place, table) in tables.iter_mut().enumerate() {
            for bit in 0..8 {
                let shifted = crc32c::crc32c_combine(1 << (8 * place + bit), 0, bytes);
                let with_bit = 1 << bit;
                for value in 0..with_bit {
                    table[with_bit + value] = table[value] ^ shifted;
                }
            }
        }
        Shift(tables)
    }

    fn apply(&self, crc: u32) -> u32 {
        let [a, b, c, d] = crc.to_le_bytes();
        let tables = &self.0;
        tables[0][a as usize]
            ^ tables[1][b as usize]
            ^ tables[2][c as usize]
            ^ tables[3][d as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{self, BatchShape};
    use odradek_protocol::records::{BatchHeader, Compression, verify_crc};

    fn patched(
        batch: &PreparedBatch,
        stamped: bool,
        producer: Option<ProducerState>,
        stamp_ns: u64,
    ) -> Vec<u8> {
        let patch = HeadPatch::of(batch, stamped);
        let mut bytes = Vec::new();
        patch.write(producer, stamp_ns, &mut bytes);
        assert_eq!(bytes.len(), patch.head_bytes());
        bytes.extend_from_slice(&batch.bytes[patch.head_bytes()..]);
        bytes
    }

    #[test]
    fn a_patched_batch_has_its_producer_its_time_and_the_right_checksum() {
        let producer = ProducerState {
            producer_id: 4_711,
            producer_epoch: 3,
            base_sequence: i32::MAX,
        };
        for compression in Compression::ALL {
            for batch_bytes in [batch::BATCH_BYTES_MIN, 1024, 16_384, 100_001] {
                let shape = BatchShape {
                    compression,
                    ..BatchShape::of(batch_bytes)
                };
                let prepared = &batch::build_all(&shape, 1).unwrap()[0];
                let bytes = patched(prepared, false, Some(producer), 7_999_999);
                verify_crc(&bytes).unwrap();
                let header = BatchHeader::parse(&bytes).unwrap();
                assert_eq!((header.base_timestamp, header.max_timestamp), (8, 8));
                assert_eq!(header.producer_id, 4_711);
                assert_eq!(header.producer_epoch, 3);
                assert_eq!(header.base_sequence, i32::MAX);
                assert_eq!(header.records_count as usize, prepared.records);
                assert_eq!(patched(prepared, false, None, 999_999), prepared.bytes);
            }
        }
    }

    #[test]
    fn a_time_stands_at_the_start_of_the_first_value() {
        for keys in [0, 3] {
            let shape = BatchShape {
                keys,
                ..BatchShape::of(4096)
            };
            let prepared = &batch::build_all(&shape, 1).unwrap()[0];
            let bytes = bytes::Bytes::from(patched(prepared, true, None, 0x0102_0304_0506_0708));
            verify_crc(&bytes).unwrap();
            let records = odradek_protocol::records::records(&bytes, 1 << 20).unwrap();
            let first = records.views().next().unwrap().unwrap();
            assert_eq!(first.value.unwrap()[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        }
    }
}

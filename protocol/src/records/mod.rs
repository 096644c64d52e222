//! Record batches, format v2 (magic 2, KIP-98): header, CRC, records, and building them. Payloads are slices of the bytes
//! received. Compression itself is in `compression`; what control records mean is in `control_records`.
//!
//! ```text
//!  0 base offset i64            21 attributes i16 (CRC starts here)   43 producer id i64
//!  8 batch length i32           23 last offset delta i32              51 producer epoch i16
//! 12 partition leader epoch i32 27 base timestamp i64                 53 base sequence i32
//! 16 magic i8                   35 max timestamp i64                  57 records count i32
//! 17 CRC-32C u32                                                      61 records
//! ```

mod builder;
mod header;
mod iteration;
mod outlines;

pub use builder::{BatchBuilder, HeaderRef};
pub use header::{
    BatchHeader, Batches, recompute_crc, set_base_offset, set_log_append_time, set_max_timestamp,
    set_partition_leader_epoch, verify_crc,
};
pub use iteration::{Record, RecordHeader, RecordView, RecordViews, Records, records};
pub use outlines::{RecordOutline, RecordOutlines, outlines, outlines_by};

use crate::compression::CompressionError;
use std::fmt;

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 61;
/// Bytes of a batch before the part that its length counts.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the CRC's range starts: base offset and leader epoch can be patched without touching it.
pub const CRC_START: usize = 21;
/// The format's magic number.
pub const MAGIC: i8 = 2;

/// Attribute bits 0-2: the compression's code.
pub const ATTRIBUTE_COMPRESSION_MASK: i16 = 0x07;
/// Attribute bit 3: timestamps are the log's append time.
pub const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
/// Attribute bit 4: the batch belongs to a transaction.
pub const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
/// Attribute bit 5: the batch holds control records.
pub const ATTRIBUTE_CONTROL: i16 = 0x20;
/// Attribute bit 6: the base timestamp is the time when tombstones may go (KIP-534).
pub const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;

/// No producer id.
pub const NO_PRODUCER_ID: i64 = -1;
/// No producer epoch.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// No sequence.
pub const NO_SEQUENCE: i32 = -1;
/// No leader epoch.
pub const NO_PARTITION_LEADER_EPOCH: i32 = -1;
/// No timestamp.
pub const NO_TIMESTAMP: i64 = -1;

/// How a batch's records are compressed; the number is the code in the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in xerial's framing, or one raw block.
    Snappy = 2,
    /// LZ4 frame.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

impl Compression {
    /// Every compression.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The compression with this code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Kafka's name, as `compression.type` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

/// Bytes that are not the batch they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes end before the batch does.
    Truncated {
        /// Bytes the batch needs.
        needed: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The batch length is less than a header takes.
    BadLength(i32),
    /// Not magic 2: the older formats, or none at all.
    UnsupportedMagic(i8),
    /// The CRC in the header is not that of the bytes.
    BadCrc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The code in the attributes is none of ours.
    UnknownCompression(u8),
    /// The records do not decompress.
    Compression(CompressionError),
    /// The count is negative, or the records are more or fewer than it.
    BadCount {
        /// In the header.
        stored: i32,
        /// Found, as far as was read.
        found: i32,
    },
    /// A record's bytes are not a record.
    BadRecord {
        /// Which, from 0.
        index: i32,
        /// What is wrong with it.
        problem: RecordProblem,
    },
    /// What is to be built is longer than a batch can say.
    TooLong(usize),
}

/// See [`BatchError::BadRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordProblem {
    /// A field reaches past the record's or the batch's end.
    Truncated,
    /// A varint is too long.
    BadVarint,
    /// A length or count below what is allowed.
    NegativeLength,
    /// The record's length is more than its fields take.
    LengthMismatch,
    /// Offset or timestamp leaves 64 bits.
    Overflow,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Truncated { needed, have } => {
                write!(f, "batch of {needed} bytes, of which {have} are there")
            }
            BatchError::BadLength(length) => {
                write!(f, "batch length {length} is less than a batch header")
            }
            BatchError::UnsupportedMagic(magic) => {
                write!(f, "record format {magic}; only format 2 is stored")
            }
            BatchError::BadCrc { stored, computed } => {
                write!(
                    f,
                    "batch checksum {stored:08x} in the header, {computed:08x} over the bytes"
                )
            }
            BatchError::UnknownCompression(code) => write!(f, "unknown compression {code}"),
            BatchError::Compression(error) => write!(f, "records do not decompress: {error}"),
            BatchError::BadCount { stored, found } => {
                write!(
                    f,
                    "batch header counts {stored} records, the batch holds {found} or more or fewer"
                )
            }
            BatchError::BadRecord { index, problem } => {
                let problem = match problem {
                    RecordProblem::Truncated => "a field reaches past the end",
                    RecordProblem::BadVarint => "a varint is too long",
                    RecordProblem::NegativeLength => "a length is negative",
                    RecordProblem::LengthMismatch => "its length is not that of its fields",
                    RecordProblem::Overflow => "its offset or timestamp leaves 64 bits",
                };
                write!(f, "record {index} of the batch: {problem}")
            }
            BatchError::TooLong(length) => {
                write!(f, "{length} bytes are more than a batch can hold")
            }
        }
    }
}

impl std::error::Error for BatchError {}

impl From<CompressionError> for BatchError {
    fn from(error: CompressionError) -> Self {
        BatchError::Compression(error)
    }
}

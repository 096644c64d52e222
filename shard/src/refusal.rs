//! Why a batch is not appended, and the wire code and the words for it. The checks are in `validate` and
//! `producers`.

use std::fmt;

use odradek_protocol::ErrorCode;
use odradek_protocol::records::BatchError;

use crate::command::RecordError;
use crate::producers::{ProducerBatch, SequenceVerdict};

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Position in the batch.
    pub index: i32,
    /// What.
    pub kind: RecordFaultKind,
}

/// See [`RecordFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFaultKind {
    /// Its offset delta is not its position.
    OffsetDelta {
        /// What it is.
        found: i32,
    },
    /// A compacted topic needs keys.
    NoKey,
    /// Its time stamp is outside the topic's limits.
    Timestamp {
        /// Its time stamp.
        timestamp_ms: i64,
        /// The earliest allowed.
        earliest_ms: i64,
        /// The latest allowed.
        latest_ms: i64,
    },
}

impl fmt::Display for RecordFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFaultKind::OffsetDelta { found } => write!(
                f,
                "its offset delta is {found}, not its position in the batch"
            ),
            RecordFaultKind::NoKey => write!(f, "compacted topics take no record without a key"),
            RecordFaultKind::Timestamp {
                timestamp_ms,
                earliest_ms,
                latest_ms,
            } => {
                write!(
                    f,
                    "time stamp {timestamp_ms} is outside the topic's limits, {earliest_ms} to {latest_ms}"
                )
            }
        }
    }
}

/// Why a batch is not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchRefusal {
    /// Not exactly one batch.
    NotOneBatch {
        /// None, or more than one.
        batches: usize,
    },
    /// Format 0 or 1.
    OldFormat(i8),
    /// zstd in a Produce below v7.
    ZstdTooOld,
    /// The batch is damaged: length, magic or CRC.
    Corrupt(BatchError),
    /// acks is none of -1, 0 and 1.
    RequiredAcks {
        /// What it is.
        acks: i16,
    },
    /// The partition is not led here.
    NotLeader,
    /// Fewer replicas in sync than acks=-1 needs; nothing was written.
    NotEnoughReplicas {
        /// How many are in sync.
        in_sync: u16,
    },
    /// A producer's base offset is always 0.
    BaseOffset {
        /// What it is.
        base_offset: i64,
    },
    /// Larger than max.message.bytes, or than the log can hold.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Larger than segment.bytes.
    LargerThanSegment {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        segment_bytes: i64,
    },
    /// The count is not what the offsets span, or there is no record.
    Count {
        /// The header's count.
        counted: i32,
        /// What its offsets span.
        spanned: i64,
    },
    /// Clients write no control batches.
    Control,
    /// A producer id needs a sequence and an epoch.
    NegativeSequence {
        /// The sequence.
        base_sequence: i32,
    },
    /// A transactional batch outside of a transaction.
    Transactional,
    /// The batch says that the broker stamped it.
    ClaimsAppendTime,
    /// The records cannot be read, or unpack to more than is allowed.
    Records(BatchError),
    /// Some records are not as they must be.
    Faults {
        /// The first of them.
        faults: Vec<RecordFault>,
        /// How many there are.
        total: usize,
    },
    /// The producer's epoch is old.
    StaleEpoch {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The last epoch seen.
        seen: i16,
    },
    /// The sequence has a gap.
    OutOfOrder {
        /// The producer.
        producer_id: i64,
        /// The sequence that came.
        base_sequence: i32,
        /// The last one seen, -1 when a new epoch did not start at 0.
        last_sequence: i32,
    },
    /// The log takes nothing: out of space, stuck or offline.
    Storage {
        /// The log's reason.
        reason: String,
    },
}

impl BatchRefusal {
    /// A header that cannot be parsed.
    pub(crate) fn of_header(error: BatchError) -> Self {
        match error {
            BatchError::UnsupportedMagic(magic) => BatchRefusal::OldFormat(magic),
            other => BatchRefusal::Corrupt(other),
        }
    }

    /// What the sequence rules say; only of verdicts that refuse.
    pub(crate) fn sequence(batch: &ProducerBatch, verdict: SequenceVerdict) -> Self {
        let producer_id = batch.producer_id;
        match verdict {
            SequenceVerdict::StaleEpoch { seen } => BatchRefusal::StaleEpoch {
                producer_id,
                epoch: batch.producer_epoch,
                seen,
            },
            SequenceVerdict::OutOfOrder { last_sequence } => BatchRefusal::OutOfOrder {
                producer_id,
                base_sequence: batch.base_sequence,
                last_sequence,
            },
            SequenceVerdict::Next | SequenceVerdict::Duplicate { .. } => {
                unreachable!("not a refusal")
            }
        }
    }

    /// Whether the bytes as such are refused, before anything else is asked (Kafka's step 4).
    pub fn is_of_shape(&self) -> bool {
        matches!(
            self,
            BatchRefusal::NotOneBatch { .. }
                | BatchRefusal::OldFormat(_)
                | BatchRefusal::ZstdTooOld
        )
    }

    /// The code on the wire.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            BatchRefusal::NotOneBatch { .. }
            | BatchRefusal::OldFormat(_)
            | BatchRefusal::BaseOffset { .. }
            | BatchRefusal::Count { .. }
            | BatchRefusal::Control
            | BatchRefusal::NegativeSequence { .. }
            | BatchRefusal::Records(_) => ErrorCode::InvalidRecord,
            BatchRefusal::ZstdTooOld => ErrorCode::UnsupportedCompressionType,
            BatchRefusal::Corrupt(_) => ErrorCode::CorruptMessage,
            BatchRefusal::RequiredAcks { .. } => ErrorCode::InvalidRequiredAcks,
            BatchRefusal::NotLeader => ErrorCode::NotLeaderOrFollower,
            BatchRefusal::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            BatchRefusal::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchRefusal::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            BatchRefusal::Transactional => ErrorCode::InvalidTxnState,
            BatchRefusal::ClaimsAppendTime => ErrorCode::InvalidTimestamp,
            BatchRefusal::Faults { faults, .. } => {
                let stamps = faults
                    .iter()
                    .any(|fault| matches!(fault.kind, RecordFaultKind::Timestamp { .. }));
                if stamps {
                    ErrorCode::InvalidTimestamp
                } else {
                    ErrorCode::InvalidRecord
                }
            }
            BatchRefusal::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            BatchRefusal::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            BatchRefusal::Storage { .. } => ErrorCode::KafkaStorageError,
        }
    }

    /// Whether the answer names where the log starts: Kafka does so for all that its log's checks refuse, and not for what
    /// is refused earlier or as one of the usual errors of a replica.
    pub(crate) fn tells_log_start(&self) -> bool {
        !self.is_of_shape()
            && !matches!(
                self,
                BatchRefusal::Corrupt(_)
                    | BatchRefusal::NotLeader
                    | BatchRefusal::TooLarge { .. }
                    | BatchRefusal::LargerThanSegment { .. }
                    | BatchRefusal::RequiredAcks { .. }
                    | BatchRefusal::Storage { .. }
            )
    }

    /// The records at fault, as the response lists them.
    pub fn into_record_errors(self) -> Vec<RecordError> {
        match self {
            BatchRefusal::Faults { faults, .. } => faults
                .into_iter()
                .map(|fault| RecordError {
                    batch_index: fault.index,
                    message: fault.kind.to_string(),
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl BatchRefusal {
    /// The words of refusals that say nothing of the batch.
    fn fixed_text(&self) -> &'static str {
        match self {
            BatchRefusal::ZstdTooOld => "zstd needs Produce version 7 or later",
            BatchRefusal::NotLeader => "this broker does not lead the partition",
            BatchRefusal::Control => "clients may not write control records",
            BatchRefusal::Transactional => "no transaction is open for the producer",
            BatchRefusal::ClaimsAppendTime => {
                "a producer may not set the time stamp type to LogAppendTime"
            }
            _ => "refused",
        }
    }
}

impl BatchRefusal {
    /// The words of refusals that blame the producer's id, epoch or sequence.
    fn fmt_producer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchRefusal::NegativeSequence { base_sequence } => {
                write!(
                    f,
                    "a producer id needs a sequence and epoch from 0, not {base_sequence}"
                )
            }
            BatchRefusal::StaleEpoch {
                producer_id,
                epoch,
                seen,
            } => {
                write!(
                    f,
                    "epoch {epoch} of producer {producer_id} is older than {seen}"
                )
            }
            BatchRefusal::OutOfOrder {
                producer_id,
                base_sequence,
                last_sequence,
            } => write!(
                f,
                "sequence {base_sequence} of producer {producer_id} does not follow {last_sequence}"
            ),
            _ => f.write_str(self.fixed_text()),
        }
    }
}

impl fmt::Display for BatchRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchRefusal::ZstdTooOld
            | BatchRefusal::NotLeader
            | BatchRefusal::Control
            | BatchRefusal::Transactional
            | BatchRefusal::ClaimsAppendTime => f.write_str(self.fixed_text()),
            BatchRefusal::NotOneBatch { batches } => {
                let what = if *batches == 0 { "none" } else { "more" };
                write!(
                    f,
                    "a produce takes one record batch per partition, here is {what}"
                )
            }
            BatchRefusal::OldFormat(magic) => write!(f, "record format {magic}; send format 2"),
            BatchRefusal::Corrupt(error) => write!(f, "damaged batch: {error}"),
            BatchRefusal::Records(error) => write!(f, "records cannot be read: {error}"),
            BatchRefusal::RequiredAcks { acks } => write!(f, "acks={acks}; -1, 0, 1 are allowed"),
            BatchRefusal::NotEnoughReplicas { in_sync } => {
                write!(
                    f,
                    "{in_sync} replicas in sync are fewer than min.insync.replicas"
                )
            }
            BatchRefusal::BaseOffset { base_offset } => {
                write!(f, "base offset {base_offset} of a produced batch must be 0")
            }
            BatchRefusal::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "batch of {bytes} bytes is larger than the {bytes_max} allowed"
                )
            }
            BatchRefusal::LargerThanSegment {
                bytes,
                segment_bytes,
            } => {
                write!(
                    f,
                    "batch of {bytes} bytes is larger than segment.bytes={segment_bytes}"
                )
            }
            BatchRefusal::Count { counted, spanned } => {
                write!(
                    f,
                    "header counts {counted} records, its offsets span {spanned}"
                )
            }
            BatchRefusal::Faults { total, .. } => {
                write!(
                    f,
                    "{total} records of the batch are refused; none was written"
                )
            }
            BatchRefusal::NegativeSequence { .. }
            | BatchRefusal::StaleEpoch { .. }
            | BatchRefusal::OutOfOrder { .. } => self.fmt_producer(f),
            BatchRefusal::Storage { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for BatchRefusal {}

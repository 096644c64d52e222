//! The nouns of the log: offsets, ids, what a frame is, what a replica's state is, refusals. No behaviour beyond
//! conversions. I/O nouns live in `io.rs`, options in `options.rs`, the log itself in `log.rs`.

use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt;

/// A Kafka offset within one partition replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// A leader epoch; -1 is "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(pub i32);

/// A replica's number within one log. Given out once, never reused: a partition that leaves and returns is another replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

/// Log sequence number: bytes of writes since the log was formatted. A write covers `[start, end)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// A topic's 16-byte id, as Kafka gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// A data directory's 16-byte id (KIP-858).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub [u8; 16]);

/// Milliseconds since 1970, as records carry them; -1 is "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

macro_rules! display_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}
display_as_number!(Offset, LeaderEpoch, ReplicaId, Lsn, Timestamp);

/// The time, read by the shell and handed in: timers use `monotonic_us`, retention and records `wall_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds on a clock that never steps.
    pub monotonic_us: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

/// What identifies a frame: one record batch of one replica. `last_offset - base_offset` fits 31 bits, as in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// The replica it belongs to.
    pub replica: ReplicaId,
    /// First offset of the batch.
    pub base_offset: Offset,
    /// Last offset of the batch, inclusive.
    pub last_offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Largest record timestamp, milliseconds; -1 for none.
    pub max_timestamp: i64,
    /// Producer id, -1 for none.
    pub producer_id: i64,
    /// Producer epoch, -1 for none.
    pub producer_epoch: i16,
    /// First sequence, -1 for none.
    pub base_sequence: i32,
    /// Opaque to the log; the shard keeps the batch's attributes here.
    pub flags: u16,
}

/// A new replica, as the metadata log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateReplica {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in the topic.
    pub partition: i32,
    /// The metadata offset that called for it; strays are judged only by images at or past it.
    pub metadata_offset: i64,
}

/// When a replica's oldest frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetentionPolicy {
    /// Milliseconds past the largest timestamp of what goes at once; -1 for ever (`retention.ms`).
    pub ms: i64,
    /// Bytes kept at least; -1 for no bound (`retention.bytes`).
    pub bytes: i64,
    /// What goes at once spans no more time than this (`segment.ms`).
    pub segment_ms: i64,
    /// And has no more bytes than this, unless one frame has (`segment.bytes`). Frames of a full segment go together.
    pub segment_bytes: i64,
}

impl RetentionPolicy {
    /// Nothing goes by itself.
    pub const KEEP: Self = Self {
        ms: -1,
        bytes: -1,
        segment_ms: i64::MAX,
        segment_bytes: i64::MAX,
    };
}

/// A replica, as its slot says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// The metadata offset of its Create.
    pub metadata_offset: i64,
    /// First offset that may be read.
    pub log_start: Offset,
    /// As last set by `set_high_watermark`; after recovery what the checkpoint held, raised to the log start.
    pub high_watermark: Offset,
    /// As last set by `set_last_stable`.
    pub last_stable: Offset,
    /// Everything below it is on stable storage.
    pub durable_end: Offset,
    /// The next offset.
    pub log_end: Offset,
    /// Epoch of the newest frame, -1 when there never was one.
    pub last_epoch: LeaderEpoch,
    /// Bytes of its live frames on disk, frame headers included.
    pub bytes: u64,
}

/// A stretch of damaged offsets, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedRange {
    /// First damaged offset.
    pub first: Offset,
    /// Last damaged offset.
    pub last: Offset,
}

/// Whole frames' payloads, in offset order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadData {
    /// One slice per frame (a record batch each).
    pub slices: SmallVec<[Bytes; 4]>,
    /// Bytes of all slices.
    pub bytes: usize,
    /// Base offset of the first frame; meaningless when `slices` is empty.
    pub first_offset: Offset,
    /// The offset after the last frame: where to read on.
    pub next_offset: Offset,
}

/// What `read` and the look-ups answer at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// From memory.
    Ready(ReadData),
    /// From disk: `Output::ReadDone` with the same ticket will follow.
    Pending,
    /// Nothing below the bound yet (or nothing that the look-up asks for).
    Empty,
    /// The offset lies before the log start.
    BelowLogStart,
    /// The offset lies past the log end.
    AboveEnd,
    /// The first frame asked for is damaged; nothing else is.
    Damaged {
        /// First damaged offset.
        first: Offset,
        /// Last damaged offset.
        last: Offset,
    },
    /// No such replica.
    UnknownReplica,
    /// As many reads wait as may; try again when one is done.
    Busy,
    /// The directory is offline.
    Offline,
}

/// Why a pending read brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRefusal {
    /// Nothing there that was asked for (a look-up's answer, or all of it was deleted meanwhile).
    Empty,
    /// The log start moved past the offset meanwhile.
    BelowLogStart,
    /// A truncation moved the end below the offset meanwhile.
    AboveEnd,
    /// The first frame asked for is damaged.
    Damaged {
        /// First damaged offset.
        first: Offset,
        /// Last damaged offset.
        last: Offset,
    },
    /// The replica was deleted meanwhile.
    UnknownReplica,
    /// The directory went offline.
    Offline,
}

/// Why an append, or another change, was not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendRefusal {
    /// No such replica.
    UnknownReplica,
    /// The base offset lies below the log end.
    OutOfOrder {
        /// Where the log ends.
        log_end: Offset,
    },
    /// The payload is larger than a frame may be.
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The write buffers are full; `Output::DurableTo` says when to try again.
    Busy,
    /// Out of space, or at 95 % of the directory's limit. Reads and deletes go on.
    NoSpace,
    /// A write is outstanding for more than `slow_write_ms`.
    Stalled,
    /// The directory is offline.
    Offline,
    /// `shut_down` was called.
    ShuttingDown,
    /// The offset does not fit the replica (below its log start, or past its end).
    OutOfRange,
}

impl fmt::Display for AppendRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownReplica => write!(formatter, "no such replica in this log"),
            Self::OutOfOrder { log_end } => write!(
                formatter,
                "the base offset lies below the log end {log_end}"
            ),
            Self::TooLarge { bytes, bytes_max } => {
                write!(
                    formatter,
                    "a batch of {bytes} bytes is larger than the {bytes_max} that a frame may hold"
                )
            }
            Self::Busy => write!(formatter, "the write buffers are full"),
            Self::NoSpace => write!(formatter, "the data directory is out of space"),
            Self::Stalled => write!(formatter, "the disk has not answered a write for seconds"),
            Self::Offline => write!(formatter, "the data directory is offline"),
            Self::ShuttingDown => write!(formatter, "the log is shutting down"),
            Self::OutOfRange => write!(formatter, "the offset lies outside the replica's log"),
        }
    }
}

impl std::error::Error for AppendRefusal {}

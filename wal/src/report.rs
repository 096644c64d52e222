//! What people and the shard are told: the recovery visitor and report, errors of `format` and recovery, statistics.

use crate::cache::CacheLookups;
use crate::io::{FileName, IoFailure};
use crate::types::{DamagedRange, FrameMeta, Lsn, Offset, ReplicaId};
use std::fmt;

/// Told, in log order, what the checkpoint held for the shard and what was replayed after it. First every `cold`, then the rest
/// in the order of the log.
pub trait RecoveryVisitor {
    /// A cold page, as last given to `begin_checkpoint`.
    fn cold(&mut self, replica: ReplicaId, page: &[u8]);
    /// A frame appended after the checkpoint. (Its replica may be deleted further on.)
    fn frame(&mut self, meta: &FrameMeta);
    /// The replica was truncated: frames with offsets at or past `to`, given so far, are void.
    fn truncated(&mut self, replica: ReplicaId, to: Offset);
    /// The replica was deleted.
    fn deleted(&mut self, replica: ReplicaId);
    /// For people who wait: bytes of log replayed so far, and in all at most.
    fn progress(&mut self, _bytes_done: u64, _bytes_total: u64) {}
}

/// A visitor that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreAll;

impl RecoveryVisitor for IgnoreAll {
    fn cold(&mut self, _replica: ReplicaId, _page: &[u8]) {}
    fn frame(&mut self, _meta: &FrameMeta) {}
    fn truncated(&mut self, _replica: ReplicaId, _to: Offset) {}
    fn deleted(&mut self, _replica: ReplicaId) {}
}

/// One stretch of durable bytes that recovery could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Whose; `None` when neither copy of the identity was readable.
    pub replica: Option<ReplicaId>,
    /// The offsets, when the replica is known.
    pub range: DamagedRange,
    /// Where.
    pub file: FileName,
    /// Bytes from the start of the file.
    pub position: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// LSN of the checkpoint that was loaded.
    pub checkpoint: Lsn,
    /// Where the log goes on.
    pub end: Lsn,
    /// Bytes of log after the checkpoint.
    pub bytes_replayed: u64,
    /// Bytes of segments read to find and replay them.
    pub bytes_read: u64,
    /// Frames replayed after the checkpoint.
    pub frames_replayed: u64,
    /// Bytes of the torn, never acknowledged tail that were cut.
    pub bytes_cut: u64,
    /// Durable bytes that are damaged. Their offsets answer `Damaged`.
    pub damage: Vec<Damage>,
    /// The broker epoch last logged by `set_broker_epoch`, -1 for none.
    pub broker_epoch: i64,
    /// The highest metadata offset of any Create; strays are judged only at images at or past it.
    pub metadata_offset_max: i64,
    /// Live replicas.
    pub replicas: u64,
    /// The log was shut down with `shut_down`, and `Output::Closed` was given; nothing was written since.
    pub clean: bool,
}

impl RecoveryReport {
    /// No durable byte is lost: the previous broker epoch may be sent at registration.
    #[must_use]
    pub fn undamaged(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Why a folder could not be formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// It already holds a log.
    Occupied(FileName),
    /// An option is out of its bounds.
    BadOption(&'static str),
    /// The disk failed.
    Io(FileName, IoFailure),
}

impl fmt::Display for FormatError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied(file) => write!(
                formatter,
                "the folder already holds a log ({file}); it was left as it is"
            ),
            Self::BadOption(what) => write!(formatter, "{what}"),
            Self::Io(file, failure) => write!(formatter, "formatting failed at {file}: {failure}"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Why a log could not be opened. Nothing was harmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryError {
    /// No log here.
    NotFormatted,
    /// A file's format is newer than this program.
    NewerFormat {
        /// Which file.
        file: FileName,
        /// Its version.
        version: u16,
        /// What this program reads.
        version_max: u16,
    },
    /// The superblock's format is older than this program reads.
    OlderFormat {
        /// Its version.
        version: u16,
        /// The one that this program reads.
        version_read: u16,
    },
    /// The superblock is not readable.
    BadSuperblock,
    /// The folder belongs to another cluster, node, directory or shard.
    Foreign(String),
    /// Neither root slot, or a checkpoint file that the root names, is readable. The log is not opened, so that nothing is overwritten.
    BadCheckpoint(FileName),
    /// The disk failed.
    Io(FileName, IoFailure),
    /// No segment is free and none can be made for the log to go on in.
    NoSpace,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFormatted => write!(formatter, "the folder holds no log; format it first"),
            Self::NewerFormat {
                file,
                version,
                version_max,
            } => write!(
                formatter,
                "{file} was written by a newer Odradek (format version {version}; this one reads up to {version_max}): start the newer one, or restore older data; nothing was changed"
            ),
            Self::OlderFormat {
                version,
                version_read,
            } => write!(
                formatter,
                "the folder was written by an older Odradek (format version {version}; this one reads {version_read}): start the older one and move the data with clients or replication, or format anew; nothing was changed"
            ),
            Self::BadSuperblock => write!(
                formatter,
                "the superblock is damaged; restore it from a copy, nothing was changed"
            ),
            Self::Foreign(what) => write!(formatter, "{what}"),
            Self::BadCheckpoint(file) => write!(
                formatter,
                "the checkpoint file {file} is damaged or missing; nothing was changed"
            ),
            Self::Io(file, failure) => write!(formatter, "recovery failed at {file}: {failure}"),
            Self::NoSpace => write!(
                formatter,
                "no space is left for the log to go on in; make room on the device"
            ),
        }
    }
}

impl std::error::Error for RecoveryError {}

/// Figures for metrics; all since recovery, unless they are states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Bytes written by group commits, padding included.
    pub bytes_written: u64,
    /// Payload bytes appended.
    pub bytes_appended: u64,
    /// Frames appended.
    pub frames_appended: u64,
    /// Group commits.
    pub writes: u64,
    /// Seal blocks.
    pub seals: u64,
    /// Writes that were tried again in a fresh segment.
    pub writes_retried: u64,
    /// Segments used unwritten because no zeroed one was ready.
    pub segments_unwritten: u64,
    /// Segment files.
    pub segments: u64,
    /// Of these, free for use or being prepared.
    pub segments_free: u64,
    /// Bytes in sealed segments that belong to live extents.
    pub bytes_live: u64,
    /// Bytes in sealed segments that do not.
    pub bytes_dead: u64,
    /// Bytes written by rewriting, footers apart.
    pub bytes_rewritten: u64,
    /// Segments whose frames were moved together by partition and expiry.
    pub segments_clustered: u64,
    /// Sealed segments in which many partitions of several expiry classes lie interleaved, as of the last look.
    pub segments_unclustered: u64,
    /// Live bytes that rewriting is due to move, as of the last look.
    pub rewrite_debt_bytes: u64,
    /// How long that takes at the rate that rewriting has under the present load, in milliseconds.
    pub rewrite_debt_ms: u64,
    /// How long producers are to be throttled because of it, in milliseconds.
    pub produce_throttle_ms: u64,
    /// Bytes verified by the scrub.
    pub bytes_scrubbed: u64,
    /// Frames found damaged.
    pub frames_damaged: u64,
    /// Reads answered from memory.
    pub reads_from_memory: u64,
    /// Reads that waited for the disk.
    pub reads_from_disk: u64,
    /// Pages of older extents that reads had to wait for.
    pub extent_page_reads: u64,
    /// Pages of footers that reads had to wait for, and first keys that were not in memory.
    pub index_page_reads: u64,
    /// Bytes in the tail cache.
    pub tail_cache_bytes: u64,
    /// Look-ups in the tail cache; what it lacks is looked for in the frame cache.
    pub tail_cache_lookups: CacheLookups,
    /// Look-ups in the frame cache.
    pub frame_cache_lookups: CacheLookups,
    /// Look-ups in the index cache.
    pub index_cache_lookups: CacheLookups,
    /// Bytes in the frame cache.
    pub frame_cache_bytes: u64,
    /// Bytes in the index cache.
    pub index_cache_bytes: u64,
    /// Reads waiting.
    pub reads_waiting: u64,
    /// Disk reads outstanding.
    pub reads_outstanding: u64,
    /// Checkpoints made durable.
    pub checkpoints: u64,
    /// Bytes of segment files in use, of those the directory's limit allows this log.
    pub space_used_bytes: u64,
    /// That limit.
    pub space_bytes_max: u64,
    /// Bytes of checkpoint written.
    pub checkpoint_bytes: u64,
    /// Live replicas.
    pub replicas: u64,
    /// Bytes of memory held by slots, epochs included.
    pub slot_bytes: u64,
    /// Extents that segments are held by.
    pub extents: u64,
    /// Bytes of the shard's own pages in memory: those that no checkpoint base has yet.
    pub cold_memory_bytes: u64,
    /// Pages of the index file of older extents.
    pub extent_pages: u64,
    /// Bytes of memory that finding frames takes beside the slots, caches of index pages included.
    pub index_memory_bytes: u64,
    /// Deletions are frozen because of a clock step.
    pub deletions_frozen: bool,
    /// Produce is refused for want of space.
    pub out_of_space: bool,
    /// The directory is offline.
    pub offline: bool,
}

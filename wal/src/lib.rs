//! One shard's log in one data directory: append, group commit, read, index, checkpoint, recovery, retention, rewriting.
//!
//! A synchronous state machine: `Log` takes calls and events with the time in hand and gives outputs, I/O requests among them. It opens
//! no file, reads no clock, spawns no thread, and knows nothing of Kafka's messages. Bytes on disk are drawn in `FORMAT.md`.
//!
//! Long runs, which print seed and trace when they fail: `ODRADEK_WAL_SEEDS=1000 cargo test -p odradek-wal --test crash` crashes at every
//! request, `ODRADEK_WAL_FAULT_SEEDS=1000 cargo test -p odradek-wal --test faults` lets the disk fail.

mod accounts;
mod append;
pub mod buffer;
mod cache;
mod chain;
mod checkpoint;
mod checkpoint_encoder;
mod checkpoint_file;
mod checksum;
mod closing;
mod cold;
mod control;
mod edit;
mod extent_list;
mod fetch;
mod footer;
mod gather;
#[cfg(test)]
mod golden;
mod index_file;
pub mod io;
mod layers;
mod layout;
pub mod log;
mod lookup;
mod marks;
mod open_index;
pub mod options;
mod plan;
mod prepare;
mod read;
mod recovery;
mod region;
mod region_reads;
mod replay;
mod replicas;
pub mod report;
mod reserve;
mod retention;
mod rewrite;
mod rewrite_choice;
mod rewrite_source;
mod rewrite_target;
mod salvage;
mod scrub;
mod sealing;
mod segments;
#[cfg(feature = "simulation")]
pub mod simulation;
mod slot;
mod slot_extents;
mod survey;
pub mod types;
mod virtual_segments;

pub use cache::CacheLookups;
pub use io::{
    BLOCK_BYTES, Disk, Event, FileName, Io, IoClass, IoFailure, IoFailureKind, IoId, IoResult,
    OfflineReason, Output,
};
pub use log::Log;
pub use options::{LogOptions, segment_bytes_for};
pub use plan::{
    FrameVerdict, PLAN_REPLICAS_MAX, PlanFrame, PlanId, PlanOutcome, PlanRefusal, RewritePlan,
};
pub use report::{
    Damage, FormatError, IgnoreAll, LogStatistics, RecoveryError, RecoveryReport, RecoveryVisitor,
};
pub use types::{
    AppendRefusal, CreateReplica, DamagedRange, DirectoryId, FrameMeta, LeaderEpoch, Lsn, Now,
    Offset, ReadAnswer, ReadData, ReadRefusal, ReplicaId, ReplicaState, RetentionPolicy, Timestamp,
    TopicId,
};

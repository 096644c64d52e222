//! What a shard wants people and metrics to know. The node logs each once and counts it.

use std::sync::Arc;

use odradek_protocol::{ErrorCode, Uuid};
use odradek_wal::DirectoryId;

use crate::command::PartitionKey;

/// Something worth a log line; `Display` is that line.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// `cleanup.policy=compact` is set, and nothing is compacted yet. Once per topic.
    CompactionNotDone {
        /// The topic's name.
        topic: Arc<str>,
    },
    /// Replicas in the log that the metadata does not know, more than may be deleted unasked.
    StraysHeld {
        /// How many are stray.
        strays: usize,
        /// How many replicas there are in all.
        replicas: usize,
    },
    /// The clock is doubted: retention deletes nothing. Once until it is trusted, however many directories there are.
    DeletionsFrozen {
        /// What is wrong with the clock.
        why: String,
    },
    /// A stray replica rests, and is deleted later.
    StrayFound {
        /// The partition.
        key: PartitionKey,
        /// When it is deleted, in milliseconds from now.
        rest_ms: u64,
    },
    /// A stray replica was deleted.
    StrayDeleted {
        /// The partition.
        key: PartitionKey,
    },
    /// Records are damaged on disk; reads of the range are answered with CORRUPT_MESSAGE.
    Damaged {
        /// The partition, when the log still knows it.
        key: Option<PartitionKey>,
        /// The topic's name, when known.
        topic: Option<Arc<str>>,
        /// First damaged offset.
        first: i64,
        /// Last damaged offset.
        last: i64,
        /// File and position, as the log names them.
        place: String,
    },
    /// The partition remembers no more producers: the one unseen the longest was forgotten.
    ProducersForgotten {
        /// The partition.
        key: PartitionKey,
        /// How many.
        count: usize,
    },
    /// Producer state stored in the checkpoint could not be read; it is rebuilt from what follows.
    ProducerStateUnreadable {
        /// The replica's number in its directory.
        replica: u64,
        /// Why.
        reason: String,
    },
    /// A directory no longer takes writes.
    DirectoryOffline {
        /// The directory.
        directory: DirectoryId,
        /// Why.
        reason: String,
    },
    /// A partition of `__consumer_offsets` could not be read: its groups are refused.
    CoordinatorNotLoaded {
        /// The partition.
        partition: i32,
        /// Why.
        error: ErrorCode,
    },
    /// A record of `__consumer_offsets` could not be understood; it was passed over.
    CoordinatorRecordUnreadable {
        /// The partition.
        key: PartitionKey,
        /// Its offset, -1 when the batch as a whole is unreadable.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// A log refused an append.
    AppendRefused {
        /// The partition.
        key: PartitionKey,
        /// The log's reason.
        reason: String,
    },
    /// Anything else a log said.
    Log {
        /// Position of the directory.
        directory: usize,
        /// The line.
        text: String,
    },
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Message::CompactionNotDone { topic } => {
                write!(
                    f,
                    "topic {topic} has cleanup.policy=compact: accepted, but nothing is compacted yet, records are kept"
                )
            }
            Message::StraysHeld { strays, replicas } => write!(
                f,
                "{strays} of {replicas} replicas are unknown to the cluster's metadata; none is deleted until an operator \
                 allows it: check that this node belongs to this cluster"
            ),
            Message::DeletionsFrozen { why } => write!(
                f,
                "{why}: retention deletes nothing until an operator confirms the clock"
            ),
            Message::StrayFound { key, rest_ms } => write!(
                f,
                "{key} is unknown to the cluster's metadata; its bytes are deleted in {} minutes",
                rest_ms / 60_000
            ),
            Message::StrayDeleted { key } => write!(f, "stray {key} deleted"),
            Message::Damaged {
                key,
                topic,
                first,
                last,
                place,
            } => write!(
                f,
                "damaged records at {place}: offsets {first} to {last} of {} partition {}; reads of them get CORRUPT_MESSAGE",
                topic.as_deref().unwrap_or("an unknown topic"),
                key.map_or(-1, |key| key.partition)
            ),
            Message::ProducersForgotten { key, count } => write!(
                f,
                "{key} remembers as many producers as it may; {count} forgotten"
            ),
            Message::ProducerStateUnreadable { replica, reason } => {
                write!(f, "producer state of replica {replica} not read: {reason}")
            }
            Message::DirectoryOffline { directory, reason } => {
                write!(
                    f,
                    "log directory {} is offline: {reason}",
                    Uuid(directory.0)
                )
            }
            Message::CoordinatorNotLoaded { partition, error } => write!(
                f,
                "groups of __consumer_offsets-{partition} are not served: the partition could not be read ({error})"
            ),
            Message::CoordinatorRecordUnreadable {
                key,
                offset,
                reason,
            } => write!(
                f,
                "record at offset {offset} of __consumer_offsets-{} passed over: {reason}",
                key.partition
            ),
            Message::AppendRefused { key, reason } => {
                write!(f, "append to {key} refused: {reason}")
            }
            Message::Log { directory, text } => write!(f, "log {directory}: {text}"),
        }
    }
}

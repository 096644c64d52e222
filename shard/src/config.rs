//! What a topic's configuration means to a shard, and the options of the shard itself.
//!
//! The values arrive already validated (`raft::configs` knows the definitions); the node builds one
//! [`TopicConfig`] per distinct set of values and shares it. Validation by these values is in
//! `validate`, retention in `placement`.

use crate::group::GroupOptions;

/// `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Records keep the producer's own stamps.
    CreateTime,
    /// The leader stamps each batch when it appends it.
    LogAppendTime,
}

/// `compression.type`, with the level that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCompression {
    /// Keep what the producer chose.
    Producer,
    /// `uncompressed`.
    Uncompressed,
    /// `gzip`, level -1 or 1 to 9.
    Gzip(i32),
    /// `snappy`; it has no level.
    Snappy,
    /// `lz4`, level 1 to 17.
    Lz4(i32),
    /// `zstd`, level -131072 to 22.
    Zstd(i32),
}

/// `cleanup.policy`: both may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old records are removed by time and size.
    pub delete: bool,
    /// The last record of each key is kept. Accepted, not yet carried out.
    pub compact: bool,
}

/// The topic configuration a shard acts on. Names are Kafka's, with dots made underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `max.message.bytes`: the largest batch, in bytes, compressed, headers included.
    pub max_message_bytes: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` and its level.
    pub compression: TopicCompression,
    /// `min.insync.replicas`; what holds is the smaller of this and the number of replicas.
    pub min_insync_replicas: i32,
    /// `retention.ms`, -1 for ever.
    pub retention_ms: i64,
    /// `retention.bytes` per partition, -1 without limit.
    pub retention_bytes: i64,
    /// `segment.ms`: how old a partition's virtual segment may get before it is rolled.
    pub segment_ms: i64,
    /// `segment.bytes`: how large a partition's virtual segment may get before it is rolled.
    pub segment_bytes: i64,
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
}

impl Default for TopicConfig {
    /// Apache Kafka 4.3's defaults.
    fn default() -> Self {
        TopicConfig {
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: TopicCompression::Producer,
            min_insync_replicas: 1,
            retention_ms: 604_800_000,
            retention_bytes: -1,
            segment_ms: 604_800_000,
            segment_bytes: 1_073_741_824,
            cleanup: CleanupPolicy {
                delete: true,
                compact: false,
            },
        }
    }
}

/// When an acknowledgement may leave (`odradek.durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// acks=1 and acks=all wait until the batch is on stable storage.
    Fsync,
    /// Nothing waits for the disk: a crash may lose what was acknowledged. For throw-away data.
    None,
}

/// Options of one shard. Every bound says in its own words what happens at it.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// When an acknowledgement may leave.
    pub durability: Durability,
    /// `producer.id.expiration.ms`: a producer unseen for so long is forgotten. Counted in monotonic
    /// time, and anew after a restart, so that a clock step forgets nobody (case 18).
    pub producer_expiration_ms: u64,
    /// Producers remembered per partition; beyond it the one unseen the longest is forgotten.
    pub producers_per_partition_max: usize,
    /// Bytes that the records of one compressed batch may unpack to; a batch beyond it is refused with
    /// INVALID_RECORD (hostile case 32).
    pub decompressed_batch_bytes_max: usize,
    /// Requests that may wait at once (parked fetches and produces); one more fetch is answered at once
    /// with what is there, one more produce is refused with KAFKA_STORAGE_ERROR.
    pub waiting_requests_max: usize,
    /// How long a stray replica's bytes rest before they are deleted.
    pub stray_rest_ms: u64,
    /// The group coordinators' options; without them this shard coordinates nothing.
    pub groups: Option<GroupOptions>,
    /// Handed to look-up tables; any value is right, equal values give equal runs.
    pub hash_seed: u64,
}

impl Default for ShardOptions {
    fn default() -> Self {
        ShardOptions {
            durability: Durability::Fsync,
            producer_expiration_ms: 86_400_000,
            producers_per_partition_max: 100_000,
            decompressed_batch_bytes_max: 128 << 20,
            waiting_requests_max: 100_000,
            stray_rest_ms: 3_600_000,
            groups: None,
            hash_seed: 0,
        }
    }
}

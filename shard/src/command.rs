//! What goes into a [`crate::Shard`] and what comes out: events, commands, actions and replies.
//!
//! A command carries all the partitions of one request that live on this shard; its one reply answers all
//! of them. Topics are named by id here: names are resolved by the node. Wire messages are built from
//! replies by the node's handlers.

use std::sync::Arc;

use bytes::Bytes;
use odradek_protocol::{ErrorCode, Uuid};
use odradek_wal::{DirectoryId, TopicId};
use smallvec::SmallVec;

use crate::config::TopicConfig;
use crate::group::{ClientContext, GroupRequest, GroupResponse};
use crate::message::Message;
use crate::producers::ProducerDescription;
use crate::validate::{BatchRefusal, PreparedBatch};

/// Names the request, or the part of it, that a reply belongs to. Opaque to the shard, echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken {
    /// The core that owns the connection.
    pub core: u16,
    /// The connection, as that core counts them.
    pub connection: u64,
    /// The request, as that connection counts them.
    pub request: u64,
    /// Which part of the request.
    pub part: u32,
}

/// A partition by topic id and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: i32,
}

impl std::fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "partition {} of topic id {}",
            self.partition,
            Uuid(self.topic_id.0)
        )
    }
}

/// A fetch session as the shard knows it: the core that owns its cache slot, and the session's id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The core.
    pub core: u16,
    /// The id given to the client.
    pub id: i32,
}

/// What happens to a shard.
// One is moved per request, never stored: a box would cost an allocation to save a copy.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Event {
    /// Time has passed; see [`crate::Shard::next_deadline_us`].
    Tick,
    /// This shard's part of a metadata delta, in order.
    Metadata(Vec<PartitionChange>),
    /// Append batches.
    Produce(ProduceCommand),
    /// Read batches.
    Fetch(FetchCommand),
    /// Answer a parked fetch now with what is there. Unknown tokens are ignored.
    Unpark(RequestToken),
    /// The connection is gone: forget what waits for it, answer nothing.
    Cancel(RequestToken),
    /// Look offsets up.
    ListOffsets(ListOffsetsCommand),
    /// End offsets of leader epochs.
    OffsetForLeaderEpoch(EpochsCommand),
    /// Raise log starts.
    DeleteRecords(DeleteRecordsCommand),
    /// Active producers.
    DescribeProducers(DescribeProducersCommand),
    /// Sizes of all replicas, by directory.
    DescribeLogDirs(RequestToken),
    /// Append to a partition from inside (a coordinator).
    InternalAppend(InternalAppend),
    /// Read a partition from inside, in order (a coordinator that loads).
    InternalRead(InternalRead),
    /// A request to the group coordinator of one partition of `__consumer_offsets`.
    Group(GroupCommand),
    /// Something of a log: an I/O completion or a tick.
    Log {
        /// Position of the directory in the list given to [`crate::Shard::new`].
        directory: usize,
        /// The log's event.
        event: odradek_wal::Event,
    },
    /// A fetch session is closed or evicted.
    CloseSession(SessionKey),
    /// Stray replicas may be deleted though they are many (an operator said so).
    AllowStrays,
    /// The wall clock is agreed on again: deletions by time may go on (case 18).
    TrustClock,
    /// Write a last checkpoint and stop.
    ShutDown,
}

/// One change of the placement on this shard. Order within a delta is the metadata log's.
#[derive(Clone, Debug)]
pub enum PartitionChange {
    /// This node holds a replica of the partition, and leads it. A replica that the log recovered is
    /// adopted, else one is created.
    Create(CreatePartition),
    /// The leader epoch moved on.
    LeaderEpoch {
        /// The partition.
        key: PartitionKey,
        /// The new epoch.
        leader_epoch: i32,
    },
    /// In-sync replicas changed.
    InSync {
        /// The partition.
        key: PartitionKey,
        /// Size of the in-sync set, this node included.
        in_sync: u16,
        /// Number of assigned replicas.
        replicas: u16,
    },
    /// The topic's configuration changed, for all its partitions here.
    Config {
        /// The topic.
        topic_id: TopicId,
        /// The whole configuration.
        config: Arc<TopicConfig>,
    },
    /// A topic was deleted, wherever its partitions were: groups forget its offsets.
    TopicDeleted {
        /// Its name.
        topic_name: Arc<str>,
    },
    /// The partition left this node, or its topic was deleted.
    Delete {
        /// The partition.
        key: PartitionKey,
    },
    /// The image stands at this metadata offset: every change up to it has been told. Strays are judged
    /// only after this, and only when `unfenced` (case 17).
    CaughtUp {
        /// The image's offset.
        metadata_offset: i64,
        /// Whether this broker is unfenced.
        unfenced: bool,
    },
}

/// [`PartitionChange::Create`].
#[derive(Clone, Debug)]
pub struct CreatePartition {
    /// The partition.
    pub key: PartitionKey,
    /// The topic's name, for messages; shared with whoever has it.
    pub topic_name: Arc<str>,
    /// The leader epoch, which new batches are stamped with.
    pub leader_epoch: i32,
    /// Offset of the record that created it in the metadata log.
    pub metadata_offset: i64,
    /// The directory assigned by the metadata, if any: it wins over another that holds a copy.
    pub directory: Option<DirectoryId>,
    /// Size of the in-sync set, this node included.
    pub in_sync: u16,
    /// Number of assigned replicas.
    pub replicas: u16,
    /// The topic's configuration.
    pub config: Arc<TopicConfig>,
}

/// A batch to be appended: what [`crate::validate::prepare`] said of it on the connection's core, with the topic's present
/// configuration.
pub type CheckedBatch = Result<PreparedBatch, BatchRefusal>;

/// One partition of a produce.
#[derive(Clone, Debug)]
pub struct ProducePartition {
    /// The partition.
    pub key: PartitionKey,
    /// What to append.
    pub batch: CheckedBatch,
}

/// A produce, or the part of it that concerns this shard.
#[derive(Clone, Debug)]
pub struct ProduceCommand {
    /// Echoed.
    pub token: RequestToken,
    /// 0, 1 or -1; anything else is refused with INVALID_REQUIRED_ACKS. With 0 the reply comes at once.
    pub acks: i16,
    /// How long acks=-1 may wait, in milliseconds.
    pub timeout_ms: i32,
    /// The partitions, answered in this order.
    pub partitions: Vec<ProducePartition>,
}

/// Answer for one partition of a produce.
#[derive(Clone, Debug)]
pub struct ProducePartitionReply {
    /// The partition.
    pub key: PartitionKey,
    /// The error, or [`ErrorCode::None`].
    pub error: ErrorCode,
    /// Offset of the first record, -1 on error.
    pub base_offset: i64,
    /// Append time on topics with LogAppendTime, else -1.
    pub log_append_time_ms: i64,
    /// The log start, -1 when unknown.
    pub log_start_offset: i64,
    /// Records that made the batch fail: position in the batch, and why.
    pub record_errors: Vec<RecordError>,
    /// What a person should read.
    pub error_message: Option<String>,
    /// Leader epoch here, -1 when this shard does not lead the partition.
    pub leader_epoch: i32,
    /// How long the producer should wait before its next request, in milliseconds: the partition's log owes too much rewriting.
    pub throttle_ms: u32,
}

/// A record that made its batch fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Position in the batch, from 0.
    pub batch_index: i32,
    /// Why.
    pub message: String,
}

/// Isolation level of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// One partition of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchPartition {
    /// The partition.
    pub key: PartitionKey,
    /// First offset wanted.
    pub fetch_offset: i64,
    /// Largest answer for this partition in bytes.
    pub max_bytes: i32,
    /// Leader epoch that the client knows, -1 for none.
    pub current_leader_epoch: i32,
    /// Epoch of the last record the client has (v12), -1 for none.
    pub last_fetched_epoch: i32,
}

/// How a fetch relates to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchSession {
    /// None: answer every partition named.
    Sessionless,
    /// A new session with the partitions named; answer every one of them.
    Open(SessionKey),
    /// Add or change the partitions named, drop the forgotten, answer what changed.
    Incremental {
        /// The session.
        session: SessionKey,
        /// Partitions that leave it.
        forgotten: Vec<PartitionKey>,
    },
}

/// A fetch, or the part of it that concerns this shard.
#[derive(Clone, Debug)]
pub struct FetchCommand {
    /// Echoed; also names the fetch for [`Event::Unpark`].
    pub token: RequestToken,
    /// Up to where records may be read.
    pub isolation: Isolation,
    /// How long it may wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Bytes below which it waits.
    pub min_bytes: i32,
    /// Largest answer in bytes, over all its partitions.
    pub max_bytes: i32,
    /// Whether the first batch may exceed the limits, so that a consumer gets on. A node that splits a
    /// fetch gives it to one part or to all, as it likes.
    pub at_least_one: bool,
    /// Session or none.
    pub session: FetchSession,
    /// The partitions, in request order.
    pub partitions: Vec<FetchPartition>,
}

/// Answer for one partition of a fetch.
#[derive(Clone, Debug)]
pub struct FetchPartitionReply {
    /// The partition.
    pub key: PartitionKey,
    /// The error, or [`ErrorCode::None`].
    pub error: ErrorCode,
    /// High watermark before the read, -1 on error.
    pub high_watermark: i64,
    /// Last stable offset before the read, -1 on error.
    pub last_stable_offset: i64,
    /// Log start before the read, -1 on error.
    pub log_start_offset: i64,
    /// Where the client's log and ours part: epoch and its end offset here.
    pub diverging_epoch: Option<(i32, i64)>,
    /// Leader epoch here, -1 when this shard does not lead the partition.
    pub leader_epoch: i32,
    /// Whole batches in offset order.
    pub records: SmallVec<[Bytes; 4]>,
}

impl FetchPartitionReply {
    /// Bytes of records.
    pub fn records_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// Answer to a fetch.
#[derive(Clone, Debug)]
pub struct FetchReply {
    /// Partitions that the session holds in this shard now, 0 without a session.
    pub session_partitions: usize,
    /// Of a full fetch all partitions in request order, of an incremental one those that changed.
    pub partitions: Vec<FetchPartitionReply>,
}

/// One partition of a ListOffsets.
#[derive(Clone, Copy, Debug)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub key: PartitionKey,
    /// Leader epoch that the client knows, -1 for none.
    pub current_leader_epoch: i32,
    /// A time stamp, or a sentinel from -1 to -6.
    pub timestamp: i64,
}

/// ListOffsets.
#[derive(Clone, Debug)]
pub struct ListOffsetsCommand {
    /// Echoed.
    pub token: RequestToken,
    /// Decides what "latest" is.
    pub isolation: Isolation,
    /// The partitions, answered in this order.
    pub partitions: Vec<ListOffsetsPartition>,
}

/// Answer for one partition of a ListOffsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffsetsPartitionReply {
    /// The partition.
    pub key: PartitionKey,
    /// The error, or [`ErrorCode::None`].
    pub error: ErrorCode,
    /// Time stamp of the record found, -1 for none.
    pub timestamp: i64,
    /// Its offset, -1 for none.
    pub offset: i64,
    /// Its leader epoch, -1 for none.
    pub leader_epoch: i32,
}

/// One partition of an OffsetForLeaderEpoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochPartition {
    /// The partition.
    pub key: PartitionKey,
    /// Leader epoch that the client knows, -1 for none.
    pub current_leader_epoch: i32,
    /// The epoch asked for.
    pub leader_epoch: i32,
}

/// OffsetForLeaderEpoch.
#[derive(Clone, Debug)]
pub struct EpochsCommand {
    /// Echoed.
    pub token: RequestToken,
    /// The partitions, answered in this order.
    pub partitions: Vec<EpochPartition>,
}

/// Answer for one partition of an OffsetForLeaderEpoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPartitionReply {
    /// The partition.
    pub key: PartitionKey,
    /// The error, or [`ErrorCode::None`].
    pub error: ErrorCode,
    /// The largest epoch known that is not above the one asked for, -1 for none.
    pub leader_epoch: i32,
    /// Where it ends, -1 for none.
    pub end_offset: i64,
}

/// DeleteRecords.
#[derive(Clone, Debug)]
pub struct DeleteRecordsCommand {
    /// Echoed.
    pub token: RequestToken,
    /// Partition and the offset below which records go; -1 is the high watermark. Answered in this order.
    pub partitions: Vec<(PartitionKey, i64)>,
}

/// Answer for one partition of a DeleteRecords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteRecordsPartitionReply {
    /// The partition.
    pub key: PartitionKey,
    /// The error, or [`ErrorCode::None`].
    pub error: ErrorCode,
    /// The log start now, -1 on error.
    pub low_watermark: i64,
}

/// DescribeProducers.
#[derive(Clone, Debug)]
pub struct DescribeProducersCommand {
    /// Echoed.
    pub token: RequestToken,
    /// The partitions, answered in this order.
    pub partitions: Vec<PartitionKey>,
}

/// Answer for one partition of a DescribeProducers.
#[derive(Clone, Debug)]
pub struct DescribeProducersPartitionReply {
    /// The partition.
    pub key: PartitionKey,
    /// The error, or [`ErrorCode::None`].
    pub error: ErrorCode,
    /// Producers in order of their ids.
    pub producers: Vec<ProducerDescription>,
}

/// One directory of a DescribeLogDirs.
#[derive(Clone, Debug)]
pub struct LogDirectoryReply {
    /// The directory.
    pub directory: DirectoryId,
    /// [`ErrorCode::KafkaStorageError`] when it is offline.
    pub error: ErrorCode,
    /// Partition and its size in bytes, by partition.
    pub replicas: Vec<(PartitionKey, i64)>,
}

/// Append to a partition from inside.
#[derive(Clone, Debug)]
pub struct InternalAppend {
    /// Echoed; answered when the batch is durable.
    pub token: RequestToken,
    /// The partition.
    pub key: PartitionKey,
    /// One record batch with base offset 0 (see `protocol::records::BatchBuilder`).
    pub batch: Bytes,
}

/// Read a partition from inside. The reply carries whole batches from `from` on, and the offset to go on
/// from; at the high watermark it is empty.
#[derive(Clone, Copy, Debug)]
pub struct InternalRead {
    /// Echoed.
    pub token: RequestToken,
    /// The partition.
    pub key: PartitionKey,
    /// First offset wanted.
    pub from: i64,
    /// About how many bytes at once; at least one batch comes.
    pub max_bytes: usize,
}

/// A request to a group coordinator.
#[derive(Clone, Debug)]
pub struct GroupCommand {
    /// Echoed. The answer may take as long as a rebalance.
    pub token: RequestToken,
    /// The partition of `__consumer_offsets` (`group::partition_for`).
    pub partition: i32,
    /// Who asks.
    pub context: ClientContext,
    /// What.
    pub request: GroupRequest,
}

/// What a shard answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Event::Produce`].
    Produce(Vec<ProducePartitionReply>),
    /// To [`Event::Fetch`].
    Fetch(FetchReply),
    /// To [`Event::ListOffsets`].
    ListOffsets(Vec<ListOffsetsPartitionReply>),
    /// To [`Event::OffsetForLeaderEpoch`].
    OffsetForLeaderEpoch(Vec<EpochPartitionReply>),
    /// To [`Event::DeleteRecords`].
    DeleteRecords(Vec<DeleteRecordsPartitionReply>),
    /// To [`Event::DescribeProducers`].
    DescribeProducers(Vec<DescribeProducersPartitionReply>),
    /// To [`Event::DescribeLogDirs`].
    DescribeLogDirs(Vec<LogDirectoryReply>),
    /// To [`Event::InternalAppend`].
    InternalAppend(ProducePartitionReply),
    /// To [`Event::InternalRead`].
    InternalRead(FetchPartitionReply),
    /// To [`Event::Group`].
    Group(GroupResponse),
}

impl Reply {
    /// An append from inside that failed before it reached the log.
    pub(crate) fn failed_append(key: PartitionKey, error: ErrorCode) -> Reply {
        Reply::InternalAppend(ProducePartitionReply::refused(key, error))
    }
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Action {
    /// Answer a request.
    Reply {
        /// Whose.
        token: RequestToken,
        /// The answer.
        reply: Reply,
    },
    /// Carry out a log's I/O; its completion comes back as [`Event::Log`].
    Log {
        /// Position of the directory.
        directory: usize,
        /// What to do.
        io: odradek_wal::Io,
    },
    /// A directory is offline: report it to the controller, and halt when it was the last.
    DirectoryOffline {
        /// Position of the directory.
        directory: usize,
        /// Its id.
        id: DirectoryId,
    },
    /// A directory's log is sealed after [`Event::ShutDown`].
    Closed {
        /// Position of the directory.
        directory: usize,
    },
    /// Something to be logged or counted.
    Message(Message),
}

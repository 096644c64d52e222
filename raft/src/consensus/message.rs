//! Requests and responses as the state machine sees them: one topic, one partition, no versions.
//! `wire.rs` maps them to and from Kafka's messages.

use bytes::Bytes;
use odradek_protocol::ErrorCode;

use super::types::{Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey, SnapshotId};

/// A raft request, received or to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Vote (52), with the pre-vote flag of KIP-996.
    Vote(VoteRequest),
    /// BeginQuorumEpoch (53): a leader announces itself.
    BeginQuorumEpoch(BeginQuorumEpochRequest),
    /// EndQuorumEpoch (54): a leader resigns.
    EndQuorumEpoch(EndQuorumEpochRequest),
    /// Fetch (1) on the metadata partition.
    Fetch(FetchRequest),
    /// FetchSnapshot (59).
    FetchSnapshot(FetchSnapshotRequest),
    /// DescribeQuorum (55).
    DescribeQuorum,
}

/// Asks for a vote or a pre-vote.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteRequest {
    /// Cluster id, when given.
    pub cluster_id: Option<String>,
    /// Whom the candidate thinks it is asking; none below version 1.
    pub voter: Option<ReplicaKey>,
    /// Epoch of the candidate: already raised for a vote, unchanged for a pre-vote.
    pub epoch: i32,
    /// The candidate.
    pub candidate: ReplicaKey,
    /// End of the candidate's log.
    pub last: OffsetAndEpoch,
    /// Whether this only asks if a vote would be granted.
    pub pre_vote: bool,
}

/// A leader's announcement.
#[derive(Clone, Debug, PartialEq)]
pub struct BeginQuorumEpochRequest {
    /// Cluster id, when given.
    pub cluster_id: Option<String>,
    /// Whom the leader thinks it is telling; none below version 1.
    pub voter: Option<ReplicaKey>,
    /// Node id of the leader.
    pub leader_id: i32,
    /// Its epoch.
    pub epoch: i32,
    /// Its listeners; empty below version 1.
    pub endpoints: Vec<Endpoint>,
}

/// A leader's resignation.
#[derive(Clone, Debug, PartialEq)]
pub struct EndQuorumEpochRequest {
    /// Cluster id, when given.
    pub cluster_id: Option<String>,
    /// Node id of the leader that resigns.
    pub leader_id: i32,
    /// Its epoch.
    pub epoch: i32,
    /// Who should stand first, best first.
    pub preferred: Vec<ReplicaKey>,
    /// The leader's listeners; empty below version 1.
    pub endpoints: Vec<Endpoint>,
}

/// A replica reads the log.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    /// Cluster id, when given.
    pub cluster_id: Option<String>,
    /// Who fetches; id -1 for a nameless observer.
    pub replica: ReplicaKey,
    /// How long the leader may park it.
    pub wait_max_ms: i32,
    /// Most bytes of records to answer with.
    pub bytes_max: i32,
    /// Raft epoch of the sender.
    pub epoch: i32,
    /// Log end offset of the sender; with ours always its durable end.
    pub fetch_offset: i64,
    /// Epoch of the sender's last record, 0 when it has none.
    pub last_fetched_epoch: i32,
    /// High watermark of the sender, -1 unknown, `i64::MAX` not told (below version 18).
    pub high_watermark: i64,
}

/// A replica reads a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchSnapshotRequest {
    /// Cluster id, when given.
    pub cluster_id: Option<String>,
    /// Who fetches.
    pub replica: ReplicaKey,
    /// Most bytes to answer with.
    pub bytes_max: i32,
    /// Raft epoch of the sender.
    pub epoch: i32,
    /// Which snapshot.
    pub snapshot_id: SnapshotId,
    /// Byte position in it.
    pub position: i64,
}

/// An answer, to be sent or received.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The whole request is refused at top level (INCONSISTENT_CLUSTER_ID, UNSUPPORTED_VERSION,
    /// CLUSTER_AUTHORIZATION_FAILED, malformed topic lists).
    Refused {
        /// Why.
        error: ErrorCode,
    },
    /// Answer to Vote.
    Vote(QuorumResponse, VoteResult),
    /// Answer to BeginQuorumEpoch.
    BeginQuorumEpoch(QuorumResponse),
    /// Answer to EndQuorumEpoch.
    EndQuorumEpoch(QuorumResponse),
    /// Answer to Fetch.
    Fetch(QuorumResponse, Box<FetchResult>),
    /// Answer to FetchSnapshot.
    FetchSnapshot(QuorumResponse, FetchSnapshotResult),
    /// Answer to DescribeQuorum.
    DescribeQuorum(Box<QuorumDescription>),
}

/// What every partition-level answer says about the sender's view of the quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumResponse {
    /// Partition-level error.
    pub error: ErrorCode,
    /// Leader and epoch as the answering node knows them.
    pub leader: LeaderAndEpoch,
    /// Where that leader listens, when known.
    pub leader_endpoint: Option<Endpoint>,
}

/// The rest of a Vote answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteResult {
    /// Whether the vote (or pre-vote) is granted.
    pub granted: bool,
}

/// The rest of a Fetch answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FetchResult {
    /// High watermark, -1 unknown.
    pub high_watermark: i64,
    /// Log start offset.
    pub log_start: i64,
    /// Where the sender's log leaves the leader's.
    pub diverging: Option<OffsetAndEpoch>,
    /// Snapshot to fetch instead of records.
    pub snapshot_id: Option<SnapshotId>,
    /// Whole record batches in offset order; slices of the leader's log.
    pub records: Vec<Bytes>,
}

/// The rest of a FetchSnapshot answer.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchSnapshotResult {
    /// The snapshot asked for.
    pub snapshot_id: SnapshotId,
    /// Its length in bytes.
    pub size_bytes: i64,
    /// Position of `bytes` in it.
    pub position: i64,
    /// The chunk.
    pub bytes: Bytes,
}

/// State of the quorum as its leader knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct QuorumDescription {
    /// NOT_LEADER_OR_FOLLOWER when this node does not lead; the rest is then empty.
    pub error: ErrorCode,
    /// Leader and epoch.
    pub leader: LeaderAndEpoch,
    /// High watermark, -1 unknown.
    pub high_watermark: i64,
    /// Voters in order of node id.
    pub voters: Vec<ReplicaDescription>,
    /// Observers in order of node id.
    pub observers: Vec<ReplicaDescription>,
    /// Listeners of every voter.
    pub nodes: Vec<(i32, Vec<Endpoint>)>,
}

/// One replica in DescribeQuorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// Who.
    pub key: ReplicaKey,
    /// Its last valid fetch offset (the leader: its log end), -1 unknown.
    pub log_end_offset: i64,
    /// Wall time of its last Fetch in milliseconds, -1 unknown.
    pub last_fetch_ms: i64,
    /// Wall time when it last had the leader's whole log, -1 unknown.
    pub last_caught_up_ms: i64,
}

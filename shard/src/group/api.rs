//! What goes into the group coordinator and what comes out: requests, responses, effects, options.
//!
//! The requests are the protocol's own messages, one group each where the wire allows several, since
//! the groups of one request may live in different partitions; `wire` splits and joins those. The
//! machine that takes them is in `mod.rs`.

use bytes::Bytes;
use odradek_protocol::messages::delete_groups_response::DeletableGroupResult;
use odradek_protocol::messages::describe_groups_response::DescribedGroup;
use odradek_protocol::messages::heartbeat_request::HeartbeatRequest;
use odradek_protocol::messages::heartbeat_response::HeartbeatResponse;
use odradek_protocol::messages::join_group_request::JoinGroupRequest;
use odradek_protocol::messages::join_group_response::JoinGroupResponse;
use odradek_protocol::messages::leave_group_request::LeaveGroupRequest;
use odradek_protocol::messages::leave_group_response::LeaveGroupResponse;
use odradek_protocol::messages::list_groups_response::ListedGroup;
use odradek_protocol::messages::offset_commit_request::OffsetCommitRequest;
use odradek_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use odradek_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use odradek_protocol::messages::offset_delete_response::OffsetDeleteResponse;
use odradek_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use odradek_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use odradek_protocol::messages::sync_group_request::SyncGroupRequest;
use odradek_protocol::messages::sync_group_response::SyncGroupResponse;
use odradek_protocol::{ErrorCode, StrBytes};

use super::wire;

/// Names one request to the caller; given back with its reply, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names one append to the partition. Ids grow by one in the order the appends must be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// What the coordinator needs to know of the client that sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientContext {
    /// The version of the request's API; some answers depend on it.
    pub api_version: i16,
    /// The client id of the request header, empty when it was null.
    pub client_id: StrBytes,
    /// The client's address as Kafka writes it: a slash and the IP address, `/127.0.0.1`.
    pub client_host: StrBytes,
}

/// A request to the coordinator of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRequest {
    /// JoinGroup, versions 0 to 9.
    Join(JoinGroupRequest),
    /// SyncGroup, versions 0 to 5.
    Sync(SyncGroupRequest),
    /// Heartbeat, versions 0 to 4.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup, versions 0 to 5; up to version 2 `member_id` names the one member.
    Leave(LeaveGroupRequest),
    /// OffsetCommit, versions 2 to 10, every topic with its name (see `wire::split_commit`).
    OffsetCommit(OffsetCommitRequest),
    /// One group of an OffsetFetch, versions 1 to 10 (see `wire::fetch_groups`).
    OffsetFetch {
        /// The group and its topics with names; `topics: None` asks for all.
        group: OffsetFetchRequestGroup,
        /// Wait for commits that are under way instead of answering from what is durable now.
        require_stable: bool,
    },
    /// OffsetDelete, version 0, topics that exist (see `wire::split_delete`).
    OffsetDelete(OffsetDeleteRequest),
    /// The groups of a DescribeGroups that live in this partition.
    Describe(Vec<StrBytes>),
    /// ListGroups; the node asks every partition and joins the answers.
    List {
        /// States to keep, in any case; empty keeps all.
        states: Vec<StrBytes>,
        /// Types to keep, in any case; empty keeps all. Every group here is of type `classic`.
        types: Vec<StrBytes>,
    },
    /// The groups of a DeleteGroups that live in this partition.
    Delete(Vec<StrBytes>),
}

/// The answer to a [`GroupRequest`]; throttle times are left 0.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupResponse {
    /// To [`GroupRequest::Join`].
    Join(JoinGroupResponse),
    /// To [`GroupRequest::Sync`].
    Sync(SyncGroupResponse),
    /// To [`GroupRequest::Heartbeat`].
    Heartbeat(HeartbeatResponse),
    /// To [`GroupRequest::Leave`].
    Leave(LeaveGroupResponse),
    /// To [`GroupRequest::OffsetCommit`], topics with both name and id.
    OffsetCommit(OffsetCommitResponse),
    /// To [`GroupRequest::OffsetFetch`], topics with names (see `wire::fetch_response`).
    OffsetFetch(OffsetFetchResponseGroup),
    /// To [`GroupRequest::OffsetDelete`].
    OffsetDelete(OffsetDeleteResponse),
    /// To [`GroupRequest::Describe`], in the order asked.
    Describe(Vec<DescribedGroup>),
    /// To [`GroupRequest::List`], by group id.
    List {
        /// An error of the whole partition: it is still loading, or is not led here.
        error: ErrorCode,
        /// The groups.
        groups: Vec<ListedGroup>,
    },
    /// To [`GroupRequest::Delete`], each group once.
    Delete(Vec<DeletableGroupResult>),
}

/// What the caller has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// The request.
        token: Token,
        /// Its answer.
        response: GroupResponse,
    },
    /// Append records to the partition as one batch, after all earlier ones, and report the result
    /// with `GroupCoordinator::appended` once it is durable or has failed.
    Append {
        /// Key and value of each record; no value is a tombstone.
        records: Vec<(Bytes, Option<Bytes>)>,
        /// The name to report the result under.
        then: AppendId,
    },
}

/// The coordinator's configuration; names are Kafka's broker keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of one group.
    pub members_max: i32,
    /// Members of one group that were told their id and have not come back with it. Kafka sets no
    /// bound here; at this one a join is answered GROUP_MAX_SIZE_REACHED.
    pub pending_members_max: usize,
    /// `offset.metadata.max.bytes`: UTF-16 units of one commit's metadata, as Kafka counts.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// Random bits of this incarnation, from which member ids are made.
    pub seed: (u64, u64),
}

impl GroupOptions {
    /// Kafka's defaults with the given random bits.
    pub fn with_seed(seed: (u64, u64)) -> GroupOptions {
        GroupOptions {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            members_max: i32::MAX,
            pending_members_max: 10_000,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
            seed,
        }
    }
}

/// What the coordinator holds and has done, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatistics {
    /// Groups in memory.
    pub groups: usize,
    /// Offsets that are durable.
    pub offsets: usize,
    /// Deadlines: about one per member.
    pub deadlines: usize,
    /// Appends that have not been reported yet.
    pub appends_pending: usize,
    /// Rebalances that reached Stable since this incarnation began.
    pub rebalances_completed: u64,
    /// Offsets committed since then.
    pub offset_commits: u64,
    /// Offsets removed by age since then.
    pub offsets_expired: u64,
    /// Offsets removed by request since then.
    pub offsets_deleted: u64,
    /// Records of other kinds of groups that were passed over while loading.
    pub records_skipped: u64,
}

impl GroupRequest {
    /// The answer that refuses this request with one error, as Kafka words it for each API: used
    /// when the partition is not led here, is loading, or was unloaded meanwhile.
    pub fn refuse(&self, api_version: i16, error: ErrorCode) -> GroupResponse {
        match self {
            GroupRequest::Join(request) => {
                GroupResponse::Join(join_error(request.member_id.clone(), error, api_version))
            }
            GroupRequest::Sync(_) => GroupResponse::Sync(sync_error(error)),
            GroupRequest::Heartbeat(_) => {
                // A client whose coordinator is loading must not lose its membership over it.
                let error = match error {
                    ErrorCode::CoordinatorLoadInProgress => ErrorCode::None,
                    other => other,
                };
                GroupResponse::Heartbeat(heartbeat(error))
            }
            GroupRequest::Leave(_) => GroupResponse::Leave(LeaveGroupResponse {
                error_code: error.code(),
                ..Default::default()
            }),
            GroupRequest::OffsetCommit(request) => {
                GroupResponse::OffsetCommit(commit_error(request, error))
            }
            GroupRequest::OffsetFetch { group, .. } => {
                GroupResponse::OffsetFetch(wire::fetch_error(group, api_version, error))
            }
            GroupRequest::OffsetDelete(_) => GroupResponse::OffsetDelete(OffsetDeleteResponse {
                error_code: error.code(),
                ..Default::default()
            }),
            GroupRequest::Describe(groups) => GroupResponse::Describe(
                groups
                    .iter()
                    .map(|group_id| DescribedGroup {
                        group_id: group_id.clone(),
                        error_code: error.code(),
                        ..Default::default()
                    })
                    .collect(),
            ),
            GroupRequest::List { .. } => GroupResponse::List {
                error,
                groups: Vec::new(),
            },
            GroupRequest::Delete(groups) => GroupResponse::Delete(
                groups
                    .iter()
                    .map(|group_id| DeletableGroupResult {
                        group_id: group_id.clone(),
                        error_code: error.code(),
                        ..Default::default()
                    })
                    .collect(),
            ),
        }
    }
}

/// A failed join. Up to version 6 the protocol name cannot be null on the wire.
pub(super) fn join_error(
    member_id: StrBytes,
    error: ErrorCode,
    api_version: i16,
) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        generation_id: -1,
        protocol_name: (api_version < 7).then(StrBytes::default),
        member_id,
        ..Default::default()
    }
}

/// A failed sync.
pub(super) fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        ..Default::default()
    }
}

/// A heartbeat's answer.
pub(super) fn heartbeat(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse {
        error_code: error.code(),
        ..Default::default()
    }
}

/// A commit refused as a whole: OffsetCommit has no error of its own, so each partition carries it.
pub(super) fn commit_error(
    request: &OffsetCommitRequest,
    error: ErrorCode,
) -> OffsetCommitResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: error.code(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    OffsetCommitResponse {
        topics,
        ..Default::default()
    }
}

/// What a client is told when its records could not be made durable. The log's own errors mean
/// nothing to a group member; Kafka turns them into "try again" or "look for the coordinator".
pub(super) fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

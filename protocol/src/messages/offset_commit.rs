//! OffsetCommit, API key 8: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    offset_commit_request, key 8, versions [2..=10], flexible [8..];

    /// The request of OffsetCommit.
    OffsetCommitRequest {
        group_id: StrBytes [0..],
        generation_id_or_member_epoch: i32 [1.., ignorable] = -1,
        member_id: StrBytes [1.., ignorable],
        group_instance_id: Option<StrBytes> [7.., nullable 7.., null],
        retention_time_ms: i64 [2..=4, ignorable] = -1,
        topics: Vec<OffsetCommitRequestTopic> [0..],
    }

    /// An element of `topics` in `OffsetCommitRequest`.
    OffsetCommitRequestTopic {
        name: StrBytes [0..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: Vec<OffsetCommitRequestPartition> [0..],
    }

    /// An element of `partitions` in `OffsetCommitRequestTopic`.
    OffsetCommitRequestPartition {
        partition_index: i32 [0..],
        committed_offset: i64 [0..],
        committed_leader_epoch: i32 [6.., ignorable] = -1,
        committed_metadata: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    offset_commit_response, key 8, versions [2..=10], flexible [8..];

    /// The response to OffsetCommit.
    OffsetCommitResponse {
        throttle_time_ms: i32 [3.., ignorable],
        topics: Vec<OffsetCommitResponseTopic> [0..],
    }

    /// An element of `topics` in `OffsetCommitResponse`.
    OffsetCommitResponseTopic {
        name: StrBytes [0..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: Vec<OffsetCommitResponsePartition> [0..],
    }

    /// An element of `partitions` in `OffsetCommitResponseTopic`.
    OffsetCommitResponsePartition {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}

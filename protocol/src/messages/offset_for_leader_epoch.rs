//! OffsetForLeaderEpoch, API key 23: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    offset_for_leader_epoch_request, key 23, versions [2..=4], flexible [4..];

    /// The request of OffsetForLeaderEpoch.
    OffsetForLeaderEpochRequest {
        replica_id: i32 [3.., ignorable] = -2,
        topics: Vec<OffsetForLeaderTopic> [0..],
    }

    /// An element of `topics` in `OffsetForLeaderEpochRequest`.
    OffsetForLeaderTopic {
        topic: StrBytes [0..],
        partitions: Vec<OffsetForLeaderPartition> [0..],
    }

    /// An element of `partitions` in `OffsetForLeaderTopic`.
    OffsetForLeaderPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [2.., ignorable] = -1,
        leader_epoch: i32 [0..],
    }
}

message! {
    offset_for_leader_epoch_response, key 23, versions [2..=4], flexible [4..];

    /// The response to OffsetForLeaderEpoch.
    OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [2.., ignorable],
        topics: Vec<OffsetForLeaderTopicResult> [0..],
    }

    /// An element of `topics` in `OffsetForLeaderEpochResponse`.
    OffsetForLeaderTopicResult {
        topic: StrBytes [0..],
        partitions: Vec<EpochEndOffset> [0..],
    }

    /// An element of `partitions` in `OffsetForLeaderTopicResult`.
    EpochEndOffset {
        error_code: i16 [0..],
        partition: i32 [0..],
        leader_epoch: i32 [1.., ignorable] = -1,
        end_offset: i64 [0..] = -1,
    }
}

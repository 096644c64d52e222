//! ListOffsets, API key 2: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    list_offsets_request, key 2, versions [1..=11], flexible [6..];

    /// The request of ListOffsets.
    ListOffsetsRequest {
        replica_id: i32 [0..],
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic> [0..],
        timeout_ms: i32 [10.., ignorable],
    }

    /// An element of `topics` in `ListOffsetsRequest`.
    ListOffsetsTopic {
        name: StrBytes [0..],
        partitions: Vec<ListOffsetsPartition> [0..],
    }

    /// An element of `partitions` in `ListOffsetsTopic`.
    ListOffsetsPartition {
        partition_index: i32 [0..],
        current_leader_epoch: i32 [4.., ignorable] = -1,
        timestamp: i64 [0..],
    }
}

message! {
    list_offsets_response, key 2, versions [1..=11], flexible [6..];

    /// The response to ListOffsets.
    ListOffsetsResponse {
        throttle_time_ms: i32 [2.., ignorable],
        topics: Vec<ListOffsetsTopicResponse> [0..],
    }

    /// An element of `topics` in `ListOffsetsResponse`.
    ListOffsetsTopicResponse {
        name: StrBytes [0..],
        partitions: Vec<ListOffsetsPartitionResponse> [0..],
    }

    /// An element of `partitions` in `ListOffsetsTopicResponse`.
    ListOffsetsPartitionResponse {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        timestamp: i64 [1..] = -1,
        offset: i64 [1..] = -1,
        leader_epoch: i32 [4..] = -1,
    }
}

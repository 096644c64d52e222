//! DescribeShareGroupOffsets, API key 90: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_share_group_offsets_request, key 90, versions [0..=1], flexible [0..];

    /// The request of DescribeShareGroupOffsets.
    DescribeShareGroupOffsetsRequest {
        groups: Vec<DescribeShareGroupOffsetsRequestGroup> [0..],
    }

    /// An element of `groups` in `DescribeShareGroupOffsetsRequest`.
    DescribeShareGroupOffsetsRequestGroup {
        group_id: StrBytes [0..],
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>> [0.., nullable 0..],
    }

    /// An element of `topics` in `DescribeShareGroupOffsetsRequestGroup`.
    DescribeShareGroupOffsetsRequestTopic {
        topic_name: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    describe_share_group_offsets_response, key 90, versions [0..=1], flexible [0..];

    /// The response to DescribeShareGroupOffsets.
    DescribeShareGroupOffsetsResponse {
        throttle_time_ms: i32 [0..],
        groups: Vec<DescribeShareGroupOffsetsResponseGroup> [0..],
    }

    /// An element of `groups` in `DescribeShareGroupOffsetsResponse`.
    DescribeShareGroupOffsetsResponseGroup {
        group_id: StrBytes [0..],
        topics: Vec<DescribeShareGroupOffsetsResponseTopic> [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }

    /// An element of `topics` in `DescribeShareGroupOffsetsResponseGroup`.
    DescribeShareGroupOffsetsResponseTopic {
        topic_name: StrBytes [0..],
        topic_id: Uuid [0..],
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition> [0..],
    }

    /// An element of `partitions` in `DescribeShareGroupOffsetsResponseTopic`.
    DescribeShareGroupOffsetsResponsePartition {
        partition_index: i32 [0..],
        start_offset: i64 [0..],
        leader_epoch: i32 [0..],
        lag: i64 [1.., ignorable] = -1,
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}

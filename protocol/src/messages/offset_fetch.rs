//! OffsetFetch, API key 9: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    offset_fetch_request, key 9, versions [1..=10], flexible [6..];

    /// The request of OffsetFetch.
    OffsetFetchRequest {
        group_id: StrBytes [0..=7],
        topics: Option<Vec<OffsetFetchRequestTopic>> [0..=7, nullable 2..=7],
        groups: Vec<OffsetFetchRequestGroup> [8..],
        require_stable: bool [7..],
    }

    /// An element of `topics` in `OffsetFetchRequest`.
    OffsetFetchRequestTopic {
        name: StrBytes [0..=7],
        partition_indexes: Vec<i32> [0..=7],
    }

    /// An element of `groups` in `OffsetFetchRequest`.
    OffsetFetchRequestGroup {
        group_id: StrBytes [8..],
        member_id: Option<StrBytes> [9.., nullable 9.., null, ignorable],
        member_epoch: i32 [9.., ignorable] = -1,
        topics: Option<Vec<OffsetFetchRequestTopics>> [8.., nullable 8..],
    }

    /// An element of `topics` in `OffsetFetchRequestGroup`.
    OffsetFetchRequestTopics {
        name: StrBytes [8..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partition_indexes: Vec<i32> [8..],
    }
}

message! {
    offset_fetch_response, key 9, versions [1..=10], flexible [6..];

    /// The response to OffsetFetch.
    OffsetFetchResponse {
        throttle_time_ms: i32 [3.., ignorable],
        topics: Vec<OffsetFetchResponseTopic> [0..=7],
        error_code: i16 [2..=7, ignorable],
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    /// An element of `topics` in `OffsetFetchResponse`.
    OffsetFetchResponseTopic {
        name: StrBytes [0..=7],
        partitions: Vec<OffsetFetchResponsePartition> [0..=7],
    }

    /// An element of `partitions` in `OffsetFetchResponseTopic`.
    OffsetFetchResponsePartition {
        partition_index: i32 [0..=7],
        committed_offset: i64 [0..=7],
        committed_leader_epoch: i32 [5..=7, ignorable] = -1,
        metadata: Option<StrBytes> [0..=7, nullable 0..=7],
        error_code: i16 [0..=7],
    }

    /// An element of `groups` in `OffsetFetchResponse`.
    OffsetFetchResponseGroup {
        group_id: StrBytes [8..],
        topics: Vec<OffsetFetchResponseTopics> [8..],
        error_code: i16 [8..],
    }

    /// An element of `topics` in `OffsetFetchResponseGroup`.
    OffsetFetchResponseTopics {
        name: StrBytes [8..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: Vec<OffsetFetchResponsePartitions> [8..],
    }

    /// An element of `partitions` in `OffsetFetchResponseTopics`.
    OffsetFetchResponsePartitions {
        partition_index: i32 [8..],
        committed_offset: i64 [8..],
        committed_leader_epoch: i32 [8.., ignorable] = -1,
        metadata: Option<StrBytes> [8.., nullable 8..],
        error_code: i16 [8..],
    }
}

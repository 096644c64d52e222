//! AlterShareGroupOffsets, API key 91: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_share_group_offsets_request, key 91, versions [0], flexible [0..];

    /// The request of AlterShareGroupOffsets.
    AlterShareGroupOffsetsRequest {
        group_id: StrBytes [0..],
        topics: Vec<AlterShareGroupOffsetsRequestTopic> [0..],
    }

    /// An element of `topics` in `AlterShareGroupOffsetsRequest`.
    AlterShareGroupOffsetsRequestTopic {
        topic_name: StrBytes [0..],
        partitions: Vec<AlterShareGroupOffsetsRequestPartition> [0..],
    }

    /// An element of `partitions` in `AlterShareGroupOffsetsRequestTopic`.
    AlterShareGroupOffsetsRequestPartition {
        partition_index: i32 [0..],
        start_offset: i64 [0..],
    }
}

message! {
    alter_share_group_offsets_response, key 91, versions [0], flexible [0..];

    /// The response to AlterShareGroupOffsets.
    AlterShareGroupOffsetsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        responses: Vec<AlterShareGroupOffsetsResponseTopic> [0..],
    }

    /// An element of `responses` in `AlterShareGroupOffsetsResponse`.
    AlterShareGroupOffsetsResponseTopic {
        topic_name: StrBytes [0..],
        topic_id: Uuid [0..],
        partitions: Vec<AlterShareGroupOffsetsResponsePartition> [0..],
    }

    /// An element of `partitions` in `AlterShareGroupOffsetsResponseTopic`.
    AlterShareGroupOffsetsResponsePartition {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}

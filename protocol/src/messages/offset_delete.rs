//! OffsetDelete, API key 47: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    offset_delete_request, key 47, versions [0], flexible [none];

    /// The request of OffsetDelete.
    OffsetDeleteRequest {
        group_id: StrBytes [0..],
        topics: Vec<OffsetDeleteRequestTopic> [0..],
    }

    /// An element of `topics` in `OffsetDeleteRequest`.
    OffsetDeleteRequestTopic {
        name: StrBytes [0..],
        partitions: Vec<OffsetDeleteRequestPartition> [0..],
    }

    /// An element of `partitions` in `OffsetDeleteRequestTopic`.
    OffsetDeleteRequestPartition {
        partition_index: i32 [0..],
    }
}

message! {
    offset_delete_response, key 47, versions [0], flexible [none];

    /// The response to OffsetDelete.
    OffsetDeleteResponse {
        error_code: i16 [0..],
        throttle_time_ms: i32 [0.., ignorable],
        topics: Vec<OffsetDeleteResponseTopic> [0..],
    }

    /// An element of `topics` in `OffsetDeleteResponse`.
    OffsetDeleteResponseTopic {
        name: StrBytes [0..],
        partitions: Vec<OffsetDeleteResponsePartition> [0..],
    }

    /// An element of `partitions` in `OffsetDeleteResponseTopic`.
    OffsetDeleteResponsePartition {
        partition_index: i32 [0..],
        error_code: i16 [0..],
    }
}

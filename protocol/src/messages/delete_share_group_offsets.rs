//! DeleteShareGroupOffsets, API key 92: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    delete_share_group_offsets_request, key 92, versions [0], flexible [0..];

    /// The request of DeleteShareGroupOffsets.
    DeleteShareGroupOffsetsRequest {
        group_id: StrBytes [0..],
        topics: Vec<DeleteShareGroupOffsetsRequestTopic> [0..],
    }

    /// An element of `topics` in `DeleteShareGroupOffsetsRequest`.
    DeleteShareGroupOffsetsRequestTopic {
        topic_name: StrBytes [0..],
    }
}

message! {
    delete_share_group_offsets_response, key 92, versions [0], flexible [0..];

    /// The response to DeleteShareGroupOffsets.
    DeleteShareGroupOffsetsResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        responses: Vec<DeleteShareGroupOffsetsResponseTopic> [0..],
    }

    /// An element of `responses` in `DeleteShareGroupOffsetsResponse`.
    DeleteShareGroupOffsetsResponseTopic {
        topic_name: StrBytes [0..],
        topic_id: Uuid [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}

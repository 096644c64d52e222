//! DeleteShareGroupState, API key 86: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    delete_share_group_state_request, key 86, versions [0], flexible [0..];

    /// The request of DeleteShareGroupState.
    DeleteShareGroupStateRequest {
        group_id: StrBytes [0..],
        topics: Vec<DeleteStateData> [0..],
    }

    /// An element of `topics` in `DeleteShareGroupStateRequest`.
    DeleteStateData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `DeleteStateData`.
    PartitionData {
        partition: i32 [0..],
    }
}

message! {
    delete_share_group_state_response, key 86, versions [0], flexible [0..];

    /// The response to DeleteShareGroupState.
    DeleteShareGroupStateResponse {
        results: Vec<DeleteStateResult> [0..],
    }

    /// An element of `results` in `DeleteShareGroupStateResponse`.
    DeleteStateResult {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionResult> [0..],
    }

    /// An element of `partitions` in `DeleteStateResult`.
    PartitionResult {
        partition: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}

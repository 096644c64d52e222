//! InitializeShareGroupState, API key 83: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    initialize_share_group_state_request, key 83, versions [0], flexible [0..];

    /// The request of InitializeShareGroupState.
    InitializeShareGroupStateRequest {
        group_id: StrBytes [0..],
        topics: Vec<InitializeStateData> [0..],
    }

    /// An element of `topics` in `InitializeShareGroupStateRequest`.
    InitializeStateData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `InitializeStateData`.
    PartitionData {
        partition: i32 [0..],
        state_epoch: i32 [0..],
        start_offset: i64 [0..],
    }
}

message! {
    initialize_share_group_state_response, key 83, versions [0], flexible [0..];

    /// The response to InitializeShareGroupState.
    InitializeShareGroupStateResponse {
        results: Vec<InitializeStateResult> [0..],
    }

    /// An element of `results` in `InitializeShareGroupStateResponse`.
    InitializeStateResult {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionResult> [0..],
    }

    /// An element of `partitions` in `InitializeStateResult`.
    PartitionResult {
        partition: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}

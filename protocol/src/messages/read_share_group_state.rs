//! ReadShareGroupState, API key 84: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    read_share_group_state_request, key 84, versions [0], flexible [0..];

    /// The request of ReadShareGroupState.
    ReadShareGroupStateRequest {
        group_id: StrBytes [0..],
        topics: Vec<ReadStateData> [0..],
    }

    /// An element of `topics` in `ReadShareGroupStateRequest`.
    ReadStateData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `ReadStateData`.
    PartitionData {
        partition: i32 [0..],
        leader_epoch: i32 [0..],
    }
}

message! {
    read_share_group_state_response, key 84, versions [0], flexible [0..];

    /// The response to ReadShareGroupState.
    ReadShareGroupStateResponse {
        results: Vec<ReadStateResult> [0..],
    }

    /// An element of `results` in `ReadShareGroupStateResponse`.
    ReadStateResult {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionResult> [0..],
    }

    /// An element of `partitions` in `ReadStateResult`.
    PartitionResult {
        partition: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        state_epoch: i32 [0..],
        start_offset: i64 [0..],
        state_batches: Vec<StateBatch> [0..],
    }

    /// An element of `state_batches` in `PartitionResult`.
    StateBatch {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        delivery_state: i8 [0..],
        delivery_count: i16 [0..],
    }
}

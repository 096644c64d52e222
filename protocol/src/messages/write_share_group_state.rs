//! WriteShareGroupState, API key 85: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    write_share_group_state_request, key 85, versions [0..=1], flexible [0..];

    /// The request of WriteShareGroupState.
    WriteShareGroupStateRequest {
        group_id: StrBytes [0..],
        topics: Vec<WriteStateData> [0..],
    }

    /// An element of `topics` in `WriteShareGroupStateRequest`.
    WriteStateData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `WriteStateData`.
    PartitionData {
        partition: i32 [0..],
        state_epoch: i32 [0..],
        leader_epoch: i32 [0..],
        start_offset: i64 [0..],
        delivery_complete_count: i32 [1.., ignorable] = -1,
        state_batches: Vec<StateBatch> [0..],
    }

    /// An element of `state_batches` in `PartitionData`.
    StateBatch {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        delivery_state: i8 [0..],
        delivery_count: i16 [0..],
    }
}

message! {
    write_share_group_state_response, key 85, versions [0..=1], flexible [0..];

    /// The response to WriteShareGroupState.
    WriteShareGroupStateResponse {
        results: Vec<WriteStateResult> [0..],
    }

    /// An element of `results` in `WriteShareGroupStateResponse`.
    WriteStateResult {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionResult> [0..],
    }

    /// An element of `partitions` in `WriteStateResult`.
    PartitionResult {
        partition: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
    }
}

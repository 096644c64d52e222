//! ReadShareGroupStateSummary, API key 87: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    read_share_group_state_summary_request, key 87, versions [0..=1], flexible [0..];

    /// The request of ReadShareGroupStateSummary.
    ReadShareGroupStateSummaryRequest {
        group_id: StrBytes [0..],
        topics: Vec<ReadStateSummaryData> [0..],
    }

    /// An element of `topics` in `ReadShareGroupStateSummaryRequest`.
    ReadStateSummaryData {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `ReadStateSummaryData`.
    PartitionData {
        partition: i32 [0..],
        leader_epoch: i32 [0..],
    }
}

message! {
    read_share_group_state_summary_response, key 87, versions [0..=1], flexible [0..];

    /// The response to ReadShareGroupStateSummary.
    ReadShareGroupStateSummaryResponse {
        results: Vec<ReadStateSummaryResult> [0..],
    }

    /// An element of `results` in `ReadShareGroupStateSummaryResponse`.
    ReadStateSummaryResult {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionResult> [0..],
    }

    /// An element of `partitions` in `ReadStateSummaryResult`.
    PartitionResult {
        partition: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        state_epoch: i32 [0..],
        leader_epoch: i32 [0..],
        start_offset: i64 [0..],
        delivery_complete_count: i32 [1.., ignorable] = -1,
    }
}

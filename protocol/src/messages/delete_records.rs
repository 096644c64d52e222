//! DeleteRecords, API key 21: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    delete_records_request, key 21, versions [0..=2], flexible [2..];

    /// The request of DeleteRecords.
    DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic> [0..],
        timeout_ms: i32 [0..],
    }

    /// An element of `topics` in `DeleteRecordsRequest`.
    DeleteRecordsTopic {
        name: StrBytes [0..],
        partitions: Vec<DeleteRecordsPartition> [0..],
    }

    /// An element of `partitions` in `DeleteRecordsTopic`.
    DeleteRecordsPartition {
        partition_index: i32 [0..],
        offset: i64 [0..],
    }
}

message! {
    delete_records_response, key 21, versions [0..=2], flexible [2..];

    /// The response to DeleteRecords.
    DeleteRecordsResponse {
        throttle_time_ms: i32 [0..],
        topics: Vec<DeleteRecordsTopicResult> [0..],
    }

    /// An element of `topics` in `DeleteRecordsResponse`.
    DeleteRecordsTopicResult {
        name: StrBytes [0..],
        partitions: Vec<DeleteRecordsPartitionResult> [0..],
    }

    /// An element of `partitions` in `DeleteRecordsTopicResult`.
    DeleteRecordsPartitionResult {
        partition_index: i32 [0..],
        low_watermark: i64 [0..],
        error_code: i16 [0..],
    }
}

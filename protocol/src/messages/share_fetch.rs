//! ShareFetch, API key 78: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    share_fetch_request, key 78, versions [1..=2], flexible [0..];

    /// The request of ShareFetch.
    ShareFetchRequest {
        group_id: Option<StrBytes> [0.., nullable 0.., null],
        member_id: Option<StrBytes> [0.., nullable 0..],
        share_session_epoch: i32 [0..],
        max_wait_ms: i32 [0..],
        min_bytes: i32 [0..],
        max_bytes: i32 [0..] = 0x7fffffff,
        max_records: i32 [1..],
        batch_size: i32 [1..],
        share_acquire_mode: i8 [2.., ignorable],
        is_renew_ack: bool [2..],
        topics: Vec<FetchTopic> [0..],
        forgotten_topics_data: Vec<ForgottenTopic> [0..],
    }

    /// An element of `topics` in `ShareFetchRequest`.
    FetchTopic {
        topic_id: Uuid [0..],
        partitions: Vec<FetchPartition> [0..],
    }

    /// An element of `partitions` in `FetchTopic`.
    FetchPartition {
        partition_index: i32 [0..],
        partition_max_bytes: i32 [0],
        acknowledgement_batches: Vec<AcknowledgementBatch> [0..],
    }

    /// An element of `acknowledgement_batches` in `FetchPartition`.
    AcknowledgementBatch {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        acknowledge_types: Vec<i8> [0..],
    }

    /// An element of `forgotten_topics_data` in `ShareFetchRequest`.
    ForgottenTopic {
        topic_id: Uuid [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    share_fetch_response, key 78, versions [1..=2], flexible [0..];

    /// The response to ShareFetch.
    ShareFetchResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        acquisition_lock_timeout_ms: i32 [1..],
        responses: Vec<ShareFetchableTopicResponse> [0..],
        node_endpoints: Vec<NodeEndpoint> [0..],
    }

    /// An element of `responses` in `ShareFetchResponse`.
    ShareFetchableTopicResponse {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `ShareFetchableTopicResponse`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        acknowledge_error_code: i16 [0..],
        acknowledge_error_message: Option<StrBytes> [0.., nullable 0.., null],
        current_leader: LeaderIdAndEpoch [0..],
        records: Option<Bytes> [0.., nullable 0, null],
        acquired_records: Vec<AcquiredRecords> [0..],
    }

    /// The value of `current_leader` in `PartitionData`.
    LeaderIdAndEpoch {
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
    }

    /// An element of `acquired_records` in `PartitionData`.
    AcquiredRecords {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        delivery_count: i16 [0..],
    }

    /// An element of `node_endpoints` in `ShareFetchResponse`.
    NodeEndpoint {
        node_id: i32 [0..],
        host: StrBytes [0..],
        port: i32 [0..],
        rack: Option<StrBytes> [0.., nullable 0.., null],
    }
}

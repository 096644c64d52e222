//! ShareAcknowledge, API key 79: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    share_acknowledge_request, key 79, versions [1..=2], flexible [0..];

    /// The request of ShareAcknowledge.
    ShareAcknowledgeRequest {
        group_id: Option<StrBytes> [0.., nullable 0.., null],
        member_id: Option<StrBytes> [0.., nullable 0..],
        share_session_epoch: i32 [0..],
        is_renew_ack: bool [2..],
        topics: Vec<AcknowledgeTopic> [0..],
    }

    /// An element of `topics` in `ShareAcknowledgeRequest`.
    AcknowledgeTopic {
        topic_id: Uuid [0..],
        partitions: Vec<AcknowledgePartition> [0..],
    }

    /// An element of `partitions` in `AcknowledgeTopic`.
    AcknowledgePartition {
        partition_index: i32 [0..],
        acknowledgement_batches: Vec<AcknowledgementBatch> [0..],
    }

    /// An element of `acknowledgement_batches` in `AcknowledgePartition`.
    AcknowledgementBatch {
        first_offset: i64 [0..],
        last_offset: i64 [0..],
        acknowledge_types: Vec<i8> [0..],
    }
}

message! {
    share_acknowledge_response, key 79, versions [1..=2], flexible [0..];

    /// The response to ShareAcknowledge.
    ShareAcknowledgeResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        acquisition_lock_timeout_ms: i32 [2.., ignorable],
        responses: Vec<ShareAcknowledgeTopicResponse> [0..],
        node_endpoints: Vec<NodeEndpoint> [0..],
    }

    /// An element of `responses` in `ShareAcknowledgeResponse`.
    ShareAcknowledgeTopicResponse {
        topic_id: Uuid [0..],
        partitions: Vec<PartitionData> [0..],
    }

    /// An element of `partitions` in `ShareAcknowledgeTopicResponse`.
    PartitionData {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        current_leader: LeaderIdAndEpoch [0..],
    }

    /// The value of `current_leader` in `PartitionData`.
    LeaderIdAndEpoch {
        leader_id: i32 [0..],
        leader_epoch: i32 [0..],
    }

    /// An element of `node_endpoints` in `ShareAcknowledgeResponse`.
    NodeEndpoint {
        node_id: i32 [0..],
        host: StrBytes [0..],
        port: i32 [0..],
        rack: Option<StrBytes> [0.., nullable 0.., null],
    }
}

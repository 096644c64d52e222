//! Produce, API key 0: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    produce_request, key 0, versions [3..=13], flexible [9..];

    /// The request of Produce.
    ProduceRequest {
        transactional_id: Option<StrBytes> [3.., nullable 3.., null],
        acks: i16 [0..],
        timeout_ms: i32 [0..],
        topic_data: Vec<TopicProduceData> [0..],
    }

    /// An element of `topic_data` in `ProduceRequest`.
    TopicProduceData {
        name: StrBytes [0..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partition_data: Vec<PartitionProduceData> [0..],
    }

    /// An element of `partition_data` in `TopicProduceData`.
    PartitionProduceData {
        index: i32 [0..],
        records: Option<Bytes> [0.., nullable 0.., null],
    }
}

message! {
    produce_response, key 0, versions [3..=13], flexible [9..];

    /// The response to Produce.
    ProduceResponse {
        responses: Vec<TopicProduceResponse> [0..],
        throttle_time_ms: i32 [1.., ignorable],
        node_endpoints: Vec<NodeEndpoint> [10..] tag 0 [10..],
    }

    /// An element of `responses` in `ProduceResponse`.
    TopicProduceResponse {
        name: StrBytes [0..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partition_responses: Vec<PartitionProduceResponse> [0..],
    }

    /// An element of `partition_responses` in `TopicProduceResponse`.
    PartitionProduceResponse {
        index: i32 [0..],
        error_code: i16 [0..],
        base_offset: i64 [0..],
        log_append_time_ms: i64 [2.., ignorable] = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage> [8.., ignorable],
        error_message: Option<StrBytes> [8.., nullable 8.., null, ignorable],
        current_leader: LeaderIdAndEpoch [10..] tag 0 [10..],
    }

    /// An element of `record_errors` in `PartitionProduceResponse`.
    BatchIndexAndErrorMessage {
        batch_index: i32 [8..],
        batch_index_error_message: Option<StrBytes> [8.., nullable 8.., null],
    }

    /// The value of `current_leader` in `PartitionProduceResponse`.
    LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }

    /// An element of `node_endpoints` in `ProduceResponse`.
    NodeEndpoint {
        node_id: i32 [10..],
        host: StrBytes [10..],
        port: i32 [10..],
        rack: Option<StrBytes> [10.., nullable 10.., null],
    }
}

//! DescribeProducers, API key 61: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_producers_request, key 61, versions [0], flexible [0..];

    /// The request of DescribeProducers.
    DescribeProducersRequest {
        topics: Vec<TopicRequest> [0..],
    }

    /// An element of `topics` in `DescribeProducersRequest`.
    TopicRequest {
        name: StrBytes [0..],
        partition_indexes: Vec<i32> [0..],
    }
}

message! {
    describe_producers_response, key 61, versions [0], flexible [0..];

    /// The response to DescribeProducers.
    DescribeProducersResponse {
        throttle_time_ms: i32 [0..],
        topics: Vec<TopicResponse> [0..],
    }

    /// An element of `topics` in `DescribeProducersResponse`.
    TopicResponse {
        name: StrBytes [0..],
        partitions: Vec<PartitionResponse> [0..],
    }

    /// An element of `partitions` in `TopicResponse`.
    PartitionResponse {
        partition_index: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0.., null],
        active_producers: Vec<ProducerState> [0..],
    }

    /// An element of `active_producers` in `PartitionResponse`.
    ProducerState {
        producer_id: i64 [0..],
        producer_epoch: i32 [0..],
        last_sequence: i32 [0..] = -1,
        last_timestamp: i64 [0..] = -1,
        coordinator_epoch: i32 [0..],
        current_txn_start_offset: i64 [0..] = -1,
    }
}

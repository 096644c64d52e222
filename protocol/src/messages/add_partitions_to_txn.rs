//! AddPartitionsToTxn, API key 24: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    add_partitions_to_txn_request, key 24, versions [0..=5], flexible [3..];

    /// The request of AddPartitionsToTxn.
    AddPartitionsToTxnRequest {
        transactions: Vec<AddPartitionsToTxnTransaction> [4..],
        v3_and_below_transactional_id: StrBytes [0..=3],
        v3_and_below_producer_id: i64 [0..=3],
        v3_and_below_producer_epoch: i16 [0..=3],
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [0..=3],
    }

    /// An element of `transactions` in `AddPartitionsToTxnRequest`.
    AddPartitionsToTxnTransaction {
        transactional_id: StrBytes [4..],
        producer_id: i64 [4..],
        producer_epoch: i16 [4..],
        verify_only: bool [4..],
        topics: Vec<AddPartitionsToTxnTopic> [4..],
    }

    /// An element of `topics`.
    AddPartitionsToTxnTopic {
        name: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}

message! {
    add_partitions_to_txn_response, key 24, versions [0..=5], flexible [3..];

    /// The response to AddPartitionsToTxn.
    AddPartitionsToTxnResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [4.., ignorable],
        results_by_transaction: Vec<AddPartitionsToTxnResult> [4..],
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [0..=3],
    }

    /// An element of `results_by_transaction` in `AddPartitionsToTxnResponse`.
    AddPartitionsToTxnResult {
        transactional_id: StrBytes [4..],
        topic_results: Vec<AddPartitionsToTxnTopicResult> [4..],
    }

    /// An element of `topic_results`.
    AddPartitionsToTxnTopicResult {
        name: StrBytes [0..],
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult> [0..],
    }

    /// An element of `results_by_partition`.
    AddPartitionsToTxnPartitionResult {
        partition_index: i32 [0..],
        partition_error_code: i16 [0..],
    }
}

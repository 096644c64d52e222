//! DescribeTransactions, API key 65: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_transactions_request, key 65, versions [0], flexible [0..];

    /// The request of DescribeTransactions.
    DescribeTransactionsRequest {
        transactional_ids: Vec<StrBytes> [0..],
    }
}

message! {
    describe_transactions_response, key 65, versions [0], flexible [0..];

    /// The response to DescribeTransactions.
    DescribeTransactionsResponse {
        throttle_time_ms: i32 [0..],
        transaction_states: Vec<TransactionState> [0..],
    }

    /// An element of `transaction_states` in `DescribeTransactionsResponse`.
    TransactionState {
        error_code: i16 [0..],
        transactional_id: StrBytes [0..],
        transaction_state: StrBytes [0..],
        transaction_timeout_ms: i32 [0..],
        transaction_start_time_ms: i64 [0..],
        producer_id: i64 [0..],
        producer_epoch: i16 [0..],
        topics: Vec<TopicData> [0..],
    }

    /// An element of `topics` in `TransactionState`.
    TopicData {
        topic: StrBytes [0..],
        partitions: Vec<i32> [0..],
    }
}
